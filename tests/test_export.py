from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from fenlei.export import TOLERANCE, check, example, export, probabilities
from fenlei.layers.graph import Graph
from fenlei.layers.wide import WideTable
from fenlei.models import Classifier, build
from fenlei.pipeline import Arrays

SIZES = {"ids": 40, "bigrams": 30}
CLASSES = 4


def classifier(name: str = "bilstm", wide: bool = True, members: int = 1) -> Classifier:
    torch.manual_seed(0)
    weight = torch.randn(50, CLASSES)
    weight[0] = 0
    table = WideTable(weight, torch.randn(CLASSES)) if wide else None
    branches = [
        build(name, stream_sizes=SIZES, classes=CLASSES, embedding_size=6, options={"hidden_size": 5})
        for _ in range(members)
    ]
    model = Classifier(branches, table)
    model.scales[:] = torch.tensor([1.7, 0.6])
    return model


def session(graph: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


@pytest.fixture
def arrays() -> Arrays:
    return example(classifier(), SIZES, 9, 23, np.random.default_rng(5))


@pytest.mark.parametrize(
    ("name", "wide", "members"),
    [("bilstm", True, 1), ("bilstm", False, 1), ("lstm2", True, 1), ("bilstm", True, 3), ("bilstm", True, 0)],
)
def test_graph_and_model_agree_at_shapes_that_export_did_not_try(name: str, wide: bool, members: int) -> None:
    model = classifier(name, wide, members)
    graph = session(export(model, SIZES))
    for batch, steps in ((1, 1), (2, 3), (7, 100), (130, 17)):
        asked = example(model, SIZES, batch, steps, np.random.default_rng(batch))
        assert check(model, graph, asked) <= TOLERANCE
        wanted = {each.name: asked[each.name] for each in graph.get_inputs()}
        np.testing.assert_allclose(graph.run(None, wanted)[0].sum(1), 1, atol=1e-6)


def test_axes_are_symbolic_and_inputs_are_the_pipelines() -> None:
    graph = onnx.load_from_string(export(classifier(), SIZES)).graph
    axes = {each.name: tuple(d.dim_param for d in each.type.tensor_type.shape.dim) for each in graph.input}
    assert axes == {
        "ids": ("B", "T"),
        "bigrams": ("B", "T"),
        "lengths": ("B",),
        "ngrams": ("B", "N"),
        "ngram_values": ("B", "N"),
    }
    assert [each.name for each in graph.output] == ["probabilities", "largest.0", "attention.1"]
    assert not any(each.data_location == onnx.TensorProto.EXTERNAL for each in graph.initializer)


def test_the_same_model_gives_the_same_bytes() -> None:
    assert export(classifier(), SIZES) == export(classifier(), SIZES)


def test_a_graph_of_other_weights_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Classifier.nodes

    def nodes(model: Classifier, graph: Graph) -> str:
        output = real(model, graph)
        with torch.no_grad():
            model.branches[0].dense.bias[0] += 0.01
        return output

    monkeypatch.setattr(Classifier, "nodes", nodes)
    with pytest.raises(ArithmeticError, match=r"graph differs from the model by 0\.00\d+ at shape \(1, 1\)"):
        export(classifier(wide=False), SIZES)


def test_a_graph_that_is_wrong_on_short_rows_only_is_refused(arrays: Arrays) -> None:
    model = classifier(wide=False)
    graph = session(export(model, SIZES))
    real = graph.run

    class Padded:
        """Answers as a graph would that takes every row for full."""

        get_inputs = graph.get_inputs

        def run(self, names: list[str], feeds: Arrays) -> list[np.ndarray]:
            return real(names, feeds | {"lengths": np.full_like(feeds["lengths"], feeds["ids"].shape[1])})

    with pytest.raises(ArithmeticError, match=r"at shape \(9, 23\)"):
        check(model, Padded(), arrays)


def test_weights_that_are_no_numbers_are_refused() -> None:
    model = classifier()
    with torch.no_grad():
        model.branches[0].dense.weight[0, 0] = float("nan")
    with pytest.raises(ArithmeticError, match="probabilities are no numbers: try a smaller learning_rate"):
        export(model, SIZES)


def test_examples_are_what_the_pipeline_would_make(arrays: Arrays) -> None:
    assert arrays["lengths"][0] == 23
    assert len(set(arrays["lengths"].tolist())) > 1
    inside = np.arange(23) < arrays["lengths"][:, None]
    for name, size in SIZES.items():
        np.testing.assert_array_equal(arrays[name] > 0, inside)
        assert arrays[name].max() < size
        assert arrays[name].dtype == np.int64
    assert arrays["ngrams"].shape == arrays["ngram_values"].shape
    assert arrays["ngram_values"].dtype == np.float32


def test_probabilities_do_not_use_dropout(arrays: Arrays) -> None:
    model = classifier().train()
    np.testing.assert_array_equal(probabilities(model, arrays), probabilities(model, arrays))
