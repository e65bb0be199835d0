"""Corrections of labels: the csv that ``fenlei check`` writes, a person fills in, and ``fenlei train`` applies."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import IO, NamedTuple, NoReturn

from fenlei.corpus.document import Document
from fenlei.corpus.documents import used
from fenlei.corpus.encoding import file_codecs
from fenlei.corpus.ledger import CORRECTED, LEFT_OUT, UNMATCHED, Ledger
from fenlei.corpus.lines import line_end, text_lines
from fenlei.screen import cell, restored

HEADER = ("source", "text", "label", "suggested", "probability", "correct")
NEEDED = ("source", "text", "correct")
BETWEEN = "|"  # the labels of one text, where texts have several
DROP = "-"  # in the column `correct`; a class of that name is written '-
CUT = 30_000  # characters of a text's cell: spreadsheets cut at 32,767
MARK = "\ufeff"  # without it some spreadsheets take UTF-8 for the encoding of their country
DELIMITERS = (",", ";", "\t")  # a spreadsheet saves with that of its country


class Suspicion(NamedTuple):
    """A document whose label looks wrong, the label proposed in its place, and how probable that one is."""

    document: Document
    suggested: str
    probability: float


class Correction(NamedTuple):
    """What line ``line`` of the file says of a document: its right label, or None to leave the document out.

    ``source`` and ``text`` are the document's as cells of the file.
    """

    source: str
    text: str
    label: str | None
    line: int


def text_cell(text: str) -> str:
    """A document's text in the file: one line, at most 30,000 characters."""
    return cell(text[:CUT])[:CUT]


def write_suspects(found: Iterable[Suspicion], stream: IO[str]) -> None:
    """A line a document, the column ``correct`` empty; no cell is one that a spreadsheet runs."""
    stream.write(MARK)
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(HEADER)
    for document, suggested, probability in found:
        labels = cell(f" {BETWEEN} ".join(document.labels))
        cells = [cell(document.source), text_cell(document.text), labels, cell(suggested)]
        writer.writerow([*cells, f"{probability:.4f}", ""])


def read_corrections(path: str | PathLike[str]) -> list[Correction]:
    """The lines whose column ``correct`` is filled in: with a label, or with ``-`` to leave the document out.

    Raises FileNotFoundError, and ValueError naming file and line for anything that is no such csv.
    """
    name = Path(path)
    rows = _rows(name)
    _, header = next(rows, (1, [""]))
    columns = {title.strip().lower(): place for place, title in enumerate(header)}
    if missing := [title for title in NEEDED if title not in columns]:
        shown = ",".join(header)[:80]
        raise ValueError(f"{name}, line 1 has no column {missing[0]!r}: expected {','.join(HEADER)}, got {shown!r}")
    found: dict[tuple[str, str], Correction] = {}
    for number, cells in rows:
        if len(cells) <= max(columns["source"], columns["text"]) or any(cells[len(header) :]):
            raise ValueError(f"{name}, line {number} has {len(cells)} cells, expected {len(header)} as in line 1")
        cells += [""] * (len(header) - len(cells))  # some spreadsheets leave empty cells out at the end of a line
        source, text, right = (cells[columns[title]] for title in NEEDED)
        if right := right.strip():
            correction = Correction(source, text, None if right == DROP else restored(right).strip(), number)
            earlier = found.setdefault((source, text), correction)
            if earlier.label != correction.label:
                told = f"{name}, lines {earlier.line} and {number} correct the same document in two ways"
                raise ValueError(f"{told}: keep one of them")
    return list(found.values())


