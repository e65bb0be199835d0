"""The estimator keeps scikit-learn's contract: its own checks through an adapter, and the same manners on texts."""

import json
import logging
import pickle
import subprocess
import sys
from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.exceptions import DataConversionWarning, NotFittedError, SkipTestWarning
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator, parametrize_with_checks
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import check_is_fitted, validate_data

import fenlei
from fenlei import Bundle, Predictor, Recipe, TextClassifier
from fenlei.corpus import Ledger
from fenlei.estimator import NOT_HELD_OUT, check_labels, check_texts, check_weights, choose_recipe, hold_out
from fenlei.learn import Labelled
from fenlei.recipe import PRESETS

OPTIONS = {"epochs": 2, "embedding_size": 8, "options": {"hidden_size": 8}, "tokenizer": "words", "threads": 1}
GOOD = ("lovely", "splendid", "很好", "wonderful", "喜欢")
BAD = ("awful", "broken", "糟糕", "dreadful", "失望")
TEXTS = [f"{word} item {number}" for number in range(4) for pair in zip(GOOD, BAD, strict=True) for word in pair]
LABELS = ["good", "bad"] * 20


@pytest.fixture(scope="module")
def fitted():
    return small().fit(TEXTS, LABELS)


@pytest.fixture(scope="module")
def saved(fitted, tmp_path_factory):
    return fitted.save(tmp_path_factory.mktemp("saved") / "bundle")


def small(**parameters):
    return TextClassifier(**{"options": OPTIONS, **parameters})


def linear(**parameters):
    return TextClassifier(**{"model": None, "options": {"tokenizer": "words", "threads": 1}, **parameters})


class Series:
    """What there is of a pandas series after its rows were shuffled: ``series[0]`` is not its first value."""

    ndim = 1

    def __init__(self, values):
        self.values = np.asarray(values)
        self.dtype = self.values.dtype
        self.shape = self.values.shape

    def __len__(self):
        return len(self.values)

    def __iter__(self):
        return iter(self.values)

    def __getitem__(self, label):
        raise KeyError(label)

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


# --- scikit-learn's own checks ---


class NumberReader(TextClassifier):
    """Writes each row of numbers as a text, so that scikit-learn's checks, which only know numbers, can be asked."""

    def fit(self, X, y, sample_weight=None):
        if y is None:
            return super().fit([], None)
        return super().fit(words(validate_data(self, X)), y, sample_weight)

    def predict_proba(self, X):
        check_is_fitted(self)
        return super().predict_proba(words(validate_data(self, X, reset=False)))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.one_d_array = tags.input_tags.string = False
        return tags


def words(rows):
    return [" ".join(f"c{place}n{round(10 * value)}" for place, value in enumerate(row)) for row in rows.astype(float)]


EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": "a document of weight 2 is not two documents to a network that "
    "learns in batches; that weight 0 is absence is tested below",
}


@parametrize_with_checks(
    [NumberReader(options=OPTIONS | {"epochs": 1})], expected_failed_checks=lambda _: EXPECTED_FAILURES
)
def test_scikit_learn_check(estimator, check):
    check(estimator)


def test_scikit_learn_has_one_check_for_texts_and_it_passes():
    with pytest.warns(SkipTestWarning, match="Can't test estimator"):
        found = list(estimator_checks_generator(TextClassifier()))
    assert [check.func.__name__ for _, check in found] == ["check_estimator_cloneable"]
    with pytest.warns(SkipTestWarning):
        assert [each["status"] for each in check_estimator(TextClassifier())] == ["passed"]


# --- parameters ---


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"model": None},
        {"model": "lstm2", "preset": "fast"},
        {"options": OPTIONS, "random_state": 7},
        {"options": {"unknown": 1}, "preset": "unknown", "random_state": None},
    ],
)
class TestParameters:
    def test_get_params_is_what_was_given(self, parameters):
        defaults = {"model": "auto", "preset": "default", "options": None, "random_state": 0}
        assert TextClassifier(**parameters).get_params() == defaults | parameters

    def test_set_params_takes_what_get_params_gives(self, parameters):
        params = TextClassifier(**parameters).get_params()
        other = TextClassifier()
        assert other.set_params(**params) is other
        assert other.get_params() == params

    def test_clone_keeps_them(self, parameters):
        original = TextClassifier(**parameters)
        copy = clone(original)
        assert copy is not original
        assert copy.get_params() == original.get_params()

    def test_constructor_stores_the_very_objects(self, parameters):
        classifier = TextClassifier(**parameters)
        assert all(getattr(classifier, name) is value for name, value in parameters.items())

    def test_pickle_before_fit_keeps_them(self, parameters):
        assert pickle.loads(pickle.dumps(TextClassifier(**parameters))).get_params() == (
            TextClassifier(**parameters).get_params()
        )


