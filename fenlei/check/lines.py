"""A report for a terminal: a line a topic, the worst first, then where to look and what to do."""

from __future__ import annotations

from collections.abc import Iterator

from fenlei.check.findings import FAULT, FINE, LOOK, Finding, Place, Report, quoted
from fenlei.screen import legible, plural, shortened, width

EXAMPLES = 3  # places shown of a finding
WIDEST = 120  # columns, whatever the terminal has
SOURCE = 40  # columns for a source at most
COLOURS = {FAULT: "\x1b[31m", LOOK: "\x1b[33m", FINE: "\x1b[32m"}
PLAIN = "\x1b[0m"


def lines(report: Report, columns: int = 100, colour: bool = False) -> Iterator[str]:
    """The report in lines of at most ``columns``, as far as words can be broken; ``colour`` is for a terminal."""
    columns = max(40, min(columns, WIDEST))
    parts = ", ".join(f"{split} {count:,}" for split, count in report.splits.items())
    yield f"{plural(report.documents, 'document')} in {plural(len(report.classes), 'class', 'classes')}: {parts}"
    yield ""
    topics = max(len(finding.topic) for finding in report.findings)
    for finding in report.findings:
        yield from _summary(finding, topics, columns, colour)
    for finding in report.findings:
        if finding.severity != FINE:
            yield ""
            yield from section(finding, columns)


def _summary(finding: Finding, topics: int, columns: int, colour: bool) -> Iterator[str]:
    """Severity, topic and sentence; what does not fit goes on below the sentence's beginning."""
    severity = f"{finding.severity:<7}"
    if colour:
        severity = f"{COLOURS[finding.severity]}{severity}{PLAIN}"
    indent = 7 + 2 + topics + 2
    first, *rest = wrapped(finding.sentence, columns - indent)
    yield f"{severity}  {finding.topic:<{topics}}  {first}"
    for line in rest:
        yield " " * indent + line


def section(finding: Finding, columns: int) -> Iterator[str]:
    """The topic with a few places, aligned, and the advice."""
    shown = finding.places[:EXAMPLES]
    yield finding.topic + (f": {len(shown)} of {finding.count:,}" if finding.count > len(shown) > 0 else "")
    heads = [_head(place) for place in shown]
    room = max(map(width, heads), default=0)
    for place, head in zip(shown, heads, strict=True):
        text = legible(" ".join(place.text[: 4 * columns].split())[:columns])
        space = columns - room - 4
        quote = shortened(text, space) if space > 10 else ""
        yield f"  {head}{' ' * (room - width(head))}  {quote}".rstrip()
    for number, line in enumerate(wrapped(finding.advice, columns - 5)):
        yield f"  {'  ' if number else '->'} {line}"


def _head(place: Place) -> str:
    """Where it stands, against what."""
    head = shortened(legible(place.source), SOURCE) + (f" {quoted(place.label)}" if place.label else "")
    if not place.other:
        return f"{head} -> {quoted(place.other_label)}" if place.other_label else head
    other = shortened(legible(place.other), SOURCE) + (f" {quoted(place.other_label)}" if place.other_label else "")
    return f"{head} = {other}"


def wrapped(sentence: str, room: int) -> list[str]:
    """``sentence`` in lines of so many columns, broken at spaces; a longer word has a line of its own."""
    found = [""]
    for word in sentence.split():
        longer = f"{found[-1]} {word}".strip()
        if found[-1] and width(longer) > room:
            found.append(word)
        else:
            found[-1] = longer
    return found
