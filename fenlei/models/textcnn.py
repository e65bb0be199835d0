"""The convolutional network for sentences."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fenlei.layers.convolution import Convolution
from fenlei.layers.graph import Graph
from fenlei.layers.pooling import Max
from fenlei.models.encoder import Encoder


class TextCNN(Encoder):
    """``y_t = relu([conv_w(x)_t for each width w])``, ``document = max_t y_t``: did a pattern occur, wherever it stood?

    Kim 2014. A window of width ``w`` sees ``w`` steps, so order counts within the widest window only; with
    ``widths=(1,)`` the network is a bag of words.
    """

    def __init__(self, input_size: int, filters: int = 256, widths: Sequence[int] = (2, 3, 4)) -> None:
        super().__init__()
        if not widths:
            raise ValueError("widths must name at least one window, such as 3; got none")
        self.convolutions: Sequence[Convolution] = nn.ModuleList(  # type: ignore[assignment]
            Convolution(input_size, filters, width) for width in widths
        )
        self.width = self.state_width = filters * len(widths)
        self.pooling = Max(self.width)

    def states(self, x: Tensor, mask: Tensor) -> Tensor:
        """``x (B, T, D)`` to a vector a step, ``(B, T, F * how many widths)``: what each filter says of its window."""
        return torch.relu(torch.cat([conv(x, mask) for conv in self.convolutions], dim=-1))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``x (B, T, D)``, ``mask (B, T)`` to ``(B, width)``."""
        return self.pooling(self.states(x, mask), mask)

    def nodes(self, graph: Graph, x: str, mask: str, lengths: str) -> str:  # noqa: ARG002
        """The same in ONNX."""
        windows = graph.add("Concat", *(conv.nodes(graph, x, mask) for conv in self.convolutions), axis=2)
        return self.pooling.nodes(graph, graph.add("Relu", windows), mask)
