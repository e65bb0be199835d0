"""What a network learns from of long documents: a run of each, another every time. What answers reads them whole."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from fenlei.pipeline import Arrays, Encoded
from fenlei.recipe import Recipe

Ints = npt.NDArray[np.int64]


class Windows:
    """Documents of which no more than the recipe's ``window`` of tokens in a row is read at once; open, it is all.

    A pass over a long document takes as long as one over so many tokens, and in a few epochs nearly all of it was read.
    Where documents are cut into sentences the run is one of whole sentences, as many as fill the window. Where a run
    begins is drawn from torch's random numbers, and only for a batch that has a longer document.
    """

    def __init__(self, encoded: Encoded, recipe: Recipe) -> None:
        self.encoded = encoded
        self.most = recipe.window or recipe.max_length
        if encoded.sentences is not None:
            self.most = max(1, self.most // recipe.sentence_length)
        counts = encoded.lengths if encoded.sentences is None else encoded.sentences.lengths
        self.longer = int(np.count_nonzero(counts > self.most))
        self._whole = counts.max(initial=0) <= self.most

    @property
    def sizes(self) -> Ints:
        """Positions that each document takes in a batch in which it is the largest, padding included, ``(B,)``."""
        sentences = self.encoded.sentences
        if sentences is None:
            return np.minimum(self.encoded.lengths, self.most)
        return np.minimum(sentences.lengths, self.most) * int(sentences.values.max())

    def batch(self, rows: Ints) -> Arrays:
        """As ``Encoded.batch``, of each document a run."""
        if self._whole:
            return self.encoded.batch(rows)
        counted = self.encoded.columns["ids"] if self.encoded.sentences is None else self.encoded.sentences
        spare = np.maximum(counted.lengths_of(rows) - self.most, 0)
        if not spare.any():
            return self.encoded.batch(rows)
        # Half a run more on either side, so that beginnings and ends are not read seldom.
        drawn = torch.rand(len(rows), dtype=torch.float64, device="cpu").numpy() * (spare + self.most) - self.most / 2
        return self.encoded.batch(rows, runs=(np.clip(drawn.astype(np.int64), 0, spare), self.most))
