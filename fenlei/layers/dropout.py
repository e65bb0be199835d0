"""Dropout with a cheap mask: sixteen random bits a number instead of torch's draw from a distribution."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fenlei.layers import kernels

BITS = 16


class Dropout(nn.Module):
    """In training each number is set to zero with probability ``rate``, the others grow by ``1 / (1 - rate)``.

    Srivastava et al. 2014. ``rate`` is taken to the next 1/65536. ``nn.Dropout`` draws its masks on a CPU one number at
    a time; four numbers share one draw here, and the compiled loop draws nothing but a seed. All follow torch's seed,
    but they are different random numbers.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {rate}")
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """``x`` of any shape; outside of training, ``x`` itself."""
        dropped = min(round(self.rate * 2**BITS), 2**BITS - 1)
        if not self.training or dropped == 0:
            return x
        scale = 2**BITS / (2**BITS - dropped)
        if kernels.has(x):
            kept: Tensor = _Dropped.apply(x.contiguous(), dropped, scale)  # type: ignore[no-untyped-call]
            return kept
        return x * (_random_bits(x) >= dropped - 2 ** (BITS - 1)).to(x.dtype).mul_(scale)


class _Dropped(torch.autograd.Function):
    """The same, compiled: which numbers are kept is found again on the way back, from the seed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dropped: int, scale: float) -> Tensor:
        ctx.how = int(torch.empty((), dtype=torch.int64, device=x.device).random_(-(2**63), None)), dropped, scale
        return _drop(x, *ctx.how)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return _drop(gradients[0].contiguous(), *ctx.how), None, None


def _drop(x: Tensor, seed: int, dropped: int, scale: float) -> Tensor:
    y = torch.empty_like(x)
    kernels.call_for(x.dtype, "drop", x, x.numel(), seed, dropped, scale, y)
    return y


def _random_bits(x: Tensor) -> Tensor:
    """A random int16 for each number of ``x``."""
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device).random_(-(2**63), None)
    return words.view(torch.int16)[: x.numel()].view(x.shape)
