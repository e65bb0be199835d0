"""The data doctor: every topic finds what it names and nothing in sound data, whatever the texts and labels hold."""

from __future__ import annotations

import io
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fenlei.check import FAULT, FINE, LOOK, Finding, Place, Report, examine, lines
from fenlei.check.findings import LISTED, QUOTED, graded, quoted, share
from fenlei.check.lengths import outliers
from fenlei.check.near import BANDS, NEAR, fold, groups, jaccard, sketches
from fenlei.check.oddities import KINDS
from fenlei.check.rows import Rows
from fenlei.cli import main
from fenlei.corpus import Document, Ledger
from fenlei.corpus.documents import audit
from fenlei.screen import width

if TYPE_CHECKING:
    from fenlei.learn import Labelled

WORDS = [
    "river",
    "stone",
    "lamp",
    "garden",
    "winter",
    "letter",
    "market",
    "window",
    "silver",
    "bridge",
    "road",
    "cloud",
    "paper",
    "tree",
    "music",
    "boat",
    "salt",
]


def documents(*rows: tuple[str, str], split: str = "") -> list[Document]:
    """(label, text) rows of one file, as they are read."""
    return [Document(text, label, f"{split or 'd'}.tsv:{n}", split) for n, (label, text) in enumerate(rows, 1)]


def sentence(seed: int, size: int = 12) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=size))


def sound(count: int = 12) -> list[tuple[str, str]]:
    """Documents without any fault, ``count`` a class."""
    return [(label, sentence(1000 * place + n)) for n in range(count) for place, label in enumerate(("a", "b"))]


def report(rows: Sequence[Document], ledger: Ledger | None = None) -> Report:
    return examine(rows, ledger or Ledger())[0]


def found(topic: str, rows: Sequence[Document], ledger: Ledger | None = None) -> Finding:
    (finding,) = [each for each in report(rows, ledger).findings if each.topic == topic]
    return finding


def test_sound_data_are_fine() -> None:
    whole = report(
        documents(*sound(), split="train") + documents(*[("a", sentence(2007)), ("b", sentence(2008))], split="dev")
    )
    assert [finding.topic for finding in whole.findings if finding.severity != FINE] == []
    assert whole.faults == []
    assert (whole.documents, whole.splits, whole.classes) == (26, {"train": 24, "dev": 2}, {"a": 13, "b": 13})


# --- copies, contradictions, leaks ---


def test_copies_are_counted_within_their_split() -> None:
    rows = documents(*sound(), ("a", "one more time"), ("a", "one more time"), split="train")
    finding = found("copies", rows + documents(("a", "one more time"), ("b", sentence(2009)), split="dev"))
    assert (finding.count, finding.severity) == (1, LOOK)
    assert finding.numbers == {"splits": {"train": 1}, "classes": {"a": 1}}
    assert finding.places == (Place("train.tsv:26", "train.tsv:25", "one more time"),)
    assert finding.sentence.startswith("1 of 28 (3.6%) documents repeat an earlier one: 1 within train")


def test_few_copies_are_fine() -> None:
    rows = documents(*sound(150), ("a", "one more time"), ("a", "one more time"))
    assert (found("copies", rows).severity, found("copies", rows).count) == (FINE, 1)


def test_texts_under_two_labels_are_named_with_both() -> None:
    finding = found("contradictions", documents(*sound(), ("a", "so or so"), ("b", "so or so"), ("b", "so or so")))
    assert (finding.count, finding.severity, finding.numbers["documents"]) == (1, FAULT, 2)
    assert finding.numbers["pairs"] == [["a", "b", 2]]
    assert finding.places[0] == Place("d.tsv:26", "d.tsv:25", "so or so", "b", "a")


