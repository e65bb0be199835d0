"""The training path on another device, without one: nothing in it may be made on the processor by default."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.fx.experimental import _config as fx_config

from fenlei import training
from fenlei.layers.embedding import EMBEDDINGS
from fenlei.layers.graph import Graph
from fenlei.models import ENCODERS, Deep, build
from fenlei.models.encoder import Encoder
from fenlei.pipeline import Encoded, Ragged
from fenlei.pretraining import pretrain
from fenlei.recipe import Recipe
from fenlei.training import Examples, Trainer
from fenlei.vocab import RESERVED

WORDS, CLASSES = 30, 3
RECIPE = Recipe(epochs=1, batch_size=8, precision="fp32", embedding_size=8, warmup=0.0)
META = torch.device("meta")  # shapes without numbers; what mixes it with the processor is an error


def examples(sentences: bool = False) -> Examples:
    rng = np.random.default_rng(0)
    lengths = rng.integers(2, 13, 24)
    offsets = np.cumsum([0, *lengths])
    ids = Ragged(rng.integers(RESERVED, WORDS, offsets[-1]), offsets)
    cut = (
        Ragged(np.stack([lengths // 2, lengths - lengths // 2], 1).ravel(), np.arange(0, 49, 2)) if sentences else None
    )
    weights = rng.random(24).astype(np.float32)
    return Examples(Encoded({"ids": ids, "bigrams": ids}, sentences=cut), rng.integers(0, CLASSES, 24), weights)


def network(name: str, **settings: Any) -> Deep:
    return build(name, stream_sizes={"ids": WORDS, "bigrams": WORDS}, classes=CLASSES, embedding_size=8, **settings)


@pytest.fixture
def elsewhere() -> Iterator[None]:
    """Tensors are made on the meta device, unless a device is named."""
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


@pytest.mark.parametrize("name", ENCODERS)
def test_no_step_relies_on_the_default_device(name: str, request: pytest.FixtureRequest) -> None:
    model, side = network(name), examples(ENCODERS[name].reads_sentences)
    request.getfixturevalue("elsewhere")
    trainer = Trainer(model, side, RECIPE)
    assert trainer.epoch().documents == 24
    trainer.close_epoch(trainer.seen, side)
    if model.encoder.state_width:
        pretrain(model, side.encoded, WORDS - RESERVED, RECIPE.change(pretrain_epochs=1))


class Bag(Encoder):
    """The mean of all vectors: torch's recurrent kernels do not run on the meta device."""

    width = 8

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)

    def nodes(self, graph: Graph, x: str, mask: str, lengths: str) -> str:
        raise NotImplementedError


@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_everything_is_on_the_networks_device(embedding: str) -> None:
    """Batch, word dropout, forward, loss and backward with a network on the meta device."""
    tables = {name: EMBEDDINGS[embedding](WORDS, 8) for name in ("ids", "bigrams")}
    model = Deep(tables, Bag(), CLASSES).to(META)
    trainer = Trainer(model, examples(), RECIPE)
    logits, loss = trainer.answer(np.arange(8))
    assert (logits.device, loss.device) == (META, META)
    with fx_config.patch(meta_nonzero_assume_all_nonzero=True):  # how many ids are no padding, meta cannot know
        loss.backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert {gradient.device for gradient in gradients} == {META}
    assert {table.mean.device for table in trainer.optimizer.tables} <= {META}


def test_the_device_is_chosen() -> None:
    assert training.choose_device("cpu") == torch.device("cpu")
    assert training.choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_device_that_is_not_there_is_said() -> None:
    with pytest.raises(ValueError, match=r"there is no CUDA device that torch .* can use: train with --device cpu"):
        training.choose_device("cuda")


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def still(name: str) -> Deep:
    """A network without dropout: devices draw different random numbers."""
    inner = {"options": {"dropout": 0.0}} if "dropout" in inspect.signature(ENCODERS[name]).parameters else {}
    return network(name, dropout=0.0, embedding_dropout=0.0, **inner)


@needs_gpu
@pytest.mark.parametrize("name", ENCODERS)
def test_training_on_a_gpu_learns_what_it_learns_here(name: str) -> None:
    side = examples(ENCODERS[name].reads_sentences)
    recipe = RECIPE.change(epochs=3, token_dropout=0.0)
    losses = []
    for device in ("cpu", "cuda"):
        with training.deterministic(recipe):
            model = still(name).to(device)
            losses.append([epoch.loss for epoch in training.fit(model, side, side, recipe)])
    np.testing.assert_allclose(*losses, rtol=2e-3)


@needs_gpu
@pytest.mark.parametrize("name", ENCODERS)
def test_a_gpu_computes_in_bfloat16_what_the_processor_does(name: str) -> None:
    side = examples(ENCODERS[name].reads_sentences)
    recipe = RECIPE.change(precision="bf16", token_dropout=0.0)
    with training.deterministic(recipe):
        model = still(name)
    expected = Trainer(model, side, recipe).answer(np.arange(24))[0]
    on_gpu = Trainer(model.to("cuda"), side, recipe).answer(np.arange(24))[0]
    np.testing.assert_allclose(on_gpu.detach().cpu(), expected.detach(), atol=0.03)
