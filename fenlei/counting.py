"""Counting the training texts: the vocabulary, the table of every id stream, the n-grams of the wide branch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fenlei import linear
from fenlei.cutting import tokenize
from fenlei.models import ENCODERS
from fenlei.ngrams import most_frequent
from fenlei.pipeline import Pipeline, chunks
from fenlei.recipe import Recipe
from fenlei.streams import STREAMS, TokenBatch
from fenlei.text import Tokenizer, normalize, read_stop_words, read_user_words
from fenlei.vocab import Vocab
from fenlei.wide import Tally, Wide


def build_pipeline(texts: Sequence[str], recipe: Recipe, classes: int) -> Pipeline:
    """The text road that ``recipe`` (every question answered) and the training texts make."""
    tokenizer = Tokenizer(
        recipe.tokenizer,
        nfkc=recipe.nfkc,
        lower=recipe.lower,
        user_words=read_user_words(recipe.user_words) if recipe.user_words else (),
        stop_words=read_stop_words(recipe.stop_words) if recipe.stop_words else frozenset(),
    )
    vocab = Vocab.build(tokenize(texts, tokenizer), recipe.min_count, recipe.max_size)
    streams = {name: Tally() for name in recipe.streams or ()}
    for batch in batches(texts, tokenizer):
        for name, tally in streams.items():
            tally.add(STREAMS[name](batch))
    tables = {
        name: most_frequent(*tally.total(), recipe.stream_min_count, recipe.stream_max_size)[0]
        for name, tally in streams.items()
    }
    wide = None
    if recipe.wide and classes <= linear.MOST_CLASSES:
        size = min(recipe.ngram_max_size, linear.MOST_CELLS // classes)
        wide = Wide.build(batches(texts, tokenizer), recipe.views or (), recipe.ngram_min_count, size)
    encoder = ENCODERS.get(recipe.model or "")
    sentence_length = recipe.sentence_length if encoder is not None and encoder.reads_sentences else 0
    return Pipeline(tokenizer, vocab, tables, wide, recipe.max_length, sentence_length)


def batches(texts: Sequence[str], tokenizer: Tokenizer) -> Iterable[TokenBatch]:
    """All texts, cut, in runs of bounded size."""
    for chunk in chunks(texts):
        normal = [normalize(text, nfkc=tokenizer.nfkc, lower=tokenizer.lower) for text in chunk]
        yield TokenBatch.join(normal, list(tokenize(chunk, tokenizer)))
