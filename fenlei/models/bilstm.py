"""The bidirectional LSTM whose outputs at every step are combined."""

from __future__ import annotations

from torch import Tensor

from fenlei.layers.graph import Graph
from fenlei.layers.pooling import Pooling
from fenlei.layers.recurrent import Recurrent
from fenlei.models.encoder import Encoder


class BiLSTM(Encoder):
    """One LSTM reads forward, one backward; their outputs at all steps are pooled into the document vector.

    ``h_t = [forward_t ; backward_t]``, ``document = [max_t h_t ; mean_t h_t ; sum_t a_t h_t]`` with the attention
    weights ``a_t``; which poolings, by option. Schuster and Paliwal 1997, Graves and Schmidhuber 2005.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int = 128,
        pooling: tuple[str, ...] = ("max", "mean", "attention"),
    ) -> None:
        super().__init__()
        self.recurrent = Recurrent("lstm", input_size, hidden_size, bidirectional=True)
        self.pooling = Pooling(tuple(pooling), self.recurrent.width)
        self.width, self.state_width = self.pooling.width, self.recurrent.width

    def states(self, x: Tensor, mask: Tensor) -> Tensor:
        """``x (B, T, D)`` to a vector a step, ``(B, T, 2 H)``."""
        return self.recurrent(x, mask.sum(1))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``x (B, T, D)``, ``mask (B, T)`` to ``(B, width)``."""
        return self.pooling(self.states(x, mask), mask)

    def nodes(self, graph: Graph, x: str, mask: str, lengths: str) -> str:
        """The same in ONNX."""
        return self.pooling.nodes(graph, self.recurrent.nodes(graph, x, lengths), mask)
