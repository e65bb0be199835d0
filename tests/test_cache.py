"""The cache: what is found is what was put there, whoever else is at work in its folder."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fenlei import cache as module
from fenlei.cache import Cache, Entry, default_folder, key, size_limit

NAME = key("numbers", "a")


def put(cache: Cache, name: str = NAME, size: int = 100) -> Entry:
    draft = cache.draft(name)
    draft.append("x", np.arange(size))
    draft.append("x", np.arange(3))
    draft.append("y", np.array([0.5, 2], np.float32))
    draft.append("empty", np.zeros(0, np.uint16))
    draft.notes["about"] = {"a": [1, "说"]}
    return cache.keep(draft)


def assert_sound(entry: Entry | None, size: int = 100) -> None:
    assert entry is not None
    np.testing.assert_array_equal(entry.array("x"), [*range(size), 0, 1, 2])
    np.testing.assert_array_equal(entry.array("y"), np.array([0.5, 2], np.float32))
    assert (entry.array("empty").dtype, len(entry.array("empty"))) == (np.uint16, 0)
    assert entry.notes == {"about": {"a": [1, "说"]}}


def test_what_is_kept_is_found(tmp_path: Path) -> None:
    with Cache(tmp_path / "deep" / "er") as cache:
        assert cache.find(NAME) is None
        assert_sound(put(cache))
        assert_sound(cache.find(NAME))
        assert cache.find(key("numbers", "b")) is None
    with Cache(tmp_path / "deep" / "er") as other:
        entry = other.find(NAME)
        assert_sound(entry)
        assert entry is not None
        assert "x" in entry
        with pytest.raises(ValueError, match="read-only"):
            entry.array("x")[0] = 1


def test_the_folder_is_private(tmp_path: Path) -> None:
    with Cache(tmp_path / "own") as cache:
        put(cache)
        assert [path.stat().st_mode & 0o777 for path in (cache.folder, cache.folder / NAME)] == [0o700, 0o700]
    (tmp_path / "own").chmod(0o777)
    with pytest.raises(PermissionError, match=r"others can write to the cache folder .*: chmod 700 it, or --no-cache"):
        Cache(tmp_path / "own")


def flip(folder: Path) -> None:
    data = bytearray((folder / "x").read_bytes())
    data[random.Random(1).randrange(len(data))] ^= 4
    (folder / "x").write_bytes(data)


def truncate(folder: Path) -> None:
    (folder / "x").write_bytes((folder / "x").read_bytes()[:-8])


def edit_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace("<i8", "<u8"))


def forge_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_text().partition("\n")[2])
    content["files"]["x"]["dtype"] = "|O"
    text = json.dumps(content)
    path.write_text(f"{module.hashlib.sha256(text.encode()).hexdigest()}\n{text}")


def link(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(folder.with_name("elsewhere"))


DAMAGES: list[Callable[[Path], object]] = [
    flip,
    truncate,
    edit_manifest,
    forge_manifest,
    link,
    lambda folder: (folder / "x").unlink(),
    lambda folder: (folder / "manifest.json").unlink(),
    lambda folder: (folder / "manifest.json").write_text("[" * 100_000),
    lambda folder: (folder / "manifest.json").write_bytes(b"\xff\n{}"),
    lambda folder: (folder / "more").write_text(""),
    lambda folder: folder.chmod(0o777),
    lambda folder: folder.rename(folder.with_name(key("numbers", "other"))),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_or_foreign_entry_is_dropped_and_made_again(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    with Cache(tmp_path / "own") as cache:
        put(cache)
        damage(cache.folder / NAME)
        assert cache.find(NAME) is None
        assert cache.find(key("numbers", "other")) is None
        assert_sound(put(cache))
        assert_sound(cache.find(NAME))


def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    chance = random.Random(0)
    with Cache(tmp_path / "own") as cache:
        for _ in range(60):
            put(cache)
            path = chance.choice([each for each in (cache.folder / NAME).iterdir() if each.stat().st_size])
            data = bytearray(path.read_bytes())
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            path.write_bytes(data)
            assert cache.find(NAME) is None


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    with Cache(tmp_path / "own", 8 * 3500) as cache:
        for number in range(3):
            put(cache, key("numbers", number), 1000)
            past = time.time() - 100 + number
            os.utime(cache.folder / key("numbers", number) / "manifest.json", (past, past))
        assert_sound(cache.find(key("numbers", 0)), 1000)
        put(cache, key("numbers", 3), 1000)
        found = [cache.find(key("numbers", number)) is not None for number in range(4)]
        assert found == [True, False, True, True]


def test_what_is_larger_than_the_limit_serves_this_process_alone(tmp_path: Path) -> None:
    with Cache(tmp_path / "own", 1000) as cache:
        entry = put(cache, size=1000)
        assert_sound(entry, 1000)
        assert cache.find(NAME) is None
    assert not list((tmp_path / "own").iterdir())
    with Cache.temporary() as cache:
        folder = cache.folder
        assert_sound(put(cache))
        assert cache.find(NAME) is None
    assert not folder.exists()


def test_what_was_found_outlives_its_folder(tmp_path: Path) -> None:
    with Cache(tmp_path / "own") as cache:
        made = put(cache)
        found = cache.find(NAME)
        assert found is not None
        with Cache(tmp_path / "own", 1) as other:
            put(other, key("numbers", "b"), 0)
            other._evict(other.folder)
        assert cache.find(NAME) is None
        assert_sound(made)
        assert_sound(found)


def test_given_up_drafts_and_those_of_dead_processes_are_deleted(tmp_path: Path) -> None:
    with Cache(tmp_path / "own") as cache:
        draft = cache.draft(NAME)
        draft.append("x", np.arange(3))
        cache.discard(draft)
        left = cache.draft(NAME)
        left.append("x", np.arange(3))
        np.testing.assert_array_equal(left.array("x"), [0, 1, 2])
        with Cache(tmp_path / "own"):
            assert len(list(cache.folder.iterdir())) == 1
        for path in (left.folder, left.folder / "x"):
            os.utime(path, (0, 0))
        with Cache(tmp_path / "own"):
            assert not list(cache.folder.iterdir())


RACE = """
import sys
import numpy as np
from pathlib import Path
from fenlei.cache import Cache, key
for turn in range(60):
    with Cache(Path(sys.argv[1])) as cache:
        name = key("numbers", turn % 3)
        entry = cache.find(name)
        if entry is None:
            draft = cache.draft(name)
            draft.append("x", np.full(5000, turn % 3))
            entry = cache.keep(draft)
        assert (entry.array("x") == turn % 3).all()
        if turn % 7 == 0:
            cache._drop(cache.folder / name)
