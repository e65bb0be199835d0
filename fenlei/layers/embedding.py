"""Tables that turn ids into vectors: a row for each id, or fewer numbers that many ids share."""

from __future__ import annotations

import inspect
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fenlei.layers.graph import Graph
from fenlei.ngrams import mix

Ints = npt.NDArray[np.int64]

SCALE = 0.1  # standard deviation of the numbers in a fresh vector
SPARSE = 8192  # rows from which on a shared table is updated sparsely: below, a dense update is the faster one
PRIME = 2**31 - 1


class Embedding(nn.Module, ABC):
    """``ids (...) -> (..., D)``; id 0 is padding and gives zeros. Gradients of large tables are sparse.

    Options stand in the constructor's signature after ``rows`` (ids) and ``size`` (``D``), each with a default.
    """

    @abstractmethod
    def forward(self, ids: Tensor) -> Tensor:
        """The vector of each id."""

    @abstractmethod
    def nodes(self, graph: Graph, ids: str) -> str:
        """The same in ONNX."""


class Full(Embedding):
    """A row of its own for each of ``rows`` ids."""

    def __init__(self, rows: int, size: int, scale: float = SCALE) -> None:
        super().__init__()
        self.table = _table(rows, size, scale)

    def forward(self, ids: Tensor) -> Tensor:
        """The rows of the ids."""
        return self.table(ids)

    def nodes(self, graph: Graph, ids: str) -> str:
        """The same in ONNX."""
        return _gather(graph, self.table, ids)


class LowRank(Embedding):
    """``E = A B``: a short row for each id in ``A (rows, r)``, one matrix ``B (r, D)`` for all (Lan et al. 2020).

    ``ratio`` chooses ``r``, at least 1: all weights together are at most that share of the full table's.
    """

    def __init__(self, rows: int, size: int, ratio: float = 0.1, scale: float = SCALE) -> None:
        super().__init__()
        rank = max(1, int(_budget(rows, size, ratio) / (rows + size)))
        self.table = _table(rows, rank, scale)
        self.project = nn.Parameter(torch.randn(rank, size) / math.sqrt(rank))

    def forward(self, ids: Tensor) -> Tensor:
        """Each id's short row times ``B``."""
        return self.table(ids) @ self.project

    def nodes(self, graph: Graph, ids: str) -> str:
        """The same in ONNX."""
        return graph.add("MatMul", _gather(graph, self.table, ids), graph.constant(self.project))


