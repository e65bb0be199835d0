"""Networks that multiply in 8 bits: faster, and offered only where held-out texts are answered nearly the same.

LSTM layers and ``mingru``. Of an LSTM onnxruntime's operator rounds what it computes by a scale that it takes from the
whole batch, so that a text's answer depends, within the bounds below, on the texts beside it. The compiled loop of
``mingru`` rounds each step by a scale of its own, and nothing depends on what is beside it. It computes in 8 bits where
the processor has an instruction for that, elsewhere in float32.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from fenlei.bundle import Bundle
from fenlei.decisions import measure
from fenlei.export import export
from fenlei.models import Classifier, restore
from fenlei.packing import Bytes, find
from fenlei.runtime import INT8_TOLERANCE, Predictor
from fenlei.scoring import Held, assess
from fenlei.shrink.heldout import HeldOut

AGREEMENT = 0.99  # of the held-out texts have the same likeliest label
TIMED = 2000  # texts
ROUNDS = 3

Say = Callable[[str], None]


class Rounded(NamedTuple):
    """The bundle, the largest difference of a probability, the share of labels that agree, and the gain in speed."""

    bundle: Bundle
    difference: float
    agreement: float
    speed: float


def in_int8(
    bundle: Bundle, texts: Sequence[str], labels: Sequence[Sequence[str]], say: Say = lambda _: None
) -> Rounded:
    """The bundle with its matrices in 8 bits; ValueError where it has none that can be, or held-out texts are answered
    too differently.
    """
    if bundle.model.get("int8"):
        raise ValueError("this bundle computes in 8 bits already: leave it as it is")
    exact = Predictor(bundle)
    dev = HeldOut.read(texts, labels, bundle.labels, exact.several, exact.pipeline)
    sizes = exact.pipeline.stream_sizes()
    model = restore(bundle, sizes)
    names = matrices(model)
    if not names:
        found = f"this bundle's network is {bundle.network}"
        found = found if bundle.network else "this bundle answers by the linear model alone"
        raise ValueError(f"--int8 is for mingru and for LSTM layers, and {found}: leave it out")
    state = model.state_dict()
    weights = {name: array for name, array in bundle.weights.items() if not {name, name.rpartition(".")[0]} & names}
    for name in names:
        packed = Bytes.pack(state[name].numpy())
        state[name] = torch.from_numpy(packed.unpack())
        weights |= {f"{name}.{part}": array for part, array in packed.arrays().items()}
    model.load_state_dict(state)
    graph = export(model, sizes, packed=find(weights), int8=True)
    made = replace(bundle, weights=weights, graph=graph, model=bundle.model | {"int8": True}, report="")
    return judged(made, exact, dev, say)


def matrices(model: Classifier) -> set[str]:
    """The names of the matrices that can be multiplied with in 8 bits."""
    found = {id(each) for branch in model.branches for each in branch.encoder.roundable()}
    return {name for name, each in model.named_parameters() if id(each) in found}


def judged(made: Bundle, exact: Predictor, dev: HeldOut, say: Say) -> Rounded:
    """Held against the exact answers; with scores and golden inputs of its own."""
    rounded = Predictor(made)
    before, after = exact.predict_proba(dev.texts), rounded.predict_proba(dev.texts)
    difference = float(np.abs(after - before).max())
    agreement = float((after.argmax(1) == before.argmax(1)).mean())
    many = f"of {len(dev.texts):,} held-out texts"
    found = f"probabilities {many} differ by up to {difference:.4f}, {agreement:.2%} of the likeliest labels agree"
    if difference > INT8_TOLERANCE or agreement < AGREEMENT:
        bounds = f"{INT8_TOLERANCE} and {AGREEMENT:.0%} are the bounds"
        raise ValueError(f"in 8 bits this network answers held-out texts too differently: {found}; {bounds}")
    speed = faster(rounded, exact, dev.texts)
    say(f"in 8 bits {found}; {speed:.2f} times as fast")
    held = Held(dev.texts, after, dev.targets, made.labels)
    decisions = measure(held.probabilities, held.targets, held.labels)
    facts: dict[str, Any] = {"largest_difference": difference, "agreement": agreement, "speed": speed}
    scores = made.scores | {"dev": assess(held, decisions), "int8": facts}
    texts = [text for text, _ in made.golden]
    golden = [(text, row.tolist()) for text, row in zip(texts, rounded.predict_proba(texts), strict=True)]
    return Rounded(
        replace(made, scores=scores, golden=golden, decisions=decisions.to_json()), difference, agreement, speed
    )


def faster(rounded: Predictor, exact: Predictor, texts: Sequence[str]) -> float:
    """How many times as many texts a second of processor time, text in to probability out; the median of turns."""
    some = list(texts[:TIMED])
    ratios = []
    for _ in range(ROUNDS):
        began = time.process_time()
        exact.predict_proba(some)
        between = time.process_time()
        rounded.predict_proba(some)
        ratios.append((between - began) / max(1e-9, time.process_time() - between))
    return round(float(np.median(ratios)), 2)
