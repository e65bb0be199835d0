from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from fenlei import linear, pipeline, text
from fenlei.auto import decide
from fenlei.counting import build_pipeline
from fenlei.learn import Labelled
from fenlei.pipeline import Pipeline
from fenlei.recipe import Recipe
from fenlei.vocab import RESERVED, UNK

Sets = tuple[Labelled, Labelled]
TEXTS = ["the cat sat", "the cat ran", "The  dog RAN", "", "a ｃａｔ"]
PLAIN = Recipe(tokenizer="words", streams=(), views=(("tokens", 1),), wide=False, min_count=1)


def tokens(road: Pipeline) -> set[str]:
    return set(road.vocab.tokens)


def open_recipe(texts: list[str], recipe: Recipe) -> Recipe:
    return decide(texts, recipe, lambda sentence: None)


def test_the_vocabulary_counts_every_token_as_the_tokenizer_cuts_it() -> None:
    found = build_pipeline(TEXTS, PLAIN, 2).vocab
    expected = Counter(["the", "cat", "sat", "the", "cat", "ran", "the", "dog", "ran", "a", "cat"])
    assert dict(found.items()) == expected
    assert list(found.tokens[:2]) == ["cat", "the"]


def test_the_tokenizers_settings_are_the_recipes(tmp_path: Path) -> None:
    assert {"The", "RAN", "ｃａｔ"} <= tokens(build_pipeline(TEXTS, PLAIN.change(lower=False, nfkc=False), 2))
    (tmp_path / "stop.txt").write_text("the\na\n", encoding="utf-8")
    (tmp_path / "user.txt").write_text("云南好茶\n", encoding="utf-8")
    stopped = build_pipeline(TEXTS, PLAIN.change(stop_words=str(tmp_path / "stop.txt")), 2)
    assert tokens(stopped) == {"cat", "sat", "ran", "dog"}
    named = build_pipeline(["云南好茶"], PLAIN.change(tokenizer="jieba", user_words=str(tmp_path / "user.txt")), 2)
    assert tokens(named) == {"云南好茶"}


@pytest.mark.parametrize("name", ["chars", "words"])
def test_tables_keep_their_limits(name: str, chinese: Sets) -> None:
    limits = {"min_count": 3, "max_size": 20, "stream_max_size": 15, "ngram_max_size": 50, "ngram_min_count": 3}
    recipe = open_recipe(chinese[0].texts, Recipe(tokenizer=name, **limits))
    road = build_pipeline(chinese[0].texts, recipe, 3)
    assert len(road.vocab.tokens) == 20
    assert min(road.vocab.counts) >= 3
    assert list(road.streams) == list(recipe.streams or ())
    assert set(map(len, road.streams.values())) == {16}
    assert road.wide is not None
    assert len(road.wide) == 51


def test_a_stream_holds_what_was_seen_often_enough() -> None:
    lists = [text.words(text.normalize(each)) for each in TEXTS]
    counts = Counter(pair for tokens in lists for pair in pairwise(tokens))
    road = build_pipeline(TEXTS, PLAIN.change(streams=("bigrams",), stream_min_count=2), 2)
    ids = road(TEXTS)["bigrams"]
    for row, found in zip(ids, lists, strict=True):
        known = [pair in counts and counts[pair] >= 2 for pair in pairwise(found)]
        assert [each > UNK for each in row[: len(known)]] == known
    assert road.stream_sizes()["bigrams"] >= ids.max() + 1


def test_every_stream_of_a_recipe_has_a_table(chinese: Sets) -> None:
    streams = ("bigrams", "trigrams", "covering_words", "prefixes", "suffixes")
    road = build_pipeline(chinese[0].texts, PLAIN.change(tokenizer="chars", streams=streams), 3)
    assert tuple(road.streams) == streams
    assert list(road.stream_sizes()) == ["ids", *streams]
    assert all(size > RESERVED for size in road.stream_sizes().values())


def test_the_linear_models_road_counts_the_recipes_views() -> None:
    recipe = PLAIN.change(wide=True, views=(("chars", 2), ("tokens", 3)), ngram_min_count=1)
    road = build_pipeline(TEXTS, recipe, 2)
    assert road.wide is not None
    assert road.wide.views == (("chars", 2), ("tokens", 3))
    assert build_pipeline(TEXTS, recipe.change(wide=False), 2).wide is None


def test_more_classes_mean_fewer_ngrams_and_at_last_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "MOST_CELLS", 12)
    monkeypatch.setattr(linear, "MOST_CLASSES", 4)
    recipe = PLAIN.change(wide=True, ngram_min_count=1)
    sizes = {classes: build_pipeline(TEXTS, recipe, classes).wide for classes in (2, 3, 4, 5)}
    assert {classes: wide and len(wide) - 1 for classes, wide in sizes.items()} == {2: 6, 3: 4, 4: 3, 5: None}


@pytest.mark.parametrize(("model", "expected"), [("han", 7), ("bilstm", 0), (None, 0)])
def test_only_an_encoder_that_reads_sentences_gets_them(model: str | None, expected: int) -> None:
    road = build_pipeline(TEXTS, PLAIN.change(model=model, wide=True, sentence_length=7, max_length=99), 2)
    assert road.sentence_length == expected
    assert road.max_length == 99


def test_the_size_of_the_batches_changes_nothing(chinese: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = open_recipe(chinese[0].texts, Recipe(min_count=1, stream_min_count=1))
    roads = [build_pipeline(chinese[0].texts, recipe, 3)]
    monkeypatch.setattr(pipeline, "CHUNK_TEXTS", 7)
    roads.append(build_pipeline(chinese[0].texts, recipe, 3))
    assert roads[0].vocab.items() == roads[1].vocab.items()
    assert roads[0].settings() == roads[1].settings()
    one, other = (road.tables() for road in roads)
    assert one.keys() == other.keys()
    for name, table in one.items():
        np.testing.assert_array_equal(table, other[name])
