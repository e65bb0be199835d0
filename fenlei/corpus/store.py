"""Documents in files: texts that need not fit in memory, their labels as numbers; and what lists of them do too."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar, overload

import numpy as np
import numpy.typing as npt

from fenlei.cache import Draft, Entry
from fenlei.corpus.document import Document
from fenlei.corpus.ledger import Ledger

Array = npt.NDArray[Any]
Places = npt.NDArray[np.int64]
Labels = tuple[str, ...]

BLOCK = 4096  # texts read together
SPLITS = ("", "train", "dev", "test")
DIGEST = 16  # bytes: two of 10**9 different texts have the same with a chance of 10**-21

T = TypeVar("T")


class Files(Protocol):
    """An entry of the cache, finished or not."""

    def array(self, name: str) -> Array:
        """One array."""


class Strings(Sequence[str]):
    """Strings in a mapped file, UTF-8 one after the other, ``offsets (N + 1,)`` where each begins: none is kept.

    ``places`` are the ones that it shows, in their order. Any string is held, halves of surrogate pairs too.
    """

    def __init__(self, data: Array, offsets: Places, places: Places, digests: Array | None = None) -> None:
        self.data, self.offsets, self.places = data, offsets, places
        self._digests = digests

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Strings: ...
    def __getitem__(self, place: int | slice) -> str | Strings:
        if isinstance(place, slice):
            return self.take(self.places[place])
        return self._block(self.places[place, None])[0]

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), BLOCK):
            yield from self._block(self.places[start : start + BLOCK])

    def take(self, places: Places) -> Strings:
        """Those at places of the file, not of this selection."""
        return Strings(self.data, self.offsets, places, self._digests)

    @property
    def sizes(self) -> Places:
        """Bytes of each, ``(N,)``."""
        return np.asarray(self.offsets[self.places + 1] - self.offsets[self.places])

    @property
    def digests(self) -> Array:
        """A number of 128 bits for each text, ``(N, 2)``: equal for equal texts."""
        assert self._digests is not None
        return np.asarray(self._digests[self.places])

    def _block(self, places: Places) -> list[str]:
        """Some strings: by one reading where they lie close together."""
        starts, ends = self.offsets[places].tolist(), self.offsets[places + 1].tolist()
        low, high = min(starts), max(ends)
        if high - low <= 2 * sum(ends) - 2 * sum(starts):
            data = self.data[low:high].tobytes()
            return [_decode(data[start - low : end - low]) for start, end in zip(starts, ends, strict=True)]
        return [_decode(self.data[start:end].tobytes()) for start, end in zip(starts, ends, strict=True)]


class Column(Sequence[T]):
    """A few values that many documents share: ``values[codes[n]]`` is that of document ``n``."""

    def __init__(self, values: Sequence[T], codes: Array) -> None:
        self.values, self.codes = values, codes

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> Column[T]: ...
    def __getitem__(self, place: int | slice) -> T | Column[T]:
        if isinstance(place, slice):
            return Column(self.values, self.codes[place])
        return self.values[int(self.codes[place])]

    def __iter__(self) -> Iterator[T]:
        values = self.values
        for start in range(0, len(self), BLOCK):
            yield from [values[code] for code in self.codes[start : start + BLOCK].tolist()]

    def take(self, places: Places) -> Column[T]:
        """Those of some documents."""
        return Column(self.values, self.codes[places])


class Store(Sequence[Document]):
    """Documents in the files of a cache entry; a selection of them where ``places`` are fewer.

    ``codes (N,)`` say which of ``sets`` are the labels of each document in the files, ``splits (N,)`` its split.
    """

    def __init__(self, texts: Strings, sources: Strings, splits: Array, codes: Array, sets: list[Labels]) -> None:
        self.texts, self.sources, self.splits, self.codes, self.sets = texts, sources, splits, codes, sets

    @property
    def places(self) -> Places:
        """Where the documents of this selection stand in the files, ``(B,)``."""
        return self.texts.places

    def __len__(self) -> int:
        return len(self.texts)

    @overload
    def __getitem__(self, place: int) -> Document: ...
    @overload
    def __getitem__(self, place: slice) -> Store: ...
    def __getitem__(self, place: int | slice) -> Document | Store:
        if isinstance(place, slice):
            return self._at(self.places[place])
        return next(iter(self._at(self.places[place, None])))

    def __iter__(self) -> Iterator[Document]:
        return (head._replace(text=text) for head, text in zip(self.heads(), self.texts, strict=True))

    def heads(self) -> Iterator[Document]:
        """The documents without their texts, which are not read."""
        for source, split, found in zip(self.sources, self._splits, self.label_sets, strict=True):
            yield Document("", found[0] if found else "", source, SPLITS[split], found[1:])

    @property
    def _splits(self) -> Iterator[int]:
        for start in range(0, len(self), BLOCK):
            yield from self.splits[self.places[start : start + BLOCK]].tolist()

    @property
    def label_sets(self) -> Column[Labels]:
        """The labels of each document."""
        return Column(self.sets, np.asarray(self.codes[self.places]))

    def take(self, places: Places) -> Store:
        """The documents at some places of this selection."""
        return self._at(self.places[places])

    def _at(self, places: Places) -> Store:
        return Store(self.texts.take(places), self.sources.take(places), self.splits, self.codes, self.sets)

    def relabel(self, change: Callable[[Labels], Labels]) -> Store:
        """The same documents with other labels, which follow from those that they have."""
        number: dict[Labels, int] = {}
        codes = np.array([number.setdefault(change(found), len(number)) for found in self.sets], np.int32)
        return Store(self.texts, self.sources, self.splits, codes[self.codes], list(number))

    def amend(self, changed: Mapping[int, Document | None]) -> Store:
        """With the labels of the documents at some places, and without those that are None there."""
        number = {labels: code for code, labels in enumerate(self.sets)}
        codes, kept = np.array(self.codes, np.int32), np.ones(len(self), bool)
        for place, document in changed.items():
            if document is None:
                kept[place] = False
            else:
                codes[self.places[place]] = number.setdefault(document.labels, len(number))
        return Store(self.texts, self.sources, self.splits, codes, list(number)).take(np.flatnonzero(kept))

    @classmethod
    def over(cls, files: Files, sets: list[Labels], places: Places | None = None) -> Store:
        """The documents that ``write`` has put into an entry."""
        ends = files.array("text_ends")
        every = np.arange(len(ends) - 1) if places is None else places
        digests = files.array("digests").reshape(-1, 2)
        texts = Strings(files.array("texts"), ends, every, digests)
        sources = Strings(files.array("sources"), files.array("source_ends"), every)
        return cls(texts, sources, files.array("splits"), files.array("codes"), sets)


def write(documents: Iterable[Document], draft: Draft) -> list[Labels]:
    """Put documents into an entry as they come, in constant memory; returns the sets of labels that they have."""
    number: dict[Labels, int] = {}
    ends = {"text_ends": 0, "source_ends": 0}
    for name in ends:
        draft.append(name, np.zeros(1, np.int64))
    block: list[Document] = []
    size = 0
    for document in documents:
        block.append(document)
        size += len(document.text)
        if len(block) == BLOCK or size > 2**20:
            _write(block, draft, number, ends)
            block, size = [], 0
    _write(block, draft, number, ends)
    return list(number)


def _write(block: list[Document], draft: Draft, number: dict[Labels, int], ends: dict[str, int]) -> None:
    texts = [_encode(document.text) for document in block]
    for name, column in (("text", texts), ("source", [_encode(document.source) for document in block])):
        lengths = np.fromiter(map(len, column), np.int64, len(column))
        draft.append(f"{name}_ends", ends[f"{name}_ends"] + np.cumsum(lengths))
        draft.append(f"{name}s", np.frombuffer(b"".join(column), np.uint8))
        ends[f"{name}_ends"] += int(lengths.sum())
    draft.append("digests", _digests(texts))
    draft.append("splits", np.array([SPLITS.index(document.split) for document in block], np.uint8))
    codes = [number.setdefault(document.labels, len(number)) for document in block]
    draft.append("codes", np.array(codes, np.int32))


def save(store: Store, ledger: Ledger, draft: Draft) -> None:
    """Complete an entry by which documents of its files count, their labels now, and the ledger."""
    draft.append("places", store.places)
    draft.append("last_codes", np.asarray(store.codes, np.int32))
    draft.append("ledger", np.frombuffer(ledger.to_json().encode("utf-8", "surrogatepass"), np.uint8))
    draft.notes["sets"] = [list(found) for found in store.sets]


def load(entry: Entry) -> tuple[Store, Ledger]:
    """What ``save`` completed."""
    sets = [tuple(found) for found in entry.notes["sets"]]
    store = Store.over(entry, sets, entry.array("places"))
    store.codes = entry.array("last_codes")
    return store, Ledger.from_json(entry.array("ledger").tobytes().decode("utf-8", "surrogatepass"))


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _digests(texts: Sequence[bytes]) -> Array:
    data = b"".join(hashlib.blake2b(text, digest_size=DIGEST).digest() for text in texts)
    return np.frombuffer(data, np.uint64).reshape(-1, 2)


def digests(texts: Sequence[str]) -> Array:
    """A number of 128 bits for each text, ``(N, 2)``: equal for equal texts."""
    return texts.digests if isinstance(texts, Strings) else _digests([_encode(text) for text in texts])


# What a list of documents and a store both can do.


def heads(documents: Sequence[Document]) -> Iterable[Document]:
    """The documents, of a store without their texts: for what looks at labels and sources only."""
    return documents.heads() if isinstance(documents, Store) else documents


def where(documents: Sequence[Document], wanted: Callable[[Document], bool]) -> Sequence[Document]:
    """The documents that are ``wanted``, which is asked once each, in order, and does not look at the text."""
    if isinstance(documents, Store):
        return documents.take(np.fromiter((n for n, each in enumerate(documents.heads()) if wanted(each)), np.int64))
    return [document for document in documents if wanted(document)]


def take(documents: Sequence[Document], places: Places) -> Sequence[Document]:
    """The documents at some places."""
    return documents.take(places) if isinstance(documents, Store) else [documents[place] for place in places.tolist()]


def amend(documents: Sequence[Document], changed: Mapping[int, Document | None]) -> Sequence[Document]:
    """The documents with others at some places, which differ in their labels alone, and without those that are None."""
    if isinstance(documents, Store):
        return documents.amend(changed)
    found = (changed.get(place, document) for place, document in enumerate(documents))
    return [document for document in found if document is not None]


def relabel(documents: Sequence[Document], change: Callable[[Labels], Labels]) -> Sequence[Document]:
    """The documents with other labels, which follow from those that they have."""
    if isinstance(documents, Store):
        return documents.relabel(change)
    changed = ((document, change(document.labels)) for document in documents)
    return [document._replace(label=found[0] if found else "", others=found[1:]) for document, found in changed]


def label_sets(documents: Sequence[Document]) -> Column[Labels]:
    """The labels of each document, as numbers of the distinct sets."""
    if isinstance(documents, Store):
        return documents.label_sets
    number: dict[Labels, int] = {}
    codes = np.fromiter((number.setdefault(each.labels, len(number)) for each in documents), np.int32, len(documents))
    return Column(list(number), codes)


def splits(documents: Sequence[Document]) -> Array:
    """The number of each document's split in ``SPLITS``, ``(N,)``."""
    if isinstance(documents, Store):
        return np.asarray(documents.splits[documents.places])
    return np.fromiter((SPLITS.index(each.split) for each in documents), np.uint8, len(documents))


