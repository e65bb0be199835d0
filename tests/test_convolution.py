"""The convolution over time against a plain loop over windows, steps and rows."""

import numpy as np
import onnxruntime
import pytest
import torch

from fenlei.layers.convolution import Convolution
from fenlei.layers.graph import Graph
from fenlei.layers.mask import mask_nodes, mask_of

LENGTHS = torch.tensor([6, 1, 2, 6])
D, F = 3, 4

every_width = pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 9])


def text(dtype=torch.float64):
    x = torch.randn(4, 6, D, dtype=dtype, generator=torch.Generator().manual_seed(0))
    return torch.where(mask_of(LENGTHS, 6)[:, :, None], x, 1e3)


def layer(width):
    torch.manual_seed(width)
    return Convolution(D, F, width)


def loop(conv, row):
    """``row (T, D)`` to ``(T, F)``, one product at a time; outside the row there is nothing to add."""
    weight, bias = conv.conv.weight, conv.conv.bias
    width = weight.shape[2]
    outputs = []
    for t in range(len(row)):
        window = bias.clone()
        for k in range(width):
            place = t + k - (width - 1) // 2
            if 0 <= place < len(row):
                window = window + weight[:, :, k] @ row[place]
        outputs.append(window)
    return torch.stack(outputs)


@every_width
def test_values_and_gradients_are_those_of_the_loop(width):
    conv, mask = layer(width).double(), mask_of(LENGTHS, 6)
    x, y = text().requires_grad_(), text().requires_grad_()
    output = conv(x, mask)[mask]
    expected = torch.cat([loop(conv, row[:n]) for row, n in zip(y, LENGTHS, strict=True)])
    assert float((output - expected).detach().abs().max()) <= 1e-10
    weights = list(conv.parameters())
    mine = torch.autograd.grad(output.sin().sum(), [x, *weights])
    theirs = torch.autograd.grad(expected.sin().sum(), [y, *weights])
    for a, b in zip(mine, theirs, strict=True):
        assert float((a - b).abs().max()) <= 1e-10


@every_width
def test_onnx_says_the_same(width):
    conv, x, mask = layer(width), text(torch.float32), mask_of(LENGTHS, 6)
    graph = Graph()
    rows, lengths = graph.input("x", np.float32, ("B", "T", str(D))), graph.input("lengths", np.int64, ("B",))
    windows = conv.nodes(graph, rows, mask_nodes(graph, lengths, rows))
    graph.rename(graph.add("Reshape", windows, graph.constant(np.array([0, -1]))), "flat")
    session = onnxruntime.InferenceSession(graph.model("flat"), providers=["CPUExecutionProvider"])
    answer = session.run(["flat"], {"x": x.numpy(), "lengths": LENGTHS.numpy()})[0].reshape(4, 6, F)
    assert np.abs(answer - conv(x, mask).detach().numpy())[mask.numpy()].max() <= 1e-5


def test_a_window_without_width_is_refused():
    with pytest.raises(ValueError, match="filters and width of at least 1, got 4 and 0"):
        Convolution(D, F, 0)
