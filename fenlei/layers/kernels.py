"""The compiled loops on tensors; each has a twin in torch."""

from __future__ import annotations

import torch
from torch import Tensor

from fenlei import compiled

PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16"}


def usable(*tensors: Tensor) -> bool:
    """Whether the compiled loops can work on these: float32, or ids, in the processor's own memory, without gaps."""
    return compiled.LOADED and all(
        each.device.type == "cpu" and each.dtype in (torch.float32, torch.int64) and each.is_contiguous()
        for each in tensors
    )


def has(x: Tensor) -> bool:
    """Whether there is a compiled loop for numbers like those of ``x``: float32 or bfloat16, not on another device."""
    return compiled.LOADED and x.dtype in PRECISIONS and x.device.type == "cpu"


def call(name: str, *arguments: Tensor | float | None) -> int:
    """A loop by its name; tensors, which have no gaps, go as pointers."""
    found: int = getattr(compiled.LOOPS, name)(*map(_place, arguments))
    return found


def call_for(kind: torch.dtype, name: str, *arguments: Tensor | float | None) -> None:
    """A loop in one of its two precisions."""
    call(f"{name}_{PRECISIONS[kind]}", *arguments)


def _place(argument: Tensor | float | None) -> int | float | None:
    return argument.data_ptr() if isinstance(argument, Tensor) else argument
