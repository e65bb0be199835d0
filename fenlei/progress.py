"""What a person who waits sees: notes, a bar within the epoch, a line after it."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TextIO

from tqdm import tqdm

from fenlei.training import Epoch, Note, Report, Step

MANY = 50  # epochs: of so many short ones only those are told that were the best so far


class Progress:
    """Shows what ``learn`` reports; a context manager, so that the bar is gone whatever happens.

    Of networks that train side by side one bar shows all epochs at work, and every line begins with its network.
    """

    def __init__(self, stream: TextIO, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet or not stream.isatty()
        self._bar: tqdm[None] | None = None
        self._title = ""
        self._steps: dict[int, Step] = {}  # the last of each network at work

    def show(self, event: Note | Step | Report | Epoch) -> None:
        """One event."""
        if isinstance(event, Step):
            self._step(event)
            return
        if isinstance(event, Epoch):
            self._steps.pop(event.network, None)
        if not (isinstance(event, Epoch) and self._passed_over(event)):
            self._close()
            print(line(event), file=self._stream, flush=True)

    def _passed_over(self, epoch: Epoch) -> bool:
        """Of many epochs only the best so far are told; that is said once."""
        if epoch.epochs > MANY and epoch.number == 1 and epoch.network <= 1:
            self._close()
            print(f"{epoch.epochs} epochs: those that were the best so far are told", file=self._stream)
        return epoch.epochs > MANY and not epoch.best

    def _step(self, step: Step) -> None:
        if self._quiet:
            return
        self._steps[step.network] = step
        steps = [self._steps[network] for network in sorted(self._steps)]
        if self._bar is None or title(steps) != self._title:
            self._close()
            self._bar, self._title = bar(steps, self._stream), title(steps)
        self._bar.n = sum(each.done for each in steps)
        self._bar.set_postfix_str(standing(steps))

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


def title(steps: Sequence[Step]) -> str:
    """What is at work: "training 3/13"; "network 2: training 3/13"; "networks 2, 3: training 3, 1 of 13"."""
    phases, epochs = {step.phase for step in steps}, max(step.epochs for step in steps)
    phase = phases.pop() if len(phases) == 1 else "epochs"
    if len(steps) == 1:
        name = f"network {steps[0].network}: " if steps[0].network else ""
        return f"{name}{phase} {steps[0].epoch}/{epochs}"
    names, numbers = (
        ", ".join(map(str, each)) for each in zip(*((step.network, step.epoch) for step in steps), strict=True)
    )
    return f"networks {names}: {phase} {numbers} of {epochs}"


def standing(steps: Sequence[Step]) -> str:
    """How the one network at work does, if there is room for it beside the title."""
    if len(steps) > 1:
        return ""
    step = steps[0]
    alone = step.phase == "training" and not step.network
    return f"loss {step.loss:.3f}" + (f", accuracy {step.accuracy:.3f}" if alone else "")


def bar(steps: Sequence[Step], stream: TextIO) -> tqdm[None]:
    """A bar over the documents of one epoch of each network at work, its speed reckoned from ``steps`` on."""
    return tqdm(
        desc=title(steps),
        initial=sum(step.done for step in steps),
        total=sum(step.total for step in steps),
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
    name = f"network {event.network}  " if event.network else ""
    if isinstance(event, Report):
        return f"{name}Step: {event.step:5d}, loss: {event.loss:3.3f}, accuracy: {event.accuracy:3.3f}"
    return name + epoch_line(event)


def epoch_line(epoch: Epoch) -> str:
    """The time is what the rest will take at most. Beside a network's name there is no room for its speed."""
    left = (epoch.epochs - epoch.number) * epoch.seconds
    number = f"{epoch.number:>{len(str(epoch.epochs))}}/{epoch.epochs}"
    speed = "" if epoch.network else f"  {epoch.documents_per_second:,.0f} docs/s"
    return (
        f"epoch {number}  loss {epoch.loss:.3f}  dev {epoch.measure} {epoch.dev_accuracy:.4f}"
        f"{speed}  {clock(left)} left{'  best' if epoch.best else ''}"
    )


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
