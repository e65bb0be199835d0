"""The training loop: batches of like length, sparse and dense optimizers, early stop, the best epoch kept."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fenlei.models import Deep
from fenlei.pipeline import Arrays, Encoded
from fenlei.recipe import Recipe
from fenlei.vocab import PAD, UNK

Ints = npt.NDArray[np.int64]

BATCH_SIZE = 128  # where the recipe leaves it open
PREDICT_SIZE = 512
POOL = 64  # batches that are sorted by length together: nearly no padding, yet the order stays random
TICK = 0.2  # seconds between two signs of life


class Examples(NamedTuple):
    """Encoded documents, their class numbers ``(B,)``, and how much each counts, ``(B,)``."""

    encoded: Encoded
    targets: Ints
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
    """What one epoch came to. ``best`` says that its weights are the ones kept so far."""

    number: int
    epochs: int
    loss: float
    accuracy: float
    dev_loss: float
    dev_accuracy: float
    seconds: float
    documents_per_second: float
    best: bool


Watch = Callable[[Step], None]


def fit(model: Deep, train: Examples, dev: Examples, recipe: Recipe, watch: Watch | None = None) -> Iterator[Epoch]:
    """Train the recurrent branch; yield a record an epoch; leave the model with the weights of the best epoch.

    That holds however the loop ends: at the last epoch, after ``recipe.patience`` epochs without a better dev accuracy
    (ties: dev loss), or when the caller breaks off, Ctrl-C included.
    A loss that is no number is a ``FloatingPointError``.
    """
    epochs = recipe.epochs or 1
    rng = np.random.default_rng(recipe.seed)
    total_steps = epochs * len(make_batches(train.encoded.sizes, recipe, np.random.default_rng(recipe.seed)))
    optimizer = Optimizer(model, recipe, total_steps)
    best: tuple[float, float] | None = None
    kept: dict[str, Tensor] = {}
    waited = 0
    try:
        for number in range(1, epochs + 1):
            began = time.perf_counter()
            loss, accuracy = train_epoch(model, train, optimizer, recipe, rng, (number, epochs), watch)
            seconds = time.perf_counter() - began
            dev_loss, dev_accuracy = measure(model, dev, recipe)
            better = best is None or (dev_accuracy, -dev_loss) > best
            if better:
                best, kept, waited = (dev_accuracy, -dev_loss), snapshot(model), 0
            else:
                waited += 1
            speed = len(train.encoded) / seconds
            yield Epoch(number, epochs, loss, accuracy, dev_loss, dev_accuracy, seconds, speed, better)
            if waited >= recipe.patience:
                return
    finally:
        if kept:
            model.load_state_dict(kept)


def train_epoch(
    model: Deep,
    train: Examples,
    optimizer: Optimizer,
    recipe: Recipe,
    rng: np.random.Generator,
    number: tuple[int, int],
    watch: Watch | None,
) -> tuple[float, float]:
    """Every document once. Returns the mean loss and the accuracy that the network had while it learned."""
    model.train()
    losses, right, done, last = 0.0, 0, 0, time.perf_counter()
    for rows in make_batches(train.encoded.sizes, recipe, rng):
        arrays, targets = tensors(train.encoded.batch(rows)), torch.from_numpy(train.targets[rows])
        drop_tokens(arrays, recipe.token_dropout)
        with precision(recipe):
            logits = model(arrays).float()
        loss = cross_entropy(logits, targets, train.weights, rows, recipe.label_smoothing)
        optimizer.step(loss)
        losses += float(loss.detach()) * len(rows)
        right += int((logits.detach().argmax(1) == targets).sum())
        done += len(rows)
        if watch is not None and time.perf_counter() - last > TICK:
            last = time.perf_counter()
            watch(Step(*number, done, len(train.encoded), losses / done, right / done))
    return losses / done, right / done


def cross_entropy(
    logits: Tensor, targets: Tensor, weights: npt.NDArray[np.float32] | None, rows: Ints, smoothing: float
) -> Tensor:
    """Softmax cross-entropy, the mean over the batch; with weights each document counts as much as its own."""
    losses = nn.functional.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
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


class Optimizer:
    """AdamW for dense weights, lazy Adam for the rows of tables that a batch touched, one norm clipped over both.

    Warm-up, then a linear way down to zero over ``total_steps`` (Devlin et al. 2019).
    """

    def __init__(self, model: nn.Module, recipe: Recipe, total_steps: int) -> None:
        tables = [p for m in model.modules() if isinstance(m, nn.Embedding) and m.sparse for p in m.parameters()]
        known = {id(p) for p in tables}
        dense = [p for p in model.parameters() if id(p) not in known]
        decayed = [p for p in dense if p.ndim > 1]
        plain = [p for p in dense if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.parameters = dense + tables
        self.optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)]
        if tables:
            self.optimizers.append(torch.optim.SparseAdam(tables, lr=recipe.table_rate))
        rate = schedule(total_steps, recipe.warmup)
        self.schedules = [torch.optim.lr_scheduler.LambdaLR(each, rate) for each in self.optimizers]
        self.clip_norm = recipe.clip_norm

    def step(self, loss: Tensor) -> None:
        """Gradients of ``loss``, clipped by their global norm, applied."""
        if not math.isfinite(float(loss.detach())):
            raise FloatingPointError(f"the training loss became {float(loss.detach())}: try a smaller learning_rate")
        for each in self.optimizers:
            each.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = clip(self.parameters, self.clip_norm)
        if not math.isfinite(norm):
            raise FloatingPointError(f"the norm of the gradients became {norm}: try a smaller learning_rate")
        for optimizer, rate in zip(self.optimizers, self.schedules, strict=True):
            optimizer.step()
            rate.step()


def schedule(total_steps: int, warmup: float) -> Callable[[int], float]:
    """The factor of the learning rate at each step."""
    rising = max(1, round(total_steps * warmup))
    return lambda step: min((step + 1) / rising, max(0.0, (total_steps - step) / max(1, total_steps - rising)))


def clip(parameters: list[nn.Parameter], limit: float) -> float:
    """Scale all gradients, sparse ones too, so that their joint norm is at most ``limit``; returns the norm before.

    Pascanu et al. 2013. Sparse gradients are summed by row first: the norm of a row seen twice is that of its sum.
    """
    gradients = []
    for parameter in parameters:
        if parameter.grad is not None:
            if parameter.grad.is_sparse:
                parameter.grad = parameter.grad.coalesce()
                gradients.append(parameter.grad._values())
            else:
                gradients.append(parameter.grad)
    norm = float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients])))
    if norm > limit:
        for gradient in gradients:
            gradient.mul_(limit / norm)
    return norm


@torch.no_grad()
def predict(model: Deep, encoded: Encoded, recipe: Recipe) -> npt.NDArray[np.float32]:
    """The recurrent branch's logits of every document, ``(B, C)``, not scaled, in fp32."""
    model.eval()
    batches = by_length(np.arange(len(encoded)), encoded.sizes, PREDICT_SIZE, 2 * recipe.batch_tokens)
    outputs = [model(tensors(encoded.batch(rows))) for rows in batches]
    order = np.argsort(np.concatenate(batches), kind="stable")
    logits: npt.NDArray[np.float32] = torch.cat(outputs).numpy()[order]
    return logits


def measure(model: Deep, dev: Examples, recipe: Recipe) -> tuple[float, float]:
    """Mean cross-entropy and accuracy of the recurrent branch on held-out documents."""
    logits = torch.from_numpy(predict(model, dev.encoded, recipe))
    targets = torch.from_numpy(dev.targets)
    losses = nn.functional.cross_entropy(logits, targets, reduction="none").numpy()
    right = (logits.argmax(1) == targets).numpy()
    return float(np.average(losses, weights=dev.weights)), float(np.average(right, weights=dev.weights))


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights."""
    return {name: value.clone() for name, value in model.state_dict().items()}
