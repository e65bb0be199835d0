from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.sparse
from sklearn.svm import LinearSVC

from fenlei import linear
from fenlei.pipeline import Encoded, Ragged

COLUMNS = 600  # more than documents, as with any text: liblinear then works on the dual
CLOSE = 2e-4  # two ways to the same minimum


@pytest.fixture(autouse=True)
def to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The minimum that is compared is the minimum."""
    monkeypatch.setattr(linear, "TOLERANCE", 1e-5)


def documents(seed: int, count: int, classes: int) -> tuple[Encoded, np.ndarray]:
    """Sparse rows of length 1 with a column or two that tell the class; column 0 is never used."""
    rng = np.random.default_rng(seed)
    targets = np.arange(count) % classes
    rows, values, lengths = [], [], []
    for target in targets:
        own = {1 + int(target), *rng.integers(1 + classes, COLUMNS, 5).tolist()}
        weights = rng.random(len(own)).astype(np.float32)
        rows += sorted(own)
        values += (weights / np.linalg.norm(weights)).tolist()
        lengths.append(len(own))
    offsets = np.cumsum([0, *lengths])
    ids = Ragged(np.ones(count, np.int64), np.arange(count + 1))
    columns = {"ids": ids, "ngrams": Ragged(np.array(rows), offsets)}
    return Encoded(columns | {"ngram_values": Ragged(np.array(values, np.float32), offsets)}), targets


def fit(
    classes: int, **changes: object
) -> tuple[linear.Linear, tuple[Encoded, np.ndarray], tuple[Encoded, np.ndarray]]:
    train, dev = documents(0, 150, classes), documents(1, 60, classes)
    settings = {"columns": COLUMNS, "classes": classes} | changes
    return linear.fit(*train, *dev, **settings), train, dev  # type: ignore[arg-type]


def peer(
    train: tuple[Encoded, np.ndarray], asked: Encoded, cost: float, share: float, weights: np.ndarray | None = None
) -> np.ndarray:
    """The decision function of one machine a class, each on features scaled by that class's log-count ratios."""
    x, y = linear.matrix(train[0], COLUMNS).toarray().astype(np.float64), train[1]
    found = []
    for each in range(1 if y.max() == 1 else 0, y.max() + 1):
        inside, seen = y == each, x > 0
        p, q = (1 + seen[inside].sum(0)) / (1 + inside.sum()), (1 + seen[~inside].sum(0)) / (1 + (~inside).sum())
        size = np.abs(np.log(p / q))
        scale = 1 - share + share * size / size.mean()
        machine = LinearSVC(C=cost, random_state=0, max_iter=10_000, tol=linear.TOLERANCE)
        machine.fit(scipy.sparse.csr_matrix(x * scale), inside, sample_weight=weights)
        found.append(machine.decision_function(linear.matrix(asked, COLUMNS).toarray() * scale))
    return np.stack(found, 1)


@pytest.mark.parametrize("classes", [3, 7])
def test_scores_are_the_machines_decision_functions(classes: int) -> None:
    fitted, train, dev = fit(classes)
    expected = peer(train, dev[0], fitted.cost, fitted.emphasis)
    np.testing.assert_allclose(fitted.scores(dev[0]), expected, atol=CLOSE)
    assert fitted.dev_accuracy == pytest.approx(np.mean(expected.argmax(1) == dev[1]))


def test_two_classes_have_opposite_scores() -> None:
    fitted, train, dev = fit(2)
    expected = peer(train, dev[0], fitted.cost, fitted.emphasis)
    scores = fitted.scores(dev[0])
    assert scores.shape == (60, 2)
    np.testing.assert_allclose(scores, np.hstack([-expected, expected]), atol=CLOSE)


