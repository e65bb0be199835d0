"""What was computed once and need not be again: folders of arrays by key, checked before use, bounded in size."""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

FORMAT = 1
MANIFEST = "manifest.json"
SIZE = 10 * 2**30  # bytes of all entries together; the environment's FENLEI_CACHE_SIZE is another limit
ABANDONED = 24 * 3600  # seconds after which an unfinished entry is taken for one whose process has died
KINDS = ("b", "i", "u", "f")  # kinds of numpy types that an entry may hold: numbers only
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_KEY = re.compile(r"[a-z]+-[0-9a-f]{64}")


def default_folder() -> Path:
    """``FENLEI_CACHE``, or ``fenlei`` in the folder that the XDG base directory specification names for caches."""
    if named := os.environ.get("FENLEI_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "fenlei"


def size_limit() -> int:
    """``FENLEI_CACHE_SIZE``, such as 500M or 20G, or 10G; ValueError for anything else."""
    value = os.environ.get("FENLEI_CACHE_SIZE", "")
    if not value:
        return SIZE
    match = re.fullmatch(r"(\d{1,15})([KMGT]?)", value.upper())
    if not match:
        raise ValueError(f"FENLEI_CACHE_SIZE is {value!r}, expected a number of bytes such as 500M or 20G")
    return int(match[1]) * UNITS[match[2]]


def key(kind: str, *parts: object) -> str:
    """The name of the entry that these parts, whatever JSON or bytes can hold, decide."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return f"{kind}-{digest.hexdigest()}"


def program(*places: Path) -> str:
    """SHA-256 of the Python files at some places, folders with all in them: another program makes other entries."""
    files = [file for place in places for file in (sorted(place.glob("*.py")) if place.is_dir() else [place])]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


class Entry:
    """A finished folder of arrays. All are mapped at once, so they stay when another process deletes the folder."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.notes, files = manifest["notes"], manifest["files"]
        self._arrays = {name: mapped(folder / name, np.dtype(about["dtype"])) for name, about in files.items()}

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def array(self, name: str) -> Array:
        """One array, mapped, not read: its pages come and go as memory allows. Read-only."""
        return self._arrays[name]


class Draft:
    """An entry in the making: arrays put whole or grown by appending, hashed as they are written."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.notes: dict[str, Any] = {}
        self._open: dict[str, IO[bytes]] = {}
        self._hashes: dict[str, Any] = {}
        self._files: dict[str, dict[str, Any]] = {}

    def append(self, name: str, array: Array) -> None:
        """Add to the end of the array ``name``, which begins with the first call and has its type."""
        if name not in self._open:
            self._open[name] = (self.folder / name).open("xb", buffering=2**20)
            self._hashes[name] = hashlib.sha256()
            self._files[name] = {"dtype": array.dtype.str, "bytes": 0}
        assert self._files[name]["dtype"] == array.dtype.str
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        self._open[name].write(data)
        self._hashes[name].update(data)
        self._files[name]["bytes"] += len(data)

    def array(self, name: str) -> Array:
        """What was written to ``name`` so far, mapped."""
        self._open[name].flush()
        return mapped(self.folder / name, np.dtype(self._files[name]["dtype"]))

    def finish(self) -> dict[str, Any]:
        """Close all files and write the manifest."""
        self.close()
        for name, about in self._files.items():
            about["sha256"] = self._hashes[name].hexdigest()
        manifest = {"format": FORMAT, "key": self.name, "notes": self.notes, "files": self._files}
        text = json.dumps(manifest)
        check = hashlib.sha256(text.encode()).hexdigest()
        (self.folder / MANIFEST).write_text(f"{check}\n{text}", encoding="utf-8")
        return manifest

    def close(self) -> None:
        """Close all files."""
        for file in self._open.values():
            file.close()


def mapped(path: Path, dtype: np.dtype[Any]) -> Array:
    """A file of numbers as a read-only array.

    Bytes are text, read from front to back; numbers are read a few here and a few there, so their pages are not read
    ahead: of a file larger than memory that would be most of the work.
    """
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return np.zeros(0, dtype)
        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if dtype != np.uint8 and hasattr(mmap, "MADV_RANDOM"):
        whole.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(whole, dtype)


class Cache:
    """Entries in one private folder, the least recently used deleted first where they take more than ``limit`` bytes.

    An entry appears whole, by a rename, or not at all, so any number of processes can share the folder. It is used
    only if its key, sizes and SHA-256 hashes are right and nobody else can write to it; any other is deleted and made
    again. There is no pickle in it: numbers, and one JSON manifest. With ``limit`` 0 nothing is kept or found, and the
    folder serves as working space.
    """

    def __init__(self, folder: Path | None = None, limit: int | None = None) -> None:
        self.folder = (folder or default_folder()).absolute()
        self.limit = size_limit() if limit is None else limit
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_private(self.folder):
            raise PermissionError(f"others can write to the cache folder {self.folder}: chmod 700 it, or --no-cache")
        self._loose: list[Draft] = []
        self._sweep()

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *error: object) -> None:
        for draft in list(self._loose):
            self.discard(draft)

    @classmethod
    @contextlib.contextmanager
    def temporary(cls) -> Iterator[Cache]:
        """Working space that is gone afterwards."""
        with (
            tempfile.TemporaryDirectory(prefix="fenlei-", ignore_cleanup_errors=True) as folder,
            cls(Path(folder), 0) as own,
        ):
            yield own

    @property
    def keeps(self) -> bool:
        """Whether another process can find what this one made."""
        return self.limit > 0

    def find(self, name: str) -> Entry | None:
        """The entry of that key, if it is there and sound."""
        folder = self.folder / name
        if not self.keeps or not _KEY.fullmatch(name) or not folder.is_dir():
            return None
        try:
            entry = Entry(folder, _checked(folder, name))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._drop(folder)
            return None
        with contextlib.suppress(OSError):
            os.utime(folder / MANIFEST)  # its time of last use
        return entry

    def draft(self, name: str) -> Draft:
        """Begin the entry of that key; ``keep`` or ``discard`` ends it."""
        draft = Draft(Path(tempfile.mkdtemp(prefix="unfinished-", dir=self.folder)), name)
        self._loose.append(draft)  # so that it goes with this process, unless it is kept
        return draft

    def keep(self, draft: Draft) -> Entry:
        """Finish an entry. It counts from now on; where another process was faster, either will do.

        One that is larger than the limit serves this process alone.
        """
        entry = Entry(draft.folder, draft.finish())
        size = _size(draft.folder)
        if self.keeps and size <= self.limit:
            target = self.folder / draft.name
            try:
                draft.folder.rename(target)
            except OSError:  # it is there: an entry that another process finished in the meantime
                return entry
            self._loose.remove(draft)
            self._evict(keep=target)
        return entry

    def discard(self, draft: Draft) -> None:
        """Give an entry up."""
        draft.close()
        with contextlib.suppress(ValueError):
            self._loose.remove(draft)
        shutil.rmtree(draft.folder, ignore_errors=True)

    def _entries(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if _KEY.fullmatch(path.name)]

    def _evict(self, keep: Path) -> None:
        """Delete the least recently used entries until the rest fits."""
        sizes = {path: _size(path) for path in self._entries()}
        total = sum(sizes.values())
        for path in sorted(sizes, key=_last_use):
            if total <= self.limit:
                return
            if path != keep:
                self._drop(path)
                total -= sizes[path]

    def _drop(self, folder: Path) -> None:
        """Delete an entry so that no other process finds half of it."""
        aside = Path(tempfile.mkdtemp(prefix="unfinished-", dir=self.folder))
        with contextlib.suppress(OSError):
            folder.rename(aside / "dropped")
        shutil.rmtree(aside, ignore_errors=True)

    def _sweep(self) -> None:
        """Delete what processes left that ended in the midst of an entry."""
        for path in self.folder.glob("unfinished-*"):
            with contextlib.suppress(OSError):
                if time.time() - max(each.stat().st_mtime for each in [path, *path.iterdir()]) > ABANDONED:
                    shutil.rmtree(path, ignore_errors=True)


def _checked(folder: Path, name: str) -> dict[str, Any]:
    """The manifest of an entry that is what it says; ValueError or OSError for any other."""
    if not _is_private(folder):
        raise ValueError("others can write to it")
    check, _, text = (folder / MANIFEST).read_text(encoding="utf-8").partition("\n")
    if hashlib.sha256(text.encode()).hexdigest() != check:
        raise ValueError("the manifest is damaged")
    manifest: dict[str, Any] = json.loads(text)
    if manifest["format"] != FORMAT or manifest["key"] != name:
        raise ValueError("it is another entry")
    if {path.name for path in folder.iterdir()} != {MANIFEST, *manifest["files"]}:
        raise ValueError("files are missing or too many")
    for file, about in manifest["files"].items():
        kind = np.dtype(about["dtype"])
        if kind.kind not in KINDS or about["bytes"] % kind.itemsize:
            raise ValueError(f"{file} is no array of numbers")
        with (folder / file).open("rb") as stream:
            if os.fstat(stream.fileno()).st_size != about["bytes"]:
                raise ValueError(f"{file} has another size")
            if hashlib.file_digest(stream, "sha256").hexdigest() != about["sha256"]:
                raise ValueError(f"{file} is damaged")
    return manifest


def _is_private(folder: Path) -> bool:
    """Whether nobody but this user, and root, can write there. No link is followed."""
    about = folder.lstat()
    if not hasattr(os, "getuid"):
        return True
    return folder.is_dir() and not folder.is_symlink() and about.st_uid == os.getuid() and not about.st_mode & 0o022


def _size(folder: Path) -> int:
    with contextlib.suppress(OSError):  # another process has just deleted it
        return sum(path.stat().st_size for path in folder.iterdir())
    return 0


def _last_use(folder: Path) -> float:
    with contextlib.suppress(OSError):
        return (folder / MANIFEST).stat().st_mtime
    return 0.0
