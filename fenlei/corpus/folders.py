"""How a folder says what is what: a folder per class, a file per class, or labelled files named train, dev and test."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from fenlei.corpus.ledger import NO_LABEL, NOT_TEXT, Ledger
from fenlei.corpus.tables import BINARY, SUFFIXES

SPLITS = {
    **dict.fromkeys(("train", "training", "训练", "训练集"), "train"),
    **dict.fromkeys(("dev", "val", "valid", "validation", "验证", "验证集"), "dev"),
    **dict.fromkeys(("test", "testing", "测试", "测试集"), "test"),
}
ORDER = ("train", "dev", "test", "")
CLASS_NAMES = ("class", "classes", "label", "labels", "class_names", "label_names")
LINE_SUFFIXES = (".txt", ".text", ".data", "")
# Formats that hold text, but not as text.
PACKED = (
    *(".arrow", ".feather", ".orc", ".avro", ".xls", ".ods", ".zip", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"),
    *(".tar", ".tgz", ".npy", ".npz", ".db", ".sqlite", ".pdf", ".doc", ".docx"),
)
# Whole names: `license.plates.txt` is a document. A read-me may name its language: `README.zh.md`, `readme_zh-CN.txt`.
BYSTANDER = re.compile(
    r"(readme([._-][a-z]{2}([_-][a-z]{2})?)?|licen[cs]e([._-](mit|apache|bsd|gpl|lgpl|cc[a-z0-9._-]*))?"
    r"|copying(\.lesser|\.lib)?|changelog)(\.(txt|text|md|markdown|rst|html?))?",
    re.IGNORECASE,
)
JUNK = ("thumbs.db", "desktop.ini")

TOLD = 3  # folders in a warning
FEW = 20  # files of one split: more are documents that are called so

IsLabelled = Callable[[Path], bool]


class Part(NamedTuple):
    """One file to read: `kind` is `table`, `lines` (one class, a text a line) or `document`."""

    path: Path
    name: str
    kind: str
    label: str
    split: str


class Folder:
    """The plan for reading a folder; `parts` lists its files, the training ones first.

    Numbered documents that lie in no class folder are refused where `labels` are wanted, and else taken as they are.
    """

    def __init__(self, root: Path, is_labelled: IsLabelled, ledger: Ledger, labels: bool = True) -> None:
        self.root, self.is_labelled, self.ledger, self.labels = root, is_labelled, ledger, labels
        self.parts: list[Part] = []
        self.class_names: Path | None = None
        self.beside: dict[str, None] = {}  # read-me and licence files, each once however often their folder is listed
        self.odd: dict[str, str] = {}  # what is neither file nor folder, and what it is
        self.empty: list[str] = []
        self.homes: dict[Path, list[Path]] = defaultdict(list)  # what holds class folders -> those with documents
        self._top(root, "")
        if self.empty:
            self.ledger.note(f"Empty folders, of which no class is made: {_some(self.empty)}.")
        if self.beside:
            self.ledger.note(f"Not read, as they are about the data, {len(self.beside):,}: {_some([*self.beside])}.")
        for name, what in self.odd.items():
            self.ledger.add(NOT_TEXT, name, what)
        if labels:
            self._warn_of_merged()
            self._warn_of_nested()
        self.parts.sort(key=lambda part: ORDER.index(part.split))

    def _top(self, folder: Path, split: str) -> None:
        """Plan a folder that is no class itself: the root, what is wrapped around the data, or a split."""
        files, folders = self._listing(folder)
        tables = self._tables(files, alone=not folders)
        if tables:
            self._plan_tables(tables, files, folders, split)
        elif splits := self._split_folders(folders):
            self._bystanders([*files, *(each for each in folders if each not in splits)])
            for each in splits:
                self._top(each, SPLITS[each.name.lower()])
        elif len(folders) == 1 and not files and self._holds_more(folders[0]):
            self._top(folders[0], split)
        elif folders:
            if self.labels:
                self._refuse_data_below(folders)
            for path in files:
                self.ledger.add(NO_LABEL, self._name(path), "beside the class folders")
            for each in folders:
                self._class(each, split, {folder.resolve()}, folder)
        else:
            self._file_per_class(files, split)

    def _refuse_data_below(self, folders: Sequence[Path]) -> None:
        """ValueError where what would be a class is labelled data by itself, as ``data`` in THUCNews."""
        if found := [each for each in folders if self._holds_train(each)]:
            raise ValueError(
                f"{self.root} is no folder of classes, as labelled training data stands in "
                f"{_some([self._quoted(each) for each in found], TOLD)}: name {found[0]}"
            )

    def _holds_train(self, folder: Path) -> bool:
        """Whether a folder has files of labelled lines that are called train."""
        named = [path for path in self._listing(folder)[0] if split_of(path) == "train"]
        able = [path for path in named if path.suffix.lower() in (*SUFFIXES, *LINE_SUFFIXES)]
        return len(able) <= FEW and any(path.suffix.lower() in SUFFIXES or self.is_labelled(path) for path in able)

    def _listing(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """(files, folders), sorted, without what is hidden or a read-me."""
        files, folders = [], []
        for path in sorted(folder.iterdir()):
            if path.name.startswith(".") or path.name.lower() in JUNK:
                continue
            if path.is_dir():
                folders.append(path)
            elif not path.is_file():
                self.odd[self._name(path)] = "neither a file nor a folder" if path.exists() else "a link to nothing"
            elif BYSTANDER.fullmatch(path.name):
                self.beside[self._name(path)] = None
            else:
                files.append(path)
        return files, [path for path in folders if path.name != "__MACOSX"]

    def _tables(self, files: Sequence[Path], alone: bool) -> list[Path]:
        """The files of labelled lines among `files`; in doubt their content decides."""
        able = [path for path in files if path.suffix.lower() in (*SUFFIXES, *LINE_SUFFIXES) and not _names(path)]
        named = [path for path in able if split_of(path)]
        if any(path.suffix.lower() in SUFFIXES or self.is_labelled(path) for path in named):
            return named
        if not alone:
            return []
        if len(files) == 1:
            return able
        return [path for path in able if path.suffix.lower() in SUFFIXES or self.is_labelled(path)]

    def _plan_tables(self, tables: list[Path], files: list[Path], folders: list[Path], split: str) -> None:
        self.parts += [Part(path, self._name(path), "table", "", split or split_of(path)) for path in tables]
        for path in files:
            if _names(path):
                self.class_names = path
        self._bystanders([*(path for path in files if path not in tables and path != self.class_names), *folders])

    def _bystanders(self, paths: Sequence[Path]) -> None:
        if paths:
            shown = _some([path.name for path in paths])
            self.ledger.note(f"Not read, as the labelled data stands beside: {shown}.")

    def _split_folders(self, folders: Sequence[Path]) -> list[Path]:
        """Folders named train, dev or test, unless they look like classes that happen to bear such a name."""
        named = [each for each in folders if each.name.lower() in SPLITS]
        if not named or len(named) == len(folders) or any(self._holds_more(each) for each in named):
            return named
        self.ledger.note(
            f"{named[0].name!r} was read as a class: it holds plain documents as the folders beside it do."
        )
        return []

    def _holds_more(self, folder: Path) -> bool:
        """Whether a folder holds folders or tables, so that it is no class of plain documents."""
        files, folders = self._listing(folder)
        return bool(folders) or bool(self._tables(files, alone=False))

    def _class(self, folder: Path, split: str, above: set[Path], top: Path) -> None:
        """Plan the documents of a class folder and of the classes within; links that lead in circles are left.

        ``top`` is the folder that is no class itself, in which the whole tree of classes lies.
        """
        if folder.resolve() in above:
            return
        files, folders = self._listing(folder)
        label = self._readable(folder.name)
        if not files and not folders:
            self.empty.append(repr(self._name(folder)))
        documents = [path for path in files if not self._packed(path)]
        self.parts += [Part(path, self._name(path), "document", label, split) for path in documents]
        if documents:
            self.homes[top].append(folder)
        for each in folders:
            self._class(each, split, above | {folder.resolve()}, top)

    def _warn_of_merged(self) -> None:
        """Say which folders of one name, under different parents, are one class; a class in each split is none such."""
        places: dict[str, dict[Path, Path]] = defaultdict(dict)  # name -> place in the split -> the first such
        for top, folders in self.homes.items():
            for folder in folders:
                places[folder.name].setdefault(folder.relative_to(top), folder)
        merged = {name: [*found.values()] for name, found in places.items() if len(found) > 1}
        if merged:
            shown = [f"{self._quoted(folders[0])} and {self._quoted(folders[1])}" for folders in merged.values()]
            self.ledger.warn(
                f"One class was made of folders of the same name under different parents, {_times(len(merged))}: "
                f"{_some(shown, TOLD)}; a document's class is the name of the folder that it lies in",
                "where the parents are the classes, move the documents up into them, else give the folders other names",
            )

    def _warn_of_nested(self) -> None:
        """Say which folders hold documents and, further down, folders with documents: those are other classes."""
        homes = {folder for folders in self.homes.values() for folder in folders}
        inner: dict[Path, Path] = {}  # such a folder -> the first one in it
        for top, folders in self.homes.items():
            for folder in folders:
                above = folder.parents[: folder.parents.index(top)]
                inner |= {each: folder for each in above if each in homes and each not in inner}
        if inner:
            shown = [f"{self._quoted(folder)} (in it {self._quoted(other)})" for folder, other in inner.items()]
            self.ledger.warn(
                f"A folder holds documents and a folder with documents as well, {_times(len(inner))}: "
                f"{_some(shown, TOLD)}; each is a class by its own name",
                "where the inner one is none, move its documents up into the outer one",
            )

    def _quoted(self, folder: Path) -> str:
        return repr(self._name(folder))

    def _file_per_class(self, files: Sequence[Path], split: str) -> None:
        able = [path for path in files if path.suffix.lower() in LINE_SUFFIXES and not self._packed(path)]
        if len(able) > 1 and all(path.stem.isdigit() for path in able):
            if not self.labels:
                self.parts += [Part(path, self._name(path), "document", "", split) for path in able]
                return
            raise ValueError(f"{self.root} holds numbered documents without labels; sort them into a folder per class")
        for path in files:
            if path not in able:
                self._packed(path)
        for path in able:
            label = self._readable(path.stem)
            self.parts.append(Part(path, self._name(path), "lines", label, split))
        if able:
            shown = _some([repr(self._readable(path.stem)) for path in able])
            self.ledger.note(f"One file per class, a document a line: {shown}.")

    def _packed(self, path: Path) -> bool:
        if path.suffix.lower() in (*PACKED, *BINARY):
            self.ledger.add(NOT_TEXT, self._name(path), f"{path.suffix} files are not read as documents")
            return True
        return False

    def _name(self, path: Path) -> str:
        return self._readable(path.relative_to(self.root).as_posix())

    def _readable(self, name: str) -> str:
        """A file name that is not UTF-8 on the disk, as unpacked archives leave it, read as GB18030."""
        if name.isascii() or _is_encodable(name):
            return name
        data = os.fsencode(name)
        try:
            readable = data.decode("gb18030")
        except UnicodeDecodeError:
            return data.decode("utf-8", "backslashreplace")
        self.ledger.note("File names that are not UTF-8 were read as gb18030.")
        return readable


def _some(names: Sequence[str], most: int = 5) -> str:
    """The first few."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _is_encodable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _names(path: Path) -> bool:
    """Whether a file such as class.txt lists the names of classes that rows give by number."""
    return path.stem.lower() in CLASS_NAMES and path.suffix.lower() in LINE_SUFFIXES


def split_of(path: Path) -> str:
    """`train`, `dev`, `test` or nothing, by a word of the file name: `cnews.train.txt`, `train-00000.jsonl`."""
    words = re.findall(r"[^\W\d_]+", path.stem.lower())
    return next((SPLITS[word] for word in words if word in SPLITS), "")


def check_format(path: Path) -> None:
    """Raise ValueError for a single file in a format that is not read."""
    if path.suffix.lower() in PACKED:
        raise ValueError(
            f"{path}: {path.suffix} files are not read; "
            "give a csv, tsv, jsonl, parquet, xlsx or fastText file, or a folder per class"
        )
