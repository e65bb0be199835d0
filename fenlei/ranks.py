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
Rows = tuple[Tensor, Tensor]  # some rows of a table: ids (N,) and values (N, D)
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
        self, dense: Sequence[nn.Parameter], tables: Sequence[Rows | None], widths: Sequence[int], numbers: list[float]
    ) -> tuple[list[float], list[Rows | None]]:
        """Put the sum over all processes in the place of the gradients of ``dense``; returns the sums of ``numbers``.

        Also, for each table, of ``widths`` columns, the ids and values of all processes, in their order, not yet
        summed. Dense gradients travel in one buffer, with the numbers, with which gradients there are, and with how
        many rows each table has here; all rows in a second. Afterwards all is equal everywhere, to the last bit. What
        has a gradient nowhere keeps none.
        """
        sizes = torch.zeros(self.count, len(tables), device=self.device)
        sizes[self.rank] = torch.tensor([0.0 if rows is None else float(len(rows[0])) for rows in tables])
        there = [float(p.grad is not None) for p in dense]
        totals = torch.tensor([*numbers, *there], dtype=torch.float32, device=self.device)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in dense]
        parts = (*gradients, totals, sizes)
        buffer = torch.cat([part.reshape(-1).float() for part in parts])
        reach(group.all_reduce, buffer)
        *summed, totals, sizes = torch.split(buffer, [part.numel() for part in parts])
        for parameter, values, holders in zip(dense, summed, totals[len(numbers) :].tolist(), strict=True):
            parameter.grad = values.view_as(parameter).to(parameter.dtype) if holders else None
        found: list[float] = totals[: len(numbers)].tolist()
        return found, self._join_rows(tables, widths, sizes.view(self.count, -1).long().tolist())

    def _join_rows(
        self, tables: Sequence[Rows | None], widths: Sequence[int], sizes: list[list[int]]
    ) -> list[Rows | None]:
        """The rows of each table of all processes, ``sizes[rank][table]`` of them: ids travel as two floats each."""
        lengths = [sum(n * (2 + width) for n, width in zip(each, widths, strict=True)) for each in sizes]
        if not any(lengths):
            return [None] * len(tables)
        mine = [part for rows in tables if rows is not None for part in _flat(*rows)]
        sent = torch.zeros(max(lengths), device=self.device)
        sent[: lengths[self.rank]] = torch.cat([sent[:0], *mine])
        received = [torch.empty_like(sent) for _ in range(self.count)]
        reach(group.all_gather, received, sent)
        pieces = [_cut(buffer, each, widths) for buffer, each in zip(received, sizes, strict=True)]
        joined = [
            (torch.cat(ids), torch.cat(values))
            for ids, values in (zip(*each, strict=True) for each in zip(*pieces, strict=True))
        ]
        return [rows if len(rows[0]) else None for rows in joined]

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
        """What the leading process says, to all; what the others say is not heard."""
        said = (data or b"") if self.leads else b""
        if self.count == 1:
            return said
        size = torch.tensor([len(said)], device=self.device)
        reach(group.broadcast, size, 0)
        message = torch.zeros(int(size), dtype=torch.uint8, device=self.device)
        if said:
            message[:] = torch.frombuffer(bytearray(said), dtype=torch.uint8)
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

    @contextlib.contextmanager
    def alike(self, seed: int) -> Iterator[None]:
        """The same random numbers on every process, for weights that all are to begin with; afterwards as before."""
        if self.count == 1:
            yield
            return
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield

    def check_equal(self, what: str, digest: str) -> None:
        """ValueError where a process has other data than the leading one."""
        if self.tell(digest.encode()) != digest.encode():
            raise ValueError(
                f"process {self.rank} of {self.count} has other {what} than process 0: all must read the same DATA"
            )


ALONE = Ranks()


def _flat(ids: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Both as float32 numbers in a row, ids bit by bit."""
    return ids.contiguous().view(torch.float32), values.float().reshape(-1)


def _cut(buffer: Tensor, sizes: Sequence[int], widths: Sequence[int]) -> list[Rows]:
    """One process's rows of every table, out of its buffer."""
    found, start = [], 0
    for size, width in zip(sizes, widths, strict=True):
        middle, end = start + 2 * size, start + (2 + width) * size
        found.append((buffer[start:middle].clone().view(torch.int64), buffer[middle:end].view(size, width)))
        start = end
    return found


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
