"""Several processes train one network: the same steps as one process would make, or a sentence."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from fenlei import ranks
from fenlei.bundle import Bundle
from fenlei.cli import main
from fenlei.optimizing import Optimizer
from fenlei.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from fenlei.learn import Labelled

ROOT = Path(__file__).resolve().parent.parent
SMALL = [
    *("--no-report", "--epochs", "2", "--option", "hidden_size=8"),
    *("--set", "embedding_size=8", "--set", "wide=false", "--set", "batch_size=16"),
]


class Process(NamedTuple):
    """One of several that were forked, and what it says on standard error."""

    id: int
    errors: Path

    def kill(self, sign: int) -> None:
        os.kill(self.id, sign)

    def finish(self) -> tuple[int, str]:
        """Its status, a signal being negative, and its standard error."""
        return os.waitstatus_to_exitcode(os.waitpid(self.id, 0)[1]), self.errors.read_text()


def start(count: int, work: Callable[[], int | None], folder: Path) -> list[Process]:
    """What torchrun does: ``count`` processes with its environment, each doing ``work``. Forked, as torch is here."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    settings = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count)}
    started = []
    for rank in range(count):
        errors = folder / f"stderr-{port}-{rank}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, from Python 3.12 on
            child = os.fork()
        if child == 0:
            os.environ |= settings | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            sys.stderr = errors.open("w", buffering=1)
            status = 70
            try:
                status = work() or 0
            except BaseException as error:  # noqa: BLE001
                sys.stderr.write(f"{type(error).__name__}: {error}\n")
            finally:
                sys.stderr.flush()
                os._exit(status)
        started.append(Process(child, errors))
    return started


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, chinese: tuple[Labelled, Labelled]) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    for name, side in zip(("train", "dev"), chinese, strict=True):
        rows = zip(side.labels, side.texts, strict=True)
        (folder / f"{name}.tsv").write_text("".join(f"{label}\t{text}\n" for label, text in rows), encoding="utf-8")
    return folder


def training(data: Path, out: Path, *arguments: str) -> Callable[[], int]:
    files = ["train", data / "train.tsv", "--dev", data / "dev.tsv", "--out", out]
    return lambda: main([*map(str, files), *SMALL, "--checkpoint-minutes", "1e-9", *arguments])


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_alone_nothing_is_changed() -> None:
    rows = np.arange(5)
    assert ALONE.leads
    assert ALONE.share(rows).tolist() == rows.tolist()
    values = torch.ones(2, 3)
    assert ALONE.gather(values)[0] is values
    assert (ALONE.tell(b"x"), ALONE.agree(True), ALONE.agree(False)) == (b"x", True, False)
    with ranks.join(torch.device("cpu"), 1) as alone:
        assert (alone.rank, alone.count) == (0, 1)


def test_a_batch_is_dealt_out() -> None:
    rows = np.arange(7)
    shares = [Ranks(rank, 3).share(rows).tolist() for rank in range(3)]
    assert shares == [[0, 3, 6], [1, 4], [2, 5]]


def test_weights_begin_alike_on_every_process() -> None:
    found = []
    for rank in range(2):
        with Ranks(rank, 2).apart(5):
            before = torch.get_rng_state()
            with Ranks(rank, 2).alike(5):
                found.append(torch.rand(4).tolist())
            assert torch.equal(torch.get_rng_state(), before)
            found.append(torch.rand(4).tolist())
    assert found[0] == found[2]
    assert found[1] != found[3]


def test_without_torchrun_a_world_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with (
        pytest.raises(ValueError, match="RANK is not set: start the processes with torchrun"),
        ranks.join(ranks.CPU, 2),
    ):
        pass


