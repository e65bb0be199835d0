"""Texts without labels: any layout, any order, bounded, and none that judges."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from workbooks import write

from fenlei.corpus import Ledger, draw, read_unlabelled
from fenlei.corpus import unlabelled as module

TEXTS = ["球队赢了比赛", "股票今天上涨", "a third, with commas", "银行的利率不变"]
LABELS = ["体育", "财经", "体育", "财经"]


def lines(root: Path) -> Path:
    path = root / "texts.txt"
    path.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    return path


def gb18030(root: Path) -> Path:
    path = root / "texts.txt"
    path.write_text("".join(f"{text}，{text}。\n" for text in TEXTS * 5), encoding="gb18030")
    return path


def labelled_tsv(root: Path) -> Path:
    path = root / "train.tsv"
    path.write_text("".join(f"{label}\t{text}\n" for label, text in zip(LABELS, TEXTS, strict=True)), encoding="utf-8")
    return path


def csv_of_texts(root: Path) -> Path:
    path = root / "texts.csv"
    path.write_text("id,标题\n" + "".join(f'{place},"{text}"\n' for place, text in enumerate(TEXTS)), encoding="utf-8")
    return path


def ragged_csv(root: Path) -> Path:
    path = root / "texts.csv"
    path.write_text("id,text\n" + "".join(f"{place},{text}\n" for place, text in enumerate(TEXTS)), encoding="utf-8")
    return path


def jsonl(root: Path) -> Path:
    path = root / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    return path


def half_labelled_jsonl(root: Path) -> Path:
    path = root / "texts.jsonl"
    rows = [{"label": None, "content": text} for text in TEXTS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def fasttext(root: Path) -> Path:
    path = root / "train.txt"
    path.write_text("".join(f"__label__x {text}\n" for text in TEXTS), encoding="utf-8")
    return path


def folder_per_class(root: Path) -> Path:
    for place, (label, text) in enumerate(zip(LABELS, TEXTS, strict=True)):
        (root / "news" / label).mkdir(parents=True, exist_ok=True)
        (root / "news" / label / f"{place}.txt").write_text(text, encoding="utf-8")
    return root / "news"


def numbered_documents(root: Path) -> Path:
    (root / "plain").mkdir()
    for place, text in enumerate(TEXTS):
        (root / "plain" / f"{place}.txt").write_text(text + "\n", encoding="utf-8")
    return root / "plain"


def xlsx(root: Path) -> Path:
    return write(root / "texts.xlsx", {"one": [["id", "text"], *([place, text] for place, text in enumerate(TEXTS))]})


def parquet(root: Path) -> Path:
    table = pytest.importorskip("pyarrow")
    written = pytest.importorskip("pyarrow.parquet")
    written.write_table(table.table({"text": TEXTS}), root / "texts.parquet")
    return root / "texts.parquet"


LAYOUTS = (
    *(lines, labelled_tsv, csv_of_texts, ragged_csv, jsonl, half_labelled_jsonl, fasttext, folder_per_class),
    *(numbered_documents, xlsx, parquet),
)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_its_texts_alone(layout: Callable[[Path], Path], tmp_path: Path) -> None:
    found = list(read_unlabelled([layout(tmp_path)], None, Ledger()))
    assert sorted(text.strip() for text in found) == sorted(TEXTS)


def test_encodings_are_found_by_one_vote_for_all(tmp_path: Path) -> None:
    ledger = Ledger()
    (tmp_path / "other").mkdir()
    paths = [gb18030(tmp_path), lines(tmp_path / "other")]
    found = list(read_unlabelled(paths, None, ledger))
    assert found[:4] == [f"{text}，{text}。" for text in TEXTS]
    assert found[20:] == TEXTS
    assert "read as gb18030" in "\n".join(ledger.notes)
    assert list(read_unlabelled(paths[:1], "gb18030", Ledger())) == found[:20]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such file or folder: .*nowhere"):
        list(read_unlabelled([tmp_path / "nowhere"], None, Ledger()))
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match="zip files are not read"):
        list(read_unlabelled([tmp_path / "a.zip"], None, Ledger()))
    (tmp_path / "n.csv").write_text("label,size\na,1\nb,2\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"n\.csv has no text column"):
        list(read_unlabelled([tmp_path / "n.csv"], None, Ledger()))
    ledger = Ledger()
    (tmp_path / "b.jsonl").write_text('{"text": "good"}\n{"text": 3}\nbroken\n', encoding="utf-8")
    assert list(read_unlabelled([tmp_path / "b.jsonl"], None, ledger)) == ["good"]
    assert ledger.counts == {"unparsable": 2}


def test_every_text_that_is_left_out_is_counted_by_its_reason() -> None:
    texts = ["new", "new", "", " \t", "train too", "dev too", "test too", "both", "other"]
    found = draw(texts, ["train too", "both"], [["dev too", "both"], ["test too"]])
    assert sorted(found.texts) == ["new", "other"]
    assert found.counts == {"read": 9, "empty": 2, "labelled": 1, "held_out": 3, "copies": 1, "used": 2}
    assert found.sentence == (
        "unlabelled: 2 of 9 texts are used; left out: 1 copies, 1 labelled ones too, 3 in dev or test too, 2 empty"
    )
    assert draw([]).counts == {"read": 0, "used": 0}


def test_the_lot_is_the_same_in_any_order_and_another_for_another_seed() -> None:
    texts = [f"text {number}" for number in range(500)]
    found = draw(texts, most=50)
    assert len(found.texts) == 50
    assert found.counts["not_drawn"] == 450
    assert draw(reversed(texts), most=50).texts == found.texts
    assert draw([*texts, *texts[:100]], most=500).texts == draw(texts, most=500).texts
    assert draw(texts, most=50, seed=1).texts != found.texts


def test_every_text_has_the_same_chance() -> None:
    texts = [f"text {number}" for number in range(20)]
    counts = Counter(text for seed in range(400) for text in draw(texts, most=5, seed=seed).texts)
    assert sum(counts.values()) == 2000
    assert all(60 <= counts[text] <= 145 for text in texts)  # 100 expected, 8.7 the standard deviation


def test_characters_are_bounded_too() -> None:
    texts = [f"{number:03d}" + "x" * 97 for number in range(300)]
    found = draw(texts, most_characters=1050)
    assert len(found.texts) == 10
    assert found.texts == draw(texts, most=10).texts
    assert draw(["y" * 2000, "z"], most_characters=1000).texts == ["z"]


def test_a_stream_without_end_is_read_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0
    own = module.Lottery.add

    def spy(self: module.Lottery, lot: int, text: str) -> None:
        nonlocal largest
        own(self, lot, text)
        largest = max(largest, len(self.kept), len(self.highest))

    monkeypatch.setattr(module.Lottery, "add", spy)

    def stream() -> Iterator[str]:
        yield from (f"text {number}" for number in range(20_000))

    assert draw(stream(), most=100).counts["not_drawn"] == 19_900
    assert largest == 100
