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
import torch
from scipy.special import expit, softmax

import fenlei
from fenlei import linear, pretraining, quantizing, ranks, training
from fenlei.auto import decide
from fenlei.beside import Beside, Check
from fenlei.blending import shift, weigh
from fenlei.bundle import Bundle
from fenlei.checkpoint import Checkpoint
from fenlei.counting import build_pipeline
from fenlei.decisions import Decisions
from fenlei.export import export
from fenlei.folds import Data, Part, crossed, fold_numbers, held_out
from fenlei.layers.wide import WideTable
from fenlei.linear import Linear
from fenlei.models import Classifier, Deep, build
from fenlei.objective import name_of_quality
from fenlei.pipeline import Pipeline
from fenlei.recipe import Recipe
from fenlei.runtime import Predictor
from fenlei.scoring import Rival, hold, judge
from fenlei.training import Epoch, Examples, Report, Step, on_device

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
    def sets(self) -> list[tuple[str, ...]]:
        """The labels of each text."""
        return [(found,) if isinstance(found, str) else found for found in self.labels]


class Note(NamedTuple):
    """A decision or a finding, one sentence for the person who waits."""

    sentence: str


Watch = Callable[[Note | Step | Report | Epoch], None]


def learn(
    train: Labelled,
    dev: Labelled | None,
    recipe: Recipe,
    watch: Watch,
    ledger: dict[str, Any] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Bundle:
    """Train a classifier as ``recipe`` says and return its bundle, not yet saved.

    ``dev`` decides: the best epoch, the linear model's cost, the weight of each branch. Without it the documents are
    divided into as many parts as there are networks: each network learns from all parts but one, which judges it, and
    all of them answer together (cross-fitting; Krogh and Vedelsby 1995). Ctrl-C during the epochs keeps the best one so
    far; before the first has ended there is nothing to keep, and ``KeyboardInterrupt`` goes on.

    ``checkpoint`` is written meanwhile and, where it was told to resume, gone on from. Under torchrun this is for the
    leading process; the others ``help_learn``.
    """
    began = time.perf_counter()
    dev, data, pipeline, recipe = prepare(train, dev, recipe, watch)
    with training.deterministic(recipe), linear.unfinished_fits(), Beside(partial(fit_linear, data, pipeline)) as fit:
        branches, histories = train_together(data, pipeline, recipe, watch, checkpoint or Checkpoint())
        baseline = wait_for(fit, bool(branches), name_of_quality(data.dev.targets), watch)
        joined = join(branches, data, recipe, baseline, watch)
        if joined.model.wide is None:
            pipeline = replace(pipeline, wide=None)
        bundle = assemble(joined.model, pipeline, recipe, data.labels, ledger or {})
        score(bundle, dev, data, joined, baseline, recipe)
    bundle.scores |= {
        "epochs": [[vars(epoch) for epoch in history] for history in histories],
        "seconds": round(time.perf_counter() - began, 1),
    }
    return bundle


def help_learn(train: Labelled, dev: Labelled | None, recipe: Recipe, checkpoint: Checkpoint) -> None:
    """Under torchrun: take a share of the leading process's work on the networks, which is in ``learn``."""
    _, data, pipeline, recipe = prepare(train, dev, recipe, lambda _: None)
    with training.deterministic(recipe):
        train_together(data, pipeline, recipe, lambda _: None, checkpoint)


def prepare(
    train: Labelled, dev: Labelled | None, recipe: Recipe, watch: Watch
) -> tuple[Labelled, Data, Pipeline, Recipe]:
    """The held-out documents that count, all as numbers, the road there, and the recipe with nothing left open."""
    labels = classes_of(label for found in train.sets for label in found)
    dev = None if dev is None else _known_only(dev, labels, watch)
    recipe = decide(train.texts, recipe, lambda sentence: watch(Note(sentence)))
    pipeline = build_pipeline(train.texts, recipe, len(labels))
    watch(Note(f"vocabulary: {len(pipeline.vocab.tokens):,} tokens" + _sizes(pipeline)))
    if recipe.model and not pipeline.vocab.tokens:
        many = f"no token was seen {recipe.min_count} times: to the network all texts look the same"
        watch(Note(f"{many}; try --min-count 1"))
    if recipe.wide and pipeline.wide is None:
        watch(Note(f"no linear model: {len(labels):,} classes are more than {linear.MOST_CLASSES:,}"))
    data = encode(train, dev, labels, pipeline, recipe)
    if data.train.encoded.shortened:
        watch(Note(f"{data.train.encoded.shortened:,} texts are longer than {recipe.max_length} tokens and were cut"))
    return dev or train, data, pipeline, recipe


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
    labels: Any = [data.labels[place] for place in places]
    return Labelled([data.texts[place] for place in places], labels, weights)


def balance(train: Labelled, recipe: Recipe) -> Labelled:
    """With ``class_weight`` "balanced" every class counts as much as any other: ``n / (classes n_c)`` a document."""
    if recipe.class_weight != "balanced":
        return train
    if train.several:
        raise ValueError("class_weight=balanced is for one label a text; with several each label has its own threshold")
    counts = Counter(train.labels)
    weights = np.array([len(train.labels) / (len(counts) * counts[label]) for label in train.labels], np.float32)
    return train._replace(weights=weights if train.weights is None else weights * train.weights)


def _sizes(pipeline: Pipeline) -> str:
    parts = [f", {len(table) - 1:,} {name.replace('_', ' ')}" for name, table in pipeline.streams.items()]
    return "".join(parts) + (f", {len(pipeline.wide) - 1:,} n-grams for the linear model" if pipeline.wide else "")


def encode(train: Labelled, dev: Labelled | None, labels: list[str], pipeline: Pipeline, recipe: Recipe) -> Data:
    """Texts to ids, labels to class numbers; a part for each network of ``recipe``, crossed where there is no dev."""
    number = {label: place for place, label in enumerate(labels)}

    def examples(side: Labelled) -> Examples:
        if not side.several:
            targets = np.array([number[label] for (label,) in side.sets], np.int64)
        else:
            targets = np.zeros((len(side.labels), len(labels)), np.int8)
            for row, found in zip(targets, side.sets, strict=True):
                row[[number[label] for label in found if label in number]] = 1
        return Examples(pipeline.encode(side.texts), targets, side.weights)

    tokens, networks = len(pipeline.vocab.tokens), recipe.branches or 1
    learned = examples(train)._replace(weights=balance(train, recipe).weights)
    if dev is not None:
        held = examples(dev)
        return Data(labels, learned, held, held_out(learned, held, networks), tokens)
    held = learned._replace(weights=train.weights)
    numbers = fold_numbers(train.texts, train.sets, max(2, networks), recipe.seed)
    return Data(labels, learned, held, crossed(learned, held, numbers), tokens, crossed=True)


def fit_linear(data: Data, pipeline: Pipeline, check: Check) -> Linear | None:
    """The baseline on the same parts, if the pipeline counts n-grams for one; ``check`` is called between its fits."""
    if pipeline.wide is None:
        return None
    train, dev = data.train, data.dev
    fit: Callable[..., Linear] = linear.fit if not data.crossed else linear.cross_fit
    judges = (dev.encoded, dev.targets) if not data.crossed else ([part.rows for part in data.parts],)
    weights = {"weights": train.weights} | ({} if data.crossed else {"dev_weights": dev.weights})
    sizes = {"columns": len(pipeline.wide), "classes": len(data.labels)}
    return fit(train.encoded, train.targets, *judges, check=check, **weights, **sizes)


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
) -> tuple[list[Deep], list[list[Epoch]]]:
    """``train_branches``, by all the processes that torchrun started, from where the checkpoint says."""
    if recipe.model is None:
        return [], []
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


