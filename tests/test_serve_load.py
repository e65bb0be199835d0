"""The server under load and attack for seconds, and against its own description; `make bench-serve` takes longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

    from fenlei.bundle import Bundle

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Path:
    return bundle.save(tmp_path_factory.mktemp("load") / "B")


@pytest.fixture(scope="module")
def texts(bundle: Bundle) -> list[str]:
    return [text for text, _ in bundle.golden] * 200


@pytest.fixture(scope="module")
def serving() -> ModuleType:
    """The benchmark, whose client this is."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import serving
    finally:
        sys.path.pop(0)
    return serving


def test_load_brings_no_errors_and_no_growth(serving: ModuleType, saved: Path, texts: list[str]) -> None:
    found = serving.load(saved, texts, 5.0)
    assert found["errors"] == 0
    assert found["rate"] > 100
    assert found["half_milliseconds"]["p99"] < 500  # 100 on a machine that does nothing else
    assert found["megabytes_growth"] < 20


def test_batches_are_worth_it(serving: ModuleType, saved: Path, texts: list[str]) -> None:
    assert serving.batching(saved, texts, 4.0)["times"] > 1.5  # 3 on a machine that does nothing else


def test_too_much_is_refused_and_soon_forgotten(serving: ModuleType, saved: Path, texts: list[str]) -> None:
    found = serving.overload(saved, texts, 5.0)
    assert found["other"] == 0
    assert found["refused_503"] > 0
    assert found["answered"] > 0
    assert found["recovery_seconds"] <= 5


def test_slow_connections_are_closed_and_disturb_nobody(serving: ModuleType, saved: Path, texts: list[str]) -> None:
    found = serving.slow(saved, texts)
    assert (found["connections"], found["still_open"]) == (1000, 0)
    assert found["last_closed_seconds"] <= 15
    assert set(found["healthy_statuses"]) == {200}
    assert found["healthy_milliseconds"]["p99"] <= 500  # 200 on a machine that does nothing else


def test_sigterm_under_load_loses_nothing(serving: ModuleType, saved: Path, texts: list[str]) -> None:
    found = serving.stop(saved, texts)
    assert found["answers_received"] > 0
    assert (found["lost"], found["cut_off_in_the_middle"], found["exit_status"]) == (0, 0, 0)
    assert found["seconds_to_stop"] <= 10


def test_clients_that_vanish_leave_nothing(serving: ModuleType, saved: Path, texts: list[str]) -> None:
    found = serving.vanish(saved, texts, 3000, 3)
    assert abs(found["files_growth"]) <= 5
    assert (found["texts_in_the_queue"], found["open_requests"]) == (0, 0)
    assert found["megabytes"][-1] - found["megabytes"][1] < 20  # what grows at all grows with the first clients
    assert found["answers_afterwards"]


def test_what_is_too_large_is_hardly_read(serving: ModuleType, saved: Path, texts: list[str]) -> None:
    found = serving.sizes(saved, texts, 100)
    assert [found["announced"], found["chunked"], found["texts_100000"]] == [413] * 3
    assert found["headers_10000"] == 431
    assert found["header_of_1_megabyte"] in (431, 0)  # 0: closed while the client still wrote
    assert found["most_bytes_read"] < 8_000_000
    assert found["megabytes_growth"] < 50


def test_the_server_keeps_to_its_description(serving: ModuleType, saved: Path, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    if not program.exists():
        pytest.skip("schemathesis is not installed")
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    with serving.serving(saved) as server:
        address = f"http://127.0.0.1:{server.port}/openapi.json"
        command = [program, "run", address, "--checks", checks, "--max-examples", "1000", "--seed", "1"]
        done = subprocess.run(
            [*command, "--suppress-health-check", "all", "--generation-database", "none", "--no-color"],
            capture_output=True,
            text=True,
            timeout=280,
            cwd=tmp_path,  # it leaves a folder behind
        )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
