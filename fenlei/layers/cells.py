"""The recurrences as a person reads them: one step from its equation, a scan over time, every gate kept.

Letters: ``x`` what is read (B, D), ``h`` the output (B, H), ``c`` the cell state (B, H), ``W`` (H, D) and ``U`` (H, H)
the weights, ``b`` (H) the bias; ``*`` goes number by number. Production runs the same in ``fenlei.layers.recurrent``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from fenlei.layers.mask import reverse
from fenlei.layers.mingru import MinimalGRU, candidate
from fenlei.layers.recurrent import Recurrent

State = Mapping[str, Tensor]  # all that one step computed, by letter, (B, H) each


class Cell(nn.Module, ABC):
    """One step of a recurrence. ``W``, ``U``, ``b`` hold the weights of each part, by its letter."""

    parts: ClassVar[tuple[str, ...]]  # the letters that have weights, in the order in which torch stacks them
    letters: ClassVar[tuple[str, ...]]  # what a step computes, in the order in which it does
    memory: ClassVar[str] = "h"  # what a step remembers the earlier ones by

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.W = nn.ParameterDict({k: _weights(hidden_size, hidden_size, input_size) for k in self.parts})
        self.U = nn.ParameterDict({k: _weights(hidden_size, hidden_size, hidden_size) for k in self.parts})
        self.b = nn.ParameterDict({k: _weights(hidden_size, hidden_size) for k in self.parts})

    @abstractmethod
    def step(self, x: Tensor, before: State) -> State:
        """Read ``x (B, D)`` in the state ``before``; returns every quantity in ``letters``, ``(B, H)`` each."""

    def start(self, x: Tensor) -> State:
        """The state before the first word: zeros, for a batch like ``x (B, ...)``."""
        zero = x.new_zeros(len(x), self.hidden_size)
        return {"h": zero, "c": zero}

    def scan(self, x: Tensor) -> list[State]:
        """Read ``x (B, T, D)`` from its first step to its last; returns what each step computed.

        The tensors hang together: ``torch.autograd.grad(loss, [each[cell.memory] for each in steps])`` is how much each
        step still contributes to a loss behind the last one.
        """
        state, steps = self.start(x), []
        for x_t in x.unbind(1):
            state = self.step(x_t, state)
            steps.append(state)
        return steps

    def take(self, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> None:
        """Copy torch's weights, in which the parts lie stacked. Torch adds two biases where the equations have one."""
        count = len(self.parts)
        for k, W, U, b in zip(
            self.parts, weight_ih.chunk(count), weight_hh.chunk(count), (bias_ih + bias_hh).chunk(count), strict=True
        ):
            for mine, theirs in ((self.W, W), (self.U, U), (self.b, b)):
                mine[k] = nn.Parameter(theirs.detach().clone())

    def affine(self, k: str, x: Tensor, h: Tensor) -> Tensor:
        """``W_k x + U_k h + b_k``, for rows of ``x`` and ``h``."""
        return x @ self.W[k].T + h @ self.U[k].T + self.b[k]


class RNNCell(Cell):
    """``h_t = tanh(W x_t + U h_{t-1} + b)``. Elman 1990."""

    parts = ("h",)
    letters = ("h",)

    def step(self, x: Tensor, before: State) -> State:
        """One word: ``x (B, D)`` to ``h``."""
        return {"h": torch.tanh(self.affine("h", x, before["h"]))}


class LSTMCell(Cell):
    """Long short-term memory (Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000).

    ::

        i_t = sigmoid(W_i x_t + U_i h_{t-1} + b_i)    input gate: how much of the candidate is written
        f_t = sigmoid(W_f x_t + U_f h_{t-1} + b_f)    forget gate: how much of the cell state is kept
        g_t = tanh(W_g x_t + U_g h_{t-1} + b_g)       candidate
        o_t = sigmoid(W_o x_t + U_o h_{t-1} + b_o)    output gate: how much of the cell state is shown
        c_t = f_t * c_{t-1} + i_t * g_t               cell state
        h_t = o_t * tanh(c_t)                         output

    The tutorial's ``h = o + tanh(c)`` is wrong: a sum is no gate. However small ``o`` is, all of ``tanh(c)`` shows, and
    an empty cell says ``o`` instead of nothing; the output lies in (-1, 2) instead of (-1, 1), and since ``h`` goes
    into every gate of the next step, that shift drives them all.
    """

    parts = ("i", "f", "g", "o")
    letters = ("i", "f", "g", "o", "c", "h")
    memory = "c"

    def step(self, x: Tensor, before: State) -> State:
        """One word: ``x (B, D)`` to the gates, the candidate, ``c`` and ``h``."""
        h, c = before["h"], before["c"]
        i = torch.sigmoid(self.affine("i", x, h))
        f = torch.sigmoid(self.affine("f", x, h))
        g = torch.tanh(self.affine("g", x, h))
        o = torch.sigmoid(self.affine("o", x, h))
        c = f * c + i * g
        h = o * torch.tanh(c)
        return {"i": i, "f": f, "g": g, "o": o, "c": c, "h": h}


