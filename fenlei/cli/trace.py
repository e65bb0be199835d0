"""``fenlei trace``: watch a network read one text, step by step."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fenlei.cli.arguments import add_verb, require
from fenlei.cli.output import check_output, emit, escaped, output, say

if TYPE_CHECKING:
    from fenlei.bundle import Bundle
    from fenlei.trace import Section, Trace

PICTURES = (".html", ".svg")


def add(verbs: Any) -> None:
    """Its arguments."""
    verb = add_verb(verbs, "trace", run, "watch a network read one text: gates, states, attention, gradients")
    verb.add_argument("bundle", metavar="BUNDLE", help="a folder that fenlei train wrote")
    verb.add_argument("text", metavar="TEXT", help="the text itself; - is standard input")
    verb.add_argument("--gradients", action="store_true", help="how much each step still contributes to the loss")
    verb.add_argument("--against", action="append", default=[], metavar="BUNDLE", help="compare gradients; repeatable")
    verb.add_argument("--out", metavar="FILE", help="a picture: FILE.html or FILE.svg")


def run(arguments: argparse.Namespace) -> None:
    """Numbers from the equations, held against the runtime's answer."""
    check(arguments)
    require("torch", "onnx")
    from fenlei.bundle import Bundle
    from fenlei.trace import compared, page, sections, svg

    text = text_of(arguments)
    bundles = [(name, Bundle.load(name)) for name in (arguments.bundle, *arguments.against)]
    traces = [(name, watch(name, bundle, text, arguments.gradients)) for name, bundle in bundles]
    shown = [compared(traces)] if arguments.gradients else []
    if not arguments.against:
        shown += sections(traces[0][1])
    heading = [answer(name, found) for name, found in traces]
    if arguments.out:
        draw = page if arguments.out.lower().endswith(".html") else svg
        with output(arguments.out) as stream:
            stream.write(draw(heading, shown))
        say(f"{arguments.out}: {len(traces[0][1].tokens):,} tokens")
    if arguments.json:
        found, *others = [found.to_json() for _, found in traces]
        emit(found | ({"against": others} if others else {}))
    elif not arguments.out:
        for line in (*heading, *listed(shown)):
            print(line)


def check(arguments: argparse.Namespace) -> None:
    """What can be wrong with the call."""
    if arguments.against and not arguments.gradients:
        raise argparse.ArgumentTypeError("--against compares gradients: add --gradients")
    if arguments.out:
        if not arguments.out.lower().endswith(PICTURES):
            raise argparse.ArgumentTypeError(f"--out draws {' or '.join(PICTURES)}, got {arguments.out!r}")
        check_output(arguments)


def text_of(arguments: argparse.Namespace) -> str:
    """The argument, or all of standard input."""
    if arguments.text != "-":
        return str(arguments.text)
    from fenlei.corpus import read_lines

    return "\n".join(read_lines(sys.stdin.buffer))


def watch(name: str, bundle: Bundle, text: str, gradients: bool) -> Trace:
    """One bundle's trace; an error names it."""
    from fenlei.trace import trace

    try:
        return trace(bundle, text, gradients)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def answer(name: str, found: Trace) -> str:
    """The header: whose answer, which, and that the equations give it too."""
    said = f"{escaped(found.label)} {found.probability:.4f}"
    parts = {"network": f"({found.model})" if " + " in found.model else found.model, "linear": "linear"}
    summed = " + ".join(f"{scale:.2f} x {parts[kind]}" for kind, scale in found.scales.items())
    return f"{name}: {said} = {summed} (equations and runtime differ by {found.difference:.1e})"


def listed(shown: list[Section]) -> Iterator[str]:
    """Every section after an empty line; colours for a terminal only."""
    from fenlei.trace import lines

    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for section in shown:
        yield ""
        yield from lines(section, colour)