def train_branches(
    data: Data, pipeline: Pipeline, recipe: Recipe, watch: Watch, checkpoint: Checkpoint
) -> tuple[list[Deep], list[list[Epoch]]]:
    """``recipe.branches`` networks, one after the other, and the epochs of each.

    Ctrl-C ends the training, not the run: finished networks, and the best epoch of the one at work, are kept.
    """
    branches: list[Deep] = []
    histories: list[list[Epoch]] = []
    for number, part in enumerate(data.parts, 1):
        if len(data.parts) > 1:
            watch(Note(f"network {number} of {len(data.parts)}"))
        network = build_branch(recipe, pipeline, len(data.labels))  # what is wrong with its options is found here
        checkpoint.network = number
        if (found := checkpoint.take(f"network {number}")) is not None:
            branches.append(network)
            histories.append(bring_back(network, found, checkpoint, watch))
            continue
        if recipe.learns_codes:
            network = build_branch(full_first(recipe), pipeline, len(data.labels))
        history: list[Epoch] = []
        watched, stopped = (watch, history, checkpoint), False
        try:
            train_branch(network, part, data.tokens, recipe.change(seed=recipe.seed + number - 1), *watched)
        except KeyboardInterrupt:
            if not history and not branches:
                raise
            stopped = True
            kept = f"the best of {len(history)} finished epochs is kept" if history else "finished networks are kept"
            watch(Note(f"stopped by hand: {kept}"))
        if history:
            if recipe.learns_codes:
                stopped = share_codes(network, part, recipe, watch) or stopped
            branches.append(network)
            histories.append(history)
        if stopped:
            break
        put_by(network, history, checkpoint)
    return branches, histories


