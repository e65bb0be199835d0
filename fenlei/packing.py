"""Weights in fewer bytes: whole numbers of 8 or 4 bits with a scale a row, or codes; how each is made and unpacked.

Only what is stored is small. The graph unpacks a matrix once, when it is loaded, and of a table just the rows that a
text asks for; the compiled loops are given all of them unpacked. So all computing is done in float32 and a text's
answer does not depend on the texts beside it: the operators that also round what they compute take their scale from the
whole batch.

Letters: ``N`` rows of ``D`` numbers, ``K`` codes a row, ``M`` codewords of each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

FLOAT, INT32 = 1, 6  # TensorProto.DataType
FEWEST = 1e-12  # the largest number of a row counts as at least this, so that a row of zeros has a scale


class Writer(Protocol):
    """What is needed of ``fenlei.layers.graph.Graph``."""

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node."""

    def constant(self, value: Any, name: str = "") -> str:
        """A number."""

    def once(self, name: str, array: Array) -> str:
        """A stored array."""


@dataclass(frozen=True)
class Packed(ABC):
    """A weight as it is stored: the arrays that the fields name, each under ``WEIGHT.FIELD``."""

    def arrays(self) -> dict[str, Array]:
        """The arrays by the last part of their names."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @property
    def nbytes(self) -> int:
        """Bytes that are stored."""
        return sum(int(array.nbytes) for array in self.arrays().values())

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """``(N, D)``; ValueError where the arrays do not fit together."""

    @abstractmethod
    def unpack(self) -> Floats:
        """The numbers that are computed with, ``(N, D)``."""

    @abstractmethod
    def whole(self, graph: Writer, name: str) -> str:
        """The same in ONNX."""

    @abstractmethod
    def rows(self, graph: Writer, name: str, rows: str) -> str:
        """Only the rows of these numbers, ``(..., D)``."""


@dataclass(frozen=True)
class Bytes(Packed):
    """``scale_n * int8_nd``, numbers from -127 to 127: ``int8 (N, D)``, ``scale (N, 1)`` of float16."""

    int8: Array
    scale: Array

    @property
    def shape(self) -> tuple[int, int]:
        """That of the whole numbers."""
        return _scaled(self.int8, self.scale)

    @classmethod
    def pack(cls, weight: Floats) -> Bytes:
        """The nearest numbers to ``weight (N, D)``."""
        scale = _scales(weight, 127)
        return cls(_rounded(weight, scale, 127).astype(np.int8), scale)

    def unpack(self) -> Floats:
        """A product."""
        return self.int8.astype(np.float32) * self.scale.astype(np.float32)

    def whole(self, graph: Writer, name: str) -> str:
        """The same in ONNX."""
        numbers, scale = graph.once(f"{name}.int8", self.int8), graph.once(f"{name}.scale", self.scale)
        return graph.add("Mul", *(graph.add("Cast", each, to=FLOAT) for each in (numbers, scale)))

    def rows(self, graph: Writer, name: str, rows: str) -> str:
        """Rows of both, then the product."""
        numbers, scale = graph.once(f"{name}.int8", self.int8), graph.once(f"{name}.scale", self.scale)
        found = (graph.add("Gather", each, rows, axis=0) for each in (numbers, scale))
        return graph.add("Mul", *(graph.add("Cast", each, to=FLOAT) for each in found))


@dataclass(frozen=True)
class Nibbles(Packed):
    """``scale_n * (q_nd - 8)``, ``q`` of 4 bits, two a byte: ``int4 (N, D / 2)`` of uint8, ``scale (N, 1)`` of float16.

    A byte's low half is a number of the first ``D / 2`` columns, its high half the one ``D / 2`` columns on.
    """

    int4: Array
    scale: Array

    @property
    def shape(self) -> tuple[int, int]:
        """Two numbers a byte."""
        rows, columns = _scaled(self.int4, self.scale)
        return rows, 2 * columns

    @classmethod
    def pack(cls, weight: Floats) -> Nibbles:
        """Near numbers to ``weight (N, D)``, ``D`` even: of a few scales a row, the one of the least squared error."""
        if weight.shape[1] % 2:
            raise ValueError(f"4 bits need an even number of columns, got {weight.shape[1]}")
        tried = [_scales(weight * share, 7) for share in (1.0, 0.9, 0.8, 0.7, 0.6)]
        errors = [((_rounded(weight, scale, 7) * scale.astype(np.float32) - weight) ** 2).sum(1) for scale in tried]
        scale = np.stack(tried)[np.argmin(errors, axis=0), np.arange(len(weight))]
        numbers = (_rounded(weight, scale, 7) + 8).astype(np.uint8)
        low, high = np.split(numbers, 2, axis=1)
        return cls(low | high << 4, scale)

    def unpack(self) -> Floats:
        """Both halves, then a product."""
        numbers = np.concatenate([self.int4 & 15, self.int4 >> 4], axis=1)
        return (numbers.astype(np.float32) - 8) * self.scale.astype(np.float32)

    def whole(self, graph: Writer, name: str) -> str:
        """The same in ONNX."""
        scale = graph.once(f"{name}.scale", self.scale)
        return self._product(graph, graph.once(f"{name}.int4", self.int4), scale)

    def rows(self, graph: Writer, name: str, rows: str) -> str:
        """Rows of both, then the same."""
        numbers, scale = graph.once(f"{name}.int4", self.int4), graph.once(f"{name}.scale", self.scale)
        return self._product(graph, *(graph.add("Gather", each, rows, axis=0) for each in (numbers, scale)))

    @staticmethod
    def _product(graph: Writer, numbers: str, scale: str) -> str:
        both = graph.add("Cast", numbers, to=INT32)
        sixteen = graph.constant(np.array(16, np.int32))
        high = graph.add("Div", both, sixteen)
        low = graph.add("Sub", both, graph.add("Mul", high, sixteen))
        signed = graph.add("Sub", graph.add("Concat", low, high, axis=-1), graph.constant(np.array(8, np.int32)))
        return graph.add("Mul", *(graph.add("Cast", each, to=FLOAT) for each in (signed, scale)))


@dataclass(frozen=True)
class Sums(Packed):
    """``sum_k words_k[codes_nk]``: ``codes (N, K)`` of uint8, ``words (K, M, D)`` of float16."""

    codes: Array
    words: Array

    @property
    def shape(self) -> tuple[int, int]:
        """As many rows as there are of codes, as long as a word."""
        if self.codes.ndim != 2 or self.words.ndim != 3 or self.codes.shape[1] != len(self.words):
            raise ValueError(f"codes of shape {self.codes.shape} for words of shape {self.words.shape}")
        return len(self.codes), self.words.shape[2]

    def unpack(self) -> Floats:
        """A sum of codewords."""
        words = self.words.astype(np.float32)
        found = words[0][self.codes[:, 0]]
        for k in range(1, len(words)):
            found = found + words[k][self.codes[:, k]]
        return np.asarray(found, np.float32)

    def whole(self, graph: Writer, name: str) -> str:
        """The same in ONNX."""
        return self._sum(graph, name, graph.once(f"{name}.codes", self.codes))

    def rows(self, graph: Writer, name: str, rows: str) -> str:
        """The codes of the rows, then the same."""
        return self._sum(graph, name, graph.add("Gather", graph.once(f"{name}.codes", self.codes), rows, axis=0))

    def _sum(self, graph: Writer, name: str, codes: str) -> str:
        words = graph.add("Cast", graph.once(f"{name}.words", self.words), to=FLOAT)
        total = ""
        for k in range(len(self.words)):
            place = graph.constant(np.array(k))
            code = graph.add("Cast", graph.add("Gather", codes, place, axis=-1), to=INT32)
            found = graph.add("Gather", graph.add("Gather", words, place, axis=0), code, axis=0)
            total = graph.add("Add", total, found) if total else found
        return total


@dataclass(frozen=True)
class Parts(Packed):
    """``[words_c(n,1) ; .. ; words_c(n,P)]``: rows in ``P`` parts, each the nearest of 256 codewords for all parts.

    ``parts (N, P)`` of uint8, ``part_words (M, D / P)`` of float16. Product quantization (Jegou et al. 2011) with one
    book: beside a small table a book for each part would be the larger half.
    """

    parts: Array
    part_words: Array

    @property
    def shape(self) -> tuple[int, int]:
        """As many rows as there are of codes, as long as the words of one."""
        if self.parts.ndim != 2 or self.part_words.ndim != 2:
            raise ValueError(f"parts of shape {self.parts.shape} for words of shape {self.part_words.shape}")
        return len(self.parts), self.parts.shape[1] * self.part_words.shape[1]

    def unpack(self) -> Floats:
        """A lookup."""
        return self.part_words.astype(np.float32)[self.parts].reshape(len(self.parts), -1)

    def whole(self, graph: Writer, name: str) -> str:
        """The same in ONNX."""
        codes = graph.once(f"{name}.parts", self.parts)
        return graph.add("Reshape", self._words(graph, name, codes), graph.constant(np.array([0, -1])))

    def rows(self, graph: Writer, name: str, rows: str) -> str:
        """The codes of the rows, then the same."""
        codes = graph.add("Gather", graph.once(f"{name}.parts", self.parts), rows, axis=0)
        width = graph.constant(np.array([self.parts.shape[1] * self.part_words.shape[1]]))
        shape = graph.add("Concat", graph.add("Shape", rows), width, axis=0)
        return graph.add("Reshape", self._words(graph, name, codes), shape)

    def _words(self, graph: Writer, name: str, codes: str) -> str:
        words = graph.add("Cast", graph.once(f"{name}.part_words", self.part_words), to=FLOAT)
        return graph.add("Gather", words, graph.add("Cast", codes, to=INT32), axis=0)


KINDS: tuple[type[Packed], ...] = (Bytes, Nibbles, Sums, Parts)


def find(weights: Mapping[str, Array]) -> dict[str, Packed]:
    """The packed ones among a bundle's weights, by the name of the weight."""
    found: dict[str, Packed] = {}
    for kind in KINDS:
        first, *_ = parts = [each.name for each in fields(kind)]
        for key in weights:
            name, _, last = key.rpartition(".")
            if last == first and all(f"{name}.{part}" in weights for part in parts):
                found[name] = kind(**{part: weights[f"{name}.{part}"] for part in parts})
    return found


