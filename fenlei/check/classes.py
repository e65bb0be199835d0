"""How many documents each class has, and labels that may be one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from fenlei.check.findings import FAULT, FINE, LOOK, NAMED, Finding, enumerated, quoted
from fenlei.check.rows import HELD_OUT, TRAIN, Rows
from fenlei.corpus.labels import differences, is_blank, spellings
from fenlei.screen import plural

FEW = 10  # documents from which on a class can be learned at all
LOPSIDED = 20  # times as many documents as the smallest class has


def classes(rows: Rows) -> Iterator[Finding]:
    """The balance of train, classes that only one split has, labels that differ by their spelling or stand for none."""
    split = TRAIN if TRAIN in rows.splits else rows.splits[0]
    counts = rows.counts(rows.within(split))
    yield balance(counts, split)
    for each in HELD_OUT:
        if each in rows.splits and each != split:
            yield unknown(rows.counts(rows.within(each)), counts, each)
    every = rows.counts(range(len(rows)))
    yield alike(every)
    yield from blank(every)


def balance(counts: Counter[str], split: str) -> Finding:
    """How many classes, from how many documents to how many."""
    if not counts:
        return Finding("classes", FAULT, f"No document of {split} has a label.", "Give each its labels.")
    (largest, most), (smallest, least) = counts.most_common(1)[0], min(counts.items(), key=lambda each: each[1])
    numbers = {"smallest": least, "largest": most, "ratio": most / least}
    if len(counts) == 1:
        one = f"{split} has one class only, {quoted(largest)}: there is nothing to tell apart."
        return Finding("classes", FAULT, one, "Is the data one folder too deep, or its label column another?", 1)
    few = sorted((label for label, count in counts.items() if count < FEW), key=lambda label: (counts[label], label))
    span = f"of {least:,} ({quoted(smallest)}) to {most:,} ({quoted(largest)}) documents"
    span = f"of {most:,} documents each" if least == most else span
    sentence = f"{len(counts):,} classes in {split}, {span}"
    if few:
        sentence += f"; {len(few):,} of fewer than {FEW}: {enumerated(few)}"
        advice = f"Find more documents of the small classes, or merge them: fewer than {FEW} teach hardly anything."
    else:
        times = f"the largest class has {most / least:.0f} times the documents of the smallest"
        advice = f"Read macro-F1 rather than accuracy: {times}."
    lopsided = most >= LOPSIDED * least
    severity = LOOK if few or lopsided else FINE
    return Finding("classes", severity, f"{sentence}.", advice if severity == LOOK else "", len(few), (), numbers)


def unknown(counts: Counter[str], known: Counter[str], split: str) -> Finding:
    """Labels of ``split`` that train does not have, and the other way round."""
    foreign = sorted(label for label in counts if label not in known)
    absent = sorted(label for label in known if label not in counts)
    topic = f"{split} classes"
    numbers = {"foreign": foreign[:100], "absent": absent[:100]}
    if foreign:
        documents = sum(counts[label] for label in foreign)
        sentence = (
            f"{plural(documents, f'{split} document')} of classes that train does not have: {enumerated(foreign)}."
        )
        advice = "No answer can be right for them: give train such documents, or mend the labels."
        return Finding(topic, FAULT, sentence, advice, documents, (), numbers)
    if absent:
        sentence = f"{split} has no document of {plural(len(absent), 'class', 'classes')}: {enumerated(absent)}."
        return Finding(topic, LOOK, sentence, "Nothing is measured for them: hold some out.", len(absent), (), numbers)
    return Finding(topic, FINE, f"{split} has the classes of train.", numbers=numbers)


def alike(counts: Counter[str]) -> Finding:
    """Labels that differ only by case, space or Unicode form."""
    found = spellings(counts)
    if not found:
        return Finding("labels", FINE, "No two labels differ only by case, space or Unicode form.")
    shown = "; ".join(_told_apart(names) for names in found[:3])
    documents = sum(counts[label] for names in found for label in names)
    sentence = f"{plural(len(found), 'label')} in several spellings (case, space, Unicode form): {shown}."
    advice = "Write each label in one way: every spelling is a class of its own."
    return Finding("labels", FAULT, sentence, advice, documents, (), {"spellings": found[:100]})


def _told_apart(names: list[str]) -> str:
    """A few labels, with code points where they look the same."""
    points = dict(zip(names, differences(names), strict=True))
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(quoted(name) + (f" ({points[name]})" if points[name] else "") for name in names[:NAMED]) + more


def blank(counts: Counter[str]) -> Iterator[Finding]:
    """Labels that programs write where there is none."""
    found = [label for label, _ in counts.most_common() if is_blank(label)]
    if found:
        documents = sum(counts[label] for label in found)
        labels = f"labels that programs write where there is none: {enumerated(found)}."
        sentence = f"{plural(documents, 'document')} with {labels}"
        advice = "Empty these cells to have the documents skipped, or leave them if the labels are meant."
        numbers = {"labels": {label: counts[label] for label in found}}
        yield Finding("no labels", LOOK, sentence, advice, documents, (), numbers)
