"""Convolution over time: every window of a few steps becomes one vector, blind to padding."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from fenlei.layers.graph import Graph


class Convolution(nn.Module):
    """``y_t = b + sum_k W_k x_{t+k-l}``, ``k = 0 .. width-1``, ``l = (width-1) // 2``: ``(B, T, D) -> (B, T, F)``.

    The embedding dimensions are the channels, as in Collobert et al. 2011 and Kim 2014. A window lies around each step
    and sees zeros beyond both ends of its own row, so a text shorter than the window has windows too.
    """

    def __init__(self, input_size: int, filters: int, width: int) -> None:
        super().__init__()
        if min(filters, width) < 1:
            raise ValueError(f"a convolution needs filters and width of at least 1, got {filters} and {width}")
        self.conv = nn.Conv1d(input_size, filters, width)
        self.reach = (width - 1) // 2, width // 2  # steps before and after the one in the middle
        self.width = filters

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``x (B, T, D)``, ``mask (B, T)`` to ``(B, T, F)``; what stands past a row's end is without meaning."""
        inside = x.masked_fill(~mask[:, :, None], 0.0)
        channels_first = nn.functional.pad(inside.transpose(1, 2), self.reach)
        return self.conv(channels_first).transpose(1, 2)

    def nodes(self, graph: Graph, x: str, mask: str) -> str:
        """The same in ONNX: each window laid out as one vector, times the filters.

        The order in which onnxruntime's ``Conv`` adds depends on the number of steps, padding included: a row's answer
        would depend, in its last bits, on the longest row of its batch.
        """
        column = graph.add("Unsqueeze", mask, graph.constant(np.array([2])))
        inside = graph.add("Where", column, x, graph.constant(torch.zeros(())))
        before, after = self.reach
        padded = graph.add("Pad", inside, graph.constant(np.array([0, before, 0, 0, after, 0])))
        time, steps = graph.constant(np.array([1])), graph.axis(x, 1)
        starts = [graph.constant(np.array([k])) for k in range(before + after + 1)]
        shifted = [graph.add("Slice", padded, start, graph.add("Add", start, steps), time) for start in starts]
        weight, bias = self.conv.parameters()
        turned = graph.add("Transpose", graph.weight(weight), perm=(2, 1, 0))
        filters = graph.add("Reshape", turned, graph.constant(np.array([-1, self.width])))  # (width * D, F)
        products = graph.add("MatMul", graph.add("Concat", *shifted, axis=2), filters)
        return graph.add("Add", products, graph.weight(bias))
