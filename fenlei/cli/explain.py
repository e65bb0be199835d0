"""``fenlei explain``: which words carried the decision."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from fenlei.cli.arguments import add_verb
from fenlei.cli.output import check_output, emit, output, say

if TYPE_CHECKING:
    from fenlei.explain import Explanation


def add(verbs: Any) -> None:
    """Its arguments."""
    verb = add_verb(verbs, "explain", run, "which words carried the decision: each left out in turn")
    verb.add_argument("bundle", metavar="BUNDLE", help="a folder that fenlei train wrote")
    verb.add_argument("text", metavar="TEXT", nargs="?", help="the text itself; - is standard input, a text a line")
    verb.add_argument(
        "--file", metavar="FILE", help="texts, one a line, or a table with a column of them, in place of TEXT"
    )
    verb.add_argument("--encoding", metavar="NAME", help="of FILE (default: found)")
    verb.add_argument("--label", metavar="NAME", help="explain this label (default: the likeliest of each text)")
    verb.add_argument("--out", metavar="FILE", help="an HTML page")


def run(arguments: argparse.Namespace) -> None:
    """One text or many; without torch."""
    if (arguments.text is None) == (arguments.file is None):
        raise argparse.ArgumentTypeError("give a TEXT or --file FILE, one of the two")
    if arguments.encoding and arguments.file is None and arguments.text != "-":
        raise argparse.ArgumentTypeError("--encoding is that of a file or of standard input, not of TEXT: leave it out")
    if arguments.out:
        if not arguments.out.lower().endswith(".html"):
            raise argparse.ArgumentTypeError(f"--out writes a page, FILE.html, got {arguments.out!r}")
        check_output(arguments)
    from fenlei.explain import page

    if arguments.text is not None and os.path.isfile(arguments.text):
        say(f"{arguments.text} is explained as a text, though there is a file of that name: --file reads the file")
    found = explanations(arguments)
    if arguments.out:
        if not (shown := list(found)):
            raise ValueError(
                f"{arguments.file or 'the input'} holds no text, a line each: {arguments.out} is not written"
            )
        with output(arguments.out) as stream:
            stream.write(page(shown))
        say(f"{arguments.out}: written")
    elif arguments.json:
        emit({"explanations": [each.to_json() for each in found]})
    else:
        show(found)


def explanations(arguments: argparse.Namespace) -> Iterator[Explanation]:
    """One a text, as they are found."""
    from fenlei.explain import explain
    from fenlei.runtime import Predictor

    predictor = Predictor(arguments.bundle)
    if arguments.label is not None and arguments.label not in predictor.labels:
        names = ", ".join(predictor.labels[:20])
        raise argparse.ArgumentTypeError(f"there is no label {arguments.label!r}; the labels are {names}")
    for text in texts_of(arguments):
        yield explain(predictor, text, arguments.label)


def texts_of(arguments: argparse.Namespace) -> Iterable[str]:
    """The argument, the lines of the file, or those of standard input."""
    from fenlei.corpus import read_lines

    if arguments.file is not None:
        return read_lines(arguments.file, arguments.encoding, say)
    return read_lines(sys.stdin.buffer, arguments.encoding) if arguments.text == "-" else [str(arguments.text)]


def show(found: Iterable[Explanation]) -> None:
    """Coloured on a terminal; an empty line between two texts."""
    from fenlei.explain import lines

    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for number, each in enumerate(found):
        if number:
            print()
        for line in lines(each, colour):
            print(line)
