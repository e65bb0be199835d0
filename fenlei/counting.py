"""Counting the training texts: the vocabulary, the table of every id stream, the n-grams of the wide branch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fenlei import linear
from fenlei.models import ENCODERS
from fenlei.ngrams import most_frequent
from fenlei.pipeline import Pipeline, chunks, cut
from fenlei.recipe import Recipe
from fenlei.streams import STREAMS
from fenlei.text import Tokenizer, read_stop_words, read_user_words
from fenlei.vocab import Vocab
from fenlei.wide import Counts, Tally


def build_pipeline(texts: Sequence[str], recipe: Recipe, classes: int) -> Pipeline:
    """The text road that ``recipe`` (every question answered) and the training texts make."""
    tokenizer = Tokenizer(
        recipe.tokenizer,
        nfkc=recipe.nfkc,
        lower=recipe.lower,
        user_words=read_user_words(recipe.user_words) if recipe.user_words else (),
        stop_words=read_stop_words(recipe.stop_words) if recipe.stop_words else frozenset(),
    )
    words: Counter[str] = Counter()
    streams = {name: Tally() for name in recipe.streams or ()}
    ngrams = Counts(recipe.views or ()) if recipe.wide and classes <= linear.MOST_CLASSES else None
    for chunk in chunks(texts):
        batch = cut(chunk, tokenizer)
        words.update(batch.tokens.counts())
        for name, tally in streams.items():
            tally.add(STREAMS[name](batch))
        if ngrams is not None:
            ngrams.add(batch)
    vocab = Vocab.from_counts(words, recipe.min_count, recipe.max_size)
    tables = {
        name: most_frequent(*tally.total(), recipe.stream_min_count, recipe.stream_max_size)[0]
        for name, tally in streams.items()
    }
    size = min(recipe.ngram_max_size, linear.MOST_CELLS // classes)
    wide = None if ngrams is None else ngrams.wide(recipe.ngram_min_count, size)
    encoder = ENCODERS.get(recipe.model or "")
    sentence_length = recipe.sentence_length if encoder is not None and encoder.reads_sentences else 0
    return Pipeline(tokenizer, vocab, tables, wide, recipe.max_length, sentence_length)
