"""Held-out accuracy of fenlei's presets beside fastText and TF-IDF + linear SVM, on the same splits.

Usage: python benchmarks/accuracy.py --data FOLDER [--sets trec,titles@1000] [--presets default,best] [--seeds 0,1,2]

Every set is split once: its own dev file where it has one, else a seeded tenth of train; ``NAME@ROWS`` trains on so
many documents only. Of ``NAME_crossed`` nothing is held out: fenlei judges each document by what did not learn from
it, as it does by itself with few texts, and the peers learn five times from four fifths. Each peer may choose its
setting by the accuracy on that same dev split, so its figure is an upper bound of what it would reach unseen. With
``--ablation`` the default recipe with one thing changed at a time. A run that stands in the results already is not
repeated, so that the benchmark can be broken off and goes on where it was; a further seed is run only where the first
took under ``--longest`` seconds. Prints a table, its times those of the processor (several jobs share a machine), and
writes JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
from sets import SETS, split
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from fenlei import corpus
from fenlei.folds import fold_numbers
from fenlei.learn import Labelled, learn
from fenlei.recipe import PRESETS, Recipe
from fenlei.text import Tokenizer, choose

FASTTEXT = (("word", 2, 5), ("word", 2, 25), ("char", 3, 10))  # tokens, longest n-gram, epochs
SVM = (("char", (1, 3)), ("word", (1, 2)))
COSTS = (0.1, 0.3, 1.0, 3.0)
ABLATION: dict[str, dict[str, object]] = {
    "default": {},
    "linear model alone": {"model": None},
    "network alone": {"wide": False},
    "three networks": {"branches": 3},
    "ids only": {"streams": []},
    "no token dropout": {"token_dropout": 0.0},
    "no embedding dropout": {"embedding_dropout": 0.0},
    "no label smoothing": {"label_smoothing": 0.0},
    "every class counts alike": {"class_weight": "balanced"},
    "batches learned once": {"adversarial": 0.0},
    "hidden tokens first, 5 epochs": {"pretrain_epochs": 5},
    "mean of the weights": {"schedule": "averaged"},
    "maximum over steps alone": {"options": {"pooling": ["max"]}},
    "mean over steps alone": {"options": {"pooling": ["mean"]}},
    "attention alone": {"options": {"pooling": ["attention"]}},
    "last steps alone": {"options": {"pooling": ["last"]}},
    "mingru": {"model": "mingru"},
    "rcnn": {"model": "rcnn"},
    "textcnn": {"model": "textcnn"},
}
Run = dict[str, Any]
Peer = Callable[[list[corpus.Document], list[corpus.Document]], list[Run]]
FOLDS = 5


def words_of(documents: list[corpus.Document], unit: str) -> list[str]:
    """Texts as fastText and scikit-learn want them: tokens between spaces."""
    if unit == "word":
        unspaced = choose([document.text for document in documents])[0] == "chars"
        tokenizer = Tokenizer("jieba" if unspaced else "words")
    else:
        tokenizer = Tokenizer("chars")
    return [" ".join(tokenizer(document.text)) for document in documents]


def run_fasttext(train: list[corpus.Document], dev: list[corpus.Document]) -> list[Run]:
    """Three settings, judged by dev; seconds are those of one setting alone."""
    runs = []
    numbers = {label: str(place) for place, label in enumerate(sorted({document.label for document in train}))}
    for unit, ngrams, epochs in FASTTEXT:
        lines, dev_lines = words_of(train, unit), words_of(dev, unit)
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
            for document, line in zip(train, lines, strict=True):
                file.write(f"__label__{numbers[document.label]} {line}\n")
            file.flush()
            began = time.perf_counter()
            model = fasttext.train_supervised(
                file.name, lr=0.5, dim=100, wordNgrams=ngrams, epoch=epochs, thread=2, verbose=0, seed=0
            )
        seconds = time.perf_counter() - began
        found = [labels[0].removeprefix("__label__") for labels in model.predict(dev_lines)[0]]
        accuracy = np.mean([guess == numbers.get(each.label) for guess, each in zip(found, dev, strict=True)])
        runs.append(
            {"accuracy": float(accuracy), "setting": f"{unit} {ngrams}-grams, {epochs} epochs", "seconds": seconds}
        )
    return runs


def run_svm(train: list[corpus.Document], dev: list[corpus.Document]) -> list[Run]:
    """Two kinds of n-grams and four costs, judged by dev."""
    runs = []
    labels, dev_labels = [d.label for d in train], [d.label for d in dev]
    for unit, span in SVM:
        texts = [d.text for d in train] if unit == "char" else words_of(train, "word")
        dev_texts = [d.text for d in dev] if unit == "char" else words_of(dev, "word")
        began = time.perf_counter()
        pattern = {"token_pattern": None, "tokenizer": str.split} if unit == "word" else {}
        vectorizer = TfidfVectorizer(analyzer=unit, ngram_range=span, sublinear_tf=True, **pattern)
        x, dev_x = vectorizer.fit_transform(texts), vectorizer.transform(dev_texts)
        counted = time.perf_counter() - began
        for cost in COSTS:
            began = time.perf_counter()
            accuracy = LinearSVC(C=cost, random_state=0).fit(x, labels).score(dev_x, dev_labels)
            seconds = counted + time.perf_counter() - began
            runs.append({"accuracy": float(accuracy), "setting": f"{unit} {span}, C={cost}", "seconds": seconds})
    return runs


def run_peer(peer: Peer, train: list[corpus.Document], dev: list[corpus.Document]) -> Run:
    """The best of a peer's settings on dev, or where there is none, on fifths of train, each judged by the others."""
    if dev:
        return max(peer(train, dev), key=lambda run: float(run["accuracy"]))
    numbers = fold_numbers([each.text for each in train], [(each.label,) for each in train], FOLDS, 0)
    folds = []
    for fold in range(FOLDS):
        sides = [[each for each, own in zip(train, numbers == fold, strict=True) if own == held] for held in (0, 1)]
        folds.append(peer(*sides))
    shares = np.bincount(numbers) / len(numbers)
    means = [
        runs[0] | {key: float(shares @ [run[key] for run in runs]) for key in ("accuracy", "seconds")}
        for runs in zip(*folds, strict=True)
    ]
    return max(means, key=lambda run: float(run["accuracy"]))


