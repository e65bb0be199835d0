"""Explanations: the weights by hand, the text kept to the last character, the terminal, the page, the verb."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenlei.cli import main
from fenlei.explain import Explanation, Piece, explain, lines, page
from fenlei.explain.drawing import SHADES, shade
from fenlei.explain.occlusion import FEWEST_PIECES, LEAST, MOST_PIECES, MOST_READ, cut, log_odds, runs
from fenlei.learn import Labelled, learn
from fenlei.runtime import Predictor
from fenlei.trace import trace

if TYPE_CHECKING:
    from fenlei.bundle import Bundle
    from fenlei.recipe import Recipe

GOOD, BAD = {"好": 2.0, "great": 1.5}, {"差": 3.0, "bad": 1.0}


class Counter:
    """Answers by the words it knows: log odds of "good" are a sum over them."""

    labels = ("bad", "good")

    def __init__(self) -> None:
        self.asked: list[str] = []

    def look(self, text: str) -> dict[str, np.ndarray]:
        return {}

    def predict_proba(self, texts: Iterable[str]) -> np.ndarray:
        self.asked = list(texts)
        weights = GOOD | {word: -weight for word, weight in BAD.items()}
        odds = np.array([sum(weight * text.count(word) for word, weight in weights.items()) for text in self.asked])
        p = 1 / (1 + np.exp(-odds))
        return np.stack([1 - p, p], 1)


def explained(text: str, label: str | None = None) -> Explanation:
    return explain(Counter(), text, label)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("这家店很好，就是服务差", {"好": -2.0, "差": 3.0}),
        ("a great  book, not bad", {"great": -1.5, "bad": 1.0}),
        ("great great 差", {"great": -1.5, "差": 3.0}),
    ],
)
def test_a_weight_is_what_the_log_odds_lose_without_the_word(text: str, weights: dict[str, float]) -> None:
    found = explained(text, "bad")
    assert found.text == text
    assert found.label == "bad"
    heavy = [(piece.text, piece.weight) for piece in found.pieces if abs(piece.weight) > 1e-9]
    assert {word for word, _ in heavy} == set(weights)
    assert all(weight == pytest.approx(weights[word], abs=1e-6) for word, weight in heavy)


def test_the_likeliest_label_is_explained_unless_another_is_asked_for() -> None:
    assert explained("好").label == "good"
    assert explained("好", "bad").pieces[0].weight == pytest.approx(-2.0)
    with pytest.raises(ValueError, match="there is no label 'ugly'; the labels are bad, good"):
        explained("好", "ugly")


@given(st.text(max_size=60) | st.text("北京大学ab ,。\n\u0e01\u0e31\u3099é\ud800", max_size=60))
def test_the_pieces_are_the_text(text: str) -> None:
    assert "".join(cut(text)) == text
    assert "".join(runs(list(cut(text)), 5)) == text
    assert explained(text).text == text


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("我们在北京大学。", ["我们", "在", "北京大学", "。"]),
        ("don't stop, now", ["don't", " ", "stop", ",", " ", "now"]),
        ("iPhone手机 5G", ["iPhone", "手机", " ", "5G"]),
        ("", []),
        (" \n ", [" \n "]),
        ("กั" * 20, ["กั" * 4, "กั" * 4, "กั" * 12]),
    ],
)
def test_pieces_are_words_as_a_reader_sees_them(text: str, pieces: list[str]) -> None:
    assert list(cut(text)) == pieces


@pytest.mark.parametrize(("length", "pieces"), [(5_000, 80), (100_000, FEWEST_PIECES)])
def test_of_a_longer_text_fewer_questions_are_asked(length: int, pieces: int) -> None:
    model = Counter()
    explain(model, "good " * (length // 5), "bad")  # type: ignore[arg-type]
    assert len(model.asked) == pieces + 1
    assert pieces * length <= max(MOST_READ, FEWEST_PIECES * length)


def test_a_long_text_is_asked_about_in_a_bounded_number_of_runs() -> None:
    model = Counter()
    text = "a " * 400 + "差 " + "b " * 500
    found = explain(model, text, "bad")  # type: ignore[arg-type]
    assert found.text == text
    assert len(model.asked) == MOST_PIECES + 1
    (heaviest,) = found.strongest(1)
    assert "差" in heaviest.text
    sizes = [len(piece.text.split()) for piece in found.pieces]
    assert max(sizes) - min(sizes) <= 1


def test_a_sure_answer_has_finite_weights() -> None:
    odds = log_odds(np.array([0.0, 1.0, 0.5], np.float32))
    assert odds[2] == 0
    assert np.isfinite(odds).all()
    assert odds[1] == pytest.approx(-np.log(LEAST), rel=1e-3)


def test_the_strongest_come_first_and_spaces_never() -> None:
    found = Explanation("x", 0.9, (Piece("a", 0.5), Piece(" ", 0.0), Piece("b", -2.0), Piece("c", 1.0)))
    assert [piece.text for piece in found.strongest(2)] == ["b", "c"]
    assert [piece.text for piece in found.strongest(9)] == ["b", "c", "a"]


def test_shades_go_by_the_strongest_weight() -> None:
    assert [shade(weight, 2.0) for weight in (2.0, 1.0, 0.01, 0.0, -0.5, -2.0)] == [SHADES, 3, 0, 0, -2, -SHADES]
    assert shade(0.0, 0.0) == 0


def test_lines_hold_answer_text_and_words_and_colours_only_where_asked() -> None:
    found = explained("这家店很好，就是服务差", "bad")
    plain = list(lines(found))
    assert plain[0] == f"bad {found.probability:.4f}"
    assert plain[1] == "这家店很好，就是服务差"
    assert plain[2:4] == ["  +3.000  差", "  -2.000  好"]
    coloured = list(lines(found, colour=True))
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured[1]) == plain[1]
    assert "\x1b[30;48;5;202m差\x1b[0m" in coloured[1]
    assert "\x1b[30;48;5;69m好\x1b[0m" in coloured[1]


class Reader(HTMLParser):
    """The visible text of a page, its tags and whatever could make a request or run."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script> 差", '"><img src=x onerror=alert(1)>', "a\x00b\x1b[31m", "二\n行"]
)
def test_a_page_shows_hostile_texts_as_text(text: str) -> None:
    reader = Reader(page([explained(text), Explanation(f"<b>{text}", 0.5, ())]))
    assert reader.tags <= {"html", "head", "meta", "title", "style", "body", "p", "h1", "span"}
    assert reader.attributes <= {"charset", "http-equiv", "content", "name", "class", "title"}
    shown = "".join(reader.texts)
    assert text.replace("\x00", "\\x00").replace("\x1b", "\\x1b") in shown
    assert "\x1b" not in shown


