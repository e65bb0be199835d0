"""Machines side by side, held against liblinear's, one by one, at the minimum that both look for."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from sklearn.svm import LinearSVC

from fenlei import compiled
from fenlei.machines import MOST, Machines

ROWS, COLUMNS = 120, 400
TIGHT = 1e-5


@pytest.fixture(params=[True, False], ids=["compiled", "not compiled"])
def either(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(compiled, "LOADED", False)
        monkeypatch.setattr("fenlei.machines.PASSES", 10_000)
    elif not compiled.LOADED:
        pytest.skip("this installation has no compiled loops")


def problem(machines: int, seed: int = 0) -> tuple[scipy.sparse.csr_matrix, np.ndarray, np.ndarray]:
    """Documents with an empty one among them, signs, and an emphasis."""
    rng = np.random.default_rng(seed)
    x = scipy.sparse.random(ROWS, COLUMNS, 0.05, "csr", np.float32, rng)
    x = scipy.sparse.csr_matrix(scipy.sparse.diags((np.arange(ROWS) != 7).astype(np.float32)) @ x)
    x.eliminate_zeros()
    signs = np.where(rng.random((ROWS, machines)) < 0.3, 1, -1).astype(np.float32)
    return x, signs, (0.3 + 2 * rng.random((COLUMNS, machines))).astype(np.float32)


@pytest.mark.usefixtures("either")
@pytest.mark.parametrize("machines", [1, 3, 8, MOST])
@pytest.mark.parametrize("cost", [0.1, 3.0])
@pytest.mark.parametrize("emphasized", [False, True])
def test_each_is_the_one_that_liblinear_finds_alone(machines: int, cost: float, emphasized: bool) -> None:
    x, signs, emphasis = problem(machines)
    weights = np.random.default_rng(1).random(ROWS).astype(np.float32)
    weight, bias = Machines(x, weights, TIGHT).fit(signs, cost, emphasis if emphasized else None)
    assert weight.dtype == bias.dtype == np.float32
    assert weight.shape == (COLUMNS, machines)
    for place in range(machines):
        scale = emphasis[:, place].astype(np.float64) if emphasized else np.ones(COLUMNS)
        alone = LinearSVC(C=cost, dual=False, tol=1e-8, max_iter=10_000)
        alone.fit(x.astype(np.float64) @ scipy.sparse.diags(scale), signs[:, place] > 0, sample_weight=weights)
        np.testing.assert_allclose(weight[:, place], alone.coef_[0] * scale, atol=1e-4)
        np.testing.assert_allclose(bias[place], alone.intercept_[0], atol=1e-4)


@pytest.mark.usefixtures("either")
def test_a_document_that_does_not_count_might_as_well_not_be_there() -> None:
    x, signs, emphasis = problem(2)
    weights = (np.arange(ROWS) % 3 > 0).astype(np.float32)
    some = np.flatnonzero(weights)
    weight, bias = Machines(x, weights, TIGHT).fit(signs, 1.0, emphasis)
    expected = Machines(x[some], None, TIGHT).fit(signs[some], 1.0, emphasis)
    np.testing.assert_allclose(weight, expected[0], atol=1e-4)
    np.testing.assert_allclose(bias, expected[1], atol=1e-4)


@pytest.mark.usefixtures("either")
def test_a_machine_does_not_depend_on_those_beside_it() -> None:
    x, signs, emphasis = problem(4)
    together = Machines(x, None, 0.1).fit(signs, 1.0, emphasis)
    other = signs.copy()
    other[:, 1:] *= -1
    beside = Machines(x, None, 0.1).fit(other, 1.0, emphasis)
    np.testing.assert_array_equal(together[0][:, 0], beside[0][:, 0])
    assert together[1][0] == beside[1][0]


@pytest.mark.usefixtures("either")
def test_check_can_end_it() -> None:
    def check() -> None:
        raise InterruptedError

    x, signs, _ = problem(1)
    with pytest.raises(InterruptedError):
        Machines(x, None, TIGHT, check).fit(signs, 1.0)


@pytest.mark.skipif(not compiled.LOADED, reason="this installation has no compiled loops")
def test_what_does_not_arrive_is_taken_after_some_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    x, signs, _ = problem(1)
    passes = []
    monkeypatch.setattr("fenlei.machines.PASSES", 5)
    weight, _ = Machines(x, None, 0.0, lambda: passes.append(1)).fit(signs, 1e3)
    assert len(passes) == 5
    assert np.isfinite(weight).all()
