"""Tables of documents, read in one pass: csv, tsv, JSON, fastText, parquet, xlsx; only a JSON list is in memory."""

from __future__ import annotations

import csv
import json
import math
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from fenlei.corpus import columns, jsonlist, parquet
from fenlei.corpus.columns import Columns
from fenlei.corpus.document import Document
from fenlei.corpus.ledger import (
    EMPTY,
    MISSING_CELLS,
    NO_LABEL,
    RAGGED,
    TOO_LARGE,
    UNPARSABLE,
    Ledger,
)
from fenlei.corpus.lines import SIZE_LIMIT, Fault, ignore, line_end, text_lines
from fenlei.corpus.spreadsheet import Workbook

BINARY = (".parquet", ".xlsx")  # tables that are no lines of text: they have no encoding
SUFFIXES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".json", *BINARY)
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
PREFIX = "__label__"
LABEL = re.compile(rf"(?<!\S){PREFIX}(\S+)\s*")  # wherever it stands in a line, as fastText takes it
# `_!_` divides the fields of a much used set of Chinese news titles. Prose is full of commas: they come last in txt.
DELIMITERS = {"\t": "tab-separated", "_!_": "separated by _!_", "|": "separated by |", ";": "separated by ;"}
DELIMITERS |= {",": "comma-separated"}
UNQUOTED = ("\t", "_!_")  # a quote there is a sign like any other
SAMPLE_ROWS = 1000
SAMPLE_SIZE = 2**22  # characters

T = TypeVar("T")
Line = tuple[int, str]
Row = tuple[int, list[str]]


