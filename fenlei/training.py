"""The training loop: batches of like length, sparse and dense optimizers, early stop, the best epoch kept."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fenlei import memory, objective
from fenlei.adversarial import learn_both
from fenlei.averaging import Average
from fenlei.checkpoint import Checkpoint
from fenlei.models import Deep
from fenlei.optimizing import Optimizer
from fenlei.pipeline import Arrays, Encoded
from fenlei.ranks import ALONE, Ranks
from fenlei.recipe import Recipe
from fenlei.vocab import PAD, UNK
from fenlei.windows import Windows

Ints = npt.NDArray[np.int64]

BATCH_SIZE = 128  # where the recipe leaves it open
PREDICT_SIZE = 512
RELEASED = 16  # batches of prediction between two returns of freed memory
RELEASED_STEPS = 64  # and of training
POOL = 64  # batches that are sorted by length together: nearly no padding, yet the order stays random
BLOCK = 1 << 20  # numbers that are digested at a time
TICK = 0.2  # seconds between two signs of life
CPU = torch.device("cpu")


class Examples(NamedTuple):
    """Encoded documents, their class numbers ``(B,)`` or 0 and 1 ``(B, C)``, and how much each counts, ``(B,)``."""

    encoded: Encoded
    targets: npt.NDArray[Any]
    weights: npt.NDArray[np.float32] | None = None

    def take(self, rows: Ints) -> Examples:
        """The named documents, in that order."""
        return Examples(
            self.encoded.take(rows), self.targets[rows], None if self.weights is None else self.weights[rows]
        )

    def digest(self) -> str:
        """SHA-256 of all of it, 64 hex digits."""
        found = hashlib.sha256()
        columns = dict(self.encoded.columns)
        if self.encoded.sentences is not None:
            columns["sentences"] = self.encoded.sentences
        arrays = [array for name in sorted(columns) for array in columns[name]]
        for array in (*arrays, self.targets, *([] if self.weights is None else [self.weights])):
            kind = np.dtype(np.int64) if array.dtype.kind == "u" else array.dtype  # files have the smallest type
            found.update(f"{kind} {array.shape} ".encode())
            for start in range(0, len(array), BLOCK):
                found.update(np.ascontiguousarray(array[start : start + BLOCK], kind).data)
        return found.hexdigest()


class Step(NamedTuple):
    """A sign of life within an epoch: ``done`` of ``total`` documents, the running loss and accuracy.

    ``phase`` is "reading" while the encoder guesses hidden tokens: then there is no accuracy. ``network`` is which of
    several it is of, counted from 1; 0 where there is one.
    """

    epoch: int
    epochs: int
    done: int
    total: int
    loss: float
    accuracy: float
    phase: str = "training"
    network: int = 0


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to. ``best`` says that its weights are the ones kept so far.

    ``dev_accuracy`` is the ``measure``: where texts have several labels, micro-F1. ``network`` is as in ``Step``.
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
    network: int = 0

    def record(self) -> dict[str, Any]:
        """What is kept of it, for JSON: which network it is of is said by where it is kept."""
        return {name: value for name, value in vars(self).items() if name != "network"}


class Report(NamedTuple):
    """The mean loss and accuracy since the last report, after ``step`` batches of training."""

    step: int
    loss: float
    accuracy: float
    network: int = 0


class Note(NamedTuple):
    """A decision or a finding, one sentence for the person who waits."""

    sentence: str


Watch = Callable[[Note | Step | Report | Epoch], None]


def fit(
    model: Deep,
    train: Examples,
    dev: Examples,
    recipe: Recipe,
    watch: Watch | None = None,
    checkpoint: Checkpoint | None = None,
) -> Iterator[Epoch]:
    """Train the recurrent branch; yield a record an epoch; leave the model with the weights of the best epoch.

    That holds however the loop ends: after ``recipe.epochs`` epochs or ``recipe.steps`` batches, whichever come first,
    after ``recipe.patience`` epochs without a better dev accuracy or a smaller dev loss, or when the caller breaks off,
    Ctrl-C included. A loss that is no number is a ``FloatingPointError``.

    Where a checkpoint is resumed, the epochs that it has seen are yielded first. The model stays on its device.
    """
    trainer = Trainer(model, train, recipe, watch, checkpoint)
    try:
        yield from trainer.history
        while not trainer.ended:
            seen = trainer.epoch()
            yield trainer.close_epoch(seen, dev)
    finally:
        if trainer.kept:
            model.load_state_dict(trainer.kept)


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
    """One training of one network: its batches, its optimizer, what it says on the way, and what a checkpoint keeps.

    ``history`` has the finished epochs, ``kept`` the weights after the best of them.
    """

    def __init__(
        self,
        model: Deep,
        train: Examples,
        recipe: Recipe,
        watch: Watch | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.model, self.recipe, self.watch = model, recipe, watch
        self.train = train._replace(encoded=train.encoded.only(model.embeddings))
        self.windows = Windows(self.train.encoded, recipe)
        self.checkpoint = checkpoint = checkpoint or Checkpoint()
        self.ranks, self.device = checkpoint.ranks, device_of(model)
        self.rng = np.random.default_rng(recipe.seed)
        an_epoch = len(make_batches(self.windows.sizes, recipe, np.random.default_rng(recipe.seed)))
        self.most_epochs = recipe.epochs or (math.inf if recipe.steps else 1)
        self.steps = int(min(recipe.steps or math.inf, self.most_epochs * an_epoch))
        self.epochs = math.ceil(self.steps / an_epoch)  # about: other orders can make other numbers of batches
        self.optimizer = Optimizer(model, recipe, self.steps, self.ranks)
        self.average = Average(model, self.steps) if recipe.usual("schedule") == "averaged" else None
        self.recent, self.seen, self.done, self.seconds = Meter(), Meter(), 0, 0.0
        self.order = self.rng.bit_generator.state
        self.history: list[Epoch] = []
        self.kept: dict[str, Tensor] = {}
        if (state := checkpoint.now("training")) is not None:
            self.load(state)

    @property
    def number(self) -> int:
        """The epoch at work, from 1."""
        return len(self.history) + 1

    def epoch(self) -> Meter:
        """Every document once, or as many as there are steps left; how the network did while it learned."""
        self.model.train()
        began = last = time.perf_counter()
        self.order = self.rng.bit_generator.state  # of the shuffle: with ``done`` it says which batches are left
        for rows in make_batches(self.windows.sizes, self.recipe, self.rng)[self.done :]:
            loss, right, stop, due = self.step(rows)
            self.seen.add(loss, right, len(rows))
            self.done += 1
            self._report(loss, right, len(rows))
            if self.watch is not None and time.perf_counter() - last > TICK:
                last = time.perf_counter()
                total = len(self.train.encoded)
                self.watch(
                    Step(self.number, self.epochs, self.seen.documents, total, self.seen.loss, self.seen.accuracy)
                )
            if due and not self.out_of_steps:
                self.seconds, began = self.seconds + time.perf_counter() - began, time.perf_counter()
                self.checkpoint.save("training", f"epoch {self.number}, {self.done} batches", self.state())
            if stop:
                raise KeyboardInterrupt
            if self.out_of_steps:
                break
            if self.done % RELEASED_STEPS == 0:
                memory.release()
        self.seconds += time.perf_counter() - began
        return self.seen

    def close_epoch(self, seen: Meter, dev: Examples) -> Epoch:
        """Measure on dev, keep the weights if they are the best so far, write a checkpoint if it is time.

        Where weights are averaged, these are the mean's.
        """
        with self.average.put_in() if self.average else contextlib.nullcontext():
            epoch = self._judge(seen, dev)
        self.history.append(epoch)
        self.seen, self.done, self.seconds = Meter(), 0, 0.0
        self.order = self.rng.bit_generator.state
        if self.ranks.agree(self.checkpoint.due(epoch_ends=True)):
            self.checkpoint.save("training", f"epoch {epoch.number} finished", self.state())
        return epoch

    def _judge(self, seen: Meter, dev: Examples) -> Epoch:
        dev_loss, dev_accuracy = measure(self.model, dev, self.recipe, self.ranks)
        best = max(((each.dev_accuracy, -each.dev_loss) for each in self.history if each.best), default=None)
        better = best is None or (dev_accuracy, -dev_loss) > best
        found = (seen.loss, seen.accuracy, dev_loss, dev_accuracy)
        speed, name = seen.documents / self.seconds, objective.name_of_quality(dev.targets)
        if better:
            self.kept = snapshot(self.model)
            self.checkpoint.fix("best epoch", self.kept)
        return Epoch(self.number, max(self.number, self.epochs), *found, self.seconds, speed, better, name)

    @property
    def out_of_steps(self) -> bool:
        """Whether the recipe's steps are made."""
        return self.recipe.steps is not None and self.optimizer.steps >= self.recipe.steps

    @property
    def ended(self) -> bool:
        """Whether the last finished epoch was the last of all: no more to make, or none was better for too long.

        One is better with the best accuracy so far, or with the least loss.
        """
        if not self.history:
            return False
        least = min(self.history, key=lambda each: each.dev_loss)  # while all classes look alike only this moves
        waited = len(self.history) - max(least.number, *(each.number for each in self.history if each.best))
        patience = self.recipe.patience
        return (
            self.out_of_steps or len(self.history) >= self.most_epochs or (patience is not None and waited >= patience)
        )

    def step(self, rows: Ints) -> tuple[float, int, bool, bool]:
        """Learn one batch: its mean loss and how many documents were right.

        Also whether a process was told to stop, and whether a checkpoint is due: so all hear it after the same step.
        """
        mine, loss, right = self.ranks.share(rows), None, 0
        if len(mine):
            logits, loss = self.answer(mine, len(mine) / len(rows))  # the processes' parts add up to the batch's mean
            targets = torch.from_numpy(self.train.targets[mine]).to(self.device)
            right = int(objective.right(logits.detach(), targets).sum())
        signs = (right, self.ranks.interrupted, self.checkpoint.due())
        mean, hits, stop, due = self.optimizer.step(loss, signs)
        if self.average:
            self.average.step(self.optimizer.steps)
        return mean, int(hits), stop > 0, due > 0

    def answer(self, rows: Ints, share: float = 1.0) -> tuple[Tensor, Tensor]:
        """What the network says of some documents, ``(B, C)``, and their share of the mean loss.

        Where training is adversarial the loss is of both passes, and some gradients are at the weights already.
        """
        arrays = tensors(self.windows.batch(rows), self.device)
        targets = torch.from_numpy(self.train.targets[rows]).to(self.device)
        drop_tokens(arrays, self.recipe.usual("token_dropout"))

        def logits_of(x: Tensor) -> Tensor:
            with precision(self.recipe, self.device):
                return self.model.read(x, arrays["lengths"]).float()

        def loss_of(logits: Tensor) -> Tensor:
            return share * self.loss(logits, targets, rows)

        x, norm = self.model.embed(arrays), self.recipe.usual("adversarial")
        if norm:
            return learn_both(x, norm, logits_of, loss_of)
        logits = logits_of(x)
        return logits, loss_of(logits)

    def loss(self, logits: Tensor, targets: Tensor, rows: Ints) -> Tensor:
        """The mean loss over the batch; with weights each document counts as much as its own."""
        losses, weights = objective.losses(logits, targets, self.recipe.label_smoothing), self.train.weights
        if weights is not None:
            losses = losses * torch.from_numpy(weights[rows]).to(losses.device)
        return losses.mean()

    def state(self) -> dict[str, Any]:
        """All that decides how the training goes on, the weights of the best epoch aside."""
        return {
            "weights": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "random": random_states(self.ranks, self.device),
            "order": self.order,
            "done": self.done,
            "seconds": self.seconds,
            "seen": vars(self.seen),
            "recent": vars(self.recent),
            "history": [epoch.record() for epoch in self.history],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Be where ``state`` was left."""
        self.model.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average:
            self.average.load_state_dict(state["average"])
        restore_random(state["random"], self.ranks, self.device)
        self.rng.bit_generator.state = state["order"]
        self.done, self.seconds = state["done"], state["seconds"]
        self.seen, self.recent = Meter(**state["seen"]), Meter(**state["recent"])
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self.kept = self.checkpoint.take("best epoch") or {}

    def _report(self, loss: float, right: int, documents: int) -> None:
        """A line every ``recipe.report_steps`` batches, and one at the last."""
        if self.watch is None or not self.recipe.report_steps:
            return
        self.recent.add(loss, right, documents)
        if self.optimizer.steps % self.recipe.report_steps == 0 or self.out_of_steps:
            self.watch(Report(self.optimizer.steps, self.recent.loss, self.recent.accuracy))
            self.recent = Meter()


def widen(recipe: Recipe, processes: int) -> Recipe:
    """The recipe of ``processes`` that train together: each learns ``batch_size`` documents a step, as one alone would.

    A step of all of them is that much surer, so Adam's rates grow by the square root of their number (Malladi et al.
    2022), and as many fewer steps are made.
    """
    if processes == 1:
        return recipe
    factor = math.sqrt(processes)
    rates = {"learning_rate": recipe.rate * factor, "table_rate": recipe.table_rate * factor}
    return recipe.change(
        batch_size=(recipe.batch_size or BATCH_SIZE) * processes,
        batch_tokens=recipe.batch_tokens * processes,
        steps=None if recipe.steps is None else math.ceil(recipe.steps / processes),
        **rates,
    )


def device_of(model: nn.Module) -> torch.device:
    """Where a network's weights are: everything that it reads goes there."""
    return next(model.parameters()).device


