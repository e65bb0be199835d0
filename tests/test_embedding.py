"""Embeddings against their equations, their sizes, their gradients and their ONNX graphs."""

import itertools
import math

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fenlei.layers.codes import ASSIGNMENTS, PRIME, Learned, coprime
from fenlei.layers.embedding import EMBEDDINGS, Full, LowRank, Shared, options_of
from fenlei.layers.graph import Graph
from fenlei.models import build
from fenlei.optimizing import Optimizer
from fenlei.recipe import Recipe

ROWS, SIZE = 300, 16
CHOICES = [
    (Full, {}),
    (LowRank, {"ratio": 0.25}),
    (LowRank, {"ratio": 0.001}),
    *(
        (Shared, {"ratio": 0.3, "codes": codes, "assignment": assignment, "importance": importance, "own": own})
        for codes, assignment, importance, own in itertools.product((2, 3), ASSIGNMENTS, (False, True), (0, 9))
        if not (importance and assignment == "learned")
    ),
]
every_choice = pytest.mark.parametrize(("kind", "options"), CHOICES, ids=str)


def make(kind, options, rows=ROWS, size=SIZE):
    """An embedding whose weights all differ, padding excepted."""
    torch.manual_seed(0)
    embedding = kind(rows, size, **options)
    if isinstance(embedding, Shared) and embedding.importance is not None:
        embedding.importance.weight.data[1:].normal_()
    return embedding


def by_equation(embedding, one):
    """The vector of one id, from the letters of the docstring."""
    if one == 0:
        return torch.zeros(SIZE)
    if isinstance(embedding, Full):
        return embedding.table.weight[one]
    if isinstance(embedding, LowRank):
        A, B = embedding.table.weight, embedding.project
        return sum(A[one, k] * B[k] for k in range(A.shape[1]))
    if one <= embedding.own:
        return embedding.rows.weight[one]
    n, total = one - embedding.own, torch.zeros(SIZE)
    for k, table in enumerate(embedding.tables):
        C = table.weight[1:]
        w = 1.0 if embedding.importance is None else embedding.importance.weight[n, k]
        if isinstance(embedding.codes, Learned):
            total = total + w * C[int(embedding.codes.table[n, k])]
            continue
        a, b = (int(each) for each in embedding.codes.factors[:, k])
        total = total + w * C[(a * n + b) % PRIME % len(C)]
    return total


def numbers(embedding):
    return sum(parameter.numel() for parameter in embedding.parameters())


@every_choice
@torch.no_grad()
def test_every_vector_is_what_the_equation_says_and_padding_is_zero(kind, options):
    embedding = make(kind, options)
    found = embedding(torch.arange(ROWS))
    expected = torch.stack([by_equation(embedding, one) for one in range(ROWS)])
    assert torch.allclose(found, expected, atol=1e-6)
    assert not found[0].any()
    assert found[1:].any(dim=1).all()


@every_choice
@torch.no_grad()
def test_ids_may_have_any_shape(kind, options):
    embedding = make(kind, options)
    ids = torch.randint(0, ROWS, (3, 4, 5))
    assert torch.equal(embedding(ids).flatten(0, 2), embedding(ids.flatten()))
    assert embedding(ids).shape == (3, 4, 5, SIZE)


@every_choice
def test_gradients_reach_every_weight_that_an_id_uses_and_padding_stays_zero(kind, options):
    embedding = make(kind, options)
    optimizer = Optimizer(embedding, Recipe(warmup=0.0), 10)
    for _ in range(2):
        optimizer.step((embedding(torch.arange(ROWS)) * torch.randn(ROWS, SIZE)).sum())
    optimizer.adam.zero_grad()
    (embedding(torch.arange(ROWS)) * torch.randn(ROWS, SIZE)).sum().backward()
    for name, parameter in embedding.named_parameters():
        rows = parameter.grad.to_dense().any(dim=1)
        if name == "project":
            assert rows.all()
        else:
            assert not parameter[0].any(), f"{name}: padding learns nothing"
            assert rows[1:].all(), f"{name}: every other row is used by some id"
    assert not embedding(torch.zeros(3, dtype=torch.int64)).any()


@every_choice
@torch.no_grad()
def test_the_graph_gives_the_same_vectors(kind, options):
    embedding = make(kind, options)
    graph = Graph()
    vectors = embedding.nodes(graph, graph.input("ids", np.int64, ("B", "S", "T")))
    data = graph.model(graph.rename(graph.add("Flatten", vectors, axis=3), "vectors"))  # the output is two-dimensional
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    for ids in (np.arange(ROWS).reshape(3, 4, 25), np.zeros((1, 1, 1), np.int64), np.full((2, 1, 3), ROWS - 1)):
        (found,) = session.run(None, {"ids": ids})
        assert np.abs(found - embedding(torch.from_numpy(ids.ravel())).numpy()).max() <= 1e-6


