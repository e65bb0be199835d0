"""A JSON file that is one list, and other JSON that is no lines."""

import json
import shutil
import subprocess

import pytest
from samples import ZH, pairs, put

from fenlei import corpus
from fenlei.corpus import Ledger, jsonlist


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
