"""Texts without labels: read from any layout, labels not looked at, and a bounded number of them drawn by lot."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fenlei.corpus.encoding import Missing, file_codecs, known, read_texts
from fenlei.corpus.folders import Folder, check_format
from fenlei.corpus.ledger import Ledger
from fenlei.corpus.reading import holds_labels
from fenlei.corpus.store import digests
from fenlei.corpus.tables import Table, is_binary
from fenlei.ngrams import mix

MOST = 50_000  # texts
MOST_CHARACTERS = 20_000_000  # of all of them together: their n-grams are in memory
BLOCK = 4096  # texts looked up together

Lots = npt.NDArray[np.uint64]


class Unlabelled(NamedTuple):
    """Distinct texts without labels, and what became of all that were read: a count a reason."""

    texts: list[str]
    counts: dict[str, int]

    @property
    def sentence(self) -> str:
        """What a person wants to know of it."""
        reasons = {
            "copies": "copies",
            "labelled": "labelled ones too",
            "held_out": "in dev or test too",
            "empty": "empty",
            "not_drawn": "not drawn",
        }
        rest = [f"{self.counts[name]:,} {reason}" for name, reason in reasons.items() if self.counts.get(name)]
        left = f"; left out: {', '.join(rest)}" if rest else ""
        return f"unlabelled: {self.counts['used']:,} of {self.counts['read']:,} texts are used{left}"


def read_unlabelled(paths: Sequence[str | Path], encoding: str | None, ledger: Ledger) -> Iterator[str]:
    """Every text of some files and folders, in constant memory, empty ones too.

    Taken is what ``corpus.read`` takes, labels not looked at, and files of plain text, a text a line. Encodings are
    found as there, by one vote for all. Raises FileNotFoundError for no such path, ValueError for what is no text.
    """
    encoding = known(encoding) if encoding else None
    lines: list[tuple[Path, str]] = []
    whole: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            _list_folder(path, encoding, ledger, lines, whole)
        elif path.is_file():
            check_format(path)
            lines.append((path, path.name))
        else:
            raise FileNotFoundError(f"no such file or folder: {path}")
    codecs = file_codecs([path for path, _ in lines if not is_binary(path)], encoding, ledger)
    for path, name in lines:
        yield from Table(path, name, codecs.get(path, ""), ledger).texts()
    for path, text in zip(whole, read_texts(whole, encoding, ledger), strict=True):
        if isinstance(text, Missing):
            ledger.add(text.kind, path.name, text.detail)
        else:
            yield text.replace("\0", "").rstrip("\r\n")


def _list_folder(
    root: Path, encoding: str | None, ledger: Ledger, lines: list[tuple[Path, str]], whole: list[Path]
) -> None:
    """Put the files of a folder to those with a text a line, or to those that are one text each."""
    for part in Folder(root, partial(holds_labels, encoding=encoding), ledger, labels=False).parts:
        if part.kind == "document":
            whole.append(part.path)
        else:
            lines.append((part.path, part.name))


def draw(
    texts: Iterable[str],
    labelled: Sequence[str] = (),
    held_out: Sequence[Sequence[str]] = (),
    *,
    most: int = MOST,
    most_characters: int = MOST_CHARACTERS,
    seed: int = 0,
) -> Unlabelled:
    """At most so many distinct texts, whoever reads them in whatever order: those whose lots are lowest.

    A text's lot is a hash of it and of the seed, so that copies draw the same one and each distinct text has the same
    chance (bottom-k sampling, Cohen and Kaplan 2007). Texts that are labelled or held out draw none: what judges must
    not be learned from. Past the limit a copy is known as one only while its text is among the kept.
    """
    apart = [np.sort(_numbers(labelled)), np.sort(np.concatenate([*map(_numbers, held_out), _numbers([])]))]
    counts: Counter[str] = Counter(read=0)
    lottery = Lottery(most, most_characters, counts)
    source = iter(texts)
    while block := list(islice(source, BLOCK)):
        counts["read"] += len(block)
        some = [text for text in block if text and not text.isspace()]
        counts["empty"] += len(block) - len(some)
        if not some:
            continue
        numbers = _numbers(some)
        known_, judged = (_among(numbers, side) for side in apart)
        counts["held_out"] += int(judged.sum())
        counts["labelled"] += int((known_ & ~judged).sum())
        lots = mix(numbers ^ mix(np.array([seed], np.uint64)))
        for place in np.flatnonzero(~(known_ | judged)).tolist():
            lottery.add(int(lots[place]), some[place])
    kept = lottery.texts()
    counts["used"] = len(kept)
    return Unlabelled(kept, dict(counts))


class Lottery:
    """Texts by lot, the lowest kept: at most ``most`` of at most ``most_characters`` together."""

    def __init__(self, most: int, most_characters: int, counts: Counter[str]) -> None:
        self.most, self.most_characters, self.counts = most, most_characters, counts
        self.kept: dict[int, str] = {}
        self.highest: list[int] = []  # a heap of the negative lots
        self.size, self.limit = 0, 1 << 64  # a lot has to be below the limit

    def add(self, lot: int, text: str) -> None:
        """Keep the text, if its lot is low enough, in the place of others, if need be."""
        if lot in self.kept:
            self.counts["copies"] += 1
            return
        if lot >= self.limit:
            self.counts["not_drawn"] += 1
            return
        self.kept[lot] = text
        self.size += len(text)
        heapq.heappush(self.highest, -lot)
        while len(self.kept) > self.most or self.size > self.most_characters:
            self.limit = -heapq.heappop(self.highest)
            self.size -= len(self.kept.pop(self.limit))
            self.counts["not_drawn"] += 1

    def texts(self) -> list[str]:
        """The kept ones, by their lots."""
        return [self.kept[lot] for lot in sorted(self.kept)]


def _numbers(texts: Sequence[str]) -> Lots:
    """A number of 64 bits for each text, ``(N,)``: two of 10**8 have the same with a chance of 1 to 4000."""
    found: Lots = digests(texts)[:, 0] if len(texts) else np.zeros(0, np.uint64)
    return found


def _among(numbers: Lots, sorted_: Lots) -> npt.NDArray[np.bool_]:
    """Which of ``numbers (N,)`` stand in ``sorted_ (M,)``."""
    place = np.searchsorted(sorted_, numbers)
    found = place < len(sorted_)
    found[found] = sorted_[place[found]] == numbers[found]
    return found
