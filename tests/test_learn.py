from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

from fenlei import joining, linear, quantizing, training
from fenlei.auto import STREAMS_OF, VIEWS_OF
from fenlei.blending import Shift
from fenlei.bundle import Bundle, without_network
from fenlei.learn import GOLDEN, Labelled, classes_of, learn, score
from fenlei.models import ENCODERS, restore
from fenlei.recipe import Recipe
from fenlei.runtime import Predictor
from fenlei.scoring import assess, hold
from fenlei.training import Epoch, Note, Step

Sets = tuple[Labelled, Labelled]


class Log:
    """Collects what a run says; optionally breaks it off at one kind of event."""

    def __init__(self, stop: type | None = None, after: int = 1) -> None:
        self.events: list[Note | Step | Epoch] = []
        self.stop, self.after = stop, after

    def __call__(self, event: Note | Step | Epoch) -> None:
        self.events.append(event)
        if self.stop is not None and isinstance(event, self.stop):
            self.after -= 1
            if not self.after:
                raise KeyboardInterrupt

    def notes(self) -> str:
        return "\n".join(event.sentence for event in self.events if isinstance(event, Note))

    def epochs(self) -> list[Epoch]:
        return [event for event in self.events if isinstance(event, Epoch)]


def quick(texts: list[str], labels: list[str], recipe: Recipe, dev: Labelled | None = None) -> Bundle:
    return learn(Labelled(texts, labels), dev or Labelled(texts, labels), recipe, Log())


def accuracy(bundle: Bundle, dev: Labelled) -> float:
    found = Predictor(bundle).predict(dev.texts)
    return float(np.mean([one == other for one, other in zip(found, dev.labels, strict=True)]))


@pytest.mark.parametrize("language", ["chinese", "english"])
def test_both_languages_are_learned(language: str, tiny: Recipe, request: pytest.FixtureRequest) -> None:
    train, dev = request.getfixturevalue(language)
    log = Log()
    bundle = learn(train, dev, tiny, log)
    assert accuracy(bundle, dev) > 0.9
    assert bundle.recipe["tokenizer"] == {"chinese": "chars", "english": "words"}[language]
    assert bundle.recipe["streams"] == tuple(bundle.pipeline["streams"]) == STREAMS_OF[bundle.recipe["tokenizer"]]
    assert bundle.recipe["views"] == {"chinese": (("chars", 3),), "english": VIEWS_OF["words"]}[language]
    assert bundle.pipeline["wide"]["views"] == [list(view) for view in bundle.recipe["views"]]
    for beginning in ("tokenizer: ", "vocabulary: ", "linear model (TF-IDF + SVM, C=", "the bundle answers by "):
        assert beginning in log.notes()
    assert len(log.epochs()) == 2


def test_the_note_on_the_scales_says_which_branches_answer(chinese: Sets, tiny: Recipe) -> None:
    kinds = {(True, True): "both branches", (True, False): "the recurrent branch alone"}
    for epochs in (1, 15):
        log = Log()
        bundle = learn(*chinese, tiny.change(epochs=epochs, learning_rate=0.02, table_rate=0.05), log)
        deep, wide = bundle.weights["scales"].tolist()
        kind = kinds.get((deep > 0, wide > 0), "the linear branch alone")
        said = f"the bundle answers by {kind}: logits = {deep:.2f} x recurrent + {wide:.2f} x linear"
        assert said in log.notes()
        assert bundle.scores["dev"]["accuracy"] >= bundle.scores["linear"]["accuracy"]


def test_several_networks_answer_by_their_mean(chinese: Sets, tiny: Recipe, tmp_path: Path) -> None:
    log = Log()
    bundle = learn(*chinese, tiny.change(branches=3), log)
    assert bundle.model["branches"] == 3
    assert [len(history) for history in bundle.scores["epochs"]] == [2, 2, 2]
    assert re.findall(r"^network .*", log.notes(), re.MULTILINE) == [f"network {n} of 3" for n in (1, 2, 3)]
    dense = [bundle.weights[f"branches.{number}.dense.weight"] for number in range(3)]
    assert not np.array_equal(dense[0], dense[1])
    assert not np.array_equal(dense[1], dense[2])
    assert accuracy(bundle, chinese[1]) > 0.9
    assert Predictor(bundle.save(tmp_path / "saved")).verify() == 0.0
    assert [[record["number"] for record in history] for history in bundle.scores["epochs"]] == [[1, 2]] * 3