# --- the verb ---


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> str:
    return str(bundle.save(tmp_path_factory.mktemp("explain") / "B"))


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    try:
        status = main(["explain", *arguments])
    except SystemExit as end:
        status = int(str(end.code))
    return status, *capsys.readouterr()


def test_the_verb_explains_a_text(saved: str, bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    text, probabilities = bundle.golden[0]
    status, out, _ = run(capsys, saved, text)
    assert status == 0
    label = bundle.labels[int(np.argmax(probabilities))]
    assert out.splitlines()[:2] == [f"{label} {max(probabilities):.4f}", text]
    assert re.fullmatch(r" *[+-]\d+\.\d{3}  \S.*", out.splitlines()[2])


def test_json_and_files_and_standard_input_say_the_same(
    saved: str, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [text for text, _ in bundle.golden[:3]]
    (tmp_path / "t.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    found = json.loads(run(capsys, saved, "--file", str(tmp_path / "t.txt"), "--json")[1])["explanations"]
    assert ["".join(text for text, _ in each["pieces"]) for each in found] == texts
    single: list[Any] = json.loads(run(capsys, saved, texts[1], "--json")[1])["explanations"]
    assert single == found[1:2]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(texts).encode())))
    assert json.loads(run(capsys, saved, "-", "--json")[1])["explanations"] == found


