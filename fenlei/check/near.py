"""Texts that are nearly the same: equal but for spelling, or with most of their shingles in common.

Broder (1997): the resemblance of two texts is the Jaccard index of their sets of shingles, here runs of characters, and
the least value of a random hash over a set is the same for two sets with just that probability. One hash of every
shingle gives a sketch of 96 such minima (one permutation hashing, Li, Owen and Zhang 2012; a bin that no shingle fell
into takes the value of another, Shrivastava 2017). Texts whose sketches agree in a whole band of 6 are held against
each other, shingle by shingle, and are near from a Jaccard index of 0.8 on: there one of the 16 bands agrees with a
probability of 0.99. The time is linear in the characters, for within a band a text is held against the first and three
neighbours only; the memory beside the texts is 128 bytes each.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from fenlei.ngrams import hash_ngrams, mix
from fenlei.text import normalize

NEAR = 0.8  # Jaccard index from which on texts are near
SHINGLE = {"chars": 3, "words": 5}  # characters a shingle, by the tokenizer that fits the scripts
BANDS, DEPTH = 16, 6
BINS = BANDS * DEPTH
NEIGHBOURS = 3  # in a band that a text is held against, beside the first
CHUNK_TEXTS, CHUNK_CHARACTERS = 20_000, 1_000_000  # sketched or compared at once: 15 MB of minima
EMPTY = np.uint64(2**64 - 1)

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class _Kept(dict[int, int | None]):
    """For ``str.translate``: spaces, punctuation and control characters are left out, signs such as emoji stay."""

    def __missing__(self, code: int) -> int | None:
        self[code] = None if unicodedata.category(chr(code))[0] in "PZC" else code
        return self[code]


_KEPT = _Kept()


def fold(text: str) -> str:
    """``text`` without what hardly changes what it says: case, width, spaces, punctuation (NFKC, lower case).

    A text of nothing else stays as it is, normalized.
    """
    normal = normalize(text)
    return normal.translate(_KEPT) or normal


def groups(texts: Sequence[str], size: int) -> Ints:
    """The group of each folded text ``(N,)``: the number of its first member; near texts are in one group, chains too.

    ``size`` is the length of a shingle. What two texts share is always seen where they are equal, with a probability of
    0.99 where their Jaccard index is 0.8, and above it more surely. The same texts give the same groups.
    """
    first: dict[str, int] = {}
    row_of = [first.setdefault(text, row) for row, text in enumerate(texts)]
    able = np.array([row for text, row in first.items() if len(text) >= size], np.int64)
    parent = np.arange(len(texts))
    if len(able) > 1:
        parent[able] = able[_components([texts[row] for row in able], size)]
    return np.asarray(parent[np.array(row_of, np.int64)])


def _components(texts: Sequence[str], size: int) -> Ints:
    """``groups`` of different texts, none shorter than a shingle."""
    keys = sketches(texts, size)
    parent = np.arange(len(texts))
    refused: Hashes = np.zeros(0, np.uint64)
    for band in range(BANDS):
        order = np.argsort(keys[:, band], kind="stable")
        for pairs in _beside(order, keys[order, band]):
            pairs = pairs[parent[pairs[:, 0]] != parent[pairs[:, 1]]]
            codes = (pairs[:, 0] * len(texts) + pairs[:, 1]).astype(np.uint64)
            pairs = pairs[~np.isin(codes, refused)]
            near = jaccard(texts, pairs, size) >= NEAR
            refused = np.union1d(refused, (pairs[~near, 0] * len(texts) + pairs[~near, 1]).astype(np.uint64))
            join(parent, pairs[near])
    return parent


def _beside(order: Ints, keys: Hashes) -> Iterator[Ints]:
    """Pairs ``(P, 2)``, the lower row first, of texts with equal keys: with the first of them, then with neighbours."""
    head = np.concatenate([[True], keys[1:] != keys[:-1]])
    start = np.maximum.accumulate(np.where(head, np.arange(len(keys)), 0))
    yield np.stack([order[start[~head]], order[~head]], axis=1)
    for lag in range(1, NEIGHBOURS + 1):
        same = np.flatnonzero(keys[lag:] == keys[:-lag])
        yield np.stack([order[same], order[same + lag]], axis=1)


def join(parent: Ints, pairs: Ints) -> None:
    """Merge the groups of each pair ``(P, 2)`` in ``parent (N,)``, which holds the first member of each row's group."""
    for low, high in pairs.tolist():
        roots = sorted((_root(parent, low), _root(parent, high)))
        parent[roots[1]] = roots[0]
    while not np.array_equal(parent, following := parent[parent]):
        parent[:] = following


