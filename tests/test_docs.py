"""The pages: every command and every Python block runs as it stands, links lead somewhere, and nothing is stale."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import fenlei
from fenlei.bundle.folder import NAMES
from fenlei.cli import VERBS, main, parser
from fenlei.corpus import ledger
from fenlei.layers.codes import ASSIGNMENTS
from fenlei.layers.embedding import EMBEDDINGS
from fenlei.models import ENCODERS
from fenlei.recipe import PRESETS

if TYPE_CHECKING:
    from fenlei.learn import Labelled

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    *("README.md", "README.zh.md", "CHANGELOG.md"),
    *(
        "docs/guide.md",
        "docs/tutorial.md",
        "docs/networks.md",
        "docs/serving.md",
        "docs/performance.md",
        "docs/scale.md",
        "docs/formats.md",
        "docs/design.md",
    ),
)
RUN = ("README.md", "docs/guide.md", "docs/tutorial.md")  # the Chinese page has the same blocks, the others have none
# What a command line begins with -> why it is not run here.
SKIPPED = {
    "python3 -m venv ": "the tests already run in an environment",
    ".venv/bin/pip ": "installing takes a minute and a registry",
    "source ": "the same environment",
    "make ": "it installs first, and the demonstration takes minutes",
}
# Training is cut short: what the commands say is tested, not how good the classifiers are.
SHORT = ["--no-report", "--epochs", "1", "--set", "branches=1", "--set", "embedding_size=8", "--set", "threads=1"]


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str) -> list[tuple[str, str]]:
    """(language, content) of the fenced blocks."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page(name), re.MULTILINE | re.DOTALL)


def commands(block: str) -> Iterator[str]:
    """The lines of a block that can be run here."""
    for line in block.splitlines():
        if line.strip() and not line.startswith(tuple(SKIPPED)):
            yield line


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, chinese: tuple[Labelled, Labelled]) -> Path:
    """A folder with the data that the pages speak of."""
    folder = tmp_path_factory.mktemp("docs")
    train, dev = chinese
    for number, (text, label) in enumerate(zip(train.texts, train.labels, strict=True)):
        path = folder / "news" / label / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("gb18030"))
    for name, side in (("train", train), ("dev", dev)):
        rows = zip(side.labels, side.texts, strict=True)
        (folder / f"{name}.tsv").write_text("".join(f"{label}\t{text}\n" for label, text in rows), encoding="utf-8")
    pairs = zip(train.labels, train.labels[1:], train.texts, train.texts[1:], strict=False)
    both = "".join(f"{one},{other}\t{text}{more}\n{one}\t{text}\n" for one, other, text, more in pairs)
    (folder / "feelings.tsv").write_text(both, encoding="utf-8")
    (folder / "texts.txt").write_text("".join(f"{text}\n" for text in dev.texts), encoding="utf-8")
    (folder / "user.txt").write_text("人工智能 100 n\n", encoding="utf-8")
    (folder / "stop.txt").write_text("的\n了\n", encoding="utf-8")
    program = folder / "bin" / "fenlei"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fenlei "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return folder


def test_the_transcript_of_check_is_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    found = blocks("docs/guide.md")
    at = next(place for place, (_, content) in enumerate(found) if "fenlei check shop.tsv" in content)
    *makers, call = found[at][1].splitlines()
    for line in makers:
        run_shell(line)
    assert main(shlex.split(call)[1:]) == 0
    assert capsys.readouterr().out == found[at + 1][1]


