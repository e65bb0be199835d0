"""Many texts as numbers: encoded by worker processes, kept in memory or in files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fenlei.cache import Draft, Entry
from fenlei.pipeline import WIDE, Encoded, Pipeline, Ragged
from fenlei.vocab import Vocab
from fenlei.workers import Arrays, Job, Work, pack, pack_json, spread, unpack, unpack_json

Array = npt.NDArray[Any]

SENTENCES = "sentences"  # the name of the sentences' lengths among the columns
SIZES = (np.uint8, np.uint16, np.uint32)


def encode(pipeline: Pipeline, texts: Iterable[str], processes: int | None = None) -> Encoded:
    """What ``pipeline.encode`` gives, by as many processes as there are cores where there is much to do."""
    parts = [from_arrays(found) for found in _encoded(pipeline, texts, processes)]
    if not parts:
        raise ValueError("the pipeline needs at least one text")
    return Encoded.join(parts)


def file(pipeline: Pipeline, texts: Iterable[str], draft: Draft, side: str, processes: int | None = None) -> None:
    """Put what ``encode`` would give into an entry of the cache under the name ``side``, a chunk at a time.

    Every array of whole numbers is of the smallest unsigned type that holds all that it can hold.
    """
    shortened = count = 0
    ends: dict[str, int] = {}
    for found in _encoded(pipeline, texts, processes):
        shortened += int(found["shortened"][0])
        count += 1
        for name, column in _columns(found).items():
            _append(draft, side, name, column, _type(pipeline, name, column.values.dtype), ends)
    if not count:
        raise ValueError("the pipeline needs at least one text")
    draft.notes[side] = {"shortened": shortened, "columns": list(ends)}


def _append(draft: Draft, side: str, name: str, column: Ragged, kind: np.dtype[Any], ends: dict[str, int]) -> None:
    """More rows of one column; ``ends`` remembers where each column ends."""
    draft.append(f"{side}.{name}", column.values.astype(kind))
    if _rows(name) == name:
        if name not in ends:
            draft.append(f"{side}.{name}.offsets", np.zeros(1, np.int64))
        draft.append(f"{side}.{name}.offsets", ends.get(name, 0) + column.offsets[1:].astype(np.int64))
    ends[name] = ends.get(name, 0) + int(column.offsets[-1])


def _rows(name: str) -> str:
    """The column that has the same offsets as ``name``, and whose offsets are in the file."""
    return name if name == SENTENCES else WIDE[0] if name in WIDE else "ids"


def filed(entry: Entry | Draft, side: str) -> Encoded:
    """What ``file`` put there: mapped, so that only the pages at work are in memory."""
    about = entry.notes[side]
    offsets = {name: entry.array(f"{side}.{name}.offsets") for name in about["columns"] if _rows(name) == name}
    columns = {name: Ragged(entry.array(f"{side}.{name}"), offsets[_rows(name)]) for name in about["columns"]}
    sentences = columns.pop(SENTENCES, None)
    return Encoded(columns, int(about["shortened"]), sentences)


def _type(pipeline: Pipeline, name: str, own: np.dtype[Any]) -> np.dtype[Any]:
    """The type of a column in a file."""
    if own.kind == "f":
        return own
    if name == SENTENCES:
        return np.dtype(np.uint32)
    size = len(pipeline.wide or ()) if name in WIDE else pipeline.stream_sizes()[name]
    return next(np.dtype(kind) for kind in SIZES if size - 1 <= np.iinfo(kind).max)


def _encoded(pipeline: Pipeline, texts: Iterable[str], processes: int | None) -> Iterator[Arrays]:
    return spread(texts, Job("fenlei.numbering", _setup(pipeline), _work(pipeline)), processes)


def as_arrays(encoded: Encoded) -> dict[str, Array]:
    """Documents as named arrays, for a message to another process."""
    columns = encoded.columns | ({} if encoded.sentences is None else {SENTENCES: encoded.sentences})
    arrays: dict[str, Array] = {"shortened": np.array([encoded.shortened])}
    for name, column in columns.items():
        arrays[name], arrays[f"{name}.offsets"] = column
    return arrays


def from_arrays(found: Arrays) -> Encoded:
    """What ``as_arrays`` was given."""
    columns = _columns(found)
    sentences = columns.pop(SENTENCES, None)
    return Encoded(columns, int(found["shortened"][0]), sentences)


def _work(pipeline: Pipeline) -> Work:
    def work(texts: list[str]) -> Arrays:
        return as_arrays(pipeline.encode(texts))

    return work


def _columns(found: Arrays) -> dict[str, Ragged]:
    names = [name.removesuffix(".offsets") for name in found if name.endswith(".offsets")]
    return {name: Ragged(found[name], found[f"{name}.offsets"]) for name in names}


def _setup(pipeline: Pipeline) -> Arrays:
    """A pipeline as arrays."""
    settings = pack_json(pipeline.settings())
    return {"settings": settings, **pack(pipeline.vocab.tokens), **pipeline.tables()}


def start(setup: Arrays) -> Work:
    """A worker's pipeline at work."""
    tokens = unpack({"bytes": setup["bytes"], "lengths": setup["lengths"]})
    tables = {name: table for name, table in setup.items() if name not in ("settings", "bytes", "lengths")}
    return _work(Pipeline.restore(unpack_json(setup["settings"]), tables, Vocab(tokens, [1] * len(tokens))))
