"""What the sections draw on: a bundle's parts, each empty where the bundle has none."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fenlei.bundle import Bundle
from fenlei.runtime import Predictor

Clock = Callable[[], float]


@dataclass(frozen=True)
class Material:
    """A bundle, its name, and a clock in seconds to measure its speed by."""

    bundle: Bundle
    name: str
    clock: Clock

    @functools.cached_property
    def predictor(self) -> Predictor:
        """What answers."""
        return Predictor(self.bundle)

    @functools.cached_property
    def files(self) -> dict[str, bytes]:
        """The bundle as it is saved."""
        return self.bundle.files()

    @property
    def scores(self) -> dict[str, Any]:
        """The whole of scores.json."""
        return self.bundle.scores

    @property
    def dev(self) -> dict[str, Any]:
        """Scores on the held-out documents."""
        return part(self.bundle.scores, "dev")

    @property
    def linear(self) -> dict[str, Any]:
        """Scores of the linear model alone; empty where none was fitted or where it is the whole bundle."""
        return part(self.bundle.scores, "linear")

    @property
    def alone(self) -> bool:
        """Whether no network answers: then the linear model is no baseline, but the bundle itself."""
        return self.bundle.network is None

    @property
    def decisions(self) -> dict[str, Any]:
        """Thresholds and what they lead to."""
        return part(vars(self.bundle), "decisions")

    @property
    def evidence(self) -> dict[str, Any]:
        """Texts and counts kept from training."""
        return part(vars(self.bundle), "evidence")

    @property
    def several(self) -> bool:
        """Whether a text may have several labels."""
        return self.decisions.get("kind") == "several"

    @property
    def score(self) -> str:
        """The name of the score that leads: micro-F1 where a text has several labels."""
        return "micro_f1" if self.several else "accuracy"

    @property
    def epochs(self) -> list[list[dict[str, Any]]]:
        """The epochs of each network that was trained."""
        return [history for history in self.bundle.scores.get("epochs") or [] if history]

    def items(self, kind: str) -> list[dict[str, Any]]:
        """Texts of the evidence: ``mistakes``, ``examples`` or ``suspects``."""
        return list(self.evidence.get(kind) or [])

    def count(self, side: str) -> int | None:
        """How many documents are on a side, ``train`` or ``dev``; None where that was not recorded."""
        counted = sum(part(self.evidence, "lengths").get(side) or [])
        if not counted and not self.several:
            counted = sum(part(part(self.evidence, "classes"), side).values())
        return counted or (self.dev.get("n") if side == "dev" else None)

    def texts(self, most: int) -> Sequence[str]:
        """Different texts that the bundle carries, in a fixed order."""
        carried = [text for text, _ in self.bundle.golden]
        carried += [item["text"] for kind in ("mistakes", "examples", "suspects") for item in self.items(kind)]
        return list(dict.fromkeys(carried))[:most]


def part(values: dict[str, Any], name: str) -> dict[str, Any]:
    """A part of a JSON object, empty where it is missing or null."""
    found = values.get(name)
    return found if isinstance(found, dict) else {}
