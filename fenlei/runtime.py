"""The runtime: a bundle's answers without torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime

from fenlei.bundle import ALONE, ONE_BY_ONE, Bundle
from fenlei.bundle.initializers import facts, only
from fenlei.decisions import Decisions, Rule
from fenlei.lookups import Lookups
from fenlei.pipeline import WIDE, Array, Encoded, Pipeline, chunks
from fenlei.vocab import Vocab

Floats = npt.NDArray[np.float32]

BATCH_TOKENS = 4096  # padded tokens a batch of several texts: a few megabytes of activations
BATCH_TEXTS = 64
# Sums over padded axes are taken in groups of up to eight, and a lone row may be multiplied by another kernel than
# several: with whole groups and two rows at least, a row's sums do not depend, to the last bit, on the rows beside it.
# A graph that notes ONE_BY_ONE or ALONE can do without the groups of steps or without the second row.
GROUP = 8
FEWEST_ROWS = 2
ANSWER = "probabilities"  # the output of a graph that is the answer; others explain it
MOST_RANKED = 1 << 20  # probabilities sorted at once
PLAIN = Rule()
NO_SEQUENCE = "expected a sequence of texts, such as a list, got {}"
GOLDEN_TOLERANCE = 1e-4  # other processors round differently in the last bits
INT8_TOLERANCE = 0.1  # of a network that computes in 8 bits, against itself in float32 and on other processors


class Answer(NamedTuple):
    """The labels of one text with their probabilities, from high to low; ``unknown`` where no label is sure enough.

    Where so many labels were asked for, they are there even if the answer is ``unknown``.
    """

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    unknown: bool = False


class Predictor:
    """Probabilities and labels for texts, from a saved folder or a ``Bundle`` in memory.

    The answer for a text does not depend, to the last bit, on the texts beside it. Safe to call from several threads.
    ``threads`` are onnxruntime's, 1 unless said otherwise; what is compiled here, a whole ``mingru`` too, has one.
    One of a saved folder is pickled as the folder's path and read again where it arrives, others with their bundle.
    """

    def __init__(self, bundle: Bundle | str | PathLike[str], threads: int | None = None) -> None:
        self._origin = bundle if isinstance(bundle, Bundle) else Path(bundle).absolute()
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle.load(bundle)
        self.labels = self.bundle.labels
        vocab = Vocab([token for token, _ in self.bundle.vocab], [count for _, count in self.bundle.vocab])
        self.pipeline = Pipeline.restore(self.bundle.pipeline, self.bundle.tables, vocab)
        self.decisions = Decisions.from_json(self.bundle.decisions)
        self.several = self.decisions.several
        self.tolerance = INT8_TOLERANCE if self.bundle.model.get("int8") else GOLDEN_TOLERANCE
        self._threads = threads
        self._graph, self._tables, weights = self.bundle.detached()
        self._sizes = self.pipeline.stream_sizes()
        found, wide = facts(self._graph), self.pipeline.wide
        rows = self._sizes | ({} if wide is None else {WIDE[0]: len(wide)})
        self._lookups = Lookups(found, weights, rows)
        self._session = _session(only(self._graph, ANSWER, self._lookups.shapes), threads)
        self._inputs = [each.name for each in self._session.get_inputs()]
        self._lookups.keep(self._inputs)
        self._asked = {*self._inputs} - {"lengths", *self._lookups.values, *self._tables}  # of the padded arrays
        self._steps = 1 if ONE_BY_ONE in found else GROUP
        self._fewest = 1 if ALONE in found else FEWEST_ROWS

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._origin, self._threads)  # a session of onnxruntime does not pickle

    def predict_proba(self, texts: Iterable[str]) -> Floats:
        """Probabilities ``(B, C)``, columns in the order of ``labels``; no texts give ``(0, C)``."""
        parts = [self._probabilities(self.pipeline.encode(chunk)) for chunk in chunks(checked(texts))]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([np.zeros((0, len(self.labels)), np.float32), *parts])

    def predict(self, texts: Iterable[str]) -> list[Any]:
        """The likeliest label of each text; where a text can have several, a tuple of those that apply."""
        if self.several:
            return [answer.labels for answer in self.answer(texts)]
        return [self.labels[place] for place in self.predict_proba(texts).argmax(1)]

    def answer(self, texts: Iterable[str], rule: Rule = PLAIN) -> Iterator[Answer]:
        """The labels of each text as ``rule`` says, one after the other, in memory that does not grow."""
        cutoffs = self.decisions.cutoffs(self.labels, rule)
        for chunk in chunks(checked(texts)):
            yield from self._choose(self._probabilities(self.pipeline.encode(chunk)), rule, cutoffs)

    def decide(self, probabilities: Floats, rule: Rule = PLAIN) -> list[Answer]:
        """The same for rows of ``predict_proba``, ``(B, C)``."""
        cutoffs = self.decisions.cutoffs(self.labels, rule)
        return list(self._choose(probabilities, rule, cutoffs))

    def _choose(self, rows: Floats, rule: Rule, cutoffs: npt.NDArray[np.float64]) -> Iterator[Answer]:
        """The answers to several texts from their probabilities ``(B, C)``."""
        step = max(1, MOST_RANKED // len(self.labels))
        for start in range(0, len(rows), step):
            yield from self._rank(rows[start : start + step], rule, cutoffs)

    def _rank(self, rows: Floats, rule: Rule, cutoffs: npt.NDArray[np.float64]) -> Iterator[Answer]:
        only_first = not self.several and rule.top in (None, 1)
        ranking = rows.argmax(1)[:, None] if only_first else np.argsort(-rows, axis=1, kind="stable")
        ranked = np.take_along_axis(rows, ranking, 1)
        enough = ranked >= cutoffs[ranking]
        known = np.any(enough if self.several else enough[:, :1], axis=1)
        named = enough
        if rule.top is not None:
            named = np.broadcast_to(np.arange(ranked.shape[1]) < rule.top, ranked.shape)
            if rule.threshold is not None:
                named = named & (ranked >= rule.threshold)
        labels = [self.labels[place] for place in ranking[named].tolist()]
        probabilities = ranked[named].tolist()
        ends = [0, *np.cumsum(np.count_nonzero(named, axis=1)).tolist()]
        for (start, end), sure in zip(pairwise(ends), known.tolist(), strict=True):
            yield Answer(tuple(labels[start:end]), tuple(probabilities[start:end]), not sure)

    def look(self, text: str) -> dict[str, Array]:
        """What the graph shows beside its answer to one text, as ``fenlei.layers.graph.Graph.show`` named it.

        ``attention.N``: the weight of every step, ``(1, T)``, of a network of sentences ``(S, T)`` and beside them
        ``sentence_attention.N (1, S)``; ``largest.N``: the step at which each dimension is largest, ``(1, W)``, -1 for
        none. Of several networks the name ends in the network's number, from 1: ``attention.N.K``.
        """
        encoded = self.pipeline.encode([text])
        self._check(encoded)
        arrays = encoded.batch(np.zeros(FEWEST_ROWS, np.int64)) | self._tables
        names = [each.name for each in self._looking.get_outputs() if each.name != ANSWER]
        feeds = {each.name: arrays[each.name] for each in self._looking.get_inputs()}
        found = self._looking.run(names, feeds) if names else []
        return {name: array[: len(array) // FEWEST_ROWS] for name, array in zip(names, found, strict=True)}

    @cached_property
    def _looking(self) -> onnxruntime.InferenceSession:
        """The graph with all its outputs: one that answers alone is not to make them."""
        return _session(self._graph, self._threads)

    def verify(self) -> float:
        """Answer the bundle's golden inputs again; returns the largest difference.

        More than ``self.tolerance`` is a ``ValueError``: this machine does not compute what the bundle's maker saw.
        """
        texts = [text for text, _ in self.bundle.golden]
        expected = np.array([row for _, row in self.bundle.golden], np.float32).reshape(len(texts), len(self.labels))
        worst = float(np.abs(self.predict_proba(texts) - expected).max(initial=0.0))
        if not worst <= self.tolerance:
            raise ValueError(f"the bundle's golden inputs are answered differently here, by up to {worst:.2g}")
        return worst

    def _probabilities(self, encoded: Encoded) -> Floats:
        """Every document of ``encoded``, in batches of like length, back in order."""
        self._check(encoded)
        out = np.empty((len(encoded), len(self.labels)), np.float32)
        for rows in _batches(encoded):
            if len(rows) < self._fewest:
                rows = np.repeat(rows, self._fewest)
            out[rows] = self._session.run([ANSWER], self._feeds(encoded, rows))[0]
        return out

    def _feeds(self, encoded: Encoded, rows: npt.NDArray[np.int64]) -> dict[str, Array]:
        """What the graph that answers takes of some documents: what is looked up here is not padded first."""
        if self._asked:
            arrays = encoded.batch(rows, GROUP, self._steps)
            steps = arrays["ids"].shape[-1]
        else:
            arrays = {"lengths": encoded.columns["ids"].lengths_of(rows)}
            steps = -(-int(arrays["lengths"].max()) // self._steps) * self._steps
        arrays |= self._lookups.find(encoded, rows, steps) | self._tables
        return {name: arrays[name] for name in self._inputs}

    def _check(self, encoded: Encoded) -> None:
        """What would be answered with a crash or with garbage stops here."""
        lengths = encoded.lengths if encoded.sentences is None else encoded.sentences.values
        if not len(lengths) or lengths.min() < 1:
            raise ValueError(f"every row needs at least one token, got lengths {lengths.tolist()}")
        for name, size in self._sizes.items():
            if encoded.columns[name].values.view(np.uint64).max() >= size:  # a negative id is a very large one
                raise ValueError(f"the ids of {name!r} must lie in 0 to {size - 1}")


def checked(texts: Iterable[str]) -> Iterator[str]:
    """The same texts; a ``TypeError`` for one string where a list of them was meant, and for what is no string.

    What gives names in place of texts, a dict or a table, is refused: a ``ValueError`` where it has dimensions.
    """
    if isinstance(texts, str | bytes):
        raise TypeError(f"expected a list of texts, got one {type(texts).__name__}: put it into a list")
    if (dimensions := getattr(texts, "ndim", 1)) != 1:
        raise ValueError(f"expected texts in one dimension, got {dimensions} of them: pass the one column of texts")
    if isinstance(texts, Mapping):
        raise TypeError(NO_SEQUENCE.format(type(texts).__name__))
    return _checked(texts)


def _checked(texts: Iterable[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"text number {number} is {text!r} of type {type(text).__name__}, expected str")
        yield text


def _session(graph: bytes, threads: int | None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _batches(encoded: Encoded) -> Iterator[npt.NDArray[np.int64]]:
    """Rows from short to long, in runs that keep the padded size within bounds."""
    sizes = encoded.sizes
    if len(sizes) == 1:
        yield np.zeros(1, np.int64)
        return
    order = np.argsort(sizes, kind="stable")
    sizes = sizes[order]
    start = 0
    while start < len(order):
        size = min(BATCH_TEXTS, len(order) - start)
        while size > 1 and size * sizes[start + size - 1] > BATCH_TOKENS:
            size = (size + 1) // 2
        yield order[start : start + size]
        start += size
