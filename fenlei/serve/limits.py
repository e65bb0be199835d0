"""How much of a request is read, and for how long: the body in bounded memory and time."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from fenlei.serve.replies import Refusal, quoted
from fenlei.serve.settings import Limits

TYPE = "application/json"


class Vanished(Exception):  # noqa: N818 - no error: it happens
    """The client has closed the connection: nobody waits for the answer."""


async def read_json(request: Request, limits: Limits) -> bytes:
    """The body of a request that says it is JSON; ``Refusal`` with 408, 413 or 415, ``Vanished``."""
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    if kind.strip().lower() != TYPE or parameters.strip().lower().replace('"', "") not in ("", "charset=utf-8"):
        raise Refusal(415, f"send JSON in UTF-8, with the header Content-Type: {TYPE}", connection="close")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        coding = quoted(request.headers["content-encoding"])
        raise Refusal(415, f"the body must not be compressed, got Content-Encoding {coding}", connection="close")
    try:
        async with asyncio.timeout(limits.body_seconds):
            return await _read(request, limits)
    except TimeoutError:
        sentence = f"the body did not arrive within {limits.body_seconds:g} s"
        raise Refusal(408, sentence, connection="close") from None


async def _read(request: Request, limits: Limits) -> bytes:
    """The whole body. Of one that is too large up to as much again is taken and dropped.

    A client that still sends would see a reset connection in place of the answer.
    """
    chunks: list[bytes] = []
    size, most = 0, limits.body_bytes
    announced = _announced(request)
    refused = announced > most
    more = not (refused and "expect" in request.headers)
    while more and size < 2 * most - limits.header_bytes:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise Vanished
        chunk = message.get("body", b"")
        size += len(chunk)
        refused = refused or size > most
        if refused:
            chunks.clear()
        else:
            chunks.append(chunk)
        more = message.get("more_body", False)
    request.scope["facts"]["bytes"] = size
    if refused:
        raise Refusal(413, f"the body may have at most {most:,} bytes: divide it", connection="close")
    return b"".join(chunks)


def _announced(request: Request) -> int:
    text = request.headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Refusal(400, "the header Content-Length must be a number", connection="close")
    return int(text)
