"""What stands how often in many texts: tokens, the ids of streams, n-grams; one pass, by worker processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fenlei.pipeline import cut
from fenlei.streams import STREAMS
from fenlei.text import Tokenizer
from fenlei.vocab import Vocab
from fenlei.wide import Counts, Tally, counted, document_ngrams
from fenlei.workers import Arrays, Job, Work, pack, pack_json, spread, unpack, unpack_json

MOST_TOKENS = 1 << 22  # distinct ones held: 4 million words are about half a gigabyte
MOST_STREAM_IDS = 1 << 22

Views = Sequence[tuple[str, int]]


class Tallies:
    """Counts of some texts: of ``tokens``, of the ids of each of ``streams``, of documents with each n-gram."""

    def __init__(self, streams: Iterable[str], views: Views = ()) -> None:
        self.tokens: Counter[str] = Counter()
        self.streams = {name: Tally(MOST_STREAM_IDS) for name in streams}
        self.ngrams = Counts(views)

    def add(self, found: Arrays) -> None:
        """What ``Counting`` found in one chunk."""
        counts: list[int] = found["token_counts"].tolist()
        for token, count in zip(unpack({"bytes": found["bytes"], "lengths": found["lengths"]}), counts, strict=True):
            self.tokens[token] += count
        if len(self.tokens) > MOST_TOKENS:
            self._forget()
        for name, tally in self.streams.items():
            tally.add(found[f"stream.{name}"], found[f"stream_counts.{name}"])
        self.ngrams.merge(found["ngrams"], found["ngram_counts"], int(found["documents"][0]))

    def _forget(self) -> None:
        """Drop the rarer half of the tokens, as ``Tally`` does."""
        floor = sorted(self.tokens.values())[-MOST_TOKENS // 2]
        self.tokens = Counter({token: count for token, count in self.tokens.items() if count > floor})

    def vocab(self, min_count: int, max_size: int | None) -> Vocab:
        """The vocabulary of the tokens."""
        return Vocab.from_counts(self.tokens, min_count, max_size)


class Counting:
    """The work of one chunk of texts: the counts of everything asked for in it, as arrays."""

    def __init__(self, tokenizer: Tokenizer, streams: Sequence[str], views: Views, with_tokens: bool = True) -> None:
        self.tokenizer, self.streams, self.views, self.with_tokens = tokenizer, streams, views, with_tokens

    def __call__(self, texts: list[str]) -> Arrays:
        """The chunk's counts, every kind sorted."""
        batch = cut(texts, self.tokenizer)
        tokens = batch.tokens.counts() if self.with_tokens else {}
        found: dict[str, npt.NDArray[Any]] = pack(list(tokens))
        found["token_counts"] = np.fromiter(tokens.values(), np.int64, len(tokens))
        for name in self.streams:
            found[f"stream.{name}"], found[f"stream_counts.{name}"] = counted(STREAMS[name](batch))
        ngrams = [np.zeros(0, np.uint64), *document_ngrams(batch, self.views)]
        found["ngrams"], found["ngram_counts"] = counted(np.concatenate(ngrams))
        found["documents"] = np.array([len(texts)])
        return found

    def job(self) -> Job:
        """The same for worker processes."""
        settings = {
            "tokenizer": self.tokenizer.to_json(),
            "streams": list(self.streams),
            "views": list(self.views),
            "with_tokens": self.with_tokens,
        }
        return Job("fenlei.tallies", {"settings": pack_json(settings)}, self)


def start(setup: Arrays) -> Work:
    """A worker's ``Counting``."""
    settings = unpack_json(setup["settings"])
    views = [(name, longest) for name, longest in settings["views"]]
    return Counting(
        Tokenizer.from_json(settings["tokenizer"]), settings["streams"], views, with_tokens=settings["with_tokens"]
    )


def count(texts: Iterable[str], counting: Counting, processes: int | None = None) -> Tallies:
    """Everything asked for in all texts, the same however many processes count."""
    tallies = Tallies(counting.streams, counting.views)
    for found in spread(texts, counting.job(), processes):
        tallies.add(found)
    return tallies
