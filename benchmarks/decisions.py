"""Whether probabilities mean what they say, and what "unknown" catches: every set trained once, figures on dev.

Usage: python benchmarks/decisions.py --data FOLDER [--sets trec,sst2] [--seed 0] [--set NAME=JSON]

Prints and writes a row a set: accuracy; expected calibration error before and after calibration, after it also with dev
halved (fitted on one half, measured on the other, both ways); accuracy of the surest 90 % and 50 %. For ``clinc150``
the out-of-scope questions that "unknown" catches; for ``go_emotions`` F1 beside one-vs-rest TF-IDF + linear SVM.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from sets import SETS, split
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.svm import LinearSVC

from fenlei import corpus
from fenlei.blending import shift
from fenlei.decisions import Rule, measure
from fenlei.evaluation import calibration
from fenlei.learn import Labelled, learn
from fenlei.recipe import Recipe
from fenlei.runtime import Predictor

COSTS = (0.1, 0.3, 1.0, 3.0)
ROWS = {"imdb": 2500}


def surest(probabilities: np.ndarray, right: np.ndarray, share: float) -> float:
    """Accuracy of the surest share."""
    order = np.argsort(-probabilities.max(1), kind="stable")[: round(share * len(right))]
    return float(right[order].mean())


def halved(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """The calibration error where the last calibration is fitted on the other half of dev, mean of both ways."""
    logits = np.log(np.clip(probabilities.astype(np.float64), 1e-12, 1))
    halves = np.random.default_rng(0).permutation(len(truth)) % 2
    errors = []
    for half in (0, 1):
        fitted = shift(logits[halves != half], truth[halves != half])
        moved = fitted.factor * logits[halves == half] + fitted.offset
        found = np.exp(moved - moved.max(1, keepdims=True))
        found /= found.sum(1, keepdims=True)
        errors.append(calibration(found.max(1), found.argmax(1) == truth[halves == half])["ece"])
    return float(np.mean(errors))


def one_label(data: Path, name: str, recipe: Recipe) -> dict[str, Any]:
    """A row of the table."""
    train, dev = split(data, name, ROWS.get(name))
    sides = [Labelled([d.text for d in side], [d.label for d in side]) for side in (train, dev)]
    bundle = learn(*sides, recipe, lambda _: None)
    predictor = Predictor(bundle)
    known = [place for place, document in enumerate(dev) if document.label in bundle.labels]
    probabilities = predictor.predict_proba([dev[place].text for place in known])
    truth = np.array([bundle.labels.index(dev[place].label) for place in known])
    right = probabilities.argmax(1) == truth
    row: dict[str, Any] = {
        "set": name,
        "dev": len(known),
        "accuracy": float(right.mean()),
        "ece_before": bundle.scores["uncalibrated_ece"],
        "ece": bundle.scores["dev"]["calibration"]["ece"],
        "ece_halved": halved(probabilities, truth),
        "surest_90": surest(probabilities, right, 0.9),
        "surest_50": surest(probabilities, right, 0.5),
        "offset": bool(bundle.weights["offset"].any()),
    }
    if name == "clinc150":
        row |= out_of_scope(data, predictor, probabilities)
    return row


def out_of_scope(data: Path, predictor: Predictor, inside: np.ndarray) -> dict[str, float]:
    """How well the probability of the likeliest label tells questions of no class from the others."""
    strangers = [document.text for document in corpus.read(data / "clinc150" / "oos_dev.tsv")[0]]
    strangers += [document.text for document in corpus.read(data / "clinc150" / "oos_train.tsv")[0]]
    outside = predictor.predict_proba(strangers)
    known = np.concatenate([np.ones(len(inside)), np.zeros(len(outside))])
    answers = predictor.decide(outside, Rule(coverage=0.95))
    return {
        "oos": len(outside),
        "oos_auroc": float(roc_auc_score(known, np.concatenate([inside.max(1), outside.max(1)]))),
        "oos_caught_at_95": float(np.mean([answer.unknown for answer in answers])),
    }


def several_labels(data: Path, recipe: Recipe) -> dict[str, Any]:
    """go_emotions: F1 beside the linear machine, each at its best; dev halved so that no threshold sees its judges."""
    train, dev = (corpus.read(data / "go_emotions" / f"{side}.tsv")[0] for side in ("train", "dev"))
    sides = [Labelled([d.text for d in side], [d.labels for d in side]) for side in (train, dev)]
    bundle = learn(*sides, recipe, lambda _: None)
    binarizer = MultiLabelBinarizer(classes=bundle.labels)
    y, truth = (binarizer.fit_transform([d.labels for d in side]) for side in (train, dev))
    probabilities = Predictor(bundle).predict_proba(sides[1].texts)
    row: dict[str, Any] = {"set": "go_emotions", "dev": len(dev)}
    row |= {key: bundle.scores["dev"][key] for key in ("micro_f1", "macro_f1", "accuracy")}
    row |= {"ece_before": bundle.scores["uncalibrated_ece"], "ece": bundle.scores["dev"]["calibration"]["ece"]}
    row |= {f"{key}_halved": value for key, value in f1_halved(probabilities, truth, bundle.labels).items()}
    for unit, span in (("char", (1, 3)), ("word", (1, 2))):
        vectorizer = TfidfVectorizer(analyzer=unit, ngram_range=span, sublinear_tf=True)
        x, dev_x = vectorizer.fit_transform(sides[0].texts), vectorizer.transform(sides[1].texts)
        for cost in COSTS:
            machine = OneVsRestClassifier(LinearSVC(C=cost, random_state=0)).fit(x, y)
            for average in ("micro", "macro"):
                plain = f1_score(truth, machine.predict(dev_x), average=average, zero_division=0)
                row[f"svm_{average}_f1"] = max(row.get(f"svm_{average}_f1", 0.0), float(plain))
            tuned = f1_halved(machine.decision_function(dev_x), truth, bundle.labels)
            for key, value in tuned.items():
                row[f"svm_{key}_halved"] = max(row.get(f"svm_{key}_halved", 0.0), value)
    return row


def f1_halved(scores: np.ndarray, truth: np.ndarray, labels: list[str]) -> dict[str, float]:
    """F1 with thresholds from the other half of dev, both ways."""
    halves = np.random.default_rng(0).permutation(len(truth)) % 2
    named = np.zeros_like(truth)
    for half in (0, 1):
        found = measure(scores[halves != half], truth[halves != half], labels).thresholds
        named[halves == half] = scores[halves == half] >= np.array([found[label] for label in labels])
    return {f"{kind}_f1": float(f1_score(truth, named, average=kind, zero_division=0)) for kind in ("micro", "macro")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", default=",".join([*SETS, "go_emotions"]))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], help="NAME=JSON, a setting of the recipe")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/decisions.json"))
    arguments = parser.parse_args()
    settings = {name: json.loads(value) for name, _, value in (each.partition("=") for each in arguments.set)}
    recipe = Recipe(seed=arguments.seed).change(**settings)
    rows = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else []
    for name in arguments.sets.split(","):
        row = (
            several_labels(arguments.data, recipe) if name == "go_emotions" else one_label(arguments.data, name, recipe)
        )
        rows = [each for each in rows if each["set"] != name] + [row]
        shown = (f"{key} {value:.4f}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items())
        print(", ".join(shown), flush=True)
        arguments.out.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
