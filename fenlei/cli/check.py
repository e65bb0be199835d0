"""``fenlei check``: what is wrong with labelled data, before any training."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from fenlei.cli.arguments import DATA, add_data, add_kind, add_verb, existing, require, whole
from fenlei.cli.data import kind_of
from fenlei.cli.output import check_output, emit, output, say

if TYPE_CHECKING:
    from fenlei.check import Finding, Report
    from fenlei.check.near import Ints
    from fenlei.corpus import Document, Ledger

SUSPECTS = "suspects.csv"
COLUMNS = 100  # of a page where there is no terminal


def add(verbs: Any) -> None:
    """Its arguments."""
    verb = add_verb(verbs, "check", run, "what is wrong with labelled data, before any training")
    add_data(verb)
    add_kind(verb)
    verb.add_argument("--dev", type=existing, metavar="DATA", help=f"held-out data to compare with, {DATA}")
    verb.add_argument("--strict", action="store_true", help="exit status 1 where there is a fault")
    verb.add_argument("--deep", action="store_true", help="labels that look wrong too: a model judges unseen documents")
    verb.add_argument("--out", metavar="FILE", help=f"where --deep writes them, to fill in (default {SUSPECTS})")
    verb.add_argument("--folds", type=partial(whole, least=2), metavar="N", help="parts that --deep makes (default 5)")
    verb.add_argument("--seed", type=partial(whole, least=0), metavar="N", help="of the parts of --deep (default 0)")


def run(arguments: argparse.Namespace) -> None:
    """The report is the result; with ``--strict`` a fault fails the work."""
    check(arguments)
    from fenlei.check import examine

    documents, ledger = gather(arguments)
    report, groups = examine(documents, ledger)
    if arguments.deep:
        report = report.joined(deepened(documents, groups, arguments))
    show(report, arguments.json)
    if arguments.strict and report.faults:
        topics = ", ".join(finding.topic for finding in report.faults)
        raise ValueError(f"{len(report.faults)} fault{'s' * (len(report.faults) > 1)} found: {topics}")


def check(arguments: argparse.Namespace) -> None:
    """What can be wrong with the call."""
    if arguments.deep:
        require("torch", "sklearn")
        arguments.out = arguments.out or SUSPECTS
        if arguments.out == "-":
            raise argparse.ArgumentTypeError("--out -: standard output is for the report, name a file")
        check_output(arguments)
    elif given := [name for name in ("out", "folds", "seed") if getattr(arguments, name) is not None]:
        raise argparse.ArgumentTypeError(f"--{given[0]} is for labels that look wrong: add --deep")


def gather(arguments: argparse.Namespace) -> tuple[list[Document], Ledger]:
    """The documents as ``train`` takes them: those of ``--dev`` stand in the place of a dev part of DATA."""
    from fenlei import corpus

    found, ledger = corpus.read(arguments.data, encoding=arguments.encoding, labels=arguments.labels)
    documents = list(found)
    if arguments.dev:
        kind = kind_of(documents, arguments.labels)
        held_out, entered = corpus.read(arguments.dev, encoding=arguments.encoding, labels=kind)
        documents = [document for document in documents if document.split != "dev"]
        documents += [document._replace(split="dev") for document in held_out]
        ledger.merge(entered)
    return documents, ledger


def deepened(documents: list[Document], groups: Ints, arguments: argparse.Namespace) -> Finding:
    """Labels that look wrong; the documents that carry them are written to ``--out``."""
    from fenlei.check.suspects import FOLDS, finding, judge, suspects
    from fenlei.corpus import Suspicion, write_suspects

    say(f"judging {len(documents):,} documents, each by a model that has not seen it")
    try:
        found = suspects(judge(documents, groups, arguments.folds or FOLDS, arguments.seed or 0, say))
    except ValueError as error:
        say(f"{arguments.out} is not written: {error}")
        return finding(documents, [], f"Labels were not judged: {error}.")
    with output(arguments.out) as stream:
        write_suspects((Suspicion(documents[row], label, p) for row, label, p in found), stream)
    say(f"{arguments.out}: {len(found):,} documents; fill in the column `correct`, then train with --corrections")
    return finding(documents, found)


def show(report: Report, as_json: bool) -> None:
    """One JSON object, or lines as wide as the terminal, coloured on one."""
    from fenlei.check import lines

    if as_json:
        emit(report.to_json())
        return
    terminal = sys.stdout.isatty()
    columns = shutil.get_terminal_size().columns if terminal else COLUMNS
    for line in lines(report, columns, terminal and "NO_COLOR" not in os.environ):
        print(line)
    sys.stdout.flush()
