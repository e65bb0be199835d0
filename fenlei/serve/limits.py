"""How much of a request is read, and for how long: the body in bounded memory and time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from starlette.requests import Request

from fenlei.serve.replies import Refusal, quoted
from fenlei.serve.settings import Limits

TYPE = "application/json"


class Vanished(Exception):  # noqa: N818 - no error: it happens
    """The client has closed the connection: nobody waits for the answer."""


class Intake:
    """Reads the bodies of one worker's requests, in bounded memory and time."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.held = 0

    @contextlib.asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """The body of a request that says it is JSON; it counts as held until the block ends.

        Raises ``Refusal`` (408, 413, 415, 503) or ``Vanished``.
        """
        _check_kind(request)
        found = bytearray()
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                await self._read(request, found)
            yield bytes(found)
        except TimeoutError:
            sentence = f"the body did not arrive within {self.limits.body_seconds:g} s"
            raise Refusal(408, sentence, connection="close") from None
        finally:
            self.held -= len(found)

    async def _read(self, request: Request, found: bytearray) -> None:
        """Fill ``found``. Of a body that is too large up to as much again is taken and dropped.

        A client that still sends would see a reset connection in place of the answer.
        """
        size, most = 0, self.limits.body_bytes
        refused = _announced(request) > most
        more = not (refused and "expect" in request.headers)
        while more and size < 2 * most - self.limits.header_bytes:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise Vanished
            chunk, more = message.get("body", b""), message.get("more_body", False)
            size += len(chunk)
            refused = refused or size > most
            if not refused:
                self._hold(chunk, found)
        request.scope["facts"]["bytes"] = size
        if refused:
            raise Refusal(413, f"the body may have at most {most:,} bytes: divide it", connection="close")

    def _hold(self, chunk: bytes, found: bytearray) -> None:
        if self.held + len(chunk) > self.limits.held_bytes:
            sentence = "too many requests are being received: try again in a second"
            raise Refusal(503, sentence, retry_after="1", connection="close")
        found += chunk  # not a list: a body can come in millions of parts of one byte
        self.held += len(chunk)


def _check_kind(request: Request) -> None:
    """Nothing but JSON in UTF-8, as it stands: no forms, which any page could post, and nothing compressed."""
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    if kind.strip().lower() != TYPE or parameters.strip().lower().replace('"', "") not in ("", "charset=utf-8"):
        raise Refusal(415, f"send JSON in UTF-8, with the header Content-Type: {TYPE}", connection="close")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        coding = quoted(request.headers["content-encoding"])
        raise Refusal(415, f"the body must not be compressed, got Content-Encoding {coding}", connection="close")


def _announced(request: Request) -> int:
    text = request.headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise Refusal(400, "the header Content-Length must be a number", connection="close")
    return int(text)
