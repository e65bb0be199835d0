"""The whole way from labelled texts to a bundle: decide, count, fit, weigh, export, score."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import fenlei
from fenlei import latent, linear, memory, preparing, ranks, training
from fenlei.auto import decide
from fenlei.beside import Beside, Check
from fenlei.branch import Branch
from fenlei.branches import train_branches
from fenlei.bundle import Bundle
from fenlei.cache import Cache
from fenlei.checkpoint import Checkpoint
from fenlei.corpus import Unlabelled
from fenlei.corpus.store import Column
from fenlei.decisions import Decisions
from fenlei.export import export
from fenlei.folds import Data, crossed, fold_numbers, held_out
from fenlei.interrupts import finishing
from fenlei.joining import Joined, join
from fenlei.layers.graph import stored
from fenlei.linear import Linear
from fenlei.models import Classifier
from fenlei.objective import name_of_quality
from fenlei.pipeline import Encoded, Pipeline
from fenlei.preparing import Prepared, affordable, sample_for, taken
from fenlei.recipe import Recipe
from fenlei.runtime import Predictor
from fenlei.scoring import Rival, hold, judge
from fenlei.screen import plural
from fenlei.training import Examples, Note, Watch
from fenlei.windows import Windows

FINISHING = Note("stopped by hand: what was trained is being finished; Ctrl-C once more gives it up")
GOLDEN = 8  # dev documents that the bundle carries with their probabilities


class Labelled(NamedTuple):
    """Texts, the label of each, and optionally how much each counts.

    Where a text can have several labels, every element of ``labels`` is a tuple of them.
    """

    texts: Sequence[str]
    labels: Sequence[str] | Sequence[tuple[str, ...]]
    weights: npt.NDArray[np.float32] | None = None

    @property
    def several(self) -> bool:
        """Whether a text can have several labels."""
        return bool(self.labels) and not isinstance(self.labels[0], str)

    @property
    def sets(self) -> Sequence[tuple[str, ...]]:
        """The labels of each text."""
        if isinstance(self.labels, Column):
            return Column([as_set(found) for found in self.labels.values], self.labels.codes)
        return [as_set(found) for found in self.labels]


def as_set(found: str | tuple[str, ...]) -> tuple[str, ...]:
    """One label or several as several."""
    return (found,) if isinstance(found, str) else found


def learn(
    train: Labelled,
    dev: Labelled | None,
    recipe: Recipe,
    watch: Watch,
    ledger: dict[str, Any] | None = None,
    checkpoint: Checkpoint | None = None,
    store: Cache | None = None,
    unlabelled: Unlabelled | None = None,
) -> Bundle:
    """Train a classifier as ``recipe`` says and return its bundle, not yet saved.

    ``dev`` decides: the best epoch, the linear model's cost, the weight of each branch. Without it the documents are
    divided into as many parts as there are networks: each network learns from all parts but one, which judges it, and
    all of them answer together (cross-fitting; Krogh and Vedelsby 1995). Ctrl-C during the epochs keeps the best one so
    far; before the first has ended there is nothing to keep, and ``KeyboardInterrupt`` goes on. Once all is trained the
    first Ctrl-C is only noted.

    ``checkpoint`` is written meanwhile and, where it was told to resume, gone on from. Under torchrun this is for the
    leading process; the others ``help_learn``. With a ``store`` the same texts are counted and encoded only once, and
    their numbers need not fit in memory.

    ``unlabelled`` texts, as ``corpus.draw`` draws them, are counted with the training texts, and the linear model
    learns from them what stands beside what.
    """
    began = time.perf_counter()
    dev, data, pipeline, recipe = prepare(train, dev, recipe, watch, store, unlabelled)
    if unlabelled is not None:
        ledger = (ledger or {}) | {"unlabelled": unlabelled.counts}
    fitting = partial(fit_linear, data, pipeline, recipe.seed)
    with training.deterministic(recipe), linear.unfinished_fits(), Beside(fitting) as fit:
        trained = train_together(data, pipeline, recipe, watch, checkpoint or Checkpoint())
        baseline = wait_for(fit, recipe.model is not None, name_of_quality(data.dev.targets), watch)
        with finishing(partial(watch, FINISHING)):  # what was trained must not be lost
            if trained:  # after Ctrl-C fewer than were to be
                data = replace(data, parts=[each.part for each in trained])
            joined = join(trained, data, baseline, watch)
            if joined.model.wide is None:
                pipeline = replace(pipeline, wide=None)
            answering = [trained[place] for place in joined.kept] or trained  # what was left out is named
            recipes = [each.recipe for each in answering]
            bundle = assemble(joined.model, pipeline, recipe, data.labels, ledger or {}, recipes)
            bundle.tables |= usage(data.train.encoded, pipeline)
            score(bundle, dev, data, joined, baseline, recipe)
    bundle.scores |= {
        "epochs": [[epoch.record() for epoch in each.history] for each in trained],
        "seconds": round(time.perf_counter() - began, 1),
    }
    return bundle


def help_learn(
    train: Labelled,
    dev: Labelled | None,
    recipe: Recipe,
    checkpoint: Checkpoint,
    store: Cache | None = None,
    unlabelled: Unlabelled | None = None,
) -> None:
    """Under torchrun: take a share of the leading process's work on the networks, which is in ``learn``."""
    _, data, pipeline, recipe = prepare(train, dev, recipe, lambda _: None, store, unlabelled)
    with training.deterministic(recipe):
        train_together(data, pipeline, recipe, lambda _: None, checkpoint)


