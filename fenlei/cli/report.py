"""``fenlei report``: what a bundle is, how it learned and where it errs, as one page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fenlei.cli.arguments import add_verb, require
from fenlei.cli.output import check_output, emit, output, say


def add(verbs: Any) -> None:
    """Its arguments."""
    verb = add_verb(verbs, "report", run, "a page about a bundle: data, curves, scores, confusions, mistakes")
    verb.add_argument("bundle", metavar="BUNDLE", help="a folder that fenlei train wrote")
    verb.add_argument("--out", default="report.html", metavar="FILE", help="the HTML page (default report.html)")


def run(arguments: argparse.Namespace) -> None:
    """Drawn from the bundle alone; without torch."""
    check(arguments)
    require("matplotlib", extra="report")
    from fenlei.bundle import Bundle
    from fenlei.report import parts, render

    page = render(Bundle.load(arguments.bundle), Path(arguments.bundle).resolve().name)
    with output(arguments.out) as stream:
        stream.write(page)
    count = len(page.encode())
    say(f"{arguments.out}: written, {count / 1e3:,.0f} kB; open it in a browser")
    if arguments.json:
        emit({"report": arguments.out, "bytes": count, "sections": parts(page)})


def check(arguments: argparse.Namespace) -> None:
    """What can be wrong with the call."""
    if arguments.out != "-" and not arguments.out.lower().endswith((".html", ".htm")):
        raise argparse.ArgumentTypeError(f"--out writes a page, FILE.html, got {arguments.out!r}")
    check_output(arguments)
