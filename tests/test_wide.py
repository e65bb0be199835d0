from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer

from fenlei import ngrams, text
from fenlei.learn import Labelled
from fenlei.ngrams import NgramTable
from fenlei.streams import TokenBatch, Tokens
from fenlei.wide import Counts, Tally, Wide

Sets = tuple[Labelled, Labelled]


def batch_of(texts: list[str]) -> TokenBatch:
    normal = [text.normalize(each) for each in texts]
    return TokenBatch.join(normal, [text.words(each) for each in normal])


def build(batches: Iterable[TokenBatch], views: list[tuple[str, int]], min_count: int, max_size: int) -> Wide:
    counts = Counts(views)
    for batch in batches:
        counts.add(batch)
    return counts.wide(min_count, max_size)


def columns_of(wide: Wide, grams: list[list[str]], salt: int) -> np.ndarray:
    """The row of each n-gram, given as its tokens."""
    hashes = [ngrams.hash_ngrams(Tokens.of([g]).hashes, np.array([0, len(g)]), len(g), salt)[0] for g in grams]
    return wide.table.rows(np.concatenate(hashes))


def dense(wide: Wide, texts: list[str]) -> np.ndarray:
    """The weights of every document, ``(B, V)``."""
    offsets, rows, values = wide.encode(batch_of(texts))
    out = np.zeros((len(texts), len(wide)))
    out[np.repeat(np.arange(len(texts)), np.diff(offsets)), rows] = values
    return out


def characters() -> tuple[TfidfVectorizer, Callable[[str], list[str]]]:
    return TfidfVectorizer(analyzer="char", ngram_range=(1, 3), lowercase=False, sublinear_tf=True, min_df=2), list


def words() -> tuple[TfidfVectorizer, Callable[[str], list[str]]]:
    peer = TfidfVectorizer(
        tokenizer=text.words, token_pattern=None, ngram_range=(1, 2), lowercase=False, sublinear_tf=True, min_df=2
    )
    return peer, str.split


@pytest.mark.parametrize("language", ["chinese", "english"])
@pytest.mark.parametrize(("view", "longest"), [("chars", 3), ("tokens", 2)])
def test_equals_scikit_learns_tfidf(view: str, longest: int, language: str, request: pytest.FixtureRequest) -> None:
    train, dev = request.getfixturevalue(language)
    edge = " " if view == "chars" else ""
    fitted = [edge + text.normalize(each) + edge for each in train.texts]
    asked = [edge + text.normalize(each) + edge for each in dev.texts]
    peer, cut = characters() if view == "chars" else words()
    peer.fit(fitted)
    wide = build([batch_of(list(train.texts))], [(view, longest)], 2, 10**6)

    grams = peer.get_feature_names_out()
    columns = columns_of(wide, [cut(gram) for gram in grams], 0)
    assert sorted(columns.tolist()) == list(range(1, len(wide)))  # one row each: a permutation
    np.testing.assert_allclose(wide.idf[columns - 1], peer.idf_, rtol=1e-6)
    np.testing.assert_allclose(dense(wide, list(dev.texts))[:, columns], peer.transform(asked).toarray(), atol=1e-6)


def test_each_view_has_length_one_and_rows_of_its_own(chinese: Sets) -> None:
    texts = list(chinese[0].texts)
    views = [("chars", 3), ("jieba", 2)]
    wide = build([batch_of(texts)], views, 2, 10**6)
    both = dense(wide, texts)
    np.testing.assert_allclose(np.linalg.norm(both, axis=1), np.sqrt(2), rtol=1e-6)
    alone = [len(build([batch_of(texts)], [view], 2, 10**6)) - 1 for view in views]
    assert len(wide) - 1 == sum(alone)


def test_a_document_without_known_ngrams_has_row_zero_with_weight_zero() -> None:
    wide = build([batch_of(["aa bb", "aa bb"])], [("tokens", 1)], 2, 100)
    offsets, rows, values = wide.encode(batch_of(["zz", "aa", "", "qq aa"]))
    assert offsets.tolist() == [0, 1, 2, 3, 4]
    assert rows[[0, 2]].tolist() == [0, 0]
    assert values.tolist() == [0, 1, 0, 1]


def test_no_ngrams_at_all_is_a_table_of_one_row() -> None:
    wide = build([batch_of(["", "one"])], [("tokens", 2)], 2, 100)
    assert len(wide) == 1
    assert wide.encode(batch_of(["one two"]))[1].tolist() == [0]


