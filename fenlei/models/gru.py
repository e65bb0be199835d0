"""One GRU layer."""

from __future__ import annotations

from collections.abc import Sequence

from fenlei.layers.recurrent import Recurrent
from fenlei.models.reader import Reader


class GRU(Reader):
    """One gated recurrent unit reads the text; the document vector is its output at the last real step.

    ``h_t = z_t * h_{t-1} + (1 - z_t) * n_t``: the update gate ``z`` mixes old state and candidate ``n``, in which the
    reset gate ``r`` says how much of the old state is heard. Three sets of weights where an LSTM has four.
    Cho et al. 2014.
    """

    def __init__(self, input_size: int, hidden_size: int = 128, pooling: str | Sequence[str] = ("last",)) -> None:
        super().__init__(Recurrent("gru", input_size, hidden_size), pooling)
