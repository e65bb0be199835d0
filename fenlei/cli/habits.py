"""What other tools call verbs and options, so that whoever comes from them is told our names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches

VERBS = {
    "supervised": "fenlei train FILE",
    "fit": "fenlei train FILE",
    "predict-prob": "fenlei predict BUNDLE FILE, which writes probabilities; --top K for several labels",
    "evaluate": "fenlei test BUNDLE DATA",
    "eval": "fenlei test BUNDLE DATA",
    "quantize": "fenlei shrink BUNDLE",
}
FILE = "a file is named without an option"
OPTIONS = {
    "output": "--out",
    "o": "--out",
    "input": FILE,
    "i": FILE,
    "data": FILE,
    "lr": "--set learning_rate=NUMBER",
    "learning-rate": "--set learning_rate=NUMBER",
    "batch-size": "--set batch_size=NUMBER",
    "bs": "--set batch_size=NUMBER",
    "epoch": "--epochs",
    "num-epochs": "--epochs",
    "dim": "--set embedding_size=NUMBER",
    "embedding-dim": "--set embedding_size=NUMBER",
    "embedding-size": "--set embedding_size=NUMBER",
    "hidden-size": "--option hidden_size=NUMBER",
    "dropout": "--set dropout=NUMBER",
    "thread": "--set threads=NUMBER",
    "threads": "--set threads=NUMBER",
    "mincount": "--min-count",
    "max-length": "--set max_length=NUMBER",
    "max-len": "--set max_length=NUMBER",
    "patience": "--set patience=NUMBER",
    "val": "--dev",
    "valid": "--dev",
    "validation": "--dev",
    "k": "--top",
}
ANSWERS = "answers go to standard output: send them to a file with > FILE"


def refusal(unknown: Sequence[str], known: Collection[str]) -> str:
    """What to say of arguments that a verb with the options ``known`` does not take: of the first, what to give."""
    option = next((each.partition("=")[0] for each in unknown if each.startswith("-")), "")
    if option and (advice := _advice(option, known)):
        return f"there is no option {option}: {advice}"
    return f"unrecognized arguments: {' '.join(unknown)}"


def _advice(option: str, known: Collection[str]) -> str:
    name = option.strip("-").lower().replace("_", "-")
    advice = OPTIONS.get(name, "")
    if advice == FILE:
        return advice
    if advice.partition(" ")[0] in known:
        return f"give {advice}"
    if "out" in (name, OPTIONS.get(name, "").strip("-")):
        return ANSWERS
    close = get_close_matches(f"--{name}", known, 1, 0.8)
    return f"give {close[0]}" if close else ""
