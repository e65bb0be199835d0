"""A corpus larger than the memory that training gets: it trains and predicts all the same."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from conftest import CHINESE, COMMON_CHINESE

MEGABYTES = int(os.environ.get("FENLEI_LARGE_MB", "200"))  # 2000: the whole measure, an hour on two cores
LIMIT = 2**31  # the network, its optimizer and the libraries take more than half of it whatever the corpus

# Documents go into files past a tenth of what the corpus has, as they do where a corpus is ten times larger.
PROGRAM = """
import sys
from fenlei import cli, memory, preparing
from fenlei.corpus import reading
limit, large = int(sys.argv[1]), int(sys.argv[2])
memory.limit = lambda: limit
preparing.LARGE = reading.LARGE = large
sys.exit(cli.main(sys.argv[3:]))
"""


def corpus_of(megabytes: int, path: Path) -> list[dict[str, str]]:
    """JSON lines of about 600 bytes: a class's own words among common ones and noise. Returns the first ones."""
    chance = random.Random(0)
    noise = [chr(number) for number in range(0x4E00, 0x9FA5)]
    words = {label: [*own, *COMMON_CHINESE, *noise] for label, own in CHINESE.items()}
    totals = {
        label: list(itertools.accumulate([*spread(0.18, own), *spread(0.72, COMMON_CHINESE), *spread(0.1, noise)]))
        for label, own in CHINESE.items()
    }
    first: list[dict[str, str]] = []
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < megabytes * 10**6:
            labels = chance.choices(list(CHINESE), k=2000)
            texts = (chance.choices(words[label], cum_weights=totals[label], k=100) for label in labels)
            rows = [{"text": "".join(text), "label": label} for label, text in zip(labels, texts, strict=True)]
            first = first or rows[:200]
            file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return first


def spread(share: float, things: Sequence[str]) -> list[float]:
    """The chance of each of some things that are drawn so often together."""
    return [share / len(things)] * len(things)


@contextlib.contextmanager
def control_group(limit: int) -> Iterator[Path | None]:
    """A control group of its own under this process's, limited to so many bytes; None where that is not allowed."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    places = [("/sys/fs/cgroup/memory", name, "memory.limit_in_bytes") for _, kinds, name in lines if kinds == "memory"]
    places += [("/sys/fs/cgroup", name, "memory.max") for _, kinds, name in lines if not kinds]
    for root, name, file in places:
        group = Path(root, name.lstrip("/"), f"fenlei-test-{os.getpid()}")
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if (group / file).exists():
                (group / file).write_text(str(limit))
                yield group
                return
        finally:
            for _ in range(50):  # its last process may still be ending
                with contextlib.suppress(OSError):
                    group.rmdir()
                    break
                time.sleep(0.1)
    yield None


def anonymous(pid: int) -> int:
    """Bytes that no file stands behind, of a process and its children."""
    total = 0
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (str(pid), *children):
            for line in Path(f"/proc/{each}/status").read_text().splitlines():
                if line.startswith("RssAnon"):
                    total += int(line.split()[1]) * 1024
    return total


def peak_of(command: list[str], environment: dict[str, str], group: Path | None) -> tuple[int, int, str]:
    """Exit status, most memory, and what was said."""

    def enter() -> None:
        if group is not None:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    peak = 0
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=enter) as process:
        assert process.stderr
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.extend(process.stderr or []))
        reader.start()
        while process.poll() is None:
            peak = max(peak, anonymous(process.pid))
            time.sleep(0.1)
        reader.join()
    return process.returncode, peak, "".join(said)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.skipif(sys.platform != "linux", reason="control groups")
def test_a_corpus_larger_than_memory_trains_and_predicts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "large.jsonl"
    rows = corpus_of(MEGABYTES, data)
    large = MEGABYTES * 10**6 // 30
    command = [sys.executable, "-c", PROGRAM, str(LIMIT), str(large), "train", str(data), "--out", str(tmp_path / "b")]
    command += ["--set", "steps=200", "--no-report", "--quiet"]
    environment = os.environ | {"FENLEI_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    with control_group(LIMIT) as group:
        began = time.monotonic()
        status, peak, said = peak_of(command, environment, group)
        seconds = time.monotonic() - began
    with capsys.disabled():
        held = "by a control group" if group else "measured only"
        print(f"\n{MEGABYTES} MB: {seconds:.0f} s, at most {peak / 1e6:.0f} MB of {LIMIT / 1e6:.0f}, {held}")  # noqa: T201
    assert status == 0, said[-2000:]
    assert peak < LIMIT
    assert "documents, drawn by lot" in said
    import fenlei

    found = fenlei.load(tmp_path / "b").predict([row["text"] for row in rows])
    assert sum(one == row["label"] for one, row in zip(found, rows, strict=True)) >= 190
