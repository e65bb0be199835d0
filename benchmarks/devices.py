"""How many documents a second each network learns on the processor and on a GPU, and what comes of it there.

Usage: python benchmarks/devices.py --data FOLDER [--set thucnews_titles] [--networks mingru,bilstm] [--steps 60]

Every network learns ``--steps`` batches on each device, after a tenth as many that warm it up; the processor has
one thread, as in training. Texts are encoded once. With ``--presets`` whole trainings on the GPU follow, each from the
raw file to the bundle in a process of its own, its dev accuracy beside its seconds. Prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from sets import SETS

from fenlei import corpus, training
from fenlei.branch import build_branch
from fenlei.folds import Data
from fenlei.learn import Labelled, prepare
from fenlei.pipeline import Pipeline
from fenlei.recipe import Recipe
from fenlei.training import Trainer

Run = dict[str, Any]
GPU = torch.device("cuda")


def rate(data: Data, pipeline: Pipeline, recipe: Recipe, device: torch.device, steps: int) -> float:
    """Documents a second that a fresh network learns there."""
    with training.deterministic(recipe):
        network = build_branch(recipe, pipeline.stream_sizes(), len(data.labels)).to(device).train()
        trainer, began, documents = Trainer(network, data.train, recipe), time.perf_counter(), 0
        batches = training.make_batches(trainer.windows.sizes, recipe, trainer.rng)[: steps + steps // 10]
        for number, rows in enumerate(batches):
            if number == steps // 10:
                settle(device)
                began, documents = time.perf_counter(), 0
            trainer.step(rows)
            documents += len(rows)
        settle(device)
        return documents / (time.perf_counter() - began)


def settle(device: torch.device) -> None:
    """Wait for what a GPU still has to do."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def whole(train: Path, dev: Path, preset: str) -> Run:
    """One training on the GPU as a person runs it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "fenlei", "train", str(train), "--dev", str(dev), "--json", "--quiet"]
        command += ["--preset", preset, "--device", "cuda", "--no-cache", "--no-report", "--out", f"{folder}/bundle"]
        began = time.perf_counter()
        found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True, encoding="utf-8").stdout)
        seconds = time.perf_counter() - began
    return {"preset": preset, "seconds": seconds, "accuracy": found["scores"]["dev"]["accuracy"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", default="thucnews_titles")
    parser.add_argument("--networks", default="mingru,bilstm,textcnn")
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--presets", default="")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/devices.json"))
    arguments = parser.parse_args()
    train, dev = (arguments.data / str(part) for part in SETS[arguments.set])
    documents = corpus.read(train)[0][: arguments.rows]
    sides = [Labelled([d.text for d in side], [d.label for d in side]) for side in (documents, documents[:100])]
    devices = [torch.device("cpu"), *([GPU] if torch.cuda.is_available() else [])]
    names = ["processor", *([torch.cuda.get_device_name()] if len(devices) > 1 else [])]
    runs: list[Run] = []
    print("| network | learned twice | " + " | ".join(f"{name}, documents/s" for name in names) + " |")
    print("|" + "---|" * (2 + len(names)))
    for name in arguments.networks.split(","):
        for twice in (1.0, 0.0):
            recipe = Recipe(model=name, batch_size=128, adversarial=twice, wide=False)
            _, data, pipeline, recipe = prepare(*sides, recipe, lambda _: None)
            rates = [rate(data, pipeline, recipe, device, arguments.steps) for device in devices]
            runs.append({"network": name, "twice": bool(twice)} | dict(zip(names, rates, strict=True)))
            cells = [name, "yes" if twice else "no", *(f"{each:,.0f}" for each in rates)]
            print("| " + " | ".join(cells) + " |", flush=True)
    for preset in filter(None, arguments.presets.split(",")):
        run = whole(train, dev, preset)
        runs.append(run)
        print(f"{preset}: {run['seconds']:.0f} s, dev accuracy {run['accuracy']:.4f}", flush=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
