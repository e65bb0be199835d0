"""True against predicted labels, in numbers: accuracy, F1, per class, confusion, calibration, how sure each of them is.

The scores' formulas are scikit-learn's.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

Array = npt.NDArray[Any]
Interval = list[float]

BINS = 15  # of equal width, as in Guo et al. 2017
DRAWS = 1000  # of the bootstrap
BLOCK = 50  # of them in memory at a time
CONFIDENCE = 0.95
NORMAL = 1.959964  # the 97.5 % point of the normal distribution


def evaluate(true: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """``accuracy``, ``macro_f1``, ``n``; ``classes`` with precision, recall, f1, support; ``confusion`` rows.

    ``macro_f1`` is the mean over every class in ``labels`` or ``true`` that stands in ``true`` or ``predicted``. Labels
    that only ``true`` has (the classifier never learned them) are classes too, each with recall 0. The 95 % intervals
    are Wilson's for accuracy, and for macro-F1 a bootstrap of the documents.
    """
    if not true:
        raise ValueError("there is nothing to evaluate: no documents with labels")
    present = set(true) | set(predicted)
    names = [label for label in labels if label in present] + sorted(set(true) - set(labels))
    with warnings.catch_warnings():  # one class alone is a result like any other
        warnings.filterwarnings("ignore", "A single label was found", UserWarning)
        found = precision_recall_fscore_support(true, predicted, labels=names, zero_division=0.0)
        confusion = confusion_matrix(true, predicted, labels=names)
    right = int(np.trace(confusion))
    return {
        "accuracy": float(accuracy_score(true, predicted)),
        "accuracy_interval": share_interval(right, len(true)),
        "macro_f1": float(found[2].mean()),
        "macro_f1_interval": macro_f1_interval(confusion),
        "n": len(true),
        "classes": class_rows(names, found),
        "confusion": {"labels": names, "rows": confusion.tolist()},
    }


def evaluate_several(true: Array, predicted: Array, labels: Sequence[str]) -> dict[str, Any]:
    """The same where a text can have several labels: ``true`` and ``predicted`` are 0 and 1, ``(B, C)``.

    ``micro_f1`` counts every label of every text alike, ``macro_f1`` every class; ``accuracy`` is the share of texts
    with all labels right and no other. Labels that no text has and none was given are left out. The 95 % intervals are
    a bootstrap of the documents.
    """
    if not len(true):
        raise ValueError("there is nothing to evaluate: no documents with labels")
    used = np.asarray((true | predicted).any(axis=0))
    names = [label for label, there in zip(labels, used, strict=True) if there]
    true, predicted = true[:, used], predicted[:, used]
    if not names:  # nothing is true of any text, and nothing was said: right, but no F1 can be counted
        scores = {"accuracy": 1.0, "micro_f1": 0.0, "macro_f1": 0.0, "n": len(true), "classes": {}}
        return scores | {"micro_f1_interval": [0.0, 0.0], "macro_f1_interval": [0.0, 0.0]}
    both = (np.pad(side, ((0, 0), (0, 1))) for side in (true, predicted))  # one column would be taken for two classes
    count = partial(precision_recall_fscore_support, *both, labels=range(len(names)), zero_division=0.0)
    found, micro = count(average=None), count(average="micro")
    micro_interval, macro_interval = f1_intervals(true, predicted)
    return {
        "accuracy": float((true == predicted).all(axis=1).mean()),
        "micro_f1": float(micro[2]),
        "micro_f1_interval": micro_interval,
        "macro_f1": float(found[2].mean()),
        "macro_f1_interval": macro_interval,
        "n": len(true),
        "classes": class_rows(names, found),
    }


def class_rows(names: Sequence[str], found: Sequence[Array]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support of each class."""
    precision, recall, f1, support = found
    return {
        name: {
            "precision": float(precision[i]),
            "recall": float(recall[i]),
            "f1": float(f1[i]),
            "support": int(support[i]),
        }
        for i, name in enumerate(names)
    }