def run_command(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``fenlei ... [> FILE]`` with standard input from what stands before it: here, as starting torch takes seconds."""
    feeder, _, call = line.rpartition(" | ")
    verb, *arguments = shlex.split(call.removeprefix("fenlei "), comments=True)
    target = os.devnull
    if ">" in arguments:
        *arguments, _, target = arguments
    given = run_shell(feeder) if feeder else b""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
    with open(target, "w", encoding="utf-8") as stream, contextlib.redirect_stdout(stream):
        assert main([verb, *(SHORT if verb == "train" else []), *arguments]) == 0, line


def run_shell(line: str) -> bytes:
    """What the line writes, by the shell."""
    result = subprocess.run(["bash", "-e", "-u", "-o", "pipefail", "-c", line], capture_output=True)
    assert result.returncode == 0, f"{line}\n{result.stderr.decode()}"
    return result.stdout


def run_python(code: str) -> None:
    exec(compile(code, "a block", "exec"), {"__name__": "block"})


@pytest.mark.parametrize("name", RUN)
def test_every_block_runs(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("PATH", f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}")
    found = 0
    for language, content in blocks(name):
        if language == "python":
            run_python(content)
            found += 1
        for line in commands(content) if language == "bash" else ():
            if line.rpartition(" | ")[2].startswith("fenlei "):
                run_command(line, monkeypatch)
            else:
                run_shell(line)
            found += 1
    assert found >= 4


def test_the_chinese_page_says_the_same() -> None:
    def bare(name: str) -> list[tuple[str, str]]:
        return [(language, re.sub(r" +#.*", "", content)) for language, content in blocks(name)]

    assert bare("README.zh.md") == bare("README.md")
    headings, rows = (
        [len(re.findall(pattern, page(name), re.MULTILINE)) for name in ("README.md", "README.zh.md")]
        for pattern in (r"^## ", r"^\|")
    )
    assert headings[0] == headings[1]
    assert rows[0] == rows[1]


def test_pages_that_are_not_run_have_no_commands() -> None:
    others = set(PAGES) - {
        *RUN,
        "README.zh.md",
        "docs/serving.md",
        "docs/performance.md",
        "docs/scale.md",
    }  # which test_serve_server and test_scale run
    assert [name for name in others for language, _ in blocks(name) if language in ("bash", "python")] == []


def test_ten_lines_that_train_save_and_predict_stand_before_line_30() -> None:
    opening = "\n".join(page("README.md").splitlines()[:30])
    for wanted in ("fenlei train ", "fenlei test ", "fenlei predict ", ".fit(", ".save(", "fenlei.load(", ".predict("):
        assert wanted in opening
    assert "-c constraints.txt" in opening


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    folder = (ROOT / name).parent
    prose = re.sub(r"```.*?```|`[^`]*`", "", page(name), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#]+)\)", prose)
    local = [link for link in links if not link.startswith(("http://", "https://"))]
    assert [link for link in local if not (folder / link).exists()] == []


@pytest.mark.parametrize("name", PAGES)
def test_pages_name_no_machine(name: str) -> None:
    assert re.findall(r"(?:/home/|/root/|/Users/|/opt/|/tmp/|C:\\|localhost|\.whl|file://)[^\s`]*", page(name)) == []
    assert re.findall(r"\b(?:TODO|FIXME|TBD|XXX)\b", page(name)) == []


@pytest.mark.parametrize("name", ["README.md", "README.zh.md", "docs/design.md", "docs/formats.md"])
def test_every_verb_is_told(name: str) -> None:
    verbs = [verb.__name__.rpartition(".")[2] for verb in VERBS]
    known = [verb for verb in verbs if f"fenlei {verb}" in page(name) or f"| `{verb}` |" in page(name)]
    assert known == verbs
    assert set(re.findall(r"^\| `fenlei (\w+)", page(name), re.MULTILINE)) <= set(verbs)


@pytest.mark.parametrize("name", PAGES)
def test_options_exist(name: str) -> None:
    known = {option for action in actions() for option in action.option_strings}
    torchrun = {"--nproc-per-node", "--nnodes", "--node-rank", "--master-addr", "--master-port"}
    others = {"--help", "--version"} | torchrun
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", page(name))) <= known | others


def actions() -> Iterator[Any]:
    verbs = parser()._subparsers
    assert verbs is not None
    for each in verbs._group_actions[0].choices.values():  # type: ignore[union-attr]
        yield from each._actions


def test_the_guide_knows_presets_and_kinds_of_the_ledger() -> None:
    guide = page("docs/guide.md")
    assert [name for name in PRESETS if f"`{name}`" not in guide] == []
    assert [kind for kind in ledger.MEANING if f"`{kind}`" not in guide] == []


def test_every_network_and_embedding_has_its_section_with_a_picture() -> None:
    networks = page("docs/networks.md")
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", networks, re.MULTILINE | re.DOTALL))
    assert [name for name in ENCODERS if f"](pictures/{name}.svg)" not in sections.get(name, "")] == []
    assert [name for name in EMBEDDINGS if f"| `{name}`" not in sections["Embeddings"]] == []
    assert [name for name in ASSIGNMENTS if f"assignment `{name}`" not in sections["Embeddings"]] == []


def test_formats_lists_the_files_of_a_bundle() -> None:
    listed = re.findall(r"^\| `([^`]+\.\w+)` \|", page("docs/formats.md"), re.MULTILINE)
    assert sorted(listed) == sorted(NAMES)


def test_the_design_draws_the_layout_and_the_rows_that_hold() -> None:
    design = page("docs/design.md")
    drawn = set(re.findall(r"^  (\w+(?:\.py|/)) ", design, re.MULTILINE))
    package = Path(fenlei.__file__).parent
    there = {path.name if path.is_file() else f"{path.name}/" for path in package.iterdir() if path.name[0] not in "._"}
    assert drawn - {"__init__.py"} == there - {"py.typed", "__init__.py", "__main__.py", "__pycache__/"}
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    assert " / ".join(f"`{row}`" for row in layers) in " ".join(design.split())


def test_the_changelog_knows_this_version() -> None:
    assert f"## [{fenlei.__version__}]" in page("CHANGELOG.md")