def test_an_unknown_parameter_is_refused():
    with pytest.raises(ValueError, match="Invalid parameter 'depth'"):
        TextClassifier().set_params(depth=3)


def test_repr_shows_what_differs_from_the_defaults():
    assert repr(TextClassifier()) == "TextClassifier()"
    assert repr(TextClassifier(preset="fast", random_state=3)) == "TextClassifier(preset='fast', random_state=3)"
    assert "TextClassifier" in TextClassifier()._repr_html_()


def test_fit_changes_no_parameter():
    options = deepcopy(OPTIONS)
    classifier = small(options=options)
    classifier.fit(TEXTS, LABELS)
    assert classifier.options is options
    assert options == OPTIONS
    assert classifier.get_params() == small(options=options).get_params()


def test_clone_of_a_fitted_one_is_not_fitted(fitted):
    assert not hasattr(clone(fitted), "classes_")


# --- the recipe ---


def test_options_go_over_the_preset():
    assert choose_recipe("bilstm", "fast", None, 5) == Recipe(**PRESETS["fast"], model="bilstm", seed=5)
    recipe = choose_recipe("lstm2", "fast", {"epochs": 9, "options": {"hidden_size": 2}}, 0)
    assert (recipe.model, recipe.epochs, recipe.options) == ("lstm2", 9, {"hidden_size": 2})
    recipe = choose_recipe("lstm2", "fast", {"patience": 9}, 0)
    assert (recipe.patience, recipe.pace) == (9, PRESETS["fast"]["pace"])


def test_the_recipe_is_in_the_bundle(fitted):
    recipe = fitted.bundle_.recipe
    assert (recipe["epochs"], recipe["embedding_size"], recipe["seed"]) == (2, 8, 0)
    assert fitted.bundle_.model["options"] == {"hidden_size": 8}


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"preset": "huge"}, ValueError, "unknown preset 'huge'; the choices are default, fast, best, classic"),
        ({"options": {"hidden": 3}}, ValueError, "unknown setting 'hidden'; the settings are model, options"),
        ({"options": {"model": "lstm2"}}, ValueError, "options cannot hold 'model': set the parameter model"),
        ({"options": {"seed": 3}}, ValueError, "options cannot hold 'seed': set the parameter random_state"),
        ({"options": {"dropout": 2}}, ValueError, r"the setting dropout must be a number in \[0, 1\), got 2"),
        ({"options": {"branches": 0}}, ValueError, "the setting branches must be a whole number of at least 1, got"),
        ({"options": {"tokenizer": "bpe"}}, ValueError, "unknown tokenizer 'bpe'; the choices are auto, chars, words"),
        ({"options": {"streams": ("tea",)}}, ValueError, "unknown stream 'tea'; the choices are bigrams"),
        ({"options": [3]}, TypeError, r"options should be a dict of settings, got \[3\]"),
        ({"model": "elman"}, ValueError, "unknown model 'elman'; the choices are .*bilstm"),
        ({"random_state": "x"}, ValueError, "'x' cannot be used to seed"),
        ({"random_state": -1}, ValueError, "Seed must be between 0"),
    ],
)
def test_a_wrong_parameter_is_found_by_fit(parameters, error, message):
    classifier = small(**parameters)
    with pytest.raises(error, match=message):
        classifier.fit(TEXTS, LABELS)
    assert not hasattr(classifier, "classes_")


@pytest.mark.parametrize("seed", [0, 7, np.int64(7), 2**32 - 1])
def test_an_int_is_the_seed(seed):
    assert choose_recipe("bilstm", "default", None, seed).seed == seed


def test_a_random_state_gives_another_seed_each_time_and_the_same_ones_again():
    def draw(state):
        return [choose_recipe("bilstm", "default", None, state).seed for _ in range(3)]

    one = draw(np.random.RandomState(3))
    assert len(set(one)) == 3
    assert draw(np.random.RandomState(3)) == one
    assert draw(None) != one


# --- fit ---


def test_fit_returns_self():
    classifier = linear()
    assert classifier.fit(TEXTS, LABELS) is classifier


