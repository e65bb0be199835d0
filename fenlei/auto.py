"""What the recipe leaves open, decided from the data, each decision with its reason."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fenlei.layers.embedding import EMBEDDINGS
from fenlei.models import ENCODERS
from fenlei.recipe import SMALL_MODEL, USUAL, Recipe
from fenlei.streams import STREAMS
from fenlei.text import TOKENIZERS, choose
from fenlei.wide import VIEWS

Say = Callable[[str], None]
Floats = npt.NDArray[np.float64]

# What else a position is looked up by, and what the linear model counts, for each way of cutting.
STREAMS_OF = {
    "chars": ("bigrams", "covering_words"),
    "words": ("bigrams", "prefixes", "suffixes"),
    "jieba": ("bigrams",),
    "spaces": ("bigrams",),
}
VIEWS_OF = {
    "chars": (("chars", 3), ("jieba", 2)),
    "words": (("chars", 5), ("tokens", 2)),
    "jieba": (("chars", 3), ("tokens", 2)),
    "spaces": (("chars", 3), ("tokens", 2)),
}
HAN = re.compile("[\u4e00-\u9fff]")
HAN_SHARE = 0.1  # of the characters: under this jieba's dictionary has nothing to find
SAMPLE = 2000  # texts looked at
LARGE = 100_000  # texts that are many
PRETRAINING = {"steady": 3, "thorough": 10}  # epochs in which so many, if they are short, first teach what stands where
BRIEF = {"pooling": ("max", "mean")}  # of short texts: attention tells no more of them, and is a fifth of the work
# What takes turns with a network where time does not matter: another view of the same text, which errs elsewhere.
OTHERS: Mapping[str, Mapping[str, Any]] = {"bilstm": {"rcnn": {}}}
LARGE_MODEL, LARGE_RATE = "mingru", {"learning_rate": 3e-3}
LARGE_DROPOUTS = {"dropout": 0.5, "embedding_dropout": 0.4, "token_dropout": 0.2}
# Tokens that a network reads in all epochs, for a training is to take minutes: where the usual epochs have more than
# the first, it is another network; past the second there are fewer epochs, but so many. Where all networks together
# read more than the first, they learn every batch once: on such sets twice was no better (found on dev of two).
MUCH_TOKENS, MOST_READ, FEWEST_EPOCHS = 20_000_000, 30_000_000, 5
WINDOWS = 8192, 4096, 2048, 1024  # tokens of a long text that are learned from at once, where it cannot be all
# At a fast pace: up to so many tokens the usual network, which learns from so many; past them this one.
FAST_TOKENS, FAST_READ, FAST_LEAST = 500_000, 1_500_000, 3
FAST = {
    "options": {"hidden_size": 64, "pooling": ("max", "mean")},
    "embedding_size": 64,
    "dropout": 0.2,
    "embedding_dropout": 0.1,
    "batch_size": 256,
    "learning_rate": 5e-3,
}
# Of many texts, at a fast pace: the mean of the weights is as good after two epochs as the last weights of three (found
# on dev, three seeds).
FAST_LARGE, FAST_AVERAGED_LEAST = {"schedule": "averaged"}, 2
CHARACTERS = {"chars": 1, "jieba": 2}  # that a token has, about; of other kinds it has 5
FEWEST = 60  # texts that are divided into parts
FEW = 10_000  # texts of which the linear model counts every n-gram, of Chinese ones runs of characters alone
NETWORKS = ((300_000, 5), (1_500_000, 3))  # up to so many tokens, so many networks
THOROUGH = {5: 10, 3: 6, 1: 2}  # and so many where time does not matter


def decide(texts: Sequence[str], recipe: Recipe, say: Say, unlabelled: int = 0) -> Recipe:
    """The recipe with every open question answered; ``say`` hears why. Errors are those of ``check_names``.

    ``unlabelled`` is the number of further texts that are counted.
    """
    check_names(recipe)
    if recipe.ngram_min_count is None:
        recipe = recipe.change(ngram_min_count=1 if len(texts) + unlabelled <= FEW else 2)
    lengths = lengths_of(texts, recipe)
    if recipe.window is None:
        recipe = recipe.change(window=window_for(len(texts), lengths, recipe))
    tokens, epochs = tokens_of(len(texts), lengths, recipe), recipe.epochs or epochs_for(len(texts))
    read = round(tokens * passes(len(texts), math.inf if recipe.steps and not recipe.epochs else epochs, recipe))
    if recipe.adversarial is None:
        usual = networks_for(len(texts), tokens, recipe.change(pace="steady"))
        once = recipe.pace == "fast" or read * usual > MUCH_TOKENS
        recipe = recipe.change(adversarial=0.0 if once else USUAL["adversarial"])
    recipe = choose_network(len(texts), tokens, read, recipe, say)
    if recipe.tokenizer == "auto":
        name, reason = choose(texts)
        say(f"tokenizer: {name}, {reason}")
        recipe = recipe.change(tokenizer=name)
    recipe = recipe.change(streams=streams_for(texts, recipe, say), views=views_for(texts, recipe))
    if recipe.epochs is None and recipe.steps is None:
        most, fewest = most_read(recipe)
        recipe = recipe.change(epochs=min(epochs, max(fewest, round(most / max(1, tokens)))))
    if recipe.batch_size is None:
        recipe = recipe.change(batch_size=batch_size_for(len(texts)))
    if recipe.branches is None:
        recipe = recipe.change(branches=networks_for(len(texts), tokens, recipe))
        if recipe.branches != 1:
            kinds = " and ".join(str(each.model) for each in recipe.kinds)
            turns = f", {kinds} in turn" if recipe.usual("beside") else ""
            why = "time does not matter" if recipe.pace == "thorough" else "the texts are few enough to train so many"
            say(f"{recipe.branches} networks that answer together{turns}: {why}")
    return recipe


def most_read(recipe: Recipe) -> tuple[int, int]:
    """How many tokens all epochs may read together, and how many epochs there are even so."""
    if recipe.pace != "fast":
        return MOST_READ, FEWEST_EPOCHS
    return FAST_READ, FAST_AVERAGED_LEAST if recipe.schedule == "averaged" else FAST_LEAST


def passes(documents: int, epochs: float, recipe: Recipe) -> float:
    """How often a training reads every text: ``epochs`` times, or less often where the recipe's steps end it."""
    if recipe.steps is None:
        return epochs
    return min(epochs, recipe.steps * (recipe.batch_size or batch_size_for(documents)) / max(1, documents))


