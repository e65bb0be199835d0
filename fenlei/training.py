"""The training loop: batches of like length, sparse and dense optimizers, early stop, the best epoch kept."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fenlei import objective
from fenlei.models import Deep
from fenlei.optimizing import Optimizer
from fenlei.pipeline import Arrays, Encoded
from fenlei.recipe import Recipe
from fenlei.vocab import PAD, UNK

Ints = npt.NDArray[np.int64]

BATCH_SIZE = 128  # where the recipe leaves it open
PREDICT_SIZE = 512
POOL = 64  # batches that are sorted by length together: nearly no padding, yet the order stays random
TICK = 0.2  # seconds between two signs of life


class Examples(NamedTuple):
    """Encoded documents, their class numbers ``(B,)`` or 0 and 1 ``(B, C)``, and how much each counts, ``(B,)``."""

    encoded: Encoded
    targets: npt.NDArray[Any]
    weights: npt.NDArray[np.float32] | None = None


class Step(NamedTuple):
    """A sign of life within an epoch: ``done`` of ``total`` documents, the running loss and accuracy.

    ``phase`` is "reading" while the encoder guesses hidden tokens: then there is no accuracy.
    """

    epoch: int
    epochs: int
    done: int
    total: int
    loss: float
    accuracy: float
    phase: str = "training"


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to. ``best`` says that its weights are the ones kept so far.

    ``dev_accuracy`` is the ``measure``: where texts have several labels, micro-F1.
    """

    number: int
    epochs: int
    loss: float
    accuracy: float
    dev_loss: float
    dev_accuracy: float
    seconds: float
    documents_per_second: float
    best: bool
    measure: str = "accuracy"


class Report(NamedTuple):
    """The mean loss and accuracy since the last report, after ``step`` batches of training."""

    step: int
    loss: float
    accuracy: float


Watch = Callable[[Step | Report], None]


def fit(model: Deep, train: Examples, dev: Examples, recipe: Recipe, watch: Watch | None = None) -> Iterator[Epoch]:
    """Train the recurrent branch; yield a record an epoch; leave the model with the weights of the best epoch.

    That holds however the loop ends: after ``recipe.epochs`` epochs or ``recipe.steps`` batches, whichever come first,
    after ``recipe.patience`` epochs without a better dev accuracy (ties: dev loss), or when the caller breaks off,
    Ctrl-C included. A loss that is no number is a ``FloatingPointError``.
    """
    trainer = Trainer(model, train, recipe, watch)
    best: tuple[float, float] | None = None
    kept: dict[str, Tensor] = {}
    waited = 0
    try:
        for number in itertools.count(1):
            began = time.perf_counter()
            seen = trainer.epoch(number)
            seconds = time.perf_counter() - began
            dev_loss, dev_accuracy = measure(model, dev, recipe)
            better = best is None or (dev_accuracy, -dev_loss) > best
            if better:
                best, kept, waited = (dev_accuracy, -dev_loss), snapshot(model), 0
            else:
                waited += 1
            found = (seen.loss, seen.accuracy, dev_loss, dev_accuracy)
            speed = seen.documents / seconds
            name = objective.name_of_quality(dev.targets)
            yield Epoch(number, max(number, trainer.epochs), *found, seconds, speed, better, name)
            if trainer.ends(number) or (recipe.patience is not None and waited >= recipe.patience):
                return
    finally:
        if kept:
            model.load_state_dict(kept)


@dataclass
class Meter:
    """Sums over documents, and their means."""

    losses: float = 0.0
    right: int = 0
    documents: int = 0

    def add(self, loss: float, right: int, documents: int) -> None:
        """A batch: its mean loss, how many of its documents were right, how many there were."""
        self.losses += loss * documents
        self.right += right
        self.documents += documents

    @property
    def loss(self) -> float:
        """The mean loss."""
        return self.losses / self.documents

    @property
    def accuracy(self) -> float:
        """The share that was right."""
        return self.right / self.documents


class Trainer:
    """One training of one network: its batches, its optimizer, and what it says on the way."""

    def __init__(self, model: Deep, train: Examples, recipe: Recipe, watch: Watch | None = None) -> None:
        self.model, self.recipe, self.watch = model, recipe, watch
        self.train = train._replace(encoded=train.encoded.only(model.embeddings))
        self.rng = np.random.default_rng(recipe.seed)
        an_epoch = len(make_batches(train.encoded.sizes, recipe, np.random.default_rng(recipe.seed)))
        self.most_epochs = recipe.epochs or (math.inf if recipe.steps else 1)
        self.steps = int(min(recipe.steps or math.inf, self.most_epochs * an_epoch))
        self.epochs = math.ceil(self.steps / an_epoch)  # about: other orders can make other numbers of batches
        self.optimizer = Optimizer(model, recipe, self.steps)
        self.recent = Meter()

    def epoch(self, number: int) -> Meter:
        """Every document once, or as many as there are steps left; how the network did while it learned."""
        self.model.train()
        seen, last = Meter(), time.perf_counter()
        for rows in make_batches(self.train.encoded.sizes, self.recipe, self.rng):
            found = self.step(rows)
            seen.add(*found)
            self._report(*found)
            if self.watch is not None and time.perf_counter() - last > TICK:
                last = time.perf_counter()
                total = len(self.train.encoded)
                self.watch(Step(number, self.epochs, seen.documents, total, seen.loss, seen.accuracy))
            if self.out_of_steps:
                break
        return seen

    @property
    def out_of_steps(self) -> bool:
        """Whether the recipe's steps are made."""
        return self.recipe.steps is not None and self.optimizer.steps >= self.recipe.steps

    def ends(self, epoch: int) -> bool:
        """Whether this epoch is the last one."""
        return self.out_of_steps or epoch >= self.most_epochs

    def step(self, rows: Ints) -> tuple[float, int, int]:
        """Learn one batch: its mean loss, how many documents were right, how many there were."""
        arrays, targets = tensors(self.train.encoded.batch(rows)), torch.from_numpy(self.train.targets[rows])
        drop_tokens(arrays, self.recipe.token_dropout)
        with precision(self.recipe):
            logits = self.model(arrays).float()
        loss = mean_loss(logits, targets, self.train.weights, rows, self.recipe.label_smoothing)
        self.optimizer.step(loss)
        return float(loss.detach()), int(objective.right(logits.detach(), targets).sum()), len(rows)

    def _report(self, loss: float, right: int, documents: int) -> None:
        """A line every ``recipe.report_steps`` batches, and one at the last."""
        if self.watch is None or not self.recipe.report_steps:
            return
        self.recent.add(loss, right, documents)
        if self.optimizer.steps % self.recipe.report_steps == 0 or self.out_of_steps:
            self.watch(Report(self.optimizer.steps, self.recent.loss, self.recent.accuracy))
            self.recent = Meter()


