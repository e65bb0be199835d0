"""The report: its numbers are the bundle's, what is missing is left out, nothing from outside becomes markup."""

from __future__ import annotations

import copy
import itertools
import json
import math
import random
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fenlei.cli import main
from fenlei.report import parts, render
from fenlei.report.markup import escaped, label, percent, points, size, span, tag, text
from fenlei.report.sureness import reaching
from fenlei.report.words import MEANINGS, WORDS

if TYPE_CHECKING:
    from fenlei.bundle import Bundle
    from fenlei.learn import Labelled


# --- bundles made by hand ---


def item(content: str, true: list[str], predicted: list[str], p: float = 0.9, q: float = 0.05) -> dict[str, Any]:
    return {
        "text": content[:300],
        "cut": len(content) > 300,
        "true": true,
        "predicted": predicted,
        "probability": p,
        "true_probability": q,
    }


def epochs(count: int) -> list[dict[str, Any]]:
    return [
        {
            "number": n,
            "epochs": count,
            "loss": 1.6 / n + 0.1,
            "accuracy": 1 - 0.5 / n,
            "dev_loss": 1.4 / n + 0.02 * n,
            "dev_accuracy": 0.9 - 0.3 / n,
            "seconds": 1.5,
            "documents_per_second": 3100.0,
            "best": n == max(1, count - 2),
        }
        for n in range(1, count + 1)
    ]


def class_row(number: int) -> dict[str, Any]:
    precision, recall = 0.95 - 0.003 * number, 0.9 - 0.004 * number
    f1 = 2 * precision * recall / (precision + recall)
    return {"precision": precision, "recall": recall, "f1": f1, "support": 40 - number % 7}


def matrix(count: int) -> list[list[int]]:
    rows = [[(7 * i + 3 * j) % 11 // 8 for j in range(count)] for i in range(count)]
    for i in range(count):
        rows[i][i] = 30 + i % 7
    return rows


def curve(number: int) -> list[list[float]]:
    return [[t, 0.5 + 0.45 * t**2 - 0.001 * number, 1 - t**3] for t in (n / 20 for n in range(20))]


def scores_one(labels: list[str], networks: int = 1, count: int = 6) -> dict[str, Any]:
    bins = [{"n": 5 * n * n, "confidence": n / 10 + 0.05, "accuracy": n / 10 + 0.02} for n in range(10)]
    return {
        "dev": {
            "accuracy": 0.8899082568807339,
            "macro_f1": 0.8810,
            "n": 545,
            "classes": {name: class_row(place) for place, name in enumerate(labels)},
            "confusion": {"labels": labels, "rows": matrix(len(labels))},
            "accuracy_interval": [0.8612, 0.9140],
            "macro_f1_interval": [0.8432, 0.9078],
            "calibration": {"ece": 0.0173, "bins": bins},
        },
        "uncalibrated_ece": 0.0612,
        "linear": {
            "accuracy": 0.8771,
            "macro_f1": 0.8601,
            "accuracy_interval": [0.8460, 0.9023],
            "macro_f1_interval": [0.8201, 0.8911],
            "cost": 0.1,
            "emphasis": 1.0,
        },
        "lead": {"gain": 0.0128, "interval": [-0.0018, 0.0294]},
        "epochs": [epochs(count) for _ in range(networks)],
        "seconds": 12.3,
    }


def evidence_of(labels: list[str], texts: list[str], several: bool = False) -> dict[str, Any]:
    source = random.Random(5)
    rows = matrix(len(labels))
    wrong = [(i, j) for i, row in enumerate(rows) for j, n in enumerate(row) if i != j for _ in range(n)][:400]
    edges = sorted({round(1.25**n) for n in range(20)})
    shares = [math.exp(-((math.log(a) - 2.5) ** 2)) for a in edges[:-1]]
    return {
        "classes": {
            "train": {name: 900 // (place + 1) for place, name in enumerate(labels)},
            "dev": {name: 100 // (place + 1) for place, name in enumerate(labels)},
        },
        "lengths": {
            "edges": edges,
            "train": [round(800 * share) for share in shares],
            "dev": [round(88 * share) for share in shares],
            "limit": 1024,
        },
        "mistakes": [
            item(source.choice(texts), [labels[i]], [] if several and not n % 3 else [labels[j]], 0.99 - n / 500, 0.01)
            for n, (i, j) in enumerate(wrong)
        ],
        "examples": [item(source.choice(texts), [name], [name], 0.98, 0.98) for name in labels for _ in range(3)],
        "suspects": [item(source.choice(texts), [labels[0]], [labels[1]], 0.97, 0.01) for _ in range(24)],
    }


def one(bundle: Bundle, labels: list[str] | None = None, networks: int = 1, count: int = 6) -> Bundle:
    """One label a text, everything recorded."""
    made = copy.copy(bundle)
    labels = labels or bundle.labels
    texts = [content for content, _ in bundle.golden]
    made.labels = labels if len(labels) == len(bundle.labels) else bundle.labels
    made.scores = scores_one(labels, networks, count)
    steps = [n / 20 for n in range(20)]
    made.decisions = {
        "kind": "one",
        "coverage": [[t, 1 - t**3, 0.88 + 0.12 * t] for t in steps],
        "classes": {name: curve(place) for place, name in enumerate(labels)},
        "thresholds": {},
    }
    made.evidence = evidence_of(labels, texts)
    made.ledger = {
        "counts": {"duplicate": 71, "undecodable": 2, "a new kind": 1},
        "notes": ["545 documents were held out as dev"],
        "entries": [["duplicate", f"train.tsv:{n}", "as line 3"] for n in range(71)]
        + [["undecodable", "b.txt", ""], ["undecodable", "c.txt", ""], ["a new kind", "d.txt", "?"]],
    }
    return made


def several(bundle: Bundle) -> Bundle:
    """Several labels a text, everything recorded."""
    made = one(bundle)
    made.scores = copy.deepcopy(made.scores)
    dev = made.scores["dev"]
    del dev["confusion"], dev["accuracy_interval"]
    dev |= {"micro_f1": 0.8123, "micro_f1_interval": [0.79, 0.83], "accuracy": 0.6543}
    for row in dev["classes"].values():
        row["threshold"] = 0.35
    made.scores["linear"] = {"micro_f1": 0.79, "macro_f1": 0.7, "cost": 0.1, "emphasis": 1.0}
    made.decisions |= {"kind": "several", "coverage": [], "thresholds": dict.fromkeys(made.labels, 0.35)}
    made.evidence = evidence_of(made.labels, [content for content, _ in bundle.golden], several=True)
    return made


class Ticks:
    """A clock that goes a second a look: measured speed is then the same in every run."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def drawn(bundle: Bundle, name: str = "news") -> str:
    return render(bundle, name, Ticks())
