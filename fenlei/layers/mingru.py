"""The minimal gated recurrent unit: all matrix products before the loop, and a loop that works number by number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fenlei.layers import gpu, kernels
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

    def nodes(self, graph: Graph, x: str, lengths: str, steps: int = 1) -> str:
        """The same in ONNX: products for all steps, then a ``Scan`` that reads both ways at once.

        What comes out past a row's end means nothing here: no pooling looks there, and to make it zero takes time.

        With ``steps`` 0 ``x (T, B, D)`` to ``(T, B, W)``: each step's numbers lie side by side, as the loop reads them.
        """
        if steps:
            return graph.add(
                "Transpose", self.nodes(graph, graph.add("Transpose", x, perm=(1, 0, 2)), lengths, 0), perm=(1, 0, 2)
            )
        column = graph.add("Unsqueeze", mask_nodes(graph, lengths, x, 0), graph.constant(np.array([2])))
        inside = graph.add("Cast", column, to=1)
        rows, ways = graph.flat(x, self.ways[0].in_features), []
        for number, way in enumerate(self.ways):
            z, g = self._gates(graph, way, rows)
            z, g = graph.like(z, x, 2), graph.like(g, x, 2)
            # Read backwards, padding comes before the row: there the state must stay what it was, zero.
            z = graph.add("Mul", z, inside) if number else z
            ways.append((graph.add("Sub", graph.constant(np.array(1, np.float32)), z), graph.add("Mul", z, g)))
        return graph.mix([kept for kept, _ in ways], [added for _, added in ways], self.hidden_size)

    @staticmethod
    def _gates(graph: Graph, way: nn.Linear, x: str) -> tuple[str, str]:
        """``z`` and ``g (N, H)`` of ``x (N, D)``; ``g(a) = max(a + 1/2, sigmoid(a))``, for ``Where`` is slow."""
        weights, biases = (graph.split(graph.weight(each), 2, axis=0) for each in (way.weight, way.bias))
        a, b = (graph.linear(x, weight, bias) for weight, bias in zip(weights, biases, strict=True))
        shifted = graph.add("Add", b, graph.constant(np.array(0.5, np.float32)))
        return graph.add("Sigmoid", a), graph.add("Max", shifted, graph.add("Sigmoid", b))


def scan(u: Tensor, lengths: Tensor) -> Tensor:
    """The loop over time: ``u (B, T, ways, 2, H)``, what ``z`` and ``g`` are made of, to ``h (B, T, ways, H)``."""
    loops = next((each for each in (Compiled, gpu) if each.has(u)), None)
    if loops is None:
        return scan_in_torch(u, lengths)
    h: Tensor = _Fused.apply(u.contiguous(), lengths.contiguous(), loops)  # type: ignore[no-untyped-call]
    return h


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


class Compiled:
    """The loop on the processor, as ``fenlei.layers.gpu`` has it on a GPU."""

    has = staticmethod(kernels.has)

    @staticmethod
    def forward(u: Tensor, lengths: Tensor) -> Tensor:
        """``u (B, T, ways, 2, H)``, no gaps, ``lengths (B,)``, to ``h (B, T, ways, H)``; the state is in float32."""
        batch, steps, ways, _, size = u.shape
        h, state = u.new_empty(batch, steps, ways, size), torch.empty(size, device=u.device)
        kernels.call_for(u.dtype, "mingru_forward", u, lengths, batch, steps, ways, size, state, h)
        return h

    @staticmethod
    def backward(u: Tensor, h: Tensor, dh: Tensor, lengths: Tensor) -> Tensor:
        """From the gradient of ``h`` that of ``u``."""
        batch, steps, ways, _, size = u.shape
        du, carry = torch.empty_like(u), torch.empty(size, device=u.device)
        kernels.call_for(u.dtype, "mingru_backward", u, h, dh, lengths, batch, steps, ways, size, carry, du)
        return du


class _Fused(torch.autograd.Function):
    """Gates and loop in one pass forward and one backward; in between only ``u`` and ``h`` are kept."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, lengths: Tensor, loops: Any) -> Tensor:
        h: Tensor = loops.forward(u, lengths)
        ctx.save_for_backward(u, h, lengths)
        ctx.loops = loops
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        u, h, lengths = ctx.saved_tensors
        return ctx.loops.backward(u, h, gradients[0].to(u.dtype).contiguous(), lengths), None, None
