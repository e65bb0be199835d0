"""The section on what went in: texts a class, their lengths, what was skipped or repaired on the way."""

from __future__ import annotations

from fenlei.corpus import ledger
from fenlei.report import plots
from fenlei.report.markup import Html, escaped, joined, label, tag
from fenlei.report.material import Material, part
from fenlei.report.tables import bar, folded, number, table, word
from fenlei.report.words import MEANINGS, WORDS, both

EXAMPLES = 3  # of every kind of entry in the ledger


def data(found: Material) -> Html:
    """Counts, classes, lengths, ledger."""
    return joined((_counts(found), _classes(found), _lengths(found), _ledger(found)))


def _counts(found: Material) -> Html:
    train, dev, classes = found.count("train"), found.count("dev"), len(found.bundle.labels)
    if train is None:
        return tag("p", both("data_unknown", classes=classes, dev=dev or 0))
    unlabelled = part(found.bundle.ledger, "unlabelled").get("used")
    others = Html(" ") + both("data_unlabelled", n=unlabelled) if unlabelled else Html()
    return tag("p", both("data_counts", train=train, dev=dev or 0, classes=classes), others)


def _classes(found: Material) -> Html:
    """A bar a class, the largest first."""
    sides = part(found.evidence, "classes")
    train, dev = part(sides, "train"), part(sides, "dev")
    if not train:
        return Html()
    most = max(train.values()) or 1
    rows = [
        (word(label(name), name), bar(count, count / most), number(dev.get(name, 0), dev.get(name, 0)))
        for name, count in sorted(train.items(), key=lambda pair: -pair[1])
    ]
    return tag("h3", both("data_classes")) + table(("class", "train", "dev"), "tbn", rows, sortable=True)


def _lengths(found: Material) -> Html:
    """The histogram and its numbers; a histogram without texts is left out."""
    lengths = part(found.evidence, "lengths")
    edges, train, dev = (list(lengths.get(key) or []) for key in ("edges", "train", "dev"))
    if len(edges) < 2 or len(train) != len(edges) - 1 or len(dev) != len(train) or not sum(train):
        return Html()
    edges, train, dev = trimmed(edges, train, dev)
    limit = None if found.alone else lengths.get("limit")  # of what a network reads
    marks = [("soft", "train"), ("main", "dev")] + ([("dash", "limit")] if limit and limit <= edges[-1] else [])
    title = both("length_title") + plots.legend(*marks)
    said = both("length_limit", limit=limit) if limit else Html()
    rows = [
        (word(_tokens(low, high), low), number(a, a), number(b, b))
        for low, high, a, b in zip(edges[:-1], edges[1:], train, dev, strict=True)
    ]
    drawn = plots.figure("lengths", title, plots.lengths(edges, train, dev, limit), wide=True)
    return joined(
        (
            tag("h3", both("data_lengths")),
            drawn,
            tag("p", said),
            folded(both("numbers"), table(("tokens", "train", "dev"), "tnn", rows)),
        )
    )


def trimmed(edges: list[float], train: list[int], dev: list[int]) -> tuple[list[float], list[int], list[int]]:
    """The histogram without the bins at either end that hold no text."""
    filled = [place for place, counts in enumerate(zip(train, dev, strict=True)) if any(counts)]
    first, last = filled[0], filled[-1] + 1
    return edges[first : last + 1], train[first:last], dev[first:last]


def _tokens(low: float, high: float) -> str:
    """The whole numbers from ``low`` to below ``high``."""
    return f"{low:,.0f}" if high - low <= 1 else f"{low:,.0f}–{high - 1:,.0f}"


def _ledger(found: Material) -> Html:
    """What was skipped, repaired or doubtful, with the first sources of each kind, and what was decided."""
    counts, notes = part(found.bundle.ledger, "counts"), found.bundle.ledger.get("notes") or []
    rows = [(word(_meaning(kind)), number(count), word(_sources(found, kind))) for kind, count in counts.items()]
    parts = [tag("h3", both("ledger"))]
    parts.append(table(("what", "count", "where"), "tnt", rows) if rows else tag("p", both("ledger_empty")))
    if notes:
        parts.append(folded(both("ledger_notes", n=len(notes)), tag("ul", *(tag("li", note) for note in notes))))
    return joined(parts)


def _meaning(kind: str) -> Html:
    known = MEANINGS.get(kind)
    return both(known) if known in WORDS else escaped(ledger.MEANING.get(kind, kind))


def _sources(found: Material, kind: str) -> Html:
    entries = [entry for entry in found.bundle.ledger.get("entries") or [] if entry[0] == kind]
    shown = [
        tag("li", label(source, 48), f": {detail[:200]}" if detail else "") for _, source, detail in entries[:EXAMPLES]
    ]
    return tag("ul", *shown, tag("li", "…") if len(entries) > EXAMPLES else "", class_="plain")