def test_fit_sets_what_it_documents(fitted):
    assert isinstance(fitted.bundle_, Bundle)
    public = {name for name in vars(fitted) if name.endswith("_") and not name.startswith("_")}
    assert public == {"bundle_", "classes_"}


def test_two_fits_give_the_same(fitted):
    again = small().fit(TEXTS, LABELS)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), fitted.predict_proba(TEXTS))
    again.fit(TEXTS, LABELS)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), fitted.predict_proba(TEXTS))


def test_another_seed_gives_another_network(fitted):
    other = small(random_state=1).fit(TEXTS, LABELS)
    assert (other.predict_proba(TEXTS) != fitted.predict_proba(TEXTS)).any()


def test_a_second_fit_forgets_the_first():
    classifier = linear().fit(TEXTS, LABELS)
    classifier.predict(TEXTS)
    classifier.fit(TEXTS, [{"good": 1, "bad": 0}[label] for label in LABELS])
    assert classifier.classes_.tolist() == [0, 1]
    assert classifier.predict([f"{GOOD[0]} item"]).tolist() == [1]


def test_a_failed_fit_leaves_the_earlier_one():
    classifier = linear().fit(TEXTS, LABELS)
    with pytest.raises(ValueError, match="more than one class"):
        classifier.fit(["a", "b"], ["x", "x"])
    assert classifier.classes_.tolist() == ["bad", "good"]
    assert classifier.score(TEXTS, LABELS) == 1.0


def test_fit_leaves_the_process_as_it_was():
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()
    small().fit(TEXTS, LABELS)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)


def test_fit_prints_nothing_and_tells_its_logger(capfd, caplog):
    with caplog.at_level(logging.INFO, "fenlei.estimator"):
        small().fit(TEXTS, LABELS)
    assert capfd.readouterr() == ("", "")
    assert any(message.startswith("vocabulary: ") for message in caplog.messages)
    assert [m.split(":")[0] for m in caplog.messages if m.startswith("epoch")] == ["epoch 1 of 2", "epoch 2 of 2"]


# --- labels ---


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [
        ("bad", "good", "U"),
        ("好", "差", "U"),
        (0, 1, "i"),
        (-10, 2, "i"),
        (False, True, "b"),
        (1.0, 2.0, "f"),
        (np.int8(3), np.int8(12), "i"),
    ],
)
def test_labels_keep_their_type(low, high, kind):
    y = [high, low] * 20
    classifier = linear().fit(TEXTS, y)
    assert classifier.classes_.dtype.kind == kind
    assert classifier.classes_.tolist() == [low, high]
    predicted = classifier.predict(TEXTS)
    assert predicted.dtype == classifier.classes_.dtype
    assert predicted.tolist() == y
    assert classifier.score(TEXTS, y) == 1.0


def test_classes_stand_in_the_order_of_numbers_and_so_do_the_columns():
    """As strings, which the bundle has, the order is another one: "-10", "100", "9"."""
    word_of = {9: "nine", 100: "hundred", -10: "minus"}
    y = [9, 100, -10] * 8
    texts = [f"{word_of[label]} item {place}" for place, label in enumerate(y)]
    classifier = linear().fit(texts, y)
    assert classifier.classes_.tolist() == [-10, 9, 100]
    assert classifier.bundle_.labels == ["-10", "100", "9"]
    assert classifier.predict_proba(["minus item", "nine item", "hundred item"]).argmax(1).tolist() == [0, 1, 2]
    assert classifier.predict(texts).tolist() == y


@pytest.mark.parametrize(
    ("y", "dtype", "values"),
    [
        (np.array(["a", "b"], dtype=object), object, ["a", "b"]),
        (np.array([1, 2], dtype=object), np.int64, [1, 2]),
        (np.array([True, False], dtype=object), np.bool_, [True, False]),
        (np.array([1, 2], dtype=np.uint8), np.uint8, [1, 2]),
        (("a", "bb"), "<U2", ["a", "bb"]),
        ([np.str_("a"), "b"], "<U1", ["a", "b"]),
        ([True, np.bool_(False)], np.bool_, [True, False]),
        (Series(["a", "b"]), "<U1", ["a", "b"]),
        (range(2), np.int64, [0, 1]),
    ],
)
def test_labels_come_as_any_sequence(y, dtype, values):
    labels = check_labels(y)
    assert labels.dtype == dtype
    assert labels.tolist() == values


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "requires y to be passed, but the target y is None"),
        (["a", None, "b"], "label number 1 is None, expected a string, a whole number or a bool"),
        (["a", "b", float("nan")], "label number 2 is nan"),
        (np.array([0.0, np.nan]), "label number 1 is nan"),
        ([0.0, float("-inf")], "label number 1 is -inf"),
        (["a", 1], "labels should be all strings or all numbers, got 'a' and 1"),
        ([1, "a"], "labels should be all strings or all numbers, got 1 and 'a'"),
        ([b"a", b"b"], "label number 0 is b'a'"),
        (["a", ("b", "c")], "label number 1 is"),
        ([0.5, 1.5], "Unknown label type: continuous"),
        ([["a", "b"], ["a", "b"]], "y should be a 1d array"),
        (np.zeros((2, 2)), "y should be a 1d array"),
        ("ab", "y should be a 1d array"),
    ],
)
def test_labels_that_are_none(y, message):
    with pytest.raises(ValueError, match=message):
        check_labels(y)


