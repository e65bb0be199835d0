"""Recurrence over time as production runs it: torch's fused kernels, each row read within its own length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fenlei.layers import lstm
from fenlei.layers.graph import Graph
from fenlei.layers.mask import mask_of, reverse

# For each kind: torch's module, the ONNX operator, and its gates in ONNX's order as places in torch's order.
CELLS: dict[str, tuple[Callable[..., nn.RNNBase], str, tuple[int, ...]]] = {
    "rnn": (nn.RNN, "RNN", (0,)),
    "lstm": (nn.LSTM, "LSTM", (0, 3, 1, 2)),  # torch: input, forget, candidate, output; ONNX: input, output, forget, c.
    "gru": (nn.GRU, "GRU", (1, 0, 2)),  # torch: reset, update, new; ONNX: update, reset, hidden
}

MATRICES = ("weight_ih_l0", "weight_hh_l0")


class Recurrent(nn.Module):
    """One recurrent layer, one way or both: ``x (B, T, D), lengths (B,) -> (B, T, W)``, ``W = H`` or ``2 H``.

    Bidirectional: the second network reads each row from its own last token to its first (Schuster and Paliwal 1997),
    and both outputs at a step stand side by side. Outputs past a row's end are zero.
    """

    def __init__(self, cell: str, input_size: int, hidden_size: int, bidirectional: bool = False) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ValueError(f"unknown cell {cell!r}; the choices are {', '.join(CELLS)}")
        if hidden_size < 1:
            raise ValueError(f"hidden_size must be at least 1, got {hidden_size}")
        self.cell = cell
        self.hidden_size = hidden_size
        kind = CELLS[cell][0]
        layers = [kind(input_size, hidden_size, batch_first=True) for _ in range(2 if bidirectional else 1)]
        self.ways = nn.ModuleList(layers)
        if cell == "lstm":
            _open_forget_gates(self.ways)

    @property
    def width(self) -> int:
        """Numbers a step that come out."""
        return self.hidden_size * len(self.ways)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """``x (B, T, D)``, ``lengths (B,)`` at least 1, to ``(B, T, W)``."""
        if self.cell == "lstm" and lstm.has(x, self.hidden_size):
            return lstm.scan(x, lengths, self.ways)
        outputs = [_outputs(self.ways[0], x)]
        if len(self.ways) == 2:
            outputs.append(reverse(_outputs(self.ways[1], reverse(x, lengths)), lengths))
        joined = torch.cat(outputs, dim=-1)
        inside = mask_of(lengths, x.shape[1])
        if inside.all():
            return joined
        return joined * inside[:, :, None].to(joined.dtype)

    def nodes(self, graph: Graph, x: str, lengths: str, steps: int = 1) -> str:
        """The same as ONNX's own recurrent operator with ``sequence_lens``; with ``steps`` 0 ``x (T, B, D)`` to
        ``(T, B, W)``.
        """
        _, op, order = CELLS[self.cell]
        biases = [self._stack(graph, kind, order) for kind in ("bias_ih_l0", "bias_hh_l0")]
        steps_first = graph.add("Transpose", x, perm=(1, 0, 2)) if steps else x
        attributes = {
            "direction": "bidirectional" if len(self.ways) == 2 else "forward",
            "hidden_size": self.hidden_size,
        }
        if self.cell == "gru":
            attributes["linear_before_reset"] = 1
        rows = graph.add("Cast", lengths, to=6)
        bias = graph.add("Concat", *biases, axis=1)
        states = self._in_bytes(graph, order, steps_first, bias, rows, attributes)
        if not states:
            weights = [self._stack(graph, kind, order) for kind in MATRICES]
            states = graph.add(op, steps_first, *weights, bias, rows, **attributes)
        # (T, ways, B, H) -> (B, T, ways, H) or (T, B, ways, H)
        ways_last = graph.add("Transpose", states, perm=(2, 0, 1, 3) if steps else (0, 2, 1, 3))
        return graph.add("Reshape", ways_last, graph.constant(np.array([0, 0, self.width])))

    def _stack(self, graph: Graph, kind: str, order: tuple[int, ...]) -> str:
        """One kind of weight of every way, gates in ONNX's order: ``(ways, G H, ...)``; done once, at the start."""
        parts = []
        for way in self.ways:
            weight = way.get_parameter(kind)
            parts.append(_ordered(graph, graph.weight(weight), order, weight.shape[1:]))
        return graph.add("Concat", *parts, axis=0)

    def _in_bytes(
        self, graph: Graph, order: tuple[int, ...], x: str, bias: str, rows: str, attributes: dict[str, Any]
    ) -> str:
        """The LSTM by onnxruntime's operator that computes in 8 bits; empty where the graph is not to."""
        found: list[str] = []
        for kind in MATRICES if self.cell == "lstm" else ():
            numbers, scales = [], []
            for way in self.ways:
                weight = way.get_parameter(kind)
                packed = graph.bytes_of(weight)
                if packed is None:
                    return ""
                numbers.append(_ordered(graph, packed[0], order, weight.shape[1:]))
                scales.append(
                    _ordered(graph, graph.add("Squeeze", packed[1], graph.constant(np.array([1]))), order, ())
                )
            matrix = graph.add("Transpose", graph.add("Concat", *numbers, axis=0), perm=(0, 2, 1))
            zero = graph.constant(np.zeros((len(self.ways), len(order) * self.hidden_size), np.int8))
            found += [matrix, graph.add("Concat", *scales, axis=0), zero]
        if not found:
            return ""
        w, w_scale, w_zero, r, r_scale, r_zero = found
        inputs = (x, w, r, bias, rows, "", "", "", w_scale, w_zero, r_scale, r_zero)
        return graph.add("DynamicQuantizeLSTM", *inputs, domain="com.microsoft", **attributes)


def _outputs(way: nn.Module, x: Tensor) -> Tensor:
    """What one way says at every step. On a GPU always in float32: autocast would have cuDNN compute in float16."""
    if x.device.type != "cuda":
        return way(x)[0]
    with torch.autocast("cuda", enabled=False):
        return way(x.float())[0]


def _ordered(graph: Graph, value: str, order: tuple[int, ...], columns: Sequence[int]) -> str:
    """A stack of gates ``(G H, ...)`` in another order of them, ``(1, G H, ...)``."""
    gates = graph.add("Reshape", value, graph.constant(np.array([len(order), -1, *columns])))
    gates = graph.add("Gather", gates, graph.constant(np.array(order)), axis=0)
    return graph.add("Reshape", gates, graph.constant(np.array([1, -1, *columns])))


def _open_forget_gates(ways: Iterable[nn.Module]) -> None:
    """Start with the forget gates open (bias 1, Jozefowicz et al. 2015): the cell state survives the first epochs."""
    with torch.no_grad():
        for way in ways:
            for name, value in (("bias_ih_l0", 1.0), ("bias_hh_l0", 0.0)):
                bias = way.get_parameter(name)
                bias[len(bias) // 4 : len(bias) // 2] = value
