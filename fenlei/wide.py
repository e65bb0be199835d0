"""The wide branch's road: a document as the TF-IDF weights of its n-grams of characters and words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fenlei import ngrams
from fenlei.ngrams import Hashes, Ints, NgramTable
from fenlei.streams import TokenBatch

Floats = npt.NDArray[np.float32]
STEP = 1 / 16  # 255 of them reach the idf of one document in 16 million


def _characters(batch: TokenBatch) -> TokenBatch:
    """Every character with the spaces between words, and one at both ends, so that a word's edges are n-grams too."""
    return TokenBatch.join(batch.texts, [f" {line} " for line in batch.texts])


def _tokens(batch: TokenBatch) -> TokenBatch:
    """The tokens that the encoder reads."""
    return batch


def _jieba(batch: TokenBatch) -> TokenBatch:
    return TokenBatch.join(batch.texts, batch.jieba)


VIEWS: dict[str, Callable[[TokenBatch], TokenBatch]] = {"chars": _characters, "tokens": _tokens, "jieba": _jieba}


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

    @classmethod
    def build(
        cls, batches: Iterable[TokenBatch], views: Sequence[tuple[str, int]], min_count: int, max_size: int
    ) -> Wide:
        """Count in how many documents each n-gram stands; keep those in ``min_count``, the ``max_size`` commonest."""
        counts = Tally()
        documents = 0
        for batch in batches:
            documents += len(batch.texts)
            for number, (name, longest) in enumerate(views):
                hashes, owners = _ngrams(batch, name, longest, number)
                # one number a pair of document and n-gram, so that a single sort finds each pair once
                _, once = np.unique(hashes ^ ngrams.mix(owners.astype(np.uint64)), return_index=True)
                counts.add(hashes[once])
        table, frequencies = ngrams.most_frequent(*counts.total(), min_count, max_size)
        return cls(tuple(views), table, (np.log((1 + documents) / (1 + frequencies)) + 1).astype(np.float32))

    def encode(self, batch: TokenBatch) -> tuple[Ints, Ints, Floats]:
        """Offsets ``(B + 1,)``, and the rows and weights of each document's known n-grams, flat ``(N,)``.

        A document with none has row 0 with weight 0.
        """
        size = len(batch.texts)
        parts = [self._weigh(*_ngrams(batch, *view, number), size) for number, view in enumerate(self.views)]
        owners, rows, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
        without = np.flatnonzero(np.bincount(owners, minlength=size) == 0)
        owners = np.concatenate([owners, without])
        order = np.argsort(owners, kind="stable")
        rows = np.concatenate([rows, np.zeros_like(without)])[order]
        weights = np.concatenate([weights, np.zeros(len(without), np.float32)])[order]
        return np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=size))]).astype(np.int64), rows, weights

    def _weigh(self, hashes: Hashes, owners: Ints, size: int) -> tuple[Ints, Ints, Floats]:
        """Document, row and weight of each known n-gram of one view, each document's weights of length 1."""
        rows = self.table.rows(hashes)
        known = rows > 0
        pairs, counts = np.unique(owners[known] * len(self) + rows[known], return_counts=True)
        owners, rows = np.divmod(pairs, len(self))
        weights = (1 + np.log(counts)) * self.idf[rows - 1]
        norms = np.sqrt(np.bincount(owners, weights * weights, minlength=size))
        return owners, rows, (weights / norms[owners]).astype(np.float32)

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
        return cls(views, NgramTable.restore(tables["wide.hashes"]), idf_of(tables["wide.idf"]))


def steps_of(idf: Floats) -> npt.NDArray[np.uint8]:
    """Inverse document frequencies as bytes, in steps of ``STEP`` from 1 on: what a small table keeps of them."""
    return np.clip(np.round((idf - 1) / STEP), 0, 255).astype(np.uint8)


def idf_of(array: npt.NDArray[Any]) -> Floats:
    """What ``steps_of`` came from, nearly, or the frequencies themselves."""
    return (1 + STEP * array).astype(np.float32) if array.dtype == np.uint8 else array


class Tally:
    """How often each hash was added, in memory that grows with the distinct ones."""

    LIMIT = 1 << 24  # hashes held before they are counted

    def __init__(self) -> None:
        self._hashes, self._counts = np.zeros(0, np.uint64), np.zeros(0, np.int64)
        self._waiting: list[Hashes] = []

    def add(self, hashes: Hashes) -> None:
        """Count each of ``hashes (N,)`` once more."""
        self._waiting.append(hashes)
        if sum(map(len, self._waiting)) > self.LIMIT:
            self.total()

    def total(self) -> tuple[Hashes, Ints]:
        """Distinct hashes, sorted, and their counts, both ``(V,)``."""
        hashes, counts = np.unique(np.concatenate([*self._waiting, self._hashes[:0]]), return_counts=True)
        both, place = np.unique(np.concatenate([self._hashes, hashes]), return_inverse=True)
        sums = np.bincount(place, np.concatenate([self._counts, counts]), len(both))
        self._hashes, self._counts, self._waiting = both, sums.astype(np.int64), []
        return self._hashes, self._counts


def _ngrams(batch: TokenBatch, view: str, longest: int, salt: int) -> tuple[Hashes, Ints]:
    """Every n-gram of one view, and the document that each stands in, both ``(N,)``."""
    cut = VIEWS[view](batch)
    families = [ngrams.hash_ngrams(cut.hashes, cut.offsets, n, salt) for n in range(1, longest + 1)]
    first = np.concatenate([first for _, first in families])
    owner = np.repeat(np.arange(len(batch.texts)), np.diff(cut.offsets))
    return np.concatenate([hashes for hashes, _ in families]), owner[first]
