"""Texts as numbers: the same in memory, in files, from the cache, and however many processes made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import HOSTILE

from fenlei import memory, numbering, preparing, workers
from fenlei.auto import decide
from fenlei.bundle import Bundle
from fenlei.cache import Cache
from fenlei.corpus import Document
from fenlei.corpus.store import Column, Store, write
from fenlei.learn import Labelled, Note, learn, take
from fenlei.pipeline import Encoded, Ragged
from fenlei.preparing import Prepared, affordable, characters, prepare, sample_for
from fenlei.recipe import Recipe

Sets = tuple[Labelled, Labelled]


def open_recipe(texts: Sequence[str], **settings: Any) -> Recipe:
    return decide(texts, Recipe(min_count=1, stream_min_count=1).change(**settings), lambda _: None)


def assert_equal(one: Encoded | None, other: Encoded | None) -> None:
    assert one is not None
    assert other is not None
    assert one.columns.keys() == other.columns.keys()
    pairs = [(one.columns[name], other.columns[name]) for name in one.columns]
    assert (one.sentences is None) == (other.sentences is None)
    if one.sentences is not None and other.sentences is not None:
        pairs.append((one.sentences, other.sentences))
    for left, right in pairs:
        np.testing.assert_array_equal(left.values, right.values)
        np.testing.assert_array_equal(left.offsets, right.offsets)
    assert one.shortened == other.shortened
    rows = np.arange(len(one))[::3]
    expected, found = one.batch(rows, 4), other.batch(rows, 4)
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def assert_same(one: Prepared, other: Prepared) -> None:
    assert one.pipeline.vocab.items() == other.pipeline.vocab.items()
    assert one.pipeline.settings() == other.pipeline.settings()
    for name, table in one.pipeline.tables().items():
        assert other.pipeline.tables()[name].dtype == table.dtype
        np.testing.assert_array_equal(other.pipeline.tables()[name], table)
    assert_equal(one.train, other.train)
    assert_equal(one.dev, other.dev)
    assert (one.sampled is None) == (other.sampled is None)
    if one.sampled is not None and other.sampled is not None:
        assert_equal(one.sampled, other.sampled)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few texts are work enough for worker processes."""
    monkeypatch.setattr(workers, "CHUNK_TEXTS", 17)
    monkeypatch.setattr(workers, "POOL_CHARS", 200)


@pytest.mark.parametrize(
    "settings",
    [{}, {"max_length": 5}, {"model": "han", "sentence_length": 3}, {"wide": False}, {"tokenizer": "jieba"}],
    ids=str,
)
@pytest.mark.parametrize("sampled", [False, True])
def test_the_numbers_are_the_same_however_they_are_made(
    chinese: Sets, tmp_path: Path, small: None, settings: dict[str, Any], sampled: bool
) -> None:
    train, dev = [*chinese[0].texts, *HOSTILE], list(chinese[1].texts)
    recipe = open_recipe(train, **settings)
    sample = np.arange(0, len(train), 3) if sampled else None
    expected = prepare(train, dev, recipe, 3, sample, processes=1)
    assert_equal(expected.dev, expected.pipeline.encode(dev))
    assert ("ngrams" in expected.train.columns) == (recipe.wide and not sampled)
    with Cache(tmp_path) as cache:
        for processes in (2, 1):  # the second finds what the first made
            assert_same(expected, prepare(train, dev, recipe, 3, sample, cache, processes))
            assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("sampled", [False, True])
def test_texts_without_labels_are_counted_and_encoded_beside(chinese: Sets, tmp_path: Path, sampled: bool) -> None:
    train, dev = (list(side.texts) for side in chinese)
    recipe, others = open_recipe(train), ["龘龘新的词语", "", *HOSTILE]
    sample = np.arange(0, len(train), 3) if sampled else None
    expected = prepare(train, dev, recipe, 3, sample, unlabelled=others)
    assert "龘" in expected.pipeline.vocab.tokens
    assert "龘" not in prepare(train, dev, recipe, 3, sample).pipeline.vocab.tokens
    assert len(expected.train) == len(train)
    assert_equal(expected.unlabelled, expected.pipeline.encode(others))
    with Cache(tmp_path) as cache:
        for found in (False, True):
            again = prepare(train, dev, recipe, 3, sample, cache, unlabelled=others)
            assert again.found == found
            assert_same(expected, again)
            assert_equal(expected.unlabelled, again.unlabelled)


