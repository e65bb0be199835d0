"""Counting the training texts: the vocabulary, the table of every id stream, the n-grams of the wide branch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from fenlei import linear
from fenlei.models import ENCODERS
from fenlei.ngrams import most_frequent
from fenlei.pipeline import Pipeline
from fenlei.recipe import Recipe
from fenlei.tallies import Counting, count
from fenlei.text import Tokenizer, read_stop_words, read_user_words


def build_pipeline(
    texts: Sequence[str],
    recipe: Recipe,
    classes: int,
    sample: Sequence[str] | None = None,
    processes: int | None = None,
    unlabelled: Sequence[str] = (),
) -> Pipeline:
    """The text road that ``recipe`` (every question answered) and the training texts make, ``unlabelled`` ones too.

    ``sample`` are the texts that the linear model is fitted on, where these are not all: an n-gram that stands in none
    of them would have no weight, so they alone are counted for it. ``processes`` are those of ``workers.spread``.
    """
    tokenizer = Tokenizer(
        recipe.tokenizer,
        nfkc=recipe.nfkc,
        lower=recipe.lower,
        user_words=read_user_words(recipe.user_words) if recipe.user_words else (),
        stop_words=read_stop_words(recipe.stop_words) if recipe.stop_words else frozenset(),
    )
    views = (recipe.views or ()) if recipe.wide and classes <= linear.MOST_CLASSES else ()
    names = recipe.streams or ()
    found = count(chain(texts, unlabelled), Counting(tokenizer, names, views if sample is None else ()), processes)
    vocab = found.vocab(recipe.min_count, recipe.max_size)
    tables = {
        name: most_frequent(*found.streams.pop(name).total(), recipe.stream_min_count, recipe.stream_max_size)[0]
        for name in names
    }
    wide = None
    if views:
        if sample is not None:
            found = count(chain(sample, unlabelled), Counting(tokenizer, (), views, with_tokens=False), processes)
        size = min(recipe.ngram_max_size, linear.MOST_CELLS // classes)
        wide = found.ngrams.wide(recipe.ngram_min_count or 1, size)
    encoder = ENCODERS.get(recipe.network or "")
    sentence_length = recipe.sentence_length if encoder is not None and encoder.reads_sentences else 0
    return Pipeline(tokenizer, vocab, tables, wide, recipe.max_length, sentence_length)