def test_a_page_is_written(saved: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, saved, "球队在主场赢了", "--out", str(tmp_path / "x.html"))
    assert (status, out) == (0, "")
    assert "written" in err
    assert "主场" in (tmp_path / "x.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "has"),
    [
        ((), "give a TEXT or --file FILE"),
        (("text", "--file", "f.txt"), "give a TEXT or --file FILE"),
        (("text", "--label", "nothing"), "there is no label 'nothing'; the labels are"),
        (("text", "--out", "x.pdf"), "--out writes a page, FILE.html, got 'x.pdf'"),
        (("--file", "missing.txt"), "missing.txt"),
    ],
)
def test_a_wrong_call_gets_one_sentence(
    saved: str, arguments: tuple[str, ...], has: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, saved, *arguments)
    assert (status, out) == (2, "")
    assert has in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("model", ["bilstm", "han", "textcnn"])
def test_where_the_network_looked_is_what_its_equations_say(
    model: str, chinese: tuple[Labelled, Labelled], tiny: Recipe
) -> None:
    options = {"filters": 8} if model == "textcnn" else {"hidden_size": 8}
    bundle = learn(*chinese, tiny.change(model=model, options=options, wide=False, branches=2), lambda _: None)
    predictor = Predictor(bundle)
    text = "球队赢了比赛。教练说决赛在主场，球迷很高兴！股票上涨"
    glances = explain(predictor, text).inside
    weights = [each for network in trace(bundle, text).networks for each in network.weights]
    assert len(glances) == len(weights) >= 2
    for glance, expected in zip(glances, weights, strict=True):
        assert glance.over == expected.over
        shares = np.array([share for _, share in glance.steps])
        if glance.kind == "attention":
            np.testing.assert_allclose(shares, expected.values, atol=1e-5)
        else:
            np.testing.assert_allclose(shares / shares.sum(), expected.values / expected.values.sum(), atol=1e-6)
    found = json.loads(json.dumps(explain(predictor, text).to_json()))["inside"]
    assert [each["kind"] for each in found] == [glance.kind for glance in glances]
    each = len(glances) // 2
    assert [glance["network"] for glance in found] == [1] * each + [2] * each
    for number, glance in ((1, glances[0]), (2, glances[each])):
        said = f"network {number} of 2, {glance.kind} over {glance.over}: "
        assert said in "\n".join(lines(explain(predictor, text)))
        assert said in page([explain(predictor, text)])


@pytest.mark.usefixtures("all_answer")
def test_of_networks_of_several_kinds_each_says_what_it_has(chinese: tuple[Labelled, Labelled], tiny: Recipe) -> None:
    recipe = tiny.change(wide=False, branches=3, beside={"textcnn": {"filters": 8}})
    bundle = learn(*chinese, recipe.change(options={"hidden_size": 8, "pooling": ("max", "attention")}), lambda _: None)
    glances = explain(Predictor(bundle), "球队赢了比赛").inside
    kinds = [(glance.network, glance.kind) for glance in glances]
    both = ("largest values", "attention")
    assert kinds == [(1, both[0]), (1, both[1]), (2, both[0]), (3, both[0]), (3, both[1])]
    networks = trace(bundle, "球队赢了比赛").networks
    assert [network.model for network in networks] == ["bilstm", "textcnn", "bilstm"]
    assert [len(network.weights) for network in networks] == [2, 1, 2]


def test_one_network_is_not_numbered(bundle: Bundle) -> None:
    found = explain(Predictor(bundle), "球队赢了")
    assert {glance.network for glance in found.inside} == {1}
    assert "network" not in "\n".join(lines(found))


def test_a_linear_model_looks_nowhere(chinese: tuple[Labelled, Labelled], tiny: Recipe) -> None:
    bundle = learn(*chinese, tiny.change(model=None, options={}), lambda _: None)
    assert explain(Predictor(bundle), "球队赢了").inside == ()


def test_an_empty_text_has_nothing_to_look_at(bundle: Bundle) -> None:
    assert explain(Predictor(bundle), "").inside == ()
    assert explain(Predictor(bundle), "球").inside != ()
