"""What was seen as sections of columns, a row a step: what both the table and the picture show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fenlei.trace.watch import Floats, Layer, Network, Trace

HEADS = {"i": "input gate", "f": "forget gate", "o": "output gate", "c": "cell state", "h": "output"}
HEADS |= {"g": "candidate", "n": "candidate", "r": "reset gate", "z": "update gate"}
GATES = "ifozr"
DECADES = 8  # powers of ten that a gradient's bar spans


@dataclass(frozen=True)
class Column:
    """Numbers under one head: ``(S,)``, or ``(S, H)`` of the kinds ``"gate"`` (0 to 1) and ``"state"`` (signed).

    The other kinds are ``"share"``, ``"count"`` and ``"gradient"``.
    """

    head: str
    values: Floats
    kind: str

    @property
    def numbers(self) -> Floats:
        """One a step, ``(S,)``: the mean of a gate, the root mean square of a state over its hidden units."""
        if self.kind == "state":
            return np.sqrt(np.mean(self.values**2, axis=1, dtype=np.float64))
        return np.mean(self.values, axis=1, dtype=np.float64) if self.kind == "gate" else self.values

    @property
    def bars(self) -> Floats:
        """The same as lengths from 0 to 1; those of gradients are logarithmic."""
        numbers = self.numbers
        highest = float(numbers.max(initial=0.0))
        if self.kind == "gradient":
            with np.errstate(divide="ignore"):
                return np.clip(1 + np.log10(numbers / (highest or 1.0)) / DECADES, 0.0, 1.0)
        least = 1.0 if self.kind in ("gate", "state") else 0.0
        return numbers / (max(highest, least) or 1.0)


@dataclass(frozen=True)
class Section:
    """A title, a label a row, columns of that many rows; ``faint`` marks tokens that the vocabulary does not hold."""

    title: str
    labels: Sequence[str]
    columns: Sequence[Column]
    faint: Sequence[bool]


def sections(found: Trace) -> Iterator[Section]:
    """Every layer of every network, what the poolings took, which windows fired; ``compared`` has the gradients."""
    for number, network in enumerate(found.networks, 1):
        named = f"{network.model} {number} of {len(found.networks)}" if len(found.networks) > 1 else network.model
        for layer in network.layers:
            columns = [_column(letter, values) for letter, values in layer.values.items()]
            yield _section(found, f"{named} {layer.name}".rstrip(), layer.over, columns)
        yield from _counted(found, network, named)


def _counted(found: Trace, network: Network, named: str) -> Iterator[Section]:
    kinds = {"attention": ("attention", "share"), "max": ("dimensions won", "count")}
    for over in ("tokens", "sentences"):
        columns = [Column(kinds[each.kind][0], each.values, kinds[each.kind][1]) for each in network.weights]
        columns = [column for column, each in zip(columns, network.weights, strict=True) if each.over == over]
        if columns:
            yield _section(found, f"{named}: what the {over} counted for", over, columns)
    if network.windows:
        labels = [f"{window.width}: {' '.join(window.tokens)}" for window in network.windows]
        won = np.array([window.won for window in network.windows], np.float64)
        column = Column("filters won", won, "count")
        yield Section(f"{named}: windows that fired, by width", labels, [column], [False] * len(labels))


def compared(traces: Sequence[tuple[str, Trace]]) -> Section:
    """The gradients of several named traces of one text, side by side: the last layer over tokens of each.

    Each as a share of its own largest: sizes at different memories of different networks say nothing of one another.

    ValueError for a network without a recurrence, and for one that cuts the text otherwise than the first does.
    """
    columns = []
    first, reference = traces[0]
    for name, found in traces:
        if found.tokens != reference.tokens:
            raise ValueError(f"{name} cuts the text into other tokens than {first}: train both with one --tokenizer")
        columns += [
            Column(
                f"{network.model} {layer.name.removeprefix('words').strip()}".rstrip(),
                layer.gradient / (layer.gradient.max() or 1.0),
                "gradient",
            )
            for network, layer in _top(name, found)
            if layer.gradient is not None
        ]
    return _section(
        reference,
        "|d loss / d h| (LSTM: d loss / d c) at each step, share of the largest, log",
        "tokens",
        columns,
    )


def _top(name: str, found: Trace) -> list[tuple[Network, Layer]]:
    """The ways of the last layer that reads tokens, of each network."""
    ways = []
    for network in found.networks:
        layers = [layer for layer in network.layers if layer.over == "tokens"]
        if not layers:
            raise ValueError(f"{name} is a {network.model}, which has no recurrence that gradients go back through")
        top = layers[-2:] if layers[-1].name.endswith("backward") else layers[-1:]
        ways += [(network, layer) for layer in top]
    return ways


def _column(letter: str, values: Floats) -> Column:
    return Column(HEADS[letter], values, "gate" if letter in GATES else "state")


def _section(found: Trace, title: str, over: str, columns: list[Column]) -> Section:
    labels = [label or "(no token)" for label in found.steps(over)]
    faint = [over == "tokens" and not known for known in found.known][: len(labels)]
    return Section(title, labels, columns, faint)
