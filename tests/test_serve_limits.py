"""How much of a body is read: sizes announced and not, and time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from starlette.requests import Request

from fenlei.serve.limits import Intake, Vanished
from fenlei.serve.replies import Refusal
from fenlei.serve.settings import Limits

LIMITS = Limits(body_bytes=1000, header_bytes=100, body_seconds=0.2)


async def read(request: Request, intake: Intake | None = None) -> bytes:
    intake = intake or Intake(LIMITS)
    try:
        async with intake.body(request) as body:
            assert intake.held >= len(body)
            return body
    finally:
        assert intake.held == 0


class Client:
    """Sends these chunks, then nothing more; counts what was taken."""

    def __init__(self, chunks: Iterable[bytes], ends: bool = True, **headers: str) -> None:
        self.chunks = iter(chunks)
        self.ends = ends
        self.taken = 0
        self.headers = {"content-type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}

    async def receive(self) -> dict[str, Any]:
        try:
            chunk = next(self.chunks)
        except StopIteration:
            if not self.ends:
                await asyncio.sleep(60)
            return {"type": "http.disconnect"}
        self.taken += len(chunk)
        return {"type": "http.request", "body": chunk, "more_body": True}

    def read(self) -> bytes:
        headers = [(name.encode(), value.encode()) for name, value in self.headers.items()]
        scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "facts": {}}
        return asyncio.run(read(Request(scope, self.receive)))

    def refused(self) -> Refusal:
        with pytest.raises(Refusal) as found:
            self.read()
        assert found.value.headers["connection"] == "close"
        return found.value


def test_a_body_of_the_limit_is_read() -> None:
    async def once() -> bytes:
        sent = iter([(b"a" * 999, True), (b"b", False)])

        async def receive() -> dict[str, Any]:
            body, more = next(sent)
            return {"type": "http.request", "body": body, "more_body": more}

        scope = {"type": "http", "headers": [(b"content-type", b"application/json")], "facts": {}}
        request = Request(scope, receive)
        body = await read(request)
        assert request.scope["facts"]["bytes"] == 1000
        return body

    assert asyncio.run(once()) == b"a" * 999 + b"b"


def test_an_endless_body_is_cut_off() -> None:
    client = Client(b"a" * 100 for _ in range(10**9))
    assert client.refused().status == 413
    assert client.taken < 2 * LIMITS.body_bytes


def test_an_announced_size_is_believed_where_it_is_too_large() -> None:
    client = Client((b"a" * 100 for _ in range(10**9)), content_length="3000000000")
    assert client.refused().status == 413
    assert client.taken < 2 * LIMITS.body_bytes
    waits = Client((b"a" * 100 for _ in range(10**9)), content_length="1001", expect="100-continue")
    assert waits.refused().status == 413
    assert waits.taken == 0  # it asks before it sends


@pytest.mark.parametrize("length", ["x", "-1", "1 2", "٣", "9" * 30])
def test_a_size_is_a_number(length: str) -> None:
    client = Client([], content_length=length)
    headers = [(b"content-type", b"application/json"), (b"content-length", length.encode("utf-8"))]
    scope = {"type": "http", "headers": headers, "facts": {}}
    with pytest.raises(Refusal, match="Content-Length must be a number"):
        asyncio.run(read(Request(scope, client.receive)))


def test_a_slow_body_ends() -> None:
    found = Client([b"{"], ends=False).refused()
    assert (found.status, str(found)) == (408, "the body did not arrive within 0.2 s")


def test_a_client_that_goes_is_no_error() -> None:
    with pytest.raises(Vanished):
        Client([b"{"]).read()


def test_all_bodies_together_are_bounded() -> None:
    intake = Intake(Limits(body_bytes=1000, header_bytes=100, held_bytes=1500))
    headers = [(b"content-type", b"application/json")]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"a" * 900, "more_body": False}

    async def run() -> None:
        requests = [Request({"type": "http", "headers": headers, "facts": {}}, receive) for _ in range(3)]
        async with intake.body(requests[0]):
            with pytest.raises(Refusal, match="too many requests are being received") as found:
                async with intake.body(requests[1]):
                    pass
            assert (found.value.status, found.value.headers["retry-after"]) == (503, "1")
            assert intake.held == 900
        assert await read(requests[2], intake) == b"a" * 900

    asyncio.run(run())
