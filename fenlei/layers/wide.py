"""The wide branch: a linear model over a document's weighted n-grams."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from fenlei.layers.graph import Graph
from fenlei.lookups import WEIGHED


class WideTable(nn.Module):
    """``logits = sum_n value_n * W[ngram_n] + b``: a row of class weights an n-gram, row 0 zero.

    The weights are a convex fit made elsewhere, so they are buffers, not parameters. (Cheng et al. 2016 set such a
    branch beside a deep one.)
    """

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = nn.Buffer(weight)
        self.bias = nn.Buffer(bias)

    def forward(self, ngrams: Tensor, values: Tensor) -> Tensor:
        """``ngrams (B, N)`` rows, ``values (B, N)`` to logits ``(B, C)``."""
        return torch.einsum("bn,bnc->bc", values, self.weight[ngrams]) + self.bias

    def nodes(self, graph: Graph, ngrams: str, values: str) -> str:
        """The same in ONNX."""
        rows = graph.gather(self.weight, ngrams)
        flat = graph.add("MatMul", graph.add("Unsqueeze", values, graph.constant(np.array([1]))), rows)
        sums = graph.add("Squeeze", flat, graph.constant(np.array([1])))
        return graph.add("Add", graph.offer(sums, WEIGHED, {ngrams: self.weight}), graph.weight(self.bias))
