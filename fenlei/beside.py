"""A computation in a second thread, beside the one that a person watches."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from threading import Event
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")
Check = Callable[[], None]


class Beside(Generic[T]):
    """Runs ``work(check)`` while the block goes on; ``result`` waits for what it returns, and raises what it raised.

    It pays where ``work`` lets go of the interpreter's lock. However the block ends, no thread outlives it: ``check``
    then raises ``CancelledError``, so ``work`` calls it wherever it can stop.
    """

    def __init__(self, work: Callable[[Check], T]) -> None:
        self._stop = Event()
        self._pool = ThreadPoolExecutor(1)
        self._future = self._pool.submit(work, self._check)

    def _check(self) -> None:
        if self._stop.is_set():
            raise CancelledError

    def stop(self) -> None:
        """From now on ``check`` raises: the work ends as soon as it can."""
        self._stop.set()

    def done(self) -> bool:
        """Whether ``result`` need not wait."""
        return self._future.done()

    def result(self) -> T:
        """What ``work`` returned."""
        return self._future.result()

    def __enter__(self) -> Beside[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._pool.shutdown()
