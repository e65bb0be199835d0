"""A bundle's values as bytes and back: JSON, the vocabulary's table, safetensors.

Every function names its file, and every error opens with that name, so that callers can put it in their sentence.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save

# As safetensors spells them, without those that numpy lacks.
KINDS = {"BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8"}
KINDS |= {"I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8"}

Array = np.ndarray[Any, np.dtype[Any]]
Data = bytes | memoryview  # a file's content
T = TypeVar("T")


def dump_json(name: str, value: Any, dense: bool = False) -> bytes:
    """UTF-8 JSON with sorted keys, a value a line unless it is to be ``dense``.

    ValueError for what JSON cannot hold or would not give back.
    """
    try:
        layout: dict[str, Any] = {"separators": (",", ":")} if dense else {"indent": 1}
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, **layout) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{name} cannot be written as JSON ({error}): give it plain, finite values") from error
    if re.search("[\ud800-\udbff][\udc00-\udfff]", text):
        raise ValueError(f"{name} has a character split into two surrogates, which JSON would join: decode it first")
    return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text).encode()


def dump_vocab(name: str, vocab: Iterable[tuple[str, int]]) -> bytes:
    """One line `token<TAB>count` an id; ValueError for a token that is empty or holds whitespace or a surrogate."""
    lines = []
    for number, (token, count) in enumerate(vocab):
        if token.split() != [token]:
            raise ValueError(f"{name} cannot hold token {token!r} (id {number}): it is empty or has whitespace in it")
        lines.append(f"{token}\t{count:d}\n")
    try:
        return "".join(lines).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} cannot hold a lone surrogate ({error}): repair the text before training") from error


def dump_arrays(name: str, arrays: Mapping[str, Array]) -> bytes:
    """Safetensors; ValueError for an array with NaN or inf, or of a type that the format lacks."""
    for key, array in arrays.items():
        if np.issubdtype(array.dtype, np.inexact) and not np.isfinite(array).all():
            raise ValueError(f"{name} cannot be saved: array {key!r} has NaN or inf in it, so training has diverged")
    try:
        # safetensors copies nbytes from the first element on: a transposed or sliced view would be written wrong.
        return save({key: np.asarray(array, order="C") for key, array in arrays.items()})
    except (SafetensorError, TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot hold these arrays: {error}") from error


def parse_object(files: Mapping[str, Data], name: str) -> dict[str, Any]:
    """The JSON object in a file."""
    return _expect(name, _parse_json(files[name], name), dict)


def parse_strings(files: Mapping[str, Data], name: str) -> list[str]:
    """The JSON list of strings in a file."""
    values = _expect(name, _parse_json(files[name], name), list)
    return [_expect(name, value, str) for value in values]


def parse_versions(files: Mapping[str, Data], name: str) -> dict[str, str]:
    """The JSON object in a file, all of whose values are strings."""
    return {package: _expect(name, version, str) for package, version in parse_object(files, name).items()}


def parse_golden(files: Mapping[str, Data], name: str) -> list[tuple[str, list[float]]]:
    """The JSON list of [text, probabilities] in a file."""
    pairs = []
    for pair in _expect(name, _parse_json(files[name], name), list):
        match pair:
            case [str(text), list(values)] if all(type(value) is float for value in values):
                pairs.append((text, values))
            case _:
                raise ValueError(f"{name} should hold [text, [probability, ...]] at place {len(pairs)}")
    return pairs


def parse_text(files: Mapping[str, Data], name: str) -> str:
    """A file that is text."""
    try:
        return str(files[name], "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 ({error})") from error


def parse_vocab(files: Mapping[str, Data], name: str) -> list[tuple[str, int]]:
    """The (token, count) of every line of a file."""
    text = parse_text(files, name)
    found = re.findall("(\\S+)\t([0-9]{1,18})\n", text)
    if sum(map(len, chain.from_iterable(found))) + 2 * len(found) != len(text):  # the pattern left something out
        *lines, rest = text.split("\n")
        if rest:
            raise ValueError(f"{name} should end with a newline")
        return list(_parse_lines(name, lines))
    return [(token, int(count)) for token, count in found]


def parse_arrays(files: Mapping[str, Data], name: str) -> dict[str, Array]:
    """The arrays of a safetensors file, by name in sorted order."""
    data = memoryview(files[name])
    try:
        length = int.from_bytes(data[:8], "little")
        head = json.loads(str(data[8 : 8 + length], "utf-8"))
        if len(data) < 8 + length or not isinstance(head, dict):
            raise ValueError(f"{len(data)} bytes are no header of {length}")
        head.pop("__metadata__", None)
        return dict(_views(head, data[8 + length :]))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not readable as safetensors ({error})") from error


def _views(head: Mapping[str, Any], data: memoryview) -> Iterator[tuple[str, Array]]:
    """The arrays that a header describes, by name, where they lie: the library would copy each.

    As there, they lie one behind the other and fill the data.
    """
    places = sorted((_place(key, entry), key) for key, entry in head.items())
    ends = [0, *(stop for (_, stop, _, _), _ in places)]
    for ((start, _, _, _), key), end in zip(places, ends, strict=False):
        if start != end:
            raise ValueError(f"array {key[:80]!r} begins at {start} where {end} was expected")
    if ends[-1] != len(data):
        raise ValueError(f"the arrays end at {ends[-1]} of {len(data)} bytes")
    for (start, stop, kind, shape), key in sorted(places, key=lambda place: place[1]):
        array = np.frombuffer(data[start:stop], np.dtype(kind)).reshape(shape)
        yield key, array if array.flags.aligned else array.copy()


def _place(key: str, entry: Any) -> tuple[int, int, str, tuple[int, ...]]:
    """Where an array lies, its type and shape; ValueError unless these agree."""
    match entry:
        case {"dtype": str(kind), "shape": list(shape), "data_offsets": [int(start), int(stop)]} if (
            kind in KINDS and len(entry) == 3 and all(type(size) is int and 0 <= size < 2**63 for size in shape)
        ):
            if stop - start == math.prod(shape) * np.dtype(KINDS[kind]).itemsize and start >= 0:
                return start, stop, KINDS[kind], tuple(shape)
    raise ValueError(f"array {key[:80]!r} is described as {str(entry)[:80]}")


def _parse_lines(name: str, lines: Iterable[str]) -> Iterator[tuple[str, int]]:
    for number, line in enumerate(lines, 1):
        token, _, count = line.partition("\t")
        if token.split() != [token] or not re.fullmatch("[0-9]{1,18}", count):
            raise ValueError(f"{name} line {number} should be token<TAB>count, got {line[:80]!r}")
        yield token, int(count)


def _parse_json(data: Data, name: str) -> Any:
    try:
        return json.loads(str(data, "utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not the JSON it should be ({error})") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number in JSON")


def _expect(name: str, value: Any, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise ValueError(f"{name} should hold a {kind.__name__} where it has a {type(value).__name__}")
    return value
