from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenlei import ngrams
from fenlei.ngrams import NgramTable, hash_all_ngrams, hash_ngrams, hash_tokens, mix, most_frequent

WORD = 2**64
STEP = 0x9E3779B97F4A7C15
CHARACTERS = st.characters(exclude_categories=())  # lone surrogates too
TOKENS = st.text(CHARACTERS, min_size=1, max_size=6)
DOCUMENTS = st.lists(st.lists(TOKENS, max_size=7), min_size=1, max_size=6)


def plain_mix(x: int) -> int:
    x = (x + STEP) % WORD
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB % WORD
    return x ^ (x >> 31)


def plain_token(token: str) -> int:
    return plain_mix(sum(plain_mix(ord(c)) * pow(STEP, place, WORD) for place, c in enumerate(token, 1)) % WORD)


def plain_ngram(tokens: list[str], salt: int) -> int:
    first, *others = map(plain_token, tokens)
    value = plain_mix(first ^ plain_mix(salt * 64 + len(tokens)))
    for other in others:
        value = plain_mix((value * 3 + other) % WORD)
    return value


def hashes_of(tokens: list[str]) -> np.ndarray:
    points = np.array([ord(char) for token in tokens for char in token], np.uint32)
    return hash_tokens(points, np.array([len(token) for token in tokens], np.int64))


def offsets(documents: list[list[str]]) -> np.ndarray:
    return np.cumsum([0, *map(len, documents)])


def test_mix_is_the_published_splitmix64() -> None:
    # The generator's first three outputs from the seed 0: the states 0, STEP and 2 STEP, mixed.
    states = np.array([0, STEP, 2 * STEP % WORD], np.uint64)
    assert mix(states).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@given(st.lists(TOKENS, max_size=10))
def test_token_hashes_equal_the_formula(tokens: list[str]) -> None:
    assert hashes_of(tokens).tolist() == [plain_token(token) for token in tokens]


@given(DOCUMENTS, st.integers(1, 5), st.integers(0, 3))
def test_ngrams_equal_the_formula_and_stay_within_their_document(documents: list[list[str]], n: int, salt: int) -> None:
    flat = [token for tokens in documents for token in tokens]
    hashes, first = hash_ngrams(hashes_of(flat), offsets(documents), n, salt)
    expected, places = [], []
    for start, tokens in zip(offsets(documents), documents, strict=False):
        for place in range(len(tokens) - n + 1):
            expected.append(plain_ngram(tokens[place : place + n], salt))
            places.append(start + place)
    assert hashes.tolist() == expected
    assert first.tolist() == places


@given(DOCUMENTS, st.integers(1, 4), st.integers(0, 3))
def test_all_ngrams_are_those_of_every_length(documents: list[list[str]], longest: int, salt: int) -> None:
    tokens = hashes_of([token for tokens in documents for token in tokens])
    hashes, first = hash_all_ngrams(tokens, offsets(documents), longest, salt)
    each = [hash_ngrams(tokens, offsets(documents), n, salt) for n in range(1, longest + 1)]
    pairs = [pair for found in each for pair in zip(*(array.tolist() for array in found), strict=True)]
    assert sorted(zip(hashes.tolist(), first.tolist(), strict=True)) == sorted(pairs)


@given(DOCUMENTS, st.integers(1, 4))
def test_a_document_has_the_same_ngrams_alone_and_in_a_batch(documents: list[list[str]], n: int) -> None:
    flat = [token for tokens in documents for token in tokens]
    together = hash_ngrams(hashes_of(flat), offsets(documents), n)[0]
    alone = [hash_ngrams(hashes_of(tokens), offsets([tokens]), n)[0] for tokens in documents]
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_families_of_ngrams_do_not_meet() -> None:
    tokens = hashes_of(["a", "b", "ab", "a", "b"])
    families = [hash_ngrams(tokens, np.array([0, 5]), n, salt)[0] for n in (1, 2, 3) for salt in (0, 1, 2)]
    assert len(np.unique(np.concatenate(families))) == sum(len(np.unique(family)) for family in families)


def test_order_and_borders_of_tokens_matter() -> None:
    values = [plain_ngram(tokens, 0) for tokens in (["a", "b"], ["b", "a"], ["ab"], ["a", "a"], ["aa"], ["a"])]
    assert len(set(values)) == len(values)
    assert hashes_of(["a\x00", "a", "\x00a"]).tolist() == [plain_token(t) for t in ("a\x00", "a", "\x00a")]
    assert len({*hashes_of(["a\x00", "a", "\x00a"]).tolist()}) == 3


def test_a_million_characters_are_one_token() -> None:
    assert len(hashes_of(["龘" * 1_000_000, "b"])) == 2
    assert hashes_of(["龘" * 1_000_000, "b"])[1] == hashes_of(["b"])[0]


@given(st.sets(st.integers(0, WORD - 1), max_size=20), st.lists(st.integers(0, WORD - 1), max_size=20))
def test_table_rows_are_places_plus_one(known: set[int], others: list[int]) -> None:
    table = NgramTable(np.array(sorted(known), np.uint64))
    asked = [*known, *others]
    expected = [sorted(known).index(value) + 1 if value in known else 0 for value in asked]
    assert table.rows(np.array(asked, np.uint64)).tolist() == expected
    assert len(table) == len(known) + 1


@pytest.mark.parametrize("crowded", [0, 2, 16])
@pytest.mark.parametrize("size", [1, 2, 3, 1000, 30_000])
def test_a_table_of_any_size_finds_its_own(size: int, crowded: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngrams, "CROWDED", crowded)  # 0: always by halves
    known = np.unique(mix(np.arange(size, dtype=np.uint64)))
    table = NgramTable(known)
    np.testing.assert_array_equal(table.rows(known), np.arange(1, size + 1))
    others = np.concatenate(
        [known + np.uint64(1), known - np.uint64(1), mix(np.arange(size, 3 * size, dtype=np.uint64))]
    )
    expected = np.where(np.isin(others, known), np.searchsorted(known, others) + 1, 0)
    np.testing.assert_array_equal(table.rows(others), expected)


@pytest.mark.parametrize(
    "hashes",
    [np.array([2, 1], np.uint64), np.array([1, 1], np.uint64), np.array([1, 2]), np.zeros((1, 1), np.uint64)],
    ids=["falling", "repeated", "signed", "matrix"],
)
def test_a_table_needs_sorted_distinct_hashes(hashes: np.ndarray) -> None:
    with pytest.raises(ValueError, match="sorted, distinct uint64"):
        NgramTable(hashes)


@given(st.dictionaries(st.integers(0, WORD - 1), st.integers(1, 4), max_size=20), st.integers(1, 4), st.integers(1, 20))
def test_most_frequent_keeps_the_commonest_and_then_the_smallest(
    counted: dict[int, int], min_count: int, max_size: int
) -> None:
    hashes = np.array(sorted(counted), np.uint64)
    table, counts = most_frequent(hashes, np.array([counted[h] for h in sorted(counted)], int), min_count, max_size)
    kept = sorted((h for h in counted if counted[h] >= min_count), key=lambda h: (-counted[h], h))[:max_size]
    assert table.hashes.tolist() == sorted(kept)
    assert counts.tolist() == [counted[h] for h in sorted(kept)]
