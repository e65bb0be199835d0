"""The minimal gated unit, four times: by its equations, in torch, compiled, and as ONNX."""

import os

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fenlei import compiled
from fenlei.layers import gpu
from fenlei.layers.cells import Equations, MinGRUCell
from fenlei.layers.graph import Graph
from fenlei.layers.mask import mask_of
from fenlei.layers.mingru import MinimalGRU, scan, scan_in_torch

LENGTHS = torch.tensor([7, 1, 4, 7, 2])
D, H = 3, 5

both_ways = pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])
needs_loops = pytest.mark.skipif(not compiled.LOADED, reason="this installation has no compiled loops")


def layer(bidirectional, dtype=torch.float64):
    torch.manual_seed(0)
    return MinimalGRU(D, H, bidirectional).to(dtype)


def text(dtype=torch.float64):
    return torch.randn(len(LENGTHS), 7, D, dtype=dtype, generator=torch.Generator().manual_seed(1))


def loss(output):
    return (output * torch.arange(output.numel(), dtype=output.dtype).reshape(output.shape).cos()).sum()


def gap(a, b):
    return float((a.double() - b.double()).detach().abs().max())


@both_ways
def test_the_equations_say_what_the_fused_form_says(bidirectional):
    fused = layer(bidirectional)
    equations = Equations.from_fused(fused)
    mine, theirs = text().requires_grad_(), text().requires_grad_()
    output, expected = equations(mine, LENGTHS), fused(theirs, LENGTHS)
    assert output.shape == (5, 7, fused.width)
    assert gap(output, expected) <= 1e-12
    loss(output).backward()
    loss(expected).backward()
    assert gap(mine.grad, theirs.grad) <= 1e-12
    for cell, way in zip(equations.ways, fused.ways, strict=True):
        assert gap(torch.cat([cell.W[k].grad for k in cell.parts]), way.weight.grad) <= 1e-12
        assert gap(torch.cat([cell.b[k].grad for k in cell.parts]), way.bias.grad) <= 1e-12


def test_the_gradients_are_those_of_the_function():
    lengths = torch.tensor([4, 2])
    u = torch.randn(2, 4, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda each: scan(each, lengths), (u,))


def test_a_step_by_hand():
    cell = MinGRUCell(1, 1).double()
    cell.W["z"].data.fill_(0.0)
    cell.b["z"].data.fill_(np.log(3.0))  # z = 3/4
    cell.W["g"].data.fill_(1.0)
    cell.b["g"].data.fill_(0.0)
    steps = cell.scan(torch.tensor([[[1.5], [-1.0]]], dtype=torch.float64))
    first = 0.75 * 2.0
    assert steps[0]["h"].item() == pytest.approx(first)
    assert steps[1]["h"].item() == pytest.approx(0.25 * first + 0.75 / (1 + np.e))


@needs_loops
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    ways=st.integers(1, 2),
    size=st.sampled_from([1, 8, 19, 64]),
    spread=st.sampled_from([1.0, 30.0, 300.0]),
)
@settings(max_examples=60, deadline=None)
def test_the_compiled_loop_equals_its_twin(lengths, ways, size, spread):
    rng = torch.Generator().manual_seed(size)
    rows = torch.tensor(lengths)
    values = spread * torch.randn(len(lengths), max(lengths) + 1, ways, 2, size, generator=rng)
    mine, theirs = values.clone().requires_grad_(), values.clone().requires_grad_()
    output, expected = scan(mine, rows), scan_in_torch(theirs, rows)
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-6 * spread)
    loss(output).backward()
    loss(expected).backward()
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-5, atol=1e-6 * spread)


@needs_loops
def test_the_compiled_loop_in_bfloat16_is_as_close_as_bfloat16_is():
    values = torch.randn(5, 7, 2, 2, H).bfloat16()
    mine, theirs = values.clone().requires_grad_(), values.float().requires_grad_()
    output, expected = scan(mine, LENGTHS), scan_in_torch(theirs, LENGTHS)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), expected, rtol=8e-3, atol=1e-3)
    output.float().sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(mine.grad.float(), theirs.grad, rtol=3e-2, atol=1e-2)


GPU = torch.device("cuda" if torch.cuda.is_available() else "cpu")
needs_kernels = pytest.mark.skipif(
    not gpu.LOADED or (GPU.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1"),
    reason="needs Triton, and a GPU or TRITON_INTERPRET=1",
)


@needs_kernels
@pytest.mark.parametrize("ways", [1, 2])
@pytest.mark.parametrize("size", [1, 19, 64, 130])
@pytest.mark.parametrize("dtype", gpu.KINDS, ids=str)
def test_the_kernels_of_a_gpu_equal_their_twin(ways, size, dtype):
    rows = torch.tensor([7, 1, 4, 8, 2])
    values = (3 * torch.randn(len(rows), 9, ways, 2, size, generator=torch.Generator().manual_seed(size))).to(dtype)
    twin = values.double().requires_grad_()
    expected = scan_in_torch(twin, rows)
    given = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    expected.backward(given.double())
    u, lengths = values.to(GPU), rows.to(GPU)
    h = gpu.forward(u, lengths)
    du = gpu.backward(u, h, given.to(GPU), lengths)
    close = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 4e-2}
    torch.testing.assert_close(h.double().cpu(), expected, **close)
    torch.testing.assert_close(du.double().cpu(), twin.grad, **close)


@needs_loops
def test_without_the_compiled_loops_the_answer_is_the_same(monkeypatch):
    fused, x = layer(True, torch.float32), text(torch.float32)
    answer = fused(x, LENGTHS)
    monkeypatch.setattr(compiled, "LOADED", False)
    torch.testing.assert_close(fused(x, LENGTHS), answer, rtol=1e-5, atol=1e-6)


@both_ways
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_what_stands_in_the_padding_changes_nothing(bidirectional, dtype):
    fused, x = layer(bidirectional, dtype), text(dtype)
    inside = mask_of(LENGTHS, 7)
    dirty = torch.where(inside[:, :, None], x, 1e3)
    assert torch.equal(fused(x, LENGTHS), fused(dirty, LENGTHS))
    assert not fused(dirty, LENGTHS)[~inside].any()


@pytest.mark.parametrize("steps", [0, 1])
@both_ways
def test_the_graph_says_the_same_at_every_step(bidirectional, steps):
    fused, x = layer(bidirectional, torch.float32), text(torch.float32)
    graph = Graph()
    axes = ("B", "T") if steps else ("T", "B")
    rows, lengths = graph.input("x", np.float32, (*axes, str(D))), graph.input("lengths", np.int64, ("B",))
    states = fused.nodes(graph, rows, lengths, steps)
    graph.rename(graph.flat(states, fused.width), "flat")
    session = onnxruntime.InferenceSession(graph.model("flat"), providers=["CPUExecutionProvider"])
    turned = x if steps else x.transpose(0, 1).contiguous()
    answer = session.run(["flat"], {"x": turned.numpy(), "lengths": LENGTHS.numpy()})[0]
    expected = fused(x, LENGTHS).detach()
    inside = mask_of(LENGTHS, x.shape[1])[:, :, None]  # past a row's end the graph's states mean nothing
    expected, inside = (each if steps else each.transpose(0, 1) for each in (expected, inside))
    difference = np.abs(answer.reshape(expected.shape) - expected.numpy())
    assert difference[inside[..., 0].numpy()].max() <= 1e-6


def test_an_impossible_size_is_refused():
    with pytest.raises(ValueError, match="hidden_size must be at least 1, got 0"):
        MinimalGRU(D, 0)
