"""What a network learns from of long documents: a run of each, another every time. Answers are by all that is kept."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from fenlei.pipeline import Arrays, Encoded
from fenlei.recipe import Recipe

Ints = npt.NDArray[np.int64]


class Windows:
    """Documents of which no more than the recipe's ``window`` of tokens in a row is read at once; open, it is all.

    A pass over a long document takes as long as one over so many tokens. Where documents are cut into sentences the run
    is one of ``most`` whole sentences, about as many as have so many tokens, and at most as many as a batch has places
    for. Where a run begins is drawn from torch's random numbers, and only for a batch that has a longer document; the
    ends are read at least as often as the middle.
    """

    def __init__(self, encoded: Encoded, recipe: Recipe) -> None:
        self.encoded, window = encoded, recipe.window or recipe.max_length
        self.counted = encoded.columns["ids"] if encoded.sentences is None else encoded.sentences
        if encoded.sentences is None:
            self.most, self.size = window, f"{window:,} tokens"
        else:
            lengths = encoded.sentences.values
            padded = recipe.batch_tokens // int(lengths.max())
            self.most = max(1, min(round(window / float(lengths.mean())), padded))
            self.size = f"{self.most:,} sentences"
        self.longer = int(np.count_nonzero(self.counted.lengths > self.most))

    @property
    def sizes(self) -> Ints:
        """Positions that each document takes in a batch in which it is the largest, padding included, ``(B,)``."""
        kept = np.minimum(self.counted.lengths, self.most)
        return kept if self.encoded.sentences is None else kept * int(self.encoded.sentences.values.max())

    def batch(self, rows: Ints) -> Arrays:
        """As ``Encoded.batch``, of each document a run."""
        spare = np.maximum(self.counted.lengths_of(rows) - self.most, 0) if self.longer else np.zeros(1, np.int64)
        if not spare.any():
            return self.encoded.batch(rows)
        # A run may begin before the document or end behind it, and is moved inside.
        drawn = torch.rand(len(rows), dtype=torch.float64, device="cpu").numpy() * (spare + 2 * self.most) - self.most
        return self.encoded.batch(rows, runs=(np.clip(drawn.astype(np.int64), 0, spare), self.most))