def _root(parent: Ints, row: int) -> int:
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = int(parent[row])
    return row


def sketches(texts: Sequence[str], size: int) -> Hashes:
    """One number a band for every text, ``(N, BANDS)``: equal where six minima of their shingles are."""
    donors = np.argsort(mix(np.arange(BINS * BINS, dtype=np.uint64)).reshape(BINS, BINS), axis=1)
    keys = np.empty((len(texts), BANDS), np.uint64)
    at = 0
    for chunk in _chunks(texts):
        hashes, owners = shingles(chunk, size)
        minima = np.full((len(chunk), BINS), EMPTY)
        np.minimum.at(minima.reshape(-1), owners * BINS + (hashes % np.uint64(BINS)).astype(np.int64), hashes)
        _fill(minima, donors)
        banded = minima.reshape(len(chunk), BANDS, DEPTH)
        key = np.zeros((len(chunk), BANDS), np.uint64)
        for depth in range(DEPTH):
            key = mix(key * np.uint64(3) + banded[:, :, depth])
        keys[at : at + len(chunk)] = key
        at += len(chunk)
    return keys


def _fill(minima: Hashes, donors: Ints) -> None:
    """Give each empty bin the minimum of the first full one in its own fixed order of all bins, ``donors``."""
    full = minima != EMPTY
    rows, bins = np.nonzero(~full)
    for attempt in range(BINS):
        donor = donors[bins, attempt]
        found = full[rows, donor]
        minima[rows[found], bins[found]] = minima[rows[found], donor[found]]
        rows, bins = rows[~found], bins[~found]
        if not len(rows):
            break


def shingles(texts: Sequence[str], size: int) -> tuple[Hashes, Ints]:
    """The hash of every run of ``size`` characters, and the number of the text that it stands in, both ``(S,)``."""
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    offsets = np.fromiter(accumulate(map(len, texts), initial=0), np.int64, len(texts) + 1)
    hashes, first = hash_ngrams(mix(points), offsets, size)
    return hashes, np.searchsorted(offsets, first, side="right") - 1


def jaccard(texts: Sequence[str], pairs: Ints, size: int) -> Floats:
    """``|A and B| / |A or B|`` of the shingles of each pair of texts ``(P, 2)``: ``(P,)``; 0 where both have none."""
    found = [np.zeros(0)]
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    ends = np.cumsum(lengths[pairs].sum(1)) // CHUNK_CHARACTERS
    for chunk in np.split(pairs, np.flatnonzero(np.diff(ends)) + 1) if len(pairs) else ():
        left, right = (_sets([texts[row] for row in side], size) for side in chunk.T.tolist())
        common = np.intersect1d(left[0], right[0], assume_unique=True, return_indices=True)[1]
        both = np.bincount(left[1][common], minlength=len(chunk))
        either = np.bincount(left[1], minlength=len(chunk)) + np.bincount(right[1], minlength=len(chunk)) - both
        found.append(both / np.maximum(either, 1))
    return np.concatenate(found)


def _sets(texts: Sequence[str], size: int) -> tuple[Hashes, Ints]:
    """Each text's different shingles, mixed with its number so that sets of all texts lie in one array; the numbers."""
    hashes, owners = shingles(texts, size)
    keys, once = np.unique(hashes ^ mix(owners.astype(np.uint64)), return_index=True)
    return keys, owners[once]


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    room = CHUNK_CHARACTERS
    for text in texts:
        if chunk and (len(chunk) == CHUNK_TEXTS or room < len(text)):
            yield chunk
            chunk, room = [], CHUNK_CHARACTERS
        chunk.append(text)
        room -= len(text)
    if chunk:
        yield chunk
