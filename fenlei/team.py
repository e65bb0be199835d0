"""Networks trained side by side: this process and others take their numbers off one queue."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from queue import SimpleQueue
from threading import Lock, Thread
from typing import IO, Any

import numpy as np
import torch

from fenlei import memory, training, workers
from fenlei.auto import passes
from fenlei.branch import Branch, Found, Plan, build_branch
from fenlei.checkpoint import Checkpoint
from fenlei.lessons import Lessons
from fenlei.models import Deep, unallocated
from fenlei.ranks import Ranks
from fenlei.training import Epoch, Note, Report, Step, Watch
from fenlei.windows import Windows
from fenlei.workers import Arrays, Process, pack_json, read_message, unpack_json, write_message

Event = Note | Step | Report | Epoch

PROGRAM = "from fenlei.team import work; work()"
LEAST = 400_000  # tokens that all networks but one read: fewer are read sooner than a process has started
PROCESS_BYTES = 600 << 20  # that a process comes to, its data and its network aside
COPIES = 6  # of a network's weights: with gradients, two moments, the best epoch's, and those on the way
KINDS: dict[str, Any] = {kind.__name__: kind for kind in (Note, Step, Report, Epoch)}
ERRORS = {kind.__name__: kind for kind in (FloatingPointError, ValueError, TypeError, RuntimeError)}
NO_MEMORY = "MemoryError"


class Team:
    """The networks that are left to train, and the processes that train them beside this one; a context manager.

    ``watch`` hears of all of them, in this thread, from which all methods are called; where there are several networks
    it is told which one. ``keep`` hears of each that another process has finished. What the others have sent is in
    ``found``, up to the last finished epoch of each network, whatever ends the block or one of them; they end with it.
    """

    def __init__(self, lessons: Lessons, left: Iterable[int], several: int, watch: Watch) -> None:
        self.lessons, self.several, self._watch = lessons, several, watch
        self.keep: Callable[[int, Found], None] = lambda *_: None
        self.found: dict[int, Found] = {}
        self._left = deque(left)
        self._at_work: set[int] = set()  # of the others
        self._lock = Lock()  # of both
        self._events: SimpleQueue[Event | int | Exception] = SimpleQueue()
        self._others = contextlib.ExitStack()
        self._closed = False

    def start(self, processes: int) -> None:
        """Let others work too. Each begins as soon as it has loaded torch, if anything is left by then."""
        setup = self.lessons.pack()
        try:
            for _ in range(processes):
                process = self._others.enter_context(Process(PROGRAM))
                thread = Thread(target=self._follow, args=(process, setup), daemon=True)
                thread.start()
                self._others.callback(thread.join)
                self._others.callback(process.kill)
        except OSError as error:
            self._watch(Note(f"no process could be started to train beside this one: {error}"))

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *error: object) -> None:
        self._closed = True
        self._others.close()

    # --- this thread ---

    def take(self) -> int | None:
        """The next network for this process, if any is left."""
        with self._lock:
            return self._left.popleft() if self._left else None

    def wait(self) -> bool:
        """Until there is something new of the others' networks; False where none is at work."""
        with self._lock:
            if not self._at_work and not self._left:
                return False
        if not self._left:
            self._act(self._events.get())
        return True

    def hear(self) -> None:
        """What is new of the others' networks."""
        while not self._closed and not self._events.empty():
            self._act(self._events.get())

    def announce(self, number: int) -> None:
        """Say that a network begins."""
        if self.several > 1:
            self._watch(self._beginning(number))

    def say(self, sentence: str) -> None:
        """Something about all of them."""
        self._watch(Note(sentence))

    def watch_of(self, number: int) -> Watch:
        """A watch for the network that this process trains."""

        def watch(event: Event) -> None:
            self.hear()
            self._watch(self._named(event, number))

        return watch

    def _beginning(self, number: int) -> Note:
        recipe = self.lessons.plan.recipe
        kind = f", {recipe.of_network(number).model}" if recipe.usual("beside") else ""
        return Note(f"network {number} of {self.several}{kind}")

    def _act(self, event: Event | int | Exception) -> None:
        match event:
            case int():
                self.keep(event, self.found[event])
            case Exception():
                raise event
            case _:
                self._watch(event)

    def _named(self, event: Event, number: int) -> Event:
        """The event, saying which network it is of."""
        if self.several == 1:
            return event
        match event:
            case Note():
                return Note(f"network {number}: {event.sentence}")
            case Epoch():
                return replace(event, network=number)
        return event._replace(network=number)

    # --- a thread for each of the others ---

    def _follow(self, process: Process, setup: Arrays) -> None:
        """Give one process a network after the other, and hear what becomes of each."""
        number = None
        try:
            process.send(setup)
            if process.receive() is None:
                raise EOFError(_reason(process))
            while (number := self._begin()) is not None:
                process.send({"number": np.array(number)})
                while not self._hear(process, number):
                    pass
                self._end(number, number)
        except (EOFError, MemoryError) as error:
            self._give_up(number, str(error))
        except Exception as error:  # noqa: BLE001 - raised again where it is seen
            self._end(number, error)

    def _begin(self) -> int | None:
        with self._lock:
            if self._closed or not self._left:
                return None
            number = self._left.popleft()
            self._at_work.add(number)
        self._events.put(self._beginning(number))
        return number

    def _hear(self, process: Process, number: int) -> bool:
        """One message about the network at work; whether it is finished."""
        message = process.receive()
        if message is None:
            raise EOFError(_reason(process))
        name, content = unpack_json(message.pop("event"))
        weights = {key: torch.from_numpy(array) for key, array in message.items()}
        before = self.found.get(number) or Found({}, [], finished=False)
        if name == "finished":
            self.found[number] = Found(weights or before.weights, before.history, finished=True)
            return True
        if name not in KINDS:
            raise MemoryError("out of memory") if name == NO_MEMORY else ERRORS[name](content)
        event = KINDS[name](**content)
        if isinstance(event, Epoch) and event.number > len(before.history):  # less where it has begun anew
            self.found[number] = Found(weights or before.weights, [*before.history, event], finished=False)
        self._events.put(self._named(event, number))
        return False

    def _give_up(self, number: int | None, reason: str) -> None:
        """A process has ended before its time: this one trains the network in its place."""
        if self._closed:
            return
        if number is None:
            self._events.put(Note(f"a process that was to train beside this one has ended ({reason})"))
            return
        with self._lock:
            self._left.appendleft(number)
        lost = f"the process that trained it has ended ({reason}): it begins anew in this one"
        self._end(number, self._named(Note(lost), number))

    def _end(self, number: int | None, event: Event | int | Exception) -> None:
        with self._lock:
            self._at_work -= {number}
        self._events.put(event)


