"""One recurrent branch of a classifier: hidden tokens first if the recipe says so, then the labels, then its codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from fenlei import pretraining, quantizing, training
from fenlei.beside import Beside
from fenlei.checkpoint import Checkpoint
from fenlei.folds import Part
from fenlei.models import Deep, build
from fenlei.objective import name_of_quality
from fenlei.recipe import Recipe
from fenlei.training import Epoch, Note, Watch, on_device


class Plan(NamedTuple):
    """What all networks of a classifier have in common. ``tokens`` are those of the vocabulary, reserved ids aside."""

    recipe: Recipe
    stream_sizes: Mapping[str, int]
    classes: int
    tokens: int


class Found(NamedTuple):
    """What is known of a network that was trained elsewhere: the weights of the best of its epochs so far."""

    weights: Mapping[str, Tensor]
    history: list[Epoch]
    finished: bool


class Branch:
    """One network on its way; it has the weights of the best of the epochs in ``history`` whenever ``train`` ends.

    It is a function of plan, number (from 1) and part alone: where torch's random numbers were does not matter.
    """

    def __init__(self, plan: Plan, number: int, part: Part) -> None:
        self.plan, self.part = plan, part
        self.recipe = plan.recipe.of_network(number)
        self.history: list[Epoch] = []
        self.finished = False
        torch.manual_seed(self.recipe.seed)
        self.network = self._build(self.recipe)  # what is wrong with its options is found here
        if self.recipe.learns_codes:
            self.network = self._build(full_first(self.recipe))

    def _build(self, recipe: Recipe) -> Deep:
        return build_branch(recipe, self.plan.stream_sizes, self.plan.classes)

    @classmethod
    def restore(cls, plan: Plan, number: int, part: Part, found: Found) -> Branch:
        """The one that was trained elsewhere."""
        branch = cls(plan, number, part)
        if found.finished and plan.recipe.learns_codes:
            branch.network = branch._build(branch.recipe)
        branch.network.load_state_dict(found.weights)
        branch.history, branch.finished = found.history, found.finished
        return branch

    def train(self, watch: Watch, checkpoint: Checkpoint) -> None:
        """To the end, or until Ctrl-C: KeyboardInterrupt, and what came of the epochs before stays."""
        recipe, network, ranks = training.widen(self.recipe, checkpoint.ranks.count), self.network, checkpoint.ranks
        with on_device(network, ranks.device), ranks.apart(recipe.seed):
            reads = recipe.pretrain_epochs and network.encoder.state_width and self.plan.tokens
            if reads and checkpoint.phase != "training":
                encoded = self.part.train.encoded
                losses = pretraining.pretrain(network, encoded, self.plan.tokens, recipe, watch, checkpoint)
                found = f"loss {losses[0]:.3f} in the first epoch, {losses[-1]:.3f} in the last"
                watch(Note(f"hidden tokens guessed: {found}"))
            for epoch in training.fit(network, self.part.train, self.part.dev, recipe, watch, checkpoint):
                self.history.append(epoch)
                watch(epoch)
        if recipe.learns_codes and self.share_codes(watch):
            raise KeyboardInterrupt
        self.finished = True

    def share_codes(self, watch: Watch) -> bool:
        """Put shared tables with learned codes in the place of the trained ones; whether Ctrl-C came meanwhile.

        Without its codes the network would be lost, so the first Ctrl-C has to wait.
        """
        network, columns, stopped = self.network, self.part.train.encoded.columns, False
        counts = {name: columns[name].counts(0) for name in network.embeddings}
        options, seed = self.recipe.embedding_options, self.recipe.seed
        watch(Note("finding codes for the embedding"))
        try:
            with Beside(lambda _: quantizing.share_tables(network, counts, options, seed)) as finding:
                try:
                    before, after = finding.result()
                except KeyboardInterrupt:
                    stopped = True
                    watch(Note("stopped by hand: the codes have to be found first"))
                    before, after = finding.result()
        finally:
            self.finished = True  # after a second Ctrl-C too: the block ends when they are found
        dev = self.part.dev
        found = f"dev {name_of_quality(dev.targets)} {training.measure(network, dev, self.recipe)[1]:.4f}"
        watch(
            Note(f"codes learned: the embedding takes {after / 1e3:,.1f} kB in place of {before / 1e3:,.1f}, {found}")
        )
        return stopped


def full_first(recipe: Recipe) -> Recipe:
    """The recipe of a network that codes can be learned from."""
    return recipe.change(embedding="full", embedding_options={}) if recipe.learns_codes else recipe


def build_branch(recipe: Recipe, stream_sizes: Mapping[str, int], classes: int) -> Deep:
    """A network with fresh weights."""
    assert recipe.network is not None
    return build(
        recipe.network,
        stream_sizes=stream_sizes,
        classes=classes,
        embedding=recipe.embedding,
        embedding_size=recipe.usual("embedding_size"),
        embedding_options=recipe.embedding_options,
        dropout=recipe.usual("dropout"),
        embedding_dropout=recipe.usual("embedding_dropout"),
        options=recipe.options,
    )
