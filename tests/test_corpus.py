"""corpus: every layout and format in, the right documents out, and nothing lost without a line in the ledger."""

import csv
import io
import json
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenlei import corpus
from fenlei.cache import Cache
from fenlei.corpus import Document, Ledger, jsonlist
from fenlei.corpus import documents as audits
from fenlei.corpus import ledger as ledgers
from fenlei.corpus.documents import audit
from fenlei.corpus.store import Store, write

ZH = [
    "这间酒店的环境和服务态度都很不错，房间也宽敞",
    "电池用了两天就坏了，客服的态度还特别差",
    "昨晚的比赛太精彩了，主队在最后一分钟绝杀对手",
    "教育部公布今年的高考报名人数，比去年略有增加",
    "新款手机的屏幕素质很好，拍照效果也令人满意",
]
TRADITIONAL = ["這間酒店的環境和服務態度都很不錯，房間也寬敞", "電池用了兩天就壞了，客服的態度還特別差"]
JAPANESE = ["この映画はとても面白かったです。また見たいと思います。", "電池がすぐに切れてしまい、本当に残念でした。"]
KOREAN = ["이 영화는 정말 재미있었습니다 다시 보고 싶어요", "배터리가 금방 닳아서 너무 실망했습니다"]
RUSSIAN = ["Это был очень хороший фильм, мне понравилось", "Батарея быстро разрядилась, я очень разочарован"]


def put(path: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def pairs(documents: list[Document]) -> list[tuple[str, str]]:
    return [(document.label, document.text) for document in documents]


# --- folders ---


def test_folder_per_class_at_any_depth_with_splits(tmp_path):
    put(tmp_path / "train/体育/1.txt", "比赛\n")
    put(tmp_path / "train/文艺/书/2.txt", "小说")
    put(tmp_path / "validation/体育/3.txt", "球")
    put(tmp_path / "test/体育/4", "门\r\n")
    put(tmp_path / ".git/x/5.txt", "hidden")
    put(tmp_path / "README.md", "about")
    documents, ledger = corpus.read(tmp_path)
    assert documents == [
        Document("比赛", "体育", "train/体育/1.txt", "train"),
        Document("小说", "书", "train/文艺/书/2.txt", "train"),
        Document("球", "体育", "validation/体育/3.txt", "dev"),
        Document("门", "体育", "test/体育/4", "test"),
    ]
    assert ledger.counts == {}


def test_folders_of_one_name_under_different_parents_are_one_class_and_that_is_said(tmp_path):
    for topic in ("体育", "财经", "时政"):
        for year in range(2005, 2010):
            put(tmp_path / f"{topic}/{year}/1.txt", f"{topic} {year}")
    documents, ledger = corpus.read(tmp_path)
    assert {document.label for document in documents} == {str(year) for year in range(2005, 2010)}
    [warning] = ledger.warnings
    assert "of folders of the same name under different parents, 5 times: '体育/2005' and '时政/2005', " in warning
    assert warning.count("' and '") == 3
    assert "'时政/2007', ...; a document's class is" in warning
    assert "; where the parents are the classes, move the documents up into them, else" in warning
    assert f"warning: {warning}" in ledger.summary()


def test_a_class_in_a_class_is_named(tmp_path):
    put(tmp_path / "体育/1.txt", "球")
    put(tmp_path / "体育/old/2007/2.txt", "门")
    put(tmp_path / "财经/3.txt", "股")
    documents, ledger = corpus.read(tmp_path)
    assert {document.label for document in documents} == {"体育", "2007", "财经"}
    [warning] = ledger.warnings
    assert "a folder with documents as well, once: '体育' (in it '体育/old/2007');" in warning
    assert "where the inner one is none, move its documents up into the outer one" in warning


def test_a_class_in_every_split_is_the_layout_and_no_doubt(tmp_path):
    for split in ("train", "dev", "test"):
        put(tmp_path / f"data/{split}/news/体育/1.txt", f"球 {split}")
        put(tmp_path / f"data/{split}/news/财经/1.txt", f"股 {split}")
        put(tmp_path / f"data/{split}/文艺/书/1.txt", f"书 {split}")
    documents, ledger = corpus.read(tmp_path)
    assert Counter(document.label for document in documents) == {"体育": 3, "财经": 3, "书": 3}
    assert ledger.warnings == {}


def test_splits_within_the_classes_are_not_taken_for_classes_in_silence(tmp_path):
    for name in ("体育/train", "体育/test", "财经/train", "财经/test"):
        put(tmp_path / name / "1.txt", name)
    assert "'体育/test' and '财经/test', '体育/train' and '财经/train'" in corpus.read(tmp_path)[1].notes[0]


def test_folder_around_the_data_is_seen_through(tmp_path):
    put(tmp_path / "archive/train/a/1.txt", "x")
    put(tmp_path / "archive/test/a/1.txt", "y")
    documents, _ = corpus.read(tmp_path)
    assert [document.split for document in documents] == ["train", "test"]


def test_class_that_is_called_test_is_a_class_when_the_others_are(tmp_path):
    for name in ("test", "sport", "news"):
        put(tmp_path / name / "1.txt", f"about {name}")
        put(tmp_path / name / "2.txt", f"more {name}")
    documents, ledger = corpus.read(tmp_path)
    assert Counter(document.label for document in documents) == {"test": 2, "sport": 2, "news": 2}
    assert {document.split for document in documents} == {""}
    assert "'test' was read as a class" in ledger.notes[0]


def test_class_folders_without_files_are_named(tmp_path):
    put(tmp_path / "体育" / "1.txt", "球队赢了")
    put(tmp_path / "财经" / "1.txt", "股票涨了")
    for name in ("空", "体育/旧"):
        (tmp_path / name).mkdir()
    documents, ledger = corpus.read(tmp_path)
    assert {document.label for document in documents} == {"体育", "财经"}
    assert ledger.notes == ["Empty folders, of which no class is made: '体育/旧', '空'."]


def test_file_beside_class_folders_has_no_label(tmp_path):
    put(tmp_path / "a/1.txt", "x")
    put(tmp_path / "b/readme.txt", "a read-me")
    put(tmp_path / "b/2.txt", "y")
    put(tmp_path / "stray.txt", "z")
    documents, ledger = corpus.read(tmp_path)
    assert pairs(documents) == [("a", "x"), ("b", "y")]
    assert [entry[:2] for entry in ledger.entries] == [("no label", "stray.txt")]


def test_only_whole_names_are_by_standers_and_they_are_named(tmp_path):
    for name in ("readme_first.txt", "license.plates.txt", "changelog-2.txt", "copying-machines.txt"):
        put(tmp_path / "a" / name, f"a document {name}")
    for name in ("README", "b/LICENSE.txt", "b/readme_zh-CN.md", "b/COPYING", "LICENSE-MIT", "b/README.zh.md"):
        put(tmp_path / name, "no document")
    put(tmp_path / "b/1.txt", "y")
    documents, ledger = corpus.read(tmp_path)
    assert Counter(document.label for document in documents) == {"a": 4, "b": 1}
    assert ledger.notes == [
        "Not read, as they are about the data, 6: LICENSE-MIT, README, b/COPYING, b/LICENSE.txt, b/README.zh.md, ...."
    ]
    assert ledger.counts == {}


def test_links_to_nothing_and_pipes_are_named(tmp_path):
    put(tmp_path / "data/train/a/1.txt", "x")
    put(tmp_path / "data/train/b/2.txt", "y")
    (tmp_path / "data/train/a/gone.txt").symlink_to(tmp_path / "nowhere")
    (tmp_path / "data/train/b/loop").symlink_to(tmp_path / "data/train/b/loop")
    os.mkfifo(tmp_path / "data/train/b/pipe")
    documents, ledger = corpus.read(tmp_path)
    assert pairs(documents) == [("a", "x"), ("b", "y")]
    assert ledger.entries == [
        ("not text", "data/train/a/gone.txt", "a link to nothing"),
        ("not text", "data/train/b/loop", "a link to nothing"),
        ("not text", "data/train/b/pipe", "neither a file nor a folder"),
    ]


def test_split_files_by_name_and_class_txt(tmp_path):
    put(tmp_path / "class.txt", "finance\nrealty\nstocks\n")
    put(tmp_path / "train.txt", "词汇阅读是关键\t0\n中国人民公安大学\t2\n")
    put(tmp_path / "dev.txt", "体验倚天屠龙记\t1\n")
    put(tmp_path / "test.txt", "同步首秀\t2\n")
    put(tmp_path / "vocab.bin", b"\x01\0")
    documents, ledger = corpus.read(tmp_path)
    assert [(document.label, document.split) for document in documents] == [
        ("finance", "train"),
        ("stocks", "train"),
        ("realty", "dev"),
        ("stocks", "test"),
    ]
    assert "class.txt names the classes: 0 is 'finance'." in ledger.notes
    assert any("vocab.bin" in note for note in ledger.notes)


def test_class_txt_counts_from_one_or_is_left_alone(tmp_path):
    put(tmp_path / "classes.txt", "World\nSports\n")
    train = put(tmp_path / "train.csv", '"2","Fight"\n"1","Vote, again"\n')
    assert pairs(corpus.read(train)[0]) == [("Sports", "Fight"), ("World", "Vote, again")]
    put(train, "7,Fight\n1,Vote\n")
    documents, ledger = corpus.read(train)
    assert {document.label for document in documents} == {"7", "1"}
    assert "do not fit" in ledger.notes[-1]


def test_split_names_are_words_of_the_file_name(tmp_path):
    for name in ("cnews.train.txt", "cnews.val.txt", "oos_train.txt"):
        put(tmp_path / name, f"a\ttext of {name}\nb\tsecond in {name}\n")
    documents, _ = corpus.read(tmp_path)
    assert {document.source.split(":")[0]: document.split for document in documents} == {
        "cnews.train.txt": "train",
        "oos_train.txt": "train",
        "cnews.val.txt": "dev",
    }


def test_test_file_without_labels_is_listed_not_fatal(tmp_path):
    put(tmp_path / "train.csv", "id,text,label\n1,good,p\n2,bad,n\n")
    put(tmp_path / "test.csv", "id,text\n" + "".join(f"{i},unknown {i}\n" for i in range(30)))
    documents, ledger = corpus.read(tmp_path)
    assert pairs(documents) == [("p", "good"), ("n", "bad")]
    assert ledger.entries[0].kind == "no label"
    assert ledger.entries[0].source == "test.csv"


def test_file_per_class(tmp_path):
    put(tmp_path / "sports.txt", "a match, a goal\n\nanother, match\n")
    put(tmp_path / "test.txt", "this is, a class\n")
    documents, ledger = corpus.read(tmp_path)
    assert pairs(documents) == [
        ("sports", "a match, a goal"),
        ("sports", "another, match"),
        ("test", "this is, a class"),
    ]
    assert documents[1].source == "sports.txt:3"
    assert ledger.counts == {"empty": 1}
    assert "One file per class" in ledger.notes[0]


def test_split_folders_of_tables_and_of_class_files(tmp_path):
    put(tmp_path / "train/part-0.jsonl", '{"text": "x", "label": "a"}\n')
    put(tmp_path / "train/part-1.jsonl", '{"text": "y", "label": "b"}\n')
    put(tmp_path / "dev/a.txt", "z\n")
    put(tmp_path / "dev/b.txt", "w\n")
    documents, _ = corpus.read(tmp_path)
    assert [(d.label, d.text, d.split) for d in documents] == [
        ("a", "x", "train"),
        ("b", "y", "train"),
        ("a", "z", "dev"),
        ("b", "w", "dev"),
    ]


def test_links_in_circles_end(tmp_path):
    put(tmp_path / "a/1.txt", "x")
    put(tmp_path / "b/2.txt", "y")
    (tmp_path / "a/again").symlink_to(tmp_path)
    documents, _ = corpus.read(tmp_path)
    assert ("a", "x") in pairs(documents)
    assert len(documents) < 10


def test_folder_name_that_is_not_utf8_is_read_as_gb18030(tmp_path):
    raw = bytes(tmp_path) + b"/" + "体育".encode("gbk")
    try:
        os.mkdir(raw)
    except OSError:
        pytest.skip("this file system holds UTF-8 names only")
    with open(raw + b"/1.txt", "wb") as file:
        file.write("比赛".encode())
    put(tmp_path / "other/1.txt", "x")
    documents, ledger = corpus.read(tmp_path)
    assert ("体育", "比赛") in pairs(documents)
    assert ledger.notes == ["File names that are not UTF-8 were read as gb18030."]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "it is empty"),
        ({"1.txt": "x", "2.txt": "y"}, "numbered documents without labels"),
        ({"a/1.txt": "  \n"}, r"empty: no text"),
        ({"train.parquet": "PAR1"}, r"is no readable parquet file"),
    ],
)
def test_folder_without_documents_is_refused(tmp_path, files, message):
    for name, content in files.items():
        put(tmp_path / name, content)
    with pytest.raises(ValueError, match=message):
        corpus.read(tmp_path)


