"""Memory: how much there is, and that what is free goes back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fenlei import memory


def test_the_memory_limit_is_that_of_the_machine_or_the_control_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = memory.limit()
    assert 2**26 < machine < 2**50
    group = tmp_path / "group"
    group.write_text("123456")
    (tmp_path / "none").write_text("max")
    monkeypatch.setattr(memory, "_limits", lambda: iter([group, tmp_path / "none", tmp_path / "gone"]))
    assert memory.limit() == 123456


FRAGMENTED = """
from fenlei import memory
def held():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))
blocks = [b"x" * 100_000 for _ in range(2000)]
kept = blocks[::50]
full = held()
del blocks
gaps = held()
memory.release()
print(full, gaps, held())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_what_is_free_between_blocks_in_use_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", FRAGMENTED], check=True, capture_output=True, text=True)
    held, gaps, released = map(int, done.stdout.split())
    assert released < min(held, gaps) / 4, (held, gaps, released)  # of 200 MB, 4 MB are still in use
