"""The data sets that the benchmarks read, each split once into training and dev documents."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fenlei import corpus

SETS = {
    "thucnews_titles": ("thucnews_titles/train.tsv", "thucnews_titles/dev.tsv"),
    "chnsenticorp": ("chnsenticorp/train.tsv", "chnsenticorp/dev.tsv"),
    "clinc150": ("clinc150/train.tsv", "clinc150/dev.tsv"),
    "wisesight_th": ("wisesight_th/train.tsv", "wisesight_th/dev.tsv"),
    "sst2": ("sst2/train.tsv", "sst2/dev.tsv"),
    "trec": ("trec/train.tsv", None),
    "r52": ("r52/train.tsv", None),
    "imdb": ("imdb/train.tsv", None),
    "zh_topics": ("zh_topics_gb18030/train", None),
    "zh_long": ("zh_long_gb18030", None),
}


UNIQUE = "_unique"  # behind a set's name: without the training texts that stand in dev
CROSSED = "_crossed"  # nothing is held out, of a set that has no dev file of its own


def split(data: Path, name: str, train_rows: int | None) -> tuple[list[corpus.Document], list[corpus.Document]]:
    """Train and dev documents of one set: its own dev file, or else a seeded tenth of train.

    With ``train_rows`` only the first of a seeded shuffle are trained on.
    """
    train_file, dev_file = SETS[name.removesuffix(UNIQUE).removesuffix(CROSSED)]
    train, _ = corpus.read(data / train_file)
    dev = corpus.read(data / dev_file)[0] if dev_file else []
    if not dev and not name.endswith(CROSSED):
        train, dev = corpus.split_dev(train, 0.1, seed=0)
    if name.endswith(UNIQUE):
        known = {document.text for document in dev}
        train = [document for document in train if document.text not in known]
    if train_rows is not None:
        train = [train[place] for place in np.random.default_rng(0).permutation(len(train))[:train_rows]]
    return train, dev
