"""The recurrences, three times: by their equations, fused, and torch's own over packed sequences."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fenlei.layers.cells import EQUATIONS, Equations, LSTMCell
from fenlei.layers.graph import Graph
from fenlei.layers.mask import mask_of, reverse
from fenlei.layers.pooling import Last
from fenlei.layers.recurrent import CELLS, Recurrent

TORCH = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
LENGTHS = torch.tensor([7, 1, 4, 7, 2])
D, H = 3, 4

both_ways = pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])
every_cell = pytest.mark.parametrize("cell", CELLS)


def text(dtype=torch.float64):
    return torch.randn(len(LENGTHS), int(LENGTHS.max()), D, dtype=dtype, generator=torch.Generator().manual_seed(1))


def fused(cell, bidirectional, dtype=torch.float64):
    torch.manual_seed(0)
    return Recurrent(cell, D, H, bidirectional).to(dtype)


def torchs_own(layer, bidirectional):
    """torch's module with the weights of ``layer``."""
    peer = TORCH[layer.cell](D, H, batch_first=True, bidirectional=bidirectional).double()
    for way, suffix in zip(layer.ways, ("", "_reverse"), strict=False):
        for name, weight in way.named_parameters():
            getattr(peer, name + suffix).data.copy_(weight.data)
    return peer


def packed(peer, x):
    return pad_packed_sequence(
        peer(pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False))[0], batch_first=True
    )[0]


def loss(output):
    """A number that depends on every entry in its own way."""
    return (output * torch.arange(output.numel(), dtype=output.dtype).reshape(output.shape).cos()).sum()


def gap(a, b):
    return float((a - b).detach().abs().max())


@both_ways
@every_cell
def test_values_and_gradients_are_those_of_torch_over_packed_sequences(cell, bidirectional):
    layer = fused(cell, bidirectional)
    peer = torchs_own(layer, bidirectional)
    mine, theirs = text().requires_grad_(), text().requires_grad_()
    output, expected = layer(mine, LENGTHS), packed(peer, theirs)
    assert output.shape == (5, 7, layer.width)
    assert gap(output, expected) <= 1e-10
    loss(output).backward()
    loss(expected).backward()
    assert gap(mine.grad, theirs.grad) <= 1e-10
    for way, suffix in zip(layer.ways, ("", "_reverse"), strict=False):
        for name, weight in way.named_parameters():
            assert gap(weight.grad, getattr(peer, name + suffix).grad) <= 1e-10, name


@both_ways
@every_cell
def test_the_equations_say_what_the_fused_form_says(cell, bidirectional):
    layer = fused(cell, bidirectional)
    equations = Equations.from_fused(layer)
    mine, theirs = text().requires_grad_(), text().requires_grad_()
    output, expected = equations(mine, LENGTHS), layer(theirs, LENGTHS)
    assert equations.width == layer.width
    assert gap(output, expected) <= 1e-10
    loss(output).backward()
    loss(expected).backward()
    assert gap(mine.grad, theirs.grad) <= 1e-10
    for cell_of_way, way in zip(equations.ways, layer.ways, strict=True):
        stacked = {name: torch.cat([getattr(cell_of_way, name)[k].grad for k in cell_of_way.parts]) for name in "WUb"}
        assert gap(stacked["W"], way.weight_ih_l0.grad) <= 1e-10
        assert gap(stacked["U"], way.weight_hh_l0.grad) <= 1e-10
        assert gap(stacked["b"], way.bias_ih_l0.grad) <= 1e-10
        if cell == "gru":
            assert gap(cell_of_way.d.grad, way.bias_hh_l0.grad.chunk(3)[2]) <= 1e-10


@both_ways
@every_cell
def test_the_equations_say_what_torch_says(cell, bidirectional):
    layer = fused(cell, bidirectional)
    assert gap(Equations.from_fused(layer)(text(), LENGTHS), packed(torchs_own(layer, bidirectional), text())) <= 1e-10


@every_cell
def test_gradients_of_the_equations_are_finite_differences(cell):
    torch.manual_seed(0)
    equations = EQUATIONS[cell](2, 2).double()
    names = [name for name, _ in equations.named_parameters()]

    def output(x, *weights):
        mine = {f"ways.0.{name}": weight for name, weight in zip(names, weights, strict=True)}
        return torch.func.functional_call(Equations([equations]), mine, (x, torch.tensor([3, 2])))

    x = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(output, (x, *equations.parameters()))


def test_the_gates_of_an_lstm_by_hand():
    cell = LSTMCell(1, 1).double()
    for values in (cell.W, cell.U, cell.b):
        for k in cell.parts:
            values[k].data.fill_(0.0)
    cell.b["f"].data.fill_(20.0)  # keep all
    cell.W["g"].data.fill_(1.0)
    cell.b["o"].data.fill_(-20.0)  # show nothing
    steps = cell.scan(torch.tensor([[[1.0], [2.0]]], dtype=torch.float64))
    written = 0.5 * (np.tanh(1.0) + np.tanh(2.0))
    assert steps[1]["c"].item() == pytest.approx(written, abs=1e-8)
    assert abs(steps[1]["h"].item()) < 1e-8, "a shut output gate shows nothing; o + tanh(c) would show the whole cell"


