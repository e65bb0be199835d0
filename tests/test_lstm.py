"""The compiled LSTM in bfloat16 against torch's in float64, and torch's own in bfloat16."""

import os
import signal
import threading
import time

import pytest
import torch
from torch import nn

from fenlei import compiled
from fenlei.layers import lstm
from fenlei.layers.recurrent import Recurrent

needs_loop = pytest.mark.skipif(not compiled.LSTM, reason="this processor or installation has no such loop")
both_ways = pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])
# rows, longest, inputs, units: tiles of every height, odd numbers of tokens, inputs that fill no register, many chunks
SIZES = [(1, 1, 16, 16), (2, 3, 16, 32), (5, 7, 20, 16), (13, 9, 50, 48), (32, 20, 64, 64), (67, 11, 128, 128)]
NEAR = 8e-3  # of the length of a gradient: bfloat16 has 8 bits


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def layer_and_text(count, longest, depth, size, bidirectional):
    torch.manual_seed(count)
    lengths = torch.randint(1, longest + 1, (count,))
    lengths[count // 2] = longest
    return Recurrent("lstm", depth, size, bidirectional), torch.randn(count, longest, depth), lengths


def in_bf16(layer, x, lengths):
    with torch.autocast("cpu", torch.bfloat16):
        return layer(x, lengths)


def results(layer, x, lengths, autocast=True):
    """The output and the gradients of input and weights, for a gradient that depends on every number in its own way."""
    x = x.clone().requires_grad_()
    output = in_bf16(layer, x, lengths) if autocast else layer(x, lengths)
    steps = torch.arange(output.numel(), dtype=output.dtype)
    output.backward(steps.reshape(output.shape).cos().to(output.dtype))
    return [output.detach(), x.grad, *(each.grad for each in layer.parameters())]


def distance(a, b):
    """Of the length of ``b``."""
    return float((a.double() - b.double()).norm() / b.double().norm().clamp_min(1e-6))


@needs_loop
@both_ways
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_values_and_gradients_are_as_near_to_float64_as_torchs_in_bfloat16(sizes, bidirectional, monkeypatch):
    layer, x, lengths = layer_and_text(*sizes, bidirectional)
    exact = Recurrent("lstm", sizes[2], sizes[3], bidirectional).double()
    exact.load_state_dict(layer.state_dict())
    expected = results(exact, x.double(), lengths, autocast=False)
    ours = results(layer, x, lengths)
    layer.zero_grad()
    monkeypatch.setattr(lstm, "has", lambda *_: False)
    torchs = results(layer, x, lengths)
    assert ours[0].dtype == torchs[0].dtype == torch.bfloat16
    for mine, theirs, right in zip(ours, torchs, expected, strict=True):
        assert mine.shape == right.shape
        assert distance(mine, right) <= max(NEAR, 1.5 * distance(theirs, right))


@needs_loop
@both_ways
def test_the_loop_is_what_runs_and_past_a_rows_end_all_is_zero(bidirectional, monkeypatch):
    called = []
    monkeypatch.setattr(lstm, "scan", lambda *given, scan=lstm.scan: called.append(1) or scan(*given))
    layer, x, lengths = layer_and_text(5, 9, 16, 16, bidirectional)
    output, dx, *_ = results(layer, x, lengths)
    assert called
    for row, length in enumerate(lengths):
        assert not output[row, length:].any()
        assert not dx[row, length:].any()
        assert output[row, :length].all()
        assert dx[row, :length].any()


@needs_loop
def test_a_row_has_the_same_bits_alone_in_any_order_and_with_other_padding():
    layer, x, lengths = layer_and_text(23, 8, 32, 32, bidirectional=True)
    together = in_bf16(layer, x, lengths)
    turned = in_bf16(layer, x.flip(0), lengths.flip(0)).flip(0)
    assert torch.equal(together, turned)
    for row, length in enumerate(lengths):
        alone = in_bf16(layer, x[row : row + 1, :length], lengths[row : row + 1])
        assert torch.equal(alone[0], together[row, :length])


@needs_loop
@both_ways
@pytest.mark.parametrize("threads", [1, 2])
def test_with_a_core_to_spare_both_ways_run_at_once_and_give_the_same_bits(bidirectional, threads, monkeypatch):
    layer, x, lengths = layer_and_text(13, 9, 50, 48, bidirectional)
    expected = results(layer, x, lengths)
    names, real = [], lstm.kernels.call
    monkeypatch.setattr(
        lstm.kernels, "call", lambda *given: names.append(threading.current_thread().name) or real(*given)
    )
    torch.set_num_threads(threads)
    layer.zero_grad()
    with lstm.core_to_spare(threads == 1):
        found = results(layer, x, lengths)
    assert all(map(torch.equal, found, expected))
    assert len(set(names)) == 1 + bidirectional
    names.clear()
    torch.set_num_threads(1)
    in_bf16(layer, x, lengths)
    assert len(set(names)) == 1, "not without one"


@needs_loop
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forks beside threads, from Python 3.12 on
def test_a_forked_process_has_a_thread_of_its_own():
    layer, x, lengths = layer_and_text(3, 4, 16, 16, bidirectional=True)
    with lstm.core_to_spare(there=True):
        expected = in_bf16(layer, x, lengths)
        child = os.fork()
        if not child:
            os._exit(int(not torch.equal(in_bf16(layer, x, lengths), expected)))
        until = time.monotonic() + 30
        while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < until:
            time.sleep(0.01)
        if not ended[0]:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    assert ended == (child, 0)


@needs_loop
def test_what_fails_beside_is_told(monkeypatch):
    layer, x, lengths = layer_and_text(3, 4, 16, 16, bidirectional=True)
    real = lstm.kernels.call

    def fail(*given):
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError("no room")
        return real(*given)

    monkeypatch.setattr(lstm.kernels, "call", fail)
    with lstm.core_to_spare(there=True), pytest.raises(MemoryError, match="no room"):
        in_bf16(layer, x, lengths)


@needs_loop
def test_what_padding_holds_changes_nothing():
    layer, x, lengths = layer_and_text(7, 6, 16, 16, bidirectional=True)
    clean = results(layer, x, lengths)
    layer.zero_grad()
    for row, length in enumerate(lengths):
        x[row, length:] = 1e9
    for mine, theirs in zip(results(layer, x, lengths), clean, strict=True):
        assert torch.equal(mine, theirs)


@needs_loop
def test_a_second_way_back_gives_the_same():
    layer, x, lengths = layer_and_text(4, 5, 16, 16, bidirectional=True)
    output = in_bf16(layer, x.requires_grad_(), lengths).sum()
    first = torch.autograd.grad(output, x, retain_graph=True)[0]
    assert torch.equal(torch.autograd.grad(output, x)[0], first)


@needs_loop
@pytest.mark.parametrize("size", [1e2, 1e4, 1e30])
def test_numbers_of_any_size_saturate_the_gates(size):
    layer, x, lengths = layer_and_text(4, 5, 16, 16, bidirectional=True)
    for each in results(layer, size * x, lengths):
        assert each.isfinite().all()
    assert in_bf16(layer, size * x, lengths).abs().max() <= 1


@needs_loop
def test_what_is_not_a_number_is_not_hidden():
    layer, x, lengths = layer_and_text(4, 5, 16, 16, bidirectional=False)
    x[1, 0, 3] = torch.nan
    output = in_bf16(layer, x, lengths)
    assert output[1, : lengths[1]].isnan().all()
    assert not output[[0, 2, 3]].isnan().any()


@needs_loop
def test_it_runs_only_where_it_is_the_faster_way():
    x = torch.zeros(1, 1, 16)
    assert not lstm.has(x, 16)  # products in float32
    with torch.autocast("cpu", torch.bfloat16):
        assert lstm.has(x, 16)
        assert not lstm.has(x, 17)
        torch.set_num_threads(lstm.MOST_THREADS + 1)
        assert not lstm.has(x, 16)


def test_without_the_loop_torchs_own_answers(monkeypatch):
    monkeypatch.setattr(compiled, "LSTM", False)
    layer, x, lengths = layer_and_text(4, 5, 16, 16, bidirectional=False)
    lengths[:] = 5
    with torch.autocast("cpu", torch.bfloat16):
        expected = nn.LSTM.forward(layer.ways[0], x)[0]
    assert torch.equal(in_bf16(layer, x, lengths), expected)
