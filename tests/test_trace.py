from __future__ import annotations

import dataclasses
import json
import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from fenlei.auto import decide
from fenlei.branch import build_branch
from fenlei.cli import main
from fenlei.counting import build_pipeline
from fenlei.layers.wide import WideTable
from fenlei.learn import Labelled, assemble, learn
from fenlei.models import ENCODERS, Classifier, encoder_options, restore
from fenlei.models.bilstm import BiLSTM
from fenlei.models.lstm import LSTM
from fenlei.models.rnn import RNN
from fenlei.runtime import Predictor
from fenlei.screen import legible, shortened, width
from fenlei.trace import Column, Section, compared, lines, page, sections, svg, trace
from fenlei.trace.picture import MOST_STEPS, MOST_UNITS, grouped
from fenlei.trace.sections import GATES
from fenlei.trace.table import BAR, bar
from fenlei.trace.watch import Watched, Watcher

if TYPE_CHECKING:
    from fenlei.bundle import Bundle
    from fenlei.recipe import Recipe

TEXT = "球队在主场赢了决赛。教练说:投资者上涨3.5! ok"
RECURRENT = [name for name in ENCODERS if name != "textcnn"]
Make = Callable[..., "Bundle"]


@pytest.fixture(scope="module")
def make(chinese: tuple[Labelled, Labelled], tiny: Recipe) -> Make:
    """A bundle of one network, made once: large random weights, so that gates and answers differ from step to step."""

    @cache
    def bundle(name: str, **settings: Any) -> Bundle:
        size = {"hidden_size": 10} if "hidden_size" in encoder_options(name) else {}
        recipe = tiny.change(**{"model": name, "options": size, "wide": False} | settings)
        recipe = decide(chinese[0].texts, recipe, str)
        pipeline = build_pipeline(chinese[0].texts, recipe, 3)
        with no_torch_random(), torch.no_grad():
            branches = [build_branch(recipe, pipeline.stream_sizes(), 3) for _ in range(recipe.branches or 1)]
            for parameter in (each for branch in branches for each in branch.parameters()):
                parameter *= 3
            wide = WideTable(torch.randn(len(pipeline.wide), 3), torch.randn(3)) if pipeline.wide else None
        return assemble(Classifier(branches, wide), pipeline, recipe, ["体育", "科技", "财经"], {})

    return bundle


@pytest.fixture(scope="module")
def linear(chinese: tuple[Labelled, Labelled], tiny: Recipe) -> Bundle:
    """The linear model alone."""
    return learn(*chinese, tiny.change(model=None, options={}), lambda event: None)


@contextmanager
def no_torch_random() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


# --- the numbers ---


@pytest.mark.parametrize("name", ENCODERS)
def test_the_equations_answer_as_the_runtime(name: str, make: Make, hostile: list[str]) -> None:
    bundle = make(name)
    for text in (TEXT, "", "球", hostile[4], hostile[13], hostile[15]):
        found = trace(bundle, text)
        assert found.difference <= 1e-5
        assert found.scales == {"network": 1.0}
        assert list(found.probabilities.values()) == Predictor(bundle).predict_proba([text])[0].tolist()
        assert found.probability == max(found.probabilities.values())
        assert len(found.tokens) == len(found.known) == sum(found.sentences) >= 1


@pytest.mark.parametrize("name", RECURRENT)
def test_every_step_has_gates_between_0_and_1_and_states_of_all_units(name: str, make: Make) -> None:
    found = trace(make(name), TEXT)
    layers = found.networks[0].layers
    assert layers
    for layer in layers:
        steps = len(found.steps(layer.over))
        for letter, values in layer.values.items():
            assert values.shape == (steps, 10)
            assert np.isfinite(values).all()
            if letter in GATES:
                assert 0 < values.min() <= values.max() < 1
        if "c" in layer.values:
            np.testing.assert_allclose(layer.values["h"], layer.values["o"] * np.tanh(layer.values["c"]), atol=1e-12)


