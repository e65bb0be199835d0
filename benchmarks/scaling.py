"""Processes and checkpoints, measured: documents a second of one process and of several, what a checkpoint costs.

Wall-clock ratios need an idle machine. The processor time of the busiest process is given too: one process's over it
is the speed-up that an idle machine with a core a process comes to where the exchange waits for nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from sets import split

from fenlei import training
from fenlei.branch import build_branch
from fenlei.checkpoint import Checkpoint
from fenlei.learn import Labelled, prepare
from fenlei.ranks import CPU, count_of, join
from fenlei.recipe import Recipe

ROOT = Path(__file__).resolve().parent.parent


def work(data: Path, rows: int, batch_size: int, out: Path) -> None:
    """One epoch of this process's share; the leading one also writes checkpoints and times them."""
    sides = [
        Labelled([each.text for each in side], [each.label for each in side])
        for side in split(data, "thucnews_titles", rows)
    ]
    recipe = Recipe(wide=False, epochs=1, batch_size=batch_size)
    _, found, pipeline, recipe = prepare(*sides, recipe, lambda _: None)
    with training.deterministic(recipe), join(CPU, count_of()) as ranks:
        network = build_branch(recipe, pipeline.stream_sizes(), len(found.labels))
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Checkpoint(Path(folder), 0.0)
            checkpoint.join(ranks)
            wide = training.widen(recipe, ranks.count)
            trainer = training.Trainer(network, found.train, wide, checkpoint=checkpoint)
            wall, cpu = time.perf_counter(), time.process_time()
            seen = trainer.epoch()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            state = trainer.state()
            checkpoint.fix("best epoch", training.snapshot(network))
            began = time.perf_counter()
            checkpoint.save("training", "measured", state)
            written = time.perf_counter() - began
            size = sum(path.stat().st_size for path in Path(folder).iterdir())
    result = {
        "documents": seen.documents, "seconds": wall, "cpu_seconds": cpu, "loss": seen.loss,
        "checkpoint_seconds": written, "checkpoint_bytes": size,
        "weights": sum(weight.numel() for weight in network.parameters()),
    }  # fmt: skip
    (out / f"{ranks.rank}.json").write_text(json.dumps(result))


def measure(count: int, arguments: argparse.Namespace) -> list[dict[str, float]]:
    """What each of ``count`` processes found."""
    with tempfile.TemporaryDirectory() as folder:
        launcher = ["-m", "torch.distributed.run", "--nproc-per-node", str(count), "--standalone"] if count > 1 else []
        script = [str(Path(__file__)), "--data", str(arguments.data), "--rows", str(arguments.rows)]
        call = [sys.executable, *launcher, *script, "--batch-size", str(arguments.batch_size), "--worker", folder]
        settings = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        subprocess.run(call, check=True, env=os.environ | settings)
        return [json.loads((Path(folder) / f"{rank}.json").read_text()) for rank in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "scaling.json")
    parser.add_argument("--worker", type=Path)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        work(arguments.data, arguments.rows, arguments.batch_size, arguments.worker)
        return
    runs = []
    print("run  processes  docs/s  CPU s of the busiest  speed-up by wall  by CPU  checkpoint")
    for number in range(arguments.repeats):
        one, several = measure(1, arguments), measure(arguments.processes, arguments)
        busiest = max(each["cpu_seconds"] for each in several)
        ratios = one[0]["seconds"] / several[0]["seconds"], one[0]["cpu_seconds"] / busiest
        runs.append({"one": one[0], "several": several, "by_wall": ratios[0], "by_cpu": ratios[1]})
        for count, found, cpu in ((1, one[0], one[0]["cpu_seconds"]), (arguments.processes, several[0], busiest)):
            speed, cost = found["documents"] / found["seconds"], found["checkpoint_seconds"]
            shown = ("", "") if count == 1 else (f"{ratios[0]:.2f}", f"{ratios[1]:.2f}")
            size = found["checkpoint_bytes"] / 1e6
            row = f"{number + 1:3}  {count:9}  {speed:6.0f}  {cpu:20.1f}  {shown[0]:>16}  {shown[1]:>6}"
            print(f"{row}  {cost:.2f} s, {size:.0f} MB", flush=True)
    conditions = {
        "rows": arguments.rows, "batch_size": arguments.batch_size, "processes": arguments.processes,
        "load": os.getloadavg(), "cores": os.cpu_count(), "torch": str(torch.__version__),
    }  # fmt: skip
    arguments.out.write_text(json.dumps({"conditions": conditions, "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
