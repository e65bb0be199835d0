"""Sorted whole numbers in few bytes: their low bits side by side, their high bits as gaps between ones."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
HEAD = 9  # bytes: how many numbers, of how many bits


def encode(numbers: npt.NDArray[np.uint64], bits: int) -> Bytes:
    """Distinct numbers ``(N,)``, rising, below ``2 ** bits``, as bytes (Elias 1974, Fano 1971).

    Of each number ``l = bits - floor(log2 N)`` low bits stand as they are. The rest, ``h_i``, never falls: a one at the
    place ``h_i + i`` of a row of zeros tells it. That takes
    about ``l + 2`` bits a number; no code needs half a bit less.
    """
    low = _low_bits(len(numbers), bits)
    places = (numbers >> np.uint64(low)).astype(np.int64) + np.arange(len(numbers))
    marks = np.zeros(int(places[-1]) + 1 if len(numbers) else 0, np.uint8)
    marks[places] = 1
    head = np.frombuffer(len(numbers).to_bytes(8, "little") + bytes([bits]), np.uint8)
    columns = (numbers[:, None] >> np.arange(low, dtype=np.uint64)) & np.uint64(1)
    return np.concatenate([head, np.packbits(columns.astype(np.uint8)), np.packbits(marks)])


def decode(data: Bytes) -> tuple[npt.NDArray[np.uint64], int]:
    """The numbers that ``encode`` was given, and their bits; ValueError for other bytes."""
    count = int.from_bytes(data[:8].tobytes(), "little") if len(data) >= HEAD else -1
    bits = int(data[8]) if count >= 0 else 0
    low = _low_bits(count, bits)
    end = HEAD + -(-count * low // 8)
    if not (0 <= count <= 8 * len(data) and 1 <= bits <= 64 and end <= len(data)):
        raise ValueError(f"{len(data)} bytes hold no sorted numbers")
    high = np.flatnonzero(np.unpackbits(data[end:]))
    if len(high) != count:
        raise ValueError(f"expected {count} sorted numbers, found {len(high)}")
    columns = np.unpackbits(data[HEAD:end], count=count * low).reshape(count, low).astype(np.uint64)
    lows = (columns << np.arange(low, dtype=np.uint64)).sum(1, dtype=np.uint64)
    return ((high - np.arange(count)).astype(np.uint64) << np.uint64(low)) | lows, bits


def size(count: int, bits: int) -> int:
    """About the bytes that ``encode`` needs, at most."""
    low = _low_bits(count, bits)
    return HEAD + (count * low + 7) // 8 + (count + (1 << (bits - low)) + 7) // 8


def _low_bits(count: int, bits: int) -> int:
    return max(0, bits - int(math.log2(count))) if count > 0 else 0
