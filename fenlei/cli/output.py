"""Where results and words go: standard output for results, standard error for the person, files that appear whole."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, TextIO

INPUTS = ("data", "dev", "file", "user_words", "stop_words")  # arguments that name what is read
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Unheard:
    """Standard error as long as somebody hears it, and then nothing: work must not end for want of a listener."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as long as the process

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """The text, if it is heard."""
        with self._unheard():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """What was written."""
        with self._unheard():
            self._stream.flush()

    @contextlib.contextmanager
    def _unheard(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def say(line: str) -> None:
    """A line for the person: standard error, so that standard output holds results only."""
    print(visible(line), file=sys.stderr, flush=True)


def emit(value: dict[str, Any]) -> None:
    """One JSON object on standard output."""
    print(json.dumps(value, ensure_ascii=False))


def visible(text: str) -> str:
    """Control characters and line ends as Python would write them: no name can steer a terminal or break a line."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def escaped(label: str) -> str:
    """A label as one cell of a tab-separated line; the backslash is escaped too, so nothing is lost."""
    return visible(label.replace("\\", "\\\\"))


def check_output(arguments: argparse.Namespace) -> None:
    """Raise, before the work begins, where ``--out`` cannot be written."""
    from fenlei.bundle import check_outside

    path = Path(arguments.out)
    if arguments.out == "-" and arguments.json:
        raise argparse.ArgumentTypeError("--json and --out - both want standard output: name a file")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder where a file was expected: name a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} into")
    if arguments.out != "-":
        check_outside(path)
        check_inputs(arguments)


def check_inputs(arguments: argparse.Namespace) -> None:
    """Raise where ``--out`` is one of the files that are read, under whatever name: they are left as they are."""
    if not os.path.exists(arguments.out):
        return
    from fenlei.corpus import files_of

    for given in filter(None, (getattr(arguments, name, None) for name in INPUTS)):
        if any(path.exists() and path.samefile(arguments.out) for path in files_of(given, arguments.encoding)):
            raise argparse.ArgumentTypeError(
                f"--out {arguments.out} is a file that is read ({given}), which is left as it is: name another file"
            )


@contextlib.contextmanager
def output(name: str) -> Iterator[IO[str]]:
    """Standard output for ``-``; else a file that appears whole or not at all."""
    path = Path(os.path.realpath(name))
    if name == "-":
        yield sys.stdout
    elif path.exists() and not path.is_file():  # a pipe or a device: nothing to replace
        with path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
            yield stream
    else:
        with replacing(path) as stream:
            yield stream


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[str]]:
    """A file beside ``path`` that takes its place when all went well."""
    partial = path.with_name(f".{path.name[:40]}.{os.getpid()}.part")
    try:
        with partial.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
