"""Several branches in one classifier: their mean, the scales, the names of the weights, the graph they share."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from fenlei.export import TOLERANCE, check, example, export
from fenlei.layers.wide import WideTable
from fenlei.models import ENCODERS, Classifier, Deep, build, encoder_options

SIZES = {"ids": 40, "bigrams": 30}
CLASSES, NGRAMS = 4, 50
SMALL = {"hidden_size": 5, "filters": 5, "dense": 5}


def branch(name: str = "bilstm", seed: int = 0) -> Deep:
    torch.manual_seed(seed)
    options = {option: size for option, size in SMALL.items() if option in encoder_options(name)}
    return build(name, stream_sizes=SIZES, classes=CLASSES, embedding_size=6, options=options).eval()


def table() -> WideTable:
    torch.manual_seed(9)
    weight = torch.randn(NGRAMS, CLASSES)
    weight[0] = 0
    return WideTable(weight, torch.randn(CLASSES))


def classifier(members: int, wide: bool, name: str = "bilstm") -> Classifier:
    model = Classifier([branch(name, seed) for seed in range(members)], table() if wide else None)
    model.scales[:] = torch.tensor([1.7, 0.6])
    return model.eval()


def asked(model: Classifier, batch: int = 9, steps: int = 23) -> dict[str, Tensor]:
    arrays = example(model, SIZES, batch, steps, np.random.default_rng(5))
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def session(model: Classifier) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(export(model, SIZES), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("members", [0, 1, 2, 3])
@pytest.mark.parametrize("wide", [True, False])
@torch.no_grad()
def test_logits_are_the_scaled_mean_of_the_branches_and_the_scaled_linear_ones(members: int, wide: bool) -> None:
    if not members and not wide:
        with pytest.raises(ValueError, match="needs a recurrent branch, a wide branch, or both"):
            classifier(members, wide)
        return
    model = classifier(members, wide)
    arrays = asked(model)
    expected = torch.zeros(9, CLASSES)
    if members:
        expected += 1.7 * torch.stack([each(arrays) for each in model.branches]).mean(0)
    if model.wide is not None:
        expected += 0.6 * model.wide(arrays["ngrams"], arrays["ngram_values"])
    torch.testing.assert_close(model(arrays), expected)


@torch.no_grad()
def test_one_branch_several_times_is_that_branch() -> None:
    one = branch()
    alone, thrice = Classifier([one]), Classifier([one, one, one])
    arrays = asked(alone)
    torch.testing.assert_close(thrice(arrays), alone(arrays))
    torch.testing.assert_close(alone(arrays), one(arrays))  # fresh scales are 1


@torch.no_grad()
def test_a_scale_of_zero_silences_its_kind() -> None:
    model = classifier(2, wide=True)
    arrays = asked(model)
    model.scales[:] = torch.tensor([0.0, 2.0])
    assert model.wide is not None
    torch.testing.assert_close(model(arrays), 2 * model.wide(arrays["ngrams"], arrays["ngram_values"]))
    model.scales[:] = torch.tensor([2.0, 0.0])
    torch.testing.assert_close(model(arrays), model.branches[0](arrays) + model.branches[1](arrays))


@torch.no_grad()
def test_scales_sharpen_the_answer_and_keep_the_likeliest_label() -> None:
    model = classifier(3, wide=False)
    arrays = asked(model)
    usual = torch.softmax(model(arrays), 1)
    model.scales *= 3
    sharp = torch.softmax(model(arrays), 1)
    assert torch.equal(sharp.argmax(1), usual.argmax(1))
    assert (sharp.amax(1) > usual.amax(1)).all()


def test_scales_are_no_parameters_and_are_saved() -> None:
    model = classifier(2, wide=True)
    assert {name.partition(".")[0] for name, _ in model.named_parameters()} == {"branches"}
    assert {"scales", "wide.weight", "wide.bias"} <= model.state_dict().keys()
    assert model.state_dict()["scales"].tolist() == pytest.approx([1.7, 0.6])


@pytest.mark.parametrize("members", [1, 3])
def test_weights_are_named_by_the_number_of_their_branch(members: int) -> None:
    model = classifier(members, wide=True)
    own = branch().state_dict().keys()
    expected = {f"branches.{number}.{name}" for number in range(members) for name in own}
    assert model.state_dict().keys() == expected | {"scales", "offset", "wide.weight", "wide.bias"}
    assert {"embeddings.ids.table.weight", "dense.weight", "dense.bias"} <= own


@torch.no_grad()
def test_weights_saved_and_loaded_answer_the_same() -> None:
    model = classifier(3, wide=True)
    again = Classifier(
        [branch(seed=seed) for seed in (7, 8, 9)], WideTable(torch.zeros(NGRAMS, CLASSES), torch.zeros(CLASSES))
    )
    arrays = asked(model)
    assert not torch.equal(again(arrays), model(arrays))
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval()(arrays), model(arrays))
    with pytest.raises(RuntimeError, match=r"Missing key.*branches\.3\."):
        Classifier([branch()] * 4, table()).load_state_dict(model.state_dict())


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("wide", [True, False])
def test_the_graph_of_three_branches_agrees_at_shapes_that_export_did_not_try(name: str, wide: bool) -> None:
    model = classifier(3, wide, name)
    graph = session(model)
    for batch, steps in ((1, 1), (2, 3), (7, 60), (40, 17)):
        assert check(model, graph, example(model, SIZES, batch, steps, np.random.default_rng(batch))) <= TOLERANCE


def test_branches_of_different_kinds_answer_together() -> None:
    model = Classifier([branch("bilstm"), branch("textcnn"), branch("lstm2")], table()).eval()
    assert check(model, session(model), example(model, SIZES, 8, 20, np.random.default_rng(3))) <= TOLERANCE


@pytest.mark.parametrize(
    ("name", "members", "wide", "rows"),
    [
        ("bilstm", 1, True, ["B"]),
        ("bilstm", 3, True, ["B"]),
        ("bilstm", 3, False, ["B"]),
        ("han", 3, True, ["B", "S"]),
    ],
)
def test_all_branches_share_the_graphs_inputs(name: str, members: int, wide: bool, rows: list[str]) -> None:
    inputs = [(each.name, each.shape) for each in session(classifier(members, wide, name)).get_inputs()]
    expected: dict[str, list[str]] = {"ids": [*rows, "T"], "bigrams": [*rows, "T"], "lengths": rows}
    if wide:
        expected |= {"ngrams": ["B", "N"], "ngram_values": ["B", "N"]}
    assert len(inputs) == len(expected)
    assert dict(inputs) == expected


def test_the_linear_model_alone_asks_for_ngrams_alone() -> None:
    graph = session(classifier(0, wide=True))
    assert [each.name for each in graph.get_inputs()] == ["ngrams", "ngram_values"]


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize(("members", "wide"), [(0, True), (1, True), (1, False), (3, True)])
def test_a_graph_has_no_number_and_no_input_that_no_node_uses(name: str, members: int, wide: bool) -> None:
    graph = onnx.load_from_string(export(classifier(members, wide, name), SIZES)).graph
    used = {name for node in graph.node for name in node.input}
    made = [each.name for each in (*graph.input, *graph.initializer)]
    assert [name for name in made if name not in used] == [], "onnxruntime would warn of it at every start"


def test_halved_tables_are_stored_as_float16() -> None:
    model = classifier(2, wide=True)
    before = export(model, SIZES)
    model.halve_tables()
    tables = [each for each in model.modules() if isinstance(each, torch.nn.Embedding)]
    assert all(torch.equal(each.weight.half().float(), each.weight) for each in tables)
    assert model.wide is not None
    assert torch.equal(model.wide.weight.half().float(), model.wide.weight)
    after = export(model, SIZES)
    kinds = {each.data_type for each in onnx.load_from_string(after).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
    assert onnx.TensorProto.FLOAT16 not in {e.data_type for e in onnx.load_from_string(before).graph.initializer}
    assert len(after) < len(before)


def test_a_classifier_reads_sentences_if_its_branches_do() -> None:
    assert classifier(3, True, "han").reads_sentences
    assert not classifier(3, True, "bilstm").reads_sentences
    assert not classifier(0, True).reads_sentences
