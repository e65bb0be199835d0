"""A JSON file that is one value over all its lines: the elements of a list; what else it is, in one sentence."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fenlei.corpus.columns import LABEL_NAMES, TEXT_NAMES
from fenlei.corpus.encoding import NAME_IT

LIMIT = 512 * 2**20  # bytes of a file that is parsed as one value: its text is in memory, its objects one by one
HEAD = 64 * 2**10  # bytes that a first look takes
SPACE = re.compile(r"[ \t\r\n]*")
KEYS = 5  # named in a sentence


def opens_list(path: Path, codec: str) -> bool:
    """Whether the first sign of a file opens a list."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    return head.decode(codec, "ignore").lstrip("\ufeff \t\r\n").startswith("[")


def elements(path: Path, name: str, codec: str) -> Iterator[tuple[int, Any]]:
    """(place from 1, value) of all elements of the list that a file holds; only one of them is built at a time.

    Raises ValueError for a file larger than ``LIMIT`` and for what is no whole list: how much is missing where one
    breaks off nobody can know.
    """
    if path.stat().st_size > LIMIT:
        raise ValueError(f"{name} is one JSON list of more than {LIMIT:,} bytes{_as_lines('.[]', path)}")
    text = _text(path, name, codec)
    try:
        yield from _elements(text)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ValueError(f"{name} is no whole JSON list ({reason}): mend it there{_as_lines('.[]', path)}") from error


def _elements(text: str) -> Iterator[tuple[int, Any]]:
    decoder = json.JSONDecoder()
    at, number = _skip(text, _skip(text, 0) + 1), 0
    while text[at : at + 1] != "]":
        if number:
            if text[at : at + 1] != ",":
                raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
            at = _skip(text, at + 1)
        value, at = decoder.raw_decode(text, at)
        number, at = number + 1, _skip(text, at)
        yield number, value
    end = _skip(text, at + 1)
    if end < len(text):
        raise json.JSONDecodeError("Extra data", text, end)


def refuse_others(path: Path, name: str, codec: str, first: str, alone: bool) -> None:
    """Raise ValueError where a file is neither a list nor an object a line; broken lines pass, they are counted later.

    ``first`` is the first line that is not blank, ``alone`` whether it is the only one.
    """
    try:
        value = json.loads(first)
        found = _around(value) if alone and isinstance(value, dict) else None
    except (ValueError, RecursionError):
        found = _over_lines(path, codec)
    if found:
        what, how = found
        raise ValueError(f"{name} holds {what}{_as_lines(how, path)}")


def _over_lines(path: Path, codec: str) -> tuple[str, str] | None:
    """(what a file holds, how jq divides it) where it begins with an object over several lines."""
    if path.stat().st_size > LIMIT:
        return None
    text = path.read_bytes().decode(codec, "replace").removeprefix("\ufeff")
    start = _skip(text, 0)
    try:
        value, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or "\n" not in text[start:end]:
        return None
    if _skip(text, end) < len(text):
        return "JSON objects over several lines each", "."
    keys = ", ".join(map(repr, [*value][:KEYS])) + (", ..." if len(value) > KEYS else "")
    return _around(value) or (f"one JSON object over several lines (keys: {keys})", ".")


def _around(value: dict[str, Any]) -> tuple[str, str] | None:
    """(what an object is, how jq divides it) where it holds a list of objects or columns rather than a text."""
    lowered = {key.lower(): key for key in reversed(value)}
    text, label = (next((lowered[n] for n in names if n in lowered), None) for names in (TEXT_NAMES, LABEL_NAMES))
    if text is not None and label is not None:
        if not all(isinstance(value[key], list | dict) for key in (text, label)):
            return None
        cells = ", ".join(f"[.[{json.dumps(key, ensure_ascii=False)}][]]" for key in (text, label))
        return f"JSON columns, {text!r} and {label!r}", f"[{cells}] | transpose[] | {{text: .[0], label: .[1]}}"
    lists = {key: each for key, each in value.items() if isinstance(each, list) and _are_objects(each)}
    if not lists:
        return None
    key = max(lists, key=lambda key: len(lists[key]))
    what = f"one JSON object whose {key!r} is a list of objects, {len(lists[key]):,} of them"
    return what, f".[{json.dumps(key, ensure_ascii=False)}][]"


def _are_objects(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(each, dict) for each in values)


def _text(path: Path, name: str, codec: str) -> str:
    try:
        return path.read_bytes().decode(codec).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not {codec} at byte {error.start + 1}; repair it, or {NAME_IT}") from error


def _skip(text: str, at: int) -> int:
    """The place of the next sign that is no space."""
    found = SPACE.match(text, at)
    return found.end() if found else at


def _as_lines(how: str, path: Path) -> str:
    """What to do."""
    file = shlex.quote(str(path))
    return f"; write an object a line: jq -c {shlex.quote(how)} {file} > {shlex.quote(f'{path}.jsonl')}"