def choose_device(name: str) -> torch.device:
    """The recipe's "cpu", "cuda" or "auto": cuda where there is one. ValueError for cuda where there is none."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"there is no CUDA device that torch {torch.__version__} can use: train with --device cpu, or install a "
            "build of torch for CUDA"
        )
    return torch.device(name)


@contextlib.contextmanager
def on_device(network: nn.Module, device: torch.device) -> Iterator[None]:
    """The network there, and back on the processor afterwards, however the block ends."""
    network.to(device)
    try:
        yield
    finally:
        network.to(CPU)


def random_states(ranks: Ranks, device: torch.device) -> list[list[Tensor]]:
    """Where torch's random numbers are, on every process: the processor's, then the device's own."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return [ranks.gather(state.to(ranks.device)) for state in states]


def restore_random(states: list[list[Tensor]], ranks: Ranks, device: torch.device) -> None:
    """Put them back to where they were."""
    torch.set_rng_state(states[0][ranks.rank].cpu())
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1][ranks.rank].cpu(), device)


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


def tensors(arrays: Arrays, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """The pipeline's arrays as tensors on a device; on the processor they share their memory."""
    return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}


def drop_tokens(arrays: dict[str, Tensor], rate: float) -> None:
    """Make a share of the positions unknown in every stream, so that no single token is relied upon (word dropout)."""
    if not rate:
        return
    hit = torch.rand(arrays["ids"].shape, device=arrays["ids"].device) < rate
    for name in arrays.keys() - {"lengths", "ngrams", "ngram_values"}:
        arrays[name] = torch.where(hit & (arrays[name] != PAD), UNK, arrays[name])


