"""Hashed n-grams: runs of neighbouring tokens as 64-bit numbers, and the table that gives each known one a row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fenlei import compiled, eliasfano

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

_STEP = np.uint64(0x9E3779B97F4A7C15)  # the golden ratio in 64 bits, as in splitmix64
_ROUNDS = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))
_THREE = np.uint64(3)
CROWDED = 16  # hashes that share their first bits; where more do, the table is searched by halves


def mix(x: Hashes | npt.NDArray[np.uint32]) -> Hashes:
    """Scatter the bits of each number (the finalizer of splitmix64, Steele et al. 2014); a bijection."""
    y: Hashes = np.add(x, _STEP, dtype=np.uint64)
    for shift, factor in _ROUNDS:  # in place: fresh memory would take longer than the arithmetic
        y ^= y >> shift
        y *= factor
    y ^= y >> np.uint64(31)
    return y


def hash_tokens(points: npt.NDArray[np.uint32], lengths: Ints) -> Hashes:
    """One number a token, ``(N,)``: a polynomial over its code points, the same on every machine and in every batch.

    ``points (P,)`` are the characters of all tokens, ``lengths (N,)``, each at least 1, how many each token has.
    """
    alone = len(points) == len(lengths)
    if compiled.LOADED:
        hashes = np.empty(len(lengths), np.uint64)
        compiled.LOOPS.hash_tokens(points, None if alone else lengths, len(lengths), hashes)
        return hashes
    if alone:  # the formula below for tokens of one character
        return mix(mix(points) * _STEP)
    starts = np.cumsum(lengths) - lengths
    place = np.arange(len(points)) - np.repeat(starts, lengths)
    powers = np.cumprod(np.full(int(lengths.max()), _STEP))
    return mix(np.add.reduceat(mix(points) * powers[place], starts))


def hash_ngrams(tokens: Hashes, offsets: Ints, n: int, salt: int = 0) -> tuple[Hashes, Ints]:
    """The n-grams that lie within one document.

    ``tokens (N,)`` are token hashes, ``offsets (B + 1,)`` where each document begins and the last ends. Returns the
    n-grams' hashes and the position of each one's first token. ``salt`` keeps families apart: the character ``a`` is
    not the word ``a``.
    """
    first = np.flatnonzero(_left(offsets) >= n)
    hashes = mix(tokens[first] ^ _family(salt, n))
    for k in range(1, n):
        hashes *= _THREE
        hashes += tokens[first + k]
        hashes = mix(hashes)
    return hashes, first


def hash_runs(tokens: Hashes, offsets: Ints, n: int) -> Hashes:
    """The n-gram that begins at each token, ``(N,)``, of family 0: 0 where its document has fewer tokens left."""
    hashes = np.zeros(len(tokens), np.uint64)
    if compiled.LOADED:
        compiled.LOOPS.hash_runs(tokens, offsets, len(offsets) - 1, n, int(_family(0, n)[0]), hashes)
        return hashes
    found, first = hash_ngrams(tokens, offsets, n)
    hashes[first] = found
    return hashes


def hash_all_ngrams(tokens: Hashes, offsets: Ints, longest: int, salt: int = 0) -> tuple[Hashes, Ints]:
    """The same of every length from 1 to ``longest`` together, in no particular order."""
    size = len(tokens)
    wider = np.zeros(size + longest - 1, np.uint64)
    wider[:size] = tokens
    hashes = mix(tokens ^ families(salt, longest)[:, None])  # row n - 1: the n-grams that begin at each token
    for k in range(1, longest):
        rest = hashes[k:] * _THREE
        rest += wider[k : k + size]
        hashes[k:] = mix(rest)
    inside = _left(offsets) >= np.arange(1, longest + 1)[:, None]
    return hashes[inside], np.nonzero(inside)[1]


def _left(offsets: Ints) -> Ints:
    """How many tokens each document still has from each token on, that one included, ``(N,)``."""
    if len(offsets) == 2:
        return np.arange(offsets[1], offsets[0], -1)
    ends = np.repeat(offsets[1:], offsets[1:] - offsets[:-1])
    ends -= np.arange(len(ends))
    return ends


@cache
def _family(salt: int, n: int) -> Hashes:
    return mix(np.array([salt * 64 + n], np.uint64))


@cache
def families(salt: int, longest: int) -> Hashes:
    """A number for each length up to the longest, ``(longest,)``: so ``salt`` and length keep n-grams apart."""
    return np.concatenate([_family(salt, n) for n in range(1, longest + 1)])


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
        if not len(self.hashes):
            return np.zeros(len(hashes), np.int64)
        if self.loops is not None:
            rows = np.empty(len(hashes), np.int64)
            compiled.LOOPS.find_rows(self.loops, hashes, len(hashes), rows)
            return rows
        if self.bits < 64:
            hashes = hashes >> np.uint64(64 - self.bits)
        starts, shift, longest = self._index
        if longest > CROWDED:
            place = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
            return np.where(self.hashes[place] == hashes, place + 1, 0)
        place = starts[hashes >> shift].astype(np.int64)
        held = self.hashes[place]
        rows = np.where(held == hashes, place + 1, 0)
        behind = np.flatnonzero(held < hashes)
        for step in range(1, longest):
            if not len(behind):
                break
            place_behind = np.minimum(place[behind] + step, len(self.hashes) - 1)
            held = self.hashes[place_behind]
            rows[behind] = np.where(held == hashes[behind], place_behind + 1, 0)
            behind = behind[held < hashes[behind]]
        return rows

    @cached_property
    def loops(self) -> compiled.Table | None:
        """What the compiled loops read: None where there are none, and where they would search for too long."""
        if not compiled.LOADED or not len(self.hashes) or self._index[2] > CROWDED:
            return None
        starts, shift, _ = self._index
        return compiled.Table.of(self.hashes, starts, 64 - self.bits, int(shift))

    @cached_property
    def _index(self) -> tuple[npt.NDArray[np.int32], np.uint64, int]:
        """Where the hashes with each value of their first bits begin, the shift to these bits, and most of one value.

        Hashes are spread evenly, so with one to two values a hash the first look finds most, and few need a fourth.
        """
        bits = max(1, min(len(self.hashes).bit_length(), 24, self.bits))
        shift = np.uint64(self.bits - bits)
        counts = np.bincount((self.hashes >> shift).view(np.int64), minlength=1 << bits)
        starts = np.zeros(1 << bits, np.int32)
        np.cumsum(counts[:-1], out=starts[1:])
        return np.minimum(starts, len(self.hashes) - 1, out=starts), shift, int(counts.max())

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


def most_frequent(
    hashes: Hashes, counts: Ints | npt.NDArray[np.uint32], min_count: int, max_size: int
) -> tuple[NgramTable, Ints]:
    """The table of n-grams seen at least ``min_count`` times, at most the ``max_size`` most frequent; and their counts.

    ``hashes (V,)`` are sorted and distinct. Ties at the limit go to the smaller hash, so the choice is repeatable.
    """
    kept = np.flatnonzero(counts >= min_count)
    if len(kept) > max_size:
        kept = np.sort(kept[np.argsort(-counts[kept].astype(np.int64), kind="stable")[:max_size]])
    return NgramTable(hashes[kept]), counts[kept].astype(np.int64)
