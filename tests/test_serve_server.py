"""The running server: its processes, signals, addresses, and what arrives on the wire. And the verb."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fenlei.cli import main, parser
from fenlei.serve.server import free_address, url
from fenlei.serve.settings import Limits

if TYPE_CHECKING:
    from fenlei.bundle import Bundle

ROOT = Path(__file__).resolve().parent.parent
HOST = b"Host: 127.0.0.1\r\n"
TOKEN = "0123456789abcdef-token"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Path:
    return bundle.save(tmp_path_factory.mktemp("server") / "news")


class Server:
    """``fenlei serve`` in a process of its own."""

    def __init__(self, folder: Path, *arguments: object, **environment: str) -> None:
        command = [sys.executable, "-m", "fenlei", "serve", *map(str, arguments), "--port", "0", "--json"]
        self.log = folder / f"log-{time.monotonic_ns()}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, cwd=ROOT, env=os.environ | environment
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text(encoding="utf-8")
        self.said = json.loads(line)
        self.port = int(self.said["address"].rstrip("/").rpartition(":")[2])

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, {"Content-Type": "application/json"} | given)
            found = connection.getresponse()
            data = found.read()
        return found.status, json.loads(data) if data[:1] == b"{" else data

    def wire(self, data: bytes, seconds: float = 20.0) -> bytes:
        """Everything that comes back until the server closes the connection."""
        found = b""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=seconds)
        with connection, contextlib.suppress(ConnectionError):
            connection.sendall(data)
            while part := connection.recv(65536):
                found += part
        return found

    def workers(self) -> list[int]:
        listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True)
        return [int(line) for line in listed.stdout.split()]

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    def stop(self) -> int:
        self.process.terminate()
        status = self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


@contextlib.contextmanager
def serving(folder: Path, *arguments: object, **environment: str) -> Iterator[Server]:
    server = Server(folder, *arguments, **environment)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def server(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("log"), saved) as running:
        yield running


def until(happened: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


# --- on the wire ---


def test_it_answers_and_logs_without_texts(server: Server) -> None:
    status, found = server.ask("POST", "/predict", {"texts": ["球队赢了比赛", "secret words"]})
    assert status == 200
    assert found["predictions"][0]["labels"] == ["体育"]
    assert server.said == {"address": f"http://127.0.0.1:{server.port}/", "process": server.process.pid}
    until(lambda: any(line.get("path") == "/predict" for line in server.lines()), 5)
    (line,) = [line for line in server.lines() if line.get("texts") == 2]
    assert line | {"time": 0, "process": 0, "milliseconds": 0, "bytes": 0} == {
        "time": 0,
        "level": "info",
        "message": "request",
        "process": 0,
        "client": "127.0.0.1",
        "method": "POST",
        "path": "/predict",
        "status": 200,
        "milliseconds": 0,
        "bytes": 0,
        "model": "news",
        "texts": 2,
    }
    assert "secret" not in server.log.read_text(encoding="utf-8")


def test_it_listens_for_this_machine_only(server: Server) -> None:
    listed = Path("/proc/net/tcp")
    if not listed.exists():
        pytest.skip("no /proc/net/tcp here")
    port = f":{server.port:04X} "
    found = [line.split()[1] for line in listed.read_text().splitlines() if port in line and " 0A " in line]
    assert found == [f"0100007F:{server.port:04X}"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /health HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n", 200),
        (b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nConnection: close\r\nHost: evil.example\r\n\r\n", 403),
        (b"GET /health HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n", 431),
        (b"GET /health HTTP/1.1\r\n" + b"".join(b"X%d: a\r\n" % n for n in range(10_000)) + HOST + b"\r\n", 431),
        (b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n012345", 400),
        (b"POST /predict HTTP/1.1\r\n" + HOST + b"Content-Length: -5\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
    ],
)
def test_the_wire(server: Server, data: bytes, status: int) -> None:
    found = server.wire(data)
    assert found[:13] in (b"HTTP/1.1 %d " % status, b"HTTP/1.0 %d " % status), found[:200]
    assert found.count(b"HTTP/1.") == 1


def test_http_2_is_not_spoken(server: Server) -> None:
    assert server.wire(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == b""


def test_a_smuggled_request_is_not_answered(server: Server) -> None:
    json_header = b"Content-Type: application/json\r\n"
    smuggled = b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n"
    data = b"POST /predict HTTP/1.1\r\n" + HOST + json_header
    data += b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled
    found = server.wire(data)
    assert found.startswith(b"HTTP/1.1 400 ")
    assert found.count(b"HTTP/1.1") == 1
    assert b"connection: close" in found


def test_chunks_are_read(server: Server) -> None:
    body = json.dumps({"text": "球队"}).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:3], body[3:])) + b"0\r\n\r\n"
    head = b"POST /predict HTTP/1.1\r\nConnection: close\r\nContent-Type: application/json\r\n" + HOST
    assert b'"unknown": ' in server.wire(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)


def test_head_has_no_body(server: Server) -> None:
    found = server.wire(b"HEAD /info HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n")
    assert found.startswith(b"HTTP/1.1 200 ")
    assert found.endswith(b"\r\n\r\n")
    assert found.count(b"\r\n\r\n") == 1


def test_a_large_body_gets_its_answer(server: Server) -> None:
    body = json.dumps({"text": "a" * 5_000_000})
    status, found = server.ask("POST", "/predict", json.loads(body))
    assert status == 413
    assert "at most 4,000,000 bytes" in found["error"]


# --- signals ---


def test_a_hangup_reads_the_bundles_again_and_a_kill_is_made_good(saved: Path, bundle: Bundle, tmp_path: Path) -> None:
    folder = bundle.save(tmp_path / "B")
    with serving(tmp_path, folder) as server:
        server.process.send_signal(signal.SIGHUP)
        until(lambda: any(line["message"] == "loaded again" for line in server.lines()), 10)
        replace(bundle, labels=[f"new {label}" for label in bundle.labels], decisions={}).save(folder)
        until(lambda: server.ask("GET", "/info")[1]["labels"][0].startswith("new "), 10)
        (worker,) = server.workers()
        os.kill(worker, signal.SIGKILL)
        killed = time.monotonic()

        def answers() -> bool:
            with contextlib.suppress(OSError, http.client.HTTPException):
                return server.ask("GET", "/ready")[0] == 200 and server.workers() != [worker]
            return False

        until(answers, 10)
        assert time.monotonic() - killed <= 3
        assert server.stop() == 0


def test_a_worker_does_not_outlive_the_process_that_watches_it(saved: Path, tmp_path: Path) -> None:
    with serving(tmp_path, saved) as server:
        (worker,) = server.workers()
        server.process.kill()
        until(lambda: not Path(f"/proc/{worker}").exists() or not _listens(server.port), 10)
        assert not _listens(server.port)


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def test_ctrl_c_ends_in_one_line(saved: Path) -> None:
    _, port = free_address("127.0.0.1", 0)
    command = [sys.executable, "-m", "fenlei", "serve", str(saved), "--port", str(port), "--quiet"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=ROOT, text=True, start_new_session=True)
    assert process.stderr is not None
    first = process.stderr.readline()
    assert first == f"http://127.0.0.1:{port}/: the page, POST http://127.0.0.1:{port}/predict; Ctrl-C ends\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    rest = process.communicate(timeout=20)[1]
    assert rest == "stopped; everything that was accepted has been answered\n"
    assert process.returncode == 0


def test_a_request_in_work_is_answered_after_sigterm(saved: Path, tmp_path: Path) -> None:
    with serving(tmp_path, saved, "--max-batch", "1") as server:
        found: list[int] = []
        texts = ["球队赢了比赛"] * 400
        asking = threading.Thread(target=lambda: found.append(server.ask("POST", "/predict", {"texts": texts})[0]))
        asking.start()
        until(lambda: b"fenlei_queue_texts 400" in server.ask("GET", "/metrics")[1], 10)
        assert server.stop() == 0
        asking.join(10)
        assert found == [200]


# --- the verb ---


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit status, and the one line on standard error."""
    try:
        status = main(["serve", *map(str, arguments)])
    except SystemExit as end:
        status = int(str(end.code))
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1, err
    return status, err