@pytest.mark.usefixtures("all_answer")
def test_networks_of_several_kinds_take_turns(chinese: Sets, tiny: Recipe, tmp_path: Path) -> None:
    log = Log()
    bundle = learn(*chinese, tiny.change(branches=3, wide=False, beside={"textcnn": {"filters": 8}}), log)
    for said in ("network 1 of 3, bilstm", "network 2 of 3, textcnn", "network 3 of 3, bilstm"):
        assert said in log.notes().splitlines()
    kinds = [("bilstm", dict(tiny.options)), ("textcnn", {"filters": 8}), ("bilstm", dict(tiny.options))]
    assert bundle.kinds == kinds
    assert bundle.network == "bilstm + textcnn"
    assert any(name.startswith("branches.1.encoder.") and "convolution" in name for name in bundle.weights)
    alike = learn(*chinese, tiny.change(branches=3, wide=False), Log())
    assert "kinds" not in alike.model
    for name in (name for name in alike.weights if name.startswith(("branches.0.", "branches.2."))):
        if ".dense." not in name:  # which holds the share of its kind
            np.testing.assert_array_equal(alike.weights[name], bundle.weights[name])
    saved = Predictor(bundle.save(tmp_path / "saved"))
    assert saved.verify() == 0.0
    model = restore(saved.bundle, saved.pipeline.stream_sizes()).eval()
    arrays = {name: torch.from_numpy(array) for name, array in saved.pipeline(chinese[1].texts[:5]).items()}
    with torch.no_grad():
        expected = model.probabilities(arrays).numpy()
    np.testing.assert_allclose(saved.predict_proba(chinese[1].texts[:5]), expected, atol=1e-5)


