"""Copies, contradictions, labels that are doubtful, and what is held out."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import put

from fenlei import corpus
from fenlei.cache import Cache
from fenlei.corpus import Document, Ledger

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
