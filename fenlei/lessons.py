"""What a process needs to train the networks of a classifier, as the arrays of one message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fenlei.branch import Plan
from fenlei.folds import Data, Part, cross
from fenlei.numbering import as_arrays, from_arrays
from fenlei.pipeline import Encoded
from fenlei.recipe import Recipe
from fenlei.training import Examples
from fenlei.workers import Arrays, pack_json, unpack_json

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Lessons:
    """All documents once, and how each network's part is made of them; networks are numbered from 1."""

    plan: Plan
    train: Examples
    dev: Examples
    numbers: npt.NDArray[np.int64] | None  # where the parts are crossed

    @classmethod
    def of(cls, plan: Plan, data: Data) -> Lessons:
        """Those of a classifier, without the columns that no network reads."""
        train = data.train._replace(encoded=data.train.encoded.only(plan.stream_sizes))
        same = data.dev.encoded is data.train.encoded
        dev = data.dev._replace(encoded=train.encoded if same else data.dev.encoded.only(plan.stream_sizes))
        return cls(plan, train, dev, data.numbers)

    def part(self, number: int) -> Part:
        """The one of a network, equal to that of ``Data``."""
        if self.numbers is None:
            return Part(self.train, self.dev, np.arange(len(self.dev.targets)))
        return cross(self.train, self.dev, self.numbers, np.unique(self.numbers)[number - 1])

    def pack(self) -> dict[str, Array]:
        """As arrays: no copies, and documents that judge and are learned from stand there once."""
        plan = self.plan._asdict() | {"recipe": self.plan.recipe.to_json()}
        arrays = {"plan": pack_json(plan)} | _side("train", self.train, alone=True)
        arrays |= _side("dev", self.dev, alone=self.dev.encoded is not self.train.encoded)
        return arrays if self.numbers is None else arrays | {"numbers": self.numbers}

    @classmethod
    def unpack(cls, arrays: Arrays) -> Lessons:
        """What ``pack`` was called on."""
        found = unpack_json(arrays["plan"])
        recipe = Recipe(**found.pop("recipe"))
        train = _examples("train", arrays, None)
        dev = _examples("dev", arrays, train.encoded)
        return cls(Plan(recipe, **found), train, dev, arrays.get("numbers"))


def _side(side: str, examples: Examples, alone: bool) -> dict[str, Array]:
    found = as_arrays(examples.encoded) if alone else {}
    named = {f"{side}.encoded.{name}": array for name, array in found.items()} | {f"{side}.targets": examples.targets}
    return named if examples.weights is None else named | {f"{side}.weights": examples.weights}


def _examples(side: str, arrays: Arrays, others: Encoded | None) -> Examples:
    start = f"{side}.encoded."
    found = {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
    encoded = from_arrays(found) if found else others
    assert encoded is not None
    return Examples(encoded, arrays[f"{side}.targets"], arrays.get(f"{side}.weights"))
