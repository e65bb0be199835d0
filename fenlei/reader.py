"""What a network of gated units makes of documents, compiled, in place of a graph: from ids to a vector each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fenlei import compiled
from fenlei.pipeline import Array, Encoded

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

POOLINGS = ("mean", "max", "attention", "last")  # in the order in which the loop numbers them
ROWS, COLUMNS = 4, 32  # the loop computes so many rows of a product together, and columns in groups of so many


@dataclass(frozen=True)
class Read:
    """``pool_t(gated units(sum_s E_s[ids_s]))``: ``(B, poolings * W)``, as ``fenlei.models.mingru`` has it.

    ``tables`` are ``E_s (V_s, D)``; ``gates (D, ways * 2 * H)`` and their bias; of the attention ``project (W, W)``
    and its bias, and ``context (W,)``. Matrices are transposed, as the loop reads them.
    """

    tables: Mapping[str, Array]
    ways: int
    gates: Floats
    gate_bias: Floats
    attention: Sequence[Floats]
    kinds: Ints  # of pooling, by their places in ``POOLINGS``

    @property
    def states(self) -> int:
        """``W = ways * H``."""
        return len(self.gate_bias) // 2

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Its axes."""
        return None, self.states * len(self.kinds)

    def find(self, encoded: Encoded, rows: Ints, _: int) -> Array:
        """Of the named documents: a document's vector is the same, to the last bit, whatever stands beside it."""
        ids, depth, width = encoded.columns["ids"], self.gates.shape[0], self.states
        longest = -(-int(ids.lengths_of(rows).max()) // ROWS) * ROWS
        found = np.empty((len(rows), width * len(self.kinds)), np.float32)
        space = np.empty(longest * (depth + 3 * width + 1) + width // self.ways, np.float32)
        compiled.LOOPS.read_documents(
            *(rows, len(rows), ids.offsets, depth, width // self.ways, self.ways, self.gates, self.gate_bias),
            *(self.attention or (None,) * 3),
            *(self.kinds, len(self.kinds), longest, space, found),
            *streams_of(self.tables, encoded),
        )
        return found


def read(
    tables: Mapping[str, Array],
    ways: Sequence[tuple[Array, Array]],
    attention: Sequence[Array],
    poolings: Sequence[str],
) -> Read | None:
    """From the weights as torch has them; None where the loop does not know such a network.

    ``ways`` are weight ``(2 H, D)`` and bias ``(2 H,)`` of each, ``attention`` the projection ``(W, W)``, its bias and
    the context ``(1, W)``, nothing without one. ValueError where their shapes do not fit together.
    """
    depth, size = next(iter(tables.values())).shape[1], len(ways[0][1])
    width = len(ways) * size // 2
    shapes = [(size, depth), (size,)] * len(ways) + [(width, width), (width,), (1, width)] * bool(attention)
    found = [*(each for way in ways for each in way), *attention]
    if len(poolings) != len({*poolings}):
        return None
    if size % 2 or [each.shape for each in found] != shapes or ("attention" in poolings) != bool(attention):
        raise ValueError("weights of gated units whose shapes do not fit together")
    if len(ways) > 2 or width % COLUMNS or not {*poolings} <= {*POOLINGS}:
        return None
    gates, bias = np.concatenate([way[0] for way in ways]), np.concatenate([way[1] for way in ways])
    kinds = np.array([POOLINGS.index(each) for each in poolings])
    return Read(tables, len(ways), _plain(gates.T), _plain(bias), [_plain(each.T) for each in attention], kinds)


def streams_of(tables: Mapping[str, Array], encoded: Encoded) -> list[Array | bool]:
    """What a loop takes of each stream: its ids, its table, and whether that is of halves."""
    found: list[Array | bool] = []
    for name, table in tables.items():
        found += encoded.columns[name].values, table, table.dtype == np.float16
    return found


def _plain(array: Array) -> Floats:
    """Float32 numbers, row after row."""
    return np.ascontiguousarray(array, np.float32)
