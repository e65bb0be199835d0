"""Every pooling against a plain loop over the real steps, in torch and in ONNX."""

import numpy as np
import onnxruntime
import pytest
import torch

from fenlei import compiled
from fenlei.layers.graph import Graph
from fenlei.layers.mask import mask_nodes, mask_of
from fenlei.layers.pooling import POOLINGS, Attention, Last, Max, Mean, Pooling

LENGTHS = torch.tensor([6, 1, 3, 6])
W = 4


def states(dtype=torch.float64):
    """A vector a step; the padding is large and would be noticed."""
    h = torch.randn(4, 6, W, dtype=dtype, generator=torch.Generator().manual_seed(0))
    return torch.where(mask_of(LENGTHS, 6)[:, :, None], h, 1e3)


def turned(x, steps):
    return x.numpy() if steps else np.ascontiguousarray(x.numpy().transpose(1, 0, 2))


def rows():
    return [h[:n] for h, n in zip(states(), LENGTHS, strict=True)]


def close(a, b):
    return float((a - b).detach().abs().max()) <= 1e-12


def test_last_is_the_last_real_step():
    assert close(Last(W)(states(), mask_of(LENGTHS, 6)), torch.stack([h[-1] for h in rows()]))


def test_last_of_a_network_that_reads_backwards_is_its_output_at_the_first_step():
    expected = torch.stack([torch.cat([h[-1, : W // 2], h[0, W // 2 :]]) for h in rows()])
    assert close(Last(W, ways=2)(states(), mask_of(LENGTHS, 6)), expected)


def test_mean_is_over_real_steps():
    assert close(Mean(W)(states(), mask_of(LENGTHS, 6)), torch.stack([h.mean(0) for h in rows()]))


def test_max_is_over_real_steps_even_where_all_are_negative():
    h = states() - 500.0
    expected = torch.stack([row[:n].amax(0) for row, n in zip(h, LENGTHS, strict=True)])
    assert close(Max(W)(h, mask_of(LENGTHS, 6)), expected)


def test_attention_is_the_papers_sum():
    torch.manual_seed(0)
    pool = Attention(W).double()
    expected = []
    for h in rows():
        scores = [pool.context.weight[0] @ torch.tanh(pool.project.weight @ h_t + pool.project.bias) for h_t in h]
        total = sum(score.exp() for score in scores)
        expected.append(sum(score.exp() / total * h_t for score, h_t in zip(scores, h, strict=True)))
    mask = mask_of(LENGTHS, 6)
    assert close(pool(states(), mask), torch.stack(expected))
    weights = pool.weights(states(), mask)
    assert close(weights.sum(1), torch.ones(4, dtype=torch.float64))
    assert not weights[~mask].any()


def in_onnx(pool, steps):
    """A session from ``h``, its steps on this axis, and ``lengths``."""
    graph = Graph()
    axes = ("B", "T") if steps else ("T", "B")
    h, lengths = (
        graph.input("h", np.float32, (*axes, str(pool.parts[0].width))),
        graph.input("lengths", np.int64, ("B",)),
    )
    mask = mask_nodes(graph, lengths, h, -1 if steps else 0)
    graph.rename(pool.nodes(graph, h, mask, steps), "pooled")
    return onnxruntime.InferenceSession(graph.model("pooled"), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("steps", [0, 1])
@pytest.mark.parametrize("ways", [1, 2])
@pytest.mark.parametrize("names", [*POOLINGS, ("max", "mean"), ("attention", "last", "max")], ids=str)
def test_onnx_says_the_same(names, ways, steps):
    torch.manual_seed(0)
    pool = Pooling(names, W, ways)
    x = states(torch.float32)
    session = in_onnx(pool, steps)
    answer = session.run(["pooled"], {"h": turned(x, steps), "lengths": LENGTHS.numpy()})[0]
    expected = pool(x, mask_of(LENGTHS, 6)).detach().numpy()
    assert answer.shape == expected.shape == (4, pool.width)
    assert np.abs(answer - expected).max() <= 1e-5
    weights = [each.name for each in session.get_outputs() if each.name.startswith("attention")]
    for found in session.run(weights, {"h": turned(x, steps), "lengths": LENGTHS.numpy()}) if weights else []:
        assert np.abs(found.sum(1) - 1).max() <= 1e-6
        assert not found[~mask_of(LENGTHS, 6).numpy()].any()


@pytest.mark.parametrize("name", POOLINGS)
def test_with_the_steps_first_no_bit_depends_on_how_much_padding_follows(name):
    torch.manual_seed(0)
    session = in_onnx(Pooling(name, 37), 0)
    rng = np.random.default_rng(0)
    x, lengths = rng.standard_normal((40, 9, 37)).astype(np.float32), rng.integers(1, 20, 9)
    found = [session.run(["pooled"], {"h": x[:steps], "lengths": lengths})[0] for steps in (19, 20, 24, 33, 40)]
    for answer in found[1:]:
        np.testing.assert_array_equal(answer, found[0])


def test_several_poolings_stand_side_by_side():
    pool = Pooling(["max", "last"], W)
    mask = mask_of(LENGTHS, 6)
    assert pool.width == 2 * W
    assert torch.equal(pool(states(), mask), torch.cat([Max(W)(states(), mask), Last(W)(states(), mask)], 1))


def test_one_name_needs_no_list():
    assert [type(part) for part in Pooling("mean", W).parts] == [Mean]


@pytest.mark.parametrize(("names", "got"), [(("max", "median"), "max, median"), ((), "nothing"), ("middle", "middle")])
def test_an_unknown_pooling_is_refused_with_the_choices(names, got):
    with pytest.raises(ValueError, match=f"pooling must name some of last, mean, max, attention, got {got}"):
        Pooling(names, W)


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("lengths", [LENGTHS, torch.full((4,), 6)], ids=["padded", "full"])
def test_gradients_are_those_of_the_function(name, lengths):
    torch.manual_seed(0)
    pool, h = POOLINGS[name](W).double(), torch.randn(4, 6, W, dtype=torch.float64, requires_grad=True)
    mask = mask_of(lengths, 6)
    assert torch.autograd.gradcheck(lambda each: pool(each, mask), (h,))


@pytest.mark.skipif(not compiled.LOADED, reason="this installation has no compiled loops")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("width", [1, 4, 37, 128])
def test_the_compiled_maximum_is_torchs_with_its_gradient(dtype, width, monkeypatch):
    generator = torch.Generator().manual_seed(width)
    values, mask = torch.randn(4, 6, width, generator=generator).to(dtype), mask_of(LENGTHS, 6)
    values[~mask] = 1e3
    weights, found = torch.randn(4, width, generator=generator).to(dtype), []
    for loaded in (True, False):
        monkeypatch.setattr(compiled, "LOADED", loaded)
        h = values.clone().requires_grad_()
        answer = Max(width)(h, mask)
        (answer * weights).sum().backward()
        found.append((answer.detach(), h.grad))
    assert torch.equal(found[0][0], found[1][0])
    once = (found[1][1] != 0).sum(1) == 1  # in bfloat16 two steps may be equal: torch's gradient is shared then
    assert once.float().mean() > 0.9
    assert torch.equal(found[0][1].sum(1)[once], found[1][1].sum(1)[once])
    assert torch.equal((found[0][1] != 0).sum(1), torch.ones(4, width, dtype=torch.int64))


@pytest.mark.skipif(not compiled.LOADED, reason="this installation has no compiled loops")
@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)], ids=str)
@pytest.mark.parametrize(
    "names", [["max", "mean", "attention"], ["attention"], ["mean"], ["attention", "max"]], ids=str
)
@pytest.mark.parametrize("width", [1, 16, 37, 128])
def test_compiled_poolings_are_torchs_with_their_gradients(width, names, dtype, near, monkeypatch):
    torch.manual_seed(width)
    pooling, mask = Pooling(names, width).to(dtype), mask_of(LENGTHS, 6)
    values = torch.rand(4, 6, width).argsort(1).to(dtype) / 2 - 1  # no two are equal: torch shares gradients then
    weights = torch.randn(4, len(names) * width).to(dtype)
    values[~mask], found = 1e3, []
    exact = Pooling(names, width).double()
    exact.load_state_dict(pooling.state_dict())
    for network, kind, loaded in ((pooling, dtype, True), (exact, torch.float64, False)):
        monkeypatch.setattr(compiled, "LOADED", loaded)
        h = values.to(kind, copy=True).requires_grad_()
        answer = network(h, mask)
        assert answer.dtype == kind
        (answer * weights.to(kind)).sum().backward()
        found.append([answer.detach(), h.grad, *(each.grad for each in network.parameters())])
    for compiled_one, expected in zip(*found, strict=True):
        scale = max(1.0, float(expected.abs().max()))
        assert torch.allclose(compiled_one.double(), expected, rtol=0, atol=near * scale)


@pytest.mark.skipif(not compiled.LOADED, reason="this installation has no compiled loops")
def test_of_equals_the_first_step_has_the_gradient():
    h = torch.zeros(1, 3, 2, requires_grad=True)
    Max(2)(h, torch.tensor([[True, True, False]])).sum().backward()
    assert h.grad.tolist() == [[[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]]