def test_dev_texts_in_train_are_found_word_for_word_and_nearly() -> None:
    train = documents(*sound(), ("a", "The Quick brown fox jumps over the lazy dog!"), split="train")
    dev = [("a", train[0].text), ("b", train[3].text.upper() + "?!"), ("b", sentence(99))]
    dev += [("b", "The quick brown fox jumps over the lazy dogs"), ("a", train[1].text)]
    rows = train + documents(*dev, split="dev")
    exact, near = found("dev in train", rows), found("dev near train", rows)
    assert (exact.count, exact.severity, exact.numbers) == (2, FAULT, {"of": 5, "share": 0.4})
    assert exact.places[0] == Place("dev.tsv:1", "train.tsv:1", train[0].text)
    assert "dev scores will look too good" in exact.sentence
    assert (near.count, near.severity) == (2, FAULT)
    assert [(place.source, place.other, place.label) for place in near.places] == [
        ("dev.tsv:4", "train.tsv:25", "b"),  # the other label comes first
        ("dev.tsv:2", "train.tsv:4", ""),
    ]


def test_test_is_compared_as_well_and_one_part_with_nothing() -> None:
    rows = documents(*sound(), split="train") + documents(("a", sentence(0)), split="test")
    assert found("test in train", rows).count == 1
    assert "one part only" in found("leaks", documents(*sound())).sentence
    assert "one part only" in found("leaks", documents(*sound(), split="dev")).sentence


def test_a_chain_of_near_texts_is_no_leak_of_its_far_end() -> None:
    words = [f"word{n}x" for n in range(60)]
    steps = [" ".join([*(f"else{n}y" for n in range(k)), *words[k:]]) for k in range(0, 30, 3)]
    rows = documents(*sound(), ("a", steps[0]), split="train")
    rows += documents(*(("a", step) for step in steps[1:]), split="dev")
    texts = [fold(step) for step in steps]
    alike = jaccard(texts, np.array([[0, k] for k in range(1, len(texts))]), 5)
    assert alike.max() >= NEAR > alike.min()
    assert found("dev near train", rows).count == int((alike >= NEAR).sum())


# --- near texts ---


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hello, World!", "hello   world"),
        ("ＡＢＣ　１２３。", "abc123"),
        ("球队赢了比赛！！", "球队，赢了比赛"),
        ("...", "…"),
    ],
)
def test_folding_leaves_out_case_width_spaces_and_punctuation(one: str, other: str) -> None:
    assert fold(one) == fold(other)


def test_folding_keeps_what_carries_meaning() -> None:
    assert len({fold(text) for text in ("good 😀", "good 😡", "c", "c++", "ที่", "ที", "...", "!!!")}) == 8


def shingle_set(text: str, size: int) -> set[str]:
    return {text[at : at + size] for at in range(len(text) - size + 1)}


def brute(one: str, other: str, size: int) -> float:
    left, right = shingle_set(one, size), shingle_set(other, size)
    return len(left & right) / len(left | right) if left | right else 0.0


@given(st.lists(st.text("abc天\ud800😀", max_size=12), min_size=2, max_size=8), st.integers(1, 5))
def test_jaccard_is_that_of_the_sets_of_shingles(texts: list[str], size: int) -> None:
    pairs = np.array([(i, j) for i in range(len(texts)) for j in range(i)], np.int64)
    expected = [brute(texts[i], texts[j], size) for i, j in pairs]
    assert jaccard(texts, pairs, size).tolist() == pytest.approx(expected)


def edited(text: str, edits: int, chance: random.Random) -> str:
    letters = list(text)
    for _ in range(edits):
        letters[chance.randrange(len(letters))] = chance.choice("abcdefghijklmnopqrstuvwxyz")
    return "".join(letters)


@pytest.mark.parametrize(("length", "size", "edits"), [(20, 3, 1), (60, 5, 3), (1000, 5, 30)])
def test_groups_are_those_of_brute_force(length: int, size: int, edits: int) -> None:
    chance = random.Random(length)
    texts = []
    for _ in range(2000 // length + 30):
        text = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=length))
        texts += [text, edited(text, chance.randint(0, edits), chance)]
    sets = [shingle_set(text, size) for text in texts]
    pairs = [(i, j) for j in range(len(texts)) for i in range(j)]
    alike = {(i, j) for i, j in pairs if len(sets[i] & sets[j]) >= NEAR * len(sets[i] | sets[j])}
    group = groups(texts, size)
    joined = {(i, j) for i, j in pairs if group[i] == group[j]}
    assert len(alike) >= 20
    assert joined <= alike  # chains of three do not come about here
    assert len(joined) >= 0.97 * len(alike)
    assert [group[member] for member in group] == list(group)
    assert all(first <= row for row, first in enumerate(group))
    assert np.array_equal(groups(texts, size), group)


