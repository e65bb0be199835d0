"""The vanilla recurrent network."""

from __future__ import annotations

from collections.abc import Sequence

from fenlei.layers.recurrent import Recurrent
from fenlei.models.reader import Reader


class RNN(Reader):
    """One tanh layer reads the text; the document vector is its output at the last real step (Elman 1990).

    ``h_t = tanh(W x_t + U h_{t-1} + b)``. Going back ``k`` steps multiplies a gradient ``k`` times by ``U``, so early
    words soon stop to count (Bengio et al. 1994): the reason for the gated networks.
    """

    def __init__(self, input_size: int, hidden_size: int = 128, pooling: str | Sequence[str] = ("last",)) -> None:
        super().__init__(Recurrent("rnn", input_size, hidden_size), pooling)
