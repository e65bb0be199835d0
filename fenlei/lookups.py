"""What the runtime finds itself, compiled, in place of a graph: sums of rows of large tables, what is read of them."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from fenlei import compiled
from fenlei.packing import Bytes, find
from fenlei.pipeline import WIDE, Array, Encoded
from fenlei.reader import Read, read, streams_of

Ints = npt.NDArray[np.int64]

EMBEDDED, WEIGHED, READ = "embedded", "weighed", "read"  # values that can be given to a graph in place of its ids

MOST_UNPACKED = 1 << 24  # numbers of one weight


@dataclass(frozen=True)
class Embedded:
    """``sum_s E_s[ids_s]`` at every step: ``(T, B, D)``, or ``(B, T, D)`` where ``rows_first``."""

    tables: Mapping[str, Array]
    rows_first: bool

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Its axes, ``D`` alone known before there are texts."""
        return None, None, next(iter(self.tables.values())).shape[1]

    def find(self, encoded: Encoded, rows: Ints, steps: int) -> Array:
        """Of the named documents, zero past the end of each."""
        width = self.shape[2]
        assert width is not None
        x = np.empty((len(rows), steps, width) if self.rows_first else (steps, len(rows), width), np.float32)
        offsets, streams = encoded.columns["ids"].offsets, streams_of(self.tables, encoded)
        compiled.LOOPS.embed(rows, len(rows), offsets, steps, width, self.rows_first, x, *streams)
        return x


@dataclass(frozen=True)
class Weighed:
    """``sum_n value_n W[ngram_n]`` of each document, ``(B, C)``."""

    table: Array

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Its axes."""
        return None, self.table.shape[1]

    def find(self, encoded: Encoded, rows: Ints, _: int) -> Array:
        """Of the named documents."""
        ngrams, values = (encoded.columns[name] for name in WIDE)
        halves, width = self.table.dtype == np.float16, self.table.shape[1]
        sums = np.empty((len(rows), width), np.float32)
        looked_up = ngrams.values, values.values, self.table
        compiled.LOOPS.add_up(rows, len(rows), ngrams.offsets, *looked_up, halves, width, sums)
        return sums


Value = Embedded | Weighed | Read


class Weights:
    """A bundle's weights by the names of the model's: packed ones are unpacked, once, where that takes little memory.

    A graph looks up packed rows itself, so one that has a large table packed is left to do so.
    """

    def __init__(self, plain: Mapping[str, Array]) -> None:
        self._plain, self._packed = dict(plain), find(plain)

    def __contains__(self, name: str) -> bool:
        """Whether it is there and can be had."""
        packed = self._packed.get(name)
        return name in self._plain if packed is None else math.prod(packed.shape) <= MOST_UNPACKED

    def __getitem__(self, name: str) -> Array:
        """Its numbers."""
        if name not in self._plain:
            self._plain[name] = self._packed[name].unpack()
        return self._plain[name]

    def rounded(self, name: str) -> Array | Bytes:
        """The same in 8 bits, to compute with as it is, where it is stored so."""
        packed = self._packed.get(name)
        return packed if isinstance(packed, Bytes) else self[name]


class Lookups:
    """The values of a graph that are made of rows of tables, by their names.

    ``facts`` are what the graph says of itself, where ``fenlei.layers.graph.Graph.offer`` has noted which tables each
    value comes from; ``weights`` are those that the graph takes, as they are stored; ``sizes`` are the rows that each
    stream, and the wide branch under its column's name, may name. Without the compiled loops, and of a graph that notes
    nothing or has such a table of its own, there are none.
    """

    def __init__(self, facts: Mapping[str, str], weights: Mapping[str, Array], sizes: Mapping[str, int]) -> None:
        noted = {name: fact for name, fact in facts.items() if name.partition(".")[0] in (EMBEDDED, WEIGHED, READ)}
        known = Weights(weights)
        found = {name: _value(name, fact, known, sizes) for name, fact in noted.items() if compiled.LOADED}
        self.values = {name: value for name, value in found.items() if value is not None}

    @property
    def shapes(self) -> dict[str, tuple[int | None, ...]]:
        """The axes of each value."""
        return {name: value.shape for name, value in self.values.items()}

    def keep(self, names: Collection[str]) -> None:
        """Find these alone: others go into them."""
        self.values = {name: value for name, value in self.values.items() if name in names}

    def find(self, encoded: Encoded, rows: Ints, steps: int) -> dict[str, Array]:
        """The values of some documents, all of them padded to ``steps``, as the graph would have found them."""
        return {name: value.find(encoded, rows, steps) for name, value in self.values.items()}


def _value(name: str, fact: str, weights: Weights, sizes: Mapping[str, int]) -> Value | None:
    """A value as it was noted; None where the graph has weights of its own. ValueError for one that cannot be."""
    try:
        noted, kind = json.loads(fact), name.partition(".")[0]
        names = dict(noted["tables"])
        # A document has as many ids in every stream, but any number of n-grams: neither can stand for the other.
        sizes = {stream: size for stream, size in sizes.items() if (stream in WIDE) == (kind == WEIGHED)}
        ways, attention = noted.get("ways", []), noted.get("attention", [])
        if not all(each in weights for each in chain(names.values(), *ways, attention)):
            return None
        tables = {stream: _table(weights[each], sizes[stream]) for stream, each in names.items()}
        if len({table.shape[1] for table in tables.values()}) != 1 or len(tables) > compiled.MOST:
            raise ValueError("as many columns")
        if kind == WEIGHED:
            return Weighed(tables[WIDE[0]])
        if kind == EMBEDDED:
            return Embedded(tables, bool(noted.get("rows_first")))
        take = weights.rounded if noted.get("int8") and compiled.VNNI else weights.__getitem__
        gates = [(take(weight), weights[bias]) for weight, bias in ways]
        return read(tables, gates, [take(each) for each in attention], noted["poolings"])
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"model.onnx says of {name[:80]!r} what cannot be: {fact[:200]}") from error


def _table(table: Array, rows: int) -> Array:
    """A table that is safe to look up so many rows in."""
    if table.ndim != 2 or table.dtype not in (np.dtype(np.float16), np.dtype(np.float32)) or len(table) < rows:
        raise ValueError("no table of so many rows")
    found: Array = np.require(table, requirements=["C", "A"])
    return found
