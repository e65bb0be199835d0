"""The command line: every verb end to end on small sets, what goes to which stream, and one sentence for bad input."""

from __future__ import annotations

import argparse
import csv
import filecmp
import io
import itertools
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fenlei import cli
from fenlei.checkpoint import locked
from fenlei.cli import main
from fenlei.cli.arguments import fits, size
from fenlei.cli.output import escaped, output
from fenlei.cli.predict import answers
from fenlei.cli.writers import Row, write_csv, write_jsonl, write_tsv
from fenlei.decisions import Rule
from fenlei.progress import Progress
from fenlei.screen import FORMULA, harmless
from fenlei.training import Epoch, Step

if TYPE_CHECKING:
    from fenlei.bundle import Bundle
    from fenlei.learn import Labelled

VERBS = (
    *(
        "demo",
        "check",
        "train",
        "test",
        "predict",
        "explain",
        "trace",
        "report",
        "serve",
        "shrink",
        "info",
        "segment",
        "vocab",
    ),
)
SMALL = (
    *("--no-report", "--epochs", "2", "--option", "hidden_size=8"),
    *("--set", "branches=1", "--set", "embedding_size=8", "--set", "threads=1"),
)
LINEAR = ["--no-report", "--set", "model=null", "--set", "threads=1"]
AWKWARD = {"甲": "a\nb", "乙": "c\td", "丙": "e/f", "丁": "g\\h", "戊": "=1+1", "己": "《体育》 新闻", "庚": "半\ud800"}


class Result(NamedTuple):
    status: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> Result:
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as end:
            status = int(end.code or 0)
        return Result(status, *capsys.readouterr())

    return call


def tsv(path: Path, side: Labelled) -> Path:
    rows = zip(side.labels, side.texts, strict=True)
    path.write_text("".join(f"{label}\t{text}\n" for label, text in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, chinese: tuple[Labelled, Labelled]) -> Path:
    """A folder with train.tsv and dev.tsv."""
    folder = tmp_path_factory.mktemp("data")
    for name, side in zip(("train", "dev"), chinese, strict=True):
        tsv(folder / f"{name}.tsv", side)
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Path:
    return bundle.save(tmp_path_factory.mktemp("saved") / "B")


@pytest.fixture(scope="module")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose labels hold line ends, tabs, slashes, a backslash, a formula and half a surrogate pair."""
    folder = tmp_path_factory.mktemp("awkward")
    rows = [{"label": label, "text": f"{word * 2} {n}"} for n in range(8) for word, label in AWKWARD.items()]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert main(["train", str(folder / "rows.jsonl"), "--out", str(folder / "B"), *LINEAR]) == 0
    return folder / "B"


def give(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Put ``text`` on standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def fenlei(*arguments: object, **settings: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fenlei", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, **settings)


def processor_time() -> float:
    """Seconds that the processes started here and ended have taken."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


# --- the door ---


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(run: Run, verb: str) -> None:
    result = run(verb, "--help")
    assert result.status == 0
    assert result.out.startswith(f"usage: fenlei {verb}")
    assert "--json" in result.out


def test_help_lists_every_verb_and_answers_at_once() -> None:
    """Within 0.3 s of processor time: what a clock shows on a busy machine is the neighbours' time."""
    seconds = []
    for _ in range(3):
        began = processor_time()
        result = fenlei("--help")
        seconds.append(processor_time() - began)
    assert min(seconds) <= 0.3
    assert result.returncode == 0
    assert [verb for verb in VERBS if f"    {verb} " not in result.stdout] == []


def test_help_and_import_load_nothing_heavy() -> None:
    heavy = {"numpy", "torch", "onnxruntime", "sklearn", "onnx", "scipy", "rjieba", "tqdm", "matplotlib"}
    code = f"import fenlei, fenlei.cli, sys; fenlei.cli.parser(); print(sorted({heavy!r} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_version_and_wrong_calls(run: Run) -> None:
    assert run("--version").out.startswith("fenlei 0.")
    for arguments in (
        (),
        ("bogus",),
        ("train",),
        ("predict", "B", "--top", "0"),
        ("predict", "B", "--threshold", "2"),
        ("train", "D", "--seed", "-1"),
        ("vocab", "D", "--max-size", "x"),
        ("train", "D", "--max-size", "5000"),
        ("shrink", "B", "--dev", "D"),
        ("shrink", "B", "--dev", "D", "--max-size", "2MB", "--int8"),
        ("shrink", "B", "--dev", "D", "--max-size", "2XB"),
    ):
        result = run(*arguments)
        assert result.status == 2
        assert result.err.count("\n") == 1
        assert "--help says more" in result.err


# --- train and test ---


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        ("train -input t.txt -output m", "fenlei train: there is no option -input: a file is named without an option"),
        ("train t.txt --output m", "fenlei train: there is no option --output: give --out (fenlei train --help"),
        ("train t.txt -o m", "there is no option -o: give --out"),
        ("train t.txt --lr 0.1", "there is no option --lr: give --set learning_rate=NUMBER"),
        ("train t.txt --batch-size=32", "there is no option --batch-size: give --set batch_size=NUMBER"),
        ("train t.txt -epoch 5", "there is no option -epoch: give --epochs"),
        ("train t.txt -minCount 5", "there is no option -minCount: give --min-count"),
        ("train t.txt --epochss 5", "there is no option --epochss: give --epochs"),
        (
            "train t.txt --nothing-like-it",
            "fenlei train: unrecognized arguments: --nothing-like-it (fenlei train --help",
        ),
        ("train t.txt m", "fenlei train: unrecognized arguments: m (fenlei train --help"),
        ("predict m t.txt --out a.tsv", "fenlei predict: there is no option --out: answers go to standard output"),
        ("predict m t.txt -o a.tsv", "there is no option -o: answers go to standard output"),
        ("predict m t.txt --lr 1", "fenlei predict: unrecognized arguments: --lr 1"),
        ("supervised -input t.txt -output m", "fenlei: there is no verb 'supervised': use fenlei train FILE"),
        ("predict-prob m t.txt 3", "there is no verb 'predict-prob': use fenlei predict BUNDLE FILE, which"),
        ("quantize -output m", "there is no verb 'quantize': use fenlei shrink BUNDLE"),
    ],
)
def test_whoever_comes_from_another_tool_is_told_our_names(run: Run, call: str, advice: str) -> None:
    result = run(*call.split())
    assert (result.status, result.out) == (2, "")
    assert advice in result.err
    assert len(result.err.splitlines()) == 1


def test_a_text_for_a_file_and_a_file_for_a_text_are_told(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("球队在主场赢了决赛", "球" * 500):
        result = run("predict", saved, text)
        assert (result.status, result.out) == (2, "")
        assert f"no such file or directory: {text}; a text itself is given by echo TEXT | fenlei predict" in result.err
    (tmp_path / "texts.txt").write_text("球队\n", encoding="utf-8")
    result = run("explain", saved, "texts.txt")
    assert result.status == 0
    assert (
        result.err == "texts.txt is explained as a text, though there is a file of that name: --file reads the file\n"
    )
    assert run("explain", saved, "球").err == ""


def documents(side: Labelled) -> Iterator[tuple[str, str]]:
    return zip(side.labels, side.texts, strict=True)


def write_folder(root: Path, side: Labelled) -> Path:
    for number, (label, text) in enumerate(documents(side)):
        path = root / "tree" / label / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("gb18030"))
    return root / "tree"