def mean_loss(
    logits: Tensor, targets: Tensor, weights: npt.NDArray[np.float32] | None, rows: Ints, smoothing: float
) -> Tensor:
    """The mean loss over the batch; with weights each document counts as much as its own."""
    losses = objective.losses(logits, targets, smoothing)
    if weights is not None:
        losses = losses * torch.from_numpy(weights[rows])
    return losses.mean()


def make_batches(lengths: Ints, recipe: Recipe, rng: np.random.Generator) -> list[Ints]:
    """All documents in shuffled batches of nearly equal length, ``batch_size`` each, fewer where texts are long.

    ``lengths (B,)`` count the positions that a document takes, its padding included where it is cut into sentences.
    """
    size = recipe.batch_size or BATCH_SIZE
    order = rng.permutation(len(lengths))
    pools = [order[start : start + POOL * size] for start in range(0, len(order), POOL * size)]
    batches = [batch for pool in pools for batch in by_length(pool, lengths, size, recipe.batch_tokens)]
    return [batches[place] for place in rng.permutation(len(batches))]


def by_length(rows: Ints, lengths: Ints, batch_size: int, batch_tokens: int) -> list[Ints]:
    """``rows`` from short to long in runs of at most ``batch_size`` rows and ``batch_tokens`` padded tokens."""
    ordered = rows[np.argsort(lengths[rows], kind="stable")]
    batches, start = [], 0
    while start < len(ordered):
        size = batch_size
        while size > 1 and size * lengths[ordered[min(start + size, len(ordered)) - 1]] > batch_tokens:
            size //= 2
        batches.append(ordered[start : start + size])
        start += size
    return batches


def tensors(arrays: Arrays) -> dict[str, Tensor]:
    """The pipeline's arrays as tensors that share their memory."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def drop_tokens(arrays: dict[str, Tensor], rate: float) -> None:
    """Make a share of the positions unknown in every stream, so that no single token is relied upon (word dropout)."""
    if not rate:
        return
    hit = torch.rand(arrays["ids"].shape) < rate
    for name in arrays.keys() - {"lengths", "ngrams", "ngram_values"}:
        arrays[name] = torch.where(hit & (arrays[name] != PAD), UNK, arrays[name])


@contextlib.contextmanager
def deterministic(recipe: Recipe) -> Iterator[None]:
    """Random numbers from the recipe's seed and its number of threads; the process's own are restored afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def precision(recipe: Recipe) -> Iterator[None]:
    """bfloat16 matrix products where the recipe and the processor say so."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=uses_bf16(recipe)):
        yield


def uses_bf16(recipe: Recipe) -> bool:
    """Whether this run multiplies in bfloat16: only if asked, or if the processor has the instructions for it."""
    has = torch.cpu.get_capabilities()
    return recipe.precision == "bf16" or (
        recipe.precision == "auto" and bool(has.get("avx512_bf16") or has.get("amx_bf16"))
    )


@torch.no_grad()
def predict(model: Deep, encoded: Encoded, recipe: Recipe) -> npt.NDArray[np.float32]:
    """The recurrent branch's logits of every document, ``(B, C)``, not scaled, in fp32."""
    model.eval()
    encoded = encoded.only(model.embeddings)
    batches = by_length(np.arange(len(encoded)), encoded.sizes, PREDICT_SIZE, 2 * recipe.batch_tokens)
    outputs = [model(tensors(encoded.batch(rows))) for rows in batches]
    order = np.argsort(np.concatenate(batches), kind="stable")
    logits: npt.NDArray[np.float32] = torch.cat(outputs).numpy()[order]
    return logits


def measure(model: Deep, dev: Examples, recipe: Recipe) -> tuple[float, float]:
    """Mean loss and quality of the recurrent branch on held-out documents: accuracy, or micro-F1 of several labels."""
    logits = predict(model, dev.encoded, recipe)
    losses = objective.losses(torch.from_numpy(logits), torch.from_numpy(dev.targets)).numpy()
    return float(np.average(losses, weights=dev.weights)), objective.quality(logits, dev.targets, dev.weights)


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights."""
    return {name: value.clone() for name, value in model.state_dict().items()}
