"""What the reading said: encodings, columns, and which inputs gave no document."""

from __future__ import annotations

from collections.abc import Iterator

from fenlei.check.findings import FAULT, FINE, LISTED, LOOK, MANY, Finding, Place, graded, listed, share
from fenlei.corpus import NOT_TEXT, RAGGED, REPAIRED, SKIPPED, TOO_LARGE, UNDECODABLE, Ledger
from fenlei.screen import legible, plural

BYTES = frozenset((UNDECODABLE, NOT_TEXT, TOO_LARGE, REPAIRED))  # kinds of the ledger that speak of encodings
KEPT = frozenset((REPAIRED, RAGGED))
# Notes that another finding repeats.
SAID = ("not UTF-8", "could not be decoded", "differ only by case", "write where there is none")
TOLD = 10  # notes in a sentence; JSON has all of them


def sources(ledger: Ledger, documents: int) -> Iterator[Finding]:
    """How it was read, what of it could not be decoded, what else was skipped or joined."""
    yield encodings(ledger, documents)
    yield skipped(ledger, documents)
    notes = [note for note in ledger.notes if not any(said in note for said in SAID)]
    for note in notes:
        if advice := ledger.warnings.get(note):
            sentence = note.removesuffix(f"; {advice}.")
            yield Finding("layout", LOOK, f"{legible(sentence)}.", f"{advice[0].upper()}{advice[1:]}.")
    told = [legible(note) for note in notes if note not in ledger.warnings]
    told.sort(key=lambda note: "; label from " in note)  # of many files each has one that says little new
    if told:
        more = f" And {plural(len(told) - TOLD, 'note')} more, which --json has." if len(told) > TOLD else ""
        yield Finding("reading", FINE, " ".join(told[:TOLD]) + more, numbers={"notes": told[:LISTED]})


def encodings(ledger: Ledger, documents: int) -> Finding:
    """What the vote said, and which inputs departed from it."""
    voted = [legible(note) for note in ledger.notes if "not UTF-8" in note]
    told = " ".join(voted) or "Every input is UTF-8, or what its byte order mark says."
    entries = [entry for entry in ledger.entries if entry.kind in BYTES]
    if not entries:
        return Finding("encoding", FINE, told)
    kinds = _counted(ledger, BYTES)
    lost, found = _number(ledger, BYTES - KEPT), _number(ledger, BYTES)
    severity = graded(lost, documents + ledger.skipped) if lost else LOOK
    places = listed(Place(entry.source, "", f"{entry.kind}: {entry.detail}") for entry in entries)
    advice = "Name the encoding with --encoding, or repair these inputs."
    return Finding("encoding", severity, f"{told} {kinds}.", advice, found, places)


def skipped(ledger: Ledger, documents: int) -> Finding:
    """Inputs that gave no document, or a mended one, for another reason than their bytes."""
    wanted = (SKIPPED | {RAGGED}) - BYTES
    entries = [entry for entry in ledger.entries if entry.kind in wanted]
    if not entries:
        return Finding("skipped", FINE, "Every input gave a document.")
    lost, found = _number(ledger, wanted - KEPT), _number(ledger, wanted)
    severity = FAULT if lost >= MANY * (documents + ledger.skipped) else LOOK
    places = listed(Place(entry.source, "", f"{entry.kind}: {entry.detail}") for entry in entries)
    sentence = f"{share(lost, documents + ledger.skipped)} inputs gave no document ({_counted(ledger, wanted)})."
    return Finding("skipped", severity, sentence, "Mend these lines, or see that nothing is lost.", found, places)


def _number(ledger: Ledger, kinds: frozenset[str]) -> int:
    return sum(count for kind, count in ledger.counts.items() if kind in kinds)


def _counted(ledger: Ledger, kinds: frozenset[str]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in ledger.counts.items() if kind in kinds)
