"""The minimal gated unit, both ways: the fast one of the recurrent networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from fenlei.layers.mingru import MinimalGRU
from fenlei.models.reader import Reader


class MinGRU(Reader):
    """One layer of minimal gated units reads forward, one backward; the outputs at all steps are pooled.

    ``h_t = (1 - z_t) * h_{t-1} + z_t * g_t`` with gate and candidate made of ``x_t`` alone: a quarter of the LSTM's
    arithmetic, and no matrix product inside the loop. Feng et al. 2024.
    """

    alone: ClassVar[bool] = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int = 128,
        pooling: str | Sequence[str] = ("max", "mean", "attention"),
    ) -> None:
        super().__init__(MinimalGRU(input_size, hidden_size, bidirectional=True), pooling)
