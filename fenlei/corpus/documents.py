"""A document is a text with its label; here sets of them are checked for copies, cleaned and split."""

from __future__ import annotations

import random
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from fenlei.corpus.ledger import CONFLICT, DROPPED, DUPLICATE, LEAK, Ledger


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


def audit(documents: Sequence[Document], ledger: Ledger) -> None:
    """Enter copies, copies under another label, and texts of dev or test that stand in train; nothing is dropped."""
    first: dict[str, Document] = {}
    in_train: dict[str, Document] = {}
    for document in documents:
        first.setdefault(document.text, document)
        if document.split == "train":
            in_train.setdefault(document.text, document)
    for document in documents:
        earlier = first[document.text]
        leaks = document.split in ("dev", "test") and document.text in in_train
        if leaks:
            ledger.add(LEAK, document.source, in_train[document.text].source)
        if set(earlier.labels) != set(document.labels):
            ledger.add(CONFLICT, document.source, earlier.source)
        elif earlier is not document and not leaks:
            ledger.add(DUPLICATE, document.source, earlier.source)
    _note_similar_labels({label for document in documents for label in document.labels}, ledger)


def _note_similar_labels(labels: set[str], ledger: Ledger) -> None:
    alike: dict[str, list[str]] = defaultdict(list)
    for label in sorted(labels):
        alike["".join(unicodedata.normalize("NFKC", label).casefold().split())].append(label)
    for names in alike.values():
        if len(names) > 1:
            shown = ", ".join(repr(name) for name in names)
            ledger.note(f"The labels {shown} differ only by case, space or Unicode form; they stay separate classes.")


def deduplicate(documents: Sequence[Document], ledger: Ledger) -> list[Document]:
    """Keep the first of exact copies and no copy of a text that carries two labels; the ledger names what went."""
    first: dict[str, Document] = {}
    conflicting: dict[str, str] = {}
    for document in documents:
        earlier = first.setdefault(document.text, document)
        if set(earlier.labels) != set(document.labels):
            one, other = (", ".join(each.labels) for each in (earlier, document))
            conflicting.setdefault(document.text, f"labels {one!r} and {other!r}")
    kept = []
    for document in documents:
        if document.text in conflicting:
            ledger.add(DROPPED, document.source, conflicting[document.text])
        elif first[document.text] is not document:
            ledger.add(DROPPED, document.source, first[document.text].source)
        else:
            kept.append(document)
    return kept


def split_dev(
    documents: Sequence[Document], fraction: float = 0.1, seed: int = 0
) -> tuple[list[Document], list[Document]]:
    """(train, dev): about `fraction` of every class goes to dev, the same for the same seed, both in their old order.

    Copies of one text stay on one side, a text under two labels in train, and a class never loses its last text, so
    dev may be empty. A text that has several labels counts for the rarest of them.
    Raises ValueError unless 0 < fraction < 1.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction is {fraction}, expected a number between 0 and 1, such as 0.1")
    counts = Counter(label for document in documents for label in document.labels)
    labels_of: dict[str, set[str]] = defaultdict(set)
    for document in documents:
        labels_of[document.text].add(min(document.labels, key=lambda label: (counts[label], label), default=""))
    classes: dict[str, list[str]] = defaultdict(list)
    for text, labels in labels_of.items():
        if len(labels) == 1:  # a text that contradicts itself can judge nothing
            classes[min(labels)].append(text)
    chance = random.Random(seed)  # noqa: S311 - a reproducible split, no secret
    chosen: set[str] = set()
    for texts, quota in zip(classes.values(), _quotas(classes, fraction, chance), strict=True):
        chosen.update(chance.sample(texts, quota))
    train = [document for document in documents if document.text not in chosen]
    return train, [document for document in documents if document.text in chosen]


def _quotas(classes: dict[str, list[str]], fraction: float, chance: random.Random) -> list[int]:
    """Texts of each class for dev by largest remainder, so that the sum is right even with thousands of classes."""
    sizes = [len(texts) for texts in classes.values()]
    quotas = [min(int(size * fraction), size - 1) for size in sizes]
    missing = max(1, round(sum(sizes) * fraction)) - sum(quotas)
    order = sorted(range(len(sizes)), key=lambda i: (quotas[i] - sizes[i] * fraction, chance.random()))
    spacious = [i for i in order if quotas[i] < sizes[i] - 1]
    for i in spacious[: max(missing, 0)]:
        quotas[i] += 1
    return quotas
