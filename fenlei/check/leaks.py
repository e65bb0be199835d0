"""Texts of dev and test that stand in train too: what is measured on them is memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from fenlei.check.findings import FAULT, FINE, LOOK, MANY, Finding, graded, listed, share
from fenlei.check.near import NEAR, Ints, jaccard
from fenlei.check.rows import HELD_OUT, TRAIN, Rows

WITNESSES = 8  # documents of train that one of dev or test is held against at most
TOO_MANY = 0.05  # from this share of near copies on, a split is at fault


def leaks(rows: Rows, folded: Sequence[str], groups: Ints, size: int) -> Iterator[Finding]:
    """Two findings for each of dev and test: texts that stand in train word for word, and nearly so.

    ``folded (N,)`` are the texts as ``near.fold`` leaves them, ``groups (N,)`` what ``near.groups`` found with shingles
    of ``size``.
    """
    splits = [split for split in HELD_OUT if split in rows.splits]
    if not splits or TRAIN not in rows.splits:
        yield Finding("leaks", FINE, "There is one part only: what train holds out of it is no copy of what it keeps.")
        return
    known: dict[str, int] = {}
    for row in rows.within(TRAIN):
        known.setdefault(rows.texts[row], row)
    for split in splits:
        own = rows.within(split)
        exact = [row for row in own if rows.texts[row] in known]
        near = near_train(rows, [row for row in own if rows.texts[row] not in known], folded, groups, size)
        yield _exact(rows, split, own, [(row, known[rows.texts[row]]) for row in exact])
        yield _near(rows, split, own, near)


def _exact(rows: Rows, split: str, own: list[int], pairs: list[tuple[int, int]]) -> Finding:
    topic = f"{split} in train"
    if not pairs:
        return Finding(topic, FINE, f"No {split} text stands in train too.", numbers={"of": len(own)})
    severity = graded(len(pairs), len(own))
    what = f": {split} scores will look too good" if severity == FAULT else ""
    return Finding(
        topic,
        severity,
        f"{share(len(pairs), len(own))} {split} texts stand in train too{what}.",
        f"Take them out of {split}, or out of train.",
        len(pairs),
        listed(rows.against(row, other) for row, other in pairs),
        {"of": len(own), "share": len(pairs) / len(own)},
    )


def _near(rows: Rows, split: str, own: list[int], pairs: list[tuple[int, int]]) -> Finding:
    topic = f"{split} near train"
    if not pairs:
        return Finding(topic, FINE, f"No further {split} text nearly stands in train.", numbers={"of": len(own)})
    severity = FAULT if len(pairs) >= TOO_MANY * len(own) else LOOK if len(pairs) >= MANY * len(own) else FINE
    return Finding(
        topic,
        severity,
        f"{share(len(pairs), len(own))} further {split} texts nearly stand in train.",
        f"If they are copies, take them out of {split}; if they are of one mould, hold whole sources out instead.",
        len(pairs),
        listed(rows.against(row, other) for row, other in pairs),
        {"of": len(own), "share": len(pairs) / len(own)},
    )


def near_train(rows: Rows, asked: list[int], folded: Sequence[str], groups: Ints, size: int) -> list[tuple[int, int]]:
    """Each of the ``asked`` rows that is near a text of train, with the nearest of its group's first few."""
    witnesses: dict[int, list[int]] = defaultdict(list)
    for row in rows.within(TRAIN):
        if len(known := witnesses[int(groups[row])]) < WITNESSES:
            known.append(row)
    pairs = [(row, other) for row in asked for other in witnesses.get(int(groups[row]), ())]
    if not pairs:
        return []
    alike = jaccard(folded, np.array(pairs, np.int64), size)
    best: dict[int, tuple[float, int]] = {}
    for (row, other), likeness in zip(pairs, alike.tolist(), strict=True):
        likeness = 1.0 if folded[row] == folded[other] else likeness
        if likeness >= NEAR and likeness > best.get(row, (0.0, 0))[0]:
            best[row] = (likeness, other)
    found = [(row, other) for row, (_, other) in best.items()]
    return sorted(found, key=lambda pair: rows.labels[pair[0]] == rows.labels[pair[1]])  # other labels come first