class Shared(Embedding):
    """``E[id] = sum_k w_k[id] C_k[c_k(id)]``: a combination of one vector from each of several small tables ``C_k``.

    ``codes`` is the number of tables. The codes follow from the id alone and are stored nowhere:
    ``c_k(id) = ((a_k id + b_k) mod p) mod m_k`` with ``p = 2^31 - 1`` and the rows of a table ``m_k``. ``assignment``:

    - "remainder": ``a_k = 1``, ``b_k = 0``, no two ``m_k`` with a common factor. No two ids have all codes in common
      (complementary partitions, Shi et al. 2019). Of two tables one gives the row vector and one the column vector of
      a grid in which each word has a cell of its own (LightRNN, Li et al. 2016, which learns where).
    - "hash": ``a_k`` and ``b_k`` are random, all ``m_k`` equal (hash embeddings, Svenstrup et al. 2017). Ids may meet.

    With ``importance`` the ``w_k`` are learned, a number an id and table (Svenstrup et al. 2017); without they are 1:
    the sum of codewords of Shu and Nakayama 2018, who learn the codes. The first ``own`` ids keep a row of their own,
    ``E[id] = O[id]``: of use where ids stand in the order of frequency, as a vocabulary's do.

    ``ratio`` chooses the ``m_k``: all weights together are at most that share of the full table's. Rows of their own
    take at most half of it; and a small table is compressed less, for ``m_1 * .. * m_K`` is at least the number of ids.
    """

    def __init__(
        self,
        rows: int,
        size: int,
        ratio: float = 0.1,
        codes: int = 2,
        assignment: str = "remainder",
        importance: bool = False,
        own: int = 0,
        scale: float = SCALE,
    ) -> None:
        super().__init__()
        if assignment not in ASSIGNMENTS:
            raise ValueError(f"unknown assignment {assignment!r}; the choices are {', '.join(ASSIGNMENTS)}")
        if codes < 2 or own < 0:
            raise ValueError(f"shared needs at least 2 codes and at least 0 own rows, got {codes} and {own}")
        full_rows = int((_budget(rows, size, ratio) - importance * rows * codes) / size)  # that may be spent
        self.own = min(own, max(0, full_rows // 2 - 1))  # every table also has a row for padding
        self.rows = _table(self.own + 1, size, scale) if self.own else None
        self.importance = _table(rows - self.own, codes, 0.0, mean=1.0) if importance else None
        spent = codes + (self.own + 1 if self.own else 0)
        sizes, factors = _assign(assignment, codes, full_rows - spent, rows - self.own)
        self.tables: Sequence[nn.Embedding] = nn.ModuleList(  # type: ignore[assignment]
            _table(m + 1, size, scale / math.sqrt(codes), sparse=m >= SPARSE) for m in sizes
        )
        self.factors = nn.Buffer(torch.from_numpy(factors))

    def forward(self, ids: Tensor) -> Tensor:
        """The sum over the tables; all others are number 0 to the shared ids, and row 0 of every table is zero."""
        number = (ids - self.own).clamp(min=0)
        parts = [table(self._code(number, k)) for k, table in enumerate(self.tables)]
        if self.importance is not None:
            weights = self.importance(number)
            parts = [weights[..., k, None] * part for k, part in enumerate(parts)]
        if self.rows is not None:
            parts.append(self.rows(torch.where(number > 0, 0, ids)))
        return sum(parts[1:], parts[0])

    def nodes(self, graph: Graph, ids: str) -> str:
        """The same in ONNX."""
        zero = graph.constant(np.array(0))
        number = graph.add("Max", graph.add("Sub", ids, graph.constant(np.array(self.own))), zero)
        shared = graph.add("Greater", number, zero)
        parts = []
        for k, table in enumerate(self.tables):
            code = graph.add("Where", shared, self._code_nodes(graph, number, k), zero)
            parts.append(_gather(graph, table, code))
        if self.importance is not None:
            weights = _gather(graph, self.importance, number)
            columns = [graph.add("Gather", weights, graph.constant(np.array([k])), axis=-1) for k in range(len(parts))]
            parts = [graph.add("Mul", column, part) for column, part in zip(columns, parts, strict=True)]
        if self.rows is not None:
            parts.append(_gather(graph, self.rows, graph.add("Where", shared, zero, ids)))
        return graph.add("Sum", *parts)

    def _code(self, number: Tensor, k: int) -> Tensor:
        """The row of table ``k`` for each number: ``1 + c_k``, and 0 for number 0."""
        a, b = self.factors[:, k]
        return torch.where(number > 0, (a * number + b) % PRIME % self._m(k) + 1, 0)

    def _code_nodes(self, graph: Graph, number: str, k: int) -> str:
        """``1 + c_k`` in ONNX."""
        a, b = (graph.constant(each.numpy()) for each in self.factors[:, k])
        scattered = graph.add("Mod", graph.add("Add", graph.add("Mul", number, a), b), graph.constant(np.array(PRIME)))
        code = graph.add("Mod", scattered, graph.constant(np.array(self._m(k))))
        return graph.add("Add", code, graph.constant(np.array(1)))

    def _m(self, k: int) -> int:
        return self.tables[k].num_embeddings - 1


def coprime(count: int, total: int) -> list[int]:
    """``count`` numbers, no two with a common factor, nearly equal and as large as a sum of ``total`` allows."""
    for top in range(total // count + 4 * count, 0, -1):
        found: list[int] = []
        candidates = itertools.chain(range(top, 1, -1), itertools.repeat(1))
        while len(found) < count:
            number = next(candidates)
            if all(math.gcd(number, each) == 1 for each in found):
                found.append(number)
        if sum(found) <= total:
            break
    return found


def _remainder(codes: int, total: int) -> tuple[list[int], Ints]:
    return coprime(codes, total), np.array([[1] * codes, [0] * codes])


def _hash(codes: int, total: int) -> tuple[list[int], Ints]:
    random = mix(np.arange(2 * codes, dtype=np.uint64)) % np.uint64(PRIME - 1)
    return [total // codes] * codes, random.astype(np.int64).reshape(2, codes) + 1


# By name: from the number of tables and of their rows together to the sizes ``m_k`` and the factors ``a, b (2, K)``.
ASSIGNMENTS: dict[str, Callable[[int, int], tuple[list[int], Ints]]] = {"remainder": _remainder, "hash": _hash}


def _assign(name: str, codes: int, total: int, ids: int) -> tuple[list[int], Ints]:
    """Sizes and factors for tables of ``total`` rows together, or more where they have fewer cells than ``ids``."""
    total = max(total, codes)
    while math.prod(ASSIGNMENTS[name](codes, total)[0]) < ids:
        total += 1
    return ASSIGNMENTS[name](codes, total)


def _budget(rows: int, size: int, ratio: float) -> float:
    """Numbers that ``ratio`` of a full table has."""
    if not 0 < ratio <= 1:
        raise ValueError(f"ratio is the share of the full table's size, above 0 and at most 1, got {ratio}")
    return ratio * rows * size


def _table(rows: int, size: int, scale: float, mean: float = 0.0, sparse: bool = True) -> nn.Embedding:
    table = nn.Embedding(rows, size, padding_idx=0, sparse=sparse)
    with torch.no_grad():
        table.weight.normal_(mean, scale)
        table.weight[0].zero_()
    return table


def _gather(graph: Graph, table: nn.Embedding, ids: str) -> str:
    return graph.gather(table.weight, ids)


EMBEDDINGS: dict[str, type[Embedding]] = {"full": Full, "shared": Shared, "lowrank": LowRank}


def options_of(name: str) -> dict[str, Any]:
    """The options of one embedding with their defaults: its constructor's own, without the table's shape."""
    if name not in EMBEDDINGS:
        raise ValueError(f"unknown embedding {name!r}; the choices are {', '.join(EMBEDDINGS)}")
    parameters = inspect.signature(EMBEDDINGS[name]).parameters
    return {key: value.default for key, value in parameters.items() if key not in ("rows", "size")}
