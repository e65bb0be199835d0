"""Predictions as tab-separated lines, JSON lines, csv, one JSON object or parquet; answers are written as they come."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, NamedTuple

from fenlei.cli.output import escaped
from fenlei.screen import harmless

GROUP_ROWS = 10_000
GROUP_CHARACTERS = 4_000_000


class Row(NamedTuple):
    """A text and its labels with their probabilities; ``unknown`` where none is sure enough."""

    text: str
    labels: Sequence[str]
    probabilities: Sequence[float]
    unknown: bool = False


def write_tsv(rows: Iterable[Row], stream: IO[str], top: int) -> None:  # noqa: ARG001
    """``label<TAB>probability``, repeated for further labels; an empty line where none is sure enough."""
    for row in rows:
        cells = [f"{escaped(label)}\t{p:.6f}" for label, p in zip(row.labels, row.probabilities, strict=True)]
        stream.write("\t".join(cells) + "\n")


def write_jsonl(rows: Iterable[Row], stream: IO[str], top: int) -> None:  # noqa: ARG001
    """One JSON object a text."""
    stream.writelines(json.dumps(row._asdict(), ensure_ascii=False) + "\n" for row in rows)


def write_json(rows: Iterable[Row], stream: IO[str], top: int) -> None:  # noqa: ARG001
    """One JSON object for all texts, written as it grows."""
    stream.write('{"predictions": [')
    for number, row in enumerate(rows):
        stream.write((", " if number else "") + json.dumps(row._asdict(), ensure_ascii=False))
    stream.write("]}\n")


def write_csv(rows: Iterable[Row], stream: IO[str], top: int) -> None:
    """``text,label,probability,label2,probability2,...``; every string stands in quotes, formulas made harmless."""
    writer = csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    suffixes = ["", *map(str, range(2, top + 1))]
    writer.writerow(["text", *(name + suffix for suffix in suffixes for name in ("label", "probability"))])
    for row in rows:
        cells: list[str | float] = [harmless(row.text)]
        for label, probability in zip(row.labels, row.probabilities, strict=True):
            cells += [harmless(label), probability]
        writer.writerow(cells + [""] * (1 + 2 * top - len(cells)))


def write_parquet(rows: Iterable[Row], stream: IO[str], top: int) -> None:  # noqa: ARG001
    """The columns of ``Row``, labels and probabilities as lists; half a surrogate pair becomes a question mark.

    Before the last row has been written the file has no footer, and no reader takes it for a whole one.
    """
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    kinds = (pyarrow.string(), pyarrow.list_(pyarrow.string()), pyarrow.list_(pyarrow.float64()), pyarrow.bool_())
    schema = pyarrow.schema(list(zip(Row._fields, kinds, strict=True)))
    with ParquetWriter(stream.buffer, schema) as writer:  # type: ignore[attr-defined]
        for group in groups(rows):
            plain = (row._replace(text=encodable(row.text), labels=[*map(encodable, row.labels)]) for row in group)
            columns = map(list, zip(*plain, strict=True))
            writer.write_table(pyarrow.table(dict(zip(Row._fields, columns, strict=True)), schema))


def groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Runs of rows that memory bears, as large as readers like them."""
    group: list[Row] = []
    size = 0
    for row in rows:
        group.append(row)
        size += len(row.text)
        if len(group) >= GROUP_ROWS or size >= GROUP_CHARACTERS:
            yield group
            group, size = [], 0
    if group:
        yield group


def encodable(text: str) -> str:
    """``text`` as UTF-8 can hold it."""
    return text.encode(errors="replace").decode()


WRITERS: dict[str, Callable[[Iterable[Row], IO[str], int], None]] = {
    "tsv": write_tsv,
    "jsonl": write_jsonl,
    "csv": write_csv,
    "json": write_json,
    "parquet": write_parquet,
}
