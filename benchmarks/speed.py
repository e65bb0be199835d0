"""How fast titles are learned: our training step beside the loop people write and fastText, and the machine's limit.

Usage: python benchmarks/speed.py --data FOLDER [--rows 20000] [--steps 100] [--rounds 3]

All on one thread, timed by the processor time of the process, in rounds that take turns: a neighbour slows all alike.
A batch has 128 titles for everyone. *The loop people write*: a DataLoader that fetches title by title, collates and
pads, ``pack_padded_sequence``, ``nn.LSTM`` both ways, dense Adam, fp32; once over characters alone, as it is usually
written, and once over the three id streams that we read. fastText reads characters in 3-grams, for 10 epochs, by which
its time is divided.

The *share* is what the products of the network alone need (embeddings, gates and the other arithmetic of pooling not
counted), gradients included, as a share of the machine's rate of large products in bfloat16, measured in the same
rounds. Prints a table and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sets import split
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset

from fenlei import compiled, training
from fenlei.branch import build_branch
from fenlei.folds import Data
from fenlei.learn import Labelled, prepare
from fenlei.pipeline import Pipeline
from fenlei.recipe import Recipe

BATCH = 128
WARM = 5  # steps that nobody times
SIDE = 1024  # of the matrices whose product is the machine's rate
EPOCHS = 10  # of fastText


class Titles(Dataset):
    """One title an item."""

    def __init__(self, data: Data, names: list[str]) -> None:
        self.data, self.names = data, names

    def __len__(self) -> int:
        return len(self.data.train.encoded)

    def __getitem__(self, place: int) -> tuple[list[Tensor], int]:
        columns = self.data.train.encoded.columns
        bounds = [(columns[name].offsets[place], columns[name].offsets[place + 1]) for name in self.names]
        rows = [columns[name].values[a:b] for name, (a, b) in zip(self.names, bounds, strict=True)]
        return [torch.tensor(row) for row in rows], int(self.data.train.targets[place])


def collate(items: list[tuple[list[Tensor], int]]) -> tuple[list[Tensor], Tensor, Tensor]:
    """Padded ids of every stream, lengths, targets."""
    streams = [pad_sequence([rows[k] for rows, _ in items], batch_first=True) for k in range(len(items[0][0]))]
    return streams, torch.tensor([len(rows[0]) for rows, _ in items]), torch.tensor([target for _, target in items])


class Usual(nn.Module):
    """Embedding, bidirectional LSTM over packed rows, maximum and mean and attention, a linear layer."""

    def __init__(self, sizes: list[int], classes: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, 128, padding_idx=0) for size in sizes)
        self.lstm = nn.LSTM(128, 128, batch_first=True, bidirectional=True)
        self.project, self.context = nn.Linear(256, 256), nn.Linear(256, 1, bias=False)
        self.dropout, self.output = nn.Dropout(0.3), nn.Linear(768, classes)

    def forward(self, streams: list[Tensor], lengths: Tensor) -> Tensor:
        x = self.dropout(sum(table(ids) for table, ids in zip(self.tables, streams, strict=True)))
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        h = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0]
        outside = (torch.arange(h.shape[1]) >= lengths[:, None])[:, :, None]
        weights = torch.softmax(self.context(torch.tanh(self.project(h))).masked_fill(outside, -1e30), 1)
        pooled = [h.masked_fill(outside, -1e30).amax(1), h.sum(1) / lengths[:, None], (h * weights).sum(1)]
        return self.output(self.dropout(torch.cat(pooled, 1)))


def usual(data: Data, pipeline: Pipeline, names: list[str]) -> Iterator[int]:
    """The loop people write: titles a step."""
    torch.manual_seed(0)
    network = Usual([pipeline.stream_sizes()[name] for name in names], len(data.labels)).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    while True:
        for streams, lengths, targets in DataLoader(Titles(data, names), BATCH, shuffle=True, collate_fn=collate):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(streams, lengths), targets)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            loss.item()
            yield len(targets)


def ours(data: Data, pipeline: Pipeline, recipe: Recipe, loops: bool = True) -> Iterator[int]:
    """Our training step: titles a step."""
    trainer = training.Trainer(build_branch(recipe, pipeline.stream_sizes(), len(data.labels)), data.train, recipe)
    trainer.model.train()
    while True:
        for rows in training.make_batches(data.train.encoded.sizes, recipe, trainer.rng):
            there, compiled.LOADED = compiled.LOADED, loops and compiled.LOADED
            trainer.step(rows)
            compiled.LOADED = there
            yield len(rows)


def rate(steps: Iterator[int], count: int) -> float:
    """Titles a second of processor time over some steps."""
    began, titles = time.process_time(), sum(next(steps) for _ in range(count))
    return titles / (time.process_time() - began)


def products(dtype: torch.dtype) -> float:
    """GFLOP/s of large products."""
    a, b = torch.randn(SIDE, SIDE).to(dtype), torch.randn(SIDE, SIDE).to(dtype)
    times = []
    for _ in range(10):
        began = time.process_time()
        a @ b
        times.append(time.process_time() - began)
    return 2 * SIDE**3 / statistics.median(times) / 1e9


def flops(network: str, tokens: float) -> float:
    """Of the products of one title of so many tokens, forward and back, at 128 numbers a token and a state."""
    recurrent = {"bilstm": 2 * 2 * 4 * 128 * 256, "mingru": 2 * 2 * 2 * 128 * 128}[network]
    return 3 * tokens * (recurrent + 2 * 256 * 256 + 2 * 256)


def fasttext_rate(data: Data, train: Labelled) -> float:
    """Titles that fastText reads in a second of processor time, an epoch each."""
    import fasttext  # its own extra

    number = {label: place for place, label in enumerate(data.labels)}
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        for text, label in zip(train.texts, train.labels, strict=True):
            file.write(f"__label__{number[str(label)]} {' '.join(text)}\n")
        file.flush()
        began = time.process_time()
        fasttext.train_supervised(file.name, lr=0.5, dim=100, wordNgrams=3, epoch=EPOCHS, thread=1, verbose=0, seed=0)
    return len(train.texts) * EPOCHS / (time.process_time() - began)


def measure(data: Data, pipeline: Pipeline, recipe: Recipe, steps: int, rounds: int) -> dict[str, list[float]]:
    """Titles a second by name, and GFLOP/s of products, a number a round."""
    streams = list(pipeline.stream_sizes())
    loops: dict[str, Iterator[int]] = {
        **{name: ours(data, pipeline, recipe.change(model=name)) for name in ("bilstm", "mingru")},
        "bilstm, nothing compiled": ours(data, pipeline, recipe.change(model="bilstm"), loops=False),
        "usual loop, characters": usual(data, pipeline, ["ids"]),
        "usual loop, three streams": usual(data, pipeline, streams),
    }
    found: dict[str, list[float]] = {name: [] for name in (*loops, "fp32 products", "bf16 products")}
    for loop in loops.values():
        rate(loop, WARM)
    for _ in range(rounds):
        for name, loop in loops.items():
            found[name].append(rate(loop, max(WARM, steps // 5) if name.startswith("usual") else steps))
        found["fp32 products"].append(products(torch.float32))
        found["bf16 products"].append(products(torch.bfloat16))
    return found


def rows_of(found: dict[str, list[float]], tokens: float) -> list[dict[str, Any]]:
    """A row a loop, with the median of its rounds."""
    middle = {name: statistics.median(values) for name, values in found.items()}
    rows = []
    for name in (each for each in found if not each.endswith("products")):
        network = name.split(",")[0]
        share = None
        if network in ("bilstm", "mingru"):
            share = middle[name] * flops(network, tokens) / middle["bf16 products"] / 1e9
        rows.append({"loop": name, "titles_per_second": round(middle[name]), "share_of_bf16_rate": share})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=100, help="of ours in a round; the usual loop makes a fifth")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/training_speed.json"))
    arguments = parser.parse_args()
    train, dev = (
        Labelled([document.text for document in side], [document.label for document in side])
        for side in split(arguments.data, "thucnews_titles", arguments.rows)
    )
    dev = Labelled(dev.texts[:100], dev.labels[:100])
    recipe = Recipe(wide=False, batch_size=BATCH, epochs=100, branches=1, adversarial=0.0)
    _, data, pipeline, recipe = prepare(train, dev, recipe, lambda _: None)
    tokens = float(np.mean(data.train.encoded.lengths))
    with training.deterministic(recipe):
        found = measure(data, pipeline, recipe, arguments.steps, arguments.rounds)
    rows = rows_of(found, tokens)
    try:
        rows.append({"loop": "fastText, an epoch", "titles_per_second": round(fasttext_rate(data, train))})
    except ImportError:
        print("fastText is not installed: pip install 'fenlei[bench]'")
    print("| loop | titles a second | bilstm's | share of the bf16 rate |\n|---|---|---|---|")
    for row in rows:
        share = f"{row['share_of_bf16_rate']:.0%}" if row.get("share_of_bf16_rate") else ""
        ratio = row["titles_per_second"] / rows[0]["titles_per_second"]
        print(f"| {row['loop']} | {row['titles_per_second']:,} | {ratio:.2f} | {share} |")
    machine = {name: round(statistics.median(found[name]), 1) for name in ("fp32 products", "bf16 products")}
    print(f"large products: {machine['fp32 products']} GFLOP/s in fp32, {machine['bf16 products']} in bf16")
    result = {"rows": len(train.texts), "tokens": tokens, "loops": rows, "gflops": machine, "rounds": found}
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
