"""Adversarial training: every batch is learned as it is, and once more where the loss grows fastest."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

WIDTH = 128  # numbers a vector for which the norm is meant


def learn_both(
    x: Tensor, norm: float, logits_of: Callable[[Tensor], Tensor], loss_of: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """The mean of ``loss(x)`` and ``loss(x + r)``, ``r = s * g / |g|`` for each document's ``g = dloss / dx``.

    ``s`` is the ``norm`` where vectors have 128 numbers, and grows with the root of their number as they themselves do.

    ``x (B, ..., D)`` are the documents' embeddings, ``logits_of`` the rest of the network. Miyato et al. 2017,
    "Adversarial Training Methods for Semi-Supervised Text Classification", equations 3 and 4, their embeddings not
    normalized.

    Returns the logits of ``x`` and a number whose value is the mean loss. The gradients of the rest of the network are
    at its weights already; that number's ``backward`` brings those of what ``x`` was made of. So each of the two losses
    is differentiated once, and what makes ``x`` only once for both.
    """
    clean = x.detach().requires_grad_()
    logits = logits_of(clean)
    first = loss_of(logits) / 2
    first.backward()  # type: ignore[no-untyped-call]
    assert clean.grad is not None
    moved = (clean.detach() + away(clean.grad, norm * math.sqrt(x.shape[-1] / WIDTH))).requires_grad_()
    second = loss_of(logits_of(moved)) / 2
    second.backward()  # type: ignore[no-untyped-call]
    assert moved.grad is not None
    carried = (x * (clean.grad + moved.grad)).sum()
    return logits.detach(), carried - carried.detach() + (first + second).detach()


def away(gradient: Tensor, norm: float) -> Tensor:
    """The step of this length along each document's gradient ``(B, ..., D)``; none where that is zero."""
    lengths = gradient.flatten(1).norm(dim=1).clamp_min(torch.finfo(gradient.dtype).tiny)
    along: Tensor = gradient / lengths.view(-1, *[1] * (gradient.ndim - 1))
    return norm * along
