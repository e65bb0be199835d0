"""The ledger: which inputs were skipped or repaired and why, and which decisions were taken on the way."""

from __future__ import annotations

import json
from collections import Counter
from typing import NamedTuple

# Skipped: the input gave no document.
EMPTY = "empty"
UNDECODABLE = "undecodable"
NO_LABEL = "no label"
SEVERAL_LABELS = "several labels"
UNPARSABLE = "unparsable"
MISSING_CELLS = "missing cells"
TOO_LARGE = "too large"
NOT_TEXT = "not text"
SKIPPED = frozenset((EMPTY, UNDECODABLE, NO_LABEL, SEVERAL_LABELS, UNPARSABLE, MISSING_CELLS, TOO_LARGE, NOT_TEXT))
# Kept, but worth knowing.
RAGGED = "ragged"
REPAIRED = "repaired"
DUPLICATE = "duplicate"
CONFLICT = "conflict"
LEAK = "leak"
# Taken out by `deduplicate`.
DROPPED = "dropped"
# What `correct` did.
CORRECTED = "corrected"
LEFT_OUT = "left out"
UNMATCHED = "unmatched"

MEANING = {
    EMPTY: "without text, skipped",
    UNDECODABLE: "not in that encoding, skipped",
    NO_LABEL: "without a label, skipped",
    SEVERAL_LABELS: "with several labels, skipped",
    UNPARSABLE: "broken, skipped",
    MISSING_CELLS: "with too few cells, skipped",
    TOO_LARGE: "too large, skipped",
    NOT_TEXT: "no text, skipped",
    RAGGED: "with too many cells, joined",
    REPAIRED: "repaired",
    DUPLICATE: "copies of an earlier text",
    CONFLICT: "copies of an earlier text under another label",
    LEAK: "texts of dev or test that stand in train",
    DROPPED: "dropped as copies",
    CORRECTED: "given another label by a correction",
    LEFT_OUT: "left out by a correction",
    UNMATCHED: "corrections that fit no document",
}


NAMED = 1000  # inputs of a kind that are named; all are counted


class Entry(NamedTuple):
    """One input and what happened to it; `kind` is one of the constants above."""

    kind: str
    source: str
    detail: str


class Ledger:
    """Counts what was skipped, repaired or found doubtful, and names the first of each kind; `notes` are sentences
    about decisions, `warnings` those of them that may be wrong, with what to do then.
    A corpus of nothing but copies makes it no larger than a thousand entries a kind.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.notes: list[str] = []
        self.warnings: dict[str, str] = {}
        self._counts: Counter[str] = Counter()

    def add(self, kind: str, source: str, detail: str = "") -> None:
        """Enter one input under `kind`; `source` says where it stands, such as `train.tsv:17`."""
        self._counts[kind] += 1
        if self._counts[kind] <= NAMED:
            self.entries.append(Entry(kind, source, detail))

    def count(self, kind: str, inputs: int) -> None:
        """Enter so many inputs under `kind` that are not named."""
        if inputs:
            self._counts[kind] += inputs

    def merge(self, other: Ledger) -> None:
        """Enter all that another ledger holds; its notes too."""
        more = other.more
        for entry in other.entries:
            self.add(*entry)
        for kind, inputs in more.items():
            self.count(kind, inputs)
        self.notes += other.notes
        self.warnings |= other.warnings

    def note(self, sentence: str) -> None:
        """Keep a decision, once however often it is taken."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def warn(self, sentence: str, advice: str) -> None:
        """Keep a decision that may be wrong, once, and what to do then; neither ends with a full stop."""
        whole = f"{sentence}; {advice}."
        self.note(whole)
        self.warnings[whole] = advice

    @property
    def counts(self) -> dict[str, int]:
        """Kind -> number of inputs, the most frequent first."""
        return dict(self._counts.most_common())

    @property
    def more(self) -> dict[str, int]:
        """Kind -> number of inputs that `entries` do not name, for the kinds that have such."""
        left = self._counts - Counter(entry.kind for entry in self.entries)
        return dict(left.most_common())

    @property
    def skipped(self) -> int:
        """Number of inputs that gave no document."""
        return sum(self._counts[kind] for kind in SKIPPED)

    def summary(self, examples: int = 3) -> list[str]:
        """Short lines for a terminal: the notes, then one line a kind with the first few sources."""
        lines = [f"warning: {note}" if note in self.warnings else note for note in self.notes]
        for kind, count in self.counts.items():
            sources = [entry.source for entry in self.entries if entry.kind == kind][:examples]
            more = ", ..." if count > len(sources) else ""
            lines.append(f"{count:,} {MEANING.get(kind, kind)}: {', '.join(sources)}{more}")
        return [printable(line) for line in lines]

    def to_json(self) -> str:
        """The whole ledger as one JSON object: `counts`, `notes`, `warnings`, `entries` and `more`."""
        told = {"counts": self.counts, "notes": self.notes, "warnings": self.warnings}
        return json.dumps(told | {"entries": self.entries, "more": self.more})

    @classmethod
    def from_json(cls, text: str) -> Ledger:
        """Read back what `to_json` wrote; raises ValueError for anything else."""
        ledger = cls()
        try:
            content = json.loads(text)
            ledger.notes = [str(sentence) for sentence in content["notes"]]
            ledger.warnings = {str(note): str(advice) for note, advice in content.get("warnings", {}).items()}
            for kind, source, detail in content["entries"]:
                ledger.add(str(kind), str(source), str(detail))
            for kind, inputs in content["more"].items():
                ledger.count(str(kind), int(inputs))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"no ledger: expected the JSON that Ledger.to_json writes, got {text[:40]!r}") from error
        return ledger


class Strict(Ledger):
    """A ledger that allows nothing to be skipped, for what is to be answered row by row: that is a ValueError.

    What has no text at all, as an empty line between JSON lines, is no row.
    """

    def add(self, kind: str, source: str, detail: str = "") -> None:
        """As in any ledger, unless it says that something is lost."""
        if kind in SKIPPED and kind != EMPTY:
            raise ValueError(f"{source} cannot be read: {detail}; repair it or take it out, each row is to be answered")
        super().add(kind, source, detail)


def printable(line: str) -> str:
    """`line` with control characters shown as escapes: a file name must not steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
