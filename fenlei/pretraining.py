"""Learning from the texts before the labels: the encoder guesses tokens that were hidden from it."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor, nn

from fenlei.layers.mask import mask_of
from fenlei.models import Deep
from fenlei.optimizing import Optimizer
from fenlei.pipeline import Encoded
from fenlei.recipe import Recipe
from fenlei.training import TICK, Step, Watch, make_batches, precision, tensors
from fenlei.vocab import RESERVED, UNK

HIDDEN = 0.2  # share of the tokens that is hidden
MOST_TOKENS = 8_000  # only the commonest are hidden and guessed: the product with the output layer stays affordable


class Guess(nn.Module):
    """``softmax(V gelu(U h_t))`` over the commonest tokens, at hidden positions: BERT's head (Devlin et al. 2019)."""

    def __init__(self, model: Deep, size: int, tokens: int) -> None:
        super().__init__()
        self.model, self.encoder = model, model.encoder
        self.project = nn.Linear(self.encoder.state_width, size)
        self.output = nn.Linear(size, tokens)

    def forward(self, ids: Tensor, lengths: Tensor, hidden: Tensor) -> Tensor:
        """Mean cross-entropy of the tokens of ``ids (B, T)`` at the positions ``hidden (B, T)``."""
        x = self.model.embeddings["ids"](torch.where(hidden, UNK, ids))
        states = self.encoder.states(x, mask_of(lengths, ids.shape[1]))[hidden]
        logits = self.output(nn.functional.gelu(self.project(states)))
        return nn.functional.cross_entropy(logits.float(), ids[hidden] - RESERVED)


def pretrain(model: Deep, encoded: Encoded, tokens: int, recipe: Recipe, watch: Watch | None = None) -> list[float]:
    """``recipe.pretrain_epochs`` over all texts; returns the mean loss of each. Labels are not looked at.

    ``tokens`` is the size of the vocabulary without its reserved ids.

    Only the token table and the encoder learn; the other streams would give a hidden token away.
    """
    epochs = recipe.pretrain_epochs or 0
    rng = np.random.default_rng(recipe.seed)
    guess = Guess(model, recipe.embedding_size, min(MOST_TOKENS, tokens))
    steps = epochs * len(make_batches(encoded.lengths, recipe, np.random.default_rng(recipe.seed)))
    optimizer = Optimizer(guess, recipe, max(1, steps))
    return [_epoch(guess, encoded, optimizer, recipe, rng, (number, epochs), watch) for number in range(1, epochs + 1)]


def _epoch(
    guess: Guess,
    encoded: Encoded,
    optimizer: Optimizer,
    recipe: Recipe,
    rng: np.random.Generator,
    number: tuple[int, int],
    watch: Watch | None,
) -> float:
    guess.train()
    losses, done, count, last = 0.0, 0, 0, time.perf_counter()
    for rows in make_batches(encoded.lengths, recipe, rng):
        # flat, for an encoder that reads sentences too: a vector a step needs none of its upper level
        arrays = tensors({"ids": encoded.columns["ids"].pad(rows), "lengths": encoded.lengths[rows]})
        ids = arrays["ids"]
        hidden = (torch.rand(ids.shape) < HIDDEN) & (ids >= RESERVED) & (ids < RESERVED + guess.output.out_features)
        done += len(rows)
        if not hidden.any():
            continue
        with precision(recipe):
            loss = guess(ids, arrays["lengths"], hidden)
        optimizer.step(loss)
        losses, count = losses + float(loss.detach()), count + 1
        if watch is not None and time.perf_counter() - last > TICK:
            last = time.perf_counter()
            watch(Step(*number, done, len(encoded), losses / count, 0.0, "reading"))
    return losses / max(1, count)
