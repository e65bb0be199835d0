"""Labelled data for the verbs: read it, say what was found, divide it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fenlei.cli.output import say

if TYPE_CHECKING:
    from fenlei.corpus import Document, Ledger
    from fenlei.recipe import Recipe

Sides = dict[str, "list[Document]"]


def read_data(path: str, encoding: str | None, labels: str = "auto") -> tuple[list[Document], Ledger]:
    """The documents of ``path``; what was decided and skipped is said. ``labels`` is that of ``corpus.read``."""
    from fenlei import corpus

    documents, ledger = corpus.read(path, encoding=encoding, labels=labels)
    for line in ledger.summary():
        say(line)
    return documents, ledger


def kind_of(documents: Sequence[Document]) -> str:
    """Whether texts were found to have one label or several: other data for the same classifier is read alike."""
    return "several" if any(document.others for document in documents) else "one"


def divide(documents: Sequence[Document], ledger: Ledger, arguments: argparse.Namespace, recipe: Recipe) -> Sides:
    """Train, dev and test: as the data says, dev from ``--dev`` or carved from train."""
    sides: Sides = {"train": [], "dev": [], "test": []}
    for document in documents:
        sides[document.split or "train"].append(document)
    if arguments.dev:
        sides["dev"], found = read_data(arguments.dev, arguments.encoding, kind_of(documents))
        ledger.entries += found.entries
        ledger.notes += found.notes
        name_leaks(sides["train"], sides["dev"], ledger)
    elif not sides["dev"] and recipe.dev_fraction:
        carve(sides, ledger, recipe)
    return sides


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
