"""The minimal gated recurrent unit: all matrix products before the loop, and a loop that works number by number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fenlei.layers import kernels
from fenlei.layers.graph import Graph
from fenlei.layers.mask import mask_nodes, mask_of


class MinimalGRU(nn.Module):
    """One layer, one way or both: ``x (B, T, D), lengths (B,) -> (B, T, W)``, ``W = H`` or ``2 H``.

    ::

        z_t = sigmoid(W_z x_t + b_z)          how much of the state is renewed
        g_t = g(W_g x_t + b_g)                candidate; g(a) = a + 1/2 where a >= 0, else sigmoid(a)
        h_t = (1 - z_t) * h_{t-1} + z_t * g_t

    Feng et al. 2024, "Were RNNs All We Needed?". A GRU without reset gate whose gates do not look at ``h_{t-1}``: so
    they are computed for all steps at once, and what is left to the loop are two products and a sum a number.

    The second way reads each row from its own last token to its first. Outputs past a row's end are zero.
    """

    def __init__(self, input_size: int, hidden_size: int, bidirectional: bool = False) -> None:
        super().__init__()
        if hidden_size < 1:
            raise ValueError(f"hidden_size must be at least 1, got {hidden_size}")
        self.hidden_size = hidden_size
        count = 2 if bidirectional else 1
        self.ways: Sequence[nn.Linear] = nn.ModuleList(  # type: ignore[assignment]
            nn.Linear(input_size, 2 * hidden_size) for _ in range(count)
        )

    @property
    def width(self) -> int:
        """Numbers a step that come out."""
        return self.hidden_size * len(self.ways)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """``x (B, T, D)``, ``lengths (B,)`` at least 1, to ``(B, T, W)``."""
        weight, bias = torch.cat([way.weight for way in self.ways]), torch.cat([way.bias for way in self.ways])
        u = nn.functional.linear(x, weight, bias)
        return scan(u.view(*x.shape[:2], len(self.ways), 2, self.hidden_size), lengths).flatten(2)

    def nodes(self, graph: Graph, x: str, lengths: str) -> str:
        """The same in ONNX: products for all steps, then a ``Scan`` that reads both ways at once."""
        # Rows of the weights so that one half of the products is z's, the other g's, each with its ways side by side.
        weight, bias = (
            torch.cat([way.get_parameter(kind).chunk(2)[part] for part in (0, 1) for way in self.ways])
            for kind in ("weight", "bias")
        )
        products = graph.add("MatMul", x, graph.constant(weight.T))
        u = graph.add("Add", products, graph.constant(bias))
        a, b = graph.split(u, 2)
        column = graph.add("Unsqueeze", mask_nodes(graph, lengths, x), graph.constant(np.array([2])))
        inside = graph.add("Cast", column, to=1)
        z = graph.add("Mul", graph.add("Sigmoid", a), inside)
        one, above = graph.constant(np.array(1, np.float32)), graph.add("Relu", b)
        g = graph.add("Add", above, graph.add("Sigmoid", graph.add("Sub", b, above)))  # Where is several times slower
        kept, written = graph.add("Sub", one, z), graph.add("Mul", z, g)
        return graph.add("Mul", graph.mix(kept, written, self.hidden_size, len(self.ways)), inside)


def scan(u: Tensor, lengths: Tensor) -> Tensor:
    """The loop over time: ``u (B, T, ways, 2, H)``, what ``z`` and ``g`` are made of, to ``h (B, T, ways, H)``."""
    if kernels.has(u):
        h: Tensor = _Compiled.apply(u.contiguous(), lengths.contiguous())  # type: ignore[no-untyped-call]
        return h
    return scan_in_torch(u, lengths)


def scan_in_torch(u: Tensor, lengths: Tensor) -> Tensor:
    """The same, a step at a time in torch."""
    inside = mask_of(lengths, u.shape[1])[:, :, None, None]
    a, b = (u if u.dtype == torch.float64 else u.float()).unbind(3)
    z, g = torch.sigmoid(a) * inside, candidate(b)  # in padding z = 0: the state is still what it was, zero
    ways = []
    for way in range(u.shape[2]):
        h, steps = torch.zeros_like(z[:, 0, way]), []
        for t in range(u.shape[1] - 1, -1, -1) if way else range(u.shape[1]):
            h = h + z[:, t, way] * (g[:, t, way] - h)
            steps.append(h)
        ways.append(torch.stack(steps[::-1] if way else steps, 1))
    return (torch.stack(ways, 2) * inside).to(u.dtype)


def candidate(a: Tensor) -> Tensor:
    """``a + 1/2`` where ``a >= 0``, ``sigmoid(a)`` elsewhere: smooth at 0 and never negative."""
    return torch.where(a >= 0, a + 0.5, torch.sigmoid(a))


class _Compiled(torch.autograd.Function):
    """The compiled loop, one pass forward and one backward; in between only ``u`` and ``h`` are kept."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, lengths: Tensor) -> Tensor:
        h = torch.empty_like(u[:, :, :, 0], memory_format=torch.contiguous_format)
        batch, steps, ways, _, size = u.shape
        kernels.call(
            "mingru_forward", u.dtype, u, lengths, batch, steps, ways, size, torch.empty(size, device=u.device), h
        )
        ctx.save_for_backward(u, h, lengths)
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        u, h, lengths = ctx.saved_tensors
        du = torch.empty_like(u)
        batch, steps, ways, _, size = u.shape
        dh, carry = gradients[0].to(u.dtype).contiguous(), torch.empty(size, device=u.device)
        kernels.call("mingru_backward", u.dtype, u, h, dh, lengths, batch, steps, ways, size, carry, du)
        return du, None
