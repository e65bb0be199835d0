"""The section on sureness: whether the probabilities hold, and what answering only when sure would bring."""

from __future__ import annotations

from collections.abc import Sequence

from fenlei.report import plots
from fenlei.report.markup import Html, joined, label, percent, tag
from fenlei.report.material import Material, part
from fenlei.report.tables import folded, number, table, word
from fenlei.report.words import both

TARGETS = (0.9, 0.95, 0.98, 0.99)
WANTED = 0.95
MOST_LABELS = 12  # precision-recall curves drawn

Point = Sequence[float]


def sureness(found: Material) -> Html:
    """Reliability and coverage side by side; each left out where it was not recorded."""
    return joined((_pair(_reliability(found), _coverage(found)), _targets(found), _bins(found)))


def _pair(*figures: Html) -> Html:
    drawn = [figure for figure in figures if figure]
    return tag("div", *drawn, class_="pair") if drawn else Html()


def calibration(found: Material) -> str:
    """The expected calibration error in percentage points; empty where it was not recorded."""
    ece = part(found.dev, "calibration").get("ece")
    return "" if ece is None else f"{100 * ece:.1f}"


def bins_of(found: Material) -> list[tuple[int, float, float]]:
    """(n, confidence, accuracy) of the bins that hold answers."""
    bins = part(found.dev, "calibration").get("bins") or []
    return [(each["n"], each["confidence"], each["accuracy"]) for each in bins if each.get("n")]


def _reliability(found: Material) -> Html:
    bins, ece = bins_of(found), calibration(found)
    if not bins:
        return Html()
    before = found.scores.get("uncalibrated_ece")
    said = both("ece_said", ece=ece)
    if before is not None:
        said += both("ece_before", before=f"{100 * before:.1f}")
    return plots.figure("reliability", both("reliability"), plots.reliability(bins), said)


def _coverage(found: Material) -> Html:
    rows = found.decisions.get("coverage") or []
    if not rows:
        return Html()
    mark = reaching(rows, WANTED)
    return plots.figure("coverage", both("coverage"), plots.coverage(rows, mark), threshold_said(mark))


def reaching(rows: Sequence[Point], accuracy: float) -> Point | None:
    """The (threshold, coverage, accuracy) that answers most texts at such an accuracy; None where none does."""
    good = [row for row in rows if row[2] >= accuracy and row[1] > 0]
    return max(good, key=lambda row: (row[1], row[2])) if good else None


def threshold_said(mark: Point | None, wanted: float = WANTED) -> Html:
    """What it takes to be right as often as wanted."""
    if mark is None:
        return both("coverage_never", wanted=f"{wanted:.0%}")
    if mark[1] >= 1:
        return both("coverage_all", wanted=f"{wanted:.0%}", right=percent(mark[2]))
    shown = {"threshold": f"{mark[0]:.3f}", "covered": percent(mark[1]), "right": percent(mark[2])}
    return both("coverage_said", wanted=f"{wanted:.0%}", **shown)


def _targets(found: Material) -> Html:
    rows = found.decisions.get("coverage") or []
    reached = [(target, mark) for target in TARGETS if (mark := reaching(rows, target)) and mark[1] < 1]
    if not reached:
        return Html()
    written = [
        (word(f"{target:.0%}"), number(f"{mark[0]:.3f}"), number(percent(mark[1])), number(percent(mark[2])))
        for target, mark in reached
    ]
    use = both("targets_use", threshold=f"{reached[0][1][0]:.3f}")
    head = ("wanted", "threshold", "answered", "right")
    return tag("h3", both("targets")) + table(head, "tnnn", written) + tag("p", use, class_="note")


def _bins(found: Material) -> Html:
    bins = bins_of(found)
    rows = [(word(percent(sure)), number(percent(right)), number(n)) for n, sure, right in bins]
    return folded(both("numbers_reliability"), table(("sure", "right", "answers"), "tnn", rows)) if rows else Html()


def thresholds(found: Material) -> Html:
    """For several labels a text: precision against recall of the most frequent labels, where each one answers."""
    points = part(found.decisions, "classes") if found.several else {}
    points = {name: rows for name, rows in points.items() if rows}
    if not points:
        return Html()
    support = part(found.dev, "classes")
    names = sorted(points, key=lambda name: -part(support, name).get("support", 0))[:MOST_LABELS]
    drawn = [_label(place, name, points[name], found) for place, name in enumerate(names)]
    more = both("thresholds_more", shown=len(names), n=len(points)) if len(points) > len(names) else ""
    return tag("p", both("thresholds_lead"), more) + tag("div", *drawn, class_="many")


def _label(place: int, name: str, rows: Sequence[Point], found: Material) -> Html:
    chosen = part(found.decisions, "thresholds").get(name)
    scored = part(part(found.dev, "classes"), name)
    mark = None if chosen is None or not scored else (chosen, scored["precision"], scored["recall"])
    at = (
        "" if mark is None else both("threshold_at", threshold=f"{mark[0]:.3f}", p=percent(mark[1]), r=percent(mark[2]))
    )
    return plots.figure(f"pr-{place}", label(name), plots.precision_recall(f"pr-{place}", rows, mark), at)
