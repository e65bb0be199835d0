"""A word weighs what its absence changes: the answer for the text without it, held against that for the whole text."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fenlei.explain.inside import Glance, look
from fenlei.runtime import Predictor
from fenlei.text import HAN_KANA, jieba, words

MOST_PIECES = 200  # asked about one by one; of a longer text, so many runs of neighbours
MOST_READ, FEWEST_PIECES = 400_000, 20  # characters that all questions have, about; where that is exceeded, so few runs
LONGEST_WORD = 24  # a longer run of letters is a script without spaces, or no word: it is cut
CUT = 8
LEAST = 1e-7  # a probability under this is as good as none


class Piece(NamedTuple):
    """A part of the text as it was written, and how much of the log odds of the label goes with it."""

    text: str
    weight: float


@dataclass(frozen=True)
class Explanation:
    """The ``pieces``, joined, are the text. Positive weights speak for the label, negative ones against it.

    ``inside`` is where the network looked, if it has attention or takes largest values; it speaks for no label.
    """

    label: str
    probability: float
    pieces: tuple[Piece, ...]
    inside: tuple[Glance, ...] = ()

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(piece.text for piece in self.pieces)

    def strongest(self, count: int) -> list[Piece]:
        """The pieces that weigh most, either way, the heaviest first; none without a weight."""
        found = [piece for piece in self.pieces if piece.weight]
        return sorted(found, key=lambda piece: -abs(piece.weight))[:count]

    def to_json(self) -> dict[str, Any]:
        """What JSON can hold; weights to six decimals."""
        pieces = [[piece.text, round(piece.weight, 6)] for piece in self.pieces]
        glances = [glance.to_json() for glance in self.inside]
        return {"label": self.label, "probability": round(self.probability, 6), "pieces": pieces, "inside": glances}


def explain(predictor: Predictor, text: str, label: str | None = None) -> Explanation:
    """How much each word of ``text`` speaks for ``label``, by default the likeliest one.

    ``weight = log odds(p) - log odds(p without the word)``, in natural logarithms: representation erasure (Li, Monroe
    and Jurafsky 2016) on the text itself, so that it holds for any model behind the predictor. A text of more than 200
    words is asked about in 200 runs of neighbours, one of more than 2,000 characters in fewer, at least 20. An unknown
    label is a ``ValueError``.
    """
    if label is not None and label not in predictor.labels:
        raise ValueError(f"there is no label {label!r}; the labels are {', '.join(predictor.labels[:20])}")
    most = min(MOST_PIECES, max(FEWEST_PIECES, MOST_READ // max(1, len(text))))
    parts = list(runs(list(cut(text)), most))
    asked = [place for place, part in enumerate(parts) if part.strip()]
    without = ["".join([*parts[:place], " ", *parts[place + 1 :]]) for place in asked]
    probabilities = predictor.predict_proba([text, *without])
    chosen = int(probabilities[0].argmax()) if label is None else predictor.labels.index(label)
    odds = log_odds(probabilities[:, chosen])
    weights = dict(zip(asked, (odds[0] - odds[1:]).tolist(), strict=True))
    pieces = tuple(Piece(part, weights.get(place, 0.0)) for place, part in enumerate(parts))
    return Explanation(predictor.labels[chosen], float(probabilities[0, chosen]), pieces, tuple(look(predictor, text)))


def log_odds(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """``log(p / (1 - p))``, finite for 0 and 1 too."""
    p = np.clip(probabilities.astype(np.float64), LEAST, 1 - LEAST)
    return np.log(p) - np.log1p(-p)


def cut(text: str) -> Iterator[str]:
    """Words as a reader sees them, and what lies between: joined they are the text, to the last character."""
    at = 0
    for found in _run_of_han().finditer(text):
        yield from _between(text[at : found.start()], words)
        yield from _between(found[0], jieba)
        at = found.end()
    yield from _between(text[at:], words)


@functools.cache
def _run_of_han() -> re.Pattern[str]:
    return re.compile(f"[{HAN_KANA}]+")


def _between(text: str, tokenizer: Any) -> Iterator[str]:
    """The tokens at their places, long ones cut, with the spaces between them."""
    at = 0
    for token in tokenizer(text):
        start = text.index(token, at)
        if start > at:
            yield text[at:start]
        yield from _short(token)
        at = start + len(token)
    if at < len(text):
        yield text[at:]


def _short(word: str) -> Iterator[str]:
    """A word, or runs of about eight characters of what is too long for one; a combining mark stays with its letter."""
    while len(word) > LONGEST_WORD:
        end = CUT
        while end < len(word) and unicodedata.category(word[end])[0] == "M":
            end += 1
        yield word[:end]
        word = word[end:]
    if word:
        yield word


def runs(parts: list[str], most: int) -> Iterator[str]:
    """At most so many parts that hold more than spaces: neighbours are joined where there are more."""
    visible = sum(bool(part.strip()) for part in parts)
    if visible <= most:
        yield from parts
        return
    ends = np.cumsum([bool(part.strip()) for part in parts])
    groups = np.maximum(ends - 1, 0) * most // visible
    for _, group in itertools.groupby(zip(groups.tolist(), parts, strict=True), key=lambda pair: pair[0]):
        yield "".join(part for _, part in group)
