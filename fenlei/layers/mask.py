"""Which positions of a padded batch are real: the mask, and the reversal that knows where a row ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fenlei.layers.graph import Graph


def mask_of(lengths: Tensor, steps: int) -> Tensor:
    """``lengths (B,)`` or ``(B, S)`` to ``mask (..., steps)``, true at real positions."""
    return torch.arange(steps, device=lengths.device) < lengths[..., None]


def mask_nodes(graph: Graph, lengths: str, x: str, steps: int = -1) -> str:
    """The same in the graph: ``lengths (...)`` and ``x (..., T, D)`` to ``(..., T)`` of bool.

    With ``steps`` 0 ``lengths (B,)`` and ``x (T, B, D)`` to ``(T, B)``.
    """
    zero, one = graph.constant(np.array(0)), graph.constant(np.array(1))
    count = graph.add("Squeeze", graph.axis(x, 0 if steps == 0 else -2))
    step = graph.add("Range", zero, count, one)
    if steps == 0:
        return graph.add("Less", graph.add("Unsqueeze", step, graph.constant(np.array([1]))), lengths)
    return graph.add("Less", step, graph.add("Unsqueeze", lengths, graph.constant(np.array([-1]))))


def reverse(x: Tensor, lengths: Tensor) -> Tensor:
    """Each row of ``x (B, T, D)`` backwards within its own length; padding stays where it is.

    ``x.flip(1)`` would begin a short row with its padding, and the answer would depend on the batch.
    """
    step = torch.arange(x.shape[1], device=x.device)
    place = torch.where(step < lengths[:, None], lengths[:, None] - 1 - step, step)
    start = torch.arange(len(x), device=x.device)[:, None] * x.shape[1]
    flat: Tensor = _Swap.apply(x.flatten(0, 1), (start + place).flatten())  # type: ignore[no-untyped-call]
    return flat.view_as(x)


class _Swap(torch.autograd.Function):
    """``y_n = x_{p(n)}`` for a ``p`` that is its own inverse: the gradient goes the same way back.

    Torch cannot know that no row is taken twice and adds gradients up number by number, at ten times the cost.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        return x.index_select(0, place)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (place,) = ctx.saved_tensors
        back: Tensor = _Swap.apply(gradients[0], place)  # type: ignore[no-untyped-call]
        return back, None
