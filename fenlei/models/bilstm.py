"""The bidirectional LSTM whose outputs at every step are combined."""

from __future__ import annotations

from collections.abc import Sequence

from fenlei.layers.recurrent import Recurrent
from fenlei.models.reader import Reader


class BiLSTM(Reader):
    """One LSTM reads forward, one backward; their outputs at all steps are pooled into the document vector.

    ``h_t = [forward_t ; backward_t]``, ``document = [max_t h_t ; mean_t h_t ; sum_t a_t h_t]`` with the attention
    weights ``a_t``; which poolings, by option. Schuster and Paliwal 1997, Graves and Schmidhuber 2005.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int = 128,
        pooling: str | Sequence[str] = ("max", "mean", "attention"),
    ) -> None:
        super().__init__(Recurrent("lstm", input_size, hidden_size, bidirectional=True), pooling)
