"""What near texts mean for a data set: copies that no comparison word for word finds, under one label or several."""

from __future__ import annotations

from collections.abc import Sequence

from fenlei.check.findings import FINE, LOOK, MANY, Finding, listed, share
from fenlei.check.near import Ints
from fenlei.check.rows import Rows

ADVICE = "Keep one of each group, or keep the group within one split: such texts count as several but say one thing."


def likenesses(rows: Rows, first: Sequence[int], groups: Ints) -> Finding:
    """Documents that nearly, but not word for word, repeat an earlier one.

    ``first (N,)`` is what ``copies.firsts`` found, ``groups (N,)`` what ``near.groups`` did.
    """
    near = [row for row in range(len(rows)) if first[row] == row and groups[row] != row]
    if not near:
        return Finding("near copies", FINE, "No text nearly repeats another.")
    near.sort(key=lambda row: rows.labels[row] == rows.labels[groups[row]])  # other labels come first
    twofold = sum(rows.labels[row] != rows.labels[groups[row]] for row in near)
    under = f", {twofold:,} of them under another label" if twofold else ""
    many = len(near) >= MANY * len(rows)
    return Finding(
        "near copies",
        LOOK if many or twofold else FINE,
        f"{share(len(near), len(rows))} documents nearly repeat an earlier one{under}.",
        ADVICE,
        len(near),
        listed(rows.against(row, int(groups[row])) for row in near),
        {"groups": len({int(groups[row]) for row in near}), "other_label": twofold},
    )
