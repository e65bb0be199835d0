from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from fenlei.evaluation import calibration, evaluate, evaluate_several, lead, share_interval


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


def test_the_interval_of_a_share_is_wilsons() -> None:
    """Wilson 1927 by hand: (p + z2/2n +- z sqrt(p(1-p)/n + z2/4n2)) / (1 + z2/n), with p = 8/10."""
    z2 = 1.959964**2
    middle, half = (0.8 + z2 / 20) / (1 + z2 / 10), np.sqrt(z2 * (0.16 / 10 + z2 / 400)) / (1 + z2 / 10)
    assert share_interval(8, 10) == pytest.approx([middle - half, middle + half], abs=1e-6)


def test_the_interval_of_macro_f1_is_that_of_documents_drawn_again() -> None:
    rng = np.random.default_rng(1)
    true = rng.integers(0, 3, 400)
    guesses = np.where(rng.random(400) < 0.8, true, rng.integers(0, 3, 400))
    names = ["a", "b", "c"]
    found = evaluate([names[t] for t in true], [names[g] for g in guesses], names)["macro_f1_interval"]
    drawn = [rng.integers(0, 400, 400) for _ in range(500)]
    peer = np.quantile([f1_score(true[rows], guesses[rows], average="macro") for rows in drawn], [0.025, 0.975])
    assert found == pytest.approx(peer, abs=0.012)


def test_several_labels_by_hand_and_as_scikit_learn_has_them() -> None:
    true = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, 1]], np.int8)
    named = np.array([[1, 0, 1], [0, 1, 1], [0, 0, 0], [0, 0, 1]], np.int8)
    found = evaluate_several(true, named, ["a", "b", "c"])
    assert found["accuracy"] == 2 / 4
    assert found["micro_f1"] == pytest.approx(f1_score(true, named, average="micro"))
    assert found["macro_f1"] == pytest.approx(f1_score(true, named, average="macro"))
    assert found["classes"]["a"] == pytest.approx({"precision": 1, "recall": 1 / 2, "f1": 2 / 3, "support": 2})
    more = evaluate_several(np.pad(true, ((0, 0), (0, 1))), np.pad(named, ((0, 0), (0, 1))), ["a", "b", "c", "unused"])
    assert more == found
    nothing = evaluate_several(np.zeros((2, 2), np.int8), np.zeros((2, 2), np.int8), ["a", "b"])
    assert (nothing["accuracy"], nothing["micro_f1"], nothing["macro_f1"], nothing["classes"]) == (1.0, 0.0, 0.0, {})
    low, high = found["micro_f1_interval"]
    assert low < found["micro_f1"] <= high <= 1


def test_of_several_labels_one_alone_may_be_used() -> None:
    true, named = (np.array([[first, 0] for first in side], np.int8) for side in ((1, 1, 1, 0), (1, 1, 0, 0)))
    found = evaluate_several(true, named, ["a", "b"])
    assert found["classes"] == {"a": pytest.approx({"precision": 1, "recall": 2 / 3, "f1": 4 / 5, "support": 3})}
    assert found["micro_f1"] == found["macro_f1"] == pytest.approx(4 / 5)
    assert found["micro_f1_interval"] == found["macro_f1_interval"]


def test_calibration_by_hand() -> None:
    """One bin holds 0.9, 0.92 (one of two right), another 0.5 (right)."""
    found = calibration(np.array([0.9, 0.5, 0.92]), np.array([True, True, False]))
    assert [each["n"] for each in found["bins"]] == [1, 2]
    assert found["bins"][1] == pytest.approx({"n": 2, "confidence": 0.91, "accuracy": 0.5})
    assert found["ece"] == pytest.approx((0.5 + 2 * 0.41) / 3)
    assert calibration(np.array([1.0, 0.0]), np.array([True, False]))["ece"] == 0


def test_the_lead_is_paired() -> None:
    """Right where the rival is wrong 30 times in 100, the other way round 10 times."""
    right = np.array([True] * 30 + [False] * 10 + [True] * 60)
    rival = np.array([False] * 30 + [True] * 10 + [True] * 60)
    found = lead(right, rival)
    margin = 1.959964 * np.sqrt((0.4 - 0.2**2) / 100)
    assert found["gain"] == pytest.approx(0.2)
    assert found["interval"] == pytest.approx([0.2 - margin, 0.2 + margin])
