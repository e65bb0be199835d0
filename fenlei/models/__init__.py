"""The networks: one file an encoder, the registry that names them, ``build`` and ``restore``."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.overrides import TorchFunctionMode

from fenlei.bundle import Bundle
from fenlei.layers.embedding import EMBEDDINGS, options_of
from fenlei.layers.wide import WideTable
from fenlei.models.bilstm import BiLSTM
from fenlei.models.classifier import Classifier
from fenlei.models.deep import Deep
from fenlei.models.encoder import Encoder
from fenlei.models.gru import GRU
from fenlei.models.han import HAN
from fenlei.models.lstm import LSTM
from fenlei.models.lstm2 import LSTM2
from fenlei.models.mingru import MinGRU
from fenlei.models.rcnn import RCNN
from fenlei.models.rnn import RNN
from fenlei.models.stacked import Stacked
from fenlei.models.textcnn import TextCNN
from fenlei.packing import unpack

__all__ = [
    "ENCODERS",
    "Classifier",
    "Deep",
    "build",
    "can_be_rounded",
    "encoder_options",
    "restore",
    "try_out",
    "unallocated",
]

ENCODERS: dict[str, type[Encoder]] = {
    "rnn": RNN,
    "lstm": LSTM,
    "lstm2": LSTM2,
    "gru": GRU,
    "stacked": Stacked,
    "bilstm": BiLSTM,
    "mingru": MinGRU,
    "textcnn": TextCNN,
    "rcnn": RCNN,
    "han": HAN,
}


def encoder_options(name: str) -> dict[str, Any]:
    """The options of one encoder with their defaults: its constructor's own, without the input size."""
    if name not in ENCODERS:
        raise ValueError(f"unknown model {name!r}; the choices are {', '.join(ENCODERS)}")
    parameters = inspect.signature(ENCODERS[name]).parameters
    return {key: value.default for key, value in parameters.items() if key != "input_size"}


def build(
    name: str,
    *,
    stream_sizes: Mapping[str, int],
    classes: int,
    embedding: str = "full",
    embedding_size: int = 128,
    embedding_options: Mapping[str, Any] | None = None,
    dropout: float = 0.3,
    embedding_dropout: float = 0.3,
    options: Mapping[str, Any] | None = None,
) -> Deep:
    """A recurrent branch with fresh weights. ``stream_sizes`` are the rows of each id stream's table."""
    _only_known(options or {}, encoder_options(name), f"the model {name!r}")
    _only_known(embedding_options or {}, options_of(embedding), f"the embedding {embedding!r}")
    make = partial(EMBEDDINGS[embedding], size=embedding_size, **(embedding_options or {}))
    tables = {stream: make(rows) for stream, rows in stream_sizes.items()}
    encoder = ENCODERS[name](embedding_size, **(options or {}))
    return Deep(tables, encoder, classes, dropout=dropout, embedding_dropout=embedding_dropout)


class _Unfilled(TorchFunctionMode):
    """Leaves out ``normal_``: where nothing is allocated torch would load its compiler for it, most of a second."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        return (*args, *given.values())[0] if getattr(func, "__name__", "") == "normal_" else func(*args, **given)


@contextlib.contextmanager
def unallocated() -> Iterator[None]:
    """A network that is built here has the sizes of its weights and no numbers."""
    with torch.device("meta"), _Unfilled():
        yield


def try_out(name: str, options: Mapping[str, Any], **embedding: Any) -> None:
    """ValueError for options that make no network, before there is data; nothing is allocated."""
    try:
        with unallocated():
            build(name, stream_sizes={"ids": 2}, classes=2, options=options, **embedding)
    except (RuntimeError, TypeError) as error:  # sizes that overflow; values of another type within a value
        given = dict(options) | dict(embedding.get("embedding_options") or {})
        reason = "they are too large" if isinstance(error, RuntimeError) else str(error).splitlines()[0]
        raise ValueError(f"{given} are no options for a network {name!r}: {reason}") from error


def can_be_rounded(name: str, options: Mapping[str, Any]) -> bool:
    """Whether a network has matrices that can be multiplied with in 8 bits; nothing is allocated."""
    with unallocated():
        return bool(ENCODERS[name](1, **options).roundable())


def restore(bundle: Bundle, stream_sizes: Mapping[str, int]) -> Classifier:
    """The classifier whose weights a bundle holds; ``stream_sizes`` are those of the bundle's pipeline."""
    weights = {name: _tensor(array) for name, array in unpack(bundle.weights).items()}
    wide = WideTable(weights["wide.weight"], weights["wide.bias"]) if "wide.weight" in weights else None
    branches = [
        build(
            name,
            stream_sizes=stream_sizes,
            classes=len(bundle.labels),
            embedding=bundle.model["embedding"],
            embedding_size=bundle.recipe["embedding_size"],
            embedding_options=bundle.model["embedding_options"],
            options=options,
        )
        for name, options in bundle.kinds
    ]
    classifier = Classifier(branches, wide, several=bundle.several)
    classifier.load_state_dict(weights)
    return classifier


def _tensor(array: npt.NDArray[Any]) -> torch.Tensor:
    """Weights in float32, whole numbers as they are."""
    return torch.from_numpy(array.astype(np.float32) if array.dtype.kind == "f" else array)


def _only_known(names: Iterable[str], known: Mapping[str, Any], owner: str) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{owner} has no option {name!r}; it has {', '.join(known)}")
