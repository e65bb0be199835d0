"""The recurrent convolutional network: every word in its context, then the patterns, then the strongest of each."""

from __future__ import annotations

import torch
from torch import Tensor

from fenlei.layers.convolution import Convolution
from fenlei.layers.dense import Dense
from fenlei.layers.graph import Graph
from fenlei.layers.pooling import Max
from fenlei.layers.recurrent import Recurrent
from fenlei.models.encoder import Encoder


class RCNN(Encoder):
    """``h = recurrent both ways(x)``, ``y_t = relu(conv([x_t ; h_t]))``, ``document = relu(W max_t y_t + b)``.

    Lai et al. 2015, whose convolution is one step wide (``window=1``). ``dense=0`` leaves the last layer out.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int = 128,
        cell: str = "lstm",
        filters: int = 256,
        window: int = 3,
        dense: int = 128,
    ) -> None:
        super().__init__()
        self.recurrent = Recurrent(cell, input_size, hidden_size, bidirectional=True)
        self.convolution = Convolution(input_size + self.recurrent.width, filters, window)
        self.pooling = Max(filters)
        self.dense = Dense(filters, dense)
        self.width, self.state_width = self.dense.width, filters

    def states(self, x: Tensor, mask: Tensor) -> Tensor:
        """``x (B, T, D)`` to a vector a step, ``(B, T, F)``."""
        in_context = torch.cat([x, self.recurrent(x, mask.sum(1))], dim=-1)
        return torch.relu(self.convolution(in_context, mask))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``x (B, T, D)``, ``mask (B, T)`` to ``(B, width)``."""
        return self.dense(self.pooling(self.states(x, mask), mask))

    def nodes(self, graph: Graph, x: str, mask: str, lengths: str) -> str:
        """The same in ONNX."""
        in_context = graph.add("Concat", x, self.recurrent.nodes(graph, x, lengths), axis=2)
        patterns = graph.add("Relu", self.convolution.nodes(graph, in_context, mask))
        return self.dense.nodes(graph, self.pooling.nodes(graph, patterns, mask))