def test_a_document_is_the_same_to_the_bit_alone_and_in_a_batch(
    chinese: Sets, jumble: Callable[[int, int, int], list[str]], hostile: list[str]
) -> None:
    wide = build([batch_of(list(chinese[0].texts))], [("chars", 3), ("tokens", 2), ("jieba", 2)], 1, 10**6)
    texts = [*jumble(0, 60, 80), *hostile, *chinese[1].texts]
    offsets, rows, values = wide.encode(batch_of(texts))
    assert values.dtype == np.float32
    for number, each in enumerate(texts):
        part = slice(offsets[number], offsets[number + 1])
        _, own_rows, own_values = wide.encode(batch_of([each]))
        np.testing.assert_array_equal(rows[part], own_rows)
        np.testing.assert_array_equal(values[part], own_values)


def test_counting_does_not_depend_on_the_batches(chinese: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = list(chinese[0].texts)
    whole = build([batch_of(texts)], [("chars", 2), ("jieba", 1)], 2, 300)
    monkeypatch.setattr(Tally, "LIMIT", 50)
    parts = build((batch_of([each]) for each in texts), [("chars", 2), ("jieba", 1)], 2, 300)
    np.testing.assert_array_equal(whole.table.hashes, parts.table.hashes)
    np.testing.assert_array_equal(whole.idf, parts.idf)
    assert len(whole) == 301


@given(st.lists(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 5), max_size=15), max_size=12), st.integers(0, 20))
def test_tally_equals_a_counter(parts: list[list[int]], limit: int) -> None:
    tally = Tally()
    tally.LIMIT = limit  # type: ignore[misc]
    for part in parts:
        tally.add(np.array(part, np.uint64))
    expected = Counter(value for part in parts for value in part)
    for _ in range(2):  # asking does not change the answer
        hashes, counts = tally.total()
        assert hashes.dtype == np.uint64
        assert list(zip(hashes.tolist(), counts.tolist(), strict=True)) == sorted(expected.items())


def test_a_count_past_what_four_bytes_hold_stays_at_the_most() -> None:
    tally, hashes = Tally(), np.array([3, 7], np.uint64)
    for _ in range(3):
        tally.add(hashes, np.array([2**31, 1]))
        tally.total()
    assert tally.total()[1].tolist() == [2**32 - 1, 3]
    tally = Tally()
    for _ in range(3):
        tally.add(hashes, np.array([2**31, 1]))
    assert tally.total()[1].tolist() == [2**32 - 1, 3]


def test_keep_drops_the_other_rows(chinese: Sets) -> None:
    texts = list(chinese[0].texts)
    wide = build([batch_of(texts)], [("chars", 2)], 2, 10**6)
    rows = np.arange(1, len(wide), 3)
    pruned = wide.keep(rows)
    np.testing.assert_array_equal(pruned.table.hashes, wide.table.hashes[rows - 1])
    kept, before = dense(pruned, texts)[:, 1:], dense(wide, texts)[:, rows]
    np.testing.assert_allclose(kept, before / np.maximum(np.linalg.norm(before, axis=1, keepdims=True), 1e-12), 1e-5)


def test_settings_and_tables_restore_the_road(chinese: Sets) -> None:
    wide = build([batch_of(list(chinese[0].texts))], [("chars", 3), ("jieba", 2)], 2, 10**6)
    again = Wide.restore(wide.settings(), wide.tables())
    assert again.views == wide.views
    for one, other in zip(wide.encode(batch_of(["北京消息"])), again.encode(batch_of(["北京消息"])), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_unknown_view_is_refused() -> None:
    tables = {"wide.hashes": NgramTable(np.zeros(0, np.uint64)).hashes, "wide.idf": np.zeros(0, np.float32)}
    with pytest.raises(ValueError, match="'bytes'; this fenlei has chars, tokens, jieba"):
        Wide.restore({"views": [["bytes", 3]]}, tables)


@pytest.mark.parametrize("idf", [np.ones(1, np.float32), np.ones((2, 1), np.float32)])
def test_a_road_with_a_frequency_too_few_is_refused(idf: np.ndarray) -> None:
    tables = {"wide.hashes": np.array([3, 9], np.uint64), "wide.idf": idf}
    with pytest.raises(ValueError, match="2 n-grams have document frequencies of shape"):
        Wide.restore({"views": [["chars", 2]]}, tables)
