"""A bundle's values as bytes and back: JSON, the vocabulary's table, safetensors.

Every function names its file, and every error opens with that name, so that callers can put it in their sentence.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

Array = np.ndarray[Any, np.dtype[Any]]
T = TypeVar("T")


def dump_json(name: str, value: Any) -> bytes:
    """UTF-8 JSON with sorted keys; ValueError for what JSON cannot hold or would not give back."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, indent=1) + "\n"
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


def parse_object(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    """The JSON object in a file."""
    return _expect(name, _parse_json(files[name], name), dict)


def parse_strings(files: Mapping[str, bytes], name: str) -> list[str]:
    """The JSON list of strings in a file."""
    values = _expect(name, _parse_json(files[name], name), list)
    return [_expect(name, value, str) for value in values]


def parse_versions(files: Mapping[str, bytes], name: str) -> dict[str, str]:
    """The JSON object in a file, all of whose values are strings."""
    return {package: _expect(name, version, str) for package, version in parse_object(files, name).items()}


def parse_golden(files: Mapping[str, bytes], name: str) -> list[tuple[str, list[float]]]:
    """The JSON list of [text, probabilities] in a file."""
    pairs = []
    for pair in _expect(name, _parse_json(files[name], name), list):
        match pair:
            case [str(text), list(values)] if all(type(value) is float for value in values):
                pairs.append((text, values))
            case _:
                raise ValueError(f"{name} should hold [text, [probability, ...]] at place {len(pairs)}")
    return pairs


def parse_text(files: Mapping[str, bytes], name: str) -> str:
    """A file that is text."""
    try:
        return files[name].decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 ({error})") from error


def parse_vocab(files: Mapping[str, bytes], name: str) -> list[tuple[str, int]]:
    """The (token, count) of every line of a file."""
    text = parse_text(files, name)
    found = re.findall("(\\S+)\t([0-9]{1,18})\n", text)
    if sum(map(len, chain.from_iterable(found))) + 2 * len(found) != len(text):  # the pattern left something out
        *lines, rest = text.split("\n")
        if rest:
            raise ValueError(f"{name} should end with a newline")
        return list(_parse_lines(name, lines))
    return [(token, int(count)) for token, count in found]


def parse_arrays(files: Mapping[str, bytes], name: str) -> dict[str, Array]:
    """The arrays of a safetensors file, by name in sorted order."""
    try:
        arrays = load(files[name])
    except (SafetensorError, KeyError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} is not readable as safetensors ({error})") from error
    return dict(sorted(arrays.items()))  # the library's own order changes from run to run


def _parse_lines(name: str, lines: Iterable[str]) -> Iterator[tuple[str, int]]:
    for number, line in enumerate(lines, 1):
        token, _, count = line.partition("\t")
        if token.split() != [token] or not re.fullmatch("[0-9]{1,18}", count):
            raise ValueError(f"{name} line {number} should be token<TAB>count, got {line[:80]!r}")
        yield token, int(count)


def _parse_json(data: bytes, name: str) -> Any:
    try:
        return json.loads(data.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not the JSON it should be ({error})") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number in JSON")


def _expect(name: str, value: Any, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise ValueError(f"{name} should hold a {kind.__name__} where it has a {type(value).__name__}")
    return value
