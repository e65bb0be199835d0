"""The sections on scores: the whole against the linear model, and a row a class."""

from __future__ import annotations

from typing import Any

from fenlei.report.markup import Html, joined, label, percent, points, span, tag
from fenlei.report.material import Material, part
from fenlei.report.tables import bar, number, table, word
from fenlei.report.words import both

WORST_FIRST = 12  # of more classes the weakest come first


def scores(found: Material) -> Html:
    """Each score with its interval, the baseline below it, and what the difference says."""
    if not found.dev:
        return tag("p", both("scores_none"))
    names = [name for name in ("accuracy", "micro_f1", "macro_f1") if name in found.dev]
    rows = [row for name in names for row in _rows(found, name)]
    parts = [tag("p", both("scores_lead", n=found.dev.get("n", 0))), _table(rows)]
    parts += [tag("p", verdict(found))] if found.linear or found.alone else []
    if any(row[2] for row in rows):
        chosen = both("scores_chose_epoch") if found.epochs else both("scores_chose_cost")
        parts.append(tag("p", both("scores_interval"), " ", chosen, class_="note"))
    return joined(parts)


def _rows(found: Material, name: str) -> list[tuple[Html, float, Any, str]]:
    """(what, value, interval, kind) of this bundle and, where there is one, of the baseline."""
    rows = [(both(_score(found, name)), float(found.dev[name]), found.dev.get(f"{name}_interval"), "main")]
    if name in found.linear and not found.alone:
        baseline = found.linear.get(f"{name}_interval")
        rows.append((both("linear_alone"), float(found.linear[name]), baseline, "muted"))
    return rows


def _score(found: Material, name: str) -> str:
    return "accuracy_several" if found.several and name == "accuracy" else name


def _table(rows: list[tuple[Html, float, Any, str]]) -> Html:
    """Numbers with their intervals drawn on one common scale."""
    ends = [end for _, value, interval, _ in rows for end in (value, *(interval or ()))]
    low, high = max(0.0, min(ends) - 0.02), min(1.0, max(ends) + 0.02)
    written = [
        (
            tag("td", what, class_=kind),
            number(percent(value)),
            number(span(interval)),
            tag("td", _drawn(value, interval, low, high, kind), class_="ruler"),
        )
        for what, value, interval, kind in rows
    ]
    return table(("score", "value", "interval", "scale"), "tnnt", written)


def _drawn(value: float, interval: Any, low: float, high: float, kind: str) -> Html:
    def at(share: float) -> float:
        return 100 * (share - low) / (high - low) if high > low else 50.0

    left, right = (at(end) for end in (interval or (value, value)))
    line = tag("i", style=f"left:{left:.2f}%;width:{right - left:.2f}%")
    return tag("div", line, tag("b", style=f"left:{at(value):.2f}%"), class_=f"whisker {kind}", aria_hidden="true")


def verdict(found: Material) -> Html:
    """Better than the linear model, worse, or no clear difference; by the paired interval, where there is one."""
    if found.alone:
        return both("verdict_alone")
    lead = part(found.scores, "lead")
    match lead.get("interval"):
        case [low, high]:
            outcome = "better" if low > 0 else "worse" if high < 0 else "even"
            shown = {"gain": points(lead["gain"]), "low": points(low), "high": points(high)}
            return both(f"verdict_{outcome}", **shown) + (both("verdict_several") if found.several else "")
    name = found.score
    if name not in found.linear or name not in found.dev:
        return Html()
    return both("verdict_plain", gain=points(found.dev[name] - found.linear[name]))


def classes(found: Material) -> Html:
    """Precision, recall and F1 a class; of many classes the weakest first."""
    rows = list(part(found.dev, "classes").items())
    if not rows:
        return Html()
    weakest = len(rows) > WORST_FIRST
    if weakest:
        rows.sort(key=lambda row: row[1]["f1"])
    said = tag("p", both("classes_lead"), both("classes_weakest") if weakest else "")
    thresholds = part(found.decisions, "thresholds")
    head = ("class", "support", "precision", "recall", "f1") + (("threshold",) if thresholds else ())
    kinds = "tnnnb" + ("n" if thresholds else "")
    return said + table(head, kinds, [_class(name, row, thresholds) for name, row in rows], sortable=True)


def _class(name: str, row: dict[str, Any], thresholds: dict[str, float]) -> list[Html]:
    cells = [word(label(name), name), number(row["support"], row["support"])]
    cells += [number(percent(row[key]), row[key]) for key in ("precision", "recall")]
    cells.append(bar(percent(row["f1"]), row["f1"]))
    if thresholds:
        threshold = thresholds.get(name)
        cells.append(number("" if threshold is None else f"{threshold:.3f}", threshold))
    return cells
