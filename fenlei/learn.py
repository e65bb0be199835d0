"""The whole way from labelled texts to a bundle: decide, count, fit, weigh, export, score."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit, softmax

import fenlei
from fenlei import linear, pretraining, quantizing, training
from fenlei.auto import decide
from fenlei.beside import Beside, Check
from fenlei.blending import shift, weigh
from fenlei.bundle import Bundle
from fenlei.cache import Cache
from fenlei.corpus.store import Column
from fenlei.decisions import Decisions
from fenlei.export import export
from fenlei.layers.wide import WideTable
from fenlei.linear import Linear
from fenlei.models import Classifier, Deep, build
from fenlei.objective import name_of_quality
from fenlei.pipeline import Encoded, Pipeline
from fenlei.preparing import Prepared, affordable, prepare, sample_for, taken
from fenlei.recipe import Recipe
from fenlei.runtime import Predictor
from fenlei.scoring import hold, judge
from fenlei.training import Epoch, Examples, Report, Step

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


class Note(NamedTuple):
    """A decision or a finding, one sentence for the person who waits."""

    sentence: str


Watch = Callable[[Note | Step | Report | Epoch], None]


@dataclass(frozen=True)
class Data:
    """Both sides as numbers."""

    labels: list[str]
    train: Examples
    dev: Examples
    tokens: int
    linear: Examples  # what the linear model is fitted on

    @property
    def several(self) -> bool:
        """Whether a text can have several labels."""
        return self.train.targets.ndim == 2


def learn(
    train: Labelled,
    dev: Labelled,
    recipe: Recipe,
    watch: Watch,
    ledger: dict[str, Any] | None = None,
    cache: Cache | None = None,
) -> Bundle:
    """Train a classifier as ``recipe`` says and return its bundle, not yet saved.

    ``dev`` decides: the best epoch, the linear model's cost, the weight of each branch. Ctrl-C during the epochs keeps
    the best one so far; before the first has ended there is nothing to keep, and ``KeyboardInterrupt`` goes on.
    With a ``cache`` the same texts are counted and encoded only once, and their numbers need not fit in memory.
    """
    began = time.perf_counter()
    labels = classes_of(label for found in train.sets for label in found)
    dev = _known_only(dev, labels, watch)
    train = balance(train, recipe)
    recipe = decide(train.texts, recipe, lambda sentence: watch(Note(sentence)))
    recipe = afford(train.texts, recipe, len(labels), watch)
    prepared = prepare(train.texts, dev.texts, recipe, len(labels), sample_for(train.texts, recipe), cache)
    pipeline = prepared.pipeline
    if prepared.found:
        watch(Note("counted and encoded before: the numbers are in the cache"))
    watch(Note(f"vocabulary: {len(pipeline.vocab.tokens):,} tokens" + _sizes(pipeline)))
    if recipe.model and not pipeline.vocab.tokens:
        many = f"no token was seen {recipe.min_count} times: to the network all texts look the same"
        watch(Note(f"{many}; try --min-count 1"))
    if recipe.wide and pipeline.wide is None:
        watch(Note(f"no linear model: {len(labels):,} classes are more than {linear.MOST_CLASSES:,}"))
    data = encode(train, dev, labels, prepared)
    if data.train.encoded.shortened:
        watch(Note(f"{data.train.encoded.shortened:,} texts are longer than {recipe.max_length} tokens and were cut"))
    with training.deterministic(recipe), linear.unfinished_fits(), Beside(partial(fit_linear, data, pipeline)) as fit:
        branches, histories = train_branches(data, pipeline, recipe, watch) if recipe.model else ([], [])
        baseline = wait_for(fit, bool(branches), name_of_quality(data.dev.targets), watch)
        model, raw = join(branches, data, recipe, baseline, watch)
        if model.wide is None:
            pipeline = replace(pipeline, wide=None)
        bundle = assemble(model, pipeline, recipe, labels, ledger or {})
        score(bundle, dev, data, raw, baseline, recipe)
    bundle.scores |= {
        "epochs": [[vars(epoch) for epoch in history] for history in histories],
        "seconds": round(time.perf_counter() - began, 1),
    }
    return bundle


def classes_of(labels: Iterable[str]) -> list[str]:
    """The distinct labels in order; fewer than two are a ``ValueError``."""
    classes = sorted(set(labels))
    if len(classes) < 2:
        only = f"only {classes[0]!r}" if classes else "none"
        raise ValueError(f"a classifier needs documents of more than one class, the training data has {only}")
    return classes


def _known_only(dev: Labelled, labels: list[str], watch: Watch) -> Labelled:
    """Dev documents whose label training knows; the others cannot help to choose anything."""
    known = set(labels)
    kept = [place for place, found in enumerate(dev.sets) if not found or known & set(found)]
    if len(kept) < len(dev.labels):
        watch(Note(f"{len(dev.labels) - len(kept)} dev documents have labels that training does not: left out"))
    if not kept:
        raise ValueError("no dev document has a label that the training data knows")
    return take(dev, kept)


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


def encode(train: Labelled, dev: Labelled, labels: list[str], prepared: Prepared) -> Data:
    """Labels to class numbers, beside the texts as numbers."""
    number = {label: place for place, label in enumerate(labels)}

    def examples(side: Labelled, encoded: Encoded) -> Examples:
        if not side.several:
            targets = np.fromiter((number[label] for (label,) in side.sets), np.int64, len(side.labels))
        else:
            targets = np.zeros((len(side.labels), len(labels)), np.int8)
            for row, found in zip(targets, side.sets, strict=True):
                row[[number[label] for label in found if label in number]] = 1
        return Examples(encoded, targets, side.weights)

    learned, held = examples(train, prepared.train), examples(dev, prepared.dev)
    fitted, rows = learned, prepared.sample
    if rows is not None and prepared.sampled is not None:
        weights = None if learned.weights is None else learned.weights[rows]
        fitted = Examples(prepared.sampled, learned.targets[rows], weights)
    return Data(labels, learned, held, len(prepared.pipeline.vocab.tokens), fitted)


def fit_linear(data: Data, pipeline: Pipeline, check: Check) -> Linear | None:
    """The baseline on the same split, if the pipeline counts n-grams for one; ``check`` is called between its fits."""
    if pipeline.wide is None:
        return None
    return linear.fit(
        data.linear.encoded,
        data.linear.targets,
        data.dev.encoded,
        data.dev.targets,
        columns=len(pipeline.wide),
        classes=len(data.labels),
        weights=data.linear.weights,
        dev_weights=data.dev.weights,
        check=check,
    )


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


def train_branches(
    data: Data, pipeline: Pipeline, recipe: Recipe, watch: Watch
) -> tuple[list[Deep], list[list[Epoch]]]:
    """``recipe.branches`` networks, one after the other, and the epochs of each.

    Ctrl-C ends the training, not the run: finished networks, and the best epoch of the one at work, are kept.
    """
    branches: list[Deep] = []
    histories: list[list[Epoch]] = []
    for number in range(1, recipe.branches + 1):
        if recipe.branches > 1:
            watch(Note(f"network {number} of {recipe.branches}"))
        network = build_branch(recipe, pipeline, len(data.labels))  # what is wrong with its options is found here
        if recipe.learns_codes:
            network = build_branch(full_first(recipe), pipeline, len(data.labels))
        history: list[Epoch] = []
        stopped = False
        try:
            train_branch(network, data, recipe.change(seed=recipe.seed + number - 1), watch, history)
        except KeyboardInterrupt:
            if not history and not branches:
                raise
            stopped = True
            kept = f"the best of {len(history)} finished epochs is kept" if history else "finished networks are kept"
            watch(Note(f"stopped by hand: {kept}"))
        if history:
            if recipe.learns_codes:
                stopped = share_codes(network, data, recipe, watch) or stopped
            branches.append(network)
            histories.append(history)
        if stopped:
            break
    return branches, histories


def full_first(recipe: Recipe) -> Recipe:
    """The recipe of a network that codes can be learned from."""
    return recipe.change(embedding="full", embedding_options={}) if recipe.learns_codes else recipe


def build_branch(recipe: Recipe, pipeline: Pipeline, classes: int) -> Deep:
    """A network with fresh weights."""
    assert recipe.model is not None
    return build(
        recipe.model,
        stream_sizes=pipeline.stream_sizes(),
        classes=classes,
        embedding=recipe.embedding,
        embedding_size=recipe.embedding_size,
        embedding_options=recipe.embedding_options,
        dropout=recipe.dropout,
        embedding_dropout=recipe.embedding_dropout,
        options=recipe.options,
    )


def train_branch(network: Deep, data: Data, recipe: Recipe, watch: Watch, history: list[Epoch]) -> None:
    """Hidden tokens first, if the recipe says so; then the labels. ``history`` grows by a record an epoch."""
    if recipe.pretrain_epochs and network.encoder.state_width and data.tokens:
        losses = pretraining.pretrain(network, data.train.encoded, data.tokens, recipe, watch)
        watch(Note(f"hidden tokens guessed: loss {losses[0]:.3f} in the first epoch, {losses[-1]:.3f} in the last"))
    for epoch in training.fit(network, data.train, data.dev, recipe, watch):
        history.append(epoch)
        watch(epoch)


def share_codes(network: Deep, data: Data, recipe: Recipe, watch: Watch) -> bool:
    """Put shared tables with learned codes in the place of the trained ones; returns whether Ctrl-C came meanwhile.

    Without its codes the network would be lost, so the first Ctrl-C has to wait.
    """
    columns, stopped = data.train.encoded.columns, False
    counts = {name: np.bincount(columns[name].values) for name in network.embeddings}
    watch(Note("finding codes for the embedding"))
    with Beside(lambda _: quantizing.share_tables(network, counts, recipe.embedding_options, recipe.seed)) as finding:
        try:
            before, after = finding.result()
        except KeyboardInterrupt:
            stopped = True
            watch(Note("stopped by hand: the codes have to be found first"))
            before, after = finding.result()
    accuracy = training.measure(network, data.dev, recipe)[1]
    size = f"{after / 1e3:,.1f} kB in place of {before / 1e3:,.1f}"
    watch(Note(f"codes learned: the embedding takes {size}, dev {name_of_quality(data.dev.targets)} {accuracy:.4f}"))
    return stopped


def join(
    branches: list[Deep], data: Data, recipe: Recipe, baseline: Linear | None, watch: Watch
) -> tuple[Classifier, npt.NDArray[Any]]:
    """The branches that dev asks for in one classifier, with the scales at which they make dev likeliest together.

    Also the probabilities of dev at scales of 1, ``(B, C)``: what they were before they were calibrated.
    """
    wide = None
    if baseline is not None:
        wide = WideTable(torch.from_numpy(baseline.weight), torch.from_numpy(baseline.bias))
    classifier = Classifier(branches, wide, data.several)
    classifier.halve_tables()
    deep = [training.predict(branch, data.dev.encoded, recipe) for branch in branches]
    kinds = [np.mean(deep, axis=0)] if deep else []
    if baseline is not None:
        kinds.append(baseline.scores(data.dev.encoded))
    scales = weigh(kinds, data.dev.targets, data.dev.weights)
    moved = shift(np.tensordot(scales, np.stack(kinds), 1), data.dev.targets, data.dev.weights)
    scales = moved.factor * scales
    if len(kinds) == 2:
        which = {(True, True): "both branches", (True, False): "the recurrent branch alone"}
        used = which.get((scales[0] > 0, scales[1] > 0), "the linear branch alone")
        offset = " + an offset a class" if moved.offset.any() else ""
        watch(
            Note(
                f"the bundle answers by {used}: logits = {scales[0]:.2f} x recurrent + {scales[1]:.2f} x linear{offset}"
            )
        )
        if scales[0] == 0:  # what has no say need not be stored and computed
            classifier = Classifier([], wide, data.several)
        elif scales[1] == 0:
            classifier = Classifier(branches, several=data.several)
    classifier.scales[:] = torch.tensor([scales[0] if deep else 0.0, scales[-1] if wide else 0.0])
    classifier.offset[:] = torch.from_numpy(moved.offset)
    total = np.sum(kinds, axis=0)
    return classifier, expit(total) if data.several else softmax(total, axis=1)


def assemble(
    model: Classifier, pipeline: Pipeline, recipe: Recipe, labels: list[str], ledger: dict[str, Any]
) -> Bundle:
    """Weights, graph and text road in one object, scores and golden inputs still to come."""
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
        },
        weights={name: compact(value) for name, value in model.state_dict().items()},
        graph=export(model, pipeline.stream_sizes()),
        recipe=recipe.to_json(),
        scores={},
        ledger=ledger,
        versions=versions(),
        golden=[],
        decisions=Decisions(model.several).to_json(),
    )


def compact(weight: torch.Tensor) -> npt.NDArray[Any]:
    """The array to store: float16 where that loses nothing, whole numbers as they are."""
    halved = weight.is_floating_point() and torch.equal(weight.half().float(), weight)
    return (weight.half() if halved else weight).numpy()


def score(
    bundle: Bundle, dev: Labelled, data: Data, raw: npt.NDArray[Any], baseline: Linear | None, recipe: Recipe
) -> None:
    """Give the bundle its scores, decisions and evidence as the runtime itself answers dev, and its golden inputs."""
    held = hold(Predictor(bundle), dev.texts, dev.labels)
    bundle.golden = [(text, row.tolist()) for text, row in zip(dev.texts[:GOLDEN], held.probabilities, strict=False)]
    lengths = data.train.encoded.lengths, recipe.max_length
    found = judge(held, raw, baseline, data.dev, lengths, data.train.targets)
    bundle.scores, bundle.decisions, bundle.evidence = found


def versions() -> dict[str, str]:
    """What made the bundle."""
    packages = {name: version(name) for name in ("torch", "onnxruntime", "onnx", "numpy", "scikit-learn", "rjieba")}
    return {"fenlei": fenlei.__version__, "python": platform.python_version()} | packages