def test_files_hold_the_smallest_type_that_fits(chinese: Sets, tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        found = prepare(*(side.texts for side in chinese), open_recipe(chinese[0].texts), 3, None, cache)
    kinds = {name: column.values.dtype for name, column in found.train.columns.items()}
    assert kinds["ids"] == np.uint8
    assert len(found.pipeline.wide or ()) > 256
    assert (kinds["ngrams"], kinds["ngram_values"]) == (np.uint16, np.float32)
    assert not found.train.columns["ids"].values.flags.writeable
    assert isinstance(found.train.columns["ids"], Ragged)


def test_other_texts_or_settings_are_prepared_again(chinese: Sets, tmp_path: Path) -> None:
    train, dev = (list(side.texts) for side in chinese)
    recipe = open_recipe(train)
    words = tmp_path / "words"
    words.write_text("的\n")
    name = preparing.name_of(train, dev, recipe, 3, None)
    others = [
        preparing.name_of([*train[:-1], "x"], dev, recipe, 3, None),
        preparing.name_of(train[::-1], dev, recipe, 3, None),
        preparing.name_of(train, dev[1:], recipe, 3, None),
        preparing.name_of(train, dev, recipe, 3, np.arange(4)),
        preparing.name_of(train, dev, recipe, 3, None, train),
        preparing.name_of(train, dev, recipe, 3, None, train[1:]),
        preparing.name_of(train, dev, recipe.change(stop_words=str(words)), 3, None),
        preparing.name_of(train, dev, recipe.change(model="han"), 3, None),
        preparing.name_of(train, dev, recipe.change(wide=False), 3, None),
        preparing.name_of(train, dev, recipe.change(ngram_max_size=5), 3, None),
        *(preparing.name_of(train, dev, recipe.change(**{field: 7}), 3, None) for field in ("min_count", "max_length")),
    ]
    assert len({name, *others}) == len(others) + 1
    same = recipe.change(seed=5, epochs=9, learning_rate=1.0, model="lstm")
    assert preparing.name_of(train, dev, same, 3, None) == name


def test_a_full_disk_costs_the_cache_only(chinese: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, dev = (list(side.texts) for side in chinese)
    recipe = open_recipe(train)
    expected = prepare(train, dev, recipe, 3)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fenlei.cache.Draft.finish", full)
    with Cache(tmp_path) as cache:
        assert_same(expected, prepare(train, dev, recipe, 3, None, cache))
        assert not list(tmp_path.iterdir())
        monkeypatch.setattr(preparing, "LARGE", 100)
        with pytest.raises(OSError, match="No space left"):
            prepare(train, dev, recipe, 3, None, cache)
    assert not list(tmp_path.iterdir())


def test_without_a_cache_only_large_corpora_are_in_files(chinese: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    train, dev = (list(side.texts) for side in chinese)
    recipe = open_recipe(train)
    expected = prepare(train, dev, recipe, 3)
    with Cache.temporary() as cache:
        assert_same(expected, prepare(train, dev, recipe, 3, None, cache))
        assert not list(cache.folder.iterdir())
        monkeypatch.setattr(preparing, "LARGE", 100)
        found = prepare(train, dev, recipe, 3, None, cache)
        assert_same(expected, found)
        assert not found.found
        assert found.train.columns["ids"].values.dtype == np.uint8
        assert len(list(cache.folder.iterdir())) == 1


def test_no_texts_are_refused(chinese: Sets, tmp_path: Path) -> None:
    road = prepare(*(side.texts for side in chinese), open_recipe(chinese[0].texts), 3).pipeline
    with pytest.raises(ValueError, match="at least one text"):
        numbering.encode(road, [])
    with Cache(tmp_path) as cache, pytest.raises(ValueError, match="at least one text"):
        numbering.file(road, [], cache.draft("numbers-" + "0" * 64), "train")


def test_of_many_texts_the_linear_model_gets_what_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["x" * 100] * 5000
    recipe = Recipe(views=(("chars", 3), ("jieba", 2)))
    assert affordable(texts, recipe) is None
    monkeypatch.setattr(preparing, "LARGE", 1000)
    monkeypatch.setattr(memory, "limit", lambda: preparing.BESIDE + 3 * 48 * 5 * 100 * 2000)
    assert affordable(texts, recipe) == 2000
    monkeypatch.setattr(memory, "limit", lambda: 1)
    assert affordable(texts, recipe) == preparing.LEAST
    assert sample_for(texts, recipe) is None
    assert sample_for(texts, recipe.change(linear_documents=5000)) is None
    found = sample_for(texts, recipe.change(linear_documents=60, seed=3))
    assert found is not None
    assert len(set(found.tolist())) == 60
    np.testing.assert_array_equal(found, np.sort(found))
    np.testing.assert_array_equal(found, sample_for(texts, recipe.change(linear_documents=60, seed=3)))
    assert memory.limit() > 0


def test_characters_of_a_store_are_told_from_its_bytes(tmp_path: Path) -> None:
    texts = [f"今天的消息{n}" for n in range(500)]
    with Cache(tmp_path) as cache:
        draft = cache.draft("corpus-" + "0" * 64)
        sets = write([Document(text, "a", "") for text in texts], draft)
        found = characters(Store.over(draft, sets).texts)
    assert found == pytest.approx(sum(map(len, texts)), rel=0.01)


def told(bundle: Bundle) -> dict[str, Any]:
    """All of a bundle but the times."""
    parts = {field.name: getattr(bundle, field.name) for field in fields(bundle)}
    scores = {name: value for name, value in parts["scores"].items() if name not in ("seconds", "epochs")}
    weights = {name: (value.dtype, value.tobytes()) for name, value in parts["weights"].items()}
    tables = {name: (value.dtype, value.tobytes()) for name, value in parts["tables"].items()}
    return parts | {"scores": scores, "weights": weights, "tables": tables}


def test_the_bundle_is_the_same_from_lists_files_and_the_cache(
    chinese: Sets, tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(model="lstm", epochs=2, branches=1, min_count=1, stream_min_count=1, embedding_size=16)
    expected = told(learn(*chinese, recipe, lambda _: None))
    with Cache(tmp_path) as cache:
        sides = []
        for number, side in enumerate(chinese):
            draft = cache.draft(f"corpus-{number:064}")
            labels = [str(label) for label in side.labels]
            pairs = zip(side.texts, labels, strict=True)
            sets = write((Document(text, label, "") for text, label in pairs), draft)
            store = Store.over(draft, sets)
            sides.append(Labelled(store.texts, Column([found[0] for found in sets], store.codes)))
        for _ in range(2):
            assert told(learn(*sides, recipe, lambda _: None, store=cache)) == expected
            assert told(learn(*chinese, recipe, lambda _: None, store=cache)) == expected
    assert len([path for path in tmp_path.iterdir() if path.name.startswith("numbers-")]) == 1


def test_the_linear_model_learns_from_the_documents_of_the_lot(
    chinese: Sets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(model="lstm", epochs=1, branches=1, min_count=1, embedding_size=16)
    said: list[str] = []
    chosen = recipe.change(linear_documents=60)

    def watch(event: Any) -> None:
        if isinstance(event, Note):
            said.append(event.sentence)

    bundle = learn(*chinese, chosen, watch)
    assert any("the linear model learns from 60 of 120 documents, drawn by lot" in each for each in said)
    assert bundle.recipe["linear_documents"] == 60
    with Cache(tmp_path) as cache:
        for _ in range(2):
            assert told(learn(*chinese, chosen, lambda _: None, store=cache)) == told(bundle)
    alone = Recipe(model=None, min_count=1, linear_documents=60)
    places = sample_for(chinese[0].texts, alone)
    assert places is not None
    part = take(chinese[0], places.tolist())
    drawn, given = (
        learn(side, chinese[1], settings, lambda _: None)
        for side, settings in ((chinese[0], alone), (part, alone.change(linear_documents=None)))
    )
    assert drawn.scores["dev"] == given.scores["dev"]
    assert told(drawn)["weights"] == told(given)["weights"]
