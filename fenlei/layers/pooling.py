"""From a vector a step to a vector a document: last, mean, max and attention pooling, blind to padding.

A ``mask (B, T)`` is true at the real steps of each row, and they come first.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fenlei.layers import kernels
from fenlei.layers.graph import Graph

LOW = -1e30  # under every real number that a network makes, and safe in bfloat16


class Pool(nn.Module, ABC):
    """``h (B, T, W), mask (B, T) -> (B, W)``; made with the width ``W``.

    ``ways`` is 2 where the second half of ``W`` comes from a network that reads from the end to the beginning.
    """

    def __init__(self, width: int, ways: int = 1) -> None:
        super().__init__()
        self.width, self.ways = width, ways

    @abstractmethod
    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        """``h (B, T, W)``, ``mask (B, T)`` of bool to ``(B, W)``."""

    @abstractmethod
    def nodes(self, graph: Graph, h: str, mask: str, steps: int = 1) -> str:
        """The same in ONNX; with ``steps`` 0 of ``h (T, B, W)`` and ``mask (T, B)``."""


class Last(Pool):
    """The output at the last real step, ``h[b, lengths[b] - 1]``. ``h[:, -1]`` would read the padding.

    A network that reads backwards ends at step 0: its half is taken from there. At the last step it has read one word.
    """

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        """``h (B, T, W)``, ``mask (B, T)`` to ``(B, W)``."""
        end = h[torch.arange(len(h), device=h.device), mask.sum(1) - 1]
        reads_forward = torch.arange(self.width, device=h.device) < self.width // self.ways
        return torch.where(reads_forward, end, h[:, 0])

    def nodes(self, graph: Graph, h: str, mask: str, steps: int = 1) -> str:
        """The same in ONNX."""
        if steps == 0:
            h, mask = rows_first(graph, h, mask)
        count = graph.add("ReduceSum", graph.add("Cast", mask, to=7), graph.constant(np.array([1])), keepdims=1)
        last = graph.add("Sub", count, graph.constant(np.array(1)))
        end = graph.add("GatherND", h, last, batch_dims=1)
        reads_forward = graph.constant(np.arange(self.width) < self.width // self.ways)
        first = graph.add("Gather", h, graph.constant(np.array([0])), axis=1)
        start = graph.add("Squeeze", first, graph.constant(np.array([1])))
        return graph.add("Where", reads_forward, end, start)


class Mean(Pool):
    """The mean over real steps."""

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        """``h (B, T, W)``, ``mask (B, T)`` to ``(B, W)``."""
        weights = mask.to(h.dtype)
        return (h * weights[:, :, None]).sum(1) / weights.sum(1, keepdim=True)

    def nodes(self, graph: Graph, h: str, mask: str, steps: int = 1) -> str:
        """The same in ONNX."""
        axis = graph.constant(np.array([steps]))
        column = graph.add("Unsqueeze", graph.add("Cast", mask, to=1), graph.constant(np.array([2])))
        total = graph.add("ReduceSum", graph.add("Mul", h, column), axis, keepdims=0)
        return graph.add("Div", total, graph.add("ReduceSum", column, axis, keepdims=0))


class Max(Pool):
    """The largest value of each dimension over real steps."""

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        """``h (B, T, W)``, ``mask (B, T)`` to ``(B, W)``."""
        if kernels.has(h):
            return together(h, mask, [self])
        return h.masked_fill(~mask[:, :, None], LOW).amax(1)

    def nodes(self, graph: Graph, h: str, mask: str, steps: int = 1) -> str:
        """The same in ONNX."""
        if steps == 0:  # onnxruntime's maximum over the first axis takes ten times as long as over the second
            h, mask = rows_first(graph, h, mask)
        inside = graph.add("Add", h, penalty(graph, mask))
        largest = graph.add("ReduceMax", inside, axes=[1], keepdims=0)
        # A rectified filter that never fired is largest nowhere.
        silent = graph.add("Equal", largest, graph.constant(np.array(0, np.float32)))
        place = graph.add("ArgMax", inside, axis=1, keepdims=0)
        graph.show(graph.add("Where", silent, graph.constant(np.array(-1)), place), "largest", np.int64)
        return largest


class Attention(Pool):
    """``a = softmax_t(v . tanh(W h_t + b))``, then ``sum_t a_t h_t`` (Yang et al. 2016, equations 5 to 7)."""

    def __init__(self, width: int, ways: int = 1) -> None:
        super().__init__(width, ways)
        self.project = nn.Linear(width, width)
        self.context = nn.Linear(width, 1, bias=False)

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        """``h (B, T, W)``, ``mask (B, T)`` to ``(B, W)``."""
        return (h * self.weights(h, mask)[:, :, None].to(h.dtype)).sum(1)

    def weights(self, h: Tensor, mask: Tensor) -> Tensor:
        """How much each step counts, ``(B, T)``: positive on real steps, zero on padding, sum 1."""
        scores = self.context(torch.tanh(self.project(h))).squeeze(-1)
        return torch.softmax(scores.masked_fill(~mask, LOW), dim=1)

    def nodes(self, graph: Graph, h: str, mask: str, steps: int = 1, shown: str = "attention") -> str:
        """The same in ONNX; the weights are ``shown`` beside the answer."""
        rows = graph.flat(h, self.width)
        hidden = graph.add(
            "Tanh", graph.linear(rows, graph.weight(self.project.weight), graph.weight(self.project.bias))
        )
        scores = graph.add("MatMul", hidden, graph.add("Transpose", graph.weight(self.context.weight), perm=(1, 0)))
        scores = graph.add("Add", graph.like(scores, h, 2), penalty(graph, mask))
        weights = _softmax(graph, scores) if steps == 0 else graph.add("Softmax", scores, axis=1)
        table = graph.add("Squeeze", weights, graph.constant(np.array([2])))
        graph.show(graph.add("Transpose", table, perm=(1, 0)) if steps == 0 else table, shown, np.float32)
        weighed = graph.add("Mul", h, weights)
        return graph.add("ReduceSum", weighed, graph.constant(np.array([steps])), keepdims=0)


def penalty(graph: Graph, mask: str) -> str:
    """What is added to numbers at each step that the largest is sought of: 0, on padding ``LOW``; ``(..., 1)``.

    Onnxruntime's ``Where``, which would put it in their place, takes several times as long.
    """
    outside = graph.add("Cast", graph.add("Not", mask), to=1)
    return graph.add(
        "Unsqueeze", graph.add("Mul", outside, graph.constant(np.array(LOW, np.float32))), graph.constant(np.array([2]))
    )


def rows_first(graph: Graph, h: str, mask: str) -> tuple[str, str]:
    """``h (T, B, W)``, ``mask (T, B)`` to ``(B, T, W)`` and ``(B, T)``."""
    return graph.add("Transpose", h, perm=(1, 0, 2)), graph.add("Transpose", mask, perm=(1, 0))


def _softmax(graph: Graph, scores: str) -> str:
    """``softmax_t``, ``(T, B, 1)``, summed step by step: so it does not depend on how many steps of padding follow."""
    largest = graph.add("ReduceMax", scores, axes=[0], keepdims=1)
    powers = graph.add("Exp", graph.add("Sub", scores, largest))
    return graph.add("Div", powers, graph.add("ReduceSum", powers, graph.constant(np.array([0])), keepdims=1))


POOLINGS: dict[str, type[Pool]] = {"last": Last, "mean": Mean, "max": Max, "attention": Attention}
LOOPED: tuple[type[Pool], ...] = (Mean, Max, Attention)  # in the order in which the compiled loop numbers them


def together(h: Tensor, mask: Tensor, parts: Sequence[Pool]) -> Tensor:
    """Poolings of the ``LOOPED`` kinds, each once, in one compiled pass: ``(B, T, W)`` to ``(B, W * how many)``."""
    h, hidden, context = h.contiguous(), None, None
    for part in parts:
        if isinstance(part, Attention):
            hidden, context = part.project(h).to(h.dtype).contiguous(), part.context.weight.float()
    kinds = torch.tensor([LOOPED.index(type(part)) for part in parts], device=h.device)
    found: Tensor = _Pooled.apply(h, hidden, context, mask.sum(1), kinds)  # type: ignore[no-untyped-call]
    return found


class _Pooled(torch.autograd.Function):
    """Mean, maximum and the attention's sum with its ``tanh`` and ``softmax``, sums in float32, and the way back.

    The gradient of a maximum goes to the step that was largest, the first of equals. Torch's ``amax`` shares it among
    equals, looks through all of ``h`` for them again, and each pooling has a gradient as large as ``h`` of its own.
    """

    @staticmethod
    def forward(
        ctx: Any, h: Tensor, hidden: Tensor | None, context: Tensor | None, lengths: Tensor, kinds: Tensor
    ) -> Tensor:
        batch, steps, width = h.shape
        place = torch.zeros(batch, width, dtype=torch.int32, device=h.device)
        shares = torch.zeros(batch, steps, device=h.device)
        found = h.new_empty(batch, len(kinds) * width)
        arguments = lengths, kinds, len(kinds), steps, width, context, place, shares
        kernels.call_for(h.dtype, "pool", *arguments, torch.empty(width, device=h.device), h, hidden, batch, found)
        ctx.save_for_backward(h, hidden, context, lengths, kinds, place, shares)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        h, hidden, context, lengths, kinds, place, shares = ctx.saved_tensors
        batch, steps, width = h.shape
        back, room = torch.empty_like(h), torch.empty(3 * width + steps, device=h.device)
        into = (None, None) if hidden is None else (torch.empty_like(hidden), torch.zeros_like(context))
        arguments = lengths, kinds, len(kinds), steps, width, context, place, shares, room, h, hidden, batch
        kernels.call_for(h.dtype, "pool_back", *arguments, gradients[0].to(h.dtype).contiguous(), back, *into)
        return back, *into, None, None


class Pooling(nn.Module):
    """One or several poolings of the same steps, side by side: ``(B, T, W) -> (B, W * how many)``."""

    def __init__(self, names: str | Sequence[str], width: int, ways: int = 1) -> None:
        super().__init__()
        names = [names] if isinstance(names, str) else list(names)
        if not names or any(name not in POOLINGS for name in names):
            raise ValueError(f"pooling must name some of {', '.join(POOLINGS)}, got {', '.join(names) or 'nothing'}")
        self.parts: Sequence[Pool] = nn.ModuleList(  # type: ignore[assignment]
            POOLINGS[name](width, ways) for name in names
        )
        self.names, self.width = names, width * len(names)
        kinds = {type(part) for part in self.parts}
        self.looped = len(kinds) == len(names) and kinds <= {*LOOPED}

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        """``h (B, T, W)``, ``mask (B, T)`` to ``(B, self.width)``."""
        if kernels.has(h) and self.looped:
            return together(h, mask, self.parts)
        return torch.cat([part(h, mask) for part in self.parts], dim=1)

    def nodes(self, graph: Graph, h: str, mask: str, steps: int = 1) -> str:
        """The same in ONNX."""
        return graph.add("Concat", *(part.nodes(graph, h, mask, steps) for part in self.parts), axis=1)
