"""Sums of rows that the runtime looks up itself: those that the graph would find."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from fenlei import compiled, lookups
from fenlei.bundle import Bundle
from fenlei.learn import Labelled, learn
from fenlei.lookups import Embedded, Lookups
from fenlei.packing import Bytes, Nibbles
from fenlei.pipeline import Encoded, Ragged
from fenlei.recipe import Recipe
from fenlei.runtime import Predictor

Sets = tuple[Labelled, Labelled]
Jumble = Callable[[int, int, int], list[str]]

needs_loops = pytest.mark.skipif(not compiled.LOADED, reason="this installation has no compiled loops")
OFFERED = {
    "bilstm": ({}, {"embedded.0", "weighed.0"}),
    "textcnn": ({"options": {}}, {"embedded.0", "weighed.0"}),
    "mingru": ({"branches": 2}, {"embedded.0", "embedded.1", "weighed.0"}),
    "lstm": ({"wide": False}, {"embedded.0"}),
    "han": ({"options": {}}, {"weighed.0"}),
    "rnn": ({"embedding": "lowrank"}, {"weighed.0"}),
}


def ragged(rows: list[list[int]]) -> Ragged:
    return Ragged(np.array([each for row in rows for each in row], np.int64), np.cumsum([0, *map(len, rows)]))


@needs_loops
@pytest.mark.parametrize("model", OFFERED)
def test_answers_are_those_of_the_whole_graph(model: str, chinese: Sets, tiny: Recipe, jumble: Jumble) -> None:
    changes, offered = OFFERED[model]
    bundle = learn(*chinese, tiny.change(epochs=1, model=model, **changes), lambda event: None)
    predictor = Predictor(bundle)
    assert predictor._lookups.values.keys() == offered
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "LOADED", False)
        whole = Predictor(bundle)
    assert not whole._lookups.values
    texts = [*jumble(0, 70, 60), "", *chinese[1].texts]
    np.testing.assert_allclose(predictor.predict_proba(texts), whole.predict_proba(texts), rtol=0, atol=1e-6)
    assert predictor.look("比赛进球").keys() == whole.look("比赛进球").keys()


@needs_loops
@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_rows_are_summed_as_numpy_sums_them(kind: Any) -> None:
    rng = np.random.default_rng(0)
    tables = {"ids": rng.normal(size=(50, 9)), "bigrams": rng.normal(size=(70, 9)), "ngrams": rng.normal(size=(30, 3))}
    tables["ids"][7] = [0, -0.0, 6e-8, -3e-5, 65504, 1, -1, 2**-14, 2**-24]  # numbers at the edges of a half
    weights: dict[str, Any] = {name: table.astype(kind) for name, table in tables.items()}
    facts = {
        "embedded.0": json.dumps({"tables": {"ids": "ids", "bigrams": "bigrams"}, "rows_first": True}),
        "embedded.1": json.dumps({"tables": {"ids": "ids"}}),
        "weighed.0": json.dumps({"tables": {"ngrams": "ngrams"}}),
        "rows alone": "yes",
    }
    found_in = Lookups(facts, weights, {"ids": 50, "bigrams": 70, "ngrams": 30})
    assert found_in.shapes == {"embedded.0": (None, None, 9), "embedded.1": (None, None, 9), "weighed.0": (None, 3)}
    rows = [rng.integers(0, 50, size).tolist() for size in (1, 30, 4)]
    ids, bigrams, ngrams = ragged([[7], *rows]), ragged([[1], *rows]), ragged([[2, 29], [0], [3] * 40, []])
    values = Ragged(rng.random(len(ngrams.values), np.float32), ngrams.offsets)
    encoded = Encoded({"ids": ids, "bigrams": bigrams, "ngrams": ngrams, "ngram_values": values})
    order = np.array([2, 0, 3, 1, 0])
    found = found_in.find(encoded, order, 32)
    wide = {name: table.astype(np.float64) for name, table in weights.items()}
    first, both = np.zeros((2, 5, 32, 9))
    for place, row in enumerate(order):
        for t, one in enumerate(ids.values[ids.offsets[row] : ids.offsets[row + 1]]):
            first[place, t] = wide["ids"][one]
            both[place, t] = first[place, t] + wide["bigrams"][bigrams.values[bigrams.offsets[row] + t]]
    np.testing.assert_allclose(found["embedded.0"], both, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(found["embedded.1"], first.transpose(1, 0, 2).astype(np.float32))
    sums = [
        values.values[ngrams.offsets[row] : ngrams.offsets[row + 1]].astype(np.float64)
        @ wide["ngrams"][ngrams.values[ngrams.offsets[row] : ngrams.offsets[row + 1]]]
        for row in order
    ]
    np.testing.assert_allclose(found["weighed.0"], sums, rtol=1e-5, atol=1e-6)


def test_a_graph_with_a_table_of_its_own_answers_from_it(chinese: Sets, tiny: Recipe) -> None:
    bundle = learn(*chinese, tiny.change(epochs=1), lambda event: None)
    graph = onnx.load_from_string(bundle.graph)
    (table,) = (each for each in graph.graph.initializer if each.name.endswith("ids.table.weight"))
    table.raw_data = bytes(len(table.raw_data))
    predictor = Predictor(dataclasses.replace(bundle, graph=graph.SerializeToString()))
    assert "embedded.0" not in predictor._lookups.values
    assert np.abs(predictor.predict_proba(chinese[1].texts) - Predictor(bundle).predict_proba(chinese[1].texts)).max()


@needs_loops
@pytest.mark.parametrize(
    "fact",
    [
        "nonsense",
        "[]",
        "{}",
        '{"tables": 3}',
        '{"tables": {}}',
        '{"tables": {"ids": "short"}}',
        '{"tables": {"ids": "flat"}}',
        '{"tables": {"ids": "whole"}}',
        '{"tables": {"others": "table"}}',
        '{"tables": {"ids": "table", "bigrams": "wider"}}',
        '{"tables": {"ids": "table", "ngrams": "table"}}',
        '{"tables": {"ngram_values": "table"}}',
        json.dumps({"tables": {f"s{number}": "table" for number in range(17)}}),
    ],
)
def test_what_cannot_be_is_refused(fact: str) -> None:
    weights: dict[str, Any] = {
        "table": np.zeros((9, 2), np.float16),
        "wider": np.zeros((9, 3), np.float16),
        "short": np.zeros((8, 2), np.float16),
        "flat": np.zeros(9, np.float16),
        "whole": np.zeros((9, 2), np.int8),
    }
    sizes = {"ids": 9, "bigrams": 9, "ngrams": 9, "ngram_values": 9} | {f"s{number}": 9 for number in range(17)}
    with pytest.raises(ValueError, match=r"model\.onnx says of 'embedded\.0' what cannot be"):
        Lookups({"embedded.0": fact}, weights, sizes)


@needs_loops
@pytest.mark.parametrize("kind", [Bytes, Nibbles])
def test_packed_tables_are_unpacked_if_they_are_small(kind: type[Bytes | Nibbles], monkeypatch: Any) -> None:
    packed = kind.pack(np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32))
    weights = {f"table.{part}": array for part, array in packed.arrays().items()}
    facts = {name: json.dumps({"tables": {"ids": "table"}}) for name in ("embedded.0", "embedded.1")}
    found = Lookups(facts, weights, {"ids": 9}).values
    for value in found.values():
        assert isinstance(value, Embedded)
        np.testing.assert_array_equal(value.tables["ids"], packed.unpack())
    assert len({id(value.tables["ids"]) for value in found.values() if isinstance(value, Embedded)}) == 1
    monkeypatch.setattr(lookups, "MOST_UNPACKED", 35)
    assert not Lookups(facts, weights, {"ids": 9}).values


@needs_loops
def test_a_loaded_bundle_copies_no_table(chinese: Sets, tiny: Recipe, tmp_path: Any) -> None:
    bundle = Bundle.load(learn(*chinese, tiny.change(epochs=1), lambda event: None).save(tmp_path / "saved"))
    predictor = Predictor(bundle)
    tables = [
        table
        for value in predictor._lookups.values.values()
        for table in (value.tables.values() if hasattr(value, "tables") else [value.table])
    ]
    assert len(tables) > 1
    assert all(any(np.shares_memory(table, weight) for weight in bundle.weights.values()) for table in tables)
