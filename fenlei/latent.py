"""Latent directions: what texts without labels tell the linear model about n-grams that no labelled text holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
import scipy.sparse
from sklearn.utils.extmath import randomized_svd

from fenlei.beside import Check
from fenlei.linear import Linear, matrix
from fenlei.pipeline import WIDE, Encoded, Ragged

Floats = npt.NDArray[np.float32]

SIZE = 100  # directions: with 200 accuracy on 200 titles was a point lower, and they take twice the time
SHARE = 0.5  # the power of its singular value that scales one: 0.661 on 200 titles, 0.655 with power 0, 0.658 with 1
STRENGTHS = (3.0, 1.0, 0.0)  # ties go to the first; 0 is the plain machine
MOST_NGRAMS = 250_000  # that have a direction: what is rarer stands beside too little, and memory is 1 kB each
POWER = 2  # iterations of the randomized decomposition

Fit = Callable[[Callable[[Encoded], Encoded], int], Linear]


def directions(parts: list[Encoded], columns: int, seed: int) -> Floats:
    """``A = V S^1/2``, scaled, ``(columns, k)``, from the first singular vectors of all n-gram weights ``X = U S V'``.

    Latent semantic analysis (Deerwester et al. 1990) by random projections (Halko, Martinsson and Tropp 2011): n-grams
    that stand in the same texts, or beside the same others, point the same way, and a direction counts by how much of
    the texts it explains. The scale makes ``X A`` as long as ``X``.
    """
    x = scipy.sparse.vstack([matrix(part, columns) for part in parts]).tocsr().astype(np.float32)
    commonest = np.argsort(-np.bincount(x.indices, minlength=columns), kind="stable")[:MOST_NGRAMS]
    x = x[:, np.sort(commonest)] if columns > MOST_NGRAMS else x
    size = min(SIZE, min(x.shape) - 1)
    if size < 1:
        return np.zeros((columns, 0), np.float32)
    _, values, vectors = randomized_svd(x, size, n_iter=POWER, random_state=seed)
    scale = values**SHARE
    length = np.sqrt(np.sum((values * scale) ** 2))
    along = np.zeros((columns, size), np.float32)
    along[np.sort(commonest)] = vectors.T * (scale * (np.linalg.norm(x.data) / max(float(length), 1e-9)))
    return along


def fit(fit_plain: Fit, along: Floats, check: Check) -> Linear:
    """The linear model that also sees how far each text goes along the directions ``A``, ``(V, k)``.

    Its features are ``[x, s x A]`` for the n-gram weights ``x`` of a text and a strength ``s``, so that with weights
    ``[w, u]`` a score is ``x w + s x A u = x (w + s A u)``: a linear model over the same n-grams again, in
    which an n-gram that no labelled text holds speaks like those it stands beside. The labels decide which
    strength, by what each makes of held-out texts. ``fit_plain`` fits on texts after a function has changed them, with
    so many columns.
    """
    columns, size = along.shape
    best: Linear | None = None
    seconds = 0.0
    for strength in STRENGTHS if size else (0.0,):
        check()
        scaled = np.float32(strength) * along
        if strength:
            found = fit_plain(partial(widened, scaled=scaled), columns + size)
            found = replace(found, weight=folded(found.weight, scaled))
        else:
            found = fit_plain(lambda texts: texts, columns)
        seconds += found.seconds
        if best is None or found.dev_accuracy > best.dev_accuracy:
            best = found
    assert best is not None
    return replace(best, seconds=seconds)


def widened(texts: Encoded, scaled: Floats) -> Encoded:
    """The same texts with a further column a direction: how far each goes along it, ``x A`` for ``A (V, k)``."""
    x = matrix(texts, len(scaled))
    both = scipy.sparse.hstack([x, scipy.sparse.csr_matrix(x @ scaled)]).tocsr()
    offsets = both.indptr.astype(np.int64)
    values = (both.indices.astype(np.int64), both.data.astype(np.float32))
    columns = dict(zip(WIDE, (Ragged(each, offsets) for each in values), strict=True))
    return replace(texts, columns=texts.columns | columns)


def folded(weight: Floats, scaled: Floats) -> Floats:
    """``w + A u`` for ``weight = [w, u] (V + k, C)`` and ``A (V, k)``."""
    found = weight[: len(scaled)] + scaled @ weight[len(scaled) :]
    found[0] = 0.0
    return np.asarray(found, np.float32)
