"""Which documents each network learns from, and which judge it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fenlei.pipeline import Encoded
from fenlei.training import Examples

Ints = npt.NDArray[np.int64]


class Part(NamedTuple):
    """What one network learns from, what judges it, and where that stands among all held-out documents, ``(B,)``."""

    train: Examples
    dev: Examples
    rows: Ints


@dataclass(frozen=True)
class Data:
    """Labelled documents as numbers: a part a network, all that may be learned from, all that is held out.

    ``numbers (B,)``: the part that each document of ``train`` belongs to, where they are crossed: then those are the
    held-out documents too, each judged by what did not learn from it.
    """

    labels: list[str]
    train: Examples
    dev: Examples
    parts: Sequence[Part]
    tokens: int
    numbers: Ints | None = None
    fitted: Examples | None = None  # what the linear model is fitted on, where that is not all of ``train``
    unlabelled: Encoded | None = None

    @property
    def crossed(self) -> bool:
        """Whether the documents that judge are those that are learned from."""
        return self.numbers is not None

    @property
    def several(self) -> bool:
        """Whether a text can have several labels."""
        return self.train.targets.ndim == 2


def held_out(train: Examples, dev: Examples, networks: int) -> list[Part]:
    """Every network learns from all of ``train`` and is judged by all of ``dev``."""
    return [Part(train, dev, np.arange(len(dev.targets)))] * networks


def crossed(train: Examples, dev: Examples, numbers: Ints) -> list[Part]:
    """A part for each distinct number: its own documents judge it, it learns from the others (Stone 1974).

    ``train`` and ``dev`` are the same documents, though they may count differently; ``numbers (B,)``.
    """
    return [cross(train, dev, numbers, number) for number in np.unique(numbers)]


def cross(train: Examples, dev: Examples, numbers: Ints, number: int) -> Part:
    """One of them."""
    own, others = np.flatnonzero(numbers == number), np.flatnonzero(numbers != number)
    return Part(train.take(others), dev.take(own), own)


def fold_numbers(texts: Sequence[str], labels: Sequence[tuple[str, ...]], parts: int, seed: int) -> Ints:
    """The number of each document's part, ``(B,)``, 0 to ``parts - 1``: equally many of every class in each.

    Copies of a text are in one part. A text of several labels counts for the first of them.
    """
    classes: dict[str, dict[str, None]] = defaultdict(dict)
    for text, found in zip(texts, labels, strict=True):
        classes[found[0] if found else ""][text] = None
    rng = np.random.default_rng(seed)
    number: dict[str, int] = {}
    for own in map(list, classes.values()):
        for place in rng.permutation(len(own)):
            number.setdefault(own[place], len(number) % parts)
    return np.array([number[text] for text in texts], np.int64)
