"""A bundle's folder on disk: its fixed set of files, checked against the manifest and replaced in one step."""

import errno
import hashlib
import mmap
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fenlei.bundle.codec import Data, parse_object

FORMAT = 2  # 1: the graph holds all its numbers; 2: it takes those of the weights from them
MANIFEST = "manifest.json"
CARD = "README.md"
LISTED = frozenset(
    {
        "labels.json",
        "vocab.tsv",
        "pipeline.json",
        "pipeline.safetensors",
        "model.json",
        "model.safetensors",
        "model.onnx",
        "recipe.json",
        "scores.json",
        "ledger.json",
        "versions.json",
        "golden.json",
        "decisions.json",
        "evidence.json",
        CARD,
    }
)
REPORT = "report.html"  # the one file that a bundle may be without
NAMES = LISTED | {REPORT, MANIFEST}
MAX_FILE_BYTES = 2**31 - 1  # what one protobuf message, hence one ONNX file, can hold
MAX_MANIFEST_BYTES = 2**16
LARGE = 2**22
PIECE = 2**20  # read and hashed while the processor still has it at hand
ADVICE = "copy the whole bundle again or train it again"

StrPath = str | os.PathLike[str]


def digest(data: Data) -> str:
    """SHA-256 in 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def size(folder: StrPath) -> int:
    """Bytes that a saved bundle's own files take; FileNotFoundError where one is missing."""
    names = NAMES if os.path.lexists(Path(folder) / REPORT) else NAMES - {REPORT}
    return sum(os.lstat(Path(folder) / name).st_size for name in names)


def check_target(folder: StrPath, *, overwrite: bool = True) -> Path:
    """The real path that a save to `folder` would write, so that a long training can ask before it starts.

    Raises FileExistsError where a save would destroy anything but a bundle, or any bundle without `overwrite`, or lie
    within one; NotADirectoryError where a file is in the way, ValueError for no name at all.
    """
    if not os.fspath(folder):
        raise ValueError("the folder of a bundle has no name: name one")
    target = Path(os.path.realpath(folder))
    if bundle := _bundle_around(target):
        raise FileExistsError(f"{folder} lies within the bundle {bundle}: name another folder")
    for above in target.parents:
        if above.exists() and not above.is_dir():
            raise NotADirectoryError(f"{above} is a file, so {folder} cannot be a folder: name another folder")
    if not target.exists():
        return target
    if not target.is_dir():
        raise FileExistsError(f"{folder} is a file, so no bundle can be saved there: name another folder")
    names = set(os.listdir(target))
    strangers = sorted(names - NAMES)
    if strangers or (names and MANIFEST not in names):
        found = repr(strangers[0]) if strangers else f"no {MANIFEST}"
        raise FileExistsError(f"{folder} is not empty and not just a bundle (it has {found}): name another folder")
    if names and not overwrite:
        raise FileExistsError(f"{folder} already holds a bundle: name another folder or allow overwriting")
    return target


def check_outside(path: StrPath) -> None:
    """FileExistsError where a file to be written would lie within a bundle, which then would be one no more."""
    if bundle := _bundle_around(Path(os.path.realpath(path))):
        raise FileExistsError(
            f"{path} lies within the bundle {bundle}, whose files must stay as they are: "
            f"name a file outside of it, such as --out {bundle.with_name(f'{bundle.name}-{Path(path).name}')}"
        )


def _bundle_around(target: Path) -> Path | None:
    """The bundle in which ``target``, a real path, lies or would lie."""
    return next(
        (each for each in target.parents if (each / MANIFEST).exists() and (each / "model.onnx").exists()), None
    )


def read(folder: StrPath) -> dict[str, Data]:
    """The files that the manifest lists, each checked against it and not yet parsed; errors as in `Bundle.load`."""
    path = Path(folder)
    while True:
        manifest = _manifest(path)
        try:
            entries = _entries(path, manifest)
            if not os.path.lexists(path / REPORT):
                entries.pop(REPORT, None)  # taken out of the folder: nothing is answered by it
            return {name: _checked(path / name, entries[name]) for name in sorted(entries)}
        except (ValueError, FileNotFoundError):
            # A save may have put a new bundle here while the old one was being read: then read the new one.
            if _manifest(path) == manifest:
                raise


