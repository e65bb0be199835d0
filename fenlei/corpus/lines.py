"""Lines of a file or stream in constant memory, in any encoding; a line that cannot be had is named, not guessed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import BinaryIO

from fenlei.corpus.ledger import TOO_LARGE, UNDECODABLE

SIZE_LIMIT = 16 * 2**20  # bytes in a line or in a document's file; characters in a csv field

Fault = Callable[[str, int, str], None]  # a ledger kind, the line's number, what is wrong


def ignore(kind: str, number: int, detail: str) -> None:
    """The fault handler of a first look, which leaves the naming to the reading proper."""


def byte_lines(stream: BinaryIO, fault: Fault) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, bytes with the line end); a line beyond SIZE_LIMIT goes to `fault`, never into memory."""
    number = 0
    while line := stream.readline(SIZE_LIMIT + 1):
        number += 1
        if len(line) <= SIZE_LIMIT:
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(SIZE_LIMIT)
        fault(TOO_LARGE, number, f"line longer than {SIZE_LIMIT:,} bytes")


def text_lines(stream: BinaryIO, codec: str, fault: Fault) -> Iterator[tuple[int, str]]:
    """(line number from 1, text with the line end), strictly decoded; a line that fails goes to `fault`."""
    if codec.replace("_", "-").startswith(("utf-16", "utf-32")):
        yield from _wide_lines(stream, codec, fault)
        return
    for number, line in byte_lines(stream, fault):
        try:
            text = line.decode(codec)
        except UnicodeDecodeError as error:
            fault(UNDECODABLE, number, f"not {codec} at byte {error.start + 1} of the line")
            continue
        yield number, text.removeprefix("\ufeff") if number == 1 else text


def _wide_lines(stream: BinaryIO, codec: str, fault: Fault) -> Iterator[tuple[int, str]]:
    """Lines of UTF-16 and UTF-32, where a line end is several bytes.

    Halves of surrogate pairs pass the decoder, which would otherwise refuse the sound lines around them as well.
    """
    wrapper = io.TextIOWrapper(stream, codec, errors="surrogatepass", newline="\n")
    number = 0
    try:
        while line := wrapper.readline(SIZE_LIMIT):
            number += 1
            if len(line) == SIZE_LIMIT and not line.endswith("\n"):
                while line and not line.endswith("\n"):
                    line = wrapper.readline(SIZE_LIMIT)
                fault(TOO_LARGE, number, f"line longer than {SIZE_LIMIT:,} characters")
            elif any("\ud800" <= c <= "\udfff" for c in set(line)):
                fault(UNDECODABLE, number, f"not {codec}: half a surrogate pair")
            else:
                yield number, line.removeprefix("\ufeff") if number == 1 else line
    except UnicodeDecodeError:
        fault(UNDECODABLE, number + 1, f"not {codec} from here on")
    finally:
        wrapper.detach()


def strip_line_end(line: str) -> str:
    """`line` without its line end, and with everything else."""
    return line[:-2] if line.endswith("\r\n") else line.removesuffix("\n")
