"""Sets of documents, lists or in files, checked for copies, cleaned and split."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np

from fenlei.corpus.document import Document
from fenlei.corpus.labels import differences, is_blank, spellings
from fenlei.corpus.ledger import CONFLICT, DROPPED, DUPLICATE, LEAK, NAMED, Ledger
from fenlei.corpus.store import SPLITS, Array, firsts, heads, label_sets, splits, take


def audit(documents: Sequence[Document], ledger: Ledger) -> None:
    """Enter copies, copies under another label, and texts of dev or test that stand in train; nothing is dropped."""
    first, split, labels = firsts(documents), splits(documents), _equal_sets(documents)
    copied = np.flatnonzero(np.bincount(first, minlength=1)[first] > 1)  # the others say nothing
    earliest = first[copied]
    in_train = np.full(len(first), -1)  # of each text its first copy in train
    train = copied[split[copied] == SPLITS.index("train")]
    texts, at = np.unique(first[train], return_index=True)
    in_train[texts] = train[at]
    held_out = np.isin(split[copied], (SPLITS.index("dev"), SPLITS.index("test")))
    leaks = held_out & (in_train[earliest] >= 0)
    conflicts = labels[copied] != labels[earliest]
    copies = ~conflicts & (earliest != copied) & ~leaks
    rows = [(LEAK, leaks, in_train[earliest]), (CONFLICT, conflicts, earliest), (DUPLICATE, copies, earliest)]
    _enter([(kind, copied[which], against[which]) for kind, which, against in rows], documents, ledger)
    _warn_of_blank_labels(documents, ledger)
    _note_similar_labels({label for found in used(documents) for label in found}, ledger)


def _enter(rows: Sequence[tuple[str, Array, Array]], documents: Sequence[Document], ledger: Ledger) -> None:
    """Enter documents of each kind, given by their places beside those of what they are held against."""
    named = [(kind, places[:NAMED], against[:NAMED]) for kind, places, against in rows]
    pairs = [(one, other, kind) for kind, places, against in named for one, other in zip(places, against, strict=True)]
    pairs.sort(key=lambda pair: int(pair[0]))  # stable: of one document its leak first
    sides = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    both = zip(*(heads(take(documents, side)) for side in sides), strict=True)
    for (_, _, kind), (document, earlier) in zip(pairs, both, strict=True):
        ledger.add(kind, document.source, earlier.source)
    for kind, places, _ in rows:
        ledger.count(kind, len(places[NAMED:]))


def _equal_sets(documents: Sequence[Document]) -> Array:
    """A number for the labels of each document, ``(N,)``: the same for the same labels in another order."""
    column = label_sets(documents)
    number: dict[frozenset[str], int] = {}
    found = [number.setdefault(frozenset(labels), len(number)) for labels in column.values]
    return np.array(found, np.int64)[column.codes]


def used(documents: Sequence[Document]) -> list[tuple[str, ...]]:
    """The sets of labels that documents have, each once."""
    column = label_sets(documents)
    return [column.values[code] for code in np.unique(column.codes).tolist()]


def _note_similar_labels(labels: set[str], ledger: Ledger) -> None:
    for names in spellings(labels):
        told = zip(names, differences(names), strict=True)
        shown = ", ".join(f"{name!r} ({points})" if points else repr(name) for name, points in told)
        ledger.note(f"The labels {shown} differ only by case, space or Unicode form; they stay separate classes.")


def _warn_of_blank_labels(documents: Sequence[Document], ledger: Ledger) -> None:
    column = label_sets(documents)
    sizes = np.bincount(column.codes, minlength=len(column.values)).tolist()
    counts: Counter[str] = Counter()
    for found, size in zip(column.values, sizes, strict=True):
        counts.update({label: size for label in found if size and is_blank(label)})
    if counts:
        shown = ", ".join(f"{label!r} ({size:,} document{'s' * (size > 1)})" for label, size in counts.most_common())
        ledger.warn(
            f"Labels that programs write where there is none are classes here: {shown}",
            "empty their cells to have the documents skipped, or leave them if they are meant",
        )


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
) -> tuple[Sequence[Document], Sequence[Document]]:
    """(train, dev): about `fraction` of every class goes to dev, the same for the same seed, both in their old order.

    Copies of one text stay on one side, a text under two labels in train, and a class never loses its last text, so
    dev may be empty. A text that has several labels counts for the rarest of them.
    Raises ValueError unless 0 < fraction < 1.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction is {fraction}, expected a number between 0 and 1, such as 0.1")
    first = firsts(documents)
    classes = _texts_of_classes(documents, first)
    chance = random.Random(seed)  # noqa: S311 - a reproducible split, no secret
    chosen = np.zeros(len(documents), bool)
    for texts, quota in zip(classes, _quotas([len(texts) for texts in classes], fraction, chance), strict=True):
        chosen[texts[chance.sample(range(len(texts)), quota)]] = True
    in_dev = chosen[first]
    return take(documents, np.flatnonzero(~in_dev)), take(documents, np.flatnonzero(in_dev))


def _texts_of_classes(documents: Sequence[Document], first: Array) -> list[Array]:
    """The texts of each class, in the order of the classes' first texts; each by the place of its first copy.

    ``first (N,)`` are those places. A text that contradicts itself can judge nothing and is left out.
    """
    column = label_sets(documents)
    sizes = np.bincount(column.codes, minlength=len(column.values)).tolist()
    counts: Counter[str] = Counter()
    for found, size in zip(column.values, sizes, strict=True):
        counts.update(dict.fromkeys(found, size))
    rarest = [min(found, key=lambda label: (counts[label], label), default="") for found in column.values]
    number = {label: place for place, label in enumerate(dict.fromkeys(rarest))}
    own = np.array([number[label] for label in rarest], np.int64)[column.codes]
    contradicted = np.zeros(len(documents), bool)
    contradicted[first[own != own[first]]] = True
    texts = np.flatnonzero((first == np.arange(len(first))) & ~contradicted)
    order = np.argsort(own[texts], kind="stable")
    groups = np.split(texts[order], np.cumsum(np.bincount(own[texts], minlength=len(number)))[:-1])
    return sorted((group for group in groups if len(group)), key=lambda group: int(group[0]))


def _quotas(sizes: list[int], fraction: float, chance: random.Random) -> list[int]:
    """Texts of each class for dev by largest remainder, so that the sum is right even with thousands of classes."""
    quotas = [min(int(size * fraction), size - 1) for size in sizes]
    missing = max(1, round(sum(sizes) * fraction)) - sum(quotas)
    order = sorted(range(len(sizes)), key=lambda i: (quotas[i] - sizes[i] * fraction, chance.random()))
    spacious = [i for i in order if quotas[i] < sizes[i] - 1]
    for i in spacious[: max(missing, 0)]:
        quotas[i] += 1
    return quotas
