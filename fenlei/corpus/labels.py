"""One label a text or several: decided from the data, and cells that hold several labels are divided."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import takewhile

import numpy as np

from fenlei.corpus.document import Document
from fenlei.corpus.ledger import NO_LABEL, SEVERAL_LABELS, Ledger
from fenlei.corpus.store import label_sets, relabel, where

KINDS = ("auto", "one", "several")
DIVIDERS = (",", ";", "|", "，", "、", "；")
SHARE = 0.01  # of the texts with more than one label: from here on that is meant, under it a slip
BLANK = frozenset(("nan", "none", "null", "na", "n/a", "#n/a", "<na>", "nat"))  # what programs write for no value
SHOWN = 4  # code points of a label at most
RECUR = 0.9  # of the parts of divided cells stand in other cells too, if the parts are labels


def settle(documents: Sequence[Document], kind: str, ledger: Ledger) -> Sequence[Document]:
    """The documents with one label each, or with several, as ``kind`` says or as the data shows.

    Where texts have one label, those with several are skipped and named; where they have several, cells are divided.
    An unknown ``kind`` is a ``ValueError``.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of labels {kind!r}; the choices are {', '.join(KINDS)}")
    cells = _cells(documents)
    listed = sum(size for found, size in cells.items() if len(found) > 1)
    divider = None if kind == "one" else find_divider(cells, certain=kind == "several")
    if kind == "one" or (kind == "auto" and divider is None and listed < SHARE * len(documents)):
        return where(documents, lambda document: _has_one(document, ledger)) if listed else documents
    divided = relabel(documents, lambda found: divide(found, divider))
    kept = where(divided, lambda document: _has_any(document, ledger))
    found = _cells(kept)
    many = sum(size for labels, size in found.items() if len(labels) > 1)
    names = {label for labels in found for label in labels}
    between = f", divided by {divider!r} in their cells" if divider else ""
    otherwise = "; with --single-label a cell is one label" if kind == "auto" else ""
    ledger.note(
        f"Several labels a text: {many:,} of {len(kept):,} texts have more than one of {len(names):,} labels{between}"
        f"{otherwise}."
    )
    return kept


def _cells(documents: Sequence[Document]) -> Counter[tuple[str, ...]]:
    """How many documents have each set of labels."""
    column = label_sets(documents)
    sizes = np.bincount(column.codes, minlength=len(column.values)).tolist()
    return Counter({found: size for found, size in zip(column.values, sizes, strict=True) if size})


def _has_one(document: Document, ledger: Ledger) -> bool:
    if document.others:
        ledger.add(SEVERAL_LABELS, document.source, f"labels {', '.join(document.labels[:5])}")
    return not document.others


def _has_any(document: Document, ledger: Ledger) -> bool:
    if not document.labels:
        ledger.add(NO_LABEL, document.source, "no label")
    return bool(document.labels)


def divide(labels: tuple[str, ...], divider: str | None) -> tuple[str, ...]:
    """The distinct labels of some cells."""
    if divider is None:
        return labels
    parts = (part.strip() for label in labels for part in label.split(divider))
    return tuple(dict.fromkeys(filter(None, parts)))


def find_divider(documents: Counter[tuple[str, ...]], certain: bool) -> str | None:
    """What stands between the labels of one cell; None where cells are single labels.

    ``documents`` counts those with each set of cells. Parts are taken for labels if nearly all of them stand in other
    cells too, and if there are fewer parts than kinds of cells: ``a``, ``b`` and ``a,b``. Where it is ``certain`` that
    texts have several labels, the commonest is taken.
    """
    cells = Counter({found[0]: size for found, size in documents.items() if len(found) == 1})
    held = {divider: sum(n for cell, n in cells.items() if divider in cell) for divider in DIVIDERS}
    if certain:
        best = max(DIVIDERS, key=held.__getitem__)
        return best if held[best] else None
    enough = [divider for divider in DIVIDERS if held[divider] >= max(1, SHARE * documents.total())]
    return next((divider for divider in enough if _divides(cells, divider)), None)


def _divides(cells: Counter[str], divider: str) -> bool:
    parts: Counter[str] = Counter()
    divided: set[str] = set()
    for cell in cells:
        found = {part.strip() for part in cell.split(divider)}
        if "" in found:
            return False
        parts.update(found)
        if len(found) > 1:
            divided |= found
    recurring = sum(parts[part] > 1 for part in divided)
    return bool(divided) and recurring >= RECUR * len(divided) and len(parts) < len(cells)


def is_blank(label: str) -> bool:
    """Whether a label is what programs write where there is none; it may be meant all the same."""
    return label.casefold() in BLANK


def spellings(labels: Iterable[str]) -> list[list[str]]:
    """Groups of labels that differ only by case, space or Unicode form, two or more each."""
    alike: dict[str, list[str]] = defaultdict(list)
    for label in sorted(labels):
        alike["".join(unicodedata.normalize("NFKC", label).casefold().split())].append(label)
    return [names for names in alike.values() if len(names) > 1]


def differences(names: Sequence[str]) -> list[str]:
    """For each of some labels the code points in which it differs from the others that look like it, or nothing."""
    looks = [unicodedata.normalize("NFKC", name) for name in names]
    found = []
    for name, look in zip(names, looks, strict=True):
        twins = [other for other, its in zip(names, looks, strict=True) if its == look]
        found.append(_code_points(name, twins) if len(twins) > 1 else "")
    return found


def _code_points(name: str, twins: Sequence[str]) -> str:
    """Those of ``name`` between what all twins begin and end with."""
    begin = _common(twins)
    end = _common([twin[begin:][::-1] for twin in twins])
    own = name[begin : len(name) - end]
    return " ".join(f"U+{ord(each):04X}" for each in own[:SHOWN]) + (" ..." if len(own) > SHOWN else "")


def _common(texts: Sequence[str]) -> int:
    """How many characters all begin with."""
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*texts, strict=False)))
