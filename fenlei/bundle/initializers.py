"""The numbers of an ONNX graph: taken out where the weights hold them already, and put back.

A graph is a protobuf message (onnx.proto): the model's field 7 is the graph, whose fields 5 are its initializers, each
with dims (1), data_type (2), name (8) and raw_data (9). Only these are looked at; all other bytes go through as they
are, except by ``detach`` and ``only``. What is no such message at all is left alone: onnxruntime is the judge of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from fenlei.bundle.codec import Array

GRAPH, INITIALIZER, FACT = 7, 5, 14
FACT_KEY, FACT_VALUE = 1, 2
NODE, INPUT, OUTPUT = 1, 11, 12  # of a graph
NODE_INPUT, NODE_OUTPUT, NODE_KIND, NODE_ATTRIBUTE, ATTRIBUTE_GRAPH, VALUE_NAME = 1, 2, 4, 5, 6, 1
DIMS, KIND, NAME, RAW = 1, 2, 8, 9
VARINT, FIXED64, RUN, FIXED32 = 0, 1, 2, 5  # how a field is written
FLOAT = 1
KINDS = {FLOAT: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8", 10: "<f2"}  # TensorProto.DataType
LONGEST_VARINT = 10  # bytes
LARGE = 2**16  # bytes of a table that is worth an input of its own

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
    lacking(graph, weights)

    def change(tensor: memoryview) -> bytes | memoryview:
        if not _is_drained(tensor):
            return tensor
        name = _tensor(tensor)[0]
        return b"".join([tensor, _tag(RAW, weights[name].nbytes), _bytes(weights[name])])

    return _changed(graph, change)


def lacking(graph: bytes, weights: Mapping[str, Array]) -> None:
    """ValueError as in ``fill``, without its work."""
    for name, shape, kind in _drained(graph):
        if name not in weights or not _same(weights[name], shape, kind):
            raise ValueError(f"model.onnx takes {name[:80]!r} from the weights, which hold no such array")


def taken(graph: bytes, weights: Mapping[str, Array]) -> dict[str, Array]:
    """The weights that ``fill`` would put into the graph."""
    return {name: weights[name] for name, _, _ in _drained(graph) if name in weights}


def is_whole(graph: bytes) -> bool:
    """Whether the graph has all its numbers."""
    return next(_drained(graph), None) is None


def detach(graph: bytes, weights: Mapping[str, Array]) -> tuple[bytes, dict[str, Array]]:
    """A drained graph that takes its large tables as inputs, and these: whoever runs it need not copy them.

    They are those that the graph only gathers rows from. All other numbers are put back.
    """
    lacking(graph, weights)
    try:
        tables = _tables(graph, weights)
        inputs = [_message(INPUT, _value(name, array)) for name, array in tables.items()]
        loose = _graph_with(graph, lambda field: not _is_one_of(field, INITIALIZER, NAME, tables), inputs)
    except (IndexError, UnicodeDecodeError):
        return fill(graph, weights), {}
    return fill(loose, weights), tables


def only(graph: bytes, output: str, given: Mapping[str, tuple[int | None, ...]] = MappingProxyType({})) -> bytes:
    """The graph with this output alone and what it comes from; as it is where it has none of that name.

    Onnxruntime would run all other nodes as well. Values that are ``given`` become inputs of float32 numbers, with the
    lengths of their axes that are known.
    """
    try:
        fields = [field for outer in _graphs(graph) for field in _fields(outer.content)]
        if not any(_is_one_of(field, OUTPUT, VALUE_NAME, [output]) for field in fields):
            return graph
        needed = {output}
        for node in reversed([field for field in fields if field.number == NODE]):  # each stands behind what it reads
            if needed & ({*_texts(node.content, NODE_OUTPUT)} - given.keys()):
                needed.update(_read_by(node.content))
        kept = {
            OUTPUT: (VALUE_NAME, {output}),
            NODE: (NODE_OUTPUT, needed - given.keys()),
            INITIALIZER: (NAME, needed),
            INPUT: (VALUE_NAME, needed),
        }
        inputs = [_message(INPUT, _described(name, FLOAT, shape)) for name, shape in given.items() if name in needed]

        def is_needed(field: Field) -> bool:
            label, names = kept.get(field.number, (0, set()))
            return not label or not names.isdisjoint(_texts(field.content, label))

        return _graph_with(graph, is_needed, inputs)
    except (IndexError, UnicodeDecodeError):
        return graph


def _read_by(node: memoryview) -> Iterator[str]:
    """The values that a node reads, those of the graphs within it included."""
    yield from _texts(node, NODE_INPUT)
    for attribute in _fields(node):
        if attribute.number == NODE_ATTRIBUTE:
            for inner in _fields(attribute.content):
                if inner.number == ATTRIBUTE_GRAPH:
                    for field in _fields(inner.content):
                        if field.number == NODE:
                            yield from _read_by(field.content)


def _graph_with(model: bytes, kept: Callable[[Field], bool], more: Iterable[bytes] = ()) -> bytes:
    """The model with some of the fields of its graph, and with more of them."""
    parts: list[bytes | memoryview] = []
    for field in _fields(memoryview(model)):
        if (field.number, field.wire) == (GRAPH, RUN):
            inner: list[bytes | memoryview] = [each.data for each in _fields(field.content) if kept(each)]
            inner += more
            parts += [_tag(GRAPH, sum(map(len, inner))), *inner]
        else:
            parts.append(field.data)
    return b"".join(parts)


def _is_one_of(field: Field, kind: int, label: int, names: Collection[str]) -> bool:
    return field.number == kind and _text(field.content, label) in names


def _tables(graph: bytes, weights: Mapping[str, Array]) -> dict[str, Array]:
    """The large arrays that a graph lacks and that its nodes only gather rows from."""
    found = {name: weights[name] for name, _, _ in _drained(graph) if weights[name].nbytes >= LARGE}
    for outer in _graphs(graph):
        for node in _fields(outer.content):
            if node.number == NODE:
                inputs = _texts(node.content, NODE_INPUT)
                gathers = _text(node.content, NODE_KIND) == "Gather"
                for name in inputs[1:] if gathers else inputs:
                    found.pop(name, None)
    return found


def _drained(graph: bytes) -> Iterator[tuple[str, tuple[int, ...], int]]:
    """Name, shape and kind of each initializer whose numbers stand elsewhere."""
    try:
        for outer in _graphs(graph):
            for field in _fields(outer.content):
                if (field.number, field.wire) == (INITIALIZER, RUN) and _is_drained(field.content):
                    yield _tensor(field.content)[:3]
    except (IndexError, UnicodeDecodeError):
        return


def _graphs(model: bytes) -> Iterator[Field]:
    return (field for field in _fields(memoryview(model)) if (field.number, field.wire) == (GRAPH, RUN))


def _is_drained(tensor: memoryview) -> bool:
    _, shape, _, raw = _tensor(tensor)
    return raw is None and math.prod(shape) > 0 and all(f.number in (DIMS, KIND, NAME) for f in _fields(tensor))


def _text(message: memoryview, number: int) -> str:
    return "".join(_texts(message, number))


def _texts(message: memoryview, number: int) -> list[str]:
    return [bytes(field.content).decode() for field in _fields(message) if field.number == number]


def _value(name: str, array: Array) -> bytes:
    """A ``ValueInfoProto`` of an array."""
    return _described(name, next(kind for kind, dtype in KINDS.items() if array.dtype == np.dtype(dtype)), array.shape)


def _described(name: str, kind: int, axes: Iterable[int | None]) -> bytes:
    """A ``ValueInfoProto``: name, and type of element and shape, of which some axes may be of any length."""
    sizes = (b"" if size is None else _number(1 << 3 | VARINT) + _number(size) for size in axes)
    tensor = _number(1 << 3 | VARINT) + _number(kind) + _message(2, b"".join(_message(1, size) for size in sizes))
    return _message(VALUE_NAME, name.encode()) + _message(2, _message(1, tensor))


def facts(model: bytes) -> dict[str, str]:
    """What a model says of itself beside its graph."""
    try:
        noted = [field.content for field in _fields(memoryview(model)) if (field.number, field.wire) == (FACT, RUN)]
        return {_text(fact, FACT_KEY): _text(fact, FACT_VALUE) for fact in noted}
    except (IndexError, UnicodeDecodeError):
        return {}


def _message(number: int, content: bytes) -> bytes:
    return _tag(number, len(content)) + content


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
