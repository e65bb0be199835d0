"""Texts without labels: a line each, or a cell each of a table."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import ZH, put

from fenlei import corpus


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
    assert notes == ["a.txt: its lines hold labels beside the texts and are read whole; name it .tsv for these"]