def share_interval(hits: int, total: int) -> Interval:
    """The 95 % interval of a share (Wilson 1927)."""
    found = binomtest(hits, total).proportion_ci(CONFIDENCE, method="wilson")
    return [float(found.low), float(found.high)]


def macro_f1_interval(confusion: Array) -> Interval:
    """The 95 % interval of macro-F1: documents drawn again with replacement, which is to draw the cells they fall into.

    Classes that a draw misses altogether are left out of its mean.
    """
    rows, columns = np.nonzero(confusion)
    counts = confusion[rows, columns]
    size, found = len(confusion), []
    for draws in resamples(counts / counts.sum(), int(counts.sum())):
        hits, sums = np.zeros((2, len(draws), size))
        for cell, (row, column) in enumerate(zip(rows, columns, strict=True)):
            sums[:, row] += draws[:, cell]
            sums[:, column] += draws[:, cell]
            if row == column:
                hits[:, row] += draws[:, cell]
        found.append(_macro(hits, sums))
    return _spread(found)


def f1_intervals(true: Array, predicted: Array) -> tuple[Interval, Interval]:
    """The 95 % intervals of micro-F1 and macro-F1 where texts have several labels, ``(B, C)`` of 0 and 1."""
    total = len(true)
    both = (true & predicted).astype(np.float32)
    either = true.astype(np.float32) + predicted.astype(np.float32)
    micro, macro = [], []
    for draws in resamples(np.full(total, 1 / total), total):
        weights = draws.astype(np.float32)
        hits, sums = weights @ both, weights @ either
        micro.append(2 * hits.sum(1) / np.maximum(1, sums.sum(1)))
        macro.append(_macro(hits, sums))
    return _spread(micro), _spread(macro)


def resamples(shares: Array, total: int) -> Iterator[Array]:
    """How often each of several things is drawn in ``total`` draws, ``DRAWS`` times, in blocks ``(b, N)``."""
    chance = np.random.default_rng(0)
    for _ in range(DRAWS // BLOCK):
        yield chance.multinomial(total, shares, size=BLOCK)


def _macro(hits: Array, sums: Array) -> Array:
    """The mean F1 of the classes that are there, a row a draw: ``2 hits / (true + predicted)``."""
    return np.asarray((2 * hits / np.maximum(1, sums)).sum(1) / np.maximum(1, (sums > 0).sum(1)))


def _spread(draws: Sequence[Array]) -> Interval:
    tail = (1 - CONFIDENCE) / 2
    return [float(each) for each in np.quantile(np.concatenate(draws), [tail, 1 - tail])]


def lead(right: Array, rival: Array) -> dict[str, Any]:
    """How much more often ``right (B,)`` than ``rival (B,)`` on the same texts: the gain, and its 95 % interval.

    The paired difference of two shares, with the normal approximation (McNemar 1947).
    """
    gains = right.astype(float) - rival.astype(float)
    margin = NORMAL * float(gains.std()) / np.sqrt(len(gains))
    return {"gain": float(gains.mean()), "interval": [float(gains.mean() - margin), float(gains.mean() + margin)]}


def calibration(confidences: Array, right: Array) -> dict[str, Any]:
    """Whether probabilities mean what they say: ``ece = sum_b n_b / n |accuracy_b - confidence_b|`` over 15 bins.

    Expected calibration error (Naeini et al. 2015; Guo et al. 2017). ``bins`` that hold texts, from low to high, with
    ``n``, mean ``confidence`` and ``accuracy``.
    """
    place = np.minimum((confidences * BINS).astype(int), BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    sums = np.bincount(place, confidences, BINS), np.bincount(place, right, BINS)
    bins = [
        {"n": int(n), "confidence": float(confidence / n), "accuracy": float(accuracy / n)}
        for n, confidence, accuracy in zip(counts, *sums, strict=True)
        if n
    ]
    error = sum(each["n"] * abs(each["accuracy"] - each["confidence"]) for each in bins) / max(1, len(confidences))
    return {"ece": float(error), "bins": bins}