def test_layers_are_named_by_their_place(make: Make) -> None:
    def names(name: str, **settings: Any) -> list[str]:
        return [layer.name for layer in trace(make(name, **settings), TEXT).networks[0].layers]

    assert names("lstm") == [""]
    assert names("lstm2") == ["first", "second"]
    assert names("bilstm") == names("rcnn") == ["forward", "backward"]
    assert names("stacked") == ["layer 1", "layer 2", "layer 3"]
    assert names("han") == ["words forward", "words backward", "sentences forward", "sentences backward"]
    assert names("textcnn") == []


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "bilstm"])
def test_outputs_are_those_of_torch(name: str, make: Make) -> None:
    bundle = make(name)
    predictor = Predictor(bundle)
    arrays = {key: torch.from_numpy(array) for key, array in predictor.pipeline([TEXT]).items()}
    branch = restore(bundle, predictor.pipeline.stream_sizes()).eval().branches[0]
    x = branch.embed(arrays).detach()
    for place, layer in enumerate(trace(bundle, TEXT).networks[0].layers):
        way = branch.encoder.get_submodule(f"recurrent.ways.{place}")
        states, last = way(x.flip(1) if place else x)
        expected = (states.flip(1) if place else states)[0].detach().numpy()
        np.testing.assert_allclose(layer.values["h"], expected, atol=1e-6)
        if "c" in layer.values:
            cell = last[1][0, 0].detach().numpy()
            np.testing.assert_allclose(layer.values["c"][0 if place else -1], cell, atol=1e-6)


def test_both_ways_of_several_rows_lie_in_the_order_of_the_text() -> None:
    with no_torch_random():
        encoder = BiLSTM(4, 3, pooling="last").double()
        x, lengths = torch.randn(3, 5, 4, dtype=torch.float64), torch.tensor([5, 2, 3])
    watched = Watched(encoder.recurrent)
    np.testing.assert_allclose(watched(x, lengths).detach(), encoder.recurrent(x, lengths).detach(), atol=1e-12)
    for place, layer in enumerate(watched.layers("", None)):
        rows = [
            encoder.recurrent(x[row : row + 1, :size], lengths[row : row + 1])[0]
            for row, size in ((0, 5), (1, 2), (2, 3))
        ]
        expected = torch.cat(rows)[:, 3 * place : 3 * place + 3].detach()
        np.testing.assert_allclose(layer.values["h"], expected, atol=1e-12)


def test_a_bundle_of_several_networks_and_a_linear_model(make: Make) -> None:
    found = trace(make("gru", branches=2, wide=True), TEXT, gradients=True)
    assert len(found.networks) == 2
    assert found.scales == {"network": 1.0, "linear": 1.0}
    assert [column.head for column in compared([("A", found)]).columns] == ["gru", "gru"]
    assert found.difference <= 1e-5
    assert [section.title for section in sections(found)] == ["gru 1 of 2", "gru 2 of 2"]


@pytest.mark.parametrize("embedding", ["shared", "lowrank"])
def test_every_embedding_can_be_traced(embedding: str, make: Make) -> None:
    assert trace(make("rnn", embedding=embedding), TEXT).difference <= 1e-5


def test_the_linear_model_alone_has_nothing_to_trace(linear: Bundle) -> None:
    with pytest.raises(ValueError, match=r"is the linear model alone, .*: train with --set wide=false"):
        trace(linear, TEXT)


def test_a_graph_that_answers_otherwise_is_refused(make: Make) -> None:
    bundle = make("lstm")
    weights = {name: -array if name == "scales" else array for name, array in bundle.weights.items()}
    with pytest.raises(ValueError, match="the equations and the bundle's graph answer differently, by up to"):
        trace(dataclasses.replace(bundle, weights=weights), TEXT)


def test_tokens_stand_where_their_ids_do(make: Make, hostile: list[str]) -> None:
    for name in ("rnn", "han"):
        pipeline = Predictor(make(name)).pipeline
        for text in [*hostile, TEXT]:
            tokens, encoded = pipeline.tokens(text), pipeline.encode([text])
            assert len(tokens) == encoded.lengths[0]
            assert pipeline.vocab.ids(tokens) == encoded.columns["ids"].values.tolist()


