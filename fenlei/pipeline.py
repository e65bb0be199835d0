"""The only road from text to numbers: training, the runtime and the server all cut, look up and pad here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fenlei.ngrams import NgramTable
from fenlei.streams import STREAMS, TokenBatch
from fenlei.text import Tokenizer, normalize, tokenize
from fenlei.vocab import RESERVED, UNK, Vocab
from fenlei.wide import Wide

Array = npt.NDArray[Any]
Arrays = dict[str, Array]

CHUNK_TEXTS = 4096  # texts cut and looked up together: bounds the memory of any stream of texts
CHUNK_CHARACTERS = 1_000_000


class Ragged(NamedTuple):
    """Rows of different lengths in one flat array: row ``b`` is ``values[offsets[b]:offsets[b + 1]]``."""

    values: Array
    offsets: npt.NDArray[np.int64]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Length of each row, ``(B,)``."""
        return np.diff(self.offsets)

    def pad(self, rows: npt.NDArray[np.int64]) -> Array:
        """The named rows as one array ``(len(rows), longest)``, filled with zeros."""
        lengths = self.lengths[rows]
        step = np.arange(int(lengths.max()))
        place = self.offsets[rows][:, None] + step
        inside = step < lengths[:, None]
        return np.where(inside, self.values[np.where(inside, place, 0)], self.values.dtype.type(0))

    @classmethod
    def join(cls, parts: Sequence[Ragged]) -> Ragged:
        """Several as one, rows in order."""
        lengths = np.concatenate([part.lengths for part in parts])
        return cls(
            np.concatenate([part.values for part in parts]), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        )


@dataclass(frozen=True)
class Encoded:
    """Documents as numbers, not yet padded: one ``Ragged`` a name. ``shortened`` counts texts cut at ``max_length``."""

    columns: dict[str, Ragged]
    shortened: int = 0

    def __len__(self) -> int:
        return len(self.columns["ids"].offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each document, ``(B,)``, at least 1."""
        return self.columns["ids"].lengths

    def batch(self, rows: npt.NDArray[np.int64]) -> Arrays:
        """The named documents as padded arrays, and ``lengths (B,)``: what the network and the ONNX graph take."""
        arrays: Arrays = {name: column.pad(rows) for name, column in self.columns.items()}
        arrays["lengths"] = self.lengths[rows]
        return arrays

    @classmethod
    def join(cls, parts: Sequence[Encoded]) -> Encoded:
        """Several as one, documents in order."""
        columns = {name: Ragged.join([part.columns[name] for part in parts]) for name in parts[0].columns}
        return cls(columns, sum(part.shortened for part in parts))


@dataclass(frozen=True)
class Pipeline:
    """Texts to named integer arrays: ``ids (B, T)``, an array for each further stream, ``lengths (B,)``.

    An empty text, or one of stop words only, is one ``UNK``: no row is ever empty. A text past ``max_length`` tokens
    keeps its first ones. With a wide branch also ``ngrams (B, N)`` and ``ngram_values (B, N)``.
    """

    tokenizer: Tokenizer
    vocab: Vocab
    streams: Mapping[str, NgramTable]
    wide: Wide | None = None
    max_length: int = 1024

    def __call__(self, texts: Sequence[str]) -> Arrays:
        """Padded arrays of a few texts; ``encode`` is for many."""
        return self.encode(texts).batch(np.arange(len(texts)))

    def encode(self, texts: Iterable[str]) -> Encoded:
        """Every text, at least one, as numbers."""
        parts = [self._encode(chunk) for chunk in chunks(texts)]
        if not parts:
            raise ValueError("the pipeline needs at least one text")
        return Encoded.join(parts)

    def _encode(self, texts: Sequence[str]) -> Encoded:
        tokens = list(tokenize(texts, self.tokenizer))
        batch = TokenBatch.join(self._normalized(texts), tokens)
        values: Arrays = {"ids": np.asarray(self.vocab.ids(batch.tokens), np.int64)}
        for name, table in self.streams.items():
            values[name] = stream_ids(table, name, batch)
        columns, shortened = self._cut(values, batch.offsets)
        if self.wide is not None:
            offsets, rows, weights = self.wide.encode(batch)
            columns |= {"ngrams": Ragged(rows, offsets), "ngram_values": Ragged(weights, offsets)}
        return Encoded(columns, shortened)

    def _normalized(self, texts: Sequence[str]) -> list[str]:
        return [normalize(text, nfkc=self.tokenizer.nfkc, lower=self.tokenizer.lower) for text in texts]

    def _cut(self, values: Arrays, offsets: npt.NDArray[np.int64]) -> tuple[dict[str, Ragged], int]:
        """Each document's first ``max_length`` positions; an empty one gets one position, ``UNK`` in every stream."""
        lengths = np.diff(offsets)
        kept = np.clip(lengths, 1, self.max_length)
        starts = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
        place = np.arange(starts[-1]) - np.repeat(starts[:-1] - offsets[:-1], kept)
        empty = np.repeat(lengths == 0, kept)
        place[empty] = 0
        columns = {}
        for name, column in values.items():
            chosen = column[place] if len(column) else np.zeros(len(place), np.int64)
            columns[name] = Ragged(np.where(empty, UNK, chosen), starts)
        return columns, int(np.sum(lengths > self.max_length))

    def settings(self) -> dict[str, Any]:
        """What JSON can hold of this pipeline; ``tables`` and the vocabulary are the rest."""
        return {
            "tokenizer": self.tokenizer.to_json(),
            "streams": list(self.streams),
            "wide": None if self.wide is None else self.wide.settings(),
            "max_length": self.max_length,
        }

    def tables(self) -> Arrays:
        """The arrays of this pipeline by name: the hashes of each stream, the wide branch's hashes and idf."""
        tables: Arrays = {f"streams.{name}": table.hashes for name, table in self.streams.items()}
        return tables if self.wide is None else tables | self.wide.tables()

    @classmethod
    def restore(cls, settings: Mapping[str, Any], tables: Mapping[str, Array], vocab: Vocab) -> Pipeline:
        """The pipeline that ``settings`` and ``tables`` came from. Unknown streams are a ``ValueError``."""
        unknown = [name for name in settings["streams"] if name not in STREAMS]
        if unknown:
            raise ValueError(f"unknown id stream {unknown[0]!r}; this fenlei has {', '.join(STREAMS)}")
        streams = {name: NgramTable(tables[f"streams.{name}"]) for name in settings["streams"]}
        wide = None if settings["wide"] is None else Wide.restore(settings["wide"], tables)
        return cls(Tokenizer.from_json(settings["tokenizer"]), vocab, streams, wide, int(settings["max_length"]))

    def stream_sizes(self) -> dict[str, int]:
        """Rows that the table of each stream needs, ``ids`` first."""
        return {"ids": len(self.vocab)} | {name: len(table) + RESERVED - 1 for name, table in self.streams.items()}


def stream_ids(table: NgramTable, name: str, batch: TokenBatch) -> npt.NDArray[np.int64]:
    """The id of every position in one stream: ``UNK`` where the table does not hold it, never ``PAD``."""
    return table.rows(STREAMS[name](batch)) + RESERVED - 1


def chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    """Runs of texts of bounded number and length, in order; a single long text is a run of its own."""
    source = iter(texts)
    while chunk := list(islice(source, CHUNK_TEXTS)):
        start = size = 0
        for number, text in enumerate(chunk):
            if size + len(text) > CHUNK_CHARACTERS and number > start:
                yield chunk[start:number]
                start, size = number, 0
            size += len(text)
        yield chunk[start:]
