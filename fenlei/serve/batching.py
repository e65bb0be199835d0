"""Many requests in one batch: a bounded queue, and one thread in which the model answers what has gathered there."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fenlei.explain import Explanation, explain
from fenlei.runtime import Predictor
from fenlei.serve.metrics import Metrics
from fenlei.serve.replies import Refusal
from fenlei.serve.settings import Limits

Floats = npt.NDArray[np.float32]


@dataclass(eq=False)
class Piece:
    """Texts of one request that are answered at once; ``future`` gets their rows ``(B, C)``."""

    predictor: Predictor
    texts: list[str]
    size: int
    future: asyncio.Future[Floats]


class Batcher:
    """Answers for all requests of one worker.

    A request with many texts is cut into pieces, and the next waits until the one before is answered: so short
    requests are answered between the pieces of a long one. A batch holds pieces for one model only. What nobody waits
    for any more is left out. The queue's bounds count everything that has been let in and is not answered.
    """

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self.limits = limits
        self.metrics = metrics
        self.texts = 0
        self.characters = 0
        self.explaining = 0
        self._waiting: deque[Piece] = deque()
        self._came = asyncio.Event()
        self._turn = asyncio.Lock()
        self._answers = ThreadPoolExecutor(1, "answers")
        self._explains = ThreadPoolExecutor(1, "explains")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to answer; must be called inside the loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End; what still waits is cancelled."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for piece in self._waiting:
            piece.future.cancel()
        self._answers.shutdown(wait=False, cancel_futures=True)
        self._explains.shutdown(wait=False, cancel_futures=True)

    async def probabilities(self, predictor: Predictor, texts: list[str]) -> Floats:
        """``(B, C)``, to the last bit as ``predict_proba`` gives them; ``Refusal`` 503 where too much waits already."""
        characters = sum(map(len, texts))
        self._admit(len(texts), characters)
        try:
            parts = [await self._ask(predictor, part) for part in pieces(texts, self.limits)]
        finally:
            self._release(len(texts), characters)
        return np.concatenate([np.zeros((0, len(predictor.labels)), np.float32), *parts])

    async def explanations(self, predictor: Predictor, texts: list[str]) -> list[Explanation]:
        """One a text, one request after the other, beside the batches; ``Refusal`` 503 where too many wait."""
        if self.explaining + len(texts) > self.limits.queued_explained:
            raise self._overloaded("explanations")
        self.explaining += len(texts)
        loop = asyncio.get_running_loop()
        try:
            async with self._turn:
                return [await loop.run_in_executor(self._explains, explain, predictor, text) for text in texts]
        finally:
            self.explaining -= len(texts)

    def check_room(self) -> None:
        """``Refusal`` 503 where the queue is full: asked before a body is read, so that refusing costs little."""
        if self.texts >= self.limits.queued_texts or self.characters >= self.limits.queued_characters:
            raise self._overloaded("queue")

    def _admit(self, texts: int, characters: int) -> None:
        """One request alone is always let in, however large the other limits let it be."""
        crowded = self.texts + texts > self.limits.queued_texts
        if self.texts and (crowded or self.characters + characters > self.limits.queued_characters):
            raise self._overloaded("queue")
        self.texts += texts
        self.characters += characters
        self.metrics.queue.inc(texts)

    def _release(self, texts: int, characters: int) -> None:
        self.texts -= texts
        self.characters -= characters
        self.metrics.queue.dec(texts)

    def _overloaded(self, reason: str) -> Refusal:
        self.metrics.rejected.labels(reason).inc()
        return Refusal(503, "too many texts wait to be answered: try again in a second", retry_after="1")

    async def _ask(self, predictor: Predictor, texts: list[str]) -> Floats:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(Piece(predictor, texts, sum(map(len, texts)), future))
        self._came.set()
        return await future  # type: ignore[no-any-return]

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._waiting:
                self._came.clear()
                await self._came.wait()
                await asyncio.sleep(self.limits.wait_seconds)
            batch = self._take()
            if not batch:
                continue
            self.metrics.batches.observe(sum(len(piece.texts) for piece in batch))
            try:
                rows = await loop.run_in_executor(self._answers, answer, batch)
            except asyncio.CancelledError:
                for piece in batch:
                    piece.future.cancel()
                raise
            deliver(batch, rows)

    def _take(self) -> list[Piece]:
        """The next pieces for one model, in the order they came; those for other models keep their places."""
        batch: list[Piece] = []
        others: list[Piece] = []
        texts = characters = 0
        while self._waiting:
            piece = self._waiting.popleft()
            if piece.future.done():
                continue
            if batch and piece.predictor is not batch[0].predictor:
                others.append(piece)
                continue
            if batch and (
                texts + len(piece.texts) > self.limits.batch or characters + piece.size > self.limits.batch_characters
            ):
                others.append(piece)
                break
            batch.append(piece)
            texts, characters = texts + len(piece.texts), characters + piece.size
        self._waiting.extendleft(reversed(others))
        return batch


def pieces(texts: list[str], limits: Limits) -> Iterator[list[str]]:
    """The texts in order, as many together as a batch holds."""
    part: list[str] = []
    size = 0
    for text in texts:
        if part and (len(part) == limits.batch or size + len(text) > limits.batch_characters):
            yield part
            part, size = [], 0
        part.append(text)
        size += len(text)
    if part:
        yield part


def answer(batch: list[Piece]) -> list[Floats | Exception]:
    """The rows of every piece; where the batch fails, each piece is tried alone, so that one cannot fail the others."""
    texts = [text for piece in batch for text in piece.texts]
    try:
        rows = batch[0].predictor.predict_proba(texts)
    except Exception as error:  # noqa: BLE001 - whatever it is, it goes to the one request that brought it
        return [error] if len(batch) == 1 else [part for piece in batch for part in answer([piece])]
    ends = np.cumsum([len(piece.texts) for piece in batch])
    return list(np.split(rows, ends[:-1]))


def deliver(batch: list[Piece], rows: list[Floats | Exception]) -> None:
    """To those who still wait."""
    for piece, part in zip(batch, rows, strict=True):
        if piece.future.done():
            continue
        if isinstance(part, Exception):
            piece.future.set_exception(part)
        else:
            piece.future.set_result(part)