@pytest.mark.parametrize("y", [[["a"], ["b"]], np.array([["a"], ["b"]])])
def test_a_column_of_labels_is_taken_with_a_warning(y):
    with pytest.warns(DataConversionWarning, match="column-vector"):
        assert check_labels(y).tolist() == ["a", "b"]


@pytest.mark.parametrize(("label", "shown"), [("x", "'x'"), (1, "'1'"), (True, "'True'")])
def test_one_class_is_refused(label, shown):
    with pytest.raises(ValueError, match=f"more than one class, the training data has only {shown}"):
        small().fit(TEXTS, [label] * len(TEXTS))


def test_no_documents_are_refused():
    with pytest.raises(ValueError, match="more than one class, the training data has none"):
        small().fit([], [])


# --- texts ---


@pytest.mark.parametrize(
    "kind",
    [list, tuple, np.array, lambda texts: np.array(texts, dtype=object), Series],
    ids=["list", "tuple", "strings", "objects", "series"],
)
def test_texts_come_as_any_sequence(kind, fitted):
    texts = kind(TEXTS)
    assert check_texts(texts) == TEXTS
    assert {type(text) for text in check_texts(texts)} == {str}
    np.testing.assert_array_equal(fitted.predict_proba(texts), fitted.predict_proba(TEXTS))


def test_series_and_lists_train_the_same():
    one = linear().fit(Series(TEXTS), Series(LABELS), Series(np.ones(40)))
    np.testing.assert_array_equal(one.predict_proba(TEXTS), linear().fit(TEXTS, LABELS).predict_proba(TEXTS))


WRONG_TEXTS = [
    ("one text", TypeError, "expected a list of texts, got one str"),
    (b"one text", TypeError, "expected a list of texts, got one bytes"),
    ([b"bytes", b"texts"], TypeError, "text number 0 is b'bytes' of type bytes, expected str"),
    (["a", None], TypeError, "text number 1 is None of type NoneType, expected str"),
    (["a", float("nan")], TypeError, "text number 1 is nan of type float, expected str"),
    ([["a"], ["b"]], TypeError, r"text number 0 is \['a'\] of type list, expected str"),
    ([1, 2], TypeError, "text number 0 is 1 of type int, expected str"),
    (np.array([["a"], ["b"]]), ValueError, "expected texts in one dimension, got 2 of them: pass the one column"),
    (np.array("a"), ValueError, "expected texts in one dimension, got 0"),
    ((text for text in "ab"), TypeError, "expected a sequence of texts, such as a list, got generator"),
    ({"a", "b"}, TypeError, "expected a sequence of texts, such as a list, got set"),
    ({"a": 1, "b": 2}, TypeError, "expected a sequence of texts, such as a list, got dict"),
    (None, TypeError, "expected a sequence of texts, such as a list, got NoneType"),
]


@pytest.mark.parametrize(("X", "error", "message"), WRONG_TEXTS)
def test_what_is_no_sequence_of_texts_is_refused(X, error, message, fitted):
    with pytest.raises(error, match=message):
        fitted.predict_proba(X)


@pytest.mark.parametrize(("X", "error", "message"), [each for each in WRONG_TEXTS if each[0] is not None][:8])
def test_fit_refuses_it_too(X, error, message):
    with pytest.raises(error, match=message):
        small().fit(X, ["x", "y"])


@pytest.mark.parametrize(("texts", "labels"), [(TEXTS, LABELS[:-1]), (TEXTS[:-1], LABELS), (TEXTS, [])])
def test_as_many_labels_as_texts(texts, labels):
    with pytest.raises(ValueError, match=rf"inconsistent numbers of samples: \[{len(texts)}, {len(labels)}\]"):
        small().fit(texts, labels)


