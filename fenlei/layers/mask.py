"""Which positions of a padded batch are real: the mask, and the reversal that knows where a row ends."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fenlei.layers.graph import Graph


def mask_of(lengths: Tensor, steps: int) -> Tensor:
    """``lengths (B,)`` or ``(B, S)`` to ``mask (..., steps)``, true at real positions."""
    return torch.arange(steps, device=lengths.device) < lengths[..., None]


def mask_nodes(graph: Graph, lengths: str, x: str) -> str:
    """The same in the graph: ``lengths (...)`` and ``x (..., T, D)`` to ``(..., T)`` of bool."""
    zero, one = graph.constant(np.array(0)), graph.constant(np.array(1))
    steps = graph.add("Squeeze", graph.axis(x, -2))
    column = graph.add("Unsqueeze", lengths, graph.constant(np.array([-1])))
    return graph.add("Less", graph.add("Range", zero, steps, one), column)


def reverse(x: Tensor, lengths: Tensor) -> Tensor:
    """Each row of ``x (B, T, D)`` backwards within its own length; padding stays where it is.

    ``x.flip(1)`` would begin a short row with its padding, and the answer would depend on the batch.
    """
    step = torch.arange(x.shape[1], device=x.device)
    place = torch.where(step < lengths[:, None], lengths[:, None] - 1 - step, step)
    return x.gather(1, place[:, :, None].expand_as(x))
