"""The server under load and under attack, over the loopback.

Usage: python benchmarks/serving.py --data FOLDER [--seconds 120] [--only load,batching,...]   or   --bundle FOLDER

A classifier of news titles is trained for one epoch, served, and asked for its own dev titles by a small client of raw
asyncio. Client and server share the machine's cores, and a quarter to a half of the time is the client's: rates are
lower bounds. Rates at half load are offered on a fixed schedule, and times count from when a request was due. Prints a
table with what is wanted and what was found, and writes JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path("benchmarks/results/serving.json")
CONNECTIONS = 64
Facts = dict[str, Any]


# --- the client ---


class Connection(asyncio.Protocol):
    """One connection, one request at a time; ``answer`` is (status, whole answer), or None when it was closed."""

    def __init__(self) -> None:
        self.received = b""
        self.closed = asyncio.get_running_loop().create_future()
        self._waiting: asyncio.Future[tuple[int, bytes] | None] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def ask(self, request: bytes) -> Awaitable[tuple[int, bytes] | None]:
        self.received, self._waiting = b"", asyncio.get_running_loop().create_future()
        if self.transport.is_closing():
            self._waiting.set_result(None)
        self.transport.write(request)
        return self._waiting

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, blank, body = self.received.partition(b"\r\n\r\n")
        if blank and self._waiting and not self._waiting.done():
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            if len(body) >= length:
                self._waiting.set_result((int(head[9:12]), self.received))

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        if not self.closed.done():
            self.closed.set_result(time.perf_counter())
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(None)

    async def close(self) -> None:
        self.transport.abort()
        await self.closed


async def connect(port: int) -> Connection:
    return (await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port))[1]


async def ask_once(port: int, asked: bytes) -> tuple[int, bytes] | None:
    connection = await connect(port)
    try:
        return await connection.ask(asked)
    finally:
        await connection.close()


def request(value: Any, length: int | None = None, path: str = "/predict") -> bytes:
    body = json.dumps(value).encode()
    return head("POST", path, len(body) if length is None else length) + body


def head(method: str, path: str, length: int) -> bytes:
    return (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


@dataclass
class Tally:
    """Answers by status (0: closed without one), and the seconds that those with 200 took."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def add(self, answer: tuple[int, bytes] | None, seconds: float) -> None:
        status = answer[0] if answer else 0
        self.statuses[status] += 1
        if status == 200:
            self.seconds.append(seconds)

    def milliseconds(self) -> Facts:
        found = sorted(self.seconds) or [float("nan")]
        return {f"p{share}": round(found[int(len(found) * share / 100)] * 1000, 2) for share in (50, 99)}


async def ask_steadily(port: int, requests: Sequence[bytes], seconds: float, connections: int) -> Tally:
    """Each connection asks again as soon as it is answered."""
    tally, until = Tally(), time.perf_counter() + seconds

    async def one(place: int) -> None:
        connection = await connect(port)
        while (began := time.perf_counter()) < until:
            answer = await connection.ask(requests[place % len(requests)])
            tally.add(answer, time.perf_counter() - began)
            place += connections
            if answer is None:
                connection = await connect(port)
        await connection.close()

    await asyncio.gather(*(one(place) for place in range(connections)))
    return tally


async def ask_on_schedule(port: int, requests: Sequence[bytes], seconds: float, connections: int, rate: float) -> Tally:
    """Requests are due at fixed times, and late ones count from when they were due."""
    tally, start = Tally(), time.perf_counter() + 0.1

    async def one(place: int) -> None:
        connection, number = await connect(port), 0
        while (due := start + (place + number * connections) / rate) < start + seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            answer = await connection.ask(requests[(place + number * connections) % len(requests)])
            tally.add(answer, time.perf_counter() - due)
            number += 1
            if answer is None:
                connection = await connect(port)
        await connection.close()

    await asyncio.gather(*(one(place) for place in range(connections)))
    return tally


# --- the server ---


