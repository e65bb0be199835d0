"""What a report shows of the data: which mistakes, examples and suspects, cut to length; the histograms."""

from __future__ import annotations

import numpy as np
import pytest

from fenlei.evidence import EXAMPLES, SHOWN, classes, collect, lengths
from fenlei.scoring import one_hot

LABELS = ["a", "b"]


def test_mistakes_come_surest_first_and_suspects_are_those_the_linear_model_shares() -> None:
    probabilities = np.array([[0.9, 0.1], [0.3, 0.7], [0.05, 0.95], [0.02, 0.98], [0.8, 0.2]], np.float32)
    truth, named = one_hot(np.array([0, 0, 0, 0, 0]), 2), one_hot(probabilities.argmax(1), 2)
    linear = one_hot(np.array([0, 1, 1, 0, 0]), 2)
    found = collect(["t0", "t1", "t2", "t3", "t4"], probabilities, truth, named, LABELS, linear)
    assert [each["text"] for each in found["mistakes"]] == ["t3", "t2", "t1"]
    assert [each["text"] for each in found["suspects"]] == ["t2"]
    assert [each["text"] for each in found["examples"]] == ["t0", "t4"]
    assert found["mistakes"][0] == {
        "text": "t3",
        "cut": False,
        "true": ["a"],
        "predicted": ["b"],
        "probability": pytest.approx(0.98),
        "true_probability": pytest.approx(0.02),
    }


def test_long_texts_are_cut_and_examples_are_few() -> None:
    probabilities = np.tile(np.array([[0.9, 0.1]], np.float32), (9, 1))
    truth = one_hot(np.zeros(9, int), 2)
    found = collect(["x" * 1000] * 9, probabilities, truth, truth, LABELS)
    assert len(found["examples"]) == EXAMPLES
    assert found["examples"][0]["text"] == "x" * SHOWN
    assert found["examples"][0]["cut"]
    assert found["mistakes"] == found["suspects"] == []


def test_several_labels_in_an_item() -> None:
    probabilities = np.array([[0.9, 0.8], [0.1, 0.2]], np.float32)
    truth, named = np.array([[1, 0], [0, 1]]), np.array([[1, 1], [0, 0]])
    mistakes = collect(["t", "u"], probabilities, truth, named, LABELS)["mistakes"]
    assert [(each["true"], each["predicted"]) for each in mistakes] == [(["a"], ["a", "b"]), (["b"], [])]
    assert mistakes[1]["probability"] == 0.0


def test_every_text_falls_into_a_bin() -> None:
    found = lengths(np.array([1, 5, 200, 200]), np.array([3]), 1024)
    assert sum(found["train"]) == 4
    assert sum(found["dev"]) == 1
    assert len(found["edges"]) == len(found["train"]) + 1
    assert found["limit"] == 1024


def test_classes_are_counted() -> None:
    assert classes(np.array([[1, 0], [1, 1]]), LABELS) == {"a": 2, "b": 1}
