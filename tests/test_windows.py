"""Runs of long documents: where they lie, that all of a document is read in the end, and that answers read it whole."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
import torch

from fenlei.learn import Labelled, learn
from fenlei.pipeline import Encoded, Ragged
from fenlei.recipe import Recipe
from fenlei.runtime import Predictor
from fenlei.windows import Windows

Sets = tuple[Labelled, Labelled]
LENGTHS = [3, 40, 11, 10]


def flat() -> Encoded:
    offsets = np.cumsum([0, *LENGTHS])
    ids = np.arange(1, offsets[-1] + 1)
    return Encoded({"ids": Ragged(ids, offsets), "bigrams": Ragged(1000 + ids, offsets)})


def in_sentences() -> Encoded:
    parts = [[3], [4] * 10, [2, 2, 7], [10]]
    sentences = Ragged(np.concatenate(parts), np.cumsum([0, *map(len, parts)]))
    return Encoded(flat().columns, sentences=sentences)


def test_a_run_is_a_piece_of_its_own_document() -> None:
    windows, seen = Windows(flat(), Recipe(window=10)), Counter[int]()
    assert (windows.longer, windows.sizes.tolist()) == (2, [3, 10, 10, 10])
    torch.manual_seed(0)
    for _ in range(2000):
        arrays = windows.batch(np.array([1, 0, 2]))
        assert arrays["lengths"].tolist() == [10, 3, 10]
        assert (arrays["bigrams"] - arrays["ids"])[arrays["ids"] > 0].tolist() == [1000] * 23
        long, short, other = arrays["ids"]
        assert np.diff(long).tolist() == [1] * 9
        assert np.diff(other).tolist() == [1] * 9
        assert short.tolist() == [1, 2, 3, *[0] * 7]
        assert {*long.tolist()} <= {*range(4, 44)}
        assert {*other.tolist()} <= {*range(44, 55)}
        seen.update([*long.tolist(), *other.tolist()])
    assert {*seen} == {*range(4, 55)}
    middle = seen[24]  # of 40 tokens
    assert min(seen.values()) > 0.85 * middle, "no token is read more seldom than one in the middle"
    assert max(seen[each] for each in range(4, 44)) < 2.2 * middle


def test_a_run_of_sentences_is_one_of_whole_sentences() -> None:
    windows, seen = Windows(in_sentences(), Recipe(window=9, sentence_length=64)), set()  # of 4.3 tokens on average
    assert (windows.longer, windows.size, windows.sizes.tolist()) == (2, "2 sentences", [10, 20, 20, 10])
    torch.manual_seed(0)
    for _ in range(100):
        arrays = windows.batch(np.array([0, 1, 2]))
        assert arrays["ids"].shape[:2] == arrays["lengths"].shape == (3, 2)
        assert arrays["lengths"][:2].tolist() == [[3, 0], [4, 4]]
        assert arrays["lengths"][2].tolist() in ([2, 2], [2, 7])
        first = arrays["ids"][1, 0, 0]
        assert arrays["ids"][1, :, :4].ravel().tolist() == [*range(first, first + 8)]
        assert (first - 4) % 4 == 0
        seen |= {*arrays["ids"].ravel().tolist()}
    assert seen == {*range(55)}


def test_a_run_of_sentences_is_no_larger_than_a_batch_may_be() -> None:
    windows = Windows(in_sentences(), Recipe(batch_tokens=35))  # the longest sentence has 10
    assert (windows.most, windows.sizes.tolist()) == (3, [10, 30, 30, 10])
    assert windows.batch(np.array([1]))["ids"].shape == (1, 3, 4)


@pytest.mark.parametrize("encoded", [flat(), in_sentences()], ids=["flat", "sentences"])
def test_without_longer_documents_nothing_is_drawn(encoded: Encoded) -> None:
    windows, state = (
        Windows(encoded, Recipe(window=10 if encoded.sentences is None else 50)),
        torch.get_rng_state(),
    )
    rows = np.array([0, 3])
    for name, array in windows.batch(rows).items():
        np.testing.assert_array_equal(array, encoded.batch(rows)[name])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("model", ["mingru", "bilstm", "han"])
def test_long_texts_are_learned_from_in_runs_and_answered_whole(model: str, chinese: Sets, tiny: Recipe) -> None:
    train = Labelled(
        ["".join(chinese[0].texts[:40])[:300], *chinese[0].texts], [chinese[0].labels[0], *chinese[0].labels]
    )
    recipe = tiny.change(
        model=model, options={}, window=32, sentence_length=8, epochs=4, wide=False, learning_rate=0.01
    )
    notes: list[str] = []
    bundle = learn(train, chinese[1], recipe, lambda event: notes.append(getattr(event, "sentence", "")))
    what = r"\d+ sentences" if model == "han" else "32 tokens"
    assert any(
        re.match(rf"\d+ texts are longer than {what}: of each the network learns from a run", each) for each in notes
    )
    assert not any("were cut" in note for note in notes)
    predictor, start = Predictor(bundle), "今天我们表示一个已经的了。" * 40
    one, other = predictor.predict_proba([start + "股票基金银行利率", start + "球队比赛进球冠军"])
    assert not np.array_equal(one, other)  # what lies far past the window counts