# --- predict ---


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba"])
def test_not_fitted(method):
    with pytest.raises(NotFittedError, match="TextClassifier instance is not fitted yet"):
        getattr(TextClassifier(), method)(TEXTS)


def test_neither_score_nor_save_before_fit(tmp_path):
    with pytest.raises(NotFittedError):
        TextClassifier().score(TEXTS, LABELS)
    with pytest.raises(NotFittedError):
        TextClassifier().save(tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_probabilities_are_probabilities(fitted):
    probabilities = fitted.predict_proba([*TEXTS, "", "something else", "\x00", "龘" * 3000])
    assert probabilities.shape == (44, 2)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(1), 1.0, atol=1e-6)


def test_predict_is_the_likeliest_class(fitted):
    expected = fitted.classes_[fitted.predict_proba(TEXTS).argmax(1)]
    np.testing.assert_array_equal(fitted.predict(TEXTS), expected)


def test_log_probabilities(fitted):
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(TEXTS)), fitted.predict_proba(TEXTS), rtol=1e-5)


def test_the_logarithm_of_an_impossible_class_warns_of_nothing(fitted, monkeypatch):
    monkeypatch.setattr(TextClassifier, "predict_proba", lambda self, X: np.array([[0.0, 1.0]], np.float32))
    assert fitted.predict_log_proba(["a"]).tolist() == [[-np.inf, 0.0]]


def test_score_is_accuracy(fitted):
    wrong = [*LABELS[:30], *reversed(LABELS[30:])]
    assert fitted.score(TEXTS, LABELS) == 1.0
    assert fitted.score(TEXTS, wrong) == accuracy_score(wrong, fitted.predict(TEXTS)) == 0.75
    weights = np.arange(40)
    assert fitted.score(TEXTS, wrong, weights) == accuracy_score(wrong, fitted.predict(TEXTS), sample_weight=weights)


def test_order_does_not_matter(fitted):
    order = np.random.default_rng(0).permutation(len(TEXTS))
    shuffled = fitted.predict_proba([TEXTS[place] for place in order])
    np.testing.assert_array_equal(shuffled, fitted.predict_proba(TEXTS)[order])


def test_neighbours_do_not_matter(fitted):
    alone = np.concatenate([fitted.predict_proba([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, fitted.predict_proba(TEXTS), atol=1e-6)


def test_no_texts_give_no_answers(fitted):
    assert fitted.predict([]).shape == (0,)
    assert fitted.predict_proba([]).shape == (0, 2)


def test_predict_changes_nothing(fitted):
    before = dict(vars(fitted))
    texts = np.array(TEXTS, dtype=object)
    fitted.predict(texts)
    assert vars(fitted).keys() == before.keys()
    assert all(vars(fitted)[name] is value for name, value in before.items())
    assert texts.tolist() == TEXTS


# --- weights ---


@pytest.mark.parametrize("make", [small, linear])
@pytest.mark.parametrize("heavy", ["good", "bad"])
def test_weights_shift_the_decision(make, heavy):
    doubtful = [f"so so item {number}" for number in range(4)]
    texts, labels = TEXTS + doubtful * 4, LABELS + ["good", "bad"] * 8
    weights = [1.0] * 40 + [10.0 if label == heavy else 1.0 for label in labels[40:]]
    assert set(make().fit(texts, labels, weights).predict(doubtful)) == {heavy}


@pytest.mark.parametrize("make", [small, linear])
def test_weight_zero_is_absence(make):
    wrong = ["bad" if label == "good" else "good" for label in LABELS]
    weighted = make().fit(TEXTS + TEXTS, LABELS + wrong, np.repeat([1.0, 0.0], 40))
    np.testing.assert_array_equal(weighted.predict_proba(TEXTS), make().fit(TEXTS, LABELS).predict_proba(TEXTS))


def test_only_the_ratios_of_weights_count(fitted):
    for weights in (np.ones(40), [7] * 40, np.full(40, 1e-300)):
        same = small().fit(TEXTS, LABELS, sample_weight=weights)
        np.testing.assert_array_equal(same.predict_proba(TEXTS), fitted.predict_proba(TEXTS))


def test_a_class_without_weight_is_no_class():
    labels = ["other", *LABELS[1:]]
    classifier = linear().fit(TEXTS, labels, [0.0] + [1.0] * 39)
    assert classifier.classes_.tolist() == ["bad", "good"]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0], r"one weight for each of 3 texts, got shape \(1,\)"),
        ([1.0] * 4, r"one weight for each of 3 texts, got shape \(4,\)"),
        ([[1.0]] * 3, r"got shape \(3, 1\)"),
        (2.0, r"got shape \(\)"),
        ([1.0, -1.0, 1.0], "weight number 1 is -1.0, expected a finite number, 0 or more"),
        ([1.0, 1.0, float("nan")], "weight number 2 is nan"),
        ([float("inf"), 1.0, 1.0], "weight number 0 is inf"),
        ([0, 0, 0], "every sample_weight is zero"),
    ],
)
def test_wrong_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        check_weights(weights, 3)
    with pytest.raises(ValueError, match=message):
        small().fit(["a", "b", "c"], ["x", "y", "x"], weights)