def prepare(
    train: Labelled,
    dev: Labelled | None,
    recipe: Recipe,
    watch: Watch,
    store: Cache | None = None,
    unlabelled: Unlabelled | None = None,
) -> tuple[Labelled, Data, Pipeline, Recipe]:
    """The held-out documents that count, all as numbers, the road there, and the recipe with nothing left open."""
    labels = classes_of(label for found in train.sets for label in found)
    dev = None if dev is None else _known_only(dev, labels, watch)
    if all(text == train.texts[0] for text in train.texts):
        watch(Note("all training texts are the same, so none can judge what was learned from others"))
        dev = dev or train
    others = unlabelled.texts if unlabelled is not None else []
    recipe = decide(train.texts, recipe, lambda sentence: watch(Note(sentence)), len(others))
    held, sample = None, None
    if dev is not None:  # where texts are crossed they are few, and the linear model learns from all
        recipe = afford(train.texts, recipe, len(labels), watch)
        held, sample = dev.texts, sample_for(train.texts, recipe)
    if unlabelled is not None:
        watch(Note(unlabelled.sentence))
    prepared = preparing.prepare(train.texts, held, recipe, len(labels), sample, store, unlabelled=others)
    pipeline = prepared.pipeline
    if prepared.found:
        watch(Note("counted and encoded before: the numbers are in the cache"))
    watch(Note(f"vocabulary: {len(pipeline.vocab.tokens):,} tokens" + _sizes(pipeline)))
    if recipe.model and not pipeline.vocab.tokens:
        many = f"no token was seen {recipe.min_count} times: to the network all texts look the same"
        watch(Note(f"{many}; try --min-count 1"))
    if recipe.wide and pipeline.wide is None:
        many = f"no linear model: {len(labels):,} classes are more than {linear.MOST_CLASSES:,}"
        if recipe.model is None:
            raise ValueError(f"{many}; name a network, such as model=bilstm")
        watch(Note(many))
    data = encode(train, dev, labels, prepared, recipe)
    say_lengths(data.train.encoded, recipe, watch)
    return dev or train, data, pipeline, recipe


def say_lengths(texts: Encoded, recipe: Recipe, watch: Watch) -> None:
    """How many texts the network does not read as a whole."""
    windows = Windows(texts, recipe)
    if recipe.model and windows.longer:
        of_each = "of each the network learns from a run of so many, another in each epoch, and answers by more"
        watch(Note(f"{windows.longer:,} texts are longer than {windows.size}: {of_each}"))
    if texts.shortened:
        watch(Note(f"{texts.shortened:,} texts are longer than {recipe.max_length:,} tokens and were cut"))


