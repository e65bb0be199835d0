"""Labelled data for the verbs: read it, say what was found, divide it."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fenlei.cli.output import escaped, say

if TYPE_CHECKING:
    from fenlei.cache import Cache
    from fenlei.corpus import Correction, Document, Ledger, Unlabelled
    from fenlei.recipe import Recipe

# What is carved at most: past this dev only takes longer, and the error of its accuracy is 0.2 points at 90 %.
MOST_DEV = 20_000
MOST_DEV_BYTES = 50_000_000  # of text, of a corpus in files

Sides = dict[str, "Sequence[Document]"]


def read_data(
    path: str, encoding: str | None, labels: str = "auto", cache: Cache | None = None
) -> tuple[Sequence[Document], Ledger]:
    """The documents of ``path``; what was decided and skipped is said. The rest are arguments of ``corpus.read``."""
    from fenlei import corpus

    documents, ledger = corpus.read(path, encoding=encoding, labels=labels, cache=cache)
    for line in ledger.summary():
        say(line)
    return documents, ledger


def kind_of(documents: Sequence[Document], asked: str = "auto") -> str:
    """Whether texts have one label or several, asked for or found: other data for the same classifier is read alike."""
    from fenlei.corpus.documents import used

    found = "several" if any(len(labels) > 1 for labels in used(documents)) else "one"
    return found if asked == "auto" else asked


def divide(
    documents: Sequence[Document],
    ledger: Ledger,
    arguments: argparse.Namespace,
    recipe: Recipe,
    cache: Cache | None = None,
) -> Sides:
    """Train, dev and test: as the data says, dev from ``--dev`` or carved from train."""
    from fenlei.corpus.store import by_split

    sides = by_split(documents)
    if arguments.dev:
        kind = kind_of(documents, arguments.labels)
        sides["dev"], found = read_data(arguments.dev, arguments.encoding, kind, cache)
        ledger.merge(found)
    if arguments.corrections is not None:
        correct_labels(sides, arguments.corrections, ledger)
    if arguments.dev:
        name_leaks(sides["train"], sides["dev"], ledger)
    elif not sides["dev"] and recipe.dev_fraction and (chooses(arguments) or not crosses(sides["train"], recipe)):
        carve(sides, ledger, recipe)
    return sides


def unlabelled(sides: Sides, ledger: Ledger, arguments: argparse.Namespace, recipe: Recipe) -> Unlabelled | None:
    """The texts of ``--unlabelled`` that are not labelled and judge nothing; what was decided and skipped is said."""
    from fenlei import corpus
    from fenlei.corpus.store import texts_of

    if not arguments.unlabelled:
        return None
    own = corpus.Ledger()
    found = corpus.draw(
        corpus.read_unlabelled(arguments.unlabelled, arguments.encoding, own),
        texts_of(sides["train"]),
        [texts_of(sides[name]) for name in ("dev", "test")],
        most=arguments.most_unlabelled or corpus.MOST_UNLABELLED,
        seed=recipe.seed,
    )
    for line in own.summary():
        say(line)
    ledger.merge(own)
    ledger.note(found.sentence)
    return found


def say_foreign(documents: Sequence[Document], labels: Sequence[str]) -> None:
    """Name the labels of documents that a classifier, whose ``labels`` are others, cannot answer with."""
    known = set(labels)
    counts = Counter(label for document in documents for label in document.labels if label not in known)
    if counts:
        shown = ", ".join(escaped(label) for label, _ in counts.most_common(5)) + (", ..." if len(counts) > 5 else "")
        say(f"{counts.total():,} labels of the {len(documents):,} documents are not among the bundle's: {shown}")


def check_known(documents: Sequence[Document], labels: Sequence[str]) -> None:
    """ValueError where no document has a label that the classifier knows: there is nothing to measure."""
    known = set(labels)
    if not any(known & set(document.labels) or not document.labels for document in documents):
        raise ValueError(f"no text has a label of this classifier, such as {labels[0]!r}: name other data")


def chooses(arguments: argparse.Namespace) -> bool:
    """Whether held-out documents have to choose how the bundle is made small: then some must be held out."""
    return getattr(arguments, "max_size", None) is not None or getattr(arguments, "int8", False)


def crosses(train: Sequence[Document], recipe: Recipe) -> bool:
    """Whether no document needs to be held out, as each is judged by a network that did not learn from it."""
    from fenlei import auto
    from fenlei.corpus.store import texts_of

    return auto.crosses(texts_of(train), recipe)


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
    from fenlei.corpus.corrections import changes
    from fenlei.corpus.store import amend

    done, start = NewLedger(), 0
    changed = changes(list(sides.values()), found, done)
    for name, side in sides.items():
        own = {place - start: each for place, each in changed.items() if start <= place < start + len(side)}
        sides[name], start = amend(side, own), start + len(side)
    for line in done.summary():
        say(line)
    ledger.merge(done)


def carve(sides: Sides, ledger: Ledger, recipe: Recipe) -> None:
    """Move a share of every class from train to dev, at most ``MOST_DEV`` documents."""
    from fenlei import corpus
    from fenlei.corpus.store import Store

    fraction = min(recipe.dev_fraction, MOST_DEV / max(1, len(sides["train"])))
    if isinstance(sides["train"], Store):
        fraction = min(fraction, MOST_DEV_BYTES / max(1, int(sides["train"].texts.sizes.sum())))
    sides["train"], sides["dev"] = corpus.split_dev(sides["train"], fraction, recipe.seed)
    share = f"{fraction:.{0 if fraction >= 0.01 else 2}%} of each class, seed {recipe.seed}"
    enough = ": more would only take longer" if fraction < recipe.dev_fraction else ""
    ledger.note(f"{len(sides['dev']):,} documents were held out as dev ({share}){enough}")
    say(ledger.notes[-1])


def name_leaks(train: Sequence[Document], dev: Sequence[Document], ledger: Ledger) -> None:
    """Enter and say which dev texts stand in train too."""
    from fenlei.corpus import LEAK
    from fenlei.corpus.store import common

    leaks = common(train, dev)
    for earlier, document in leaks:
        ledger.add(LEAK, document.source, earlier.source)
    if leaks:
        say(f"{len(leaks):,} of {len(dev):,} dev texts stand in train too: dev scores will look too good")