def choose_network(documents: int, tokens: int, read: int, recipe: Recipe, say: Say) -> Recipe:
    """Gated units without products inside the loop where tokens are many, at a higher rate; else an LSTM.

    Found on dev: on 7,000 and 10,000 texts the ``bilstm`` was better than ``mingru`` by half a point. On 180,000 titles
    that was so once it had guessed hidden tokens, which helped ``mingru`` little: alone it then had 0.9332 (a loss of
    0.234) where ``mingru`` had 0.9304 (0.242) with or without. Options that were set are the ``bilstm``'s. At its rate
    ``mingru`` learns many short texts by heart unless more is hidden from it; on fewer and longer ones that hides too
    much. ``tokens`` are those of an epoch, ``read`` those of all.

    Where time does not matter and nobody has named a network, another kind takes turns with it.
    """
    many, fast = documents >= LARGE, recipe.pace == "fast"
    named = recipe.model != "auto" or recipe.options
    narrow = fast and tokens > FAST_TOKENS
    hurried = narrow or read > MUCH_TOKENS or (fast and many)
    if recipe.model == "auto":
        other = hurried and not recipe.options
        recipe = recipe.change(model=LARGE_MODEL if other else SMALL_MODEL)
        if other:
            size = f"{documents:,} texts of about {tokens / max(1, documents):,.0f} tokens"
            say(f"network: {LARGE_MODEL}{', a narrow one' if narrow else ''}, for {size}")
    ours: Mapping[str, Any] = {}
    if recipe.model == LARGE_MODEL and (hurried or many):
        ours, of_many = (FAST, FAST_LARGE) if narrow else (LARGE_RATE, LARGE_DROPOUTS)
        ours = {**ours, **(of_many if many else {})}
    elif recipe.model == SMALL_MODEL and many and not hurried and not epochs_are_set(recipe):
        ours = {"pretrain_epochs": PRETRAINING[recipe.pace], "options": BRIEF}
        say(f"hidden tokens are guessed first: {documents:,} short texts teach what stands where")
    if recipe.pace == "thorough" and not named:
        ours = {**ours, "beside": OTHERS.get(str(recipe.model), {})}
    return recipe.change(**{name: value for name, value in {**USUAL, **ours}.items() if is_open(recipe, name)})


def epochs_are_set(recipe: Recipe) -> bool:
    """Whether somebody has said how long a network is to learn, one way or another."""
    return not all(is_open(recipe, name) for name in ("epochs", "steps", "pretrain_epochs"))


def is_open(recipe: Recipe, name: str) -> bool:
    """Whether nobody has set it."""
    value = getattr(recipe, name)
    return value is None or (name == "options" and not value)


def check_names(recipe: Recipe) -> None:
    """ValueError for a name in the recipe that means nothing; the model's is the business of ``build``.

    And for networks that cannot take turns, as they do not read a text cut in one way.
    """
    named = [("tokenizer", recipe.tokenizer, ("auto", *TOKENIZERS)), ("embedding", recipe.embedding, EMBEDDINGS)]
    named += [("stream", name, STREAMS) for name in recipe.streams or ()]
    named += [("view", name, VIEWS) for name, _ in recipe.views or ()]
    named += [("network", name, ENCODERS) for name in recipe.usual("beside")]
    for what, name, choices in named:
        if name not in choices:
            raise ValueError(f"unknown {what} {name!r}; the choices are {', '.join(choices)}")
    first = ENCODERS.get(recipe.network or "")
    for name in recipe.usual("beside"):
        if first is not None and ENCODERS[name].reads_sentences != first.reads_sentences:
            raise ValueError(f"{recipe.network} and {name} cannot take turns: one of them alone reads sentences")