def run_fenlei(
    train: list[corpus.Document], dev: list[corpus.Document], preset: str, seed: int, settings: dict[str, object]
) -> Run:
    """One training as ``fenlei train`` does it, scored on dev by the runtime."""
    sides = [Labelled([d.text for d in side], [d.label for d in side]) if side else None for side in (train, dev)]
    assert sides[0] is not None
    recipe = Recipe(seed=seed).change(**(dict(PRESETS[preset]) | settings))
    began, used = time.perf_counter(), sum(os.times()[:4])  # of the processes that train beside this one too
    bundle = learn(sides[0], sides[1], recipe, lambda _: None)
    seconds, processor = time.perf_counter() - began, sum(os.times()[:4]) - used
    scores, linear = bundle.scores["dev"], bundle.scores["linear"]
    return {
        "accuracy": scores["accuracy"],
        "macro_f1": scores["macro_f1"],
        "linear": linear and linear["accuracy"],
        "seconds": seconds,
        "processor": processor,
        "megabytes": sum(map(len, bundle.files().values())) / 1e6,
    }


def line_of(name: str, results: list[Run], presets: list[str]) -> str:
    """One row of the table."""
    rows = [run for run in results if run["set"] == name]
    peers = {run["run"]: run["accuracy"] for run in rows if run["run"] in PEERS}
    cells = [name, f"{rows[0]['train']:,}", *(f"{peers[peer]:.4f}" if peer in peers else "" for peer in PEERS)]
    for preset in presets:
        runs = [run for run in rows if run["run"] == preset]
        if not runs:
            cells += [""] * 4
            continue
        values = [run["accuracy"] for run in runs]
        spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
        mean = statistics.mean(run["accuracy"] for run in runs)
        seconds = statistics.mean(run.get("processor", run["seconds"]) for run in runs)
        cells += [
            f"{mean:.4f}{spread}",
            f"{100 * (mean - max(peers.values())):+.2f}" if peers else "",
            f"{seconds:.0f} s",
        ]
        cells += [f"{statistics.mean(run['megabytes'] for run in runs if 'megabytes' in run):.0f} MB"]
    return "| " + " | ".join(cells) + " |"


PEERS: dict[str, Peer] = {
    "svm": run_svm,
    "fasttext": run_fasttext,
}


def wanted(
    name: str, presets: list[str], seeds: list[int], longest: float, results: list[Run]
) -> Iterator[tuple[str, int]]:
    """What is still to be run on one set: peers once, every preset with each seed."""
    for run in [*PEERS, *presets]:
        for seed in seeds[:1] if run in PEERS else seeds:
            done = {each["seed"]: each["seconds"] for each in results if (each["set"], each["run"]) == (name, run)}
            if seed not in done and all(seconds <= longest for seconds in done.values()):
                yield run, seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--presets", default="default")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--longest", type=float, default=300.0)
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--set", action="append", default=[], help="NAME=JSON, a setting of the recipe")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    settings = {name: json.loads(value) for name, _, value in (each.partition("=") for each in arguments.set)}
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    presets = list(ABLATION) if arguments.ablation else arguments.presets.split(",")
    out = arguments.out or Path(f"benchmarks/results/{'ablation' if arguments.ablation else 'accuracy'}.json")
    results: list[Run] = json.loads(out.read_text(encoding="utf-8")) if out.exists() else []
    heads = [cell for preset in presets for cell in (preset, "lead", "time", "size")]
    print("| " + " | ".join(["set", "train", *PEERS, *heads]) + " |")
    print("|" + "---|" * (4 + len(heads)))
    for name in arguments.sets.split(","):
        own, _, rows = name.partition("@")
        train, dev = split(arguments.data, own, int(rows) if rows else None)
        for run, seed in wanted(name, presets, seeds, arguments.longest, results):
            if run in PEERS:
                found = run_peer(PEERS[run], train, dev)
            elif arguments.ablation:
                found = run_fenlei(train, dev, "default", seed, settings | ABLATION[run])
            else:
                found = run_fenlei(train, dev, run, seed, settings)
            results.append(
                {"set": name, "run": run, "seed": seed, "train": len(train), "dev": len(dev or train)} | found
            )
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(line_of(name, results, presets), flush=True)


if __name__ == "__main__":
    main()