def test_bands_agree_as_often_as_broder_says() -> None:
    chance = random.Random(0)
    agreed, expected = [], []
    for _ in range(300):
        text = "".join(chance.choices("abcdefgh", k=200))
        pair = [text, edited(text, chance.randint(1, 12), chance)]
        keys = sketches(pair, 4)
        agreed.append((keys[0] == keys[1]).mean())
        expected.append(brute(*pair, 4) ** 6)
    assert np.mean(agreed) == pytest.approx(np.mean(expected), abs=0.03)
    assert keys.shape == (2, BANDS)


def test_equal_and_short_and_empty_texts_are_grouped() -> None:
    assert groups(["ab", "ab", "", "", "a", "abcdef", "abcdef"], 5).tolist() == [0, 0, 2, 2, 4, 5, 5]
    assert groups([], 5).tolist() == []
    assert groups(["x" * 5000, "x" * 6000], 5).tolist() == [0, 0]


def test_many_and_long_texts_take_seconds() -> None:
    chance = random.Random(0)
    titles = ["".join(chance.choices("天地人大小山水火土木金日月星风云雨雪春夏秋冬", k=20)) for _ in range(8_000)]
    long = ["".join(chance.choices("abcdefghijklmnop ", k=10_000)) for _ in range(20)]
    began = time.perf_counter()
    assert len(set(groups(titles, 3).tolist())) > 7_900
    assert groups([*long, *(text[:-9] for text in long)], 5).tolist() == [*range(20)] * 2
    assert time.perf_counter() - began < 10


def test_thousands_of_near_texts_are_not_compared_with_each_other() -> None:
    common = "the same long sentence stands in every one of these documents and only its number is another: "
    began = time.perf_counter()
    group = groups([fold(f"{common * 5}{n}") for n in range(5000)], 5)
    assert set(group.tolist()) == {0}
    assert time.perf_counter() - began < 8


def test_near_copies_under_another_label_come_first() -> None:
    text = sentence(5, 40)
    finding = found("near copies", documents(*sound(), ("a", text), ("a", f"{text}!"), ("b", f"{text}?"), ("b", text)))
    assert (finding.count, finding.severity, finding.numbers) == (2, LOOK, {"groups": 1, "other_label": 1})
    assert finding.places[0] == Place("d.tsv:27", "d.tsv:25", f"{text}?", "b", "a")


# --- classes ---


def test_the_balance_of_classes() -> None:
    finding = found("classes", documents(*sound(), *(("c", sentence(n)) for n in range(50, 53))))
    assert finding.severity == LOOK
    assert finding.sentence == "3 classes in train, of 3 ('c') to 12 ('a') documents; 1 of fewer than 10: 'c'."
    assert finding.numbers == {"smallest": 3, "largest": 12, "ratio": 4.0}
    assert found("classes", documents(*sound())).sentence == "2 classes in train, of 12 documents each."
    many = documents(*(("a", sentence(n)) for n in range(300)), *(("b", sentence(n)) for n in range(400, 411)))
    assert "27 times" in found("classes", many).advice
    assert found("classes", documents(("a", "x"), ("a", "y"))).severity == FAULT


def test_labels_that_differ_by_spelling() -> None:
    finding = found("labels", documents(*sound(), ("A", "x y z"), ("Ａ ", "u v w")))
    assert (finding.severity, finding.count) == (FAULT, 14)
    assert finding.numbers["spellings"] == [["A", "a", "Ａ "]]


