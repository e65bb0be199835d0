"""What the verbs' arguments share, and how they become a recipe or a tokenizer."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from types import UnionType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from fenlei.decisions import Rule
    from fenlei.recipe import Recipe
    from fenlei.text import Tokenizer

WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a name", Mapping: "a JSON object"}
WORDS |= {Sequence: "a JSON list", tuple: "a JSON list", type(None): "null"}
DATA = "a folder per class, or a csv, tsv, jsonl, parquet, xlsx or fastText file"


class Parser(argparse.ArgumentParser):
    """Says what is wrong with a call in one line, and takes no abbreviations, which a later option could break."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    @property
    def options(self) -> list[str]:
        """Every option's names."""
        return [name for action in self._actions for name in action.option_strings]

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help says more)\n")


def add_verb(verbs: Any, name: str, run: Callable[[argparse.Namespace], None], about: str) -> Parser:
    """A verb with what all verbs have."""
    verb: Parser = verbs.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
    verb.add_argument("--json", action="store_true", help="results as one JSON object on standard output")
    verb.set_defaults(run=run, parser=verb)
    return verb


def named(value: str) -> str:
    """A name that is one: of an unset variable in a script comes an empty one."""
    if not value:
        raise argparse.ArgumentTypeError("the name is empty: give one, or leave the option out")
    return value


def existing(path: str) -> str:
    """A file or folder that is there, found out before any work."""
    if not os.path.lexists(named(path)):
        raise argparse.ArgumentTypeError(f"no such file or folder: {path}")
    return path


def file(path: str) -> str:
    """A file that is there, or a pipe."""
    if os.path.isdir(existing(path)):
        raise argparse.ArgumentTypeError(f"{path} is a folder: name a file")
    return path


def add_data(verb: Parser) -> None:
    """Labelled data and its encoding."""
    verb.add_argument("data", type=named, metavar="DATA", help=DATA)
    verb.add_argument("--encoding", type=named, metavar="NAME", help="of every file, such as gb18030 (default: found)")


def add_kind(verb: Parser) -> None:
    """Whether a text has one label or several; by default the data decides."""
    kind = verb.add_mutually_exclusive_group()
    kind.add_argument("--single-label", dest="labels", action="store_const", const="one", help="one label a text")
    kind.add_argument("--multi-label", dest="labels", action="store_const", const="several", help="several (a,b)")
    verb.set_defaults(labels="auto")


def add_words(verb: Parser) -> None:
    """Files of words for the tokenizer."""
    verb.add_argument(
        "--user-words", type=file, metavar="FILE", help="a jieba user dictionary: word [count] [tag] a line"
    )
    verb.add_argument("--stop-words", type=file, metavar="FILE", help="words to leave out, one a line")


def add_tokens(verb: Parser) -> None:
    """How the classic files are cut."""
    add_data(verb)
    verb.add_argument("--tokenizer", default="jieba", metavar="NAME", help="jieba (default), words, chars, ...")
    add_words(verb)
    verb.add_argument("--keep-case", action="store_true", help="do not fold upper case")
    verb.add_argument("--keep-form", action="store_true", help="no NFKC: full width stays full width")
    verb.add_argument("--processes", type=whole, metavar="N", help="default: one a core where there is much to cut")


def add_recipe(verb: Parser) -> None:
    """What changes the recipe."""
    verb.add_argument("--preset", default="default", metavar="NAME", help="settings: default, fast, best or classic")
    verb.add_argument("--model", metavar="NAME", help="the network, such as lstm2 (default: the preset's)")
    verb.add_argument("--seed", type=partial(whole, least=0), metavar="N", help="of everything random (default 0)")
    verb.add_argument("--epochs", type=whole, metavar="N", help="at most (default: by the size of the data)")
    verb.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="any setting of the recipe")
    verb.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="an option of the network")
    verb.add_argument("--quiet", action="store_true", help="no progress bar")


def add_rule(verb: Parser) -> None:
    """How many labels are named, and when none is."""
    verb.add_argument("--top", type=whole, metavar="K", help="labels a text, the likeliest first (default 1)")
    sure = verb.add_mutually_exclusive_group()
    sure.add_argument("--threshold", type=share, metavar="P", help="leave out less probable labels")
    sure.add_argument("--coverage", type=share, metavar="C", help="answer this share, as on dev; the rest is unknown")
    sure.add_argument("--best-f1", action="store_true", help="name a label from where its F1 was best on dev")
    sure.add_argument("--precision", type=share, metavar="P", help="name a label where it was right so often on dev")


def rule_of(arguments: argparse.Namespace) -> Rule:
    """What ``add_rule`` was given."""
    from fenlei.decisions import Rule

    return Rule(arguments.top, arguments.threshold, arguments.coverage, arguments.precision, arguments.best_f1)


def whole(text: str, least: int = 1) -> int:
    """A whole number from ``least`` on."""
    with contextlib.suppress(ValueError):
        if (number := int(text)) >= least:
            return number
    raise argparse.ArgumentTypeError(f"expected a whole number from {least} on, got {text!r}")


UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def size(text: str) -> int:
    """Bytes, from a number with its unit: 300KB, 1.5MiB."""
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmg]i?b|b)\s*", text, re.IGNORECASE)
    if found and (number := int(float(found[1]) * UNITS[found[2].upper()])) > 0:
        return number
    advice = f": tokens in the vocabulary are limited by --vocab-size {text}" if text.strip().isdecimal() else ""
    raise argparse.ArgumentTypeError(
        f"expected a size with its unit such as 300KB, 2MB or 1.5MiB, got {text!r}{advice}"
    )


def at_least(text: str, least: float) -> float:
    """A number from ``least`` on."""
    with contextlib.suppress(ValueError):
        if least <= (number := float(text)) < math.inf:
            return number
    raise argparse.ArgumentTypeError(f"expected a number from {least:g} on, got {text!r}")


def share(text: str) -> float:
    """A number from 0 to 1."""
    with contextlib.suppress(ValueError):
        if 0 <= (number := float(text)) <= 1:
            return number
    raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")


def require(*packages: str, extra: str = "train") -> None:
    """ImportError with the install line where packages of an extra are missing."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ImportError(f"this needs {', '.join(missing)}: pip install -c constraints.txt 'fenlei[{extra}]'")


def recipe_of(arguments: argparse.Namespace) -> Recipe:
    """Preset, then named arguments, then ``--set`` and ``--option``; everything is checked before data is read."""
    from fenlei.auto import check_names
    from fenlei.models import ENCODERS, encoder_options, try_out
    from fenlei.recipe import USUAL, Recipe, preset

    named = ("model", "seed", "epochs", "tokenizer", "min_count", "user_words", "stop_words", "device")
    changes = {name: value for name in named if (value := getattr(arguments, name, None)) is not None}
    if getattr(arguments, "vocab_size", None) is not None:
        changes["max_size"] = arguments.vocab_size
    try:
        changes |= settings(arguments.set, vars(Recipe()) | USUAL, typing.get_type_hints(Recipe), "setting")
        recipe = preset(arguments.preset, **changes)
        if recipe.network is not None:
            known, hints = encoder_options(recipe.network), typing.get_type_hints(ENCODERS[recipe.network].__init__)
            options = settings(arguments.option, known, hints, f"{recipe.network} option")
            recipe = recipe.change(options=dict(recipe.options) | options)
        check_names(recipe)
        if recipe.network is not None:
            size = recipe.usual("embedding_size")
            embedding = {"embedding": recipe.embedding, "embedding_size": size}
            for each in recipe.kinds:
                try_out(str(each.network), each.options, **embedding, embedding_options=recipe.embedding_options)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return recipe


def settings(pairs: list[str], known: Mapping[str, Any], hints: Mapping[str, Any], what: str) -> dict[str, Any]:
    """``NAME=VALUE`` arguments as values; ValueError for an unknown name or a value of the wrong type."""
    values = dict(map(pair, pairs))
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"there is no {what} {name!r}; the choices are {', '.join(known)}")
        if not fits(value, hints[name]):
            expected = " or ".join(WORDS[kind] for kind in WORDS if kind in kinds_of(hints[name]))
            usual = "left to fenlei" if known[name] is None else repr(known[name])
            raise ValueError(f"the {what} {name!r} is {expected}, not {value!r}; its default is {usual}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def pair(text: str) -> tuple[str, Any]:
    """``name=value``; the value as JSON where it is JSON, else as it stands."""
    name, sign, value = text.partition("=")
    if not sign:
        raise ValueError(f"expected NAME=VALUE, got {text!r}")
    with contextlib.suppress(ValueError):
        return name.strip(), json.loads(value)
    return name.strip(), value


def fits(value: object, hint: Any) -> bool:
    """Whether a value from JSON can stand where ``hint`` is the annotation: 3 for 3.0 and a list for a tuple, too."""
    kinds = kinds_of(hint)
    kinds |= {wider for kind, wider in ((float, int), (tuple, list)) if kind in kinds}
    return isinstance(value, tuple(kinds)) and (bool in kinds or not isinstance(value, bool))


def tokenizer_of(arguments: argparse.Namespace) -> Tokenizer:
    """The tokenizer that ``segment`` and ``vocab`` were asked for."""
    from fenlei.text import Tokenizer, read_stop_words, read_user_words

    user_words = read_user_words(arguments.user_words) if arguments.user_words else ()
    stop_words = read_stop_words(arguments.stop_words) if arguments.stop_words else frozenset()
    try:
        return Tokenizer(
            arguments.tokenizer,
            nfkc=not arguments.keep_form,
            lower=not arguments.keep_case,
            user_words=user_words,
            stop_words=stop_words,
        )
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def kinds_of(hint: Any) -> set[Any]:
    """The types that an annotation names."""
    parts = typing.get_args(hint) if typing.get_origin(hint) in (UnionType, typing.Union) else (hint,)
    return {typing.get_origin(part) or part for part in parts}
