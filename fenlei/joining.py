"""Branches joined into one classifier: weighed against each other and calibrated on held-out documents."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit, softmax

from fenlei import training
from fenlei.blending import shift, weigh
from fenlei.folds import Data
from fenlei.layers.wide import WideTable
from fenlei.linear import Linear
from fenlei.models import Classifier, Deep
from fenlei.recipe import Recipe
from fenlei.training import Note, Watch


class Joined(NamedTuple):
    """A classifier; and what it makes of the held-out documents ``rows (B,)``: probabilities ``(B, C)``.

    ``raw`` are the probabilities before calibration, at scales of 1.
    """

    model: Classifier
    rows: npt.NDArray[np.int64]
    raw: npt.NDArray[Any]
    probabilities: npt.NDArray[Any]


def join(branches: list[Deep], data: Data, recipe: Recipe, baseline: Linear | None, watch: Watch) -> Joined:
    """The branches that dev asks for in one classifier, with the scales at which they make dev likeliest together."""
    wide = None
    if baseline is not None:
        wide = WideTable(torch.from_numpy(baseline.weight), torch.from_numpy(baseline.bias))
    classifier = Classifier(branches, wide, data.several)
    classifier.halve_tables()
    rows, kinds = judged(branches, data, recipe, baseline)
    targets = data.dev.targets[rows]
    weights = None if data.dev.weights is None else data.dev.weights[rows]
    scales = weigh(kinds, targets, weights)
    moved = shift(np.tensordot(scales, np.stack(kinds), 1), targets, weights)
    scales = moved.factor * scales
    if len(kinds) == 2:
        which = {(True, True): "both branches", (True, False): "the recurrent branch alone"}
        used = which.get((scales[0] > 0, scales[1] > 0), "the linear branch alone")
        offset = " + an offset a class" if moved.offset.any() else ""
        sums = f"logits = {scales[0]:.2f} x recurrent + {scales[1]:.2f} x linear{offset}"
        watch(Note(f"the bundle answers by {used}: {sums}"))
        if scales[0] == 0:  # what has no say need not be stored and computed
            classifier = Classifier([], wide, data.several)
        elif scales[1] == 0:
            classifier = Classifier(branches, several=data.several)
    classifier.scales[:] = torch.tensor([scales[0] if branches else 0.0, scales[-1] if wide else 0.0])
    classifier.offset[:] = torch.from_numpy(moved.offset)
    squash = expit if data.several else partial(softmax, axis=1)
    found = np.tensordot(scales, np.stack(kinds), 1) + moved.offset
    return Joined(classifier, rows, squash(np.sum(kinds, axis=0)), squash(found))


def judged(
    branches: list[Deep], data: Data, recipe: Recipe, baseline: Linear | None
) -> tuple[npt.NDArray[np.int64], list[npt.NDArray[np.float32]]]:
    """The rows of the held-out documents that every kind of branch has judged, and the logits of each kind, ``(B, C)``.

    Where training was broken off a part may have no network.
    """
    if not branches:
        assert baseline is not None
        return np.arange(len(baseline.held)), [baseline.held]
    held = len(data.dev.targets)
    total, count = np.zeros((held, len(data.labels)), np.float32), np.zeros((held, 1), np.float32)
    for branch, part in zip(branches, data.parts, strict=False):
        total[part.rows] += training.predict(branch, part.dev.encoded, recipe)
        count[part.rows] += 1
    rows = np.flatnonzero(count)
    deep: npt.NDArray[np.float32] = total[rows] / count[rows]
    return rows, [deep] if baseline is None else [deep, baseline.held[rows]]