class GRUCell(Cell):
    """Gated recurrent unit (Cho et al. 2014).

    ::

        r_t = sigmoid(W_r x_t + U_r h_{t-1} + b_r)             reset gate: how much of the old output is heard
        z_t = sigmoid(W_z x_t + U_z h_{t-1} + b_z)             update gate: how much of the old output stays
        n_t = tanh(W_n x_t + b_n + r_t * (U_n h_{t-1} + d))    candidate
        h_t = z_t * h_{t-1} + (1 - z_t) * n_t                  output

    The paper writes ``U_n (r_t * h_{t-1})``; cuDNN, torch and this cell put the reset gate behind the product.
    """

    parts = ("r", "z", "n")
    letters = ("r", "z", "n", "h")

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.d = _weights(hidden_size, hidden_size)

    def step(self, x: Tensor, before: State) -> State:
        """One word: ``x (B, D)`` to the gates, the candidate and ``h``."""
        h = before["h"]
        r = torch.sigmoid(self.affine("r", x, h))
        z = torch.sigmoid(self.affine("z", x, h))
        n = torch.tanh(x @ self.W["n"].T + self.b["n"] + r * (h @ self.U["n"].T + self.d))
        h = z * h + (1 - z) * n
        return {"r": r, "z": z, "n": n, "h": h}

    def take(self, weight_ih: Tensor, weight_hh: Tensor, bias_ih: Tensor, bias_hh: Tensor) -> None:
        """Copy torch's weights; the candidate keeps both biases, for the reset gate lies between them."""
        super().take(weight_ih, weight_hh, bias_ih, bias_hh)
        self.b["n"] = nn.Parameter(bias_ih.chunk(3)[2].detach().clone())
        self.d = nn.Parameter(bias_hh.chunk(3)[2].detach().clone())


class MinGRUCell(Cell):
    """Minimal gated unit (Feng et al. 2024): a GRU whose gates do not look at the state.

    ::

        z_t = sigmoid(W_z x_t + b_z)              update gate: how much of the state is renewed
        g_t = a + 1/2 if a >= 0 else sigmoid(a)   candidate, a = W_g x_t + b_g
        h_t = (1 - z_t) * h_{t-1} + z_t * g_t     output
    """

    parts = ("z", "g")
    letters = ("z", "g", "h")

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.U = nn.ParameterDict()  # the state is mixed, never multiplied

    def step(self, x: Tensor, before: State) -> State:
        """One word: ``x (B, D)`` to the gate, the candidate and ``h``."""
        z = torch.sigmoid(x @ self.W["z"].T + self.b["z"])
        g = candidate(x @ self.W["g"].T + self.b["g"])
        return {"z": z, "g": g, "h": (1 - z) * before["h"] + z * g}

    @classmethod
    def of(cls, way: nn.Linear) -> MinGRUCell:
        """The cell of one way of a ``MinimalGRU``, in whose weights the parts lie stacked."""
        cell = cls(way.in_features, way.out_features // 2)
        for mine, theirs in ((cell.W, way.weight), (cell.b, way.bias)):
            for k, part in zip(cls.parts, theirs.detach().chunk(2), strict=True):
                mine[k] = nn.Parameter(part.clone())
        return cell


EQUATIONS: dict[str, type[Cell]] = {"rnn": RNNCell, "lstm": LSTMCell, "gru": GRUCell}


class Equations(nn.Module):
    """A recurrent layer run by its equations: it takes the fused layer's place and says the same, step by step."""

    def __init__(self, ways: Sequence[Cell]) -> None:
        super().__init__()
        self.ways: Sequence[Cell] = nn.ModuleList(ways)  # type: ignore[assignment]
        self.width = sum(cell.hidden_size for cell in ways)

    @classmethod
    def from_fused(cls, layer: Recurrent | MinimalGRU) -> Equations:
        """The same layer with copies of its weights: one cell a way."""
        if isinstance(layer, MinimalGRU):
            return cls([MinGRUCell.of(way) for way in layer.ways])
        return cls([_cell_of(layer.cell, way) for way in layer.ways])

    def trace(self, x: Tensor, lengths: Tensor) -> list[dict[str, Tensor]]:
        """For each way, every quantity by its letter: ``(B, T, H)``, in the text's order, zero past a row's end."""
        inside = (torch.arange(x.shape[1], device=x.device) < lengths[:, None])[:, :, None]
        ways = []
        for backward, cell in enumerate(self.ways):
            steps = cell.scan(reverse(x, lengths) if backward else x)
            found = {letter: torch.stack([step[letter] for step in steps], dim=1) for letter in cell.letters}
            if backward:
                found = {letter: reverse(values, lengths) for letter, values in found.items()}
            ways.append({letter: values * inside for letter, values in found.items()})
        return ways

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """``x (B, T, D)``, ``lengths (B,)`` at least 1, to ``(B, T, W)``."""
        return torch.cat([way["h"] for way in self.trace(x, lengths)], dim=-1)


def _cell_of(kind: str, way: nn.Module) -> Cell:
    weight_ih, weight_hh, bias_ih, bias_hh = (
        way.get_parameter(f"{name}_l0") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    cell = EQUATIONS[kind](weight_ih.shape[1], weight_hh.shape[1])
    cell.take(weight_ih, weight_hh, bias_ih, bias_hh)
    return cell


def _weights(hidden_size: int, *shape: int) -> nn.Parameter:
    """Uniform in ``+-1 / sqrt(H)``, as torch begins."""
    bound = hidden_size**-0.5
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
