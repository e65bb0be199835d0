"""What a training would lose by being killed, on disk: all that ``--resume`` needs to end with the same weights."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fenlei.ranks import ALONE, Ranks

TRIES = 1000  # to hold a folder that others remove meanwhile

FORMAT = 2
ROOT = "checkpoint.json"  # names all other files; what it does not name counts for nothing
LOCK = "lock"
MINUTES = 5.0  # between two checkpoints within an epoch
LEAST = 60.0  # seconds between one and the next at an epoch's end
COST = 50  # the training between two lasts at least so many times as long as the writing: 2 % at most

Tree = Any  # dicts, lists, tuples, tensors, strings, numbers
Say = Callable[[str], None]


class Checkpoint:
    """The folder ``BUNDLE.checkpoint`` and what stands in it. Without a folder nothing is kept.

    A checkpoint is ``now``, the state of what is being trained, and parts that stay as they are: finished networks and
    the best epoch's weights, each written once. The root file is replaced last, in one step, so at any moment the
    folder holds one whole checkpoint. Weights are safetensors, the rest is JSON.

    With ``minutes`` one is written so often, and at the end of every epoch; without, by ``MINUTES``, ``LEAST`` and
    ``COST``. ``processes`` train together. ``say`` hears what could not be written.
    """

    def __init__(self, folder: Path | None = None, minutes: float | None = None, processes: int = 1) -> None:
        self.folder, self.minutes, self.processes = folder, minutes, processes
        self.ranks = ALONE
        self.say: Say = lambda _: None
        self.facts: dict[str, Any] = {}  # what this training is of
        self.network = 1  # which is being trained
        self._fixed: dict[str, Tree] = {}  # parts of the next checkpoint that stay as they are
        self._entries: dict[str, Any] = {}  # those that are written
        self._found: dict[str, Any] | None = None  # the root that is resumed
        self._last, self._cost, self._count = time.monotonic(), 0.0, 0

    # --- resuming ---

    def describe(self) -> str | None:
        """Where the checkpoint in the folder stands, for a person; None where there is none."""
        return _description(self._read())

    def resume(self) -> str | None:
        """Go on from the checkpoint in the folder; returns ``describe()``, or None where there is none.

        ValueError where it is damaged, FileExistsError where another fenlei wrote it.
        """
        self._found = self._read()
        self._entries = dict(self._found["fixed"]) if self._found is not None else {}
        return _description(self._found)

    def join(self, ranks: Ranks) -> None:
        """Let the processes that train together go on from what the leading one found."""
        self.ranks = ranks
        self._found = json.loads(ranks.tell(json.dumps(self._found).encode()))

    def check(self, facts: Mapping[str, Any]) -> None:
        """State what this training is of; FileExistsError where the resumed one is of something else."""
        known = {} if self._found is None else self._found["facts"]
        for name in [name for name in facts if name in known]:
            if (difference := _difference(name, known[name], json.loads(json.dumps(facts[name])))) is not None:
                raise FileExistsError(
                    f"{self.folder} cannot be resumed: {difference}; "
                    "call it as before, or without --resume to begin anew"
                )
        self.facts |= facts

    def take(self, name: str) -> Tree | None:
        """A fixed part of the resumed checkpoint."""
        entry = None if self._found is None else self._found["fixed"].get(name)
        found = self._share(entry)
        if found is not None:
            self._fixed[name] = found
        return found

    @property
    def unfinished(self) -> int | None:
        """The network that was at work when the resumed checkpoint was written."""
        return None if self._found is None else self._found["network"]

    @property
    def phase(self) -> str | None:
        """What the network at work was doing when the resumed checkpoint was written; None for another network."""
        root = self._found
        return root["phase"] if root is not None and root["network"] == self.network else None

    def now(self, phase: str) -> Tree | None:
        """The state that the network at work was left in, if it was in this phase."""
        found = self._share(self._found["now"] if self._found is not None and self.phase == phase else None)
        self._last = time.monotonic()
        return found

    # --- writing ---

    def due(self, epoch_ends: bool = False) -> bool:
        """Whether it is time for the next one."""
        if self.folder is None or self.minutes == 0 or not self.ranks.leads:
            return False
        waited = time.monotonic() - self._last
        if self.minutes is not None:
            return epoch_ends or waited >= 60 * self.minutes
        return waited >= max(LEAST if epoch_ends else 60 * MINUTES, COST * self._cost)

    def fix(self, name: str, part: Tree) -> None:
        """From now on every checkpoint holds this part, which does not change; one of the same name is replaced."""
        self._entries.pop(name, None)
        if self.folder is not None:
            self._fixed[name] = part

    def drop(self, name: str) -> None:
        """A part that is no longer needed."""
        self._fixed.pop(name, None)
        self._entries.pop(name, None)

    def save(self, phase: str, place: str, state: Tree) -> None:
        """Write one. Where that fails it is said, the one before stays, and training can go on."""
        if self.folder is None or not self.ranks.leads:
            return
        began = time.monotonic()
        try:
            self._write(phase, f"network {self.network}, {place}", state)
        except (OSError, SafetensorError) as error:
            self.say(f"no checkpoint could be written ({_reason(error)}): training goes on without a new one")
        finally:
            self._sweep()
        self._last = time.monotonic()
        self._cost = self._last - began

    def remove(self) -> None:
        """The bundle is saved: nothing is left to resume."""
        if self.folder is not None:
            (self.folder / ROOT).unlink(missing_ok=True)
            self._sweep()

    # --- files ---

    def _write(self, phase: str, place: str, state: Tree) -> None:
        assert self.folder is not None
        entries = {name: self._entries.get(name) or self._write_part(part) for name, part in self._fixed.items()}
        root = {
            "format": FORMAT,
            "facts": self.facts,
            "time": time.time(),
            "network": self.network,
            "phase": phase,
            "place": place,
            "now": self._write_part(state),
            "fixed": entries,
        }
        fresh = self.folder / f"{ROOT}.new"
        with fresh.open("w", encoding="utf-8") as stream:
            json.dump(root, stream)
            stream.flush()
            os.fsync(stream.fileno())
        _sync(self.folder)  # the parts' names first
        fresh.replace(self.folder / ROOT)
        self._entries = entries
        _sync(self.folder)

    def _write_part(self, part: Tree) -> dict[str, Any]:
        """One part in a file of its own; returns how to find it again."""
        assert self.folder is not None
        tensors: dict[str, Tensor] = {}
        tree = _take_apart(part, tensors, {})
        self._count += 1
        path = self.folder / f"{time.time_ns()}-{self._count}.safetensors"
        save_file(tensors, path)
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return {"file": path.name, "sha256": digest, "tree": tree}

    def _read(self) -> dict[str, Any] | None:
        """The root file, its format checked."""
        if self.folder is None or not (self.folder / ROOT).exists():
            return None
        try:
            root: dict[str, Any] = json.loads((self.folder / ROOT).read_text(encoding="utf-8"))
            found = root["format"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"{self.folder / ROOT} is damaged: delete {self.folder} and begin anew") from error
        if found != FORMAT:
            raise FileExistsError(f"{self.folder} has format {found}, this fenlei reads {FORMAT}: delete it")
        return root

    def _share(self, entry: Mapping[str, Any] | None) -> Tree | None:
        """The tree of an entry; under torchrun the leading process reads, and tells the others."""
        known: Any = json.loads(self.ranks.tell(json.dumps(entry).encode()))
        if known is None:
            return None
        tensors = self._load(known) if self.ranks.leads else {}
        if self.ranks.count > 1:
            tensors = _tell_tensors(tensors, self.ranks)
        return _put_together(known["tree"], tensors)

    def _load(self, entry: Mapping[str, Any]) -> dict[str, Tensor]:
        assert self.folder is not None
        name = str(entry["file"])
        path = self.folder / name
        if not re.fullmatch(r"[\w-]+\.safetensors", name) or not path.is_file():
            raise ValueError(f"{path} is missing: delete {self.folder} and begin anew")
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != entry["sha256"]:
            raise ValueError(f"{path} is damaged, as its SHA-256 is not the one in {ROOT}: begin anew")
        # Copies of our own: views of a mapped file are aligned otherwise, and kernels may add in another order.
        return {name: tensor.clone() for name, tensor in load_file(path).items()}

    def _sweep(self) -> None:
        """Delete what the root file does not name."""
        assert self.folder is not None
        with contextlib.suppress(OSError, ValueError):
            root = self._read()
            named = {root["now"]["file"], *(part["file"] for part in root["fixed"].values())} if root else set()
            for path in self.folder.glob("*.safetensors*"):
                if path.name not in named:
                    path.unlink(missing_ok=True)
            (self.folder / f"{ROOT}.new").unlink(missing_ok=True)


def folder_of(bundle: str | os.PathLike[str]) -> Path:
    """Where the checkpoint of a training into ``bundle`` lies: beside it."""
    target = Path(os.path.realpath(bundle))
    short = os.fsencode(target.name)[:240].decode(errors="ignore")  # a name of 255 bytes leaves no room for more
    return target.with_name(f"{short}.checkpoint")


@contextlib.contextmanager
def locked(folder: Path) -> Any:
    """Hold the folder for this process alone; it is made, and removed again if nothing is in it at the end.

    BlockingIOError where another process holds it, FileExistsError where something else has its name.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    if _is_foreign(folder):
        raise FileExistsError(f"{folder} is in the way of a checkpoint and was not written by fenlei: rename it")
    stream = _hold(folder)
    try:
        yield
    finally:
        if not (folder / ROOT).exists():
            with contextlib.suppress(OSError):  # what someone else put there stays
                (folder / LOCK).unlink()
                folder.rmdir()
        stream.close()


