"""Two stacked LSTM layers with dropout between: the tutorial pipeline's own network."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from fenlei.layers.dense import Dense
from fenlei.layers.dropout import Dropout
from fenlei.layers.graph import Graph
from fenlei.layers.pooling import Last
from fenlei.layers.recurrent import Recurrent
from fenlei.models.encoder import Encoder


class LSTM2(Encoder):
    """The second layer reads the first one's outputs; the document vector is its output at the last real step.

    The tutorial read ``outputs[:, -1]``, which on a short text is the state after a run of padding. ``dense`` puts its
    ReLU layer of that size behind the last step.
    """

    steps: ClassVar[int] = 0

    def __init__(self, input_size: int, hidden_size: int = 64, dropout: float = 0.2, dense: int = 0) -> None:
        super().__init__()
        self.first = Recurrent("lstm", input_size, hidden_size)
        self.second = Recurrent("lstm", hidden_size, hidden_size)
        self.dropout = Dropout(dropout)
        self.pooling = Last(hidden_size)
        self.dense = Dense(hidden_size, dense)
        self.width, self.state_width = self.dense.width, hidden_size

    def states(self, x: Tensor, mask: Tensor) -> Tensor:
        """``x (B, T, D)`` to a vector a step, ``(B, T, H)``."""
        lengths = mask.sum(1)
        return self.second(self.dropout(self.first(x, lengths)), lengths)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``x (B, T, D)``, ``mask (B, T)`` to ``(B, width)``."""
        return self.dense(self.pooling(self.states(x, mask), mask))

    def nodes(self, graph: Graph, x: str, mask: str, lengths: str) -> str:
        """The same in ONNX; dropout is gone."""
        states = self.second.nodes(graph, self.first.nodes(graph, x, lengths, self.steps), lengths, self.steps)
        return self.dense.nodes(graph, self.pooling.nodes(graph, states, mask, self.steps))
