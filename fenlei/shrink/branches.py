"""The networks made smaller: the rows that training read least go, the rest is stored in fewer bits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from fenlei import eliasfano, quantizing, training
from fenlei.bundle import Bundle
from fenlei.layers.codes import MOST_CODEWORDS
from fenlei.layers.graph import stored
from fenlei.models import Deep, restore
from fenlei.ngrams import NgramTable
from fenlei.packing import Bytes, Nibbles, Packed
from fenlei.pipeline import Pipeline
from fenlei.recipe import Recipe
from fenlei.shrink.heldout import HeldOut
from fenlei.shrink.ngrams import bits_for
from fenlei.vocab import RESERVED, UNK, Vocab

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

ALL = 10**9
SMALL = 1024  # numbers: fewer are rounded to float16 and left as they are
TABLE = ".table.weight"  # of an embedding with a row an id


class Rung(NamedTuple):
    """How small: ids a table at most, how its rows are stored, how every other matrix is."""

    rows: int
    table: str
    matrix: str

    def __str__(self) -> str:
        rows = "all rows" if self.rows == ALL else f"{self.rows:,} rows"
        return f"{rows} in {self.table}, matrices in {self.matrix}"


# From large to small. "parts of N" is a byte for N numbers, so 8 / N bits a number.
LADDER = (
    Rung(ALL, "8 bits", "8 bits"),
    Rung(ALL, "4 bits", "8 bits"),
    Rung(30_000, "4 bits", "8 bits"),
    Rung(30_000, "parts of 4", "8 bits"),
    Rung(20_000, "parts of 4", "4 bits"),
    Rung(10_000, "parts of 4", "4 bits"),
    Rung(10_000, "parts of 8", "4 bits"),
    Rung(5_000, "parts of 8", "4 bits"),
    Rung(5_000, "parts of 8", "parts of 4"),
    Rung(2_500, "parts of 8", "parts of 4"),
    Rung(1_500, "parts of 8", "parts of 4"),
)


class Smaller(NamedTuple):
    """Networks with fewer rows and bits: their road, the weights as stored, what they answer, and their bytes."""

    rung: Rung
    networks: int
    pipeline: Pipeline
    weights: dict[str, Array]
    logits: Floats
    nbytes: int

    def __str__(self) -> str:
        return (f"{self.networks} networks: " if self.networks > 1 else "") + str(self.rung)


@dataclass(frozen=True)
class Branches:
    """The full networks of a bundle, and how often training read each id of each stream."""

    bundle: Bundle
    pipeline: Pipeline
    count: int
    counts: Mapping[str, Ints]
    weights: Mapping[str, Floats]

    @classmethod
    def of(cls, bundle: Bundle, pipeline: Pipeline, count: int) -> Branches:
        """The first so many networks of a bundle."""
        state = restore(bundle, pipeline.stream_sizes()).state_dict()
        weights = {name: value.numpy() for name, value in state.items() if number_of(name) < count}
        return cls(bundle, pipeline, count, usage(bundle, pipeline), weights)

    def rungs(self) -> list[Rung]:
        """The ladder without rungs that come to the same, as small tables have few rows to lose."""
        longest = max(map(len, self.counts.values()))
        different = {(min(rung.rows, longest), rung.table, rung.matrix): rung for rung in reversed(LADDER)}
        return list(reversed(different.values()))

    def size(self, rung: Rung) -> int:
        """Bytes of the networks, their vocabulary and their hashes."""
        places = self.kept(rung)
        numbers = 0
        for name, weight in self.weights.items():
            ids = places.get(stream_of(name))
            shape = weight.shape if ids is None else (len(ids) + RESERVED, weight.shape[1])
            numbers += size_of(kind_for(name, rung, shape), shape)
        lines = [
            f"{self.pipeline.vocab.tokens[place]}\t{self.pipeline.vocab.counts[place]}\n" for place in places["ids"]
        ]
        hashes = (eliasfano.size(len(ids), bits_for(len(ids))) for name, ids in places.items() if name != "ids")
        return numbers + sum(len(line.encode()) for line in lines) + sum(hashes)

    def kept(self, rung: Rung) -> dict[str, Ints]:
        """The ids of each stream that stay, rising, counted from 0 past the reserved ones."""
        found = {}
        for name, counts in self.counts.items():
            own = counts[RESERVED:]
            trimmed = any(name_ for name_ in self.weights if stream_of(name_) == name)
            most = rung.rows if trimmed else len(own)
            found[name] = np.sort(np.argsort(-own, kind="stable")[:most])
        return found

    def smaller(self, rung: Rung, dev: HeldOut) -> Smaller:
        """The networks on a rung of the ladder, and what they answer."""
        kept = self.kept(rung)
        tokens = [(self.pipeline.vocab.tokens[place], self.pipeline.vocab.counts[place]) for place in kept["ids"]]
        vocab = Vocab([token for token, _ in tokens], [count for _, count in tokens])
        streams, moved = {}, {"ids": kept["ids"]}
        for name, table in self.pipeline.streams.items():
            ids = kept[name]
            part = NgramTable(table.hashes[ids], table.bits)
            streams[name], inside = part.shorten(min(part.bits, bits_for(len(ids))), self.counts[name][ids + RESERVED])
            moved[name] = ids[inside]
        pipeline = replace(self.pipeline, vocab=vocab, streams=streams)
        weights = dict(self._packed(rung, moved))
        logits = self._answers(pipeline, weights, moved, dev)
        return Smaller(rung, self.count, pipeline, weights, logits, self.size(rung))

    def _packed(self, rung: Rung, kept: Mapping[str, Ints]) -> Iterator[tuple[str, Array]]:
        for name, weight in self.weights.items():
            ids = kept.get(stream_of(name))
            if ids is not None:
                rows = np.concatenate([np.arange(RESERVED), ids + RESERVED])
                weight, often = weight[rows], self.counts[stream_of(name)][rows] + 1.0
            else:
                often = np.ones(len(weight) if weight.ndim else 1)
            packed = pack(weight, kind_for(name, rung, weight.shape), often.astype(np.float32))
            if packed is None:
                small = weight.astype(np.float16).astype(np.float32) if weight.dtype.kind == "f" else weight
                yield name, stored(torch.from_numpy(small))
            else:
                yield from ((f"{name}.{part}", array) for part, array in packed.arrays().items())

    def _answers(self, pipeline: Pipeline, weights: dict[str, Array], kept: Mapping[str, Ints], dev: HeldOut) -> Floats:
        """The mean of the networks' logits, ``(B, C)``."""
        weights = weights | plain(len(self.bundle.labels))
        bundle = replace(self.bundle, weights=weights, tables={}, model=self.bundle.model | {"branches": self.count})
        model = restore(bundle, pipeline.stream_sizes())
        places = {}
        for name, counts in self.counts.items():
            places[name] = np.full(len(counts), UNK)
            places[name][:RESERVED] = np.arange(RESERVED)
            places[name][kept[name] + RESERVED] = np.arange(RESERVED, len(kept[name]) + RESERVED)
        encoded = dev.renumbered(places)
        recipe = Recipe(batch_tokens=self.bundle.recipe["batch_tokens"])
        answers = [training.predict(branch, encoded, recipe) for branch in model.branches if isinstance(branch, Deep)]
        return np.asarray(np.mean(answers, axis=0), np.float32)