@pytest.mark.parametrize(("classes", "costs"), [(5, (0.001, 0.1, 1.0, 10.0)), (3, None)])
def test_the_cost_makes_dev_likeliest_and_emphasis_must_not_be_less_accurate(
    classes: int, costs: tuple[float, ...] | None
) -> None:
    fitted, train, dev = fit(classes, costs=costs)
    side = linear.Side(linear.matrix(dev[0], COLUMNS), dev[1])
    found = {cost: peer(train, dev[0], cost, linear.EMPHASIS) for cost in costs or linear.COSTS}
    best = min(found, key=lambda cost: round(side.loss(found[cost]), linear.DECIMALS))
    assert fitted.cost == best
    worse = side.quality(peer(train, dev[0], best, 0.0)) > side.quality(found[best])
    assert fitted.emphasis == (0.0 if worse else linear.EMPHASIS)
    assert fit(5, costs=(3.0, 3.0))[0].cost == 3.0


def test_where_all_costs_are_right_the_first_wins() -> None:
    train, dev = documents(0, 150, 3), documents(0, 6, 3)
    for first in (1.0, 3.0):
        fitted = linear.fit(*train, *dev, columns=COLUMNS, classes=3, costs=(first, 0.3, 1.0, 3.0, 10.0))
        assert fitted.dev_accuracy == 1.0
        assert fitted.cost == first


def test_document_weights_reach_the_machine() -> None:
    weights = np.linspace(0.1, 3, 150).astype(np.float32)
    fitted, train, dev = fit(3, weights=weights, costs=(1.0,))
    expected = peer(train, dev[0], 1.0, fitted.emphasis, weights)
    np.testing.assert_allclose(fitted.scores(dev[0]), expected, atol=CLOSE)


@pytest.mark.parametrize("kept", [(0, 2), (1, 2, 4), range(1, 20)], ids=["two left", "three left", "one gone"])
def test_a_class_missing_from_training_never_wins(kept: Sequence[int]) -> None:
    encoded, targets = documents(0, 150, 20)
    targets = np.where(np.isin(targets, kept), targets, kept[0])
    dev = documents(1, 60, 20)
    fitted = linear.fit(encoded, targets, *dev, columns=COLUMNS, classes=20)
    ngrams, values = encoded.columns["ngrams"], encoded.columns["ngram_values"]
    against = Encoded(encoded.columns | {"ngram_values": Ragged(-5 * values.values, values.offsets)})
    nothing = Encoded(encoded.columns | {"ngrams": Ragged(0 * ngrams.values, ngrams.offsets)})
    for asked in (encoded, dev[0], nothing, against):
        assert set(fitted.scores(asked).argmax(1).tolist()) <= set(kept)


def test_row_zero_weighs_nothing() -> None:
    fitted, _, _ = fit(3)
    assert not fitted.weight[0].any()
    assert fitted.weight.shape == (COLUMNS, 3)
    assert fitted.weight.dtype == fitted.bias.dtype == np.float32


def test_two_fits_are_the_same_and_leave_the_warning_filters_alone() -> None:
    before = list(warnings.filters)
    one, two = fit(4)[0], fit(4)[0]
    np.testing.assert_array_equal(one.weight, two.weight)
    np.testing.assert_array_equal(one.bias, two.bias)
    assert warnings.filters == before


def test_a_fit_does_not_depend_on_the_other_costs() -> None:
    several = fit(4, costs=(1.0, 0.5, 2.0))[0]
    np.testing.assert_array_equal(several.weight, fit(4, costs=(several.cost,))[0].weight)


