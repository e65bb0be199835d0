"""Corrections: what a person fills in comes back exactly, finds its document, and is told where it does not."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenlei.bundle import Bundle
from fenlei.cache import Cache
from fenlei.cli import main
from fenlei.cli.data import correct_labels
from fenlei.corpus import CORRECTED, LEFT_OUT, UNMATCHED, Document, Ledger, Suspicion
from fenlei.corpus.corrections import CUT, HEADER, Correction, correct, read_corrections, text_cell, write_suspects
from fenlei.corpus.store import Store, by_split, write
from fenlei.screen import FORMULA, cell, restored

if TYPE_CHECKING:
    from fenlei.learn import Labelled

LINEAR = ["--set", "model=null", "--set", "threads=1"]


def document(text: str, label: str, line: int) -> Document:
    return Document(text, label, f"d.tsv:{line}")


def filled(path: Path, documents: Sequence[Document], right: dict[int, str], **settings: Any) -> Path:
    """The file as a person leaves it: row number -> what stands in the column ``correct``."""
    stream = io.StringIO(newline="")
    write_suspects([Suspicion(each, "b", 0.9) for each in documents], stream)
    rows = list(csv.reader(io.StringIO(stream.getvalue().removeprefix("\ufeff"), newline="")))
    for row, label in right.items():
        rows[row + 1][-1] = label
    with path.open("w", newline="", encoding=settings.pop("encoding", "utf-8")) as file:
        csv.writer(file, **settings).writerows(rows)
    return path


# --- cells ---


@given(st.text() | st.text("\\'=+-nrtxu09afd\ud800\n\0", max_size=12))
def test_a_cell_comes_back_exactly(text: str) -> None:
    line = cell(text)
    assert restored(line) == text
    assert not line.startswith(FORMULA)
    assert len(line.splitlines()) <= 1
    line.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("=1+1", "'=1+1"),
        ("'=1", "''=1"),
        ("'tis", "'tis"),
        ("a\nb\tc", r"a\nb\tc"),
        ("C:\\new", r"C:\\new"),
        ("\ud800", r"\ud800"),
        ("-", "'-"),
        ("球队", "球队"),
    ],
)
def test_cells_as_a_person_sees_them(text: str, line: str) -> None:
    assert cell(text) == line


def test_what_a_person_typed_stays_as_it_is() -> None:
    assert [restored(typed) for typed in ("-1", "new label", r"\q", "'quoted'")] == [
        "-1",
        "new label",
        r"\q",
        "'quoted'",
    ]


@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1).filter(str.strip)), min_size=1, max_size=6))
def test_the_file_written_is_the_file_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    documents = [document(text, label.strip(), n) for n, (text, label) in enumerate(rows)]
    path = tmp_path_factory.mktemp("c") / "s.csv"
    filled(path, documents, {n: cell(each.label) for n, each in enumerate(documents)})
    found = read_corrections(path)
    assert [each.label for each in found] == [each.label for each in documents]
    ledger = Ledger()
    assert correct(documents, found, ledger) == documents
    assert ledger.entries == []


def test_the_file_begins_with_a_mark_and_holds_no_formula() -> None:
    stream = io.StringIO(newline="")
    write_suspects([Suspicion(Document("=cmd()", "@a", "+d.tsv:1"), "＝b", 0.98765)], stream)
    assert stream.getvalue().startswith("\ufeff" + ",".join(HEADER) + "\n")
    assert stream.getvalue().splitlines()[1] == "'+d.tsv:1,'=cmd(),'@a,'＝b,0.9877,"


def test_long_texts_are_cut_but_still_found(tmp_path: Path) -> None:
    documents = [document("x\n" * 40_000, "a", 1), document("x\n" * 40_000 + "y", "a", 2)]
    path = filled(tmp_path / "s.csv", documents, {1: "b"})
    assert len(text_cell(documents[0].text)) == CUT
    done = correct(documents, read_corrections(path), Ledger())
    assert [each.label for each in done if each] == ["a", "b"]


# --- reading ---


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"delimiter": ";"},
        {"delimiter": "\t"},
        {"encoding": "gb18030"},
        {"encoding": "utf-16"},
        {"lineterminator": "\n"},
        {"lineterminator": "\r"},
        {"lineterminator": "\r", "encoding": "utf-16"},
    ],
)
def test_files_as_spreadsheets_save_them(tmp_path: Path, settings: dict[str, Any]) -> None:
    documents = [document(f"球队在主场赢了第{n}场比赛, 教练说; 好", "体育", n) for n in range(30)]
    path = filled(tmp_path / "s.csv", documents, {3: "财经", 5: " - "}, **settings)
    assert [(each.label, each.source) for each in read_corrections(path)] == [("财经", "d.tsv:3"), (None, "d.tsv:5")]


def test_empty_lines_and_missing_cells_at_the_end_are_no_matter(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("source,text,correct,label\n\nd.tsv:1,x\nd.tsv:2,y,b\n,,,\n", encoding="utf-8")
    assert read_corrections(tmp_path / "s.csv") == [Correction("d.tsv:2", "y", "b", 4)]


@pytest.mark.parametrize(
    ("content", "has"),
    [
        (b"", "line 1 has no column 'source'"),
        (b"source,text,label\nd.tsv:1,x,a\n", "line 1 has no column 'correct': expected source,text,label"),
        (b"source,text,correct\nd.tsv:1,x,b\nd.tsv:2\n", "line 3 has 1 cells, expected 3"),
        (b"source,text,correct\nd.tsv:1,x,y,b\n", "line 2 has 4 cells, expected 3"),
        (b'source,text,correct\nd.tsv:1,"x,b\n', "line 2 is no line of a csv"),
        (b"source,text,correct\nd,x,a\nd,x,b\n", "lines 2 and 3 correct the same document in two ways"),
        (b"source,text,correct\n" + "é,x,b\n".encode() * 20 + b"\xff\xfe,x,b\n", "line 22 cannot be read"),
        (b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00\x01\x02", "is no text"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(tmp_path: Path, content: bytes, has: str) -> None:
    (tmp_path / "s.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"s\.csv") as caught:
        read_corrections(tmp_path / "s.csv")
    assert has in str(caught.value)


# --- applying ---


def applied(documents: Sequence[Document], *corrections: Correction) -> tuple[list[Document | None], Ledger]:
    ledger = Ledger()
    return correct(documents, corrections, ledger), ledger


def test_labels_change_and_documents_are_left_out() -> None:
    documents = [document("x", "a", 1), document("y", "a", 2), document("z", "b", 3)]
    done, ledger = applied(documents, Correction("d.tsv:1", "x", "b", 2), Correction("d.tsv:3", "z", None, 4))
    assert done == [document("x", "b", 1), documents[1], None]
    assert [(entry.kind, entry.source) for entry in ledger.entries] == [(CORRECTED, "d.tsv:1"), (LEFT_OUT, "d.tsv:3")]
    assert ledger.notes == ["Corrections: 2 filled in."]


def test_a_moved_line_is_found_by_its_text_and_an_exact_one_comes_first() -> None:
    documents = [document("x", "a", 1), document("x", "a", 2), document("x", "a", 3)]
    done, ledger = applied(documents, Correction("d.tsv:9", "x", "b", 2), Correction("d.tsv:1", "x", "c", 3))
    assert [each.label for each in done if each] == ["c", "b", "a"]
    assert "1 corrections were found by their text: it stands at another place now." in ledger.notes


def test_what_fits_nothing_is_named() -> None:
    same_line = Correction("d.tsv:1", "other", "b", 2)
    done, ledger = applied([document("x", "a", 1)], same_line, Correction("e.tsv:1", "x", "a", 3))
    assert done == [document("x", "a", 1)]
    assert ledger.entries[0] == (UNMATCHED, "d.tsv:1", "line 2: no document has this text")
    assert ledger.notes[0] == "Corrections: 2 filled in, 1 of them right already."


def test_labels_that_no_document_had_are_allowed_and_said() -> None:
    done, ledger = applied([document("x", "a", 1)], Correction("d.tsv:1", "x", "new", 2))
    assert done[0] == document("x", "new", 1)
    assert ledger.notes[-1] == "Corrections give labels that no document had before: 'new'."


def test_more_corrections_than_copies_are_unmatched() -> None:
    _, ledger = applied([document("x", "a", 1)], Correction("p:1", "x", "b", 2), Correction("q:1", "x", "b", 3))
    assert ledger.counts == {CORRECTED: 1, UNMATCHED: 1}


def test_several_labels_stand_in_one_cell() -> None:
    documents = [Document("x", "a", "d:1", "", ("b",)), Document("y", "b", "d:2")]
    given = [Correction("d:1", "x", "b | a", 2), Correction("d:2", "y", "b|c", 3)]
    done, ledger = applied(documents, *given)
    assert [each.labels for each in done if each] == [("a", "b"), ("b", "c")]
    assert ledger.entries == [(CORRECTED, "d:2", "'b' is 'b', 'c'")]
    assert "no document had before: 'c'" in ledger.notes[-1]
    stream = io.StringIO()
    write_suspects([Suspicion(documents[0], "c", 0.5)], stream)
    assert stream.getvalue().splitlines()[1] == "d:1,x,a | b,c,0.5000,"


def test_documents_in_files_are_corrected_as_in_memory(tmp_path: Path) -> None:
    documents = [Document(f"text {n}", "abc"[n % 3], f"d:{n}", "dev" if n % 4 == 0 else "train") for n in range(40)]
    wanted = [Correction(f"d:{n}", f"text {n}", ("new", None, "b")[n % 3], n + 2) for n in range(0, 40, 5)]
    wanted += [Correction("d:7", "text 7", None, 99), Correction("d:8", "text 8", "a | c", 100)]
    results = []
    with Cache(tmp_path) as cache:
        draft = cache.draft("0" * 64)
        for whole in (documents, Store.over(draft, write(documents, draft))):
            sides, ledger = by_split(whole), Ledger()
            correct_labels(sides, wanted, ledger)
            results.append(({name: list(side) for name, side in sides.items()}, ledger.entries, ledger.notes))
            assert all(isinstance(side, type(whole)) for side in sides.values())
    assert results[0] == results[1]
    assert sum(map(len, results[0][0].values())) == 37


# --- train ---


@pytest.fixture
def data(tmp_path: Path, chinese: tuple[Labelled, Labelled]) -> Path:
    for name, side in zip(("train", "dev"), chinese, strict=True):
        rows = zip(side.labels, side.texts, strict=True)
        (tmp_path / f"{name}.tsv").write_text("".join(f"{label}\t{text}\n" for label, text in rows), encoding="utf-8")
    return tmp_path


def test_train_takes_the_file_back(
    data: Path, chinese: tuple[Labelled, Labelled], capsys: pytest.CaptureFixture[str]
) -> None:
    train, dev = (
        [
            Document(text, label, f"{name}.tsv:{n}")
            for n, (text, label) in enumerate(zip(side.texts, side.labels, strict=True), 1)
        ]
        for name, side in zip(("train", "dev"), chinese, strict=True)
    )
    path = filled(data / "s.csv", [*train[:4], *dev[:2]], {0: "财经", 1: "-", 2: "新类", 4: "-"})
    call = ["train", str(data / "train.tsv"), "--dev", str(data / "dev.tsv"), "--out", str(data / "B"), *LINEAR]
    assert main([*call, "--corrections", str(path)]) == 0
    said = capsys.readouterr().err
    for wanted in ("Corrections: 4 filled in.", "2 given another label by a correction: train.tsv:1, train.tsv:3"):
        assert wanted in said
    assert "2 left out by a correction: train.tsv:2, dev.tsv:1" in said
    assert "labels that no document had before: '新类'" in said
    assert "train: 119 documents; dev: 29" in said
    bundle = Bundle.load(data / "B")
    assert "新类" in bundle.labels
    assert bundle.ledger["counts"] == {CORRECTED: 2, LEFT_OUT: 2}


def test_corrections_come_before_dev_is_held_out(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = (data / "train.tsv").read_text(encoding="utf-8").splitlines()[0].split("\t")[1]
    path = filled(data / "s.csv", [Document(first, "x", "train.tsv:1")], {0: "-"})
    assert main(["train", str(data / "train.tsv"), "--corrections", str(path), "--out", str(data / "B"), *LINEAR]) == 0
    said = capsys.readouterr().err
    assert said.index("left out by a correction") < said.index("were held out as dev")


@pytest.mark.parametrize(
    ("content", "has"),
    [
        (None, "no such file or directory: "),
        ("source,text\n", "line 1 has no column 'correct'"),
        ("PK\3\4\x14\0\6\0\x08\0\0\0!\0\1\2", "is no text"),
    ],
)
def test_a_wrong_file_ends_the_call_before_data_is_read(
    tmp_path: Path, content: str | None, has: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.csv"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(SystemExit) as end:
        main(["train", str(tmp_path / "no-data"), "--corrections", str(path)])
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert has in said
    assert len(said.splitlines()) == 1


def test_suspects_go_round_from_check_to_train(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = data / "train.tsv"
    lines = train.read_text(encoding="utf-8").splitlines()
    lines[0] = "科技\t" + lines[0].split("\t")[1] + "球队进球冠军"
    train.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert main(["check", str(train), "--deep", "--out", str(data / "s.csv"), "--json"]) == 0
    finding = next(each for each in json.loads(capsys.readouterr().out)["findings"] if each["topic"] == "suspects")
    assert finding["places"][0]["source"] == "train.tsv:1"
    rows = list(csv.reader(io.StringIO((data / "s.csv").read_text(encoding="utf-8-sig"), newline="")))
    rows[1][-1] = rows[1][3]
    with (data / "s.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    assert main(["train", str(train), "--corrections", str(data / "s.csv"), "--out", str(data / "B"), *LINEAR]) == 0
    assert Bundle.load(data / "B").ledger["entries"] == [[CORRECTED, "train.tsv:1", "'科技' is '体育'"]]
