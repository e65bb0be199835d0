"""Killed trainings go on to the very same weights; what cannot be written or resumed is said."""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import shutil
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from fenlei import checkpoint as checkpoints
from fenlei.checkpoint import LOCK, ROOT, Checkpoint, folder_of, locked
from fenlei.learn import learn
from fenlei.models import ENCODERS
from fenlei.optimizing import Optimizer
from fenlei.training import Note

if TYPE_CHECKING:
    from fenlei.bundle import Bundle
    from fenlei.learn import Labelled
    from fenlei.recipe import Recipe

Sets = tuple["Labelled", "Labelled"]
EACH_STEP = 1e-9  # minutes
EVERY_FEW_STEPS = 0.0007


def digest(bundle: Bundle) -> str:
    """SHA-256 of all weights, and of what the epochs came to."""
    found = hashlib.sha256()
    for name, array in sorted(bundle.weights.items()):
        found.update(name.encode() + array.tobytes())
    told = ("number", "loss", "accuracy", "dev_loss", "dev_accuracy", "best")
    epochs = [[[epoch[key] for key in told] for epoch in history] for history in bundle.scores["epochs"]]
    found.update(json.dumps(epochs).encode())
    return found.hexdigest()


def train(sets: Sets, recipe: Recipe, folder: Path | None, minutes: float = EACH_STEP, resume: bool = False) -> Bundle:
    folder = folder if folder is None else folder / "B.checkpoint"
    if folder is not None:
        folder.mkdir(exist_ok=True)
    checkpoint = Checkpoint(folder, minutes)
    if resume:
        checkpoint.resume()
    return learn(*sets, recipe, lambda event: None, checkpoint=checkpoint)


