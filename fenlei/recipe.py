"""The recipe: every setting of one training run, saved with the bundle."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

COUNTS = (
    *("batch_size", "batch_tokens", "branches", "embedding_size", "epochs", "max_length", "max_size", "min_count"),
    *("linear_documents", "ngram_max_size", "ngram_min_count", "patience", "sentence_length", "steps"),
    *("stream_max_size", "stream_min_count", "threads", "window"),
)
# What settings that are left open come to, unless the data asks for something else.
USUAL = {
    "embedding_size": 128,
    "dropout": 0.4,
    "embedding_dropout": 0.3,
    "token_dropout": 0.1,
    "learning_rate": 1e-3,
    "schedule": "linear",
    "adversarial": 1.0,
    "pretrain_epochs": 0,
    "beside": {},
}
OPEN = (
    *USUAL,
    "batch_size",
    "branches",
    "epochs",
    "linear_documents",
    "max_size",
    "ngram_min_count",
    "patience",
    "steps",
    "window",
)  # may be None: decided from the data, or no limit
FROM_ZERO = ("pretrain_epochs", "report_steps", "seed")
MOST_SEED = 2**32 - 1  # scikit-learn takes no more
MOST = {"seed": MOST_SEED, "threads": 256}  # more threads than that end the process where each takes memory
CHOICES = {
    "precision": ("auto", "fp32", "bf16"),
    "schedule": ("linear", "constant", "averaged"),
    "class_weight": ("none", "balanced"),
    "device": ("cpu", "cuda", "auto"),
    "pace": ("steady", "fast", "thorough"),
}
STRENGTHS = ("adversarial", "weight_decay")
RATES = ("learning_rate", "table_rate", "clip_norm")
SHARES = ("dev_fraction", "dropout", "embedding_dropout", "label_smoothing", "token_dropout", "warmup")


SMALL_MODEL = "bilstm"  # what "auto" is for all but large sets


@dataclass(frozen=True)
class Recipe:
    """Settings with their defaults. ``None`` and "auto" are decided from the data, and the decision is saved.

    The defaults are the preset ``default``; ``PRESETS`` lists what the others change.
    """

    # the network
    model: str | None = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
    embedding: str = "full"
    embedding_options: Mapping[str, Any] = field(default_factory=dict)
    embedding_size: int | None = None
    dropout: float | None = None
    embedding_dropout: float | None = None
    branches: int | None = None
    beside: Mapping[str, Mapping[str, Any]] | None = None
    wide: bool = True
    views: tuple[tuple[str, int], ...] | None = None

    # the text road
    tokenizer: str = "auto"
    nfkc: bool = True
    lower: bool = True
    user_words: str | None = None
    stop_words: str | None = None
    min_count: int = 2
    max_size: int | None = 100_000
    streams: tuple[str, ...] | None = None
    stream_min_count: int = 3
    stream_max_size: int = 100_000
    max_length: int = 16_384
    window: int | None = None
    sentence_length: int = 64
    ngram_min_count: int | None = None
    ngram_max_size: int = 1_000_000
    linear_documents: int | None = None

    # training
    pace: str = "steady"
    seed: int = 0
    epochs: int | None = None
    steps: int | None = None
    pretrain_epochs: int | None = None
    batch_size: int | None = None
    batch_tokens: int = 16_384
    learning_rate: float | None = None
    table_rate: float = 2e-3
    weight_decay: float = 0.01
    schedule: str | None = None
    warmup: float = 0.05
    clip_norm: float = 1.0
    label_smoothing: float = 0.05
    adversarial: float | None = None
    class_weight: str = "none"
    token_dropout: float | None = None
    patience: int | None = 3
    dev_fraction: float = 0.1
    precision: str = "auto"
    threads: int = 1
    device: str = "cpu"
    report_steps: int = 0

    def __post_init__(self) -> None:
        for name in COUNTS + FROM_ZERO:
            value, least = getattr(self, name), int(name in COUNTS)
            if not (value is None and name in OPEN) and (type(value) is not int or value < least):
                raise ValueError(f"the setting {name} must be a whole number of at least {least}, got {value!r}")
        for name, most in MOST.items():
            if getattr(self, name) > most:
                value = f"{getattr(self, name):,}"
                raise ValueError(f"the setting {name} must be a whole number of at most {most:,}, got {value}")
        for name in SHARES:
            _check_share(name, getattr(self, name))
        for name in (*RATES, *STRENGTHS):
            _check_rate(name, getattr(self, name))
        self._check_views()
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices and not (name in OPEN and getattr(self, name) is None):
                raise ValueError(f"unknown {name} {getattr(self, name)!r}; the choices are {', '.join(choices)}")
        if self.model is None and not self.wide:
            raise ValueError("a recipe without a model needs the wide branch")

    def _check_views(self) -> None:
        """Those of the linear model, and those that other networks have."""
        if self.views is not None and not (self.views and all(map(_is_view, self.views))):
            raise ValueError(f"the setting views must be pairs of a name and a size like chars, 3, got {self.views!r}")
        if not all(isinstance(options, Mapping) for options in (self.beside or {}).values()):
            raise ValueError(f"the setting beside must be networks and the options of each, got {self.beside!r}")

    @property
    def network(self) -> str | None:
        """The network's name; while it is open, the one that options are those of."""
        return SMALL_MODEL if self.model == "auto" else self.model

    def of_network(self, number: int) -> Recipe:
        """That of one of several networks, from 1: with a seed of its own, and where kinds take turns with its kind.

        The networks ``beside``, each with its options, follow on the ``model`` in turn.
        """
        others = list(self.usual("beside").items())
        recipe = self.change(seed=(self.seed + number - 1) % (MOST_SEED + 1))
        place = (number - 1) % (1 + len(others))
        return recipe if place == 0 else recipe.change(model=others[place - 1][0], options=others[place - 1][1])

    @property
    def kinds(self) -> list[Recipe]:
        """The recipe of the first network of each kind."""
        return [self.of_network(number) for number in range(1, 2 + len(self.usual("beside")))]

    @property
    def rate(self) -> float:
        """The learning rate of dense weights."""
        return float(self.usual("learning_rate"))

    def usual(self, name: str) -> Any:
        """A setting's value, and while it is open the usual one."""
        value = getattr(self, name)
        return USUAL[name] if value is None else value

    @property
    def learns_codes(self) -> bool:
        """Whether the embedding is first trained in full and then shared out by learned codes."""
        return self.embedding == "shared" and self.embedding_options.get("assignment") == "learned"

    def to_json(self) -> dict[str, Any]:
        """What JSON can hold."""
        return asdict(self)

    def change(self, **settings: Any) -> Recipe:
        """The same recipe with some settings changed; an unknown name is a ``ValueError`` that lists the names."""
        known = [each.name for each in fields(self)]
        for name in settings:
            if name not in known:
                raise ValueError(f"unknown setting {name!r}; the settings are {', '.join(known)}")
        return replace(self, **settings)


