"""Weights in few bytes: how near they stay, and the same numbers from NumPy and from the graph."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from fenlei.bundle import initializers
from fenlei.layers.graph import Graph
from fenlei.packing import Bytes, Nibbles, Packed, find, unpack
from fenlei.quantizing import parts, sums

WEIGHT = np.random.default_rng(0).normal(0, 1, (70, 12)).astype(np.float32)
OFTEN = np.ones(70, np.float32)
PACKED: dict[str, Packed] = {
    "bytes": Bytes.pack(WEIGHT),
    "nibbles": Nibbles.pack(WEIGHT),
    "sums": sums(WEIGHT, OFTEN, 2),
    "parts": parts(WEIGHT, OFTEN, 4),
}


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_graph_unpacks_as_numpy_does(name: str, rank: int) -> None:
    packed = PACKED[name]
    rows = np.random.default_rng(1).integers(0, 70, (2, 3, 5)[:rank])
    graph = Graph()
    ids = graph.input("rows", np.int64, tuple("BST"[:rank]))
    some = graph.rename(packed.rows(graph, "w", ids), "some")
    whole = graph.rename(packed.whole(graph, "w"), "whole")
    outputs = [helper.make_tensor_value_info(each, TensorProto.FLOAT, None) for each in (some, whole)]
    made = helper.make_graph(graph._nodes, "g", list(graph._inputs.values()), outputs, graph._constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found, all_rows = session.run(["some", "whole"], {"rows": rows})
    np.testing.assert_array_equal(all_rows, packed.unpack())
    np.testing.assert_array_equal(found, packed.unpack()[rows])


@pytest.mark.parametrize(("name", "most"), [("bytes", 0.01), ("nibbles", 0.12), ("sums", 0.9), ("parts", 0.45)])
def test_packed_numbers_stay_near(name: str, most: float) -> None:
    packed = PACKED[name]
    error = np.sqrt(((packed.unpack() - WEIGHT) ** 2).mean() / (WEIGHT**2).mean())
    assert 0 < error < most
    assert packed.nbytes < WEIGHT.astype(np.float16).nbytes or name in ("sums", "parts")


@pytest.mark.parametrize("name", PACKED)
def test_the_shape_is_known_beforehand(name: str) -> None:
    packed = PACKED[name]
    assert packed.shape == packed.unpack().shape == WEIGHT.shape
    for part, array in packed.arrays().items():
        with pytest.raises(ValueError, match=r"of shape \(.*\) for (numbers|words) of shape"):
            _ = dataclasses.replace(packed, **{part: array[None]}).shape


def test_zeros_and_tiny_numbers_survive() -> None:
    weight = np.array([[0, 0], [1e-9, -1e-9], [1e4, 3]], np.float32)
    for packed in (Bytes.pack(weight), Nibbles.pack(weight)):
        assert np.isfinite(packed.unpack()).all()
        np.testing.assert_allclose(packed.unpack()[0], 0)
    with pytest.raises(ValueError, match="4 bits need an even number of columns, got 3"):
        Nibbles.pack(np.ones((2, 3), np.float32))


def test_weights_are_found_by_their_names() -> None:
    weights = {"b": np.ones(3, np.float32)}
    for name, packed in PACKED.items():
        weights |= {f"{name}.{part}": array for part, array in packed.arrays().items()}
    assert find(weights).keys() == PACKED.keys()
    back = unpack(weights)
    assert back.keys() == {"b", *PACKED}
    for name, packed in PACKED.items():
        np.testing.assert_array_equal(back[name], packed.unpack())


def test_a_graph_gives_up_the_numbers_that_the_weights_hold_and_gets_them_back() -> None:
    graph = Graph()
    rows = graph.input("rows", np.int64, ("B",))
    value = PACKED["bytes"].rows(graph, "w", rows)
    graph.rename(graph.add("MatMul", value, graph.constant(np.ones((12, 2), np.float32), "own")), "probabilities")
    data = graph.model("probabilities")
    weights = {f"w.{part}": array for part, array in PACKED["bytes"].arrays().items()} | {"other": np.ones(2)}
    drained = initializers.drain(data, weights)
    assert len(drained) < len(data) - WEIGHT.size
    assert initializers.fill(drained, weights) == data
    assert initializers.fill(data, weights) is data
    changed = weights | {"w.int8": -weights["w.int8"]}
    assert initializers.fill(initializers.drain(data, changed), changed) == data, "other numbers are not taken out"
    for lacking in ({}, {"w.int8": weights["w.int8"][1:], "w.scale": weights["w.scale"]}):
        with pytest.raises(ValueError, match=r"model\.onnx takes 'w\.\w+' from the weights, which hold no such array"):
            initializers.fill(drained, lacking)


def test_large_tables_become_inputs_where_rows_are_all_that_is_read_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initializers, "LARGE", 100)
    graph = Graph()
    rows = graph.input("rows", np.int64, ("B",))
    table, square = WEIGHT.astype(np.float16), np.eye(12, dtype=np.float32)
    value = graph.add("Cast", graph.add("Gather", graph.once("table", table), rows, axis=0), to=1)
    value = graph.add("Add", value, PACKED["bytes"].rows(graph, "w", rows))
    value = graph.add("MatMul", value, graph.once("square", square))
    value = graph.add("Add", value, graph.add("Gather", graph.once("square", square), rows, axis=0))
    graph.show(value, "seen", np.float32)
    whole = graph.model(graph.rename(value, "probabilities"))
    weights = {"table": table, "square": square}
    weights |= {f"w.{part}": array for part, array in PACKED["bytes"].arrays().items()}
    data, tables = initializers.detach(initializers.drain(whole, weights), weights)
    assert tables.keys() == {"table", "w.int8", "w.scale"}, "the matrix is multiplied with, too"
    assert all(np.shares_memory(array, weights[name]) for name, array in tables.items())
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert {each.name for each in session.get_inputs()} == {"rows", *tables}
    expected = onnxruntime.InferenceSession(whole, providers=["CPUExecutionProvider"])
    asked = {"rows": np.array([3, 0, 11])}
    for mine, theirs in zip(session.run(None, asked | tables), expected.run(None, asked), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    alone = onnxruntime.InferenceSession(initializers.only(data, "probabilities"), providers=["CPUExecutionProvider"])
    assert [each.name for each in alone.get_outputs()] == ["probabilities"]
    assert initializers.only(data, "nothing of the kind") is data
    assert initializers.is_whole(whole)
    assert not initializers.is_whole(initializers.drain(whole, weights))
    with pytest.raises(ValueError, match=r"model\.onnx takes '\w+(\.\w+)?' from the weights, which hold no such array"):
        initializers.detach(initializers.drain(whole, weights), {})


@pytest.mark.parametrize("data", [b"", b"new", bytes(range(256)), b"\x3a\x80", b"\x3a\x02\x2a\x7f", b"\xff" * 40])
def test_bytes_that_are_no_graph_are_left_alone(data: bytes) -> None:
    assert initializers.drain(data, {"a": np.ones(1)}) == data
    assert initializers.fill(data, {"a": np.ones(1)}) == data
    assert initializers.detach(data, {"a": np.ones(1)}) == (data, {})
    assert initializers.only(data, "a") == data
    assert initializers.is_whole(data)
