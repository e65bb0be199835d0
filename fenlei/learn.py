"""The whole way from labelled texts to a bundle: decide, count, fit, weigh, export, score."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

import fenlei
from fenlei import linear, pretraining, training
from fenlei.bundle import Bundle
from fenlei.evaluation import evaluate
from fenlei.export import export
from fenlei.layers.wide import WideTable
from fenlei.linear import Linear
from fenlei.models import ENCODERS, Classifier, build
from fenlei.ngrams import most_frequent
from fenlei.pipeline import Pipeline, chunks
from fenlei.recipe import Recipe
from fenlei.runtime import Predictor
from fenlei.streams import STREAMS, TokenBatch
from fenlei.text import Tokenizer, choose, normalize, read_stop_words, read_user_words, tokenize
from fenlei.training import Epoch, Examples, Step
from fenlei.vocab import Vocab
from fenlei.wide import Tally, Wide

GOLDEN = 8  # dev documents that the bundle carries with their probabilities
# What else a position is looked up by, and what the linear model counts, for each way of cutting.
STREAMS_OF = {
    "chars": ("bigrams", "covering_words"),
    "words": ("bigrams", "prefixes", "suffixes"),
    "jieba": ("bigrams",),
    "spaces": ("bigrams",),
}
VIEWS_OF = {
    "chars": (("chars", 3), ("jieba", 2)),
    "words": (("chars", 5), ("tokens", 2)),
    "jieba": (("chars", 3), ("tokens", 2)),
    "spaces": (("chars", 3), ("tokens", 2)),
}
LINEAR_CELLS = 200_000_000  # n-grams times classes: 800 MB of weights while fitting


class Labelled(NamedTuple):
    """Texts, the label of each, and optionally how much each counts."""

    texts: Sequence[str]
    labels: Sequence[str]
    weights: npt.NDArray[np.float32] | None = None


class Note(NamedTuple):
    """A decision or a finding, one sentence for the person who waits."""

    sentence: str


Watch = Callable[[Note | Step | Epoch], None]


@dataclass(frozen=True)
class Data:
    """Both sides as numbers."""

    labels: list[str]
    train: Examples
    dev: Examples
    tokens: int


def learn(train: Labelled, dev: Labelled, recipe: Recipe, watch: Watch, ledger: dict[str, Any] | None = None) -> Bundle:
    """Train a classifier as ``recipe`` says and return its bundle, not yet saved.

    ``dev`` decides: the best epoch, the linear model's cost, the weight of each branch. Ctrl-C during the epochs keeps
    the best one so far; before the first has ended there is nothing to keep, and ``KeyboardInterrupt`` goes on.
    """
    began = time.perf_counter()
    labels = classes_of(train.labels)
    dev = _known_only(dev, labels, watch)
    recipe = decide(train.texts, recipe, watch)
    pipeline = build_pipeline(train.texts, recipe, len(labels))
    watch(Note(f"vocabulary: {len(pipeline.vocab.tokens):,} tokens" + _sizes(pipeline)))
    data = encode(train, dev, labels, pipeline)
    if data.train.encoded.shortened:
        watch(Note(f"{data.train.encoded.shortened:,} texts are longer than {recipe.max_length} tokens and were cut"))
    with training.deterministic(recipe):
        baseline = fit_linear(data, pipeline, watch) if recipe.wide else None
        model = _build(recipe, pipeline, len(labels), baseline)
        history = _train(model, data, recipe, watch)
        _blend(model, data, recipe, baseline, watch)
        bundle = assemble(model, pipeline, recipe, labels, ledger or {})
    bundle.scores = score(bundle, dev, baseline, history, time.perf_counter() - began)
    return bundle


def classes_of(labels: Iterable[str]) -> list[str]:
    """The distinct labels in order; fewer than two are a ``ValueError``."""
    classes = sorted(set(labels))
    if len(classes) < 2:
        only = f"only {classes[0]!r}" if classes else "none"
        raise ValueError(f"a classifier needs documents of more than one class, the training data has {only}")
    return classes


def decide(texts: Sequence[str], recipe: Recipe, watch: Watch) -> Recipe:
    """The recipe with every open question answered from the data."""
    if recipe.tokenizer == "auto":
        name, reason = choose(texts)
        watch(Note(f"tokenizer: {name}, {reason}"))
        recipe = recipe.change(tokenizer=name)
    if recipe.streams is None:
        # without its stop words a word has no longer a token for every character
        left_out = ("covering_words",) if recipe.stop_words else ()
        recipe = recipe.change(streams=tuple(name for name in STREAMS_OF[recipe.tokenizer] if name not in left_out))
    if recipe.epochs is None:
        recipe = recipe.change(epochs=int(np.clip(round(600_000 / len(texts)), 4, 30)))
    if recipe.pretrain_epochs is None:
        recipe = recipe.change(pretrain_epochs=0)
    return recipe


def build_pipeline(texts: Sequence[str], recipe: Recipe, classes: int) -> Pipeline:
    """Count tokens and n-grams of the training texts: the vocabulary, the tables of the streams and the wide branch."""
    tokenizer = Tokenizer(
        recipe.tokenizer,
        nfkc=recipe.nfkc,
        lower=recipe.lower,
        user_words=read_user_words(recipe.user_words) if recipe.user_words else (),
        stop_words=read_stop_words(recipe.stop_words) if recipe.stop_words else frozenset(),
    )
    vocab = Vocab.build(tokenize(texts, tokenizer), recipe.min_count, recipe.max_size)
    streams = {name: Tally() for name in recipe.streams or ()}
    for batch in batches(texts, tokenizer):
        for name, tally in streams.items():
            tally.add(STREAMS[name](batch))
    tables = {
        name: most_frequent(*tally.total(), recipe.stream_min_count, recipe.stream_max_size)[0]
        for name, tally in streams.items()
    }
    wide = None
    if recipe.wide and classes <= linear.MOST_CLASSES:
        size = min(recipe.ngram_max_size, LINEAR_CELLS // classes)
        wide = Wide.build(batches(texts, tokenizer), VIEWS_OF[recipe.tokenizer], recipe.ngram_min_count, size)
    encoder = ENCODERS.get(recipe.model or "")
    sentence_length = recipe.sentence_length if encoder is not None and encoder.reads_sentences else 0
    return Pipeline(tokenizer, vocab, tables, wide, recipe.max_length, sentence_length)


def batches(texts: Sequence[str], tokenizer: Tokenizer) -> Iterable[TokenBatch]:
    """All texts, cut, in runs of bounded size."""
    for chunk in chunks(texts):
        normal = [normalize(text, nfkc=tokenizer.nfkc, lower=tokenizer.lower) for text in chunk]
        yield TokenBatch.join(normal, list(tokenize(chunk, tokenizer)))


def _known_only(dev: Labelled, labels: list[str], watch: Watch) -> Labelled:
    """Dev documents whose label training knows; the others cannot help to choose anything."""
    known = set(labels)
    kept = [place for place, label in enumerate(dev.labels) if label in known]
    if len(kept) < len(dev.labels):
        watch(Note(f"{len(dev.labels) - len(kept)} dev documents have labels that training does not: left out"))
    if not kept:
        raise ValueError("no dev document has a label that the training data knows")
    weights = None if dev.weights is None else dev.weights[kept]
    return Labelled([dev.texts[place] for place in kept], [dev.labels[place] for place in kept], weights)


def _sizes(pipeline: Pipeline) -> str:
    parts = [f", {len(table) - 1:,} {name.replace('_', ' ')}" for name, table in pipeline.streams.items()]
    return "".join(parts) + (f", {len(pipeline.wide) - 1:,} n-grams for the linear model" if pipeline.wide else "")


def encode(train: Labelled, dev: Labelled, labels: list[str], pipeline: Pipeline) -> Data:
    """Texts to ids, labels to class numbers."""
    number = {label: place for place, label in enumerate(labels)}

    def examples(side: Labelled) -> Examples:
        targets = np.array([number[label] for label in side.labels], np.int64)
        return Examples(pipeline.encode(side.texts), targets, side.weights)

    return Data(labels, examples(train), examples(dev), len(pipeline.vocab.tokens))


def fit_linear(data: Data, pipeline: Pipeline, watch: Watch) -> Linear | None:
    """The baseline on the same split; none with more classes than it can be fitted for in reasonable time."""
    if pipeline.wide is None:
        watch(Note(f"no linear model: {len(data.labels):,} classes are more than {linear.MOST_CLASSES:,}"))
        return None
    fitted = linear.fit(
        data.train.encoded,
        data.train.targets,
        data.dev.encoded,
        data.dev.targets,
        columns=len(pipeline.wide),
        classes=len(data.labels),
        weights=data.train.weights,
        dev_weights=data.dev.weights,
    )
    found = f"dev accuracy {fitted.dev_accuracy:.4f}, {fitted.seconds:.0f} s"
    watch(Note(f"linear model (TF-IDF + SVM, C={fitted.cost}): {found}"))
    return fitted


def _build(recipe: Recipe, pipeline: Pipeline, classes: int, baseline: Linear | None) -> Classifier:
    wide = None
    if baseline is not None:
        wide = WideTable(torch.from_numpy(baseline.weight), torch.from_numpy(baseline.bias))
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
        wide=wide,
    )


def _train(model: Classifier, data: Data, recipe: Recipe, watch: Watch) -> list[Epoch]:
    """The recurrent branch, epoch by epoch. Ctrl-C after the first one ends the training, not the run."""
    history: list[Epoch] = []
    if model.encoder is None:
        return history
    if recipe.pretrain_epochs and model.encoder.state_width and data.tokens:
        losses = pretraining.pretrain(model, data.train.encoded, data.tokens, recipe, watch)
        watch(Note(f"hidden tokens guessed: loss {losses[0]:.3f} in the first epoch, {losses[-1]:.3f} in the last"))
    try:
        for epoch in training.fit(model, data.train, data.dev, recipe, watch):
            history.append(epoch)
            watch(epoch)
    except KeyboardInterrupt:
        if not history:
            raise
        watch(Note(f"stopped by hand: the best of {len(history)} finished epochs is kept"))
    return history


def _blend(model: Classifier, data: Data, recipe: Recipe, baseline: Linear | None, watch: Watch) -> None:
    """Set the scales of both branches: together they make dev likeliest."""
    deep = [] if model.encoder is None else [training.predict(model, data.dev.encoded, recipe)]
    wide = [] if baseline is None else [baseline.scores(data.dev.encoded)]
    scales = linear.blend(deep + wide, data.dev.targets, data.dev.weights)
    model.scales[:] = torch.tensor([scales[0] if deep else 0.0, scales[-1] if wide else 0.0])
    if deep and wide:
        watch(Note(f"the bundle uses both: logits = {scales[0]:.2f} x recurrent + {scales[1]:.2f} x linear"))


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
        },
        weights={name: value.numpy() for name, value in model.state_dict().items()},
        graph=export(model, pipeline.stream_sizes()),
        recipe=recipe.to_json(),
        scores={},
        ledger=ledger,
        versions=versions(),
        golden=[],
    )


def score(
    bundle: Bundle, dev: Labelled, baseline: Linear | None, history: list[Epoch], seconds: float
) -> dict[str, Any]:
    """Dev scores as the runtime itself answers them; the golden inputs with their probabilities go into the bundle."""
    probabilities = Predictor(bundle).predict_proba(dev.texts)
    bundle.golden = [(text, row.tolist()) for text, row in zip(dev.texts[:GOLDEN], probabilities, strict=False)]
    predicted = [bundle.labels[place] for place in probabilities.argmax(1)]
    return {
        "dev": evaluate(dev.labels, predicted, bundle.labels),
        "linear": None if baseline is None else {"accuracy": baseline.dev_accuracy, "cost": baseline.cost},
        "epochs": [vars(epoch) for epoch in history],
        "seconds": round(seconds, 1),
    }


def versions() -> dict[str, str]:
    """What made the bundle."""
    packages = {name: version(name) for name in ("torch", "onnxruntime", "onnx", "numpy", "scikit-learn", "rjieba")}
    return {"fenlei": fenlei.__version__, "python": platform.python_version()} | packages
