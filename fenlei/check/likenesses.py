"""What near texts mean for a data set: copies that no comparison word for word finds, under one label or several."""

from __future__ import annotations

from fenlei.check.findings import FINE, LOOK, MANY, Finding, listed, share
from fenlei.check.near import Ints
from fenlei.check.rows import Rows

ADVICE = "Keep one of each group: such texts count as several but say one thing."


def likenesses(rows: Rows, groups: Ints) -> Finding:
    """Documents that nearly, but not word for word, repeat an earlier one of their own split.

    ``groups (N,)`` is what ``near.groups`` found.
    """
    pairs = near_pairs(rows, groups)
    if not pairs:
        return Finding("near copies", FINE, "No text nearly repeats another of its split.")
    pairs.sort(key=lambda pair: rows.labels[pair[0]] == rows.labels[pair[1]])  # other labels come first
    twofold = sum(rows.labels[row] != rows.labels[earlier] for row, earlier in pairs)
    under = f", {twofold:,} of them under another label" if twofold else ""
    many = len(pairs) >= MANY * len(rows)
    return Finding(
        "near copies",
        LOOK if many or twofold else FINE,
        f"{share(len(pairs), len(rows))} documents nearly repeat an earlier one of their split{under}.",
        ADVICE,
        len(pairs),
        listed(rows.against(*pair) for pair in pairs),
        {"groups": len({earlier for _, earlier in pairs}), "other_label": twofold},
    )


def near_pairs(rows: Rows, groups: Ints) -> list[tuple[int, int]]:
    """Each document whose text is new in its split, but whose group is not, with the group's first one there."""
    texts: set[tuple[str, str]] = set()
    first: dict[tuple[str, int], int] = {}
    pairs = []
    for row, (split, text, group) in enumerate(zip(rows.splits, rows.texts, groups.tolist(), strict=True)):
        earlier = first.setdefault((split, group), row)
        if earlier != row and (split, text) not in texts:
            pairs.append((row, earlier))
        texts.add((split, text))
    return pairs
