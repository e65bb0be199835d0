"""A text with its label."""

from __future__ import annotations

from typing import NamedTuple


class Document(NamedTuple):
    """A text with its label, or its labels: `label` is the first of them, `others` are the rest.

    `source` says where it stands, such as `train/体育/12.txt` or `train.tsv:17`; `split` is `train`, `dev`, `test`,
    or empty where the data does not say.
    """

    text: str
    label: str
    source: str
    split: str = ""
    others: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels; none where `label` is empty."""
        return (self.label, *self.others) if self.label else ()
