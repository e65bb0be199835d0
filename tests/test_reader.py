"""Documents through gated units, compiled: what the network in torch makes of them, and of each alone."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from fenlei import compiled
from fenlei.layers.mingru import scan_in_torch
from fenlei.layers.pooling import Attention
from fenlei.learn import Labelled, learn
from fenlei.lookups import Lookups
from fenlei.models.mingru import MinGRU
from fenlei.packing import Bytes
from fenlei.pipeline import Encoded, Ragged
from fenlei.reader import Read, read
from fenlei.recipe import Recipe
from fenlei.runtime import Predictor

Sets = tuple[Labelled, Labelled]
Jumble = Callable[[int, int, int], list[str]]

pytestmark = pytest.mark.skipif(not compiled.LOADED, reason="this installation has no compiled loops")
needs_vnni = pytest.mark.skipif(not compiled.VNNI, reason="this processor does not multiply in 8 bits")
ROWS, D = {"ids": 50, "bigrams": 70}, 12
LENGTHS = [3, 1, 200, 4, 5, 64, 70]


def network(size: int, poolings: list[str]) -> MinGRU:
    torch.manual_seed(size)
    return MinGRU(D, size, poolings).double()


def tables(kind: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=(rows, D)).astype(kind) for name, rows in ROWS.items()}


def documents() -> Encoded:
    rng = np.random.default_rng(1)
    offsets = np.cumsum([0, *LENGTHS])
    return Encoded({name: Ragged(rng.integers(0, rows, offsets[-1]), offsets) for name, rows in ROWS.items()})


def as_it_is(weight: Any) -> Any:
    return weight


def reader(encoder: MinGRU, poolings: list[str], kind: Any, pack: Callable[[Any], Any] = as_it_is) -> Read | None:
    ways = [(pack(way.weight.detach().numpy()), way.bias.detach().numpy()) for way in encoder.recurrent.ways]
    attention = [
        weight
        for part in encoder.pooling.parts
        if isinstance(part, Attention)
        for weight in (
            pack(part.project.weight.detach().numpy()),
            part.project.bias.detach().numpy(),
            part.context.weight.detach().numpy(),
        )
    ]
    return read(tables(kind), ways, attention, poolings)


def sums_of(encoded: Encoded, row: int, kind: Any) -> Any:
    """The vectors of a document's tokens, summed as the loop sums them."""
    start, end = encoded.columns["ids"].offsets[row : row + 2]
    return sum(tables(kind)[name].astype(np.float32)[encoded.columns[name].values[start:end]] for name in ROWS)


def rounded_product(x: Any, weight: Bytes, bias: Any) -> Any:
    """``x W^T + b`` of rows rounded to 8 bits each by its largest number, in whole numbers."""
    step = np.abs(x).max(1, keepdims=True).astype(np.float64) / 127
    whole = np.round(x / step).astype(np.int64) @ weight.int8.astype(np.int64).T
    return whole * step * weight.scale.astype(np.float64).T + bias


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize("poolings", [["max", "mean", "attention"], ["last"], ["attention"], ["mean", "last", "max"]])
@pytest.mark.parametrize("size", [16, 64, 80])
def test_a_document_is_read_as_torch_reads_it(size: int, poolings: list[str], kind: Any) -> None:
    encoder, encoded, order = network(size, poolings), documents(), np.array([2, 0, 1, 6, 3, 5, 4])
    found = reader(encoder, poolings, kind)
    assert found is not None
    vectors = found.find(encoded, order, 0)
    assert vectors.shape == (len(order), found.shape[1])
    for row, vector in zip(order, vectors, strict=True):
        x = torch.from_numpy(sums_of(encoded, row, kind).astype(np.float64))[None]
        with torch.no_grad():
            expected = encoder(x, torch.ones(x.shape[:2], dtype=torch.bool))[0]
        np.testing.assert_allclose(vector, expected, rtol=2e-5, atol=2e-5)


@needs_vnni
@pytest.mark.parametrize("poolings", [["max", "mean"], ["last", "attention"]])
@pytest.mark.parametrize("size", [16, 48])
def test_in_8_bits_products_are_those_of_whole_numbers(size: int, poolings: list[str]) -> None:
    encoder, encoded = network(size, poolings), documents()
    found = reader(encoder, poolings, np.float16, Bytes.pack)
    assert found is not None
    assert found.gates.int8 is not None
    ways = [(Bytes.pack(way.weight.detach().numpy()), way.bias.detach().numpy()) for way in encoder.recurrent.ways]
    order = np.arange(len(LENGTHS))
    for row, vector in zip(order, found.find(encoded, order, 0), strict=True):
        x = sums_of(encoded, row, np.float16)
        u = np.stack([rounded_product(x, *way) for way in ways], 1).reshape(1, len(x), 2, 2, size)
        h = scan_in_torch(torch.from_numpy(u), torch.tensor([len(x)])).flatten(2)
        mask, parts = torch.ones(1, len(x), dtype=torch.bool), []
        for part in encoder.pooling.parts:
            if isinstance(part, Attention):
                project, steps = Bytes.pack(part.project.weight.detach().numpy()), h[0].numpy().astype(np.float32)
                hidden = np.tanh(rounded_product(steps, project, part.project.bias.detach().numpy()))
                scores = torch.from_numpy(hidden) @ part.context.weight.detach()[0]
                parts.append((h[0] * torch.softmax(scores, 0)[:, None]).sum(0))
            else:
                parts.append(part(h, mask)[0])
        np.testing.assert_allclose(vector, torch.cat(parts), rtol=1e-3, atol=1e-4)


