"""Many texts cut into tokens, by worker processes where there is much to cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fenlei.text import Tokenizer
from fenlei.workers import Arrays, Job, Work, pack, pack_json, spread, unpack, unpack_json


def tokenize(texts: Iterable[str], tokenizer: Tokenizer, processes: int | None = None) -> Iterator[list[str]]:
    """The tokens of each text, in order; how many ``processes`` cut, and what is read ahead, is as in ``spread``."""
    settings = pack_json(tokenizer.to_json())
    return _tokens(spread(texts, Job("fenlei.cutting", {"settings": settings}, _work(tokenizer)), processes))


def _tokens(found: Iterator[Arrays]) -> Iterator[list[str]]:
    for arrays in found:
        yield from map(str.split, unpack(arrays))  # tokens hold no whitespace


def _work(tokenizer: Tokenizer) -> Work:
    return lambda texts: pack([" ".join(tokenizer(text)) for text in texts])


def start(setup: Arrays) -> Work:
    """A worker's tokenizer at work."""
    return _work(Tokenizer.from_json(unpack_json(setup["settings"])))