# --- what steps counted for ---


def test_attention_sums_to_1(make: Make) -> None:
    bilstm, han = trace(make("bilstm"), TEXT), trace(make("han"), TEXT)
    (shares,) = [each for each in bilstm.networks[0].weights if each.kind == "attention"]
    assert shares.values.sum() == pytest.approx(1)
    words, documents = han.networks[0].weights
    assert (words.over, documents.over) == ("tokens", "sentences")
    ends = np.cumsum([0, *han.sentences])
    assert len(han.sentences) >= 3
    np.testing.assert_allclose(np.add.reduceat(words.values, ends[:-1]), 1)
    assert documents.values.sum() == pytest.approx(1)
    assert "".join(han.steps("sentences")) == "".join(han.tokens)


def test_attention_is_what_the_network_itself_reads(make: Make) -> None:
    bundle = make("han")
    predictor = Predictor(bundle)
    branch = restore(bundle, predictor.pipeline.stream_sizes()).eval().branches[0]
    arrays = {key: torch.from_numpy(array) for key, array in predictor.pipeline([TEXT]).items()}
    mask = torch.arange(arrays["ids"].shape[2]) < arrays["lengths"][:, :, None]
    reading = branch.encoder.read(branch.embed(arrays), mask)  # type: ignore[operator]
    words, documents = trace(bundle, TEXT).networks[0].weights
    np.testing.assert_allclose(words.values, reading.words[mask].detach(), atol=1e-6)
    np.testing.assert_allclose(documents.values, reading.sentences[0].detach(), atol=1e-6)


def test_max_pooling_gives_each_dimension_to_one_step(make: Make) -> None:
    found = trace(make("bilstm"), TEXT)
    (won,) = [each for each in found.networks[0].weights if each.kind == "max"]
    h = np.concatenate([layer.values["h"] for layer in found.networks[0].layers], axis=1)
    np.testing.assert_array_equal(won.values, np.bincount(h.argmax(0), minlength=len(found.tokens)))
    assert won.values.sum() == 20


@pytest.mark.parametrize(("name", "widths"), [("textcnn", {2, 3, 4}), ("rcnn", {3})])
def test_windows_are_runs_of_the_text(name: str, widths: set[int], make: Make) -> None:
    found = trace(make(name), TEXT)
    network = found.networks[0]
    assert {window.width for window in network.windows} == widths
    for window in network.windows:
        assert window.tokens == found.tokens[window.start : window.start + len(window.tokens)]
        assert 1 <= len(window.tokens) <= window.width
        assert window.won >= 1
    (counted,) = network.weights
    assert 1 <= counted.values.sum() <= 768
    assert sum(window.won for window in network.windows) <= counted.values.sum()
    assert trace(make(name), "球").networks[0].windows[0].tokens == ["球"]


# --- gradients ---


