"""What each fault of the tutorial's code costs: the classic recipe with one of them put back at a time.

Usage: python benchmarks/tutorial.py --data FOLDER [--set zh_topics] [--faults NAME;NAME] [--seeds 0,1,2] [--jobs 2]

The faults live here and nowhere else. Training accuracy is that of the last epoch while it learned, held-out accuracy
that of the best epoch (which a run keeps) and of the last one. Prints a table and writes JSON; a run that stands there
already is not repeated.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from sets import split
from torch import Tensor, nn

from fenlei import training
from fenlei.auto import decide
from fenlei.branch import build_branch
from fenlei.layers.cells import Equations, LSTMCell, State
from fenlei.learn import Data, Labelled, classes_of, encode
from fenlei.models import Deep
from fenlei.models.lstm2 import LSTM2
from fenlei.pipeline import Pipeline
from fenlei.preparing import prepare
from fenlei.recipe import preset
from fenlei.text import Tokenizer
from fenlei.vocab import PAD, UNK

Run = dict[str, Any]


class AddedCell(LSTMCell):
    """``h = o + tanh(c)``, as the tutorial has it."""

    def step(self, x: Tensor, before: State) -> State:
        found = dict(super().step(x, before))
        found["h"] = found["o"] + torch.tanh(found["c"])
        return found


class AddedLSTM2(LSTM2):
    """Both layers with the wrong output."""

    def __init__(self, input_size: int, **options: Any) -> None:
        super().__init__(input_size, **options)
        for name in ("first", "second"):
            fused = getattr(self, name)
            cell = AddedCell(fused.ways[0].input_size, fused.hidden_size)
            weights = (fused.ways[0].get_parameter(f"{kind}_l0") for kind in ("weight_ih", "weight_hh"))
            biases = (fused.ways[0].get_parameter(f"{kind}_l0") for kind in ("bias_ih", "bias_hh"))
            cell.take(*weights, *biases)
            setattr(self, name, Equations([cell]))


class PaddedLSTM2(LSTM2):
    """Every text is padded to ``length`` words, and the document vector is the output at the last of them."""

    def __init__(self, input_size: int, length: int, **options: Any) -> None:
        super().__init__(input_size, **options)
        self.length = length

    def forward(self, x: Tensor, _mask: Tensor) -> Tensor:
        x = nn.functional.pad(x, (0, 0, 0, self.length - x.shape[1]))
        states = self.states(x, torch.ones(x.shape[:2], dtype=torch.bool))
        return self.dense(states[:, -1])


def no_vector(data: Data) -> None:
    """Unknown words get no vector at all: what -1 gives where the lookup does not refuse it."""
    for side in (data.train, data.dev):
        ids = side.encoded.columns["ids"].values
        ids[ids == UNK] = PAD


def in_order(lengths: Any, recipe: Any, _rng: Any) -> list[Any]:
    """Batches as the files come: one class after the other."""
    return np.split(np.arange(len(lengths)), range(recipe.batch_size, len(lengths), recipe.batch_size))


@dataclass(frozen=True)
class Fault:
    """What differs from the mended recipe."""

    settings: dict[str, Any] = field(default_factory=dict)
    encoder: Callable[..., LSTM2] | None = None
    edit: Callable[[Data], None] = lambda _: None
    shuffled: bool = True
    one_line: bool = False


BRIEF = {"steps": 300}  # ten epochs: with hundreds of them the order of the files matters little
LONG = {"max_length": 100, "steps": 3000}
FAULTS = {
    "mended": Fault(),
    "h = o + tanh(c)": Fault(encoder=AddedLSTM2),
    "last step off the padding": Fault(encoder=lambda size, **rest: PaddedLSTM2(size, 10, **rest)),
    "unknown words as -1": Fault(edit=no_vector),
    "vocabulary as large as one line": Fault(one_line=True),
    "not shuffled": Fault(shuffled=False),
    "mended, 300 steps": Fault(BRIEF),
    "not shuffled, 300 steps": Fault(BRIEF, shuffled=False),
    "mended, 100 words": Fault(LONG),
    "last step off the padding, 100 words": Fault(LONG, lambda size, **rest: PaddedLSTM2(size, 100, **rest)),
    "mended, the whole text": Fault({"max_length": 1024, "steps": 3000}),
}


def measure(data: Path, name: str, fault_name: str, seed: int) -> Run:
    """One training."""
    fault = FAULTS[fault_name]
    train, dev = (Labelled([d.text for d in side], [d.label for d in side]) for side in split(data, name, None))
    recipe = preset("classic", seed=seed, **fault.settings)
    if fault.one_line:
        recipe = recipe.change(max_size=len(Tokenizer("jieba")(train.texts[0])))
    recipe = decide(train.texts, recipe, lambda _: None)
    labels = classes_of(train.labels)
    prepared = prepare(train.texts, dev.texts, recipe, len(labels))
    pipeline, numbers = prepared.pipeline, encode(train, dev, labels, prepared, recipe)
    fault.edit(numbers)
    with training.deterministic(recipe), order(fault):
        network = faulty(recipe, pipeline, len(labels), fault)
        history = list(training.fit(network, numbers.train, numbers.dev, recipe))
    return {
        "set": name,
        "fault": fault_name,
        "seed": seed,
        "steps": recipe.steps,
        "words": recipe.max_length,
        "training": history[-1].accuracy,
        "best": max(epoch.dev_accuracy for epoch in history),
        "last": history[-1].dev_accuracy,
        "seconds": round(sum(epoch.seconds for epoch in history), 1),
    }


@contextlib.contextmanager
def order(fault: Fault) -> Iterator[None]:
    """How the batches are made while it lasts."""
    with contextlib.nullcontext() if fault.shuffled else mock.patch.object(training, "make_batches", in_order):
        yield


def faulty(recipe: Any, pipeline: Pipeline, classes: int, fault: Fault) -> Deep:
    """The classic network with the fault in it."""
    network = build_branch(recipe, pipeline.stream_sizes(), classes)
    if fault.encoder is not None:
        network.encoder = fault.encoder(recipe.embedding_size, **recipe.options)
    return network


def line(fault: str, found: list[Run]) -> str:
    """One row of the table: means over the seeds, with their spread."""
    cells = [fault, f"{found[0]['words']}", f"{found[0]['steps']:,}"]
    for kind in ("training", "best", "last"):
        values = [run[kind] for run in found]
        spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.4f}{spread}")
    return "| " + " | ".join([*cells, f"{statistics.mean(run['seconds'] for run in found):.0f} s"]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", default="zh_topics")
    parser.add_argument("--faults", default=";".join(FAULTS), help="separated by semicolons")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/tutorial.json"))
    arguments = parser.parse_args()
    runs: list[Run] = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else []
    made = {(run["set"], run["fault"], run["seed"]) for run in runs}
    seeds = map(int, arguments.seeds.split(","))
    todo = [(arguments.set, fault, seed) for seed in seeds for fault in arguments.faults.split(";")]
    with ProcessPoolExecutor(arguments.jobs, get_context("spawn"), max_tasks_per_child=1) as pool:
        jobs = [pool.submit(measure, arguments.data, *each) for each in todo if each not in made]
        for done in as_completed(jobs):
            runs.append(done.result())
            arguments.out.write_text(json.dumps(runs, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            print(json.dumps(runs[-1], ensure_ascii=False), flush=True)
    print(
        "| fault | words | steps | training | held out, best | held out, last | time |\n|---|---|---|---|---|---|---|"
    )
    for fault in FAULTS:
        if found := [run for run in runs if (run["set"], run["fault"]) == (arguments.set, fault)]:
            print(line(fault, found))


if __name__ == "__main__":
    main()