def write(target: Path, files: Mapping[str, bytes]) -> None:
    """Make `target` a folder of these files; on any exception it is what it was, and nothing is left beside it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = _sibling(target, "new")
    try:
        _write_all(fresh, files)
        _place(fresh, target)
    except OSError as error:
        if error.errno == errno.ENOSPC:  # the system names no file
            needed = f"{sum(map(len, files.values())) / 1e6:,.1f} MB"
            raise OSError(
                f"no space left for {target}, which takes {needed}: free some or name another folder"
            ) from error
        raise
    finally:
        # What stands there now is the unfinished copy or, after the exchange, the bundle that was replaced.
        shutil.rmtree(fresh, ignore_errors=True)


def _manifest(folder: Path) -> bytes:
    path = folder / MANIFEST
    if not folder.exists():
        raise FileNotFoundError(f"there is no bundle at {folder}{_hint(folder)}")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file where a bundle's folder was expected: name the folder")
    if not os.path.lexists(path):
        raise ValueError(f"{folder} is not a bundle, as it has no {MANIFEST}: name a folder that fenlei saved")
    if (length := _plain_size(path)) > MAX_MANIFEST_BYTES:
        raise ValueError(f"{path} has {length} bytes where at most {MAX_MANIFEST_BYTES} were expected: {ADVICE}")
    return path.read_bytes()


def _hint(folder: Path) -> str:
    """Where a kill between two renames has left the old bundle, if it has."""
    target = Path(os.path.realpath(folder))
    prefix = _sibling_prefix(target, "old")
    for name in os.listdir(target.parent) if target.parent.is_dir() else []:
        if name.startswith(prefix):
            return f", but an interrupted save left {target.parent / name}: rename it to {target}"
    return ""


def _entries(folder: Path, manifest: bytes) -> dict[str, Any]:
    """The manifest's entries, one for every name in LISTED, perhaps one for the report, and no other."""
    entries = _current_format(folder, manifest)
    for name in sorted((LISTED ^ entries.keys()) - {REPORT}):
        fault = f"lists the unknown file {name[:80]!r}" if name in entries else f"does not list {name}"
        raise ValueError(f"{folder / MANIFEST} {fault}: {ADVICE}")
    return entries


def _current_format(folder: Path, data: bytes) -> dict[str, Any]:
    try:
        manifest = parse_object({MANIFEST: data}, MANIFEST)
    except ValueError as error:
        raise ValueError(f"{folder} cannot be loaded, as {error}: {ADVICE}") from error
    match manifest:
        case {"format": int(found)} if found > FORMAT:
            newer = f"format {found}, this one reads {FORMAT}"
            raise ValueError(f"{folder} was written by a newer fenlei ({newer}): upgrade fenlei")
        case {"format": int(found), "files": dict(entries)} if found in (1, FORMAT):
            return entries
        case _:
            raise ValueError(f"{folder / MANIFEST} states no format 1 or {FORMAT} with a list of files: {ADVICE}")


def _checked(path: Path, entry: Any) -> Data:
    match entry:
        case {"bytes": int(expected), "sha256": str(wanted)} if expected <= MAX_FILE_BYTES:
            pass
        case _:
            raise ValueError(f"{path.parent / MANIFEST} gives no usable size and SHA-256 of {path.name}: {ADVICE}")
    if (length := _plain_size(path)) != expected:
        raise ValueError(f"{path} has {length} bytes where {MANIFEST} says {expected}: {ADVICE}")
    data, found = _read(path, expected)
    if len(data) != expected or found != wanted:
        raise ValueError(f"{path} is damaged, as its SHA-256 is not the one in {MANIFEST}: {ADVICE}")
    return data


def _read(path: Path, length: int) -> tuple[Data, str]:
    """The first ``length`` bytes of a file, fewer where it has fewer, and their SHA-256."""
    data, seal, end = _room(length), hashlib.sha256(), 0
    with path.open("rb", buffering=0) as stream:
        while count := stream.readinto(data[end : end + PIECE]):
            seal.update(data[end : end + count])
            end += count
    return data[:end], seal.hexdigest()


def _room(length: int) -> memoryview:
    """Memory for so many bytes; much of it at once, as the system would else give it a page at a time.

    Large pages, which numpy asks for, were there sooner on an idle machine and much later on a busy one.
    """
    if sys.platform != "linux" or length < LARGE:
        return memoryview(bytearray(length))
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    return memoryview(mmap.mmap(-1, length, flags))


def _plain_size(path: Path) -> int:
    """Bytes of a plain file; anything else is refused, as a link could lead anywhere and a pipe could block."""
    try:
        info = path.lstat()
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: {ADVICE}") from None
    if not stat.S_ISREG(info.st_mode):
        raise ValueError(f"{path} is a link or another thing that is not a plain file: {ADVICE}")
    return info.st_size


def _sibling_prefix(target: Path, role: str) -> str:
    return f".{target.name[:40]}.{role}-"  # cut, as a name of 255 bytes leaves no room for more


def _sibling(target: Path, role: str) -> Path:
    return target.with_name(_sibling_prefix(target, role) + secrets.token_hex(6))


def _write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir()
    for name, data in files.items():
        with (folder / name).open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    _sync(folder)


def _sync(folder: Path) -> None:
    if sys.platform == "win32":
        return  # it opens no folders, and its file system journals renames by itself
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _place(fresh: Path, target: Path) -> None:
    """Put `fresh` where `target` is, and back again if the parent folder cannot be made to remember it."""
    move = _swap if target.exists() else os.rename
    move(fresh, target)
    try:
        _sync(target.parent)
    except BaseException:
        move(target, fresh)
        raise


def _swap(one: Path, two: Path) -> None:
    """Let two folders change places, in one step if the system has it, else with renames undone on failure."""
    if _exchange(one, two):
        return
    aside = _sibling(two, "old")
    try:
        os.rename(two, aside)
        os.rename(one, two)
        os.rename(aside, one)
    except BaseException:
        if aside.exists() and not two.exists():
            os.rename(aside, two)
        raise


def _exchange(one: Path, two: Path) -> bool:
    if sys.platform != "linux":
        return False
    import ctypes  # only a save needs it

    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of linux/fs.h
    return renameat2 is not None and renameat2(here, os.fsencode(one), here, os.fsencode(two), exchange) == 0
