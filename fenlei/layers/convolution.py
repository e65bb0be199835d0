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
        """The same in ONNX."""
        column = graph.add("Unsqueeze", mask, graph.constant(np.array([2])))
        inside = graph.add("Where", column, x, graph.constant(torch.zeros(())))
        weights = [graph.constant(each) for each in self.conv.parameters()]
        channels_first = graph.add("Transpose", inside, perm=(0, 2, 1))
        windows = graph.add("Conv", channels_first, *weights, pads=self.reach)
        return graph.add("Transpose", windows, perm=(0, 2, 1))
