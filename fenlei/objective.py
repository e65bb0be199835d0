"""What training makes small and dev is judged by: one label a text, or every label that applies.

Targets are class numbers ``(B,)`` for one label a text, 0 and 1 ``(B, C)`` where a text can have several.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from fenlei.decisions import best_threshold

Array = npt.NDArray[Any]


def losses(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """The loss of each text, ``(B,)``, from ``logits (B, C)``.

    One label: softmax cross-entropy, with label smoothing (Szegedy et al. 2016). Several: the binary cross-entropies of
    all classes, summed; there is nothing to smooth between classes that do not exclude one another.
    """
    if targets.ndim == 1:
        return nn.functional.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
    return nn.functional.binary_cross_entropy_with_logits(logits, targets.float(), reduction="none").sum(1)


def right(logits: Tensor, targets: Tensor) -> Tensor:
    """Whether each text is right, ``(B,)``: its likeliest label, or all its labels and no other."""
    if targets.ndim == 1:
        return logits.argmax(1) == targets
    return ((logits > 0) == (targets > 0)).all(1)


def name_of_quality(targets: Array) -> str:
    """What ``quality`` is called."""
    return "accuracy" if targets.ndim == 1 else "micro-F1"


def quality(scores: Array, targets: Array, weights: Array | None = None) -> float:
    """What dev is compared by, from ``scores (B, C)``: accuracy, or micro-F1 at the best threshold for all classes."""
    if targets.ndim == 1:
        return float(np.average(scores.argmax(1) == targets, weights=weights))
    applies = targets > 0
    named = scores >= best_threshold(scores.astype(np.float64).ravel(), applies.ravel())
    counts = np.ones(len(targets)) if weights is None else weights
    hits = counts @ (named & applies).sum(1)
    return float(2 * hits / max(1e-9, counts @ (named.sum(1) + applies.sum(1))))
