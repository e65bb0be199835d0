"""The sections on single texts: the most confident mistakes with their words coloured, and labels that look wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fenlei.explain import Explanation, explain
from fenlei.explain.drawing import shades
from fenlei.explain.occlusion import cut
from fenlei.report.markup import TEXT_CHARACTERS, Html, escaped, labels, percent, tag, text
from fenlei.report.material import Material
from fenlei.report.tables import folded
from fenlei.report.words import both

MOST_EXPLAINED = 20
EFFORT = 500_000  # characters read at most for the colours: a few seconds
MOST_OPEN = 20  # suspects shown before the fold

Item = dict[str, Any]


def mistakes(found: Material) -> Html:
    """The surest wrong answers; a word's colour is what its absence would change."""
    items = found.items("mistakes")
    if not found.several:  # with several labels, one that is named rightly would count
        items.sort(key=lambda each: -float(each["probability"]))
    if not items:
        return tag("p", both("mistakes_none")) if found.evidence else Html()
    explained = dict(explanations(found, items))
    shown = [item(each, explained.get(place)) for place, each in enumerate(items[:MOST_EXPLAINED])]
    lead = tag("p", both("mistakes_lead"), " ", _legend() if explained else "")
    return lead + tag("ol", *shown, class_="items")


def explanations(found: Material, items: list[Item]) -> Iterator[tuple[int, Explanation]]:
    """An explanation of the first label wrongly given, text by text, as far as the effort goes."""
    left = EFFORT
    for place, each in enumerate(items[:MOST_EXPLAINED]):
        content = str(each["text"])[:TEXT_CHARACTERS]
        wrong = [name for name in each["predicted"] if name not in each["true"] and name in found.predictor.labels]
        if not wrong:
            continue
        left -= len(content) * (1 + sum(bool(word.strip()) for word in cut(content)))
        if left < 0:
            return
        yield place, explain(found.predictor, content, wrong[0])


def _legend() -> Html:
    return both("legend", warm=tag("span", both("orange"), class_="f4"), cool=tag("span", both("blue"), class_="a4"))


def item(each: Item, explanation: Explanation | None = None, bare: bool = False) -> Html:
    """One text with its labels; ``bare`` where heads already say which."""
    content = text(each["text"], each.get("cut", False)) if explanation is None else _coloured(explanation, each)
    sure = percent(each["probability"])
    true, predicted = each["true"], each["predicted"]
    if bare:
        said = both("item_sure", sure=sure)
    elif true == predicted:
        said = both("item_right", true=labels(true), sure=sure)
    elif not predicted:
        said = both("item_missed", true=labels(true), less=percent(each["true_probability"]))
    else:
        expected = labels(true) if true else both("no_label")
        said = both(
            "item_wrong", true=expected, predicted=labels(predicted), sure=sure, less=percent(each["true_probability"])
        )
    return tag("li", tag("p", content), tag("p", said, class_="said"))


def _coloured(explanation: Explanation, each: Item) -> Html:
    pieces = [_piece(*shaded) for shaded in shades(explanation)]
    return tag("bdi", *pieces, "…" if each.get("cut") else "", class_="text", dir="auto")


def _piece(piece: str, weight: float, depth: int) -> Html:
    if not depth:
        return escaped(piece)
    return tag("span", piece, class_=f"{'f' if depth > 0 else 'a'}{abs(depth)}", title=f"{weight:+.2f}")


def suspects(found: Material) -> Html:
    """Held-out documents whose label another one would fit better, the most suspicious first."""
    items = found.items("suspects")
    if not items:
        return tag("p", both("suspects_none")) if found.evidence else Html()
    first, rest = items[:MOST_OPEN], items[MOST_OPEN:]
    lead = tag("p", both("suspects_lead", n=len(items)))
    listed = tag("ol", *map(_suspect, first), class_="items")
    more = tag("ol", *map(_suspect, rest), class_="items", start=str(len(first) + 1))
    return lead + listed + (folded(both("suspects_more", n=len(rest)), more) if rest else Html())


def _suspect(each: Item) -> Html:
    shown = {"true": labels(each["true"]), "predicted": labels(each["predicted"])}
    sure, less = percent(each["probability"]), percent(each["true_probability"])
    said = both("suspect_said", sure=sure, less=less, **shown)
    return tag("li", tag("p", text(each["text"], each.get("cut", False))), tag("p", said, class_="said"))
