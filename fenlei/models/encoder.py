"""What every encoder is: a network from token vectors to one document vector, in torch and in ONNX."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from fenlei.layers.graph import Graph
from fenlei.layers.recurrent import Recurrent


class Encoder(nn.Module, ABC):
    """``x (B, T, D), mask (B, T) -> (B, width)``. A row's answer depends on its real positions only.

    One that ``reads_sentences`` takes ``x (B, S, T, D), mask (B, S, T)`` with ``lengths (B, S)`` instead: the steps of
    each sentence, 0 for a sentence that is not there, and those come last.

    Options stand in the constructor's signature after ``input_size`` (``D``), each with a default. Most encoders also
    have ``states`` and ``state_width``: a vector a step, which learning from hidden tokens needs; ``state_width`` is 0
    for one that has none.
    """

    reads_sentences: ClassVar[bool] = False
    alone: ClassVar[bool] = (
        False  # whether a row gets the same bits alone: onnxruntime's own loops make no such promise
    )
    steps: ClassVar[int] = 1  # the axis of the steps in the graph: 0 where all sums over them are taken step by step
    width: int
    state_width: int = 0

    @abstractmethod
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``x (B, T, D)``, ``mask (B, T)`` of bool, true at real positions, to ``(B, width)``."""

    @abstractmethod
    def nodes(self, graph: Graph, x: str, mask: str, lengths: str) -> str:
        """The same in ONNX: ``lengths (B,)`` int64 says again what ``mask`` says.

        Where ``steps`` is 0, ``x (T, B, D)`` and ``mask (T, B)``: what a loop over steps reads lies side by side, and a
        sum over all of them does not depend on how many of padding follow.
        """

    def described(self, graph: Graph) -> Mapping[str, Any]:  # noqa: ARG002 - most say nothing
        """What ``fenlei.reader`` must know to do without the nodes: names of weights; empty where it cannot."""
        return {}

    def roundable(self) -> list[Tensor]:
        """The matrices that can be multiplied with in 8 bits: those of LSTM layers."""
        layers = [each for each in self.modules() if isinstance(each, Recurrent) and each.cell == "lstm"]
        return [each for layer in layers for each in layer.parameters() if each.ndim == 2]

    def states(self, x: Tensor, mask: Tensor) -> Tensor:
        """``x (B, T, D)`` to a vector a step, ``(B, T, state_width)``."""
        raise NotImplementedError(f"{type(self).__name__} makes no vector a step")
