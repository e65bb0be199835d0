"""What a network of gated units makes of documents, compiled, in place of a graph: from ids to a vector each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fenlei import compiled
from fenlei.packing import Bytes
from fenlei.pipeline import Array, Encoded

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

Weight = Array | Bytes

POOLINGS = ("mean", "max", "attention", "last")  # in the order in which the loop numbers them
ROWS, COLUMNS = 4, 32  # the loop computes so many rows of a product together, and columns in groups of so many
FOUR, ZERO = 4, 128  # products of 8 bits that one instruction adds up, and what stands for 0 in the rows of one


@dataclass(frozen=True)
class Matrix:
    """``x W^T + b`` as the loop takes it: ``floats (D, C)``, or ``W`` in 8 bits; ``bias (C,)``.

    In 8 bits ``W`` is ``scales (C,)`` times ``int8 (C / COLUMNS, D / 4, COLUMNS, 4)``: the bytes that one instruction
    multiplies lie together. The rows that are multiplied are rounded too, to 1 to 255 with 128 for 0, and ``sums (C,)``
    takes that 128 away again.
    """

    floats: Floats | None
    int8: npt.NDArray[np.int8] | None
    scales: Floats | None
    sums: npt.NDArray[np.int32] | None
    bias: Floats

    @classmethod
    def of(cls, weights: Sequence[Weight], bias: Array) -> Matrix:
        """Of matrices ``(C_k, D)``, one below the other: in 8 bits where all of them are, and the loop can do it."""
        columns, depth = sum(len(rows_of(each)) for each in weights), rows_of(weights[0]).shape[1]
        packed = [each for each in weights if isinstance(each, Bytes)]
        if len(packed) < len(weights) or depth % FOUR or columns % COLUMNS:
            whole = [each.unpack() if isinstance(each, Bytes) else each for each in weights]
            return cls(_plain(np.concatenate(whole).T), None, None, None, _plain(bias))
        numbers = np.concatenate([each.int8 for each in packed])
        blocks = numbers.reshape(columns // COLUMNS, COLUMNS, depth // FOUR, FOUR).transpose(0, 2, 1, 3)
        scales = np.concatenate([each.scale for each in packed])[:, 0]
        sums = ZERO * numbers.sum(1, dtype=np.int32)
        return cls(None, np.ascontiguousarray(blocks, np.int8), _plain(scales), sums, _plain(bias))

    @property
    def parts(self) -> tuple[Array | None, ...]:
        """As the loop takes them one by one."""
        return self.floats, self.int8, self.scales, self.sums, self.bias


NOTHING = (None,) * 5  # the parts of a matrix that is not there


@dataclass(frozen=True)
class Read:
    """``pool_t(gated units(sum_s E_s[ids_s]))``: ``(B, poolings * W)``, as ``fenlei.models.mingru`` has it.

    ``tables`` are ``E_s (V_s, D)``; ``gates`` make ``ways * 2 * H`` numbers of ``D``; the attention's ``project`` makes
    ``W`` of ``W``, and it has a ``context (W,)``.
    """

    tables: Mapping[str, Array]
    ways: int
    gates: Matrix
    project: Matrix | None
    context: Floats | None
    kinds: Ints  # of pooling, by their places in ``POOLINGS``

    @property
    def states(self) -> int:
        """``W = ways * H``."""
        return len(self.gates.bias) // 2

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Its axes."""
        return None, self.states * len(self.kinds)

    def find(self, encoded: Encoded, rows: Ints, _: int) -> Array:
        """Of the named documents: a document's vector is the same, to the last bit, whatever stands beside it."""
        ids, depth, width = encoded.columns["ids"], next(iter(self.tables.values())).shape[1], self.states
        longest = -(-int(ids.lengths_of(rows).max()) // ROWS) * ROWS
        found = np.empty((len(rows), width * len(self.kinds)), np.float32)
        numbers = depth + 3 * width + 2 + max(depth, width)  # a step: more than it takes where all are floats
        space = np.empty(longest * numbers + width // self.ways, np.float32)
        compiled.LOOPS.read_documents(
            *(rows, len(rows), ids.offsets, depth, width // self.ways, self.ways, *self.gates.parts),
            *(NOTHING if self.project is None else self.project.parts),
            *(self.context, self.kinds, len(self.kinds), longest, space, found),
            *streams_of(self.tables, encoded),
        )
        return found


def read(
    tables: Mapping[str, Array],
    ways: Sequence[tuple[Weight, Array]],
    attention: Sequence[Weight],
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
    if size % 2 or [rows_of(each).shape for each in found] != shapes or ("attention" in poolings) != bool(attention):
        raise ValueError("weights of gated units whose shapes do not fit together")
    if len(ways) > 2 or width % COLUMNS or not {*poolings} <= {*POOLINGS}:
        return None
    gates = Matrix.of([weight for weight, _ in ways], np.concatenate([bias for _, bias in ways]))
    project, context = None, None
    if attention:
        project, context = Matrix.of(attention[:1], rows_of(attention[1])), _plain(rows_of(attention[2]))
    return Read(tables, len(ways), gates, project, context, np.array([POOLINGS.index(each) for each in poolings]))


def rows_of(weight: Weight) -> Array:
    """An array of its shape: of one in 8 bits the whole numbers."""
    return weight.int8 if isinstance(weight, Bytes) else weight


def streams_of(tables: Mapping[str, Array], encoded: Encoded) -> list[Array | bool]:
    """What a loop takes of each stream: its ids, its table, and whether that is of halves."""
    found: list[Array | bool] = []
    for name, table in tables.items():
        found += encoded.columns[name].values, table, table.dtype == np.float16
    return found


def _plain(array: Array) -> Floats:
    """Float32 numbers, row after row."""
    return np.ascontiguousarray(array, np.float32)
