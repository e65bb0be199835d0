"""The compiled loops of ``kernels.c``, where the installation could compile them; each has a twin in torch.

``LOADED`` says whether they are there. ``FENLEI_KERNELS=0`` in the environment leaves them out.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os

import torch
from torch import Tensor

POINTER, COUNT, NUMBER = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float

SIGNATURES: dict[str, tuple[type[ctypes.c_int64] | None, list[type]]] = {
    "sum_by_id": (COUNT, [POINTER, POINTER, COUNT, COUNT, COUNT, POINTER, POINTER, POINTER]),
    "adam_rows": (None, [POINTER] * 5 + [COUNT] * 2 + [NUMBER] * 5),
}


def _load() -> ctypes.CDLL | None:
    """The library beside this module, its functions' signatures declared."""
    found = importlib.util.find_spec("fenlei.layers._kernels")
    if found is None or found.origin is None or os.environ.get("FENLEI_KERNELS") == "0":
        return None
    library = ctypes.CDLL(found.origin)  # without the interpreter's lock: other threads go on meanwhile
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


LIBRARY = _load()
LOADED = LIBRARY is not None


def usable(*tensors: Tensor) -> bool:
    """Whether the compiled loops can work on these: float32, or ids, in the processor's own memory, without gaps."""
    return LOADED and all(
        each.device.type == "cpu" and each.dtype in (torch.float32, torch.int64) and each.is_contiguous()
        for each in tensors
    )
