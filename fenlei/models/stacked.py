"""Several recurrent layers with residual connections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from fenlei.layers.dropout import Dropout
from fenlei.layers.graph import Graph
from fenlei.layers.pooling import Pooling
from fenlei.layers.recurrent import Recurrent
from fenlei.models.encoder import Encoder


class Stacked(Encoder):
    """``h^0 = P x``, ``h^l = h^{l-1} + recurrent^l(h^{l-1})``: each layer adds to what the layers below made of a step.

    ``P`` is a projection where the sizes of ``x`` and ``h`` differ, and is left out where they are equal; dropout lies
    before each layer. Without the sums, stacks of more than a few layers train badly (Wu et al. 2016, section 3.1; He
    et al. 2016).
    """

    steps: ClassVar[int] = 0

    def __init__(
        self,
        input_size: int,
        hidden_size: int = 128,
        layers: int = 3,
        cell: str = "lstm",
        bidirectional: bool = False,
        dropout: float = 0.2,
        pooling: str | Sequence[str] = ("max", "mean", "attention"),
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"a stacked network needs at least 1 layer, got {layers}")
        width = hidden_size * (2 if bidirectional else 1)
        self.project = None if input_size == width else nn.Linear(input_size, width, bias=False)
        self.layers: Sequence[Recurrent] = nn.ModuleList(  # type: ignore[assignment]
            Recurrent(cell, width, hidden_size, bidirectional) for _ in range(layers)
        )
        self.dropout = Dropout(dropout)
        self.pooling = Pooling(pooling, width, 2 if bidirectional else 1)
        self.width, self.state_width = self.pooling.width, width

    def states(self, x: Tensor, mask: Tensor) -> Tensor:
        """``x (B, T, D)`` to a vector a step, ``(B, T, W)``."""
        lengths = mask.sum(1)
        h = x if self.project is None else self.project(x)
        for layer in self.layers:
            h = h + layer(self.dropout(h), lengths)
        return h

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``x (B, T, D)``, ``mask (B, T)`` to ``(B, width)``."""
        return self.pooling(self.states(x, mask), mask)

    def nodes(self, graph: Graph, x: str, mask: str, lengths: str) -> str:
        """The same in ONNX; dropout is gone."""
        h = (
            x
            if self.project is None
            else graph.add("MatMul", x, graph.add("Transpose", graph.weight(self.project.weight), perm=(1, 0)))
        )
        for layer in self.layers:
            h = graph.add("Add", h, layer.nodes(graph, h, lengths, self.steps))
        return self.pooling.nodes(graph, h, mask, self.steps)
