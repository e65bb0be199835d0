"""What a report shows of the data: the surest mistakes on dev, right answers, labels that look wrong, lengths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Item = dict[str, Any]

SHOWN = 300  # characters of a text
MISTAKES = 400
EXAMPLES = 3  # right answers a class
SUSPECTS = 100
DOUBTFUL = 0.1  # a label with less than this probability, where the linear model names the same other one
LENGTH_BINS = 30


def items(
    places: Iterable[int], texts: Sequence[str], probabilities: Array, truth: Array, named: Array, labels: Sequence[str]
) -> Iterator[Item]:
    """The texts at some places with their labels: ``truth`` and ``named`` are 0 and 1, ``(B, C)``."""
    for place in places:
        row, true, predicted = probabilities[place], truth[place] > 0, named[place] > 0
        yield {
            "text": texts[place][:SHOWN],
            "cut": len(texts[place]) > SHOWN,
            "true": [labels[each] for each in np.flatnonzero(true).tolist()],
            "predicted": [labels[each] for each in np.flatnonzero(predicted).tolist()],
            "probability": float(row[predicted].max(initial=0.0)),
            "true_probability": float(row[true].min(initial=1.0)),
        }


def collect(
    texts: Sequence[str],
    probabilities: Array,
    truth: Array,
    named: Array,
    labels: Sequence[str],
    linear: Array | None = None,
) -> dict[str, list[Item]]:
    """``mistakes``, ``examples`` and ``suspects`` among held-out texts, the surest first.

    All arrays are ``(B, C)``: probabilities, and 0 and 1 for the true labels, the named ones, and those that the linear
    model names alone. A label is suspect where it has little probability and the linear model makes the same mistake.
    """
    wrong = (truth != named).any(axis=1)
    error = np.where(truth != named, np.abs(probabilities - truth), 0.0).max(axis=1)
    order = np.argsort(-error, kind="stable")
    mistakes = [int(place) for place in order if wrong[place]]
    sure = np.argsort(-probabilities.max(axis=1), kind="stable")
    examples = [int(place) for place in _some(sure[~wrong[sure]], truth)]
    doubtful = np.where(truth > 0, probabilities, 1.0).min(axis=1) < DOUBTFUL
    same = (linear == named).all(axis=1) if linear is not None else np.ones(len(truth), bool)
    suspects = [place for place in mistakes if doubtful[place] and same[place]]
    chosen = {"mistakes": mistakes[:MISTAKES], "examples": examples, "suspects": suspects[:SUSPECTS]}
    return {kind: list(items(places, texts, probabilities, truth, named, labels)) for kind, places in chosen.items()}


def _some(places: Array, truth: Array) -> Iterator[int]:
    """At most so many texts of each class, in the order given."""
    seen: Counter[int] = Counter()
    for place in places:
        classes = np.flatnonzero(truth[place])
        if len(classes) and min(seen[each] for each in classes.tolist()) < EXAMPLES:
            seen.update(classes.tolist())
            yield int(place)


def lengths(train: Array, dev: Array, limit: int) -> dict[str, Any]:
    """Histograms of the numbers of tokens, ``(N,)`` each, over edges that grow by equal factors."""
    longest = int(max(train.max(initial=1), dev.max(initial=1)))
    edges = np.unique(np.geomspace(1, longest + 1, LENGTH_BINS + 1).round().astype(int))
    sides = {"train": train, "dev": dev}
    counts = {name: np.histogram(side, edges)[0].tolist() for name, side in sides.items()}
    return {"edges": edges.tolist(), "limit": limit} | counts


def classes(targets: Array, labels: Sequence[str]) -> dict[str, int]:
    """How many texts have each label; ``targets`` are class numbers ``(B,)``, or 0 and 1 ``(B, C)``."""
    counts = (targets > 0).sum(axis=0) if targets.ndim == 2 else np.bincount(targets, minlength=len(labels))
    return dict(zip(labels, counts.tolist(), strict=True))
