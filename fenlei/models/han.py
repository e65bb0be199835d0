"""The hierarchical attention network: words make sentences, sentences make the document."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
from torch import Tensor, nn

from fenlei.layers.dropout import Dropout
from fenlei.layers.graph import Graph
from fenlei.layers.pooling import Attention
from fenlei.layers.recurrent import Recurrent
from fenlei.models.encoder import Encoder


class Level(nn.Module):
    """``h_1 .. h_T = recurrent both ways(x)``, ``a = softmax_t(v . tanh(W h_t + b))``, ``out = sum_t a_t h_t``."""

    def __init__(self, cell: str, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.recurrent = Recurrent(cell, input_size, hidden_size, bidirectional=True)
        self.width = self.recurrent.width
        self.attention = Attention(self.width, ways=2)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """``x (N, T, D)``, ``mask (N, T)`` to a vector a row, ``(N, W)``, and the weights ``a (N, T)``."""
        h = self.recurrent(x, mask.sum(1))
        weights = self.attention.weights(h, mask)
        return (h * weights[:, :, None].to(h.dtype)).sum(1), weights

    def nodes(self, graph: Graph, x: str, mask: str, lengths: str, shown: str) -> str:
        """The vectors in ONNX; the weights are ``shown`` beside the answer."""
        return self.attention.nodes(graph, self.recurrent.nodes(graph, x, lengths), mask, shown=shown)


class Reading(NamedTuple):
    """What was made of a batch: ``document (B, W)``, the weights of ``words (B, S, T)`` and ``sentences (B, S)``."""

    document: Tensor
    words: Tensor
    sentences: Tensor


class HAN(Encoder):
    """``s_i = level(x_i1 .. x_iT)`` for each sentence ``i``, ``document = level(s_1 .. s_S)``. Yang et al. 2016.

    Both levels read both ways and weigh what they read (``Level``): a word counts by its sentence, a sentence by the
    document. Dropout lies between them.
    """

    reads_sentences: ClassVar[bool] = True

    def __init__(self, input_size: int, hidden_size: int = 128, cell: str = "gru", dropout: float = 0.2) -> None:
        super().__init__()
        self.word_level = Level(cell, input_size, hidden_size)
        self.dropout = Dropout(dropout)
        self.sentence_level = Level(cell, self.word_level.width, hidden_size)
        self.width, self.state_width = self.sentence_level.width, self.word_level.width

    def states(self, x: Tensor, mask: Tensor) -> Tensor:
        """``x (B, T, D)`` or ``(B, S, T, D)`` to the word level's vector a step, ``(..., T, W)``."""
        h = self.word_level.recurrent(x.flatten(0, -3), mask.flatten(0, -2).sum(1))
        return h.unflatten(0, mask.shape[:-1])

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """``x (B, S, T, D)``, ``mask (B, S, T)`` to ``(B, W)``."""
        return self.read(x, mask).document

    def read(self, x: Tensor, mask: Tensor) -> Reading:
        """The document vector with the weights it was made by, for a display.

        The weights of the words of a sentence sum to 1, those of the sentences of a document too; zero elsewhere.
        """
        there = mask.any(2)
        vectors, words = self.word_level(x[there], mask[there])
        document, sentences = self.sentence_level(self.dropout(_spread(vectors, there)), there)
        return Reading(document, _spread(words, there), sentences)

    def nodes(self, graph: Graph, x: str, mask: str, lengths: str) -> str:
        """The same in ONNX; its recurrent operators answer a length of 0 with garbage and never see one."""
        there = graph.add("Greater", lengths, graph.constant(np.array(0)))
        place = graph.add("Transpose", graph.add("NonZero", there), perm=(1, 0))  # (N, 2): document, sentence
        words, inside, sizes = (graph.add("GatherND", each, place) for each in (x, mask, lengths))
        vectors = self.word_level.nodes(graph, words, inside, sizes, "attention")
        width = graph.constant(np.array([self.word_level.width]))
        shape = graph.add("Concat", graph.add("Shape", there), width, axis=0)
        sentences = graph.add("ScatterND", graph.add("ConstantOfShape", shape), place, vectors)
        count = graph.add("ReduceSum", graph.add("Cast", there, to=7), graph.constant(np.array([1])), keepdims=0)
        return self.sentence_level.nodes(graph, sentences, there, count, "sentence_attention")


def _spread(values: Tensor, there: Tensor) -> Tensor:
    """A row a real sentence ``(N, ...)`` to its place in ``(B, S, ...)``, zeros at sentences that are not there."""
    return values.new_zeros(*there.shape, *values.shape[1:]).index_put((there,), values)
