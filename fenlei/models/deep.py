"""The recurrent branch: embeddings of every id stream, an encoder, a dense layer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor, nn

from fenlei.layers.dropout import Dropout
from fenlei.layers.embedding import Embedding
from fenlei.layers.graph import Graph
from fenlei.layers.mask import mask_nodes, mask_of
from fenlei.lookups import EMBEDDED, READ
from fenlei.models.encoder import Encoder


class Deep(nn.Module):
    """``logits = dense(dropout(encoder(dropout(sum_s E_s[ids_s]))))``: the network that training fits.

    ``arrays`` are the pipeline's, as tensors: ``ids (B, T)``, one ``(B, T)`` for each further stream, ``lengths (B,)``.
    For an encoder that reads sentences the streams are ``(B, S, T)`` and the lengths ``(B, S)``.
    """

    def __init__(
        self,
        embeddings: Mapping[str, Embedding],
        encoder: Encoder,
        classes: int,
        *,
        dropout: float = 0.3,
        embedding_dropout: float = 0.3,
    ) -> None:
        super().__init__()
        self.embeddings: Mapping[str, Embedding] = nn.ModuleDict(embeddings)  # type: ignore[assignment]
        self.encoder = encoder
        self.dense = nn.Linear(encoder.width, classes)
        self.dropout = Dropout(dropout)
        self.embedding_dropout = Dropout(embedding_dropout)

    def embed(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """The vectors of all streams, summed: ``(B, T, D)`` or ``(B, S, T, D)``."""
        vectors = [table(arrays[name]) for name, table in self.embeddings.items()]
        return sum(vectors[1:], vectors[0])

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Logits ``(B, C)``."""
        return self.read(self.embed(arrays), arrays["lengths"])

    def read(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Logits ``(B, C)`` of documents whose vectors are ``x``, as ``embed`` gives them."""
        x = self.embedding_dropout(x)
        logits: Tensor = self.dense(self.dropout(self.encoder(x, mask_of(lengths, x.shape[-2]))))
        return logits

    def nodes(self, graph: Graph) -> str:
        """The same in ONNX, dropout gone; the pipeline's arrays are inputs of the graph."""
        rows = ("B", "S") if self.encoder.reads_sentences else ("B",)
        inputs = {name: graph.input(name, np.int64, (*rows, "T")) for name in self.embeddings}
        lengths = graph.input("lengths", np.int64, rows)
        steps = self.encoder.steps
        if steps == 0:
            inputs = {name: graph.add("Transpose", ids, perm=(1, 0)) for name, ids in inputs.items()}
        vectors = [table.nodes(graph, inputs[name]) for name, table in self.embeddings.items()]
        x = graph.add("Sum", *vectors) if len(vectors) > 1 else vectors[0]
        tables = {name: found for name, table in self.embeddings.items() if (found := table.whole) is not None}
        summed = len(tables) == len(self.embeddings) and not self.encoder.reads_sentences
        if summed:
            x = graph.offer(x, EMBEDDED, tables, rows_first=steps != 0)
        mask = mask_nodes(graph, lengths, x, -1 if steps else 0)
        document = self.encoder.nodes(graph, x, mask, lengths)
        if summed and (described := self.encoder.described(graph)):
            document = graph.offer(document, READ, tables, **described)
        return graph.linear(document, graph.weight(self.dense.weight), graph.weight(self.dense.bias))
