"""Chunks of texts given to worker processes: the same arrays in order, whatever becomes of the workers."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import HOSTILE
from hypothesis import given
from hypothesis import strategies as st

from fenlei import tallies, workers
from fenlei.tallies import Counting, Tallies, count
from fenlei.text import Tokenizer
from fenlei.wide import Tally
from fenlei.workers import Job, chunks, pack, read_message, spread, unpack, write_message

COUNTING = Counting(Tokenizer("jieba", stop_words=frozenset({"的"})), ("bigrams",), (("chars", 2),))
TEXTS = [f"{text}{number}" for number in range(20) for text in ["我来到北京清华大学", *HOSTILE[:12]]]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Small limits, so that a few texts are work enough for worker processes, and the list of those started."""
    found: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def popen(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        found.append(start(*args, **kwargs))
        return found[-1]

    monkeypatch.setattr(workers, "POOL_CHARS", 100)
    monkeypatch.setattr(workers, "CHUNK_CHARS", 60)
    monkeypatch.setattr(workers.subprocess, "Popen", popen)
    yield found
    assert all(worker.returncode is not None for worker in found)


def assert_same(one: list[workers.Arrays], other: list[workers.Arrays]) -> None:
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        assert left.keys() == right.keys()
        for name, array in left.items():
            assert right[name].dtype == array.dtype
            np.testing.assert_array_equal(right[name], array)


def test_workers_give_the_same_arrays_in_order(started: list[subprocess.Popen[bytes]]) -> None:
    expected = [COUNTING(chunk) for chunk in chunks(TEXTS)]
    assert_same(list(spread(TEXTS, COUNTING.job(), 2)), expected)
    assert len(started) == 2
    assert_same(list(spread(TEXTS, COUNTING.job(), 1)), expected)
    assert_same(list(spread(TEXTS[:3], COUNTING.job(), 2)), [COUNTING(TEXTS[:3])])
    assert not list(spread([], COUNTING.job(), 2))
    assert len(started) == 2


def test_a_dead_worker_costs_time_only(started: list[subprocess.Popen[bytes]]) -> None:
    results = spread(TEXTS, COUNTING.job(), 2)
    found = list(itertools.islice(results, 2))
    started[0].kill()
    found += results
    assert_same(found, [COUNTING(chunk) for chunk in chunks(TEXTS)])


def test_what_the_texts_raise_is_passed_on(started: list[subprocess.Popen[bytes]]) -> None:
    def texts() -> Iterator[str]:
        yield from TEXTS
        raise OSError("the file is gone")

    with pytest.raises(OSError, match="the file is gone"):
        list(spread(texts(), COUNTING.job(), 2))
    assert len(started) == 2


def test_a_bounded_number_of_texts_is_read_ahead(started: list[subprocess.Popen[bytes]]) -> None:
    read = itertools.count()
    results = spread(("我来到北京清华大学" for _ in read), COUNTING.job(), 2)
    for asked in range(1, 30):
        next(results)
        assert next(read) - asked * 8 < 50
    results.close()  # type: ignore[attr-defined]


def test_where_memory_is_short_fewer_processes_work(
    started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "usable_cores", lambda: 8)
    monkeypatch.setattr("fenlei.memory.limit", lambda: 8 * workers.WORKER_BYTES)
    assert len(list(spread(TEXTS, COUNTING.job()))) > 2
    assert len(started) == 2
    monkeypatch.setattr("fenlei.memory.limit", lambda: 1)
    list(spread(TEXTS, COUNTING.job()))
    assert len(started) == 2


def test_no_processes_are_refused() -> None:
    with pytest.raises(ValueError, match="processes is 0, expected at least 1"):
        spread([], COUNTING.job(), 0)


PARENT = """
import itertools, signal, subprocess, time
from fenlei import workers
from fenlei.tallies import Counting
from fenlei.text import Tokenizer
signal.signal(signal.SIGINT, signal.default_int_handler)
workers.POOL_CHARS = workers.CHUNK_CHARS = 100
start = subprocess.Popen
def popen(*args, **kwargs):
    worker = start(*args, **kwargs)
    print(worker.pid, flush=True)
    return worker
subprocess.Popen = popen
job = Counting(Tokenizer("jieba"), (), ()).job()
for number, found in enumerate(workers.spread(itertools.repeat("我来到北京清华大学"), job, 2)):
    if number == 5:
        print("ready", flush=True)
        time.sleep(60)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_parent(how: signal.Signals) -> None:
    script = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with script:
        assert script.stdout
        assert script.stderr
        pids = [int(line) for line in iter(script.stdout.readline, b"ready\n")]
        assert len(pids) == 2
        script.send_signal(how)
        errors = script.stderr.read()
    deadline = time.monotonic() + 10
    while any(map(is_running, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert errors.count(b"Traceback") == (1 if how == signal.SIGINT else 0)


def is_running(pid: int) -> bool:
    """Whether the process is there and no mere entry that its parent has not asked after."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rsplit(")")[-1].split()[0] == "Z")


