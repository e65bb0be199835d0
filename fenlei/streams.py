"""Id streams: what else a position of the text can be looked up by, beside its own token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fenlei import ngrams, text
from fenlei.codepoints import Lines, Points, ends, string
from fenlei.ngrams import Hashes, Ints

Bools = npt.NDArray[np.bool_]

_MORE = np.uint32(ord("~"))  # stands for the rest of a word


class Tokens:
    """Documents cut into tokens, without a string a token.

    ``points (P,)`` are the characters of all tokens, ``lengths (N,)`` how many each has, ``offsets (B + 1,)`` the token
    at which each document begins and the last ends.
    """

    def __init__(self, points: Points, lengths: Ints, offsets: Ints) -> None:
        self.points, self.lengths, self.offsets = points, lengths, offsets

    def __len__(self) -> int:
        return len(self.lengths)

    @classmethod
    def of(cls, token_lists: Sequence[Sequence[str]]) -> Tokens:
        """From a list of tokens a document."""
        flat = [token for tokens in token_lists for token in tokens]
        points, starts = Lines.of(flat)
        lengths = np.fromiter(map(len, token_lists), np.int64, len(token_lists))
        return cls(points, starts[1:] - starts[:-1], ends(lengths))

    @classmethod
    def characters(cls, lines: Lines) -> Tokens:
        """Every character a token."""
        return cls(lines.points, np.ones(len(lines.points), np.int64), lines.offsets)

    @classmethod
    def over(cls, lines: Lines, flat: Sequence[str]) -> Tokens:
        """From the tokens of all ``lines`` in one list: together they are the characters, spaces left out."""
        letters = lines.without_spaces()
        starts = ends(np.fromiter(map(len, flat), np.int64, len(flat)))
        if starts[-1] != letters.offsets[-1]:
            raise ValueError(f"tokens of {starts[-1]} characters cannot cover a text of {letters.offsets[-1]}")
        return cls(letters.points, starts[1:] - starts[:-1], np.searchsorted(starts, letters.offsets))

    def without(self, dropped: Collection[str]) -> Tokens:
        """The same without some tokens."""
        kept = np.fromiter((token not in dropped for token in self.strings), np.bool_, len(self))
        points = self.points[np.repeat(kept, self.lengths)]
        return Tokens(points, self.lengths[kept], ends(kept)[self.offsets])

    def counts(self) -> dict[str, int]:
        """How often each token stands here."""
        if not self.are_characters:
            return Counter(self.strings)
        points, counts = np.unique(self.points, return_counts=True)
        return dict(zip(string(points), counts.tolist(), strict=True))

    @property
    def are_characters(self) -> bool:
        """Whether no token is longer than a character."""
        return len(self.points) == len(self.lengths)

    @property
    def owners(self) -> Ints:
        """The document that each token stands in, ``(N,)``."""
        if len(self.offsets) == 2:
            return np.zeros(len(self), np.int64)
        return np.repeat(np.arange(len(self.offsets) - 1), self.offsets[1:] - self.offsets[:-1])

    @cached_property
    def hashes(self) -> Hashes:
        """One number a token, ``(N,)``."""
        return ngrams.hash_tokens(self.points, self.lengths)

    @cached_property
    def strings(self) -> list[str]:
        """The tokens themselves, in one list."""
        if self.are_characters:
            return list(string(self.points))
        return Lines(self.points, ends(self.lengths)).strings()


class TokenBatch:
    """Documents, normalized, and their tokens: joined, those of one are its characters without the spaces."""

    def __init__(self, lines: Lines, tokens: Tokens) -> None:
        self.lines, self.tokens = lines, tokens

    @classmethod
    def join(cls, texts: Sequence[str], token_lists: Sequence[Sequence[str]]) -> TokenBatch:
        """One batch from normalized texts and a list of tokens of each."""
        return cls(Lines.of(texts), Tokens.of(token_lists))

    def __len__(self) -> int:
        return len(self.tokens.offsets) - 1

    @cached_property
    def jieba(self) -> Tokens:
        """The texts cut by jieba, whatever the tokenizer is."""
        return Tokens.over(self.lines, text.jieba(self.lines.whole()))


def bigrams(batch: TokenBatch) -> Hashes:
    """Each token with the one after it; the last token of a document with nothing."""
    return ngrams.hash_runs(batch.tokens.hashes, batch.tokens.offsets, 2)


def trigrams(batch: TokenBatch) -> Hashes:
    """Each token with the two after it; the last two tokens of a document with nothing."""
    return ngrams.hash_runs(batch.tokens.hashes, batch.tokens.offsets, 3)


def covering_words(batch: TokenBatch) -> Hashes:
    """The jieba word that a character lies in. Needs one token a character."""
    words = batch.jieba
    if len(words.points) != len(batch.tokens):
        raise ValueError("covering words need the tokenizer 'chars' without stop words: one token a character")
    return np.repeat(words.hashes, words.lengths)


def prefixes(batch: TokenBatch) -> Hashes:
    """The first three characters of a word, and whether there are more: shared by words of one stem."""
    lengths, place, more = _ends_of_words(batch.tokens)
    starts = np.cumsum(batch.tokens.lengths) - batch.tokens.lengths
    points = batch.tokens.points[np.repeat(starts, lengths) + place]
    return ngrams.mix(ngrams.hash_tokens(np.where(more & (place == 3), _MORE, points), lengths))


def suffixes(batch: TokenBatch) -> Hashes:
    """The last three characters of a word, and whether there are more: shared by words of one ending."""
    lengths, place, more = _ends_of_words(batch.tokens)
    starts = np.cumsum(batch.tokens.lengths) - lengths
    points = batch.tokens.points[np.repeat(starts, lengths) + place]
    return ngrams.hash_tokens(np.where(more & (place == 0), _MORE, points), lengths)


def _ends_of_words(tokens: Tokens) -> tuple[Ints, Ints, Bools]:
    """What is read of each word, three characters and one that says there are more.

    Returns the number of characters ``(N,)``, and for each of them ``(P,)`` its place and whether its word has more.
    """
    lengths = np.minimum(tokens.lengths, 4)
    place = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return lengths, place, np.repeat(lengths == 4, lengths)


STREAMS: dict[str, Callable[[TokenBatch], Hashes]] = {
    "bigrams": bigrams,
    "trigrams": trigrams,
    "covering_words": covering_words,
    "prefixes": prefixes,
    "suffixes": suffixes,
}