def put_by(network: Deep, history: list[Epoch], checkpoint: Checkpoint) -> None:
    """A finished network into the checkpoint."""
    random = training.random_states(checkpoint.ranks, training.CPU)
    epochs = [vars(epoch) for epoch in history]
    checkpoint.drop("best epoch")
    checkpoint.fix(
        f"network {checkpoint.network}", {"weights": network.state_dict(), "history": epochs, "random": random}
    )
    if checkpoint.ranks.agree(checkpoint.due(epoch_ends=True)):
        checkpoint.save("finished", "finished", {})


def bring_back(network: Deep, found: Any, checkpoint: Checkpoint, watch: Watch) -> list[Epoch]:
    """A finished network out of the checkpoint; returns its epochs."""
    network.load_state_dict(found["weights"])
    training.restore_random(found["random"], checkpoint.ranks, training.CPU)
    history = [Epoch(**epoch) for epoch in found["history"]]
    for epoch in history:
        watch(epoch)
    return history


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


def train_branch(
    network: Deep, part: Part, tokens: int, recipe: Recipe, watch: Watch, history: list[Epoch], checkpoint: Checkpoint
) -> None:
    """Hidden tokens first, if the recipe says so; then the labels. ``history`` grows by a record an epoch."""
    recipe = training.widen(recipe, checkpoint.ranks.count)
    with on_device(network, checkpoint.ranks.device), checkpoint.ranks.apart(recipe.seed):
        reads = recipe.pretrain_epochs and network.encoder.state_width and tokens
        if reads and checkpoint.phase != "training":
            losses = pretraining.pretrain(network, part.train.encoded, tokens, recipe, watch, checkpoint)
            watch(Note(f"hidden tokens guessed: loss {losses[0]:.3f} in the first epoch, {losses[-1]:.3f} in the last"))
        for epoch in training.fit(network, part.train, part.dev, recipe, watch, checkpoint):
            history.append(epoch)
            watch(epoch)


