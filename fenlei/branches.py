"""The recurrent branches of a classifier, trained one after the other."""

from __future__ import annotations

from typing import Any

from fenlei import pretraining, quantizing, training
from fenlei.beside import Beside
from fenlei.checkpoint import Checkpoint
from fenlei.folds import Data, Part
from fenlei.models import Deep, build
from fenlei.objective import name_of_quality
from fenlei.pipeline import Pipeline
from fenlei.recipe import Recipe
from fenlei.training import Epoch, Note, Watch, on_device


def train_branches(
    data: Data, pipeline: Pipeline, recipe: Recipe, watch: Watch, checkpoint: Checkpoint, first: int = 1
) -> tuple[list[Deep], list[list[Epoch]]]:
    """A network for each of the data's parts, one after the other, and the epochs of each.

    Ctrl-C ends the training, not the run: finished networks, and the best epoch of the one at work, are kept. ``first``
    is the number that the first of them has in the checkpoint.
    """
    branches: list[Deep] = []
    histories: list[list[Epoch]] = []
    for number, part in enumerate(data.parts, first):
        if len(data.parts) > 1:
            watch(Note(f"network {number - first + 1} of {len(data.parts)}"))
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
    assert recipe.network is not None
    return build(
        recipe.network,
        stream_sizes=pipeline.stream_sizes(),
        classes=classes,
        embedding=recipe.embedding,
        embedding_size=recipe.usual("embedding_size"),
        embedding_options=recipe.embedding_options,
        dropout=recipe.usual("dropout"),
        embedding_dropout=recipe.usual("embedding_dropout"),
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
    counts = {name: columns[name].counts(0) for name in network.embeddings}
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
