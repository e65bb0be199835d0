"""A finding: one sentence with counts, how much it matters, where to look, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, NamedTuple

from fenlei.screen import legible, shortened

FAULT, LOOK, FINE = "fault", "look at", "fine"
SEVERITIES = (FAULT, LOOK, FINE)  # the worst first
MANY = 0.01  # from this share of the documents on, what is wrong with them is a fault
LISTED = 1000  # places that a finding names at most; its count is of all
QUOTED = 200  # characters of a document in JSON at most
NAMED = 3  # labels in a sentence
ROOM = 30  # columns for a label in a sentence


class Place(NamedTuple):
    """The source of a document, that of the one it is held against, or nothing, its text; labels where they matter."""

    source: str
    other: str = ""
    text: str = ""
    label: str = ""
    other_label: str = ""


@dataclass(frozen=True)
class Finding:
    """``sentence`` holds no character that could steer a terminal; ``places`` are the first ones, as they are."""

    topic: str
    severity: str
    sentence: str
    advice: str = ""
    count: int = 0
    places: tuple[Place, ...] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """What JSON can hold; of each text the first 200 characters."""
        places = [place._replace(text=place.text[:QUOTED])._asdict() for place in self.places]
        return vars(self) | {"places": places, "numbers": dict(self.numbers)}


@dataclass(frozen=True)
class Report:
    """All findings about a data set, the worst first; ``splits`` are documents a split, ``classes`` those a label."""

    documents: int
    splits: Mapping[str, int]
    classes: Mapping[str, int]
    findings: tuple[Finding, ...]

    @property
    def faults(self) -> list[Finding]:
        """What should be mended before training."""
        return [finding for finding in self.findings if finding.severity == FAULT]

    def joined(self, finding: Finding) -> Report:
        """With one finding more, before those of its severity."""
        return replace(self, findings=ranked((finding, *self.findings)))

    def to_json(self) -> dict[str, Any]:
        """One object with everything."""
        counts = {"documents": self.documents, "splits": dict(self.splits), "classes": dict(self.classes)}
        return counts | {"faults": len(self.faults), "findings": [finding.to_json() for finding in self.findings]}


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The worst first, otherwise in their order."""
    return tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))


def listed(places: Iterable[Place]) -> tuple[Place, ...]:
    """As many as a finding names."""
    return tuple(islice(places, LISTED))


def graded(count: int, of: int) -> str:
    """``fault`` from one in a hundred on, ``look at`` from one on, else ``fine``."""
    return FAULT if count and count >= MANY * of else LOOK if count else FINE


def share(count: int, of: int) -> str:
    """A share with its percentage, such as ``336 of 1,200 (28.0%)``; ``of`` is at least 1."""
    percent = f"{count / of:.1%}" if not 0 < count / of < 0.0005 else "under 0.1%"
    return f"{count:,} of {of:,} ({percent})"


def quoted(label: str) -> str:
    """A label within a sentence."""
    return f"'{shortened(legible(label[:QUOTED]), ROOM)}'"


def enumerated(labels: Sequence[str], most: int = NAMED) -> str:
    """A few labels within a sentence."""
    more = f" and {len(labels) - most:,} more" if len(labels) > most else ""
    return ", ".join(quoted(label) for label in labels[:most]) + more
