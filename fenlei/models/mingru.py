"""The minimal gated unit, both ways: the fast one of the recurrent networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, ClassVar

from torch import Tensor

from fenlei.layers.graph import Graph
from fenlei.layers.mingru import MinimalGRU
from fenlei.layers.pooling import Attention
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

    def described(self, graph: Graph) -> Mapping[str, Any]:
        """Names of the gates' weights, way by way, and of the attention's; the poolings in their order.

        ``int8`` where all matrices are to be multiplied with in 8 bits.
        """
        ways = [[graph.named(way.get_parameter(name)) for name in ("weight", "bias")] for way in self.recurrent.ways]
        attention = [
            graph.named(weight)
            for part in self.pooling.parts
            if isinstance(part, Attention)
            for weight in (part.project.weight, part.project.bias, part.context.weight)
        ]
        if not all([*chain(*ways), *attention]):
            return {}
        rounded = {"int8": True} if all(graph.rounded(each) for each in self.roundable()) else {}
        return {"ways": ways, "attention": attention, "poolings": self.pooling.names} | rounded

    def roundable(self) -> list[Tensor]:
        """The matrices of the gates and of the attention."""
        projects = [part.project.weight for part in self.pooling.parts if isinstance(part, Attention)]
        return [*(way.get_parameter("weight") for way in self.recurrent.ways), *projects]
