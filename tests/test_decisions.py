"""When a probability is enough: rules, the curves by hand, what a classifier says under each rule."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenlei.bundle import Bundle
from fenlei.decisions import Cover, Decisions, Point, Rule, best_threshold, covers, curve, measure, precise
from fenlei.learn import Labelled
from fenlei.runtime import Predictor

LABELS = ["a", "b"]
SURE = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6]], np.float32)
TRUE = np.array([0, 0, 1, 1])


def test_the_coverage_curve_by_hand() -> None:
    found = covers(SURE.max(1).astype(float), SURE.argmax(1) == TRUE)
    assert found[0] == Cover(0.0, 1.0, 0.75)
    assert found[-1] == Cover(pytest.approx(0.8, abs=1e-6), 0.5, 1.0)
    assert [cover.threshold for cover in found] == sorted(cover.threshold for cover in found)


def test_the_curve_of_a_class_by_hand() -> None:
    """Named a: sure 0.9 and 0.8 rightly, 0.7 wrongly; two texts are a."""
    points = curve(np.array([0.9, 0.8, 0.7]), np.array([True, True, False]), 2)
    assert points == (Point(pytest.approx(0.8, abs=1e-6), 1.0, 1.0), Point(pytest.approx(0.9, abs=1e-6), 1.0, 0.5))
    assert precise(points, 1.0) == points[0].threshold
    assert precise(points, 0.5) == points[0].threshold
    assert precise((Point(0.5, 0.8, 1.0),), 0.9) == float("inf")


def test_the_best_threshold_by_hand() -> None:
    """Above 0.55: two of two right of three, F1 4/5; all four: 6/7."""
    inside = np.array([True, True, False, True])
    assert best_threshold(np.array([0.9, 0.6, 0.5, 0.4]), inside) == pytest.approx(0.2)
    assert best_threshold(np.array([0.9, 0.6, 0.5, 0.1, 0.0]), np.array([True, True, False, False, False])) == 0.55
    assert best_threshold(np.array([0.3, 0.2]), np.array([False, False])) == 0.5
    assert best_threshold(np.array([0.5, 0.5, 0.1]), np.array([True, False, False])) == pytest.approx(0.3)


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=40), st.sampled_from([0, 0.5, 9]))
def test_no_threshold_has_a_better_f1(pairs: list[tuple[int, bool]], below: float) -> None:
    """Of probabilities, and of scores that may be below 0."""
    p = np.array([value / 20 for value, _ in pairs]) - below
    inside = np.array([applies for _, applies in pairs])

    def f1(threshold: float) -> float:
        named = p >= threshold
        return 2 * (named & inside).sum() / max(1, named.sum() + inside.sum())

    assert f1(best_threshold(p, inside)) == pytest.approx(max(map(f1, p)))


@given(st.integers(1, 60), st.integers(2, 5), st.integers(0, 1000), st.floats(0.01, 1))
def test_coverage_answers_at_least_the_share_it_promises(texts: int, classes: int, seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(classes, 0.4), texts).astype(np.float32)
    labels = [str(each) for each in range(classes)]
    found = measure(probabilities, rng.integers(0, classes, texts), labels)
    cutoff = found.cutoffs(labels, Rule(coverage=share))[0]
    assert (probabilities.max(1) >= cutoff).mean() >= share
    again = Decisions.from_json(json.loads(json.dumps(found.to_json())))
    assert again == found


def test_a_wished_precision_holds_on_the_texts_it_was_read_from() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(3, 0.5), 500).astype(np.float32)
    truth = np.array([rng.choice(3, p=row / row.sum()) for row in probabilities.astype(float)])
    labels = ["x", "y", "z"]
    cutoffs = measure(probabilities, truth, labels).cutoffs(labels, Rule(precision=0.9))
    best = probabilities.argmax(1)
    named = probabilities.max(1) >= cutoffs[best]
    for place in range(3):
        chosen = named & (best == place)
        assert chosen.sum() > 10
        assert (truth[chosen] == place).mean() >= 0.9


def test_the_best_f1_of_each_label_is_on_its_curve() -> None:
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.full(3, 0.5), 500).astype(np.float32)
    truth = np.where(
        rng.random(500) < 0.3, 2, probabilities.argmax(1)
    )  # the third label is often where it is not named
    labels = ["x", "y", "z", "never"]
    found = measure(np.pad(probabilities, ((0, 0), (0, 1))), truth, labels)
    cutoffs = found.cutoffs(labels, Rule(best_f1=True))
    for label, cutoff in zip(labels[:3], cutoffs, strict=False):
        f1 = {p.threshold: 2 * p.precision * p.recall / (p.precision + p.recall) for p in found.classes[label]}
        assert f1[cutoff] == max(f1.values())
    assert cutoffs[3] == 0
    noisy = measure(np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.6, 0.4]]), np.array([0, 0, 1, 1]), ["a", "b"])
    assert noisy.cutoffs(["a", "b"], Rule(best_f1=True)).tolist() == [0.8, 0.0]
    several = Decisions(several=True, thresholds={"a": 0.3})
    assert several.cutoffs(["a", "b"], Rule(best_f1=True)).tolist() == [0.3, 0.5]


def test_several_labels_get_a_threshold_each_and_rare_ones_lean_towards_the_shared_one() -> None:
    rng = np.random.default_rng(0)
    truth = np.zeros((200, 3), np.int8)
    truth[:80, 0], truth[:3, 1] = 1, 1
    probabilities = np.clip(0.3 * truth + rng.uniform(0, 0.4, truth.shape), 0, 1).astype(np.float32)
    found = measure(probabilities, truth, ["many", "few", "none"])
    assert found.several
    assert found.coverage == ()
    shared = best_threshold(probabilities.astype(float).ravel(), truth.ravel() > 0)
    own = [best_threshold(probabilities[:, place].astype(float), truth[:, place] > 0) for place in range(2)]
    assert found.thresholds["none"] == shared
    assert found.thresholds["few"] == pytest.approx((own[1] + shared) / 2)
    assert found.thresholds["many"] == pytest.approx((80 * own[0] + 3 * shared) / 83)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"top": 0}, "top must be a whole number of at least 1, got 0"),
        ({"top": True}, "top must be a whole number of at least 1, got True"),
        ({"threshold": 1.1}, "threshold must be a number from 0 to 1, got 1.1"),
        ({"coverage": float("nan")}, "coverage must be a number from 0 to 1, got nan"),
        ({"precision": "high"}, "precision must be a number from 0 to 1, got 'high'"),
        ({"coverage": 0.5, "precision": 0.5}, "exclude one another"),
        ({"coverage": 0.5, "best_f1": True}, "exclude one another"),
        ({"best_f1": 1}, "best_f1 must be true or false, got 1"),
    ],
)
def test_wrong_rules_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rule(**wrong)  # type: ignore[arg-type]


def test_a_rule_without_its_curve_is_refused() -> None:
    with pytest.raises(ValueError, match="knows no coverage"):
        Decisions().cutoffs(LABELS, Rule(coverage=0.9))
    with pytest.raises(ValueError, match="knows no precisions"):
        Decisions().cutoffs(LABELS, Rule(precision=0.9))
    with pytest.raises(ValueError, match="knows no precisions"):
        Decisions().cutoffs(LABELS, Rule(best_f1=True))
    with pytest.raises(ValueError, match="coverage is for one label a text"):
        Decisions(several=True).cutoffs(LABELS, Rule(coverage=0.9))


@pytest.mark.parametrize(
    "found", [{"kind": "two"}, {"kind": "one", "coverage": [[1]], "classes": {}, "thresholds": {}}, {"kind": "one"}]
)
def test_what_is_no_decisions_is_refused(found: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"decisions\.json holds no decisions"):
        Decisions.from_json(found)


@pytest.fixture
def answering(bundle: Bundle) -> Predictor:
    return Predictor(bundle)


def test_what_a_rule_leaves_of_an_answer(answering: Predictor, chinese: tuple[Labelled, Labelled]) -> None:
    rows = answering.predict_proba(chinese[1].texts)
    surest = float(rows.max())
    plain = answering.decide(rows)
    assert all(len(answer.labels) == 1 and not answer.unknown for answer in plain)
    high = answering.decide(rows, Rule(threshold=surest))
    assert {(len(answer.labels), answer.unknown) for answer in high} == {(1, False), (0, True)}
    ranked = answering.decide(rows, Rule(top=3, coverage=0.5))
    assert all(len(answer.labels) == 3 for answer in ranked)
    assert 0 < sum(answer.unknown for answer in ranked) <= len(rows) / 2
    bare = answering.decide(rows, Rule(coverage=0.5))
    assert [answer.unknown for answer in bare] == [answer.unknown for answer in ranked]
    assert all(bool(answer.labels) is not answer.unknown for answer in bare)
    assert list(answering.answer(chinese[1].texts, Rule(coverage=0.5))) == bare
