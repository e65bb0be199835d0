"""Learned codes: what they keep of a table, what they cost, and that a bundle with them answers as torch does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fenlei.layers.codes import Learned
from fenlei.layers.embedding import Full, Shared
from fenlei.models import build
from fenlei.quantizing import nearest, quantize, share, share_tables, stored

rng = np.random.default_rng(0)


def clustered(rows: int, centres: int, size: int = 12) -> np.ndarray:
    """Rows that are one of a few vectors, nearly."""
    found = rng.normal(size=(centres, size))[rng.integers(centres, size=rows)]
    return (found + rng.normal(scale=0.01, size=found.shape)).astype(np.float32)


def error(vectors: np.ndarray, weights: np.ndarray, sizes: list[int]) -> float:
    codes, codewords = quantize(vectors, weights, sizes)
    rest = vectors - sum(words[codes[:, k]] for k, words in enumerate(codewords))
    return float(np.average((rest**2).sum(1), weights=weights) / np.average((vectors**2).sum(1), weights=weights))


def test_the_nearest_codeword_is_the_one_at_the_least_distance() -> None:
    vectors, codewords = rng.normal(size=(25_000, 5)).astype(np.float32), rng.normal(size=(9, 5)).astype(np.float32)
    distance = ((vectors[:, None] - codewords) ** 2).sum(2)
    assert np.array_equal(nearest(vectors, codewords), distance.argmin(1))


def test_rows_in_clusters_are_told_by_one_code_and_others_by_several() -> None:
    weights = np.ones(2000, np.float32)
    assert error(clustered(2000, 8), weights, [32]) < 1e-3
    vectors = rng.normal(size=(2000, 12)).astype(np.float32)
    errors = [error(vectors, weights, [32] * count) for count in (1, 2, 4, 8)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1 < errors[0]


def test_rows_that_count_more_are_kept_better() -> None:
    vectors = rng.normal(size=(2000, 12)).astype(np.float32)
    heavy = np.where(np.arange(2000) < 100, 100.0, 0.1).astype(np.float32)
    assert error(vectors, heavy, [64, 64]) < 0.5 * error(vectors, np.ones(2000, np.float32), [64, 64])


def test_the_same_table_gives_the_same_codes() -> None:
    vectors, weights = clustered(500, 40), np.ones(500, np.float32)
    first, second = (quantize(vectors, weights, [16, 16], seed=3) for _ in range(2))
    assert np.array_equal(first.codes, second.codes)
    assert all(np.array_equal(a, b) for a, b in zip(first.codewords, second.codewords, strict=True))


@pytest.mark.parametrize("own", [0, 5])
def test_a_shared_table_stands_for_the_full_one(own: int) -> None:
    full = Full(400, 12)
    with torch.no_grad():
        full.table.weight[1:] = torch.from_numpy(clustered(399, 20))
    shared = Shared(400, 12, ratio=0.9, assignment="learned", own=own)
    share(full, np.arange(300), shared)
    ids = torch.arange(400)
    assert not shared(torch.zeros(1, dtype=torch.int64)).any()
    assert (shared(ids) - full(ids)).norm() < 0.05 * full(ids).norm()
    assert torch.equal(shared(ids[: own + 1]), full(ids[: own + 1]))


@pytest.mark.parametrize("rows", [1, 2, 3, 7])
def test_tables_of_a_few_rows_are_shared_too(rows: int) -> None:
    full = Full(rows, 4)
    shared = Shared(rows, 4, assignment="learned")
    share(full, np.ones(rows, np.int64), shared)
    assert torch.allclose(shared(torch.arange(rows)), full(torch.arange(rows)), atol=1e-5)


@pytest.mark.parametrize("ratio", [0.1, 0.025])
def test_the_bytes_are_the_ratios_share_and_used(ratio: float) -> None:
    torch.manual_seed(0)
    sizes = {"ids": 10_000, "bigrams": 20_000}
    model = build("bilstm", stream_sizes=sizes, classes=2, embedding_size=64, options={"hidden_size": 4})
    counts = {name: np.ones(rows, np.int64) for name, rows in sizes.items()}
    before, after = share_tables(model, counts, {"ratio": ratio, "assignment": "learned"})
    assert before == 2 * 64 * sum(sizes.values())
    assert after == stored(model)
    assert 0.9 * ratio < after / before <= ratio
    for table in model.embeddings.values():
        assert isinstance(table, Shared)
        assert isinstance(table.codes, Learned)
        assert all(int(table.codes.table[:, k].max()) < m for k, m in enumerate(table.codes.sizes))


@pytest.mark.parametrize("ratio", [0.1, 0.025])
@pytest.mark.parametrize(("rows", "size"), [(3000, 128), (5000, 64), (40_000, 128), (300_000, 128)])
def test_the_ratio_is_kept_from_a_few_thousand_rows_on(rows: int, size: int, ratio: float) -> None:
    embedding = Shared(rows, size, ratio=ratio, assignment="learned")
    numbers = sum(parameter.numel() for parameter in embedding.parameters())
    assert isinstance(embedding.codes, Learned)
    spent = (2 * numbers + embedding.codes.table.numel()) / (2 * rows * size)
    assert spent <= ratio or len(embedding.codes.sizes) == 2


def test_more_codes_than_fit_are_as_many_as_fit() -> None:
    asked, fitting = (Shared(3000, 128, assignment="learned", codes=codes).codes.sizes for codes in (300, None))
    assert 2 <= len(asked) <= len(fitting) + 3


def test_asked_for_codes_are_the_number_of_tables() -> None:
    embedding = Shared(50_000, 32, ratio=0.1, assignment="learned", codes=3)
    assert embedding.codes.sizes == [256] * 3