def test_classes_that_one_split_lacks() -> None:
    train = documents(*sound(), split="train")
    foreign = found("dev classes", train + documents(("c", "x y z"), ("a", "u v"), split="dev"))
    assert (foreign.severity, foreign.count, foreign.numbers["foreign"]) == (FAULT, 1, ["c"])
    absent = found("dev classes", train + documents(("a", "u v w"), split="dev"))
    assert (absent.severity, absent.numbers["absent"]) == (LOOK, ["b"])


def test_several_labels_a_text_are_counted_one_by_one() -> None:
    rows = [Document(sentence(n), "a", f"d:{n}", "", ("b",)) for n in range(12)]
    rows += [Document(sentence(n), "b", f"d:{n}", "", ("a",)) for n in range(2)]
    assert report(rows).classes == {"a": 14, "b": 14}
    assert found("contradictions", rows).count == 0
    assert found("contradictions", [*rows, Document(sentence(3), "a", "d:99")]).places[0].other_label == "a, b"


# --- odd documents ---

ODD = {
    "replaced": ["caf\ufffd", "\ufffd\ufffd"],
    "mojibake": ["cafÃ© and rÃ©sumÃ©", "donâ€™t", "浣犲ソ锛屼笘鐣", "锟斤拷锟斤拷"],
    "control": ["\x00\x01ab", "a\x1b[31mb\x1b[0m", "\u202eabc"],
    "repeated": ["哈哈哈哈哈哈", "!!!!!!!!", "a a a a a a a"],
    "addresses": ["http://example.org/a?b=c", " https://a.b  www.c.d\n"],
    "wordless": ["...!?", "😀😡", " ^_^ "],
    "markup": ["a fine film<br />but long", "Tom &amp; Jerry", "<p class='x'>text</p>"],
}
PLAIN = [
    *(
        "球队在主场赢了决赛",
        "联通",
        "你好，世界！这是一个测试。",
        "Où êtes-vous ? Là-bas, déjà…",
        "“MENÜ” – für 3 €",
        "x < y and y > z",
    ),
    *(
        "ไปจองมาแล้ว",
        "see https://example.org for more",
        "haaaaaa",
        "It’s “fine” — really…",
        "Ünï",
        "안녕하세요",
        "AT&T",
        "１２３",
    ),
]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in ODD.items() for text in texts])
def test_odd_texts_are_named_by_kind(kind: str, text: str) -> None:
    assert next(topic for topic, (test, *_) in KINDS.items() if test(text)) == kind


@pytest.mark.parametrize("text", PLAIN)
def test_plain_texts_are_not_odd(text: str) -> None:
    assert [topic for topic, (test, *_) in KINDS.items() if test(text)] == []


@given(
    st.text(
        "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所民得经",
        min_size=4,
        max_size=60,
    )
)
def test_common_chinese_is_no_mojibake_but_its_bytes_misread_are(text: str) -> None:
    assert not KINDS["mojibake"][0](text)
    misread = text.encode().decode("gbk", "replace").replace("\ufffd", "")
    if misread.encode("gbk") == text.encode():
        assert KINDS["mojibake"][0](misread)


def test_damage_is_a_fault_and_markup_worth_a_look() -> None:
    rows = documents(*sound(), ("a", "caf\ufffd au lait"), ("a", "one<br>two"))
    assert (found("replaced", rows).severity, found("markup", rows).severity) == (FAULT, LOOK)
    long = found("markup", documents(*sound(), ("a", "word " * 100 + "<br>two")))
    assert long.places[0].text == " word word <br>two"[-18:] or "<br>two" in long.places[0].text[:30]


# --- lengths and sources ---


def test_lengths_and_what_is_cut() -> None:
    rows = documents(*sound(), ("a", "word " * 17_000))
    finding = found("length", rows)
    assert finding.numbers["quantiles"] == {"least": 12, "5%": 12, "median": 12, "95%": 12, "most": 17_000}
    assert (finding.count, finding.numbers["limit"], finding.numbers["cut"]) == (1, 16_384, 1)
    assert finding.places[0].source == "d.tsv:25"
    assert found("odd lengths", rows).count == 1
    assert examine(documents(*sound()), Ledger(), limit=5)[0].findings[0].topic == "length"


