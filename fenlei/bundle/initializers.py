"""The numbers of an ONNX graph: taken out where the weights hold them already, and put back.

A graph is a protobuf message (onnx.proto): the model's field 7 is the graph, whose fields 5 are its initializers, each
with dims (1), data_type (2), name (8) and raw_data (9). Only these are looked at; all other bytes go through as they
are. What is no such message at all is left alone: onnxruntime is the judge of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from fenlei.bundle.codec import Array

GRAPH, INITIALIZER = 7, 5
DIMS, KIND, NAME, RAW = 1, 2, 8, 9
VARINT, FIXED64, RUN, FIXED32 = 0, 1, 2, 5  # how a field is written
KINDS = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8", 10: "<f2"}  # TensorProto.DataType
LONGEST_VARINT = 10  # bytes

Change = Callable[[memoryview], bytes | memoryview]


class Field(NamedTuple):
    """One field of a message: ``data`` from its tag to its end, ``content`` without tag and length."""

    number: int
    wire: int
    data: memoryview
    content: memoryview
    value: int


def drain(graph: bytes, weights: Mapping[str, Array]) -> bytes:
    """The graph without the numbers of initializers that equal the weight of their name."""

    def change(tensor: memoryview) -> bytes | memoryview:
        name, shape, kind, raw = _tensor(tensor)
        array = weights.get(name)
        if array is None or raw is None or not array.size or not _same(array, shape, kind):
            return tensor
        if raw != _bytes(array):
            return tensor
        return b"".join(field.data for field in _fields(tensor) if field.number != RAW)

    return _changed(graph, change)


def fill(graph: bytes, weights: Mapping[str, Array]) -> bytes:
    """The graph with the numbers that ``drain`` took out; ValueError where the weights do not have them."""
    lacking: list[str] = []

    def change(tensor: memoryview) -> bytes | memoryview:
        name, shape, kind, raw = _tensor(tensor)
        if raw is not None or not math.prod(shape) or any(f.number not in (DIMS, KIND, NAME) for f in _fields(tensor)):
            return tensor
        if name not in weights or not _same(weights[name], shape, kind):
            lacking.append(name)
            return tensor
        return b"".join([tensor, _tag(RAW, weights[name].nbytes), _bytes(weights[name])])

    filled = _changed(graph, change)
    if lacking:
        raise ValueError(f"model.onnx takes {lacking[0][:80]!r} from the weights, which hold no such array")
    return filled


def _changed(graph: bytes, change: Change) -> bytes:
    """The graph with every initializer as ``change`` returns it; the same object where nothing changes."""
    try:
        parts: list[bytes | memoryview] = []
        touched = False
        for field in _fields(memoryview(graph)):
            inner = _with_initializers(field.content, change) if (field.number, field.wire) == (GRAPH, RUN) else None
            touched |= inner is not None
            parts += [field.data] if inner is None else [_tag(GRAPH, sum(map(len, inner))), *inner]
    except (IndexError, UnicodeDecodeError):
        return graph
    return b"".join(parts) if touched else graph


def _with_initializers(graph: memoryview, change: Change) -> list[bytes | memoryview] | None:
    """The parts of the graph's message, joined its new content; None where nothing changes."""
    parts: list[bytes | memoryview] = []
    touched = False
    for field in _fields(graph):
        new = change(field.content) if (field.number, field.wire) == (INITIALIZER, RUN) else field.content
        touched |= new is not field.content
        parts += [field.data] if new is field.content else [_tag(INITIALIZER, len(new)), new]
    return parts if touched else None


def _tensor(data: memoryview) -> tuple[str, tuple[int, ...], int, memoryview | None]:
    """Name, shape, kind and bytes of an initializer; no bytes are None."""
    name, shape, kind, raw = "", [], 0, None
    for field in _fields(data):
        if field.number == DIMS:
            shape += [field.value] if field.wire == VARINT else list(_varints(field.content))
        elif field.number == KIND:
            kind = field.value
        elif field.number == NAME:
            name = bytes(field.content).decode()
        elif field.number == RAW:
            raw = field.content
    return name, tuple(shape), kind, raw


def _same(array: Array, shape: tuple[int, ...], kind: int) -> bool:
    return array.shape == shape and kind in KINDS and array.dtype == np.dtype(KINDS[kind])


def _bytes(array: Array) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _fields(data: memoryview) -> Iterator[Field]:
    """The fields of a message in their order; IndexError where it is none."""
    start = 0
    while start < len(data):
        tag, place = _varint(data, start)
        number, wire = tag >> 3, tag & 7
        value = 0
        if wire == VARINT:
            value, end = _varint(data, place)
        elif wire == RUN:
            length, place = _varint(data, place)
            end = place + length
        elif wire in (FIXED64, FIXED32):
            end = place + (8 if wire == FIXED64 else 4)
        else:
            raise IndexError(f"no field is written as {wire}")
        if number == 0 or end > len(data):
            raise IndexError("no message")
        yield Field(number, wire, data[start:end], data[place:end], value)
        start = end


def _varints(data: memoryview) -> Iterator[int]:
    place = 0
    while place < len(data):
        value, place = _varint(data, place)
        yield value


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and the place after it; IndexError past the end."""
    value = 0
    for group in range(LONGEST_VARINT):
        byte = data[place + group]
        value |= (byte & 0x7F) << (7 * group)
        if byte < 0x80:
            return value, place + group + 1
    raise IndexError("no number is so long")


def _tag(number: int, length: int) -> bytes:
    """What stands before a run of ``length`` bytes."""
    return _number(number << 3 | RUN) + _number(length)


def _number(value: int) -> bytes:
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
