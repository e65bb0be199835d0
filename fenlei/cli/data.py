"""Labelled data for the verbs: read it, say what was found, divide it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from fenlei.cli.output import say

if TYPE_CHECKING:
    from fenlei.corpus import Correction, Document, Ledger
    from fenlei.recipe import Recipe

Sides = dict[str, "list[Document]"]


def read_data(path: str, encoding: str | None, labels: str = "auto") -> tuple[list[Document], Ledger]:
    """The documents of ``path``; what was decided and skipped is said. ``labels`` is that of ``corpus.read``."""
    from fenlei import corpus

    documents, ledger = corpus.read(path, encoding=encoding, labels=labels)
    for line in ledger.summary():
        say(line)
    return documents, ledger


def kind_of(documents: Sequence[Document], asked: str = "auto") -> str:
    """Whether texts have one label or several, asked for or found: other data for the same classifier is read alike."""
    found = "several" if any(document.others for document in documents) else "one"
    return found if asked == "auto" else asked


def divide(documents: Sequence[Document], ledger: Ledger, arguments: argparse.Namespace, recipe: Recipe) -> Sides:
    """Train, dev and test: as the data says, dev from ``--dev`` or carved from train."""
    sides: Sides = {"train": [], "dev": [], "test": []}
    for document in documents:
        sides[document.split or "train"].append(document)
    if arguments.dev:
        sides["dev"], found = read_data(arguments.dev, arguments.encoding, kind_of(documents, arguments.labels))
        ledger.entries += found.entries
        ledger.notes += found.notes
    if arguments.corrections is not None:
        correct_labels(sides, arguments.corrections, ledger)
    if arguments.dev:
        name_leaks(sides["train"], sides["dev"], ledger)
    elif not sides["dev"] and recipe.dev_fraction and (chooses(arguments) or not crosses(sides["train"], recipe)):
        carve(sides, ledger, recipe)
    return sides


def chooses(arguments: argparse.Namespace) -> bool:
    """Whether held-out documents have to choose how the bundle is made small: then some must be held out."""
    return getattr(arguments, "max_size", None) is not None or getattr(arguments, "int8", False)


def crosses(train: Sequence[Document], recipe: Recipe) -> bool:
    """Whether no document needs to be held out, as each is judged by a network that did not learn from it."""
    from fenlei import auto

    return auto.crosses([document.text for document in train], recipe)


def corrections(path: str) -> list[Correction]:
    """What a person filled in, for ``type=`` of an argument: the file is read before any data."""
    from fenlei.corpus import read_corrections

    try:
        return read_corrections(path)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{str(error.strerror).lower()}: {path}") from error
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def correct_labels(sides: Sides, found: list[Correction], ledger: Ledger) -> None:
    """Put right labels in the place of wrong ones on every side; what was done is said."""
    from fenlei.corpus import Ledger as NewLedger
    from fenlei.corpus import correct

    done = NewLedger()
    documents = iter(correct([document for side in sides.values() for document in side], found, done))
    for name, side in sides.items():
        sides[name] = [document for document in islice(documents, len(side)) if document is not None]
    for line in done.summary():
        say(line)
    ledger.entries += done.entries
    ledger.notes += done.notes


def carve(sides: Sides, ledger: Ledger, recipe: Recipe) -> None:
    """Move a share of every class from train to dev."""
    from fenlei import corpus

    sides["train"], sides["dev"] = corpus.split_dev(sides["train"], recipe.dev_fraction, recipe.seed)
    share = f"{recipe.dev_fraction:.0%} of each class, seed {recipe.seed}"
    ledger.note(f"{len(sides['dev']):,} documents were held out as dev ({share})")
    say(ledger.notes[-1])


def name_leaks(train: Sequence[Document], dev: Sequence[Document], ledger: Ledger) -> None:
    """Enter and say which dev texts stand in train too."""
    from fenlei.corpus import LEAK

    known = {document.text: document.source for document in train}
    leaks = [document for document in dev if document.text in known]
    for document in leaks:
        ledger.add(LEAK, document.source, known[document.text])
    if leaks:
        say(f"{len(leaks):,} of {len(dev):,} dev texts stand in train too: dev scores will look too good")
