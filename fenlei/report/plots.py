"""Curves by matplotlib as inline SVG: text in the reader's fonts and language, colours from the page's variables."""

from __future__ import annotations

import io
import itertools
import logging
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fenlei.report.markup import Html, tag
from fenlei.report.words import both, both_tspans

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, HIGH = 380, 236  # in pixels: a phone's width without its margins
SMALL_WIDE, SMALL_HIGH = 190, 150
# Colours that stand for the page's own: matplotlib draws with the first, the page shows the second.
INK, MUTED, LINE, MAIN, OTHER, SOFT = (f"#00000{number}" for number in range(1, 7))
VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", MAIN: "--main", OTHER: "--other", SOFT: "--soft"}
SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 11,
    "font.family": ["DejaVu Sans"],
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 1,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 6,
    "lines.linewidth": 2,
    "lines.solid_capstyle": "round",
    "figure.constrained_layout.use": True,
}

Point = Sequence[float]


@contextmanager
def drawing(name: str, wide: int = WIDE, high: int = HIGH) -> Iterator[tuple[Axes, list[str]]]:
    """Axes to draw on, and a list that holds the SVG afterwards. Nobody's own settings change them."""
    import matplotlib
    from matplotlib.figure import Figure

    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it speaks of its font cache
    defaults: dict[Any, Any] = {key: value for key, value in matplotlib.rcParamsDefault.items() if key != "backend"}
    with matplotlib.rc_context(defaults | SETTINGS | {"svg.hashsalt": name}):
        figure = Figure(figsize=(wide / 72, high / 72), dpi=72)
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        axes.patch.set_visible(False)
        found: list[str] = []
        yield axes, found
        found.append(_svg(figure, name))


def _svg(figure: Figure, name: str) -> str:
    """The figure as an element of a page: no prolog, no style of its own, ids that no other figure has."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    stream = io.StringIO()
    FigureCanvasSVG(figure).print_svg(  # type: ignore[no-untyped-call]
        stream, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>|<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg[^>]*?(viewBox="[^"]*")[^>]*>', rf'<svg \1 role="img" aria-labelledby="{name}-caption">', svg)
    svg = re.sub(r'(<g) id="[^"]*"', r"\1", svg)
    unique = f"{name}-{figure.get_figwidth() * 72:.0f}"
    svg = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{unique}-", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*|font-size: ([\d.]+)px; font-family: [^;\"]*", r"font-size: \1\2px", svg)
    svg = re.sub(r"#00000[1-6]", lambda found: f"var({VARIABLES[found[0]]})", svg)
    svg = re.sub(r">(axis_\w+)<", lambda found: f">{both_tspans(found[1])}<", svg)
    return re.sub(r"\s*\n\s*", " ", svg).replace("> <", "><").replace("xlink:href", "href").strip()


def _shares(axis: Any) -> None:
    """Ticks of an axis of shares as percent."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.4g}%"))


def lengths(edges: Sequence[float], train: Sequence[int], dev: Sequence[int], limit: float | None) -> Html:
    """How many tokens the texts have: shares of the training texts as an area, of the held-out ones as a line.

    Drawn twice, for a page that has room and for a phone; the page shows one of them.
    """
    roomy, narrow = (_lengths(wide, edges, train, dev, limit) for wide in (2 * WIDE, WIDE))
    return Html(roomy.replace("<svg", '<svg class="roomy"', 1) + narrow.replace("<svg", '<svg class="narrow"', 1))


def _lengths(wide: int, edges: Sequence[float], train: Sequence[int], dev: Sequence[int], limit: float | None) -> Html:
    with drawing("lengths", wide) as (axes, found):
        growing = edges[0] > 0 and edges[-1] - edges[-2] > 2 * (edges[1] - edges[0])
        axes.stairs(_densities(train, edges, growing), edges, fill=True, color=SOFT)
        axes.stairs(_densities(dev, edges, growing), edges, color=MAIN, linewidth=2)
        if growing:
            _counts(axes)
        if limit is not None and limit <= edges[-1]:
            axes.axvline(limit, color=OTHER, linewidth=1.5, linestyle=(0, (4, 3)))
        axes.set_xlim(edges[0], edges[-1])
        axes.set_xlabel("axis_tokens")
        axes.grid(visible=False)
        axes.set_yticks([])
        axes.set_ylim(bottom=0)
    return Html(found[0])


def _densities(counts: Sequence[int], edges: Sequence[float], growing: bool) -> list[float]:
    """Heights whose areas on the axis are shares of the texts; on a logarithmic axis widths are ratios."""
    whole = sum(counts) or 1
    widths = [math.log(high / low) if growing else high - low for low, high in itertools.pairwise(edges)]
    return [count / whole / width for count, width in zip(counts, widths, strict=True)]


