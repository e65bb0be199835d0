"""``fenlei info``: what a bundle is, where it came from, and whether it still answers as it did."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fenlei.cli.arguments import add_verb
from fenlei.cli.output import emit, escaped
from fenlei.cli.test import dev_line

if TYPE_CHECKING:
    from fenlei.bundle import Bundle

LABELS_SHOWN = 20


def add(verbs: Any) -> None:
    """Its arguments."""
    verb = add_verb(verbs, "info", run, "what a bundle is: classes, sizes, scores, recipe, versions")
    verb.add_argument("bundle", metavar="BUNDLE", help="a folder that fenlei train wrote")
    verb.add_argument("--verify", action="store_true", help="answer the golden inputs again and compare")


def run(arguments: argparse.Namespace) -> None:
    """Loading alone already checks every file against the manifest."""
    from fenlei import bundle as bundles

    bundle = bundles.Bundle.load(arguments.bundle)
    facts = facts_of(bundle) | {"bytes": bundles.size(arguments.bundle)}
    if arguments.verify:
        from fenlei.runtime import Predictor

        facts["verified"] = {"inputs": len(bundle.golden), "largest_difference": Predictor(bundle).verify()}
    if arguments.json:
        emit(facts)
    else:
        for name, value in lines(facts):
            print(f"{name:>10}  {value}")


def facts_of(bundle: Bundle) -> dict[str, Any]:
    """The keys of ``--json``."""
    scores = bundle.scores
    return {
        "labels": bundle.labels,
        "classes": len(bundle.labels),
        "model": bundle.model,
        "network": bundle.network,
        "vocabulary": len(bundle.vocab),
        "parameters": sum(int(array.size) for array in bundle.weights.values()),
        "tokenizer": bundle.pipeline["tokenizer"],
        "dev": dev_scores(scores["dev"]) if scores.get("dev") else None,
        "linear": scores.get("linear"),
        "shrunk": scores.get("shrunk"),
        "int8": scores.get("int8"),
        "epochs": [len(history) for history in scores.get("epochs", ())],
        "seconds": scores.get("seconds"),
        "ledger": bundle.ledger.get("counts", {}),
        "unlabelled": bundle.ledger.get("unlabelled"),
        "recipe": bundle.recipe,
        "versions": bundle.versions,
        "digest": bundle.digest(),
    }


def dev_scores(dev: dict[str, Any]) -> dict[str, Any]:
    """The numbers that fit into a line."""
    return {name: dev[name] for name in ("accuracy", "micro_f1", "macro_f1", "n") if name in dev}


def lines(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The same for people: what was left as it comes is not said."""
    shown = [escaped(label) for label in facts["labels"][:LABELS_SHOWN]]
    more = facts["classes"] - len(shown)
    yield "classes", f"{facts['classes']:,}: {', '.join(shown)}" + (f" and {more:,} more" if more else "")
    yield "network", network_line(facts)
    yield "size", f"{facts['bytes'] / 1e6:,.2f} MB, {facts['parameters']:,} parameters"
    if facts["shrunk"]:
        yield "small", f"made of a bundle of {facts['shrunk']['from_bytes'] / 1e6:,.2f} MB by fenlei shrink"
    if facts["int8"]:
        agreement, speed = facts["int8"]["agreement"], facts["int8"]["speed"]
        yield (
            "8 bits",
            f"{agreement:.2%} of the held-out texts' labels stay, {speed:.2f} times as fast where it was made",
        )
    yield "tokens", f"{facts['tokenizer']['name']}, {facts['vocabulary']:,} in the vocabulary"
    if facts["dev"]:
        yield "dev", dev_line(facts, facts["network"])
        yield "trained", f"{trained(facts['epochs'])}{facts['seconds']} s"
    if facts["ledger"]:
        yield "inputs", listed(facts["ledger"])
    if facts["unlabelled"]:
        yield "unlabelled", listed(facts["unlabelled"])
    yield "recipe", listed(changed(facts["recipe"])) or "the defaults"
    yield "made with", ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    yield "digest", facts["digest"]
    if "verified" in facts:
        found = f"largest difference {facts['verified']['largest_difference']:.2g}"
        yield "verified", f"{facts['verified']['inputs']} golden inputs answered again, {found}"


def network_line(facts: dict[str, Any]) -> str:
    """Which network answers; one that was trained and left out is named, too."""
    from fenlei.bundle import without_network

    if facts["network"]:
        count, options = facts["model"].get("branches", 1), listed(facts["model"]["options"])
        several = f", {count} networks together" if count > 1 else ""
        return f"{facts['network']} ({options}){several}" if options else f"{facts['network']}{several}"
    return without_network(facts["model"])


def trained(epochs: list[int]) -> str:
    """How many epochs each network took; nothing for the linear model alone."""
    return f"{' + '.join(map(str, epochs))} epochs, " if epochs else ""


def listed(values: dict[str, Any]) -> str:
    """Names and values in one line."""
    return ", ".join(f"{name} {escaped(str(value))}" for name, value in values.items())


def changed(recipe: dict[str, Any]) -> dict[str, Any]:
    """The settings that are not the defaults, the network's own left out."""
    from fenlei.recipe import Recipe

    defaults = asdict(Recipe())
    return {name: value for name, value in recipe.items() if name != "options" and value != defaults.get(name)}