@dataclass
class Server:
    """A running ``fenlei serve``."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def worker(self) -> int:
        """The process that answers."""
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return int(Path(path).read_text(encoding="ascii").split()[0])

    def megabytes(self) -> float:
        pages = int(Path(f"/proc/{self.worker()}/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize() / 1e6

    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.worker()}/fd"))

    def lines(self) -> list[Facts]:
        """The log."""
        found = self.log.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in found if line.startswith("{")]


@contextlib.contextmanager
def serving(bundle: Path, *arguments: object, quiet: bool = True) -> Iterator[Server]:
    """A server on a free port; ended by SIGTERM."""
    command = [sys.executable, "-m", "fenlei", "serve", f"bench={bundle}", "--port", "0", "--json"]
    command += [str(each) for each in arguments] + (["--quiet"] if quiet else [])
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, (Path(folder) / "log").read_text(encoding="utf-8")
            port = int(json.loads(line)["address"].rstrip("/").rpartition(":")[2])
            yield Server(port, process, Path(folder) / "log")
        finally:
            process.terminate()
            process.wait(30)
            process.stdout.close()


async def metric(port: int, name: str) -> float:
    """One number of ``/metrics``."""
    answer = await ask_once(port, head("GET", "/metrics", 0))
    assert answer is not None
    lines = answer[1].decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.partition(" ")[0].partition("{")[0] == name)


def single(texts: Sequence[str]) -> list[bytes]:
    """A request a text."""
    return [request({"text": text}) for text in texts]


def grouped(texts: Sequence[str], size: int) -> list[bytes]:
    """Requests of so many texts."""
    return [request({"texts": [*texts[start : start + size]]}) for start in range(0, len(texts) - size + 1, size)]


# --- what is measured ---


def load(bundle: Path, texts: Sequence[str], seconds: float) -> Facts:
    """Errors, rate, times at the top and at half of it, growth of memory."""
    requests = single(texts)
    with serving(bundle) as server:
        asyncio.run(ask_steadily(server.port, requests, min(5.0, seconds), CONNECTIONS))
        before, began = server.megabytes(), time.perf_counter()
        top = asyncio.run(ask_steadily(server.port, requests, seconds, CONNECTIONS))
        rate = top.statuses[200] / (time.perf_counter() - began)
        half = asyncio.run(ask_on_schedule(server.port, requests, seconds, CONNECTIONS, rate / 2))
        growth = server.megabytes() - before
    errors = sum(count for status, count in (top.statuses + half.statuses).items() if status != 200)
    return {
        "connections": CONNECTIONS,
        "seconds": seconds,
        "requests": sum((top.statuses + half.statuses).values()),
        "errors": errors,
        "rate": round(rate),
        "top_milliseconds": top.milliseconds(),
        "half_milliseconds": half.milliseconds(),
        "megabytes_growth": round(growth, 1),
    }


def batching(bundle: Path, texts: Sequence[str], seconds: float) -> Facts:
    """The same load with batches and without."""
    found = {}
    for name, arguments in (("batched", ()), ("unbatched", ("--max-batch", 1, "--max-wait", 0))):
        with serving(bundle, *arguments) as server:
            asyncio.run(ask_steadily(server.port, single(texts), min(2.0, seconds), CONNECTIONS))
            tally = asyncio.run(ask_steadily(server.port, single(texts), seconds, CONNECTIONS))
        found[name] = round(tally.statuses[200] / seconds)
    return found | {"times": round(found["batched"] / found["unbatched"], 2)}


def overload(bundle: Path, texts: Sequence[str], seconds: float) -> Facts:
    """Five times as much as can be answered: what too much gets, and how soon all is well again after it."""
    requests = grouped(texts, 50)
    with serving(bundle, "--max-queue", 500) as server:
        top = asyncio.run(ask_steadily(server.port, requests, min(5.0, seconds), 8))
        rate = top.statuses[200] / min(5.0, seconds)
        tally = asyncio.run(ask_on_schedule(server.port, requests, seconds, 256, 5 * rate))
        recovery = asyncio.run(_recovery(server.port, requests[0]))
    offered = sum(tally.statuses.values())
    return {
        "rate": round(rate, 1),
        "offered_per_second": round(offered / seconds, 1),
        "answered": tally.statuses[200],
        "refused_503": tally.statuses[503],
        "other": offered - tally.statuses[200] - tally.statuses[503],
        "recovery_seconds": round(recovery, 2),
    }


async def _recovery(port: int, asked: bytes) -> float:
    """Until ten answers in a row are 200, each within half a second."""
    began, good = time.perf_counter(), 0
    connection = await connect(port)
    while good < 10 and time.perf_counter() - began < 60:
        sent = time.perf_counter()
        answer = await connection.ask(asked)
        good = good + 1 if answer and answer[0] == 200 and time.perf_counter() - sent < 0.5 else 0
    await connection.close()
    return time.perf_counter() - began


def slow(bundle: Path, texts: Sequence[str], connections: int = 500, most: float = 20.0) -> Facts:
    """Connections that never finish their header, and as many that never finish their body, beside a healthy client."""
    with serving(bundle) as server:
        return asyncio.run(_slow(server.port, single(texts), connections, most))


async def _slow(port: int, requests: Sequence[bytes], count: int, most: float) -> Facts:
    begun = head("POST", "/predict", 100_000)
    starts = [b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "] * count + [begun + b'{"text": "'] * count
    opened = [await connect(port) for _ in starts]
    began = time.perf_counter()
    for connection, start in zip(opened, starts, strict=True):
        connection.transport.write(start)

    async def drip() -> None:
        while True:
            await asyncio.sleep(1)
            for connection in opened:
                if not connection.transport.is_closing():
                    connection.transport.write(b"a")

    dripping = asyncio.ensure_future(drip())
    healthy = asyncio.ensure_future(ask_on_schedule(port, requests, most, 4, 50))
    await asyncio.wait([connection.closed for connection in opened], timeout=most)
    ended = [connection.closed.result() - began for connection in opened if connection.closed.done()]
    tally = await healthy
    dripping.cancel()
    for connection in opened:
        await connection.close()
    return {
        "connections": len(opened),
        "still_open": len(opened) - len(ended),
        "last_closed_seconds": round(max(ended, default=float("nan")), 1),
        "healthy_statuses": dict(tally.statuses),
        "healthy_milliseconds": tally.milliseconds(),
    }


def stop(bundle: Path, texts: Sequence[str], seconds: float = 3.0) -> Facts:
    """SIGTERM under load: what the server says that it answered must have come to the clients."""
    with serving(bundle, quiet=False) as server:
        tally, took = asyncio.run(_stop(server, grouped(texts, 20), seconds))
        found = [line for line in server.lines() if line.get("path") == "/predict"]
    return {
        "answers_received": tally.statuses[200],
        "answers_in_the_log": sum(line["status"] == 200 for line in found),
        "lost": sum(line["status"] == 200 for line in found) - tally.statuses[200],
        "other_in_the_log": sum(line["status"] != 200 for line in found),
        "cut_off_in_the_middle": tally.statuses[-1],
        "seconds_to_stop": round(took, 2),
        "exit_status": server.process.returncode,
    }


async def _stop(server: Server, requests: Sequence[bytes], seconds: float) -> tuple[Tally, float]:
    tally, ended = Tally(), asyncio.Event()

    async def one(place: int) -> None:
        connection = await connect(server.port)
        while not ended.is_set():
            answer = await connection.ask(requests[place % len(requests)])
            if answer is None:
                tally.statuses[-1 if connection.received else 0] += 1
                break
            tally.add(answer, 0)
            place += 1
        await connection.close()

    tasks = [asyncio.ensure_future(one(place)) for place in range(CONNECTIONS)]
    await asyncio.sleep(seconds)
    began = time.perf_counter()
    server.process.send_signal(signal.SIGTERM)
    await asyncio.wait(tasks, timeout=15)
    ended.set()
    await asyncio.to_thread(server.process.wait, 15)
    return tally, time.perf_counter() - began


def vanish(bundle: Path, texts: Sequence[str], clients: int = 10_000, rounds: int = 3) -> Facts:
    """Clients that ask and do not wait: what of them is left afterwards. A leak would grow from round to round."""
    with serving(bundle) as server:
        asked = grouped(texts, 20)[0]
        asyncio.run(ask_steadily(server.port, [asked], 0.2, 1))
        files = server.files()
        asyncio.run(_vanish(server.port, asked, min(5000, clients)))
        time.sleep(1)
        megabytes = [server.megabytes()]
        for _ in range(rounds):
            asyncio.run(_vanish(server.port, asked, clients))
            time.sleep(2)
            megabytes.append(server.megabytes())
        return {
            "clients": clients,
            "rounds": rounds,
            "noticed": round(asyncio.run(metric(server.port, "fenlei_vanished_total"))),
            "files_growth": server.files() - files,
            "megabytes": [round(each, 1) for each in megabytes],
            "texts_in_the_queue": asyncio.run(metric(server.port, "fenlei_queue_texts")),
            "open_requests": asyncio.run(metric(server.port, "fenlei_open_requests")) - 1,  # the one that asks
            "answers_afterwards": asyncio.run(ask_steadily(server.port, [asked], 0.2, 1)).statuses[200] > 0,
        }


async def _vanish(port: int, asked: bytes, clients: int) -> None:
    """Half of them reset the connection, half close it; some before the body has ended."""
    gate = asyncio.Semaphore(100)

    async def one(number: int) -> None:
        async with gate:
            connection = await connect(port)
            connection.transport.write(asked[: len(asked) - (10 if number % 4 == 0 else 0)])
            await asyncio.sleep(0.001 * (number % 3))
            connection.transport.abort() if number % 2 else connection.transport.close()
            await connection.closed

    await asyncio.gather(*(one(number) for number in range(clients)))


def sizes(bundle: Path, texts: Sequence[str], megabytes: int = 300) -> Facts:
    """Bodies that are too large, announced and not, and what is read of them; headers; texts."""
    with serving(bundle, quiet=False) as server:
        before = server.megabytes()
        found = asyncio.run(_sizes(server.port, texts, megabytes * 1_000_000))
        growth = server.megabytes() - before
        time.sleep(0.2)
        read = [line.get("bytes", 0) for line in server.lines() if line.get("status") == 413]
    return found | {"most_bytes_read": max(read, default=0), "megabytes_growth": round(growth, 1)}


async def _sizes(port: int, texts: Sequence[str], size: int) -> Facts:
    plain, many = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\n", request({"texts": [texts[0]] * 100_000})
    chunked = plain + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    part = b"x" * 65_536
    announced = await _pour(port, head("POST", "/predict", size), part, size)
    return {
        "announced": announced,
        "chunked": await _pour(port, chunked, b"10000\r\n" + part + b"\r\n", size),
        "header_of_1_megabyte": await _pour(port, plain + b"X: " + b"a" * 1_000_000, b"", 0),
        "headers_10000": await _pour(port, plain, b"".join(b"X%d: a\r\n" % n for n in range(10_000)) + b"\r\n", 1),
        "texts_100000": await _pour(port, many, b"", 0),
    }


async def _pour(port: int, start: bytes, part: bytes, size: int) -> int:
    """The status for so many bytes."""
    connection = await connect(port)
    answer = asyncio.ensure_future(connection.ask(start))
    sent = 0
    while sent < size and not answer.done() and not connection.transport.is_closing():
        if connection.transport.get_write_buffer_size() < 1_000_000:
            connection.transport.write(part)
            sent += len(part)
        await asyncio.sleep(0)
    found = await asyncio.wait_for(answer, 15)
    await connection.close()
    return found[0] if found else 0


MEASURES: dict[str, Callable[..., Facts]] = {
    "load": load,
    "batching": batching,
    "overload": overload,
    "slow": slow,
    "stop": stop,
    "vanish": vanish,
    "sizes": sizes,
}
WANTED = {
    "load": "errors 0, p99 at half rate <= 100 ms",
    "batching": "times >= 3",
    "overload": "other 0, recovery <= 5 s",
    "slow": "still_open 0 after 15 s, healthy p99 <= 200 ms",
    "stop": "lost 0, cut off 0, <= 10 s",
    "vanish": "files within 5, nothing in the queue, memory level",
    "sizes": "413, 413, 431, 431, 413; under 8,000,000 bytes read; memory < 50 MB",
}


def trained(data: Path, folder: Path) -> list[str]:
    """A classifier of news titles saved in ``folder``; returns its dev titles."""
    from sets import split

    from fenlei.learn import Labelled, learn
    from fenlei.recipe import Recipe

    sides = [
        Labelled([document.text for document in side], [document.label for document in side])
        for side in split(data, "thucnews_titles", 20_000)
    ]
    learn(*sides, Recipe(epochs=1), lambda _: None).save(folder)
    return list(sides[1].texts[:4000])


def show(name: str, facts: Facts) -> str:
    """A row."""
    cells = ", ".join(f"{key} {value}" for key, value in facts.items())
    return f"| {name} | {WANTED[name]} | {cells} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--bundle", type=Path, help="this one, asked for its golden texts, in place of one trained now")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--only", default=",".join(MEASURES))
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle, texts = bundle_of(arguments, Path(folder) / "titles")
        found = {"machine": {"cores": os.cpu_count(), "python": platform.python_version()}}
        print("| what | wanted | found |\n|---|---|---|", flush=True)
        for name in arguments.only.split(","):
            times = {"load": arguments.seconds, "batching": arguments.seconds / 6, "overload": arguments.seconds / 6}
            found[name] = MEASURES[name](bundle, texts, *([times[name]] if name in times else []))
            print(show(name, found[name]), flush=True)
    if arguments.out.exists():
        found = json.loads(arguments.out.read_text(encoding="utf-8")) | found
    arguments.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def bundle_of(arguments: argparse.Namespace, folder: Path) -> tuple[Path, list[str]]:
    """The folder, and texts to ask for."""
    if arguments.bundle is None:
        return folder, trained(arguments.data, folder)
    from fenlei.bundle import Bundle

    return arguments.bundle, [text for text, _ in Bundle.load(arguments.bundle).golden] * 500


if __name__ == "__main__":
    main()
