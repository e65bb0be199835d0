"""The linear model: the honest baseline of every run, and the weights of the wide branch."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning

from fenlei.beside import Check
from fenlei.blending import blend, likelihood
from fenlei.machines import MOST, Machines
from fenlei.objective import quality
from fenlei.pipeline import Encoded

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

COSTS = (0.3, 1.0, 0.1, 3.0)  # ties go to the first
MOST_COSTS = (*COSTS, 10.0)  # where texts are so few that they are crossed
MANY = 100_000  # documents: with so many the first cost is close to the best, and each fit takes seconds
TOLERANCE = 0.1  # liblinear's own default: a thousandth of it took twice the time and changed no accuracy by 0.2 points
DECIMALS = 3  # of a loss: what is less is no difference
EMPHASIS = 0.5  # between the plain machine, 0, and naive Bayes features, 1; found on dev sets
MOST_CELLS = 200_000_000  # n-grams times classes: 800 MB of weights while fitting
MOST_CLASSES = 1000  # one-against-rest takes a fit a class: past this the minutes are not worth it


@dataclass(frozen=True)
class Linear:
    """``scores = x W + b``: ``weight (V, C)`` with a zero row 0, ``bias (C,)``; the settings that won on held-out data.

    ``held (B, C)`` are the scores of the held-out documents, by a model that did not learn from them.
    """

    weight: Floats
    bias: Floats
    cost: float
    emphasis: float
    dev_accuracy: float
    seconds: float
    held: Floats

    def scores(self, encoded: Encoded) -> Floats:
        """One row of scores a document, ``(B, C)``."""
        return np.asarray(matrix(encoded, len(self.weight)) @ self.weight + self.bias, np.float32)


def matrix(encoded: Encoded, columns: int) -> scipy.sparse.csr_matrix:
    """The TF-IDF weights of the documents' n-grams as a sparse matrix ``(B, columns)``."""
    rows, values = encoded.columns["ngrams"], encoded.columns["ngram_values"]
    return scipy.sparse.csr_matrix((values.values, rows.values, rows.offsets), shape=(len(encoded), columns))


class Side(NamedTuple):
    """Documents as a machine learns from them: ``x (B, V)``, their targets, and how much each counts, ``(B,)``."""

    x: scipy.sparse.csr_matrix
    targets: Ints
    weights: Floats | None = None

    def take(self, rows: Ints) -> Side:
        """Some of the documents."""
        return Side(self.x[rows], self.targets[rows], None if self.weights is None else self.weights[rows])

    def quality(self, scores: npt.NDArray[Any]) -> float:
        """How good ``scores (B, C)`` of these documents are."""
        return quality(scores, self.targets, self.weights)

    def loss(self, scores: Floats) -> float:
        """Minus the mean logarithm of their likelihood, the scores taken at the scale at which that is least."""
        scale = blend([scores], self.targets, self.weights)[0]
        return float(np.average(likelihood(scale * scores, self.targets)[0], weights=self.weights))


class Machine:
    """One against the rest for a number of classes, at one cost of errors and one emphasis."""

    def __init__(self, classes: int, cost: float, share: float, check: Check) -> None:
        self.classes, self.cost, self.share, self.check = classes, cost, share, check

    def fit(self, side: Side) -> tuple[Floats, Floats]:
        """Weights ``(V, C)`` and bias ``(C,)``."""
        return _fit_all(side.x, side.targets, self.classes, self.cost, self.share, side.weights, self.check)

    def judge(self, learned: Side, held: Side) -> Floats:
        """The scores of ``held`` after learning from ``learned``."""
        weight, bias = self.fit(learned)
        return np.asarray(held.x @ weight + bias, np.float32)


def fit(
    train: Encoded,
    targets: Ints,
    dev: Encoded,
    dev_targets: Ints,
    weights: Floats | None = None,
    dev_weights: Floats | None = None,
    *,
    columns: int,
    classes: int,
    costs: Sequence[float] | None = None,
    check: Check = lambda: None,
) -> Linear:
    """A linear support vector machine, one class against the rest, squared hinge loss (Fan et al. 2008, liblinear).

    Each class sees the n-grams scaled by their ``emphasis``; with many small classes no emphasis can be better, so that
    is tried too. Of the ``costs`` of errors the one whose scores make dev likeliest wins, for of few texts an accuracy
    says little; emphasis has to be less accurate than none to be left out. The costs are 0.3, 1, 0.1 and 3, for many
    documents 0.3 alone. ``columns`` is the number of rows of the n-gram table. ``check`` is called before each class
    and may raise. Fits that end unfinished warn, see ``unfinished_fits``.
    """
    began = time.perf_counter()
    learned = Side(matrix(train, columns), targets, weights)
    judges = Side(matrix(dev, columns), dev_targets, dev_weights)

    def attempt(cost: float, share: float) -> Linear:
        weight, bias = Machine(classes, cost, share, check).fit(learned)
        held = np.asarray(judges.x @ weight + bias, np.float32)
        return Linear(weight, bias, cost, share, judges.quality(held), 0.0, held)

    best = _search(judges, costs or (COSTS if len(targets) <= MANY else COSTS[:1]), attempt)
    return replace(best, seconds=time.perf_counter() - began)


