from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fenlei import training
from fenlei.models import Deep, build
from fenlei.pipeline import Arrays, Encoded, Ragged
from fenlei.recipe import Recipe
from fenlei.training import Epoch, Examples, by_length, deterministic, drop_tokens, make_batches
from fenlei.vocab import PAD, UNK

WORDS, CLASSES = 30, 3
RECIPE = Recipe(
    epochs=3, batch_size=16, learning_rate=0.01, table_rate=0.05, threads=1, precision="fp32",
    embedding_size=8, options={"hidden_size": 8},
)  # fmt: skip


def examples(seed: int, count: int) -> Examples:
    """Rows of 1 to 12 random ids, one of them the class's own."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, CLASSES, count)
    rows = [rng.integers(2 + CLASSES, WORDS, rng.integers(1, 13)) for _ in targets]
    for row, target in zip(rows, targets, strict=True):
        row[rng.integers(len(row))] = 2 + target
    ids = Ragged(np.concatenate(rows), np.cumsum([0, *map(len, rows)]))
    return Examples(Encoded({"ids": ids}), targets)


def classifier(seed: int = 0) -> Deep:
    torch.manual_seed(seed)
    sizes = {"ids": WORDS}
    return build(
        "bilstm", stream_sizes=sizes, classes=CLASSES, embedding_size=8, options={"hidden_size": 8}, dropout=0.1
    )


def digest(model: nn.Module) -> str:
    return hashlib.sha256(b"".join(value.numpy().tobytes() for value in model.state_dict().values())).hexdigest()


def run(recipe: Recipe, train: Examples, watch: training.Watch | None = None) -> tuple[Deep, list[Epoch]]:
    with deterministic(recipe):
        model = classifier()
        return model, list(training.fit(model, train, examples(1, 60), recipe, watch))


def test_the_network_learns() -> None:
    model, history = run(RECIPE.change(epochs=8), examples(0, 200))
    assert history[-1].loss < history[0].loss
    assert max(epoch.dev_accuracy for epoch in history) > 0.9
    loss, accuracy = training.measure(model, examples(1, 60), RECIPE)
    kept = next(epoch for epoch in reversed(history) if epoch.best)
    assert (loss, accuracy) == (kept.dev_loss, kept.dev_accuracy)


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=300), st.integers(1, 40), st.integers(1, 500), st.integers(0, 9)
)
def test_batches_hold_each_document_once_within_bounds(lengths: list[int], size: int, tokens: int, seed: int) -> None:
    recipe = Recipe(batch_size=size, batch_tokens=tokens)
    batches = make_batches(np.array(lengths), recipe, np.random.default_rng(seed))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= size
        assert len(batch) == 1 or len(batch) * np.array(lengths)[batch].max() <= tokens


def test_batches_are_shuffled_anew_each_epoch_and_the_same_for_a_seed() -> None:
    lengths = np.random.default_rng(0).integers(1, 50, 1000)
    rng, again = np.random.default_rng(7), np.random.default_rng(7)
    first, second, repeated = (make_batches(lengths, RECIPE, each) for each in (rng, rng, again))
    assert [batch.tolist() for batch in first] == [batch.tolist() for batch in repeated]
    assert [batch.tolist() for batch in first] != [batch.tolist() for batch in second]
    longest = [int(lengths[batch].max()) for batch in first]
    assert longest != sorted(longest)  # batches of long and of short texts come in any order


def test_batches_hold_documents_of_like_length() -> None:
    lengths = np.random.default_rng(0).integers(1, 200, 5000)
    batches = make_batches(lengths, Recipe(batch_size=32, batch_tokens=10**6), np.random.default_rng(0))
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded < 1.1 * lengths.sum()


def test_a_text_longer_than_the_budget_is_a_batch_of_its_own() -> None:
    batches = by_length(np.arange(3), np.array([5, 5000, 4000]), batch_size=8, batch_tokens=100)
    assert [batch.tolist() for batch in batches] == [[0], [2], [1]]


@pytest.mark.parametrize(("steps", "epochs", "made", "rounds"), [(10, None, 10, 3), (8, None, 8, 2), (99, 2, 8, 2)])
def test_training_ends_after_its_steps_or_epochs(steps: int, epochs: int | None, made: int, rounds: int) -> None:
    recipe = RECIPE.change(steps=steps, epochs=epochs, batch_size=16, patience=None)
    trainer = training.Trainer(classifier(), examples(0, 60), recipe)  # four batches an epoch
    documents = []
    while not trainer.ended:
        documents.append(trainer.epoch().documents)
        trainer.close_epoch(trainer.seen, examples(1, 20))
    assert (trainer.optimizer.steps, len(documents)) == (made, rounds)
    assert trainer.out_of_steps is (epochs is None)
    found = list(training.fit(classifier(), examples(0, 60), examples(1, 9), recipe))
    assert [epoch.epochs for epoch in found] == [rounds] * rounds


def test_reports_come_at_their_steps_and_cover_every_batch_once() -> None:
    reports: list[training.Report] = []

    def watch(event: training.Step | training.Report) -> None:
        if isinstance(event, training.Report):
            reports.append(event)

    recipe = RECIPE.change(steps=14, epochs=None, report_steps=3, token_dropout=0.0, patience=None)
    epochs = list(training.fit(classifier(), examples(0, 64), examples(1, 9), recipe, watch))  # four batches of 16
    assert [report.step for report in reports] == [3, 6, 9, 12, 14]
    shares, parts = np.array([3, 3, 3, 3, 2]) / 14, np.array([4, 4, 4, 2]) / 14
    assert shares @ [report.loss for report in reports] == pytest.approx(parts @ [epoch.loss for epoch in epochs])
    assert shares @ [r.accuracy for r in reports] == pytest.approx(parts @ [epoch.accuracy for epoch in epochs])


def test_all_steps_are_made_whatever_the_batches_of_an_epoch_come_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def batches(lengths: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> list[np.ndarray]:
        counts.append(4 if not counts else 3)  # the first count is what the estimate is made of
        return np.array_split(np.arange(len(lengths)), counts[-1])

    counts: list[int] = []
    monkeypatch.setattr(training, "make_batches", batches)
    recipe = RECIPE.change(steps=16, epochs=None, patience=None)
    epochs = list(training.fit(classifier(), examples(0, 60), examples(1, 9), recipe))
    assert [(epoch.number, epoch.epochs) for epoch in epochs] == [(1, 4), (2, 4), (3, 4), (4, 4), (5, 5), (6, 6)]


def test_without_patience_no_epoch_is_the_last_one_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "measure", lambda *_: (1.0, 0.5))
    for patience, expected in ((2, 3), (None, 9)):
        recipe = RECIPE.change(epochs=9, patience=patience)
        assert len(list(training.fit(classifier(), examples(0, 20), examples(1, 9), recipe))) == expected


def test_while_all_classes_look_alike_a_smaller_loss_is_worth_waiting_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(
        [(2.30, 0.1), (2.29, 0.1), (2.27, 0.1), (2.28, 0.1), (2.20, 0.1), (2.21, 0.05), (2.22, 0.1), (1.0, 1)]
    )
    monkeypatch.setattr(training, "measure", lambda *_: next(answers))
    recipe = RECIPE.change(epochs=9, patience=2)
    assert len(list(training.fit(classifier(), examples(0, 20), examples(1, 9), recipe))) == 7


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_seed_and_threads_give_the_same_bytes(threads: int) -> None:
    recipe = RECIPE.change(threads=threads, epochs=2)
    first, second = (run(recipe, examples(0, 100)) for _ in range(2))
    other = run(recipe.change(seed=1), examples(0, 100))
    assert digest(first[0]) == digest(second[0])
    assert [epoch.loss for epoch in first[1]] == [epoch.loss for epoch in second[1]]
    assert digest(first[0]) != digest(other[0])


@pytest.mark.parametrize("count", [1, 2, 15, 17])
def test_any_number_of_documents_is_trained(count: int) -> None:
    model, history = run(RECIPE, examples(0, count))
    assert len(history) == 3
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


@pytest.mark.parametrize("size", [1, 1000])
def test_any_batch_size_is_trained(size: int) -> None:
    assert len(run(RECIPE.change(batch_size=size, epochs=1), examples(0, 20))[1]) == 1


@pytest.mark.parametrize(("end", "seen"), [("finished", 3), ("patience", 5), ("closed", 4), ("interrupted", 3)])
def test_the_best_epoch_is_kept_however_the_loop_ends(end: str, seen: int, monkeypatch: pytest.MonkeyPatch) -> None:
    accuracies = iter([0.4, 0.9, 0.5, 0.6, 0.7, 0.8])
    monkeypatch.setattr(training, "measure", lambda *_: (1.0, next(accuracies)))
    monkeypatch.setattr(training, "TICK", -1.0)

    def watch(step: training.Step) -> None:
        if end == "interrupted" and step.epoch == 4:
            raise KeyboardInterrupt

    recipe = RECIPE.change(epochs=3 if end == "finished" else 6, patience=3)
    model = classifier()
    epochs = training.fit(model, examples(0, 50), examples(1, 20), recipe, watch)
    best, digests = [], []
    try:
        for epoch in epochs:
            best.append(epoch.best)
            digests.append(digest(model))
            if end == "closed" and epoch.number == 4:
                epochs.close()  # type: ignore[attr-defined]
                break
    except KeyboardInterrupt:
        assert end == "interrupted"
    assert best == [True, True, False, False, False][:seen]
    assert len(set(digests)) == seen
    assert digest(model) == digests[1]


def test_where_weights_are_averaged_their_mean_is_measured_and_kept() -> None:
    recipe = RECIPE.change(schedule="averaged", epochs=2)
    with deterministic(recipe):
        trainer = training.Trainer(classifier(), examples(0, 100), recipe)
        while not trainer.ended:
            epoch = trainer.close_epoch(trainer.epoch(), examples(1, 60))
    assert trainer.average is not None
    own = digest(trainer.model)
    with trainer.average.put_in():
        assert digest(trainer.model) != own
        loss, _ = training.measure(trainer.model, examples(1, 60), recipe)
        assert loss == pytest.approx(epoch.dev_loss, rel=1e-6)
        kept = digest(trainer.model)
    assert epoch.best
    model, _ = run(recipe, examples(0, 100))
    assert digest(model) == kept


def test_equal_accuracy_is_decided_by_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([(0.5, 0.8), (0.4, 0.8), (0.4, 0.8), (0.3, 0.7)])
    monkeypatch.setattr(training, "measure", lambda *_: next(answers))
    found = list(training.fit(classifier(), examples(0, 20), examples(1, 9), RECIPE.change(epochs=4, patience=5)))
    assert [epoch.best for epoch in found] == [True, True, False, False]


def test_a_loss_that_is_no_number_stops_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = training.Trainer.loss, []

    def poisoned(*arguments: object) -> torch.Tensor:
        calls.append(1)
        return real(*arguments) * (float("nan") if len(calls) == 15 else 1.0)  # type: ignore[arg-type]

    monkeypatch.setattr(training.Trainer, "loss", poisoned)
    model = classifier()
    with pytest.raises(FloatingPointError, match=r"loss became nan: try a smaller learning_rate"):
        list(training.fit(model, examples(0, 100), examples(1, 20), RECIPE))
    assert len(calls) == 16  # the second pass of that step is still made
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_no_number_never_reaches_the_kept_weights(value: float) -> None:
    model = classifier()
    model.dense.weight.register_hook(lambda gradient: gradient * value)  # type: ignore[union-attr]
    with pytest.raises(FloatingPointError, match="smaller learning_rate"):
        list(training.fit(model, examples(0, 10), examples(1, 20), RECIPE.change(epochs=1, batch_size=16)))


def test_steps_report_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "TICK", -1.0)
    steps: list[training.Step] = []
    run(RECIPE.change(epochs=2), examples(0, 40), steps.append)
    assert [step.epoch for step in steps] == [1, 1, 1, 2, 2, 2]
    assert [step.done for step in steps][2::3] == [40, 40]
    assert all((step.total, step.epochs, step.phase) == (40, 2, "training") for step in steps)
    assert all(0 <= step.accuracy <= 1 and step.loss > 0 for step in steps)


def test_document_weights_scale_the_loss() -> None:
    logits, targets, rows = torch.randn(4, 3), torch.tensor([0, 1, 2, 0]), np.arange(4)
    trainer = training.Trainer(classifier(), examples(0, 4), RECIPE.change(label_smoothing=0.1))
    torch.testing.assert_close(
        trainer.loss(logits, targets, rows), nn.functional.cross_entropy(logits, targets, label_smoothing=0.1)
    )
    trainer.train = trainer.train._replace(weights=np.array([0, 4, 0, 0], np.float32))
    trainer.recipe = RECIPE.change(label_smoothing=0.0)
    only = trainer.loss(logits, targets, rows)
    torch.testing.assert_close(only, nn.functional.cross_entropy(logits[1:2], targets[1:2]))


def test_dev_weights_scale_the_measure() -> None:
    model, dev = classifier(), examples(1, 30)
    weights = np.arange(30, dtype=np.float32)
    loss, accuracy = training.measure(model, dev._replace(weights=weights), RECIPE)
    logits = torch.from_numpy(training.predict(model, dev.encoded, RECIPE))
    losses = nn.functional.cross_entropy(logits, torch.from_numpy(dev.targets), reduction="none").numpy()
    assert loss == pytest.approx(float(losses @ weights / weights.sum()), rel=1e-5)
    right = logits.argmax(1).numpy() == dev.targets
    assert accuracy == pytest.approx(float(right @ weights / weights.sum()))


def test_dropped_tokens_are_unknown_and_padding_stays() -> None:
    torch.manual_seed(0)
    ids = torch.randint(2, 50, (200, 20)) * (torch.arange(20) < torch.randint(1, 21, (200, 1)))
    arrays = {"ids": ids.clone(), "bigrams": ids.clone(), "lengths": (ids != PAD).sum(1)}
    arrays |= {"ngrams": ids.clone(), "ngram_values": torch.rand(200, 20)}
    before = {name: value.clone() for name, value in arrays.items()}
    drop_tokens(arrays, 0.25)
    torch.testing.assert_close(arrays["ids"] == PAD, ids == PAD)
    hit = arrays["ids"] != ids
    assert (arrays["ids"][hit] == UNK).all()
    assert 0.2 < hit.sum() / (ids != PAD).sum() < 0.3
    assert (hit == (arrays["bigrams"] != ids)).all()  # the same positions in every stream
    for name in ("lengths", "ngrams", "ngram_values"):
        assert torch.equal(arrays[name], before[name])


def test_the_pipelines_arrays_are_not_changed_by_dropping() -> None:
    train = examples(0, 10)
    before = train.encoded.columns["ids"].values.copy()
    drop_tokens(training.tensors(train.encoded.batch(np.arange(10))), 0.9)
    np.testing.assert_array_equal(train.encoded.columns["ids"].values, before)


def test_no_dropping_draws_no_random_numbers() -> None:
    state = torch.get_rng_state()
    drop_tokens({"ids": torch.ones(2, 2, dtype=torch.int64)}, 0.0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("fails", [False, True])
def test_random_state_and_threads_are_given_back(fails: bool) -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    try:
        with deterministic(RECIPE.change(threads=threads + 1, seed=5)):
            assert torch.get_num_threads() == threads + 1
            first = torch.rand(3)
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert fails
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    with deterministic(RECIPE.change(seed=5)):
        assert torch.equal(torch.rand(3), first)


def test_predictions_come_back_in_order_and_do_not_depend_on_the_batch() -> None:
    model, encoded = classifier(), examples(3, 70).encoded
    together = training.predict(model, encoded, RECIPE)
    small = training.predict(model, encoded, RECIPE.change(batch_tokens=1))
    assert together.shape == (70, CLASSES)
    assert not np.array_equal(together, small)  # other batches round otherwise in the last bits
    np.testing.assert_allclose(together, small, atol=1e-6)


def test_documents_cut_into_sentences_keep_within_the_budget_padding_included(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    lengths = [np.append(rng.integers(1, 6, rng.integers(0, 30)), 20) for _ in range(80)]  # one long sentence in each
    parts = Ragged(np.concatenate(lengths), np.cumsum([0, *map(len, lengths)]))
    ids = Ragged(rng.integers(2, WORDS, parts.values.sum()), np.cumsum([0, *map(sum, lengths)]))
    side = Examples(Encoded({"ids": ids}, sentences=parts), rng.integers(0, CLASSES, 80))
    seen: list[tuple[int, ...]] = []
    real = training.tensors

    def watched(arrays: Arrays, device: object = "cpu") -> dict[str, torch.Tensor]:
        seen.append(arrays["ids"].shape)
        return real(arrays)

    monkeypatch.setattr(training, "tensors", watched)
    torch.manual_seed(0)
    model = build("han", stream_sizes={"ids": WORDS}, classes=CLASSES, embedding_size=8, options={"hidden_size": 4})
    recipe = RECIPE.change(epochs=1, batch_tokens=1000)
    list(training.fit(model, side, side, recipe))
    assert sum(rows for rows, _, _ in seen) == 2 * 80
    done = np.cumsum([rows for rows, _, _ in seen])
    for shape, before in zip(seen, [0, *done], strict=False):
        assert shape[0] == 1 or np.prod(shape) <= (1000 if before < 80 else 2000), "to predict takes half the memory"
    assert max(shape[0] for shape in seen) > 1


def test_bfloat16_trains_too() -> None:
    assert training.uses_bf16(RECIPE.change(precision="bf16"))
    assert not training.uses_bf16(RECIPE)
    model, history = run(RECIPE.change(precision="bf16", epochs=1), examples(0, 40))
    assert np.isfinite(history[0].loss)
    assert all(value.dtype == torch.float32 for value in model.state_dict().values())