def share_codes(network: Deep, part: Part, recipe: Recipe, watch: Watch) -> bool:
    """Put shared tables with learned codes in the place of the trained ones; returns whether Ctrl-C came meanwhile.

    Without its codes the network would be lost, so the first Ctrl-C has to wait.
    """
    columns, stopped = part.train.encoded.columns, False
    counts = {name: np.bincount(columns[name].values) for name in network.embeddings}
    watch(Note("finding codes for the embedding"))
    with Beside(lambda _: quantizing.share_tables(network, counts, recipe.embedding_options, recipe.seed)) as finding:
        try:
            before, after = finding.result()
        except KeyboardInterrupt:
            stopped = True
            watch(Note("stopped by hand: the codes have to be found first"))
            before, after = finding.result()
    accuracy = training.measure(network, part.dev, recipe)[1]
    size = f"{after / 1e3:,.1f} kB in place of {before / 1e3:,.1f}"
    watch(Note(f"codes learned: the embedding takes {size}, dev {name_of_quality(part.dev.targets)} {accuracy:.4f}"))
    return stopped


class Joined(NamedTuple):
    """A classifier; and what it makes of the held-out documents ``rows (B,)``: probabilities ``(B, C)``.

    ``raw`` are the probabilities before calibration, at scales of 1.
    """

    model: Classifier
    rows: npt.NDArray[np.int64]
    raw: npt.NDArray[Any]
    probabilities: npt.NDArray[Any]


def join(branches: list[Deep], data: Data, recipe: Recipe, baseline: Linear | None, watch: Watch) -> Joined:
    """The branches that dev asks for in one classifier, with the scales at which they make dev likeliest together."""
    wide = None
    if baseline is not None:
        wide = WideTable(torch.from_numpy(baseline.weight), torch.from_numpy(baseline.bias))
    classifier = Classifier(branches, wide, data.several)
    classifier.halve_tables()
    rows, kinds = judged(branches, data, recipe, baseline)
    targets = data.dev.targets[rows]
    weights = None if data.dev.weights is None else data.dev.weights[rows]
    scales = weigh(kinds, targets, weights)
    moved = shift(np.tensordot(scales, np.stack(kinds), 1), targets, weights)
    scales = moved.factor * scales
    if len(kinds) == 2:
        which = {(True, True): "both branches", (True, False): "the recurrent branch alone"}
        used = which.get((scales[0] > 0, scales[1] > 0), "the linear branch alone")
        offset = " + an offset a class" if moved.offset.any() else ""
        sums = f"logits = {scales[0]:.2f} x recurrent + {scales[1]:.2f} x linear{offset}"
        watch(Note(f"the bundle answers by {used}: {sums}"))
        if scales[0] == 0:  # what has no say need not be stored and computed
            classifier = Classifier([], wide, data.several)
        elif scales[1] == 0:
            classifier = Classifier(branches, several=data.several)
    classifier.scales[:] = torch.tensor([scales[0] if branches else 0.0, scales[-1] if wide else 0.0])
    classifier.offset[:] = torch.from_numpy(moved.offset)
    squash = expit if data.several else partial(softmax, axis=1)
    found = np.tensordot(scales, np.stack(kinds), 1) + moved.offset
    return Joined(classifier, rows, squash(np.sum(kinds, axis=0)), squash(found))


def judged(
    branches: list[Deep], data: Data, recipe: Recipe, baseline: Linear | None
) -> tuple[npt.NDArray[np.int64], list[npt.NDArray[np.float32]]]:
    """The rows of the held-out documents that every kind of branch has judged, and the logits of each kind, ``(B, C)``.

    Where training was broken off a part may have no network.
    """
    if not branches:
        assert baseline is not None
        return np.arange(len(baseline.held)), [baseline.held]
    held = len(data.dev.targets)
    total, count = np.zeros((held, len(data.labels)), np.float32), np.zeros((held, 1), np.float32)
    for branch, part in zip(branches, data.parts, strict=False):
        total[part.rows] += training.predict(branch, part.dev.encoded, recipe)
        count[part.rows] += 1
    rows = np.flatnonzero(count)
    deep: npt.NDArray[np.float32] = total[rows] / count[rows]
    return rows, [deep] if baseline is None else [deep, baseline.held[rows]]


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
