"""Weighing the branches against each other, and calibrating their sum, on held-out documents.

Targets are class numbers ``(B,)``, or 0 and 1 ``(B, C)`` where a text can have several labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.optimize
from scipy.special import expit, log_expit, log_softmax

Floats = npt.NDArray[np.float32]
Array = npt.NDArray[Any]
Scales = npt.NDArray[np.float64]

ENOUGH = 100  # held-out texts a class: with fewer an offset a class flatters the very texts it was fitted on
RIDGE = 1.0  # on the offsets: what a class with few texts seems to need is not believed
FOLDS = 5


class Shift(NamedTuple):
    """``logits -> factor * logits + offset``, the offset ``(C,)`` of mean 0 where the classes exclude one another."""

    factor: float
    offset: Scales


def weigh(branches: Sequence[Floats], targets: Array, weights: Floats | None = None) -> Scales:
    """One scale a branch: the likeliest blend of all, unless a branch alone (the others 0) is clearly more accurate.

    Clearly is by more than one standard error of the paired difference: ``sum d > sqrt(sum d^2)`` over the documents,
    ``d`` 1 where only the branch is right and -1 where only the blend is (McNemar 1947, times the documents' weights).
    Where a text can have several labels the likeliest blend it is.
    """
    best = blend(branches, targets, weights)
    for place, branch in enumerate(branches if len(branches) > 1 and targets.ndim == 1 else ()):
        alone = np.zeros(len(branches))
        alone[place] = blend([branch], targets, weights)[0]
        gains = _right(alone, branches, targets) - _right(best, branches, targets)
        gains = gains if weights is None else gains * weights
        if gains.sum() > np.sqrt((gains * gains).sum()):
            best = alone
    return best


def _right(scales: Scales, branches: Sequence[Floats], targets: Array) -> npt.NDArray[np.float64]:
    """1 for each document whose likeliest class is the true one."""
    return np.asarray(np.tensordot(scales, np.stack(branches), 1).argmax(1) == targets, np.float64)


def blend(branches: Sequence[Floats], targets: Array, weights: Floats | None = None) -> Scales:
    """One scale a branch, none negative, that make ``sum_k scale_k * logits_k`` likeliest on held-out data.

    A convex problem of one or two numbers: temperature scaling (Guo et al. 2017) and stacking (Wolpert 1992) at once.
    """
    stacked = np.stack([branch.astype(np.float64) for branch in branches])

    def loss(scales: Scales) -> tuple[float, Scales]:
        losses, slopes = likelihood(np.tensordot(scales, stacked, 1), targets)
        slope = (slopes * stacked).sum(2)
        return float(np.average(losses, weights=weights)), np.average(slope, axis=1, weights=weights)

    result = scipy.optimize.minimize(
        loss, np.ones(len(branches)), jac=True, bounds=[(0.0, 20.0)] * len(branches), method="L-BFGS-B"
    )
    return np.asarray(result.x)


def likelihood(logits: Array, targets: Array) -> tuple[Array, Array]:
    """The negative logarithm of each document's likelihood, ``(B,)``, and its slope in the logits, ``(B, C)``."""
    if targets.ndim == 1:
        logs = log_softmax(logits, axis=1)
        rows = np.arange(len(targets))
        slopes = np.exp(logs)
        slopes[rows, targets] -= 1
        return -logs[rows, targets], slopes
    signs = 2.0 * targets - 1
    return -log_expit(signs * logits).sum(1), expit(logits) - targets


def shift(logits: Array, targets: Array, weights: Floats | None = None) -> Shift:
    """A factor and an offset a class that calibrate ``logits (B, C)``, where held-out data allows an offset.

    Bias-corrected temperature scaling (Alexandari et al. 2020) with a ridge, so that rare classes hardly move. Where
    classes exclude one another every class needs ``ENOUGH`` texts, and the offset is kept only if it makes left-out
    fifths of the data likelier than none by more than a standard error. Where texts can have several labels each class
    is a problem of its own and needs its offset.
    """
    plain = Shift(1.0, np.zeros(logits.shape[1]))
    if targets.ndim == 1:
        if np.bincount(targets, minlength=logits.shape[1]).min() < ENOUGH:
            return plain
        folds = np.random.default_rng(0).permutation(len(targets)) % FOLDS
        gains = np.zeros(len(targets))
        for fold in range(FOLDS):
            out, rest = folds == fold, folds != fold
            found = _fit(logits[rest], targets[rest], None if weights is None else weights[rest])
            moved = found.factor * logits[out] + found.offset
            gains[out] = likelihood(logits[out], targets[out])[0] - likelihood(moved, targets[out])[0]
        gains = gains if weights is None else gains * weights
        if not gains.mean() > gains.std() / np.sqrt(len(gains)):
            return plain
    return _fit(logits, targets, weights)


def _fit(logits: Array, targets: Array, weights: Floats | None) -> Shift:
    logits, total = logits.astype(np.float64), len(logits)

    def loss(values: Scales) -> tuple[float, Scales]:
        offset = values[1:]
        losses, slopes = likelihood(values[0] * logits + offset, targets)
        factor_slope = (slopes * logits).sum(1)
        means = np.average(np.column_stack([factor_slope, slopes]), axis=0, weights=weights)
        spread = offset - offset.mean()
        means[1:] += RIDGE / total * spread
        return float(np.average(losses, weights=weights)) + RIDGE / (2 * total) * float(spread @ spread), means

    start = np.concatenate([[1.0], np.zeros(logits.shape[1])])
    bounds = [(1e-3, 20.0), *[(None, None)] * logits.shape[1]]
    found = np.asarray(scipy.optimize.minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x)
    offset = found[1:] - (found[1:].mean() if targets.ndim == 1 else 0.0)
    return Shift(float(found[0]), offset)
