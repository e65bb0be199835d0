"""The base install: it predicts without torch, the same to the last bit, and stays small."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fenlei import compiled
from fenlei.runtime import Predictor

if TYPE_CHECKING:
    from fenlei.bundle import Bundle
    from fenlei.learn import Labelled

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("pip", "setuptools")  # what every new environment holds
PACKAGES, MEGABYTES = 15, 210

BLOCKED = """
import sys

# None makes every import of the name, and of what lies below it, fail as if it were not installed.
sys.modules.update(dict.fromkeys(("torch", "sklearn", "scipy", "onnx")))
"""
ANSWER = """
import sys
import fenlei

texts = open(sys.argv[2], encoding="utf-8").read().splitlines()
predictor = fenlei.load(sys.argv[1])
probabilities = predictor.predict_proba(texts)
sys.stdout.buffer.write(probabilities.tobytes())
"""
PROGRAM = """
import sys
from fenlei.cli import main

sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Path:
    return bundle.save(tmp_path_factory.mktemp("saved") / "B")


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory, chinese: tuple[Labelled, Labelled]) -> Path:
    path = tmp_path_factory.mktemp("texts") / "texts.txt"
    path.write_text("\n".join([*chinese[0].texts, *chinese[1].texts]) + "\n", encoding="utf-8")
    return path


def expected(saved: Path, texts: Path) -> bytes:
    return Predictor(saved).predict_proba(texts.read_text(encoding="utf-8").splitlines()).tobytes()


def blocked(code: str, *arguments: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", BLOCKED + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=60)


def test_predicting_needs_nothing_of_the_training_packages(saved: Path, texts: Path) -> None:
    result = blocked(ANSWER, saved, texts)
    assert result.stderr == b""
    assert result.stdout == expected(saved, texts)


def test_the_verbs_that_answer_need_nothing_either(saved: Path, texts: Path, tmp_path: Path) -> None:
    assert blocked(PROGRAM, "predict", saved, texts).stdout.count(b"\n") == 150
    assert b"golden inputs answered again" in blocked(PROGRAM, "info", saved, "--verify").stdout
    (tmp_path / "d.tsv").write_text("甲\t今天的比赛\n乙\t股票上涨\n", encoding="utf-8")
    assert blocked(PROGRAM, "segment", tmp_path / "d.tsv", "--out", "-").stdout.decode().startswith("甲\t今天")
    assert blocked(PROGRAM, "vocab", tmp_path / "d.tsv", "--out", "-", "--min-count", 1).returncode == 0


@pytest.mark.parametrize("verb", ["train", "test", "demo"])
def test_the_verbs_that_train_say_what_to_install(saved: Path, texts: Path, verb: str) -> None:
    arguments = {"train": [texts], "test": [saved, texts], "demo": []}[verb]
    result = blocked(PROGRAM, verb, *arguments)
    assert result.returncode == 1
    assert result.stderr.decode().startswith("fenlei: this needs ")
    assert result.stderr.count(b"\n") == 1


def test_the_estimator_says_what_to_install() -> None:
    result = blocked("import fenlei\nfenlei.TextClassifier()")
    assert (
        result.stderr.decode().splitlines()[-1].startswith("ImportError: TextClassifier needs torch and scikit-learn")
    )


MEASURE = """
import importlib.metadata, json
sizes = {}
for each in importlib.metadata.distributions():
    files = [file.locate() for file in each.files or ()]
    sizes[each.metadata["Name"]] = sum(file.stat().st_size for file in files if file.is_file())
print(json.dumps(sizes))
"""


def source(folder: Path) -> None:
    """What an installation is built from: a copy, as a build leaves its own files behind."""
    shutil.copytree(ROOT / "fenlei", folder / "fenlei", ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.pyd"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["the machine's", "none"])
def test_a_wheel_has_the_compiled_loops_where_there_is_a_compiler(compiler: str, tmp_path: Path) -> None:
    if compiler != "none" and shutil.which("cc") is None:
        pytest.skip("this machine has no compiler")
    source(tmp_path / "source")
    environment = os.environ | ({"CC": "/bin/false"} if compiler == "none" else {})
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        tmp_path,
        tmp_path / "source",
    ]
    subprocess.run(command, check=True, env=environment, timeout=280)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "fenlei/compiled/__init__.py" in names
    found = [name for name in names if name.startswith("fenlei/compiled/_loops")]
    assert len(found) == (compiler != "none")
    if found:
        zipfile.ZipFile(wheel).extract(found[0], tmp_path)
        spec = importlib.util.spec_from_file_location("fenlei.compiled._loops", tmp_path / found[0])
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        assert compiled.checksum(compiled.FOLDER) == module.SOURCE & 0xFFFFFFFF
        assert {"spell", "embed", "descend_16", "adam_rows"} <= {*dir(module)}
        assert {f"fenlei/compiled/{path.name}" for path in compiled.FOLDER.glob("*.[ch]")} <= {*names}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment that holds the base install only."""
    folder = tmp_path_factory.mktemp("base")
    source(folder / "source")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    command = [python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", folder / "source"]
    subprocess.run(command, check=True, cwd=folder, timeout=280)
    return python


@pytest.mark.slow
def test_the_base_install_is_small(base: Path) -> None:
    sizes = json.loads(subprocess.run([base, "-c", MEASURE], capture_output=True, check=True).stdout)
    own = {name: size for name, size in sizes.items() if name not in TOOLS}
    assert "fenlei" in own
    assert {"torch", "scikit-learn", "scipy", "onnx"}.isdisjoint(own)
    assert len(own) <= PACKAGES, sorted(own)
    assert sum(own.values()) / 1e6 <= MEGABYTES, own


@pytest.mark.slow
def test_the_base_install_answers_the_same(base: Path, saved: Path, texts: Path) -> None:
    result = subprocess.run([base, "-P", "-c", ANSWER, saved, texts], capture_output=True, cwd=saved)
    assert result.returncode == 0, result.stderr
    answer, wanted = (np.frombuffer(data, np.float32) for data in (result.stdout, expected(saved, texts)))
    assert np.abs(answer - wanted).max() <= 1e-5
    assert result.stdout == expected(saved, texts)
    command = base.with_name("fenlei")
    shown = subprocess.run([command, "info", saved, "--verify"], capture_output=True, check=True)
    assert b"golden inputs answered again" in shown.stdout


@pytest.mark.slow
def test_the_base_install_has_the_version_of_this_checkout(base: Path) -> None:
    shown = subprocess.run([base.with_name("fenlei"), "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == f"fenlei {importlib.metadata.version('fenlei')}\n"