def _check_share(name: str, value: object) -> None:
    if value is None and name in OPEN:
        return
    if not isinstance(value, int | float) or not 0 <= value < 1:
        raise ValueError(f"the setting {name} must be a number in [0, 1), got {value!r}")


def _check_rate(name: str, value: object) -> None:
    if value is None and name in OPEN:
        return
    least = "above 0" if name in RATES else "of at least 0"
    if not isinstance(value, int | float) or not 0 <= value < math.inf or (name in RATES and not value):
        raise ValueError(f"the setting {name} must be a finite number {least}, got {value!r}")


def _is_view(value: object) -> bool:
    """Whether it is a name and the longest n-gram to count."""
    match value:
        case [str(), int(longest)]:
            return longest >= 1
    return False


PRESETS: dict[str, Mapping[str, Any]] = {
    "default": {},
    "fast": {"pace": "fast", "branches": 1},
    "best": {"pace": "thorough"},
    "classic": {
        "model": "lstm2",
        "options": {"hidden_size": 64, "dropout": 0.2, "dense": 64},
        "embedding_size": 32,
        "dropout": 0.2,
        "embedding_dropout": 0.0,
        "branches": 1,
        "wide": False,
        "tokenizer": "jieba",
        "min_count": 10,
        "max_size": None,
        "streams": (),
        "max_length": 10,
        "steps": 10_000,
        "batch_size": 100,
        "learning_rate": 1e-3,
        "schedule": "constant",
        "warmup": 0.0,
        "table_rate": 1e-3,
        "weight_decay": 0.0,
        "label_smoothing": 0.0,
        "adversarial": 0.0,
        "token_dropout": 0.0,
        "patience": None,
        "report_steps": 20,
    },
}


def preset(name: str, **settings: Any) -> Recipe:
    """The recipe of a preset with some settings changed; an unknown preset or setting is a ``ValueError``.

    ``options`` are laid over the preset's; another network than the preset's starts with its own.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; the choices are {', '.join(PRESETS)}")
    chosen = dict(PRESETS[name])
    if settings.get("model", chosen.get("model")) != chosen.get("model"):
        chosen.pop("options", None)
    elif "options" in settings:
        settings["options"] = {**chosen.get("options", {}), **settings["options"]}
    return Recipe().change(**chosen | settings)
