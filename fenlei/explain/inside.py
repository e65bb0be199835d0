"""Where the network looked: the weights of its attention, and the steps at which its largest values were found."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fenlei.runtime import Predictor

# What the graph calls it -> what people do, and over what it goes.
KINDS = {
    "attention": ("attention", "tokens"),
    "sentence_attention": ("attention", "sentences"),
    "largest": ("largest values", "tokens"),
}


class Glance(NamedTuple):
    """What one part of a network saw in a text: its ``steps`` in order, tokens or sentences, each with its share.

    ``kind`` is "attention" (weights of Yang et al. 2016) or "largest values": the share of the dimensions, of a
    convolution's filters for instance, whose largest value over the text was found at that step. ``network`` says which
    of the bundle's, counted from 1.
    """

    kind: str
    over: str
    steps: tuple[tuple[str, float], ...]
    network: int = 1

    def strongest(self, count: int) -> list[tuple[str, float]]:
        """The steps with the largest shares, the largest first."""
        return sorted((step for step in self.steps if step[1]), key=lambda step: -step[1])[:count]

    def to_json(self) -> dict[str, Any]:
        """What JSON can hold; shares to six decimals."""
        steps = [[step, round(share, 6)] for step, share in self.steps]
        return {"network": self.network, "kind": self.kind, "over": self.over, "steps": steps}


def look(predictor: Predictor, text: str) -> Iterator[Glance]:
    """The glances of every network behind ``predictor``, in the order of the graph; none from a linear model."""
    shown = predictor.look(text)
    if not shown:
        return
    tokens = predictor.pipeline.tokens(text)
    if not any(tokens):  # the network reads one unknown token then
        return
    lengths = predictor.pipeline([text])["lengths"].reshape(-1).tolist()
    parts = [tokens[start:end] for start, end in pairwise(np.cumsum([0, *lengths]).tolist())]
    space = " " if any(len(token) > 1 for token in tokens) else ""
    steps = {"tokens": tokens, "sentences": [space.join(part) for part in parts]}
    for name, found in shown.items():
        part, *numbers = name.split(".")
        kind, over = KINDS[part]
        shares = found if kind == "attention" else _shares(found, len(tokens))
        rows = zip(shares, parts, strict=True)
        weights = shares[0] if over == "sentences" else np.concatenate([row[: len(part)] for row, part in rows])
        network = int(numbers[1]) if len(numbers) > 1 else 1
        yield Glance(kind, over, tuple(zip(steps[over], weights.tolist(), strict=False)), network)


def _shares(places: npt.NDArray[np.int64], steps: int) -> npt.NDArray[np.float64]:
    """How often each step stands in a row of places, ``(rows, steps)``, as a share of the row."""
    return np.stack([np.bincount(row[row >= 0], minlength=steps) / len(row) for row in places])
