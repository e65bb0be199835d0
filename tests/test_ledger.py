"""What was skipped and why, counted and named within bounds."""

from pathlib import Path

import pytest

from fenlei.cache import Cache
from fenlei.corpus import Document, Ledger
from fenlei.corpus import documents as audits
from fenlei.corpus import ledger as ledgers
from fenlei.corpus.documents import audit
from fenlei.corpus.store import Store, write


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
