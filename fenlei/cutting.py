"""Many texts cut at once: here, or by worker processes where jieba has much to cut."""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator

from fenlei.text import Tokenizer

POOL_CHARS = 700_000  # about 2 MB of Chinese, cut sooner than a worker process starts
CHUNK_CHARS = 1 << 17


def tokenize(texts: Iterable[str], tokenizer: Tokenizer, processes: int | None = None) -> Iterator[list[str]]:
    """The tokens of each text, in order, read as they are asked for.

    Only jieba on more than about 2 MB is given to ``processes`` worker processes (None: one for each usable core), and
    then at most one chunk of texts a worker is read ahead. The workers end with the iterator and with this process.
    Raises ValueError when ``processes`` is less than 1.
    """
    if processes is not None and processes < 1:
        raise ValueError(f"processes is {processes}, expected at least 1, or None for one for each usable core")
    count = processes or _usable_cores()
    if tokenizer.name != "jieba" or count == 1 or not sys.executable:
        return map(tokenizer, texts)
    return _with_workers(iter(texts), tokenizer, count)


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _with_workers(texts: Iterator[str], tokenizer: Tokenizer, count: int) -> Iterator[list[str]]:
    seen = 0
    for text in texts:
        yield tokenizer(text)
        seen += len(text)
        if seen >= POOL_CHARS:
            break
    chunks = _chunks(texts)
    first = list(itertools.islice(chunks, count))
    with contextlib.ExitStack() as stack:
        busy = collections.deque(stack.enter_context(Worker(tokenizer)) for _ in first)
        for worker, chunk in zip(busy, first, strict=True):
            worker.send(chunk)
        while busy:
            worker = busy.popleft()
            following = next(chunks, None)
            results = worker.receive()
            if following:
                worker.send(following)
                busy.append(worker)
            yield from results


def _chunks(texts: Iterator[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    size = 0
    for text in texts:
        chunk.append(text)
        size += len(text) + 1
        if size >= CHUNK_CHARS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


class Worker:
    """A process that cuts one chunk of texts at a time; a context manager that ends it.

    Its own interpreter on two pipes rather than `multiprocessing`: the caller's script is not imported again, so it
    needs no guard, and the process ends by itself when its standard input does, however this process ended.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.chunk: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from fenlei.cutting import work; work()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(os.path.abspath(folder) for folder in sys.path)},
            start_new_session=True,  # Ctrl-C is for this process, which then ends its workers
        )
        self._write(tokenizer.to_json())

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # what the worker has not read is lost on purpose
                pipe and pipe.close()

    def send(self, chunk: list[str]) -> None:
        """Give the worker its next texts."""
        self.chunk = chunk
        self._write(chunk)

    def receive(self) -> Iterable[list[str]]:
        """The tokens of the texts sent last; this process cuts them where the worker has died."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line.endswith(b"\n"):
            return map(self.tokenizer, self.chunk)
        return map(str.split, json.loads(line))  # tokens hold no whitespace

    def _write(self, message: object) -> None:
        assert self.process.stdin
        with contextlib.suppress(OSError):  # `receive` sees to a dead worker
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()


def work() -> None:
    """A worker's life: the tokenizer's settings on the first line, then a list of texts a line, answered by a line."""
    lines = (line for line in sys.stdin.buffer if line.endswith(b"\n"))  # its caller died in the midst of another one
    for settings in itertools.islice(lines, 1):
        tokenizer = Tokenizer.from_json(json.loads(settings))
    for line in lines:
        answer = [" ".join(tokenizer(text)) for text in json.loads(line)]
        try:
            sys.stdout.buffer.write(json.dumps(answer, ensure_ascii=False).encode() + b"\n")
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            os._exit(0)  # nobody is left to read, and an ordinary exit would try to write once more
