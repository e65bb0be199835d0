"""Tables that turn ids into vectors: a row for each id, or fewer numbers that many ids share."""

from __future__ import annotations

import inspect
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fenlei.layers.graph import Graph
from fenlei.ngrams import mix

SPREAD = 0.1  # the standard deviation of a fresh vector's numbers
PRIME = 2**31 - 1


class Embedding(nn.Module, ABC):
    """``ids (...) -> (..., D)`` for ``rows`` ids; id 0 is padding and gives zeros. Gradients of large tables are sparse.

    Options stand in the constructor's signature after ``rows`` and ``size`` (``D``), each with a default.
    """

    @abstractmethod
    def forward(self, ids: Tensor) -> Tensor:
        """The vector of each id."""

    @abstractmethod
    def nodes(self, graph: Graph, ids: str) -> str:
        """The same in ONNX."""


class Full(Embedding):
    """``E[id]``: a row of its own for each id."""

    def __init__(self, rows: int, size: int, scale: float = SPREAD) -> None:
        super().__init__()
        self.table = _table(rows, size, scale)

    def forward(self, ids: Tensor) -> Tensor:
        """The rows of the ids."""
        return self.table(ids)

    def nodes(self, graph: Graph, ids: str) -> str:
        """The same in ONNX."""
        return _gather(graph, self.table, ids)


class LowRank(Embedding):
    """``A[id] B``: a short row for each id, ``A (rows, r)``, and one matrix ``B (r, D)`` for all (Lan et al. 2020).

    ``ratio`` chooses ``r`` so that all weights together are at most that share of the full table's; ``r`` is at least
    1. A vector can point in ``r`` directions only, so ``shared`` loses less at a tenth and below.
    """

    def __init__(self, rows: int, size: int, ratio: float = 0.25, scale: float = SPREAD) -> None:
        super().__init__()
        rank = max(1, int(_budget(rows, size, ratio) / (rows + size)))
        self.table = _table(rows, rank, scale)
        self.project = nn.Parameter(torch.randn(rank, size) / math.sqrt(rank))

    def forward(self, ids: Tensor) -> Tensor:
        """The product of each id's row with ``B``."""
        return self.table(ids) @ self.project

    def nodes(self, graph: Graph, ids: str) -> str:
        """The same in ONNX."""
        return graph.add("MatMul", _gather(graph, self.table, ids), graph.constant(self.project))


class Shared(Embedding):
    """``E[id] = sum_k w_k[id] C_k[c_k(id)]``: a combination of one vector from each of ``codes`` small tables ``C_k``.

    The codes follow from the id alone: ``c_k(id) = ((a_k id + b_k) mod p) mod m_k``, ``p = 2^31 - 1``. ``assignment``
    says how:

    - "remainder": ``a_k = 1``, ``b_k = 0``, no two ``m_k`` with a common factor. No two ids have all codes in common
      while ``m_1 * .. * m_K`` is at least their number (complementary partitions, Shi et al. 2019). Of two tables one
      gives the row vector, one the column vector of a grid in which each word has its cell (LightRNN, Li et al. 2016).
    - "hash": ``a_k``, ``b_k`` at random, all ``m_k`` equal (hash embeddings, Svenstrup et al. 2017). Ids may meet.

    ``importance`` learns the ``w_k``, a number an id and table (Svenstrup et al. 2017); without it all are 1, the sum
    of codewords of Shu and Nakayama 2018. The first ``own`` ids keep a row of their own, ``E[id] = O[id]``: of use
    where ids stand in the order of frequency, as a vocabulary's do.

    ``ratio`` chooses the ``m_k``: all weights together are at most that share of the full table's, as far as one row a
    table allows.
    """

    def __init__(
        self,
        rows: int,
        size: int,
        ratio: float = 0.1,
        codes: int = 2,
        assignment: str = "remainder",
        importance: bool = True,
        own: int = 0,
        scale: float = SPREAD,
    ) -> None:
        super().__init__()
        if codes < 1 or own < 0:
            raise ValueError(f"shared needs codes of at least 1 and own of at least 0, got {codes} and {own}")
        own = min(own, max(0, rows - 2))
        self.own = _table(own + 1, size, scale) if own else None
        import os
        ws=float(os.environ.get("WS","1"))
        self.importance = _table(rows - own, codes, ws) if importance else None
        spent = (own + 1) * size * (own > 0) + (rows - own) * codes * importance
        left = int((_budget(rows, size, ratio) - spent) / size) - codes  # each table has a row for padding
        sizes, factors = _assignment(assignment, max(codes, left), codes)
        self.factors = nn.Buffer(factors)
        self.tables = nn.ModuleList(_table(m + 1, size, scale / math.sqrt(codes)/(ws if importance else 1), m >= 8192) for m in sizes)

    def forward(self, ids: Tensor) -> Tensor:
        own = self.own.num_embeddings - 1 if self.own is not None else 0
        n = (ids - own).clamp(min=0)
        parts = []
        w = self.importance(n) if self.importance is not None else None
        for k, table in enumerate(self.tables):
            c = (n * self.factors[0, k] + self.factors[1, k]) % PRIME % (table.num_embeddings - 1)
            v = table(torch.where(n > 0, c + 1, 0))
            parts.append(v if w is None else v * w[..., k, None])
        x = sum(parts[1:], parts[0])
        if self.own is not None:
            x = x + self.own(torch.where(n > 0, 0, ids))
        return x

    def nodes(self, graph, ids):
        raise NotImplementedError


def _assignment(name, total, codes):
    if name == "hash":
        m = max(1, total // codes)
        a, b = (mix(np.arange(2 * codes, dtype=np.uint64)) % np.uint64(PRIME - 1)).astype(np.int64).reshape(2, codes) + 1
        return [m] * codes, torch.from_numpy(np.stack([a, b]))
    m = total
    best = [1] * codes
    start = total // codes + codes * 4
    while True:
        found = []
        c = start
        while len(found) < codes:
            if all(math.gcd(c, f) == 1 for f in found):
                found.append(c)
            c = max(1, c - 1)
        if sum(found) <= total or start == 1:
            return found, torch.stack([torch.ones(codes, dtype=torch.int64), torch.zeros(codes, dtype=torch.int64)])
        start -= 1


def _budget(rows, size, ratio):
    return ratio * rows * size


def _table(rows, size, scale, sparse=True):
    t = nn.Embedding(rows, size, padding_idx=0, sparse=sparse)
    with torch.no_grad():
        t.weight.normal_(0.0, scale)
        t.weight[0].zero_()
    return t


def _gather(graph, table, ids):
    return graph.add("Gather", graph.constant(table.weight), ids, axis=0)


EMBEDDINGS: dict[str, type[Embedding]] = {"full": Full}


def options_of(name: str) -> dict[str, Any]:
    """The options of one embedding with their defaults: its constructor's own, without the table's shape."""
    if name not in EMBEDDINGS:
        raise ValueError(f"unknown embedding {name!r}; the choices are {', '.join(EMBEDDINGS)}")
    parameters = inspect.signature(EMBEDDINGS[name]).parameters
    return {key: value.default for key, value in parameters.items() if key not in ("rows", "size")}
