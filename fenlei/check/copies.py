"""Texts that stand in the data more than once, word for word, under one label or several."""

from __future__ import annotations

from collections import Counter

from fenlei.check.findings import FINE, LOOK, MANY, Finding, graded, listed, quoted, share
from fenlei.check.rows import Rows
from fenlei.screen import plural


def firsts(rows: Rows) -> list[int]:
    """The row in which each document's text stands for the first time, ``(N,)``."""
    first: dict[str, int] = {}
    return [first.setdefault(text, row) for row, text in enumerate(rows.texts)]


def copies(rows: Rows) -> Finding:
    """Documents that repeat an earlier one of their own split; those of dev and test that repeat train are leaks."""
    first: dict[tuple[str, str], int] = {}
    keys = zip(rows.splits, rows.texts, strict=True)
    pairs = [(row, first.setdefault(key, row)) for row, key in enumerate(keys)]
    again = [(row, earlier) for row, earlier in pairs if earlier != row]
    by_split = Counter(rows.splits[row] for row, _ in again)
    by_class = Counter(rows.labels[row] for row, _ in again)
    numbers = {"splits": dict(by_split), "classes": dict(by_class.most_common())}
    if not again:
        return Finding("copies", FINE, "No document repeats another of its split.", numbers=numbers)
    where = ", ".join(f"{count:,} within {split}" for split, count in by_split.items())
    label, most = by_class.most_common(1)[0]
    sentence = (
        f"{share(len(again), len(rows))} documents repeat an earlier one: {where}; most in {quoted(label)}, {most:,}."
    )
    return Finding(
        "copies",
        LOOK if len(again) >= MANY * len(rows) else FINE,
        sentence,
        "Take copies out unless they say how frequent a text is: each counts as a document of its own.",
        len(again),
        listed(rows.place(row, earlier) for row, earlier in again),
        numbers,
    )


def contradictions(rows: Rows, first: list[int]) -> Finding:
    """Texts that carry more than one label; ``first`` is what ``firsts`` found."""
    others = [row for row, earlier in enumerate(first) if rows.labels[row] != rows.labels[earlier]]
    texts = len({first[row] for row in others})
    pairs = Counter(tuple(sorted((rows.labels[row], rows.labels[first[row]]))) for row in others).most_common()
    if not others:
        return Finding("contradictions", FINE, "No text stands under two labels.")
    (low, high), most = pairs[0]
    sentence = f"{plural(texts, 'text')} {'stands' if texts == 1 else 'stand'} under two labels or more"
    return Finding(
        "contradictions",
        graded(len(others), len(rows)),
        f"{sentence}; most often {quoted(low)} and {quoted(high)}, {plural(most, 'time')}.",
        "Decide for one label: what is learned from one is unlearned from the other.",
        texts,
        listed(rows.against(row, first[row]) for row in others),
        {"documents": len(others), "pairs": [[*labels, count] for labels, count in pairs[:100]]},
    )
