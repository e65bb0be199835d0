"""The optimizer, held against torch's own; its loops compiled and in torch."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fenlei import compiled, optimizing
from fenlei.optimizing import Optimizer, Table, joint_norm, sum_by_id
from fenlei.recipe import Recipe

RECIPE = Recipe(learning_rate=0.01, table_rate=0.02, weight_decay=0.1, warmup=0.0)
STEPS = 6


@pytest.fixture(params=["compiled", "torch"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to compute the same."""
    if request.param == "torch":
        monkeypatch.setattr(compiled, "LOADED", False)
    elif not compiled.LOADED:
        pytest.skip("this installation has no compiled loops")
    return str(request.param)


class Small(nn.Module):
    """Two tables, of which one is padded, a matrix and a bias."""

    def __init__(self, sparse: bool) -> None:
        super().__init__()
        self.padded = nn.Embedding(40, 5, padding_idx=0, sparse=sparse)
        self.plain = nn.Embedding(9, 5, sparse=sparse)
        self.dense = nn.Linear(5, 3)
        self.unused = nn.Linear(2, 2)

    def loss(self, seed: int) -> torch.Tensor:
        """Ids several times in a batch, and some of them never."""
        rng = torch.Generator().manual_seed(seed)
        ids, others = (torch.randint(0, top, (4, 7), generator=rng) for top in (20, 9))
        targets = torch.randn(4, 7, 3, generator=rng)
        found: torch.Tensor = self.dense(self.padded(ids) + self.plain(others))
        return (found - targets).square().sum()


def networks() -> tuple[Small, Small]:
    torch.manual_seed(0)
    mine, theirs = Small(sparse=True), Small(sparse=False)
    theirs.load_state_dict(mine.state_dict())
    return mine, theirs


@pytest.mark.parametrize("limit", [0.01, 1.0, 1e6])
def test_steps_are_those_of_torchs_adamw_and_sparse_adam_behind_one_clipped_norm(limit: float, loops: str) -> None:
    mine, theirs = networks()
    optimizer = Optimizer(mine, RECIPE.change(clip_norm=limit), STEPS)
    matrices, vectors = [theirs.dense.weight, theirs.unused.weight], [theirs.dense.bias, theirs.unused.bias]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    tables = [theirs.padded.weight, theirs.plain.weight]
    peers = [torch.optim.AdamW(groups, lr=0.01), torch.optim.SparseAdam(tables, lr=0.02)]
    rates = [torch.optim.lr_scheduler.LambdaLR(each, optimizing.linear(STEPS, 0.0)) for each in peers]
    for step in range(STEPS):
        optimizer.step(mine.loss(step))
        for peer in peers:
            peer.zero_grad()
        theirs.loss(step).backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), limit)  # of dense gradients: each row is summed already
        for table in tables:
            assert table.grad is not None
            table.grad = table.grad.to_sparse(1)
        for peer, rate in zip(peers, rates, strict=True):
            peer.step()
            rate.step()
        for name, value in theirs.state_dict().items():
            torch.testing.assert_close(mine.state_dict()[name], value, rtol=1e-5, atol=1e-6, msg=name)
    assert optimizer.steps == STEPS


@given(ids=st.lists(st.integers(0, 11), max_size=40), size=st.sampled_from([1, 3, 16, 33]), skipped=st.integers(-1, 11))
def test_the_sum_by_id_is_that_of_a_dense_gradient(ids: list[int], size: int, skipped: int) -> None:
    table = Table(nn.Embedding(12, size, padding_idx=None if skipped < 0 else skipped))
    rows = torch.tensor(ids, dtype=torch.int64)
    values = torch.randn(len(ids), size, generator=torch.Generator().manual_seed(len(ids)))
    expected = torch.zeros(12, size).index_add_(0, rows, values)
    if skipped >= 0:
        expected[skipped] = 0
    ways = [sum_by_id(rows, values, table.padding)]
    if compiled.LOADED:
        ways += [table._sum_compiled(rows, values), table._sum_compiled(rows, values)]
    for found in ways:
        assert sorted(found.rows.tolist()) == sorted(set(ids) - {skipped})
        torch.testing.assert_close(torch.zeros(12, size).index_add_(0, found.rows, found.sums), expected)


def test_the_norm_of_a_row_seen_twice_is_that_of_its_sum(loops: str) -> None:
    table = nn.Embedding(8, 2, sparse=True)
    (table(torch.tensor([3, 3, 5])) * torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]])).sum().backward()
    found = Table(table).take_gradient()
    assert found is not None
    assert joint_norm([found.sums]) == pytest.approx(5.0)
    assert table.weight.grad is None, "the next gradient does not add to this one"


def test_decay_is_for_matrices_and_only_rows_that_were_looked_up_move(loops: str) -> None:
    mine, _ = networks()
    optimizer = Optimizer(mine, RECIPE.change(weight_decay=0.5), STEPS)
    before = copy.deepcopy(mine.state_dict())
    optimizer.step(mine.dense(mine.padded(torch.tensor([0, 3, 4, 3]))).square().sum())
    moved = (mine.padded.weight != before["padded.weight"]).any(1)
    assert moved.nonzero().flatten().tolist() == [3, 4]
    assert torch.equal(mine.plain.weight, before["plain.weight"])
    decays = {p.ndim > 1: group["weight_decay"] for group in optimizer.adam.param_groups for p in group["params"]}
    assert decays == {True: 0.5, False: 0.0}


def test_what_was_not_used_has_no_part_in_the_norm() -> None:
    assert joint_norm([]) == 0.0
    assert joint_norm([torch.empty(0, 4), torch.tensor([3.0, 4.0])]) == pytest.approx(5.0)
    mine, _ = networks()
    before = mine.unused.weight.clone()
    Optimizer(mine, RECIPE, STEPS).step(mine.loss(0))
    assert mine.unused.weight.grad is None
    assert torch.equal(mine.unused.weight, before)


def test_a_table_in_double_precision_is_stepped_too() -> None:
    mine, theirs = networks()
    optimizers = [Optimizer(each.double(), RECIPE, STEPS) for each in (mine, theirs)]
    single = Optimizer(networks()[0], RECIPE, STEPS)
    assert [len(each.tables) for each in (*optimizers, single)] == [2, 0, 2]
    optimizers[0].step(mine.loss(0).double())
    assert mine.padded.weight.dtype == torch.float64
    assert torch.isfinite(mine.padded.weight).all()


def test_the_learning_rate_rises_then_falls_to_zero() -> None:
    rate = optimizing.linear(100, 0.1)
    values = [rate(step) for step in range(101)]
    assert values[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert values[10:] == pytest.approx(np.arange(90, -1, -1) / 90)
    assert all(0 < optimizing.linear(steps, 0.05)(0) <= 1 for steps in (1, 2, 3, 1000))
    assert rate(500) == 0


def test_a_constant_rate_stays_after_its_warm_up() -> None:
    rate = optimizing.constant(100, 0.1)
    assert [rate(step) for step in range(10)] == pytest.approx(np.arange(1, 11) / 10)
    assert {rate(step) for step in range(10, 500)} == {1.0}
    assert optimizing.constant(100, 0.0)(0) == 1.0