def in_child(work: Callable[[], object]) -> int:
    """The status of a forked process that does it: the signal that ended it, negative, or its exit status."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, from Python 3.12 on
        child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:  # noqa: BLE001
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status)


def kill_at(owner: Any, name: str, number: int) -> None:
    """kill -9 of this process when ``owner.name`` is called for the ``number``-th time, counted from 0."""
    real, calls = getattr(owner, name), []

    def counted(*arguments: Any, **settings: Any) -> Any:
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        calls.append(number)
        return real(*arguments, **settings)

    setattr(owner, name, counted)


def steps_of(sets: Sets, recipe: Recipe) -> tuple[int, str]:
    """How many steps a training makes, and its digest, without checkpoints."""
    made = []
    real = Optimizer.step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Optimizer, "step", lambda *arguments: made.append(1) or real(*arguments))
        bundle = train(sets, recipe, None)
    return len(made), digest(bundle)


def check_kills(sets: Sets, recipe: Recipe, folder: Path, kills: int, minutes: float, seed: int = 7) -> None:
    """kill -9 at random steps of one training, each resumed and killed again later, then let through."""
    steps, expected = steps_of(sets, recipe)
    for step in sorted(random.Random(seed).sample(range(steps), kills)):
        shutil.rmtree(folder / "B.checkpoint", ignore_errors=True)

        def killed(step: int = step) -> None:
            kill_at(Optimizer, "step", step)
            train(sets, recipe, folder, minutes)

        assert in_child(killed) == -signal.SIGKILL
        assert digest(train(sets, recipe, folder, minutes, resume=True)) == expected, f"killed at step {step}"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"branches": 2, "pretrain_epochs": 1, "epochs": 1},
        {
            "embedding": "shared",
            "embedding_options": {"assignment": "learned", "ratio": 0.5},
            "branches": 2,
            "epochs": 1,
        },
        {"steps": 6, "epochs": None, "report_steps": 4, "schedule": "constant"},
        {"schedule": "averaged"},
        {"window": 4, "pretrain_epochs": 1, "epochs": 1},
        {"window": 8, "sentence_length": 4, "model": "han", "epochs": 1},
    ],
    ids=[
        "one network",
        "pretrained networks",
        "learned codes",
        "steps",
        "averaged",
        "runs of texts",
        "runs of sentences",
    ],
)
def test_killed_at_random_steps_it_goes_on_to_the_same_weights(
    chinese: Sets, tiny: Recipe, tmp_path: Path, changes: dict[str, Any]
) -> None:
    check_kills(chinese, tiny.change(**{"wide": False, **changes}), tmp_path, kills=3, minutes=EACH_STEP)


@pytest.mark.slow
@pytest.mark.parametrize("model", ENCODERS)
def test_ten_kills_of_every_network(chinese: Sets, tiny: Recipe, tmp_path: Path, model: str) -> None:
    options = {"filters": 4} if model in ("textcnn", "rcnn") else {"hidden_size": 4}
    recipe = tiny.change(model=model, options=options, wide=False, epochs=4, batch_size=16, branches=2)
    check_kills(chinese, recipe, tmp_path, kills=10, minutes=EVERY_FEW_STEPS)


@pytest.mark.parametrize("call", [0, 1, 5, 6, 7])
def test_killed_while_it_is_written_the_one_before_stands(
    chinese: Sets, tiny: Recipe, tmp_path: Path, call: int
) -> None:
    recipe = tiny.change(wide=False)

    def killed() -> None:
        kill_at(os, "fsync", call)
        train(chinese, recipe, tmp_path)

    assert in_child(killed) == -signal.SIGKILL
    assert digest(train(chinese, recipe, tmp_path, resume=True)) == digest(train(chinese, recipe, None))


def test_a_checkpoint_is_json_and_safetensors_and_names_every_file(chinese: Sets, tiny: Recipe, tmp_path: Path) -> None:
    train(chinese, tiny.change(wide=False), tmp_path)
    root = json.loads((tmp_path / "B.checkpoint" / ROOT).read_text())
    entries = [root["now"], *root["fixed"].values()]
    assert {path.name for path in (tmp_path / "B.checkpoint").iterdir()} == {ROOT, *(each["file"] for each in entries)}
    for entry in entries:
        data = (tmp_path / "B.checkpoint" / entry["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == entry["sha256"]
    assert Checkpoint(tmp_path / "B.checkpoint").describe() == "network 1, finished, 0 min ago"


def test_the_best_epoch_is_written_once(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, EACH_STEP)
    checkpoint.fix("best epoch", {"weight": torch.ones(3)})
    checkpoint.save("training", "epoch 1", {"now": 1})
    before = {path.name for path in tmp_path.iterdir()}
    checkpoint.save("training", "epoch 1", {"now": 2})
    after = {path.name for path in tmp_path.iterdir()}
    assert (len(before & after), len(after)) == (2, 3)  # the root and the best
    checkpoint.fix("best epoch", {"weight": torch.zeros(3)})
    checkpoint.save("training", "epoch 2", {"now": 3})
    again = Checkpoint(tmp_path)
    again.resume()
    assert not again.take("best epoch")["weight"].any()
    assert again.now("training") == {"now": 3}
    assert again.now("reading") is None
    again.network = 2
    assert again.now("training") is None


def test_any_tree_comes_back() -> None:
    same = torch.arange(3.0)
    tree = {
        "a": [1, 2.5, None, True, "x", 2**100],
        3: (same, {"deep": same}),
        "scalar": torch.tensor(2),
        "none": torch.zeros(0, 4),
        "half": torch.ones(2, dtype=torch.bfloat16),
    }
    tensors: dict[str, torch.Tensor] = {}
    packed = json.loads(json.dumps(checkpoints._take_apart(tree, tensors, {})))
    assert len(tensors) == 4  # the one that stands there twice once
    found = checkpoints._put_together(packed, tensors)
    assert found["a"] == tree["a"]
    assert isinstance(found[3], tuple)
    for one, other in ((found[3][0], same), (found[3][1]["deep"], same), (found["none"], tree["none"])):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert found["half"].dtype == torch.bfloat16


# --- when ---


def test_it_is_due_by_the_clock_and_by_its_own_cost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now = [1000.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])

    def due_after(checkpoint: Checkpoint, seconds: float, **settings: bool) -> bool:
        now[0] += seconds
        try:
            return checkpoint.due(**settings)
        finally:
            now[0] -= seconds

    checkpoint = Checkpoint(tmp_path)
    assert [due_after(checkpoint, s) for s in (0, 299, 300)] == [False, False, True]
    assert [due_after(checkpoint, s, epoch_ends=True) for s in (59, 60)] == [False, True]
    checkpoint._cost = 10.0
    assert [due_after(checkpoint, s, epoch_ends=True) for s in (499, 500)] == [False, True]
    by_hand = Checkpoint(tmp_path, 2.0)
    assert [due_after(by_hand, s) for s in (119, 120)] == [False, True]
    assert due_after(by_hand, 0, epoch_ends=True)
    assert not due_after(Checkpoint(tmp_path, 0.0), 1e6, epoch_ends=True)
    assert not due_after(Checkpoint(), 1e6, epoch_ends=True)


# --- refusals ---


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A folder with a checkpoint."""
    checkpoint = Checkpoint(tmp_path, EACH_STEP)
    checkpoint.check({"setting": {"seed": 0, "views": [["chars", 3]]}, "torch": "2.1", "the training data": "0" * 64})
    checkpoint.save("training", "epoch 1", {"weights": torch.ones(3)})
    return tmp_path


