"""When a probability is enough: the rule that a caller asks for, and the curves on dev that answer it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[Any]
Truth = npt.NDArray[Any]

COVERAGES = np.arange(100, 49, -1) / 100  # of the dev texts: the points of the coverage curve
POINTS = 20  # of a class's curve
DOUBT = 3  # texts: a label with as many has a threshold halfway between its own best and that of all labels together


@dataclass(frozen=True)
class Rule:
    """How many labels to name, and when to name none. Numbers out of their range are a ``ValueError``.

    ``top``: so many labels, the likeliest first; None for the one label, or for every label that applies where a text
    can have several. ``threshold``: no label that is less probable. ``coverage``: only as many texts as make up this
    share of dev are answered, the surest; the rest is unknown. ``precision``: a label is named from the probability on
    at which it was right this often on dev. ``best_f1``: a label is named from the probability on that gave it the best
    F1 on dev; where a text can have several labels that is the rule in any case.
    """

    top: int | None = None
    threshold: float | None = None
    coverage: float | None = None
    precision: float | None = None
    best_f1: bool = False

    def __post_init__(self) -> None:
        if self.top is not None and (type(self.top) is not int or self.top < 1):
            raise ValueError(f"top must be a whole number of at least 1, got {self.top!r}")
        for name in ("threshold", "coverage", "precision"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, float | int) and 0 <= value <= 1):
                raise ValueError(f"{name} must be a number from 0 to 1, got {value!r}")
        if not isinstance(self.best_f1, bool):
            raise ValueError(f"best_f1 must be true or false, got {self.best_f1!r}")
        given = [value is not None for value in (self.threshold, self.coverage, self.precision)]
        if sum(given) + self.best_f1 > 1:
            raise ValueError("threshold, coverage, precision and best_f1 exclude one another: give one of them")


class Cover(NamedTuple):
    """Answering from ``threshold`` on covers a share of the dev texts, and is right on a share of these."""

    threshold: float
    coverage: float
    accuracy: float


class Point(NamedTuple):
    """Naming a label from ``threshold`` on has this precision and recall on dev."""

    threshold: float
    precision: float
    recall: float


@dataclass(frozen=True)
class Decisions:
    """What dev says about every threshold. ``several`` says whether a text can have more than one label.

    ``coverage`` is the curve of the surest texts, thresholds rising; ``classes`` holds a curve a label, thresholds
    rising; ``thresholds``, only with several labels, the probability from which on each label applies.
    """

    several: bool = False
    coverage: tuple[Cover, ...] = ()
    classes: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def cutoffs(self, labels: Sequence[str], rule: Rule) -> npt.NDArray[np.float64]:
        """The probability from which on each label is named, ``(C,)``; inf where dev saw none precise enough.

        A rule that needs a curve which is not there is a ``ValueError``.
        """
        if rule.coverage is not None:
            return np.full(len(labels), self._covering(rule.coverage))
        if rule.precision is not None or (rule.best_f1 and not self.several):
            if not self.classes:
                raise ValueError("this classifier knows no precisions: it was trained without held-out texts")
            curves = [self.classes.get(label, ()) for label in labels]
            wanted = rule.precision
            return np.array([best_point(each) if wanted is None else precise(each, wanted) for each in curves])
        if rule.threshold is not None:
            return np.full(len(labels), float(rule.threshold))
        return np.array([self.thresholds.get(label, 0.5 if self.several else 0.0) for label in labels])

    def _covering(self, share: float) -> float:
        """The highest threshold that still answers this share of dev."""
        if self.several:
            raise ValueError("coverage is for one label a text; here a text can have several: use precision")
        if not self.coverage:
            raise ValueError("this classifier knows no coverage: it was trained without held-out texts")
        return max((cover.threshold for cover in self.coverage if cover.coverage >= share), default=0.0)

    def to_json(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {
            "kind": "several" if self.several else "one",
            "coverage": [list(cover) for cover in self.coverage],
            "classes": {label: [list(point) for point in curve] for label, curve in self.classes.items()},
            "thresholds": dict(self.thresholds),
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Decisions:
        """Read back what ``to_json`` wrote; nothing at all is one label a text without curves. Else ``ValueError``."""
        if not found:
            return cls()
        try:
            if found["kind"] not in ("one", "several"):
                raise ValueError(found["kind"])
            return cls(
                found["kind"] == "several",
                tuple(Cover(*map(float, each)) for each in found["coverage"]),
                {str(label): tuple(Point(*map(float, p)) for p in curve) for label, curve in found["classes"].items()},
                {str(label): float(value) for label, value in found["thresholds"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"decisions.json holds no decisions ({error!r})") from error


def measure(probabilities: Floats, truth: Truth, labels: Sequence[str]) -> Decisions:
    """The curves on held-out texts: ``probabilities (B, C)``; ``truth`` class numbers ``(B,)`` or 0 and 1 ``(B, C)``.

    Thresholds are probabilities that occurred, rounded down to six decimals; the shares are those at the rounded ones.
    """
    if truth.ndim == 1:
        best, surest = probabilities.argmax(1), probabilities.max(1).astype(np.float64)
        right = best == truth
        curves = {
            label: curve(surest[best == place], right[best == place], int((truth == place).sum()))
            for place, label in enumerate(labels)
        }
        return Decisions(False, covers(surest, right), curves)
    applies = truth > 0
    curves = {
        label: curve(probabilities[:, place].astype(np.float64), applies[:, place], int(applies[:, place].sum()))
        for place, label in enumerate(labels)
    }
    return Decisions(True, (), curves, dict(zip(labels, best_thresholds(probabilities, truth), strict=True)))


def best_thresholds(scores: Floats, truth: Truth) -> list[float]:
    """The threshold of the best F1 for each label, from scores and 0 and 1, ``(B, C)`` both.

    A label with few texts leans towards the threshold that is best for all labels together, ``n / (n + DOUBT)`` its
    own. Halves of go_emotions' dev set, each judged by the other, had micro-F1 0.571 and macro-F1 0.452 so; with one
    common threshold for the labels of under ten texts 0.568 and 0.449.
    """
    points, applies = scores.astype(np.float64), truth > 0
    shared = best_threshold(points.ravel(), applies.ravel())
    own = np.array([best_threshold(column, inside) for column, inside in zip(points.T, applies.T, strict=True)])
    trust = applies.sum(0) / (applies.sum(0) + DOUBT)
    return [float(each) for each in trust * own + (1 - trust) * shared]


def covers(surest: Floats, right: npt.NDArray[np.bool_]) -> tuple[Cover, ...]:
    """The coverage curve (El-Yaniv and Wiener 2010) at the shares ``COVERAGES``, thresholds rising from 0."""
    order = np.sort(surest)[::-1]
    thresholds = rounded(np.array([0.0, *(order[int(np.ceil(share * len(order))) - 1] for share in COVERAGES)]))
    above = surest >= thresholds[:, None]
    answered = above.sum(1)
    found = zip(thresholds, answered / len(surest), (above & right).sum(1) / answered, strict=True)
    return tuple(Cover(*map(float, each)) for each in found)


def curve(surest: Floats, right: npt.NDArray[np.bool_], total: int) -> tuple[Point, ...]:
    """Precision and recall of one label at up to ``POINTS`` probabilities that right answers had, rising."""
    hits = np.sort(surest[right])
    thresholds = rounded(hits[np.linspace(0, len(hits) - 1, min(POINTS, len(hits))).astype(int)])
    above = surest >= thresholds[:, None]
    caught = (above & right).sum(1)
    found = zip(thresholds, caught / np.maximum(1, above.sum(1)), caught / max(1, total), strict=True)
    return tuple(Point(float(threshold), round(float(p), 6), round(float(r), 6)) for threshold, p, r in found)


def rounded(probabilities: Floats) -> npt.NDArray[np.float64]:
    """The distinct values, rising, rounded down so that what had them still passes."""
    return np.unique(np.floor(probabilities.astype(np.float64) * 1e6) / 1e6)


def precise(points: Sequence[Point], wanted: float) -> float:
    """The lowest threshold whose precision is at least ``wanted``: as many answers as that allows."""
    return min((point.threshold for point in points if point.precision >= wanted), default=float("inf"))


def best_point(points: Sequence[Point]) -> float:
    """The threshold of the best F1 on a curve, the lowest of several; 0 for a label that was never right on dev."""
    scored = [(2 * each.precision * each.recall / (each.precision + each.recall), -each.threshold) for each in points]
    return -max(scored, default=(0.0, 0.0))[1]


def best_threshold(probabilities: Floats, inside: npt.NDArray[np.bool_]) -> float:
    """The threshold of the best F1, halfway to the next lower probability; 0.5 where nothing is ``inside``.

    Below the lowest stands 0, or if scores that are no probabilities are lower, nothing.
    """
    if not inside.any():
        return 0.5
    order = np.argsort(-probabilities, kind="stable")
    ranked, hits = probabilities[order], np.cumsum(inside[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + hits[-1])
    f1[:-1][ranked[:-1] == ranked[1:]] = 0  # equal probabilities cannot be told apart
    place = int(f1.argmax())
    below = ranked[place + 1] if place + 1 < len(ranked) else min(0.0, ranked[place])
    return float((ranked[place] + below) / 2)
