"""The processes that train one network together under torchrun; alone, all of this does nothing.

Every process reads all documents and knows every batch, learns a share of each, and adds up its gradients with the
others': all of them take the same steps, so their weights stay equal to the last bit.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as group
from torch import Tensor, nn

PATIENCE = timedelta(minutes=30)  # for a process that is silent but there; one that ends is noticed at once
STRIDE = 1_000_003  # between the seeds of processes
CPU = torch.device("cpu")
BACKENDS = {"cpu": "gloo", "cuda": "nccl"}


@dataclass
class Ranks:
    """``count`` processes, of which this is number ``rank``, from 0. ``interrupted`` says that Ctrl-C came here."""

    rank: int = 0
    count: int = 1
    device: torch.device = CPU
    interrupted: bool = False

    @property
    def leads(self) -> bool:
        """Whether this is the one process that prints, writes and fits the linear model."""
        return self.rank == 0

    def share(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The part of a batch that is this process's: every ``count``-th row, long ones and short ones dealt out."""
        return rows[self.rank :: self.count]

    def add_up(
        self, dense: Sequence[nn.Parameter], sparse: Sequence[nn.Parameter], numbers: Sequence[float]
    ) -> list[float]:
        """Put the sum over all processes in the place of every gradient; returns the sums of ``numbers``.

        Dense gradients travel in one buffer, with the numbers, with which gradients there are, and with how many rows
        each sparse one has here; the rows and values of all sparse ones in a second. Afterwards both are equal
        everywhere, to the last bit. What has a gradient nowhere keeps none.
        """
        if self.count == 1:
            return list(numbers)
        sizes = torch.zeros(self.count, len(sparse), device=self.device)
        for place, parameter in enumerate(sparse):
            if parameter.grad is not None:
                parameter.grad = parameter.grad.coalesce()
                sizes[self.rank, place] = parameter.grad._nnz()
        there = [float(p.grad is not None) for p in dense]
        totals = torch.tensor([*numbers, *there], dtype=torch.float32, device=self.device)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in dense]
        parts = (*gradients, totals, sizes)
        buffer = torch.cat([part.reshape(-1).float() for part in parts])
        reach(group.all_reduce, buffer)
        *summed, totals, sizes = torch.split(buffer, [part.numel() for part in parts])
        for parameter, values, holders in zip(dense, summed, totals[len(numbers) :].tolist(), strict=True):
            parameter.grad = values.view_as(parameter).to(parameter.dtype) if holders else None
        if sizes.any():
            self._gather_sparse(sparse, sizes.view(self.count, -1).long().tolist())
        found: list[float] = totals[: len(numbers)].tolist()
        return found

    def _gather_sparse(self, parameters: Sequence[nn.Parameter], sizes: list[list[int]]) -> None:
        """Every process's rows of every sparse gradient, ``sizes[rank][which]`` of them, summed row by row."""
        mine = []
        for parameter, size in zip(parameters, sizes[self.rank], strict=True):
            if size and parameter.grad is not None:
                rows = parameter.grad._indices()[0]
                mine += [rows.view(torch.float32), parameter.grad._values().reshape(-1)]
        lengths = [sum(n * (2 + p.shape[1]) for n, p in zip(each, parameters, strict=True)) for each in sizes]
        sent = torch.zeros(max(lengths), device=self.device)
        if mine:
            sent[: lengths[self.rank]] = torch.cat(mine)
        received = [torch.empty_like(sent) for _ in range(self.count)]
        reach(group.all_gather, received, sent)
        rows_of: list[list[Tensor]] = [[] for _ in parameters]
        values_of: list[list[Tensor]] = [[] for _ in parameters]
        for buffer, each in zip(received, sizes, strict=True):
            start = 0
            for place, (size, parameter) in enumerate(zip(each, parameters, strict=True)):
                middle, end = start + 2 * size, start + (2 + parameter.shape[1]) * size
                rows_of[place].append(buffer[start:middle].clone().view(torch.int64))
                values_of[place].append(buffer[middle:end].view(size, parameter.shape[1]))
                start = end
        for parameter, rows, values in zip(parameters, map(torch.cat, rows_of), map(torch.cat, values_of), strict=True):
            summed = torch.sparse_coo_tensor(rows[None], values, parameter.shape, check_invariants=False).coalesce()
            parameter.grad = summed if len(rows) else None

    def gather(self, values: Tensor) -> list[Tensor]:
        """Tensors ``(n, ...)`` of all processes in order; ``n`` may differ."""
        if self.count == 1:
            return [values]
        sizes = torch.zeros(self.count, dtype=torch.int64, device=self.device)
        sizes[self.rank] = len(values)
        reach(group.all_reduce, sizes)
        most = int(sizes.max())
        sent = torch.zeros(most, *values.shape[1:], dtype=values.dtype, device=self.device)
        sent[: len(values)] = values
        received = [torch.empty_like(sent) for _ in range(self.count)]
        reach(group.all_gather, received, sent)
        return [part[:size].to(values.device) for part, size in zip(received, sizes.tolist(), strict=True)]

    def tell(self, data: bytes | None) -> bytes:
        """What the leading process says, to all."""
        if self.count == 1:
            return data or b""
        size = torch.tensor([len(data or b"")], device=self.device)
        reach(group.broadcast, size, 0)
        empty = torch.empty(int(size), dtype=torch.uint8, device=self.device)
        message = torch.frombuffer(bytearray(data), dtype=torch.uint8).to(self.device) if data else empty
        if len(message):
            reach(group.broadcast, message, 0)
        return message.cpu().numpy().tobytes()

    def agree(self, yes: bool) -> bool:
        """What the leading process decides."""
        return self.tell(b"1" if yes else b"0") == b"1" if self.count > 1 else yes

    @contextlib.contextmanager
    def apart(self, seed: int) -> Iterator[None]:
        """Other random numbers on every process, so that each drops other units; the same ones again afterwards."""
        if self.count > 1:
            torch.manual_seed(seed + (self.rank + 1) * STRIDE)
        try:
            yield
        finally:
            if self.count > 1:
                torch.manual_seed(seed + (self.count + 1) * STRIDE)

    def check_equal(self, what: str, digest: str) -> None:
        """ValueError where a process has other data than the leading one."""
        if self.tell(digest.encode()) != digest.encode():
            raise ValueError(
                f"process {self.rank} of {self.count} has other {what} than process 0: all must read the same DATA"
            )


