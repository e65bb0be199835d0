"""Lines of a file or stream in constant memory, in any encoding; a line that cannot be had is named, not guessed."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from fenlei.corpus.ledger import TOO_LARGE, UNDECODABLE

LOOK = 2**20  # bytes in which a file shows how its lines end
SIZE_LIMIT = 16 * 2**20  # bytes in a line or in a document's file; characters in a csv field

Fault = Callable[[str, int, str], None]  # a ledger kind, the line's number, what is wrong


def ignore(kind: str, number: int, detail: str) -> None:
    """The fault handler of a first look, which leaves the naming to the reading proper."""


class _OldMac(io.RawIOBase):
    """A stream with LF in the place of every CR; what it is made of stays open."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.stream.read(len(buffer)).replace(b"\r", b"\n")
        buffer[: len(data)] = data
        return len(data)


def line_end(file: BinaryIO, codec: str) -> str:
    """What ends the lines of a file at its beginning: CR where there is no LF, as on old Macs, else LF.

    ``latin-1`` does for any encoding in which both are the bytes that they are in ASCII.
    """
    head = file.read(LOOK).decode(codec, "ignore")
    file.seek(0)
    return "\r" if "\r" in head and "\n" not in head else "\n"


def byte_lines(stream: BinaryIO, fault: Fault, end: str = "\n") -> Iterator[tuple[int, bytes]]:
    """(line number from 1, bytes with the line end); a line beyond SIZE_LIMIT goes to `fault`, never into memory.

    Lines that `end` with CR are given with LF.
    """
    if end == "\r":
        stream = io.BufferedReader(_OldMac(stream))
    number = 0
    while line := stream.readline(SIZE_LIMIT + 1):
        number += 1
        if len(line) <= SIZE_LIMIT:
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = stream.readline(SIZE_LIMIT)
        fault(TOO_LARGE, number, f"line longer than {SIZE_LIMIT:,} bytes")


def text_lines(stream: BinaryIO, codec: str, fault: Fault, end: str = "\n") -> Iterator[tuple[int, str]]:
    """(line number from 1, text with the line end), strictly decoded; a line that fails goes to `fault`."""
    if codec.replace("_", "-").startswith(("utf-16", "utf-32")):
        yield from _wide_lines(stream, codec, fault, end)
        return
    for number, line in byte_lines(stream, fault, end):
        try:
            text = line.decode(codec)
        except UnicodeDecodeError as error:
            fault(UNDECODABLE, number, f"not {codec} at byte {error.start + 1} of the line")
            continue
        yield number, text.removeprefix("\ufeff") if number == 1 else text


def _wide_lines(stream: BinaryIO, codec: str, fault: Fault, end: str) -> Iterator[tuple[int, str]]:
    """Lines of UTF-16 and UTF-32, where a line end is several bytes.

    Halves of surrogate pairs pass the decoder, which would otherwise refuse the sound lines around them as well.
    """
    wrapper = io.TextIOWrapper(stream, codec, errors="surrogatepass", newline=end)
    number = 0
    try:
        while line := wrapper.readline(SIZE_LIMIT):
            number += 1
            if len(line) == SIZE_LIMIT and not line.endswith(end):
                while line and not line.endswith(end):
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
