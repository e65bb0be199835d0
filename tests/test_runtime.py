from __future__ import annotations

import dataclasses
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from fenlei import pipeline as road
from fenlei import runtime
from fenlei.bundle import ALONE, ONE_BY_ONE, Bundle
from fenlei.decisions import Decisions, Rule
from fenlei.export import probabilities
from fenlei.learn import Labelled, learn
from fenlei.models import ENCODERS, Classifier, encoder_options, restore
from fenlei.recipe import Recipe
from fenlei.runtime import Predictor

Sets = tuple[Labelled, Labelled]
Jumble = Callable[[int, int, int], list[str]]


@pytest.fixture(scope="module")
def predictor(bundle: Bundle) -> Predictor:
    return Predictor(bundle)


def rebuild(bundle: Bundle) -> Classifier:
    """The torch model whose weights the bundle holds."""
    return restore(bundle, Predictor(bundle).pipeline.stream_sizes())


VARIANTS = {
    "both branches": {"options": {"hidden_size": 20}},
    "mean": {"options": {"hidden_size": 9, "pooling": ("mean",)}, "wide": False},
    "attention": {"options": {"hidden_size": 9, "pooling": ("attention",)}, "wide": False},
    "wide only": {"model": None, "options": {}},
    "words": {"tokenizer": "words"},
    "three networks": {"branches": 3},
}
for name in ENCODERS:
    small = {"hidden_size": 20} if "hidden_size" in encoder_options(name) else {}
    VARIANTS[name] = {"model": name, "options": small, "wide": False, "embedding_size": 40}


@pytest.mark.parametrize("threads", [None, 2])
@pytest.mark.parametrize("variant", VARIANTS)
def test_an_answer_does_not_depend_on_the_texts_beside_it(
    variant: str, threads: int | None, chinese: Sets, tiny: Recipe, jumble: Jumble, hostile: list[str]
) -> None:
    predictor = Predictor(learn(*chinese, tiny.change(epochs=1, **VARIANTS[variant]), lambda event: None), threads)
    short = [text[:50] for text in hostile]
    texts = [*jumble(0, 120, 40), *jumble(1, 40, 300), *short, *chinese[1].texts]
    together = predictor.predict_proba(texts)
    alone = np.concatenate([predictor.predict_proba([text]) for text in texts])
    np.testing.assert_array_equal(together, alone)
    backwards = predictor.predict_proba(texts[::-1])[::-1]
    np.testing.assert_array_equal(together, backwards)
    np.testing.assert_array_equal(together[:37], predictor.predict_proba(texts[:37]))


def test_the_runtime_answers_as_the_torch_model(bundle: Bundle, predictor: Predictor, jumble: Jumble) -> None:
    texts = [*jumble(2, 900, 30), *jumble(3, 100, 200)]
    model = rebuild(bundle)
    parts = [probabilities(model, predictor.pipeline(texts[start : start + 50])) for start in range(0, 1000, 50)]
    worst = np.abs(np.concatenate(parts) - predictor.predict_proba(texts)).max()
    assert worst <= 1e-5


def test_probabilities_are_distributions_over_the_labels(
    predictor: Predictor, chinese: Sets, hostile: list[str]
) -> None:
    found = predictor.predict_proba([*chinese[1].texts, *hostile])
    assert found.shape == (len(chinese[1].texts) + len(hostile), 3)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    assert predictor.labels == ["体育", "科技", "财经"]


def test_predict_names_the_likeliest_label(predictor: Predictor, chinese: Sets) -> None:
    found = predictor.predict(chinese[1].texts)
    best = predictor.predict_proba(chinese[1].texts).argmax(1)
    assert found == [predictor.labels[place] for place in best]
    assert np.mean([one == other for one, other in zip(found, chinese[1].labels, strict=True)]) > 0.9


def test_no_texts_give_no_rows(predictor: Predictor) -> None:
    assert predictor.predict_proba([]).shape == (0, 3)
    assert predictor.predict_proba(iter([])).dtype == np.float32
    assert predictor.predict([]) == []
    assert list(predictor.answer([])) == []


@pytest.mark.parametrize("text", ["one text", b"bytes"])
def test_one_string_is_no_list(predictor: Predictor, text: str) -> None:
    with pytest.raises(TypeError, match=rf"got one {type(text).__name__}: put it into a list"):
        predictor.predict_proba(text)
    with pytest.raises(TypeError, match="put it into a list"):
        list(predictor.answer(text))


def test_names_of_columns_are_not_taken_for_texts(predictor: Predictor) -> None:
    with pytest.raises(ValueError, match="got 2 of them: pass the one column of texts"):
        predictor.predict(np.array([["a"], ["b"]]))
    for call in (predictor.predict, predictor.predict_proba, lambda texts: list(predictor.answer(texts))):
        with pytest.raises(TypeError, match="expected a sequence of texts, such as a list, got dict"):
            call({"text": ["a"], "label": ["b"]})  # type: ignore[operator]