def classes_of(labels: Iterable[str]) -> list[str]:
    """The distinct labels in order; fewer than two are a ``ValueError``."""
    classes = sorted(set(labels))
    if len(classes) < 2:
        only = f"only {classes[0]!r}" if classes else "none"
        raise ValueError(f"a classifier needs documents of more than one class, the training data has {only}")
    return classes


def _known_only(dev: Labelled, labels: list[str], watch: Watch) -> Labelled:
    """Dev documents whose label training knows; the others cannot help to choose anything.

    Of several labels a text those that training does not know are taken off. Classes without a dev document are named.
    """
    known = set(labels)
    found = Counter(label for own in dev.sets for label in own)
    foreign = shown([label for label, _ in found.most_common() if label not in known])
    kept = [place for place, own in enumerate(dev.sets) if not own or known & set(own)]
    if not kept:
        knows = shown(labels)
        raise ValueError(f"no dev document has a label that the training data knows: they have {foreign}, it {knows}")
    if len(kept) < len(dev.labels):
        count = plural(len(dev.labels) - len(kept), "dev document has", "dev documents have")
        watch(Note(f"{count} labels that training does not: left out, of {foreign}"))
    dev = take(dev, kept)
    partly = sum(not known.issuperset(own) for own in dev.sets)
    if partly:
        count = plural(partly, "dev document has", "dev documents have")
        watch(Note(f"{count} further labels that training does not: those are left out, of {foreign}"))
        dev = dev._replace(labels=[tuple(label for label in own if label in known) for own in dev.sets])
    if absent := [label for label in labels if label not in found]:
        watch(Note(f"dev has no document of {plural(len(absent), 'class', 'classes')}: {shown(absent)}"))
    return dev


def shown(labels: Sequence[str]) -> str:
    """The first few of some labels."""
    return ", ".join(map(repr, labels[:5])) + (", ..." if len(labels) > 5 else "")


def take(data: Labelled, places: list[int]) -> Labelled:
    """The documents at some places."""
    weights = None if data.weights is None else data.weights[places]
    rows = np.array(places, np.int64)
    if isinstance(data.labels, Column):
        return Labelled(taken(data.texts, rows), data.labels.take(rows), weights)
    labels: Any = [data.labels[place] for place in places]
    return Labelled(taken(data.texts, rows), labels, weights)


def balance(train: Labelled, recipe: Recipe) -> Labelled:
    """With ``class_weight`` "balanced" every class counts as much as any other: ``n / (classes n_c)`` a document."""
    if recipe.class_weight != "balanced":
        return train
    if train.several:
        raise ValueError("class_weight=balanced is for one label a text; with several each label has its own threshold")
    counts = Counter(train.labels)
    weights = np.array([len(train.labels) / (len(counts) * counts[label]) for label in train.labels], np.float32)
    return train._replace(weights=weights if train.weights is None else weights * train.weights)


def afford(texts: Sequence[str], recipe: Recipe, classes: int, watch: Watch) -> Recipe:
    """The recipe with the number of documents that the linear model is fitted on, where it cannot be all of them."""
    if recipe.linear_documents is None and recipe.wide and classes <= linear.MOST_CLASSES:
        recipe = recipe.change(linear_documents=affordable(texts, recipe))
    if recipe.wide and recipe.linear_documents is not None and recipe.linear_documents < len(texts):
        lot = f"{recipe.linear_documents:,} of {len(texts):,} documents, drawn by lot"
        watch(Note(f"the linear model learns from {lot}: its fit is in memory; --set linear_documents=N takes others"))
    return recipe


def _sizes(pipeline: Pipeline) -> str:
    parts = [f", {len(table) - 1:,} {name.replace('_', ' ')}" for name, table in pipeline.streams.items()]
    return "".join(parts) + (f", {len(pipeline.wide) - 1:,} n-grams for the linear model" if pipeline.wide else "")


