"""What a person who waits sees: notes, a bar within the epoch, a line after it."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TextIO

from tqdm import tqdm

from fenlei.learn import Note
from fenlei.training import Epoch, Step


class Progress:
    """Shows what ``learn`` reports; a context manager, so that the bar is gone whatever happens."""

    def __init__(self, stream: TextIO, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet or not stream.isatty()
        self._bar: tqdm[None] | None = None
        self._began = time.monotonic()

    def show(self, event: Note | Step | Epoch) -> None:
        """One event."""
        if isinstance(event, Step):
            self._step(event)
        else:
            self._close()
            print(event.sentence if isinstance(event, Note) else line(event), file=self._stream, flush=True)

    def _step(self, step: Step) -> None:
        if self._quiet:
            return
        if self._bar is not None and step.done < self._bar.n:
            self._close()
        if self._bar is None:
            title = f"{step.phase} {step.epoch}/{step.epochs}"
            self._bar = tqdm(
                total=step.total, desc=title, unit=" docs", file=self._stream, leave=False, dynamic_ncols=True
            )
        self._bar.update(step.done - self._bar.n)
        found = f"loss {step.loss:.3f}" + (f", accuracy {step.accuracy:.3f}" if step.phase == "training" else "")
        self._bar.set_postfix_str(found, refresh=False)

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


def line(epoch: Epoch) -> str:
    """One epoch in one line, with the time that the rest will take at most."""
    left = (epoch.epochs - epoch.number) * epoch.seconds
    return (
        f"epoch {epoch.number}/{epoch.epochs}  loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.4f}  "
        f"dev loss {epoch.dev_loss:.4f}  dev accuracy {epoch.dev_accuracy:.4f}{' *' if epoch.best else '  '}  "
        f"{epoch.documents_per_second:,.0f} docs/s  {clock(epoch.seconds)}, {clock(left)} left at most"
    )


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
