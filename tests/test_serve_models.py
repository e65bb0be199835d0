"""The bundles of a server: their names, and their exchange while requests are being answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from starlette.testclient import TestClient

from fenlei.runtime import Predictor
from fenlei.serve.app import application
from fenlei.serve.metrics import Metrics
from fenlei.serve.models import Models, read, signature
from fenlei.serve.replies import Refusal
from fenlei.serve.settings import Limits, Settings, named

if TYPE_CHECKING:
    from fenlei.bundle import Bundle

POLL = Limits(poll_seconds=0.02)


@pytest.fixture
def saved(bundle: Bundle, tmp_path: Path) -> Path:
    return bundle.save(tmp_path / "B")


@pytest.fixture
def renamed(bundle: Bundle) -> Bundle:
    """The same classifier with other names for its labels."""
    labels = [f"new {label}" for label in bundle.labels]
    return replace(bundle, labels=labels, decisions={})


def until(happened: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


def label(client: TestClient, model: str | None = None) -> str:
    found = client.post("/predict", json={"text": "球队比赛"} | ({"model": model} if model else {}))
    assert found.status_code == 200
    name: str = found.json()["predictions"][0]["labels"][0]
    return name


def reloads(client: TestClient, result: str) -> int:
    lines = client.get("/metrics").text.splitlines()
    return sum(round(float(line.split()[-1])) for line in lines if f'_total{{model="B",result="{result}"}}' in line)


def test_a_loaded_model_answers_as_the_bundle_does_and_keeps_no_copy(saved: Path, bundle: Bundle) -> None:
    model = read("B", str(saved))
    texts = [text for text, _ in bundle.golden]
    np.testing.assert_array_equal(model.predictor.predict_proba(texts), Predictor(bundle).predict_proba(texts))
    assert model.predictor.bundle.graph == b""
    assert model.digest == bundle.digest()


def test_an_exchanged_bundle_answers_and_no_request_is_dropped(saved: Path, renamed: Bundle) -> None:
    settings = Settings({"B": str(saved)}, quiet=True, limits=POLL)
    with TestClient(application(settings), base_url="http://127.0.0.1") as client:
        assert label(client) == "体育"
        renamed.save(saved)
        until(lambda: label(client) == "new 体育")  # every one of them is answered
        assert client.get("/info").json()["digest"] == renamed.digest()
        assert reloads(client, "done") == 1


def test_a_bad_bundle_is_refused_and_the_old_one_stays(saved: Path, renamed: Bundle) -> None:
    settings = Settings({"B": str(saved)}, quiet=True, limits=POLL)
    with TestClient(application(settings), base_url="http://127.0.0.1") as client:
        (saved / "model.onnx").write_bytes(b"damaged")
        until(lambda: reloads(client, "refused") == 1)
        assert label(client) == "体育"
        time.sleep(0.2)
        assert reloads(client, "refused") == 1  # not tried again before something changes
        assert client.get("/ready").status_code == 200
        renamed.save(saved)
        until(lambda: label(client) == "new 体育")


def test_a_bundle_that_answers_differently_is_refused(saved: Path, bundle: Bundle) -> None:
    golden = [(text, probabilities[::-1]) for text, probabilities in bundle.golden]
    settings = Settings({"B": str(saved)}, quiet=True, limits=POLL)
    with TestClient(application(settings), base_url="http://127.0.0.1") as client:
        replace(bundle, golden=golden).save(saved)
        until(lambda: reloads(client, "refused") == 1)
        assert label(client) == "体育"


def test_a_bundle_that_is_taken_away_goes_on_answering(saved: Path) -> None:
    settings = Settings({"B": str(saved)}, quiet=True, limits=POLL)
    with TestClient(application(settings), base_url="http://127.0.0.1") as client:
        saved.rename(saved.with_name("C"))
        until(lambda: reloads(client, "refused") == 1)
        assert label(client) == "体育"
        saved.with_name("C").rename(saved)
        until(lambda: reloads(client, "done") == 1)


def test_a_poke_reads_again_what_has_not_changed(saved: Path) -> None:
    async def run() -> None:
        models = Models({"B": str(saved)}, Metrics())
        with pytest.raises(Refusal, match="starting or stopping"):
            models.get(None)
        await models.load()
        first = models.get("B")
        watching = asyncio.ensure_future(models.watch(60))
        await asyncio.sleep(0)
        models.poke()
        for _ in range(1000):
            await asyncio.sleep(0.01)
            if models.get("B") is not first:
                break
        watching.cancel()
        assert models.get("B") is not first
        assert models.get("B").digest == first.digest

    asyncio.run(run())


def test_a_signature_changes_with_any_file(saved: Path, bundle: Bundle) -> None:
    before = signature(str(saved))
    assert signature(str(saved)) == before
    (saved / "README.md").unlink()
    without = signature(str(saved))
    assert without != before
    bundle.save(saved)
    assert signature(str(saved)) not in (before, without)
    assert signature(str(saved / "no")) == ()


def test_names_of_bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b").mkdir()
    assert named(["x/news", "reviews=y/z", "a=b", "c=d=e", "../up/"]) == {
        "news": "x/news",
        "reviews": "y/z",
        "a=b": "a=b",
        "c": "d=e",
        "up": "../up/",
    }
    assert list(named(["."])) == [tmp_path.name]


@pytest.mark.parametrize(
    ("arguments", "has"),
    [
        (["a/news", "b/news"], "two bundles are called 'news': name them, as in first=a/news second=b/news"),
        (["x=a", "x=b"], "two bundles are called 'x'"),
        (["=a"], "expected FOLDER or NAME=FOLDER"),
        (["x="], "expected FOLDER or NAME=FOLDER"),
        (["x\n=a"], "plain characters"),
        (["\u202ex=a"], "plain characters"),
        ([f"{'x' * 101}=a"], "of 1 to 100"),
    ],
)
def test_names_that_clash_or_cannot_be_shown(arguments: list[str], has: str) -> None:
    with pytest.raises(ValueError, match=r"bundles|expected") as found:
        named(arguments)
    assert has in str(found.value)