def encode(train: Labelled, dev: Labelled | None, labels: list[str], prepared: Prepared, recipe: Recipe) -> Data:
    """Labels to class numbers beside the texts' numbers; a part for each network, crossed where there is no dev."""
    number = {label: place for place, label in enumerate(labels)}

    def examples(side: Labelled, encoded: Encoded) -> Examples:
        if not side.several:
            targets = np.fromiter((number[label] for (label,) in side.sets), np.int64, len(side.labels))
        else:
            targets = np.zeros((len(side.labels), len(labels)), np.int8)
            for row, found in zip(targets, side.sets, strict=True):
                row[[number[label] for label in found if label in number]] = 1
        return Examples(encoded, targets, side.weights)

    tokens, networks = len(prepared.pipeline.vocab.tokens), recipe.branches or 1
    learned = examples(train, prepared.train)._replace(weights=balance(train, recipe).weights)
    others = prepared.unlabelled
    if dev is not None and prepared.dev is not None:
        held, fitted = examples(dev, prepared.dev), sampled(learned, prepared)
        return Data(labels, learned, held, held_out(learned, held, networks), tokens, fitted=fitted, unlabelled=others)
    numbers = fold_numbers(train.texts, train.sets, max(2, networks), recipe.seed)
    held = learned._replace(weights=train.weights)
    return Data(labels, learned, held, crossed(learned, held, numbers), tokens, numbers=numbers, unlabelled=others)


def sampled(learned: Examples, prepared: Prepared) -> Examples | None:
    """The documents that the linear model is fitted on, where these are not all."""
    rows = prepared.sample
    if rows is None or prepared.sampled is None:
        return None
    weights = None if learned.weights is None else learned.weights[rows]
    return Examples(prepared.sampled, learned.targets[rows], weights)


def fit_linear(data: Data, pipeline: Pipeline, seed: int, check: Check) -> Linear | None:
    """The baseline on the same parts, if the pipeline counts n-grams for one; ``check`` is called between its fits."""
    if pipeline.wide is None:
        return None
    train, dev = data.train, data.dev
    columns, classes = len(pipeline.wide), len(data.labels)

    def plain(change: Callable[[Encoded], Encoded], columns: int) -> Linear:
        if data.crossed:
            parts = [part.rows for part in data.parts]
            whole = (change(train.encoded), train.targets, parts, train.weights, dev.weights)
            return linear.cross_fit(*whole, columns=columns, classes=classes, check=check)
        some = data.fitted or train
        sides = (change(some.encoded), some.targets, change(dev.encoded), dev.targets, some.weights, dev.weights)
        return linear.fit(*sides, columns=columns, classes=classes, check=check)

    own, others = (data.fitted or train).encoded, data.unlabelled
    if others is None or len(own) > linear.MANY:  # of so many texts further columns would take too much memory
        fitted = plain(lambda texts: texts, columns)
    else:
        fitted = latent.fit(plain, latent.directions([own, others], columns, seed), check)
    memory.release()  # what the fits have freed
    return fitted


def wait_for(fit: Beside[Linear | None], trained: bool, measure: str, watch: Watch) -> Linear | None:
    """The baseline, as soon as it is there.

    Where a network is ``trained``, neither Ctrl-C nor a fit that fails ends the run: there is no linear model then.
    """
    try:
        if not fit.done():
            watch(Note("the linear model is still being fitted" if trained else "fitting the linear model"))
        fitted = fit.result()
    except (KeyboardInterrupt, MemoryError, ValueError) as error:
        if not trained:
            raise
        fit.stop()
        by_hand = isinstance(error, KeyboardInterrupt)
        watch(
            Note(f"{'stopped by hand' if by_hand else error}: there is no linear model, once the fit at work has ended")
        )
        return None
    if fitted is not None:
        found = f"dev {measure} {fitted.dev_accuracy:.4f}, {fitted.seconds:.0f} s"
        watch(Note(f"linear model (TF-IDF + SVM, C={fitted.cost}): {found}"))
    return fitted


