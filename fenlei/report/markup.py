"""HTML that is escaped by construction: whatever is not markup already becomes text, and every number gets its form."""

from __future__ import annotations

import html
from collections.abc import Iterable

from fenlei.screen import legible, shortened

VOID = frozenset(("input", "meta"))
LABEL_COLUMNS = 28  # a longer label is shortened; the whole of it stands in its title
TEXT_CHARACTERS = 300


class Html(str):
    """Text that is markup already."""

    __slots__ = ()

    def __add__(self, other: str) -> Html:
        return Html(str.__add__(self, escaped(other)))


def escaped(value: object) -> Html:
    """Any value as markup: text is escaped, line ends stay, what shows as nothing is written out; 1234 is 1,234."""
    if isinstance(value, Html):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Html(f"{value:,}")
    return Html(html.escape("\n".join(legible(line) for line in str(value).split("\n"))))


def joined(parts: Iterable[object]) -> Html:
    """Parts one after the other."""
    return Html("".join(map(escaped, parts)))


def tag(name: str, *children: object, **attributes: object) -> Html:
    """An element; ``class_`` is class, ``data_v`` is data-v, True an attribute without value, None and False none."""
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{joined(children)}</{name}>")


def _attribute(key: str, value: object) -> str:
    key = key.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    return f" {key}" if value is True else f' {key}="{escaped(str(value))}"'


def label(name: object, room: int = LABEL_COLUMNS) -> Html:
    """A label that keeps its direction to itself; an empty one is shown as quotes."""
    whole = legible(str(name)) or '""'
    shown = shortened(whole, room)
    return tag("bdi", shown, title=None if shown == whole else whole)


def labels(names: Iterable[object]) -> Html:
    """Several labels, with commas."""
    return Html(", ".join(map(label, names)))


def text(content: object, cut: bool = False) -> Html:
    """A document's text, at most 300 characters of it."""
    whole = str(content)
    cut = cut or len(whole) > TEXT_CHARACTERS
    return tag("bdi", whole[:TEXT_CHARACTERS] + ("…" if cut else ""), class_="text", dir="auto")


def percent(share: float) -> str:
    """0.8771 as 87.7%; what would round to all or nothing and is not keeps a sign that says so."""
    shown = f"{share:.1%}"
    if shown == "100.0%":
        return "100%" if share >= 1 else ">99.9%"
    return "<0.1%" if shown == "0.0%" and share > 0 else shown


def points(difference: float) -> str:
    """0.0123 as +1.2, in percentage points."""
    shown = f"{100 * difference:+.1f}"
    return "0.0" if shown in ("+0.0", "-0.0") else shown.replace("-", "−")


def span(interval: object) -> str:
    """A confidence interval of shares, 84.9 to 90.6%; nothing where there is none."""
    match interval:
        case [int() | float() as low, int() | float() as high]:
            return f"{100 * low:.1f}–{100 * high:.1f}%"
    return ""


def size(count: int) -> str:
    """Bytes for people."""
    for unit, worth in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= worth:
            return f"{count / worth:.3g} {unit}" if count < 100 * worth else f"{count / worth:,.0f} {unit}"
    return f"{count} bytes"
