"""Ctrl-C while something is finished that took long to get: it is heard once before it ends the work."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def finishing(say: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C within the block is answered by ``say``, and the block goes on; the second one ends it.

    In another thread than the main one, and where somebody else handles Ctrl-C, nothing changes.
    """
    usual = signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is not usual:
        yield
        return

    def hear(_: int, __: FrameType | None) -> None:
        signal.signal(signal.SIGINT, usual)
        with contextlib.suppress(RuntimeError):  # a line was being written: this one would stand within it
            say()

    signal.signal(signal.SIGINT, hear)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
