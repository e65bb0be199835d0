"""What a classifier comes to on held-out texts: scores beside the linear model's, calibration, decisions, evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fenlei import evidence
from fenlei.decisions import Decisions, Rule, best_thresholds, measure
from fenlei.evaluation import calibration, evaluate, evaluate_several, lead
from fenlei.runtime import Predictor
from fenlei.training import Examples

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Held:
    """Held-out texts as the runtime answers them: ``probabilities (B, C)``, and targets as training has them."""

    texts: list[str]
    probabilities: Array
    targets: Array
    labels: list[str]

    @property
    def several(self) -> bool:
        """Whether a text can have several labels: then the targets are 0 and 1, ``(B, C)``, else numbers ``(B,)``."""
        return self.targets.ndim == 2

    @property
    def truth(self) -> Array:
        """0 and 1 for the labels of each text, ``(B, C)``."""
        return self.targets.astype(np.int8) if self.several else one_hot(self.targets, len(self.labels))

    def named(self, found: Decisions) -> Array:
        """0 and 1 for the labels that are named, ``(B, C)``."""
        if not self.several:
            return one_hot(self.probabilities.argmax(1), len(self.labels))
        return (self.probabilities >= found.cutoffs(self.labels, Rule())).astype(np.int8)


def one_hot(numbers: Array, classes: int) -> Array:
    """Class numbers ``(B,)`` as 0 and 1, ``(B, C)``."""
    return np.asarray(numbers[:, None] == np.arange(classes), np.int8)


class Rival(NamedTuple):
    """The linear model alone: its scores of the held-out texts, ``(B, C)``, and the settings that they come from."""

    points: Array
    cost: float
    emphasis: float


def hold(
    predictor: Predictor,
    texts: Sequence[str],
    labels: Sequence[str | Sequence[str]],
    probabilities: Array | None = None,
) -> Held:
    """Texts with their true labels, one or a sequence of them each, answered by ``predictor`` or as ``probabilities``.

    Labels that the classifier does not know are classes too, of probability 0.
    """
    sets = [{found} if isinstance(found, str) else set(found) for found in labels]
    known = predictor.labels + sorted(set().union(*sets) - set(predictor.labels))
    number = {label: place for place, label in enumerate(known)}
    if probabilities is None:
        probabilities = predictor.predict_proba(texts)
    missing = np.zeros((len(probabilities), len(known) - len(predictor.labels)), np.float32)
    truth = np.zeros((len(sets), len(known)), np.int8)
    for row, found in zip(truth, sets, strict=True):
        row[[number[label] for label in found]] = 1
    targets = truth if predictor.several else truth.argmax(1)
    return Held(list(texts), np.concatenate([probabilities, missing], axis=1), targets, known)


def assess(held: Held, found: Decisions) -> dict[str, Any]:
    """Scores of the labels that are named, and how well calibrated their probabilities are."""
    own = scores(held, held.named(found))
    return own | {"calibration": calibrated(held, held.probabilities)}


def scores(held: Held, named: Array) -> dict[str, Any]:
    """``evaluate`` or ``evaluate_several`` of named labels as 0 and 1, ``(B, C)``."""
    if held.several:
        return evaluate_several(held.truth, named, held.labels)
    true, guesses = ([held.labels[place] for place in side.argmax(1)] for side in (held.truth, named))
    return evaluate(true, guesses, held.labels)


def calibrated(held: Held, probabilities: Array) -> dict[str, Any]:
    """The calibration of the likeliest label, or of every label where a text can have several."""
    if held.several:
        return calibration(probabilities.ravel(), held.truth.ravel())
    return calibration(probabilities.max(1), probabilities.argmax(1) == held.targets)


def judge(
    held: Held, raw: Array, baseline: Rival | None, dev: Examples, lengths: tuple[Array, int], train: Array
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Scores, decisions and evidence, as a bundle keeps them.

    ``raw (B, C)`` are the probabilities before calibration, ``lengths`` the training texts' numbers of tokens and their
    limit, ``train`` the training targets.
    """
    found = measure(held.probabilities, held.targets, held.labels)
    truth, named = held.truth, held.named(found)
    result = {"dev": assess(held, found), "uncalibrated_ece": calibrated(held, raw)["ece"]}
    rival = None if baseline is None else alone(baseline, held)
    result |= {"linear": None, "lead": None}
    if baseline is not None and rival is not None:
        own = scores(held, rival)
        settings = {"cost": baseline.cost, "emphasis": baseline.emphasis}
        result["linear"] = {name: own[name] for name in own if name not in ("classes", "confusion", "n")} | settings
        result["lead"] = lead((named == truth).all(1), (rival == truth).all(1))
    shown = evidence.collect(held.texts, held.probabilities, truth, named, held.labels, rival)
    counts = {side: evidence.classes(rows, held.labels) for side, rows in (("train", train), ("dev", truth))}
    histogram = evidence.lengths(lengths[0], dev.encoded.lengths, lengths[1])
    return result, found.to_json(), {"classes": counts, "lengths": histogram} | shown


def alone(baseline: Rival, held: Held) -> Array:
    """0 and 1 for the labels that the linear model names by itself, with its own best thresholds, ``(B, C)``."""
    points = baseline.points
    if not held.several:
        return one_hot(points.argmax(1), len(held.labels))
    return (points >= best_thresholds(points, held.targets)).astype(np.int8)