"""


def test_processes_share_the_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", RACE, str(tmp_path / "own")]
    racers = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    assert [(racer.communicate(timeout=120)[1], racer.returncode) for racer in racers] == [(b"", 0)] * 3
    with Cache(tmp_path / "own") as cache:
        left = [path.name for path in cache.folder.iterdir()]
        assert set(left) <= {key("numbers", number) for number in range(3)}


def test_where_the_cache_is_and_how_large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FENLEI_CACHE", raising=False)
    monkeypatch.delenv("FENLEI_CACHE_SIZE", raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert default_folder() == Path("/home/me/.cache/fenlei")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert default_folder() == Path("/home/me/.cache/fenlei")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "fenlei"
    monkeypatch.setenv("FENLEI_CACHE", "/else/where")
    assert default_folder() == Path("/else/where")
    assert size_limit() == module.SIZE
    for value, size in {"500": 500, "3k": 3072, "20G": 20 * 2**30}.items():
        monkeypatch.setenv("FENLEI_CACHE_SIZE", value)
        assert size_limit() == size
    monkeypatch.setenv("FENLEI_CACHE_SIZE", "much")
    with pytest.raises(ValueError, match="FENLEI_CACHE_SIZE is 'much', expected a number of bytes such as 500M"):
        size_limit()


def test_a_key_tells_its_parts_apart() -> None:
    parts = [("a", "b"), ("ab",), (b"a", b"b"), (b"ab",), (["a", "b"],), ("a", "b", None)]
    assert len({key("x", *each) for each in parts}) == len(parts)
    assert key("x", {"a": 1, "b": 2}) == key("x", {"b": 2, "a": 1})
