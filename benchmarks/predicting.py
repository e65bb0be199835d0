"""How fast a bundle answers: texts a second beside fastText's Python predict, one text, loading, the first answer.

Usage: python benchmarks/predicting.py --data FOLDER [--set thucnews_titles] [--rows 40000] [--bundle FOLDER]

Trains both on the same rows (or takes the bundle that is there), then measures in one process on one thread, in turns,
so that a busy neighbour slows every side. Rates are medians of the rounds in processor time; what a person waits for is
given by the clock as well. Prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
from sets import split

from fenlei import corpus
from fenlei.counting import build_pipeline
from fenlei.learn import Labelled, learn
from fenlei.recipe import Recipe, preset
from fenlei.runtime import Predictor

COLD_RUNS = 5


def train_fenlei(train: list[corpus.Document], dev: list[corpus.Document], folder: Path) -> None:
    sides = [Labelled([each.text for each in side], [each.label for each in side]) for side in (train, dev)]
    learn(*sides, preset("fast"), lambda _: None).save(folder)


def train_fasttext(train: list[corpus.Document]) -> Any:
    """Characters, words of up to three, as in benchmarks/accuracy.py; labels as numbers."""
    numbers = {label: place for place, label in enumerate(sorted({each.label for each in train}))}
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.writelines(f"__label__{numbers[each.label]} {' '.join(each.text)}\n" for each in train)
        file.flush()
        return fasttext.train_supervised(
            file.name, lr=0.5, dim=100, wordNgrams=3, epoch=10, thread=1, verbose=0, seed=0
        )


def seconds_of(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def rates(predictor: Predictor, peer: Any, texts: list[str], rounds: int) -> dict[str, float]:
    """Texts a second of processor time, medians; every round measures each side once."""
    pipeline = predictor.pipeline
    encoded = pipeline.encode(texts)
    sides: dict[str, Callable[[], Any]] = {
        "text to label": lambda: list(predictor.answer(texts)),
        "the text road alone": lambda: pipeline.encode(texts),
        "the network alone": lambda: predictor._probabilities(encoded),
        "fastText": lambda: peer.predict([" ".join(text) for text in texts]),
    }
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, work in sides.items():
            taken[name].append(seconds_of(work))
    return {name: len(texts) / statistics.median(seconds) for name, seconds in taken.items()}


def latency(predictor: Predictor, texts: list[str]) -> dict[str, float]:
    """Milliseconds of one text in a warm process, by the clock and in processor time."""
    predictor.predict(texts[:1])
    clock, processor = [], []
    for text in texts:
        began, used = time.perf_counter(), time.process_time()
        predictor.predict([text])
        clock.append(1e3 * (time.perf_counter() - began))
        processor.append(1e3 * (time.process_time() - used))
    found = {f"p{share} by the clock": float(np.percentile(clock, share)) for share in (50, 99)}
    return found | {f"p{share} of the processor": float(np.percentile(processor, share)) for share in (50, 99)}


def loading(folder: Path, rounds: int) -> dict[str, float]:
    """Milliseconds to load a bundle in a process that has the libraries."""
    clock, processor = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        processor.append(1e3 * seconds_of(lambda: Predictor(folder)))
        clock.append(1e3 * (time.perf_counter() - began))
    return {"by the clock": statistics.median(clock), "of the processor": statistics.median(processor)}


def cold(folder: Path, text: str) -> dict[str, float]:
    """Milliseconds of a whole ``fenlei predict`` of one line."""
    clock, processor = [], []
    for _ in range(COLD_RUNS):
        used, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-m", "fenlei", "predict", str(folder)]
        subprocess.run(command, input=text + "\n", text=True, encoding="utf-8", capture_output=True, check=True)
        clock.append(1e3 * (time.perf_counter() - began))
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor.append(1e3 * (now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime))
    return {"by the clock": statistics.median(clock), "of the processor": statistics.median(processor)}


def counting(predictor: Predictor, texts: list[str]) -> dict[str, float]:
    """Microseconds of the processor a training text, to count what the bundle's recipe counts and to encode."""
    recipe = Recipe(**predictor.bundle.recipe)
    classes = len(predictor.labels)
    return {
        "counting": 1e6 * seconds_of(lambda: build_pipeline(texts, recipe, classes)) / len(texts),
        "encoding": 1e6 * seconds_of(lambda: predictor.pipeline.encode(texts)) / len(texts),
    }


def show(found: dict[str, Any]) -> None:
    print(f"{'texts a second of the processor':44}")
    for name, rate in found["rates"].items():
        print(f"  {name:42}{rate:>10,.0f}")
    for title, key, unit in (
        ("one text, warm", "latency", "ms"),
        ("loading the bundle", "load", "ms"),
        ("first answer of a cold fenlei predict", "cold", "ms"),
        ("a training text", "training", "us"),
    ):
        print(title)
        for name, value in found[key].items():
            print(f"  {name:42}{value:>10.2f} {unit}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", default="thucnews_titles")
    parser.add_argument("--rows", type=int, default=40_000, help="trained on")
    parser.add_argument("--texts", type=int, default=8192, help="of dev, answered in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bundle", type=Path, help="answer with this one, of the preset fast on the same rows")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/predicting.json"))
    arguments = parser.parse_args()
    train, dev = split(arguments.data, arguments.set, arguments.rows)
    texts = [each.text for each in dev][: arguments.texts]
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.bundle or Path(temporary) / "bundle"
        if not arguments.bundle:
            train_fenlei(train, dev, folder)
        predictor, peer = Predictor(folder), train_fasttext(train)
        found = {
            "set": arguments.set,
            "rows": len(train),
            "texts": len(texts),
            "rounds": arguments.rounds,
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "load_average": os.getloadavg()[0],
            "rates": rates(predictor, peer, texts, arguments.rounds),
            "latency": latency(predictor, texts[:1000]),
            "load": loading(folder, arguments.rounds),
            "cold": cold(folder, texts[0]),
            "training": counting(predictor, [each.text for each in train]),
        }
    show(found)
    arguments.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
