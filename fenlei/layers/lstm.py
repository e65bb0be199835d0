"""The LSTM in bfloat16, compiled: each row is read within its own length, either way, and nothing is turned round."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from fenlei import compiled
from fenlei.layers import kernels

LANES = 16  # numbers in a register: states are a multiple of these, and inputs are filled up to one
HEIGHT, WIDTH, CHUNK = 6, 64, 128  # of a tile in ``lstm.c``, and pairs of tokens that share one
MOST_THREADS = 2  # torch's own kernel is the faster one with more: this one has a thread a way
_spare = False


@contextlib.contextmanager
def core_to_spare(there: bool) -> Iterator[None]:
    """Within, the two ways are computed side by side if a core is ``there`` for the second: the same bits, sooner."""
    global _spare
    before, _spare = _spare, there
    try:
        yield
    finally:
        _spare = before


def has(x: Tensor, hidden_size: int) -> bool:
    """Whether this loop is to compute an LSTM of ``x``: products are to be in bfloat16, and it is the faster way."""
    return (
        compiled.LSTM
        and x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and torch.get_num_threads() <= MOST_THREADS
        and hidden_size % LANES == 0
    )


def scan(x: Tensor, lengths: Tensor, ways: nn.ModuleList) -> Tensor:
    """``x (B, T, D)``, ``lengths (B,)`` at least 1, to ``(B, T, ways * H)`` in bfloat16, zero past a row's end.

    ``ways`` are one-layer ``nn.LSTM`` of equal sizes, whose second reads each row from its last token to its first.
    Products are summed in float32, cells are kept in it, gates and outputs are rounded.
    """
    input_weights = torch.stack([way.get_parameter("weight_ih_l0") for way in ways])
    if filling := -x.shape[2] % LANES:
        x, input_weights = pad(x, (0, filling)), pad(input_weights, (0, filling))
    state_weights = torch.stack([way.get_parameter("weight_hh_l0") for way in ways])
    biases = torch.stack([way.get_parameter("bias_ih_l0") + way.get_parameter("bias_hh_l0") for way in ways])
    h: Tensor = _Scanned.apply(  # type: ignore[no-untyped-call]
        x.bfloat16().contiguous(), lengths.contiguous(), input_weights, state_weights, biases
    )
    return h.flatten(2)


class _Batch(NamedTuple):
    """What ``lstm.c`` calls a batch."""

    x: Tensor  # (B, T, D)
    h: Tensor  # (B, T, ways, H)
    nothing: Tensor  # zeros, as long as an input or all gates of a token
    lengths: Tensor
    order: Tensor  # rows, the longest first
    sizes: tuple[int, ...]  # B, T, D, H, ways and the sum of lengths

    @classmethod
    def of(cls, x: Tensor, lengths: Tensor, ways: int, size: int) -> _Batch:
        count, steps, depth = x.shape
        order = torch.argsort(lengths, descending=True, stable=True)
        sizes = count, steps, depth, size, ways, int(lengths.sum())
        h = x.new_empty(count, steps, ways, size)
        return cls(x, h, x.new_zeros(depth + 4 * size), lengths, order, sizes)

    @property
    def arguments(self) -> tuple[Tensor | int, ...]:
        return (*self[:-1], *self.sizes)


class _Scanned(torch.autograd.Function):
    """Forward gates, cells and outputs; back the gradients of all."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, lengths: Tensor, input_weights: Tensor, state_weights: Tensor, biases: Tensor
    ) -> Tensor:
        ways, _, size = state_weights.shape
        batch = _Batch.of(x, lengths, ways, size)
        matrices = input_weights.bfloat16(), state_weights.bfloat16()
        gates = x.new_empty(ways, batch.sizes[-1], 4 * size)
        cells = gates.new_empty(ways, batch.sizes[-1], size, dtype=torch.float32)
        packed = _pack("lstm_pack_forward", matrices, x.shape[2] + size)

        def read(way: int) -> None:
            kernels.call("lstm_forward", *batch.arguments, way, packed[way], biases[way], gates[way], cells[way])

        _each(ways, read)
        ctx.save_for_backward(*batch[:-1], *matrices, gates, cells)
        ctx.sizes = batch.sizes
        return batch.h

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        *arrays, input_weights, state_weights, gates, cells = ctx.saved_tensors
        batch = _Batch._make([*arrays, ctx.sizes])
        count, steps, depth, size, ways, tokens = batch.sizes
        blocks, panels = -(-(depth + size) // WIDTH), -(-4 * size // HEIGHT)
        packed = _pack("lstm_pack_back", (input_weights, state_weights), blocks * WIDTH)
        dweights = [torch.zeros_like(each, dtype=torch.float32) for each in (input_weights, state_weights)]
        dbiases, dx = cells.new_zeros(ways, 4 * size), cells.new_zeros(ways, count, steps, depth)
        dh = gradients[0].to(gates.dtype).contiguous()

        def back(way: int) -> None:
            scratch = gates.new_empty(tokens, 4 * size), cells.new_empty(2, count, size)
            room = [
                gates.new_empty(each)
                for each in (
                    (panels, CHUNK, HEIGHT, 2),
                    (blocks, CHUNK, WIDTH, 2),
                    (4 * size + HEIGHT, 2),
                )
            ]
            kept, sums = (packed[way], gates[way], cells[way]), [each[way] for each in dweights]
            kernels.call(
                "lstm_backward", *batch.arguments, way, *kept, dh, *scratch, *sums, *room, dbiases[way], dx[way]
            )

        _each(ways, back)
        return dx[0] if ways == 1 else dx[0].add_(dx[1]), None, *dweights, dbiases


@cache
def _thread(process: int) -> ThreadPoolExecutor:
    """What reads the second way; a forked ``process`` needs one of its own."""
    return ThreadPoolExecutor(1, f"second way of an LSTM, process {process}")


def _each(ways: int, work: Callable[[int], None]) -> None:
    """``work`` for each way, without the interpreter's lock; the second way aside where there is a core for it."""
    if ways == 1 or not (_spare or torch.get_num_threads() > 1):
        for way in range(ways):
            work(way)
        return
    other = _thread(os.getpid()).submit(work, 1)
    try:
        work(0)
    finally:
        other.result()


def _pack(loop: str, matrices: tuple[Tensor, Tensor], columns: int) -> Tensor:
    """Each way's two matrices as ``lstm.c`` multiplies by them: ``(ways, 4H * columns)``."""
    input_weights, state_weights = matrices
    ways, rows, size = state_weights.shape
    packed = state_weights.new_empty(ways, rows * columns)
    for each, of_input, of_state in zip(packed, input_weights, state_weights, strict=True):
        kernels.call(loop, of_input, of_state, input_weights.shape[2], size, each)
    return packed
