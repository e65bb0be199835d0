"""Weighing the branches against each other, and calibrating their sum, on held-out documents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.optimize
from scipy.special import log_softmax

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Scales = npt.NDArray[np.float64]


def weigh(branches: Sequence[Floats], targets: Ints, weights: Floats | None = None) -> Scales:
    """One scale a branch: the likeliest blend of all, unless a branch alone (the others 0) is clearly more accurate.

    Clearly is by more than one standard error of the paired difference: ``sum d > sqrt(sum d^2)`` over the documents,
    ``d`` 1 where only the branch is right and -1 where only the blend is (McNemar 1947, times the documents' weights).
    """
    best = blend(branches, targets, weights)
    for place, branch in enumerate(branches if len(branches) > 1 else ()):
        alone = np.zeros(len(branches))
        alone[place] = blend([branch], targets, weights)[0]
        gains = _right(alone, branches, targets) - _right(best, branches, targets)
        gains = gains if weights is None else gains * weights
        if gains.sum() > np.sqrt((gains * gains).sum()):
            best = alone
    return best


def _right(scales: Scales, branches: Sequence[Floats], targets: Ints) -> npt.NDArray[np.float64]:
    """1 for each document whose likeliest class is the true one."""
    return np.asarray(np.tensordot(scales, np.stack(branches), 1).argmax(1) == targets, np.float64)


def blend(branches: Sequence[Floats], targets: Ints, weights: Floats | None = None) -> Scales:
    """One scale a branch, none negative, that make ``softmax(sum_k scale_k * logits_k)`` likeliest on held-out data.

    A convex problem of one or two numbers: temperature scaling (Guo et al. 2017) and stacking (Wolpert 1992) at once.
    """
    stacked = np.stack([branch.astype(np.float64) for branch in branches])
    chosen = stacked[:, np.arange(len(targets)), targets]

    def loss(scales: Scales) -> tuple[float, Scales]:
        logs = log_softmax(np.tensordot(scales, stacked, 1), axis=1)
        slope = (np.exp(logs) * stacked).sum(2) - chosen
        likelihoods = logs[np.arange(len(targets)), targets]
        return -float(np.average(likelihoods, weights=weights)), np.average(slope, axis=1, weights=weights)

    result = scipy.optimize.minimize(
        loss, np.ones(len(branches)), jac=True, bounds=[(0.0, 20.0)] * len(branches), method="L-BFGS-B"
    )
    return np.asarray(result.x)
