"""The mean of a network's weights on its way: what answers after a training whose rate stays as it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

UPDATES = 48  # in a training: more of them gave no more, and each reads and writes all tables
POWER = 3  # the mean at step t counts step s by about (s / t) ** POWER: a third of the way back, a third as much


class Average:
    """A mean in which later weights count more, so that it is as good at any time: no beginning is to be chosen.

    Polyak and Juditsky 1992; decay by a power: Shamir and Zhang 2013. While the rate stays the weights wander around
    where the loss is least, and their mean is nearer to it than a small rate would bring them.
    """

    def __init__(self, model: nn.Module, total_steps: int) -> None:
        self.model, self.apart = model, max(1, total_steps // UPDATES)
        self.count, self.weights = 0, dict[str, Tensor]()

    @torch.no_grad()
    def step(self, steps: int) -> None:
        """After so many steps: every few of them the weights are taken in."""
        if steps % self.apart:
            return
        self.count += 1
        share = (POWER + 1) / (self.count + POWER)
        for name, value in self._named().items():
            if name not in self.weights:
                self.weights[name] = value.detach().clone()
            elif value.is_floating_point():
                self.weights[name].lerp_(value, share)
            else:
                self.weights[name].copy_(value)

    @contextlib.contextmanager
    def put_in(self) -> Iterator[None]:
        """The network has the mean for its weights while the block runs, if there is one yet; nothing is copied."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, value in self._named().items():
            if name in self.weights:
                value.data, self.weights[name] = self.weights[name], value.data

    def _named(self) -> dict[str, Tensor]:
        """All that a network has learned or counted; what goes by two names, once."""
        return dict(self.model.named_parameters()) | dict(self.model.named_buffers())

    def state_dict(self) -> dict[str, Any]:
        """The mean, and of how many it is."""
        return {"count": self.count, "weights": self.weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Be where ``state`` was left, each weight on the network's own device."""
        devices = {name: value.device for name, value in self._named().items()}
        self.count = state["count"]
        self.weights = {name: value.to(devices[name]) for name, value in state["weights"].items()}