@contextlib.contextmanager
def deterministic(recipe: Recipe) -> Iterator[None]:
    """Random numbers from the recipe's seed and its number of threads; the process's own are restored afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(recipe.threads)
    # oneDNN keeps the programs of the last shapes it computed, a megabyte each for an LSTM; read at its first use.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(recipe.seed)
            yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def precision(recipe: Recipe, device: torch.device = CPU) -> Iterator[None]:
    """bfloat16 matrix products where the recipe and the device say so."""
    with torch.autocast(device.type, torch.bfloat16) if uses_bf16(recipe, device) else contextlib.nullcontext():
        yield


def uses_bf16(recipe: Recipe, device: torch.device = CPU) -> bool:
    """Whether this run multiplies in bfloat16: only if asked, or if the device has the instructions for it."""
    if recipe.precision != "auto":
        return recipe.precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))


@torch.no_grad()
def predict(model: Deep, encoded: Encoded, recipe: Recipe, ranks: Ranks = ALONE) -> npt.NDArray[np.float32]:
    """The recurrent branch's logits of every document, ``(B, C)``, not scaled, in fp32; each process finds a part."""
    model.eval()
    encoded = encoded.only(model.embeddings)
    batches = by_length(np.arange(len(encoded)), encoded.sizes, PREDICT_SIZE, recipe.batch_tokens)
    device = device_of(model)
    mine = batches[ranks.rank :: ranks.count]
    outputs = torch.empty(sum(map(len, mine)), model.dense.out_features, device=device)
    done = 0
    for number, rows in enumerate(mine, 1):
        outputs[done : done + len(rows)] = model(tensors(encoded.batch(rows), device))
        done += len(rows)
        if number % RELEASED == 0:
            memory.release()
    parts = ranks.gather(outputs)
    dealt = [rows for rank in range(ranks.count) for rows in batches[rank :: ranks.count]]
    order = np.argsort(np.concatenate(dealt), kind="stable")
    logits: npt.NDArray[np.float32] = torch.cat(parts).cpu().numpy()[order]
    return logits


def measure(model: Deep, dev: Examples, recipe: Recipe, ranks: Ranks = ALONE) -> tuple[float, float]:
    """Mean loss and quality of the recurrent branch on held-out documents: accuracy, or micro-F1 of several labels."""
    logits = predict(model, dev.encoded, recipe, ranks)
    losses = objective.losses(torch.from_numpy(logits), torch.from_numpy(dev.targets)).numpy()
    return float(np.average(losses, weights=dev.weights)), objective.quality(logits, dev.targets, dev.weights)


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights."""
    return {name: value.clone() for name, value in model.state_dict().items()}
