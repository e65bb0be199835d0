"""From a raw file to a saved bundle: the preset fast beside fastText, and beside the loop people write.

Usage: python benchmarks/minute.py --data FOLDER [--set thucnews_titles] [--rounds 3] [--usual 0]

``fenlei train --preset fast`` is run as a person runs it, in a process of its own, without cache or report; its time is
by the clock, and of the processor, with both cores free to it. fastText reads characters in 3-grams for 10 epochs, its
best setting in benchmarks/accuracy.py, on as many threads as there are cores. In the same rounds the linear model is
fitted by our machines, side by side, and by liblinear, one by one. With ``--usual N`` the loop of benchmarks/speed.py
(DataLoader item by item, packed rows, ``nn.LSTM``, dense Adam, the same three streams) learns for N epochs, dev
accuracy after each. Prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sets import SETS, split
from speed import BATCH, Titles, Usual, collate
from torch import nn
from torch.utils.data import DataLoader

from fenlei import compiled, linear, training
from fenlei.corpus import Document
from fenlei.folds import Data
from fenlei.learn import Labelled, prepare
from fenlei.pipeline import Pipeline
from fenlei.recipe import Recipe

Run = dict[str, Any]


def run_fast(data: Path, name: str, folder: Path) -> Run:
    """One training from the raw files to the bundle."""
    train, dev = SETS[name]
    command = [sys.executable, "-m", "fenlei", "train", str(data / train), "--dev", str(data / str(dev)), "--json"]
    command += ["--preset", "fast", "--no-cache", "--no-report", "--quiet", "--out", str(folder / "bundle")]
    used, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    found = json.loads(subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout)
    seconds, now = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    scores = found["scores"]
    return {
        "seconds": seconds,
        "processor": now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime,
        "accuracy": scores["dev"]["accuracy"],
        "linear": scores["linear"]["accuracy"],
    }


def run_fasttext(train: list[Document], dev: list[Document]) -> Run:
    """One training of fastText, from its own file to a model in memory."""
    import fasttext  # its own extra

    numbers = {label: str(place) for place, label in enumerate(sorted({each.label for each in train}))}
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.writelines(f"__label__{numbers[each.label]} {' '.join(each.text)}\n" for each in train)
        file.flush()
        used, began = time.process_time(), time.perf_counter()
        threads = os.cpu_count() or 1
        model = fasttext.train_supervised(
            file.name, lr=0.5, dim=100, wordNgrams=3, epoch=10, thread=threads, verbose=0, seed=0
        )
        seconds, processor = time.perf_counter() - began, time.process_time() - used
    found = [labels[0].removeprefix("__label__") for labels in model.predict([" ".join(each.text) for each in dev])[0]]
    right = [guess == numbers.get(each.label) for guess, each in zip(found, dev, strict=True)]
    return {"seconds": seconds, "processor": processor, "accuracy": float(np.mean(right))}


def run_linear(data: Data, pipeline: Pipeline, loops: bool) -> Run:
    """The linear model alone: every class at one cost, with emphasis and without."""
    assert pipeline.wide is not None
    there, compiled.LOADED = compiled.LOADED, loops and compiled.LOADED
    try:
        used, began = time.process_time(), time.perf_counter()
        with linear.unfinished_fits():
            found = linear.fit(
                *(data.train.encoded, data.train.targets, data.dev.encoded, data.dev.targets),
                columns=len(pipeline.wide),
                classes=len(data.labels),
                costs=(0.3,),
            )
    finally:
        compiled.LOADED = there
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "processor": time.process_time() - used, "accuracy": found.dev_accuracy}


def run_usual(data: Data, pipeline: Pipeline, epochs: int) -> list[Run]:
    """The loop people write: what each epoch has come to, and the seconds of training until then."""
    torch.manual_seed(0)
    names = list(pipeline.stream_sizes())
    network = Usual([pipeline.stream_sizes()[name] for name in names], len(data.labels))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    loader = DataLoader(Titles(data, names), BATCH, shuffle=True, collate_fn=collate)
    seconds, processor, runs = 0.0, 0.0, []
    for _ in range(epochs):
        used, began = time.process_time(), time.perf_counter()
        network.train()
        for streams, lengths, targets in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(streams, lengths), targets)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
        seconds, processor = seconds + time.perf_counter() - began, processor + time.process_time() - used
        runs.append({"seconds": seconds, "processor": processor, "accuracy": usual_accuracy(network, data, names)})
        print(f"the loop people write, {len(runs)} epochs: {runs[-1]}", flush=True)
    return runs


@torch.no_grad()
def usual_accuracy(network: Usual, data: Data, names: list[str]) -> float:
    network.eval()
    encoded, right = data.dev.encoded, 0
    for rows in np.array_split(np.argsort(encoded.lengths), max(1, len(encoded) // 256)):
        arrays = training.tensors(encoded.batch(rows))
        guess = network([arrays[name] for name in names], arrays["lengths"]).argmax(1).numpy()
        right += int((guess == data.dev.targets[rows]).sum())
    return right / len(encoded)


def middle(runs: list[Run]) -> Run:
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", default="thucnews_titles", choices=[name for name, files in SETS.items() if files[1]])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--usual", type=int, default=0, metavar="N", help="epochs of the loop people write (hours)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/minute.json"))
    arguments = parser.parse_args()
    train, dev = split(arguments.data, arguments.set, None)
    sides = [Labelled([each.text for each in side], [each.label for each in side]) for side in (train, dev)]
    _, data, pipeline, _ = prepare(*sides, Recipe(branches=1), lambda _: None)
    found: dict[str, list[Run]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.rounds):
            rounds = {
                "fenlei train --preset fast": run_fast(arguments.data, arguments.set, Path(folder)),
                "fastText": run_fasttext(train, dev),
                "linear model, machines side by side": run_linear(data, pipeline, loops=True),
            }
            if number == 0:
                rounds["linear model, liblinear"] = run_linear(data, pipeline, loops=False)
            for name, run in rounds.items():
                found.setdefault(name, []).append(run)
                print(f"{name}: {run}", flush=True)
    if arguments.usual:
        with training.deterministic(Recipe(threads=1)):
            for number, run in enumerate(run_usual(data, pipeline, arguments.usual), 1):
                found[f"the loop people write, {number} epochs"] = [run]
    print("| what | seconds | of the processor | dev accuracy | fastText's time |\n|---|---|---|---|---|")
    for name, runs in found.items():
        run, ratio = middle(runs), middle(runs)["seconds"] / middle(found["fastText"])["seconds"]
        print(f"| {name} | {run['seconds']:.1f} | {run['processor']:.1f} | {run['accuracy']:.4f} | {ratio:.2f} |")
    arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
