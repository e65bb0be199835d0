"""Size against accuracy: bundles made small, each chosen on one half of dev and measured on the other.

Usage: python benchmarks/sizes.py --data FOLDER [--sets thucnews_titles,sst2] [--limits 2MB,300KB] [--keep FOLDER]

The default recipe is trained once a set (kept in ``--keep`` and taken from there). Each half of dev chooses for the
other, so that every dev text is answered by a bundle that it had no part in choosing; ``full`` is the whole bundle on
the same texts. ``seconds`` is processor time of one choice. Prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from sets import split

from fenlei.bundle import Bundle
from fenlei.cli.arguments import size
from fenlei.learn import Labelled, learn
from fenlei.recipe import Recipe
from fenlei.runtime import Predictor
from fenlei.shrink import in_int8, shrink
from fenlei.shrink.search import total

RESULTS = Path("benchmarks/results")
Run = dict[str, Any]


def trained(data: Path, name: str, keep: Path, dev: Labelled) -> Bundle:
    """The full bundle of a set."""
    folder = keep / name
    if not folder.exists():
        train = labelled(split(data, name, None)[0])
        learn(train, dev, Recipe(), lambda _: None).save(folder)
    return Bundle.load(folder)


def labelled(documents: list[Any]) -> Labelled:
    return Labelled([document.text for document in documents], [document.label for document in documents])


def accuracy(bundle: Bundle, side: Labelled) -> float:
    answers = Predictor(bundle).predict(side.texts)
    return statistics.mean(answer == label for answer, label in zip(answers, side.labels, strict=True))


def measure(name: str, bundle: Bundle, dev: Labelled, most: int) -> Run:
    """Both halves, each chosen by the other."""
    halves = [Labelled(dev.texts[start::2], dev.labels[start::2]) for start in (0, 1)]
    small, full, sizes, seconds, networks = [], [], [], [], []
    for chooser, judge in (halves, halves[::-1]):
        began = time.process_time()
        made = shrink(bundle, chooser.texts, chooser.sets, most)
        seconds.append(time.process_time() - began)
        small.append(accuracy(made.bundle, judge))
        full.append(accuracy(bundle, judge))
        sizes.append(total(made.bundle))
        networks += [
            f"{each.network}; {each.ngrams:,} n-grams, {each.weights}" for each in made.candidates if each.chosen
        ]
    return {
        "set": name,
        "limit": most,
        "full_bytes": total(bundle),
        "bytes": max(sizes),
        "full": round(statistics.mean(full), 5),
        "accuracy": round(statistics.mean(small), 5),
        "points": round(100 * (statistics.mean(small) - statistics.mean(full)), 2),
        "seconds": round(statistics.mean(seconds), 1),
        "chosen": networks,
        "n": len(dev.texts),
    }


def rounded(name: str, bundle: Bundle, dev: Labelled) -> Run:
    """The network in 8 bits against itself in float32, in turns on one thread."""
    made = in_int8(bundle, dev.texts, dev.sets)
    facts = {"difference": made.difference, "agreement": made.agreement, "speed": made.speed}
    return {"set": name, "int8": True} | facts | {"full": accuracy(bundle, dev), "accuracy": accuracy(made.bundle, dev)}


def table(runs: list[Run]) -> str:
    lines = [
        "| set | full bundle | accuracy | limit | bundle | accuracy | points | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {run['set']} | {run['full_bytes'] / 1e6:.1f} MB | {run['full']:.4f} | {run['limit'] / 1e3:,.0f} kB "
        f"| {run['bytes'] / 1e3:,.0f} kB | {run['accuracy']:.4f} | {run['points']:+.2f} | {run['seconds']:.0f} |"
        for run in runs
        if "limit" in run
    ]
    lines += ["", "| set | accuracy | in 8 bits | largest difference | labels that stay | speed |", "|---" * 6 + "|"]
    lines += [
        f"| {run['set']} | {run['full']:.4f} | {run['accuracy']:.4f} | {run['difference']:.3f} "
        f"| {run['agreement']:.2%} | {run['speed']:.2f} |"
        for run in runs
        if "int8" in run
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", default="trec,sst2,thucnews_titles")
    parser.add_argument("--limits", default="2MB,300KB")
    parser.add_argument("--keep", type=Path, default=Path("build/sizes"))
    parser.add_argument("--out", type=Path, default=RESULTS / "sizes.json")
    arguments = parser.parse_args()
    runs: list[Run] = []
    for name in arguments.sets.split(","):
        dev = labelled(split(arguments.data, name, None)[1])
        bundle = trained(arguments.data, name, arguments.keep, dev)
        for limit in map(size, arguments.limits.split(",")):
            runs.append(measure(name, bundle, dev, limit))
            arguments.out.write_text(json.dumps(runs, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            print(json.dumps(runs[-1], ensure_ascii=False), flush=True)
        try:
            runs.append(rounded(name, bundle, dev))
        except ValueError as error:  # dev says that linear model or network answer otherwise in 8 bits
            print(error)
        arguments.out.write_text(json.dumps(runs, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(table(runs))


if __name__ == "__main__":
    main()