@pytest.mark.parametrize(
    ("facts", "match"),
    [
        ({"setting": {"seed": 1, "views": [["chars", 3]]}}, "resumed: the setting seed was 0 and is 1; call it as"),
        ({"setting": {"seed": 0, "views": None}}, r"views was \[\['chars', 3\]\] and is not set"),
        ({"torch": "2.2"}, "torch was '2.1' and is '2.2'"),
        ({"the training data": "1" * 64}, "the training data is not what it was"),
    ],
)
def test_another_training_is_not_resumed(stopped: Path, facts: dict[str, Any], match: str) -> None:
    checkpoint = Checkpoint(stopped)
    checkpoint.resume()
    checkpoint.check({"setting": {"seed": 0, "views": (("chars", 3),)}})
    with pytest.raises(FileExistsError, match=match):
        checkpoint.check(facts)
    Checkpoint(stopped).check(facts)  # without resume() it is replaced


def test_other_data_is_not_resumed(chinese: Sets, english: Sets, tiny: Recipe, tmp_path: Path) -> None:
    recipe = tiny.change(wide=False, tokenizer="words", streams=())
    train(english, recipe, tmp_path)
    texts = english[0]._replace(texts=[*english[0].texts[:-1], "a film"])
    with pytest.raises(FileExistsError, match="cannot be resumed: the training data is not what it was"):
        train((texts, english[1]), recipe, tmp_path, resume=True)


@pytest.mark.parametrize("how", ["cut", "changed", "missing", "outside"])
def test_a_damaged_checkpoint_is_refused(stopped: Path, how: str) -> None:
    root = json.loads((stopped / ROOT).read_text())
    path = stopped / root["now"]["file"]
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif how == "changed":
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    elif how == "missing":
        path.unlink()
    else:
        root["now"]["file"] = "../elsewhere.safetensors"
        (stopped / ROOT).write_text(json.dumps(root))
    checkpoint = Checkpoint(stopped)
    checkpoint.resume()
    with pytest.raises(ValueError, match=r"is damaged|is missing"):
        checkpoint.now("training")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 99}', "[" * 100_000])
def test_a_damaged_root_is_refused(stopped: Path, content: str) -> None:
    (stopped / ROOT).write_text(content)
    with pytest.raises((ValueError, FileExistsError), match=r"is damaged|has format 99"):
        Checkpoint(stopped).resume()


