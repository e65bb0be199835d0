"""The numbers: a bundle's network rebuilt, its recurrences run by their equations, every step kept.

Letters: ``S`` steps of the text, which are tokens or sentences; ``H`` hidden units.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fenlei.bundle import Bundle
from fenlei.layers.cells import Equations, State
from fenlei.layers.convolution import Convolution
from fenlei.layers.mask import mask_of, reverse
from fenlei.layers.mingru import MinimalGRU
from fenlei.layers.pooling import Attention, Max
from fenlei.layers.recurrent import Recurrent
from fenlei.models import Classifier, Deep, restore
from fenlei.models.han import Level
from fenlei.models.rcnn import RCNN
from fenlei.models.textcnn import TextCNN
from fenlei.runtime import Predictor
from fenlei.vocab import UNK

Floats = npt.NDArray[np.float64]

SHOWN_WINDOWS = 3  # of each width


@dataclass(frozen=True)
class Layer:
    """One way of a recurrent layer over ``"tokens"`` or ``"sentences"``: what each step computed, in the text's order.

    ``values`` are ``(S, H)`` by the letters of ``fenlei.layers.cells``. ``gradient (S,)``, where it was asked for, is
    the norm of ``d loss / d h_t``, for an LSTM of ``d loss / d c_t``, the memory that error flows back through: the
    loss is the cross-entropy of this network alone at the predicted label.
    """

    name: str
    over: str
    values: dict[str, Floats]
    gradient: Floats | None = None


@dataclass(frozen=True)
class Weights:
    """What a pooling took from each step, ``(S,)``: shares for ``"attention"``, dimensions won for ``"max"``."""

    kind: str
    over: str
    values: Floats


class Window(NamedTuple):
    """Tokens that a convolution of this width saw together, and how many of its filters were strongest there."""

    width: int
    start: int
    tokens: list[str]
    won: int


@dataclass(frozen=True)
class Network:
    """One recurrent branch; ``model`` is its name."""

    model: str
    layers: list[Layer]
    weights: list[Weights]
    windows: list[Window]


@dataclass(frozen=True)
class Trace:
    """One text's way through a bundle.

    ``probabilities`` are the runtime's; ``difference`` is how far the equations are from them at most. ``scales`` are
    the factors of ``"network"`` and ``"linear"`` in the classifier's sum. ``sentences`` are the tokens of each
    sentence, or of the whole text; ``known`` tokens stand in the vocabulary.
    """

    model: str
    scales: dict[str, float]
    probabilities: dict[str, float]
    difference: float
    tokens: list[str]
    known: list[bool]
    sentences: list[int]
    networks: list[Network]

    @property
    def label(self) -> str:
        """The likeliest."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def probability(self) -> float:
        """That of the likeliest label."""
        return self.probabilities[self.label]

    def steps(self, over: str) -> list[str]:
        """What each step is: tokens, or sentences by their own."""
        if over == "tokens":
            return self.tokens
        ends = np.cumsum([0, *self.sentences]).tolist()
        space = " " if any(len(token) > 1 for token in self.tokens) else ""
        return [space.join(self.tokens[start:end]) for start, end in pairwise(ends)]

    def to_json(self) -> dict[str, Any]:
        """What JSON can hold."""
        answer = {"label": self.label, "probability": self.probability}
        return answer | {name: _plain(value) for name, value in asdict(self).items()}


def trace(bundle: Bundle, text: str, gradients: bool = False) -> Trace:
    """Watch the networks of a bundle read one text.

    ValueError for a bundle without a network, and where the equations give another answer than the runtime.
    """
    if not bundle.model["branches"]:
        raise ValueError("the bundle is the linear model alone, which has no steps: train with --set wide=false")
    predictor = Predictor(bundle)
    model = restore(bundle, predictor.pipeline.stream_sizes()).double().eval()
    watchers = [Watcher(name, branch) for (name, _), branch in zip(bundle.kinds, model.branches, strict=True)]
    arrays = predictor.pipeline([text])
    tokens = predictor.pipeline.tokens(text)
    probabilities = predictor.predict_proba([text])[0]
    difference = float(np.abs(_answer(model, arrays) - probabilities).max())
    if not difference <= predictor.tolerance:
        raise ValueError(f"the equations and the bundle's graph answer differently, by up to {difference:.2g}")
    target = int(probabilities.argmax()) if gradients else None
    lengths = arrays["lengths"].ravel()
    inside = np.arange(arrays["ids"].shape[-1]) < lengths[:, None]
    return Trace(
        model=bundle.network or "",
        scales=dict(zip(("network", "linear"), model.scales.tolist()[: 1 + (model.wide is not None)], strict=False)),
        probabilities=dict(zip(bundle.labels, probabilities.tolist(), strict=True)),
        difference=difference,
        tokens=tokens,
        known=(arrays["ids"].reshape(inside.shape)[inside] != UNK).tolist(),
        sentences=lengths.tolist(),
        networks=[watcher.network(tokens, target) for watcher in watchers],
    )