def exchange(out: Path) -> None:
    """Sums and gathers of this process, as JSON into a file."""
    with ranks.join(ranks.CPU, ranks.count_of()) as group:
        me = group.rank
        one, two, three = (nn.Parameter(torch.zeros(2, 3)) for _ in range(3))
        one.grad = torch.full((2, 3), me + 1.0)
        if me == 1:
            two.grad = torch.ones(2, 3)
        rows = (torch.tensor([me, 2**40]), torch.tensor([[1.0 + me, 0.5], [2.0, 3.0]]))
        tables = [rows if me != 2 else None, None, rows if me == 0 else None]
        totals, found = group.add_up([one, two, three], tables, [2, 2, 2], [1.0, float(me)])
        told = group.tell(b"hello" if group.leads else None).decode()
        parts = [part.tolist() for part in group.gather(torch.arange(me)[:, None])]
        with group.apart(5):
            inside = torch.rand(1).item()
        after = torch.rand(1).item()
        grads = [None if p.grad is None else p.grad.tolist() for p in (one, two, three)]
        lists = [None if each is None else [part.tolist() for part in each] for each in found]
        result = [totals, grads, lists, told, parts, group.agree(me == 0), after, inside]
        (out / f"result-{me}").write_text(json.dumps(result))


def test_three_processes_exchange_what_they_have(tmp_path: Path) -> None:
    for process in start(3, lambda: exchange(tmp_path), tmp_path):
        assert process.finish() == (0, "")
    results = [json.loads((tmp_path / f"result-{rank}").read_text()) for rank in range(3)]
    totals, grads, (first, second, third), told, parts, agreed, *_ = results[0]
    assert totals == [3.0, 3.0]
    assert grads == [[[6.0] * 3] * 2, [[1.0] * 3] * 2, None]
    assert first == [[0, 2**40, 1, 2**40], [[1.0, 0.5], [2.0, 3.0], [2.0, 0.5], [2.0, 3.0]]]
    assert second is None
    assert third == [[0, 2**40], [[1.0, 0.5], [2.0, 3.0]]]
    assert (told, parts, agreed) == ("hello", [[], [[0]], [[0], [1]]], True)
    assert results[1][:-1] == results[0][:-1] == results[2][:-1]
    assert len({result[-1] for result in results}) == 3  # random numbers of their own, then the same again


def test_two_processes_make_one_bundle_and_go_on_after_a_kill(data: Path, tmp_path: Path) -> None:
    (status, errors), (other_status, other_errors) = (
        each.finish() for each in start(2, training(data, tmp_path / "A"), data)
    )
    assert (status, other_status) == (0, 0), errors + other_errors
    assert "epoch 2/2" in errors
    assert other_errors == ""
    assert os.listdir(tmp_path) == ["A"]

    killed = start(2, training(data, tmp_path / "B"), data)
    root = tmp_path / "B.checkpoint" / "checkpoint.json"
    wait_for(root.exists)
    killed[1].kill(signal.SIGKILL)
    began = time.monotonic()
    status, errors = killed[0].finish()
    assert time.monotonic() - began < 30
    assert status == 1
    assert "fenlei: another process of this training has ended or is out of reach" in errors.splitlines()[-1]
    assert killed[1].finish()[0] == -signal.SIGKILL

    for process in start(2, training(data, tmp_path / "B", "--resume"), data):
        status, errors = process.finish()
        assert status == 0, errors
    assert weights(tmp_path / "A") == weights(tmp_path / "B")


@pytest.mark.slow
def test_ctrl_c_ends_both_with_the_best_epoch(data: Path, tmp_path: Path) -> None:
    processes = start(2, training(data, tmp_path / "A", "--epochs", "500", "--set", "patience=null"), data)
    root = tmp_path / "A.checkpoint" / "checkpoint.json"
    wait_for(lambda: root.exists() and "epoch 2" in root.read_text())
    for process in processes:
        process.kill(signal.SIGINT)
    (status, errors), (other_status, other_errors) = (process.finish() for process in processes)
    assert (status, other_status) == (0, 0), errors + other_errors
    assert "stopped by hand: the best of" in errors
    Bundle.load(tmp_path / "A")


