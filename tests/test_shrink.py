"""Bundles made small: under the limit, answering as was measured, with refusals that say what is left."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from fenlei import compiled
from fenlei.bundle import Bundle
from fenlei.export import export
from fenlei.learn import Labelled as Labels
from fenlei.learn import learn
from fenlei.linear import unfinished_fits
from fenlei.models import restore
from fenlei.packing import Bytes, find
from fenlei.runtime import INT8_TOLERANCE, Predictor
from fenlei.shrink import Shrunk, in_int8, shrink
from fenlei.shrink.branches import LADDER, Branches, size_of
from fenlei.shrink.heldout import HeldOut
from fenlei.shrink.ngrams import KINDS, Ngrams
from fenlei.shrink.search import total
from fenlei.wide import idf_of, steps_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from fenlei.learn import Labelled
    from fenlei.recipe import Recipe

LIMIT = 34_000


@pytest.fixture(scope="module")
def shrunk(bundle: Bundle, chinese: tuple[Labelled, Labelled]) -> Shrunk:
    return shrink(bundle, chinese[1].texts, chinese[1].sets, LIMIT)


@pytest.fixture(scope="module")
def held_out(bundle: Bundle, chinese: tuple[Labelled, Labelled]) -> HeldOut:
    road = Predictor(bundle).pipeline
    return HeldOut.read(chinese[1].texts, chinese[1].sets, bundle.labels, False, road)


def test_a_small_bundle_keeps_the_limit_and_answers_as_was_measured(
    shrunk: Shrunk, bundle: Bundle, chinese: tuple[Labelled, Labelled], tmp_path: object
) -> None:
    folder = shrunk.bundle.save(f"{tmp_path}/small")
    small = Bundle.load(folder)
    assert sum(path.stat().st_size for path in folder.iterdir()) == total(small) <= LIMIT < total(bundle)
    predictor = Predictor(small)
    assert predictor.verify() == 0.0
    right = [
        answer == label for answer, label in zip(predictor.predict(chinese[1].texts), chinese[1].labels, strict=True)
    ]
    assert small.scores["dev"]["accuracy"] == pytest.approx(np.mean(right))
    [chosen] = [each for each in shrunk.candidates if each.chosen]
    assert chosen.bytes == total(small)
    assert chosen.quality == pytest.approx(np.mean(right), abs=0.05)
    assert chosen.quality == max(each.quality for each in shrunk.candidates)
    assert small.scores["shrunk"]["from_bytes"] == total(bundle)


def test_a_small_bundle_answers_a_text_alone_as_among_others(
    shrunk: Shrunk, jumble: Callable[[int, int, int], list[str]]
) -> None:
    predictor = Predictor(shrunk.bundle)
    texts = jumble(3, 40, 60)
    together = predictor.predict_proba(texts)
    for text, row in zip(texts, together, strict=True):
        np.testing.assert_array_equal(predictor.predict_proba([text])[0], row)


def test_a_limit_below_everything_says_what_can_be_reached(bundle: Bundle, chinese: tuple[Labelled, Labelled]) -> None:
    with pytest.raises(ValueError, match=r"^900 bytes are too few: the smallest .* is about \d+KB$"):
        shrink(bundle, chinese[1].texts, chinese[1].sets, 900)


def test_what_cannot_be_shrunk_is_refused(bundle: Bundle, shrunk: Shrunk, chinese: tuple[Labelled, Labelled]) -> None:
    old = copy.copy(bundle)
    old.tables = {name: array for name, array in bundle.tables.items() if not name.startswith("counts.")}
    with pytest.raises(ValueError, match="made by an older fenlei or is a shrunken one already; train it again"):
        shrink(old, chinese[1].texts, chinese[1].sets, LIMIT)
    with pytest.raises(ValueError, match="no held-out text has a label of this classifier, such as '体育'"):
        shrink(bundle, ["x"], [("unheard of",)], LIMIT)


@pytest.mark.parametrize("rung", [LADDER[0], LADDER[5], LADDER[-1]], ids=str)
def test_networks_take_the_bytes_that_were_foretold(bundle: Bundle, held_out: HeldOut, rung: object) -> None:
    networks = Branches.of(bundle, Predictor(bundle).pipeline, 1)
    small = networks.smaller(rung._replace(rows=9), held_out)  # type: ignore[attr-defined]
    road = small.pipeline
    hashes = sum(road.tables()[f"streams.{name}"].nbytes for name in road.streams)
    lines = sum(len(f"{token}\t{count}\n".encode()) for token, count in road.vocab.items())
    assert 0 <= small.nbytes - sum(array.nbytes for array in small.weights.values()) - hashes - lines < 64
    assert [token for token, _ in road.vocab.items()] == [token for token, _ in bundle.vocab[:9]]
    assert all(len(table) == 10 for table in road.streams.values())


@pytest.mark.parametrize("kind", KINDS)
def test_ngrams_are_counted_as_the_runtime_counts_them(
    bundle: Bundle, held_out: HeldOut, chinese: tuple[Labelled, Labelled], kind: str
) -> None:
    road = Predictor(bundle).pipeline
    assert road.wide is not None
    weight, bias = (bundle.weights[f"wide.{name}"].astype(np.float32) for name in ("weight", "bias"))
    with unfinished_fits():
        small = Ngrams(road.wide, weight, bias).smaller(kind, 5_000, held_out)
    assert small is not None
    assert 0 <= small.nbytes - small.weight.nbytes - sum(each.nbytes for each in small.wide.tables().values()) < 64
    columns = dataclasses.replace(road, wide=small.wide).encode(chinese[1].texts).columns
    table = small.weight.unpack()
    for place in range(0, 30, 7):
        inside = slice(*columns["ngrams"].offsets[place : place + 2])
        rows, values = columns["ngrams"].values[inside], columns["ngram_values"].values[inside]
        np.testing.assert_allclose(values @ table[rows] + bias, small.logits[place], atol=1e-5)


def test_the_graph_unpacks_what_the_weights_hold(shrunk: Shrunk) -> None:
    small = shrunk.bundle
    packed = find(small.weights)
    assert packed
    names = {each.name for each in onnx.load_from_string(small.graph).graph.initializer}
    for name, each in packed.items():
        assert {f"{name}.{part}" for part in each.arrays()} <= names
    drained = small.files()["model.onnx"]
    assert len(drained) < 15_000
    state = restore(small, Predictor(small).pipeline.stream_sizes()).state_dict()
    for name, each in packed.items():
        np.testing.assert_array_equal(state[name].numpy(), each.unpack())


def test_idf_in_steps_comes_back_nearly() -> None:
    idf = np.linspace(1, 16.9, 200).astype(np.float32)
    assert np.abs(idf_of(steps_of(idf)) - idf).max() <= 1 / 32 + 1e-6
    assert idf_of(idf) is idf


def test_a_rung_that_is_smaller_takes_fewer_bytes() -> None:
    sizes = [size_of(kind, (300, 128)) for kind in ("16 bits", "8 bits", "4 bits", "parts of 4", "parts of 8")]
    assert sizes == sorted(sizes, reverse=True)


def test_lstm_layers_in_8_bits_answer_nearly_the_same(
    bundle: Bundle, chinese: tuple[Labelled, Labelled], tmp_path: object
) -> None:
    made = in_int8(bundle, chinese[1].texts, chinese[1].sets)
    exact, rounded = Predictor(bundle), Predictor(Bundle.load(made.bundle.save(f"{tmp_path}/B")))
    texts = chinese[0].texts
    before, after = exact.predict_proba(texts), rounded.predict_proba(texts)
    assert 0 < np.abs(after - before).max() <= INT8_TOLERANCE
    assert (after.argmax(1) == before.argmax(1)).mean() >= 0.99
    facts = made.bundle.scores["int8"]
    assert (made.difference, made.agreement) == (facts["largest_difference"], facts["agreement"])
    kinds = {node.op_type for node in onnx.load_from_string(made.bundle.graph).graph.node}
    assert "DynamicQuantizeLSTM" in kinds
    assert "LSTM" not in kinds
    assert rounded.verify() <= INT8_TOLERANCE


@pytest.mark.skipif(not compiled.VNNI, reason="this processor does not multiply in 8 bits")
def test_mingru_in_8_bits_answers_nearly_the_same_and_alone_as_beside_others(
    chinese: tuple[Labelled, Labelled], tiny: Recipe, tmp_path: object
) -> None:
    options = {"hidden_size": 32, "pooling": ["attention", "max"]}
    exact = learn(
        *chinese, tiny.change(epochs=2, model="mingru", embedding_size=32, options=options), lambda event: None
    )
    made = in_int8(exact, chinese[1].texts, chinese[1].sets)
    rounded = Predictor(Bundle.load(made.bundle.save(f"{tmp_path}/B")))
    texts = chinese[0].texts
    before, after = Predictor(exact).predict_proba(texts), rounded.predict_proba(texts)
    assert 0 < np.abs(after - before).max() <= INT8_TOLERANCE
    for place in range(0, len(texts), 9):
        assert rounded.predict_proba(texts[place : place + 1]).tobytes() == after[place].tobytes()
    with pytest.MonkeyPatch.context() as patch:  # a processor that cannot
        patch.setattr(compiled, "VNNI", False)
        elsewhere = Predictor(made.bundle)
    assert 0 < np.abs(elsewhere.predict_proba(texts) - after).max() <= INT8_TOLERANCE
    assert elsewhere.verify() <= INT8_TOLERANCE


def test_8_bits_are_refused_where_they_answer_otherwise_or_there_is_no_lstm(
    bundle: Bundle, chinese: tuple[Labelled, Labelled], monkeypatch: pytest.MonkeyPatch
) -> None:
    def coarse(cls: type[Bytes], weight: np.ndarray) -> Bytes:
        return Bytes(np.full(weight.shape, 127, np.int8), np.ones((len(weight), 1), np.float16))

    loud = dataclasses.replace(bundle, weights=bundle.weights | {"scales": np.array([50, 0], np.float32)})
    model = restore(loud, Predictor(loud).pipeline.stream_sizes())
    loud = dataclasses.replace(loud, graph=export(model, Predictor(bundle).pipeline.stream_sizes()))
    monkeypatch.setattr(Bytes, "pack", classmethod(coarse))
    with pytest.raises(ValueError, match=r"answers held-out texts too differently: .* 0\.1 and 99% are the bounds"):
        in_int8(loud, chinese[1].texts, chinese[1].sets)
    monkeypatch.undo()
    linear = shrink(bundle, chinese[1].texts, chinese[1].sets, 17_000).bundle
    assert linear.model["branches"] == 0
    with pytest.raises(ValueError, match="--int8 is for mingru and for LSTM layers, and this bundle answers by"):
        in_int8(linear, chinese[1].texts, chinese[1].sets)


@pytest.mark.usefixtures("all_answer")
def test_several_labels_and_several_networks_are_made_small(chinese: tuple[Labelled, Labelled], tiny: Recipe) -> None:
    sides = []
    for side in chinese:
        pairs = zip(side.texts, side.texts[1:], strict=False)
        labels = [tuple(sorted({one, other})) for one, other in zip(side.labels, side.labels[1:], strict=False)]
        sides.append(Labels([one + other for one, other in pairs], labels))
    recipe = tiny.change(branches=2, epochs=8, learning_rate=0.02, table_rate=0.05)  # else the linear model alone
    made = learn(*sides, recipe.change(beside={"textcnn": {"filters": 16}}), lambda event: None)
    assert made.network == "bilstm + textcnn"
    found = shrink(made, sides[1].texts, sides[1].sets, 62_000)
    assert found.measure == "micro-F1"
    assert any(each.network.startswith("2 networks: ") for each in found.candidates)
    assert total(found.bundle) <= 62_000 < total(made)
    predictor = Predictor(found.bundle)
    assert predictor.several
    assert predictor.verify() == 0.0
    assert {len(answer) for answer in predictor.predict(sides[1].texts)} & {1, 2}