def unpack(weights: Mapping[str, Array]) -> dict[str, Array]:
    """A bundle's weights by the model's own names, every packed one unpacked."""
    packed = find(weights)
    parts = {f"{name}.{part}" for name, each in packed.items() for part in each.arrays()}
    plain = {name: array for name, array in weights.items() if name not in parts}
    return plain | {name: each.unpack() for name, each in packed.items()}


def _scaled(numbers: Array, scale: Array) -> tuple[int, int]:
    """The shape of numbers that have a scale a row."""
    if numbers.ndim != 2 or scale.shape != (len(numbers), 1):
        raise ValueError(f"scales of shape {scale.shape} for numbers of shape {numbers.shape}")
    return len(numbers), numbers.shape[1]


def _scales(weight: Floats, most: int) -> Array:
    """A scale a row at which its largest number is ``most``, rounded to what float16 holds and never 0."""
    largest = np.maximum(np.abs(weight).max(axis=1, keepdims=True, initial=0.0), FEWEST)
    tiny = np.finfo(np.float16).smallest_subnormal
    return np.asarray(np.maximum((largest / most).astype(np.float16), tiny))


def _rounded(weight: Floats, scale: Array, most: int) -> Floats:
    return np.clip(np.round(weight / scale.astype(np.float32)), -most, most)