@pytest.mark.slow
@pytest.mark.parametrize("to_all", [True, False], ids=["as a terminal sends it", "to torchrun alone"])
def test_ctrl_c_under_torchrun_leaves_the_best_epoch_or_nothing(data: Path, tmp_path: Path, to_all: bool) -> None:
    often = "--checkpoint-minutes", "0.001"  # a training of a minute writes none of itself
    call = torchrun(data, tmp_path / "A", "--epochs", "500", "--set", "patience=null", *often)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(call, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True) as process:
        try:
            root = tmp_path / "A.checkpoint" / "checkpoint.json"
            wait_for(lambda: root.exists() and re.search(r"epoch ([2-9]|\d\d)", root.read_text()) is not None)
            workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            assert len(workers) >= 2
            (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)
            _, errors = process.communicate(timeout=90)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), 30)
    assert "stopped by hand: the best of" in errors
    Bundle.load(tmp_path / "A")
    assert {each.name for each in tmp_path.iterdir()} <= {"A", "A.checkpoint.lock", data.name}


@pytest.mark.slow
@pytest.mark.parametrize("changes", [["--set", "branches=2", "--set", "pretrain_epochs=1"], ["--model", "han"]])
def test_two_processes_resume_everything(data: Path, tmp_path: Path, changes: list[str]) -> None:
    for process in start(2, training(data, tmp_path / "A", *changes), data):
        status, errors = process.finish()
        assert status == 0, errors
    root = tmp_path / "B.checkpoint" / "checkpoint.json"
    for wait in (0.2, 0.5):
        killed = start(2, training(data, tmp_path / "B", *changes, "--resume"), data)
        wait_for(root.exists)
        time.sleep(wait)
        for process in killed:
            process.kill(signal.SIGKILL)
            process.finish()
    for process in start(2, training(data, tmp_path / "B", *changes, "--resume"), data):
        status, errors = process.finish()
        assert status == 0, errors
    assert weights(tmp_path / "A") == weights(tmp_path / "B")


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 14])
def test_two_processes_killed_while_they_read_go_on_to_the_same_weights(data: Path, tmp_path: Path, steps: int) -> None:
    changes = ["--set", "branches=2", "--set", "pretrain_epochs=1"]

    def killed() -> int:
        left, real = iter(range(steps)), Optimizer.step

        def step(*arguments: Any) -> Any:
            return real(*arguments) if next(left, None) is not None else os.kill(os.getpid(), signal.SIGKILL)

        Optimizer.step = step  # type: ignore[method-assign] - of a process of its own
        return training(data, tmp_path / "B", *changes)()

    for work in (
        training(data, tmp_path / "A", *changes),
        killed,
        training(data, tmp_path / "B", *changes, "--resume"),
    ):
        for process in start(2, work, data):
            assert process.finish()[0] == (-signal.SIGKILL if work is killed else 0)
        if work is killed:
            assert ", reading 1, " in (tmp_path / "B.checkpoint" / "checkpoint.json").read_text()
    assert weights(tmp_path / "A") == weights(tmp_path / "B")


def torchrun(data: Path, out: Path, *more: str) -> list[str]:
    """The command line of two processes that torchrun starts."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    files = ["train", data / "train.tsv", "--dev", data / "dev.tsv", "--out", out]
    return [*launcher, "-m", "fenlei", *map(str, files), *SMALL, *more]


@pytest.mark.slow
def test_torchrun_itself(data: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("龘龘没有标签\n龘龘的文本\n", encoding="utf-8")
    command = torchrun(data, tmp_path / "A", "--unlabelled", str(tmp_path / "texts.txt"))
    result = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert result.returncode == 0, result.stderr
    bundle = Bundle.load(tmp_path / "A")
    assert result.stderr.count("epoch 2/2") == bundle.model["branches"], "one of the two processes speaks"
    assert bundle.ledger["unlabelled"]["used"] == 2


def test_other_data_on_a_machine_is_said(data: Path, tmp_path: Path) -> None:
    class Other(Ranks):
        def tell(self, data: bytes | None) -> bytes:
            return b"what process 0 has"

    with pytest.raises(ValueError, match="process 1 of 2 has other documents than process 0"):
        Other(1, 2).check_equal("documents", "what process 1 has")