def test_a_predictor_is_pickled_as_its_folder_or_with_its_bundle(
    bundle: Bundle, predictor: Predictor, chinese: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = Predictor(bundle.save("model"), threads=2)
    assert len(pickle.dumps(loaded)) < 1000
    monkeypatch.chdir("/")
    for one in (loaded, predictor):
        copy = pickle.loads(pickle.dumps(one))
        assert copy._threads == one._threads
        np.testing.assert_array_equal(copy.predict_proba(chinese[1].texts), predictor.predict_proba(chinese[1].texts))
    data = pickle.dumps(loaded)
    shutil.rmtree(tmp_path / "model")
    with pytest.raises(FileNotFoundError, match=r"there is no bundle at .*model"):
        pickle.loads(data)


@pytest.mark.parametrize("intruder", [None, float("nan"), 3, b"x", ["x"]])
def test_what_is_no_text_is_named_with_its_number(predictor: Predictor, intruder: object) -> None:
    texts = ["a", "b", intruder]
    with pytest.raises(TypeError, match=r"text number 2 is .* of type \w+, expected str"):
        predictor.predict_proba(texts)  # type: ignore[arg-type]


def test_answer_equals_predict_proba(predictor: Predictor, chinese: Sets) -> None:
    answers = list(predictor.answer(chinese[1].texts, Rule(top=2)))
    found = predictor.predict_proba(chinese[1].texts)
    for answer, row in zip(answers, found, strict=True):
        order = np.argsort(-row, kind="stable")[:2]
        assert answer.labels == tuple(predictor.labels[place] for place in order)
        assert answer.probabilities == tuple(row[order].tolist())
    assert [answer.labels[0] for answer in predictor.answer(chinese[1].texts)] == predictor.predict(chinese[1].texts)


def test_answer_gives_at_most_all_labels(predictor: Predictor) -> None:
    assert len(next(predictor.answer(["北京"], Rule(top=99))).labels) == 3


def test_stream_reads_a_bounded_way_ahead(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(road, "CHUNK_TEXTS", 16)
    taken = []

    def endless() -> Iterator[str]:
        while True:
            taken.append(1)
            yield "今天比赛"

    answers = predictor.answer(endless())
    for number in range(100):
        next(answers)
        assert number < len(taken) <= number + 2 * 16


def test_several_threads_share_one_predictor(predictor: Predictor, jumble: Jumble) -> None:
    texts = jumble(4, 400, 60)
    parts = [texts[start : start + 10] for start in range(0, 400, 10)] * 3
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(predictor.predict_proba, parts))
    expected = predictor.predict_proba(texts)
    np.testing.assert_array_equal(np.concatenate(found), np.concatenate([expected] * 3))


def test_a_saved_folder_answers_the_same(bundle: Bundle, predictor: Predictor, chinese: Sets, tmp_path: Path) -> None:
    folder = bundle.save(tmp_path / "saved")
    for place in (folder, str(folder)):
        np.testing.assert_array_equal(
            Predictor(place).predict_proba(chinese[1].texts), predictor.predict_proba(chinese[1].texts)
        )


def test_a_loaded_bundle_answers_without_its_graph_being_made_whole(bundle: Bundle, tmp_path: Path) -> None:
    loaded = Bundle.load(bundle.save(tmp_path / "saved"))
    predictor = Predictor(loaded)
    assert predictor.verify() == 0.0
    assert predictor.look("比赛进球").keys() == Predictor(bundle).look("比赛进球").keys()
    assert loaded.digest() == bundle.digest()
    assert "graph" not in vars(loaded)
    assert loaded.graph == bundle.graph
    assert "graph" in vars(loaded)


@pytest.mark.parametrize(
    ("model", "facts", "steps", "fewest"),
    [("mingru", {ONE_BY_ONE, ALONE}, 1, 1), ("bilstm", {ONE_BY_ONE}, 1, 2), ("textcnn", set(), 8, 2)],
)
def test_a_graph_of_an_older_fenlei_is_padded_as_ever(
    model: str, facts: set[str], steps: int, fewest: int, chinese: Sets, tiny: Recipe
) -> None:
    bundle = learn(*chinese, tiny.change(epochs=1, model=model, options={}), lambda event: None)
    graph = onnx.load_from_string(bundle.graph)
    read = {"read.0"} if model == "mingru" else set()
    assert {each.key for each in graph.metadata_props} == facts | {"embedded.0", "weighed.0"} | read
    newer = Predictor(bundle)
    assert (newer._steps, newer._fewest) == (steps, fewest)
    del graph.metadata_props[:]
    older = Predictor(dataclasses.replace(bundle, graph=graph.SerializeToString()))
    assert (older._steps, older._fewest) == (runtime.GROUP, runtime.FEWEST_ROWS)
    texts = [*chinese[1].texts, "", "球"]
    np.testing.assert_allclose(older.predict_proba(texts), newer.predict_proba(texts), rtol=0, atol=1e-6)


def test_golden_inputs_are_answered_to_the_bit(predictor: Predictor, chinese: Sets) -> None:
    assert [text for text, _ in predictor.bundle.golden] == list(chinese[1].texts[: len(predictor.bundle.golden)])
    assert predictor.verify() == 0.0


def test_verify_finds_a_changed_weight(bundle: Bundle) -> None:
    model = onnx.load_from_string(bundle.graph)
    matrix = max(model.graph.initializer, key=lambda each: len(each.raw_data))
    matrix.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(matrix), matrix.name))
    changed = dataclasses.replace(bundle, graph=model.SerializeToString())
    with pytest.raises(ValueError, match=r"golden inputs are answered differently here, by up to [01]"):
        Predictor(changed).verify()