class Watched(nn.Module):
    """Takes the place of a recurrent layer: runs its equations, says the same, and keeps every step."""

    def __init__(self, layer: Recurrent | MinimalGRU) -> None:
        super().__init__()
        equations = Equations.from_fused(layer)
        self.cells, self.width = equations.ways, equations.width
        self.equations = equations
        self.scans: list[list[State]] = []

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """``x (B, T, D)``, ``lengths (B,)`` at least 1, to ``(B, T, W)``."""
        self.inside, self.lengths = mask_of(lengths, x.shape[1]), lengths
        self.scans = [cell.scan(reverse(x, lengths) if way else x) for way, cell in enumerate(self.cells)]
        h = [self.in_order(way, [step["h"] for step in scan]) for way, scan in enumerate(self.scans)]
        return torch.cat(h, dim=-1) * self.inside[:, :, None]

    def in_order(self, way: int, steps: list[Tensor]) -> Tensor:
        """What a way computed at each of its steps ``(B, H)`` as ``(B, T, H)`` in the text's order."""
        stacked = torch.stack(steps, dim=1)
        return reverse(stacked, self.lengths) if way else stacked

    def layers(self, name: str, loss: Tensor | None) -> Iterator[Layer]:
        """One for each way; with a ``loss``, what each step still contributes to it."""
        over = "sentences" if name.startswith("sentence") else "tokens"
        for way, (cell, scan) in enumerate(zip(self.cells, self.scans, strict=True)):
            found = {letter: self._flat(way, [step[letter] for step in scan]) for letter in cell.letters}
            titled = name if len(self.cells) == 1 else f"{name} {('forward', 'backward')[way]}"
            memories = [step[cell.memory] for step in scan]
            gradient = None if loss is None else np.linalg.norm(self._flat(way, _gradients(loss, memories)), axis=1)
            yield Layer(titled.strip(), over, found, gradient)

    def _flat(self, way: int, steps: list[Tensor]) -> Floats:
        """Real steps only, row after row: ``(S, H)``."""
        return self.in_order(way, steps)[self.inside].detach().numpy()


class Watcher:
    """Sits in one branch: after the classifier has run, ``network`` tells what happened there."""

    def __init__(self, model: str, branch: Deep) -> None:
        self.model, self.encoder = model, branch.encoder
        self.seen: dict[str, tuple[Any, Any]] = {}
        for name, module in list(self.encoder.named_modules()):
            if isinstance(module, Recurrent | MinimalGRU):
                self.encoder.set_submodule(name, Watched(module))
            elif isinstance(module, Attention | Max | Level):
                module.register_forward_hook(partial(self._keep, name))
        branch.register_forward_hook(partial(self._keep, "logits"))

    def _keep(self, name: str, _: nn.Module, inputs: Any, output: Any) -> None:
        self.seen[name] = inputs, output

    def network(self, tokens: list[str], target: int | None) -> Network:
        """Layers, weights and windows; with gradients where a ``target`` class is given."""
        loss = None
        if target is not None:
            loss = nn.functional.cross_entropy(self.seen["logits"][1], torch.tensor([target]))
        watched = [(name, each) for name, each in self.encoder.named_modules() if isinstance(each, Watched)]
        layers = [layer for name, each in watched for layer in each.layers(_title(name), loss)]
        return Network(self.model, layers, list(self._weights()), list(self._windows(tokens)))

    def _weights(self) -> Iterator[Weights]:
        for name, (inputs, output) in self.seen.items():
            module = self.encoder.get_submodule(name) if name != "logits" else None
            if isinstance(module, Level):
                over = "sentences" if name.startswith("sentence") else "tokens"
                yield Weights("attention", over, output[1][inputs[1]].detach().numpy())
            elif isinstance(module, Attention):
                yield Weights("attention", "tokens", module.weights(*inputs)[0].detach().numpy())
            elif isinstance(module, Max):
                winners = self._winners(*inputs)
                won = np.bincount(winners[winners >= 0], minlength=inputs[0].shape[1])
                yield Weights("max", "tokens", won.astype(np.float64))

    def _winners(self, h: Tensor, mask: Tensor) -> npt.NDArray[np.int64]:
        """The step at which each dimension of ``h (1, T, W)`` is largest; -1 for a filter that never fired."""
        highest, place = h.masked_fill(~mask[:, :, None], -torch.inf)[0].max(0)
        silent = highest <= 0 if isinstance(self.encoder, TextCNN | RCNN) else torch.zeros_like(place, dtype=torch.bool)
        return place.masked_fill(silent, -1).numpy()

    def _windows(self, tokens: list[str]) -> Iterator[Window]:
        """Those of each width at which most filters were strongest."""
        convolutions = [each for each in self.encoder.modules() if isinstance(each, Convolution)]
        if not convolutions:
            return
        winners = self._winners(*self.seen["pooling"][0])
        for convolution, own in zip(convolutions, np.split(winners, len(convolutions)), strict=True):
            won = np.bincount(own[own >= 0], minlength=len(tokens))
            before, after = convolution.reach
            for place in np.argsort(-won, kind="stable")[:SHOWN_WINDOWS].tolist():
                if won[place]:
                    start = max(0, place - before)
                    yield Window(before + after + 1, start, tokens[start : place + after + 1], int(won[place]))


def _answer(model: Classifier, arrays: Mapping[str, npt.NDArray[Any]]) -> Floats:
    """Probabilities ``(C,)``; the graph of gradients stays with what the watchers keep."""
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    tensors = {name: each.double() if each.is_floating_point() else each for name, each in tensors.items()}
    return model.probabilities(tensors)[0].detach().numpy()


def _gradients(loss: Tensor, memories: list[Tensor]) -> list[Tensor]:
    """``d loss / d memory`` at each step, through all later steps; zeros where a step reaches no output."""
    found = torch.autograd.grad(loss, memories, retain_graph=True, allow_unused=True)
    return [torch.zeros_like(one) if each is None else each for one, each in zip(memories, found, strict=True)]


def _title(name: str) -> str:
    """A layer's place in the encoder in words: ``layers.0`` is layer 1, a lone recurrent layer needs no name."""
    name = name.removesuffix("recurrent").removesuffix(".")
    if name.startswith("layers."):
        return f"layer {int(name.removeprefix('layers.')) + 1}"
    return {"word_level": "words", "sentence_level": "sentences"}.get(name, name)


def _plain(value: Any) -> Any:
    """Arrays as lists, windows as objects."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Window):
        return value._asdict()
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value