def test_no_such_path(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        corpus.read(tmp_path / "gone")


# --- tables ---


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", "pos\tgood film\nneg\tbad film\n"),
        ("a.tsv", "good film\tpos\r\nbad film\tneg\r\n"),
        ("a.tsv", "label\ttext\npos\tgood film\nneg\tbad film"),
        ("a.txt", "pos\tgood film\nneg\tbad film\n"),
        ("a.csv", "pos,good film\nneg,bad film\n"),
        ("a.csv", "\ufeffreview;label\ngood film;pos\nbad film;neg\n"),
        ("a.csv", "内容,标签\ngood film,pos\nbad film,neg\n"),
        ("a.csv", ",Title,Content,Category\n0,x,good film,pos\n1,y,bad film,neg\n"),
        ("a.csv", '"pos","good film"\n"neg","bad film"\n'),
        ("a.data", "6551_!_pos_!_good film\n6552_!_neg_!_bad film\n"),
        ("a.jsonl", '{"text": "good film", "label": "pos"}\n{"label": "neg", "text": "bad film"}\n'),
        ("a.ndjson", '{"sentence": "good film", "target": "pos"}\n{"sentence": "bad film", "target": "neg"}\n'),
        ("a.json", '{"x1": "good film", "y1": "pos"}\n{"x1": "bad film", "y1": "neg"}\n'),
        ("a.json", '[\n{"text": "good film", "label": "pos"},\n{"text": "bad film", "label": "neg"}\n]\n'),
        ("a.txt", '{"text": "good film", "label": "pos"}\n{"text": "bad film", "label": "neg"}\n'),
        ("a.txt", "__label__pos good film\n__label__neg bad film\n"),
        ("a", "__label__pos\tgood film\n__label__neg\tbad film\n"),
    ],
)
def test_every_format_gives_the_same_documents(tmp_path, name, content):
    documents, ledger = corpus.read(put(tmp_path / name, content))
    assert pairs(documents) == [("pos", "good film"), ("neg", "bad film")]
    assert not ledger.entries
    assert ledger.notes
    assert ledger.notes[0].startswith(f"{name}: ")
    line = next(i for i, row in enumerate(content.removeprefix("[\n").splitlines(), 1) if "good" in row)
    assert documents[0].source == f"{name}:{line}"
    assert documents[0].split == ""


