"""Minimal xlsx workbooks, written part by part as the format has them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"

Cell = str | float | bool | None


def write(path: Path, sheets: Mapping[str, Sequence[Sequence[Cell]]], hidden: Sequence[str] = ()) -> Path:
    """A workbook as spreadsheets save it: strings shared, empty cells and rows left out."""
    strings: dict[str, int] = {}
    parts = {f"xl/worksheets/sheet{n}.xml": sheet(rows, strings) for n, rows in enumerate(sheets.values(), 1)}
    listed = "".join(
        f'<sheet name={quoteattr(name)} sheetId="{n}" r:id="rId{n}"{state(name in hidden)}/>'
        for n, name in enumerate(sheets, 1)
    )
    targets = "".join(
        f'<Relationship Id="rId{n}" Target="worksheets/sheet{n}.xml"/>' for n in range(1, len(sheets) + 1)
    )
    shared = "".join(f"<si><t>{escape(text)}</t></si>" for text in strings)
    parts["xl/workbook.xml"] = f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>{listed}</sheets></workbook>'
    parts["xl/_rels/workbook.xml.rels"] = f'<Relationships xmlns="{PACKAGE}">{targets}</Relationships>'
    parts["xl/sharedStrings.xml"] = f'<sst xmlns="{MAIN}">{shared}</sst>'
    return pack(path, parts)


def state(hidden: bool) -> str:
    """The attribute of a sheet without a tab."""
    return ' state="hidden"' if hidden else ""


def sheet(rows: Sequence[Sequence[Cell]], strings: dict[str, int]) -> str:
    """The part of one sheet; ``strings`` grows."""
    body = []
    for number, row in enumerate(rows, 1):
        cells = []
        for place, value in enumerate(row):
            name = f"{chr(ord('A') + place)}{number}"
            if isinstance(value, bool):
                cells.append(f'<c r="{name}" t="b"><v>{int(value)}</v></c>')
            elif isinstance(value, str):
                cells.append(f'<c r="{name}" t="s"><v>{strings.setdefault(value, len(strings))}</v></c>')
            elif value is not None:
                cells.append(f'<c r="{name}"><v>{value:g}</v></c>')
        if cells:
            body.append(f'<row r="{number}">{"".join(cells)}</row>')
    return f'<worksheet xmlns="{MAIN}"><dimension ref="A1"/><sheetData>{"".join(body)}</sheetData></worksheet>'


def one_sheet(path: Path, data: str, shared: str = "") -> Path:
    """A workbook whose one sheet has this for its rows, to the letter."""
    write(path, {"s": []})
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    parts["xl/worksheets/sheet1.xml"] = f'<worksheet xmlns="{MAIN}"><sheetData>{data}</sheetData></worksheet>'
    parts["xl/sharedStrings.xml"] = f'<sst xmlns="{MAIN}">{shared}</sst>'
    return pack(path, parts)


def pack(path: Path, parts: Mapping[str, str]) -> Path:
    """The parts in one file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path
