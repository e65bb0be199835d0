"""Predictions as lines: tab-separated, JSON lines, csv, or one JSON object; each writer takes answers as they come."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Sequence
from typing import IO, NamedTuple

from fenlei.cli.output import escaped
from fenlei.screen import harmless


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


WRITERS: dict[str, Callable[[Iterable[Row], IO[str], int], None]] = {
    "tsv": write_tsv,
    "jsonl": write_jsonl,
    "csv": write_csv,
    "json": write_json,
}
