"""Ctrl-C while something is finished: noted once, obeyed the second time, and left to others where they handle it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from fenlei import __main__ as door
from fenlei.interrupts import finishing


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press(times: int = 1) -> None:
    """Ctrl-C, as the system gives it."""
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)


def test_the_first_is_noted_and_the_second_ends_the_work() -> None:
    said: list[str] = []
    with finishing(lambda: said.append("noted")):
        press()
        said.append("finished")
    assert said == ["noted", "finished"]
    with pytest.raises(KeyboardInterrupt), finishing(lambda: said.append("again")):
        press(2)
    assert said[2:] == ["again"]
    with pytest.raises(KeyboardInterrupt):
        press()


def test_what_cannot_be_said_ends_nothing() -> None:
    def within_a_line() -> None:
        raise RuntimeError("reentrant call")

    with finishing(within_a_line):
        press()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_whoever_handles_ctrl_c_goes_on_doing_so() -> None:
    heard: list[int] = []

    def own(number: int, _: FrameType | None) -> None:
        heard.append(number)

    signal.signal(signal.SIGINT, own)
    with finishing(lambda: heard.append(0)):
        press()
        assert signal.getsignal(signal.SIGINT) is own
    assert heard == [signal.SIGINT]


def test_in_another_thread_nothing_changes() -> None:
    found: list[object] = []

    def work(say: Callable[[], None]) -> None:
        with finishing(say):
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work, args=(press,))
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]


def test_ctrl_c_at_the_door_is_one_line_and_at_the_end_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pressed() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("fenlei.cli.main", pressed)
    assert door.main() == 1
    assert capsys.readouterr() == ("", "fenlei: stopped by hand\n")
    monkeypatch.setattr("fenlei.cli.main", lambda: 2)
    assert door.main() == 2
    press(3)  # the process is about to end, and its work is done
