"""What texts without labels give: few labelled texts alone, counted with many others, and with their latent directions.

Usage: python benchmarks/unlabelled.py --data FOLDER [--sets titles@200,trec] [--seeds 0,1,2] [--models linear,default]

Each seed draws its own labelled texts; the other training texts, at most ``--unlabelled`` of them, lose their labels.
No held-out text is known in training: networks and linear model are cross-fitted, as ``fenlei train`` does with few
texts, and scored on the set's dev texts afterwards. A run that stands in the results already is not repeated. Prints a
table and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from sets import split

from fenlei import corpus, latent
from fenlei.learn import Labelled, learn
from fenlei.recipe import Recipe
from fenlei.runtime import Predictor

SETS = {  # name -> set, labelled texts
    "titles@200": ("thucnews_titles", 200),
    "titles@1000": ("thucnews_titles", 1000),
    "titles@5000": ("thucnews_titles", 5000),
    "trec": ("trec", 981),  # a fifth
    "sst2": ("sst2", 1384),  # a fifth
}
WAYS = {  # what is done with the others -> the strengths that are tried
    "labels alone": None,
    "counted": (0.0,),
    "counted+latent": latent.STRENGTHS,
}
MODELS: dict[str, dict[str, Any]] = {"linear": {"model": None}, "default": {}}
Run = dict[str, Any]


def drawn(train: list[corpus.Document], rows: int, others: int, seed: int) -> tuple[Labelled, list[str]]:
    """Labelled texts, and texts without labels."""
    order = np.random.default_rng(seed).permutation(len(train))
    chosen, rest = [train[place] for place in order[:rows]], [train[place].text for place in order[rows:][:others]]
    return Labelled([document.text for document in chosen], [document.label for document in chosen]), rest


def run(train: Labelled, rest: list[str], dev: Labelled, way: str, settings: dict[str, Any]) -> Run:
    """One training, and its accuracy on texts that it knows nothing of."""
    recipe, strengths = Recipe().change(**settings), WAYS[way]
    others = None if strengths is None else corpus.draw(rest, train.texts, [dev.texts], seed=recipe.seed)
    latent.STRENGTHS = strengths or latent.STRENGTHS
    began, cpu = time.perf_counter(), sum(os.times()[:4])  # of the processes that train beside this one too
    bundle = learn(train, None, recipe, lambda _: None, unlabelled=others)
    seconds, cpu = time.perf_counter() - began, sum(os.times()[:4]) - cpu
    found = Predictor(bundle).predict(dev.texts)
    accuracy = float(np.mean([one == other for one, other in zip(found, dev.labels, strict=True)]))
    size = sum(map(len, bundle.files().values())) / 1e6
    used = 0 if others is None else len(others.texts)
    return {"accuracy": accuracy, "unlabelled": used, "seconds": seconds, "cpu_seconds": cpu, "megabytes": size}


def line_of(name: str, model: str, results: list[Run]) -> str:
    """One row of the table."""
    cells = [name, model]
    for way in WAYS:
        runs = [each for each in results if (each["set"], each["model"], each["way"]) == (name, model, way)]
        if not runs:
            cells += ["", ""]
            continue
        values = [each["accuracy"] for each in runs]
        spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
        cpu = statistics.mean(each["cpu_seconds"] for each in runs)
        cells += [f"{statistics.mean(values):.4f}{spread}", f"{cpu:.0f} s"]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--ways", default="labels alone,counted,counted+latent")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--unlabelled", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/unlabelled.json"))
    arguments = parser.parse_args()
    results: list[Run] = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else []
    names, models = arguments.sets.split(","), arguments.models.split(",")
    print("| set | model | " + " | ".join(f"{way} | cpu" for way in WAYS) + " |")
    print("|" + "---|" * (2 + 2 * len(WAYS)))
    for name in names:
        own, rows = SETS[name]
        known, held = split(arguments.data, own, None)
        dev = Labelled([document.text for document in held], [document.label for document in held])
        for model in models:
            for seed in map(int, arguments.seeds.split(",")):
                train, rest = drawn(known, rows, arguments.unlabelled, seed)
                for way in arguments.ways.split(","):
                    about = {"set": name, "model": model, "way": way, "seed": seed}
                    if any(about.items() <= each.items() for each in results):
                        continue
                    found = run(train, rest, dev, way, MODELS[model] | {"seed": seed})
                    results.append(about | {"labelled": len(train.texts), "dev": len(dev.texts)} | found)
                    arguments.out.parent.mkdir(parents=True, exist_ok=True)
                    arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
            print(line_of(name, model, results), flush=True)


if __name__ == "__main__":
    main()