@given(st.lists(st.text(st.characters(exclude_categories=())), max_size=8))
def test_messages_carry_any_text_and_any_array(texts: list[str]) -> None:
    arrays = {**pack(texts), "empty": np.zeros((0, 3), np.float32), "flags": np.array([[True], [False]])}
    stream = io.BytesIO()
    write_message(stream, arrays)
    data = stream.getvalue()
    found = read_message(io.BytesIO(data))
    assert found is not None
    assert unpack(found) == texts
    assert_same([found], [arrays])
    assert read_message(io.BytesIO(data[:-1])) is None
    assert read_message(io.BytesIO(b"")) is None


@pytest.mark.parametrize("cut", [0, 5, -1, None])
def test_a_worker_without_its_caller_ends_quietly(cut: int | None) -> None:
    stream = io.BytesIO()
    write_message(stream, COUNTING.job().setup)
    write_message(stream, pack(["我来到北京清华大学"] * 3))
    read, write = os.pipe()
    os.close(read)
    program = "from fenlei.tallies import start; from fenlei.workers import serve; serve(start)"
    with os.fdopen(write, "wb") as output:
        command = [sys.executable, "-c", program]
        result = subprocess.run(
            command, input=stream.getvalue()[:cut], stdout=output, stderr=subprocess.PIPE, timeout=60
        )
    assert (result.returncode, result.stderr) == (0, b"")


def test_counts_are_those_of_a_counter() -> None:
    found = count(TEXTS, COUNTING)
    tokens = Counter(token for text in TEXTS for token in COUNTING.tokenizer(text))
    assert found.tokens == tokens
    assert found.ngrams._documents == len(TEXTS)
    assert found.streams["bigrams"].total()[1].sum() == tokens.total()
    assert COUNTING.job().module == "fenlei.tallies"
    assert json.loads(COUNTING.job().setup["settings"].tobytes())["views"] == [["chars", 2]]
    assert isinstance(COUNTING.job(), Job)


def test_of_too_many_tokens_the_rarer_half_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tallies, "MOST_TOKENS", 40)
    counting = Counting(Tokenizer("spaces"), (), ())
    found = Tallies(())
    for turn in range(50):
        found.add(counting([" ".join(["often"] * 5 + ["now"] * (turn % 2) + [f"rare{turn}.{n}" for n in range(10)])]))
        assert len(found.tokens) <= 40
    assert found.tokens["often"] == 250
    assert 15 <= found.tokens["now"] <= 25


def test_a_tally_is_bounded_and_keeps_what_is_common() -> None:
    chance = np.random.default_rng(0)
    tally, exact = Tally(1000), Counter[int]()
    tally.LIMIT = 100  # type: ignore[misc]
    for _ in range(100):
        part = np.minimum(chance.zipf(1.3, 500), 2**40).astype(np.uint64)
        exact.update(part.tolist())
        tally.add(part)
        assert len(tally.total()[0]) <= 1000
    assert tally.missed > 0
    found = dict(zip(*(side.tolist() for side in tally.total()), strict=True))
    for value, size in exact.items():
        assert 0 <= size - found.get(value, 0) <= tally.missed
    common = [value for value, _ in exact.most_common(50)]
    assert set(common) <= found.keys()