def _counts(axes: Axes) -> None:
    """A logarithmic axis of whole numbers: 1, 2, 5, 10, ..."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="minor", size=0)


def curve(name: str, train: Sequence[float], dev: Sequence[float], best: int | None, shares: bool = False) -> Html:
    """A number after each epoch on both sides; ``best``, counted from 1, is ringed."""
    from matplotlib.ticker import MaxNLocator

    with drawing(name) as (axes, found):
        marker = "o" if len(dev) <= 20 else None
        for values, colour in ((train, MUTED), (dev, MAIN)):
            axes.plot(range(1, len(values) + 1), values, color=colour, marker=marker, markersize=4)
        if best is not None:
            axes.plot([best], [dev[best - 1]], "o", markersize=11, color=OTHER, fillstyle="none", markeredgewidth=2)
        axes.set_xlabel("axis_epoch")
        axes.xaxis.set_major_locator(MaxNLocator(min(8, max(1, len(dev))), integer=True))
        axes.grid(axis="x", visible=False)
        if len(dev) == 1:
            axes.set_xlim(0.5, 1.5)
            axes.set_xticks([1])
        if shares:
            _shares(axes.yaxis)
    return Html(found[0])


def reliability(bins: Sequence[tuple[int, float, float]]) -> Html:
    """How sure against how often right: a dot a bin of (n, confidence, accuracy), its area by n, with its interval."""
    most = max(n for n, _, _ in bins)
    with drawing("reliability", WIDE, WIDE) as (axes, found):
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        for n, sure, right in bins:
            axes.plot([sure, sure], _wilson(right, n), color=MAIN, linewidth=1.5, alpha=0.4)
        sizes = [24 + 300 * n / most for n, _, _ in bins]
        axes.scatter([c for _, c, _ in bins], [a for _, _, a in bins], sizes, MAIN, alpha=0.75, linewidths=0)
        axes.set_xlim(-0.03, 1.05)
        axes.set_ylim(-0.03, 1.05)
        axes.set_aspect("equal")
        axes.set_xlabel("axis_sure")
        axes.set_ylabel("axis_right")
        _shares(axes.xaxis)
        _shares(axes.yaxis)
    return Html(found[0])


def _wilson(share: float, n: int) -> tuple[float, float]:
    """The 95% interval of a share of ``n`` texts (Wilson 1927)."""
    z = 1.96
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def coverage(rows: Sequence[Point], mark: Point | None) -> Html:
    """Rows of (threshold, coverage, accuracy): the fewer texts are answered, the more of the answers are right."""
    with drawing("coverage", WIDE, WIDE) as (axes, found):
        points = sorted((row[1], row[2]) for row in rows)
        marker = "o" if len(points) < 4 else None
        axes.plot([x for x, _ in points], [y for _, y in points], color=MAIN, marker=marker)
        if mark is not None:
            axes.plot([mark[1]], [mark[2]], "o", markersize=11, color=OTHER, fillstyle="none", markeredgewidth=2)
        fewest, least = points[0][0], min(y for _, y in points)
        axes.set_xlim(max(0.0, fewest - 0.05), 1 + 0.04 * (1.05 - fewest))
        axes.set_ylim(max(0.0, least - 0.1 * (1 - least) - 0.005), 1 + 0.04 * (1.01 - least))
        axes.set_xlabel("axis_answered")
        axes.set_ylabel("axis_right")
        _shares(axes.xaxis)
        _shares(axes.yaxis)
    return Html(found[0])


def precision_recall(name: str, rows: Sequence[Point], mark: Point | None) -> Html:
    """Rows of (threshold, precision, recall) of one label; ``mark`` is where the bundle answers."""
    with drawing(name, SMALL_WIDE, SMALL_HIGH) as (axes, found):
        points = sorted((row[2], -row[1]) for row in rows)
        axes.plot([x for x, _ in points], [-y for _, y in points], color=MAIN, marker="o" if len(points) < 4 else None)
        if mark is not None:
            axes.plot([mark[2]], [mark[1]], "o", markersize=9, color=OTHER, fillstyle="none", markeredgewidth=2)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks([0, 0.5, 1], ["0", "50%", "100%"])
        axes.set_xlim(0, 1.06)
        axes.set_ylim(0, 1.06)
    return Html(found[0])


def figure(name: str, title: Html, svg: Html, said: object = "", wide: bool = False) -> Html:
    """A drawing with its title above, which screen readers read for it, and a sentence below."""
    below = tag("p", said, class_="note") if said else ""
    return tag("figure", tag("figcaption", title, id=f"{name}-caption"), svg, below, class_="wide" if wide else None)


def legend(*rows: tuple[str, str]) -> Html:
    """(kind of mark, key of its words) for each thing drawn."""
    return tag("span", *(tag("span", tag("i", class_=kind), both(key)) for kind, key in rows), class_="legend")
