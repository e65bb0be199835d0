"""A batch learned once more where its loss grows fastest: held against the formula, gradient by gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fenlei.adversarial import away, learn_both
from fenlei.learn import Labelled, learn
from fenlei.models import build
from fenlei.recipe import Recipe
from fenlei.training import Epoch

LENGTHS = torch.tensor([3, 5])
IDS = {
    "ids": torch.tensor([[2, 3, 4, 0, 0], [5, 6, 2, 2, 7]]),
    "bigrams": torch.tensor([[1, 2, 3, 0, 0], [4, 4, 1, 2, 3]]),
}
ARRAYS = IDS | {"lengths": LENGTHS}
TARGETS = torch.tensor([0, 2])
NORM = 0.7


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    model = build(
        "bilstm", stream_sizes={"ids": 9, "bigrams": 6}, classes=3, embedding_size=4, options={"hidden_size": 5}
    )
    return model.double().eval()


def loss_of(logits: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(logits, TARGETS)


def dense(tensor: Tensor) -> Tensor:
    return tensor.to_dense() if tensor.is_sparse else tensor


def test_values_and_gradients_are_those_of_the_formula() -> None:
    model = network()
    logits, loss = learn_both(model.embed(ARRAYS), NORM, lambda x: model.read(x, LENGTHS), loss_of)
    loss.backward()
    found = {name: dense(weight.grad) for name, weight in model.named_parameters()}

    plain = network()
    x = plain.embed(ARRAYS)
    clean = loss_of(plain.read(x, LENGTHS))
    (g,) = torch.autograd.grad(clean, x, retain_graph=True)
    r = torch.stack([NORM * (4 / 128) ** 0.5 * each / each.pow(2).sum().sqrt() for each in g])
    expected = (clean + loss_of(plain.read(x + r, LENGTHS))) / 2
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    torch.testing.assert_close(logits, plain(ARRAYS).detach(), rtol=1e-12, atol=0)
    for name, weight in plain.named_parameters():
        torch.testing.assert_close(found[name], dense(weight.grad), rtol=1e-9, atol=1e-12)
    assert loss_of(plain.read(x + r, LENGTHS)) > clean, "there the loss is larger"


def test_a_step_has_its_length_and_none_where_there_is_no_gradient() -> None:
    gradient = torch.randn(4, 3, 5)
    gradient[2] = 0
    step = away(gradient, 0.5)
    torch.testing.assert_close(step.flatten(1).norm(dim=1), torch.tensor([0.5, 0.5, 0.0, 0.5]))
    torch.testing.assert_close(step[0] / step[0].norm(), gradient[0] / gradient[0].norm())
    assert away(torch.randn(2, 3, 4, 5), 1.0).shape == (2, 3, 4, 5)
    assert not away(torch.zeros(1, 3, 5), 1e9).any()


@pytest.mark.parametrize("model", ["bilstm", "han", "textcnn"])
def test_every_kind_of_network_learns_by_it(model: str, chinese: tuple[Labelled, Labelled], tiny: Recipe) -> None:
    recipe = tiny.change(model=model, options={}, epochs=3, learning_rate=0.01)
    losses = {}
    for norm in (0.0, 1.0):
        epochs: list[Epoch] = []
        learn(*chinese, recipe.change(adversarial=norm), lambda e, kept=epochs: isinstance(e, Epoch) and kept.append(e))
        losses[norm] = [epoch.loss for epoch in epochs]
        assert np.isfinite(losses[norm]).all()
        assert losses[norm][-1] < losses[norm][0]
    assert losses[1.0] != losses[0.0]


@pytest.mark.parametrize("norm", [-1, float("nan"), "1"])
def test_an_impossible_norm_is_refused(norm: object) -> None:
    with pytest.raises(ValueError, match="the setting adversarial must be a finite number of at least 0"):
        Recipe(adversarial=norm)  # type: ignore[arg-type]
