"""One step downhill: AdamW for dense weights, Adam for the rows of tables that a batch touched, one norm over both."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fenlei.layers import kernels
from fenlei.ranks import ALONE, Ranks
from fenlei.recipe import Recipe

BETAS, EPSILON = (0.9, 0.999), 1e-8


class Optimizer:
    """AdamW for dense weights, lazy Adam for the rows of tables that a batch touched, one norm clipped over both.

    Warm-up, then a linear way down to zero over ``total_steps`` (Devlin et al. 2019), or a constant rate. ``steps``
    counts the batches so far.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, total_steps: int, ranks: Ranks = ALONE) -> None:
        self.tables = [Table(m) for m in model.modules() if isinstance(m, nn.Embedding) and m.sparse]
        known = {id(table.weight) for table in self.tables}
        self.dense = [p for p in model.parameters() if id(p) not in known]
        decayed = [p for p in self.dense if p.ndim > 1]
        plain = [p for p in self.dense if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.adam = torch.optim.AdamW(groups, lr=recipe.rate, betas=BETAS, eps=EPSILON, fused=True)
        self.rate_at = SCHEDULES[recipe.usual("schedule")](total_steps, recipe.warmup)
        self.learning_rate, self.table_rate = recipe.rate, recipe.table_rate
        self.clip_norm, self.ranks = recipe.clip_norm, ranks
        self.steps = 0

    def step(self, loss: Tensor | None, numbers: Sequence[float] = ()) -> list[float]:
        """Gradients of ``loss``, summed over all processes, clipped by their global norm, applied.

        They are added to what stands at the weights already; afterwards nothing does. Returns the sums of the loss and
        of ``numbers`` over all processes. One without a document has no loss.
        """
        here = 0.0 if loss is None else float(loss.detach())
        if self.ranks.count == 1 and not math.isfinite(here):  # several find it in the norm, all at the same step
            raise FloatingPointError(f"the training loss became {here}: try a smaller learning_rate")
        if loss is not None:
            loss.backward()  # type: ignore[no-untyped-call]
        totals, rows = self._gradients([here, *numbers])
        dense = [p.grad for p in self.dense if p.grad is not None]
        norm = joint_norm(dense + [each.sums for each in rows if each is not None])
        if not math.isfinite(norm):
            raise FloatingPointError(f"the norm of the gradients became {norm}: try a smaller learning_rate")
        scale = min(1.0, self.clip_norm / norm) if norm else 1.0  # Pascanu et al. 2013
        factor = self.rate_at(self.steps)
        self._step_dense(dense, scale, factor)
        for table, gradient in zip(self.tables, rows, strict=True):
            if gradient is not None:
                table.step(gradient, scale, factor * self.table_rate)
        self.adam.zero_grad()
        self.steps += 1
        return totals

    def _gradients(self, numbers: list[float]) -> tuple[list[float], list[RowGradient | None]]:
        """The sums of ``numbers`` and the gradient of each table over all processes; dense ones stay at the weights."""
        rows = [table.take_gradient() for table in self.tables]
        if self.ranks.count == 1:
            return numbers, rows
        totals, found = self.ranks.add_up(self.dense, rows, [table.weight.shape[1] for table in self.tables], numbers)
        return totals, [table.sum(*each) if each else None for table, each in zip(self.tables, found, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Moments and numbers of steps."""
        return {
            "adam": self.adam.state_dict(),
            "tables": [table.state_dict() for table in self.tables],
            "steps": self.steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Be where ``state`` was left."""
        self.adam.load_state_dict(state["adam"])
        for table, found in zip(self.tables, state["tables"], strict=True):
            table.load_state_dict(found)
        self.steps = state["steps"]

    def _step_dense(self, gradients: list[Tensor], scale: float, factor: float) -> None:
        if scale < 1 and gradients:
            torch._foreach_mul_(gradients, scale)
        for group in self.adam.param_groups:
            group["lr"] = factor * self.learning_rate
        self.adam.step()


class RowGradient(NamedTuple):
    """The gradient of some rows of a table, each row once: ``rows (U,)``, ``sums (U, D)``."""

    rows: Tensor
    sums: Tensor


class Table:
    """The weights of a sparse embedding and Adam's moments: a row moves only in a step in which it was looked up.

    As ``torch.optim.SparseAdam`` has it: a row's moments fade only when it is seen, the bias correction counts all
    steps of the table. The gradient of a row seen twice is the sum of both.
    """

    def __init__(self, embedding: nn.Embedding) -> None:
        self.weight, self.padding = embedding.weight, -1 if embedding.padding_idx is None else embedding.padding_idx
        self.mean, self.square = torch.zeros_like(self.weight), torch.zeros_like(self.weight)
        self.slots = torch.full((len(self.weight),), -1, dtype=torch.int32, device="cpu")  # the compiled loop's
        self.steps = 0

    def take_gradient(self) -> RowGradient | None:
        """What ``backward`` left at the weights, summed by row; afterwards nothing is left there."""
        gradient, self.weight.grad = self.weight.grad, None
        if gradient is None:
            return None
        return self.sum(gradient._indices()[0], gradient._values())

    def sum(self, ids: Tensor, values: Tensor) -> RowGradient:
        """The ``values (N, D)`` of the rows ``ids (N,)`` summed by row."""
        return self._sum_compiled(ids, values) if kernels.usable(ids, values) else sum_by_id(ids, values, self.padding)

    def _sum_compiled(self, ids: Tensor, values: Tensor) -> RowGradient:
        rows, sums = torch.empty_like(ids), torch.empty_like(values)
        count = kernels.call("sum_by_id", ids, values, *values.shape, self.padding, self.slots, rows, sums)
        return RowGradient(rows[:count], sums[:count])

    @torch.no_grad()
    def step(self, gradient: RowGradient, scale: float, rate: float) -> None:
        """Adam with the gradient times ``scale``, at the learning rate ``rate``."""
        self.steps += 1
        first, second = (1 - beta**self.steps for beta in BETAS)
        corrected = rate * math.sqrt(second) / first
        state = self.weight, self.mean, self.square
        if kernels.usable(*state, *gradient):
            kernels.call("adam_rows", *state, *gradient, *gradient.sums.shape, scale, corrected, *BETAS, EPSILON)
        else:
            adam_rows(state, gradient, scale, corrected)

    def state_dict(self) -> dict[str, Any]:
        """The moments."""
        return {"mean": self.mean, "square": self.square, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Have the moments of ``state``."""
        self.mean.copy_(state["mean"])
        self.square.copy_(state["square"])
        self.steps = state["steps"]


def sum_by_id(ids: Tensor, values: Tensor, skipped: int = -1) -> RowGradient:
    """The sum of the ``values (N, D)`` of each id in ``ids (N,)``, but for one id that is left out."""
    kept = ids != skipped
    rows, place = torch.unique(ids[kept], return_inverse=True)
    return RowGradient(rows, values.new_zeros(len(rows), values.shape[1]).index_add_(0, place, values[kept]))


def adam_rows(state: tuple[Tensor, Tensor, Tensor], gradient: RowGradient, scale: float, rate: float) -> None:
    """Adam (Kingma and Ba 2015) on some rows of a table and of its two moments; ``rate`` has the bias corrections."""
    weight, mean, square = state
    rows, g = gradient.rows, gradient.sums * scale
    m = mean[rows].lerp_(g, 1 - BETAS[0])
    v = square[rows].lerp_(g * g, 1 - BETAS[1])
    mean[rows], square[rows] = m, v
    weight.index_add_(0, rows, m / v.sqrt_().add_(EPSILON), alpha=-rate)


def joint_norm(gradients: list[Tensor]) -> float:
    """The norm of all numbers together; 0 where there are none."""
    parts = [torch.linalg.vector_norm(each) for each in gradients if each.numel()]
    return float(torch.linalg.vector_norm(torch.stack(parts))) if parts else 0.0


def linear(total_steps: int, warmup: float) -> Callable[[int], float]:
    """The factor of the learning rate at each step: up to 1, then down to 0."""
    rising = max(1, round(total_steps * warmup))
    return lambda step: min((step + 1) / rising, max(0.0, (total_steps - step) / max(1, total_steps - rising)))


def constant(total_steps: int, warmup: float) -> Callable[[int], float]:
    """Up to 1, and there it stays."""
    rising = max(1, round(total_steps * warmup))
    return lambda step: min(1.0, (step + 1) / rising)


SCHEDULES: dict[str, Callable[[int, float], Callable[[int], float]]] = {
    "linear": linear,
    "constant": constant,
    "averaged": constant,  # and a mean of the weights answers (``fenlei.averaging``)
}
