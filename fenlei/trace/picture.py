"""Sections as a picture: heat maps and bars in plain SVG, alone or in a page, without scripts or anything fetched."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from fenlei.screen import legible, shortened
from fenlei.trace.sections import Column, Section
from fenlei.trace.watch import Floats

MOST_STEPS = 100  # rows drawn of a section
MOST_UNITS = 32  # columns of a heat map; more hidden units are drawn as means of neighbours
LABEL, ROW, PANEL, GAP, EDGE = 170, 18, 160, 22, 16  # in pixels
NUMBER = 56  # room behind a bar
FAINTEST = 0.01  # a fainter cell is left out
LABEL_COLUMNS = 20

STYLE = """
:root{color-scheme:light dark}
svg{font:13px system-ui,sans-serif;background:#fff}
text{fill:#1a1a1a}.t{font-weight:600;font-size:15px}.h{font-size:12px}.u{opacity:.45}
.f{fill:none;stroke:#8888;stroke-width:.5}
.p{fill:#c2410c}.n{fill:#1d4ed8}.b{fill:#0f766e}
@media (prefers-color-scheme:dark){
svg{background:#16181c}text{fill:#e6e6e6}.p{fill:#fb923c}.n{fill:#60a5fa}.b{fill:#2dd4bf}
}
"""
PAGE_STYLE = """
body{margin:0;background:#fff;overflow-x:auto}
@media (prefers-color-scheme:dark){body{background:#16181c}}
"""
LEGEND = "heat maps: hidden units from left to right, orange above zero, blue below, stronger is further from zero"


def svg(heading: Sequence[str], found: Iterable[Section]) -> str:
    """The lines of ``heading`` and all sections, one under the other, as one SVG document."""
    parts: list[str] = []
    found = list(found)
    y, right = EDGE, 640
    legend = [LEGEND] if any(column.values.ndim == 2 for section in found for column in section.columns) else []
    for number, line in enumerate([*heading, *legend]):
        y += 20
        parts.append(_text(EDGE, y, line, "h" if number else "t"))
    for section in found:
        y += 44
        parts.append(_text(EDGE, y, section.title + _cut(section), "t"))
        parts += _rows(section, y + 26)
        for x, column in _places(section):
            parts.append(_text(x, y + 20, column.head, "h"))
            draw = _heat if column.values.ndim == 2 else _bars
            parts += draw(column, x, y + 26)
            right = max(right, x + PANEL + NUMBER + EDGE)
        y += 26 + ROW * min(len(section.labels), MOST_STEPS)
    size = f'width="{right}" height="{y + EDGE}" viewBox="0 0 {right} {y + EDGE}"'
    title = f"<title>{_escaped(heading[0])}</title>" if heading else ""
    body = "\n".join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" role="img" {size}>{title}<style>{STYLE}</style>\n{body}\n</svg>\n'


def page(heading: Sequence[str], found: Iterable[Section]) -> str:
    """The same in an HTML page that forbids itself scripts and requests."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{_escaped(heading[0] if heading else 'fenlei')}</title><style>{PAGE_STYLE}</style></head>\n"
        f"<body>\n{svg(heading, found)}</body></html>\n"
    )


def _cut(section: Section) -> str:
    count = len(section.labels)
    return f" (the first {MOST_STEPS} of {count:,} steps)" if count > MOST_STEPS else ""


def _places(section: Section) -> Iterator[tuple[int, Column]]:
    """Each column with where it begins; a bar needs room for its number."""
    x = EDGE + LABEL
    for column in section.columns:
        yield x, column
        x += PANEL + GAP + (0 if column.values.ndim == 2 else NUMBER)


def _rows(section: Section, y: int) -> Iterator[str]:
    for row, label in enumerate(section.labels[:MOST_STEPS]):
        shown = shortened(legible(label), LABEL_COLUMNS)
        yield _text(EDGE, y + ROW * row + 13, shown, "u" if section.faint[row] else "")


def _heat(column: Column, x: int, y: int) -> Iterator[str]:
    """A cell a step and group of hidden units; the strongest colour is 1, or the largest value beyond it."""
    cells = grouped(column.values[:MOST_STEPS])
    strongest = max(1.0, float(np.abs(cells).max(initial=0.0)))
    size = PANEL / cells.shape[1]
    for (row, place), value in np.ndenumerate(cells / strongest):
        if abs(value) >= FAINTEST:
            sign, left, top = "p" if value > 0 else "n", x + place * size, y + row * ROW
            yield (
                f'<rect class="{sign}" x="{left:.6g}" y="{top}" width="{size:.4g}" height="{ROW - 2}" '
                f'opacity="{abs(value):.2f}"/>'
            )
    yield f'<rect class="f" x="{x}" y="{y}" width="{PANEL}" height="{len(cells) * ROW - 2}"/>'


def _bars(column: Column, x: int, y: int) -> Iterator[str]:
    form = {"count": ".0f", "gradient": ".1e"}.get(column.kind, ".3f")
    pairs = zip(column.bars.tolist(), column.numbers.tolist(), strict=True)
    for row, (length, number) in zip(range(MOST_STEPS), pairs, strict=False):
        top = y + row * ROW
        if length > 0:
            yield f'<rect class="b" x="{x}" y="{top + 2}" width="{length * PANEL:.1f}" height="{ROW - 6}"/>'
        yield _text(x + round(length * PANEL) + 4, top + 13, f"{number:{form}}", "h")


def grouped(values: Floats) -> Floats:
    """``(S, H)`` in at most ``MOST_UNITS`` columns: means of neighbouring units."""
    return np.stack([part.mean(1) for part in np.array_split(values, min(MOST_UNITS, values.shape[1]), axis=1)], axis=1)


def _text(x: int, y: int, text: str, kind: str) -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y}"{named}>{_escaped(text)}</text>'


def _escaped(text: str) -> str:
    return html.escape(legible(text))
