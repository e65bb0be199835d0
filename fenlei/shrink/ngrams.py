"""The linear model made smaller: what matters least goes, weights become codes, hashes and idf get fewer bits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fenlei import eliasfano, quantizing
from fenlei.layers.codes import MOST_CODEWORDS
from fenlei.ngrams import NgramTable
from fenlei.packing import Bytes, Packed
from fenlei.shrink.heldout import HeldOut
from fenlei.wide import Wide, idf_of, steps_of

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

SPARE_BITS = 12  # of a hash, beside those that number the n-grams: one unknown n-gram in 4,096 is taken for a known one
FEWEST = 16
KINDS = ("2 codes", "3 codes", "8 bits")


class Smaller(NamedTuple):
    """A linear model with fewer n-grams: its road, its weights ``(V, C)`` as stored, what they answer, their bytes."""

    kind: str
    wide: Wide
    weight: Packed
    logits: Floats
    nbytes: int


@dataclass(frozen=True)
class Ngrams:
    """The full linear model: ``weight (V, C)`` with row 0 for no n-gram, ``bias (C,)``."""

    wide: Wide
    weight: Floats
    bias: Floats

    @property
    def worth(self) -> Floats:
        """What each n-gram does to the answers of all texts, ``(V - 1,)``: ``sqrt(df) * idf * |w - mean w|``.

        That is the norm of its share of the logits over the training texts, but for the texts' lengths: a document
        frequency is its ``idf`` read backwards.
        """
        rows = self.weight[1:] - self.weight[1:].mean(axis=1, keepdims=True)
        return np.asarray(np.sqrt(self.often) * np.linalg.norm(rows, axis=1), np.float32)

    @property
    def often(self) -> Floats:
        """How much an error in an n-gram's weights counts, ``df * idf ** 2``, but for a factor."""
        return np.asarray(np.exp(-self.wide.idf.astype(np.float64)) * self.wide.idf**2, np.float32)

    def room(self, kind: str, limit: int) -> int:
        """How many n-grams fit into so many bytes."""
        low, high = 0, len(self.wide) - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.size(kind, middle) <= limit else (low, middle - 1)
        return low

    def size(self, kind: str, count: int) -> int:
        """Bytes of so many n-grams, at most."""
        classes = self.weight.shape[1]
        numbers = count + 1, 0
        if kind != "8 bits":
            codes = int(kind.split()[0])
            numbers = (count + 1) * codes, codes * min(MOST_CODEWORDS, count + 1) * classes * 2
        else:
            numbers = (count + 1) * (classes + 2), 0
        return sum(numbers) + eliasfano.size(count, bits_for(count)) + count

    def smaller(self, kind: str, limit: int, dev: HeldOut) -> Smaller | None:
        """The model of the n-grams that matter most, as many as fit into ``limit`` bytes; None where hardly any do."""
        count = self.room(kind, limit)
        if count < FEWEST:
            return None
        worth = self.worth
        chosen = np.sort(np.argsort(-worth, kind="stable")[:count])
        part = NgramTable(self.wide.table.hashes[chosen], self.wide.table.bits)
        table, kept = part.shorten(min(part.bits, bits_for(count)), worth[chosen])
        rows = chosen[kept] + 1
        idf = idf_of(steps_of(self.wide.idf[rows - 1]))
        weight = self.pack(kind, rows)
        scores = dev.counted(rows, idf, self.wide.idf) @ weight.unpack() + self.bias
        wide = Wide(self.wide.views, table, idf)
        return Smaller(kind, wide, weight, np.asarray(scores, np.float32), self.size(kind, count))

    def pack(self, kind: str, rows: Ints) -> Packed:
        """The weights of no n-gram and of those at ``rows``."""
        weight = self.weight[np.concatenate([[0], rows])]
        if kind == "8 bits":
            return Bytes.pack(weight)
        often = self.often[rows - 1] / self.often[rows - 1].mean()
        return quantizing.sums(weight, np.concatenate([[1], often]).astype(np.float32), int(kind.split()[0]))


def bits_for(count: int) -> int:
    """Bits of a hash that so many n-grams are told apart by."""
    return min(64, math.ceil(math.log2(count + 2)) + SPARE_BITS)