def test_columns_come_from_content_when_no_name_helps(tmp_path):
    rows = [f"{1000 + i}\t{('pos', 'neg', 'neu')[i % 3]}\tthe film number {i} was a film\n" for i in range(60)]
    documents, ledger = corpus.read(put(tmp_path / "a.tsv", "".join(rows)))
    assert pairs(documents)[:2] == [("pos", "the film number 0 was a film"), ("neg", "the film number 1 was a film")]
    assert ledger.notes == [
        "a.tsv: tab-separated, no header; label from column 2, text from column 3; not read: column 1."
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt"])
def test_lines_that_end_with_cr_alone_are_lines(tmp_path, name, encoding):
    rows = [(f"c{n % 2}", f"上{text}") for n, text in enumerate(ZH * 3)]  # 上 holds the byte of a line feed in UTF-16
    divide = "," if name == "a.csv" else "\t"
    content = "\r".join(divide.join(row) for row in [("label", "text"), *rows])
    documents, ledger = corpus.read(put(tmp_path / name, content, encoding))
    assert pairs(documents) == rows
    assert documents[0].source == f"{name}:2"
    assert f"{name}: its lines end with CR alone, as on old Macs." in ledger.notes
    whole = put(tmp_path / "folder/a.txt", "\r".join(text for _, text in rows), encoding)
    put(whole.with_name("b.txt"), "one\rtwo")
    texts = [text for _, text in rows] + ["one", "two"]
    assert [document.text for document in corpus.read(whole.parent)[0]] == texts
    assert list(corpus.read_unlabelled([whole], None, Ledger())) == [text for _, text in rows]


def test_a_large_file_with_cr_alone_is_read_and_votes_for_its_encoding(tmp_path):
    rows = "\r".join(f"c{n % 2}\t{ZH[n % 5] * 8}{n}" for n in range(50_000))
    path = put(tmp_path / "a.tsv", rows, "gb18030")
    assert path.stat().st_size > 16 * 2**20
    documents, ledger = corpus.read(path)
    assert (len(documents), ledger.counts) == (50_000, {})


def test_a_bare_cr_in_a_cell_is_named_for_what_it_is(tmp_path):
    documents, ledger = corpus.read(put(tmp_path / "a.csv", 'label,text\na,one\rtwo\nb,three\na,"four\rfive"\n'))
    assert pairs(documents) == [("b", "three"), ("a", "four\rfive")]
    reason = "a carriage return stands in a cell without quotes; put the cell into quotes"
    assert ledger.entries == [("unparsable", "a.csv:2", reason)]


def test_unknown_header_is_recognised_above_numbers_and_above_recurring_values(tmp_path):
    numbers = "stimmung\tsatz\n" + "".join(f"{i % 2}\tSatz Nummer {i}\n" for i in range(10))
    assert len(corpus.read(put(tmp_path / "a.tsv", numbers))[0]) == 10
    words = "stimmung\tsatz\n" + "".join(f"{'gut' if i % 2 else 'arg'}\tSatz Nummer {i}\n" for i in range(30))
    assert {document.label for document in corpus.read(put(tmp_path / "b.tsv", words))[0]} == {"gut", "arg"}


@pytest.mark.parametrize("pad", ["{} ", " {}", " {} ", "\u3000{}"])
def test_padded_labels_make_no_header_of_the_first_document(tmp_path, pad):
    rows = [(("体育", "财经", "时政")[n % 3], f"第{n}篇文章") for n in range(24)]
    lines = "".join(f"{pad.format(label)}\t{text}\n" for label, text in rows)
    assert pairs(corpus.read(put(tmp_path / "a.tsv", lines))[0]) == rows


def test_columns_that_are_not_read_are_named(tmp_path):
    many = "class,title,description,,a,b,c,d\n" + "1,t one,d one,0,1,2,3,4\n2,t two,d two,0,1,2,3,4\n"
    documents, ledger = corpus.read(put(tmp_path / "a.csv", many))
    assert pairs(documents) == [("1", "d one"), ("2", "d two")]
    assert ledger.notes == [
        "a.csv: comma-separated; label from 'class', text from 'description'; "
        "not read: 'title', column 4, 'a', 'b', 'c' and 1 more."
    ]
    assert ledger.warnings == {}


@pytest.mark.parametrize(("header", "twice"), [("text,text,label", "text"), ("label,text,Label", "label")])
def test_a_header_that_names_a_column_twice_is_warned_of(tmp_path, header, twice):
    _, ledger = corpus.read(put(tmp_path / "a.csv", f"{header}\none,two,three\nfour,five,six\n"))
    [warning] = ledger.warnings
    assert warning.startswith(f"a.csv: the header names '{twice}' 2 times and the first such column was read;")
    assert "not read: " in ledger.notes[0]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "text,sport,money\n" + "".join(f"text {n},{n % 2},{1 - n % 2}\n" for n in range(30))),
        ("a.tsv", "".join(f"{n % 2}\t{1 - n % 2}\tthe text {n}\n" for n in range(30))),
        (
            "a.jsonl",
            "".join(f'{{"text": "t {n}", "sport": {"true" if n % 2 else "false"}, "money": true}}\n' for n in range(9)),
        ),
    ],
)
def test_columns_of_0_and_1_are_warned_of(tmp_path, name, content):
    _, ledger = corpus.read(put(tmp_path / name, content))
    [warning] = ledger.warnings
    first, second = ("column 1", "column 2") if name == "a.tsv" else ("'sport'", "'money'")
    assert (
        f"2 columns hold only 0 and 1 or true and false ({first}, {second}), and one of them was read, {first};"
        in warning
    )
    assert "into one column `label`, with a comma between them, and train with --multi-label" in warning


def test_a_named_label_of_0_and_1_beside_another_is_no_doubt(tmp_path):
    rows = "text,label,spam\n" + "".join(f"text {n},{n % 2},{n % 2}\n" for n in range(30))
    assert corpus.read(put(tmp_path / "a.csv", rows))[1].warnings == {}


