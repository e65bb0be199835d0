from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from fenlei.folds import crossed, fold_numbers, held_out
from fenlei.pipeline import Encoded, Ragged
from fenlei.training import Examples


def examples(count: int, weights: bool = False) -> Examples:
    """Document number ``i`` has ``1 + i % 3`` tokens, all of them ``i``, and the class ``i % 2``."""
    lengths = 1 + np.arange(count) % 3
    ids = Ragged(np.repeat(np.arange(count), lengths), np.concatenate([[0], np.cumsum(lengths)]))
    return Examples(
        Encoded({"ids": ids}), np.arange(count) % 2, np.arange(count, dtype=np.float32) if weights else None
    )


def documents_of(side: Examples) -> list[int]:
    return side.encoded.columns["ids"].values[side.encoded.columns["ids"].offsets[:-1]].tolist()


def test_every_class_is_spread_evenly_and_the_same_for_the_same_seed() -> None:
    texts = [f"text {number}" for number in range(103)]
    labels = [("common",) if number % 10 else ("rare",) for number in range(103)]
    numbers = fold_numbers(texts, labels, 5, 0)
    for label in ("common", "rare"):
        counts = Counter(number for number, (found,) in zip(numbers.tolist(), labels, strict=True) if found == label)
        assert set(counts) == set(range(5))
        assert max(counts.values()) - min(counts.values()) <= 1
    np.testing.assert_array_equal(numbers, fold_numbers(texts, labels, 5, 0))
    assert (numbers != fold_numbers(texts, labels, 5, 1)).any()


def test_copies_of_a_text_are_in_one_part_whatever_their_labels() -> None:
    texts = [f"text {number % 20}" for number in range(80)]
    labels = [("a",) if number % 3 else ("b",) for number in range(80)]
    numbers = fold_numbers(texts, labels, 4, 0)
    for number in range(20):
        assert len(set(numbers[number::20].tolist())) == 1


def test_texts_without_a_label_are_divided_too() -> None:
    assert set(fold_numbers(["a", "b", "c", "d"], [(), (), ("x", "y"), ("x",)], 2, 0).tolist()) == {0, 1}


def test_each_part_is_judged_by_what_it_does_not_learn_from() -> None:
    train, dev = examples(30, weights=True), examples(30)
    numbers = np.arange(30) % 4
    parts = crossed(train, dev, numbers)
    assert len(parts) == 4
    for number, part in enumerate(parts):
        own = np.flatnonzero(numbers == number)
        np.testing.assert_array_equal(part.rows, own)
        assert documents_of(part.dev) == own.tolist()
        assert sorted([*documents_of(part.train), *own.tolist()]) == list(range(30))
        np.testing.assert_array_equal(part.train.targets, np.array(documents_of(part.train)) % 2)
        np.testing.assert_array_equal(part.train.weights, np.array(documents_of(part.train), np.float32))
        assert part.dev.weights is None
    assert sorted(np.concatenate([part.rows for part in parts]).tolist()) == list(range(30))


def test_with_a_dev_set_every_network_has_all_of_both() -> None:
    train, dev = examples(30), examples(7)
    parts = held_out(train, dev, 3)
    assert len(parts) == 3
    assert all(part.train is train and part.dev is dev and len(part.rows) == 7 for part in parts)


@pytest.mark.parametrize("rows", [[2, 0], [], [5, 5, 1]])
def test_taken_documents_keep_their_tokens_and_sentences(rows: list[int]) -> None:
    lengths = Ragged(np.array([1, 1, 2, 1, 2, 3]), np.array([0, 1, 2, 3, 4, 5, 6]))
    encoded = Encoded(examples(6).encoded.columns, 0, lengths).take(np.array(rows, np.int64))
    assert documents_of(Examples(encoded, np.zeros(len(rows)))) == rows
    assert encoded.sentences is not None
    np.testing.assert_array_equal(encoded.sentences.values, lengths.values[rows])