def test_weights_are_one_on_average_and_the_given_ones_stay():
    given_weights = np.array([0.0, 1.0, 3.0])
    kept, weights = check_weights(given_weights, 3)
    assert kept.tolist() == [1, 2]
    assert weights.tolist() == [0.5, 1.5]
    assert weights.dtype == np.float32
    assert given_weights.tolist() == [0.0, 1.0, 3.0]


# --- held-out documents and tiny sets ---

PAIRS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("xyz")), max_size=30)


@given(PAIRS, st.sampled_from([0.0, 0.1, 0.5, 0.9]), st.integers(0, 5))
def test_holding_out_loses_no_document_and_no_class(pairs, fraction, seed):
    data = Labelled([text for text, _ in pairs], [label for _, label in pairs], np.arange(len(pairs), dtype=np.float32))
    ledger = Ledger()
    train, dev = hold_out(data, Recipe(dev_fraction=fraction, seed=seed), ledger)
    assert set(train.labels) == set(data.labels)
    if ledger.notes:
        assert train is dev is data
        return
    assert len(set(dev.labels)) >= 2
    assert not set(train.texts) & set(dev.texts)
    rows = [*zip(*train, strict=True), *zip(*dev, strict=True)]
    assert sorted(rows, key=lambda row: row[2]) == list(zip(*data, strict=True))


def test_a_tenth_is_held_out(fitted):
    assert fitted.bundle_.scores["dev"]["n"] == 4
    assert fitted.bundle_.ledger["notes"] == []


def test_more_texts_are_judged_by_networks_that_did_not_learn_from_them():
    weights = np.arange(1.0, 81.0)
    classifier = small(options=OPTIONS | {"epochs": 1}).fit(TEXTS * 2, LABELS * 2, sample_weight=weights)
    scores = classifier.bundle_.scores
    assert (scores["folds"], scores["dev"]["n"], len(scores["epochs"])) == (5, 80, 5)
    assert classifier.bundle_.ledger["notes"] == []
    assert classifier.score(TEXTS, LABELS) == 1.0


def test_no_fraction_holds_nothing_out():
    classifier = linear(options={"dev_fraction": 0.0, "threads": 1}).fit(TEXTS, LABELS)
    assert classifier.bundle_.scores["dev"]["n"] == 40
    assert classifier.bundle_.ledger["notes"] == [NOT_HELD_OUT]


@pytest.mark.parametrize("make", [small, linear])
@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (["a", "b"], ["x", "y"]),
        (["好", "坏"], ["x", "y"]),
        (["same", "same"], ["x", "y"]),
        (["x", "x", "y", "z"], ["A", "B", "B", "B"]),
        ([*TEXTS[:12], "alone"], [*LABELS[:12], "rare"]),
        ([f"{n}" for n in range(12)], [f"{n}" for n in range(12)]),
    ],
)
def test_tiny_sets_train_and_say_how_they_were_judged(make, texts, labels, caplog):
    with caplog.at_level(logging.INFO, "fenlei.estimator"):
        classifier = make().fit(texts, labels)
    assert classifier.classes_.tolist() == sorted(set(labels))
    assert classifier.predict_proba(texts).shape == (len(texts), len(set(labels)))
    assert classifier.bundle_.ledger["notes"] == [NOT_HELD_OUT]
    assert NOT_HELD_OUT in caplog.messages


def test_texts_that_are_all_empty_are_warned_of():
    with pytest.warns(UserWarning, match="all 4 texts are empty: every answer will be the same"):
        classifier = linear().fit(["", " ", "\n", ""], ["x", "y", "x", "y"])
    assert classifier.predict_proba(["", "a"]).shape == (2, 2)


# --- in company ---