def test_data_sorted_by_class_keeps_its_label_column(tmp_path):
    rows = [f"{'a' if i < 1500 else 'b'}\t{'same text' if i % 7 == 0 else f'text {i}'}\n" for i in range(3000)]
    documents, _ = corpus.read(put(tmp_path / "a.tsv", "".join(rows)))
    assert Counter(document.label for document in documents) == {"a": 1500, "b": 1500}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text\nx\ny\n", r"a\.csv has no label column \(columns: 'text'\)"),
        ("a.csv", "id,body\n" + "".join(f"{i},text {i}\n" for i in range(30)), r"no label column .*'id', 'body'"),
        ("a.tsv", "1\t2\n3\t4\n", "has no text column"),
        ("a.txt", "just some prose\nand more of it\n", "no label column"),
        ("a.csv", "text,label\n", "no documents in .*: it has no rows under the names of its columns"),
        ("a.jsonl", '["x", "y"]\n', "a JSON str, expected one object an element"),
        ("a.jsonl", '["x", "y"]\n["x", "y"]\n', r"no whole JSON list \(Extra data: line 2 column 1 .* jq -c '\.\[\]' "),
        ("a.json", '[{"text": "x", "label": "y"},\n', r"no whole JSON list \(Expecting value: line 2 column 1"),
        (
            "a.json",
            '[{"text": "x", "label": "y"} 3]',
            r"no whole JSON list \(Expecting ',' delimiter: line 1 column 30",
        ),
        ("a.json", "[" * 100_000, r"no whole JSON list \(nested too deeply\)"),
        (
            "a.json",
            b'[{"text": "\xff\xfe x", "label": "' + ZH[0].encode() * 9 + b'"}]',
            "is not utf-8 at byte 12; repair",
        ),
        ("a.json", '{"v": 1, "data": [{"text": "x", "label": "y"}]}', r"whose 'data' is a list of objects, 1 .*\[\]' "),
        (
            "a.json",
            '{\n"data": [\n{"text": "x", "label": "y"}\n]\n}',
            "whose 'data' is a list of objects, 1 of them; write",
        ),
        (
            "a.json",
            '{"text": ["x", "z"], "label": ["y", "y"]}',
            "JSON columns, 'text' and 'label'; write an object a line",
        ),
        (
            "a.json",
            '{\n"text": "x",\n"label": "y"\n}\n',
            r"one JSON object over several lines \(keys: 'text', 'label'\)",
        ),
        (
            "a.json",
            '{\n"text": "x"\n}\n{\n"text": "y"\n}\n',
            r"JSON objects over several lines each; write .* jq -c \. ",
        ),
        ("a.tsv", "", "it is empty"),
        ("a.tsv", "\n\n", "blank line|no text"),
        ("a.parquet", "PAR1", r"is no readable parquet file \("),
        ("a.xlsx", "PK", r"is no readable xlsx workbook \(File is not a zip file\); save it again, or give a csv"),
        ("a.xls", "PK", r"\.xls files are not read; give a csv"),
        ("a.jsonl", '{"text": "x", "label": [["a"], "b"]}\n', "'label' is a list in a list"),
        ("a.txt", bytes(range(256)) * 8, "is no text"),
        ("a.csv", b"\x7fELF\x01\0\0\0" * 20, "is no text"),
    ],
)
def test_what_cannot_be_read_is_one_clear_sentence(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message) as caught:
        corpus.read(put(tmp_path / name, content))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_stray_quotes_in_tsv_swallow_nothing(tmp_path):
    rows = ['pos\t"good film', "neg\tbad film", 'pos\ta 5" disk', '"neg"\tit\'s "bad"']
    documents, ledger = corpus.read(put(tmp_path / "a.tsv", "\n".join(rows)))
    assert pairs(documents) == [
        ("pos", '"good film'),
        ("neg", "bad film"),
        ("pos", 'a 5" disk'),
        ('"neg"', 'it\'s "bad"'),
    ]
    assert not ledger.entries


def test_csv_quoting_keeps_what_labels_and_texts_hold(tmp_path):
    stream = io.StringIO()
    rows = [("a/b", 'say "hi", twice\nand again'), ("c\nd", "tab\there"), ('"q"', "plain")]
    csv.writer(stream).writerows([("label", "text"), *rows])
    documents, _ = corpus.read(put(tmp_path / "a.csv", stream.getvalue()))
    assert pairs(documents) == rows
    assert [document.source for document in documents] == ["a.csv:2", "a.csv:4", "a.csv:6"]


@pytest.mark.parametrize("at", [2, 50, 101])
def test_unclosed_quote_costs_its_own_line_only_and_is_named(tmp_path, at):
    rows = ["label,text"] + [f"{'pos' if i % 2 else 'neg'},text number {i}" for i in range(100)]
    rows[at - 1] = 'pos,"never closed'
    documents, ledger = corpus.read(put(tmp_path / "a.csv", "\n".join(rows)))
    assert len(documents) == 99
    assert ledger.entries == [("unparsable", f"a.csv:{at}", "a quote opens in this line and never closes")]


def test_quote_closed_by_a_later_row_is_diagnosed_too(tmp_path):
    rows = ["label,text", 'pos,"one', "neg,two", 'pos,"three"', "neg,four"]
    documents, ledger = corpus.read(put(tmp_path / "a.csv", "\n".join(rows)))
    assert pairs(documents) == [("neg", "two"), ("pos", "three"), ("neg", "four")]
    assert [entry[:2] for entry in ledger.entries] == [("unparsable", "a.csv:2")]


def test_ragged_rows_are_joined_or_listed(tmp_path):
    content = "pos\tgood\tfilm\nneg\tbad film\npos\n\n\tlost\nneg\t \nneg\tdull film\t\t\nneg\tthe end\n"
    documents, ledger = corpus.read(put(tmp_path / "a.tsv", content))
    assert pairs(documents) == [("pos", "good\tfilm"), ("neg", "bad film"), ("neg", "dull film"), ("neg", "the end")]
    assert [entry[:2] for entry in ledger.entries] == [
        ("ragged", "a.tsv:1"),
        ("missing cells", "a.tsv:3"),
        ("empty", "a.tsv:4"),
        ("no label", "a.tsv:5"),
        ("empty", "a.tsv:6"),
        ("ragged", "a.tsv:7"),
    ]
    assert len(documents) + ledger.skipped == content.count("\n")


def test_surplus_cells_return_to_a_text_that_is_not_last(tmp_path):
    content = "text,label\ngood, very good,pos\nbad,neg\n"
    documents, ledger = corpus.read(put(tmp_path / "a.csv", content))
    assert pairs(documents) == [("pos", "good, very good"), ("neg", "bad")]
    assert ledger.counts == {"ragged": 1}


def test_json_lines_take_each_value_for_what_it_is(tmp_path):
    deep = '{"text": "x", "label": ' + "[" * 100_000 + "]" * 100_000 + "}"
    rows = [
        '{"text": "a", "label": 1}',
        '{"text": "b", "label": true}',
        '{"text": "c", "label": " x/y\\n\\"z\\" "}',
        '{"text": "d", "label": null}',
        '{"text": "e", "label": NaN}',
        '{"text": "f", "label": ["u", "v"]}',
        '{"text": "g"}',
        '{"text": null, "label": "x"}',
        '{"text": 5, "label": "x"}',
        '{"text": "h", "label": {"x": 1}}',
        '{"text": "i", "label": "x"',
        deep,
        '{"text": "\\ud800 j", "label": 0}',
    ]
    documents, ledger = corpus.read(put(tmp_path / "a.jsonl", "\n".join(rows)), labels="one")
    assert pairs(documents) == [("1", "a"), ("true", "b"), (' x/y\n"z" ', "c"), ("0", "\ud800 j")]
    assert {entry.source: entry.kind for entry in ledger.entries} == {
        "a.jsonl:4": "no label",
        "a.jsonl:5": "no label",
        "a.jsonl:6": "several labels",
        "a.jsonl:7": "no label",
        "a.jsonl:8": "empty",
        "a.jsonl:9": "unparsable",
        "a.jsonl:10": "unparsable",
        "a.jsonl:11": "unparsable",
        "a.jsonl:12": "unparsable",
    }
    assert "no JSON object: nested too deeply" in [entry.detail for entry in ledger.entries]


