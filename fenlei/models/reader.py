"""What the one-layer recurrent networks share: read the text step by step, then pool the outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from fenlei.layers.graph import Graph
from fenlei.layers.mingru import MinimalGRU
from fenlei.layers.pooling import Pooling
from fenlei.layers.recurrent import Recurrent
from fenlei.models.encoder import Encoder


class Reader(Encoder):
    """``h_1 .. h_T = recurrent(x)``, ``document = pooling(h)``; a network says which recurrence and which pooling."""

    steps: ClassVar[int] = 0

    def __init__(self, recurrent: Recurrent | MinimalGRU, pooling: str | Sequence[str]) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.pooling = Pooling(pooling, recurrent.width, len(recurrent.ways))
        self.width, self.state_width = self.pooling.width, recurrent.width

    def states(self, x: Tensor, mask: Tensor) -> Tensor:
        """``x (B, T, D)`` to a vector a step, ``(B, T, state_width)``."""
        return self.recurrent(x, mask.sum(1))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``x (B, T, D)``, ``mask (B, T)`` to ``(B, width)``."""
        return self.pooling(self.states(x, mask), mask)

    def nodes(self, graph: Graph, x: str, mask: str, lengths: str) -> str:
        """The same in ONNX."""
        return self.pooling.nodes(graph, self.recurrent.nodes(graph, x, lengths, self.steps), mask, self.steps)
