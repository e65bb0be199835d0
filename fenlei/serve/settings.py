"""What a server is told: bundles, address, secrets, limits; plain values, so that every worker gets the same."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fenlei.screen import legible

LONGEST_NAME = 100


@dataclass(frozen=True)
class Limits:
    """How much one client may ask for, and how much all of them together; times in seconds."""

    body_bytes: int = 4_000_000
    held_bytes: int = 100_000_000
    """Of all bodies together that one worker is receiving."""
    texts: int = 1000
    """Texts a request."""
    named: int = 100_000
    """Labels an answer can name, over all its texts."""
    explained: int = 16
    """Texts a request, where each is explained: every one of them is asked about up to 200 times."""
    explained_characters: int = 20_000
    """Characters of a text that is explained."""
    batch: int = 64
    """Texts that are answered together."""
    batch_characters: int = 200_000
    wait_seconds: float = 0.001
    """How long a batch waits for more texts while nothing else is being answered."""
    queued_texts: int = 2000
    queued_characters: int = 20_000_000
    queued_explained: int = 64
    answer_seconds: float = 10.0
    """From the end of the request to its answer."""
    body_seconds: float = 10.0
    header_seconds: float = 10.0
    drain_seconds: float = 10.0
    """From SIGTERM to the end: accepted requests are answered in this time; ``answer_seconds`` where that is more."""
    header_bytes: int = 65_536
    connections: int = 4096
    """Of one worker; more have to wait to be accepted."""
    poll_seconds: float = 1.0
    """Between two looks at whether a bundle has changed."""


@dataclass(frozen=True)
class Settings:
    """One server. ``bundles`` are folders by name, the first is the one that answers when none is named."""

    bundles: Mapping[str, str]
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    token: str | None = field(default=None, repr=False)
    hosts: tuple[str, ...] = ()
    """Names, beside those of the loopback and of ``host``, under which clients may ask for this server."""
    quiet: bool = False
    limits: Limits = Limits()


def named(arguments: Sequence[str]) -> dict[str, str]:
    """``NAME=FOLDER`` and ``FOLDER`` as folders by name; a ``ValueError`` for names that clash or cannot be shown.

    A folder that is there is taken as it stands, so that a name with ``=`` in it can be served.
    """
    found: dict[str, str] = {}
    for argument in arguments:
        name, sign, folder = argument.partition("=")
        if not sign or Path(argument).is_dir():
            folder = argument
            name = Path(os.path.abspath(folder)).name
        if not name or not folder or len(name) > LONGEST_NAME or legible(name) != name:
            raise ValueError(f"expected FOLDER or NAME=FOLDER, the name of 1 to 100 plain characters, got {argument!r}")
        if name in found:
            raise ValueError(f"two bundles are called {name!r}: name them, as in first={found[name]} second={folder}")
        found[name] = folder
    return found
