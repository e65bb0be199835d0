"""Learning from the texts before the labels: the encoder guesses tokens that were hidden from it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fenlei import memory
from fenlei.checkpoint import Checkpoint
from fenlei.layers.mask import mask_of
from fenlei.models import Deep
from fenlei.optimizing import Optimizer
from fenlei.pipeline import Encoded, Ragged
from fenlei.recipe import Recipe
from fenlei.training import (
    RELEASED_STEPS,
    TICK,
    Ints,
    Meter,
    Step,
    Watch,
    device_of,
    make_batches,
    precision,
    random_states,
    restore_random,
    tensors,
)
from fenlei.vocab import RESERVED, UNK
from fenlei.windows import Windows

HIDDEN = 0.2  # share of the tokens that is hidden
# Only the commonest tokens are hidden and guessed, those that make so much of all text, and no more than that: the
# product with the output layer stays affordable, and who guesses the rare ones too does not read better for it.
COVERED, MOST_TOKENS = 0.98, 8_000


class Guess(nn.Module):
    """``softmax(V gelu(U h_t))`` over the commonest tokens, at hidden positions: BERT's head (Devlin et al. 2019)."""

    def __init__(self, model: Deep, size: int, tokens: int) -> None:
        super().__init__()
        self.model, self.encoder = model, model.encoder
        device = device_of(model)
        self.project = nn.Linear(self.encoder.state_width, size, device=device)
        self.output = nn.Linear(size, tokens, device=device)

    def forward(self, ids: Tensor, lengths: Tensor, hidden: Tensor) -> Tensor:
        """Mean cross-entropy of the tokens of ``ids (B, T)`` at the positions ``hidden (B, T)``."""
        x = self.model.embeddings["ids"](torch.where(hidden, UNK, ids))
        states = self.encoder.states(x, mask_of(lengths, ids.shape[1]))[hidden]
        logits = self.output(nn.functional.gelu(self.project(states)))
        return nn.functional.cross_entropy(logits.float(), ids[hidden] - RESERVED)


def pretrain(
    model: Deep,
    encoded: Encoded,
    tokens: int,
    recipe: Recipe,
    watch: Watch | None = None,
    checkpoint: Checkpoint | None = None,
) -> list[float]:
    """``recipe.pretrain_epochs`` over all texts; returns the mean loss of each. Labels are not looked at.

    ``tokens`` is the size of the vocabulary without its reserved ids.

    Only the token table and the encoder learn; the other streams would give a hidden token away.
    """
    checkpoint = checkpoint or Checkpoint()
    with checkpoint.ranks.alike(recipe.seed):
        guess = Guess(model, recipe.usual("embedding_size"), guessed(encoded.columns["ids"], tokens))
    pretrainer = Pretrainer(guess, encoded, recipe, watch, checkpoint)
    while len(pretrainer.losses) < pretrainer.epochs:
        pretrainer.epoch()
    return pretrainer.losses


def guessed(ids: Ragged, tokens: int) -> int:
    """How many of ``tokens``, numbered from the commonest on, are guessed in texts of these ``ids``."""
    counts = ids.counts(RESERVED + tokens)[RESERVED : RESERVED + tokens]
    return min(MOST_TOKENS, int(np.searchsorted(counts.cumsum(), COVERED * counts.sum())) + 1)


class Pretrainer:
    """One run of guessing hidden tokens, and what a checkpoint keeps of it. ``losses`` has the finished epochs' means.

    ``seen`` counts batches: a mean loss is one over them.
    """

    def __init__(
        self, guess: Guess, encoded: Encoded, recipe: Recipe, watch: Watch | None, checkpoint: Checkpoint
    ) -> None:
        self.guess, self.recipe, self.watch = guess, recipe, watch
        # flat, for an encoder that reads sentences too: a vector a step needs none of its upper level
        self.windows = Windows(Encoded({"ids": encoded.columns["ids"]}), recipe)
        self.checkpoint, self.ranks, self.device = checkpoint, checkpoint.ranks, device_of(guess)
        self.rng = np.random.default_rng(recipe.seed)
        self.epochs: int = recipe.usual("pretrain_epochs")
        an_epoch = len(make_batches(self.windows.sizes, recipe, np.random.default_rng(recipe.seed)))
        self.optimizer = Optimizer(guess, recipe, max(1, self.epochs * an_epoch), self.ranks)
        self.losses: list[float] = []
        self.seen, self.done, self.order = Meter(), 0, self.rng.bit_generator.state
        if (state := checkpoint.now("reading")) is not None:
            self.load(state)

    def epoch(self) -> None:
        """Every text once."""
        self.guess.train()
        last = time.perf_counter()
        self.order = self.rng.bit_generator.state
        number = len(self.losses) + 1
        batches = make_batches(self.windows.sizes, self.recipe, self.rng)
        for rows in batches[self.done :]:
            stop, due = self.step(rows)
            self.done += 1
            if self.watch is not None and self.seen.documents and time.perf_counter() - last > TICK:
                last = time.perf_counter()
                read = sum(map(len, batches[: self.done]))
                self.watch(Step(number, self.epochs, read, len(self.windows.encoded), self.seen.loss, 0.0, "reading"))
            if due:
                self.checkpoint.save("reading", f"reading {number}, {self.done} batches", self.state())
            if stop:
                raise KeyboardInterrupt
            if self.done % RELEASED_STEPS == 0:
                memory.release()
        self.losses.append(self.seen.loss if self.seen.documents else 0.0)
        self.seen, self.done, self.order = Meter(), 0, self.rng.bit_generator.state
        if self.ranks.agree(self.checkpoint.due(epoch_ends=True)):
            self.checkpoint.save("reading", f"reading {number} finished", self.state())

    def step(self, rows: Ints) -> tuple[bool, bool]:
        """Guess in one batch; whether a process was told to stop, and whether a checkpoint is due."""
        mine, loss = self.ranks.share(rows), None
        if len(mine):
            loss = self._loss(**tensors(self.windows.batch(mine), self.device))
        if loss is None and self.ranks.count == 1:
            return False, self.checkpoint.due()
        if loss is not None:
            loss = loss * (len(mine) / len(rows))  # about the mean over all processes' hidden tokens
        mean, stop, due = self.optimizer.step(loss, (self.ranks.interrupted, self.checkpoint.due()))
        self.seen.add(mean, 0, 1)
        return stop > 0, due > 0

    def _loss(self, ids: Tensor, lengths: Tensor) -> Tensor | None:
        """The mean loss over some tokens that are hidden now; None where none is."""
        hidden = torch.rand(ids.shape, device=ids.device) < HIDDEN
        hidden &= (ids >= RESERVED) & (ids < RESERVED + self.guess.output.out_features)
        if not hidden.any():
            return None
        with precision(self.recipe, self.device):
            loss: Tensor = self.guess(ids, lengths, hidden)
        return loss

    def state(self) -> dict[str, Any]:
        """All that decides how it goes on."""
        return {
            "weights": self.guess.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": random_states(self.ranks, self.device),
            "order": self.order,
            "done": self.done,
            "seen": vars(self.seen),
            "losses": self.losses,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Be where ``state`` was left."""
        self.guess.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        restore_random(state["random"], self.ranks, self.device)
        self.rng.bit_generator.state = state["order"]
        self.seen, self.done, self.losses = Meter(**state["seen"]), state["done"], state["losses"]
