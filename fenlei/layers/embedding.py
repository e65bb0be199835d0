"""Tables that turn ids into vectors: a row for each id, or fewer numbers that many ids share."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fenlei.layers.codes import ASSIGNMENTS
from fenlei.layers.graph import Graph

SCALE = 0.1  # standard deviation of the numbers in a fresh vector
SPARSE = 8192  # rows from which on a shared table is updated sparsely: below, a dense update is the faster one


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

    @property
    def whole(self) -> Tensor | None:
        """The table ``(V, D)`` of which a vector is a row, if it is no more than that."""
        return None


class Full(Embedding):
    """A row of its own for each of ``rows`` ids."""

    def __init__(self, rows: int, size: int, scale: float = SCALE) -> None:
        super().__init__()
        self.table = _table(rows, size, scale)

    def forward(self, ids: Tensor) -> Tensor:
        """The rows of the ids."""
        return _look_up(self.table, ids)

    def nodes(self, graph: Graph, ids: str) -> str:
        """The same in ONNX."""
        return _gather(graph, self.table, ids)

    @property
    def whole(self) -> Tensor:
        """The table."""
        return self.table.weight


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
        return _look_up(self.table, ids) @ self.project

    def nodes(self, graph: Graph, ids: str) -> str:
        """The same in ONNX."""
        return graph.add("MatMul", _gather(graph, self.table, ids), graph.weight(self.project))


class Shared(Embedding):
    """``E[id] = sum_k w_k[id] C_k[c_k(id)]``: a combination of one vector from each of several small tables ``C_k``.

    ``codes`` is the number of tables, None for 2 or, where they are learned, as many as ``ratio`` allows.
    ``assignment`` says where the codes ``c_k`` come from (``fenlei.layers.codes``): "remainder", "hash", or "learned"
    from a full table that is trained first.

    With ``importance`` the ``w_k`` are learned, a number an id and table (Svenstrup et al. 2017); without they are 1:
    the sum of codewords of Shu and Nakayama 2018. The first ``own`` ids keep a row of their own, ``E[id] = O[id]``: of
    use where ids stand in the order of frequency, as a vocabulary's do.

    ``ratio`` chooses the tables' rows ``m_k``: all weights together are at most that share of the full table's. Rows of
    their own take at most half of it; and a small table is compressed less, for ``m_1 * .. * m_K`` is at least the
    number of ids, and learned codes are at least 2 of 16 codewords.
    """

    def __init__(
        self,
        rows: int,
        size: int,
        ratio: float = 0.1,
        codes: int | None = None,
        assignment: str = "remainder",
        importance: bool = False,
        own: int = 0,
        scale: float = SCALE,
    ) -> None:
        super().__init__()
        if assignment not in ASSIGNMENTS:
            raise ValueError(f"unknown assignment {assignment!r}; the choices are {', '.join(ASSIGNMENTS)}")
        if codes is not None and (type(codes) is not int or codes < 2):
            raise ValueError(f"shared needs at least 2 codes, got {codes!r}")
        if type(own) is not int or own < 0:
            raise ValueError(f"the number of own rows must be 0 or more, got {own!r}")
        if importance and assignment == "learned":
            raise ValueError("importance is for codes by arithmetic: learned ones already say what a word is made of")
        codes = codes or 2 if importance else codes
        weights = rows * codes if importance and codes else 0
        full_rows = int((_budget(rows, size, ratio) - weights) / size)  # that may be spent
        self.own = min(own, max(0, full_rows // 2 - 1))  # every table also has a row for padding
        self.rows = _table(self.own + 1, size, scale) if self.own else None
        spent = self.own + 1 if self.own else 0
        self.codes = ASSIGNMENTS[assignment](rows - self.own, full_rows - spent, size, codes)
        count = len(self.codes.sizes)
        self.importance = _table(rows - self.own, count, 0.0, mean=1.0) if importance else None
        self.tables: Sequence[nn.Embedding] = nn.ModuleList(  # type: ignore[assignment]
            _table(m + 1, size, scale / math.sqrt(count), sparse=m >= SPARSE) for m in self.codes.sizes
        )

    def forward(self, ids: Tensor) -> Tensor:
        """The sum over the tables; all others are number 0 to the shared ids, and row 0 of every table is zero."""
        number = (ids - self.own).clamp(min=0)
        shared = number > 0
        parts = [
            _look_up(table, torch.where(shared, self.codes(number, k) + 1, 0)) for k, table in enumerate(self.tables)
        ]
        if self.importance is not None:
            weights = _look_up(self.importance, number)
            parts = [weights[..., k, None] * part for k, part in enumerate(parts)]
        if self.rows is not None:
            parts.append(_look_up(self.rows, torch.where(shared, 0, ids)))
        return sum(parts[1:], parts[0])

    def nodes(self, graph: Graph, ids: str) -> str:
        """The same in ONNX."""
        zero, one = graph.constant(np.array(0)), graph.constant(np.array(1))
        number = graph.add("Max", graph.add("Sub", ids, graph.constant(np.array(self.own))), zero)
        shared = graph.add("Greater", number, zero)
        parts = []
        for k, table in enumerate(self.tables):
            row = graph.add("Add", self.codes.nodes(graph, number, k), one)
            parts.append(_gather(graph, table, graph.add("Where", shared, row, zero)))
        if self.importance is not None:
            weights = _gather(graph, self.importance, number)
            columns = [graph.add("Gather", weights, graph.constant(np.array([k])), axis=-1) for k in range(len(parts))]
            parts = [graph.add("Mul", column, part) for column, part in zip(columns, parts, strict=True)]
        if self.rows is not None:
            parts.append(_gather(graph, self.rows, graph.add("Where", shared, zero, ids)))
        return graph.add("Sum", *parts)


def _budget(rows: int, size: int, ratio: float) -> float:
    """Numbers that ``ratio`` of a full table has."""
    if not isinstance(ratio, int | float) or not 0 < ratio <= 1:
        raise ValueError(f"ratio is the share of the full table's size, above 0 and at most 1, got {ratio!r}")
    return ratio * rows * size


def _table(rows: int, size: int, scale: float, mean: float = 0.0, sparse: bool = True) -> nn.Embedding:
    table = nn.Embedding(rows, size, padding_idx=0, sparse=sparse)
    with torch.no_grad():
        table.weight.normal_(mean, scale)
        table.weight[0].zero_()
    return table


def _look_up(table: nn.Embedding, ids: Tensor) -> Tensor:
    """The rows of the ids. A sparse gradient has rows of padding too, which ``fenlei.optimizing`` leaves out.

    Torch would leave them out by copying all the others, for each table that takes part in a sum.
    """
    return nn.functional.embedding(ids, table.weight, sparse=True) if table.sparse else table(ids)


def _gather(graph: Graph, table: nn.Embedding, ids: str) -> str:
    return graph.gather(table.weight, ids)


EMBEDDINGS: dict[str, type[Embedding]] = {"full": Full, "shared": Shared, "lowrank": LowRank}


def options_of(name: str) -> dict[str, Any]:
    """The options of one embedding with their defaults: its constructor's own, without the table's shape."""
    if name not in EMBEDDINGS:
        raise ValueError(f"unknown embedding {name!r}; the choices are {', '.join(EMBEDDINGS)}")
    parameters = inspect.signature(EMBEDDINGS[name]).parameters
    return {key: value.default for key, value in parameters.items() if key not in ("rows", "size")}