def test_tags():
    tags = get_tags(TextClassifier())
    assert tags.estimator_type == "classifier"
    assert is_classifier(TextClassifier())
    assert (tags.input_tags.string, tags.input_tags.one_d_array, tags.input_tags.two_d_array) == (True, True, False)
    assert tags.target_tags.required
    assert tags.requires_fit


def test_routing_knows_the_weights_and_the_texts_without_labels_and_nothing_else():
    requests = get_routing_for_object(TextClassifier())
    assert sorted(requests.fit.requests) == ["sample_weight", "unlabelled"]
    assert list(requests.predict.requests) == []


@pytest.mark.parametrize("copy", [deepcopy, lambda fitted: pickle.loads(pickle.dumps(fitted))], ids=["copy", "pickle"])
def test_copies_answer_the_same(copy, fitted):
    other = copy(fitted)
    np.testing.assert_array_equal(other.predict_proba(TEXTS), fitted.predict_proba(TEXTS))
    np.testing.assert_array_equal(other.classes_, fitted.classes_)
    assert other.get_params() == fitted.get_params()
    assert fitted.predict(TEXTS[:1]) == ["good"]


def test_pipeline():
    shout = FunctionTransformer(lambda texts: [text.upper() for text in texts])
    pipeline = Pipeline([("shout", shout), ("classify", small(options=OPTIONS | {"lower": False}))])
    pipeline.fit(TEXTS, LABELS, classify__sample_weight=np.ones(40))
    assert pipeline.score(TEXTS, LABELS) == 1.0
    assert pipeline.classes_.tolist() == ["bad", "good"]
    vocabulary = {token for token, _ in pipeline["classify"].bundle_.vocab}
    assert "LOVELY" in vocabulary
    assert "lovely" not in vocabulary


def test_pipeline_parameters():
    pipeline = make_pipeline(FunctionTransformer(), TextClassifier())
    pipeline.set_params(textclassifier__preset="fast")
    assert pipeline[-1].preset == "fast"


def test_set_output_changes_nothing():
    pipeline = make_pipeline(FunctionTransformer(), linear())
    plain = pipeline.fit(TEXTS, LABELS).predict_proba(TEXTS)
    assert pipeline.set_output(transform="default") is pipeline
    np.testing.assert_array_equal(pipeline.fit(TEXTS, LABELS).predict_proba(TEXTS), plain)


@pytest.mark.parametrize("scoring", [None, "accuracy", "f1_macro", "neg_log_loss", "roc_auc"])
def test_cross_val_score(scoring):
    scores = cross_val_score(linear(), TEXTS, LABELS, cv=2, scoring=scoring, error_score="raise")
    assert scores.shape == (2,)
    assert (scores > (-0.5 if scoring == "neg_log_loss" else 0.9)).all()


def test_cross_val_predict_of_probabilities():
    y = np.array([1 if label == "good" else -1 for label in LABELS])
    probabilities = cross_val_predict(small(), np.array(TEXTS, dtype=object), y, cv=2, method="predict_proba")
    assert (np.array([-1, 1])[probabilities.argmax(1)] == y).all()


def test_grid_search():
    grid = {"model": [None, "bilstm"], "options": [OPTIONS, OPTIONS | {"ngram_min_count": 1}]}
    search = GridSearchCV(small(), grid, cv=2, error_score="raise").fit(TEXTS, LABELS)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_score_ == 1.0
    assert search.predict([f"{BAD[1]} item"]).tolist() == ["bad"]


def test_grid_search_over_the_parameters_of_a_pipeline_step():
    pipeline = make_pipeline(FunctionTransformer(), linear())
    search = GridSearchCV(pipeline, {"textclassifier__random_state": [0, 1]}, cv=2, error_score="raise")
    assert search.fit(TEXTS, LABELS).best_score_ == 1.0


def test_calibration():
    calibrated = CalibratedClassifierCV(linear(), cv=2).fit(TEXTS, LABELS)
    assert calibrated.score(TEXTS, LABELS) == 1.0
    np.testing.assert_allclose(calibrated.predict_proba(TEXTS).sum(1), 1.0, atol=1e-6)


@pytest.mark.parametrize("voting", ["soft", "hard"])
def test_voting_beside_a_classic(voting):
    classic = make_pipeline(CountVectorizer(), LogisticRegression())
    ensemble = VotingClassifier([("fenlei", linear()), ("classic", classic)], voting=voting).fit(TEXTS, LABELS)
    assert ensemble.score(TEXTS, LABELS) == 1.0


