"""The documents under examination as columns: the one place of this package that knows how a document is built."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fenlei.check.findings import Place
from fenlei.corpus import Document

TRAIN = "train"
HELD_OUT = ("dev", "test")


@dataclass(frozen=True)
class Rows:
    """Texts, labels, sources and splits, a row a document; a document without a split is one of train.

    ``labels`` are for comparing and showing: several labels of one text in one string, in the order of the alphabet.
    ``classes`` has them one by one.
    """

    texts: list[str]
    labels: list[str]
    classes: list[tuple[str, ...]]
    sources: list[str]
    splits: list[str]

    @classmethod
    def of(cls, documents: Sequence[Document]) -> Rows:
        """The columns of ``documents``."""
        return cls(
            [document.text for document in documents],
            [", ".join(sorted(document.labels)) for document in documents],
            [document.labels for document in documents],
            [document.source for document in documents],
            [document.split or TRAIN for document in documents],
        )

    def __len__(self) -> int:
        return len(self.texts)

    def counts(self, rows: Iterable[int]) -> Counter[str]:
        """Documents of each class among the named rows."""
        return Counter(label for row in rows for label in self.classes[row])

    def within(self, split: str) -> list[int]:
        """The row numbers of one split."""
        return [row for row, each in enumerate(self.splits) if each == split]

    def place(self, row: int, other: int | None = None) -> Place:
        """Where a document stands, and what it is held against."""
        return Place(self.sources[row], "" if other is None else self.sources[other], self.texts[row])

    def against(self, row: int, other: int) -> Place:
        """The same where the two labels differ: they are named."""
        found = self.place(row, other)
        if self.labels[row] == self.labels[other]:
            return found
        return found._replace(label=self.labels[row], other_label=self.labels[other])