def test_texts_of_nearly_one_length_have_no_outliers() -> None:
    rows = Rows.of(documents(*sound()))
    assert outliers(rows, np.array([20, 21] * 12)).count == 0
    assert outliers(rows, np.array([20] * 22 + [1, 2000])).numbers == {"short": 1, "long": 1}


def test_the_ledger_speaks_of_encodings_and_of_what_was_skipped() -> None:
    ledger = Ledger()
    ledger.note("2 of 3 files are not UTF-8: read as gb18030.")
    ledger.note("d.tsv: tab-separated; label from 'x', text from 'y'.")
    ledger.add("undecodable", "d.tsv:9", "not gb18030 at byte 3")
    ledger.add("empty", "d.tsv:10", "no text")
    ledger.add("ragged", "d.tsv:11", "3 cells, expected 2")
    encoding = found("encoding", documents(*sound()), ledger)
    assert encoding.sentence == "2 of 3 files are not UTF-8: read as gb18030. 1 undecodable."
    assert (encoding.severity, encoding.places[0].source) == (FAULT, "d.tsv:9")
    skipped = found("skipped", documents(*sound()), ledger)
    assert skipped.sentence == "1 of 26 (3.8%) inputs gave no document (1 empty, 1 ragged)."
    assert "tab-separated" in found("reading", documents(*sound()), ledger).sentence


def test_labels_that_mean_none_are_named_with_their_documents() -> None:
    rows = documents(*sound(), ("NaN", "one more"), ("NaN", "two more"), ("<NA>", "three more"))
    finding = found("no labels", rows)
    assert (finding.severity, finding.count, finding.numbers) == (LOOK, 3, {"labels": {"NaN": 2, "<NA>": 1}})
    assert finding.sentence == "3 documents with labels that programs write where there is none: 'NaN', '<NA>'."
    ledger = Ledger()
    audit(rows, ledger)
    assert len(ledger.warnings) == 1
    assert "layout" not in [each.topic for each in report(rows, ledger).findings]


def test_spellings_that_look_alike_are_told_apart_by_their_code_points() -> None:
    rows = documents(*sound(), ("caf\u00e9", "one more"), ("cafe\u0301", "two more"))
    assert found("labels", rows).sentence.endswith(": 'cafe\u0301' (U+0065 U+0301), 'caf\u00e9' (U+00E9).")


def test_warnings_of_the_reading_are_to_be_looked_at() -> None:
    ledger = Ledger()
    ledger.note("d.tsv: tab-separated; label from 'x', text from 'y'.")
    ledger.warn("One class was made of two folders\x1b", "move them")
    finding = found("layout", documents(*sound()), ledger)
    assert (finding.severity, finding.sentence) == (LOOK, "One class was made of two folders\\x1b.")
    assert finding.advice == "Move them."
    assert "One class" not in found("reading", documents(*sound()), ledger).sentence


def test_notes_about_the_data_come_before_those_of_each_file_and_json_has_all() -> None:
    ledger = Ledger()
    for number in range(12):
        ledger.note(f"{number}.tsv: tab-separated; label from 'x', text from 'y'.")
    ledger.note("class.txt names the classes: 0 is 'a'.")
    finding = found("reading", documents(*sound()), ledger)
    assert finding.sentence.startswith("class.txt names the classes: 0 is 'a'. 0.tsv: tab-separated;")
    assert finding.sentence.endswith(
        " 8.tsv: tab-separated; label from 'x', text from 'y'. And 3 notes more, which --json has."
    )
    assert len(finding.to_json()["numbers"]["notes"]) == 13


def test_the_tokenizer_that_train_would_choose() -> None:
    assert found("tokenizer", documents(*sound())).numbers == {"tokenizer": "words"}
    assert found("tokenizer", documents(("a", "球队赢了"), ("b", "股票上涨"))).numbers == {"tokenizer": "chars"}


def test_shares_and_grades() -> None:
    assert [share(1, 3), share(1, 9999), share(0, 5)] == ["1 of 3 (33.3%)", "1 of 9,999 (under 0.1%)", "0 of 5 (0.0%)"]
    assert [graded(count, 200) for count in (0, 1, 2)] == [FINE, LOOK, FAULT]


