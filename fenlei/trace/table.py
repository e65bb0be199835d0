"""Sections as lines for a terminal: a bar and a number a cell, Chinese aligned."""

from __future__ import annotations

from collections.abc import Iterator

from fenlei.screen import legible, shortened, width
from fenlei.trace.sections import Column, Section

LABEL = 16  # columns of the terminal for a step's label, at most
BAR = 6
EIGHTHS = " ▏▎▍▌▋▊▉█"
FAINT, BOLD, PLAIN = "\x1b[2m", "\x1b[1m", "\x1b[0m"
COLOURS = {"gate": "\x1b[36m", "state": "\x1b[33m", "share": "\x1b[35m", "count": "\x1b[35m", "gradient": "\x1b[32m"}
GAP = "  "


def lines(section: Section, colour: bool = False) -> Iterator[str]:
    """The title, the heads, a line a step; ``colour`` is for a terminal."""
    labels = [shortened(legible(label), LABEL) for label in section.labels]
    room = max(map(width, labels), default=0)
    columns = [_cells(column) for column in section.columns]
    heads = [column.head.ljust(len(cells[0])) for column, cells in zip(section.columns, columns, strict=True) if cells]
    yield f"{BOLD}{section.title}{PLAIN}" if colour else section.title
    yield (" " * room + GAP + GAP.join(heads)).rstrip()
    for row, label in enumerate(labels):
        cells = [cells[row] for cells in columns]
        shown = label + " " * (room - width(label))
        if colour:
            shown = f"{FAINT}{shown}{PLAIN}" if section.faint[row] else shown
            kinds = [COLOURS[column.kind] for column in section.columns]
            cells = [f"{kind}{cell[:BAR]}{PLAIN}{cell[BAR:]}" for kind, cell in zip(kinds, cells, strict=True)]
        yield (shown + GAP + GAP.join(cells)).rstrip()


def _cells(column: Column) -> list[str]:
    """A bar and a number for each step, all of one width, at least the head's."""
    form = {"count": ".0f", "gradient": ".1e"}.get(column.kind, ".2f")
    pairs = zip(column.bars.tolist(), column.numbers.tolist(), strict=True)
    cells = [f"{bar(length)} {number:{form}}" for length, number in pairs]
    longest = max([len(column.head), *map(len, cells)])
    return [cell.ljust(longest) for cell in cells]


def bar(length: float) -> str:
    """A length from 0 to 1 in eighths of a block, ``BAR`` columns wide."""
    eighths = round(length * BAR * 8)
    return (EIGHTHS[8] * (eighths // 8) + EIGHTHS[eighths % 8].strip()).ljust(BAR)