def firsts(documents: Sequence[Document]) -> Places:
    """For each document the place of the first one with the same text, ``(N,)``: its own where it is the first."""
    if not isinstance(documents, Store):
        seen: dict[str, int] = {}
        numbered = enumerate(documents)
        return np.fromiter((seen.setdefault(each.text, n) for n, each in numbered), np.int64, len(documents))
    found = documents.texts.digests
    order = np.lexsort((found[:, 1], found[:, 0]))  # stable: equal texts in their order
    new = np.ones(len(order), bool)
    new[1:] = (found[order[1:]] != found[order[:-1]]).any(axis=1)
    first = np.empty(len(order), np.int64)
    first[order] = order[np.flatnonzero(new)][np.cumsum(new) - 1]
    return first


def by_split(documents: Sequence[Document]) -> dict[str, Sequence[Document]]:
    """The documents of train, dev and test; those of no named split are for training."""
    if isinstance(documents, Store):
        numbers = splits(documents)
        numbers = np.where(numbers == 0, SPLITS.index("train"), numbers)
        return {name: documents.take(np.flatnonzero(numbers == SPLITS.index(name))) for name in SPLITS[1:]}
    sides: dict[str, list[Document]] = {name: [] for name in SPLITS[1:]}
    for document in documents:
        sides[document.split or "train"].append(document)
    return dict(sides)


def common(train: Sequence[Document], other: Sequence[Document]) -> list[tuple[Document, Document]]:
    """The documents of ``other`` whose text stands in ``train`` too, each behind the last one there; without texts."""
    left, right = (document_digests(side) for side in (train, other))
    known = set(map(bytes, right))
    last = {found: place for place, row in enumerate(left) if (found := bytes(row)) in known}
    pairs = [(last[found], place) for place, row in enumerate(right) if (found := bytes(row)) in last]
    firsts_, seconds = (np.array([pair[side] for pair in pairs], np.int64) for side in (0, 1))
    return list(zip(heads(take(train, firsts_)), heads(take(other, seconds)), strict=True))


def document_digests(documents: Sequence[Document]) -> Array:
    """``digests`` of the documents' texts."""
    return digests(texts_of(documents))


def texts_of(documents: Sequence[Document]) -> Sequence[str]:
    """The texts alone."""
    return documents.texts if isinstance(documents, Store) else [document.text for document in documents]