def usage(bundle: Bundle, pipeline: Pipeline) -> dict[str, Ints]:
    """How often training read each id of each stream; ValueError where the bundle does not say."""
    found = {}
    for name, size in pipeline.stream_sizes().items():
        counts = bundle.tables.get(f"counts.{name}")
        if counts is None or len(counts) != size:
            raise ValueError(
                f"this bundle does not say how often training read each of its {name.replace('_', ' ')}: it was made by"
                " an older fenlei or is a shrunken one already; train it again"
            )
        found[name] = counts.astype(np.int64)
    return found


def number_of(name: str) -> float:
    """The number of the network that a weight is of, from 0 on; infinite for one of none."""
    first, _, rest = name.partition(".")
    return int(rest.partition(".")[0]) if first == "branches" else float("inf")


def plain(classes: int) -> dict[str, Array]:
    """Scales and an offset that change nothing."""
    return {"scales": np.ones(2, np.float32), "offset": np.zeros(classes, np.float32)}


def stream_of(name: str) -> str:
    """The stream whose ids are the rows of this weight; empty where they are not."""
    return name.split(".embeddings.")[-1].removesuffix(TABLE) if ".embeddings." in name and name.endswith(TABLE) else ""


def kind_for(name: str, rung: Rung, shape: tuple[int, ...]) -> str:
    """How a weight of this shape is stored."""
    if len(shape) != 2 or shape[0] * shape[1] < SMALL:
        return "16 bits"
    kind = rung.table if ".embeddings." in name else rung.matrix
    width = int(kind.split()[-1]) if kind.startswith("parts") else 2
    return "8 bits" if kind != "8 bits" and shape[1] % width else kind


def pack(weight: Floats, kind: str, often: Floats) -> Packed | None:
    """A weight as ``kind_for`` says; None for what is left as it is."""
    if kind == "16 bits" or weight.dtype.kind != "f":
        return None
    if kind == "8 bits":
        return Bytes.pack(weight)
    if kind == "4 bits":
        return Nibbles.pack(weight)
    return quantizing.parts(weight, often / often.mean(), int(kind.split()[-1]))


def size_of(kind: str, shape: tuple[int, ...]) -> int:
    """Bytes of a weight so stored."""
    numbers = int(np.prod(shape))
    if kind == "16 bits":
        return 2 * numbers
    if kind.startswith("parts"):
        width = int(kind.split()[-1])
        return numbers // width + min(MOST_CODEWORDS, numbers // width) * width * 2
    return numbers // (1 if kind == "8 bits" else 2) + 2 * shape[0]
