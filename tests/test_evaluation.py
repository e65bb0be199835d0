from __future__ import annotations

import pytest

from fenlei.evaluation import evaluate


def test_a_small_case_by_hand() -> None:
    found = evaluate(["a", "a", "a", "b", "c"], ["a", "a", "b", "b", "a"], ["a", "b", "c"])
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["n"] == 5
    assert found["classes"]["a"] == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "support": 3})
    assert found["classes"]["b"] == pytest.approx({"precision": 1 / 2, "recall": 1, "f1": 2 / 3, "support": 1})
    assert found["classes"]["c"] == pytest.approx({"precision": 0, "recall": 0, "f1": 0, "support": 1})
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert found["confusion"] == {"labels": ["a", "b", "c"], "rows": [[2, 1, 0], [0, 1, 0], [1, 0, 0]]}


def test_a_label_that_was_never_learned_counts_with_recall_zero() -> None:
    found = evaluate(["a", "new"], ["a", "a"], ["a", "b"])
    assert list(found["classes"]) == ["a", "new"]
    assert found["classes"]["new"]["recall"] == 0
    assert found["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)


def test_a_class_that_is_neither_true_nor_predicted_is_left_out() -> None:
    found = evaluate(["a", "b"], ["a", "b"], ["a", "b", "c"])
    assert list(found["classes"]) == ["a", "b"]
    assert found["macro_f1"] == 1


def test_a_class_that_is_only_predicted_counts() -> None:
    found = evaluate(["a", "a"], ["a", "c"], ["a", "b", "c"])
    assert found["classes"]["c"] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert found["macro_f1"] == pytest.approx(1 / 3)


def test_one_class_alone_is_no_warning() -> None:
    found = evaluate(["a", "a"], ["a", "a"], ["a", "b"])
    assert (found["accuracy"], found["macro_f1"]) == (1, 1)
    assert found["confusion"] == {"labels": ["a"], "rows": [[2]]}


def test_labels_are_plain_strings_of_any_kind() -> None:
    labels = ["", "a\nb", "x/y", "体育", "1"]
    found = evaluate(labels, labels, labels)
    assert found["accuracy"] == 1
    assert list(found["classes"]) == labels


def test_nothing_to_evaluate_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate([], [], ["a"])