def _is_foreign(folder: Path) -> bool:
    """Whether there is something under that name that is no folder for checkpoints. It may go while we look."""
    try:
        there = os.listdir(folder)
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        return True
    return bool(there) and not {ROOT, LOCK} & set(there)


def _hold(folder: Path) -> Any:
    """The lock's open file. The system lets go of it when the process ends, however it ends."""
    for tries_left in reversed(range(TRIES)):
        try:
            folder.mkdir(exist_ok=True)
            stream = (folder / LOCK).open("a")
        except (FileNotFoundError, FileExistsError):  # the one before has just removed the folder
            if not tries_left or (folder.exists() and not folder.is_dir()):
                raise
            continue
        try:
            _lock(stream.fileno())
            # The one before may have removed the file between our opening it and our lock.
            if os.path.exists(folder / LOCK) and os.path.samestat(os.stat(folder / LOCK), os.fstat(stream.fileno())):
                return stream
        except BlockingIOError:
            stream.close()
            raise BlockingIOError(
                f"another process trains into this bundle (it holds {folder / LOCK}): wait for it or name another --out"
            ) from None
        except FileNotFoundError:
            pass
        stream.close()
    raise BlockingIOError(f"other processes make and remove {folder} without end: name another --out")


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        return  # its files cannot be replaced while they are open: two processes would stop each other anyway
    import fcntl

    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _sync(folder: Path) -> None:
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _take_apart(tree: Tree, tensors: dict[str, Tensor], seen: dict[Any, str]) -> Any:
    """What JSON can hold of a tree; its tensors go into ``tensors``, one that stands in it twice only once."""
    match tree:
        case Tensor():
            key = (tree.data_ptr(), tree.shape, tree.dtype)
            if key not in seen:
                seen[key] = str(len(tensors))
                tensors[seen[key]] = tree.detach().cpu().contiguous()
            return {"tensor": seen[key]}
        case dict():
            return {"dict": [[key, _take_apart(value, tensors, seen)] for key, value in tree.items()]}
        case list() | tuple():
            return {type(tree).__name__: [_take_apart(each, tensors, seen) for each in tree]}
    return tree