def test_stacking():
    stack = StackingClassifier([("fenlei", linear())], LogisticRegression(), cv=2).fit(TEXTS, LABELS)
    assert stack.score(TEXTS, LABELS) == 1.0


def test_one_against_the_rest():
    many = OneVsRestClassifier(linear()).fit(TEXTS, LABELS)
    assert many.score(TEXTS, LABELS) == 1.0


# --- saving, and the package's front door ---


def test_what_is_saved_answers_the_same(fitted, saved):
    predictor = fenlei.load(saved)
    assert isinstance(predictor, Predictor)
    assert predictor.labels == fitted.classes_.tolist()
    np.testing.assert_array_equal(predictor.predict_proba(TEXTS), fitted.predict_proba(TEXTS))
    assert predictor.predict(TEXTS) == fitted.predict(TEXTS).tolist()


def test_labels_of_a_bundle_are_strings(tmp_path):
    y = [{"good": 2, "bad": 10}[label] for label in LABELS]
    path = linear().fit(TEXTS, y).save(tmp_path / "bundle")
    assert fenlei.load(str(path)).predict(TEXTS) == [str(label) for label in y]


def test_save_may_be_told_not_to_overwrite(fitted, saved):
    assert fitted.save(saved) == saved
    with pytest.raises(FileExistsError, match="already holds a bundle"):
        fitted.save(saved, overwrite=False)


def test_load_of_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no bundle"):
        fenlei.load(tmp_path / "nothing")


def test_the_front_door_names_what_it_has():
    assert set(fenlei.__all__) <= set(dir(fenlei))
    assert all(getattr(fenlei, name) is not None for name in fenlei.__all__)
    assert fenlei.TextClassifier is TextClassifier
    with pytest.raises(AttributeError, match="module 'fenlei' has no attribute 'TextClasifier'"):
        _ = fenlei.TextClasifier


def run(code, *arguments):
    """What ``code`` prints, as JSON, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_importing_the_package_loads_nothing_heavy():
    heavy = ("torch", "numpy", "onnxruntime", "onnx", "sklearn", "scipy", "safetensors", "rjieba")
    code = f"import sys, json, fenlei; dir(fenlei); print(json.dumps([n for n in {heavy!r} if n in sys.modules]))"
    assert run(code) == []


WITHOUT_TRAINING = """
import sys, json
for name in ("torch", "sklearn", "scipy", "onnx"):
    sys.modules[name] = None  # importing it raises
import fenlei
try:
    from fenlei import TextClassifier
except ImportError as error:
    message = str(error)
fenlei.Recipe(), fenlei.Bundle
print(json.dumps([message, fenlei.load(sys.argv[1]).predict(["lovely item", "awful item"])]))
"""


def test_without_the_extra_one_sentence_says_what_to_install_and_a_bundle_still_answers(saved):
    message, predicted = run(WITHOUT_TRAINING, str(saved))
    assert message == "TextClassifier needs torch and scikit-learn: pip install -c constraints.txt 'fenlei[train]'"
    assert predicted == ["good", "bad"]


def test_a_missing_package_of_the_base_install_is_named():
    code = """
import sys, json
sys.modules["onnxruntime"] = None
import fenlei
try:
    fenlei.Predictor
except ModuleNotFoundError as error:
    print(json.dumps(error.name))
"""
    assert run(code) == "onnxruntime"


def test_texts_without_labels_are_learned_from_and_held_out_ones_are_not():
    texts = ["球队赢了比赛", "教练说冠军很难", "股票今天上涨", "银行的利率不变"] * 5
    labels = ["体育", "体育", "财经", "财经"] * 5
    classifier = TextClassifier(model=None, options={"min_count": 1})
    others = [*texts[:2], "龘的比赛", "龘的股票", ""]
    found = classifier.fit(texts, labels, unlabelled=others).bundle_
    assert found.ledger["unlabelled"] == {"read": 5, "empty": 1, "held_out": 0, "labelled": 2, "used": 2}
    assert "龘" in dict(found.vocab)
    none = classifier.fit(texts, labels, unlabelled=[]).bundle_
    assert (none.ledger["unlabelled"]["read"], none.ledger["unlabelled"]["used"]) == (0, 0)
    found = classifier.fit(texts, labels).bundle_
    assert "unlabelled" not in found.ledger
    assert "龘" not in dict(found.vocab)
    with pytest.raises(TypeError, match="expected a sequence of texts"):
        classifier.fit(texts, labels, unlabelled=3)
