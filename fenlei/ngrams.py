"""Hashed n-grams: runs of neighbouring tokens as 64-bit numbers, and the table that gives each known one a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fenlei import eliasfano

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

_STEP = np.uint64(0x9E3779B97F4A7C15)  # the golden ratio in 64 bits, as in splitmix64


def mix(x: Hashes) -> Hashes:
    """Scatter the bits of each number (the finalizer of splitmix64, Steele et al. 2014); a bijection."""
    x = x + _STEP
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def hash_tokens(tokens: Sequence[str]) -> Hashes:
    """One number a token, ``(N,)``: a polynomial over its code points, the same on every machine and in every batch."""
    if not tokens:
        return np.zeros(0, np.uint64)
    lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
    points = np.frombuffer("".join(tokens).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    starts = np.cumsum(lengths) - lengths
    place = np.arange(len(points)) - np.repeat(starts, lengths)
    powers = np.cumprod(np.full(int(lengths.max()), _STEP | np.uint64(1)))
    return mix(np.add.reduceat(mix(points) * powers[place], starts))


def hash_ngrams(tokens: Hashes, offsets: Ints, n: int, salt: int = 0) -> tuple[Hashes, Ints]:
    """The n-grams that lie within one document.

    ``tokens (N,)`` are token hashes, ``offsets (B + 1,)`` where each document begins and the last ends. Returns the
    n-grams' hashes and the position of each one's first token. ``salt`` keeps families apart: the character ``a`` is
    not the word ``a``.
    """
    ends = np.repeat(offsets[1:], np.diff(offsets))
    first = np.flatnonzero(np.arange(len(tokens)) + n <= ends)
    hashes = mix(tokens[first] ^ mix(np.array([salt * 64 + n], np.uint64)))
    for k in range(1, n):
        hashes = mix(hashes * np.uint64(3) + tokens[first + k])
    return hashes, first


@dataclass(frozen=True)
class NgramTable:
    """Known n-grams, ``hashes (V,)`` sorted; n-gram number ``i`` has the row ``i + 1``, and row 0 is every other one.

    Two n-grams of a million share a 64-bit number with a chance of about 3e-8, so the table needs no strings.
    """

    hashes: Hashes
    bits: int = 64
    """Of a hash, its highest, that are compared: a small table holds no more of them."""

    def __post_init__(self) -> None:
        if self.hashes.dtype != np.uint64 or self.hashes.ndim != 1 or not np.all(self.hashes[1:] > self.hashes[:-1]):
            raise ValueError("an n-gram table needs sorted, distinct uint64 hashes")

    def __len__(self) -> int:
        return len(self.hashes) + 1

    def rows(self, hashes: Hashes) -> Ints:
        """The row of each hash ``(N,) -> (N,)``, 0 for one that the table does not hold."""
        if self.bits < 64:
            hashes = hashes >> np.uint64(64 - self.bits)
        if not len(self.hashes):
            return np.zeros(len(hashes), np.int64)
        place = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        return np.where(self.hashes[place] == hashes, place + 1, 0)

    def shorten(self, bits: int, worth: npt.NDArray[Any]) -> tuple[NgramTable, Ints]:
        """The table by the highest bits of its hashes, and which of its n-grams, from 0 on, stand in it ``(V',)``.

        Of n-grams that this makes equal the one of most ``worth (V,)`` stays.
        """
        short = self.hashes >> np.uint64(self.bits - bits)
        best = np.lexsort((-worth, short))
        kept = best[np.concatenate([[True], short[best][1:] != short[best][:-1]])] if len(best) else best
        return NgramTable(short[kept], bits), kept.astype(np.int64)

    def stored(self) -> npt.NDArray[np.uint64] | npt.NDArray[np.uint8]:
        """The array that a bundle keeps: the hashes, or where they are short, bytes of ``fenlei.eliasfano``."""
        return self.hashes if self.bits == 64 else eliasfano.encode(self.hashes, self.bits)

    @classmethod
    def restore(cls, array: npt.NDArray[Any]) -> NgramTable:
        """The table that ``stored`` came from."""
        return cls(*eliasfano.decode(array)) if array.dtype == np.uint8 else cls(array)


def most_frequent(hashes: Hashes, counts: Ints, min_count: int, max_size: int) -> tuple[NgramTable, Ints]:
    """The table of n-grams seen at least ``min_count`` times, at most the ``max_size`` most frequent; and their counts.

    ``hashes (V,)`` are sorted and distinct. Ties at the limit go to the smaller hash, so the choice is repeatable.
    """
    kept = np.flatnonzero(counts >= min_count)
    if len(kept) > max_size:
        kept = np.sort(kept[np.argsort(-counts[kept], kind="stable")[:max_size]])
    return NgramTable(hashes[kept]), counts[kept]