# --- whatever the data hold ---

AWKWARD = ["a\nb", "\x1b[31m", "半\ud800", "\u202eabc", "x" * 500, "\x00", "=1+1", "ق\u0301" * 50, "a"]


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.text(max_size=20) | st.sampled_from(AWKWARD), st.text(max_size=8), st.sampled_from(["", "train", "dev"])
        ),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 200),
)
def test_no_data_break_the_report(rows: list[tuple[str, str, str]], columns: int) -> None:
    whole = report([Document(text, label, f"{label}.txt", split) for text, label, split in rows])
    json.loads(json.dumps(whole.to_json()))
    shown = "\n".join(lines(whole, columns))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", shown)


@pytest.mark.parametrize("count", [1, 2, 50])
def test_equal_texts_and_a_single_document(count: int) -> None:
    whole = report(documents(*[("a", "the same")] * count))
    assert [finding.topic for finding in whole.faults] == ["classes"]
    assert len(list(lines(whole))) > 10


def test_hostile_texts_of_many_classes(hostile: list[str]) -> None:
    rows = [
        Document(text, f"c{n % 5000}", f"{n}.txt") for n in range(1000) for text in (*hostile[:4], f"{n} {sentence(n)}")
    ]
    whole = report([*rows, *(Document(text, "hostile", "h.txt") for text in hostile)])
    assert whole.documents == 5000 + len(hostile)
    assert len(next(each for each in whole.findings if each.topic == "copies").places) == LISTED
    assert all(len(line) < 400 for line in lines(whole, 80))


def test_lines_are_worst_first_and_fit() -> None:
    rows = documents(*sound(), ("A", "球队赢了比赛" * 20), ("a", "one<br>two " * 30), split="train")
    whole = report(rows + documents(("a", rows[0].text), split="dev"))
    shown = list(lines(whole, 80))
    severities = [line.split("  ")[0].strip() for line in shown[2 : 2 + shown[2:].index("")] if line[0] != " "]
    assert severities == sorted(severities, key=["fault", "look at", "fine"].index)
    assert severities[0] == "fault"
    assert max(map(width, shown)) <= 80
    assert "dev in train" in shown
    assert shown[shown.index("dev in train") + 1].startswith("  dev.tsv:1 = train.tsv:1  ")
    coloured = "\n".join(lines(whole, 80, colour=True))
    assert re.sub(r"\x1b\[\d*m", "", coloured) == "\n".join(shown)


def test_json_cuts_texts_and_counts_all() -> None:
    finding = Finding("t", LOOK, "s", "a", 9, (Place("x", "", "y" * 999),))
    assert finding.to_json()["places"][0]["text"] == "y" * QUOTED
    assert finding.to_json()["count"] == 9
    assert quoted("a\n\u202e" + "龘" * 99) == r"'a\n\u202e" + "龘" * 10 + "…'"


# --- the verb ---


class Result(NamedTuple):
    status: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> Result:
        try:
            status = main(["check", *map(str, arguments)])
        except SystemExit as end:
            status = int(str(end.code))
        return Result(status, *capsys.readouterr())

    return call


def write(path: Path, *rows: tuple[str, str]) -> Path:
    path.write_text("".join(f"{label}\t{text}\n" for label, text in rows), encoding="utf-8")
    return path


def test_the_verb_reports_and_exits_with_0_unless_strict(run: Run, tmp_path: Path) -> None:
    data = write(tmp_path / "d.tsv", *sound(), ("A", "another spelling"))
    result = run(data)
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith("25 documents in 3 classes: train 25\n\nfault    labels ")
    strict = run(data, "--strict")
    assert (strict.status, strict.out) == (1, result.out)
    assert strict.err == "fenlei: 1 fault found: labels\n"
    assert run(write(tmp_path / "e.tsv", *sound()), "--strict").status == 0


