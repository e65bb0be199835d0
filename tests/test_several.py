"""Several labels a text, end to end: learn, bundle, runtime, command line, estimator say the same."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.metrics import f1_score

from fenlei import TextClassifier
from fenlei.bundle import Bundle
from fenlei.cli import main
from fenlei.decisions import Rule
from fenlei.estimator import is_matrix
from fenlei.learn import Labelled, learn
from fenlei.models import restore
from fenlei.recipe import Recipe
from fenlei.runtime import Predictor
from fenlei.trace import trace

WORDS = {"joy": ["glad", "happy", "smile"], "anger": ["rage", "fury", "mad"], "fear": ["scared", "dread", "panic"]}
FILL = ["the", "day", "was", "long", "and", "we", "went", "home", "again", "today"]


def data(seed: int, count: int) -> Labelled:
    """Texts with one or two feelings each, told by their words."""
    source = random.Random(seed)
    texts, labels = [], []
    for _ in range(count):
        own = tuple(source.sample(sorted(WORDS), source.choice([1, 1, 2])))
        words = [source.choice(WORDS[label]) for label in own for _ in range(2)] + source.choices(FILL, k=6)
        source.shuffle(words)
        texts.append(" ".join(words))
        labels.append(own)
    return Labelled(texts, labels)


TRAIN, DEV = data(1, 300), data(2, 80)
SETTINGS = {
    "epochs": 6,
    "branches": 1,
    "embedding_size": 16,
    "batch_size": 16,
    "learning_rate": 0.01,
    "table_rate": 0.02,
}


@pytest.fixture(scope="module")
def feelings() -> Bundle:
    return learn(TRAIN, DEV, Recipe(options={"hidden_size": 16}, **SETTINGS), lambda _: None)


def as_matrix(labels: list[tuple[str, ...]], names: list[str]) -> np.ndarray:
    return np.array([[name in found for name in names] for found in labels])


def test_every_label_is_learned_for_itself(feelings: Bundle) -> None:
    predictor = Predictor(feelings)
    probabilities = predictor.predict_proba(DEV.texts)
    assert probabilities.sum(1).max() > 1.5
    found = predictor.predict(DEV.texts)
    truth, named = as_matrix(DEV.sets, predictor.labels), as_matrix(found, predictor.labels)
    assert feelings.scores["dev"]["micro_f1"] == pytest.approx(f1_score(truth, named, average="micro"))
    assert feelings.scores["dev"]["micro_f1"] > 0.9
    assert feelings.scores["dev"]["macro_f1"] == pytest.approx(f1_score(truth, named, average="macro"))
    assert feelings.scores["dev"]["accuracy"] == (truth == named).all(1).mean()
    assert set(feelings.decisions["thresholds"]) == set(WORDS)


@pytest.mark.parametrize("changes", [{"wide": False}, {"model": None}], ids=str)
def test_each_branch_alone_can_tell_several_labels(changes: dict[str, object]) -> None:
    options = {} if "model" in changes else {"hidden_size": 16}
    bundle = learn(TRAIN, DEV, Recipe(options=options, **SETTINGS).change(**changes), lambda _: None)
    assert bundle.scores["dev"]["micro_f1"] > 0.8


def test_a_saved_bundle_answers_the_same_and_so_do_the_equations(feelings: Bundle, tmp_path: Path) -> None:
    predictor = Predictor(feelings.save(tmp_path / "b"))
    assert predictor.several
    assert predictor.verify() == 0.0
    np.testing.assert_array_equal(predictor.predict_proba(DEV.texts), Predictor(feelings).predict_proba(DEV.texts))
    assert restore(predictor.bundle, predictor.pipeline.stream_sizes()).several
    if feelings.model["branches"]:
        assert trace(predictor.bundle, DEV.texts[0]).difference < 1e-5


def test_rules_of_several_labels(feelings: Bundle) -> None:
    predictor = Predictor(feelings)
    rows = predictor.predict_proba(DEV.texts)
    for row, answer in zip(rows, predictor.decide(rows, Rule(threshold=0.3)), strict=True):
        assert set(answer.labels) == {label for label, p in zip(predictor.labels, row, strict=True) if p >= 0.3}
        assert list(answer.probabilities) == sorted(answer.probabilities, reverse=True)
        assert answer.unknown is not bool(answer.labels)
    assert all(len(answer.labels) == 2 for answer in predictor.decide(rows, Rule(top=2)))
    with pytest.raises(ValueError, match="coverage is for one label a text"):
        predictor.decide(rows, Rule(coverage=0.9))


def test_the_command_line_from_cells_to_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, side in (("train.tsv", TRAIN), ("test.tsv", DEV)):
        rows = [f"{','.join(labels)}\t{text}\n" for labels, text in zip(side.sets, side.texts, strict=True)]
        (tmp_path / name).write_text("label\ttext\n" + "".join(rows), encoding="utf-8")
    small = ["--option", "hidden_size=16", "--quiet", *(f"--set={key}={value}" for key, value in SETTINGS.items())]
    assert main(["train", str(tmp_path / "train.tsv"), "--out", str(tmp_path / "b"), "--json", *small]) == 0
    found = capsys.readouterr()
    assert "texts have more than one of 3 labels, divided by ','" in found.err
    assert "micro-F1" in found.err
    scores = json.loads(found.out)["scores"]["dev"]
    assert {"micro_f1", "macro_f1", "accuracy", "n", "classes", "calibration"} <= set(scores)
    assert main(["test", str(tmp_path / "b"), str(tmp_path / "test.tsv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["micro_f1"] > 0.9
    assert main(["test", str(tmp_path / "b"), str(tmp_path / "test.tsv")]) == 0
    assert "micro-F1" in capsys.readouterr().out
    (tmp_path / "t.txt").write_text("happy rage smile fury\nhappy smile glad\n", encoding="utf-8")
    assert main(["predict", str(tmp_path / "b"), str(tmp_path / "t.txt"), "--format", "jsonl"]) == 0
    answers = [json.loads(line)["labels"] for line in capsys.readouterr().out.splitlines()]
    assert [set(answer) for answer in answers] == [{"joy", "anger"}, {"joy"}]
    assert main(["predict", str(tmp_path / "b"), str(tmp_path / "t.txt"), "--coverage", "0.9"]) == 1
    assert "coverage is for one label a text" in capsys.readouterr().err
    assert main(["info", str(tmp_path / "b")]) == 0
    assert "micro-F1" in capsys.readouterr().out


def test_a_cell_is_one_label_where_that_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{','.join(sorted(labels))}\t{text}\n" for labels, text in zip(TRAIN.sets, TRAIN.texts, strict=True)]
    (tmp_path / "train.tsv").write_text("label\ttext\n" + "".join(rows), encoding="utf-8")
    asked = ["train", str(tmp_path / "train.tsv"), "--out", str(tmp_path / "b"), "--single-label", "--quiet"]
    assert main([*asked, "--set", "model=null"]) == 0
    assert "anger,joy" in Bundle.load(tmp_path / "b").labels
    assert not Bundle.load(tmp_path / "b").several
    capsys.readouterr()


@pytest.mark.parametrize("form", ["sets", "matrix"])
def test_the_estimator_answers_in_the_form_it_was_given(form: str) -> None:
    names = sorted(WORDS)
    matrix = as_matrix(TRAIN.sets, names).astype(int)
    given = [set(labels) for labels in TRAIN.sets] if form == "sets" else matrix
    classifier = TextClassifier(options={**SETTINGS, "options": {"hidden_size": 16}}).fit(TRAIN.texts, given)
    found = classifier.predict(["happy rage smile fury", "happy smile glad"])
    if form == "sets":
        assert [set(labels) for labels in found] == [{"joy", "anger"}, {"joy"}]
        assert classifier.classes_.tolist() == names
    else:
        assert found.tolist() == [[1, 0, 1], [0, 0, 1]]
        assert classifier.score(DEV.texts, as_matrix(DEV.sets, names).astype(int)) > 0.8
    assert classifier.predict_proba(DEV.texts).shape == (80, 3)


LINEAR = {"model": None, "options": {"min_count": 1, "threads": 1}}


def test_a_label_that_no_text_has_is_warned_of_and_keeps_its_column() -> None:
    matrix = np.insert(as_matrix(TRAIN.sets, sorted(WORDS)).astype(int), 1, 0, axis=1)
    with pytest.warns(UserWarning, match="no text has the label '1': it is never predicted"):
        classifier = TextClassifier(**LINEAR).fit(TRAIN.texts, matrix)
    assert classifier.classes_.tolist() == [0, 1, 2, 3]
    assert classifier.bundle_.labels == ["0", "2", "3"]
    probabilities, found = classifier.predict_proba(DEV.texts), classifier.predict(DEV.texts)
    assert probabilities.shape == found.shape == (len(DEV.texts), 4)
    assert not probabilities[:, 1].any()
    assert not found[:, 1].any()
    assert found[:, [0, 2, 3]].sum(0).min() > 10
    assert classifier.score(DEV.texts, np.insert(as_matrix(DEV.sets, sorted(WORDS)).astype(int), 1, 0, axis=1)) > 0.8


class Frame:
    """What there is of a data frame."""

    ndim = 2

    def __init__(self, values: np.ndarray, columns: list[str]) -> None:
        self.values, self.columns, self.shape = values, columns, values.shape

    def __len__(self) -> int:
        return len(self.values)

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        return self.values


def test_a_sparse_matrix_and_a_data_frame_are_matrices() -> None:
    matrix = as_matrix(TRAIN.sets, sorted(WORDS)).astype(int)
    plain = TextClassifier(**LINEAR).fit(TRAIN.texts, matrix).predict(DEV.texts)
    sparse = TextClassifier(**LINEAR).fit(TRAIN.texts, csr_matrix(matrix))
    np.testing.assert_array_equal(sparse.predict(DEV.texts), plain)
    framed = TextClassifier(**LINEAR).fit(TRAIN.texts, Frame(matrix, sorted(WORDS)))
    np.testing.assert_array_equal(framed.predict(DEV.texts), plain)
    assert framed.bundle_.labels == framed.classes_.tolist() == sorted(WORDS)
    with pytest.raises(ValueError, match="some have the same name: joy, joy, fear"):
        TextClassifier(**LINEAR).fit(TRAIN.texts, Frame(matrix, ["joy", "joy", "fear"]))


def test_rows_of_0_and_1_are_a_matrix_and_labels_are_not() -> None:
    for rows in ([[0, 1], [1, 0]], [np.array([0, 1]), np.array([1, 1])], np.array([[0, 1], [1, 1]])):
        assert is_matrix(rows)
    for rows in ([[0, 1], [1]], [["0", "1"], ["1", "0"]], [{0, 1}, {1, 0}], [[0], [1]], [0, 1], np.array([[0], [1]])):
        assert not is_matrix(rows)


def test_a_matrix_of_other_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 0 and 1 for each class"):
        TextClassifier().fit(["a", "b"], np.array([[0, 2], [1, 0]]))


def test_balanced_classes_count_alike(capsys: pytest.CaptureFixture[str]) -> None:
    """Where both classes share their words, the rare one is named only if it counts as much as the frequent one."""
    source = random.Random(0)
    texts = [" ".join(source.choices(FILL, k=8)) for _ in range(400)]
    labels = ["rare" if number % 10 == 0 else "many" for number in range(400)]
    side = Labelled(texts, labels)
    named = {}
    for weight in ("none", "balanced"):
        recipe = Recipe(model=None, class_weight=weight)
        named[weight] = Predictor(learn(side, side, recipe, lambda _: None)).predict(texts).count("rare")
    assert named["none"] < named["balanced"]
    with pytest.raises(ValueError, match="class_weight=balanced is for one label a text"):
        learn(TRAIN, DEV, Recipe(model=None, class_weight="balanced"), lambda _: None)
