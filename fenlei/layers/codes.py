"""Which rows of a few shared tables make up an id: by arithmetic, which is stored nowhere, or learned."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fenlei.layers.graph import Graph
from fenlei.ngrams import mix

Ints = npt.NDArray[np.int64]

PRIME = 2**31 - 1
MOST_CODEWORDS, FEWEST_CODEWORDS = 256, 16  # of a table whose codes are learned: a code is a byte


class Codes(nn.Module, ABC):
    """``c_k(n)``, a row from 0 on of table ``k``, for the ids ``n`` from 1 to below ``ids``.

    Made for tables of ``size`` numbers a row that have ``rows`` rows together, one of each being padding's; ``codes``
    is the number of tables, ``sizes`` holds what each has without padding's row, ``m_k``.
    """

    sizes: list[int]

    @abstractmethod
    def __init__(self, ids: int, rows: int, size: int, codes: int | None) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, number: Tensor, k: int) -> Tensor:
        """``c_k`` of each number; of a number that is no id, anything in range."""

    @abstractmethod
    def nodes(self, graph: Graph, number: str, k: int) -> str:
        """The same in ONNX."""


class Arithmetic(Codes):
    """``c_k(n) = ((a_k n + b_k) mod p) mod m_k``, ``p = 2^31 - 1``."""

    factors: Tensor

    def __init__(self, ids: int, rows: int, size: int, codes: int | None) -> None:
        super().__init__(ids, rows, size, codes)
        count = codes or 2
        total = max(rows - count, count)
        while math.prod(self._sizes(count, total)) < ids:  # a small table is compressed less
            total += 1
        self.sizes = self._sizes(count, total)
        self.factors = nn.Buffer(torch.from_numpy(self._factors(count)))

    @abstractmethod
    def _sizes(self, codes: int, total: int) -> list[int]:
        """``codes`` numbers ``m_k`` of the sum ``total`` or somewhat less."""

    @abstractmethod
    def _factors(self, codes: int) -> Ints:
        """``a, b (2, K)``."""

    def forward(self, number: Tensor, k: int) -> Tensor:
        """Two products and two remainders."""
        a, b = self.factors[:, k]
        return (a * number + b) % PRIME % self.sizes[k]

    def nodes(self, graph: Graph, number: str, k: int) -> str:
        """The same in ONNX."""
        a, b = (graph.constant(each.numpy()) for each in self.factors[:, k])
        scattered = graph.add("Mod", graph.add("Add", graph.add("Mul", number, a), b), graph.constant(np.array(PRIME)))
        return graph.add("Mod", scattered, graph.constant(np.array(self.sizes[k])))


class Remainder(Arithmetic):
    """``a_k = 1``, ``b_k = 0``, no two ``m_k`` with a common factor. No two ids have all codes in common.

    Complementary partitions, Shi et al. 2019. Of two tables one gives the row vector and one the column vector of a
    grid in which each word has a cell of its own (LightRNN, Li et al. 2016, which learns where).
    """

    def _sizes(self, codes: int, total: int) -> list[int]:
        return coprime(codes, total)

    def _factors(self, codes: int) -> Ints:
        return np.array([[1] * codes, [0] * codes])


class Hashed(Arithmetic):
    """``a_k`` and ``b_k`` are random, all ``m_k`` equal (hash embeddings, Svenstrup et al. 2017). Ids may meet."""

    def _sizes(self, codes: int, total: int) -> list[int]:
        return [total // codes] * codes

    def _factors(self, codes: int) -> Ints:
        random = mix(np.arange(2 * codes, dtype=np.uint64)) % np.uint64(PRIME - 1)
        return random.astype(np.int64).reshape(2, codes) + 1


class Learned(Codes):
    """A table of codes, a byte each, found by ``fenlei.quantizing``; until then they are random.

    Shu and Nakayama 2018. A byte counts as half a number of the budget, for the tables are stored in float16. Where
    ``codes`` is left open, there are as many as the budget holds; asked for, at most so many. At least there are 2, of
    16 codewords each, so that a table of a few hundred rows takes more than its share.
    """

    table: Tensor

    def __init__(self, ids: int, rows: int, size: int, codes: int | None) -> None:
        super().__init__(ids, rows, size, codes)
        self.sizes = self._sizes(ids, rows, size, codes)
        m, count = self.sizes[0], len(self.sizes)
        random = mix(np.arange(ids * count, dtype=np.uint64)) % np.uint64(m)
        self.table = nn.Buffer(torch.from_numpy(random.astype(np.uint8).reshape(ids, count)))

    @staticmethod
    def _sizes(ids: int, rows: int, size: int, codes: int | None) -> list[int]:
        """About as many bytes for the codewords as for the codes, and as many of both as there is room for."""
        a_code, fewest = ids / (2 * size), min(FEWEST_CODEWORDS, ids)  # a code of every id takes so many rows
        m = min(MOST_CODEWORDS, max(fewest, round(a_code)))
        count = codes or math.ceil(rows / (a_code + m + 1))
        while count > 2 and rows / count - a_code - 1 < fewest:
            count -= 1
        count = max(2, count)
        return [min(MOST_CODEWORDS, max(fewest, int(rows / count - a_code) - 1))] * count

    def forward(self, number: Tensor, k: int) -> Tensor:
        """A lookup."""
        return self.table[:, k][number].long()

    def nodes(self, graph: Graph, number: str, k: int) -> str:
        """The same in ONNX."""
        found = graph.add("Gather", graph.weight(self.table), number, axis=0)
        column = graph.add("Gather", found, graph.constant(np.array(k)), axis=-1)
        return graph.add("Cast", column, to=7)


ASSIGNMENTS: dict[str, type[Codes]] = {"remainder": Remainder, "hash": Hashed, "learned": Learned}


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
