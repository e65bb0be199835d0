"""A classifier on held-out texts: the parts agree with one another, and unknown labels count."""

from __future__ import annotations

import numpy as np
import pytest

from fenlei.bundle import Bundle
from fenlei.decisions import Decisions
from fenlei.learn import Labelled
from fenlei.runtime import Predictor
from fenlei.scoring import assess, hold

Sets = tuple[Labelled, Labelled]


def test_the_bundle_holds_what_its_own_runtime_comes_to(bundle: Bundle, chinese: Sets) -> None:
    predictor = Predictor(bundle)
    texts, labels = chinese[1].texts, list(chinese[1].labels)
    held = hold(predictor, texts, labels)
    assert assess(held, predictor.decisions) == bundle.scores["dev"]
    right = np.array(predictor.predict(texts)) == np.array(labels)
    assert bundle.scores["dev"]["accuracy"] == right.mean()
    assert bundle.scores["lead"]["gain"] == pytest.approx(right.mean() - bundle.scores["linear"]["accuracy"])
    assert bundle.decisions["coverage"][0][2] == right.mean()
    assert sum(bundle.evidence["classes"]["dev"].values()) == len(labels)
    assert sum(bundle.evidence["lengths"]["train"]) == len(chinese[0].texts)
    assert len(bundle.evidence["mistakes"]) == (~right).sum()
    low, high = bundle.scores["dev"]["accuracy_interval"]
    assert low < right.mean() <= high
    assert bundle.scores["dev"]["calibration"]["ece"] <= bundle.scores["uncalibrated_ece"] + 0.02


def test_a_label_that_training_never_saw_is_a_class_without_a_hit(bundle: Bundle, chinese: Sets) -> None:
    labels = ["谁也没见过", *chinese[1].labels[1:]]
    held = hold(Predictor(bundle), chinese[1].texts, labels)
    found = assess(held, Decisions())
    assert held.labels == [*bundle.labels, "谁也没见过"]
    assert found["classes"]["谁也没见过"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
