"""The networks: one file an encoder, the registry that names them, and ``build``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from fenlei.layers.embedding import EMBEDDINGS
from fenlei.layers.wide import WideTable
from fenlei.models.bilstm import BiLSTM
from fenlei.models.classifier import Classifier
from fenlei.models.encoder import Encoder
from fenlei.models.lstm2 import LSTM2

__all__ = ["ENCODERS", "Classifier", "build", "encoder_options"]

ENCODERS: dict[str, type[Encoder]] = {
    "bilstm": BiLSTM,
    "lstm2": LSTM2,
}


def encoder_options(name: str) -> dict[str, Any]:
    """The options of one encoder with their defaults: its constructor's own, without the input size."""
    if name not in ENCODERS:
        raise ValueError(f"unknown model {name!r}; the choices are {', '.join(ENCODERS)}")
    parameters = inspect.signature(ENCODERS[name]).parameters
    return {key: value.default for key, value in parameters.items() if key != "input_size"}


def build(
    name: str | None,
    *,
    stream_sizes: Mapping[str, int],
    classes: int,
    embedding: str = "full",
    embedding_size: int = 128,
    dropout: float = 0.3,
    embedding_dropout: float = 0.3,
    options: Mapping[str, Any] | None = None,
    wide: WideTable | None = None,
) -> Classifier:
    """A classifier with fresh weights. ``stream_sizes`` are the rows of each id stream's table; no name, no encoder."""
    if name is None:
        return Classifier({}, None, classes, wide=wide)
    known = encoder_options(name)
    for key in options or {}:
        if key not in known:
            raise ValueError(f"the model {name!r} has no option {key!r}; it has {', '.join(known)}")
    if embedding not in EMBEDDINGS:
        raise ValueError(f"unknown embedding {embedding!r}; the choices are {', '.join(EMBEDDINGS)}")
    tables = {stream: EMBEDDINGS[embedding](rows, embedding_size) for stream, rows in stream_sizes.items()}
    encoder = ENCODERS[name](embedding_size, **(options or {}))
    return Classifier(tables, encoder, classes, wide=wide, dropout=dropout, embedding_dropout=embedding_dropout)