@pytest.mark.parametrize("rows", [60_000, 100_000])
@pytest.mark.parametrize("ratio", [0.1, 0.025])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (LowRank, {}),
        (Shared, {}),
        (Shared, {"codes": 3, "assignment": "hash"}),
        (Shared, {"importance": True}),
        (Shared, {"own": 100}),
        (Shared, {"own": 100_000}),
    ],
    ids=str,
)
def test_the_ratio_is_kept_and_used(kind, options, ratio, rows):
    size = 128
    share = numbers(kind(rows, size, ratio=ratio, **options)) / (rows * size)
    assert share <= ratio
    unused = 1 / size if kind is LowRank else 20 / rows  # a rank more would be too many; a few rows are left
    assert share > ratio - unused


def test_rows_of_their_own_take_at_most_half():
    embedding = Shared(20_000, 64, ratio=0.1, own=100_000)
    assert embedding.own == 20_000 * 0.1 / 2 - 1
    assert Shared(20_000, 64, ratio=0.1, own=7).own == 7


@pytest.mark.parametrize("codes", [2, 3, 4])
@pytest.mark.parametrize("rows", [7, 500, 20_000])
def test_no_two_ids_share_all_codes_by_remainder(rows, codes):
    embedding = Shared(rows, 4, ratio=0.1, codes=codes)
    ids = torch.arange(1, rows)
    together = torch.stack([embedding.codes(ids, k) for k in range(codes)], dim=1)
    assert len(torch.unique(together, dim=0)) == rows - 1


def test_hashed_codes_spread_evenly_and_differ_between_tables():
    embedding = Shared(20_000, 8, ratio=0.1, assignment="hash")
    ids = torch.arange(1, 20_000)
    first, second = (embedding.codes(ids, k) for k in range(2))
    expected = 20_000 / (embedding.tables[0].num_embeddings - 1)
    assert torch.bincount(first).max() < 3 * expected
    assert torch.bincount(second).max() < 3 * expected
    together = len(torch.unique(torch.stack([first, second]), dim=1)[0])
    assert together > 0.97 * 20_000, "as few meet as by chance"


@given(count=st.integers(1, 6), total=st.integers(1, 3000))
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
def test_coprime_numbers_have_no_common_factor_and_fill_the_total(count, total):
    found = coprime(count, total)
    assert len(found) == count
    assert all(math.gcd(a, b) == 1 for a, b in itertools.combinations(found, 2))
    assert sum(found) <= max(total, count)
    if total > 100:
        assert sum(found) > total - 4 * count * count


@every_choice
def test_vectors_depend_on_weights_alone(kind, options):
    saved, fresh = make(kind, options), kind(ROWS, SIZE, **options)
    fresh.load_state_dict(saved.state_dict())
    assert torch.equal(fresh(torch.arange(ROWS)), saved(torch.arange(ROWS)))


@pytest.mark.parametrize("name", EMBEDDINGS)
@pytest.mark.parametrize(("rows", "size"), [(1, 1), (2, 1), (3, 4), (7, 4)])
def test_tables_of_a_few_rows_work(name, rows, size):
    embedding = EMBEDDINGS[name](rows, size)
    found = embedding(torch.arange(rows))
    assert found.shape == (rows, size)
    assert not found[0].any()
    assert len(torch.unique(found, dim=0)) == rows


def test_small_shared_tables_learn_densely_and_large_ones_sparsely():
    def kinds(rows):
        return [table.sparse for table in Shared(rows, 4, ratio=0.5).tables]

    assert kinds(1000) == [False, False]
    assert kinds(50_000) == [True, True]


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Shared, {"ratio": 0.0}, "above 0 and at most 1, got 0.0"),
        (LowRank, {"ratio": 1.5}, "above 0 and at most 1, got 1.5"),
        (Shared, {"codes": 1}, "shared needs at least 2 codes, got 1"),
        (Shared, {"codes": "4"}, "shared needs at least 2 codes, got '4'"),
        (Shared, {"ratio": "0.1"}, "above 0 and at most 1, got '0.1'"),
        (Shared, {"assignment": "learned", "importance": True}, "importance is for codes by arithmetic"),
        (Shared, {"own": -1}, "the number of own rows must be 0 or more, got -1"),
        (Shared, {"assignment": "grid"}, "unknown assignment 'grid'; the choices are remainder, hash, learned"),
    ],
)
def test_an_impossible_value_is_refused_with_the_value(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(100, 8, **options)


def test_options_are_the_constructors_own():
    assert options_of("full") == {"scale": 0.1}
    assert list(options_of("lowrank")) == ["ratio", "scale"]
    assert list(options_of("shared")) == ["ratio", "codes", "assignment", "importance", "own", "scale"]
    with pytest.raises(ValueError, match="unknown embedding 'fool'; the choices are full, shared, lowrank"):
        options_of("fool")


def test_build_hands_the_options_on_and_refuses_unknown_ones_by_name():
    sizes = {"ids": 2000, "bigrams": 3000}
    model = build("bilstm", stream_sizes=sizes, classes=2, embedding="shared", embedding_options={"codes": 3, "own": 5})
    for table in model.embeddings.values():
        assert len(table.tables) == 3
        assert table.own == 5
    with pytest.raises(ValueError, match="the embedding 'lowrank' has no option 'codes'; it has ratio, scale"):
        build("bilstm", stream_sizes=sizes, classes=2, embedding="lowrank", embedding_options={"codes": 3})