def _reason(process: Process) -> str:
    status = process.status()
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"


def others(lessons: Lessons, networks: int, ranks: Ranks) -> int:
    """How many processes are worth starting beside this one: a core each, and together a quarter of the memory."""
    recipe = lessons.plan.recipe
    if networks < 2 or ranks.count > 1 or ranks.device.type != "cpu" or not sys.executable:
        return 0
    if tokens_read(lessons) * (networks - 1) < LEAST:
        return 0
    cores = workers.usable_cores() // recipe.threads
    room = memory.limit() // 4 // bytes_of(lessons)
    return max(0, min(networks, cores, room + 1) - 1)


def tokens_read(lessons: Lessons) -> float:
    """About how many tokens one network learns from in all its epochs; to judge one costs a third of that."""
    recipe, documents = lessons.plan.recipe, lessons.train.encoded
    tokens, judged = int(Windows(documents, recipe).sizes.sum()), int(lessons.dev.encoded.columns["ids"].offsets[-1])
    epochs = passes(len(documents), recipe.epochs or (math.inf if recipe.steps else 1), recipe)
    guessing: int = recipe.usual("pretrain_epochs")
    return tokens * (epochs + guessing) + judged * math.ceil(epochs) / 3


def bytes_of(lessons: Lessons) -> int:
    """What a process comes to."""
    data = sum(array.nbytes for array in lessons.pack().values())
    return PROCESS_BYTES + (1 if lessons.numbers is None else 2) * data + COPIES * size_of(lessons.plan)


def size_of(plan: Plan) -> int:
    """Bytes of a network's weights, of several kinds the largest's."""
    with unallocated():
        networks: list[Deep] = [build_branch(each, plan.stream_sizes, plan.classes) for each in plan.recipe.kinds]
    return max(int(sum(value.nbytes for value in network.state_dict().values())) for network in networks)


# --- the others ---


def work() -> None:
    """The life of a process beside: what is to be learned first, then a network for each number, told as it goes on."""
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library may print is no message
    setup = read_message(source)
    if setup is None:
        return
    lessons = Lessons.unpack(setup)
    numbers: SimpleQueue[int] = SimpleQueue()
    Thread(target=_listen, args=(source, numbers), daemon=True).start()
    with training.deterministic(lessons.plan.recipe):
        _say(sink, "ready", None)
        while True:
            _train(lessons, numbers.get(), sink)


def _listen(source: IO[bytes], numbers: SimpleQueue[int]) -> None:
    """Pass numbers on; end the process as soon as nobody is there to give another, in the midst of a network too."""
    while (message := read_message(source)) is not None:
        numbers.put(int(message["number"]))
    os._exit(0)


def _train(lessons: Lessons, number: int, sink: IO[bytes]) -> None:
    """One network, or the sentence why not."""
    try:
        branch = Branch(lessons.plan, number, lessons.part(number))

        def watch(event: Event) -> None:
            best = isinstance(event, Epoch) and event.best
            content = event.record() if isinstance(event, Epoch) else event._asdict()
            _say(sink, type(event).__name__, content, branch.network if best else None)

        branch.train(watch, Checkpoint())
        _say(sink, "finished", None, branch.network if branch.recipe.learns_codes else None)
    except Exception as error:  # noqa: BLE001 - raised again where it is seen
        short = isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)
        kind = type(error).__name__
        known = kind in ERRORS
        _say(
            sink, NO_MEMORY if short else kind if known else "RuntimeError", str(error) if known else f"{kind}: {error}"
        )


def _say(sink: IO[bytes], name: str, content: Any, network: Deep | None = None) -> None:
    """One message: what happened, and a network's weights if they are to be kept."""
    weights = {} if network is None else {key: value.numpy() for key, value in network.state_dict().items()}
    try:
        write_message(sink, {"event": pack_json([name, content])} | weights)
    except BrokenPipeError:
        os._exit(0)  # nobody is left to read
