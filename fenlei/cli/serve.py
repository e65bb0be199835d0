"""``fenlei serve``: bundles answer over HTTP, with a page to try them."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fenlei.cli.arguments import add_verb, require, whole
from fenlei.cli.output import emit, say

if TYPE_CHECKING:
    from fenlei.serve import Settings

SHORTEST_TOKEN = 16
TOKEN = "FENLEI_TOKEN"  # noqa: S105


def add(verbs: Any) -> None:
    """Its arguments."""
    verb = add_verb(verbs, "serve", run, "answer over HTTP, with a page to try it")
    verb.add_argument("bundles", metavar="BUNDLE", nargs="+", help="a folder that fenlei train wrote, or NAME=FOLDER")
    verb.add_argument("--host", default="127.0.0.1", help="the address to listen at (default 127.0.0.1: this machine)")
    verb.add_argument("--port", type=partial(whole, least=0), default=8000, help="default 8000; 0 takes a free one")
    verb.add_argument("--workers", type=whole, default=1, metavar="N", help="processes (default 1), one a core")
    verb.add_argument("--allow-host", action="append", default=[], metavar="NAME", help="a further name of this server")
    verb.add_argument("--token-file", metavar="FILE", help=f"requests need the token in it (or in {TOKEN})")
    verb.add_argument("--no-token", action="store_true", help="let anyone ask who reaches a --host beyond this machine")
    verb.add_argument("--max-batch", type=whole, metavar="N", help="texts answered together (default 64)")
    verb.add_argument("--max-wait", type=partial(whole, least=0), metavar="MS", help="wait for a batch (default 1)")
    verb.add_argument("--max-texts", type=whole, metavar="N", help="texts a request (default 1000)")
    verb.add_argument("--max-bytes", type=whole, metavar="N", help="bytes a request (default 4000000)")
    verb.add_argument("--max-queue", type=whole, metavar="N", help="texts that wait, more get 503 (default 2000)")
    verb.add_argument("--timeout", type=whole, metavar="S", help="seconds until an answer (default 10)")
    verb.add_argument("--quiet", action="store_true", help="log what goes wrong, not every request")


def run(arguments: argparse.Namespace) -> None:
    """Until Ctrl-C or SIGTERM."""
    require("starlette", "granian", "prometheus_client", extra="serve")
    settings = settings_of(arguments)
    from fenlei.serve.server import run as serve

    serve(settings, partial(announce, arguments.json))
    if not arguments.json:
        say("stopped; everything that was accepted has been answered")


def settings_of(arguments: argparse.Namespace) -> Settings:
    """What the server is told; everything that can be wrong with the call is found here."""
    from fenlei.serve import Settings, named
    from fenlei.serve.guard import host_name, is_loopback

    try:
        bundles = named(arguments.bundles)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if arguments.port > 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {arguments.port}")
    for name in arguments.allow_host:
        if host_name(name) != name.lower().rstrip(".").strip("[]"):
            raise argparse.ArgumentTypeError(f"--allow-host takes a name without scheme, port or path, got {name!r}")
    token = token_of(arguments)
    if not (is_loopback(arguments.host) or token or arguments.no_token):
        raise argparse.ArgumentTypeError(
            f"others can reach {arguments.host}: give --token-file or {TOKEN}, or --no-token to let anyone ask"
        )
    return Settings(
        bundles,
        arguments.host,
        arguments.port,
        arguments.workers,
        token,
        tuple(arguments.allow_host),
        arguments.quiet,
        limits_of(arguments),
    )


def limits_of(arguments: argparse.Namespace) -> Any:
    """The limits that the call changes."""
    from fenlei.serve import Limits

    given = {
        "batch": arguments.max_batch,
        "wait_seconds": None if arguments.max_wait is None else arguments.max_wait / 1000,
        "texts": arguments.max_texts,
        "body_bytes": arguments.max_bytes,
        "queued_texts": arguments.max_queue,
        "answer_seconds": arguments.timeout,
    }
    return Limits(**{name: value for name, value in given.items() if value is not None})


def token_of(arguments: argparse.Namespace) -> str | None:
    """From a file or the environment, never from an argument, which every user of the machine could read."""
    if arguments.token_file is not None:
        token, place = Path(arguments.token_file).read_text(encoding="utf-8").strip(), arguments.token_file
    else:
        token, place = os.environ.get(TOKEN, "").strip(), TOKEN
        if not token:
            return None
    if arguments.no_token:
        raise argparse.ArgumentTypeError(f"--no-token contradicts the token in {place}: leave one of them out")
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise argparse.ArgumentTypeError(
            f"the token in {place} needs at least {SHORTEST_TOKEN} visible ASCII characters, without spaces"
        )
    return token


def announce(as_json: bool, address: str) -> None:
    """The server answers."""
    if as_json:
        emit({"address": address, "process": os.getpid()})
        sys.stdout.flush()
    else:
        say(f"{address}: the page, POST {address}predict; Ctrl-C ends")
