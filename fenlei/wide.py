"""The wide branch's road: a document as the TF-IDF weights of its n-grams of characters and words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fenlei import compiled, ngrams
from fenlei.codepoints import SPACE, ends
from fenlei.ngrams import Hashes, Ints, NgramTable
from fenlei.streams import TokenBatch, Tokens

Floats = npt.NDArray[np.float32]
Sizes = npt.NDArray[np.uint32]
STEP = 1 / 16  # 255 of them reach the idf of one document in 16 million


def _characters(batch: TokenBatch) -> Tokens:
    """Every character with the spaces between words, and one at both ends, so that a word's edges are n-grams too."""
    return Tokens.characters(batch.lines.surround(SPACE, 1, 1))


def _tokens(batch: TokenBatch) -> Tokens:
    """The tokens that the encoder reads."""
    return batch.tokens


def _jieba(batch: TokenBatch) -> Tokens:
    return batch.jieba


VIEWS: dict[str, Callable[[TokenBatch], Tokens]] = {"chars": _characters, "tokens": _tokens, "jieba": _jieba}


@dataclass(frozen=True)
class Wide:
    """Known n-grams and their inverse document frequencies.

    ``views`` names each way of cutting with its longest n-gram. The weight of an n-gram seen ``c`` times in a document
    is ``(1 + ln c) * idf``, and a document's weights have length 1 in the Euclidean norm, each view by itself
    (Salton and Buckley 1988; ``idf = ln((1 + B) / (1 + df)) + 1`` as in scikit-learn).
    """

    views: tuple[tuple[str, int], ...]
    table: NgramTable
    idf: Floats

    def __len__(self) -> int:
        """Rows of the weight table: every n-gram, and row 0 for a document that has none of them."""
        return len(self.table)

    def encode(self, batch: TokenBatch) -> tuple[Ints, Ints, Floats]:
        """Offsets ``(B + 1,)``, and the rows and weights of each document's known n-grams, flat ``(N,)``.

        A document's n-grams stand view by view, rows rising. One with none has row 0 with weight 0.
        """
        if self.table.loops is not None and len(self.views) <= compiled.MOST:
            return self._encode_compiled(batch, self.table.loops)
        count = len(self.views)
        found = [_ngrams(batch, *view, number) for number, view in enumerate(self.views)]
        hashes = np.concatenate([hashes for hashes, _ in found])
        parts = np.concatenate([owners * count + number for number, (_, owners) in enumerate(found)])
        parts, rows, weights = self._weigh(hashes, parts, len(batch) * count)
        sizes = np.bincount(parts // count, minlength=len(batch))
        if sizes.all():
            return ends(sizes), rows, weights
        offsets = ends(np.maximum(sizes, 1))
        place = np.flatnonzero(np.repeat(sizes > 0, np.maximum(sizes, 1)))
        every_row, every_weight = np.zeros(offsets[-1], np.int64), np.zeros(offsets[-1], np.float32)
        every_row[place], every_weight[place] = rows, weights
        return offsets, every_row, every_weight

    def _encode_compiled(self, batch: TokenBatch, table: compiled.Table) -> tuple[Ints, Ints, Floats]:
        """The same by the compiled loop, a document at a time."""
        views: list[Any] = []
        most = len(batch)
        for number, (name, longest) in enumerate(self.views):
            cut = VIEWS[name](batch)
            views += cut.hashes, cut.offsets, longest, ngrams.families(number, longest)
            most += len(cut) * longest
        sizes, rows, weights = np.empty(len(batch), np.int64), np.empty(most, np.int64), np.empty(most, np.float32)
        filled = compiled.LOOPS.weigh(len(batch), table, self.idf, sizes, rows, weights, *views)
        return ends(sizes), rows[:filled].copy(), weights[:filled].copy()

    def _weigh(self, hashes: Hashes, parts: Ints, size: int) -> tuple[Ints, Ints, Floats]:
        """Each known n-gram once: the part it stands in (a document's of one view), its row and weight, in this order.

        Each part's weights have length 1.
        """
        rows = self.table.rows(hashes)
        known = np.flatnonzero(rows)
        bits = len(self).bit_length()
        pairs = np.sort((parts[known] << bits) + rows[known])
        fresh = np.ones(len(pairs), np.bool_)  # unlike the pair before
        np.not_equal(pairs[1:], pairs[:-1], out=fresh[1:])
        first = np.flatnonzero(fresh)
        counts = np.full(len(first), len(pairs))
        counts[:-1] = first[1:]
        counts -= first
        pairs = pairs[first]
        parts, rows = pairs >> bits, pairs & ((1 << bits) - 1)
        weights = (1 + np.log(counts)) * self.idf[rows - 1]
        norms = np.sqrt(np.bincount(parts, weights * weights, minlength=size))
        return parts, rows, (weights / norms[parts]).astype(np.float32)

    def keep(self, rows: Ints) -> Wide:
        """The same road with only the named rows (sorted, without row 0): what pruning leaves."""
        return Wide(self.views, NgramTable(self.table.hashes[rows - 1]), self.idf[rows - 1])

    def settings(self) -> dict[str, Any]:
        """What JSON can hold; ``tables`` is the rest."""
        return {"views": [list(view) for view in self.views]}

    def tables(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays by name."""
        return {
            "wide.hashes": self.table.stored(),
            "wide.idf": self.idf if self.table.bits == 64 else steps_of(self.idf),
        }

    @classmethod
    def restore(cls, settings: Mapping[str, Any], tables: Mapping[str, npt.NDArray[Any]]) -> Wide:
        """The object that ``settings`` and ``tables`` came from."""
        views = tuple((str(name), int(longest)) for name, longest in settings["views"])
        unknown = [name for name, _ in views if name not in VIEWS]
        if unknown:
            raise ValueError(f"unknown n-gram view {unknown[0]!r}; this fenlei has {', '.join(VIEWS)}")
        table, idf = NgramTable.restore(tables["wide.hashes"]), idf_of(tables["wide.idf"])
        if idf.shape != table.hashes.shape:
            raise ValueError(f"{len(table.hashes):,} n-grams have document frequencies of shape {idf.shape}")
        return cls(views, table, idf)


def steps_of(idf: Floats) -> npt.NDArray[np.uint8]:
    """Inverse document frequencies as bytes, in steps of ``STEP`` from 1 on: what a small table keeps of them."""
    return np.clip(np.round((idf - 1) / STEP), 0, 255).astype(np.uint8)


def idf_of(array: npt.NDArray[Any]) -> Floats:
    """What ``steps_of`` came from, nearly, or the frequencies themselves."""
    return np.asarray(1 + STEP * array if array.dtype == np.uint8 else array, np.float32)


class Counts:
    """In how many documents each n-gram of some views stands: what a ``Wide`` is made of."""

    def __init__(self, views: Sequence[tuple[str, int]]) -> None:
        self.views = tuple(views)
        self._tally = Tally()
        self._documents = 0

    def add(self, batch: TokenBatch) -> None:
        """Count the documents of one more batch."""
        self._documents += len(batch)
        for hashes in document_ngrams(batch, self.views):
            self._tally.add(hashes)

    def merge(self, hashes: Hashes, counts: Ints, documents: int) -> None:
        """Add what was counted elsewhere, in so many documents: distinct ``hashes (N,)`` and their ``counts (N,)``."""
        self._documents += documents
        self._tally.add(hashes, counts)

    def wide(self, min_count: int, max_size: int) -> Wide:
        """Keep the n-grams that stand in ``min_count`` documents, the ``max_size`` commonest."""
        table, frequencies = ngrams.most_frequent(*self._tally.total(), min_count, max_size)
        idf = np.log((1 + self._documents) / (1 + frequencies)) + 1
        return Wide(self.views, table, idf.astype(np.float32))


class Tally:
    """How often each hash was added, in memory that grows with the distinct ones, up to a bound.

    Past ``most`` distinct hashes the rarer half is forgotten: a hash seen again starts anew, so a count can be too
    small by at most ``missed``, and nothing commoner than that is ever lost (as in the lossy counting of Manku and
    Motwani 2002).
    """

    LIMIT = 1 << 19  # hashes held before they are counted
    MOST = 1 << 23  # eight times the most that a table holds: 100 MB, and as much again while hashes are added
    SHARE = 8  # of what is known at least this part is held before it is counted: each time all of it is moved

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._hashes, self._counts = np.zeros(0, np.uint64), np.zeros(0, np.uint32)
        self._waiting: list[tuple[Hashes, Sizes]] = []
        self._size = 0
        self.missed = 0

    def add(self, hashes: Hashes, counts: Ints | None = None) -> None:
        """Count each of ``hashes (N,)`` once more, or so many times more as ``counts (N,)`` say."""
        self._waiting.append((hashes, np.ones(len(hashes), np.uint32) if counts is None else counts.astype(np.uint32)))
        self._size += len(hashes)
        if self._size > max(self.LIMIT, len(self._hashes) // self.SHARE):
            self.total()

    def total(self) -> tuple[Hashes, Sizes]:
        """Distinct hashes, sorted, and their counts, at most 2**32 - 1, both ``(V,)``; good until more are added."""
        if self._waiting:
            waiting, counts = zip(*self._waiting, strict=True)
            self._waiting, self._size = [], 0
            self._merge(*sums(np.concatenate(waiting), np.concatenate(counts)))
            if len(self._hashes) > self.most:
                self._forget()
        return self._hashes, self._counts

    def _merge(self, hashes: Hashes, counts: Ints) -> None:
        """Add the counts of distinct ``hashes (N,)``, sorted, in one pass and one copy of what is known."""
        place = np.searchsorted(self._hashes, hashes)
        known = place < len(self._hashes)
        known[known] = self._hashes[place[known]] == hashes[known]
        held = place[known]
        most = np.iinfo(np.uint32).max
        self._counts[held] = np.minimum(self._counts[held] + counts[known], most)
        self._counts = np.insert(self._counts, place[~known], np.minimum(counts[~known], most).astype(np.uint32))
        self._hashes = np.insert(self._hashes, place[~known], hashes[~known])

    def _forget(self) -> None:
        floor = int(np.partition(self._counts, -self.most // 2)[-self.most // 2])
        kept = self._counts > floor
        self._hashes, self._counts, self.missed = self._hashes[kept], self._counts[kept], self.missed + floor


def counted(hashes: Hashes) -> tuple[Hashes, Ints]:
    """The distinct ones among ``hashes (N,)``, sorted, and how often each stands there."""
    hashes = np.sort(hashes)
    starts = np.flatnonzero(np.append(np.ones(min(1, len(hashes)), np.bool_), hashes[1:] != hashes[:-1]))
    return hashes[starts], np.diff(starts, append=len(hashes))


def sums(hashes: Hashes, counts: Ints | Sizes) -> tuple[Hashes, Ints]:
    """The distinct ones among ``hashes (N,)``, sorted, and the sum of the ``counts (N,)`` of each."""
    order = np.argsort(hashes, kind="stable")
    hashes, counts = hashes[order], counts[order]
    starts = np.flatnonzero(np.concatenate([np.ones(min(1, len(hashes)), bool), hashes[1:] != hashes[:-1]]))
    return hashes[starts], np.add.reduceat(counts, starts, dtype=np.int64) if len(starts) else np.zeros(0, np.int64)


def document_ngrams(batch: TokenBatch, views: Sequence[tuple[str, int]]) -> Iterator[Hashes]:
    """Of each view every n-gram once a document that it stands in, in no order."""
    for number, (name, longest) in enumerate(views):
        if compiled.LOADED:
            yield _distinct_compiled(VIEWS[name](batch), longest, number)
            continue
        hashes, owners = _ngrams(batch, name, longest, number)
        # one number a pair of document and n-gram, so that a single sort finds each pair once
        pairs = hashes ^ ngrams.mix(owners.astype(np.uint64))
        order = np.argsort(pairs)  # which of equal pairs comes first is all the same: they hold one hash
        pairs = pairs[order]
        yield hashes[order[np.flatnonzero(np.append(True, pairs[1:] != pairs[:-1])[: len(pairs)])]]


def _distinct_compiled(cut: Tokens, longest: int, salt: int) -> Hashes:
    hashes = np.empty(len(cut) * longest, np.uint64)
    families, count = ngrams.families(salt, longest), len(cut.offsets) - 1
    filled = compiled.LOOPS.distinct_ngrams(cut.hashes, cut.offsets, count, longest, families, hashes)
    return hashes[:filled]


def _ngrams(batch: TokenBatch, view: str, longest: int, salt: int) -> tuple[Hashes, Ints]:
    """Every n-gram of one view, and the document that each stands in, both ``(N,)``."""
    cut = VIEWS[view](batch)
    hashes, first = ngrams.hash_all_ngrams(cut.hashes, cut.offsets, longest, salt)
    return hashes, cut.owners[first]
