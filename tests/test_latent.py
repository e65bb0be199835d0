"""Latent directions: folded into the weights exactly, and of use for words that no labelled text holds."""

from __future__ import annotations

import random

import numpy as np
import pytest
import scipy.sparse

from fenlei import latent
from fenlei.corpus import draw
from fenlei.learn import Labelled, learn
from fenlei.linear import Linear, matrix
from fenlei.pipeline import Encoded, Ragged
from fenlei.recipe import Recipe
from fenlei.runtime import Predictor

TOPICS = {"a": [f"apple{place}" for place in range(24)], "b": [f"brick{place}" for place in range(24)]}
KNOWN = 4  # words of each topic that labelled texts hold


def texts_of(label: str, words: slice, count: int, seed: int) -> list[str]:
    source = random.Random(seed)
    return [" ".join(source.choices(TOPICS[label][words], k=6)) for _ in range(count)]


def encoded(x: scipy.sparse.csr_matrix) -> Encoded:
    offsets = x.indptr.astype(np.int64)
    ids = Ragged(np.ones(x.shape[0], np.int64), np.arange(x.shape[0] + 1))
    values = Ragged(x.data.astype(np.float32), offsets)
    return Encoded({"ids": ids, "ngrams": Ragged(x.indices.astype(np.int64), offsets), "ngram_values": values})


def some(rows: int, columns: int, seed: int = 0) -> Encoded:
    rng = np.random.default_rng(seed)
    x = rng.random((rows, columns)) * (rng.random((rows, columns)) < 0.3)
    x[:, 0] = 0
    return encoded(scipy.sparse.csr_matrix(x))


def test_the_directions_are_those_of_the_exact_decomposition() -> None:
    left, right = some(40, 30), some(60, 30, seed=1)
    along = latent.directions([left, right], 30, 0)
    x = np.vstack([matrix(left, 30).toarray(), matrix(right, 30).toarray()])
    values, vectors = np.linalg.svd(x)[1:]
    assert along.shape == (30, 29)
    assert np.linalg.norm(x @ along) == pytest.approx(np.linalg.norm(x), rel=1e-4)
    lengths = np.linalg.norm(along, axis=0)
    np.testing.assert_allclose(lengths / lengths[0], np.sqrt(values[:29] / values[0]), rtol=1e-3)
    for place in range(3):
        assert abs(along[:, place] @ vectors[place]) == pytest.approx(lengths[place], rel=1e-3)
    np.testing.assert_array_equal(along, latent.directions([left, right], 30, 0))


def test_rare_ngrams_have_no_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = some(50, 40)
    monkeypatch.setattr(latent, "MOST_NGRAMS", 10)
    along = latent.directions([texts], 40, 0)
    counts = np.bincount(matrix(texts, 40).indices, minlength=40)
    kept = np.flatnonzero(np.abs(along).sum(1))
    assert len(kept) == 10
    assert counts[kept].min() >= np.sort(counts)[-10]


def test_one_text_has_no_directions() -> None:
    assert latent.directions([some(1, 20)], 20, 0).shape == (20, 0)


def test_folded_weights_give_the_scores_of_widened_texts() -> None:
    texts = some(30, 20)
    scaled = 3 * latent.directions([texts, some(30, 20, seed=2)], 20, 0)
    weight = np.random.default_rng(1).normal(size=(20 + scaled.shape[1], 4)).astype(np.float32)
    widened = latent.widened(texts, scaled)
    assert widened.columns["ids"] is texts.columns["ids"]
    expected = matrix(widened, len(weight)) @ weight
    found = matrix(texts, 20) @ latent.folded(weight, scaled)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert not latent.folded(weight, scaled)[0].any()


def test_the_strength_is_chosen_by_what_is_held_out() -> None:
    texts, along = some(10, 8), latent.directions([some(20, 8)], 8, 0)
    seen: list[float] = []

    def fit_plain(change: object, columns: int) -> Linear:
        changed = change(texts)  # type: ignore[operator]
        strength = 0.0
        if columns > 8:
            strength = float(np.abs(matrix(changed, columns)[:, 8:]).max() / np.abs(matrix(texts, 8) @ along).max())
        seen.append(round(strength, 3))
        weight = np.full((columns, 2), strength, np.float32)
        quality = {0.0: 0.5, 1.0: 0.7, 3.0: 0.6}[seen[-1]]
        return Linear(weight, np.zeros(2, np.float32), 1.0, 0.5, quality, 1.5, np.zeros((10, 2), np.float32))

    found = latent.fit(fit_plain, along, lambda: None)
    assert seen == [3.0, 1.0, 0.0]
    assert found.dev_accuracy == 0.7
    assert found.weight.shape == (8, 2)
    assert found.seconds == 4.5
    seen.clear()
    assert latent.fit(fit_plain, along[:, :0], lambda: None).weight.shape == (8, 2)
    assert seen == [0.0]


@pytest.mark.parametrize("crossed", [True, False])
def test_words_that_no_labelled_text_holds_are_told_by_texts_without_labels(crossed: bool) -> None:
    train = Labelled(
        [text for label in TOPICS for text in texts_of(label, slice(KNOWN), 20, 0)],
        [label for label in TOPICS for _ in range(20)],
    )
    rest = [text for seed, label in enumerate(TOPICS) for text in texts_of(label, slice(None), 300, seed + 1)]
    judged = [(label, text) for label in TOPICS for text in texts_of(label, slice(KNOWN, None), 50, 9)]
    views = (("tokens", 1),)  # whole words: parts of them would tell the topics anyway
    recipe = Recipe(model=None, tokenizer="spaces", views=views)
    dev = None if crossed else Labelled(train.texts[::4], train.labels[::4])

    def accuracy(**more: object) -> float:
        bundle = learn(train, dev, recipe, lambda _: None, **more)  # type: ignore[arg-type]
        found = Predictor(bundle).predict([text for _, text in judged])
        return float(np.mean([one == label for one, (label, _) in zip(found, judged, strict=True)]))

    assert accuracy() == 0.5  # nothing in them was seen
    assert accuracy(unlabelled=draw(rest, train.texts)) > 0.95
