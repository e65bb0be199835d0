"""Sorted numbers in few bytes: exact, small, and damage is noticed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenlei.eliasfano import HEAD, decode, encode, size
from fenlei.ngrams import NgramTable


@given(st.sets(st.integers(0, 2**64 - 1), max_size=50), st.integers(1, 64))
def test_any_sorted_numbers_come_back(numbers: set[int], bits: int) -> None:
    values = np.array(sorted({number >> (64 - bits) for number in numbers}), np.uint64)
    data = encode(values, bits)
    back, found = decode(data)
    assert found == bits
    np.testing.assert_array_equal(back, values)
    assert len(data) <= size(len(values), bits) + 1


def test_they_take_little_more_than_their_gaps() -> None:
    values = np.unique(np.random.default_rng(0).integers(0, 2**28, 50_000).astype(np.uint64))
    assert len(encode(values, 28)) * 8 / len(values) < 28 - 15.6 + 2.4


@pytest.mark.parametrize(
    "change", [lambda d: d[:3], lambda d: d[:-2], lambda d: np.concatenate([d, d]), lambda d: d * 0]
)
def test_damage_is_noticed(change: object) -> None:
    data = encode(np.array([3, 500, 70_000, 2**31], np.uint64), 32)
    changed = change(data)  # type: ignore[operator]
    if len(changed) == len(data):
        with pytest.raises(ValueError, match="sorted numbers"):
            decode(changed[: HEAD - 1])
    else:
        with pytest.raises(ValueError, match="sorted numbers"):
            decode(changed)


def test_a_table_by_fewer_bits_keeps_the_worthier_of_two_that_meet() -> None:
    hashes = np.array([5, 2**60 + 1, 2**60 + 2, 2**63], np.uint64)
    table, kept = NgramTable(hashes).shorten(8, np.array([1.0, 1.0, 2.0, 1.0]))
    assert kept.tolist() == [0, 2, 3]
    assert table.rows(hashes).tolist() == [1, 2, 2, 3]
    assert table.rows(np.array([2**62], np.uint64)).tolist() == [0]
    again = NgramTable.restore(table.stored())
    assert again.bits == 8
    np.testing.assert_array_equal(again.hashes, table.hashes)
    whole = NgramTable(hashes)
    assert NgramTable.restore(whole.stored()).hashes is hashes
