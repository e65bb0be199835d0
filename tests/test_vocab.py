from __future__ import annotations

from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenlei.vocab import PAD, RESERVED, UNK, Vocab

TOKENS = st.sampled_from(["a", "b", "c", "中", "文", "\uff21", "\U00020000", "<pad>", "<unk>", "[PAD]", "0", "1", "é"])
DOCUMENTS = st.lists(st.lists(TOKENS | st.text(min_size=1, max_size=2), max_size=12), max_size=8)


@given(DOCUMENTS, st.integers(1, 3), st.none() | st.integers(1, 5))
def test_vocab_equals_a_sorted_counter(documents: list[list[str]], min_count: int, max_size: int | None) -> None:
    counted = Counter(token for tokens in documents for token in tokens)
    expected = sorted(((t, n) for t, n in counted.items() if n >= min_count), key=lambda item: (-item[1], item[0]))
    assert Vocab.build(documents, min_count, max_size).items() == expected[:max_size]


@given(DOCUMENTS, st.integers(1, 3))
def test_ids_name_tokens_and_nothing_else(documents: list[list[str]], min_count: int) -> None:
    vocab = Vocab.build(documents, min_count)
    for tokens in documents:
        for token, number in zip(tokens, vocab.ids(tokens), strict=True):
            if token in vocab:
                assert vocab.tokens[number - RESERVED] == token
                assert RESERVED <= number < len(vocab)
            else:
                assert number == UNK
    assert vocab.ids(vocab.tokens) == list(range(RESERVED, len(vocab)))


def test_padding_and_unknown_have_rows_of_their_own() -> None:
    vocab = Vocab.build([["<pad>", "<unk>", "PAD", "\x00", "0", "1", "-1"]])
    assert (PAD, UNK, RESERVED) == (0, 1, 2)
    assert sorted(vocab.ids(vocab.tokens)) == list(range(2, 9))
    assert len(vocab) == 9
    assert vocab.ids(["never seen", ""]) == [UNK, UNK]


def test_ties_go_by_code_point_not_by_utf16() -> None:
    assert Vocab.build([["\U00020000", "\uff21", "中", "a", "Z"]]).tokens == ("Z", "a", "中", "\uff21", "\U00020000")


def test_the_order_of_documents_does_not_matter() -> None:
    documents = [["b", "a"], ["a", "c"], ["d", "b"]]
    assert Vocab.build(documents).items() == Vocab.build(reversed(documents)).items()


def test_an_empty_vocabulary_knows_only_the_reserved_ids() -> None:
    vocab = Vocab.build([])
    assert len(vocab) == RESERVED
    assert vocab.ids(["a"]) == [UNK]
    assert "a" not in vocab


def test_items_restore_the_vocabulary() -> None:
    vocab = Vocab.build([["a", "b", "a"]])
    again = Vocab(*zip(*vocab.items(), strict=True))
    assert again.items() == vocab.items() == [("a", 2), ("b", 1)]


@pytest.mark.parametrize(("min_count", "max_size"), [(0, None), (-1, None), (1, 0)])
def test_thresholds_below_one_are_refused(min_count: int, max_size: int | None) -> None:
    with pytest.raises(ValueError, match=f"at least 1, got {min_count} and {max_size}"):
        Vocab.build([["a"]], min_count, max_size)


def test_a_token_listed_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'b' more than once"):
        Vocab(["a", "b", "b"], [3, 2, 1])


def test_a_missing_count_is_refused() -> None:
    with pytest.raises(ValueError, match="2 tokens and 1 counts"):
        Vocab(["a", "b"], [1])


@given(DOCUMENTS)
def test_characters_have_the_ids_of_their_tokens(documents: list[list[str]]) -> None:
    vocab = Vocab.build(documents)
    asked = [*"".join(chain.from_iterable(documents)), "a", "\x00", "\U0010ffff", "\ud800"]
    found = vocab.ids_of_characters(np.array([ord(char) for char in asked], np.uint32))
    assert found.tolist() == vocab.ids(asked)
    assert found.dtype == np.int64
