"""Dropout with a cheap mask: sixteen random bits a number instead of torch's draw from a distribution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

BITS = 16


class Dropout(nn.Module):
    """In training each number is set to zero with probability ``rate``, the others grow by ``1 / (1 - rate)``.

    Srivastava et al. 2014. ``rate`` is taken to the next 1/65536. ``nn.Dropout`` draws its masks on a CPU one number at
    a time; four numbers share one draw here. Both follow torch's seed, but they are different random numbers.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """``x`` of any shape; outside of training, ``x`` itself."""
        dropped = round(self.rate * 2**BITS)
        if not self.training or dropped == 0:
            return x
        kept = _random_bits(x) >= dropped - 2 ** (BITS - 1)
        return x * kept.to(x.dtype).mul_(2**BITS / (2**BITS - dropped))


def _random_bits(x: Tensor) -> Tensor:
    """A random int16 for each number of ``x``."""
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device).random_(-(2**63), None)
    return words.view(torch.int16)[: x.numel()].view(x.shape)