def test_kinds_that_were_left_out_are_named(
    chinese: Sets, tiny: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(joining, "weigh", lambda branches, targets, weights: np.array([0.0, 0.0, 1.0]))
    recipe = tiny.change(branches=2, epochs=1, beside={"textcnn": {"filters": 8}})
    bundle = Bundle.load(learn(*chinese, recipe, Log()).save(tmp_path / "alone"))
    assert (bundle.network, bundle.kinds) == (None, [])
    assert without_network(bundle.model) == "none, the linear model alone (bilstm + textcnn was trained and left out)"


@pytest.mark.parametrize("scales", [(0.5, 2.0, 1.0), (0.0, 1.5, 0.5), (1.0, 0.0, 0.0)], ids=str)
def test_each_kind_counts_by_its_own_scale(
    scales: tuple[float, ...], chinese: Sets, tiny: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One that has no say is not in the bundle; of the others it is as if their logits were scaled and added."""
    recipe = tiny.change(branches=3, epochs=1, beside={"textcnn": {"filters": 8}})
    logits: list[np.ndarray] = []

    def weigh(branches: list[np.ndarray], *_: object) -> np.ndarray:
        logits[:] = branches
        return np.array(scales)

    monkeypatch.setattr(joining, "weigh", weigh)
    monkeypatch.setattr(joining, "shift", lambda logits, *_: Shift(1.0, np.zeros(logits.shape[1])))
    log = Log()
    bundle = learn(*chinese, recipe, log)
    assert [name for name, _ in bundle.kinds] == [
        name for name, scale in zip(("bilstm", "textcnn", "bilstm"), (*scales[:2], scales[0]), strict=True) if scale
    ]
    said = f"logits = {scales[0]:.2f} x bilstm + {scales[1]:.2f} x textcnn + {scales[2]:.2f} x linear"
    assert said in log.notes()
    without = [name for name, scale in zip(("bilstm", "textcnn"), scales, strict=False) if not scale]
    assert [name for name in ("bilstm", "textcnn") if f" without {name}: logits" in log.notes()] == without
    saved = Predictor(bundle.save(tmp_path / "saved"))
    assert saved.verify() == 0.0
    expected = softmax(np.tensordot(scales, np.stack(logits), 1), axis=1)
    np.testing.assert_allclose(saved.predict_proba(chinese[1].texts), expected, atol=1e-4)
    model = restore(saved.bundle, saved.pipeline.stream_sizes()).eval()
    assert len(model.branches) == bundle.model["branches"] == len(bundle.kinds)


def test_crossed_networks_of_several_kinds_are_weighed_as_one(chinese: Sets, tiny: Recipe) -> None:
    log = Log()
    bundle = learn(chinese[0], None, tiny.change(branches=2, beside={"textcnn": {"filters": 8}}), log)
    assert "x recurrent + " in log.notes()
    assert bundle.scores["dev"]["n"] == len(chinese[0].texts)


@pytest.mark.usefixtures("all_answer")
def test_after_ctrl_c_the_networks_that_are_left_keep_their_kinds(chinese: Sets, tiny: Recipe) -> None:
    recipe = tiny.change(branches=3, beside={"textcnn": {"filters": 8}}, wide=False)
    bundle = learn(*chinese, recipe, Log(stop=Epoch, after=3))  # the second network's first epoch
    assert [name for name, _ in bundle.kinds] == ["bilstm", "textcnn"]
    assert Predictor(bundle).verify() == 0.0


def test_without_dev_each_document_is_judged_by_a_network_that_did_not_learn_from_it(
    chinese: Sets, tiny: Recipe, tmp_path: Path
) -> None:
    train, log = chinese[0], Log()
    bundle = learn(train, None, tiny.change(branches=3, epochs=8, learning_rate=0.02, table_rate=0.05), log)
    assert bundle.model["branches"] == bundle.scores["folds"] == 3
    assert bundle.scores["dev"]["n"] == len(train.texts)
    assert accuracy(bundle, chinese[1]) > 0.9
    predictor = Predictor(bundle.save(tmp_path / "saved"))
    assert predictor.verify() == 0.0
    # The bundle knows the texts by heart, those who judged them did not.
    own = predictor.predict_proba(train.texts)
    truth = np.array([predictor.labels.index(label) for label in train.labels])
    assert np.mean(own.argmax(1) == truth) >= bundle.scores["dev"]["accuracy"]


def test_a_random_label_is_not_guessed_where_nothing_is_held_out(tiny: Recipe) -> None:
    texts = [f"w{number} x{number} y{number}" for number in range(120)]
    labels = ["a" if chance < 0.5 else "b" for chance in np.random.default_rng(5).random(120)]
    bundle = learn(Labelled(texts, labels), None, tiny.change(branches=4, min_count=1), Log())
    assert bundle.scores["dev"]["accuracy"] < 0.7


def test_the_linear_model_alone_is_crossed_too(chinese: Sets, tiny: Recipe) -> None:
    log = Log()
    bundle = learn(chinese[0], None, tiny.change(model=None, options={}, linear_documents=30), log)
    assert "drawn by lot" not in log.notes(), "crossed, it learns from all"
    assert bundle.scores["folds"] == 2
    assert bundle.scores["dev"]["n"] == len(chinese[0].texts)
    assert bundle.scores["dev"]["accuracy"] == pytest.approx(bundle.scores["linear"]["accuracy"])


def test_crossed_training_broken_off_is_judged_by_what_was_judged(chinese: Sets, tiny: Recipe) -> None:
    log = Log(stop=Epoch, after=3)  # the second network's first epoch
    bundle = learn(chinese[0], None, tiny.change(branches=3), log)
    assert "stopped by hand" in log.notes()
    assert len(bundle.scores["epochs"]) == bundle.scores["folds"] == 2
    assert bundle.scores["dev"]["n"] == pytest.approx(len(chinese[0].texts) * 2 / 3, abs=2)


@pytest.mark.parametrize("text", ["same text", ""])
def test_texts_that_are_all_the_same_cannot_judge_each_other(text: str, tiny: Recipe) -> None:
    train = Labelled([text] * 80, ["a", "b"] * 40)
    log = Log()
    bundle = learn(train, None, tiny.change(branches=2), log)
    assert "all training texts are the same" in log.notes()
    assert (bundle.scores["folds"], bundle.scores["dev"]["n"]) == (None, 80)
    np.testing.assert_allclose(Predictor(bundle).predict_proba([text])[0], 0.5, atol=0.2)


def test_the_first_of_several_networks_is_the_one_that_stands_alone(chinese: Sets, tiny: Recipe) -> None:
    alone, several = (learn(*chinese, tiny.change(branches=count), Log()) for count in (1, 2))
    shared = {name for name in alone.weights if name.startswith("branches.0.")}
    assert shared
    for name in shared:
        np.testing.assert_array_equal(alone.weights[name], several.weights[name])


def test_the_recurrent_branch_alone_learns(chinese: Sets, tiny: Recipe) -> None:
    recipe = tiny.change(wide=False, epochs=15, learning_rate=0.02, table_rate=0.05, batch_size=16)
    bundle = learn(*chinese, recipe, Log())
    assert accuracy(bundle, chinese[1]) > 0.9
    assert bundle.scores["linear"] is None
    assert not any(name.startswith("wide") for name in (*bundle.weights, *bundle.tables))


def test_the_linear_branch_alone_learns(chinese: Sets, tiny: Recipe) -> None:
    bundle = learn(*chinese, tiny.change(model=None, options={}), Log())
    assert accuracy(bundle, chinese[1]) > 0.9
    assert bundle.scores["dev"]["accuracy"] == pytest.approx(bundle.scores["linear"]["accuracy"])
    assert bundle.scores["epochs"] == []
    assert set(bundle.weights) == {"scales", "offset", "wide.weight", "wide.bias"}


@pytest.mark.parametrize("changes", [{}, {"wide": False}, {"model": None, "options": {}}], ids=str)
def test_the_scores_repeat_exactly_from_the_saved_bundle(
    changes: dict[str, object], chinese: Sets, tiny: Recipe, tmp_path: Path
) -> None:
    bundle = learn(*chinese, tiny.change(**changes), Log(), {"documents": 120})
    predictor = Predictor(bundle.save(tmp_path / "saved"))
    dev = chinese[1]
    assert assess(hold(predictor, dev.texts, dev.labels), predictor.decisions) == bundle.scores["dev"]
    assert predictor.verify() == 0.0
    assert len(predictor.bundle.golden) == GOLDEN
    assert predictor.bundle.ledger == {"documents": 120}
    assert json.loads(json.dumps(bundle.recipe)) == predictor.bundle.recipe


def test_the_same_recipe_gives_the_same_bundle(chinese: Sets, tiny: Recipe) -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    first, second = (learn(*chinese, tiny.change(threads=2), Log()) for _ in range(2))
    assert first.graph == second.graph
    assert first.weights.keys() == second.weights.keys()
    for name, array in first.weights.items():
        np.testing.assert_array_equal(array, second.weights[name])
    assert first.golden == second.golden
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("labels", "has"), [(["sport", "sport"], "only 'sport'"), ([], "none")])
def test_one_class_is_refused(labels: list[str], has: str, tiny: Recipe) -> None:
    with pytest.raises(ValueError, match=f"more than one class, the training data has {has}"):
        learn(Labelled(["a", "b"][: len(labels)], labels), Labelled(["a"], ["sport"]), tiny, Log())


def test_classes_are_sorted_and_distinct() -> None:
    assert classes_of(["b", "a", "b", "中", "B"]) == ["B", "a", "b", "中"]


def test_a_class_of_one_document_is_a_class(chinese: Sets, tiny: Recipe) -> None:
    train = Labelled([*chinese[0].texts, "特别的东西"], [*chinese[0].labels, "孤"])
    bundle = learn(train, chinese[1], tiny, Log())
    assert bundle.labels == ["体育", "孤", "科技", "财经"]
    assert accuracy(bundle, chinese[1]) > 0.9


def test_two_documents_are_enough(tiny: Recipe) -> None:
    bundle = quick(["good film", "bad film"], ["+", "-"], tiny)
    assert Predictor(bundle).predict_proba(["good"]).shape == (1, 2)


def test_sixty_classes_of_two_documents(tiny: Recipe) -> None:
    texts = [f"topic{number} word{number} the{extra}" for number in range(60) for extra in range(2)]
    labels = [f"class {number}" for number in range(60) for _ in range(2)]
    bundle = quick(texts, labels, tiny)
    assert len(bundle.labels) == 60
    assert accuracy(bundle, Labelled(texts, labels)) > 0.9


def test_past_the_most_classes_there_is_no_linear_model(monkeypatch: pytest.MonkeyPatch, tiny: Recipe) -> None:
    monkeypatch.setattr(linear, "MOST_CLASSES", 2)
    texts = ["one a", "two b", "three c"] * 3
    log = Log()
    bundle = learn(Labelled(texts, ["1", "2", "3"] * 3), Labelled(texts, ["1", "2", "3"] * 3), tiny, log)
    assert "no linear model: 3 classes are more than 2" in log.notes()
    assert "wide.weight" not in bundle.weights
    assert Predictor(bundle).predict_proba(texts).shape == (9, 3)
    side = Labelled(texts, ["1", "2", "3"] * 3)
    with pytest.raises(ValueError, match="3 classes are more than 2; name a network, such as model=bilstm"):
        learn(side, side, tiny.change(model=None, options={}), log)


@pytest.mark.parametrize("strange", ["a\nb", "a/b", "../up", "", "\t", "=1+1", "<b>", "\ud800", "x" * 300, "CON"])
def test_any_string_can_be_a_label(strange: str, tiny: Recipe, tmp_path: Path) -> None:
    recipe = tiny.change(model=None, options={})
    bundle = quick(["good film", "bad film"] * 3, [strange, "plain"] * 3, recipe)
    predictor = Predictor(bundle.save(tmp_path / "saved"))
    assert predictor.labels == sorted([strange, "plain"])
    assert predictor.predict(["good", "bad"]) == [strange, "plain"]


def test_dev_documents_of_unknown_classes_are_left_out_and_said(chinese: Sets, tiny: Recipe) -> None:
    train, dev = chinese
    log = Log()
    more = Labelled([*dev.texts, "什么", "哪里"], [*dev.labels, "未知", "未知"])
    bundle = learn(train, more, tiny, log)
    assert "2 dev documents have labels that training does not: left out" in log.notes()
    assert bundle.scores["dev"]["n"] == len(dev.texts)
    with pytest.raises(ValueError, match="no dev document has a label that the training data knows"):
        learn(train, Labelled(["什么"], ["未知"]), tiny, Log())


def test_of_several_labels_in_dev_those_that_are_unknown_are_left_out_and_said(tiny: Recipe) -> None:
    train = Labelled(["good film", "bad film", "long film"] * 6, [("good",), ("bad",), ("bad", "long")] * 6)
    dev = Labelled(["good film", "bad film", "new film"], [("good",), ("bad", "odd"), ("new",)])
    log = Log()
    bundle = learn(train, dev, tiny, log)
    assert "1 dev document has labels that training does not: left out, of 'odd', 'new'" in log.notes()
    assert (
        "1 dev document has further labels that training does not: those are left out, of 'odd', 'new'" in log.notes()
    )
    assert "dev has no document of 1 class: 'long'" in log.notes()
    assert bundle.scores["dev"]["n"] == 2
    assert set(bundle.scores["dev"]["classes"]) <= {"good", "bad", "long"}


def test_a_rare_class_among_many_documents(tiny: Recipe) -> None:
    texts = ["the usual words again"] * 300 + ["something rare and special"] * 3
    bundle = quick(texts, ["common"] * 300 + ["rare"] * 3, tiny)
    assert Predictor(bundle).predict([texts[0], texts[-1]]) == ["common", "rare"]


def test_document_weights_are_used(tiny: Recipe) -> None:
    texts, labels = ["same words", "same words"] * 20, ["a", "b"] * 20
    dev = Labelled(["same words"], ["b"])
    heavy = np.array([0.01, 5.0] * 20, np.float32)
    bundle = learn(Labelled(texts, labels, heavy), dev, tiny, Log())
    assert Predictor(bundle).predict(["same words"]) == ["b"]


@pytest.mark.parametrize(
    "changes", [{}, {"wide": False}, {"pretrain_epochs": 1}, {"model": None, "options": {}}], ids=str
)
@pytest.mark.parametrize("text", ["same text", "", "  "])
def test_texts_that_say_nothing_give_an_honest_answer(text: str, changes: dict[str, object], tiny: Recipe) -> None:
    bundle = quick([text] * 8, ["a", "b"] * 4, tiny.change(**changes))
    found = Predictor(bundle).predict_proba([text, "another text"])
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[0], 0.5, atol=0.2)


def test_hostile_texts_are_learned_from_and_saved(hostile: list[str], tiny: Recipe, tmp_path: Path) -> None:
    for tokenizer in ("chars", "words"):
        recipe = tiny.change(tokenizer=tokenizer, epochs=1, max_length=100)
        bundle = quick(hostile * 2, ["a", "b"] * len(hostile), recipe)
        assert Predictor(bundle.save(tmp_path / tokenizer)).verify() == 0.0


def test_stop_words_go_with_every_tokenizer(chinese: Sets, english: Sets, tiny: Recipe, tmp_path: Path) -> None:
    words = tmp_path / "stop.txt"
    words.write_text("的\n了\nthe\n,\n", encoding="utf-8")
    for train, dev in (chinese, english):
        bundle = learn(train, dev, tiny.change(stop_words=str(words), epochs=1), Log())
        assert not {"的", "了", "the", ","} & {token for token, _ in bundle.vocab}
        assert accuracy(bundle, dev) > 0.9


def test_long_texts_are_cut_and_said(chinese: Sets, tiny: Recipe) -> None:
    log = Log()
    learn(*chinese, tiny.change(max_length=5, epochs=1), log)
    assert "texts are longer than 5 tokens and were cut" in log.notes()


def test_ctrl_c_after_an_epoch_keeps_the_best_one(chinese: Sets, tiny: Recipe) -> None:
    log = Log(stop=Epoch, after=2)
    bundle = learn(*chinese, tiny.change(epochs=9), log)
    assert "stopped by hand: the best of 2 finished epochs is kept" in log.notes()
    assert [len(history) for history in bundle.scores["epochs"]] == [2]
    whole = learn(*chinese, tiny.change(epochs=9, patience=9), Log(stop=Epoch, after=2))
    for name, array in bundle.weights.items():
        np.testing.assert_array_equal(array, whole.weights[name])


def test_ctrl_c_restores_the_best_epoch_not_the_last(
    chinese: Sets, tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundles = []
    for epochs in (1, 3):
        scores = iter([(0.1, 0.9), (0.5, 0.2), (0.5, 0.2)])
        monkeypatch.setattr(training, "measure", lambda *_, scores=scores: next(scores))
        bundles.append(learn(*chinese, tiny.change(wide=False, epochs=9), Log(stop=Epoch, after=epochs)))
    for name, array in bundles[0].weights.items():
        np.testing.assert_array_equal(array, bundles[1].weights[name])


def test_ctrl_c_before_the_first_epoch_goes_on(chinese: Sets, tiny: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "TICK", -1.0)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        learn(*chinese, tiny, Log(stop=Step))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_ctrl_c_in_a_later_network_keeps_the_finished_ones(
    chinese: Sets, tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = learn(*chinese, tiny, Log())
    log = Log(stop=Epoch, after=3)
    bundle = learn(*chinese, tiny.change(branches=3), log)
    assert [len(history) for history in bundle.scores["epochs"]] == [2, 1]
    assert "stopped by hand: the best of 1 finished epochs is kept" in log.notes()
    monkeypatch.setattr(training, "TICK", -1.0)
    log = Log(stop=Step, after=4 * 2 + 1)  # four batches an epoch: the second network has made one step
    bundle = learn(*chinese, tiny.change(branches=3), log)
    assert "network 2 of 3" in log.notes()
    assert "stopped by hand: finished networks are kept" in log.notes()
    assert bundle.model["branches"] == len(bundle.scores["epochs"]) == 1
    for name, array in alone.weights.items():
        np.testing.assert_array_equal(array, bundle.weights[name])


def interrupt() -> None:
    """Ctrl-C, as the system gives it: to the main thread."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


WAITING = ("the linear model is still being fitted", "fitting the linear model")


def fitting_until_stopped(*_: object, check: Callable[[], None], **__: object) -> None:
    while True:
        check()
        time.sleep(0.001)


def test_ctrl_c_while_the_linear_model_is_waited_for_keeps_the_network(
    chinese: Sets, tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Impatient(Log):
        def __call__(self, event: Note | Step | Epoch) -> None:
            super().__call__(event)
            if isinstance(event, Note) and event.sentence in WAITING:
                threading.Timer(0.2, interrupt).start()

    monkeypatch.setattr(linear, "fit", fitting_until_stopped)
    log = Impatient()
    bundle = learn(*chinese, tiny, log)
    assert "stopped by hand: there is no linear model" in log.notes()
    assert (bundle.model["branches"], bundle.scores["linear"]) == (1, None)
    assert Predictor(bundle).verify() == 0.0
    with pytest.raises(KeyboardInterrupt):
        learn(*chinese, tiny.change(model=None, options={}), Impatient())


def test_ctrl_c_once_all_is_trained_ends_nothing_but_pressed_again(
    chinese: Sets, tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    presses = 1

    def pressed(*arguments: Any) -> None:
        for _ in range(presses):
            signal.raise_signal(signal.SIGINT)
        score(*arguments)

    monkeypatch.setattr("fenlei.learn.score", pressed)
    log = Log()
    bundle = learn(*chinese, tiny.change(epochs=1), log)
    assert "stopped by hand: what was trained is being finished" in log.notes()
    assert Predictor(bundle).verify() == 0.0
    assert bundle.scores["epochs"]
    presses = 2
    with pytest.raises(KeyboardInterrupt):
        learn(*chinese, tiny.change(epochs=1), Log())


def test_a_linear_fit_that_fails_keeps_the_network(
    chinese: Sets, tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError("too many n-grams")

    monkeypatch.setattr(linear, "fit", fail)
    log = Log()
    assert learn(*chinese, tiny, log).scores["linear"] is None
    assert "too many n-grams: there is no linear model" in log.notes()
    with pytest.raises(MemoryError):
        learn(*chinese, tiny.change(model=None, options={}), Log())


def test_a_vocabulary_of_nothing_is_told(chinese: Sets, tiny: Recipe) -> None:
    log = Log()
    learn(*chinese, tiny.change(min_count=10_000, streams=()), log)
    assert "no token was seen 10000 times: to the network all texts look the same; try --min-count 1" in log.notes()


def test_pretraining_is_told(chinese: Sets, tiny: Recipe) -> None:
    log = Log()
    learn(*chinese, tiny.change(pretrain_epochs=1, epochs=1), log)
    assert "hidden tokens guessed: loss" in log.notes()


@pytest.mark.slow
@pytest.mark.parametrize("name", ENCODERS)
def test_every_network_reads_documents_of_20000_words_and_of_one(name: str, tiny: Recipe) -> None:
    long = "球队 赢 了 比赛 。 " * 5000
    texts = ["球队 赢 了", "股票 跌 了", "球队", "股票"] * 4 + [long, long.replace("球队", "股票"), "。"]
    labels = ["体育", "财经"] * 9 + ["体育"]
    options = {"filters": 4} if name in ("textcnn", "rcnn") else {"hidden_size": 4}
    recipe = tiny.change(model=name, options=options, wide=False, epochs=1, tokenizer="spaces", max_length=25_000)
    predictor = Predictor(quick(texts, labels, recipe))
    alone = np.concatenate([predictor.predict_proba([text]) for text in (long, "球队", "。", "")])
    np.testing.assert_array_equal(alone, predictor.predict_proba([long, "球队", "。", ""]))
    assert predictor.pipeline.encode([long]).shortened == 0


LEARNED = {"embedding": "shared", "embedding_options": {"assignment": "learned", "ratio": 0.5}, "wide": False}


def test_codes_are_learned_from_a_trained_table_and_answer_without_torch(chinese: Sets, tiny: Recipe) -> None:
    log = Log()
    bundle = learn(*chinese, tiny.change(**LEARNED, epochs=4), log)
    assert re.search(
        r"codes learned: the embedding takes \d+\.\d kB in place of \d+\.\d, dev accuracy 0\.", log.notes()
    )
    tables = {array.dtype for name, array in bundle.weights.items() if name.endswith("codes.table")}
    assert tables == {np.dtype(np.uint8)}
    predictor = Predictor(bundle)
    arrays = training.tensors(predictor.pipeline.encode(chinese[1].texts).batch(np.arange(30)))
    with torch.no_grad():
        logits = restore(bundle, predictor.pipeline.stream_sizes()).eval()(arrays)
    expected = predictor.predict_proba(chinese[1].texts)
    np.testing.assert_allclose(torch.softmax(logits, 1).numpy(), expected, atol=1e-5)


def test_ctrl_c_while_the_full_table_is_trained_leaves_a_shared_one(chinese: Sets, tiny: Recipe) -> None:
    bundle = learn(*chinese, tiny.change(**LEARNED, epochs=9), Log(stop=Epoch, after=1))
    assert bundle.model["embedding"] == "shared"
    assert Predictor(bundle).verify() == 0.0
    restore(bundle, Predictor(bundle).pipeline.stream_sizes())


def test_ctrl_c_while_codes_are_found_waits_for_them(
    chinese: Sets, tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    share_tables = quantizing.share_tables

    def slow(*arguments: object) -> tuple[int, int]:
        time.sleep(0.5)  # by then the main thread waits
        interrupt()
        time.sleep(0.1)
        return share_tables(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(quantizing, "share_tables", slow)
    log = Log()
    bundle = learn(*chinese, tiny.change(**LEARNED, branches=2), log)
    assert "stopped by hand: the codes have to be found first" in log.notes()
    assert bundle.model["branches"] == 1
    assert Predictor(bundle).verify() == 0.0


@pytest.mark.parametrize(
    "options", [{"ratoi": 0.1}, {"codes": 1}, {"codes": "4"}, {"ratio": 2}, {"importance": True}], ids=str
)
def test_wrong_options_of_learned_codes_are_refused_before_training(
    options: dict[str, object], chinese: Sets, tiny: Recipe
) -> None:
    log = Log()
    with pytest.raises(ValueError, match=next(iter(options)).rstrip("s")):
        learn(*chinese, tiny.change(**LEARNED | {"embedding_options": {"assignment": "learned", **options}}), log)
    assert log.epochs() == []


def test_whole_numbers_among_the_weights_are_restored_exactly(chinese: Sets, tiny: Recipe) -> None:
    options = {"assignment": "hash", "ratio": 0.5}
    bundle = learn(*chinese, tiny.change(embedding="shared", embedding_options=options, wide=False), Log())
    predictor = Predictor(bundle)
    arrays = training.tensors(predictor.pipeline.encode(chinese[1].texts).batch(np.arange(30)))
    with torch.no_grad():
        logits = restore(bundle, predictor.pipeline.stream_sizes()).eval()(arrays)
    np.testing.assert_allclose(torch.softmax(logits, 1).numpy(), predictor.predict_proba(chinese[1].texts), atol=1e-5)


def test_the_bundle_says_what_made_it(bundle: Bundle) -> None:
    assert {"fenlei", "python", "torch", "onnxruntime", "numpy"} <= set(bundle.versions)
    assert bundle.scores["dev"]["n"] == 30
    assert (bundle.model["name"], bundle.model["options"]) == ("bilstm", {"hidden_size": 8})


@pytest.mark.parametrize(("scales", "network", "wide"), [((0.0, 2.0), False, True), ((1.5, 0.0), True, False)])
def test_a_branch_without_a_say_is_left_out_of_the_bundle(
    scales: tuple[float, float], network: bool, wide: bool, chinese: Sets, tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "weigh", lambda branches, targets, weights: np.array(scales))
    bundle = learn(*chinese, tiny, Log())
    assert bundle.model["branches"] == int(network)
    assert any(name.startswith("branches") for name in bundle.weights) is network
    assert ("wide.weight" in bundle.weights) is wide
    assert ("wide.hashes" in bundle.tables) is wide
    predictor = Predictor(bundle)
    assert predictor.verify() == 0.0
    assert assess(hold(predictor, *chinese[1][:2]), predictor.decisions) == bundle.scores["dev"]
