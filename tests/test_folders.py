"""Folders of documents: which layout is read how, and nothing left out without a word."""

import os
from collections import Counter

import pytest
from samples import pairs, put

from fenlei import corpus
from fenlei.corpus import Document


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


def test_data_beside_other_folders_is_named(tmp_path):
    for name in ("train", "dev"):
        put(tmp_path / "data" / f"{name}.txt", "".join(f"text {n}\t{n % 2}\n" for n in range(30)))
    put(tmp_path / "data" / "class.txt", "a\nb\n")
    put(tmp_path / "saved_dict" / "notes.txt", "none")
    with pytest.raises(ValueError, match=f"is no folder of classes, .* stands in 'data': name {tmp_path}/data$"):
        corpus.read(tmp_path)
    put(tmp_path / "more" / "train.csv", "label,text\na,b\n")
    with pytest.raises(ValueError, match="stands in 'data', 'more': name"):
        corpus.read(tmp_path)


def test_documents_called_train_are_documents(tmp_path):
    for label in ("rail", "road"):
        put(tmp_path / label / "train.txt", f"The train and the {label}.\nIt is late.\n")
        put(tmp_path / label / "bus.txt", f"The bus and the {label}.")
    documents, _ = corpus.read(tmp_path)
    assert {document.label for document in documents} == {"rail", "road"}
    assert len(documents) == 4


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
    assert "lists 2 names, which do not fit the labels, 1 to 7: they stay numbers; give it" in ledger.notes[-1]
    assert list(ledger.warnings) == ledger.notes[-1:]


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
