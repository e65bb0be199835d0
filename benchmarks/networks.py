"""Every network alone, without the linear model beside it, on held-out documents of five sets.

Usage: python benchmarks/networks.py --data FOLDER [--sets trec,imdb] [--networks 'bilstm;han'] [--seeds 0,1] [--jobs 2]

With ``--compression`` the bidirectional LSTM with each kind of embedding in its stead, on titles. With ``--speed`` only
how many titles a second each network learns and answers, over one epoch of 20,000: on a machine that does nothing else.
A run that stands in the results already is not repeated, so that the benchmark can be broken off and goes on where it
was. A further seed is run only where the first took under ``--longest`` seconds. Every run has one thread; with
``--jobs 2`` two of them share the machine. Prints a table a set and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from sets import split

from fenlei.learn import Labelled, learn
from fenlei.recipe import Recipe
from fenlei.runtime import Predictor

SETS: dict[str, int | None] = {  # and of how many documents, where not of all
    "trec": None,
    "zh_topics": None,
    "thucnews_titles": None,
    "imdb": 2500,
    "zh_long": None,
}
RESULTS = Path("benchmarks/results")
SPEED_ROWS = 20_000
NETWORKS: dict[str, dict[str, Any]] = {
    "rnn": {"model": "rnn"},
    "lstm": {"model": "lstm"},
    "lstm2": {"model": "lstm2"},
    "gru": {"model": "gru"},
    "stacked": {"model": "stacked"},
    "bilstm": {"model": "bilstm"},
    "bilstm, attention": {"model": "bilstm", "options": {"pooling": "attention"}},
    "mingru": {"model": "mingru"},
    "textcnn": {"model": "textcnn"},
    "rcnn": {"model": "rcnn"},
    "han": {"model": "han"},
}
COMPRESSED: dict[str, dict[str, Any]] = {
    "full": {},
    **{
        f"{name} 1/{divisor}": {"embedding": kind, "embedding_options": {"ratio": 1 / divisor, **options}}
        for divisor in (10, 40)
        for name, kind, options in (
            ("lowrank", "lowrank", {}),
            ("shared, remainder", "shared", {}),
            ("shared, hash, importance", "shared", {"assignment": "hash", "importance": True}),
            ("shared, learned", "shared", {"assignment": "learned"}),
        )
    },
}
ALL = NETWORKS | COMPRESSED
Run = dict[str, Any]


def measure(data: Path, name: str, network: str, seed: int) -> Run:
    """One training with the default recipe but for the network, scored on dev by the runtime."""
    train, dev = map(labelled, split(data, name, SETS[name]))
    began = time.perf_counter()
    bundle = learn(train, dev, Recipe(seed=seed, wide=False, branches=1).change(**ALL[network]), lambda _: None)
    seconds = time.perf_counter() - began
    epochs = bundle.scores["epochs"][0]
    predictor = Predictor(bundle)
    began = time.perf_counter()
    predictor.predict(dev.texts)
    return {
        "set": name,
        "network": network,
        "seed": seed,
        "train": len(train.texts),
        "accuracy": bundle.scores["dev"]["accuracy"],
        "macro_f1": bundle.scores["dev"]["macro_f1"],
        "parameters": sum(weight.size for weight in bundle.weights.values()),
        "seconds": round(seconds, 1),
        "epochs": len(epochs),
        "training_speed": round(statistics.mean(epoch["documents_per_second"] for epoch in epochs)),
        "answering_speed": round(len(dev.texts) / (time.perf_counter() - began)),
        "embedding_megabytes": sum(v.nbytes for k, v in bundle.weights.items() if ".embeddings." in k) / 1e6,
        "megabytes": round(sum(map(len, bundle.files().values())) / 1e6, 1),
    }


def speed(data: Path, network: str) -> Run:
    """Documents a second on one thread, in training and by the runtime."""
    train, dev = map(labelled, split(data, "thucnews_titles", SPEED_ROWS))
    bundle = learn(train, dev, Recipe(wide=False, epochs=1).change(**NETWORKS[network]), lambda _: None)
    predictor = Predictor(bundle)
    began = time.perf_counter()
    predictor.predict(dev.texts)
    answering = len(dev.texts) / (time.perf_counter() - began)
    training = bundle.scores["epochs"][0][0]["documents_per_second"]
    return {"network": network, "trains": round(training), "answers": round(answering)}


def speeds(arguments: argparse.Namespace) -> None:
    """A row a network, one after the other."""
    print("| network | trains | answers |\n|---|---|---|")
    runs = []
    for network in arguments.networks.split(";"):
        runs.append(speed(arguments.data, network))
        print(f"| {network} | {runs[-1]['trains']:,}/s | {runs[-1]['answers']:,}/s |", flush=True)
    arguments.out.write_text(json.dumps(runs, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def labelled(side: list[Any]) -> Labelled:
    """Columns for ``learn``."""
    return Labelled([document.text for document in side], [document.label for document in side])


def wanted(arguments: argparse.Namespace, runs: list[Run]) -> Iterator[tuple[str, str, int]]:
    """The runs that are still to be made: first seeds first, no second seed where the first took too long."""
    seconds = {(run["set"], run["network"], run["seed"]): run["seconds"] for run in runs}
    first, *further = map(int, arguments.seeds.split(","))
    pairs = [(name, network) for name in arguments.sets.split(",") for network in arguments.networks.split(";")]
    missing = [(*pair, first) for pair in pairs if (*pair, first) not in seconds]
    if missing:
        yield from missing
        return
    quick = [pair for pair in pairs if seconds[*pair, first] < arguments.longest]
    yield from ((*pair, seed) for seed in further for pair in quick if (*pair, seed) not in seconds)


def run_all(arguments: argparse.Namespace, runs: list[Run]) -> None:
    """Make the missing runs; each is written down as soon as it has ended."""
    with ProcessPoolExecutor(arguments.jobs, get_context("spawn"), max_tasks_per_child=1) as pool:
        while todo := list(wanted(arguments, runs)):
            for done in as_completed([pool.submit(measure, arguments.data, *each) for each in todo]):
                runs.append(done.result())
                arguments.out.write_text(json.dumps(runs, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
                print(json.dumps(runs[-1], ensure_ascii=False), flush=True)


def table(runs: list[Run]) -> str:
    """A table a set, a row a network: means over the seeds, accuracy with its spread."""
    lines = []
    for name in dict.fromkeys(SETS):
        inside = [run for run in runs if run["set"] == name]
        if not inside:
            continue
        lines += [f"\n{name}, {inside[0]['train']:,} training documents\n"]
        embedding = ["embedding"] if "embedding_megabytes" in inside[0] else []
        heads = ["network", "accuracy", "macro-F1", "parameters", "training", "trains", "answers", *embedding, "bundle"]
        lines += ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
        for network in ALL:
            if found := [run for run in inside if run["network"] == network]:
                lines.append(row(network, found))
    return "\n".join(lines)


def row(network: str, found: list[Run]) -> str:
    """One network on one set."""
    mean = {key: statistics.mean(run[key] for run in found) for key in found[0] if key not in ("set", "network")}
    spread = f" ± {statistics.stdev(run['accuracy'] for run in found):.4f}" if len(found) > 1 else ", one seed"
    cells = [network, f"{mean['accuracy']:.4f}{spread}", f"{mean['macro_f1']:.4f}", f"{mean['parameters'] / 1e6:.2f} M"]
    cells += [f"{mean['seconds']:.0f} s", f"{mean['training_speed']:,.0f}/s", f"{mean['answering_speed']:,.0f}/s"]
    if "embedding_megabytes" in mean:
        cells.append(f"{mean['embedding_megabytes']:.2f} MB")
    return "| " + " | ".join([*cells, f"{mean['megabytes']:.0f} MB"]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--networks", default=";".join(NETWORKS), help="separated by semicolons")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--longest", type=float, default=300.0)
    parser.add_argument("--compression", action="store_true", help="embeddings in the place of networks, on titles")
    parser.add_argument("--speed", action="store_true", help="titles a second, nothing else")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if arguments.compression:
        arguments.sets, arguments.networks = "thucnews_titles", ";".join(COMPRESSED)
    kind = "speed" if arguments.speed else "compression" if arguments.compression else "networks"
    arguments.out = arguments.out or RESULTS / f"{kind}.json"
    if arguments.speed:
        speeds(arguments)
        return
    runs = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else []
    run_all(arguments, runs)
    print(table(runs))


if __name__ == "__main__":
    main()
