"""A dense layer with ReLU between a document vector and the classifier's output."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fenlei.layers.graph import Graph


class Dense(nn.Module):
    """``relu(W v + b)``: ``(B, input_size) -> (B, width)``. Of size 0 it is left out and ``v`` goes through."""

    def __init__(self, input_size: int, size: int) -> None:
        super().__init__()
        if size < 0:
            raise ValueError(f"the size of a dense layer must be 0 (none) or more, got {size}")
        self.linear = nn.Linear(input_size, size) if size else None
        self.width = size or input_size

    def forward(self, v: Tensor) -> Tensor:
        """``v (B, input_size)`` to ``(B, width)``."""
        return v if self.linear is None else torch.relu(self.linear(v))

    def nodes(self, graph: Graph, v: str) -> str:
        """The same in ONNX."""
        if self.linear is None:
            return v
        product = graph.add("MatMul", v, graph.add("Transpose", graph.weight(self.linear.weight), perm=(1, 0)))
        return graph.add("Relu", graph.add("Add", product, graph.weight(self.linear.bias)))