def _rows(name: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every line that is not empty, in the encoding and with the delimiter that fit."""

    def fault(_: str, number: int, detail: str) -> NoReturn:
        raise ValueError(f"{name}, line {number} cannot be read: {detail}; save the file as csv in UTF-8")

    codec = file_codecs([name], None, Ledger())[name]
    with name.open("rb") as file:
        lines = [line for _, line in text_lines(file, codec, fault, line_end(file, codec))]
    csv.field_size_limit(max(csv.field_size_limit(), 2**20))
    delimiter = max(DELIMITERS, key=lines[0].count) if lines else ","
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    begins = 1
    try:
        for cells in reader:
            if any(cells):
                yield begins, cells
            begins = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{name}, line {begins} is no line of a csv: {error}; mend or delete it") from error


def correct(documents: Sequence[Document], corrections: Sequence[Correction], ledger: Ledger) -> list[Document | None]:
    """Each document with its right label, or None where it is to be left out; the rest is as in ``changes``."""
    changed = changes([documents], corrections, ledger)
    return [changed.get(place, document) for place, document in enumerate(documents)]


def changes(
    parts: Sequence[Sequence[Document]], corrections: Sequence[Correction], ledger: Ledger
) -> dict[int, Document | None]:
    """The documents whose label was wrong, by their place in all parts together, or None for one to be left out.

    A correction fits the document of its source and text; where that line has moved, the first document of the same
    text that no other correction fits. Everything done, and every correction that fits none, is entered in the ledger.
    The documents are read once, and only those that a correction may fit are kept.
    """
    candidates, fitting, moved = _matched(chain.from_iterable(parts), corrections)
    sets = [labels for part in parts for labels in used(part)]
    several = any(len(labels) > 1 for labels in sets)
    known, foreign = set(chain.from_iterable(sets)), set[str]()
    result: dict[int, Document | None] = {}
    right = 0
    for place, correction in sorted(fitting.items()):
        document = candidates[place]
        if correction.label is None:
            result[place] = None
            ledger.add(LEFT_OUT, document.source, f"by line {correction.line} of the corrections")
            continue
        mended = _relabelled(document, correction.label, several)
        if set(mended.labels) == set(document.labels):
            right += 1
            continue
        result[place] = mended
        foreign |= set(mended.labels) - known
        ledger.add(CORRECTED, document.source, f"{_told(document)} is {_told(mended)}")
    done = {correction.line for correction in fitting.values()}
    for correction in corrections:
        if correction.line not in done:
            ledger.add(UNMATCHED, restored(correction.source), f"line {correction.line}: no document has this text")
    _tell(len(corrections), right, moved, sorted(foreign), ledger)
    return result


def _relabelled(document: Document, label: str, several: bool) -> Document:
    """The document with another label, or with all that stand in the cell where texts have several."""
    parts = [part.strip() for part in label.split(BETWEEN)] if several else [label]
    first, *others = dict.fromkeys(filter(None, parts)) or ("",)
    return document._replace(label=first, others=tuple(others))


def _told(document: Document) -> str:
    return ", ".join(map(repr, document.labels))


def _matched(
    documents: Iterable[Document], corrections: Sequence[Correction]
) -> tuple[dict[int, Document], dict[int, Correction], int]:
    """By their places the documents of a text that a correction has, and the correction of each that has one.

    Also how many of these were found at another source.
    """
    candidates: dict[int, Document] = {}
    places: dict[tuple[str, str], int] = {}
    copies: dict[str, list[int]] = defaultdict(list)
    wanted = {correction.text for correction in corrections}
    for place, document in enumerate(documents if wanted else ()):
        if (text := text_cell(document.text)) in wanted:
            candidates[place] = document
            places.setdefault((cell(document.source), text), place)
            copies[text].append(place)
    fitting: dict[int, Correction] = {}
    astray = []
    for correction in corrections:
        if (found := places.get((correction.source, correction.text))) is not None:
            fitting[found] = correction
        else:
            astray.append(correction)
    moved = 0
    for correction in astray:
        if (free := next((place for place in copies[correction.text] if place not in fitting), None)) is not None:
            fitting[free] = correction
            moved += 1
    return candidates, fitting, moved


def _tell(count: int, right: int, moved: int, foreign: Sequence[str], ledger: Ledger) -> None:
    ledger.note(f"Corrections: {count:,} filled in" + (f", {right:,} of them right already" if right else "") + ".")
    if moved:
        ledger.note(f"{moved:,} corrections were found by their text: it stands at another place now.")
    if foreign:
        shown = ", ".join(repr(label) for label in foreign[:5]) + (", ..." if len(foreign) > 5 else "")
        ledger.note(f"Corrections give labels that no document had before: {shown}.")
