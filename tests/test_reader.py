"""Documents through gated units, compiled: what the network in torch makes of them, and of each alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from fenlei import compiled
from fenlei.learn import Labelled, learn
from fenlei.lookups import Lookups
from fenlei.models.mingru import MinGRU
from fenlei.pipeline import Encoded, Ragged
from fenlei.reader import Read, read
from fenlei.recipe import Recipe
from fenlei.runtime import Predictor

Sets = tuple[Labelled, Labelled]
Jumble = Callable[[int, int, int], list[str]]

pytestmark = pytest.mark.skipif(not compiled.LOADED, reason="this installation has no compiled loops")
ROWS, D = {"ids": 50, "bigrams": 70}, 9
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


def reader(encoder: MinGRU, poolings: list[str], kind: Any) -> Read | None:
    ways = [(way.weight.detach().numpy(), way.bias.detach().numpy()) for way in encoder.recurrent.ways]
    attention = [
        weight.detach().numpy()
        for name, part in zip(poolings, encoder.pooling.parts, strict=True)
        if name == "attention"
        for weight in (part.project.weight, part.project.bias, part.context.weight)
    ]
    return read(tables(kind), ways, attention, poolings)


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
        start, end = encoded.columns["ids"].offsets[row : row + 2]
        x = sum(tables(kind)[name].astype(np.float64)[encoded.columns[name].values[start:end]] for name in ROWS)
        with torch.no_grad():
            expected = encoder(torch.from_numpy(x)[None], torch.ones(1, end - start, dtype=torch.bool))[0]
        np.testing.assert_allclose(vector, expected, rtol=2e-5, atol=2e-5)


def test_a_document_alone_is_read_to_the_same_bits() -> None:
    poolings = ["max", "mean", "attention", "last"]
    found, encoded = reader(network(32, poolings), poolings, np.float16), documents()
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
    recipe = tiny.change(epochs=1, model="mingru", options={"hidden_size": 32} | options, branches=2)
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
