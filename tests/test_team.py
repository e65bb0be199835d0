"""Networks side by side are those of one after the other, whatever becomes of the processes that train them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from test_checkpoint import EACH_STEP, digest, in_child, kill_at, train
from test_learn import Log
from test_workers import is_running

from fenlei import memory, team, training, workers
from fenlei.branch import Plan
from fenlei.checkpoint import ROOT
from fenlei.folds import Data, crossed, fold_numbers, held_out
from fenlei.learn import learn
from fenlei.lessons import Lessons
from fenlei.optimizing import Optimizer
from fenlei.pipeline import Encoded, Ragged
from fenlei.ranks import ALONE, Ranks
from fenlei.recipe import Recipe
from fenlei.team import Team, others
from fenlei.training import Epoch, Examples, Note
from fenlei.workers import read_message, write_message

if TYPE_CHECKING:
    from fenlei.bundle import Bundle
    from fenlei.learn import Labelled

Sets = tuple["Labelled", "Labelled"]
CODES = {"embedding": "shared", "embedding_options": {"assignment": "learned", "ratio": 0.5}}


class Started(list["subprocess.Popen[bytes]"]):
    """The processes that were started, and the team that they work for."""

    team: Team | None = None


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def force(patch: pytest.MonkeyPatch, cores: int = 2) -> Started:
    """Side by side however little there is to train: the others begin before this process takes a second network."""
    started = Started()
    start, begin, take = subprocess.Popen, Team.start, Team.take

    def popen(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        started.append(start(*args, **kwargs))
        return started[-1]

    def noted(self: Team, processes: int) -> None:
        started.team = self
        begin(self, processes)

    def patient(self: Team) -> int | None:
        if started.team is self and len(self._left) < self.several:
            until(
                lambda: (
                    not self._left or self._at_work or self.found or all(each.poll() is not None for each in started)
                )
            )
        return take(self)

    patch.setattr(team, "LEAST", 0)
    patch.setattr(workers, "usable_cores", lambda: cores)
    patch.setattr(workers.subprocess, "Popen", popen)
    patch.setattr(Team, "start", noted)
    patch.setattr(Team, "take", patient)
    return started


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[Started]:
    found = force(monkeypatch)
    yield found
    assert all(process.returncode is not None for process in found)


def alone(train: Labelled, dev: Labelled | None, recipe: Recipe) -> Bundle:
    """Trained one network after the other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(team, "others", lambda *_: 0)
        patch.setattr("fenlei.branches.others", lambda *_: 0)
        return learn(train, dev, recipe, Log())


@pytest.mark.parametrize(
    ("cross", "changes"),
    [(True, {"pretrain_epochs": 1, **CODES}), (False, {"class_weight": "balanced", "wide": True})],
    ids=["crossed, pretrained, codes", "weights"],
)
def test_the_same_bits_side_by_side(
    cross: bool, changes: dict[str, Any], chinese: Sets, tiny: Recipe, started: Started
) -> None:
    recipe = tiny.change(**{"wide": False, "branches": 3, **changes})
    dev, log = None if cross else chinese[1], Log()
    found = learn(chinese[0], dev, recipe, log)
    assert len(started) == 1
    assert "2 networks are trained at a time, each on a core of its own" in log.notes()
    assert {epoch.network for epoch in log.epochs()} == {1, 2, 3}
    assert digest(found) == digest(alone(chinese[0], dev, recipe))


