"""Recurrence over time as production runs it: torch's fused kernels, each row read within its own length."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from fenlei.layers.graph import Graph
from fenlei.layers.mask import mask_of, reverse

# For each kind: torch's module, the ONNX operator, and its gates in ONNX's order as places in torch's order.
CELLS: dict[str, tuple[Callable[..., nn.RNNBase], str, tuple[int, ...]]] = {
    "rnn": (nn.RNN, "RNN", (0,)),
    "lstm": (nn.LSTM, "LSTM", (0, 3, 1, 2)),  # torch: input, forget, candidate, output; ONNX: input, output, forget, c.
    "gru": (nn.GRU, "GRU", (1, 0, 2)),  # torch: reset, update, new; ONNX: update, reset, hidden
}


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
        outputs = [self.ways[0](x)[0]]
        if len(self.ways) == 2:
            outputs.append(reverse(self.ways[1](reverse(x, lengths))[0], lengths))
        joined = torch.cat(outputs, dim=-1)
        inside = mask_of(lengths, x.shape[1])
        if inside.all():
            return joined
        return joined * inside[:, :, None].to(joined.dtype)

    def nodes(self, graph: Graph, x: str, lengths: str) -> str:
        """The same as ONNX's own recurrent operator with ``sequence_lens``."""
        _, op, order = CELLS[self.cell]
        weights = [graph.constant(self._stack(kind, order)) for kind in ("weight_ih_l0", "weight_hh_l0")]
        bias = torch.cat([self._stack("bias_ih_l0", order), self._stack("bias_hh_l0", order)], dim=1)
        steps_first = graph.add("Transpose", x, perm=(1, 0, 2))
        attributes = {
            "direction": "bidirectional" if len(self.ways) == 2 else "forward",
            "hidden_size": self.hidden_size,
        }
        if self.cell == "gru":
            attributes["linear_before_reset"] = 1
        rows = graph.add("Cast", lengths, to=6)
        states = graph.add(op, steps_first, *weights, graph.constant(bias), rows, **attributes)
        rows_first = graph.add("Transpose", states, perm=(2, 0, 1, 3))  # (T, ways, B, H) -> (B, T, ways, H)
        return graph.add("Reshape", rows_first, graph.constant(np.array([0, 0, self.width])))

    def _stack(self, kind: str, order: tuple[int, ...]) -> Tensor:
        """One kind of weight of every way, gates in ONNX's order: ``(ways, G H, ...)``."""
        parts = []
        for way in self.ways:
            gates = way.get_parameter(kind).detach().chunk(len(order))
            parts.append(torch.cat([gates[place] for place in order]))
        return torch.stack(parts)


def _open_forget_gates(ways: Iterable[nn.Module]) -> None:
    """Start with the forget gates open (bias 1, Jozefowicz et al. 2015): the cell state survives the first epochs."""
    with torch.no_grad():
        for way in ways:
            for name, value in (("bias_ih_l0", 1.0), ("bias_hh_l0", 0.0)):
                bias = way.get_parameter(name)
                bias[len(bias) // 4 : len(bias) // 2] = value
