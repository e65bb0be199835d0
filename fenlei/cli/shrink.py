"""``fenlei shrink``: a bundle made as small as asked, at the least loss on held-out texts."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fenlei.cli.arguments import DATA, add_verb, existing, require, size
from fenlei.cli.data import read_data, say_foreign
from fenlei.cli.output import emit, say

if TYPE_CHECKING:
    from fenlei.bundle import Bundle
    from fenlei.corpus import Document
    from fenlei.shrink import Candidate, Shrunk


def add(verbs: Any) -> None:
    """Its arguments."""
    verb = add_verb(
        verbs, "shrink", run, "make a bundle as small as asked, or faster, at the least loss on held-out texts"
    )
    verb.add_argument("bundle", metavar="BUNDLE", help="a folder that fenlei train wrote")
    add_small(verb, required=True)
    verb.add_argument("--dev", type=existing, required=True, metavar="DATA", help=f"held-out data that decides, {DATA}")
    verb.add_argument("--encoding", metavar="NAME", help="of every file, such as gb18030 (default: found)")
    verb.add_argument("--out", metavar="FOLDER", help="where the new bundle goes (default: BUNDLE-small)")


def add_small(verb: Any, required: bool = False) -> None:
    """What makes a bundle smaller or faster."""
    ways = verb.add_mutually_exclusive_group(required=required)
    ways.add_argument("--max-size", type=size, metavar="SIZE", help="of the folder, such as 2MB or 300KB")
    ways.add_argument(
        "--int8", action="store_true", help="mingru and LSTM layers compute in 8 bits, if dev is answered the same"
    )


def run(arguments: argparse.Namespace) -> None:
    """The bundle itself is left as it is."""
    from fenlei import bundle as bundles

    require("torch", "onnx", "sklearn")
    out = arguments.out or f"{arguments.bundle.rstrip('/')}-small"
    target = bundles.check_target(out)
    if target == Path(arguments.bundle).resolve():
        raise argparse.ArgumentTypeError(
            f"--out {out} is the bundle itself, which is left as it is: name another folder"
        )
    bundle = bundles.Bundle.load(arguments.bundle)
    documents, _ = read_data(arguments.dev, arguments.encoding, "several" if bundle.several else "one")
    held_out = [document for document in documents if document.split == "dev"] or documents
    say_foreign(held_out, bundle.labels)
    made, found = smaller(bundle, held_out, arguments, say if arguments.json else print)
    folder = made.save(out)
    say(f"bundle: {folder}")
    if arguments.json:
        emit({"bundle": str(folder)} | found)


def smaller(
    bundle: Bundle, documents: Sequence[Document], arguments: argparse.Namespace, show: Callable[[str], None]
) -> tuple[Bundle, dict[str, Any]]:
    """The bundle that ``add_small`` asks for, and what ``--json`` says of the way to it."""
    from fenlei.shrink import in_int8, shrink

    texts, labels = [document.text for document in documents], [document.labels for document in documents]
    if arguments.int8:
        made = in_int8(bundle, texts, labels, say)
        return made.bundle, {"int8": made.bundle.scores["int8"]}
    most = arguments.max_size
    shrunk = shrink(bundle, texts, labels, most, say)
    for line in lines(shrunk):
        show(line)
    return shrunk.bundle, {
        "max_bytes": most,
        "measure": shrunk.measure,
        "full": facts(shrunk.full),
        "candidates": [facts(each) for each in shrunk.candidates],
    }


def facts(candidate: Candidate) -> dict[str, Any]:
    """A row of the table."""
    return candidate._asdict()


def lines(shrunk: Shrunk) -> Iterator[str]:
    """The table of size against quality, the chosen row marked."""
    yield f"{'kB':>10} {shrunk.measure:>9} {'n-grams':>9} {'weights':>9}  network"
    for each in [*shrunk.candidates, *([] if shrunk.candidates[-1].network == shrunk.full.network else [shrunk.full])]:
        mark = "  <- chosen" if each.chosen else ""
        yield (
            f"{each.bytes / 1e3:>10,.1f} {each.quality:>9.4f} {each.ngrams:>9,} {each.weights:>9}  {each.network}{mark}"
        )
    yield "Sizes are of the whole folder without report.html."
    if shrunk.measure == "micro-F1":
        yield "Micro-F1 is that at the best threshold for all labels together; fenlei test takes each label's own."