@pytest.mark.parametrize("indent", [None, 2, "\t"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "gb18030", "utf-16"])
def test_a_list_of_objects_is_read_however_it_is_written(tmp_path, indent, encoding):
    rows = [{"text": text, "label": f"c{n % 2}", "n": n} for n, text in enumerate(ZH)] + ["no object"]
    path = put(tmp_path / "a.json", json.dumps(rows, indent=indent, ensure_ascii=False), encoding)
    documents, ledger = corpus.read(path)
    assert pairs(documents) == [(f"c{n % 2}", text) for n, text in enumerate(ZH)]
    assert [document.source for document in documents] == [f"a.json:{n}" for n in range(1, 6)]
    assert "a.json: JSON list; label from 'label', text from 'text'; not read: 'n'." in ledger.notes
    assert ledger.entries == [("unparsable", "a.json:6", "a JSON str, expected one object an element")]
    assert list(corpus.read_unlabelled([path], None, Ledger())) == ZH


def test_a_list_in_one_long_line_is_read_and_a_larger_one_refused(tmp_path, monkeypatch):
    rows = [{"text": f"{n} " * 1000, "label": "ab"[n % 2]} for n in range(6000)]
    path = put(tmp_path / "a b.json", json.dumps(rows))
    assert path.stat().st_size > 17_000_000
    documents, ledger = corpus.read(path)
    assert (len(documents), ledger.counts) == (6000, {})
    monkeypatch.setattr(jsonlist, "LIMIT", 1_000_000)
    with pytest.raises(ValueError, match=r"a b\.json is one JSON list of more than 1,000,000 bytes; write") as caught:
        corpus.read(path)
    assert str(caught.value).endswith(f"jq -c '.[]' '{path}' > '{path}.jsonl'")


@pytest.mark.parametrize(
    "content",
    [
        {"data": [{"text": "one", "label": "a"}, {"text": "two", "label": "b"}], "labels": ["a", "b"]},
        {"text": ["one", "two"], "label": ["a", "b"]},
        {"text": {"0": "one", "1": "two"}, "label": {"0": "a", "1": "b"}},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_the_command_that_is_named_makes_lines_that_are_read(tmp_path, content, indent):
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    path = put(tmp_path / "it's.json", json.dumps(content, indent=indent))
    with pytest.raises(ValueError, match="write an object a line: jq") as caught:
        corpus.read(path)
    subprocess.run(["sh", "-c", str(caught.value).partition("write an object a line: ")[2]], check=True)
    assert pairs(corpus.read(f"{path}.jsonl")[0]) == [("a", "one"), ("b", "two")]


def test_json_lines_stay_lines_where_some_are_lists_or_broken(tmp_path):
    sound = (
        '{"text": "x", "label": "y"}\n{"text": "z", "label": "w"}\n{"text": "u", "spans": [{"a": 1}], "label": "w"}\n'
    )
    for bad in ('["x"]', "[", '{"text": "x', "{", '{"text": "x"} 3'):
        documents, ledger = corpus.read(put(tmp_path / "a.jsonl", f"{bad}\n{sound}"))
        assert [document.text for document in documents] == ["x", "z", "u"]
        assert [entry[:2] for entry in ledger.entries] == [("unparsable", "a.jsonl:1")]
    alone = '{"text": "u", "spans": [{"a": 1}], "label": "w"}\n'
    assert pairs(corpus.read(put(tmp_path / "a.jsonl", alone))[0]) == [("w", "u")]


def test_fasttext_lines_with_none_or_several_labels_are_listed(tmp_path):
    content = "__label__a one\n__label__a __label__b two\nthree\n__label__b  four \n\n__label__c\n"
    documents, ledger = corpus.read(put(tmp_path / "a.txt", content), labels="one")
    assert pairs(documents) == [("a", "one"), ("b", "four ")]
    assert [entry[:2] for entry in ledger.entries] == [
        ("no label", "a.txt:3"),
        ("empty", "a.txt:5"),
        ("empty", "a.txt:6"),
        ("several labels", "a.txt:2"),
    ]


@pytest.mark.parametrize("first", ["", "\n", "no label here\n", "text,label\n"])
def test_fasttext_lines_are_known_by_most_of_them(tmp_path, first):
    rows = [("a", "one, two"), ("b", "three")] * 5
    path = put(tmp_path / "a.txt", first + "".join(f"__label__{label} {text}\n" for label, text in rows))
    documents, ledger = corpus.read(path)
    assert pairs(documents) == rows
    assert ledger.notes[0] == "a.txt: fastText lines."
    skipped = [entry.source for entry in ledger.entries if entry.kind in ("no label", "empty")]
    assert skipped == ["a.txt:1"] * bool(first)
    own = Ledger()
    assert list(corpus.read_unlabelled([path], None, own))[-10:] == [text for _, text in rows]


def test_fasttext_labels_stand_anywhere_in_their_line(tmp_path):
    lines = ["one two __label__a", "one __label__b two", " __label__a one x__label__c two ", "__label__ one"]
    documents, ledger = corpus.read(put(tmp_path / "a.txt", "\n".join(lines)))
    assert pairs(documents) == [("a", "one two"), ("b", "one two"), ("a", "one x__label__c two ")]
    assert [entry[:2] for entry in ledger.entries if entry.kind != "conflict"] == [("no label", "a.txt:4")]


def test_a_table_that_speaks_of_fasttext_stays_a_table(tmp_path):
    rows = "label,text\n" + "".join(f"{'ab'[n % 2]},what is __label__x {n}\n" for n in range(9))
    assert {document.label for document in corpus.read(put(tmp_path / "a.csv", rows))[0]} == {"a", "b"}
    rows = "".join(json.dumps({"label": "ab"[n % 2], "text": f"is __label__x {n}"}) + "\n" for n in range(9))
    assert {document.label for document in corpus.read(put(tmp_path / "a.txt", rows))[0]} == {"a", "b"}


def test_large_cells_are_read_and_too_large_lines_listed(tmp_path):
    rows = ["label,text", f"pos,{'x' * 12_000_000}", f"neg,{'y' * 17_000_000}", "neg,short"]
    documents, ledger = corpus.read(put(tmp_path / "a.csv", "\n".join(rows)))
    assert [(document.label, len(document.text)) for document in documents] == [("pos", 12_000_000), ("neg", 5)]
    assert [entry[:2] for entry in ledger.entries] == [("too large", "a.csv:3")]


ANY = st.characters(codec="utf-8", exclude_characters="\r\0")
LABELS = st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters="\ufeff"), min_size=1)
TEXTS = st.builds("{}x{}".format, st.text(ANY), st.text(ANY))


