"""Id streams: what else a position of the text can be looked up by, beside its own token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fenlei import ngrams, text
from fenlei.ngrams import Hashes, Ints


@dataclass(frozen=True)
class TokenBatch:
    """Documents cut into tokens: all tokens in one list, and ``offsets (B + 1,)`` where each document begins.

    ``texts`` are normalized; the tokens of one, joined, are its characters without the spaces.
    """

    texts: Sequence[str]
    tokens: Sequence[str]
    offsets: Ints

    @classmethod
    def join(cls, texts: Sequence[str], token_lists: Sequence[Sequence[str]]) -> TokenBatch:
        """One flat batch from a list of tokens a document."""
        offsets = np.concatenate([[0], np.cumsum([len(tokens) for tokens in token_lists])]).astype(np.int64)
        return cls(texts, [token for tokens in token_lists for token in tokens], offsets)

    @cached_property
    def hashes(self) -> Hashes:
        """One number a token, ``(N,)``."""
        return ngrams.hash_tokens(self.tokens)

    @cached_property
    def jieba(self) -> list[list[str]]:
        """Each text cut by jieba, whatever the tokenizer is."""
        return [text.jieba(line) for line in self.texts]


def bigrams(batch: TokenBatch) -> Hashes:
    """Each token with the one after it; the last token of a document with nothing."""
    return _runs(batch, 2)


def trigrams(batch: TokenBatch) -> Hashes:
    """Each token with the two after it; the last two tokens of a document with nothing."""
    return _runs(batch, 3)


def _runs(batch: TokenBatch, n: int) -> Hashes:
    hashes = np.zeros(len(batch.tokens), np.uint64)
    found, first = ngrams.hash_ngrams(batch.hashes, batch.offsets, n)
    hashes[first] = found
    return hashes


def covering_words(batch: TokenBatch) -> Hashes:
    """The jieba word that a character lies in. Needs one token a character."""
    flat = [word for line in batch.jieba for word in line]
    lengths = np.fromiter(map(len, flat), np.int64, len(flat))
    if lengths.sum() != len(batch.tokens):
        raise ValueError("covering words need the tokenizer 'chars' without stop words: one token a character")
    return np.repeat(ngrams.hash_tokens(flat), lengths)


def prefixes(batch: TokenBatch) -> Hashes:
    """The first three characters of a word, and whether there are more: shared by words of one stem."""
    return ngrams.mix(ngrams.hash_tokens([token[:3] + "~" * (len(token) > 3) for token in batch.tokens]))


def suffixes(batch: TokenBatch) -> Hashes:
    """The last three characters of a word, and whether there are more: shared by words of one ending."""
    return ngrams.hash_tokens(["~" * (len(token) > 3) + token[-3:] for token in batch.tokens])


STREAMS: dict[str, Callable[[TokenBatch], Hashes]] = {
    "bigrams": bigrams,
    "trigrams": trigrams,
    "covering_words": covering_words,
    "prefixes": prefixes,
    "suffixes": suffixes,
}
