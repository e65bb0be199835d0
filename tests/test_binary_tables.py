"""Parquet and xlsx: the same documents as from csv, and one sentence for what is damaged or hostile."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import resource
import sys
import zipfile
from pathlib import Path

import pyarrow
import pytest
import workbooks
from pyarrow import parquet

from fenlei import corpus
from fenlei.bundle import Bundle
from fenlei.cli import main
from fenlei.cli.writers import GROUP_ROWS, Row, groups, write_parquet
from fenlei.corpus import spreadsheet

ROWS = [("体育", "球队 赢了\n比赛"), ("财经", '股票, "上涨"'), ("体育", "=1+1 冠军")]


def put(path: Path, **columns: object) -> Path:
    parquet.write_table(pyarrow.table(columns), path)
    return path


def pairs(path: Path) -> list[tuple[str, str]]:
    return [(document.label, document.text) for document in corpus.read(path)[0]]


def test_parquet_gives_documents(tmp_path: Path) -> None:
    path = put(tmp_path / "a.parquet", id=[1, 2, 3], label=[row[0] for row in ROWS], text=[row[1] for row in ROWS])
    assert pairs(path) == ROWS
    documents, ledger = corpus.read(path)
    assert documents[2].source == "a.parquet:3"
    assert ledger.notes == ["a.parquet: parquet; label from 'label', text from 'text'; not read: 'id'."]


def test_a_folder_of_parquet_files_by_split(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        put(tmp_path / f"{split}-00000-of-00001.parquet", text=[split, "b"], label=["x", "y"])
    assert [document.split for document in corpus.read(tmp_path)[0]] == ["train"] * 2 + ["dev"] * 2 + ["test"] * 2


def test_class_numbers_get_the_names_that_the_file_has(tmp_path: Path) -> None:
    features = {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}, "text": {"dtype": "string"}}
    table = pyarrow.table({"text": ["a", "b", "c"], "label": [1, 0, -1]})
    named = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(named, tmp_path / "a.parquet")
    assert pairs(tmp_path / "a.parquet") == [("pos", "a"), ("neg", "b")]
    for broken in ("{", "[]", '{"info": {"features": {"label": 3}}}', "[" * 100_000):
        parquet.write_table(table.replace_schema_metadata({"huggingface": broken}), tmp_path / "a.parquet")
        assert pairs(tmp_path / "a.parquet") == [("1", "a"), ("0", "b"), ("-1", "c")]


def test_parquet_of_other_types(tmp_path: Path) -> None:
    label = pyarrow.array(["x", None, "y", "x"]).dictionary_encode()
    path = put(tmp_path / "a.parquet", text=["a", "b", None, "d"], label=label)
    documents, ledger = corpus.read(path)
    assert [(d.label, d.text) for d in documents] == [("x", "a"), ("x", "d")]
    assert ledger.counts == {"no label": 1, "empty": 1}
    path = put(tmp_path / "b.parquet", text=["a", "b"] * 3, label=[["x", "y"], ["y"]] * 3)
    assert [d.labels for d in corpus.read(path)[0]][:2] == [("x", "y"), ("y",)]
    day = datetime.date(2026, 1, 2)
    assert pairs(put(tmp_path / "c.parquet", text=["a"], label=[day])) == [("2026-01-02", "a")]
    with pytest.raises(ValueError, match="'text' is a bytes, expected a string"):
        corpus.read(put(tmp_path / "d.parquet", text=[b"a"], label=["x"]))


def test_a_damaged_parquet_file_is_one_sentence(tmp_path: Path) -> None:
    path = put(tmp_path / "a.parquet", text=[f"text {n} " * 50 for n in range(5000)], label=["x", "y"] * 2500)
    whole = path.read_bytes()
    for start in range(0, len(whole) - 200, len(whole) // 40):
        path.write_bytes(whole[:start] + bytes(200) + whole[start + 200 :])
        with contextlib.suppress(ValueError):  # and nothing else
            corpus.read(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"a\.parquet is no readable parquet file \("):
        corpus.read(path)


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "a.parquet", text=["a"], label=["x"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"reading a\.parquet needs pyarrow: pip install .*fenlei\[table\]"):
        corpus.read(path)


def test_xlsx_gives_documents(tmp_path: Path) -> None:
    rows = [["label", "text", "note"], *([*row, None] for row in ROWS)]
    path = workbooks.write(tmp_path / "a.xlsx", {"一": rows, "two": [["x"]]})
    assert pairs(path) == ROWS
    documents, ledger = corpus.read(path)
    assert documents[0].source == "a.xlsx:2"
    assert "a.xlsx: the sheet '一' was read, not 'two'." in ledger.notes


def test_a_hidden_sheet_is_not_the_first(tmp_path: Path) -> None:
    sheets = {"old": [["label", "text"], ["no", "no"]], "new": [["label", "text"], ["x", "a"]]}
    assert pairs(workbooks.write(tmp_path / "a.xlsx", sheets, hidden=["old"])) == [("x", "a")]


def test_cells_of_every_kind(tmp_path: Path) -> None:
    numbers = [[n % 2, f"text {n}", n > 1] for n in range(30)]
    assert pairs(workbooks.write(tmp_path / "a.xlsx", {"s": numbers}))[:2] == [("0", "text 0"), ("1", "text 1")]
    ruby = (
        "<si><t>東京</t><rPh><t>トウキョウ</t></rPh></si><si><r><t>a</t></r><r><t xml:space='preserve'> b</t></r></si>"
    )
    cells = (
        '<row><c t="inlineStr"><is><t>label</t></is></c><c t="str"><v>text</v></c></row>'
        '<row><c t="b"><v>1</v></c><c t="s"><v>0</v></c></row>'
        '<row r="9"><c r="A9" t="e"><v>#N/A</v></c><c r="B9" t="s"><v>1</v></c></row>'
        '<row><c><v>2.5</v></c><c t="str"><v>x_x000D_y _xD83D__xDE00_ _xD800_</v></c></row>'
        '<row r="11"><c r="B11" t="s"><v>1</v></c><c r="A11"><v>3</v></c></row>'
    )
    documents, ledger = corpus.read(workbooks.one_sheet(tmp_path / "b.xlsx", cells, ruby))
    assert [(d.label, d.text) for d in documents] == [("true", "東京"), ("2.5", "x\ry 😀 \ufffd"), ("3", "a b")]
    assert [entry.source for entry in ledger.entries] == ["b.xlsx:9"]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ('<row><c t="s"><v>7</v></c></row>', "refers to string '7' of 0"),
        ('<row><c t="s"><v>-1</v></c></row>', "refers to string '-1'"),
        ('<row><c r="XFE1"><v>7</v></c></row>', "'XFE1' is beyond column XFD"),
        ("<row><c>", "mismatched tag"),
        ("&x;", "undefined entity"),
    ],
)
def test_broken_sheets_are_one_sentence(tmp_path: Path, cells: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"a\.xlsx is no readable xlsx workbook \(.*{message}"):
        corpus.read(workbooks.one_sheet(tmp_path / "a.xlsx", cells))


def test_a_cell_in_the_last_corner_costs_nothing(tmp_path: Path) -> None:
    rows = '<row><c t="str"><v>label</v></c><c t="str"><v>text</v></c></row><row><c><v>1</v></c><c><v>2</v></c></row>'
    path = workbooks.one_sheet(tmp_path / "a.xlsx", rows + '<row r="1048576"><c r="XFD1048576"><v>9</v></c></row>')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert pairs(path) == [("1", "2")]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kilobytes


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unfolding = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    path = workbooks.write(tmp_path / "a.xlsx", {"s": [["label", "text"]]})
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    sheet = (
        f'<!DOCTYPE w [<!ENTITY e0 "x">{unfolding}]><worksheet><sheetData><row><c><v>&e11;</v></c></row></sheetData>'
    )
    workbooks.pack(path, parts | {"xl/worksheets/sheet1.xml": f"{sheet}</worksheet>"})
    with pytest.raises(ValueError, match="limit on input amplification"):
        corpus.read(path)
    monkeypatch.setattr(spreadsheet, "SIZE_LIMIT", 1000)
    workbooks.write(path, {"s": [["label", "text"], *[["x", f"{n}"] for n in range(100)]]})
    with pytest.raises(ValueError, match="unpacks to more than 1,000 bytes"):
        corpus.read(path)


def test_a_workbook_without_its_parts_is_one_sentence(tmp_path: Path) -> None:
    path = workbooks.write(tmp_path / "a.xlsx", {"s": [["label", "text"], ["x", "y"]]})
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    for missing in set(parts) - {"xl/sharedStrings.xml"}:
        workbooks.pack(path, {name: part for name, part in parts.items() if name != missing})
        with pytest.raises(ValueError, match=r"a\.xlsx is no readable xlsx workbook"):
            corpus.read(path)
    workbooks.write(path, {})
    with pytest.raises(ValueError, match="it has no sheets"):
        corpus.read(path)


@pytest.mark.parametrize("name", ["a.parquet", "a.xlsx"])
def test_predict_and_explain_read_the_column_of_texts(
    tmp_path: Path, bundle: Bundle, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    saved, texts = str(bundle.save(tmp_path / "b")), ["球队赢了", "", "银行的利率"]
    path = tmp_path / name
    if name == "a.parquet":
        put(path, id=[1, 2, 3], text=["球队赢了", None, "银行的利率"])
    else:
        workbooks.write(path, {"s": [["id", "text"], *([n, text] for n, text in enumerate(texts))]})
    assert main(["predict", saved, str(path), "--format", "jsonl"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in found] == texts
    assert main(["explain", saved, "--file", str(path)]) == 0
    capsys.readouterr()
    path.write_bytes(b"PK")
    assert main(["predict", saved, str(path)]) == 1
    assert "no readable" in capsys.readouterr().err


def test_a_table_without_texts_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.parquet has no text column \(columns: 'n'\)"):
        list(corpus.read_lines(put(tmp_path / "a.parquet", n=[1, 2])))
    assert list(corpus.read_lines(put(tmp_path / "a.parquet", n=[]))) == []
    assert list(corpus.read_lines(workbooks.write(tmp_path / "a.xlsx", {"s": [["one"], ["two"]]}))) == ["one", "two"]


def test_predict_writes_parquet(tmp_path: Path, bundle: Bundle, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    saved = str(bundle.save(tmp_path / "b"))
    (tmp_path / "t.txt").write_text("球队赢了\n\n银行的利率\n", encoding="utf-8")
    assert main(["predict", saved, str(tmp_path / "t.txt"), "--format", "jsonl", "--top", "2"]) == 0
    lines = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert main(["predict", saved, str(tmp_path / "t.txt"), "--format", "parquet", "--top", "2"]) == 0
    assert parquet.read_table(io.BytesIO(capfdbinary.readouterr().out)).to_pylist() == lines
    assert main(["predict", saved, str(tmp_path / "t.txt"), "--format", "parquet", "--json"]) == 2
    assert b"exclude one another" in capfdbinary.readouterr().err


def test_parquet_is_written_in_groups_and_holds_every_text() -> None:
    stream = io.TextIOWrapper(io.BytesIO())
    rows = [Row(f"=1 \ud800 {n}", ["a"] * (n % 3), [0.5] * (n % 3), n % 3 == 0) for n in range(GROUP_ROWS + 5)]
    write_parquet(iter(rows), stream, 1)
    file = parquet.ParquetFile(io.BytesIO(stream.buffer.getvalue()))
    assert file.num_row_groups == 2
    assert file.read().to_pylist()[4] == {"text": "=1 ? 4", "labels": ["a"], "probabilities": [0.5], "unknown": False}
    assert file.read().num_rows == GROUP_ROWS + 5
    assert [len(group) for group in groups([Row("x" * 3_000_000, [], [])] * 5)] == [2, 2, 1]
    empty = io.TextIOWrapper(io.BytesIO())
    write_parquet([], empty, 1)
    assert parquet.read_table(io.BytesIO(empty.buffer.getvalue())).num_rows == 0
