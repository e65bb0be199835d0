"""The compiled loops, plain C over plain arrays, where the installation could compile them; each has a twin in Python.

``LOADED`` says whether they are there. ``FENLEI_KERNELS=0`` in the environment leaves them out. There are no threads
and no allocations in them, and they run without the interpreter's lock, so callers may have threads.
"""

from __future__ import annotations

import ctypes
import os
import zlib
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).parent
MOST = 16  # views that ``weigh`` takes, streams that ``embed`` takes
MACHINES = (1, 4, 8, 16)  # side by side in one pass of ``descend``: 16 weights are a line of the cache


class Table(ctypes.Structure):
    """A ``fenlei.ngrams.NgramTable`` and its index, as ``text.c`` reads them."""

    _fields_ = (
        ("hashes", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("starts", ctypes.c_void_p),
        ("cut", ctypes.c_int64),
        ("shift", ctypes.c_int64),
    )

    @classmethod
    def of(cls, hashes: npt.NDArray[np.uint64], starts: npt.NDArray[np.int32], cut: int, shift: int) -> Table:
        """From the sorted ``hashes (V,)``, where those of each beginning start, and two numbers of bits."""
        kept = np.ascontiguousarray(hashes), np.ascontiguousarray(starts)
        table = cls(kept[0].ctypes.data, len(hashes), kept[1].ctypes.data, cut, shift)
        table.kept = kept  # for as long as anyone may read them
        return table


def _load() -> Any:
    """The module of the loops, or None; one of other sources than those beside it, as a checkout may have, is none."""
    if os.environ.get("FENLEI_KERNELS") == "0":
        return None
    try:
        module = import_module("fenlei.compiled._loops")
    except ImportError:
        return None
    return module if getattr(module, "SOURCE", 0) & 0xFFFFFFFF == checksum(FOLDER) else None


def checksum(folder: Path) -> int:
    """Of all the C there."""
    return zlib.crc32(b"".join(path.read_bytes() for path in sorted(folder.glob("*.[ch]"))))


LOOPS = _load()
LOADED = LOOPS is not None
VNNI = LOADED and bool(LOOPS.VNNI)  # whether the processor multiplies in 8 bits, as ``reader.c`` has it
LSTM = LOADED and bool(LOOPS.LSTM)  # whether it multiplies in bfloat16 faster by ``lstm.c`` than by oneDNN
