"""``fenlei predict``: texts in, one a line; labels with their probabilities out."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fenlei.cli.arguments import add_rule, add_verb, require, rule_of
from fenlei.cli.output import say
from fenlei.cli.writers import WRITERS, Row

if TYPE_CHECKING:
    from fenlei.bundle import Bundle
    from fenlei.decisions import Rule


def add(verbs: Any) -> None:
    """Its arguments."""
    verb = add_verb(verbs, "predict", run, "label texts, one a line")
    verb.add_argument("bundle", metavar="BUNDLE", help="a folder that fenlei train wrote")
    verb.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        default="-",
        help="texts, one a line, or a csv, tsv, jsonl, parquet or xlsx file with a column of them; - is standard input",
    )
    add_rule(verb)
    verb.add_argument("--format", choices=("tsv", "jsonl", "csv", "parquet"), help="default tsv")
    verb.add_argument("--encoding", metavar="NAME", help="of the texts (default: found; UTF-8 on standard input)")


def run(arguments: argparse.Namespace) -> None:
    """Any number of texts in constant memory."""
    from fenlei.bundle import Bundle
    from fenlei.corpus import read_lines

    if arguments.json and arguments.format:
        raise argparse.ArgumentTypeError(
            f"--json and --format {arguments.format} exclude one another: give one of them"
        )
    if arguments.format == "parquet":
        check_parquet()
    bundle = Bundle.load(arguments.bundle)
    if arguments.file != "-" and not os.path.exists(arguments.file):
        piped = f"echo TEXT | fenlei predict {shlex.quote(arguments.bundle)} -"
        raise FileNotFoundError(f"no such file or directory: {arguments.file}; a text itself is given by {piped}")
    if arguments.file != "-" and Path(arguments.file).is_dir():
        raise IsADirectoryError(f"{arguments.file} is a folder where a file of texts, one a line, was expected")
    if arguments.file == "-" and sys.stdin.isatty():
        say("texts, one a line; Ctrl-D ends")
    texts = read_lines(sys.stdin.buffer if arguments.file == "-" else arguments.file, arguments.encoding, say)
    write = WRITERS["json" if arguments.json else arguments.format or "tsv"]
    rule = rule_of(arguments)
    write(answers(bundle, texts, rule), sys.stdout, columns(bundle, rule))


def check_parquet() -> None:
    """Raise, before the work begins, where parquet cannot be written."""
    require("pyarrow", extra="table")
    if sys.stdout.isatty():
        raise argparse.ArgumentTypeError("parquet is nothing for a terminal: send it to a file, with > answers.parquet")


def columns(bundle: Bundle, rule: Rule) -> int:
    """Labels that one text can have at most."""
    return min(rule.top or (len(bundle.labels) if bundle.several else 1), len(bundle.labels))


def answers(bundle: Bundle, texts: Iterable[str], rule: Rule) -> Iterator[Row]:
    """The labels of each text as the rule says, probabilities to six decimals."""
    from fenlei.runtime import Predictor

    shown, read = tee(texts)  # the predictor reads ahead by one chunk, no more
    for text, answer in zip(shown, Predictor(bundle).answer(read, rule), strict=True):
        probabilities = [round(probability, 6) for probability in answer.probabilities]
        yield Row(text, answer.labels, probabilities, answer.unknown)