@given(st.lists(st.tuples(LABELS, TEXTS), min_size=1))
def test_csv_and_jsonl_round_trip(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("rows")
    stream = io.StringIO()
    csv.writer(stream).writerows([("label", "text"), *rows])
    as_csv = put(folder / "a.csv", stream.getvalue())
    lines = [json.dumps({"label": label, "text": text}) for label, text in rows]
    as_json = put(folder / "a.jsonl", "\n".join(lines))
    assert pairs(corpus.read(as_csv)[0]) == rows
    assert pairs(corpus.read(as_json)[0]) == rows


@given(content=st.binary(max_size=300), suffix=st.sampled_from([".csv", ".tsv", ".txt", ".jsonl"]))
def test_any_bytes_give_documents_or_a_value_error(tmp_path_factory, content, suffix):
    path = put(tmp_path_factory.mktemp("bytes") / f"a{suffix}", content)
    try:
        documents, _ = corpus.read(path)
    except ValueError:
        return
    assert documents
    assert all(document.label and document.text.strip() for document in documents)


# --- encodings ---


@pytest.mark.parametrize(
    ("texts", "encoding"),
    [
        (ZH, "gbk"),
        (ZH, "gb18030"),
        (ZH, "utf-8"),
        (ZH, "utf-8-sig"),
        (ZH, "utf-16"),
        (ZH, "utf-16-le"),
        (ZH, "utf-16-be"),
        (ZH, "utf-32"),
        (TRADITIONAL, "big5"),
        (JAPANESE, "shift_jis"),
        (KOREAN, "euc_kr"),
        (RUSSIAN, "cp1251"),
    ],
)
def test_every_encoding_comes_out_exactly_from_folder_and_table(tmp_path, texts, encoding):
    for i, text in enumerate(texts):
        put(tmp_path / f"folder/c{i % 2}/{i}.txt", text + "\nok\n", encoding)
    documents, _ = corpus.read(tmp_path / "folder")
    assert sorted(document.text for document in documents) == sorted(text + "\nok" for text in texts)
    content = "".join(f"c{i % 2}\t{text}\n" for i, text in enumerate(texts))
    documents, ledger = corpus.read(put(tmp_path / "a.tsv", content, encoding))
    assert pairs(documents) == [(f"c{i % 2}", text) for i, text in enumerate(texts)]
    assert not ledger.entries


def test_mixed_folder_votes_once_and_names_what_fails(tmp_path):
    for i in range(60):
        put(tmp_path / f"a/{i:02}.txt", f"{ZH[i % 5]}，第{i}篇", ("gbk", "utf-8", "utf-16")[i % 3])
    put(tmp_path / "b/cut.txt", ZH[0].encode("gbk")[:-1])
    put(tmp_path / "b/damaged.txt", ZH[0].encode()[:-1])
    put(tmp_path / "b/rare.txt", "㐀𠮷镕" + ZH[1], "gb18030")
    put(tmp_path / "b/image.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x01\x02")
    put(tmp_path / "b/padded.txt", ZH[2].encode("gbk") + b"\0" * 50)
    documents, ledger = corpus.read(tmp_path)
    by_source = {document.source: document.text for document in documents}
    assert all(by_source[f"a/{i:02}.txt"] == f"{ZH[i % 5]}，第{i}篇" for i in range(60))
    assert by_source["b/rare.txt"] == "㐀𠮷镕" + ZH[1]
    assert by_source["b/padded.txt"] == ZH[2]
    assert {entry.source: entry.kind for entry in ledger.entries} == {
        "b/cut.txt": "undecodable",
        "b/damaged.txt": "undecodable",
        "b/image.png": "not text",
        "b/padded.txt": "repaired",
    }
    assert "23 of 65 files are not UTF-8: read as gb18030." in ledger.notes
    assert any("could not be decoded" in note for note in ledger.notes)


def test_a_bad_line_in_a_table_is_named_and_the_rest_kept(tmp_path):
    rows = [f"c{i % 2}\t{ZH[i % 5]}{i}".encode() for i in range(50)]
    rows[20] = b"c0\t\xff\xfe\xb0\xa1"
    documents, ledger = corpus.read(put(tmp_path / "a.tsv", b"\n".join(rows)))
    assert len(documents) == 49
    assert [entry[:2] for entry in ledger.entries] == [("undecodable", "a.tsv:21")]


def test_forced_encoding_is_strict(tmp_path):
    path = put(tmp_path / "a.tsv", "".join(f"c\t{text}\n" for text in TRADITIONAL), "big5")
    assert corpus.read(path, encoding="big5")[0][0].text == TRADITIONAL[0]
    with pytest.raises(ValueError, match=r"a\.tsv:1 \(undecodable: not utf-8"):
        corpus.read(path, encoding="utf-8")
    with pytest.raises(ValueError, match="unknown encoding 'klingon', expected a name such as"):
        corpus.read(path, encoding="klingon")
    with pytest.raises(ValueError, match="unknown encoding 'hex'"):
        corpus.read(path, encoding="hex")


# --- copies, splits ---

COPIES = [
    Document("x", "a", "1", "train"),
    Document("x", "a", "2", "train"),
    Document("y", "a", "3", "train"),
    Document("y", "b", "4", "train"),
    Document("z", "b", "5", "train"),
    Document("z", "b", "6", "dev"),
]


def test_read_counts_copies_conflicts_and_leaks_and_keeps_them(tmp_path):
    put(tmp_path / "train.tsv", "a\tfirst\na\tfirst\na\tsecond\nb\tsecond\nA\tthird\n")
    put(tmp_path / "test.tsv", "b\tfourth\nA\tthird\n")
    documents, ledger = corpus.read(tmp_path)
    assert len(documents) == 7
    assert ledger.entries == [
        ("duplicate", "train.tsv:2", "train.tsv:1"),
        ("conflict", "train.tsv:4", "train.tsv:3"),
        ("leak", "test.tsv:2", "train.tsv:5"),
    ]
    assert ledger.skipped == 0
    assert "'A', 'a' differ only by case" in ledger.notes[-1]


def test_labels_that_mean_none_stay_classes_and_are_warned_of(tmp_path):
    labels = ["NaN", "nan", "None", "null", "NA", "<NA>", "N/A", "NaN", "sport", "money"]
    path = put(tmp_path / "a.tsv", "label\ttext\n" + "".join(f"{label}\ttext {n}\n" for n, label in enumerate(labels)))
    documents, ledger = corpus.read(path)
    assert [document.label for document in documents] == labels
    [warning] = ledger.warnings
    assert warning.startswith(
        "Labels that programs write where there is none are classes here: 'NaN' (2 documents), 'nan' (1 document), "
    )
    assert all(f"'{label}' (" in warning for label in labels[:8])
    assert "sport" not in warning
    with Cache(tmp_path / "cache") as cache:
        for _ in range(2):
            assert corpus.read(path, cache=cache)[1].warnings == ledger.warnings


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (("caf\u00e9", "cafe\u0301"), "'cafe\u0301' (U+0065 U+0301), 'caf\u00e9' (U+00E9)"),
        (("\u2f00x", "\u4e00x", "\u4e00X"), "'\u2f00x' (U+2F00), '\u4e00X', '\u4e00x' (U+4E00)"),
        (("ab", "a b"), "'a b', 'ab'"),
        (("한국어", "\u1112\u1161\u11ab\u1100\u116e\u11a8\u110b\u1165"), "(U+D55C U+AD6D U+C5B4)"),
    ],
)
def test_labels_that_look_alike_are_told_apart(tmp_path, labels, shown):
    path = put(tmp_path / "a.tsv", "label\ttext\n" + "".join(f"{label}\ttext {label}\n" for label in labels))
    assert shown in corpus.read(path)[1].notes[-1]