ALONE = Ranks()


def reach(operation: Callable[..., object], *arguments: Any, **settings: Any) -> None:
    """One operation of torch.distributed; ConnectionError where another process does not answer."""
    try:
        operation(*arguments, **settings)
    except RuntimeError as error:
        reason = str(error).splitlines()[0][:200]
        raise ConnectionError(
            f"another process of this training has ended or is out of reach ({reason}): start all of them again, with "
            "--resume to go on from the last checkpoint"
        ) from error


@contextlib.contextmanager
def join(device: torch.device, count: int) -> Iterator[Ranks]:
    """The ``count`` processes that torchrun started, or this one alone. Ctrl-C is only noted within the block of many:
    all act upon it after the same step.

    ValueError where the environment lacks what torchrun sets.
    """
    if count == 1:
        yield Ranks(device=device)
        return
    missing = [name for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise ValueError(f"WORLD_SIZE is {count} but {missing[0]} is not set: start the processes with torchrun")
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    reach(group.init_process_group, BACKENDS[device.type], timeout=PATIENCE)
    ranks = Ranks(rank_of(), count, device)
    before = signal.signal(signal.SIGINT, lambda *_: _note(ranks))
    try:
        yield ranks
    finally:
        signal.signal(signal.SIGINT, before)
        group.destroy_process_group()


def _note(ranks: Ranks) -> None:
    ranks.interrupted = True


def count_of() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank_of() -> int:
    """Which of them this one is."""
    return int(os.environ.get("RANK", "0"))