def test_no_emphasis_is_tried_and_taken_where_it_is_better(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fit(5, costs=(1.0,))[1]
    with monkeypatch.context() as deaf:
        deaf.setattr(linear, "emphasis", lambda x, inside, share: np.full((x.shape[1], inside.shape[1]), 1e-9, "f4"))
        fitted = fit(5, costs=(1.0,))[0]
    assert fitted.emphasis == 0.0
    np.testing.assert_allclose(fitted.scores(plain[0]), peer(plain, plain[0], 1.0, 0.0), atol=CLOSE)


def test_dev_weights_count_documents_as_often() -> None:
    fitted, _, _ = fit(3, costs=(1e-6, 1.0), dev_weights=(np.arange(60) < 1).astype(np.float32))
    assert fitted.dev_accuracy in (0.0, 1.0)


def test_crossed_scores_come_from_a_machine_that_did_not_learn_from_the_part() -> None:
    encoded, targets = documents(0, 150, 3)
    parts = [np.sort(part) for part in np.array_split(np.random.default_rng(2).permutation(150), 3)]
    fitted = linear.cross_fit(encoded, targets, parts, columns=COLUMNS, classes=3)
    for part in parts:
        others = np.setdiff1d(np.arange(150), part)
        learned = (encoded.take(others), targets[others])
        expected = peer(learned, encoded.take(part), fitted.cost, fitted.emphasis)
        np.testing.assert_allclose(fitted.held[part], expected, atol=CLOSE)
    assert fitted.dev_accuracy == pytest.approx(np.mean(fitted.held.argmax(1) == targets))
    whole = peer((encoded, targets), encoded, fitted.cost, fitted.emphasis)
    np.testing.assert_allclose(fitted.scores(encoded), whole, atol=CLOSE)


def test_crossed_machines_are_judged_by_other_weights_than_they_learn_by() -> None:
    encoded, targets = documents(0, 150, 3)
    parts = np.array_split(np.random.default_rng(2).permutation(150), 3)
    heavy, one = np.linspace(0.2, 3, 150, dtype=np.float32), (np.arange(150) < 1).astype(np.float32)
    fitted = linear.cross_fit(encoded, targets, parts, heavy, one, columns=COLUMNS, classes=3)
    assert fitted.dev_accuracy in (0.0, 1.0)
    plain = linear.cross_fit(encoded, targets, parts, heavy, columns=COLUMNS, classes=3)
    assert plain.dev_accuracy == pytest.approx(np.mean(plain.held.argmax(1) == targets))


def test_crossed_the_cost_makes_all_parts_likeliest_and_emphasis_must_not_be_less_accurate() -> None:
    encoded, targets = documents(0, 90, 3)
    parts = np.array_split(np.random.default_rng(2).permutation(90), 3)
    side = linear.Side(linear.matrix(encoded, COLUMNS), targets)

    def scores(cost: float, share: float) -> np.ndarray:
        held = np.zeros((90, 3), np.float32)
        for part in parts:
            others = np.setdiff1d(np.arange(90), part)
            held[part] = peer((encoded.take(others), targets[others]), encoded.take(part), cost, share)
        return held

    fitted = linear.cross_fit(encoded, targets, parts, columns=COLUMNS, classes=3)
    emphasized = {cost: scores(cost, linear.EMPHASIS) for cost in linear.MOST_COSTS}
    best = min(emphasized, key=lambda cost: round(side.loss(emphasized[cost]), linear.DECIMALS))
    assert fitted.cost == best
    worse = side.quality(scores(best, 0.0)) > side.quality(emphasized[best])
    assert fitted.emphasis == (0.0 if worse else linear.EMPHASIS)


def test_the_loss_of_scores_is_the_least_of_all_scales() -> None:
    encoded, targets = documents(1, 60, 3)
    scores = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32) + 2 * np.eye(3, dtype=np.float32)[targets]
    weights = np.linspace(0.5, 2, 60, dtype=np.float32)
    found = linear.Side(linear.matrix(encoded, COLUMNS), targets, weights).loss(scores)
    losses = []
    for scale in np.linspace(0.05, 5, 200):
        logits = scale * scores.astype(np.float64)
        each = np.log(np.exp(logits).sum(1)) - logits[np.arange(60), targets]
        losses.append(np.average(each, weights=weights))
    assert min(losses) - 1e-3 <= found <= min(losses) + 1e-9


def test_held_scores_are_those_of_dev() -> None:
    fitted, _, dev = fit(3)
    np.testing.assert_array_equal(fitted.held, fitted.scores(dev[0]))