def test_a_bundle_without_golden_inputs_verifies(bundle: Bundle) -> None:
    assert Predictor(dataclasses.replace(bundle, golden=[])).verify() == 0.0


def test_ids_past_a_table_are_refused_before_the_graph_sees_them(bundle: Bundle) -> None:
    longer = dataclasses.replace(bundle, vocab=[*bundle.vocab, *((f"new{n}", 1) for n in range(9))])
    with pytest.raises(ValueError, match=r"model\.onnx says of 'embedded\.0' what cannot be: .*ids\.table\.weight"):
        Predictor(longer)
    predictor = Predictor(bundle)
    encoded = predictor.pipeline.encode(["今天"])
    predictor._check(encoded)
    ids = encoded.columns["ids"]
    for bad in (len(bundle.vocab) + 2, -1):
        columns = encoded.columns | {"ids": ids._replace(values=np.full_like(ids.values, bad))}
        with pytest.raises(ValueError, match=f"ids of 'ids' must lie in 0 to {len(bundle.vocab) + 1}"):
            predictor._check(dataclasses.replace(encoded, columns=columns))
    for offsets in (np.zeros(1, np.int64), np.array([0, 0, 2])):
        columns = encoded.columns | {"ids": ids._replace(offsets=offsets)}
        with pytest.raises(ValueError, match="every row needs at least one token"):
            predictor._check(dataclasses.replace(encoded, columns=columns))


@pytest.mark.parametrize("lengths", [[1], [5000], [1, 2, 3], [1] * 1000, [4000, 1, 1, 300, 20, 1024] * 20])
def test_batches_hold_every_row_once_within_bounds(lengths: list[int]) -> None:
    offsets = np.cumsum([0, *lengths])
    encoded = road.Encoded({"ids": road.Ragged(np.ones(offsets[-1], np.int64), offsets)})
    batches = list(runtime._batches(encoded))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for rows in batches:
        longest = encoded.lengths[rows].max()
        assert len(rows) <= runtime.BATCH_TEXTS
        assert len(rows) == 1 or len(rows) * longest <= runtime.BATCH_TOKENS


BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "sklearn", "scipy", "onnx"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
from fenlei.runtime import Predictor

predictor = Predictor(sys.argv[1])
assert predictor.verify() <= 1e-4
print(predictor.predict(["球队比赛进球", "股票基金上涨"]), len(predictor.predict_proba([])))
"""


def test_the_runtime_works_where_torch_and_its_kind_cannot_be_imported(bundle: Bundle, tmp_path: Path) -> None:
    folder = bundle.save(tmp_path / "saved")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCKED, str(folder)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        timeout=100,
    )
    assert done.stderr == ""
    assert done.stdout == "['体育', '财经'] 0\n"


def plainly(predictor: Predictor, row: np.ndarray, rule: Rule) -> tuple[tuple[str, ...], tuple[float, ...], bool]:
    """One text's answer by the rule's own words."""
    cutoffs = predictor.decisions.cutoffs(predictor.labels, rule)
    ranking = sorted(range(len(row)), key=lambda place: (-row[place], place))
    enough = [place for place in ranking if row[place] >= cutoffs[place]]
    if rule.top is not None:
        places = [p for p in ranking[: rule.top] if rule.threshold is None or row[p] >= np.float32(rule.threshold)]
    else:
        places = enough if predictor.several else [place for place in ranking[:1] if place in enough]
    unknown = not enough if predictor.several else ranking[0] not in enough
    return tuple(predictor.labels[p] for p in places), tuple(float(row[p]) for p in places), unknown


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("most", [1, 7, 1 << 20])
@given(data=st.data())
def test_answers_are_what_the_rule_says(predictor: Predictor, several: bool, most: int, data: st.DataObject) -> None:
    size = len(predictor.labels)
    shares = st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.75, 1.0])
    rows = data.draw(st.lists(st.lists(shares, min_size=size, max_size=size), max_size=9))
    rule = Rule(top=data.draw(st.none() | st.integers(1, size + 1)), threshold=data.draw(st.none() | shares))
    limits = dict(zip(predictor.labels, data.draw(st.lists(shares, min_size=size, max_size=size)), strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor, "decisions", Decisions(several, thresholds=limits if several else {}))
        patch.setattr(predictor, "several", several)
        patch.setattr(runtime, "MOST_RANKED", most)
        found = predictor.decide(np.array(rows, np.float32).reshape(-1, size), rule)
        assert found == [plainly(predictor, row, rule) for row in np.array(rows, np.float32)]