def test_deduplicate_keeps_one_copy_and_no_contradiction():
    ledger = Ledger()
    kept = corpus.deduplicate(COPIES, ledger)
    assert [document.source for document in kept] == ["1", "5"]
    assert ledger.entries == [
        ("dropped", "2", "1"),
        ("dropped", "3", "labels 'a' and 'b'"),
        ("dropped", "4", "labels 'a' and 'b'"),
        ("dropped", "6", "5"),
    ]


def test_split_dev_is_stratified_and_seeded():
    documents = [Document(f"text {i}", "rare" if i % 10 == 0 else "often", str(i)) for i in range(1000)]
    train, dev = corpus.split_dev(documents, 0.1, seed=3)
    assert Counter(document.label for document in dev) == {"often": 90, "rare": 10}
    assert (train, dev) == corpus.split_dev(documents, 0.1, seed=3)
    assert dev != corpus.split_dev(documents, 0.1, seed=4)[1]
    assert [int(document.source) for document in train] == sorted(int(document.source) for document in train)


def test_split_dev_of_thousands_of_small_classes_keeps_its_size():
    documents = [Document(f"{label} {i}", str(label), "") for label in range(2000) for i in range(2)]
    train, dev = corpus.split_dev(documents, 0.1)
    assert len(dev) == 400
    assert len({document.label for document in train}) == 2000


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("xyz"))), st.floats(0.01, 0.99), st.integers(0, 9)
)
def test_split_dev_never_parts_copies_nor_empties_a_class(rows, fraction, seed):
    documents = [Document(text, label, "") for text, label in rows]
    train, dev = corpus.split_dev(documents, fraction, seed)
    assert Counter(train) + Counter(dev) == Counter(documents)
    assert not {document.text for document in train} & {document.text for document in dev}
    if len({document.text for document in documents}) == len(documents):
        assert {document.label for document in train} == {document.label for document in documents}


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_split_dev_refuses_other_fractions(fraction):
    with pytest.raises(ValueError, match="expected a number between 0 and 1"):
        corpus.split_dev(COPIES, fraction)


# --- ledger ---


def test_ledger_counts_sums_up_and_survives_json():
    ledger = Ledger()
    for i in range(1200):
        ledger.add("empty", f"a.tsv:{i}", "no text")
    ledger.add("ragged", "b\x1b[31m.tsv:1", "3 cells, expected 2")
    ledger.note("Decided.")
    ledger.note("Decided.")
    assert ledger.counts == {"empty": 1200, "ragged": 1}
    assert ledger.skipped == 1200
    ledger.warn("Doubtful", "mend it")
    ledger.warn("Doubtful", "mend it")
    assert ledger.summary() == [
        "Decided.",
        "warning: Doubtful; mend it.",
        "1,200 without text, skipped: a.tsv:0, a.tsv:1, a.tsv:2, ...",
        r"1 with too many cells, joined: b\x1b[31m.tsv:1",
    ]
    again = Ledger.from_json(ledger.to_json())
    assert (again.entries, again.notes, again.counts) == (ledger.entries, ledger.notes, ledger.counts)
    assert again.warnings == ledger.warnings == {"Doubtful; mend it.": "mend it"}
    assert len(ledger.entries) == 1001
    assert ledger.more == again.more == {"empty": 200}
    again.merge(ledger)
    assert again.counts == {"empty": 2400, "ragged": 2}
    assert (len(again.entries), again.more) == (1002, {"empty": 1400})


def test_a_corpus_of_copies_is_counted_and_the_first_ones_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ledgers, "NAMED", 3)
    monkeypatch.setattr(audits, "NAMED", 3)
    rows = [Document("same", "a" if n % 4 else "b", f"d:{n}", "dev" if n % 5 == 0 else "train") for n in range(40)]
    expected = None
    with Cache(tmp_path) as cache:
        draft = cache.draft("0" * 64)
        for documents in (rows, Store.over(draft, write(rows, draft))):
            ledger = Ledger()
            audit(documents, ledger)
            assert ledger.counts == {"conflict": 30, "leak": 8, "duplicate": 8}
            assert ledger.more == {"conflict": 27, "leak": 5, "duplicate": 5}
            assert ledger.entries[:3] == [
                ("leak", "d:0", "d:1"), ("conflict", "d:1", "d:0"), ("conflict", "d:2", "d:0"),
            ]  # fmt: skip
            assert expected in (None, ledger.entries)
            expected = ledger.entries


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"notes": [], "entries": [1]}', "[" * 100_000])
def test_ledger_refuses_other_json(text):
    with pytest.raises(ValueError, match="no ledger: expected the JSON"):
        Ledger.from_json(text)


# --- lines ---


def test_read_lines_strips_only_line_ends():
    stream = io.BytesIO("\ufeff a \r\n\nb\u2028c\x0b\rd\n\u3000\n e".encode())
    assert list(corpus.read_lines(stream)) == [" a ", "", "b\u2028c\x0b\rd", "\u3000", " e"]


@pytest.mark.parametrize("encoding", ["gbk", "utf-16", "utf-8", "utf-32"])
def test_read_lines_of_a_file_in_any_encoding(tmp_path, encoding):
    path = put(tmp_path / "a.txt", "\n".join(ZH), encoding)
    assert list(corpus.read_lines(path)) == ZH
    assert list(corpus.read_lines(str(path), encoding)) == ZH
    with path.open("rb") as stream:
        assert list(corpus.read_lines(stream, encoding)) == ZH
        assert not stream.closed


def test_read_lines_is_lazy_and_leaves_the_stream_open():
    stream = io.BytesIO(b"one\ntwo\n\xff\n")
    lines = corpus.read_lines(stream)
    assert next(lines) == "one"
    assert next(lines) == "two"
    with pytest.raises(ValueError, match=r"line 3 of the input cannot be read: not utf-8 at byte 1") as caught:
        next(lines)
    assert str(caught.value).endswith("; repair it, or name the encoding, such as --encoding gb18030")


def test_read_lines_names_the_line_that_is_too_long_or_broken(tmp_path):
    path = put(tmp_path / "a.txt", b"short\n" + b"x" * 17_000_000 + b"\n")
    with pytest.raises(ValueError, match=r"line 2 of .*a\.txt cannot be read: line longer than"):
        list(corpus.read_lines(path))
    with pytest.raises(ValueError, match=r"line 2 .* not utf-16"):
        list(corpus.read_lines(io.BytesIO("\ufeffa\n".encode("utf-16-le") + b"\x00\xd8\n\x00")))
    with pytest.raises(ValueError, match=r"line 2 .* not utf-16 from here on"):
        list(corpus.read_lines(io.BytesIO("\ufeffa\nb".encode("utf-16-le") + b"x")))
    with pytest.raises(FileNotFoundError):
        list(corpus.read_lines(tmp_path / "gone"))


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"))))
def test_read_lines_gives_one_text_a_line(lines):
    stream = io.BytesIO("".join(line + "\n" for line in ["", *lines]).encode())
    assert list(corpus.read_lines(stream)) == ["", *lines]


