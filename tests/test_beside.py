from __future__ import annotations

import threading
from concurrent.futures import CancelledError

import pytest

from fenlei.beside import Beside, Check


def test_it_returns_what_the_work_returned_from_another_thread() -> None:
    with Beside(lambda check: threading.get_ident()) as work:
        assert work.result() != threading.get_ident()
        assert work.done()


def test_an_error_of_the_work_is_raised_where_its_result_is_asked_for() -> None:
    with Beside(lambda check: 1 / 0) as work, pytest.raises(ZeroDivisionError):
        work.result()


def test_work_goes_on_beside_the_block() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait(check: Check) -> str:
        begun.set()
        go_on.wait(10)
        check()
        return "ended"

    with Beside(wait) as work:
        assert begun.wait(10)
        assert not work.done()
        go_on.set()
        assert work.result() == "ended"


def test_when_the_block_breaks_off_the_work_is_stopped_and_no_thread_is_left() -> None:
    before = threading.active_count()
    begun = threading.Event()
    ended: list[str] = []

    def forever(check: Check) -> None:
        begun.set()
        try:
            while True:
                check()
        except CancelledError:
            ended.append("cancelled")
            raise

    def break_off() -> None:
        assert begun.wait(10)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), Beside(forever):
        break_off()
    assert ended == ["cancelled"]
    assert threading.active_count() == before
