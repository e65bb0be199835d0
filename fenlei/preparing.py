"""From texts to numbers, once: the text road and both sides encoded by it, from the cache where they are there."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

import fenlei
from fenlei import linear, memory, numbering
from fenlei.cache import Cache, Draft, Entry, key, program
from fenlei.corpus.store import Strings, digests
from fenlei.counting import build_pipeline
from fenlei.models import ENCODERS
from fenlei.pipeline import Encoded, Pipeline
from fenlei.recipe import Recipe
from fenlei.vocab import Vocab

# What of the recipe decides the numbers.
ROAD = (
    *("tokenizer", "nfkc", "lower", "min_count", "max_size", "streams", "stream_min_count", "stream_max_size"),
    *("max_length", "ngram_min_count"),
)
ROOT = Path(fenlei.__file__).parent
# The program that decides them.
PROGRAM = (
    *("text.py", "vocab.py", "ngrams.py", "streams.py", "wide.py", "pipeline.py", "tallies.py", "counting.py"),
    *("codepoints.py", "numbering.py", "preparing.py", "workers.py"),
)

LARGE = 100_000_000  # characters of training texts: past this not all are for the linear model
SAMPLE = 2000  # texts looked at to tell characters from bytes
BYTES = 48  # of an n-gram of a text while the linear model is fitted: scikit-learn and liblinear copy the matrix
BESIDE = 2**30  # for torch, the network and its optimizer, and the pages of mapped files
LEAST = 1000  # texts for the linear model


class Prepared(NamedTuple):
    """The text road, both sides and texts without labels as numbers.

    ``train`` has the n-grams' columns only where the linear model is fitted on all of it; else ``sample`` are the
    places of the documents that it is fitted on, and ``sampled`` the columns of these alone.
    """

    pipeline: Pipeline
    train: Encoded
    dev: Encoded | None
    sample: npt.NDArray[np.int64] | None = None
    sampled: Encoded | None = None
    unlabelled: Encoded | None = None
    found: bool = False  # in the cache


def prepare(
    train: Sequence[str],
    dev: Sequence[str] | None,
    recipe: Recipe,
    classes: int,
    sample: npt.NDArray[np.int64] | None = None,
    cache: Cache | None = None,
    processes: int | None = None,
    unlabelled: Sequence[str] = (),
) -> Prepared:
    """Count and encode as ``recipe``, every question answered, says; with a ``cache`` only once for the same texts.

    ``sample`` are the places of the training texts that the linear model is fitted on, None for all. Where there are
    many texts and a cache, the arrays are in its files: the result is the same, its memory is not.
    """
    if cache is not None and not (cache.keeps or is_large(train)):
        cache = None
    name = name_of(train, dev, recipe, classes, sample, unlabelled) if cache is not None else ""
    if cache is not None and (entry := cache.find(name)):
        return _load(entry, sample)._replace(found=True)
    counted = None if sample is None else taken(train, sample)
    pipeline = build_pipeline(train, recipe, classes, counted, processes, unlabelled)
    if cache is not None:
        draft = cache.draft(name)
        try:
            return _file(pipeline, train, dev, sample, cache, draft, processes, unlabelled)
        except OSError:  # the disk is full
            if is_large(train):
                raise
            cache.discard(draft)
    return _in_memory(pipeline, train, dev, sample, processes, unlabelled)


def _in_memory(
    pipeline: Pipeline,
    train: Sequence[str],
    dev: Sequence[str] | None,
    sample: npt.NDArray[np.int64] | None,
    processes: int | None,
    unlabelled: Sequence[str],
) -> Prepared:
    own = pipeline if sample is None else replace(pipeline, wide=None)
    sampled = None if sample is None else numbering.encode(pipeline, taken(train, sample), processes)
    learned = numbering.encode(own, train, processes)
    held = None if dev is None else numbering.encode(pipeline, dev, processes)
    others = numbering.encode(pipeline, unlabelled, processes) if unlabelled else None
    return Prepared(pipeline, learned, held, sample, sampled, others)


def _file(
    pipeline: Pipeline,
    train: Sequence[str],
    dev: Sequence[str] | None,
    sample: npt.NDArray[np.int64] | None,
    cache: Cache,
    draft: Draft,
    processes: int | None,
    unlabelled: Sequence[str],
) -> Prepared:
    own = pipeline if sample is None else replace(pipeline, wide=None)
    numbering.file(own, train, draft, "train", processes)
    if dev is not None:
        numbering.file(pipeline, dev, draft, "dev", processes)
    if sample is not None:
        numbering.file(pipeline, taken(train, sample), draft, "sample", processes)
    if unlabelled:
        numbering.file(pipeline, unlabelled, draft, "unlabelled", processes)
    draft.notes["pipeline"] = pipeline.settings()
    draft.notes["vocab"] = pipeline.vocab.items()
    for name, table in pipeline.tables().items():
        draft.append(f"table.{name}", table)
    draft.notes["tables"] = list(pipeline.tables())
    return _load(cache.keep(draft), sample)


def _load(entry: Entry, sample: npt.NDArray[np.int64] | None) -> Prepared:
    vocab = Vocab(*zip(*entry.notes["vocab"], strict=True)) if entry.notes["vocab"] else Vocab([], [])
    tables = {name: entry.array(f"table.{name}") for name in entry.notes["tables"]}
    pipeline = Pipeline.restore(entry.notes["pipeline"], tables, vocab)
    sampled = None if sample is None else numbering.filed(entry, "sample")
    held, others = (numbering.filed(entry, side) if side in entry.notes else None for side in ("dev", "unlabelled"))
    return Prepared(pipeline, numbering.filed(entry, "train"), held, sample, sampled, others)


def name_of(
    train: Sequence[str],
    dev: Sequence[str] | None,
    recipe: Recipe,
    classes: int,
    sample: npt.NDArray[np.int64] | None,
    unlabelled: Sequence[str] = (),
) -> str:
    """The key of what ``prepare`` makes: the texts, the settings of the text road, and the program that reads them."""
    settings = {name: getattr(recipe, name) for name in ROAD}
    files = [Path(path).read_bytes() if path else b"" for path in (recipe.user_words, recipe.stop_words)]
    encoder = ENCODERS.get(recipe.network or "")
    settings["sentences"] = recipe.sentence_length if encoder is not None and encoder.reads_sentences else 0
    if recipe.wide and classes <= linear.MOST_CLASSES:
        settings["wide"] = [recipe.views, min(recipe.ngram_max_size, linear.MOST_CELLS // classes)]
    made_by = [program(*(ROOT / name for name in PROGRAM)), sys.version, np.__version__, version("rjieba")]
    chosen = b"" if sample is None else sample.tobytes()
    return key(
        "numbers",
        digests(train).tobytes(),
        b"" if dev is None else digests(dev).tobytes(),
        settings,
        *files,
        chosen,
        digests(unlabelled).tobytes() if unlabelled else b"",
        made_by,
    )


def sample_for(texts: Sequence[str], recipe: Recipe) -> npt.NDArray[np.int64] | None:
    """The places of the texts that the linear model is fitted on, in order; None for all.

    Its fit holds every n-gram of them in memory, so of many texts it gets ``linear_documents`` by lot.
    """
    count = recipe.linear_documents
    if count is None or count >= len(texts):
        return None
    chance = np.random.default_rng(recipe.seed)
    return np.sort(chance.choice(len(texts), count, replace=False))


def affordable(texts: Sequence[str], recipe: Recipe) -> int | None:
    """How many texts the linear model can be fitted on in a third of the memory left beside the network; None for all.

    Texts of up to a hundred million characters are not counted: all are taken.
    """
    size = characters(texts)
    if size <= LARGE:
        return None
    longest = sum(longest for _, longest in recipe.views or ())  # n-grams a character has at most
    room = max(memory.limit() - BESIDE, 0) / 3
    return max(LEAST, int(room / (BYTES * max(1, longest)) * len(texts) / size))


def is_large(texts: Sequence[str]) -> bool:
    """Whether texts are so many that their numbers should be in files."""
    return characters(texts) > LARGE


def characters(texts: Sequence[str]) -> int:
    """About how many characters all texts have: in a file a third of the bytes of Chinese, all bytes of English."""
    if not isinstance(texts, Strings):
        return sum(map(len, texts))
    sample = texts[:: max(1, len(texts) // SAMPLE)]
    return int(texts.sizes.sum() * sum(map(len, sample)) / max(1, sample.sizes.sum()))


def taken(texts: Sequence[str], places: npt.NDArray[np.int64]) -> Sequence[str]:
    """The texts at some places."""
    if isinstance(texts, Strings):
        return texts.take(texts.places[places])
    return [texts[place] for place in places.tolist()]