CHINESE = ["今天球队赢得比赛冠军", "教练表示银行利率上升", "股票市场投资者关注进球"]


@pytest.mark.parametrize("codec", ["gb18030", "big5hkscs"])
def test_one_short_file_in_another_encoding_is_read_by_what_the_others_say(tmp_path: Path, codec: str) -> None:
    traditional = str.maketrans("队赢赛军练银升票场资关进球", "隊贏賽軍練銀升票場資關進球")
    texts = [text.translate(traditional) if codec == "big5hkscs" else text for text in CHINESE]
    for number, text in enumerate(texts * 3):
        put(tmp_path / f"a/{number}.txt", text.encode())
    put(tmp_path / "b/odd.txt", (texts[0] + texts[1][:4]).encode(codec))
    documents, ledger = corpus.read(tmp_path)
    assert [each.text for each in documents if each.label == "b"] == [texts[0] + texts[1][:4]]
    assert any(f"read as {codec}" in note for note in ledger.notes)


def test_korean_beside_korean_stays_korean(tmp_path: Path) -> None:
    for number in range(4):
        put(tmp_path / f"a/{number}.txt", "오늘 경기에서 우승한 팀의 감독이 말했다".encode())
    put(tmp_path / "b/odd.txt", "오늘 우승한 팀의 감독".encode("cp949"))
    documents, _ = corpus.read(tmp_path)
    assert [each.text for each in documents if each.label == "b"] == ["오늘 우승한 팀의 감독"]


# --- several labels a text ---


def labelled(documents: list[corpus.Document]) -> list[tuple[tuple[str, ...], str]]:
    return [(document.labels, document.text) for document in documents]


SEVERAL = [(("x",), "one"), (("y",), "two"), (("x", "y"), "three"), (("y", "z"), "four"), (("z",), "five")]


@pytest.mark.parametrize("divider", [",", ";", "|", "，", "、", "；", ", "])
def test_cells_of_several_labels_are_found_and_divided(tmp_path, divider):
    rows = "".join(f"{divider.join(labels)}\t{text}\n" for labels, text in SEVERAL)
    documents, ledger = corpus.read(put(tmp_path / "a.tsv", rows))
    assert labelled(documents) == SEVERAL
    assert f"2 of 5 texts have more than one of 3 labels, divided by {divider.strip()!r}" in " ".join(ledger.notes)


def test_lists_and_repeated_labels_are_several(tmp_path):
    lists = "".join(json.dumps({"text": text, "labels": list(labels)}) + "\n" for labels, text in SEVERAL)
    lines = "".join(" ".join(f"__label__{label}" for label in labels) + f" {text}\n" for labels, text in SEVERAL)
    for name, content in {"a.jsonl": lists, "a.txt": lines}.items():
        assert labelled(corpus.read(put(tmp_path / name, content))[0]) == SEVERAL


def test_names_that_hold_a_comma_stay_whole(tmp_path):
    rows = "label\ttext\nSport, indoors\ta\nSport, outdoors\tb\nMusic, live\tc\n"
    documents, ledger = corpus.read(put(tmp_path / "a.tsv", rows))
    assert labelled(documents) == [(("Sport, indoors",), "a"), (("Sport, outdoors",), "b"), (("Music, live",), "c")]
    assert "Several" not in " ".join(ledger.notes)


def test_who_asks_for_one_label_gets_one(tmp_path):
    rows = "".join(f"{','.join(labels)}\t{text}\n" for labels, text in SEVERAL)
    documents, _ = corpus.read(put(tmp_path / "a.tsv", rows), labels="one")
    assert labelled(documents) == [((",".join(labels),), text) for labels, text in SEVERAL]


def test_who_asks_for_several_gets_the_commonest_divider(tmp_path):
    documents, _ = corpus.read(put(tmp_path / "a.tsv", "p;q\tone\nr\ttwo\n"), labels="several")
    assert labelled(documents) == [(("p", "q"), "one"), (("r",), "two")]
    with pytest.raises(ValueError, match="unknown kind of labels 'many'; the choices are auto, one, several"):
        corpus.read(tmp_path / "a.tsv", labels="many")


def test_a_slip_among_many_lines_is_skipped_and_named(tmp_path):
    rows = "".join(f"__label__{'ab'[n % 2]} text {n}\n" for n in range(200)) + "__label__a __label__b slip\n"
    documents, ledger = corpus.read(put(tmp_path / "a.txt", rows))
    assert len(documents) == 200
    assert [(entry.kind, entry.source) for entry in ledger.entries] == [("several labels", "a.txt:201")]


def test_class_names_name_every_label(tmp_path):
    put(tmp_path / "class.txt", "joy\nanger\nfear\n")
    documents, _ = corpus.read(put(tmp_path / "train.tsv", "label\ttext\n0\ta\n1\tb\n0,2\tc\n2\td\n"))
    assert labelled(documents) == [(("joy",), "a"), (("anger",), "b"), (("joy", "fear"), "c"), (("fear",), "d")]


def test_copies_with_other_sets_of_labels_contradict_one_another(tmp_path):
    rows = "x\tone\ny\ttwo\nx,y\tthree\ny,x\tthree\nx\tthree\ny,z\tfour\nz\tfive\n"
    _, ledger = corpus.read(put(tmp_path / "a.tsv", rows))
    assert [(entry.kind, entry.source) for entry in ledger.entries] == [
        ("duplicate", "a.tsv:4"),
        ("conflict", "a.tsv:5"),
    ]


def test_dev_holds_texts_of_the_rarest_labels_too():
    documents = [corpus.Document(f"t{n}", "common", f"f:{n}", "", ("rare",) if n < 20 else ()) for n in range(100)]
    dev = corpus.split_dev(documents, 0.1)[1]
    assert sum("rare" in document.labels for document in dev) == 2
    assert len(dev) == 10


@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("a.csv", 'text,label\n"one, two",x\nthree,y\n', ["one, two", "three"]),
        ("a.tsv", "label\ttext\nx\tone\ny\ttwo\n", ["one", "two"]),
        ("a.csv", "one\ntwo, three\n", ["one", "two, three"]),
        ("a.jsonl", '{"content": "one", "n": 1}\n\n{"content": "two", "n": 2}\n', ["one", "two"]),
    ],
)
def test_read_lines_of_a_table_gives_the_texts_of_its_column_and_says_which(tmp_path, name, content, texts):
    path, notes = tmp_path / name, []
    path.write_text(content, encoding="utf-8")
    assert list(corpus.read_lines(path, None, notes.append)) == texts
    assert [note.split(" from ")[0] for note in notes] == [f"{name}: text"]
    assert list(corpus.read_lines(path)) == texts


def test_read_lines_of_a_table_skips_no_row(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one"}\n{"text": \n{"text": "two"}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.jsonl:2 cannot be read: no JSON object: .*each row is to be answered"):
        list(corpus.read_lines(path))


def test_read_lines_says_where_lines_hold_labels_too(tmp_path):
    path, notes = tmp_path / "a.txt", []
    path.write_text("".join(f"x\ttext {n} of a class\ny\tanother {n}\n" for n in range(20)), encoding="utf-8")
    assert next(corpus.read_lines(path, None, notes.append)) == "x\ttext 0 of a class"
    assert notes == ["a.txt: its lines hold labels beside the texts and are read whole; name it .tsv to change that"]