def cross_fit(
    whole: Encoded,
    targets: Ints,
    parts: Sequence[Ints],
    weights: Floats | None = None,
    dev_weights: Floats | None = None,
    *,
    columns: int,
    classes: int,
    check: Check = lambda: None,
) -> Linear:
    """The same without a dev set: each of ``parts``, the rows of some documents, is scored by what the rest teaches.

    Cost and emphasis are chosen by all parts together. ``weight`` and ``bias`` are then learned from all documents
    (Wolpert 1992).
    """
    began = time.perf_counter()
    side = Side(matrix(whole, columns), targets, weights)
    judges = side._replace(weights=dev_weights)
    pairs = [(side.take(np.setdiff1d(np.arange(len(targets)), part)), judges.take(part), part) for part in parts]
    none = np.zeros(0, np.float32)

    def attempt(cost: float, share: float) -> Linear:
        machine, held = Machine(classes, cost, share, check), np.zeros((len(targets), classes), np.float32)
        for learned, judged, part in pairs:
            held[part] = machine.judge(learned, judged)
        return Linear(none, none, cost, share, judges.quality(held), 0.0, held)

    best = _search(judges, MOST_COSTS, attempt)
    weight, bias = Machine(classes, best.cost, best.emphasis, check).fit(side)
    return replace(best, weight=weight, bias=bias, seconds=time.perf_counter() - began)


def _search(judges: Side, costs: Sequence[float], attempt: Callable[[float, float], Linear]) -> Linear:
    """Of some costs, with emphasis, the likeliest; then of emphasis and none at it the more accurate.

    Costs that make no difference go to the first: of a few texts that are all told right any loss can be made small.
    """
    # One after the other: the fits of a process share liblinear's random numbers, and in threads they mix them.
    best = min((attempt(cost, EMPHASIS) for cost in costs), key=lambda each: round(judges.loss(each.held), DECIMALS))
    return max(best, attempt(best.cost, 0.0), key=lambda each: each.dev_accuracy)


def _fit_all(
    x: scipy.sparse.csr_matrix,
    targets: Ints,
    classes: int,
    cost: float,
    share: float,
    weights: Floats | None,
    check: Check,
) -> tuple[Floats, Floats]:
    """Weights ``(V, C)`` and bias ``(C,)``; of a class that training does not hold every text scores -1, as what lies
    outside of a class is to score.
    """
    weight = np.zeros((x.shape[1], classes), np.float32)
    bias = np.full(classes, -1.0, np.float32)
    several = targets.ndim == 2
    sizes = (targets > 0).sum(0) if several else np.bincount(targets, minlength=classes)
    bias[sizes == len(targets)] = 1.0
    able = np.flatnonzero((sizes > 0) & (sizes < len(targets)))
    mirrored = not several and len(able) == 2  # the one is what the other is not
    machines = Machines(x, weights, TOLERANCE, check)
    sought = able[mirrored:]
    for start in range(0, len(sought), MOST):
        own = sought[start : start + MOST]
        inside = targets[:, own] > 0 if several else targets[:, None] == own
        scale = emphasis(x, inside, share) if share else None
        weight[:, own], bias[own] = machines.fit(np.where(inside, 1, -1).astype(np.float32), cost, scale)
    if mirrored:
        weight[:, able[0]], bias[able[0]] = -weight[:, able[1]], -bias[able[1]]
    weight[0] = 0.0
    return weight, bias


@contextlib.contextmanager
def unfinished_fits() -> Iterator[None]:
    """No warnings of them: they are judged by their dev accuracy like any other. For the main thread: warning filters
    belong to the process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def emphasis(x: scipy.sparse.csr_matrix, inside: npt.NDArray[np.bool_], share: float) -> Floats:
    """``1 - share + share |r| / mean |r|`` for each n-gram and class, ``(V, K)``; the documents ``inside (B, K)`` each.

    ``r`` is the n-gram's log-count ratio between the class and the others. An n-gram that tells the class needs a
    smaller weight to be heard, so the regularizer spares it: the support vector machine with naive Bayes features (Wang
    and Manning 2012), interpolated with the plain one (share 0).
    """
    found = np.empty((x.shape[1], inside.shape[1]), np.float32)
    totals = np.bincount(x.indices, minlength=x.shape[1])
    for place, own in enumerate(inside.T):
        within = np.bincount(x[own].indices, minlength=x.shape[1])
        count = int(own.sum())
        ratio = np.log((1 + within) / (1 + count)) - np.log((1 + totals - within) / (1 + len(own) - count))
        size = np.abs(ratio)
        found[:, place] = 1 - share + share * size / max(float(size.mean()), 1e-9)
    return found
