"""The pictures of docs/networks.md: every network, small, trained on the demonstration's reviews and watched at work.

Usage: python benchmarks/pictures.py [--out docs/pictures] [--reviews 6000]

Each network reads the same review; what it computed is drawn by ``fenlei.trace``. Takes a few minutes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from fenlei import corpus, demo
from fenlei.bundle import Bundle
from fenlei.learn import Labelled, learn
from fenlei.recipe import Recipe
from fenlei.trace import Trace, compared, sections, svg, trace

TEXT = "房间很干净。可是隔音太差了！晚上根本睡不着，下次不会再来。"
LONG = (
    "去年国庆节我们一家三口在这里住了两个晚上。前台办理入住的时候很慢，排了半个小时的队才拿到房卡。房间在六楼，"
    "窗户外面就是马路，整个晚上都能听到汽车的声音。空调不制冷，打电话叫人来修，等到十一点也没有人来。"
)
SMALL = {"hidden_size": 8}
NETWORKS: dict[str, dict[str, Any]] = {
    "rnn": SMALL,
    "lstm": SMALL,
    "lstm2": SMALL,
    "gru": SMALL,
    "stacked": {**SMALL, "layers": 2},
    "bilstm": SMALL,
    "mingru": SMALL,
    "textcnn": {"filters": 32},
    "rcnn": {**SMALL, "filters": 32, "dense": 16},
    "han": SMALL,
}
RECIPE = Recipe(
    tokenizer="jieba",
    streams=(),
    wide=False,
    embedding_size=32,
    epochs=6,
    batch_size=32,
    learning_rate=3e-3,
    table_rate=5e-3,
)


def train(network: str, train: Labelled, dev: Labelled) -> Bundle:
    """One small network."""
    recipe = RECIPE.change(model=network, options=NETWORKS[network])
    return learn(train, dev, recipe, lambda _: None)


def heading(name: str, found: Trace) -> list[str]:
    """What the network is and what it answers."""
    return [f"{name}: {found.label} {found.probability:.3f}", TEXT]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--reviews", type=int, default=6000)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    documents = corpus.deduplicate(demo.reviews()[0], corpus.Ledger())
    chosen = [documents[place] for place in np.random.default_rng(0).permutation(len(documents))[: arguments.reviews]]
    sides = [Labelled([d.text for d in side], [d.label for d in side]) for side in corpus.split_dev(chosen, 0.1, 0)]
    bundles = {}
    for name in NETWORKS:
        bundle = bundles[name] = train(name, *sides)
        found = trace(bundle, TEXT)
        (arguments.out / f"{name}.svg").write_text(svg(heading(name, found), sections(found)), encoding="utf-8")
        print(f"{name}: dev accuracy {bundle.scores['dev']['accuracy']:.4f}, {found.label} {found.probability:.3f}")
    pair = [(name, trace(bundles[name], LONG, gradients=True)) for name in ("rnn", "lstm")]
    drawn = svg(["rnn and lstm: how much each step still contributes to the loss"], [compared(pair)])
    (arguments.out / "gradients.svg").write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
