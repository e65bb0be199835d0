"""The loop of ``fenlei.layers.mingru`` on a GPU: Triton kernels, which builds of torch for CUDA bring along."""

from __future__ import annotations

import contextlib
import textwrap
import warnings
from functools import cache

import torch
from torch import Tensor

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

LOADED = triton is not None
KINDS = (torch.float32, torch.bfloat16)
BLOCK, WARPS = 64, 1  # numbers of the state a program, which goes through all steps of one row, one way

if LOADED:  # what is compiled has no types but Triton's own

    @triton.jit
    def _sigmoid(x):
        return 1.0 / (1.0 + tl.exp(-x))

    @triton.jit
    def _forward(u, lengths, h, T, H, WAYS: tl.constexpr, BLOCK: tl.constexpr):
        b, way = tl.program_id(0).to(tl.int64), tl.program_id(1)
        place = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
        inside = place < H
        length = tl.load(lengths + b).to(tl.int32)
        state = tl.zeros((BLOCK,), tl.float32)
        for step in range(length):
            t = step if way == 0 else length - 1 - step
            row = (b * T + t) * WAYS + way
            z = _sigmoid(tl.load(u + 2 * row * H + place, mask=inside, other=0.0).to(tl.float32))
            x = tl.load(u + (2 * row + 1) * H + place, mask=inside, other=0.0).to(tl.float32)
            g = tl.where(x >= 0, x + 0.5, _sigmoid(x))
            state += z * (g - state)
            tl.store(h + row * H + place, state.to(h.dtype.element_ty), mask=inside)
        for t in range(length, T):
            row = (b * T + t) * WAYS + way
            tl.store(h + row * H + place, tl.zeros((BLOCK,), h.dtype.element_ty), mask=inside)

    @triton.jit
    def _backward(u, h, dh, lengths, du, T, H, WAYS: tl.constexpr, BLOCK: tl.constexpr):
        b, way = tl.program_id(0).to(tl.int64), tl.program_id(1)
        place = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
        inside = place < H
        length = tl.load(lengths + b).to(tl.int32)
        carry = tl.zeros((BLOCK,), tl.float32)
        for back in range(length):
            step = length - 1 - back
            t = step if way == 0 else back
            row = (b * T + t) * WAYS + way
            before = row - WAYS if way == 0 else row + WAYS
            z = _sigmoid(tl.load(u + 2 * row * H + place, mask=inside, other=0.0).to(tl.float32))
            x = tl.load(u + (2 * row + 1) * H + place, mask=inside, other=0.0).to(tl.float32)
            s = _sigmoid(x)
            g, slope = tl.where(x >= 0, x + 0.5, s), tl.where(x >= 0, 1.0, s * (1 - s))
            # before the first step h is zero
            old = tl.load(h + before * H + place, mask=inside & (step > 0), other=0.0).to(tl.float32)
            total = tl.load(dh + row * H + place, mask=inside, other=0.0).to(tl.float32) + carry
            dz, dg = total * (g - old) * z * (1 - z), total * z * slope
            tl.store(du + 2 * row * H + place, dz.to(du.dtype.element_ty), mask=inside)
            tl.store(du + (2 * row + 1) * H + place, dg.to(du.dtype.element_ty), mask=inside)
            carry = total * (1 - z)
        for t in range(length, T):
            row = (b * T + t) * WAYS + way
            nothing = tl.zeros((BLOCK,), du.dtype.element_ty)
            tl.store(du + 2 * row * H + place, nothing, mask=inside)
            tl.store(du + (2 * row + 1) * H + place, nothing, mask=inside)


def has(u: Tensor) -> bool:
    """Whether there is a kernel for numbers like those of ``u``: float32 or bfloat16, on a GPU that Triton works on."""
    return LOADED and u.device.type == "cuda" and u.dtype in KINDS and _works(u.device)


@cache
def _works(device: torch.device) -> bool:
    """Whether a kernel can be compiled and run there: that takes a C compiler, and a GPU that Triton knows."""
    try:
        forward(torch.zeros(1, 1, 1, 2, 1, device=device), torch.ones(1, dtype=torch.int64, device=device))
    except Exception as error:  # noqa: BLE001 - whatever it is, there is a loop in torch
        why = textwrap.shorten(str(error), 160, placeholder=" ...")  # a compiler's whole command line may be in it
        warnings.warn(f"Triton has no kernels for {device}, mingru trains more slowly: {why}", stacklevel=2)
        return False
    return True


def forward(u: Tensor, lengths: Tensor) -> Tensor:
    """``u (B, T, ways, 2, H)``, no gaps, ``lengths (B,)``, to ``h (B, T, ways, H)``; the state is kept in float32."""
    batch, steps, ways, _, size = u.shape
    h = u.new_empty(batch, steps, ways, size)
    if h.numel():
        with _on(u.device):
            _forward[_grid(u)](u, lengths, h, steps, size, WAYS=ways, BLOCK=BLOCK, num_warps=WARPS)
    return h


def backward(u: Tensor, h: Tensor, dh: Tensor, lengths: Tensor) -> Tensor:
    """From the gradient of ``h`` that of ``u``."""
    _, steps, ways, _, size = u.shape
    du = torch.empty_like(u)
    if du.numel():
        with _on(u.device):
            _backward[_grid(u)](u, h, dh, lengths, du, steps, size, WAYS=ways, BLOCK=BLOCK, num_warps=WARPS)
    return du


def _on(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Triton runs a kernel on the current GPU, which need not be that of its arguments."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


def _grid(u: Tensor) -> tuple[int, int, int]:
    """A program for each row, way and block of the state."""
    batch, _, ways, _, size = u.shape
    return batch, ways, -(-size // BLOCK)
