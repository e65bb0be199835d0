"""The search: which networks and which n-grams answer held-out texts best in so many bytes, and the bundle of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fenlei import evidence
from fenlei.blending import likelihood, shift, weigh
from fenlei.bundle import Bundle
from fenlei.decisions import measure
from fenlei.export import export
from fenlei.linear import unfinished_fits
from fenlei.models import restore
from fenlei.objective import name_of_quality, quality
from fenlei.packing import find, unpack
from fenlei.pipeline import Pipeline
from fenlei.runtime import Predictor
from fenlei.scoring import Held, assess
from fenlei.shrink import branches, ngrams
from fenlei.shrink.branches import LADDER, Branches
from fenlei.shrink.heldout import HeldOut
from fenlei.shrink.ngrams import Ngrams

Array = npt.NDArray[Any]
Say = Callable[[str], None]

RUNGS_TRIED = 4  # the largest networks that fit
GOLDEN = 4
WORDS_SHARE = 0.05  # of the limit: mistakes and examples for the report are kept if they take no more
GRAPH = 4_000  # bytes of a graph without its numbers, roughly
NETWORK = 16_000  # and of what a network adds to it and to the names of the weights
ATTEMPTS = 4  # to meet the limit: how large a part gets is known when it has been written


class Candidate(NamedTuple):
    """One way to be small: bytes of the whole folder, its quality on held-out texts, and what it is made of."""

    bytes: int
    quality: float
    loss: float
    network: str
    ngrams: int
    weights: str
    chosen: bool = False


class Shrunk(NamedTuple):
    """The small bundle, the ways that were tried, and what the full one came to: bytes and quality."""

    bundle: Bundle
    candidates: list[Candidate]
    full: Candidate
    measure: str


class Mix(NamedTuple):
    """Two kinds of branches, their scales (networks, linear model), the offset a class, and what they come to."""

    network: branches.Smaller | None
    linear: ngrams.Smaller | None
    scales: Array
    offset: Array
    quality: float
    loss: float

    @property
    def nbytes(self) -> int:
        """Of both kinds."""
        return sum(part.nbytes for part in (self.network, self.linear) if part is not None)


@dataclass(frozen=True)
class Full:
    """The bundle to shrink, taken apart."""

    bundle: Bundle
    predictor: Predictor
    networks: list[Branches]
    linear: Ngrams | None
    dev: HeldOut

    @classmethod
    def of(cls, bundle: Bundle, texts: Sequence[str], labels: Sequence[Sequence[str]]) -> Full:
        """Errors are those of ``HeldOut.read`` and ``branches.usage``."""
        predictor = Predictor(bundle)
        road = predictor.pipeline
        count = bundle.model["branches"]
        networks = [Branches.of(bundle, road, each) for each in sorted({count, min(1, count)} - {0})]
        dev = HeldOut.read(texts, labels, bundle.labels, predictor.several, road)
        linear = None
        if road.wide is not None:
            weights = unpack(bundle.weights)
            parts = (weights[f"wide.{name}"].astype(np.float32) for name in ("weight", "bias"))
            linear = Ngrams(road.wide, *parts)
        return cls(bundle, predictor, networks, linear, dev)


def shrink(
    bundle: Bundle,
    texts: Sequence[str],
    labels: Sequence[Sequence[str]],
    most: int,
    say: Say = lambda _: None,
) -> Shrunk:
    """The bundle of at most ``most`` bytes, its report left aside, that answers ``texts`` best.

    ``labels`` are the true ones of each text. Held-out texts choose among the ways and set the scales, so that the
    quality they show is a little too good; by how much a third set tells. ValueError where ``most`` is too little.
    """
    with unfinished_fits():
        return _shrink(Full.of(bundle, texts, labels), most, say)


def _shrink(full: Full, most: int, say: Say) -> Shrunk:
    bundle = full.bundle
    whole = total(bundle)
    held = Held(full.dev.texts, full.predictor.predict_proba(full.dev.texts), full.dev.targets, bundle.labels)
    name = name_of_quality(full.dev.targets)
    rows, kind = (len(full.linear.wide) - 1, "as it is") if full.linear else (0, "none")
    before = Candidate(whole, quality(held.probabilities, held.targets), 0.0, "as it is", rows, kind)
    if whole <= most:
        return Shrunk(bundle, [before._replace(chosen=True)], before, name)
    say(f"the full bundle: {whole / 1e6:,.2f} MB, {name} {before.quality:.4f} on {len(held.texts):,} held-out texts")
    spare = overhead(bundle)
    for _ in range(ATTEMPTS):
        mixes = list(attempts(full, most - spare, say))
        if not mixes:
            break
        best = max(mixes, key=lambda mix: (mix.quality, -mix.loss))
        made, fitted = fit(full, best, most)
        if (size := total(made)) <= most:
            found = [candidate(mix, spare) for mix in mixes if mix is not best]
            found.append(candidate(fitted, spare)._replace(bytes=size, chosen=True))
            return Shrunk(made, sorted(found), before, name)
        spare += size - most
        say(f"{size:,} bytes are too many: once more with less")
    least = spare + smallest(full)
    raise ValueError(
        f"{most:,} bytes are too few: the smallest that this classifier can get is about {least / 1000 + 1:,.0f}KB"
    )


def fit(full: Full, mix: Mix, most: int) -> tuple[Bundle, Mix]:
    """The bundle of a mix, with as many n-grams fewer as it takes to meet the limit, if that can be had by n-grams."""
    for _ in range(ATTEMPTS):
        made = build(full, mix, most)
        surplus = total(made) - most
        if surplus <= 0 or mix.linear is None or full.linear is None:
            break
        linear = full.linear.smaller(mix.linear.kind, mix.linear.nbytes - surplus - 64, full.dev)
        if linear is None:
            break
        mix = mixed(mix.network, linear, full.dev)
    return made, mix


def candidate(mix: Mix, spare: int) -> Candidate:
    """A line of the table."""
    network = "none" if mix.network is None else str(mix.network)
    rows, kind = (0, "none") if mix.linear is None else (len(mix.linear.wide) - 1, mix.linear.kind)
    spare += NETWORK * mix.network.networks if mix.network else 0
    return Candidate(mix.nbytes + spare, mix.quality, mix.loss, network, rows, kind)


def attempts(full: Full, limit: int, say: Say) -> Iterator[Mix]:
    """Networks from large to small, each with as many n-grams as still fit, and each kind alone."""
    for network in [*smaller_networks(full, limit), None]:
        left = limit - (network.nbytes + NETWORK * network.networks if network else 0)
        linears: list[ngrams.Smaller | None] = [None]
        if full.linear is not None:
            linears += [full.linear.smaller(kind, left, full.dev) for kind in ngrams.KINDS]
        for place, linear in enumerate(linears):
            if (linear is None and place) or (network is None and linear is None):
                continue  # there is no room for it, or nothing at all
            mix = mixed(network, linear, full.dev)
            say(described(mix))
            yield mix


def smaller_networks(full: Full, limit: int) -> Iterator[branches.Smaller]:
    """The largest that fit: of all the networks together, and of the first alone."""
    for networks in full.networks:
        most = limit - NETWORK * networks.count
        fitting = [rung for rung in networks.rungs() if networks.size(rung) <= most]
        for rung in fitting[:RUNGS_TRIED]:
            yield networks.smaller(rung, full.dev)


def smallest(full: Full) -> int:
    """Bytes of the least that can be made of either kind."""
    sizes = [networks.size(LADDER[-1]) + NETWORK for networks in full.networks if networks.count == 1]
    if full.linear is not None:
        sizes.append(min(full.linear.size(kind, ngrams.FEWEST) for kind in ngrams.KINDS))
    return min(sizes)


def mixed(network: branches.Smaller | None, linear: ngrams.Smaller | None, dev: HeldOut) -> Mix:
    """Both kinds weighed and calibrated anew: what was left out changed how loud each speaks."""
    kinds = [part.logits for part in (network, linear) if part is not None]
    scales = weigh(kinds, dev.targets)
    moved = shift(np.tensordot(scales, np.stack(kinds), 1), dev.targets)
    scales = moved.factor * scales
    logits = np.tensordot(scales, np.stack(kinds), 1) + moved.offset
    both = np.array([scales[0] if network else 0.0, scales[-1] if linear else 0.0])
    loss = float(likelihood(logits, dev.targets)[0].mean())
    return Mix(network, linear, both, moved.offset, quality(logits, dev.targets), loss)


def described(mix: Mix) -> str:
    """For the person who waits."""
    network = "no network" if mix.network is None else str(mix.network)
    linear = "no n-grams" if mix.linear is None else f"{len(mix.linear.wide) - 1:,} n-grams in {mix.linear.kind}"
    return f"{mix.nbytes / 1e3:,.0f} kB of weights, {network}, {linear}: {mix.quality:.4f}"


def build(full: Full, mix: Mix, most: int) -> Bundle:
    """The bundle of a mix: exported, checked, scored as the runtime itself answers."""
    road = road_of(full, mix)
    weights = branches.plain(len(full.bundle.labels)) | (mix.network.weights if mix.network else {})
    weights |= {"scales": mix.scales.astype(np.float32), "offset": mix.offset.astype(np.float32)}
    if mix.linear is not None:
        assert full.linear is not None
        weights |= {f"wide.weight.{part}": array for part, array in mix.linear.weight.arrays().items()}
        weights["wide.bias"] = full.linear.bias
    count = mix.network.networks if mix.network else 0
    packed = {"network": str(mix.network) if mix.network else None, "ngrams": mix.linear and mix.linear.kind}
    small = replace(
        bare(full.bundle),
        vocab=road.vocab.items(),
        pipeline=road.settings(),
        tables=road.tables(),
        weights=weights,
        model=full.bundle.model | {"branches": count, "packed": packed},
    )
    model = restore(small, road.stream_sizes())
    small = replace(small, graph=export(model, road.stream_sizes(), packed=find(weights)))
    return scored(small, full, most)


def road_of(full: Full, mix: Mix) -> Pipeline:
    """The text road of what is left; without a network it needs neither vocabulary nor streams."""
    road = full.predictor.pipeline
    if mix.network is not None:
        road = mix.network.pipeline
    else:
        road = replace(road, vocab=type(road.vocab)([], []), streams={})
    return replace(road, wide=None if mix.linear is None else mix.linear.wide)


def scored(small: Bundle, full: Full, most: int) -> Bundle:
    """The bundle with its scores, thresholds and golden inputs."""
    dev = full.dev
    held = Held(dev.texts, Predictor(small).predict_proba(dev.texts), dev.targets, small.labels)
    found = measure(held.probabilities, held.targets, held.labels)
    scores = small.scores | {"dev": assess(held, found)}
    golden = [(text, row.tolist()) for text, row in zip(dev.texts[:GOLDEN], held.probabilities, strict=False)]
    shown = evidence.collect(held.texts, held.probabilities, held.truth, held.named(found), held.labels)
    if len(json.dumps(shown)) > WORDS_SHARE * most:
        shown = {name: [] for name in shown}
    return replace(small, scores=scores, golden=golden, decisions=found.to_json(), evidence=small.evidence | shown)


def bare(bundle: Bundle) -> Bundle:
    """The bundle without what only tells of its training: epochs, the ledger's single entries, texts, the report."""
    kept = ("linear", "uncalibrated_ece", "seconds")
    scores = {name: bundle.scores[name] for name in kept if name in bundle.scores}
    scores["shrunk"] = {"from_bytes": total(bundle), "from": quick(bundle.scores.get("dev") or {})}
    ledger = {name: value for name, value in bundle.ledger.items() if name != "entries"}
    texts: dict[str, Any] = {name: [] for name in ("mistakes", "examples", "suspects")}
    return replace(bundle, scores=scores, ledger=ledger, evidence=bundle.evidence | texts, report="")


def quick(scores: dict[str, Any]) -> dict[str, Any]:
    """The numbers that fit into a line."""
    return {name: scores[name] for name in ("accuracy", "micro_f1", "macro_f1", "n") if name in scores}


def overhead(bundle: Bundle) -> int:
    """About the bytes of a small bundle beside its vocabulary, tables and weights."""
    empty = replace(bare(bundle), vocab=[], tables={}, weights={}, graph=b"", golden=[])
    empty = replace(empty, model=bundle.model | {"packed": {}}, scores=empty.scores | {"dev": bundle.scores.get("dev")})
    return total(empty) + GRAPH


def total(bundle: Bundle) -> int:
    """Bytes of the whole folder but for the report."""
    return sum(map(len, replace(bundle, report="").files().values()))
