"""The compiled loops of ``kernels.c``, where the installation could compile them; each has a twin in torch.

``LOADED`` says whether they are there. ``FENLEI_KERNELS=0`` in the environment leaves them out.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

POINTER, COUNT, NUMBER = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float

MACHINES = (1, 4, 8, 16)  # side by side in one pass of ``descend``: 16 weights are a line of the cache

SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "sum_by_id": (COUNT, [POINTER, POINTER, COUNT, COUNT, COUNT, POINTER, POINTER, POINTER]),
    "adam_rows": (None, [POINTER] * 5 + [COUNT] * 2 + [NUMBER] * 5),
}
for width in MACHINES:
    SIGNATURES[f"descend_{width}"] = (None, [POINTER] * 4 + [COUNT] + [POINTER] * 10)
for precision in ("f32", "bf16"):
    SIGNATURES[f"mingru_forward_{precision}"] = (None, [POINTER] * 2 + [COUNT] * 4 + [POINTER] * 2)
    SIGNATURES[f"largest_{precision}"] = (None, [POINTER] * 2 + [COUNT] * 3 + [POINTER] * 3)
    SIGNATURES[f"spread_{precision}"] = (None, [POINTER] * 2 + [COUNT] * 3 + [POINTER])
    SIGNATURES[f"mingru_backward_{precision}"] = (None, [POINTER] * 4 + [COUNT] * 4 + [POINTER] * 2)


def _load() -> ctypes.CDLL | None:
    """The library beside this module, its functions' signatures declared."""
    found = importlib.util.find_spec("fenlei.layers._kernels")
    if found is None or found.origin is None or os.environ.get("FENLEI_KERNELS") == "0":
        return None
    library = ctypes.CDLL(found.origin)  # without the interpreter's lock: other threads go on meanwhile
    if not _is_of_this_source(library):
        return None
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _is_of_this_source(library: ctypes.CDLL) -> bool:
    """Whether it was compiled from the ``kernels.c`` beside this module: a checkout may have one of an older source."""
    if not hasattr(library, "source"):
        return False
    library.source.restype = ctypes.c_uint32
    return bool(library.source() == zlib.crc32(Path(__file__).with_name("kernels.c").read_bytes()))


PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16"}
LIBRARY = _load()
LOADED = LIBRARY is not None


def usable(*tensors: Tensor) -> bool:
    """Whether the compiled loops can work on these: float32, or ids, in the processor's own memory, without gaps."""
    return LOADED and all(
        each.device.type == "cpu" and each.dtype in (torch.float32, torch.int64) and each.is_contiguous()
        for each in tensors
    )


def has(x: Tensor) -> bool:
    """Whether there is a compiled loop for numbers like those of ``x``: float32 or bfloat16, not on another device."""
    return LOADED and x.dtype in PRECISIONS and x.device.type == "cpu"


def call(name: str, kind: torch.dtype, *arguments: Tensor | int) -> None:
    """A loop in one of its two precisions; tensors, which have no gaps, go as pointers."""
    assert LIBRARY is not None
    pointers = [each.data_ptr() if isinstance(each, Tensor) else each for each in arguments]
    getattr(LIBRARY, f"{name}_{PRECISIONS[kind]}")(*pointers)


def descend(width: int, *arguments: npt.NDArray[np.generic] | int | None) -> None:
    """One pass over documents for ``width`` linear machines: see ``fenlei.machines``. Arrays have no gaps."""
    assert LIBRARY is not None
    pointers = [each.ctypes.data if isinstance(each, np.ndarray) else each for each in arguments]
    getattr(LIBRARY, f"descend_{width}")(*pointers)
