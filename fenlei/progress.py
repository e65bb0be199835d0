"""What a person who waits sees: notes, a bar within the epoch, a line after it."""

from __future__ import annotations

from types import TracebackType
from typing import TextIO

from tqdm import tqdm

from fenlei.training import Epoch, Note, Report, Step

MANY = 50  # epochs: of so many short ones only those are told that were the best so far


class Progress:
    """Shows what ``learn`` reports; a context manager, so that the bar is gone whatever happens."""

    def __init__(self, stream: TextIO, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet or not stream.isatty()
        self._bar: tqdm[None] | None = None
        self._title = ""

    def show(self, event: Note | Step | Report | Epoch) -> None:
        """One event."""
        if isinstance(event, Step):
            self._step(event)
        elif not (isinstance(event, Epoch) and self._passed_over(event)):
            self._close()
            print(line(event), file=self._stream, flush=True)

    def _passed_over(self, epoch: Epoch) -> bool:
        """Of many epochs only the best so far are told; that is said once."""
        if epoch.epochs > MANY and epoch.number == 1:
            self._close()
            print(f"{epoch.epochs} epochs: those that were the best so far are told", file=self._stream)
        return epoch.epochs > MANY and not epoch.best

    def _step(self, step: Step) -> None:
        if self._quiet:
            return
        title = f"{step.phase} {step.epoch}/{step.epochs}"
        if self._bar is None or title != self._title:
            self._close()
            self._bar, self._title = bar(step, title, self._stream), title
        found = f"loss {step.loss:.3f}" + (f", accuracy {step.accuracy:.3f}" if step.phase == "training" else "")
        self._bar.n = step.done
        self._bar.set_postfix_str(found)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()


def bar(step: Step, title: str, stream: TextIO) -> tqdm[None]:
    """A bar over the documents of one epoch, its speed reckoned from ``step`` on."""
    return tqdm(
        desc=title,
        initial=step.done,
        total=step.total,
        unit=" docs",
        file=stream,
        leave=False,
        dynamic_ncols=True,
        bar_format="{desc} {percentage:3.0f}% |{bar}| {rate_noinv_fmt}, {remaining} left{postfix}",
    )


def line(event: Note | Report | Epoch) -> str:
    """One event in one line that fits a narrow terminal."""
    if isinstance(event, Note):
        return event.sentence
    if isinstance(event, Report):
        return f"Step: {event.step:5d}, loss: {event.loss:3.3f}, accuracy: {event.accuracy:3.3f}"
    return epoch_line(event)


def epoch_line(epoch: Epoch) -> str:
    """The time is what the rest will take at most."""
    left = (epoch.epochs - epoch.number) * epoch.seconds
    number = f"{epoch.number:>{len(str(epoch.epochs))}}/{epoch.epochs}"
    return (
        f"epoch {number}  loss {epoch.loss:.3f}  dev {epoch.measure} {epoch.dev_accuracy:.4f}  "
        f"{epoch.documents_per_second:,.0f} docs/s  {clock(left)} left{'  best' if epoch.best else ''}"
    )


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
