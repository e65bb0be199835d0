"""The linear model: the honest baseline of every run, and the weights of the wide branch."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.optimize
import scipy.sparse
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from fenlei.pipeline import Encoded

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

COSTS = (0.1, 0.3, 1.0)
MOST_CLASSES = 1000  # one-against-rest takes a fit a class: past this the minutes are not worth it


@dataclass(frozen=True)
class Linear:
    """``scores = x W + b``: ``weight (V, C)`` with a zero row 0, ``bias (C,)``; the cost that won, its dev accuracy."""

    weight: Floats
    bias: Floats
    cost: float
    dev_accuracy: float
    seconds: float

    def scores(self, encoded: Encoded) -> Floats:
        """One row of scores a document, ``(B, C)``."""
        return np.asarray(matrix(encoded, len(self.weight)) @ self.weight + self.bias, np.float32)


def matrix(encoded: Encoded, columns: int) -> scipy.sparse.csr_matrix:
    """The TF-IDF weights of the documents' n-grams as a sparse matrix ``(B, columns)``."""
    rows, values = encoded.columns["ngrams"], encoded.columns["ngram_values"]
    return scipy.sparse.csr_matrix((values.values, rows.values, rows.offsets), shape=(len(encoded), columns))


def fit(
    train: Encoded,
    targets: Ints,
    dev: Encoded,
    dev_targets: Ints,
    *,
    columns: int,
    classes: int,
    weights: Floats | None = None,
    dev_weights: Floats | None = None,
    costs: Sequence[float] = COSTS,
) -> Linear:
    """A linear support vector machine, one class against the rest, squared hinge loss (Fan et al. 2008, liblinear).

    The cost of errors with the best dev accuracy wins; ties go to the smaller one. ``columns`` is the number of rows
    of the n-gram table.
    """
    began = time.perf_counter()
    x, dev_x = matrix(train, columns).astype(np.float64), matrix(dev, columns)
    # One after the other: the fits of a process share liblinear's random numbers, and in threads they mix them.
    fits = [_fit_one(x, targets, classes, cost, weights) for cost in costs]
    right = [np.argmax(dev_x @ w + b, axis=1) == dev_targets for w, b in fits]
    accuracies = [float(np.average(each, weights=dev_weights)) for each in right]
    best = int(np.argmax(accuracies))
    return Linear(*fits[best], costs[best], accuracies[best], time.perf_counter() - began)


def _fit_one(
    x: scipy.sparse.csr_matrix, targets: Ints, classes: int, cost: float, weights: Floats | None
) -> tuple[Floats, Floats]:
    """Weights ``(V, C)`` and bias ``(C,)``; a class that training does not hold gets no score above the others."""
    machine = LinearSVC(C=cost, random_state=0, max_iter=300, intercept_scaling=1.0)
    with warnings.catch_warnings():
        # an unfinished fit is judged by its dev accuracy like any other
        warnings.simplefilter("ignore", ConvergenceWarning)
        machine.fit(x, targets, sample_weight=weights)
    weight = np.zeros((x.shape[1], classes), np.float32)
    bias = np.full(classes, -1.0, np.float32)
    if len(machine.classes_) == 2:
        low, high = machine.classes_
        weight[:, low], weight[:, high] = -machine.coef_[0], machine.coef_[0]
        bias[low], bias[high] = -machine.intercept_[0], machine.intercept_[0]
    else:
        weight[:, machine.classes_] = machine.coef_.T
        bias[machine.classes_] = machine.intercept_
    weight[0] = 0.0
    return weight, bias


def blend(branches: Sequence[Floats], targets: Ints, weights: Floats | None = None) -> npt.NDArray[np.float64]:
    """One scale a branch, none negative, that make ``softmax(sum_k scale_k * logits_k)`` likeliest on held-out data.

    A convex problem of one or two numbers: temperature scaling (Guo et al. 2017) and stacking (Wolpert 1992) at once.
    """
    stacked = np.stack([branch.astype(np.float64) for branch in branches])
    chosen = stacked[:, np.arange(len(targets)), targets]

    def loss(scales: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        logs = log_softmax(np.tensordot(scales, stacked, 1), axis=1)
        slope = (np.exp(logs) * stacked).sum(2) - chosen
        likelihoods = logs[np.arange(len(targets)), targets]
        return -float(np.average(likelihoods, weights=weights)), np.average(slope, axis=1, weights=weights)

    result = scipy.optimize.minimize(
        loss, np.ones(len(branches)), jac=True, bounds=[(0.0, 20.0)] * len(branches), method="L-BFGS-B"
    )
    return np.asarray(result.x)
