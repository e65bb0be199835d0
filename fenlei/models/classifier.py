"""The classifier: embeddings of every id stream, an encoder, a dense layer; and the wide branch beside them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from fenlei.layers.embedding import Embedding
from fenlei.layers.graph import Graph
from fenlei.layers.mask import mask_nodes, mask_of
from fenlei.layers.wide import WideTable
from fenlei.models.encoder import Encoder


class Classifier(nn.Module):
    """``logits = scale * dense(dropout(encoder(dropout(sum_s E_s[ids_s])))) + wide_scale * wide``.

    ``arrays`` are the pipeline's, as tensors: ``ids (B, T)``, one ``(B, T)`` for each further stream, ``lengths (B,)``,
    and with a wide branch ``ngrams``, ``ngram_values (B, N)``. For an encoder that reads sentences the streams are
    ``(B, S, T)`` and the lengths ``(B, S)``. The two scales are set after training, on dev: they calibrate the
    probabilities and weigh the branches against each other. Either branch may be absent.
    """

    def __init__(
        self,
        embeddings: Mapping[str, Embedding],
        encoder: Encoder | None,
        classes: int,
        *,
        wide: WideTable | None = None,
        dropout: float = 0.3,
        embedding_dropout: float = 0.3,
    ) -> None:
        super().__init__()
        if encoder is None and wide is None:
            raise ValueError("a classifier needs an encoder, a wide branch, or both")
        self.embeddings: Mapping[str, Embedding] = nn.ModuleDict(embeddings)  # type: ignore[assignment]
        self.encoder = encoder
        self.dense = None if encoder is None else nn.Linear(encoder.width, classes)
        self.wide = wide
        self.dropout = nn.Dropout(dropout)
        self.embedding_dropout = nn.Dropout(embedding_dropout)
        self.scales = nn.Buffer(torch.ones(2))

    def embed(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """The vectors of all streams, summed: ``(B, T, D)`` or ``(B, S, T, D)``."""
        vectors = [table(arrays[name]) for name, table in self.embeddings.items()]
        return sum(vectors[1:], vectors[0])

    def deep(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """The recurrent branch's logits alone, ``(B, C)``, not scaled: what training minimizes."""
        assert self.encoder is not None
        assert self.dense is not None
        x = self.embedding_dropout(self.embed(arrays))
        mask = mask_of(arrays["lengths"], x.shape[-2])
        logits: Tensor = self.dense(self.dropout(self.encoder(x, mask)))
        return logits

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Logits ``(B, C)``; their softmax is the answer."""
        logits = [] if self.encoder is None else [self.scales[0] * self.deep(arrays)]
        if self.wide is not None:
            logits.append(self.scales[1] * self.wide(arrays["ngrams"], arrays["ngram_values"]))
        return sum(logits[1:], logits[0])

    def nodes(self, graph: Graph) -> str:
        """The whole network in ONNX, from the pipeline's arrays to ``probabilities (B, C)``."""
        logits = [] if self.encoder is None else [self._deep_nodes(graph)]
        if self.wide is not None:
            rows = graph.input("ngrams", np.int64, ("B", "N"))
            values = graph.input("ngram_values", np.float32, ("B", "N"))
            wide = self.wide.nodes(graph, rows, values)
            logits.append(graph.add("Mul", wide, graph.constant(self.scales[1])))
        total = graph.add("Sum", *logits) if len(logits) == 2 else logits[0]
        return graph.rename(graph.add("Softmax", total, axis=1), "probabilities")

    def _deep_nodes(self, graph: Graph) -> str:
        assert self.encoder is not None
        assert self.dense is not None
        rows = ("B", "S") if self.encoder.reads_sentences else ("B",)
        inputs = {name: graph.input(name, np.int64, (*rows, "T")) for name in self.embeddings}
        lengths = graph.input("lengths", np.int64, rows)
        vectors = [table.nodes(graph, inputs[name]) for name, table in self.embeddings.items()]
        x = graph.add("Sum", *vectors) if len(vectors) > 1 else vectors[0]
        document = self.encoder.nodes(graph, x, mask_nodes(graph, lengths, x), lengths)
        weight, bias = graph.constant(self.dense.weight.T), graph.constant(self.dense.bias)
        logits = graph.add("Add", graph.add("MatMul", document, weight), bias)
        return graph.add("Mul", logits, graph.constant(self.scales[0]))
