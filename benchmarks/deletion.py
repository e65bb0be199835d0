"""Are the words that ``explain`` names the words that matter? They are left out of held-out texts, and as many others.

Usage: python benchmarks/deletion.py --data FOLDER [--sets trec,zh_topics] [--texts 300] [--preset default]

For each share of a text's words: how often the label stays when the words that spoke for it most are left out, and how
often when as many random words are (the deletion test of Samek et al. 2017). Prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from sets import split

from fenlei.explain import Explanation, explain
from fenlei.learn import Labelled, learn
from fenlei.recipe import preset
from fenlei.runtime import Predictor

SHARES = (0.1, 0.2, 0.4)
FEWEST_WORDS = 5


def without(explanation: Explanation, places: list[int]) -> str:
    """The text with some of its pieces left out."""
    left_out = set(places)
    return "".join(" " if n in left_out else piece.text for n, piece in enumerate(explanation.pieces))


def measure(predictor: Predictor, texts: list[str]) -> list[dict[str, float]]:
    """A row a share."""
    rng = np.random.default_rng(0)
    explained = [explain(predictor, text) for text in texts]
    labels = [each.label for each in explained]
    rows = []
    for share in SHARES:
        named, random = [], []
        for each in explained:
            words = [n for n, piece in enumerate(each.pieces) if piece.text.strip()]
            count = max(1, round(share * len(words)))
            named.append(without(each, sorted(words, key=lambda n: -each.pieces[n].weight)[:count]))
            random.append(without(each, rng.permutation(words)[:count].tolist()))
        stays = [
            np.mean([a == b for a, b in zip(predictor.predict(side), labels, strict=True)]) for side in (named, random)
        ]
        rows.append({"share": share, "named": float(stays[0]), "random": float(stays[1])})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", default="trec,zh_topics")
    parser.add_argument("--texts", type=int, default=300)
    parser.add_argument("--preset", default="default")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/deletion.json"))
    arguments = parser.parse_args()
    results = {}
    print("| set | words left out | label stays: those that speak for it | random ones |\n|---|---|---|---|")
    for name in arguments.sets.split(","):
        train, dev = (Labelled([d.text for d in s], [d.label for d in s]) for s in split(arguments.data, name, None))
        predictor = Predictor(learn(train, dev, preset(arguments.preset), lambda _: None))
        texts = [text for text in dev.texts if len(text.split()) >= FEWEST_WORDS or len(text) >= 2 * FEWEST_WORDS]
        results[name] = measure(predictor, texts[: arguments.texts])
        for row in results[name]:
            print(f"| {name} | {row['share']:.0%} | {row['named']:.3f} | {row['random']:.3f} |", flush=True)
    arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
