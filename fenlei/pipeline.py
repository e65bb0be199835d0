"""The only road from text to numbers: training, the runtime and the server all cut, look up and pad here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fenlei.codepoints import SPACE, Lines, ends, normalized
from fenlei.ngrams import NgramTable
from fenlei.streams import STREAMS, TokenBatch, Tokens
from fenlei.text import Tokenizer, sentences
from fenlei.vocab import RESERVED, UNK, Vocab
from fenlei.wide import Wide

Array = npt.NDArray[Any]
Arrays = dict[str, Array]

WIDE = ("ngrams", "ngram_values")  # the wide branch's columns: one row a document whatever its sentences

CHUNK_TEXTS = 4096  # texts cut and looked up together: bounds the memory of any stream of texts
CHUNK_CHARACTERS = 1_000_000
BLOCK = 1 << 20  # numbers of a column that are looked at together
# Of a document cut into sentences, padding included: one long sentence among many short ones stays within memory.
PLACES = 1 << 16


class Ragged(NamedTuple):
    """Rows of different lengths in one flat array: row ``b`` is ``values[offsets[b]:offsets[b + 1]]``."""

    values: Array
    offsets: npt.NDArray[np.int64]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Length of each row, ``(B,)``."""
        return self.offsets[1:] - self.offsets[:-1]

    def lengths_of(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Length of the named rows alone: ``lengths`` takes time for all of them."""
        found: npt.NDArray[np.int64] = self.offsets[rows + 1] - self.offsets[rows]
        return found

    def pad(self, rows: npt.NDArray[np.int64], multiple: int = 1) -> Array:
        """The named rows as one array ``(len(rows), longest)``, filled with zeros up to a multiple of columns."""
        return self.fill(*spread(self.offsets[rows], self.lengths_of(rows), multiple))

    def alone(self, row: int, multiple: int = 1) -> Array:
        """One row, as ``pad`` gives it."""
        start, end = self.offsets[row : row + 2].tolist()
        values = self.values[start:end]
        if values.dtype.kind == "u":
            values = values.astype(np.int64)
        if (end - start) % multiple == 0:
            return values[None]
        found = np.zeros((1, -(-(end - start) // multiple) * multiple), values.dtype)
        found[0, : end - start] = values
        return found

    def fill(self, place: Array, inside: Array) -> Array:
        """The values at ``place (...)`` where ``inside``, zeros elsewhere."""
        values = self.values[place]
        if values.dtype.kind == "u":  # ids in files are of the smallest type that holds them
            values = values.astype(np.int64)
        return np.where(inside, values, values.dtype.type(0))

    def take(self, rows: npt.NDArray[np.int64]) -> Ragged:
        """The named rows, in that order."""
        lengths = self.lengths[rows]
        offsets = ends(lengths)
        place = np.arange(offsets[-1]) + np.repeat(self.offsets[rows] - offsets[:-1], lengths)
        return Ragged(self.values[place], offsets)

    def counts(self, size: int) -> npt.NDArray[np.int64]:
        """How often each whole number below ``size``, and each one there is, stands in the rows, ``(size or more,)``.

        A block at a time: of a column in a file numpy would otherwise make a copy in memory, eight bytes a number.
        """
        found = np.zeros(size, np.int64)
        for start in range(0, len(self.values), BLOCK):
            block = np.bincount(self.values[start : start + BLOCK], minlength=len(found))
            block[: len(found)] += found
            found = block
        return found

    @classmethod
    def join(cls, parts: Sequence[Ragged]) -> Ragged:
        """Several as one, rows in order."""
        lengths = np.concatenate([part.lengths for part in parts])
        return cls(
            np.concatenate([part.values for part in parts]), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        )


@dataclass(frozen=True)
class Encoded:
    """Documents as numbers, not yet padded: one ``Ragged`` a name. ``shortened`` counts texts cut at ``max_length``.

    Where documents are cut into sentences, ``sentences`` holds the lengths of each document's sentences, 1 or more.
    """

    columns: dict[str, Ragged]
    shortened: int = 0
    sentences: Ragged | None = None

    def __len__(self) -> int:
        return len(self.columns["ids"].offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each document, ``(B,)``, at least 1."""
        return self.columns["ids"].lengths

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Positions that each document takes in a batch in which it is the largest, padding included, ``(B,)``."""
        return self.lengths if self.sentences is None else self.sentences.lengths * int(self.sentences.values.max())

    def batch(
        self,
        rows: npt.NDArray[np.int64],
        multiple: int = 1,
        steps: int = 0,
        runs: tuple[npt.NDArray[np.int64], int] | None = None,
    ) -> Arrays:
        """The named documents as padded arrays, and their ``lengths``: what the network and the ONNX graph take.

        Ids are ``(B, T)``, lengths ``(B,)``; cut into sentences ``(B, S, T)`` and ``(B, S)``, with length 0 for a
        sentence that is not there. ``T``, ``S`` and ``N`` are multiples of ``multiple``, ``T`` of ``steps`` if given.

        With ``runs`` of each document only what begins at a token, or sentence, ``(B,)``, and at most so many of them.
        """
        if len(rows) == 1 and self.sentences is None and runs is None:
            return self._alone(int(rows[0]), multiple, steps or multiple)
        starts, lengths = self._spans(rows, multiple) if runs is None else self._runs(rows, *runs)
        places = spread(starts, lengths, steps or multiple)  # the same for every stream
        arrays = {
            name: column.pad(rows, multiple) if name in WIDE else column.fill(*places)
            for name, column in self.columns.items()
        }
        arrays["lengths"] = lengths
        return arrays

    def _spans(self, rows: npt.NDArray[np.int64], multiple: int = 1) -> tuple[Array, Array]:
        """Where the documents, or their sentences, begin in the flat arrays, and how long they are."""
        starts, lengths = self.columns["ids"].offsets[rows], self.columns["ids"].lengths_of(rows)
        if self.sentences is not None:
            lengths = self.sentences.pad(rows, multiple)
            starts = starts[:, None] + np.cumsum(lengths, axis=1) - lengths
        return starts, lengths

    def _runs(self, rows: npt.NDArray[np.int64], first: npt.NDArray[np.int64], most: int) -> tuple[Array, Array]:
        """The same of at most so many tokens, or sentences, from the ``first`` on."""
        starts, lengths = self._spans(rows)
        if self.sentences is None:
            return starts + first, np.minimum(lengths - first, most)
        places = first[:, None] + np.arange(most)
        inside = np.minimum(places, lengths.shape[1] - 1)
        starts, lengths = (np.take_along_axis(each, inside, 1) for each in (starts, lengths))
        return starts, np.where(places == inside, lengths, 0)

    def _alone(self, row: int, multiple: int, steps: int) -> Arrays:
        """The same for one document: what is cut from the flat array need not be looked up."""
        arrays = {name: column.alone(row, multiple if name in WIDE else steps) for name, column in self.columns.items()}
        offsets = self.columns["ids"].offsets
        return arrays | {"lengths": offsets[row + 1 : row + 2] - offsets[row : row + 1]}

    def take(self, rows: npt.NDArray[np.int64]) -> Encoded:
        """The named documents, in that order. How many of them were cut short is not known any more."""
        sentences = None if self.sentences is None else self.sentences.take(rows)
        return Encoded({name: column.take(rows) for name, column in self.columns.items()}, 0, sentences)

    def only(self, names: Iterable[str]) -> Encoded:
        """The same documents with the named columns alone: what is not read need not be padded."""
        return replace(self, columns={name: self.columns[name] for name in names})

    @classmethod
    def join(cls, parts: Sequence[Encoded]) -> Encoded:
        """Several as one, documents in order."""
        if len(parts) == 1:
            return parts[0]
        columns = {name: Ragged.join([part.columns[name] for part in parts]) for name in parts[0].columns}
        cut = [part.sentences for part in parts if part.sentences is not None]
        return cls(columns, sum(part.shortened for part in parts), Ragged.join(cut) if cut else None)


@dataclass(frozen=True)
class Pipeline:
    """Texts to named integer arrays: ``ids (B, T)``, an array for each further stream, ``lengths (B,)``.

    An empty text, or one of stop words only, is one ``UNK``: no row is ever empty. A text past ``max_length`` tokens
    keeps its first ones. With a wide branch also ``ngrams (B, N)`` and ``ngram_values (B, N)``.

    With a ``sentence_length`` above 0 documents are cut into sentences, longer ones into parts of at most that many
    tokens: the streams become ``(B, S, T)``, the lengths ``(B, S)``.
    """

    tokenizer: Tokenizer
    vocab: Vocab
    streams: Mapping[str, NgramTable]
    wide: Wide | None = None
    max_length: int = 16_384
    sentence_length: int = 0

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
        batch, parts = self._by_sentence(texts) if self.sentence_length else (cut(texts, self.tokenizer), None)
        values: Arrays = {"ids": self._ids(batch.tokens)}
        for name, table in self.streams.items():
            values[name] = stream_ids(table, name, batch)
        columns, shortened = self._cut(values, batch.tokens.offsets)
        if parts is not None:
            lengths = np.maximum(np.diff(batch.tokens.offsets), 1)
            shortened = int(np.sum(np.add.reduceat(parts.values, parts.offsets[:-1]) < lengths))
        if self.wide is not None:
            whole = TokenBatch(normal(texts, self.tokenizer), batch.tokens) if parts is not None else batch
            offsets, rows, weights = self.wide.encode(whole)
            columns |= dict(zip(WIDE, (Ragged(rows, offsets), Ragged(weights, offsets)), strict=True))
        return Encoded(columns, shortened, parts)

    def _ids(self, tokens: Tokens) -> npt.NDArray[np.int64]:
        if tokens.are_characters:
            return self.vocab.ids_of_characters(tokens.points)
        return np.array(self.vocab.ids(tokens.strings), np.int64)

    def _by_sentence(self, texts: Sequence[str]) -> tuple[TokenBatch, Ragged]:
        """Every document cut a sentence at a time, and the lengths of each document's sentences.

        The batch's texts are the sentences, each normalized by itself, so that they and the tokens agree.
        """
        found = [sentences(text) for text in texts]
        batch = cut([sentence for document in found for sentence in document], self.tokenizer)
        bounds = ends(np.array([len(document) for document in found], np.int64))  # the documents' first sentences
        lengths = np.diff(batch.tokens.offsets).tolist()
        parts = [self._parts(lengths[a:b]) for a, b in pairwise(bounds.tolist())]
        spaced = batch.lines.surround(SPACE, 0, 1)
        batch = TokenBatch(
            Lines(spaced.points, spaced.offsets[bounds]),
            Tokens(batch.tokens.points, batch.tokens.lengths, batch.tokens.offsets[bounds]),
        )
        offsets = ends(np.array([len(lengths) for lengths in parts], np.int64))
        return batch, Ragged(np.array(list(chain.from_iterable(parts)), np.int64), offsets)

    def _parts(self, lengths: Iterable[int]) -> list[int]:
        """The lengths of what of a document's sentences is read, as many as there are places for, all padded alike."""
        parts = limit(lengths, self.sentence_length, self.max_length)
        if len(parts) * self.sentence_length <= PLACES:
            return parts
        places = np.arange(1, len(parts) + 1) * np.maximum.accumulate(parts)
        return parts[: max(1, int(np.count_nonzero(places <= PLACES)))]

    def _cut(self, values: Arrays, offsets: npt.NDArray[np.int64]) -> tuple[dict[str, Ragged], int]:
        """Each document's first ``max_length`` positions; an empty one gets one position, ``UNK`` in every stream."""
        lengths = offsets[1:] - offsets[:-1]
        if lengths.min() >= 1 and lengths.max() <= self.max_length:
            return {name: Ragged(column, offsets) for name, column in values.items()}, 0
        kept = np.clip(lengths, 1, self.max_length)
        starts = ends(kept)
        place = np.arange(starts[-1]) - np.repeat(starts[:-1] - offsets[:-1], kept)
        empty = np.repeat(lengths == 0, kept)
        place[empty] = 0
        columns = {}
        for name, column in values.items():
            chosen = column[place] if len(column) else np.zeros(len(place), np.int64)
            columns[name] = Ragged(np.where(empty, UNK, chosen), starts)
        return columns, int(np.sum(lengths > self.max_length))

    def tokens(self, text: str) -> list[str]:
        """The tokens at the positions that the network reads; one that is empty where the text has none."""
        parts = [self.tokenizer(part) for part in (sentences(text) if self.sentence_length else [text])]
        most = sum(self._parts(map(len, parts))) if self.sentence_length else self.max_length
        return list(chain.from_iterable(parts))[:most] or [""]

    def settings(self) -> dict[str, Any]:
        """What JSON can hold of this pipeline; ``tables`` and the vocabulary are the rest."""
        return {
            "tokenizer": self.tokenizer.to_json(),
            "streams": list(self.streams),
            "wide": None if self.wide is None else self.wide.settings(),
            "max_length": self.max_length,
            "sentence_length": self.sentence_length,
        }

    def tables(self) -> Arrays:
        """The arrays of this pipeline by name: the hashes of each stream, the wide branch's hashes and idf."""
        tables: Arrays = {f"streams.{name}": table.stored() for name, table in self.streams.items()}
        return tables if self.wide is None else tables | self.wide.tables()

    @classmethod
    def restore(cls, settings: Mapping[str, Any], tables: Mapping[str, Array], vocab: Vocab) -> Pipeline:
        """The pipeline that ``settings`` and ``tables`` came from. Unknown streams are a ``ValueError``."""
        unknown = [name for name in settings["streams"] if name not in STREAMS]
        if unknown:
            raise ValueError(f"unknown id stream {unknown[0]!r}; this fenlei has {', '.join(STREAMS)}")
        streams = {name: NgramTable.restore(tables[f"streams.{name}"]) for name in settings["streams"]}
        wide = None if settings["wide"] is None else Wide.restore(settings["wide"], tables)
        limits = int(settings["max_length"]), int(settings["sentence_length"])
        return cls(Tokenizer.from_json(settings["tokenizer"]), vocab, streams, wide, *limits)

    def stream_sizes(self) -> dict[str, int]:
        """Rows that the table of each stream needs, ``ids`` first."""
        return {"ids": len(self.vocab)} | {name: len(table) + RESERVED - 1 for name, table in self.streams.items()}


def spread(
    starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], multiple: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Where the runs that begin at ``starts (...)`` lie, up to a multiple of columns, and which places are inside.

    Both are ``(..., longest)``; a place outside is 0.
    """
    step = np.arange(-(-int(lengths.max()) // multiple) * multiple)
    inside = step < lengths[..., None]
    return (starts[..., None] + step) * inside, inside


def cut(texts: Sequence[str], tokenizer: Tokenizer) -> TokenBatch:
    """The texts, normalized and cut, all of them at once."""
    lines = normal(texts, tokenizer)
    if tokenizer.name == "chars":
        tokens = Tokens.characters(lines.without_spaces())
    else:
        tokens = Tokens.over(lines, tokenizer.cut(lines.whole()))
    return TokenBatch(lines, tokens.without(tokenizer.dropped) if tokenizer.dropped else tokens)


def normal(texts: Sequence[str], tokenizer: Tokenizer) -> Lines:
    """The texts as the tokenizer spells them."""
    return normalized(texts, nfkc=tokenizer.nfkc, lower=tokenizer.lower)


def limit(lengths: Iterable[int], longest: int, most: int) -> list[int]:
    """Lengths of sentences after two limits: none is empty or longer than ``longest``, their sum is at most ``most``.

    A longer sentence becomes as few as possible, of nearly equal length. A document without tokens has one of 1.
    """
    kept = []
    for length in lengths:
        length = min(length, most)
        most -= length
        count = -(-length // longest)
        kept += [length * (part + 1) // count - length * part // count for part in range(count)]
    return kept or [1]


def stream_ids(table: NgramTable, name: str, batch: TokenBatch) -> npt.NDArray[np.int64]:
    """The id of every position in one stream: ``UNK`` where the table does not hold it, never ``PAD``."""
    return table.rows(STREAMS[name](batch)) + RESERVED - 1


def chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    """Runs of texts of bounded number and length, in order; a single long text is a run of its own."""
    chunk: list[str] = []
    size = 0
    for text in texts:
        if chunk and (len(chunk) == CHUNK_TEXTS or size + len(text) > CHUNK_CHARACTERS):
            yield chunk
            chunk, size = [], 0
        chunk.append(text)
        size += len(text)
    if chunk:
        yield chunk
