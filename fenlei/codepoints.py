"""Many texts as one array of code points: normalized together, joined and cut without a string a character."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fenlei import compiled
from fenlei.text import normalize

Points = npt.NDArray[np.uint32]
Ints = npt.NDArray[np.int64]

SPACE = 0x20
LINE_END = 0x0A  # never part of a normalized text, and no tokenizer cuts across it
HAN = range(0x4E00, 0xA000)  # the characters of this block
_UNSEEN = 0  # no character is spelled as NUL: `normalize` makes it a space
_HARD = 0xFFFFFFFF
# By (nfkc, lower): how each character is spelled. Four megabytes each, of which the system gives what is touched.
_TABLES = {options: np.zeros(0x110000, np.uint32) for options in product((True, False), repeat=2)}
for _table in _TABLES.values():  # the commonest of the characters that no normalization changes
    _table[HAN.start : HAN.stop] = HAN
_JAMO = (range(0x1100, 0x1200), range(0xA960, 0xA980), range(0xD7B0, 0xD800))


class Lines(NamedTuple):
    """Texts as code points: text ``b`` is ``points[offsets[b]:offsets[b + 1]]``."""

    points: Points
    offsets: Ints

    @classmethod
    def of(cls, texts: Sequence[str]) -> Lines:
        """The texts as they are."""
        return cls(code_points("".join(texts)), ends(np.fromiter(map(len, texts), np.int64, len(texts))))

    @property
    def lengths(self) -> Ints:
        """Characters of each text, ``(B,)``."""
        return self.offsets[1:] - self.offsets[:-1]

    def keep(self, kept: npt.NDArray[np.bool_]) -> Lines:
        """Only some of the characters."""
        return Lines(self.points[kept], ends(kept)[self.offsets])

    def surround(self, sign: int, before: int, after: int) -> Lines:
        """Each text with so many of the same character before and after it."""
        count, more = len(self.offsets) - 1, before + after
        if compiled.LOADED:
            points = np.empty(len(self.points) + count * more, np.uint32)
            compiled.LOOPS.surround(self.points, self.offsets, count, sign, before, after, points)
            return Lines(points, self.offsets + more * np.arange(count + 1))
        wider = self.lengths + more
        points = np.full(len(self.points) + count * more, sign, np.uint32)
        shift = np.arange(count) * more + before
        points[np.arange(len(self.points)) + np.repeat(shift, self.lengths)] = self.points
        return Lines(points, ends(wider))

    def whole(self) -> str:
        """All texts in one string, each ended by a line end."""
        return string(self.surround(LINE_END, 0, 1).points)

    def strings(self) -> list[str]:
        """The texts one by one."""
        whole = string(self.points)
        return [whole[start:end] for start, end in pairwise(self.offsets.tolist())]

    def without_spaces(self) -> Lines:
        """The characters that tokens are made of."""
        inside = self.points != SPACE
        return self if inside.all() else self.keep(inside)


def code_points(text: str) -> Points:
    """Every character of a text as a number, ``(M,)``."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint32, copy=False)


def string(points: Points) -> str:
    """The text that ``code_points`` came from."""
    return points.astype("<u4", copy=False).tobytes().decode("utf-32-le", "surrogatepass")


def ends(lengths: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Ints:
    """Where each of several runs begins in the flat array, and where the last one ends: ``(N,) -> (N + 1,)``."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def normalized(texts: Sequence[str], *, nfkc: bool = True, lower: bool = True) -> Lines:
    """``text.normalize`` of every text.

    Nearly every character is spelled the same whatever stands beside it: those are looked up in a table. A text with
    any other, such as a combining mark, is normalized by itself.
    """
    lines = Lines.of(texts)
    if compiled.LOADED and (found := _spelled_at_once(lines, _TABLES[nfkc, lower])) is not None:
        return found
    spelled = _spell(lines.points, nfkc, lower)
    hard = np.flatnonzero(spelled == _HARD)
    if len(hard):
        texts = list(texts)
        numbers = np.unique(np.searchsorted(lines.offsets, hard, side="right") - 1)
        for number in numbers.tolist():
            texts[number] = normalize(texts[number], nfkc=nfkc, lower=lower)
        lines = Lines.of(texts)
        done = np.zeros(len(texts), np.bool_)
        done[numbers] = True
        spelled = np.where(np.repeat(done, lines.lengths), lines.points, _spell(lines.points, nfkc, lower))
    return _squeeze(Lines(spelled, lines.offsets))


def _spelled_at_once(lines: Lines, table: Points) -> Lines | None:
    """The compiled loop: None where a character has no entry in the table, or depends on its neighbours."""
    points, offsets = np.empty_like(lines.points), np.empty_like(lines.offsets)
    if compiled.LOOPS.spell(lines.points, lines.offsets, len(offsets) - 1, table, points, offsets):
        return None
    return Lines(points[: offsets[-1]], offsets)


def _spell(points: Points, nfkc: bool, lower: bool) -> Points:
    """Each character as the table spells it, ``(M,)``; what the table has not met yet is added to it."""
    table = _TABLES[nfkc, lower]
    spelled = table[points]
    if not spelled.all():
        for point in set(points[spelled == _UNSEEN].tolist()):  # np.unique imports numpy.ma on its first call
            table[point] = _spelling(chr(point), nfkc, lower)
        spelled = table[points]
    return spelled


def _spelling(char: str, nfkc: bool, lower: bool) -> int:
    """The one character that ``char`` becomes in every text; hard where that depends on its neighbours.

    NFKC composes a character with an earlier one only if it is a mark or a Hangul jamo, and only a sigma's lower case
    depends on where it stands. What becomes several characters is left to ``normalize`` as well.
    """
    if "\ud800" <= char <= "\udfff":
        return _HARD
    if "Σ" in unicodedata.normalize("NFKC", char):
        return _HARD
    found = normalize(char, nfkc=nfkc, lower=lower) or " "
    if len(found) > 1 or any(unicodedata.category(each)[0] == "M" for each in (char, found)):
        return _HARD
    if any(ord(each) in jamo for each in (char, found) for jamo in _JAMO):
        return _HARD
    return ord(found)


def _squeeze(lines: Lines) -> Lines:
    """Each run of spaces as one, none at either end."""
    blank = lines.points == SPACE
    if not blank.any():
        return lines
    begins = np.ones(len(blank) + 1, np.bool_)  # a space here follows a space or nothing
    begins[1:] = blank
    begins[lines.offsets] = True
    lines = lines.keep(~(blank & begins[:-1]))
    last = lines.offsets[1:][lines.lengths > 0] - 1
    trailing = last[lines.points[last] == SPACE]
    if not len(trailing):
        return lines
    kept = np.ones(len(lines.points), np.bool_)
    kept[trailing] = False
    return lines.keep(kept)
