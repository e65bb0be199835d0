"""Many texts cut at once: the same tokens in order, whatever becomes of the worker processes."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fenlei import cutting as module
from fenlei.cutting import tokenize
from fenlei.text import Tokenizer

CHINESE = ["我来到北京清华大学", "", "请访问 url.cn", "a\ud800b\ud83d\ude00", " \n", "他说“走吧”" * 5]


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Small limits, so that a few texts are work enough for worker processes, and the list of those started."""
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def popen(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        started.append(start(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(module, "POOL_CHARS", 40)
    monkeypatch.setattr(module, "CHUNK_CHARS", 60)
    monkeypatch.setattr(module.subprocess, "Popen", popen)
    yield started
    assert all(worker.returncode is not None for worker in started)


def test_tokenize_in_workers_gives_the_same_tokens_in_order(workers: list[subprocess.Popen[bytes]]) -> None:
    tokenizer = Tokenizer("jieba", user_words=(("北京清华", None),), stop_words=frozenset({"“"}))
    texts = [f"{text}{i}" for i in range(20) for text in CHINESE] + CHINESE
    assert list(tokenize(texts, tokenizer, 2)) == [tokenizer(text) for text in texts]
    assert len(workers) == 2


@pytest.mark.parametrize(
    ("tokenizer", "count", "processes"),
    [
        (Tokenizer("words"), 100, 2),
        (Tokenizer("chars"), 100, 2),
        (Tokenizer("jieba"), 100, 1),
        (Tokenizer("jieba"), 4, 2),
    ],
    ids=["words", "chars", "one process", "little"],
)
def test_tokenize_starts_no_worker_without_need(
    workers: list[subprocess.Popen[bytes]], tokenizer: Tokenizer, count: int, processes: int
) -> None:
    texts = ["北京大学"] * count
    assert list(tokenize(texts, tokenizer, processes)) == [tokenizer(text) for text in texts]
    assert not workers


def test_tokenize_reads_a_bounded_number_of_texts_ahead(workers: list[subprocess.Popen[bytes]]) -> None:
    read = itertools.count()
    results = tokenize(("我来到北京清华大学" for _ in read), Tokenizer("jieba"), 2)
    for asked in range(1, 60):
        assert next(results) == ["我", "来到", "北京", "清华大学"]
        assert next(read) - asked * 2 < 40
    assert isinstance(results, Iterator)
    results.close()  # type: ignore[attr-defined]
    assert len(workers) == 2


def test_tokenize_goes_on_where_a_worker_dies(workers: list[subprocess.Popen[bytes]]) -> None:
    tokenizer = Tokenizer("jieba")
    texts = [f"我来到北京清华大学{i}" for i in range(200)]
    results = tokenize(texts, tokenizer, 2)
    found = list(itertools.islice(results, 20))
    workers[0].kill()
    found += results
    assert found == [tokenizer(text) for text in texts]


def test_tokenize_passes_on_what_the_texts_raise(workers: list[subprocess.Popen[bytes]]) -> None:
    def texts() -> Iterator[str]:
        yield from ["我来到北京清华大学"] * 40
        raise OSError("the file is gone")

    with pytest.raises(OSError, match="the file is gone"):
        list(tokenize(texts(), Tokenizer("jieba"), 2))
    assert len(workers) == 2


def test_tokenize_refuses_no_processes() -> None:
    with pytest.raises(ValueError, match="processes is 0, expected at least 1"):
        tokenize([], Tokenizer(), 0)


# Unguarded on purpose: a worker must not import the caller's script again.
INTERRUPTED = """
import itertools, signal, subprocess, time
from fenlei import cutting, text
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may start the tests with Ctrl-C ignored
cutting.POOL_CHARS = cutting.CHUNK_CHARS = 100
start = subprocess.Popen
def popen(*args, **kwargs):
    worker = start(*args, **kwargs)
    print(worker.pid, flush=True)
    return worker
subprocess.Popen = popen
for number, tokens in enumerate(cutting.tokenize(itertools.repeat("我来到北京清华大学"), text.Tokenizer("jieba"), 2)):
    if number == 50:
        print("ready", flush=True)
        time.sleep(60)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_parent(how: signal.Signals) -> None:
    script = subprocess.Popen([sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with script:
        assert script.stdout
        assert script.stderr
        pids = [int(line) for line in iter(script.stdout.readline, b"ready\n")]
        assert len(pids) == 2
        script.send_signal(how)
        errors = script.stderr.read()
    deadline = time.monotonic() + 5
    while any(map(is_running, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert errors.count(b"Traceback") == (1 if how == signal.SIGINT else 0)  # the script's own


@pytest.mark.parametrize("sent", [b"", b'{"name": "jie', b"%s\n", b'%s\n["cut', b'%s\n["a b"]\n["c"]\n'], ids=repr)
def test_a_worker_without_its_caller_ends_quietly(sent: bytes) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-c", "from fenlei.cutting import work; work()"]
    settings = json.dumps(Tokenizer("jieba").to_json()).encode()
    given = sent.replace(b"%s", settings)
    with os.fdopen(write, "wb") as output:
        result = subprocess.run(command, input=given, stdout=output, stderr=subprocess.PIPE, timeout=60)
    assert (result.returncode, result.stderr) == (0, b"")


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rsplit(")")[-1].split()[0] == "Z")
