"""The two doors: `read` takes a labelled data set, `read_lines` takes texts without labels."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import BinaryIO, cast

from fenlei.corpus.documents import Document, audit
from fenlei.corpus.encoding import Missing, file_codecs, known, mark, read_texts
from fenlei.corpus.folders import CLASS_NAMES, LINE_SUFFIXES, Folder, Part, check_format
from fenlei.corpus.labels import settle
from fenlei.corpus.ledger import EMPTY, NO_LABEL, REPAIRED, Ledger
from fenlei.corpus.lines import strip_line_end, text_lines
from fenlei.corpus.tables import Table, is_binary, is_labelled


def read(
    path: str | PathLike[str], *, encoding: str | None = None, labels: str = "auto"
) -> tuple[list[Document], Ledger]:
    """The documents of a folder or file, and the ledger of what was skipped, repaired or decided.

    Taken are a folder per class, a file per class with a text a line, files or folders named train, dev and test,
    and single csv, tsv, JSON lines, fastText, parquet or xlsx files. `encoding` None finds the encoding: UTF-8 and byte
    order marks file by file, and one vote for all others. `labels` says whether a text has "one" label or "several", or
    that the data decides ("auto").
    Raises FileNotFoundError for no such path, and ValueError where there are no documents, no labels or no text.
    """
    root = Path(path)
    ledger = Ledger()
    encoding = known(encoding) if encoding else None
    if root.is_dir():
        documents, names = _read_folder(root, encoding, ledger)
    elif root.is_file():
        documents, names = _read_file(root, encoding, ledger)
    elif root.exists():
        raise ValueError(f"{root} is neither a file nor a folder; save the data to a file first")
    else:
        raise FileNotFoundError(f"no such file or folder: {root}")
    documents = _name_labels(settle(documents, labels, ledger), names, ledger)
    if not documents:
        raise ValueError(f"no documents in {root}: {_reason(ledger)}")
    audit(documents, ledger)
    return documents, ledger


def _reason(ledger: Ledger) -> str:
    if not ledger.entries:
        if any("; label from " in note for note in ledger.notes):
            return "it has no rows under the names of its columns; give labelled texts there"
        return "it is empty; give labelled text as csv, tsv, jsonl or a folder per class"
    kind, source, detail = ledger.entries[0]
    return f"nothing in it could be used, first {source} ({kind}: {detail})"


def _read_file(path: Path, encoding: str | None, ledger: Ledger) -> tuple[list[Document], Path | None]:
    """The documents, and the file beside it that names the classes, if there is one."""
    check_format(path)
    codec = _codecs([path], encoding, ledger)[path]
    documents = list(Table(path, path.name, codec, ledger).documents())
    candidates = (path.with_name(name + suffix) for name in CLASS_NAMES for suffix in LINE_SUFFIXES)
    return documents, next((each for each in candidates if each.is_file()), None)


def _read_folder(root: Path, encoding: str | None, ledger: Ledger) -> tuple[list[Document], Path | None]:
    """The documents, and the file in it that names the classes, if there is one."""

    def labelled(path: Path) -> bool:
        try:
            return is_labelled(path, file_codecs([path], encoding, Ledger())[path])
        except ValueError:  # no text at all
            return False

    folder = Folder(root, labelled, ledger)
    by_line = [part for part in folder.parts if part.kind != "document"]
    documents = _read_by_line(by_line, encoding, ledger)
    documents += _read_whole([part for part in folder.parts if part.kind == "document"], encoding, ledger)
    return documents, folder.class_names


def _read_by_line(parts: Sequence[Part], encoding: str | None, ledger: Ledger) -> list[Document]:
    codecs = _codecs([part.path for part in parts], encoding, ledger)
    documents: list[Document] = []
    for part in parts:
        table = Table(part.path, part.name, codecs[part.path], ledger, part.split)
        try:
            documents += table.one_text_a_line(part.label) if part.kind == "lines" else table.documents()
        except ValueError as error:
            if part.split != "test":  # test files without labels are common: a competition keeps them to itself
                raise
            ledger.add(NO_LABEL, part.name, str(error))
    return documents


def _codecs(paths: Sequence[Path], encoding: str | None, ledger: Ledger) -> dict[Path, str]:
    """The encoding of each file; none where the format has its own."""
    codecs = file_codecs([path for path in paths if not is_binary(path)], encoding, ledger)
    return dict.fromkeys(paths, "") | codecs


def _read_whole(parts: Sequence[Part], encoding: str | None, ledger: Ledger) -> list[Document]:
    documents = []
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
            documents.append(Document(text.rstrip("\r\n"), part.label, part.name, part.split))
    return documents


def _name_labels(documents: list[Document], names_file: Path | None, ledger: Ledger) -> list[Document]:
    """Put the names of class.txt in the place of the numbers of its lines, if all labels are such numbers."""
    labels = {label for document in documents for label in document.labels}
    if names_file is None or not all(label.isdecimal() and len(label) < 6 for label in labels):
        return documents
    content = read_texts([names_file], None, ledger)[0]
    names = [] if isinstance(content, Missing) else [line.strip() for line in content.strip().split("\n")]
    numbers = {int(label) for label in labels}
    start = 0 if 0 in numbers else 1
    # Without the lowest and the highest number one cannot know whether they count from 0 or from 1.
    if max(numbers) >= start + len(names) or (start == 1 and len(names) not in numbers):
        ledger.note(f"{names_file.name} lists {len(names)} names, which do not fit the labels; they stay numbers.")
        return documents
    ledger.note(f"{names_file.name} names the classes: {start} is {names[0]!r}.")
    named = ([names[int(label) - start] for label in document.labels] for document in documents)
    pairs = zip(documents, named, strict=True)
    return [document._replace(label=first, others=tuple(rest)) for document, (first, *rest) in pairs]


def read_lines(stream: BinaryIO | str | PathLike[str], encoding: str | None = None) -> Iterator[str]:
    """The texts of a file or a binary stream, one a line, in constant memory; only the line end is taken off.

    Of a parquet or xlsx file, the cells of its text column.
    `encoding` None means UTF-8 or what a byte order mark says; for a path any encoding is found, as `read` does.
    Raises ValueError naming the line that cannot be decoded or is too long, and FileNotFoundError.
    """
    codec = known(encoding) if encoding else None
    if isinstance(stream, str | PathLike):
        path = Path(stream)
        if is_binary(path):
            yield from Table(path, path.name, "", Ledger()).texts()
            return
        with path.open("rb") as file:
            yield from _lines(file, codec or _codec(path), str(path))
    else:
        buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(cast(io.RawIOBase, stream))
        yield from _lines(buffered, codec or mark(buffered.peek(4)) or "utf-8", "the input")


def _codec(path: Path) -> str:
    try:
        return file_codecs([path], None, Ledger())[path]
    except ValueError:  # read on as UTF-8, so that the error names the line
        return "utf-8"


def _lines(stream: BinaryIO, codec: str, name: str) -> Iterator[str]:
    def fault(_: str, number: int, detail: str) -> None:
        raise ValueError(f"line {number} of {name} cannot be read: {detail}; repair it, or name the encoding")

    for _, line in text_lines(stream, codec, fault):
        yield strip_line_end(line)