def test_dev_is_compared_and_stands_for_a_dev_part(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "train.tsv", *sound())
    write(tmp_path / "dev.tsv", sound()[0], ("b", "something else"))
    other = write(tmp_path / "o.tsv", sound()[1], sound()[2], ("a", "a third"), ("b", "a fourth"))
    inside = json.loads(run(tmp_path, "--json").out)
    assert next(each for each in inside["findings"] if each["topic"] == "dev in train")["count"] == 1
    beside = json.loads(run(tmp_path, "--dev", other, "--json").out)
    finding = next(each for each in beside["findings"] if each["topic"] == "dev in train")
    assert (finding["count"], finding["places"][0]["source"]) == (2, "o.tsv:1")
    assert beside["splits"] == {"train": 24, "dev": 4}


@pytest.mark.parametrize(
    ("arguments", "has"),
    [
        (("missing.tsv",), "missing.tsv"),
        (("{data}", "--out", "x.csv"), "--out is for labels that look wrong: add --deep"),
        (("{data}", "--folds", "3"), "--folds is for labels that look wrong: add --deep"),
        (("{data}", "--deep", "--folds", "1"), "expected a whole number from 2 on"),
        (("{data}", "--deep", "--out", "no/such/x.csv"), "there is no folder"),
        (("{data}", "--deep", "--out", "-"), "name a file"),
    ],
)
def test_a_wrong_call_gets_one_sentence(run: Run, tmp_path: Path, arguments: tuple[str, ...], has: str) -> None:
    data = write(tmp_path / "d.tsv", *sound())
    result = run(*(argument.format(data=data) for argument in arguments))
    assert (result.status, result.out) == (2, "")
    assert has in result.err
    assert len(result.err.splitlines()) == 1


def test_the_verb_survives_hostile_files(run: Run, tmp_path: Path, hostile: list[str]) -> None:
    rows = [{"label": AWKWARD[n % len(AWKWARD)], "text": text} for n, text in enumerate(hostile * 2)]
    path = tmp_path / "h.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n", encoding="utf-8")
    result = run(path)
    assert (result.status, result.err) == (0, "")
    assert json.loads(run(path, "--json").out)["documents"] > 20


