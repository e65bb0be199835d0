"""Held-out accuracy of fenlei's presets beside fastText and TF-IDF + linear SVM, on the same splits, in one run.

Usage: python benchmarks/accuracy.py --data FOLDER [--sets trec,sst2] [--presets default] [--seeds 0,1,2]

Every set is split once: its own dev file where it has one, else a seeded tenth of train. Each peer may choose its
setting by the accuracy on that same dev split, so its figure is an upper bound of what it would reach unseen. Prints a
table and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import fasttext
import numpy as np
from sets import SETS, split
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from fenlei import corpus
from fenlei.learn import Labelled, learn
from fenlei.recipe import PRESETS, Recipe
from fenlei.text import Tokenizer, choose

FASTTEXT = (("word", 2, 5), ("word", 2, 25), ("char", 3, 10))  # tokens, longest n-gram, epochs
SVM = (("char", (1, 3)), ("word", (1, 2)))
COSTS = (0.1, 0.3, 1.0, 3.0)


def words_of(documents: list[corpus.Document], unit: str) -> list[str]:
    """Texts as fastText and scikit-learn want them: tokens between spaces."""
    if unit == "word":
        unspaced = choose([document.text for document in documents])[0] == "chars"
        tokenizer = Tokenizer("jieba" if unspaced else "words")
    else:
        tokenizer = Tokenizer("chars")
    return [" ".join(tokenizer(document.text)) for document in documents]


def run_fasttext(train: list[corpus.Document], dev: list[corpus.Document]) -> dict[str, object]:
    """The best of three settings on dev; seconds are those of the best setting alone."""
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
    return max(runs, key=lambda run: float(str(run["accuracy"])))


def run_svm(train: list[corpus.Document], dev: list[corpus.Document]) -> dict[str, object]:
    """The best of two kinds of n-grams and four costs on dev."""
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
    return max(runs, key=lambda run: float(str(run["accuracy"])))


def run_fenlei(
    train: list[corpus.Document], dev: list[corpus.Document], preset: str, seed: int, settings: dict[str, object]
) -> dict[str, object]:
    """One training as ``fenlei train`` does it, scored on dev by the runtime."""
    sides = [Labelled([d.text for d in side], [d.label for d in side]) for side in (train, dev)]
    recipe = Recipe(seed=seed).change(**(dict(PRESETS[preset]) | settings))
    began = time.perf_counter()
    bundle = learn(*sides, recipe, lambda _: None)
    seconds = time.perf_counter() - began
    scores, linear = bundle.scores["dev"], bundle.scores["linear"]
    return {
        "seed": seed,
        "accuracy": scores["accuracy"],
        "macro_f1": scores["macro_f1"],
        "linear": linear and linear["accuracy"],
        "seconds": seconds,
        "megabytes": sum(map(len, bundle.files().values())) / 1e6,
    }


def line_of(name: str, result: dict[str, object], presets: list[str]) -> str:
    """One row of the table."""
    svm, fast = result["svm"]["accuracy"], result["fasttext"]["accuracy"]
    cells = [f"{name:16}", f"{result['train']:>7,}", f"{svm:.4f}", f"{fast:.4f}"]
    for preset in presets:
        runs = result[preset]
        values = [run["accuracy"] for run in runs]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        mean = statistics.mean(values)
        seconds = statistics.mean(run["seconds"] for run in runs)
        cells += [f"{mean:.4f} ± {spread:.4f}", f"{100 * (mean - max(svm, fast)):+.2f}", f"{seconds:.0f} s"]
        cells += [f"{statistics.mean(run['megabytes'] for run in runs):.0f} MB"]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--presets", default="default")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--train-rows", type=int, help="only so many training documents: the learning curve")
    parser.add_argument("--set", action="append", default=[], help="NAME=JSON, a setting of the recipe")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/accuracy.json"))
    arguments = parser.parse_args()
    presets = arguments.presets.split(",")
    settings = {name: json.loads(value) for name, _, value in (each.partition("=") for each in arguments.set)}
    results: dict[str, dict[str, object]] = {}
    heads = [cell for preset in presets for cell in (preset, "lead", "time", "size")]
    print("| " + " | ".join(["set", "train", "SVM", "fastText", *heads]) + " |")
    print("|" + "---|" * (4 + len(heads)))
    for name in arguments.sets.split(","):
        train, dev = split(arguments.data, name, arguments.train_rows)
        results[name] = {"train": len(train), "dev": len(dev)}
        results[name] |= {"svm": run_svm(train, dev), "fasttext": run_fasttext(train, dev)}
        for preset in presets:
            seeds = [int(seed) for seed in arguments.seeds.split(",")]
            results[name][preset] = [run_fenlei(train, dev, preset, seed, settings) for seed in seeds]
        print(line_of(name, results[name], presets), flush=True)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