def test_gradients_are_those_by_hand() -> None:
    """For ``h_t = tanh(W x_t + U h_{t-1} + b)`` and a loss behind the last step: the product of Jacobians."""
    with no_torch_random():
        encoder = RNN(3, 4).double()
        x, target = torch.randn(1, 6, 3, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    watched = Watched(encoder.recurrent)
    (layer,) = watched.layers("", watched(x, torch.tensor([6]))[0, -1] @ target)
    U = encoder.recurrent.ways[0].get_parameter("weight_hh_l0").detach().numpy()
    expected, gradient = [], target.numpy()
    for h in layer.values["h"][::-1]:
        expected.append(np.linalg.norm(gradient))
        gradient = ((1 - h**2) * gradient) @ U
    assert layer.gradient is not None
    np.testing.assert_allclose(layer.gradient, expected[::-1], rtol=1e-10)


def test_the_gradient_of_an_rnn_vanishes_and_that_of_an_lstm_lasts() -> None:
    lasting = {}
    for kind in (RNN, LSTM):
        with no_torch_random():
            encoder = kind(4, 16).double()
            x = torch.randn(1, 60, 4, dtype=torch.float64)
        if kind is LSTM:  # forget gates that stay open
            with torch.no_grad():
                encoder.recurrent.ways[0].get_parameter("bias_ih_l0")[16:32] = 5.0
        watched = Watched(encoder.recurrent)
        (layer,) = watched.layers("", watched(x, torch.tensor([60]))[0, -1].sum())
        assert layer.gradient is not None
        lasting[kind] = layer.gradient[0] / layer.gradient[-2]
    assert lasting[RNN] < 1e-8
    assert lasting[LSTM] > 1e-2


def test_the_gradient_of_an_lstm_is_that_at_its_cell_state() -> None:
    """Behind the last step: ``d loss / d c_T = target * o_T * (1 - tanh(c_T)^2)``."""
    with no_torch_random():
        encoder = LSTM(3, 4).double()
        x, target = torch.randn(1, 6, 3, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    watched = Watched(encoder.recurrent)
    (layer,) = watched.layers("", watched(x, torch.tensor([6]))[0, -1] @ target)
    o, c = layer.values["o"][-1], layer.values["c"][-1]
    assert layer.gradient is not None
    expected = np.linalg.norm(target.numpy() * o * (1 - np.tanh(c) ** 2))
    assert layer.gradient[-1] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("name", RECURRENT)
def test_gradients_reach_every_step(name: str, make: Make) -> None:
    found = trace(make(name), TEXT, gradients=True)
    for layer in found.networks[0].layers:
        assert layer.gradient is not None
        assert layer.gradient.shape == (len(found.steps(layer.over)),)
        assert (layer.gradient > 0).all()
    plain = trace(make(name), TEXT).networks[0].layers
    assert [layer.gradient for layer in plain] == [None] * len(plain)


def test_the_gradient_is_that_of_the_cross_entropy_at_the_predicted_label(make: Make) -> None:
    bundle = make("gru")
    predictor = Predictor(bundle)
    arrays = {key: torch.from_numpy(array) for key, array in predictor.pipeline([TEXT]).items()}
    branch = restore(bundle, predictor.pipeline.stream_sizes()).double().eval().branches[0]
    h = branch.encoder.states(branch.embed(arrays), arrays["ids"] > 0).detach()[:, -1].requires_grad_()
    target = torch.from_numpy(predictor.predict_proba([TEXT]).argmax(1))
    nn.functional.cross_entropy(branch.dense(h), target).backward()
    found = trace(bundle, TEXT, gradients=True).networks[0].layers[0].gradient
    assert found is not None
    assert h.grad is not None
    assert found[-1] == pytest.approx(float(h.grad.norm()), rel=1e-6)


def test_networks_are_compared_side_by_side(make: Make) -> None:
    traces = [(name, trace(make(name), TEXT, gradients=True)) for name in ("rnn", "lstm2", "bilstm", "han")]
    section = compared(traces[:3])
    assert [column.head for column in section.columns] == ["rnn", "lstm2 second", "bilstm forward", "bilstm backward"]
    assert list(section.labels) == traces[0][1].tokens
    assert [column.head for column in compared(traces[3:]).columns] == ["han forward", "han backward"]


def test_what_cannot_be_compared_is_said(make: Make) -> None:
    first = ("A", trace(make("rnn"), "球队 ok", gradients=True))
    words = ("B", trace(make("rnn", tokenizer="words"), "球队 ok", gradients=True))
    with pytest.raises(ValueError, match="B cuts the text into other tokens than A: train both with one --tokenizer"):
        compared([first, words])
    with pytest.raises(ValueError, match="C is a textcnn, which has no recurrence"):
        compared([("C", trace(make("textcnn"), TEXT, gradients=True))])


# --- the table ---


@pytest.mark.parametrize(
    ("text", "columns"), [("", 0), ("abc", 3), ("球队", 4), ("é", 1), ("e\u0301", 1), ("Ａ", 2), ("球a", 3)]
)
def test_width_counts_columns_of_a_terminal(text: str, columns: int) -> None:
    assert width(text) == columns
    assert shortened(text, max(columns, 1)) == text


def test_long_labels_are_shortened_to_columns() -> None:
    assert shortened("球队在主场", 5) == "球队…"
    assert shortened("abcdef", 5) == "abcd…"
    assert width(shortened("龘" * 5000, 16)) <= 16


def test_bars_are_of_one_width_and_grow() -> None:
    bars = [bar(length) for length in np.linspace(0, 1, 49)]
    assert {len(each) for each in bars} == {BAR}
    assert len(set(bars)) == 49
    assert (bars[0], bars[-1]) == (" " * BAR, "█" * BAR)


def test_nothing_in_a_text_steers_the_terminal(make: Make, hostile: list[str]) -> None:
    for text in ("\x1b[31m \x07", "\u202e\u2028", hostile[4]):
        shown = "".join(line for section in sections(trace(make("rnn"), text)) for line in lines(section))
        assert shown.isprintable()
    assert legible("a\x1b\u202e\ud800球") == "a\\x1b\\u202e\\ud800球"


def test_colours_change_nothing_but_colours(make: Make) -> None:
    for section in sections(trace(make("bilstm"), TEXT)):
        plain, coloured = list(lines(section)), list(lines(section, colour=True))
        assert [re.sub(r"\x1b\[\d+m", "", line).rstrip() for line in coloured] == plain
        assert "\x1b" in "".join(coloured)
        assert {width(line.split("  ")[0]) for line in plain[2:]} <= set(range(17))


def test_columns_of_gradients_are_logarithmic_and_take_zero() -> None:
    column = Column("rnn", np.array([1e-20, 1e-4, 1.0, 0.0]), "gradient")
    np.testing.assert_allclose(column.bars, [0, 0.5, 1, 0])
    assert Column("c", np.full((2, 3), -3.0), "state").numbers.tolist() == [3, 3]
    assert Column("c", np.full((2, 3), -3.0), "state").bars.tolist() == [1, 1]
    assert Column("i", np.full((1, 3), 0.25), "gate").bars.tolist() == [0.25]
    assert Column("won", np.zeros(2), "count").bars.tolist() == [0, 0]


# --- the picture ---


def test_units_are_drawn_in_groups() -> None:
    values = np.arange(2 * 64.0).reshape(2, 64)
    np.testing.assert_array_equal(grouped(values)[0], np.arange(32) * 2 + 0.5)
    assert grouped(values[:, :5]).shape == (2, 5)
    assert grouped(np.ones((3, 33))).shape == (3, MOST_UNITS)


@pytest.mark.parametrize("name", ["lstm", "han", "textcnn"])
def test_a_picture_is_well_formed_asks_for_nothing_and_stays_within_its_bounds(name: str, make: Make) -> None:
    found = trace(make(name), TEXT)
    drawn = svg(["a", "b"], sections(found))
    root = ET.fromstring(drawn)
    assert {element.tag.rpartition("}")[2] for element in root.iter()} == {"svg", "title", "style", "text", "rect"}
    assert re.findall(r"url\(|@import|href|src=|<script|on\w+=", drawn) == []
    assert drawn.count("http") == drawn.count("http://www.w3.org/2000/svg") == 1
    assert "prefers-color-scheme:dark" in drawn
    for element in root.iter("{http://www.w3.org/2000/svg}rect"):
        at = {key: float(element.get(key, "nan")) for key in ("x", "y", "width", "height")}
        assert 0 <= at["x"] <= at["x"] + at["width"] <= float(root.get("width", "nan")) + 0.01
        assert 0 <= at["y"] <= at["y"] + at["height"] <= float(root.get("height", "nan"))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert set(found.tokens) <= set(texts)


def test_panels_do_not_overlap(make: Make) -> None:
    root = ET.fromstring(svg(["x"], list(sections(trace(make("lstm"), TEXT)))))
    frames = [each for each in root.iter("{http://www.w3.org/2000/svg}rect") if each.get("class") == "f"]
    begins = [(float(each.get("x", "nan")), float(each.get("width", "nan"))) for each in frames]
    assert len(begins) == 6
    assert all(x + size < after for (x, size), (after, _) in pairwise(begins))


HOSTILE_TEXTS = ["<script>alert(1)</script>", "\"'&<>]]>", "a\x00b\x1b", "\ud800\ufffe\uffff", "</text></svg><b>"]


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_hostile_text_stays_text_in_a_picture(text: str, make: Make) -> None:
    for tokenizer in ("chars", "spaces"):
        found = trace(make("rnn", tokenizer=tokenizer), text)
        drawn = page([text], sections(found))
        assert not re.search(r"<(script|b|/text></svg><b)\b", drawn)
        root = ET.fromstring(svg([text], sections(found)))
        assert legible(text) in [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
        drawn.encode("utf-8")


def test_a_long_text_is_drawn_in_part() -> None:
    count = MOST_STEPS + 50
    section = Section("t", ["x"] * count, [Column("i", np.ones((count, 40)), "gate")], [False] * count)
    drawn = svg([], [section])
    assert f"(the first {MOST_STEPS} of {count} steps)" in drawn
    assert drawn.count("<rect") == MOST_STEPS * MOST_UNITS + 1


# --- the verb ---


@pytest.fixture
def saved(make: Make, tmp_path: Path) -> Callable[[str], str]:
    def save(name: str) -> str:
        return str(make(name).save(tmp_path / name))

    return save


def test_the_verb_shows_a_table(saved: Callable[[str], str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", saved("lstm"), "球队"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "equations and runtime differ by " in shown[0]
    assert shown[3].split("  ")[0].strip() == ""
    assert [line[0] for line in shown[4:]] == ["球", "队"]
    assert "\x1b" not in "".join(shown)


def test_the_verb_emits_all_numbers(saved: Callable[[str], str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", saved("rnn"), "球队", "--gradients", "--against", saved("textcnn")]) == 1
    assert "textcnn, which has no recurrence" in capsys.readouterr().err
    assert main(["trace", saved("rnn"), "球队", "--gradients", "--against", saved("bilstm"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tokens"] == ["球", "队"]
    assert np.shape(found["networks"][0]["layers"][0]["values"]["h"]) == (2, 10)
    assert len(found["networks"][0]["layers"][0]["gradient"]) == 2
    assert [each["model"] for each in found["against"]] == ["bilstm"]
    assert math.isclose(sum(found["probabilities"].values()), 1, abs_tol=1e-5)
    assert main(["trace", saved("textcnn"), "球队", "--json"]) == 0
    assert {"width", "start", "tokens", "won"} == set(json.loads(capsys.readouterr().out)["networks"][0]["windows"][0])


def test_the_verb_draws(saved: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.html", "b.svg"):
        assert main(["trace", saved("lstm"), "<b>球", "--gradients", "--out", str(tmp_path / name)]) == 0
        assert "<rect" in (tmp_path / name).read_text(encoding="utf-8")
    assert (tmp_path / "a.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--against", "B"], "add --gradients"),
        (["--out", "x.png"], ".html or .svg"),
        (["--out", "missing/x.svg"], "there is no folder missing"),
    ],
)
def test_a_wrong_call_is_one_sentence(
    arguments: list[str], said: str, saved: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trace", saved("rnn"), "球", *arguments]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_the_linear_model_alone_is_one_sentence(
    linear: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = linear.save(tmp_path / "L")
    assert main(["trace", str(folder), "球"]) == 1
    assert capsys.readouterr().err.startswith(f"fenlei: {folder}: the bundle is the linear model alone")


def test_a_watcher_sees_every_recurrent_layer(make: Make) -> None:
    bundle = make("stacked")
    model = restore(bundle, Predictor(bundle).pipeline.stream_sizes())
    encoder = Watcher("stacked", model.branches[0]).encoder
    assert sum(isinstance(module, Watched) for module in encoder.modules()) == 3
