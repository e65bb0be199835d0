"""Rows of xlsx workbooks as lists of strings, in one pass, by the standard library.

The readers tried build a sheet as one rectangle: python-calamine 0.9 asks for 549 GB, and ends the process, where a
file of one kilobyte has a cell in the last corner. Here a row is as long as its last cell.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from posixpath import join, normpath
from typing import IO, Any, NamedTuple
from xml.etree import ElementTree

SIZE_LIMIT = 2**30  # bytes of a part, unpacked
COLUMNS = 16_384  # of a sheet, by the format
ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")  # how the format writes what XML cannot hold

Row = tuple[int, list[str]]


class Sheet(NamedTuple):
    """One sheet: its name and its part of the file."""

    name: str
    part: str


class Workbook:
    """An xlsx file, to be opened by ``with``.

    Raises ValueError for a file that is no workbook or is damaged, here and while rows are read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
            raise self._broken(error) from error

    def __enter__(self) -> Workbook:
        return self

    def __exit__(self, *_: object) -> None:
        self.archive.close()

    def rows(self, sheet: Sheet) -> Iterator[Row]:
        """(row number as the spreadsheet shows it, cells from column A on); empty rows are left out."""
        shared = self._shared()
        number = 0
        for element in self._elements(sheet.part, "row"):
            number = int(element.get("r", "")) if element.get("r", "").isdecimal() else number + 1
            cells = self._cells(element, shared)
            if any(cells):
                yield number, cells

    def _cells(self, row: ElementTree.Element, shared: list[str]) -> list[str]:
        cells: list[str] = []
        for cell in row:
            letters = re.match("[A-Z]{1,3}", cell.get("r", ""))
            place = column(letters[0]) if letters else len(cells)
            if place >= COLUMNS:
                raise self._broken(f"cell {cell.get('r')!r} is beyond column XFD")
            cells += [""] * (place + 1 - len(cells))
            cells[place] = self._value(cell, shared)
        return cells

    def _value(self, cell: ElementTree.Element, shared: list[str]) -> str:
        """What the cell shows, but numbers and dates as the file has them; an error such as #N/A is nothing."""
        kind = cell.get("t", "n")
        if kind == "inlineStr":
            return content(cell)
        value = next((each.text or "" for each in cell if local(each) == "v"), "")
        if kind == "s" and value:
            if not value.strip().isdecimal() or int(value) >= len(shared):
                raise self._broken(f"cell {cell.get('r')!r} refers to string {value!r} of {len(shared):,}")
            return shared[int(value)]
        if kind == "b":
            return "true" if value.strip() == "1" else "false"
        return "" if kind == "e" else unescaped(value)

    def _shared(self) -> list[str]:
        """The strings that cells refer to by number."""
        part = next((name for name in self.archive.namelist() if name.lower() == "xl/sharedstrings.xml"), None)
        return [content(element) for element in self._elements(part, "si")] if part else []

    @property
    def sheets(self) -> list[Sheet]:
        """The sheets in the order of their tabs; hidden ones last, as nobody sees them."""
        targets = {each.get("Id"): each.get("Target", "") for each in self._elements("xl/_rels/workbook.xml.rels")}
        seen: list[Sheet] = []
        hidden: list[Sheet] = []
        for each in self._elements("xl/workbook.xml", "sheet"):
            key = next((value for name, value in each.attrib.items() if name.rpartition("}")[2] == "id"), None)
            part = normpath(join("/xl", targets.get(key, ""))).lstrip("/")
            (seen if each.get("state", "visible") == "visible" else hidden).append(Sheet(each.get("name", ""), part))
        if not seen + hidden:
            raise self._broken("it has no sheets")
        return seen + hidden

    def _elements(self, part: str, name: str = "Relationship") -> Iterator[ElementTree.Element]:
        """The elements of one name in a part, each thrown away once it has been used."""
        try:
            if self.archive.getinfo(part).file_size > SIZE_LIMIT:
                raise self._broken(f"{part} unpacks to more than {SIZE_LIMIT:,} bytes")
            with self.archive.open(part) as stream:
                yield from elements(stream, name)
        except (KeyError, RuntimeError, zipfile.BadZipFile, zlib.error, EOFError, ElementTree.ParseError) as error:
            raise self._broken(error) from error

    def _broken(self, error: object) -> ValueError:
        reason = str(error).strip("'\"")
        return ValueError(f"{self.path} is no readable xlsx workbook ({reason}); save it again, or give a csv")


def elements(stream: IO[bytes], name: str) -> Iterator[ElementTree.Element]:
    """The elements of one name, in order; what has been read is forgotten, so that memory does not grow."""
    events: Any = ElementTree.iterparse(stream, ("start", "end"))  # noqa: S314 - expat bounds what entities unfold to
    above: list[ElementTree.Element] = []
    depth = 0  # of elements of that name around the one at hand
    for event, element in events:
        wanted = local(element) == name
        if event == "start":
            above.append(element)
            depth += wanted
            continue
        above.pop()
        depth -= wanted
        if wanted:
            yield element
        if above and not depth:
            above[-1].remove(element)


def local(element: ElementTree.Element) -> str:
    """The name without its namespace, of which there are two."""
    return element.tag.rpartition("}")[2]


def content(element: ElementTree.Element) -> str:
    """The text of a string with all its runs, but without the readings beside Japanese words."""
    if local(element) == "rPh":
        return ""
    if local(element) == "t":
        return unescaped(element.text or "")
    return "".join(map(content, element))


def unescaped(text: str) -> str:
    """``_x000D_`` and the like as the sign they stand for."""
    plain = ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    return plain if plain == text else plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def column(letters: str) -> int:
    """A is 0, Z is 25, AA is 26."""
    place = 0
    for letter in letters:
        place = place * 26 + ord(letter) - ord("A") + 1
    return place - 1
