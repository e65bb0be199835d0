"""Learned codes: each row of a trained table as a sum of codewords, by k-means on what the others left over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fenlei.layers.codes import MOST_CODEWORDS, Learned
from fenlei.layers.embedding import Full, Shared
from fenlei.models import Deep
from fenlei.packing import Parts, Sums
from fenlei.recipe import MOST_SEED

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
ROUNDS = 10  # of k-means; further ones move little
SAMPLE = 100_000  # rows that choose the codewords


class Quantized(NamedTuple):
    """``row n ~ sum_k codewords[k][codes[n, k]]``: ``codes (N, K)``, K arrays ``codewords (m_k, D)``."""

    codes: npt.NDArray[np.uint8]
    codewords: list[Floats]


def quantize(vectors: Floats, weights: Floats, sizes: list[int], seed: int = 0) -> Quantized:
    """Residual vector quantization of ``vectors (N, D)`` (Juang and Gray 1982; Chen, Guan and Wang 2010).

    Each k-means reads what the codewords before it left over; ``weights (N,)`` say how much a row's error counts.
    """
    rest = vectors.astype(np.float32, copy=True)
    codes = np.zeros((len(vectors), len(sizes)), np.uint8)
    codewords = []
    for k, size in enumerate(sizes):
        found = _k_means(rest, weights, size, (seed + k) % (MOST_SEED + 1))
        codes[:, k] = nearest(rest, found)
        rest -= found[codes[:, k]]
        codewords.append(found)
    return Quantized(codes, codewords)


def nearest(vectors: Floats, codewords: Floats) -> Ints:
    """The codeword at the least distance from each vector, ``(N,)``."""
    half = (codewords**2).sum(1) / 2
    parts = [(part @ codewords.T - half).argmax(1) for part in np.array_split(vectors, len(vectors) // 10_000 + 1)]
    return np.concatenate(parts)


def _k_means(vectors: Floats, weights: Floats, size: int, seed: int) -> Floats:
    """``size`` centres; where there are fewer different vectors, zeros stand in for the missing ones."""
    from sklearn.cluster import KMeans  # half of the start of a process that trains a network and needs no codes
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(seed)
    if len(vectors) > SAMPLE:
        rows = rng.choice(len(vectors), SAMPLE, replace=False)
        vectors, weights = vectors[rows], weights[rows]
    different = min(size, len(np.unique(vectors, axis=0)))
    machine = KMeans(different, init="random", n_init=1, max_iter=ROUNDS, random_state=seed)
    centres = np.zeros((size, vectors.shape[1]), np.float32)
    if different:
        with threadpool_limits(1):  # several threads add up in any order
            centres[:different] = machine.fit(vectors, sample_weight=weights).cluster_centers_
    return centres


@torch.no_grad()
def share(table: Full, counts: Ints, embedding: Shared, seed: int = 0) -> None:
    """Fill ``embedding``, whose codes are to be learned, from a trained full table of the same shape.

    ``counts`` say how often each id was seen, ids past their end never: what is read often is to stay where it was.
    """
    assert isinstance(embedding.codes, Learned)
    rows, own = table.table.weight.detach().cpu().numpy(), embedding.own
    if embedding.rows is not None:
        embedding.rows.weight.copy_(torch.from_numpy(rows[: own + 1]))
    if len(rows) <= own + 1:
        return
    weights = np.ones(len(rows), np.float32)
    weights[: len(counts)] += counts
    found = quantize(rows[own + 1 :], weights[own + 1 :], embedding.codes.sizes, seed)
    embedding.codes.table[1:] = torch.from_numpy(found.codes)
    for part, codewords in zip(embedding.tables, found.codewords, strict=True):
        part.weight[1:] = torch.from_numpy(codewords)


def share_tables(model: Deep, counts: Mapping[str, Ints], options: Mapping[str, Any], seed: int = 0) -> tuple[int, int]:
    """Shared tables, made with ``options``, in the place of a network's full ones; the bytes before and after."""
    before, shared = stored(model), {}
    for name, table in model.embeddings.items():
        assert isinstance(table, Full)
        shared[name] = Shared(*table.table.weight.shape, **options)
        share(table, counts[name], shared[name], seed)
    model.embeddings = nn.ModuleDict(shared)  # type: ignore[assignment]
    return before, stored(model)


def stored(model: Deep) -> int:
    """Bytes of the embedding as a bundle holds it: float16, and whole bytes."""
    values = [value for table in model.embeddings.values() for value in table.state_dict().values()]
    return sum(2 * value.numel() if value.is_floating_point() else value.nbytes for value in values)


def sums(weight: Floats, counts: Floats, codes: int, seed: int = 0) -> Sums:
    """``weight (N, D)`` as sums of ``codes`` codewords a row; ``counts (N,)`` say how much a row's error counts."""
    found = quantize(weight, counts, [min(MOST_CODEWORDS, len(weight))] * codes, seed)
    return Sums(found.codes, np.stack(found.codewords).astype(np.float16))


def parts(weight: Floats, counts: Floats, width: int, seed: int = 0) -> Parts:
    """``weight (N, D)`` in parts of ``width`` numbers, which divides ``D``, each the nearest codeword of one book."""
    pieces = np.ascontiguousarray(weight, np.float32).reshape(-1, width)
    often = np.repeat(counts.astype(np.float32), weight.shape[1] // width)
    book = _k_means(pieces, often, min(MOST_CODEWORDS, len(pieces)), seed).astype(np.float16)
    return Parts(nearest(pieces, book.astype(np.float32)).astype(np.uint8).reshape(len(weight), -1), book)