@needs_vnni
def test_in_8_bits_a_text_without_any_number_is_read_too() -> None:
    encoder = network(16, ["max", "attention"])
    found = reader(encoder, ["max", "attention"], np.float16, Bytes.pack)
    assert found is not None
    silent = dataclasses.replace(found, tables={"ids": np.zeros((50, D), np.float16)})
    vectors = silent.find(documents(), np.arange(len(LENGTHS)), 0)
    with torch.no_grad():
        expected = encoder(torch.zeros(1, 200, D, dtype=torch.float64), torch.ones(1, 200, dtype=torch.bool))[0]
    np.testing.assert_allclose(vectors[2], expected, atol=0.02)


@pytest.mark.parametrize("pack", [as_it_is, pytest.param(Bytes.pack, marks=needs_vnni)])
def test_a_document_alone_is_read_to_the_same_bits(pack: Callable[[Any], Any]) -> None:
    poolings = ["max", "mean", "attention", "last"]
    found, encoded = reader(network(32, poolings), poolings, np.float16, pack), documents()
    assert found is not None
    together = found.find(encoded, np.arange(len(LENGTHS)), 0)
    for row in range(len(LENGTHS)):
        assert found.find(encoded, np.array([row]), 0).tobytes() == together[row].tobytes()


@pytest.mark.parametrize(("size", "poolings"), [(12, ["max"]), (16, ["max", "max"]), (16, ["attention"] * 2)])
def test_what_the_loop_does_not_know_is_left_to_the_graph(size: int, poolings: list[str]) -> None:
    assert reader(network(size, poolings), poolings, np.float32) is None


@pytest.mark.parametrize("options", [{}, {"hidden_size": 16, "pooling": ["last", "max"]}])
def test_answers_are_those_of_the_whole_graph(
    options: dict[str, Any], chinese: Sets, tiny: Recipe, jumble: Jumble
) -> None:
    recipe = tiny.change(epochs=8, learning_rate=0.02, table_rate=0.05, model="mingru", branches=2)
    recipe = recipe.change(options={"hidden_size": 32} | options)
    bundle = learn(*chinese, recipe, lambda event: None)
    predictor = Predictor(bundle)
    assert predictor._lookups.values.keys() == {"read.0", "read.1", "weighed.0"} == {*predictor._inputs}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "LOADED", False)
        whole = Predictor(bundle)
    assert not whole._lookups.values
    texts = [*jumble(0, 70, 60), "", *chinese[1].texts]
    together = predictor.predict_proba(texts)
    np.testing.assert_allclose(together, whole.predict_proba(texts), rtol=0, atol=1e-6)
    for place in range(0, len(texts), 7):
        assert predictor.predict_proba(texts[place : place + 1]).tobytes() == together[place].tobytes()
    assert predictor.look("比赛进球").keys() == whole.look("比赛进球").keys()


GOOD: dict[str, Any] = {"tables": {"ids": "table"}, "ways": [["w", "b"]], "attention": [], "poolings": ["max"]}
WEIGHTS = {
    "table": np.zeros((9, 2), np.float16),
    "w": np.zeros((64, 2), np.float32),
    "b": np.zeros(64, np.float32),
    "square": np.zeros((32, 32), np.float32),
}


@pytest.mark.parametrize(
    "change",
    [
        {"ways": []},
        {"ways": [["w"]]},
        {"ways": [["b", "w"]]},
        {"ways": [["w", "b"], ["w", "w"]]},
        {"ways": 3},
        {"attention": ["square"]},
        {"poolings": ["attention"]},
        {"attention": ["square", "b", "w"], "poolings": ["attention"]},
        {"tables": {"ids": "table", "ngrams": "table"}},
        {"tables": {"ngrams": "table"}},
        {"poolings": [["max"]]},
        {"poolings": None},
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any]) -> None:
    assert Lookups({"read.0": json.dumps(GOOD)}, WEIGHTS, {"ids": 9}).shapes == {"read.0": (None, 32)}
    with pytest.raises(ValueError, match=r"model\.onnx says of 'read\.0' what cannot be"):
        Lookups({"read.0": json.dumps(GOOD | change)}, WEIGHTS, {"ids": 9, "ngrams": 9})


def test_weights_of_the_graphs_own_are_left_to_it() -> None:
    without = {name: weight for name, weight in WEIGHTS.items() if name != "w"}
    assert not Lookups({"read.0": json.dumps(GOOD)}, without, {"ids": 9}).values


@pytest.mark.parametrize("int8", [True, False])
def test_packed_weights_are_unpacked_or_rounded_with(int8: bool) -> None:
    rng = np.random.default_rng(0)
    table, packed = rng.normal(size=(9, 4)).astype(np.float16), Bytes.pack(rng.normal(size=(64, 4)).astype(np.float32))
    weights = {"table": table, "b": np.zeros(64, np.float32), "w.int8": packed.int8, "w.scale": packed.scale}
    found = Lookups({"read.0": json.dumps(GOOD | {"int8": int8})}, weights, {"ids": 9}).values["read.0"]
    assert isinstance(found, Read)
    assert (found.gates.int8 is not None) == (int8 and compiled.VNNI)
    if found.gates.floats is not None:
        np.testing.assert_array_equal(found.gates.floats, packed.unpack().T)
    with pytest.raises(ValueError, match=r"model\.onnx says of 'read\.0' what cannot be"):
        Lookups({"read.0": json.dumps(GOOD)}, weights | {"w.scale": packed.scale.T}, {"ids": 9})