def test_a_wrong_call_gets_one_sentence(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = tmp_path / "short"
    short.write_text("abc\n")
    for arguments, has in (
        ((), "the following arguments are required: BUNDLE"),
        ((saved, saved), "two bundles are called 'news'"),
        ((saved, "--port", "70000"), "expected a port from 0 to 65535, got 70000"),
        ((saved, "--workers", "0"), "expected a whole number from 1 on"),
        ((saved, "--host", "0.0.0.0"), "others can reach 0.0.0.0: give --token-file or FENLEI_TOKEN, or --no-token"),
        ((saved, "--allow-host", "https://x.example"), "--allow-host takes a name without scheme, port or path"),
        ((saved, "--allow-host", "x.example:80"), "--allow-host takes a name"),
        ((saved, "--token-file", short), "needs at least 16 visible ASCII characters"),
        ((saved, "--token-file", tmp_path / "none"), "no such file"),
        ((tmp_path / "none",), "there is no bundle at"),
    ):
        status, line = call(capsys, *arguments)
        assert (status, has in line) == (2, True), line


def test_a_bundle_that_cannot_be_loaded_is_named(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = bundle.save(tmp_path / "B")
    (folder / "model.onnx").write_bytes(b"x")
    status, line = call(capsys, folder, "--port", "0")
    assert status == 1
    assert "model.onnx has 1 bytes where manifest.json says" in line
    golden = [(text, probabilities[::-1]) for text, probabilities in bundle.golden]
    replace(bundle, golden=golden).save(folder)
    status, line = call(capsys, folder, "--port", "0")
    assert status == 1
    assert "golden inputs are answered differently here" in line


def test_a_port_in_use_is_said(saved: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    status, line = call(capsys, saved, "--port", server.port)
    assert status == 1
    assert f"cannot listen at 127.0.0.1 port {server.port}: address already in use; --port names another" in line
    assert call(capsys, saved, "--host", "no.such.host.invalid", "--no-token")[0] == 1


def test_the_extra_is_named_where_it_is_missing(
    saved: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fenlei.cli.arguments.find_spec", lambda name: None if name == "granian" else True)
    status, line = call(capsys, saved)
    assert (status, line) == (1, "fenlei: this needs granian: pip install -c constraints.txt 'fenlei[serve]'\n")


def test_a_token_is_asked_for_and_never_written(saved: Path, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text(f"{TOKEN}\n")
    with serving(tmp_path, saved, "--token-file", secret) as server:
        assert server.ask("POST", "/predict", {"text": "a"})[0] == 401
        assert server.ask("POST", "/predict", {"text": "a"}, Authorization=f"Bearer {TOKEN}")[0] == 200
        assert server.ask("GET", "/ready")[0] == 200
        shown = subprocess.run(["ps", "-ef"], capture_output=True, text=True).stdout
        assert TOKEN not in shown + server.log.read_text(encoding="utf-8")
    with serving(tmp_path, saved, FENLEI_TOKEN=TOKEN) as server:
        assert server.ask("GET", "/info")[0] == 401


def test_addresses() -> None:
    assert url("127.0.0.1", 80) == "http://127.0.0.1:80/"
    assert url("0.0.0.0", 80) == "http://127.0.0.1:80/"
    assert url("::", 80) == url("::1", 80) == "http://[::1]:80/"
    assert free_address("localhost", 0)[0] in ("127.0.0.1", "::1")
    for host in ("192.0.2.1", "nowhere.invalid"):
        with pytest.raises(OSError, match=r"cannot listen at .*; --host names an address of this machine"):
            free_address(host, 0)


def test_the_process_that_watches_loads_no_model() -> None:
    heavy = ("onnxruntime", "prometheus_client", "torch", "sklearn")
    code = f"import sys, fenlei.serve.server, fenlei.serve.journal; print([n for n in {heavy} if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT).stdout == "[]\n"


# --- several workers ---


@pytest.mark.slow
def test_several_workers_count_together_and_each_is_replaced(saved: Path, tmp_path: Path) -> None:
    with serving(tmp_path, saved, "--workers", "2") as server:
        for _ in range(100):
            assert server.ask("POST", "/predict", {"texts": ["a"] * 3})[0] == 200

        def texts() -> float:
            page = server.ask("GET", "/metrics")[1].decode()
            return float(re.search(r'^fenlei_texts_total\{model="news"\} (\S+)$', page, re.MULTILINE)[1])  # type: ignore[index]

        assert texts() == 300
        workers = server.workers()
        assert len(workers) == 2
        used = {line["process"] for line in server.lines() if line.get("path") == "/predict"}
        assert used == set(workers)
        for worker in workers:
            time.sleep(6)  # granian takes workers that end within 5.5 s of their start for a loop of crashes
            os.kill(worker, signal.SIGKILL)
            until(lambda gone=worker: gone not in server.workers() and len(server.workers()) == 2, 3)  # type: ignore[misc]
        until(lambda: server.ask("GET", "/ready")[0] == 200, 3)
        assert texts() == 300
        assert b"\nfenlei_open_requests 1.0\n" in server.ask("GET", "/metrics")[1]  # the killed ones' are gone
        assert server.stop() == 0


# --- the page on it ---


def blocks(language: str) -> Iterator[str]:
    page = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    for block in re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        yield from block.splitlines()


def test_what_docs_serving_asks_is_answered(server: Server) -> None:
    if not shutil.which("curl"):
        pytest.skip("no curl here")
    lines = [line for line in blocks("bash") if line.startswith("curl ")]
    assert len(lines) >= 3
    for line in lines:
        call = line.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
        found = json.loads(subprocess.run(["bash", "-c", call], capture_output=True, check=True).stdout)
        assert found["model"] == "news"


def test_the_calls_of_docs_serving_are_calls() -> None:
    calls = [shlex.split(line)[1:] for line in blocks("bash") if line.startswith("fenlei ")]
    assert len(calls) >= 3
    for arguments in calls:
        parser().parse_args(arguments)


def test_docs_serving_knows_every_metric_and_every_limit(server: Server) -> None:
    page = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    names = re.findall(r"^# TYPE (fenlei_\w+) (?!gauge$)", server.ask("GET", "/metrics")[1].decode(), re.MULTILINE)
    told = set(re.findall(r"`(fenlei_\w+)`", page))
    assert {name for name in names if not name.endswith("_created")} <= told
    limits = Limits()
    for value in (limits.body_bytes, limits.texts, limits.named, limits.explained_characters, limits.queued_texts):
        assert f"{value:,}" in page