@both_ways
@every_cell
def test_the_trace_obeys_the_equations_and_ends_where_the_text_ends(cell, bidirectional):
    equations = Equations.from_fused(fused(cell, bidirectional))
    ways = equations.trace(text(), LENGTHS)
    assert len(ways) == 1 + bidirectional
    outside = ~mask_of(LENGTHS, 7)
    for backward, way in enumerate(ways):
        assert tuple(way) == EQUATIONS[cell].letters
        assert all(values.shape == (5, 7, H) and not values[outside].any() for values in way.values())
        before = {k: _step_before(v, bool(backward)) for k, v in way.items()}
        if cell == "lstm":
            assert gap(way["c"], way["f"] * before["c"] + way["i"] * way["g"]) <= 1e-12
            assert gap(way["h"], way["o"] * way["c"].tanh()) <= 1e-12
        if cell == "gru":
            assert gap(way["h"], way["z"] * before["h"] + ((1 - way["z"]) * way["n"])) <= 1e-12
    assert torch.equal(torch.cat([way["h"] for way in ways], -1), equations(text(), LENGTHS))


def _step_before(values, backward):
    """What each step found: its neighbour on the side that was read before, zero at the beginning."""
    zero = torch.zeros_like(values[:, :1])
    return torch.cat([values[:, 1:], zero], 1) if backward else torch.cat([zero, values[:, :-1]], 1)


def test_gradients_reach_every_step_of_a_scan_and_fade_in_a_vanilla_network():
    torch.manual_seed(0)
    steps = EQUATIONS["rnn"](D, H).double().scan(torch.randn(1, 40, D, dtype=torch.float64))
    found = torch.autograd.grad(steps[-1]["h"].sum(), [each["h"] for each in steps])
    sizes = [float(each.norm()) for each in found]
    assert all(size > 0 for size in sizes)
    assert sizes[0] < 1e-3 * sizes[-1]


def test_the_last_column_of_a_padded_batch_is_not_the_last_word():
    """``out[:, -1]``, the classic bug of this field: on a short row it is what the network made of padding."""
    lstm = nn.LSTM(D, H, batch_first=True).double()
    layer = fused("lstm", bidirectional=False)
    layer.ways[0].load_state_dict(lstm.state_dict())
    short = text()[2:3, :4]
    alone = lstm(short)[0][:, -1]
    batch = torch.zeros(2, 7, D, dtype=torch.float64)
    batch[0], batch[1, :4] = text()[0], short[0]
    lengths = torch.tensor([7, 4])
    classic = lstm(batch)[0][1:, -1]
    ours = Last(H)(layer(batch, lengths), mask_of(lengths, 7))[1:]
    assert gap(classic, alone) > 1e-3
    assert gap(ours, alone) <= 1e-12


def test_reading_backwards_begins_at_the_last_word_and_not_at_the_padding():
    layer = fused("lstm", bidirectional=True)
    naive = reverse(layer.ways[1](text().flip(1))[0], torch.full((5,), 7))
    ours = layer(text(), LENGTHS)[:, :, H:]
    assert gap(naive[0], ours[0]) <= 1e-12, "a full row is read alike"
    assert gap(naive[1, 0], ours[1, 0]) > 1e-3, "a short row is not"


@both_ways
@every_cell
def test_what_stands_in_the_padding_changes_nothing(cell, bidirectional):
    layer, x = fused(cell, bidirectional), text()
    dirty = torch.where(mask_of(LENGTHS, 7)[:, :, None], x, 1e3)
    assert torch.equal(layer(x, LENGTHS), layer(dirty, LENGTHS))
    assert not layer(dirty, LENGTHS)[~mask_of(LENGTHS, 7)].any()


@pytest.mark.parametrize("steps", [0, 1])
@both_ways
@every_cell
def test_the_onnx_operator_says_the_same_at_every_step(cell, bidirectional, steps):
    layer, x = fused(cell, bidirectional, torch.float32), text(torch.float32)
    graph = Graph()
    axes = ("B", "T") if steps else ("T", "B")
    rows, lengths = graph.input("x", np.float32, (*axes, str(D))), graph.input("lengths", np.int64, ("B",))
    states = layer.nodes(graph, rows, lengths, steps)
    graph.rename(graph.add("Reshape", states, graph.constant(np.array([0, -1]))), "flat")
    session = onnxruntime.InferenceSession(graph.model("flat"), providers=["CPUExecutionProvider"])
    turned = x if steps else x.transpose(0, 1).contiguous()
    answer = session.run(["flat"], {"x": turned.numpy(), "lengths": LENGTHS.numpy()})[0]
    expected = layer(x, LENGTHS).detach()
    expected = (expected if steps else expected.transpose(0, 1)).flatten(1)
    assert np.abs(answer - expected.numpy()).max() <= 1e-6


def test_forget_gates_start_open():
    way = Recurrent("lstm", D, H).ways[0]
    total = (way.bias_ih_l0 + way.bias_hh_l0).detach()
    assert torch.equal(total[H : 2 * H], torch.ones(H))
    assert float(total[:H].abs().max()) < 1.0


def test_wrong_settings_are_refused_with_the_choices():
    with pytest.raises(ValueError, match="unknown cell 'elman'; the choices are rnn, lstm, gru"):
        Recurrent("elman", D, H)
    with pytest.raises(ValueError, match="hidden_size must be at least 1, got 0"):
        Recurrent("lstm", D, 0)
