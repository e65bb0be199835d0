"""The two doors: `read` takes a labelled data set, `read_lines` takes texts without labels."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import BinaryIO, cast

from fenlei.cache import Cache, Draft, key, program
from fenlei.corpus.document import Document
from fenlei.corpus.documents import audit, used
from fenlei.corpus.encoding import NAME_IT, Missing, file_codecs, known, mark, read_texts
from fenlei.corpus.folders import CLASS_NAMES, LINE_SUFFIXES, Folder, Part, check_format
from fenlei.corpus.labels import settle
from fenlei.corpus.ledger import EMPTY, NO_LABEL, REPAIRED, UNDECODABLE, Ledger, Strict
from fenlei.corpus.lines import strip_line_end, text_lines
from fenlei.corpus.store import Store, load, relabel, save, write
from fenlei.corpus.tables import SUFFIXES, Table, is_binary, is_labelled

LARGE = 100_000_000  # characters: past this documents are in files, where a cache gives room
OVERHEAD = 64  # what a document weighs beside its text


def read(
    path: str | PathLike[str], *, encoding: str | None = None, labels: str = "auto", cache: Cache | None = None
) -> tuple[Sequence[Document], Ledger]:
    """The documents of a folder or file, and the ledger of what was skipped, repaired or decided.

    Taken are a folder per class, a file per class with a text a line, files or folders named train, dev and test,
    and single csv, tsv, JSON, fastText, parquet or xlsx files. `encoding` None finds the encoding: UTF-8 and byte
    order marks file by file, and one vote for all others. `labels` says whether a text has "one" label or "several", or
    that the data decides ("auto").
    The documents are a list. With a `cache` those of a corpus larger than `LARGE` are in its files instead, and what
    was read once is found there again, by the content of the files.
    Raises FileNotFoundError for no such path, and ValueError where there are no documents, no labels or no text.
    """
    root = Path(path)
    encoding = known(encoding) if encoding else None
    if cache is None:
        return _read(root, encoding, labels, None)
    stamps = _stamps(root)
    name = key("corpus", _content(root), encoding, labels, _versions(), program(Path(__file__).parent))
    if entry := cache.find(name):
        return load(entry)
    draft = cache.draft(name)
    try:
        documents, ledger = _read(root, encoding, labels, draft)
    except BaseException:
        cache.discard(draft)
        raise
    if not isinstance(documents, Store) and not (cache.keeps and stamps == _stamps(root)):
        cache.discard(draft)  # nobody would find it; or a file was changed while it was read
        return documents, ledger
    try:
        save(documents if isinstance(documents, Store) else Store.over(draft, write(documents, draft)), ledger, draft)
        if stamps == _stamps(root):
            cache.keep(draft)
    except OSError:  # the disk is full: a cache is worth less than the run
        cache.discard(draft)
    return documents, ledger


def files_of(path: str | PathLike[str], encoding: str | None = None) -> list[Path]:
    """The files that `read` would take from a folder, or a file and what could name its classes; some may not exist."""
    root = Path(path)
    if not root.is_dir():
        return [root, *_name_files(root)]
    folder = Folder(root, partial(holds_labels, encoding=known(encoding) if encoding else None), Ledger())
    return [*(part.path for part in folder.parts), *filter(None, [folder.class_names])]


def _versions() -> list[str]:
    """What else decides how bytes are read."""
    import charset_normalizer  # a third of the time that the corpus takes to import, and few corpora need it

    return [sys.version, charset_normalizer.__version__]


def _read(root: Path, encoding: str | None, labels: str, draft: Draft | None) -> tuple[Sequence[Document], Ledger]:
    ledger = Ledger()
    if root.is_dir():
        found, names = _read_folder(root, encoding, ledger)
    elif root.is_file():
        found, names = _read_file(root, encoding, ledger)
    elif root.exists():
        raise ValueError(f"{root} is neither a file nor a folder; save the data to a file first")
    else:
        raise FileNotFoundError(f"no such file or folder: {root}")
    documents = _name_labels(settle(_gather(found, draft), labels, ledger), names, ledger)
    if not documents:
        raise ValueError(f"no documents in {root}: {_reason(ledger)}")
    if ledger.counts.get(UNDECODABLE, 0) > len(documents):
        advice = f"leave --encoding {encoding} out" if encoding else "name the encoding with --encoding"
        ledger.warn("more could not be decoded than was read, and that is left out", advice)
    audit(documents, ledger)
    return documents, ledger


def _gather(documents: Iterator[Document], draft: Draft | None) -> Sequence[Document]:
    """All documents: in memory, or in files as soon as they are more than ``LARGE``."""
    if draft is None:
        return list(documents)
    held: list[Document] = []
    size = 0
    for document in documents:
        held.append(document)
        size += len(document.text) + OVERHEAD
        if size > LARGE:
            return Store.over(draft, write(_drained(held, documents), draft))
    return held


def _drained(held: list[Document], rest: Iterator[Document]) -> Iterator[Document]:
    """All documents, those in memory given back as they go."""
    held.reverse()
    while held:
        yield held.pop()
    yield from rest


def _content(root: Path) -> list[list[str]]:
    """Name and SHA-256 of every file that reading can see, and the names of folders, sorted."""
    named = {os.fsencode(path.relative_to(root.parent)).hex(): path for path in _seen(root)}
    return [[name, _check(named[name])] for name in sorted(named)]


def _stamps(root: Path) -> list[tuple[str, int, int]]:
    """Path, size and time of last change of the same files: what differs where one was changed in the meantime."""
    found = [(str(path), path.stat()) for path in _seen(root) if path.exists()]
    return sorted((path, about.st_size, about.st_mtime_ns) for path, about in found)


def _seen(root: Path) -> list[Path]:
    """The files and folders that reading can see."""
    return list(_within(root, set())) if root.is_dir() else [root, *_name_files(root)]


def _within(folder: Path, above: set[Path]) -> Iterator[Path]:
    """All files and folders in a folder; links that lead in circles are left."""
    if folder.resolve() not in above:
        for path in folder.iterdir():
            yield path
            if path.is_dir():
                yield from _within(path, above | {folder.resolve()})


def _check(path: Path) -> str:
    if not path.is_file():
        return ""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:  # the ledger will say so
        return type(error).__name__


def _reason(ledger: Ledger) -> str:
    if not ledger.entries:
        if any("; label from " in note for note in ledger.notes):
            return "it has no rows under the names of its columns; give labelled texts there"
        return "it is empty; give labelled text as csv, tsv, jsonl or a folder per class"
    kind, source, detail = ledger.entries[0]
    return f"nothing in it could be used, first {source} ({kind}: {detail})"


def _read_file(path: Path, encoding: str | None, ledger: Ledger) -> tuple[Iterator[Document], Path | None]:
    """The documents, and the file beside it that names the classes, if there is one."""
    check_format(path)
    codec = _codecs([path], encoding, ledger)[path]
    documents = Table(path, path.name, codec, ledger).documents()
    return documents, next((each for each in _name_files(path) if each.is_file()), None)


def _name_files(path: Path) -> list[Path]:
    """What a file beside it that names the classes would be called."""
    return [path.with_name(name + suffix) for name in CLASS_NAMES for suffix in LINE_SUFFIXES]


def _read_folder(root: Path, encoding: str | None, ledger: Ledger) -> tuple[Iterator[Document], Path | None]:
    """The documents, and the file in it that names the classes, if there is one."""
    folder = Folder(root, partial(holds_labels, encoding=encoding), ledger)
    by_line = [part for part in folder.parts if part.kind != "document"]
    whole = [part for part in folder.parts if part.kind == "document"]
    return chain(_read_by_line(by_line, encoding, ledger), _read_whole(whole, encoding, ledger)), folder.class_names


def holds_labels(path: Path, encoding: str | None) -> bool:
    """Whether a file is one of labelled lines; what is no text at all is not."""
    try:
        return is_labelled(path, file_codecs([path], encoding, Ledger())[path])
    except ValueError:
        return False


def _read_by_line(parts: Sequence[Part], encoding: str | None, ledger: Ledger) -> Iterator[Document]:
    codecs = _codecs([part.path for part in parts], encoding, ledger)
    for part in parts:
        table = Table(part.path, part.name, codecs[part.path], ledger, part.split)
        try:
            yield from table.one_text_a_line(part.label) if part.kind == "lines" else table.documents()
        except ValueError as error:
            if part.split != "test":  # test files without labels are common: a competition keeps them to itself
                raise
            ledger.add(NO_LABEL, part.name, str(error))


def _codecs(paths: Sequence[Path], encoding: str | None, ledger: Ledger) -> dict[Path, str]:
    """The encoding of each file; none where the format has its own."""
    codecs = file_codecs([path for path in paths if not is_binary(path)], encoding, ledger)
    return dict.fromkeys(paths, "") | codecs


def _read_whole(parts: Sequence[Part], encoding: str | None, ledger: Ledger) -> Iterator[Document]:
    for part, text in zip(parts, read_texts([part.path for part in parts], encoding, ledger), strict=True):
        if isinstance(text, Missing):
            ledger.add(text.kind, part.name, text.detail)
            continue
        if "\0" in text:
            ledger.add(REPAIRED, part.name, f"{text.count(chr(0)):,} NUL bytes taken out")
            text = text.replace("\0", "")
        if not text or text.isspace():
            ledger.add(EMPTY, part.name, "no text")
        else:
            yield Document(text.rstrip("\r\n"), part.label, part.name, part.split)


def _name_labels(documents: Sequence[Document], names_file: Path | None, ledger: Ledger) -> Sequence[Document]:
    """Put the names of class.txt in the place of the numbers of its lines, if all labels are such numbers."""
    labels = {label for found in used(documents) for label in found}
    if names_file is None or not labels or not all(label.isdecimal() and len(label) < 6 for label in labels):
        return documents
    [content] = read_texts([names_file], None, ledger)
    names = [] if isinstance(content, Missing) else [line.strip() for line in content.strip().split("\n")]
    numbers = {int(label) for label in labels}
    start = 0 if 0 in numbers else 1
    # Without the lowest and the highest number one cannot know whether they count from 0 or from 1.
    if max(numbers) >= start + len(names) or (start == 1 and len(names) not in numbers):
        ledger.warn(
            f"{names_file.name} lists {len(names)} names, which do not fit the labels, "
            f"{min(numbers)} to {max(numbers)}: they stay numbers",
            "give it a line for each number",
        )
        return documents
    ledger.note(f"{names_file.name} names the classes: {start} is {names[0]!r}.")
    name = {label: names[int(label) - start] for label in labels}
    return relabel(documents, lambda found: tuple(name.get(label, label) for label in found))


def read_lines(
    stream: BinaryIO | str | PathLike[str], encoding: str | None = None, note: Callable[[str], None] | None = None
) -> Iterator[str]:
    """The texts of a file or a binary stream, one a line, in constant memory; only the line end is taken off.

    Of a csv, tsv, JSON lines, parquet or xlsx file, as its name ends, those of its text column, a text for each row;
    ``note`` is told, in a sentence, which column that is. ``encoding`` None means UTF-8 or what a byte order mark says;
    for a path any encoding is found, as `read` does.
    Raises ValueError naming the line that cannot be decoded or read, or is too long, and FileNotFoundError.
    """
    codec = known(encoding) if encoding else None
    if isinstance(stream, str | PathLike):
        path = Path(stream)
        if path.suffix.lower() in SUFFIXES:
            yield from _column(path, codec, note)
            return
        with path.open("rb") as file:
            codec = codec or _codec(path)
            if note is not None and is_labelled(path, codec):
                note(f"{path.name}: its lines hold labels beside the texts and are read whole; name it .tsv for these")
            yield from _lines(file, codec, str(path))
    else:
        buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, stream))
        yield from _lines(buffered, codec or mark(buffered.peek(4)) or "utf-8", "the input")


def _column(path: Path, codec: str | None, note: Callable[[str], None] | None) -> Iterator[str]:
    """The texts of a table, one a row."""
    ledger = Strict()
    check_format(path)
    table = Table(path, path.name, "" if is_binary(path) else codec or _codec(path), ledger)
    for text in table.texts():
        while note is not None and ledger.notes:
            note(ledger.notes.pop(0))
        yield text


def _codec(path: Path) -> str:
    try:
        return file_codecs([path], None, Ledger())[path]
    except ValueError:  # read on as UTF-8, so that the error names the line
        return "utf-8"


def _lines(stream: BinaryIO, codec: str, name: str) -> Iterator[str]:
    def fault(_: str, number: int, detail: str) -> None:
        raise ValueError(f"line {number} of {name} cannot be read: {detail}; repair it, or {NAME_IT}")

    for _, line in text_lines(stream, codec, fault):
        yield strip_line_end(line)
