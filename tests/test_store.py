"""Documents in files: the same documents, ledger and splits as a list of them gives."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import HOSTILE
from hypothesis import given
from hypothesis import strategies as st

from fenlei import corpus
from fenlei.cache import Cache
from fenlei.corpus import Document, Ledger, reading
from fenlei.corpus.documents import audit, split_dev
from fenlei.corpus.labels import settle
from fenlei.corpus.store import Column, Store, by_split, common, digests, firsts, load, save, write


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    with Cache(tmp_path / "cache") as found:
        yield found


def stored(documents: Sequence[Document], cache: Cache) -> Store:
    draft = cache.draft("corpus-" + "0" * 64)
    return Store.over(draft, write(documents, draft))


def some(seed: int, count: int = 300) -> list[Document]:
    """Documents of three splits, with copies, contradictions, several labels and odd texts."""
    chance = random.Random(seed)
    texts = HOSTILE[4:] + [f"text {n}" for n in range(count // 2)]
    found = []
    for number in range(count):
        labels = chance.sample(["a", "b", "c", "a,b"], chance.choice([1, 1, 1, 2]))
        split = chance.choice(["", "train", "dev", "test"])
        found.append(Document(chance.choice(texts), labels[0], f"d.tsv:{number}", split, tuple(labels[1:])))
    return found


def test_a_store_is_the_sequence_that_was_written(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fenlei.corpus.store.BLOCK", 7)
    documents = some(1)
    store = stored(documents, cache)
    assert list(store) == documents
    assert len(store) == len(documents)
    assert (store[3], store[-1]) == (documents[3], documents[-1])
    assert list(store[5:200:9]) == documents[5:200:9]
    assert list(store.texts[::-40]) == [document.text for document in documents[::-40]]
    assert list(store.heads()) == [document._replace(text="") for document in documents]
    places = np.array([250, 3, 3, 17])
    assert list(store.take(places)) == [documents[place] for place in places]
    assert list(store[100:].take(np.array([0, 5]))) == [documents[100], documents[105]]
    with pytest.raises(IndexError):
        store[len(documents)]


@given(st.lists(st.text(st.characters(exclude_categories=())), max_size=20))
def test_any_string_survives(texts: list[str]) -> None:
    with Cache.temporary() as cache:
        store = stored([Document(text, "a", text[::-1]) for text in texts], cache)
        assert list(store.texts) == texts
        assert [document.source for document in store] == [text[::-1] for text in texts]


@pytest.mark.parametrize("seed", range(5))
def test_what_is_done_to_a_store_equals_what_is_done_to_a_list(cache: Cache, seed: int) -> None:
    documents = some(seed)
    store = stored(documents, cache)
    np.testing.assert_array_equal(firsts(store), firsts(documents))
    ledgers = Ledger(), Ledger()
    for side, ledger in zip((documents, store), ledgers, strict=True):
        audit(side, ledger)
    assert ledgers[0].counts.keys() == {"leak", "conflict", "duplicate"}
    assert ledgers[0].to_json() == ledgers[1].to_json()
    for one, other in zip(split_dev(documents, 0.2, seed), split_dev(store, 0.2, seed), strict=True):
        assert list(one) == list(other)
        assert len(one) > 10
    assert isinstance(split_dev(store)[0], Store)
    for name, side in by_split(store).items():
        assert list(side) == list(by_split(documents)[name])
    sides = ((by_split(each)["train"], by_split(each)["dev"]) for each in (documents, store))
    one, other = ([(a.source, b.source) for a, b in common(*pair)] for pair in sides)
    assert one == other
    assert one
    np.testing.assert_array_equal(store.texts.digests, digests([document.text for document in documents]))


@pytest.mark.parametrize("kind", ["auto", "one", "several"])
@pytest.mark.parametrize("seed", [1, 2])
def test_labels_are_settled_alike(cache: Cache, kind: str, seed: int) -> None:
    documents = some(seed)
    ledgers = Ledger(), Ledger()
    one, other = (
        settle(side, kind, ledger) for side, ledger in zip((documents, stored(documents, cache)), ledgers, strict=True)
    )
    assert list(one) == list(other)
    assert ledgers[0].to_json() == ledgers[1].to_json()
    assert ledgers[0].entries or kind != "one"


def test_a_store_is_saved_with_its_selection_labels_and_ledger(cache: Cache) -> None:
    documents = some(3)
    name = "corpus-" + "1" * 64
    draft = cache.draft(name)
    store = Store.over(draft, write(documents, draft)).take(np.arange(5, 50)).relabel(lambda found: (found[0] + "!",))
    ledger = Ledger()
    ledger.add("empty", "d.tsv:3", "no text")
    save(store, ledger, draft)
    cache.keep(draft)
    entry = cache.find(name)
    assert entry is not None
    again, found = load(entry)
    assert list(again) == list(store)
    assert [document.label for document in again] == [document.label + "!" for document in documents[5:50]]
    assert found.to_json() == ledger.to_json()


def test_a_column_is_a_sequence_of_shared_values() -> None:
    column = Column(["x", "y"], np.array([1, 0, 1, 1]))
    assert (len(column), column[0], list(column), list(column[1:3])) == (4, "y", ["y", "x", "y", "y"], ["x", "y"])
    assert list(column.take(np.array([1, 1]))) == ["x", "x"]


def corpora(folder: Path) -> list[Path]:
    """Data of every kind with faults of every kind."""
    bad = ["", "no label\t", "x\ty\tz\tmore", "\ttext"]
    rows = [f"{'abc'[n % 3]}\ttext number {n % 40} {'龘' * (n % 7)}" for n in range(90)]
    (folder / "t.tsv").write_text("\n".join(rows[:50] + bad + rows[50:]))
    lines = [json.dumps({"text": f"a text {n}", "label": ["a", "b"][: 1 + n % 2]}) for n in range(40)]
    deep = '{"text": ' + "[" * 100_000 + "]" * 100_000 + "}"
    long = json.dumps({"text": "x" * 12_000_000, "label": "a"})
    lines += ["{", "[1]", '{"text": 3, "label": "a"}', '{"text": null, "label": "b"}', deep, long]
    (folder / "j.jsonl").write_bytes("\n".join(lines).encode() + b'\n{"text": "\xff\xfe", "label": "a"}\n')
    (folder / "f.txt").write_text("".join(f"__label__{n % 2} words of line {n}\n" for n in range(30)) + "no label\n")
    (folder / "class.txt").write_text("zero\none\n")
    for name in ("train", "test"):
        for n in range(20):
            path = folder / f"tree/{name}/{'体育' if n % 2 else '财经'}/{n}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes((f"今天的消息第{n}条" * 3).encode("gb18030" if n % 3 else "utf-8"))
    (folder / "tree/train/体育/broken.txt").write_bytes(b"\xff\x00\x01\x02")
    (folder / "tree/train/体育/empty.txt").write_bytes(b" \n")
    return [folder / name for name in ("t.tsv", "j.jsonl", "f.txt", "tree")]


def test_reading_into_files_gives_the_same_documents_and_ledger(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in corpora(tmp_path):
        expected, ledger = corpus.read(path)
        assert isinstance(expected, list)
        listed, first = corpus.read(path, cache=Cache(tmp_path / "other"))
        assert listed == expected
        with monkeypatch.context() as patch:
            patch.setattr(reading, "LARGE", 400)
            patch.setattr("fenlei.corpus.encoding.HELD", 30)
            held, second = corpus.read(path, cache=cache)
            assert isinstance(held, Store)
        found, third = corpus.read(path, cache=cache)  # now from the cache, as both of the others would be
        again, fourth = corpus.read(path, cache=Cache(tmp_path / "other"))
        for side, entered in ((listed, first), (held, second), (found, third), (again, fourth)):
            assert list(side) == expected
            assert entered.to_json() == ledger.to_json()
        assert isinstance(found, Store)
        assert isinstance(again, Store)


def test_another_content_name_or_setting_is_read_again(tmp_path: Path, cache: Cache) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("a\tone text\nb\tother text\n" * 3)
    first = corpus.read(path, cache=cache)[0]
    path.write_text("a\tone text\nb\tother texx\n" * 3)
    second = corpus.read(path, cache=cache)[0]
    assert second[1].text == "other texx" != first[1].text
    assert corpus.read(path.rename(tmp_path / "b.tsv"), cache=cache)[0][0].source == "b.tsv:1"
    assert corpus.read(tmp_path / "b.tsv", cache=cache, labels="one")[0][0].source == "b.tsv:1"
    assert len(list(cache.folder.iterdir())) == 4


def test_a_file_that_changes_while_it_is_read_is_not_kept(
    tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("a\tone text\nb\tother text\n" * 3)
    real = reading.audit

    def change(*arguments: Any) -> None:
        path.write_text("a\tnew text\nb\tother text\n" * 4)
        real(*arguments)

    for limit in (10**6, 10):
        monkeypatch.setattr(reading, "LARGE", limit)
        with monkeypatch.context() as patch:
            patch.setattr(reading, "audit", change)
            assert corpus.read(path, cache=cache)[0][0].text == "one text"
        path.write_text("a\tone text\nb\tother text\n" * 3)
        assert not [each for each in cache.folder.iterdir() if each.name.startswith("corpus-")]
        assert len(corpus.read(path)[0]) == 6


def test_a_full_disk_costs_the_cache_only(tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("a\tone text\nb\tother text\n" * 3)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fenlei.cache.Draft.append", full)
    assert len(corpus.read(path, cache=cache)[0]) == 6
    assert not list(cache.folder.iterdir())


def test_what_cannot_be_read_leaves_nothing_behind(tmp_path: Path, cache: Cache) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("\n\n")
    with pytest.raises(ValueError, match="no documents in"):
        corpus.read(path, cache=cache)
    assert not list(cache.folder.iterdir())
