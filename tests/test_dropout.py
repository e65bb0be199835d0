"""Dropout: how much falls away, what is left, and what a seed decides."""

import numpy as np
import pytest
import torch

from fenlei import compiled
from fenlei.layers import kernels
from fenlei.layers.dropout import Dropout


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_the_share_that_falls_away_and_the_mean_that_stays(rate, dtype):
    torch.manual_seed(0)
    out = Dropout(rate)(torch.ones(400, 257, dtype=dtype))
    kept = out != 0
    assert float(kept.double().mean()) == pytest.approx(1 - rate, abs=0.01)
    (value,) = out[kept].unique().tolist()
    assert value == pytest.approx(1 / (1 - rate), rel=1e-2 if dtype == torch.bfloat16 else 1e-4)
    assert float(kept.double().mean(0).std()) < 0.05, "every column alike"
    neighbours = kept[:, 1:].double().sub(1 - rate) * kept[:, :-1].double().sub(1 - rate)
    assert abs(float(neighbours.mean())) < 0.01, "four numbers share a draw, yet they fall independently"


def test_gradients_pass_where_numbers_did():
    torch.manual_seed(0)
    x = torch.randn(5, 7, 3, dtype=torch.float64, requires_grad=True)
    out = Dropout(0.4)(x)
    out.sum().backward()
    torch.testing.assert_close(x.grad * x, out)


@pytest.mark.parametrize("shape", [(0,), (1,), (3,), (4, 0, 2), (2, 3, 5)], ids=str)
def test_any_shape(shape):
    assert Dropout(0.5)(torch.ones(shape)).shape == shape


def test_nothing_happens_outside_of_training_or_at_rate_zero():
    x, state = torch.randn(4, 4), torch.get_rng_state()
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert torch.equal(torch.get_rng_state(), state)


def test_the_seed_decides():
    x = torch.ones(50, 50)
    torch.manual_seed(3)
    first, second = Dropout(0.5)(x), Dropout(0.5)(x)
    torch.manual_seed(3)
    assert torch.equal(Dropout(0.5)(x), first)
    assert not torch.equal(first, second)


@pytest.mark.skipif(not compiled.LOADED, reason="this installation has no compiled loops")
@pytest.mark.parametrize("size", [1, 63, 64, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_compiled_bits_are_splitmix64(size, dtype):
    x, y, seed, dropped = torch.randn(size).to(dtype), torch.empty(size, dtype=dtype), -5, 20_000
    kernels.call_for(dtype, "drop", x, size, seed, dropped, 2.0, y)
    blocks = -(-size // 64)
    with np.errstate(over="ignore"):
        z = np.uint64(seed % 2**64) + np.arange(1, 16 * blocks + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    bits = np.stack([z.reshape(blocks, 16) >> np.uint64(16 * k) & np.uint64(0xFFFF) for k in range(4)], 1)
    kept = torch.from_numpy(bits.reshape(-1)[:size] >= dropped)
    assert torch.equal(y, torch.where(kept, 2 * x, 0))


@pytest.mark.skipif(not compiled.LOADED, reason="this installation has no compiled loops")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_compiled_gradients_pass_where_numbers_did(dtype):
    x = torch.randn(5, 7, 30).to(dtype).transpose(0, 1).requires_grad_()
    out = Dropout(0.5)(x)
    (3 * out).sum().backward()
    assert torch.equal(x.grad, torch.where(out != 0, 6.0, 0.0).to(dtype))
    assert torch.equal(out, torch.where(out != 0, 2 * x, 0))


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(ValueError, match="dropout must be at least 0 and below 1"):
        Dropout(rate)


def test_next_to_one_some_numbers_may_stay():
    assert torch.isfinite(Dropout(0.999999)(torch.ones(1000))).all()