def _put_together(tree: Any, tensors: Mapping[str, Tensor]) -> Tree:
    match tree:
        case {"tensor": str(name)}:
            return tensors[name]
        case {"dict": list(pairs)}:
            return {key: _put_together(value, tensors) for key, value in pairs}
        case {"list": list(parts)}:
            return [_put_together(each, tensors) for each in parts]
        case {"tuple": list(parts)}:
            return tuple(_put_together(each, tensors) for each in parts)
    return tree


def _tell_tensors(tensors: Mapping[str, Tensor], ranks: Ranks) -> dict[str, Tensor]:
    """The leading process's tensors, on all."""
    shapes = {name: [str(tensor.dtype).removeprefix("torch."), list(tensor.shape)] for name, tensor in tensors.items()}
    told = {}
    for name, (kind, shape) in json.loads(ranks.tell(json.dumps(shapes).encode())).items():
        data = tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes() if ranks.leads else None
        message = bytearray(ranks.tell(data))
        dtype = getattr(torch, kind)
        values = torch.frombuffer(message, dtype=dtype) if message else torch.empty(0, dtype=dtype)
        told[name] = values.reshape(shape).clone()
    return told


def _description(root: Mapping[str, Any] | None) -> str | None:
    return None if root is None else f"{root['place']}, {_ago(time.time() - root['time'])} ago"


def _difference(name: str, before: Any, after: Any) -> str | None:
    """What differs, in words: of settings the first one."""
    if before == after:
        return None
    if isinstance(before, dict) and isinstance(after, dict):
        key = next(key for key in [*before, *after] if before.get(key) != after.get(key))
        return f"the {name} {key} was {_shown(before.get(key))} and is {_shown(after.get(key))}"
    if re.fullmatch("[0-9a-f]{64}", str(before)):
        return f"{name} is not what it was"
    return f"{name} was {_shown(before)} and is {_shown(after)}"


def _shown(value: Any) -> str:
    return "not set" if value is None else repr(value)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error).removeprefix("Error while serializing: ").removeprefix("I/O error: ").lower()


def _ago(seconds: float) -> str:
    minutes = round(max(0.0, seconds) / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