def write_table(root: Path, side: Labelled) -> Path:
    with (root / "t.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *((text, label) for label, text in documents(side))])
    return root / "t.csv"


def write_lines(root: Path, side: Labelled) -> Path:
    lines = [json.dumps({"label": label, "text": text}, ensure_ascii=False) + "\n" for label, text in documents(side)]
    (root / "t.jsonl").write_text("".join(lines), encoding="utf-8")
    return root / "t.jsonl"


def write_fasttext(root: Path, side: Labelled) -> Path:
    lines = [f"__label__{label} {text}\n" for label, text in documents(side)]
    (root / "t.txt").write_text("".join(lines), encoding="utf-8")
    return root / "t.txt"


@pytest.mark.parametrize("write", [write_folder, write_table, write_lines, write_fasttext])
def test_every_format_trains_the_same_classifier(
    run: Run, tmp_path: Path, chinese: tuple[Labelled, Labelled], data: Path, write: Callable[[Path, Labelled], Path]
) -> None:
    result = run("train", write(tmp_path, chinese[0]), "--dev", data / "dev.tsv", "--out", tmp_path / "B", *LINEAR)
    assert result.status == 0, result.err
    assert result.out == ""
    if write is write_folder:
        assert "gb18030" in result.err
    measured = json.loads(run("test", tmp_path / "B", data / "dev.tsv", "--json").out)
    assert measured["accuracy"] >= 0.9
    assert list(measured["classes"]) == sorted(set(chinese[0].labels))


def test_the_classic_preset_is_the_tutorials_system(run: Run, tmp_path: Path, data: Path) -> None:
    call = ("train", data / "train.tsv", "--dev", data / "dev.tsv", "--out", tmp_path / "B", "--preset", "classic")
    result = run(*call, "--min-count", "1", "--set", "steps=120", "--json")
    assert result.status == 0, result.err
    assert re.findall(r"^Step: +(\d+), loss: \d\.\d{3}, accuracy: \d\.\d{3}$", result.err, re.M) == [
        str(step) for step in range(20, 121, 20)
    ]
    scores = json.loads(result.out)["scores"]
    assert scores["linear"] is None
    assert scores["dev"]["accuracy"] > 0.9
    bundle = json.loads(run("info", tmp_path / "B", "--json").out)
    assert bundle["model"]["options"] == {"hidden_size": 64, "dropout": 0.2, "dense": 64}
    assert (bundle["model"]["name"], bundle["recipe"]["max_length"], bundle["tokenizer"]["name"]) == (
        "lstm2",
        10,
        "jieba",
    )


def test_another_network_in_the_classic_preset_has_its_own_options(run: Run, tmp_path: Path, data: Path) -> None:
    call = ("train", data / "train.tsv", "--dev", data / "dev.tsv", "--out", tmp_path / "B", "--preset", "classic")
    for asked_for in (("--model", "bilstm"), ("--set", "model=bilstm")):
        result = run(*call, *asked_for, "--min-count", "1", "--set", "steps=2")
        assert result.status == 0, result.err


def test_test_repeats_the_accuracy_of_train_exactly(run: Run, tmp_path: Path, data: Path) -> None:
    dev = data / "dev.tsv"
    trained = run("train", data / "train.tsv", "--dev", dev, "--out", tmp_path / "B", "--json", *SMALL)
    assert trained.status == 0, trained.err
    scores = json.loads(trained.out)["scores"]["dev"]
    measured = json.loads(run("test", tmp_path / "B", dev, "--json").out)
    assert measured == scores
    assert {"accuracy", "macro_f1", "n", "classes"} <= measured.keys()
    assert measured["n"] == len(dev.read_text(encoding="utf-8").splitlines())
    assert f"dev: accuracy {measured['accuracy']:.4f}" in trained.err
    assert "epoch 2/2" in trained.err


def test_test_shows_a_table(run: Run, saved: Path, data: Path) -> None:
    result = run("test", saved, data / "dev.tsv")
    lines = result.out.splitlines()
    assert re.fullmatch(r"accuracy \d\.\d{4}, macro-F1 \d\.\d{4}, n 30", lines[0])
    assert lines[2].split() == ["precision", "recall", "f1", "n", "label"]
    assert [line.split()[-1] for line in lines[3:6]] == ["体育", "科技", "财经"]


def test_a_folder_with_parts_trains_decides_and_tests_on_its_own(
    run: Run, tmp_path: Path, chinese: tuple[Labelled, Labelled]
) -> None:
    for name, side in zip(("train", "dev", "test"), (*chinese, chinese[1]), strict=True):
        tsv(tmp_path / f"{name}.txt", side)
    result = run("train", tmp_path, "--out", tmp_path / "B", "--json", *LINEAR)
    found = json.loads(result.out)
    assert found["test"]["n"] == found["scores"]["dev"]["n"] == 30
    assert "stand in train" not in result.err
    assert "test part: 30 of 180" in run("test", tmp_path / "B", tmp_path).err


def test_train_names_dev_texts_that_stand_in_train(run: Run, tmp_path: Path, data: Path) -> None:
    result = run("train", data / "train.tsv", "--dev", data / "train.tsv", "--out", tmp_path / "B", "--json", *LINEAR)
    assert "120 of 120 dev texts stand in train too" in result.err
    assert json.loads(result.out)["ledger"]["leak"] == 120


def test_dev_is_carved_from_train_and_said(run: Run, tmp_path: Path, data: Path) -> None:
    result = run("train", data / "train.tsv", "--out", tmp_path / "B", "--seed", 7, *LINEAR)
    assert "12 documents were held out as dev (10% of each class, seed 7)" in result.err
    result = run("train", data / "train.tsv", "--out", tmp_path / "B", "--set", "dev_fraction=0", *LINEAR)
    assert "the dev scores are those of the training data" in result.err


def test_no_more_documents_than_are_needed_are_held_out(
    run: Run, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fenlei.cli.data.MOST_DEV", 6)
    result = run("train", data / "train.tsv", "--out", tmp_path / "B", *LINEAR)
    assert "6 documents were held out as dev (5% of each class, seed 0): more would only take longer" in result.err


def test_few_texts_without_dev_are_judged_by_networks_that_did_not_learn_from_them(
    run: Run, tmp_path: Path, data: Path
) -> None:
    settings = ("--epochs", 1, "--option", "hidden_size=8", "--set", "embedding_size=8", "--no-report", "--json")
    result = run("train", data / "train.tsv", "--out", tmp_path / "B", *settings)
    assert result.status == 0, result.err
    assert "train: 120 documents; no document is held out: each is judged by a network that did not" in result.err
    assert "5 networks that answer together" in result.err
    scores = json.loads(result.out)["scores"]
    assert (scores["folds"], scores["dev"]["n"]) == (5, 120)
    assert json.loads(run("info", tmp_path / "B", "--json").out)["model"]["branches"] == 5
    assert json.loads(run("test", tmp_path / "B", data / "dev.tsv", "--json").out)["accuracy"] >= 0.9


def test_texts_without_labels_are_learned_from_but_for_those_that_judge(
    run: Run, tmp_path: Path, data: Path, chinese: tuple[Labelled, Labelled]
) -> None:
    train, dev = chinese
    new = [f"球队在新的{word}比赛里赢了" for word in ("第一场", "第二场", "第三场", "第四场", "第五场", "第六场")]
    texts = [*new, new[0], "", train.texts[0], *dev.texts]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n", encoding="gb18030")
    call = ("train", data / "train.tsv", "--dev", data / "dev.tsv", "--out", tmp_path / "B", "--json", *LINEAR)
    result = run(*call, "--unlabelled", tmp_path / "texts.txt")
    assert result.status == 0
    counts = {"read": 39, "empty": 1, "labelled": 1, "held_out": 30, "copies": 1, "used": 6}
    assert json.loads(result.out)["unlabelled"] == counts
    assert json.loads((tmp_path / "B" / "ledger.json").read_text(encoding="utf-8"))["unlabelled"] == counts
    assert "unlabelled: 6 of 39 texts are used; left out: 1 copies, 1 labelled ones too, 30 in dev or" in result.err
    assert re.search(r"unlabelled +.*read 39, used 6", run("info", tmp_path / "B").out)
    assert "第" in (tmp_path / "B" / "vocab.tsv").read_text(encoding="utf-8")
    fewer = run(*call, "--unlabelled", tmp_path / "texts.txt", "--most-unlabelled", 2)
    assert json.loads(fewer.out)["unlabelled"]["used"] == 2
    (tmp_path / "empty.txt").touch()
    none = run(*call, "--unlabelled", tmp_path / "empty.txt")
    assert "unlabelled: 0 of 0 texts are used" in none.err
    assert json.loads(none.out)["unlabelled"] == {"read": 0, "used": 0}
    (tmp_path / "more.jsonl").write_text('{"text": "球队"}\n{"text"\n', encoding="utf-8")
    broken = run(*call, "--unlabelled", tmp_path / "more.jsonl")
    assert json.loads(broken.out)["ledger"]["unparsable"] == 1, "what is skipped of them is counted with the rest"
    assert json.loads((tmp_path / "B" / "ledger.json").read_text(encoding="utf-8"))["more"] == {}
    without = run(*call)
    assert "unlabelled" not in json.loads(without.out)
    assert "unlabelled" not in (tmp_path / "B" / "ledger.json").read_text(encoding="utf-8")
    assert "第" not in (tmp_path / "B" / "vocab.tsv").read_text(encoding="utf-8")


def test_settings_and_options_reach_the_recipe(run: Run, tmp_path: Path, data: Path) -> None:
    result = run(
        "train", data / "train.tsv", "--out", tmp_path / "B", *SMALL, "--model", "lstm2", "--min-count", "3",
        "--set", "streams=[\"bigrams\"]", "--set", "label_smoothing=0", "--tokenizer", "words",
    )  # fmt: skip
    assert result.status == 0, result.err
    facts = json.loads(run("info", tmp_path / "B", "--json").out)
    assert (facts["model"]["name"], facts["model"]["options"]) == ("lstm2", {"hidden_size": 8})
    changed = {"min_count": 3, "streams": ["bigrams"], "label_smoothing": 0, "tokenizer": "words", "epochs": 2}
    assert {name: facts["recipe"][name] for name in changed} == changed


# --- predict ---


def test_predict_from_a_file_and_from_standard_input(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, saved: Path, chinese: tuple[Labelled, Labelled]
) -> None:
    texts = [*chinese[1].texts, ""]
    (tmp_path / "texts.txt").write_bytes("\n".join(texts).encode() + b"\n")
    from_file = run("predict", saved, tmp_path / "texts.txt")
    lines = from_file.out.splitlines()
    assert from_file.err == ""
    assert len(lines) == len(texts)
    right = sum(line.split("\t")[0] == label for line, label in zip(lines, chinese[1].labels, strict=False))
    assert right >= 27
    give(monkeypatch, "\n".join(texts) + "\n")
    assert run("predict", saved, "-") == from_file
    give(monkeypatch, "\n".join(texts))  # the last one is empty, so without its line end it is no line
    assert run("predict", saved).out.splitlines() == lines[:-1]


def test_predict_reads_other_encodings(
    run: Run, tmp_path: Path, saved: Path, chinese: tuple[Labelled, Labelled]
) -> None:
    texts = "\n".join(chinese[1].texts)
    (tmp_path / "utf8.txt").write_bytes(texts.encode())
    (tmp_path / "gbk.txt").write_bytes(texts.encode("gb18030"))
    expected = run("predict", saved, tmp_path / "utf8.txt").out
    assert run("predict", saved, tmp_path / "gbk.txt").out == expected
    assert run("predict", saved, tmp_path / "gbk.txt", "--encoding", "gb18030").out == expected


def test_top_and_threshold(run: Run, monkeypatch: pytest.MonkeyPatch, saved: Path) -> None:
    text = "球队消息手机\n"
    give(monkeypatch, text)
    cells = run("predict", saved, "--top", 9).out.rstrip("\n").split("\t")
    assert set(cells[::2]) == {"体育", "科技", "财经"}
    numbers = [float(cell) for cell in cells[1::2]]
    assert numbers == sorted(numbers, reverse=True)
    assert sum(numbers) == pytest.approx(1, abs=1e-5)
    assert numbers[1] > numbers[2]
    give(monkeypatch, text)
    between = (numbers[1] + numbers[2]) / 2
    assert run("predict", saved, "--top", 3, "--threshold", between).out.rstrip("\n").split("\t") == cells[:4]
    give(monkeypatch, text * 2)
    assert run("predict", saved, "--threshold", 1).out == "\n\n"  # still a line a text


def test_json_is_one_object_and_jsonl_one_a_line(run: Run, monkeypatch: pytest.MonkeyPatch, saved: Path) -> None:
    give(monkeypatch, "球队赢了比赛\n股票上涨\n")
    rows = [json.loads(line) for line in run("predict", saved, "--format", "jsonl", "--top", 2).out.splitlines()]
    assert [row["labels"][0] for row in rows] == ["体育", "财经"]
    assert [len(row["probabilities"]) for row in rows] == [2, 2]
    give(monkeypatch, "球队赢了比赛\n股票上涨\n")
    assert json.loads(run("predict", saved, "--json", "--top", 2).out) == {"predictions": rows}
    give(monkeypatch, "")
    assert json.loads(run("predict", saved, "--json").out) == {"predictions": []}


def test_awkward_labels_survive(run: Run, monkeypatch: pytest.MonkeyPatch, awkward: Path) -> None:
    def predict(form: str) -> str:
        give(monkeypatch, "".join(f"{word * 2}\n" for word in AWKWARD))
        return run("predict", awkward, "--format", form).out

    labels = list(AWKWARD.values())
    assert [json.loads(line)["labels"] for line in predict("jsonl").splitlines()] == [[label] for label in labels]
    shown = [line.split("\t")[0] for line in predict("tsv").splitlines()]
    assert shown == [r"a\nb", r"c\td", "e/f", r"g\\h", "=1+1", "《体育》 新闻", r"半\ud800"]
    rows = list(csv.DictReader(io.StringIO(predict("csv"), newline="")))
    assert [row["label"] for row in rows] == [*labels[:4], "'=1+1", labels[5], r"半\ud800"]
    assert json.loads(run("info", awkward, "--json").out)["labels"] == sorted(labels)
    assert len(run("info", awkward).out.splitlines()) == 9


@given(st.text())
def test_an_escaped_label_is_one_cell_and_can_be_restored(label: str) -> None:
    cell = escaped(label)
    assert len(f"{cell}\t1".splitlines()) == 1
    assert cell.count("\t") == 0
    codes = re.compile(r"\\(\\|n|r|t|x..|u....)")
    assert codes.sub(lambda found: found[0].encode().decode("unicode_escape"), cell) == label


@given(st.text(), st.lists(st.text(), min_size=1, max_size=3))
def test_csv_holds_no_formula_and_every_text(text: str, labels: list[str]) -> None:
    stream = io.StringIO(newline="")
    write_csv([Row(text, labels, [0.5] * len(labels)), Row("", [], [])], stream, 3)
    header, row, empty = csv.reader(io.StringIO(stream.getvalue(), newline=""))
    assert header == ["text", "label", "probability", "label2", "probability2", "label3", "probability3"]
    assert len(row) == len(empty) == 7
    assert not any(cell.startswith(FORMULA) for cell in row)
    for cell, value in zip((row[0], *row[1::2]), (text, *labels), strict=False):
        assert cell in (value, f"'{value}")


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@x", "\tx", "\rx", "\0x", "＝1", "＋1", "－1", "＠x"])
def test_formulas_are_neutralised(cell: str) -> None:
    assert harmless(cell) == f"'{cell}"
    assert harmless(f"a{cell}") == f"a{cell}"


@given(st.text(), st.text())
def test_json_lines_are_exact(text: str, label: str) -> None:
    stream = io.StringIO()
    write_jsonl([Row(text, [label], [0.25])], stream, 1)
    assert json.loads(stream.getvalue()) == {
        "text": text,
        "labels": [label],
        "probabilities": [0.25],
        "unknown": False,
    }
    assert stream.getvalue().count("\n") == 1


def test_a_row_without_a_probable_label_is_an_empty_line() -> None:
    stream = io.StringIO()
    write_tsv([Row("a", [], []), Row("b", ["x"], [1.0])], stream, 1)
    assert stream.getvalue() == "\nx\t1.000000\n"


def test_predict_ends_quietly_when_its_reader_does(awkward: Path, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("甲乙丙\n" * 20_000, encoding="utf-8")
    command = [sys.executable, "-m", "fenlei", "predict", str(awkward), str(tmp_path / "t.txt")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


def test_predict_reads_no_more_than_it_needs(bundle: Bundle) -> None:
    read = itertools.count()
    endless = (f"球队 {number}" for number in read)
    first = list(itertools.islice(answers(bundle, endless, Rule()), 10))
    assert [row.text for row in first] == [f"球队 {number}" for number in range(10)]
    assert next(read) <= 5000


PEAK = """
import resource, sys
from fenlei.cli import main
status = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.slow
def test_predict_keeps_memory_flat(saved: Path, tmp_path: Path) -> None:
    peaks = []
    for count in (10_000, 100_000):
        path = tmp_path / f"{count}.txt"
        path.write_text("".join(f"第{n}场比赛球队进球了，今天的消息\n" for n in range(count)), encoding="utf-8")
        command = [sys.executable, "-c", PEAK, "predict", str(saved), str(path)]
        result = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True)
        assert result.stdout.count("\n") == count
        peaks.append(int(result.stderr) / 1024)
    assert peaks[1] - peaks[0] < 20  # MB


# --- info ---


def test_info_tells_what_a_bundle_is(run: Run, saved: Path) -> None:
    result = run("info", saved, "--verify")
    assert result.status == 0
    lines = dict(line.strip().split("  ", 1) for line in result.out.splitlines())
    assert lines["classes"] == "3: 体育, 科技, 财经"
    assert lines["network"] == "bilstm (hidden_size 8)"
    assert lines["trained"].startswith("2 epochs, ")
    assert lines["verified"].startswith("8 golden inputs answered again")
    assert max(map(len, lines)) <= 10


def test_info_says_that_a_network_was_left_out_and_that_a_bundle_was_made_small(
    run: Run, tmp_path: Path, bundle: Bundle
) -> None:
    from fenlei.bundle import Bundle

    saved = Bundle.load(bundle.save(tmp_path / "B"))
    saved.model = saved.model | {"branches": 0}
    assert saved.network is None
    saved.scores = saved.scores | {"shrunk": {"from_bytes": 3_000_000}, "int8": {"agreement": 0.999, "speed": 1.5}}
    saved.save(tmp_path / "B")
    lines = dict(line.strip().split("  ", 1) for line in run("info", tmp_path / "B").out.splitlines())
    assert lines["network"] == "none, the linear model alone (bilstm was trained and left out)"
    assert "the linear model alone" not in lines["dev"]
    assert lines["small"] == "made of a bundle of 3.00 MB by fenlei shrink"
    assert lines["8 bits"].startswith("99.90% of the held-out texts' labels stay, 1.50 times")
    card = "| network | none, the linear model alone (bilstm was trained and left out) |"
    assert card in (tmp_path / "B" / "README.md").read_text(encoding="utf-8")


def test_labels_that_a_bundle_does_not_know_are_named(run: Run, saved: Path, tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("label\ttext\n体育\t比赛\n天气\t下雨\n天气\t晴\n", encoding="utf-8")
    result = run("test", saved, tmp_path / "t.tsv")
    assert "2 labels of the 3 documents are not among the bundle's: 天气" in result.err
    assert "are not among" not in run("test", saved, tmp_path / "t.tsv", "--json").out
    result = run("shrink", saved, "--int8", "--dev", tmp_path / "t.tsv", "--out", tmp_path / "S")
    assert "are not among the bundle's: 天气" in result.err
    assert "of 1 held-out texts" in result.err


def test_predict_answers_the_rows_of_a_table(run: Run, saved: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('text,label\n"比赛, 进球",体育\n股票,财经\n', encoding="utf-8")
    result = run("predict", saved, tmp_path / "t.csv", "--format", "jsonl")
    assert [json.loads(line)["text"] for line in result.out.splitlines()] == ["比赛, 进球", "股票"]
    assert "t.csv: text from 'text'." in result.err


def test_a_small_bundle_is_not_put_over_its_origin(run: Run, saved: Path, data: Path) -> None:
    digest = json.loads(run("info", saved, "--json").out)["digest"]
    result = run("shrink", saved, "--max-size", "30KB", "--dev", data / "dev.tsv", "--out", saved)
    assert (result.status, result.out) == (2, "")
    assert "is the bundle itself" in result.err
    assert json.loads(run("info", saved, "--json").out)["digest"] == digest


def test_info_json(run: Run, saved: Path, bundle: Bundle) -> None:
    facts = json.loads(run("info", saved, "--json", "--verify").out)
    assert facts["labels"] == ["体育", "科技", "财经"]
    assert facts["digest"] == bundle.digest()
    assert facts["bytes"] == sum(path.stat().st_size for path in saved.iterdir())
    assert facts["dev"]["n"] == 30
    assert facts["epochs"] == [2]
    assert facts["verified"] == {"inputs": 8, "largest_difference": 0.0}


def test_info_verify_refuses_a_bundle_that_answers_differently(run: Run, tmp_path: Path, saved: Path) -> None:
    from fenlei.bundle import Bundle

    changed = Bundle.load(saved)
    changed.golden = [(text, [1 - p for p in row]) for text, row in changed.golden]
    changed.save(tmp_path / "B")
    assert run("info", tmp_path / "B").status == 0
    result = run("info", tmp_path / "B", "--verify")
    assert (result.status, result.out) == (1, "")
    assert "answered differently" in result.err


# --- segment and vocab ---


def test_segment_writes_the_classic_file(run: Run, tmp_path: Path, data: Path) -> None:
    result = run("segment", data / "dev.tsv", "--out", tmp_path / "s.tsv", "--json")
    assert json.loads(result.out) == {"documents": 30, "out": str(tmp_path / "s.tsv"), "ledger": {}}
    lines = (tmp_path / "s.tsv").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in (data / "dev.tsv").read_text(encoding="utf-8").splitlines()]
    assert [(label, cut.replace(" ", "")) for label, cut in (line.split("\t") for line in lines)] == [
        (label, text.replace(",", ",")) for label, text in rows
    ]
    assert run("segment", data / "dev.tsv", "--out", "-").out == "".join(f"{line}\n" for line in lines)


def test_vocab_is_sorted_by_count(run: Run, tmp_path: Path, data: Path) -> None:
    out = run("vocab", data / "train.tsv", "--out", "-", "--min-count", 3).out
    rows = [(word, int(count)) for word, count in (line.split("\t") for line in out.splitlines())]
    assert len(rows) > 10
    assert rows == sorted(rows, key=lambda row: (-row[1], row[0]))
    assert min(count for _, count in rows) >= 3
    assert run("vocab", data / "train.tsv", "--out", tmp_path / "v.tsv", "--min-count", 3, "--max-size", 5).status == 0
    assert (tmp_path / "v.tsv").read_text(encoding="utf-8") == "".join(f"{w}\t{n}\n" for w, n in rows[:5])


def test_tokenizer_options(run: Run, tmp_path: Path) -> None:
    (tmp_path / "d.tsv").write_text("甲\tＡBC 云计算平台\n乙\tdef 云计算平台\n", encoding="utf-8")
    (tmp_path / "user.txt").write_text("云计算平台 10 n\n", encoding="utf-8")
    (tmp_path / "stop.txt").write_text("def\n", encoding="utf-8")
    words = ["--user-words", tmp_path / "user.txt", "--stop-words", tmp_path / "stop.txt"]
    assert run("segment", tmp_path / "d.tsv", "--out", "-", *words).out == "甲\tabc 云计算平台\n乙\t云计算平台\n"
    kept = run("segment", tmp_path / "d.tsv", "--out", "-", "--keep-case", "--keep-form", "--tokenizer", "chars").out
    assert kept.startswith("甲\tＡ B C 云 计")


def test_output_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        with output(str(path)) as stream:
            stream.write("new")
            raise RuntimeError

    path = tmp_path / "o.tsv"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        fail(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["o.tsv"]
    with output(str(path)) as stream:
        stream.write("new\ud800\n")
    assert path.read_bytes() == b"new\\ud800\n"
    with output(os.devnull) as stream:
        stream.write("gone")
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize(
    ("verb", "name"),
    [
        (["report", "B"], "report.html"),
        (["segment", "train.tsv"], "vocab.tsv"),
        (["vocab", "train.tsv"], "vocab.tsv"),
        (["check", "train.tsv", "--deep"], "labels.json"),
        (["explain", "B", "球"], "mine.html"),
        (["trace", "B", "球"], "report.html"),
    ],
)
def test_nothing_is_written_into_a_bundle(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: Path, data: Path, verb: list[str], name: str
) -> None:
    shutil.copytree(saved, tmp_path / "B")
    shutil.copy(data / "train.tsv", tmp_path)
    (tmp_path / "link.html").symlink_to(tmp_path / "B" / name)
    monkeypatch.chdir(tmp_path)
    for out in (f"B/{name}", *(["link.html"] if name.endswith(".html") else [])):
        result = run(*verb, "--out", out)
        assert (result.status, result.out) == (2, "")
        assert re.search(f"fenlei: {out} lies within the bundle .*B, .*such as --out .*B-{Path(out).name}", result.err)
    assert filecmp.dircmp(saved, "B").diff_files == []
    assert set(os.listdir("B")) == set(os.listdir(saved))


def test_a_report_is_not_written_into_the_bundle_it_stands_in(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: Path
) -> None:
    monkeypatch.chdir(shutil.copytree(saved, tmp_path / "B"))
    result = run("report", ".")
    assert result.status == 2
    assert "report.html lies within the bundle" in result.err
    assert run("info", ".").status == 0


@pytest.mark.parametrize(
    "call",
    [
        ["segment", "t.tsv", "--out", "t.tsv"],
        ["vocab", "t.tsv", "--out", "./f/../t.tsv"],
        ["vocab", "t.tsv", "--out", "link.tsv"],
        ["check", "t.tsv", "--deep", "--out", "t.tsv"],
        ["check", "f", "--dev", "t.tsv", "--deep", "--out", "t.tsv"],
        ["explain", "B", "--file", "t.html", "--out", "t.html"],
        ["segment", "f", "--out", "f/train.tsv"],
        ["segment", "f", "--out", "f/class.txt"],
        ["segment", "f/train.tsv", "--out", "f/class.txt"],
        ["segment", "t.tsv", "--stop-words", "stop.txt", "--out", "stop.txt"],
    ],
)
def test_no_output_is_put_over_what_is_read(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").mkdir()
    for name in ("t.tsv", "t.html", "f/train.tsv"):
        (tmp_path / name).write_text("".join(f"{n % 2}\ttext {n}\n" for n in range(30)))
    (tmp_path / "f" / "class.txt").write_text("a\nb\n")
    (tmp_path / "stop.txt").write_text("text\n")
    (tmp_path / "link.tsv").symlink_to("t.tsv")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    result = run(*call)
    assert (result.status, result.out) == (2, "")
    assert f"--out {call[-1]} is a file that is read" in result.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_an_earlier_output_among_the_data_is_replaced(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.tsv").write_text("".join(f"{n % 2}\ttext {n}\n" for n in range(30)))
    assert run("vocab", ".").status == 0
    assert run("vocab", ".", "--min-count", 1).status == 0


# --- bad input: one sentence, the right status, nothing half-written ---


def no_such_folder(root: Path, saved: Path) -> Sequence[object]:
    return "train", root / "nowhere"


def empty_folder(root: Path, saved: Path) -> Sequence[object]:
    (root / "empty").mkdir()
    return "train", root / "empty"


def no_text_column(root: Path, saved: Path) -> Sequence[object]:
    (root / "t.csv").write_text("label,size\n" + "a,1\nb,2\n" * 20)
    return "train", root / "t.csv"


def no_text(root: Path, saved: Path) -> Sequence[object]:
    (root / "t.csv").write_bytes(bytes(range(256)) * 10)
    return "train", root / "t.csv"


def one_class(root: Path, saved: Path) -> Sequence[object]:
    (root / "t.tsv").write_text("".join(f"only\ttext number {n}\n" for n in range(30)))
    return "train", root / "t.tsv"


def unknown_encoding(root: Path, saved: Path) -> Sequence[object]:
    (root / "t.tsv").write_text("a\tb\n")
    return "train", root / "t.tsv", "--encoding", "klingon"


def copy(root: Path, saved: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    files = {path.name: path.read_bytes() for path in saved.iterdir()}
    change(files)
    (root / "copy").mkdir()
    for name, content in files.items():
        (root / "copy" / name).write_bytes(content)
    return root / "copy"


def flipped_byte(root: Path, saved: Path) -> Sequence[object]:
    def change(files: dict[str, bytes]) -> None:
        graph = bytearray(files["model.onnx"])
        graph[len(graph) // 2] ^= 1
        files["model.onnx"] = bytes(graph)

    return "predict", copy(root, saved, change), os.devnull


def newer_format(root: Path, saved: Path) -> Sequence[object]:
    def change(files: dict[str, bytes]) -> None:
        files["manifest.json"] = json.dumps(json.loads(files["manifest.json"]) | {"format": 99}).encode()

    return "info", copy(root, saved, change)


def no_bundle(root: Path, saved: Path) -> Sequence[object]:
    return "predict", root


def two_forms(root: Path, saved: Path) -> Sequence[object]:
    return "predict", saved, os.devnull, "--json", "--format", "csv"


def encoded_text(root: Path, saved: Path) -> Sequence[object]:
    return "explain", saved, "球", "--encoding", "gbk"


def page_of_nothing(root: Path, saved: Path) -> Sequence[object]:
    (root / "empty.txt").touch()
    return "explain", saved, "--file", root / "empty.txt", "--out", root / "page.html"


def no_texts(root: Path, saved: Path) -> Sequence[object]:
    return "predict", saved, root / "nowhere.txt"


def folder_of_texts(root: Path, saved: Path) -> Sequence[object]:
    return "predict", saved, root


def bad_bytes(root: Path, saved: Path) -> Sequence[object]:
    (root / "t.txt").write_bytes("好的\n".encode() * 20 + b"\xff\xfe\xfa\n" + "好的\n".encode() * 20)
    return "predict", saved, root / "t.txt"


def foreign_out(root: Path, saved: Path) -> Sequence[object]:
    (root / "mine").mkdir()
    (root / "mine" / "thesis.doc").write_text("precious")
    return "train", root / "nowhere", "--out", root / "mine"


def no_parent(root: Path, saved: Path) -> Sequence[object]:
    return "segment", root / "nowhere", "--out", root / "no" / "s.tsv"


def two_outputs(root: Path, saved: Path) -> Sequence[object]:
    return "vocab", root / "nowhere", "--out", "-", "--json"


def asked(*arguments: str) -> Callable[[Path, Path], Sequence[object]]:
    return lambda root, saved: ("train", root / "nowhere", *arguments)


@pytest.mark.parametrize(
    ("case", "status", "expected"),
    [
        (no_such_folder, 2, "no such file or folder: .*nowhere"),
        (empty_folder, 1, "no documents in .*empty: it is empty; give"),
        (no_text_column, 1, "t.csv has no text column .*'label', 'size'.*; name the columns"),
        (no_text, 1, "t.csv is no text: .*; give a csv, tsv, jsonl or txt file"),
        (one_class, 1, "the training data has only 'only'"),
        (unknown_encoding, 1, "unknown encoding 'klingon', expected a name such as utf-8"),
        (flipped_byte, 1, "model.onnx is damaged, as its SHA-256 .*: copy the whole bundle again"),
        (newer_format, 1, r"written by a newer fenlei \(format 99, .*: upgrade fenlei"),
        (no_bundle, 1, "is not a bundle, as it has no manifest.json: name a folder"),
        (no_texts, 2, "no such file or directory: .*nowhere.txt"),
        (two_forms, 2, "--json and --format csv exclude one another: give one of them"),
        (encoded_text, 2, "--encoding is that of a file or of standard input, not of TEXT"),
        (page_of_nothing, 1, "empty.txt holds no text, a line each: .*page.html is not written"),
        (folder_of_texts, 2, "is a folder where a file of texts"),
        (bad_bytes, 1, "line 21 of .*t.txt cannot be read"),
        (foreign_out, 2, "mine is not empty and not just a bundle .*'thesis.doc'.*: name another folder"),
        (no_parent, 2, "there is no folder .*no to write s.tsv into"),
        (two_outputs, 2, "--json and --out - both want standard output: name a file"),
        (asked("--model", "gpt"), 2, "unknown model 'gpt'; the choices are .*bilstm"),
        (asked("--preset", "magic"), 2, "unknown preset 'magic'; the choices are default, fast, best, classic"),
        (asked("--tokenizer", "bpe"), 2, "unknown tokenizer 'bpe'; the choices are auto, chars, words, jieba"),
        (asked("--set", "embedding=glove"), 2, "unknown embedding 'glove'; the choices are full"),
        (asked("--set", 'streams=["tea"]'), 2, "unknown stream 'tea'; the choices are bigrams"),
        (asked("--set", 'views=[["tea", 2]]'), 2, "unknown view 'tea'; the choices are chars, tokens, jieba"),
        (asked("--set", 'views=["chars"]'), 2, "the setting views must be pairs of a name and a size"),
        (asked("--set", "drop=1"), 2, "no setting 'drop'; the choices are model, .*dropout"),
        (asked("--set", "dropout"), 2, "expected NAME=VALUE, got 'dropout'"),
        (
            asked("--set", "dropout=high"),
            2,
            "the setting 'dropout' is a number or null, not 'high'; its default is 0.4",
        ),
        (asked("--set", "dropout=2"), 2, "the setting dropout must be .*0, 1.*, got 2"),
        (asked("--option", "size=1"), 2, "no bilstm option 'size'; the choices are hidden_size"),
        (asked("--option", "hidden_size=0"), 2, "hidden_size must be at least 1, got 0"),
        (asked("--option", "hidden_size=1000000000000"), 2, "are no options for a network 'bilstm'"),
        (asked("--model", "textcnn", "--option", "widths=[0]"), 2, "width of at least 1, got 256 and 0"),
        (asked("--set", "embedding=shared", "--set", 'embedding_options={"ratio": "x"}'), 2, "at most 1, got 'x'"),
        (asked("--set", "learning_rate=-1"), 2, "learning_rate must be a finite number above 0, got -1"),
        (asked("--unlabelled", "/no/where"), 2, "no such file or folder: /no/where"),
        (asked("--most-unlabelled", "5"), 2, "--most-unlabelled says how many texts of --unlabelled FILE: give that"),
        (
            asked("--set", "epochs=abc"),
            2,
            "'epochs' is a whole number or null, not 'abc'; its default is left to",
        ),
        (asked("--set", "seed=99999999999999999999"), 2, "seed must be a whole number of at most 4,294,967,295"),
        (asked("--int8", "--set", "model=null"), 2, "--int8 is for networks, and there is to be none"),
        (asked("--int8", "--model", "textcnn"), 2, "--int8 is for mingru and for LSTM layers, and textcnn has neither"),
        (asked("--set", "threads=1000"), 2, "the setting threads must be a whole number of at most 256, got 1,000"),
        (asked("--out", ""), 1, "the folder of a bundle has no name"),
        (asked("--option", "hidden_size=1.5"), 2, "the bilstm option 'hidden_size' is a whole number, not 1.5"),
    ],
)
def test_bad_input_gets_one_sentence(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    saved: Path,
    case: Callable[[Path, Path], Sequence[object]],
    status: int,
    expected: str,
) -> None:
    arguments = case(tmp_path, saved)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    said = result.err.splitlines()
    assert result.status == status
    assert said[-1].startswith("fenlei: ")
    assert re.search(expected, said[-1])
    assert sum(line.startswith("fenlei: ") for line in said) == 1
    assert "Traceback" not in result.err
    assert "fault of fenlei" not in result.err
    assert sorted(tmp_path.rglob("*")) == before
    if case is not one_class:  # which says how it read the data first
        assert len(said) == 1


def test_a_fault_of_our_own_is_one_line_and_can_be_seen(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from fenlei.bundle import Bundle

    def broken(folder: str) -> Bundle:
        raise KeyError("\x1b[31msecret\nname")

    monkeypatch.setattr(Bundle, "load", broken)
    result = run("info", tmp_path)
    assert result.status == 1
    assert (
        result.err
        == "fenlei: KeyError: '\\x1b[31msecret\\nname' (this is a fault of fenlei; FENLEI_DEBUG=1 shows where)\n"
    )
    monkeypatch.setenv("FENLEI_DEBUG", "1")
    with pytest.raises(KeyError):
        main(["info", str(tmp_path)])


def test_training_without_its_packages_says_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("fenlei.cli.arguments.find_spec", lambda name: None)
    result = run("train", tmp_path)
    assert result.status == 1
    assert result.err == "fenlei: this needs torch, onnx, sklearn: pip install -c constraints.txt 'fenlei[train]'\n"


# --- Ctrl-C ---


def stop_at(monkeypatch: pytest.MonkeyPatch, kind: type, number: int) -> None:
    """Ctrl-C at the ``number``-th event of ``kind``, and a sign of life after every batch."""
    monkeypatch.setattr("fenlei.training.TICK", -1.0)
    seen = []
    show = Progress.show

    def watch(self: Progress, event: Any) -> None:
        if isinstance(event, kind):
            seen.append(event)
            if len(seen) == number:
                raise KeyboardInterrupt
        show(self, event)

    monkeypatch.setattr(Progress, "show", watch)


def test_ctrl_c_before_the_first_epoch_writes_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path
) -> None:
    stop_at(monkeypatch, Step, 1)
    result = run("train", data / "train.tsv", "--out", tmp_path / "B", *SMALL)
    assert result.status == 1
    assert result.err.splitlines()[-1] == "fenlei: stopped by hand: nothing was written"
    assert os.listdir(tmp_path) == []


def test_ctrl_c_after_an_epoch_keeps_the_best(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path
) -> None:
    stop_at(monkeypatch, Epoch, 2)
    result = run("train", data / "train.tsv", "--out", tmp_path / "B", *SMALL, "--epochs", 9)
    assert result.status == 0, result.err
    assert "stopped by hand: the best of" in result.err
    assert run("info", tmp_path / "B", "--verify").status == 0


def test_ctrl_c_while_the_bundle_is_saved_waits(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path
) -> None:
    from fenlei.bundle import Bundle

    save = Bundle.save

    def pressed(self: Bundle, folder: str) -> Path:
        signal.raise_signal(signal.SIGINT)
        return save(self, folder)

    monkeypatch.setattr(Bundle, "save", pressed)
    result = run("train", data / "train.tsv", "--out", tmp_path / "B", *LINEAR)
    assert result.status == 0
    assert "stopped by hand: the bundle is being saved; Ctrl-C once more gives it up" in result.err
    assert os.listdir(tmp_path) == ["B"]


# --- checkpoints ---


def test_a_training_is_resumed_replaced_and_held(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path
) -> None:
    call = ["train", data / "train.tsv", "--out", tmp_path / "B", *SMALL, "--set", "wide=false"]
    often = ["--checkpoint-minutes", "0.0000001"]
    expected = run(*call)
    assert expected.status == 0, expected.err
    weights = (tmp_path / "B" / "model.safetensors").read_bytes()

    with monkeypatch.context() as patch:
        stop_at(patch, Step, 3)
        stopped = run(*call, *often)
    assert stopped.status == 1
    left = (
        r"stopped by hand: no bundle was written; --resume goes on from the checkpoint \(network 1, epoch 1, 2 batches"
    )
    assert re.search(left, stopped.err)
    assert sorted(os.listdir(tmp_path)) == ["B", "B.checkpoint"]

    other = run(*call, "--seed", 5, "--resume")
    assert other.status == 2
    assert "cannot be resumed: the setting seed was 0 and is 5; call it as before, or without --resume" in other.err
    with locked(tmp_path / "B.checkpoint"):
        held = run(*call, "--resume")
    assert held.status == 1
    assert "another process trains into this bundle" in held.err

    resumed = run(*call, "--resume")
    assert resumed.status == 0, resumed.err
    assert "B.checkpoint: network 1, epoch 1, 2 batches, 0 min ago" in resumed.err
    assert (tmp_path / "B" / "model.safetensors").read_bytes() == weights
    assert os.listdir(tmp_path) == ["B"]
    again = run(*call, "--resume")
    assert "B.checkpoint to resume: training begins anew" in again.err

    with monkeypatch.context() as patch:
        stop_at(patch, Step, 3)
        run(*call, *often)
    fresh = run(*call)
    assert (
        "holds an unfinished training (network 1, epoch 1, 2 batches, 0 min ago): --resume goes on with it" in fresh.err
    )
    assert os.listdir(tmp_path) == ["B"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_training_with_texts_without_labels_is_resumed_with_the_same(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path
) -> None:
    (tmp_path / "texts.txt").write_text("龘龘新的词语\n龘龘又来了\n龘龘三次\n", encoding="utf-8")
    call = ["train", data / "train.tsv", "--out", tmp_path / "B", *SMALL]
    flag = ["--unlabelled", tmp_path / "texts.txt"]
    assert run(*call, *flag).status == 0
    expected = {name: (tmp_path / "B" / name).read_bytes() for name in ("model.safetensors", "pipeline.safetensors")}
    with monkeypatch.context() as patch:
        stop_at(patch, Step, 3)
        assert run(*call, *flag, "--checkpoint-minutes", "0.0000001").status == 1
    other = run(*call, "--resume")
    assert other.status == 2
    assert "B.checkpoint cannot be resumed: " in other.err
    assert run(*call, *flag, "--resume").status == 0
    for name, content in expected.items():
        assert (tmp_path / "B" / name).read_bytes() == content


def test_cuda_that_is_not_there_is_a_wrong_call(run: Run, tmp_path: Path, data: Path) -> None:
    result = run("train", data / "train.tsv", "--out", tmp_path / "B", "--device", "cuda")
    assert result.status == 2
    assert result.err.startswith("fenlei: there is no CUDA device that torch ")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "soon"])
def test_wrong_minutes_are_a_wrong_call(run: Run, data: Path, value: str) -> None:
    result = run("train", data / "train.tsv", "--checkpoint-minutes", value)
    assert result.status == 2
    assert f"expected a number from 0 on, got '{value}'" in result.err


# --- values ---


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (3, int, True),
        (3, float, True),
        (3.5, int, False),
        (True, int, False),
        (True, bool, True),
        ("x", int | None, False),
        (None, int | None, True),
        (["a"], tuple[str, ...] | None, True),
        ("max", str | Sequence[str], True),
        (3, Sequence[str], False),
    ],
)
def test_values_fit_their_annotations(value: object, hint: Any, expected: bool) -> None:
    assert fits(value, hint) is expected


# --- shrink ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2MB", 2_000_000), ("300kb", 300_000), ("1.5MiB", 1_572_864), (" 7 KiB ", 7168), ("1GB", 10**9), ("9B", 9)],
)
def test_sizes_have_units(text: str, expected: int) -> None:
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "MB", "-2MB", "0MB", "0.1B", "2 M", "1e3KB", "nan MB", "２MB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a size with its unit such as 300KB"):
        size(text)


def test_a_number_without_unit_is_told_of_the_vocabulary() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"got '5000': tokens .* limited by --vocab-size 5000$"):
        size("5000")


def test_shrink_writes_beside_the_bundle_and_prints_what_it_tried(run: Run, saved: Path, data: Path) -> None:
    result = run("shrink", saved, "--max-size", "30KB", "--dev", data / "dev.tsv")
    assert result.status == 0
    lines = result.out.splitlines()
    assert sum(line.endswith("<- chosen") for line in lines) == 1
    assert lines[-1] == "Sizes are of the whole folder without report.html."
    small = saved.with_name("B-small")
    assert sum(path.stat().st_size for path in small.iterdir()) <= 30_000
    assert run("info", small, "--verify").status == 0
    again = json.loads(
        run("shrink", saved, "--max-size", "30KB", "--dev", data / "dev.tsv", "--out", small, "--json").out
    )
    assert [each["chosen"] for each in again["candidates"]].count(True) == 1
    assert again["full"]["bytes"] > again["max_bytes"] == 30_000
    rounded = run("shrink", saved, "--int8", "--dev", data / "dev.tsv", "--out", small, "--json")
    assert json.loads(rounded.out)["int8"]["agreement"] >= 0.99
    failed = run("shrink", saved, "--max-size", "1KB", "--dev", data / "dev.tsv")
    assert failed.status == 1
    assert re.fullmatch(r"(?s).*fenlei: 1,000 bytes are too few: the smallest .* is about \d+KB\n", failed.err)


def test_train_makes_small_what_it_trained_or_saves_the_whole(run: Run, data: Path, tmp_path: Path) -> None:
    call = ("train", data / "train.tsv", "--dev", data / "dev.tsv", "--out", tmp_path / "B", *LINEAR)
    result = run(*call, "--max-size", "20KB", "--json")
    assert result.status == 0
    assert sum(path.stat().st_size for path in (tmp_path / "B").iterdir()) <= 20_000
    assert any(each["chosen"] for each in json.loads(result.out)["candidates"])
    whole = run(*call, "--max-size", "1GB", "--json")
    assert json.loads(whole.out)["candidates"] == [json.loads(whole.out)["full"] | {"chosen": True}]
    failed = run(*call, "--max-size", "1KB")
    assert failed.status == 1
    assert re.search(r"is about \d+KB; the whole bundle was saved to .*B\n$", failed.err)
    assert run("info", tmp_path / "B").status == 0


def test_a_second_training_starts_from_the_cache(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FENLEI_CACHE", str(tmp_path / "cache"))
    found = "the numbers are in the cache"
    call = ["train", str(data / "train.tsv"), "--set", "model=null", "--no-report", "--out"]
    assert main([*call, str(tmp_path / "plain"), "--no-cache"]) == 0
    assert not (tmp_path / "cache").exists()
    for name in ("first", "second"):
        assert main([*call, str(tmp_path / name)]) == 0
        assert (found in capsys.readouterr().err) == (name == "second")
        for file in ("model.safetensors", "pipeline.safetensors", "vocab.tsv", "model.onnx", "ledger.json"):
            assert (tmp_path / name / file).read_bytes() == (tmp_path / "plain" / file).read_bytes()
    assert sorted(path.name.split("-")[0] for path in (tmp_path / "cache").iterdir()) == ["corpus", "numbers"]


def test_training_goes_on_without_a_cache_that_cannot_be_had(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FENLEI_CACHE", str(tmp_path / "file" / "cache"))
    assert (
        main(["train", str(data / "train.tsv"), "--set", "model=null", "--no-report", "--out", str(tmp_path / "b")])
        == 0
    )
    assert "nothing is kept for another run: " in capsys.readouterr().err
    monkeypatch.setenv("FENLEI_CACHE_SIZE", "much")
    monkeypatch.setenv("FENLEI_CACHE", str(tmp_path / "cache"))
    assert main(["train", str(data / "train.tsv"), "--set", "model=null", "--out", str(tmp_path / "c")]) == 1
    assert "FENLEI_CACHE_SIZE is 'much', expected a number of bytes" in capsys.readouterr().err


def test_a_librarys_warning_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(_: object) -> None:
        warnings.warn("the first half\n and the other", stacklevel=1)

    monkeypatch.setattr(cli, "understood", lambda _: argparse.Namespace(run=run))
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # put back afterwards
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert cli.main([]) == cli.DONE
    assert capsys.readouterr().err == "fenlei: the first half and the other\n"


@pytest.mark.parametrize("listener", ["gone", "never there"])
def test_a_training_goes_on_when_nobody_hears_it(data: Path, tmp_path: Path, listener: str) -> None:
    out = tmp_path / "B"
    call = [sys.executable, "-m", "fenlei", "train", str(data / "train.tsv"), "--set", "model=null", "--no-report"]
    if listener == "gone":
        process = subprocess.Popen([*call, "--out", str(out)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert process.stderr is not None
        process.stderr.close()
    else:
        line = f"exec {shlex.join([*call, '--out', str(out)])} 2>&-"
        process = subprocess.Popen(["sh", "-c", line], stdout=subprocess.DEVNULL)
    assert process.wait(120) == 0
    assert (out / "manifest.json").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", ""], "argument DATA: the name is empty"),
        (["train", "t.tsv", "--dev", ""], "argument --dev: the name is empty"),
        (["train", "t.tsv", "--encoding", ""], "argument --encoding: the name is empty"),
        (["train", "t.tsv", "--unlabelled", ""], "argument --unlabelled: the name is empty"),
        (["train", "t.tsv", "--dev", "nope"], "argument --dev: no such file or folder: nope"),
        (["train", "t.tsv", "--user-words", "nope.txt"], "argument --user-words: no such file or folder: nope.txt"),
        (["segment", "t.tsv", "--stop-words", "."], "argument --stop-words: . is a folder: name a file"),
    ],
    ids=str,
)
def test_names_are_looked_at_before_any_data(run: Run, arguments: list[str], expected: str) -> None:
    result = run(*arguments)
    assert (result.status, result.out) == (2, "")
    assert expected in result.err


def test_data_of_other_labels_alone_is_not_measured(run: Run, saved: Path, tmp_path: Path) -> None:
    (tmp_path / "o.tsv").write_text("x\t球队\ny\t股票\n", encoding="utf-8")
    result = run("test", saved, tmp_path / "o.tsv")
    assert (result.status, result.out) == (1, "")
    assert "no text has a label of this classifier, such as " in result.err


def test_a_wrong_encoding_that_loses_most_is_warned_of(run: Run, tmp_path: Path) -> None:
    table = tmp_path / "t.tsv"
    table.write_text("a\t球队\nb\t股票\n" * 20 + "a\tfilm\nb\tmusic\n" * 4, encoding="utf-8")
    result = run("segment", table, "--encoding", "ascii", "--out", tmp_path / "out.tsv")
    assert "more could not be decoded than was read, and that is left out; leave --encoding ascii out" in result.err
    assert "more could not be decoded" not in run("segment", table, "--out", tmp_path / "out.tsv").err


def test_no_compiler_is_loaded_to_look_at_a_network() -> None:
    code = "import sys; from fenlei.models import try_out; try_out('bilstm', {}); print('torch._dynamo' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
