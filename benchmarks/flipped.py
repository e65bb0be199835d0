"""Does `fenlei check --deep` find flipped labels? A share of the labels is changed at random, then every rule ranks.

Usage: python benchmarks/flipped.py --data FOLDER [--sets thucnews_titles,trec,sst2] [--seeds 0,1,2] [--share 0.05]

Of each set the first 20,000 training documents of a seeded shuffle; the seed also draws which labels are flipped, to
what, and the folds. "AP" is the average precision of a ranking with the flipped documents as the wanted ones; where the
set has wrong labels of its own, finding them costs precision here. "listed" is what the verb would write: how many, how
many of them flipped, how many of the flipped. The rule was chosen on the sets other than thucnews_titles.
Prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
from sets import SETS
from sklearn.metrics import average_precision_score

from fenlei import corpus
from fenlei.check.near import SHINGLE, fold, groups
from fenlei.check.suspects import RULE, RULES, judge, suspects
from fenlei.text import choose

DOCUMENTS = 20_000


def flipped(documents: list[corpus.Document], share: float, seed: int) -> tuple[list[corpus.Document], np.ndarray]:
    """The documents with a share of their labels changed to another one, and which they are, ``(N,)``."""
    chance = np.random.default_rng(seed)
    documents = [documents[place] for place in chance.permutation(len(documents))[:DOCUMENTS]]
    labels = sorted({document.label for document in documents})
    wrong = np.zeros(len(documents), bool)
    wrong[chance.permutation(len(documents))[: round(share * len(documents))]] = True
    for place in np.flatnonzero(wrong):
        others = [label for label in labels if label != documents[place].label]
        documents[place] = documents[place]._replace(label=others[chance.integers(len(others))])
    return documents, wrong


def measure(documents: list[corpus.Document], wrong: np.ndarray, seed: int) -> dict[str, object]:
    """Average precision of every rule, and what would be listed."""
    began = time.perf_counter()
    texts = [document.text for document in documents]
    alike = groups([fold(text) for text in texts], SHINGLE[choose(texts)[0]])
    found = judge(documents, alike, seed=seed)
    seconds = time.perf_counter() - began
    listed = [suspect.row for suspect in suspects(found)]
    right = int(wrong[listed].sum())
    return {
        "documents": len(documents),
        "flipped": int(wrong.sum()),
        "average_precision": {
            name: float(average_precision_score(wrong, -rule(found))) for name, rule in RULES.items()
        },
        "listed": len(listed),
        "precision": right / max(1, len(listed)),
        "recall": right / max(1, int(wrong.sum())),
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--sets", default="thucnews_titles,trec,sst2,chnsenticorp")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "flipped.json")
    arguments = parser.parse_args()
    results: dict[str, object] = {"share": arguments.share, "rule": RULE, "sets": {}}
    print(f"{'set':<16} {'listed':>7} {'of them':>8} {'of all':>7} {'s':>5}  " + "  ".join(RULES))
    for name in arguments.sets.split(","):
        documents, _ = corpus.read(arguments.data / SETS[name][0])
        runs = []
        for seed in map(int, arguments.seeds.split(",")):
            runs.append({"seed": seed} | measure(*flipped(documents, arguments.share, seed), seed))
            run = runs[-1]
            scores = "  ".join(f"{score:>{len(rule)}.4f}" for rule, score in run["average_precision"].items())
            numbers = f"{run['listed']:>7,} {run['precision']:>8.3f} {run['recall']:>7.3f} {run['seconds']:>5.0f}"
            print(f"{name:<16} {numbers}  {scores}", flush=True)
        means = {rule: statistics.mean(run["average_precision"][rule] for run in runs) for rule in RULES}
        results["sets"][name] = {"mean_average_precision": means, "runs": runs}
    arguments.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
