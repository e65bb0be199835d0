"""The mask of texts and of texts in sentences, the same in the graph; and the reversal within a row."""

import numpy as np
import onnxruntime
import pytest
import torch

from fenlei.layers.graph import Graph
from fenlei.layers.mask import mask_nodes, mask_of, reverse

ROWS = np.array([2, 4, 1, 0])
SENTENCES = np.array([[2, 4, 1], [3, 0, 0]])


def by_loop(lengths, steps):
    return np.array([t < length for length in lengths.flat for t in range(steps)]).reshape(*lengths.shape, steps)


@pytest.mark.parametrize("lengths", [ROWS, SENTENCES], ids=["rows", "sentences"])
@pytest.mark.parametrize("steps", [4, 6])
def test_a_mask_is_true_within_each_length(lengths, steps):
    assert np.array_equal(mask_of(torch.from_numpy(lengths), steps).numpy(), by_loop(lengths, steps))


@pytest.mark.parametrize("lengths", [ROWS, SENTENCES], ids=["rows", "sentences"])
def test_the_graph_makes_the_same_mask_from_any_padded_vectors(lengths):
    graph = Graph()
    axes = ("B", "S", "T", "D")
    x = graph.input("x", np.float32, (*axes[: lengths.ndim], "T", "D"))
    count = graph.input("lengths", np.int64, axes[: lengths.ndim])
    mask = graph.add("Cast", mask_nodes(graph, count, x), to=1)
    data = graph.model(graph.rename(graph.add("Flatten", mask, axis=1), "mask"))  # the output is two-dimensional
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    for steps in (1, 4, 9):
        padded = np.zeros((*lengths.shape, steps, 3), np.float32)
        (found,) = session.run(None, {"x": padded, "lengths": np.minimum(lengths, steps)})
        assert np.array_equal(found, by_loop(np.minimum(lengths, steps), steps).reshape(len(lengths), -1))


def test_the_graph_makes_the_mask_with_the_steps_first():
    graph = Graph()
    x, count = graph.input("x", np.float32, ("T", "B", "D")), graph.input("lengths", np.int64, ("B",))
    data = graph.model(graph.rename(graph.add("Cast", mask_nodes(graph, count, x, 0), to=1), "mask"))
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.zeros((6, len(ROWS), 3), np.float32), "lengths": ROWS})
    assert np.array_equal(found, by_loop(ROWS, 6).T)


def test_each_row_is_reversed_within_its_own_length():
    x = torch.arange(4 * 4 * 2).view(4, 4, 2)
    found = reverse(x, torch.from_numpy(ROWS))
    for row, length in enumerate(ROWS):
        assert found[row].tolist() == [*reversed(x[row, :length].tolist()), *x[row, length:].tolist()]
    assert torch.equal(reverse(found, torch.from_numpy(ROWS)), x)


def test_gradients_go_the_way_back_once_and_twice():
    x, lengths = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True), torch.tensor([4, 1, 3])
    assert torch.autograd.gradcheck(lambda each: reverse(each, lengths), (x,))
    assert torch.autograd.gradgradcheck(lambda each: reverse(each, lengths), (x,))
