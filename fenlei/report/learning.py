"""The section on training: loss and accuracy after every epoch of each network."""

from __future__ import annotations

from typing import Any

from fenlei.report import plots
from fenlei.report.markup import Html, joined, percent, tag
from fenlei.report.material import Material
from fenlei.report.tables import folded, number, table
from fenlei.report.words import both

MOST_DRAWN = 4  # networks
NEEDED = ("loss", "accuracy", "dev_loss", "dev_accuracy")

Epochs = list[dict[str, Any]]


def learning(found: Material) -> Html:
    """Two curves a network, or the sentence that there is none."""
    histories = [each for each in found.epochs if all(key in epoch for epoch in each for key in NEEDED)]
    if not histories:
        return tag("p", both("learning_none"))
    lead = tag("p", both("learning_lead"))
    return joined((lead, *(_network(number, each, len(histories)) for number, each in enumerate(histories, 1))))


def _network(place: int, epochs: Epochs, networks: int) -> Html:
    """One network's curves and numbers; beyond the fourth, numbers alone."""
    best = best_epoch(epochs)
    parts = [tag("h3", both("network", place=place))] if networks > 1 else []
    parts.append(tag("p", _said(epochs, best)))
    if place <= MOST_DRAWN:
        parts.append(tag("div", *(_curve(place, epochs, kind, best) for kind in ("loss", "accuracy")), class_="pair"))
    parts.append(folded(both("numbers"), _rows(epochs, best)))
    return joined(parts)


def best_epoch(epochs: Epochs) -> int:
    """The place, from 1, of the epoch whose weights were kept."""
    marked = [place for place, epoch in enumerate(epochs, 1) if epoch.get("best")]
    return marked[-1] if marked else min(range(1, len(epochs) + 1), key=lambda place: epochs[place - 1]["dev_loss"])


def _said(epochs: Epochs, best: int) -> Html:
    seconds = sum(epoch.get("seconds", 0.0) for epoch in epochs)
    key = "learning_said_f1" if counts_f1(epochs) else "learning_said"
    share = percent(epochs[best - 1]["dev_accuracy"])
    return both(key, n=len(epochs), best=best, share=share, seconds=f"{seconds:,.0f}")


def counts_f1(epochs: Epochs) -> bool:
    """Whether what is recorded as accuracy is micro-F1, as for several labels a text."""
    return epochs[0].get("measure") == "micro-F1"


def _curve(place: int, epochs: Epochs, kind: str, best: int) -> Html:
    """Loss or quality; micro-F1 is found on the held-out texts alone."""
    name, f1 = f"{kind}-{place}", kind == "accuracy" and counts_f1(epochs)
    train, dev = ([epoch[key] for epoch in epochs] for key in (kind, f"dev_{kind}"))
    drawn = plots.curve(name, [] if f1 else train, dev, best, shares=kind == "accuracy")
    marks = [] if f1 else [("muted", "train")]
    title = both("micro_f1" if f1 else f"curve_{kind}") + plots.legend(*marks, ("main", "dev"), ("ring", "best"))
    return plots.figure(name, title, drawn)


def _rows(epochs: Epochs, best: int) -> Html:
    kept = ("dev_accuracy",) if counts_f1(epochs) else ("accuracy", "dev_accuracy")
    names = ("dev_micro_f1",) if counts_f1(epochs) else kept
    rows = [
        (
            tag("td", place, tag("b", " ← ", both("best")) if place == best else ""),
            *(number(f"{epoch[key]:.4f}") for key in ("loss", "dev_loss")),
            *(number(percent(epoch[key])) for key in kept),
            number(f"{epoch.get('seconds', 0.0):.1f}"),
        )
        for place, epoch in enumerate(epochs, 1)
    ]
    return table(("epoch", "loss", "dev_loss", *names, "seconds"), "tnnn" + "n" * len(kept), rows)
