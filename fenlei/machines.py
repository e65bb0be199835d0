"""Linear support vector machines side by side: several classes, each against the rest, found together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import scipy.sparse
from sklearn.svm import LinearSVC

from fenlei import compiled

Floats = npt.NDArray[np.float32]

MOST = compiled.MACHINES[-1]  # machines found together
PASSES = 300  # at most: what has not arrived by then is taken as it is
SEED = 0


class Machines:
    """Machines that learn from the same documents ``x (B, V)``, of which each counts as much as ``weights (B,)`` say.

    Each is liblinear's with squared hinge loss (Fan et al. 2008): for ``signs (B,)``, 1 or -1, the minimum over ``u``
    and ``b`` of

    ``1/2 (|u|^2 + b^2) + cost sum_i weights_i max(0, 1 - signs_i (sum_n x_in e_n u_n + b))^2``

    with an emphasis ``e_n > 0`` an n-gram. It is found by coordinate descent on its dual (Hsieh et al. 2008), which has
    arrived once the projected gradients of a pass over the documents differ by no more than ``tolerance``. Up to 16
    machines make their passes together: fetching the weights of an n-gram from memory is what takes the time, and those
    of all of them lie side by side. Where nothing is compiled liblinear finds them one by one.

    ``check`` is called between passes and may raise.
    """

    def __init__(
        self,
        x: scipy.sparse.csr_matrix,
        weights: Floats | None,
        tolerance: float,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.x, self.weights, self.tolerance, self.check = x, weights, tolerance, check
        self._starts, self._columns = x.indptr.astype(np.int64), x.indices.astype(np.int32, copy=False)
        self._values = x.data.astype(np.float32, copy=False)
        self._rows = np.arange(x.shape[0]) if weights is None else np.flatnonzero(weights > 0)

    def fit(self, signs: Floats, cost: float, emphasis: Floats | None = None) -> tuple[Floats, Floats]:
        """A machine for each column of ``signs (B, K)``, at most ``MOST``: ``e u`` as ``(V, K)`` and ``b (K,)``.

        The ``emphasis`` is ``(V, K)``; without one it is 1.
        """
        if not compiled.LOADED:
            return self._fit_by_liblinear(signs, cost, emphasis)
        count = signs.shape[1]
        width = next(each for each in compiled.MACHINES if each >= count)
        signs = _widened(signs, width, 1.0)
        squares = None if emphasis is None else _widened(np.square(emphasis, dtype=np.float32), width, 1.0)
        slack = np.full(len(signs), 0.5 / cost, np.float32)
        if self.weights is not None:
            slack[self._rows] /= self.weights[self._rows]
        slopes = self._lengths(squares, width) + 1 + slack[:, None]
        weight, bias = np.zeros((self.x.shape[1], width), np.float32), np.zeros(width, np.float32)
        alpha, extremes = np.zeros_like(signs), np.zeros((2, width), np.float32)
        live = (np.arange(width) < count).astype(np.float32)
        rng, descend = np.random.default_rng(SEED), getattr(compiled.LOOPS, f"descend_{width}")
        for _ in range(PASSES):
            self.check()
            order = rng.permutation(self._rows)
            documents = self._starts, self._columns, self._values, order, len(order)
            descend(*documents, weight, bias, squares, signs, alpha, slopes, slack, live, extremes[0], extremes[1])
            live[extremes[0] - extremes[1] <= self.tolerance] = 0
            if not live.any():
                break
        return np.ascontiguousarray(weight[:, :count]), bias[:count]

    def _lengths(self, squares: Floats | None, width: int) -> Floats:
        """The squared length of each document as each machine sees it, ``(B, width)``."""
        shape = len(self._starts) - 1, self.x.shape[1]
        squared = scipy.sparse.csr_matrix((np.square(self._values), self._columns, self._starts), shape=shape)
        if squares is not None:
            return np.asarray(squared @ squares, np.float32)
        return np.repeat(np.asarray(squared.sum(1), np.float32).reshape(-1, 1), width, 1)

    def _fit_by_liblinear(self, signs: Floats, cost: float, emphasis: Floats | None) -> tuple[Floats, Floats]:
        found = []
        for place in range(signs.shape[1]):
            self.check()
            scale = np.ones(self.x.shape[1]) if emphasis is None else emphasis[:, place].astype(np.float64)
            machine = LinearSVC(C=cost, random_state=SEED, max_iter=PASSES, tol=self.tolerance)
            x = self.x.astype(np.float64) @ scipy.sparse.diags(scale)
            machine.fit(x, signs[:, place] > 0, sample_weight=self.weights)
            found.append((machine.coef_[0] * scale, machine.intercept_[0]))
        return np.stack([w for w, _ in found], 1).astype(np.float32), np.array([b for _, b in found], np.float32)


def _widened(array: Floats, width: int, rest: float) -> Floats:
    """The columns of ``array (N, K)`` and so many more that they are ``width``, filled with ``rest``."""
    wide = np.full((len(array), width), rest, np.float32)
    wide[:, : array.shape[1]] = array
    return wide
