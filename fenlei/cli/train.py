"""``fenlei train``: labelled texts in, a bundle out."""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fenlei.cli.arguments import DATA, add_data, add_kind, add_recipe, add_verb, add_words, recipe_of, require, whole
from fenlei.cli.data import corrections, divide, kind_of, read_data
from fenlei.cli.output import emit, say
from fenlei.cli.test import dev_line, measure, scores_line

if TYPE_CHECKING:
    from fenlei.bundle import Bundle
    from fenlei.cache import Cache
    from fenlei.corpus import Document, Ledger
    from fenlei.learn import Labelled
    from fenlei.recipe import Recipe


def add(verbs: Any) -> None:
    """Its arguments."""
    verb = add_verb(verbs, "train", run, "turn labelled texts into a classifier")
    add_data(verb)
    add_kind(verb)
    verb.add_argument("--dev", metavar="DATA", help=f"held-out data that decides, {DATA} (default: a tenth of DATA)")
    verb.add_argument("--out", default="fenlei-model", metavar="BUNDLE", help="folder to write (default fenlei-model)")
    verb.add_argument("--corrections", type=corrections, metavar="FILE", help="suspects.csv of fenlei check, filled in")
    verb.add_argument("--tokenizer", metavar="NAME", help="chars, words, jieba, ... (default: by the texts' scripts)")
    verb.add_argument("--min-count", type=whole, metavar="N", help="a rarer token is unknown")
    verb.add_argument("--max-size", type=whole, metavar="N", help="tokens in the vocabulary at most")
    add_words(verb)
    add_recipe(verb)
    verb.add_argument("--no-report", action="store_true", help="the bundle gets no report.html")
    verb.add_argument("--no-cache", action="store_true", help="read and encode again, and keep nothing for another run")


def run(arguments: argparse.Namespace) -> None:
    """Everything that can be wrong with the call is found before the data is read."""
    from fenlei import bundle as bundles

    require("torch", "onnx", "sklearn")
    recipe = recipe_of(arguments)
    bundles.check_target(arguments.out)
    with opened(arguments.no_cache) as cache:
        documents, ledger = read_data(arguments.data, arguments.encoding, arguments.labels, cache)
        sides = divide(documents, ledger, arguments, recipe, cache)
        several = kind_of(documents, arguments.labels) == "several"
        bundle = train_on(sides["train"], sides["dev"], recipe, ledger, arguments.quiet, several, cache)
    if not arguments.no_report:
        add_report(bundle, Path(arguments.out).resolve().name)
    folder = bundle.save(arguments.out)
    say(f"dev: {dev_line(bundle.scores, recipe.model)}")
    result: dict[str, Any] = {"bundle": str(folder), "scores": bundle.scores, "ledger": ledger.counts}
    if sides["test"]:
        result["test"] = measure(bundle, sides["test"])
        say(f"test: {scores_line(result['test'])}")
    say_next(folder)
    if arguments.json:
        emit(result)


@contextlib.contextmanager
def opened(without: bool) -> Iterator[Cache]:
    """The user's cache; working space that is gone afterwards ``without`` one, or where it cannot be had."""
    from fenlei.cache import Cache

    with contextlib.ExitStack() as stack:
        cache: Cache | None = None
        if not without:
            try:
                cache = stack.enter_context(Cache())
            except (OSError, RuntimeError) as error:
                say(f"nothing is kept for another run: {error}")
        yield cache or stack.enter_context(Cache.temporary())


def train_on(
    train: Sequence[Document],
    dev: Sequence[Document],
    recipe: Recipe,
    ledger: Ledger,
    quiet: bool,
    several: bool = False,
    cache: Cache | None = None,
) -> Bundle:
    """A trained bundle, not yet saved; progress goes to standard error."""
    from fenlei.learn import learn
    from fenlei.progress import Progress

    say(f"train: {len(train):,} documents; dev: {len(dev):,}")
    if not dev:
        ledger.note("no document is held out: the dev scores are those of the training data")
        say(ledger.notes[-1])
    try:
        with Progress(sys.stderr, quiet=quiet) as progress:
            found = json.loads(ledger.to_json())
            learned, judged = labelled(train, several), labelled(dev or train, several)
            return learn(learned, judged, recipe, progress.show, found, cache)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("nothing was written") from None


def add_report(bundle: Bundle, name: str) -> None:
    """The page about the bundle, into the bundle; it is worth less than the bundle, so no failure of it counts."""
    try:
        require("matplotlib", extra="report")
        from fenlei.report import render

        bundle.report = render(bundle, name)
    except KeyboardInterrupt:
        say("there is no report, the bundle is saved without one: stopped by hand")
    except Exception as error:  # noqa: BLE001
        say(f"there is no report, the bundle is saved without one: {str(error) or type(error).__name__}")


def labelled(documents: Sequence[Document], several: bool) -> Labelled:
    """Columns for ``learn``: one label a text, or several."""
    from fenlei.corpus.store import Column, Store
    from fenlei.learn import Labelled

    if isinstance(documents, Store):
        sets = documents.label_sets
        return Labelled(documents.texts, sets if several else Column([found[0] for found in sets.values], sets.codes))
    texts = [document.text for document in documents]
    if several:
        return Labelled(texts, [document.labels for document in documents])
    return Labelled(texts, [document.label for document in documents])


def say_next(folder: Path) -> None:
    """Where the bundle is, and what to do with it."""
    name = shlex.quote(str(folder))
    say(f"bundle: {name} (model card: {shlex.quote(str(folder / 'README.md'))})")
    if (folder / "report.html").exists():
        say(f"report: {shlex.quote(str(folder / 'report.html'))} (open it in a browser)")
    say(f"next: fenlei predict {name} FILE | fenlei test {name} DATA | fenlei serve {name} | fenlei info {name}")
