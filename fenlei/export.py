"""From a trained classifier to an ONNX graph that was seen to give the same answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime
import torch

from fenlei.layers.graph import Graph
from fenlei.models import Classifier
from fenlei.packing import Packed
from fenlei.pipeline import Array, Arrays, Encoded, Ragged

SHAPES = ((1, 1), (1, 7), (3, 1), (5, 13), (16, 40))  # batch and steps at which the graph is held against the model
TOLERANCE = 1e-5


def export(
    model: Classifier,
    stream_sizes: Mapping[str, int],
    shapes: Sequence[tuple[int, int]] = SHAPES,
    packed: Mapping[str, Packed] | None = None,
    int8: bool = False,
) -> bytes:
    """The whole network as ONNX bytes: the pipeline's arrays in, ``probabilities (B, C)`` out.

    Its initializers are named as the model's parameters. ``packed`` ones stand in it as they are stored; the model's
    own are to be equal to what is unpacked. With ``int8`` the graph that comes out, unlike the one that was checked,
    has packed matrices multiplied with in 8 bits: what that does to the answers is for the caller to see.

    The graph answers random inputs of several shapes and row lengths before it is handed out; an answer that differs
    from the model's by more than 1e-5 is an ``ArithmeticError``.
    """
    graph = Graph(model.state_dict(), packed)
    data = graph.model(model.nodes(graph))
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    for batch, steps in shapes:
        check(model, session, example(model, stream_sizes, batch, steps, rng))
    if int8:
        graph = Graph(model.state_dict(), packed, int8)
        data = graph.model(model.nodes(graph))
    return data


def check(model: Classifier, session: onnxruntime.InferenceSession, arrays: Arrays) -> float:
    """The largest difference between the two answers to one batch; past ``TOLERANCE`` an ``ArithmeticError``."""
    expected = probabilities(model, arrays)
    if not np.isfinite(expected).all():
        raise ArithmeticError("the trained model's probabilities are no numbers: try a smaller learning_rate")
    wanted = {each.name for each in session.get_inputs()}
    answer = session.run(["probabilities"], {name: array for name, array in arrays.items() if name in wanted})[0]
    worst = float(np.abs(answer - expected).max())
    if not worst <= TOLERANCE:
        shape = arrays["ids"].shape
        raise ArithmeticError(f"the exported graph differs from the model by {worst:.2g} at shape {shape}")
    return worst


@torch.no_grad()
def probabilities(model: Classifier, arrays: Arrays) -> Array:
    """The model's own answer, ``(B, C)`` float32."""
    model.eval()
    return np.asarray(model.probabilities({name: torch.from_numpy(array) for name, array in arrays.items()}).numpy())


def example(
    model: Classifier, stream_sizes: Mapping[str, int], batch: int, steps: int, rng: np.random.Generator
) -> Arrays:
    """Random ids in documents of different lengths, the first of ``steps``, in sentences if the model reads them."""
    lengths = rng.integers(1, steps + 1, batch)
    lengths[0] = steps
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    columns = {name: Ragged(rng.integers(1, max(size, 2), offsets[-1]), offsets) for name, size in stream_sizes.items()}
    sentences = Ragged.join([_cut(length, rng) for length in lengths]) if model.reads_sentences else None
    arrays = Encoded(columns, sentences=sentences).batch(np.arange(batch))
    if model.wide is not None:
        inside = np.arange(steps) < lengths[:, None]
        arrays["ngrams"] = rng.integers(0, len(model.wide.weight), (batch, 3 * steps))
        arrays["ngram_values"] = rng.random((batch, 3 * steps), np.float32) * inside.repeat(3, axis=1)
    return arrays


def _cut(length: int, rng: np.random.Generator) -> Ragged:
    """A document of ``length`` tokens in sentences of different lengths: one row of their lengths."""
    ends = np.flatnonzero(rng.random(length - 1) < 0.2) + 1
    lengths = np.diff(np.concatenate([[0], ends, [length]]))
    return Ragged(lengths, np.array([0, len(lengths)]))
