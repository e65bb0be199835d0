"""One LSTM layer."""

from __future__ import annotations

from collections.abc import Sequence

from fenlei.layers.recurrent import Recurrent
from fenlei.models.reader import Reader


class LSTM(Reader):
    """One LSTM reads the text; the document vector is its output at the last real step.

    Each gate ``k`` is ``sigmoid(W_k x_t + U_k h_{t-1} + b_k)``, the candidate ``g_t`` the same with tanh;
    ``c_t = f_t * c_{t-1} + i_t * g_t``, ``h_t = o_t * tanh(c_t)``. A gradient goes back along ``c`` by sums, gated by
    ``f``, and lasts. Hochreiter and Schmidhuber 1997; forget gate: Gers et al. 2000.
    """

    def __init__(self, input_size: int, hidden_size: int = 128, pooling: str | Sequence[str] = ("last",)) -> None:
        super().__init__(Recurrent("lstm", input_size, hidden_size), pooling)
