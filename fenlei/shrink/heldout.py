"""Held-out texts as numbers, read once; smaller tables are tried on these numbers without reading the texts again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from fenlei.pipeline import Encoded, Pipeline, Ragged

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

ROUNDING = 1e-5  # of a sum of squares that is 1


@dataclass(frozen=True)
class HeldOut:
    """Texts, the labels of each, their numbers in the full tables, and targets as training has them."""

    texts: list[str]
    labels: list[tuple[str, ...]]
    encoded: Encoded
    targets: Array

    @classmethod
    def read(
        cls, texts: Sequence[str], labels: Sequence[Sequence[str]], names: Sequence[str], several: bool, road: Pipeline
    ) -> HeldOut:
        """The texts of which a label is among ``names``; ValueError where there is none."""
        number = {name: place for place, name in enumerate(names)}
        kept = [place for place, found in enumerate(labels) if number.keys() & set(found) or (several and not found)]
        if not kept:
            raise ValueError(f"no held-out text has a label of this classifier, such as {names[0]!r}: name other data")
        chosen = [texts[place] for place in kept]
        known = [tuple(label for label in labels[place] if label in number) for place in kept]
        truth = np.zeros((len(kept), len(names)), np.int8)
        for row, found in zip(truth, known, strict=True):
            row[[number[label] for label in found]] = 1
        return cls(chosen, known, road.encode(chosen), truth if several else truth.argmax(1))

    def renumbered(self, places: dict[str, Ints]) -> Encoded:
        """The same texts with each stream's ids replaced, ``places[stream][id]``; streams not named are left out."""
        columns = self.encoded.columns
        changed = {name: Ragged(new[columns[name].values], columns[name].offsets) for name, new in places.items()}
        return replace(self.encoded, columns=changed)

    def counted(self, rows: Ints, idf: Floats, before: Floats) -> scipy.sparse.csr_matrix:
        """The TF-IDF weights of the documents if only the n-grams at ``rows (V,)`` were known, by ``idf (V,)``.

        ``before`` are the frequencies that the texts were read with, a number an n-gram of the full table.
        """
        ngrams, weights = self.encoded.columns["ngrams"], self.encoded.columns["ngram_values"].values
        place = np.zeros(len(before) + 1, np.int64)
        place[rows] = np.arange(1, len(rows) + 1)
        found = place[ngrams.values]
        ratio = np.concatenate([[0.0], idf / before[rows - 1]])
        values = weights * ratio[found]
        norms = np.sqrt(np.bincount(self._views, values * values))[self._views]
        values = np.divide(values, norms, out=np.zeros_like(values), where=norms > 0)
        return scipy.sparse.csr_matrix((values, found, ngrams.offsets), shape=(len(self.texts), len(rows) + 1))

    @cached_property
    def _views(self) -> Ints:
        """A number for each n-gram in its document and view: the squares of a view's weights add up to 1."""
        offsets = self.encoded.columns["ngrams"].offsets
        squares = self.encoded.columns["ngram_values"].values.astype(np.float64) ** 2
        before = np.concatenate([[0.0], np.cumsum(squares)])
        lengths = np.diff(offsets)
        within = before[:-1] - np.repeat(before[offsets[:-1]], lengths)
        view = np.floor(within + ROUNDING).astype(np.int64)
        owner = np.repeat(np.arange(len(lengths)), lengths)
        return np.asarray(owner * (int(view.max(initial=0)) + 1) + view)
