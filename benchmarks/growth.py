"""How reading, counting and encoding grow with the corpus, and how soon a second run starts.

Titles are repeated with word noise: of each copy one word in ten is replaced by one of another title. Every size is
measured in a process of its own, everything in files; time is that of the processor, workers included, since the clock
also shows who else is at work. Memory is what belongs to a process alone (RssAnon), the most of this one and the most
of its workers together: pages of mapped files come and go as the machine likes. Small sizes need no workers.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fenlei import corpus
from fenlei.auto import decide
from fenlei.cache import Cache
from fenlei.corpus import reading
from fenlei.corpus.store import by_split
from fenlei.preparing import prepare
from fenlei.recipe import Recipe
from fenlei.text import Tokenizer

SIZES = (10_000, 100_000, 1_000_000)
NOISE = 0.1


def titles(source: Path) -> list[tuple[str, list[str]]]:
    """Labels and words of the set's titles, in an order of no meaning."""
    rows = [line.split("\t", 1) for line in source.read_text(encoding="utf-8").splitlines()]
    random.Random(0).shuffle(rows)
    cut = Tokenizer("jieba")
    return [(label, cut(text)) for label, text in rows[:50_000]]


def write(rows: list[tuple[str, list[str]]], count: int, path: Path) -> None:
    """So many documents: the titles again and again, each time with other noise."""
    chance = random.Random(1)
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            label, words = rows[number % len(rows)]
            noisy = [chance.choice(chance.choice(rows)[1] or [""]) if chance.random() < NOISE else w for w in words]
            file.write(f"{label}\t{''.join(noisy)}{number % 97}\n")


class Watched:
    """Processor seconds and peak memory of this process and its workers while it is open."""

    def __enter__(self) -> Watched:
        self.peak, self.workers, self.done = 0, 0, threading.Event()
        self.seconds, self.wall = spent(), time.perf_counter()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.done.set()
        self.thread.join()
        self.seconds, self.wall = spent() - self.seconds, time.perf_counter() - self.wall

    def _watch(self) -> None:
        while not self.done.wait(0.05):
            own, *workers = anonymous()
            self.peak, self.workers = max(self.peak, own), max(self.workers, sum(workers))


def spent() -> float:
    """Processor seconds of this process and of the workers that have ended."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def anonymous() -> list[int]:
    """Bytes of memory that no file stands behind, of this process and of each worker.

    A child that has not yet become another program shares its parent's memory: it is left out.
    """
    own = Path(f"/proc/{os.getpid()}")
    children = (own / f"task/{own.name}/children").read_text().split()
    command = (own / "cmdline").read_bytes()
    found = []
    for process in (own, *(own.with_name(pid) for pid in children)):
        try:
            status, its = (process / "status").read_text(), (process / "cmdline").read_bytes()
        except OSError:  # it has just ended
            continue
        if process == own or its not in (command, b""):
            held = (int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon"))
            found.append(next(held, 0))
    return found


def measured(step: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """What a step gives, and what it took."""
    with Watched() as found:
        result = step()
    return result, {"cpu": found.seconds, "wall": found.wall, "peak": found.peak, "workers": found.workers}


def one(path: Path, folder: Path) -> dict[str, Any]:
    """Reading and preparing, in files; then both again from the cache."""
    reading.LARGE = 0
    result: dict[str, Any] = {"start": anonymous()[0]}
    with Cache(folder, 2**40) as cache:
        for run in ("first", "second"):
            (documents, _), read = measured(lambda: corpus.read(path, cache=cache))
            train, dev = corpus.split_dev(by_split(documents)["train"], 1000 / len(documents))
            texts, held = (side.texts for side in (train, dev))
            recipe = decide(texts, Recipe(), lambda _: None)
            prepared, prepare_ = measured(lambda t=texts, h=held, r=recipe: prepare(t, h, r, 10, None, cache))
            result[run] = {"read": read, "prepare": prepare_}
    result["vocabulary"] = len(prepared.pipeline.vocab)
    result["ngrams"] = len(prepared.pipeline.wide or ())
    result["bytes"] = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return result


def table(found: dict[int, dict[str, Any]]) -> str:
    """A line a size."""
    lines = [
        "| documents | read, µs each | count + encode, µs each | to the first "
        "| memory | workers | n-grams | second run |",
        "|---|---|---|---|---|---|---|---|",
    ]
    base = 0.0
    for count, each in found.items():
        read, rest = (each["first"][step]["cpu"] / count * 1e6 for step in ("read", "prepare"))
        base = base or read + rest
        peak, workers = (
            max(each["first"][step][kind] for step in ("read", "prepare")) / 1e6 for kind in ("peak", "workers")
        )
        again = [sum(each["second"][step][kind] for step in ("read", "prepare")) for kind in ("cpu", "wall")]
        second = f"{again[0]:.1f} s of processor, {again[1]:.1f} s by the clock"
        ratio = (read + rest) / base
        memory = f"{peak:,.0f} MB | {workers:,.0f} MB | {each['ngrams']:,}"
        lines.append(f"| {count:,} | {read:.0f} | {rest:.0f} | {ratio:.2f} | {memory} | {second} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/growth.json"))
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fenlei-growth-") as folder:
        if arguments.one:
            print(json.dumps(one(arguments.one, Path(folder, "cache"))))
            return
        rows = titles(arguments.data / "thucnews_titles" / "train.tsv")
        found: dict[int, dict[str, Any]] = {}
        for count in map(int, arguments.sizes.split(",")):
            path = Path(folder, f"{count}.tsv")
            write(rows, count, path)
            command = [sys.executable, __file__, "--one", str(path)]
            found[count] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            path.unlink()
            print(table(found), flush=True)
            arguments.out.parent.mkdir(exist_ok=True)
            arguments.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
