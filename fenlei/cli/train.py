"""``fenlei train``: labelled texts in, a bundle out."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fenlei.cli.arguments import (
    DATA,
    add_data,
    add_kind,
    add_recipe,
    add_verb,
    add_words,
    at_least,
    existing,
    named,
    recipe_of,
    require,
    whole,
)
from fenlei.cli.data import corrections, crosses, divide, kind_of, read_data, unlabelled
from fenlei.cli.output import emit, say
from fenlei.cli.shrink import add_small, smaller
from fenlei.cli.test import dev_line, measure, scores_line

if TYPE_CHECKING:
    from fenlei.bundle import Bundle
    from fenlei.cache import Cache
    from fenlei.checkpoint import Checkpoint
    from fenlei.corpus import Document, Ledger, Unlabelled
    from fenlei.learn import Labelled
    from fenlei.recipe import Recipe


def add(verbs: Any) -> None:
    """Its arguments."""
    verb = add_verb(verbs, "train", run, "turn labelled texts into a classifier")
    add_data(verb)
    add_kind(verb)
    verb.add_argument(
        "--dev",
        type=existing,
        metavar="DATA",
        help=f"held-out data that decides, {DATA} (default: of few texts none, else a tenth of DATA)",
    )
    verb.add_argument(
        "--unlabelled",
        nargs="+",
        type=named,
        default=[],
        metavar="FILE",
        help="texts without labels to learn from too: plain text, one a line, or anything that DATA can be",
    )
    verb.add_argument(
        "--most-unlabelled", type=whole, metavar="N", help="of these at most so many, drawn by lot (default 50,000)"
    )
    verb.add_argument("--out", default="fenlei-model", metavar="BUNDLE", help="folder to write (default fenlei-model)")
    verb.add_argument("--corrections", type=corrections, metavar="FILE", help="suspects.csv of fenlei check, filled in")
    verb.add_argument("--tokenizer", metavar="NAME", help="chars, words, jieba, ... (default: by the texts' scripts)")
    verb.add_argument("--min-count", type=whole, metavar="N", help="a rarer token is unknown")
    verb.add_argument("--vocab-size", type=whole, metavar="N", help="tokens in the vocabulary at most")
    add_small(verb)
    add_words(verb)
    add_recipe(verb)
    verb.add_argument(
        "--device", choices=("cpu", "cuda", "auto"), help="what trains (default cpu; auto: CUDA if there)"
    )
    verb.add_argument("--resume", action="store_true", help="go on from the checkpoint of a training that was killed")
    verb.add_argument(
        "--checkpoint-minutes",
        type=partial(at_least, least=0.0),
        metavar="N",
        help="between two checkpoints in BUNDLE.checkpoint (default 5, more where writing takes long; 0: none)",
    )
    verb.add_argument("--no-report", action="store_true", help="the bundle gets no report.html")
    verb.add_argument("--no-cache", action="store_true", help="read and encode again, and keep nothing for another run")


def run(arguments: argparse.Namespace) -> None:
    """Everything that can be wrong with the call is found before the data is read."""
    require("torch", "onnx", "sklearn")
    from fenlei import bundle as bundles
    from fenlei import ranks
    from fenlei.interrupts import finishing

    recipe = recipe_of(arguments)
    if arguments.max_size is not None or arguments.int8:  # one network, judged by what is held out
        recipe = recipe.change(branches=recipe.branches or 1)
    if arguments.int8:
        check_rounded(recipe)
    check_device(recipe)
    bundles.check_target(arguments.out)
    check_unlabelled(arguments)
    if ranks.rank_of() > 0:
        help_train(arguments, recipe)
        return
    with checkpoint_of(arguments, recipe) as checkpoint, opened(arguments.no_cache) as cache:
        documents, ledger = read_data(arguments.data, arguments.encoding, arguments.labels, cache)
        sides = divide(documents, ledger, arguments, recipe, cache)
        several = kind_of(documents, arguments.labels) == "several"
        others = unlabelled(sides, ledger, arguments, recipe)
        bundle = train_on(
            sides["train"], sides["dev"], recipe, ledger, arguments.quiet, several, checkpoint, cache, others
        )
        with finishing(partial(say, "stopped by hand: the bundle is being saved; Ctrl-C once more gives it up")):
            bundle, shrunk = within(bundle, sides["dev"] or sides["train"], arguments)
            if not arguments.no_report:
                add_report(bundle, Path(arguments.out).resolve().name)
            folder = bundle.save(arguments.out)
            checkpoint.remove()
    say(f"dev: {dev_line(bundle.scores, bundle.network)}")
    result: dict[str, Any] = {"bundle": str(folder), "scores": bundle.scores, "ledger": ledger.counts} | shrunk
    if others is not None:
        result["unlabelled"] = others.counts
    if sides["test"]:
        result["test"] = measure(bundle, sides["test"])
        say(f"test: {scores_line(result['test'])}")
    say_next(folder)
    if arguments.json:
        emit(result)


def within(bundle: Bundle, dev: Sequence[Document], arguments: argparse.Namespace) -> tuple[Bundle, dict[str, Any]]:
    """The bundle made as small or fast as asked; where that cannot be, it is saved whole: it took long to train."""
    if arguments.max_size is None and not arguments.int8:
        return bundle, {}
    try:
        return smaller(bundle, dev, arguments, say)
    except ValueError as error:
        raise ValueError(f"{error}; the whole bundle was saved to {bundle.save(arguments.out)}") from error


def check_unlabelled(arguments: argparse.Namespace) -> None:
    """FileNotFoundError where a file of texts is not there; ArgumentTypeError for a number of texts of no files."""
    for path in arguments.unlabelled:
        if not Path(path).exists():
            raise FileNotFoundError(f"no such file or folder: {path}")
    if arguments.most_unlabelled is not None and not arguments.unlabelled:
        raise argparse.ArgumentTypeError("--most-unlabelled says how many texts of --unlabelled FILE: give that too")


def check_rounded(recipe: Recipe) -> None:
    """ArgumentTypeError where no network is to be trained that can multiply in 8 bits."""
    from fenlei.models import can_be_rounded

    if recipe.model is None:
        raise argparse.ArgumentTypeError("--int8 is for networks, and there is to be none (model=null): leave one out")
    if not any(can_be_rounded(str(each.network), each.options) for each in recipe.kinds):
        raise argparse.ArgumentTypeError(f"--int8 is for mingru and for LSTM layers, and {recipe.network} has neither")


def check_device(recipe: Recipe) -> None:
    """ArgumentTypeError where it is not there."""
    from fenlei.training import choose_device

    try:
        choose_device(recipe.device)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


@contextlib.contextmanager
def checkpoint_of(arguments: argparse.Namespace, recipe: Recipe) -> Iterator[Checkpoint]:
    """The checkpoint beside the bundle to be, held for this process, resumed if that was asked for."""
    import torch

    import fenlei
    from fenlei import checkpoint as checkpoints
    from fenlei.ranks import count_of

    folder = checkpoints.folder_of(arguments.out)
    with checkpoints.locked(folder):
        checkpoint = checkpoints.Checkpoint(folder, arguments.checkpoint_minutes, count_of())
        found = checkpoint.resume() if arguments.resume else checkpoint.describe()
        versions = {"fenlei": fenlei.__version__, "torch": str(torch.__version__)}
        checkpoint.check({"setting": recipe.to_json(), "the number of processes": count_of()} | versions)
        if arguments.resume:
            say(
                f"going on from {folder}: {found}, if the data is the same"
                if found
                else f"there is no {folder} to resume: training begins anew"
            )
        elif found:
            say(f"{folder} holds an unfinished training ({found}): --resume goes on with it, this one will replace it")
        yield checkpoint


def help_train(arguments: argparse.Namespace, recipe: Recipe) -> None:
    """Under torchrun, in every process but the leading one: the same documents, a share of the work, not a word."""
    from fenlei.checkpoint import Checkpoint, folder_of
    from fenlei.learn import help_learn
    from fenlei.ranks import count_of

    with contextlib.ExitStack() as stack:
        with contextlib.redirect_stderr(io.StringIO()):
            cache = stack.enter_context(opened(arguments.no_cache))
            documents, ledger = read_data(arguments.data, arguments.encoding, arguments.labels, cache)
            sides = divide(documents, ledger, arguments, recipe, cache)
            others = unlabelled(sides, ledger, arguments, recipe)
        several = kind_of(documents, arguments.labels) == "several"
        train = labelled(sides["train"], several)
        crossed = not sides["dev"] and crosses(sides["train"], recipe)
        dev = None if crossed else labelled(sides["dev"] or sides["train"], several)
        checkpoint = Checkpoint(folder_of(arguments.out), arguments.checkpoint_minutes, count_of())
        help_learn(train, dev, recipe, checkpoint, cache, others)


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
    checkpoint: Checkpoint | None = None,
    cache: Cache | None = None,
    others: Unlabelled | None = None,
) -> Bundle:
    """A trained bundle, not yet saved; progress goes to standard error."""
    from fenlei.learn import learn
    from fenlei.progress import Progress

    crossed = not dev and crosses(train, recipe)
    if crossed:
        ledger.note("no document is held out: each is judged by a network that did not learn from it")
        say(f"train: {len(train):,} documents; {ledger.notes[-1]}")
    else:
        say(f"train: {len(train):,} documents; dev: {len(dev):,}")
    if not dev and not crossed:
        ledger.note("no document is held out: the dev scores are those of the training data")
        say(ledger.notes[-1])
    try:
        with Progress(sys.stderr, quiet=quiet) as progress:
            found = json.loads(ledger.to_json())
            learned = labelled(train, several)
            judged = None if crossed else labelled(dev or train, several)
            return learn(learned, judged, recipe, progress.show, found, checkpoint, cache, others)
    except KeyboardInterrupt:
        left = checkpoint.describe() if checkpoint is not None else None
        kept = (
            f"no bundle was written; --resume goes on from the checkpoint ({left})" if left else "nothing was written"
        )
        raise KeyboardInterrupt(kept) from None


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
