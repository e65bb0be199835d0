"""What a person who waits sees: lines on any stream, a bar only on a terminal and never left behind."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenlei.progress import MANY, Progress, clock, line, title
from fenlei.training import Epoch, Note, Report, Step


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def step(epoch: int, done: int, phase: str = "training") -> Step:
    return Step(epoch, 3, done, 100, loss=0.5, accuracy=0.75, phase=phase)


def epoch(number: int, best: bool = True) -> Epoch:
    return Epoch(number, 30, 0.5, 0.75, 0.6, 0.7125, 61.0, 31_234.0, best)


def last_screen_line(written: str) -> str:
    """What stands on the last line once every carriage return has gone back to its start."""
    return written.rsplit("\n", 1)[-1].rsplit("\r", 1)[-1].strip()


def test_a_file_gets_lines_and_no_bar() -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        for event in (Note("vocabulary: 7 tokens"), step(1, 50), epoch(1), step(2, 50), epoch(2, best=False)):
            progress.show(event)
    assert stream.getvalue().splitlines() == ["vocabulary: 7 tokens", line(epoch(1)), line(epoch(2, best=False))]


def test_a_terminal_gets_a_bar_that_is_gone_at_the_end() -> None:
    stream = Terminal()
    with Progress(stream) as progress:
        progress.show(step(1, 50))
        assert "training 1/3" in stream.getvalue()
        assert "50%" in stream.getvalue()
        assert "loss 0.500, accuracy 0.750" in stream.getvalue()
    assert last_screen_line(stream.getvalue()) == ""


def test_the_bar_is_gone_after_an_error_too() -> None:
    def stop(stream: Terminal) -> None:
        with Progress(stream) as progress:
            progress.show(step(1, 50))
            raise KeyboardInterrupt

    stream = Terminal()
    with pytest.raises(KeyboardInterrupt):
        stop(stream)
    assert last_screen_line(stream.getvalue()) == ""


def test_every_phase_and_epoch_has_its_own_bar() -> None:
    stream = Terminal()
    with Progress(stream) as progress:
        for event in (step(1, 50, "reading"), step(1, 60), step(2, 70)):
            progress.show(event)
    titles = ("reading 1/3", "training 1/3", "training 2/3")
    assert all(title in stream.getvalue() for title in titles)
    reading = stream.getvalue().split("training 1/3")[0]
    assert "accuracy" not in reading


def test_networks_side_by_side_share_a_bar_and_every_line_says_whose_it_is() -> None:
    stream = Terminal()
    one, two = (step(epoch, 50)._replace(network=network) for epoch, network in ((2, 1), (1, 2)))
    with Progress(stream) as progress:
        for event in (one, two, replace(epoch(2), network=1), two._replace(done=60), Report(20, 0.5, 0.75, 2)):
            progress.show(event)
    shown = stream.getvalue()
    assert "network 1: training 2/3  50% |" in shown
    assert "networks 1, 2: training 2, 1 of 3  50% |" in shown
    assert "network 2: training 1/3  60% |" in shown
    assert "\nnetwork 2  Step:    20, loss: 0.500" in shown.replace("\r", "\n")
    whole = "network 1  epoch  2/30  loss 0.500  dev accuracy 0.7125  28:28 left  best"
    assert whole in shown
    assert len(whole) < 80
    assert title([one, two._replace(phase="reading")]) == "networks 1, 2: epochs 2, 1 of 3"


def test_quiet_shows_no_bar_on_a_terminal() -> None:
    stream = Terminal()
    with Progress(stream, quiet=True) as progress:
        progress.show(step(1, 50))
        progress.show(epoch(1))
    assert stream.getvalue() == line(epoch(1)) + "\n"


def test_an_epoch_is_one_line_that_fits_a_narrow_terminal() -> None:
    assert line(epoch(3)) == "epoch  3/30  loss 0.500  dev accuracy 0.7125  31,234 docs/s  27:27 left  best"
    assert line(epoch(30, best=False)).endswith("  0:00 left")
    assert len(line(epoch(3))) < 80


def test_a_report_is_the_familiar_line() -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.show(Report(9980, 0.12345, 0.96))
        progress.show(Report(20, 1.5, 0.25))
    assert stream.getvalue() == "Step:  9980, loss: 0.123, accuracy: 0.960\nStep:    20, loss: 1.500, accuracy: 0.250\n"


def test_of_many_epochs_the_best_are_told() -> None:
    stream = io.StringIO()
    with Progress(stream) as progress:
        for number, best in ((1, True), (2, False), (3, True)):
            progress.show(replace(epoch(number, best), epochs=MANY + 1))
    said, *told = stream.getvalue().splitlines()
    assert said == "51 epochs: those that were the best so far are told"
    assert [text.split()[1] for text in told] == ["1/51", "3/51"]


@given(st.floats(0, 1e6))
def test_clock_keeps_the_whole_seconds(seconds: float) -> None:
    minutes, rest = clock(seconds).split(":")
    assert len(rest) == 2
    assert 60 * int(minutes) + int(rest) == int(seconds)
