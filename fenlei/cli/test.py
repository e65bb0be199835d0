"""``fenlei test``: accuracy, F1 and confusion of a bundle on labelled texts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fenlei.cli.arguments import add_data, add_verb, require
from fenlei.cli.data import check_known, read_data, say_foreign
from fenlei.cli.output import emit, escaped, say

if TYPE_CHECKING:
    from fenlei.bundle import Bundle
    from fenlei.corpus import Document

ERRORS_SHOWN = 10


def add(verbs: Any) -> None:
    """Its arguments."""
    verb = add_verb(verbs, "test", run, "accuracy, F1 and confusion of a bundle on labelled texts")
    verb.add_argument("bundle", metavar="BUNDLE", help="a folder that fenlei train wrote")
    add_data(verb)


def run(arguments: argparse.Namespace) -> None:
    """Data with a test part is measured on that part, other data on all of it."""
    from fenlei.bundle import Bundle

    require("sklearn")
    bundle = Bundle.load(arguments.bundle)
    documents, _ = read_data(arguments.data, arguments.encoding, "several" if bundle.several else "one")
    held_out = [document for document in documents if document.split == "test"]
    if held_out and len(held_out) < len(documents):
        say(f"measured on the test part: {len(held_out):,} of {len(documents):,} documents")
    say_foreign(held_out or documents, bundle.labels)
    check_known(held_out or documents, bundle.labels)
    result = measure(bundle, held_out or documents)
    if arguments.json:
        emit(result)
    else:
        print("\n".join([scores_line(result), "", *class_lines(result), *error_lines(result)]))


def measure(bundle: Bundle, documents: Sequence[Document]) -> dict[str, Any]:
    """Scores of a bundle on documents, as its runtime answers them."""
    from fenlei.runtime import Predictor
    from fenlei.scoring import assess, hold

    predictor = Predictor(bundle)
    held = hold(predictor, [document.text for document in documents], [document.labels for document in documents])
    return assess(held, predictor.decisions)


def scores_line(result: dict[str, Any]) -> str:
    """The three numbers that matter."""
    name, key = ("micro-F1", "micro_f1") if "micro_f1" in result else ("accuracy", "accuracy")
    return f"{name} {result[key]:.4f}, macro-F1 {result['macro_f1']:.4f}, n {result['n']:,}"


def dev_line(scores: dict[str, Any], network: str | None) -> str:
    """The scores on dev, with the baseline's beside them."""
    linear = scores.get("linear")
    key = "micro_f1" if "micro_f1" in scores["dev"] else "accuracy"
    beside = f" (the linear model alone: {linear[key]:.4f})" if linear and network else ""
    return scores_line(scores["dev"]) + beside


def class_lines(result: dict[str, Any]) -> list[str]:
    """A line a class; labels stand last, for their width on a screen is anyone's guess."""
    lines = [f"{'precision':>9} {'recall':>8} {'f1':>8} {'n':>8}  label"]
    for name, row in result["classes"].items():
        numbers = f"{row['precision']:>9.4f} {row['recall']:>8.4f} {row['f1']:>8.4f} {row['support']:>8,}"
        lines.append(f"{numbers}  {escaped(name)}")
    return lines


def error_lines(result: dict[str, Any]) -> list[str]:
    """The pairs of classes that were confused most often."""
    confusion = result.get("confusion", {"labels": [], "rows": []})  # with several labels a text there is none
    names, rows = confusion["labels"], confusion["rows"]
    pairs = [(n, names[i], names[j]) for i, row in enumerate(rows) for j, n in enumerate(row) if i != j and n]
    worst = sorted(pairs, key=lambda each: -each[0])[:ERRORS_SHOWN]
    lines = [f"{n:>9,}  {escaped(true)} -> {escaped(predicted)}" for n, true, predicted in worst]
    return ["", "most frequent errors (true -> predicted):", *lines] if lines else []
