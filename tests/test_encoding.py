"""Every encoding comes out exactly, by a vote where the bytes alone do not tell."""

from pathlib import Path

import pytest
from samples import JAPANESE, KOREAN, RUSSIAN, TRADITIONAL, ZH, pairs, put

from fenlei import corpus


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
