"""Tables that turn ids into vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from fenlei.layers.graph import Graph


class Embedding(nn.Module, ABC):
    """``ids (B, T) -> (B, T, D)``; id 0 is padding and gives zeros. Gradients of large tables are sparse."""

    @abstractmethod
    def forward(self, ids: Tensor) -> Tensor:
        """The vector of each id."""

    @abstractmethod
    def nodes(self, graph: Graph, ids: str) -> str:
        """The same in ONNX."""


class Full(Embedding):
    """A row of its own for each of ``rows`` ids."""

    def __init__(self, rows: int, size: int, scale: float = 0.1) -> None:
        super().__init__()
        self.table = nn.Embedding(rows, size, padding_idx=0, sparse=True)
        with torch.no_grad():
            self.table.weight.normal_(0.0, scale)
            self.table.weight[0].zero_()

    def forward(self, ids: Tensor) -> Tensor:
        """The rows of the ids."""
        return self.table(ids)

    def nodes(self, graph: Graph, ids: str) -> str:
        """The same in ONNX."""
        return graph.add("Gather", graph.constant(self.table.weight), ids, axis=0)


EMBEDDINGS: dict[str, type[Embedding]] = {"full": Full}
