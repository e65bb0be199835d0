"""The mean of weights: its formula, what it does to the network, and that a training answers by it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fenlei.averaging import POWER, UPDATES, Average


class Small(nn.Module):
    """A matrix that goes by two names, and a number that is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(3, 2)
        self.tied = self.dense
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))


def walk(model: Small, average: Average, steps: int) -> np.ndarray:
    """Random weights after each step; all that the mean was given, ``(N, 2, 3)``."""
    taken = []
    for step in range(1, steps + 1):
        with torch.no_grad():
            model.dense.weight.copy_(torch.randn(2, 3))
            model.seen += 1
        average.step(step)
        if step % average.apart == 0:
            taken.append(model.dense.weight.detach().numpy().copy())
    return np.array(taken)


@pytest.mark.parametrize("total", [5, 20 * UPDATES])
def test_later_weights_count_more_by_a_power_of_their_place(total: int) -> None:
    torch.manual_seed(0)
    model = Small()
    average = Average(model, total)
    taken = walk(model, average, total)
    assert len(taken) == min(total, UPDATES)
    places = np.arange(1, len(taken) + 1, dtype=np.float64)
    # The share of step s at the end: all the shares after it are taken off, which is a rising factorial of s.
    counts = np.array([np.prod(place + np.arange(POWER)) for place in places])
    expected = np.einsum("n,nij->ij", counts / counts.sum(), taken)
    with average.put_in():
        np.testing.assert_allclose(model.dense.weight.detach().numpy(), expected, rtol=1e-4, atol=1e-6)
        assert int(model.seen) == total // average.apart * average.apart


def test_the_networks_own_weights_come_back_whatever_happens() -> None:
    torch.manual_seed(0)
    model = Small()
    average = Average(model, 4)
    walk(model, average, 4)
    own = {name: value.clone() for name, value in model.state_dict().items()}

    def broken() -> None:
        with average.put_in():
            assert not torch.equal(model.dense.weight, own["dense.weight"])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    for name, value in model.state_dict().items():
        assert torch.equal(value, own[name]), name


def test_before_the_first_step_there_is_no_other() -> None:
    model = Small()
    own = model.dense.weight.clone()
    with Average(model, 1000).put_in():
        assert torch.equal(model.dense.weight, own)
    assert torch.equal(model.dense.weight, own)


def test_it_goes_on_from_where_it_was_left() -> None:
    torch.manual_seed(0)
    model = Small()
    first, second = Average(model, 6), Average(model, 6)
    walk(model, first, 3)
    state = first.state_dict()
    second.load_state_dict({"count": state["count"], "weights": {k: v.clone() for k, v in state["weights"].items()}})
    with torch.no_grad():
        model.dense.weight.copy_(torch.randn(2, 3))
    first.step(4)
    second.step(4)
    assert second.state_dict()["count"] == 4
    for name, value in first.state_dict()["weights"].items():
        assert torch.equal(second.state_dict()["weights"][name], value), name


def test_it_goes_on_where_the_network_is() -> None:
    """A checkpoint is read on the processor; ``meta`` stands for any other device."""
    model = Small()
    average = Average(model, 5)
    walk(model, average, 5)
    with torch.device("meta"):
        other = Average(Small(), 5)
    other.load_state_dict(average.state_dict())
    assert {value.device.type for value in other.weights.values()} == {"meta"}