def train_together(
    data: Data, pipeline: Pipeline, recipe: Recipe, watch: Watch, checkpoint: Checkpoint
) -> list[Branch]:
    """The branches, by all the processes that torchrun started, from where the checkpoint says."""
    if recipe.model is None:
        return []
    with ranks.join(training.choose_device(recipe.device), checkpoint.processes) as together:
        checkpoint.say = lambda sentence: watch(Note(sentence))
        checkpoint.join(together)
        if checkpoint.folder is not None or together.count > 1:
            facts = {
                "the training data": data.train.digest(),
                "the dev data": data.dev.digest(),
                "the vocabulary": sha256(repr(list(pipeline.vocab.items())).encode()).hexdigest(),
            }
            together.check_equal("documents", "".join(facts.values()))
            checkpoint.check(facts)
        return train_branches(data, pipeline, recipe, watch, checkpoint)


def assemble(
    model: Classifier,
    pipeline: Pipeline,
    recipe: Recipe,
    labels: list[str],
    ledger: dict[str, Any],
    recipes: Sequence[Recipe] = (),
) -> Bundle:
    """Weights, graph and text road in one object, scores and golden inputs still to come.

    ``recipes`` are those of the networks that were trained: where kinds take turns they say which each is of.
    """
    kinds = [[each.model, dict(each.options)] for each in recipes] if recipe.usual("beside") else []
    return Bundle(
        labels=labels,
        vocab=pipeline.vocab.items(),
        pipeline=pipeline.settings(),
        tables=pipeline.tables(),
        model={
            "name": recipe.model,
            "options": dict(recipe.options),
            "embedding": recipe.embedding,
            "embedding_options": dict(recipe.embedding_options),
            "branches": len(model.branches),
            **({"kinds": kinds} if kinds else {}),
        },
        weights={name: stored(value) for name, value in model.state_dict().items()},
        graph=export(model, pipeline.stream_sizes()),
        recipe=recipe.to_json(),
        scores={},
        ledger=ledger,
        versions=versions(),
        golden=[],
        decisions=Decisions(model.several).to_json(),
    )


def usage(encoded: Encoded, pipeline: Pipeline) -> dict[str, npt.NDArray[np.uint16]]:
    """How often training read each id of each stream, at most 65,535 times: what shrinking leaves out last."""
    most = np.iinfo(np.uint16).max
    return {
        f"counts.{name}": np.minimum(encoded.columns[name].counts(size), most).astype(np.uint16)
        for name, size in pipeline.stream_sizes().items()
    }


def score(bundle: Bundle, dev: Labelled, data: Data, joined: Joined, baseline: Linear | None, recipe: Recipe) -> None:
    """Give the bundle its scores, decisions and evidence, and its golden inputs, as the runtime itself answers them.

    Where the bundle has learned from the held-out documents too, those who had not answer for it.
    """
    predictor, judges = Predictor(bundle), data.dev.take(joined.rows)
    dev = take(dev, joined.rows.tolist())
    held = hold(predictor, dev.texts, dev.labels, joined.probabilities if data.crossed else None)
    golden = predictor.predict_proba(dev.texts[:GOLDEN])
    bundle.golden = [(text, row.tolist()) for text, row in zip(dev.texts, golden, strict=False)]
    lengths = data.train.encoded.lengths, recipe.max_length
    rival = None if baseline is None else Rival(baseline.held[joined.rows], baseline.cost, baseline.emphasis)
    found = judge(held, joined.raw, rival, judges, lengths, data.train.targets)
    bundle.scores, bundle.decisions, bundle.evidence = found
    bundle.scores["folds"] = len(data.parts) if data.crossed else None


def versions() -> dict[str, str]:
    """What made the bundle."""
    packages = {name: version(name) for name in ("torch", "onnxruntime", "onnx", "numpy", "scikit-learn", "rjieba")}
    return {"fenlei": fenlei.__version__, "python": platform.python_version()} | packages
