"""Tables: rows of cells, numbers to the right, bars behind numbers, all within a box that scrolls by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fenlei.report.markup import Html, tag
from fenlei.report.words import both

LONG = 24  # more rows get a box of limited height


def word(content: object, sort: object = None) -> Html:
    """A cell of text; ``sort`` is what it is ordered by."""
    return tag("td", content, data_v=None if sort is None else str(sort))


def number(shown: object, value: float | None = None) -> Html:
    """A cell with a number to the right; ``value`` is what it is ordered by."""
    return tag("td", shown, class_="n", data_v=None if value is None else f"{value:.6g}")


def bar(shown: object, share: float) -> Html:
    """A number with a bar of its share of the room behind it."""
    filled = f"--v:{min(max(share, 0.0), 1.0):.4f}"
    return tag("td", tag("span", shown), class_="b", style=filled, data_v=f"{share:.6g}")


def table(head: Sequence[str], kinds: str, rows: Iterable[Sequence[Html]], *, sortable: bool = False) -> Html:
    """Keys of words as column heads, then rows of cells; ``kinds`` has a letter a column: t(ext), n(umber), b(ar)."""
    kept = [tag("tr", *row) for row in rows]
    classes = [None if kind == "t" else kind for kind in kinds]
    heads = [tag("th", tag("span", both(k)), scope="col", class_=c) for k, c in zip(head, classes, strict=True)]
    body = tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *kept), class_="sortable" if sortable else None)
    return tag("div", body, class_="box long", tabindex="0") if len(kept) > LONG else tag("div", body, class_="box")


def facts(rows: Iterable[tuple[object, object]]) -> Html:
    """Names and values."""
    written = [tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in rows]
    return tag("div", tag("table", *written), class_="box facts")


def folded(title: object, *content: object) -> Html:
    """Content that opens on demand, and on paper."""
    return tag("details", tag("summary", title), *content)