def test_the_basic_check_needs_neither_torch_nor_scikit_learn(tmp_path: Path) -> None:
    data = write(tmp_path / "d.tsv", *sound())
    code = (
        "import sys\nfor name in ('torch', 'sklearn', 'scipy', 'onnx'):\n    sys.modules[name] = None\n"
        "from fenlei.cli import main\nsys.exit(main(['check', sys.argv[1]]))"
    )
    result = subprocess.run([sys.executable, "-c", code, str(data)], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


# --- labels that look wrong ---


@pytest.fixture(scope="module")
def mislabelled(chinese: tuple[Labelled, Labelled]) -> tuple[list[Document], set[int]]:
    """The Chinese set with every fifteenth label another."""
    names = sorted(set(chinese[0].labels))
    rows, wrong = [], set(range(0, 120, 15))
    for n, (text, label) in enumerate(zip(chinese[0].texts, chinese[0].labels, strict=True)):
        given = names[(names.index(label) + 1) % 3] if n in wrong else label
        rows.append(Document(text, given, f"d.tsv:{n + 1}"))
    return rows, wrong


def test_flipped_labels_are_found(mislabelled: tuple[list[Document], set[int]]) -> None:
    from fenlei.check.suspects import RULE, RULES, finding, judge, suspects

    rows, wrong = mislabelled
    said: list[str] = []
    judged = judge(rows, np.arange(len(rows)), say=said.append)
    listed = suspects(judged)
    assert set(np.argsort(RULES[RULE](judged))[: len(wrong)].tolist()) == wrong
    assert len({suspect.row for suspect in listed} & wrong) >= 4
    assert len(listed) <= len(wrong)
    assert all(suspect.suggested != rows[suspect.row].label for suspect in listed)
    assert (judged.given + judged.rival <= 1 + 1e-9).all()
    assert len(said) == 5
    told = finding(rows, listed)
    assert told.count == len(listed)
    assert told.places[0].other_label == listed[0].suggested
    again = judge(rows, np.arange(len(rows)))
    assert np.array_equal(again.given, judged.given)


def test_groups_stay_in_one_fold_and_classes_are_dealt_evenly() -> None:
    from fenlei.check.suspects import assigned

    targets = np.array([0] * 50 + [1] * 25 + [0] * 5)
    group = np.concatenate([np.arange(75), np.arange(5)])
    parts = assigned(targets, group, 5, 0)
    assert (parts[75:] == parts[:5]).all()
    assert np.bincount(parts[:50]).tolist() == [10] * 5
    assert np.bincount(parts[50:75]).tolist() == [5] * 5
    assert not np.array_equal(parts, assigned(targets, group, 5, 1))


def test_small_classes_are_not_judged_and_rules_agree_on_two_classes() -> None:
    from fenlei.check.suspects import RULES, Judgement, suspects

    classes, targets = ["a", "b"], np.array([0] * 12 + [1] * 3)
    given = np.array([0.9] * 11 + [0.1] + [0.2] * 3)
    judged = Judgement(classes, targets, given, 1 - given, 1 - targets)
    assert [(each.row, each.suggested) for each in suspects(judged)] == [(11, "b")]
    orders = [
        np.argsort(RULES[name](judged)).tolist() for name in ("self-confidence", "normalized margin", "log ratio")
    ]
    assert orders[0] == orders[1] == orders[2]


def test_deep_writes_suspects_and_says_so(
    run: Run, tmp_path: Path, mislabelled: tuple[list[Document], set[int]]
) -> None:
    rows, wrong = mislabelled
    data = write(tmp_path / "d.tsv", *((document.label, document.text) for document in rows))
    result = run(data, "--deep", "--out", tmp_path / "s.csv", "--folds", 3, "--json")
    assert result.status == 0, result.err
    assert "part 3 of 3" in result.err
    finding = next(each for each in json.loads(result.out)["findings"] if each["topic"] == "suspects")
    header, *cells = (tmp_path / "s.csv").read_text(encoding="utf-8-sig").splitlines()
    assert header == "source,text,label,suggested,probability,correct"
    assert len(cells) == finding["count"]
    assert len({int(line.split(",")[0].removeprefix("d.tsv:")) - 1 for line in cells} & wrong) >= 4


def test_deep_does_not_judge_several_labels(run: Run, tmp_path: Path) -> None:
    data = write(
        tmp_path / "d.tsv", *((label, text) for n in range(9) for label, text in [("a,b", f"x {n}"), ("a", f"y {n}")])
    )
    result = run(data, "--deep", "--multi-label", "--out", tmp_path / "s.csv")
    assert "not judged: texts have several labels" in " ".join(result.out.split())


def test_deep_says_where_it_cannot_judge(run: Run, tmp_path: Path) -> None:
    data = write(tmp_path / "d.tsv", ("a", "x"), ("a", "y"))
    result = run(data, "--deep", "--out", tmp_path / "s.csv")
    assert result.status == 0
    assert "Labels were not judged: 1 classes" in " ".join(result.out.split())
    assert not (tmp_path / "s.csv").exists()


def test_a_stop_by_hand_writes_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fenlei import linear

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(linear, "fit", stop)
    result = run(write(tmp_path / "d.tsv", *sound()), "--deep", "--out", tmp_path / "s.csv")
    assert (result.status, result.out) == (1, "")
    assert result.err.splitlines()[-1] == "fenlei: stopped by hand"
    assert [path.name for path in tmp_path.iterdir()] == ["d.tsv"]


def test_colours_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    data = write(tmp_path / "d.tsv", *sound(), ("A", "x"))
    shown = []
    for setting in ("", "1"):
        monkeypatch.delenv("NO_COLOR", raising=False)
        if setting:
            monkeypatch.setenv("NO_COLOR", setting)
        screen = Terminal()
        monkeypatch.setattr(sys, "stdout", screen)
        assert main(["check", str(data)]) == 0
        shown.append(screen.getvalue())
    assert "\x1b[31mfault" in shown[0]
    assert "\x1b" not in shown[1]