class Table:
    """One file of labelled lines; `source` is its name in documents and ledger, `codec` its encoding."""

    def __init__(self, path: Path, source: str, codec: str, ledger: Ledger, split: str = "") -> None:
        self.path, self.source, self.codec, self.ledger, self.split = path, source, codec, ledger, split

    def fault(self, kind: str, number: int, detail: str) -> None:
        """Enter line `number` into the ledger."""
        self.ledger.add(kind, f"{self.source}:{number}", detail)

    def documents(self) -> Iterator[Document]:
        """The documents one by one; raises ValueError where text and label cannot be told apart."""
        if is_binary(self.path):
            yield from self._binary()
            return
        if self._is_list():
            yield from self._records(self._elements(), "JSON list")
            return
        with self.path.open("rb") as file:
            head, lines = _peek(self._lines(file))
            first = _first(head)
            if self._is_fasttext(head):
                self.ledger.note(f"{self.source}: fastText lines.")
                yield from self._fasttext(lines)
            elif self._is_json(head):
                yield from self._records(self._objects(lines), "JSON lines")
            elif first:
                yield from self._delimited(lines, _delimiter(self.path.suffix.lower(), head))
            else:
                yield from self.one_text_a_line("")

    def texts(self) -> Iterator[str]:
        """The texts alone, labels not looked at, one a row, empty ones too; a line each where the file is no table."""
        if is_binary(self.path):
            rows = self._grid() if self._is_sheet() else _as_rows(parquet.records(self.path))
            yield from self._column(rows, " ", not self._is_sheet())
            return
        if self._is_list():
            yield from self._strings(self._elements())
            return
        with self.path.open("rb") as file:
            head, lines = _peek(self._lines(file))
            first, suffix = _first(head), self.path.suffix.lower()
            if self._is_fasttext(head):
                yield from (_unprefixed(line)[1].rstrip("\r\n") for _, line in lines)
            elif self._is_json(head):
                yield from self._strings(self._objects(lines))
            elif first and (suffix in SUFFIXES or is_labelled(self.path, self.codec)):
                delimiter = _delimiter(suffix, head)
                yield from self._column(self._cells(lines, delimiter), delimiter)
            else:
                yield from (line.rstrip("\r\n") for _, line in lines)

    def _lines(self, file: BinaryIO) -> Iterator[Line]:
        end = line_end(file, self.codec)
        if end == "\r":
            self.ledger.note(f"{self.source}: its lines end with CR alone, as on old Macs.")
        return text_lines(file, self.codec, self.fault, end)

    def _is_fasttext(self, head: Sequence[Line]) -> bool:
        return _is_fasttext(head, self.path.suffix.lower())

    def _is_list(self) -> bool:
        """Whether the file is one JSON list, over one line or many, rather than lines of which some are lists."""
        if self.path.suffix.lower() not in JSON_SUFFIXES or not jsonlist.opens_list(self.path, self.codec):
            return False
        with self.path.open("rb") as file:
            head, _ = _peek(text_lines(file, self.codec, ignore, line_end(file, self.codec)))
        return sum(_is_object(line) for _, line in head) <= len(head) / 2

    def _is_json(self, head: Sequence[Line]) -> bool:
        """Whether the lines are JSON objects; raises ValueError for other JSON."""
        first = _first(head)
        if self.path.suffix.lower() not in JSON_SUFFIXES:
            return _is_object(first)
        if first:
            alone = sum(not line.isspace() for _, line in head) == 1
            jsonlist.refuse_others(self.path, self.source, self.codec, first, alone)
        return True

    def _column(self, rows: Iterator[Row], delimiter: str, header: bool = False) -> Iterator[str]:
        """The cells of the column of texts; where there is none, a ValueError."""
        head, rows = _peek(rows)
        if not head:
            return
        sample = [cells for _, cells in head if any(cells)] or [cells for _, cells in head]
        chosen = columns.choose_text(sample, self.source, header)
        self.ledger.note(chosen.sentence)
        header = chosen.header
        for number, cells in rows:
            if not any(cells):
                yield ""
            elif header:
                header = False
            elif len(cells) == chosen.width or self._fit(number, cells, chosen, delimiter):
                yield cells[chosen.text]

    def _strings(self, records: Iterator[tuple[int, dict[str, Any]]]) -> Iterator[str]:
        """The strings under the key that holds the texts."""
        sample, records = _peek(records)
        if not sample:
            return
        keys = list(dict.fromkeys(key for _, row in sample for key in row))
        cells = [[_cell(row.get(key)) for key in keys] for _, row in sample]
        chosen = columns.choose_text([keys, *cells], self.source, header=True)
        self.ledger.note(chosen.sentence)
        for number, row in records:
            text = row.get(keys[chosen.text])
            if text is None or isinstance(text, str):
                yield text or ""
            else:
                self.fault(UNPARSABLE, number, f"{keys[chosen.text]!r} is a {type(text).__name__}, expected a string")

    def _is_sheet(self) -> bool:
        return self.path.suffix.lower() == ".xlsx"

    def _binary(self) -> Iterator[Document]:
        if self._is_sheet():
            yield from self._rows(self._grid(), "xlsx", " ")
        else:
            yield from self._records(parquet.records(self.path), "parquet")

    def one_text_a_line(self, label: str) -> Iterator[Document]:
        """The documents of a file that holds one class, a text a line."""
        with self.path.open("rb") as file:
            for number, line in self._lines(file):
                yield from self._document(number, line.rstrip("\r\n"), label)

    def _document(self, number: int, text: str, *labels: str) -> Iterator[Document]:
        """One document, or none and a line in the ledger."""
        label, *others = dict.fromkeys(filter(None, labels)) or ("",)
        if not text or text.isspace():
            self.fault(EMPTY, number, "no text")
        elif len(text) > SIZE_LIMIT:
            self.fault(TOO_LARGE, number, f"text longer than {SIZE_LIMIT:,} characters")
        elif not label:
            self.fault(NO_LABEL, number, "no label")
        else:
            yield Document(text, label, f"{self.source}:{number}", self.split, tuple(others))

    def _fasttext(self, lines: Iterable[Line]) -> Iterator[Document]:
        for number, line in lines:
            labels, rest = _unprefixed(line)
            if labels or not rest.strip():
                yield from self._document(number, rest.rstrip("\r\n"), *labels)
            else:
                self.fault(NO_LABEL, number, f"no {PREFIX} in the line")

    def _delimited(self, lines: Iterable[Line], delimiter: str) -> Iterator[Document]:
        yield from self._rows(self._cells(lines, delimiter), DELIMITERS[delimiter], delimiter)

    def _cells(self, lines: Iterable[Line], delimiter: str) -> Iterator[Row]:
        return unquoted_rows(lines, delimiter) if delimiter in UNQUOTED else quoted_rows(lines, delimiter, self.fault)

    def _rows(self, rows: Iterator[Row], form: str, delimiter: str) -> Iterator[Document]:
        head, rows = _peek(rows)
        sample = [cells for _, cells in head if any(cells)]
        if not sample:
            return
        chosen = self._choose(sample, form)
        header = chosen.header
        for number, cells in rows:
            if not any(cells):
                self.fault(EMPTY, number, "blank line")
            elif header:
                header = False
            elif len(cells) == chosen.width or self._fit(number, cells, chosen, delimiter):
                yield from self._document(number, cells[chosen.text], cells[chosen.label].strip())

    def _choose(self, sample: Sequence[Sequence[str]], form: str, header: bool = False) -> Columns:
        """The columns; what was decided is noted, and what may be meant otherwise is warned of."""
        chosen = columns.choose(sample, self.source, form, header)
        self.ledger.note(chosen.sentence)
        for doubt in chosen.doubts:
            self.ledger.warn(*doubt)
        return chosen

    def _fit(self, number: int, cells: list[str], chosen: Columns, delimiter: str) -> bool:
        """Whether a row of the wrong width can be kept; surplus cells are given back to the text they came from."""
        detail = f"{len(cells)} cells, expected {chosen.width}"
        if len(cells) <= max(chosen.text, chosen.label):
            self.fault(MISSING_CELLS, number, detail)
            return False
        self.fault(RAGGED, number, detail)
        while len(cells) > chosen.width and not cells[-1]:
            cells.pop()
        end = chosen.text + 1 + max(len(cells) - chosen.width, 0)
        cells[chosen.text : end] = [delimiter.join(cells[chosen.text : end])]
        return True

    def _grid(self) -> Iterator[Row]:
        """The rows of the workbook's first sheet, all of one width; the other sheets are named."""
        with Workbook(self.path) as book:
            first, *others = book.sheets
            if others:
                shown = ", ".join(repr(sheet.name) for sheet in others[:5]) + (", ..." if len(others) > 5 else "")
                self.ledger.note(f"{self.source}: the sheet {first.name!r} was read, not {shown}.")
            head, rows = _peek(book.rows(first))
            width = max((len(cells) for _, cells in head), default=0)
            for number, cells in rows:
                yield number, [*cells, *[""] * width][:width]

    def _records(self, records: Iterator[tuple[int, dict[str, Any]]], form: str) -> Iterator[Document]:
        sample, records = _peek(records)
        if not sample:
            return
        keys = list(dict.fromkeys(key for _, row in sample for key in row))
        cells = [[_cell(row.get(key)) for key in keys] for _, row in sample]
        chosen = self._choose([keys, *cells], form, header=True)
        for number, row in records:
            yield from self._from_record(number, row, keys[chosen.text], keys[chosen.label])

    def _objects(self, lines: Iterable[Line]) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, line in lines:
            if line.isspace():
                self.fault(EMPTY, number, "blank line")
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
                self.fault(UNPARSABLE, number, f"no JSON object: {reason}")
                continue
            yield from self._object(number, row, "a line")

    def _elements(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, row in jsonlist.elements(self.path, self.source, self.codec):
            yield from self._object(number, row, "an element")

    def _object(self, number: int, row: Any, place: str) -> Iterator[tuple[int, dict[str, Any]]]:
        if isinstance(row, dict):
            yield number, row
        else:
            self.fault(UNPARSABLE, number, f"a JSON {type(row).__name__}, expected one object {place}")

    def _from_record(self, number: int, row: dict[str, Any], text_key: str, label_key: str) -> Iterator[Document]:
        text, label = row.get(text_key), row.get(label_key)
        if text is not None and not isinstance(text, str):
            self.fault(UNPARSABLE, number, f"{text_key!r} is a {type(text).__name__}, expected a string")
        elif isinstance(label, list) and any(isinstance(each, list | dict) for each in label):
            self.fault(UNPARSABLE, number, f"{label_key!r} is a list in a list, expected a list of strings")
        elif isinstance(label, list):
            yield from self._document(number, text or "", *map(_cell, label))
        elif isinstance(label, dict):
            self.fault(UNPARSABLE, number, f"{label_key!r} is an object, expected a string")
        else:
            yield from self._document(number, text or "", _cell(label))


def _unprefixed(line: str) -> tuple[list[str], str]:
    """The labels of a fastText line, wherever they stand, and the rest."""
    if PREFIX not in line:
        return [], line
    parts = LABEL.split(line)
    rest = "".join(parts[::2]).lstrip()
    return parts[1::2], rest if parts[-1] else rest.rstrip()


def _cell(value: object) -> str:
    """A JSON value as the string that stands for it in JSON; null and NaN are no value."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _as_rows(records: Iterator[tuple[int, dict[str, Any]]]) -> Iterator[Row]:
    """The names of the columns, then their cells."""
    for place, (number, row) in enumerate(records):
        if not place:
            yield 0, list(row)
        yield number, [_cell(value) for value in row.values()]


def is_binary(path: Path) -> bool:
    """Whether a file is a table, but no lines of text."""
    return path.suffix.lower() in BINARY


def _first(head: Sequence[Line]) -> str:
    return next((line.strip() for _, line in head if not line.isspace()), "")


def _peek(items: Iterator[tuple[int, T]]) -> tuple[list[tuple[int, T]], Iterator[tuple[int, T]]]:
    """(the first items, all items): as many as a decision needs, and no more than memory bears."""
    head: list[tuple[int, T]] = []
    size = 0
    for item in items:
        head.append(item)
        size += len(str(item[1]))
        if len(head) >= SAMPLE_ROWS or size >= SAMPLE_SIZE:
            break
    return head, chain(head, items)


def _is_fasttext(head: Sequence[Line], suffix: str) -> bool:
    """Whether the first line begins with a label, or most lines hold one where the file is not named as a table."""
    first = _first(head)
    if first.startswith(PREFIX) or suffix in SUFFIXES or _is_object(first):
        return first.startswith(PREFIX)
    lines = [line for _, line in head if not line.isspace()]
    return sum(bool(LABEL.search(line)) for line in lines) > len(lines) / 2


def _is_object(line: str) -> bool:
    if not line.startswith("{"):
        return False
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _delimiter(suffix: str, head: Sequence[Line]) -> str:
    """The delimiter that the first line and most others hold; the extension's own is asked first."""
    first = _first(head)
    order = [own for ending, own in ((".csv", ","), (".tsv", "\t"), (".tab", "\t")) if ending == suffix] + [*DELIMITERS]
    able = [delimiter for delimiter in order if delimiter in first]
    lines = [line for _, line in head if not line.isspace()]
    shares = {delimiter: sum(delimiter in line for line in lines) / len(lines) for delimiter in able}
    clear = next((delimiter for delimiter in able if shares[delimiter] >= 0.9), None)
    return clear or max(able, key=shares.__getitem__, default=order[0])


def is_labelled(path: Path, codec: str) -> bool:
    """Whether a txt file holds labelled lines rather than plain text; commas, frequent in prose, prove nothing."""
    with path.open("rb") as file:
        head, _ = _peek(text_lines(file, codec, ignore, line_end(file, codec)))
    first = _first(head)
    if _is_fasttext(head, path.suffix.lower()) or _is_object(first):
        return True
    delimiter = _delimiter("", head) if first else ","
    if delimiter not in UNQUOTED:
        return False
    try:
        columns.choose([cells for _, cells in unquoted_rows(head, delimiter) if any(cells)], path.name, "")
    except ValueError:
        return False
    return True


def unquoted_rows(lines: Iterable[Line], delimiter: str) -> Iterator[Row]:
    """(line number, cells) where a line is a row and every sign means itself."""
    for number, line in lines:
        yield number, line.rstrip("\r\n").split(delimiter)


def quoted_rows(lines: Iterable[Line], delimiter: str, fault: Fault) -> Iterator[Row]:
    """(number of its first line, cells) by the rules of csv; a quote that does not close costs its own line only."""
    csv.field_size_limit(max(csv.field_size_limit(), 2 * SIZE_LIMIT))  # `_Record` keeps the limit per row
    record = _Record(lines)
    reader = csv.reader(record, delimiter=delimiter, strict=True)
    while True:
        record.begin()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            unclosed = str(error) == "unexpected end of data" or record.size > SIZE_LIMIT
            reason = "a quote opens in this line and never closes" if unclosed else f"broken quotes: {error}"
            if str(error).startswith("new-line character"):
                reason = "a carriage return stands in a cell without quotes; put the cell into quotes"
            fault(UNPARSABLE, record.lines[0][0], reason)
            record.rewind()
            continue
        yield record.lines[0][0], cells


class _Record:
    """Hands lines to the csv reader and remembers those of the row at hand, so that they can be read again."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.source = iter(lines)
        self.pending: deque[Line] = deque()
        self.begin()

    def begin(self) -> None:
        self.lines: list[Line] = []
        self.size = 0

    def rewind(self) -> None:
        """Put all lines but the first back."""
        self.pending.extendleft(reversed(self.lines[1:]))

    def __iter__(self) -> _Record:
        return self

    def __next__(self) -> str:
        number, line = self.pending.popleft() if self.pending else next(self.source)
        self.lines.append((number, line))
        self.size += len(line)
        if self.size > SIZE_LIMIT and len(self.lines) > 1:
            raise csv.Error("row too large")
        return line.rstrip("\r\n") + "\n"
