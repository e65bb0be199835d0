"""The recipes of docs/scale.md, as far as their engines are installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fenlei.runtime import Predictor

if TYPE_CHECKING:
    from fenlei.bundle import Bundle
    from fenlei.learn import Labelled

ROOT = Path(__file__).resolve().parent.parent


def recipe(heading: str) -> str:
    """The Python block under a heading."""
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    section = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("heading", ["Predict in Spark", "Predict in Ray"])
def test_the_recipes_are_python(heading: str) -> None:
    compile(recipe(heading), heading, "exec")


@pytest.mark.slow
@pytest.mark.skipif(find_spec("pyspark") is None or find_spec("pyarrow") is None, reason="needs pyspark and pyarrow")
def test_spark_answers_as_the_predictor_does(
    bundle: Bundle, chinese: tuple[Labelled, Labelled], tmp_path: Path
) -> None:
    bundle.save(tmp_path / "model")
    texts = list(chinese[1].texts)
    (tmp_path / "texts.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    (tmp_path / "job.py").write_text(recipe("Predict in Spark"), encoding="utf-8")
    settings = {"PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    result = subprocess.run(
        [sys.executable, "job.py"], cwd=tmp_path, env=os.environ | settings, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    lines = [line for part in sorted((tmp_path / "answers").glob("*.json")) for line in part.read_text().splitlines()]
    rows = {row["text"]: row for row in map(json.loads, lines)}
    predictor = Predictor(bundle)
    expected = predictor.predict_proba(texts)
    assert len(lines) == len(texts)
    for text, row in zip(texts, expected, strict=True):
        assert rows[text]["label"] == predictor.labels[row.argmax()]
        assert rows[text]["probability"] == pytest.approx(float(row.max()), abs=1e-6)