@pytest.mark.parametrize(("branches", "cores", "spare"), [(1, 2, True), (1, 1, False), (2, 2, False)])
def test_a_core_is_to_spare_where_one_network_trains_alone(
    branches: int, cores: int, spare: bool, chinese: Sets, tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []
    monkeypatch.setattr("fenlei.branches.core_to_spare", lambda there: told.append(there) or contextlib.nullcontext())
    force(monkeypatch, cores)
    learn(*chinese, tiny.change(branches=branches, wide=False), Log())
    assert told == [spare]


def test_the_network_of_a_killed_process_is_trained_here(
    chinese: Sets, tiny: Recipe, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Team._begin

    def killing(self: Team) -> int | None:
        number = begin(self)
        started[0].kill()
        return number

    monkeypatch.setattr(Team, "_begin", killing)
    log, recipe = Log(), tiny.change(branches=3, wide=False)
    found = learn(*chinese, recipe, log)
    lost = "network 2: the process that trained it has ended (signal SIGKILL): it begins anew in this one"
    assert lost in log.notes()
    assert digest(found) == digest(alone(*chinese, recipe))


def test_a_process_that_cannot_work_costs_time_only(
    chinese: Sets, tiny: Recipe, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(team, "PROGRAM", "raise SystemExit(3)")
    log, recipe = Log(), tiny.change(branches=2, wide=False)
    assert learn(*chinese, recipe, log).model["branches"] == 2
    assert "a process that was to train beside this one has ended (status 3)" in log.notes()

    def none(*_: object, **__: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(workers.subprocess, "Popen", none)
    learn(*chinese, recipe, log)
    assert "no process could be started to train beside this one: no more processes" in log.notes()


def test_an_error_elsewhere_is_raised_here(
    chinese: Sets, tiny: Recipe, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = Lessons.pack

    def steep(self: Lessons) -> dict[str, Any]:
        arrays = pack(self)
        plan = workers.unpack_json(arrays["plan"])
        plan["recipe"]["learning_rate"] = 1e30
        return arrays | {"plan": workers.pack_json(plan)}

    monkeypatch.setattr(Lessons, "pack", steep)
    with pytest.raises(FloatingPointError, match=r"became \w+: try a smaller learning_rate"):
        learn(*chinese, tiny.change(branches=2, wide=False), Log())


class Stopping(Log):
    """Presses Ctrl-C when a network begins here and another process has finished an epoch of another."""

    def __init__(self, started: Started, sentence: str, other: int) -> None:
        super().__init__()
        self.started, self.sentence, self.other = started, sentence, other

    def __call__(self, event: Any) -> None:
        super().__call__(event)
        if isinstance(event, Note) and event.sentence == self.sentence:
            until(lambda: self.started.team and self.started.team.found.get(self.other))
            raise KeyboardInterrupt


def test_ctrl_c_keeps_the_best_epoch_of_another_process(chinese: Sets, tiny: Recipe, started: Started) -> None:
    log, recipe = Log(), tiny.change(branches=2, epochs=20, patience=None, wide=False, **CODES)

    def stop(event: Any) -> None:
        log(event)
        if isinstance(event, Epoch) and event.network == 2:
            raise KeyboardInterrupt

    bundle = learn(*chinese, recipe, stop)
    assert bundle.model["branches"] == 2
    assert re.search(r"stopped by hand: the best of [\d, ]+ finished epochs (of networks 1, 2 )?is kept", log.notes())
    whole = alone(*chinese, recipe).scores["epochs"]
    for history, full in zip(bundle.scores["epochs"], whole, strict=True):
        told = [epoch["dev_loss"] for epoch in history]
        assert told == [epoch["dev_loss"] for epoch in full][: len(told)]


def test_ctrl_c_keeps_a_later_network_alone_and_judges_it_by_its_own_part(
    chinese: Sets, tiny: Recipe, started: Started
) -> None:
    train, recipe = chinese[0], tiny.change(branches=2, wide=False)
    log = Stopping(started, "network 1 of 2", other=2)
    bundle = learn(train, None, recipe, log)
    own = fold_numbers(train.texts, train.sets, 2, recipe.seed) == 1
    assert bundle.model["branches"] == 1
    assert bundle.scores["dev"]["n"] == own.sum()
    judged = [text for text, mine in zip(train.texts, own, strict=True) if mine]
    assert [text for text, _ in bundle.golden] == judged[: len(bundle.golden)]


def test_ctrl_c_before_any_epoch_goes_on(chinese: Sets, tiny: Recipe, started: Started) -> None:
    def stop(event: Any) -> None:
        if isinstance(event, Note) and event.sentence == "network 1 of 2":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(*chinese, tiny.change(branches=2, wide=False), stop)
    assert started


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_killed_it_goes_on_to_the_same_weights_and_leaves_no_process(
    chinese: Sets, tiny: Recipe, tmp_path: Path
) -> None:
    recipe = tiny.change(branches=3, wide=False)

    def killed() -> None:
        with pytest.MonkeyPatch.context() as patch:
            started = force(patch)
            patch.setattr(training, "TICK", -1.0)
            tell = Team._act

            def act(self: Team, event: Any) -> None:
                tell(self, event)
                (tmp_path / "pids").write_text(" ".join(str(process.pid) for process in started))

            def told(self: training.Trainer, *arguments: Any) -> Epoch:
                until(lambda: started.team and 2 in started.team.found and started.team.found[2].finished)
                return close(self, *arguments)

            close = training.Trainer.close_epoch
            patch.setattr(Team, "_act", act)
            patch.setattr(training.Trainer, "close_epoch", told)
            kill_at(Optimizer, "step", 6)
            train(chinese, recipe, tmp_path, EACH_STEP)

    assert in_child(killed) == -signal.SIGKILL
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert pids
    until(lambda: not any(map(is_running, pids)))
    root = json.loads((tmp_path / "B.checkpoint" / ROOT).read_text())
    assert root["network"] == 1
    assert {"network 2", "best epoch"} <= set(root["fixed"])
    assert digest(train(chinese, recipe, tmp_path, EACH_STEP, resume=True)) == digest(alone(*chinese, recipe))


# --- how many ---


def small(cross: bool = False, labels: int = 0) -> tuple[Plan, Data]:
    """Twelve documents as numbers, in sentences too."""
    rng = np.random.default_rng(0)
    offsets = np.arange(13) * 4
    columns = {name: Ragged(rng.integers(2, 9, 48), offsets) for name in ("ids", "bigrams", "ngrams")}
    encoded = Encoded(columns, 0, Ragged(np.full(24, 2), np.arange(13) * 2))
    targets = rng.integers(0, 2, (12, labels)).astype(np.int8) if labels else rng.integers(0, 2, 12)
    train = Examples(encoded, targets, rng.random(12, np.float32))
    dev = train._replace(weights=None) if cross else train.take(np.arange(5))
    numbers = np.arange(12) % 3
    parts = crossed(train, dev, numbers) if cross else held_out(train, dev, 3)
    data = Data(["a", "b"], train, dev, parts, 7, numbers=numbers if cross else None)
    recipe = Recipe(model="bilstm", epochs=5, embedding_size=8, views=(("chars", 3),), streams=("bigrams",))
    return Plan(recipe, {"ids": 9, "bigrams": 9}, 2, 7), data


@pytest.mark.parametrize("cross", [True, False])
@pytest.mark.parametrize("labels", [0, 2])
def test_lessons_come_through_a_pipe_as_they_were(cross: bool, labels: int) -> None:
    plan, data = small(cross, labels)
    stream = io.BytesIO()
    write_message(stream, Lessons.of(plan, data).pack())
    stream.seek(0)
    found = Lessons.unpack(read_message(stream) or {})
    assert found.plan.recipe.change(views=plan.recipe.views, streams=plan.recipe.streams) == plan.recipe
    assert found.plan._replace(recipe=plan.recipe) == plan
    for number, part in enumerate(data.parts, 1):
        mine = found.part(number)
        np.testing.assert_array_equal(mine.rows, part.rows)
        for one, other in ((mine.train, part.train), (mine.dev, part.dev)):
            assert one.digest() == other._replace(encoded=other.encoded.only(plan.stream_sizes)).digest()


def test_as_many_as_there_are_cores_and_memory_and_work_for(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, data = small()
    lessons = Lessons.of(plan, data)
    assert team.tokens_read(lessons) == pytest.approx(5 * (48 + 20 / 3))
    steps = plan.recipe.change(steps=10, epochs=None, batch_size=6)
    assert team.tokens_read(Lessons.of(plan._replace(recipe=steps), data)) == pytest.approx(5 * (48 + 20 / 3))
    monkeypatch.setattr(workers, "usable_cores", lambda: 4)
    assert others(lessons, 3, ALONE) == 0  # so little is learned sooner
    monkeypatch.setattr(team, "LEAST", 500)
    assert [others(lessons, networks, ALONE) for networks in (1, 2, 3, 9)] == [0, 0, 2, 3]
    threads = Lessons.of(plan._replace(recipe=plan.recipe.change(threads=2)), data)
    assert others(threads, 9, ALONE) == 1
    assert others(lessons, 9, Ranks(0, 2)) == 0
    assert others(lessons, 9, Ranks(device=torch.device("cuda"))) == 0
    monkeypatch.setattr(memory, "limit", lambda: 9 * team.PROCESS_BYTES)
    assert others(lessons, 9, ALONE) == 2
    monkeypatch.setattr(memory, "limit", lambda: 3 * team.PROCESS_BYTES)
    assert others(lessons, 9, ALONE) == 0


def test_a_process_without_its_caller_ends_quietly() -> None:
    command = [sys.executable, "-c", team.PROGRAM]
    result = subprocess.run(command, input=b"", capture_output=True, timeout=120)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


class Said:
    """A process that has said all that it will say."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = list(messages)

    def receive(self) -> dict[str, Any] | None:
        return self.messages.pop(0) if self.messages else None

    def send(self, message: object) -> None:
        pass

    def status(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("error", "known"),
    [
        (MemoryError(), False),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), False),
        (ValueError("one sentence"), True),
        (KeyError("x"), False),
    ],
    ids=repr,
)
def test_errors_keep_their_sentence_and_short_memory_is_tried_here(
    error: Exception, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(team, "Branch", fail)
    stream, heard = io.BytesIO(), []
    plan, data = small()
    lessons = Lessons.of(plan, data)
    team._train(lessons, 2, stream)
    stream.seek(0)
    crew = Team(lessons, [2], 3, heard.append)
    crew._follow(Said({}, read_message(stream) or {}), {})  # type: ignore[arg-type]
    if isinstance(error, ValueError | KeyError):
        with pytest.raises(
            ValueError if known else RuntimeError, match=r"^one sentence$" if known else "KeyError: 'x'"
        ):
            crew.hear()
        return
    crew.hear()
    lost = "network 2: the process that trained it has ended (out of memory): it begins anew in this one"
    assert heard[-1] == Note(lost)
    assert (crew.take(), crew.take(), crew.wait()) == (2, None, False)


def test_what_is_learned_again_is_not_counted_twice() -> None:
    plan, data = small()
    lessons = Lessons.of(plan, data)
    records = [Epoch(number, 3, 0.5, 0.5, 0.5, 0.5, 1.0, 1.0, best=number != 2).record() for number in (1, 2, 3)]
    told = [
        {"event": workers.pack_json(["Epoch", record])}
        | ({"weight": np.array([record["number"]])} if record["best"] else {})
        for record in records
    ]
    crew = Team(lessons, [1], 3, lambda _: None)
    for said in (told[:2], told):
        crew._follow(Said({}, *map(dict, said)), {})  # type: ignore[arg-type]
        history = crew.found[1].history
        assert [epoch.number for epoch in history] == list(range(1, len(said) + 1))
        assert int(crew.found[1].weights["weight"]) == (1 if len(said) == 2 else 3)
