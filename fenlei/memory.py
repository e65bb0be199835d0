"""How much memory this process may use, and what it holds without need."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
UNKNOWN = 4 * 2**30  # where the machine does not say


def limit() -> int:
    """Bytes: the machine's memory, or less where a control group of this process has less."""
    found = [UNKNOWN]
    if hasattr(os, "sysconf"):
        found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in _limits():
        with contextlib.suppress(OSError, ValueError):  # "max" is no number
            found.append(int(path.read_text()))
    return min(found)


def release() -> None:
    """Give memory that nothing uses any more back to the machine.

    glibc keeps what is freed between two blocks in use, and arrays of ever other sizes leave many such gaps: a
    prediction of 6,000 documents was seen to hold a gigabyte, of which a tenth was in use. Elsewhere nothing happens.
    """
    if sys.platform != "linux":
        return
    import ctypes  # most processes never need it

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _limits() -> Iterator[Path]:
    """The files that limit this process's control group and those above it, of both versions."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kinds, name = line.split(":", 2)
            own = Path(name.lstrip("/"))
            for group in (own, *own.parents):
                if not kinds:
                    yield GROUPS / group / "memory.max"
                elif "memory" in kinds.split(","):
                    yield GROUPS / "memory" / group / "memory.limit_in_bytes"