def streams_for(texts: Sequence[str], recipe: Recipe, say: Say) -> tuple[str, ...]:
    """The id streams beside the tokens: covering words only where jieba knows the script and no token is dropped."""
    if recipe.streams is not None:
        return recipe.streams
    if recipe.tokenizer != "chars" or (is_han(texts) and not recipe.stop_words):
        return STREAMS_OF[recipe.tokenizer]
    why = "stop words are left out" if recipe.stop_words else f"at most {HAN_SHARE:.0%} of the characters are Chinese"
    say(f"no covering words but runs of three characters, as {why}")
    return ("bigrams", "trigrams")


def views_for(texts: Sequence[str], recipe: Recipe) -> tuple[tuple[str, int], ...]:
    """What the linear model counts: longer runs of characters where there are no words to count.

    Of few Chinese texts the words are too rare to be half of what counts (found on dev, 200 to 10,000 texts).
    """
    if recipe.views is not None:
        return recipe.views
    if recipe.tokenizer != "chars":
        return VIEWS_OF[recipe.tokenizer]
    if not is_han(texts):
        return (("chars", 5),)
    return (("chars", 3),) if len(texts) <= FEW else VIEWS_OF["chars"]


def is_han(texts: Sequence[str]) -> bool:
    """Whether Chinese characters are more than a few of all characters, in texts evenly spaced."""
    sample = "".join(text[:1000] for text in texts[:: max(1, len(texts) // SAMPLE)])
    return len(HAN.findall(sample)) > HAN_SHARE * max(1, len(sample))


def batch_size_for(documents: int) -> int:
    """Small sets need many small steps rather than few sure ones (found on dev sets of 3,000 to 180,000 documents)."""
    return 32 if documents <= 12_000 else 64 if documents <= 40_000 else 128


def epochs_for(documents: int) -> int:
    """At most so many epochs, early stop aside: 5 for 100,000 documents, more for fewer; a power found on dev sets."""
    return int(np.clip(round(4 * (180_000 / max(1, documents)) ** 0.35), FEWEST_EPOCHS, 30))


def window_for(documents: int, lengths: Floats, recipe: Recipe) -> int:
    """Of how many tokens of a text a network learns at once: of all, unless long texts are too many for that.

    Found on dev: of 2,699 articles of 1,270 tokens one that learned from all had a loss of 0.341, from another run of
    1,024 in each epoch 0.370, from the first 1,024 alone 0.423.
    """
    for size in (recipe.max_length, *WINDOWS):
        if tokens_of(documents, lengths, recipe.change(window=size)) * FEWEST_EPOCHS <= MOST_READ:
            return size
    return WINDOWS[-1]


def networks_for(documents: int, tokens: int, recipe: Recipe) -> int:
    """How many networks, by the tokens that an epoch of one reads: as many as a few minutes are enough for.

    Of few texts another network learns something else (Hansen and Salamon 1990); with none held out each learns from
    all parts of the texts but one. Under ``FEWEST`` texts the parts would be too small.
    """
    if recipe.branches is not None:
        return recipe.branches
    if recipe.model is None or documents < FEWEST:
        return 1
    found = next((networks for most, networks in NETWORKS if tokens <= most), 1)
    return THOROUGH[found] if recipe.pace == "thorough" else found


def lengths_of(texts: Sequence[str], recipe: Recipe) -> Floats:
    """About how many tokens each text has, of texts evenly spaced."""
    sample = texts[:: max(1, len(texts) // SAMPLE)]
    tokenizer = choose(sample)[0] if recipe.tokenizer == "auto" else recipe.tokenizer
    return np.array([len(text) for text in sample]) / CHARACTERS.get(tokenizer, 5)


def tokens_of(documents: int, lengths: Floats, recipe: Recipe) -> int:
    """About how many tokens of so many texts the network reads in an epoch; ``lengths`` are those of some."""
    if not documents:
        return 0
    most = min(recipe.max_length, recipe.window or recipe.max_length)
    return round(documents * float(np.minimum(lengths, most).mean()))


def crosses(texts: Sequence[str], recipe: Recipe) -> bool:
    """Whether no document need be held out, as several networks judge each what they have not learned from."""
    usual = recipe.change(pace="steady")  # where texts are many a tenth is held out, however many networks there are
    if not recipe.dev_fraction:
        return False
    tokens = tokens_of(len(texts), lengths_of(texts, usual), usual)
    several = networks_for(len(texts), tokens, usual) > 1
    return several and any(text != texts[0] for text in texts)
