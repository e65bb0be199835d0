"""The vocabulary: tokens with their counts, and the integer ids that the network reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

PAD = 0  # fills the rows of a batch after the last token
UNK = 1  # every token that the vocabulary does not hold
RESERVED = 2  # the first real token has this id


class Vocab:
    """Tokens sorted by falling count, ties by code point; token number ``i`` has the id ``i + RESERVED``.

    Ids are never negative and never past ``len(vocab) - 1``: an unknown token is ``UNK``, and padding is ``PAD``, a row
    of its own (the tutorial fed -1 to the embedding).
    """

    def __init__(self, tokens: Sequence[str], counts: Sequence[int]) -> None:
        if len(tokens) != len(counts):
            raise ValueError(f"a vocabulary needs one count a token, got {len(tokens)} tokens and {len(counts)} counts")
        self.tokens = tuple(tokens)
        self.counts = tuple(counts)
        self._ids = {token: number for number, token in enumerate(self.tokens, RESERVED)}
        if len(self._ids) != len(self.tokens):
            twice = next(token for token, n in Counter(self.tokens).items() if n > 1)
            raise ValueError(f"the vocabulary lists the token {twice!r} more than once")

    @classmethod
    def build(cls, token_lists: Iterable[Iterable[str]], min_count: int = 1, max_size: int | None = None) -> Vocab:
        """Count every token of every document; keep those seen ``min_count`` times, the ``max_size`` most frequent."""
        if min_count < 1 or (max_size is not None and max_size < 1):
            raise ValueError(f"min_count and max_size must be at least 1, got {min_count} and {max_size}")
        counter: Counter[str] = Counter()
        for tokens in token_lists:
            counter.update(tokens)
        return cls.from_counts(counter, min_count, max_size)

    @classmethod
    def from_counts(cls, counter: Counter[str], min_count: int = 1, max_size: int | None = None) -> Vocab:
        """The vocabulary of tokens counted elsewhere, thresholds as in ``build``."""
        kept = sorted((item for item in counter.items() if item[1] >= min_count), key=lambda item: (-item[1], item[0]))
        kept = kept[:max_size]
        return cls([token for token, _ in kept], [count for _, count in kept])

    def __len__(self) -> int:
        """Rows that an embedding needs: the tokens and the two reserved ids."""
        return len(self.tokens) + RESERVED

    def __contains__(self, token: object) -> bool:
        return token in self._ids

    def ids(self, tokens: Iterable[str]) -> list[int]:
        """The id of each token, ``UNK`` where the vocabulary does not hold it."""
        get = self._ids.get
        return [get(token, UNK) for token in tokens]

    def ids_of_characters(self, points: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
        """The same for tokens of one character, given as code points ``(N,)``."""
        return self._by_character[np.minimum(points, len(self._by_character) - 1)].astype(np.int64)

    @cached_property
    def _by_character(self) -> npt.NDArray[np.int32]:
        """The id of every code point up to the highest that the vocabulary holds; the last entry is for all others."""
        known = {ord(token): number for token, number in self._ids.items() if len(token) == 1}
        table = np.full(max(known, default=-1) + 2, UNK, np.int32)
        table[list(known)] = list(known.values())
        return table

    def items(self) -> list[tuple[str, int]]:
        """Tokens with counts in id order: the lines of ``vocab.tsv``."""
        return list(zip(self.tokens, self.counts, strict=True))