# --- faults ---


def test_a_full_disk_is_said_and_training_goes_on(chinese: Sets, tiny: Recipe, tmp_path: Path) -> None:
    recipe, notes = tiny.change(wide=False), []
    expected = digest(train(chinese, recipe, None))

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        folder = tmp_path / "B.checkpoint"
        folder.mkdir()
        watch = lambda event: notes.append(event.sentence) if isinstance(event, Note) else None  # noqa: E731
        bundle = learn(*chinese, recipe, watch, checkpoint=Checkpoint(folder, EACH_STEP))
        assert digest(bundle) == expected
        assert any("no checkpoint could be written (file too large" in note for note in notes)
        assert os.listdir(folder) == []

    assert in_child(limited) == 0


def test_what_stood_before_a_failed_write_stays(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    said: list[str] = []
    before = {path.name: path.read_bytes() for path in stopped.iterdir()}
    checkpoint = Checkpoint(stopped, EACH_STEP)
    checkpoint.say = said.append
    for name in ("save_file", "_sync"):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, name, full)
            checkpoint.save("training", "epoch 2", {"weights": torch.zeros(3)})
        assert {path.name: path.read_bytes() for path in stopped.iterdir()} == before
    assert said == ["no checkpoint could be written (no space left on device): training goes on without a new one"] * 2


def test_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    checkpoint = Checkpoint(tmp_path / "gone", EACH_STEP)
    checkpoint.say = said.append
    checkpoint.save("training", "epoch 1", {"weights": torch.zeros(3)})
    assert len(said) == 1
    assert "no such file or directory" in said[0]


# --- the lock ---


def test_two_cannot_train_into_one_bundle(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "B")
    assert folder == tmp_path / "B.checkpoint"
    with (
        locked(folder),
        pytest.raises(BlockingIOError, match="another process trains into this bundle"),
        locked(folder),
    ):
        pass
    assert os.listdir(tmp_path) == []
    with locked(folder):
        assert os.listdir(folder) == [LOCK]


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "B.checkpoint"

    def held() -> None:
        with locked(folder):
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(held) == -signal.SIGKILL
    with locked(folder):
        pass
    assert not folder.exists()


def test_a_folder_that_cannot_be_made_is_an_error_and_no_endless_loop(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(self: Path, *arguments: object, **named: object) -> None:
        raise FileNotFoundError(2, "No such file or directory", str(self))

    folder = tmp_path / "B.checkpoint"
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(FileNotFoundError, match=r"B\.checkpoint"):
        checkpoints._hold(folder)


def test_processes_that_come_and_go_never_hold_it_together(tmp_path: Path) -> None:
    folder, inside = tmp_path / "B.checkpoint", tmp_path / "inside"

    def work() -> None:
        done = 0
        while done < 10:
            try:
                with locked(folder):
                    inside.mkdir()  # FileExistsError where another one is in here
                    inside.rmdir()
                    done += 1
            except BlockingIOError:
                time.sleep(0.001)

    children = []
    for _ in range(3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            try:
                work()
                os._exit(0)
            except BaseException as error:  # noqa: BLE001
                os.write(2, f"{type(error).__name__}: {error}\n".encode())
                os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]


def test_what_is_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "B.checkpoint").mkdir()
    (tmp_path / "B.checkpoint" / "thesis.txt").write_text("x")
    with pytest.raises(FileExistsError, match="is in the way"), locked(folder_of(tmp_path / "B")):
        pass
    (tmp_path / "C.checkpoint").write_text("a file")
    with pytest.raises(FileExistsError, match="is in the way"), locked(folder_of(tmp_path / "C")):
        pass
    assert (tmp_path / "B.checkpoint" / "thesis.txt").exists()


def test_a_long_name_leaves_room() -> None:
    assert len(os.fsencode(folder_of("/tmp/" + "长" * 85).name)) <= 255
