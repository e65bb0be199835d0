"""The queue: what is answered together, in which order, within which bounds, and what becomes of those who left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenlei.serve.batching import Batcher, pieces
from fenlei.serve.metrics import Metrics
from fenlei.serve.replies import Refusal
from fenlei.serve.settings import Limits

T = TypeVar("T")


class Model:
    """Answers with the number that a text is; waits for ``gate``, and remembers its batches."""

    labels = ("a", "b")

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.batches: list[list[str]] = []

    def look(self, text: str) -> dict[str, np.ndarray]:
        return {}

    def predict_proba(self, texts: Iterable[str]) -> np.ndarray:
        self.gate.wait(10)
        self.batches.append(list(texts))
        return np.array([[float(text.strip() or 0), 0] for text in self.batches[-1]], np.float32)


def within(work: Callable[[Batcher], Awaitable[T]], **limits: Any) -> T:
    async def run() -> T:
        batcher = Batcher(Limits(**({"wait_seconds": 0.0} | limits)), Metrics())
        batcher.start()
        try:
            return await asyncio.wait_for(asyncio.ensure_future(work(batcher)), 20)
        finally:
            await batcher.stop()
            assert (batcher.texts, batcher.characters, batcher.explaining) == (0, 0, 0)

    return asyncio.run(run())


def numbers(rows: np.ndarray) -> list[int]:
    return rows[:, 0].astype(int).tolist()


async def ask(batcher: Batcher, model: Any, texts: Iterable[object]) -> list[int]:
    return numbers(await batcher.probabilities(model, [str(text) for text in texts]))


async def settle() -> None:
    """Let everything that can run now do so."""
    for _ in range(5):
        await asyncio.sleep(0.001)


@given(st.lists(st.text(max_size=9), max_size=30), st.integers(1, 7), st.integers(1, 20))
def test_pieces_are_the_texts_in_order(texts: list[str], batch: int, characters: int) -> None:
    found = list(pieces(texts, Limits(batch=batch, batch_characters=characters)))
    assert [text for piece in found for text in piece] == texts
    for piece in found:
        assert 1 <= len(piece) <= batch
        assert len(piece) == 1 or sum(map(len, piece)) <= characters


def test_requests_that_wait_are_answered_together() -> None:
    model = Model()

    async def work(batcher: Batcher) -> list[list[int]]:
        model.gate.clear()
        first = asyncio.ensure_future(ask(batcher, model, [0]))
        await settle()
        others = [asyncio.ensure_future(ask(batcher, model, [number, -number])) for number in range(1, 5)]
        await settle()
        model.gate.set()
        return await asyncio.gather(first, *others)

    assert within(work) == [[0], [1, -1], [2, -2], [3, -3], [4, -4]]
    assert model.batches == [["0"], ["1", "-1", "2", "-2", "3", "-3", "4", "-4"]]


def test_a_short_request_does_not_wait_for_the_whole_of_a_long_one() -> None:
    model = Model()

    async def work(batcher: Batcher) -> None:
        model.gate.clear()
        long = asyncio.ensure_future(ask(batcher, model, range(100)))
        await settle()
        short = asyncio.ensure_future(ask(batcher, model, [7]))
        await settle()
        model.gate.set()
        assert await short == [7]
        assert len(model.batches) <= 3
        assert await long == list(range(100))

    within(work, batch=4)
    assert max(map(len, model.batches)) <= 4


def test_a_batch_is_for_one_model() -> None:
    one, other = Model(), Model()

    async def work(batcher: Batcher) -> list[list[int]]:
        one.gate.clear()
        tasks = [asyncio.ensure_future(ask(batcher, (one, other)[number % 2], [number])) for number in range(8)]
        await settle()
        one.gate.set()
        return await asyncio.gather(*tasks)

    assert within(work) == [[number] for number in range(8)]
    assert sorted(text for batch in one.batches for text in batch) == ["0", "2", "4", "6"]
    assert len(one.batches) + len(other.batches) <= 4


def test_who_has_gone_is_left_out() -> None:
    model = Model()

    async def work(batcher: Batcher) -> None:
        model.gate.clear()
        first = asyncio.ensure_future(ask(batcher, model, [1]))
        await settle()
        gone = [asyncio.ensure_future(ask(batcher, model, [9] * 10)) for _ in range(50)]
        last = asyncio.ensure_future(ask(batcher, model, [2]))
        await settle()
        for task in gone:
            task.cancel()
        await asyncio.wait(gone)
        assert batcher.texts == 2
        model.gate.set()
        assert await asyncio.gather(first, last) == [[1], [2]]

    within(work)
    assert model.batches == [["1"], ["2"]]


def test_a_full_queue_refuses_and_recovers() -> None:
    model = Model()

    async def work(batcher: Batcher) -> None:
        model.gate.clear()
        tasks = [asyncio.ensure_future(ask(batcher, model, [1, 2])) for _ in range(5)]
        await settle()
        with pytest.raises(Refusal, match="too many texts wait") as found:
            await ask(batcher, model, [3])
        assert (found.value.status, found.value.headers) == (503, {"retry-after": "1"})
        with pytest.raises(Refusal):
            batcher.check_room()
        model.gate.set()
        await asyncio.gather(*tasks)
        batcher.check_room()
        assert await ask(batcher, model, [3]) == [3]
        assert await ask(batcher, model, range(50)) == list(range(50))  # alone, a large request is let in

    within(work, queued_texts=10)


def test_characters_count_too() -> None:
    model = Model()

    async def work(batcher: Batcher) -> None:
        model.gate.clear()
        task = asyncio.ensure_future(ask(batcher, model, ["0" * 30]))
        await settle()
        with pytest.raises(Refusal):
            await ask(batcher, model, ["0" * 30])
        model.gate.set()
        await task

    within(work, queued_characters=50)


def test_a_text_that_fails_fails_alone() -> None:
    model = Model()

    async def work(batcher: Batcher) -> None:
        model.gate.clear()
        first = asyncio.ensure_future(ask(batcher, model, [0]))
        await settle()
        tasks = [asyncio.ensure_future(ask(batcher, model, [text])) for text in ("1", "no number", "2")]
        await settle()
        model.gate.set()
        found = await asyncio.gather(first, *tasks, return_exceptions=True)
        assert [found[0], found[1], found[3]] == [[0], [1], [2]]
        assert isinstance(found[2], ValueError)

    within(work)


def test_the_end_cancels_what_waits() -> None:
    model = Model()

    async def run() -> None:
        batcher = Batcher(Limits(), Metrics())
        batcher.start()
        model.gate.clear()
        tasks = [asyncio.ensure_future(ask(batcher, model, [number])) for number in range(3)]
        await settle()
        await batcher.stop()
        model.gate.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in found)

    asyncio.run(run())


def test_too_many_explanations_are_refused() -> None:
    async def work(batcher: Batcher) -> None:
        batcher.explaining = 3
        with pytest.raises(Refusal, match="too many texts wait"):
            await batcher.explanations(Model(), ["1", "2"])  # type: ignore[arg-type]
        batcher.explaining = 0
        assert [each.label for each in await batcher.explanations(Model(), ["0"])] == ["a"]  # type: ignore[arg-type]

    within(work, queued_explained=4)
