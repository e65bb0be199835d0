"""Branches joined into one classifier: weighed against each other and calibrated on held-out documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit, softmax

from fenlei import training
from fenlei.blending import shift, weigh
from fenlei.branch import Branch
from fenlei.folds import Data
from fenlei.layers.wide import WideTable
from fenlei.linear import Linear
from fenlei.models import Classifier, Deep
from fenlei.training import Note, Watch

RECURRENT, LINEAR = "recurrent", "linear"


class Joined(NamedTuple):
    """A classifier; and what it makes of the held-out documents ``rows (B,)``: probabilities ``(B, C)``.

    ``raw`` are the probabilities before calibration, at scales of 1; ``kept`` the places of the networks that answer
    among those that were trained.
    """

    model: Classifier
    rows: npt.NDArray[np.int64]
    raw: npt.NDArray[Any]
    probabilities: npt.NDArray[Any]
    kept: list[int]


def join(trained: Sequence[Branch], data: Data, baseline: Linear | None, watch: Watch) -> Joined:
    """The branches that dev asks for in one classifier, with the scales at which they make dev likeliest together."""
    wide = None
    if baseline is not None:
        wide = WideTable(torch.from_numpy(baseline.weight), torch.from_numpy(baseline.bias))
    Classifier([each.network for each in trained], wide, data.several).halve_tables()
    kinds = kinds_of(trained, data)
    rows, logits = judged(trained, kinds, data, baseline)
    targets = data.dev.targets[rows]
    weights = None if data.dev.weights is None else data.dev.weights[rows]
    scales = weigh(list(logits.values()), targets, weights)
    moved = shift(np.tensordot(scales, np.stack(list(logits.values())), 1), targets, weights)
    scale = dict(zip(logits, (moved.factor * scales).tolist(), strict=True))
    if len(scale) > 1:
        say(scale, moved.offset, watch)
    kept = [place for place, kind in enumerate(kinds) if scale[kind] > 0]  # what has no say need not be stored
    if not any(scale.values()):  # nothing tells anything
        kept = [] if LINEAR in scale else list(range(len(kinds)))
    elif not scale.get(LINEAR):
        wide = None
    classifier = Classifier([trained[place].network for place in kept], wide, data.several)
    put_shares(classifier.branches, [scale[kinds[place]] / kinds.count(kinds[place]) for place in kept])
    deep = sum(value for name, value in scale.items() if name != LINEAR)
    classifier.scales[:] = torch.tensor([deep, 0.0 if wide is None else scale[LINEAR]])
    classifier.offset[:] = torch.from_numpy(moved.offset)
    squash = expit if data.several else partial(softmax, axis=1)
    total = sum(scale[name] * found for name, found in logits.items()) + moved.offset
    return Joined(classifier, rows, squash(unweighed(kinds, logits)), squash(total), kept)


def kinds_of(trained: Sequence[Branch], data: Data) -> list[str]:
    """What each network is weighed with: those of its kind.

    Where documents are crossed each is judged by one network alone, and so all of them together.
    """
    names = [str(each.recipe.model) for each in trained]
    return [RECURRENT] * len(names) if data.crossed or len(set(names)) == 1 else names


def judged(
    trained: Sequence[Branch], kinds: Sequence[str], data: Data, baseline: Linear | None
) -> tuple[npt.NDArray[np.int64], dict[str, npt.NDArray[np.float32]]]:
    """The rows of the held-out documents that every kind has judged, and the mean logits of each kind, ``(B, C)``.

    Where training was broken off a part may have no network.
    """
    held = len(data.dev.targets)
    total = {kind: np.zeros((held, len(data.labels)), np.float32) for kind in kinds}
    count = {kind: np.zeros((held, 1), np.float32) for kind in kinds}
    for each, kind in zip(trained, kinds, strict=True):
        total[kind][each.part.rows] += training.predict(each.network, each.part.dev.encoded, each.recipe)
        count[kind][each.part.rows] += 1
    rows = np.flatnonzero(np.all([found > 0 for found in count.values()], axis=0)) if trained else np.arange(held)
    logits = {kind: found[rows] / count[kind][rows] for kind, found in total.items()}
    return rows, logits if baseline is None else logits | {LINEAR: baseline.held[rows]}


def unweighed(kinds: Sequence[str], logits: Mapping[str, npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """The mean logits of all networks, and the linear model's added: what there is before anything is weighed."""
    total = sum(found * kinds.count(name) / len(kinds) for name, found in logits.items() if name != LINEAR)
    return np.asarray(total + logits.get(LINEAR, np.float32(0)), np.float32)


def put_shares(networks: Sequence[Deep], shares: Sequence[float]) -> None:
    """Make the mean of the networks' logits one in which each has its share: its dense layer is scaled.

    Networks of equal shares are left as they are.
    """
    if len(set(shares)) > 1:
        for network, share in zip(networks, shares, strict=True):
            for weight in network.dense.parameters():
                weight.data *= share * len(shares) / sum(shares)


def say(scale: Mapping[str, float], offset: npt.NDArray[Any], watch: Watch) -> None:
    """Who answers, and by how much each counts; a kind that has no say is left out."""
    deep = [value for name, value in scale.items() if name != LINEAR]
    which = {(True, True): "both branches", (True, False): "the recurrent branch alone"}
    used = which.get((any(deep), scale.get(LINEAR, 0) > 0), "the linear branch alone")
    silent = [name for name, value in scale.items() if not value and name not in (RECURRENT, LINEAR)]
    if silent and any(deep):
        used += f" without {' and '.join(silent)}"
    sums = " + ".join(f"{value:.2f} x {name}" for name, value in scale.items())
    added = " + an offset a class" if offset.any() else ""
    watch(Note(f"the bundle answers by {used}: logits = {sums}{added}"))
