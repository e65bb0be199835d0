"""Tables that are lines of text: every form in, the right documents out, and no row lost in silence."""

import csv
import io
import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import ZH, pairs, put

from fenlei import corpus
from fenlei.corpus import Ledger


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
