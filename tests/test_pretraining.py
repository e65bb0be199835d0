from __future__ import annotations

import numpy as np
import pytest
import torch

from fenlei import pretraining
from fenlei.layers.mask import mask_of
from fenlei.models import Deep, build
from fenlei.pipeline import Encoded, Ragged
from fenlei.pretraining import Guess, guessed, pretrain
from fenlei.recipe import Recipe
from fenlei.training import Step, deterministic, snapshot
from fenlei.vocab import RESERVED, UNK

WORDS = 12
RECIPE = Recipe(
    pretrain_epochs=4, batch_size=16, learning_rate=0.02, table_rate=0.05, threads=1, precision="fp32",
    embedding_size=8, options={"hidden_size": 8},
)  # fmt: skip


def counting(count: int) -> Encoded:
    """Rows that count upwards in a circle: a hidden number follows from its neighbours."""
    rng = np.random.default_rng(0)
    rows = [RESERVED + (rng.integers(WORDS) + np.arange(rng.integers(3, 12))) % WORDS for _ in range(count)]
    ids = Ragged(np.concatenate(rows), np.cumsum([0, *map(len, rows)]))
    return Encoded({"ids": ids, "bigrams": Ragged(np.ones_like(ids.values), ids.offsets)})


def classifier() -> Deep:
    sizes = {"ids": RESERVED + WORDS, "bigrams": 5}
    return build("bilstm", stream_sizes=sizes, classes=2, embedding_size=8, options={"hidden_size": 8})


def test_hidden_tokens_are_learned() -> None:
    with deterministic(RECIPE):
        losses = pretrain(classifier(), counting(400), WORDS, RECIPE)
    assert len(losses) == 4
    assert losses[0] > losses[-1]
    assert losses[-1] < 0.6 * np.log(WORDS)  # better than knowing nothing but the frequencies


def test_only_the_token_table_and_the_encoder_learn() -> None:
    with deterministic(RECIPE):
        model = classifier()
        before = snapshot(model)
        pretrain(model, counting(100), WORDS, RECIPE.change(pretrain_epochs=1))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert "embeddings.ids.table.weight" in changed
    assert any(name.startswith("encoder.recurrent") for name in changed)
    assert not {"embeddings.bigrams.table.weight", "dense.weight", "dense.bias"} & changed
    assert not model.embeddings["ids"].table.weight[0].any()  # type: ignore[union-attr]


def test_the_same_seed_gives_the_same_weights() -> None:
    found = []
    for _ in range(2):
        with deterministic(RECIPE):
            model = classifier()
            pretrain(model, counting(60), WORDS, RECIPE)
            found.append(snapshot(model))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_a_hidden_token_is_not_seen() -> None:
    guess = Guess(classifier(), 8, WORDS)
    ids, lengths = torch.tensor([[3, 4, 5, 0]]), torch.tensor([3])
    hidden = torch.tensor([[False, True, False, False]])
    seen = []
    real = guess.encoder.states
    guess.encoder.states = lambda x, mask: seen.append((x, mask)) or real(x, mask)  # type: ignore[method-assign,func-returns-value]
    loss = guess(ids, lengths, hidden)
    x, mask = seen[0]
    torch.testing.assert_close(x, guess.model.embeddings["ids"](torch.tensor([[3, UNK, 5, 0]])))
    assert torch.equal(mask, mask_of(lengths, 4))
    assert torch.isfinite(loss)


def test_padding_unknown_and_rare_tokens_are_never_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretraining, "MOST_TOKENS", 5)
    seen = []

    class Watched(Guess):
        def forward(self, ids: torch.Tensor, lengths: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
            seen.append(ids[hidden])
            return super().forward(ids, lengths, hidden)

    monkeypatch.setattr(pretraining, "Guess", Watched)
    with deterministic(RECIPE):
        pretrain(classifier(), counting(200), WORDS, RECIPE.change(pretrain_epochs=1))
    guessed = set(torch.cat(seen).tolist())
    assert guessed == set(range(RESERVED, RESERVED + 5))


def test_as_many_tokens_are_guessed_as_make_nearly_all_text() -> None:
    counts = [9000, 500, 300, 100, 60, 40]  # 9,800 of 10,000 are the first three
    ids = np.repeat(np.arange(RESERVED, RESERVED + 6), counts)
    assert guessed(Ragged(ids, np.array([0, len(ids)])), 6) == 3
    unknown = np.concatenate([ids, np.full(50_000, UNK)])
    assert guessed(Ragged(unknown, np.array([0, len(unknown)])), 6) == 3, "what is unknown is no token"
    rare = np.arange(RESERVED, RESERVED + 20_000)
    assert guessed(Ragged(rare, np.array([0, len(rare)])), 20_000) == pretraining.MOST_TOKENS
    assert guessed(Ragged(np.array([UNK]), np.array([0, 1])), 6) == 1


def test_an_encoder_that_reads_sentences_learns_from_whole_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = counting(60)
    cut = [length // 2 for length in flat.lengths for _ in range(2)]
    cut[1::2] = (flat.lengths - cut[::2]).tolist()
    encoded = Encoded({"ids": flat.columns["ids"]}, sentences=Ragged(np.array(cut), np.arange(0, 121, 2)))
    shapes = []
    real = pretraining.tensors
    monkeypatch.setattr(
        pretraining, "tensors", lambda arrays, where: shapes.append(arrays["ids"].shape) or real(arrays)
    )
    with deterministic(RECIPE):
        sizes, options = {"ids": RESERVED + WORDS}, {"hidden_size": 8}
        model = build("han", stream_sizes=sizes, classes=2, embedding_size=8, options=options)
        before = snapshot(model)
        losses = pretrain(model, encoded, WORDS, RECIPE)
    assert losses[0] > losses[-1]
    assert sum(rows for rows, _ in shapes) == 4 * 60
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("encoder.word_level.recurrent") for name in changed)
    assert not any(name.startswith(("encoder.sentence_level", "dense")) for name in changed)


def test_texts_with_nothing_to_hide_are_passed_over() -> None:
    ids = Ragged(np.full(10, UNK), np.arange(11))
    assert pretrain(classifier(), Encoded({"ids": ids}), WORDS, RECIPE) == [0.0] * 4


def test_no_epochs_change_nothing() -> None:
    model = classifier()
    before = snapshot(model)
    assert pretrain(model, counting(10), WORDS, RECIPE.change(pretrain_epochs=0)) == []
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_signs_of_life_say_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretraining, "TICK", -1.0)
    steps: list[Step] = []
    pretrain(classifier(), counting(40), WORDS, RECIPE.change(pretrain_epochs=2), steps.append)
    assert {(step.phase, step.epochs, step.total) for step in steps} == {("reading", 2, 40)}
    assert steps[-1].done == 40


def test_a_loss_that_is_no_number_stops_the_reading() -> None:
    model = classifier()
    with torch.no_grad():
        model.embeddings["ids"].table.weight[RESERVED:] = float("nan")  # type: ignore[union-attr]
    with pytest.raises(FloatingPointError, match="loss became nan"):
        pretrain(model, counting(40), WORDS, RECIPE)
