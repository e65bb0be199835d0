"""Chunks of texts worked on by processes of their own: named arrays over pipes, results in order."""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fenlei import memory

Arrays = Mapping[str, npt.NDArray[Any]]
Work = Callable[[list[str]], Arrays]

CHUNK_CHARS = 1 << 18  # of one message: the memory of a worker is a small multiple of what its chunk comes to
CHUNK_TEXTS = 1 << 12
WORKER_BYTES = 160 << 20  # that a worker process comes to at most: its libraries, the dictionary, its chunk
POOL_CHARS = 1 << 20  # fewer characters are done sooner than a worker process starts


class Job(NamedTuple):
    """What is done with each chunk. ``setup`` are the arrays from which ``module.start`` makes the ``work``."""

    module: str
    setup: Arrays
    work: Work


def spread(texts: Iterable[str], job: Job, processes: int | None = None) -> Iterator[Arrays]:
    """What ``job.work`` makes of each chunk of ``texts``, in order: the same arrays however many processes work.

    Up to a million characters are worked on here, more by ``processes`` worker processes (None: one for each usable
    core, fewer where memory is short); then at most one chunk a worker is read ahead. The workers end with the iterator
    and with this process.
    """
    if processes is not None and processes < 1:
        raise ValueError(f"processes is {processes}, expected at least 1, or None for one for each usable core")
    count = processes or min(usable_cores(), affordable())
    runs = chunks(texts)
    first: list[list[str]] = []
    if count > 1 and sys.executable:
        size = 0
        for chunk in runs:
            first.append(chunk)
            size += sum(map(len, chunk))
            if size >= POOL_CHARS:
                return _with_workers(itertools.chain(first, runs), job, count)
    return map(job.work, itertools.chain(first, runs))


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def affordable() -> int:
    """Worker processes that a quarter of the memory holds, at least one."""
    return max(1, memory.limit() // 4 // WORKER_BYTES)


def chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    """Runs of texts, each ended by the text that fills it: the same whoever works on them."""
    chunk: list[str] = []
    size = 0
    for text in texts:
        chunk.append(text)
        size += len(text)
        if size >= CHUNK_CHARS or len(chunk) == CHUNK_TEXTS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _with_workers(runs: Iterator[list[str]], job: Job, count: int) -> Iterator[Arrays]:
    first = list(itertools.islice(runs, count))
    with contextlib.ExitStack() as stack:
        busy = collections.deque(stack.enter_context(Worker(job)) for _ in first)
        for worker, chunk in zip(busy, first, strict=True):
            worker.send(chunk)
        while busy:
            worker = busy.popleft()
            following = next(runs, None)
            result = worker.receive()
            if following:
                worker.send(following)
                busy.append(worker)
            yield result


class Process:
    """The same interpreter once more, running a program of ours: messages go to it and come from it.

    A context manager that ends it.

    Two pipes rather than ``multiprocessing``: the caller's script is not imported again, so it needs no guard, and the
    process ends by itself when its standard input does, however this process ended.
    """

    def __init__(self, program: str) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, with what the program itself says
            [sys.executable, "-P", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(os.path.abspath(folder) for folder in sys.path)},
            start_new_session=True,  # Ctrl-C is for this process, which then ends its workers
        )

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what the process has not read is lost on purpose
                pipe and pipe.close()

    def send(self, message: Arrays) -> None:
        """One message. That nobody is left to read it is found by ``receive``."""
        assert self._process.stdin
        with contextlib.suppress(OSError):
            write_message(self._process.stdin, message)

    def receive(self) -> dict[str, npt.NDArray[Any]] | None:
        """The next message; None where the process has ended."""
        assert self._process.stdout
        return read_message(self._process.stdout)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def status(self) -> int:
        """How it ended, once it has: the exit status, or the signal, negative."""
        return self._process.wait()


class Worker:
    """A process that works on one chunk of texts at a time; a context manager that ends it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.chunk: list[str] = []
        self.process = Process(f"from {job.module} import start; from fenlei.workers import serve; serve(start)")
        self.process.send(job.setup)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.__exit__(*error)

    def send(self, chunk: list[str]) -> None:
        """Give the worker its next texts."""
        self.chunk = chunk
        self.process.send(pack(chunk))

    def receive(self) -> Arrays:
        """What became of the texts sent last; this process works on them where the worker has died."""
        found = self.process.receive()
        return self.job.work(self.chunk) if found is None else found


def serve(start: Callable[[Arrays], Work]) -> None:
    """A worker's life: the setup first, then a chunk of texts a message, answered by a message."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    setup = read_message(source)
    if setup is None:
        return
    work = start(setup)
    while (message := read_message(source)) is not None:
        try:
            write_message(sink, work(unpack(message)))
        except BrokenPipeError:
            os._exit(0)  # nobody is left to read, and an ordinary exit would try to write once more


def write_message(stream: IO[bytes], arrays: Arrays) -> None:
    """Names, types and shapes as one line of JSON, then the arrays' bytes."""
    plain = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    head = {name: [array.dtype.str, list(array.shape)] for name, array in plain.items()}
    stream.write(json.dumps(head).encode() + b"\n")
    for array in plain.values():
        stream.write(array.reshape(-1).view(np.uint8).data)
    stream.flush()


def read_message(stream: IO[bytes]) -> dict[str, npt.NDArray[Any]] | None:
    """The arrays of one message; None where the other side has ended, in the midst of a message too."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        return None
    arrays = {}
    for name, (kind, shape) in json.loads(line).items():
        array = np.empty(shape, np.dtype(kind))
        room = array.reshape(-1).view(np.uint8).data
        if _fill(stream, room) < len(room):
            return None
        arrays[name] = array
    return arrays


def _fill(stream: IO[bytes], room: memoryview) -> int:
    """Bytes read into ``room``: all of it, unless the stream ends."""
    done = 0
    while done < len(room) and (count := stream.readinto(room[done:])):  # type: ignore[attr-defined]
        done += count
    return done


def pack_json(tree: Any) -> npt.NDArray[np.uint8]:
    """What JSON can hold as an array of a message."""
    return np.frombuffer(json.dumps(tree).encode(), np.uint8)


def unpack_json(array: npt.NDArray[Any]) -> Any:
    """What ``pack_json`` was given; tuples have become lists."""
    return json.loads(array.tobytes())


def pack(texts: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """Texts, any string at all, as their bytes and the number of bytes of each."""
    coded = [text.encode("utf-8", "surrogatepass") for text in texts]
    lengths = np.fromiter(map(len, coded), np.int64, len(coded))
    return {"bytes": np.frombuffer(b"".join(coded), np.uint8), "lengths": lengths}


def unpack(arrays: Arrays) -> list[str]:
    """The texts that ``pack`` was given."""
    data, ends = arrays["bytes"].tobytes(), np.cumsum(arrays["lengths"]).tolist()
    return [data[start:end].decode("utf-8", "surrogatepass") for start, end in itertools.pairwise([0, *ends])]
