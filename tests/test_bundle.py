"""The saved folder: exact round trips, refusals of anything damaged or hostile, and saves that never half happen."""

import errno
import hashlib
import json
import os
import pickle
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fenlei.bundle import Bundle, check_target, size
from fenlei.bundle import folder as folder_module
from fenlei.bundle.card import escape
from fenlei.bundle.folder import LISTED, MANIFEST, NAMES, REPORT

AWKWARD = [
    *("../x", "/etc/passwd", "a/b", "a\\b", "C:\\x", "CON", ".", "..", "", " ", "\n", "\r\n", "\t", "\0", "\x1b[31m"),
    *(
        "\u200f" + "שלום",
        "\u202egnp.exe",
        "\ufeffbom",
        "\u2028",
        "\x85",
        "é",
        "e\u0301",
        "龘",
        "𠮷",
        "😀",
        "👩\u200d👩\u200d👧",
    ),
    *("<script>alert(1)</script>", "=cmd|'/c calc'!A0", "+1", "-1", "@SUM(A1)", "|", "||", "`x`", "```", "# head"),
    *(
        "[a](javascript:x)",
        "![](http://x)",
        "**b**",
        "$x^2$",
        "~~~",
        "&lt;",
        "&amp;",
        '"',
        "'",
        "\\",
        "\\n",
        "--",
        "{}",
    ),
    *(
        "%s",
        "null",
        "NaN",
        "0",
        "1e9",
        "__label__x",
        "标签 一",
        "体育,财经",
        "z" * 300,
        "长" * 300,
        "\ud800",
        "x\udfff",
    ),
]


def make(**changes: Any) -> Bundle:
    rng = np.random.default_rng(7)
    values: dict[str, Any] = {
        "labels": ["体育", "财经"],
        "vocab": [("<unk>", 0), ("球", 12), ("股", 9)],
        "pipeline": {"tokenizer": "chars", "max_length": 32, "lower": True, "none": None},
        "tables": {"hashes": np.array([0, 2**64 - 1], np.uint64), "idf": rng.random(3, np.float32)},
        "model": {"name": "bilstm", "hidden_size": 4},
        "weights": {"W": rng.random((3, 4), np.float32), "b": np.zeros(0, np.float32), "s": np.array(2.5, np.float32)},
        "graph": bytes(range(256)),
        "recipe": {"lr": 0.001, "seed": 1},
        "scores": {"accuracy": 0.975, "per_class": {"体育": 0.5}, "confusion": [[1, 0], [0, 1]]},
        "ledger": {"skipped": 3},
        "versions": {"fenlei": "0.1.0", "numpy": "2.4.6"},
        "golden": [("球\n", [float(np.float32(0.1)), float(np.float32(0.9))])],
        "decisions": {"kind": "one", "coverage": [[0.5, 1.0, 0.75]], "classes": {}, "thresholds": {}},
        "evidence": {"mistakes": [{"text": "球"}]},
        "report": "<p>球</p>\n",
    }
    return Bundle(**{**values, **changes})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A bundle on disk, written without the syncs, which are most of what a small save costs."""
    (tmp_path / "model").mkdir()
    for name, data in make().files().items():
        (tmp_path / "model" / name).write_bytes(data)
    return tmp_path / "model"


def remanifest(folder: Path, name: str, data: bytes) -> None:
    """What an attacker does: change a file and make the manifest agree."""
    (folder / name).write_bytes(data)
    manifest = json.loads((folder / MANIFEST).read_bytes())
    manifest["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_round_trip(tmp_path: Path) -> None:
    bundle = make()
    saved = bundle.save(tmp_path / "model")
    back = Bundle.load(saved)
    plain = ("labels", "vocab", "pipeline", "model", "graph", "recipe", "scores", "ledger", "versions", "golden")
    for name in (*plain, "decisions", "evidence", "report"):
        assert getattr(back, name) == getattr(bundle, name), name
    for ours, theirs in ((bundle.tables, back.tables), (bundle.weights, back.weights)):
        assert list(theirs) == sorted(ours)
        for key, array in ours.items():
            assert theirs[key].dtype == array.dtype
            assert theirs[key].shape == array.shape
            assert np.array_equal(theirs[key], array)
            assert theirs[key].flags.writeable
    assert back.digest() == bundle.digest()
    assert {path.name for path in saved.iterdir()} == NAMES
    assert size(saved) == sum(map(len, bundle.files().values()))


def test_arrays_lie_in_the_memory_that_was_read_and_checked(tmp_path: Path) -> None:
    large = np.arange(3 * 2**20, dtype=np.float32)
    back = Bundle.load(make(weights={"large": large, "small": np.ones(3, np.uint8)}).save(tmp_path / "m"))
    np.testing.assert_array_equal(back.weights["large"], large)
    assert all(array.flags.writeable and array.flags.aligned for array in back.weights.values())
    assert not any(array.flags.owndata for array in back.weights.values())


def test_arrays_at_odd_places_are_copied(saved: Path) -> None:
    header = (
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}}'
    )
    data = len(header).to_bytes(8, "little") + header.encode() + b"\7" + np.array([1.5, 2], "<f4").tobytes()
    remanifest(saved, "pipeline.safetensors", data)
    tables = Bundle.load(saved).tables
    assert tables["a"].tolist() == [7]
    assert tables["b"].tolist() == [1.5, 2]
    assert tables["b"].flags.aligned


def test_a_bundle_may_be_without_a_report_and_is_the_same_one(tmp_path: Path) -> None:
    plain = make(report="")
    saved = plain.save(tmp_path / "model")
    assert {path.name for path in saved.iterdir()} == NAMES - {REPORT}
    assert size(saved) == sum(map(len, plain.files().values()))
    assert Bundle.load(saved).report == ""
    assert plain.digest() == make().digest()


def test_a_report_can_be_taken_out_of_a_bundle(saved: Path, tmp_path: Path) -> None:
    (saved / REPORT).unlink()
    back = Bundle.load(saved)
    assert back.report == ""
    assert back.digest() == make().digest()
    assert size(saved) == sum(path.stat().st_size for path in saved.iterdir())
    assert Bundle.load(back.save(tmp_path / "again")).report == ""


def test_awkward_labels_round_trip_and_nothing_is_written_outside(tmp_path: Path) -> None:
    assert len(AWKWARD) >= 60
    scores = dict.fromkeys(AWKWARD, 0.5)
    make(labels=AWKWARD, scores=scores).save(tmp_path / "model")
    back = Bundle.load(tmp_path / "model")
    assert back.labels == AWKWARD
    assert back.scores == scores
    assert os.listdir(tmp_path) == ["model"]
    assert {path.name for path in (tmp_path / "model").iterdir()} == NAMES


@given(st.lists(st.text(st.characters(codec=None), max_size=8), max_size=5))
def test_any_label_round_trips_or_is_refused(labels: list[str]) -> None:
    try:
        files = make(labels=labels).files()
    except ValueError:
        assert any(re.search("[\ud800-\udbff][\udc00-\udfff]", label) for label in labels)
    else:
        assert json.loads(files["labels.json"]) == labels


def test_split_surrogates_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels\.json has a character split into two surrogates"):
        make(labels=["\ud83d" + "\ude00"]).files()


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=8))
def test_golden_probabilities_are_restored_bit_for_bit(probabilities: list[float]) -> None:
    scalars = list(np.array(probabilities, np.float32))
    files = make(golden=[("x", scalars)]).files()
    [(_, back)] = Bundle._parse(files).golden
    assert np.array(back, np.float32).tobytes() == np.array(probabilities, np.float32).tobytes()


def test_strided_and_big_endian_arrays_keep_their_values(tmp_path: Path) -> None:
    square = np.arange(12, dtype=np.float32).reshape(3, 4)
    weights = {"t": square.T, "slice": square[:, ::2], "big": square.astype(">f4"), "back": square[::-1]}
    back = Bundle.load(make(weights=weights).save(tmp_path / "m")).weights
    for key, array in weights.items():
        assert np.array_equal(back[key], array), key


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    shuffled = make(
        pipeline=dict(reversed(make().pipeline.items())),
        weights={key: np.array(array, order="F") for key, array in reversed(make().weights.items())},
    )
    assert shuffled.files() == make().files()
    first, second = make().save(tmp_path / "a"), shuffled.save(tmp_path / "b")
    for name in NAMES:
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert pickle.loads(pickle.dumps(make())).digest() == make().digest()


@pytest.mark.parametrize("field", ["labels", "vocab", "graph", "weights", "tables", "golden", "recipe", "versions"])
def test_digest_moves_with_every_content(field: str) -> None:
    changed = {
        "labels": ["体育", "财经 "],
        "vocab": [("<unk>", 1), ("球", 12), ("股", 9)],
        "graph": bytes(255),
        "weights": {"W": np.zeros((3, 4), np.float32)},
        "tables": {},
        "golden": [],
        "recipe": {"lr": 0.001, "seed": 2},
        "versions": {},
    }
    assert make(**{field: changed[field]}).digest() != make().digest()
    assert re.fullmatch("[0-9a-f]{64}", make().digest())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["weights", "tables"])
def test_nan_and_inf_refuse_to_save(tmp_path: Path, field: str, bad: float) -> None:
    target = make().save(tmp_path / "m")
    with pytest.raises(ValueError, match=r"array 'gate' has NaN or inf"):
        make(**{field: {"ok": np.ones(2), "gate": np.array([1, bad], np.float16)}}).save(target)
    assert Bundle.load(target).digest() == make().digest()
    assert os.listdir(tmp_path) == ["m"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab": [("a b", 1)]}, r"vocab\.tsv cannot hold token 'a b' \(id 0\)"),
        ({"vocab": [("a", 1), ("b\t", 1)]}, r"token 'b\\t' \(id 1\)"),
        ({"vocab": [("\u3000", 1)]}, r"token '\\u3000'"),
        ({"vocab": [("", 1)]}, r"token ''"),
        ({"vocab": [("\ud800", 1)]}, "lone surrogate"),
        ({"vocab": [("a", -1)]}, r"vocab\.tsv line 1 should be token<TAB>count"),
        ({"labels": [1]}, r"labels\.json should hold a str where it has a int"),
        ({"labels": "ab"}, r"labels\.json should hold a list"),
        ({"pipeline": {"x": object()}}, r"pipeline\.json cannot be written as JSON"),
        ({"scores": {"f1": float("nan")}}, r"scores\.json cannot be written as JSON"),
        ({"golden": [("x", [float("inf")])]}, r"golden\.json cannot be written"),
        ({"golden": [(1, [0.5])]}, r"golden\.json should hold .* at place 0"),
        ({"versions": {"numpy": 2}}, r"versions\.json should hold a str"),
        ({"weights": {"w": np.array(["x"])}}, r"model\.safetensors cannot hold these arrays"),
        ({"weights": {"__metadata__": np.ones(1)}}, r"model\.safetensors is not readable"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changes).save(tmp_path / "m")
    assert os.listdir(tmp_path) == []


def test_json_nested_too_deep_is_a_value_error(saved: Path) -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"d": deep}
    with pytest.raises(ValueError, match=r"recipe\.json cannot be written"):
        make(recipe=deep).files()
    while deep:  # or the interpreter's own clean-up would be what recurses
        deep = deep["d"]
    remanifest(saved, "recipe.json", b'{"d":' * 100_000 + b"1" + b"}" * 100_000)
    with pytest.raises(ValueError, match=r"recipe\.json is not the JSON it should be"):
        Bundle.load(saved)
    (saved / MANIFEST).write_bytes(b"[" * 60_000)
    with pytest.raises(ValueError, match=r"manifest\.json is not the JSON it should be"):
        Bundle.load(saved)


def test_a_file_beyond_two_gigabytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fenlei.bundle.MAX_FILE_BYTES", 1000)
    with pytest.raises(ValueError, match=r"model\.onnx would have 1001 bytes, more than 1000"):
        make(graph=bytes(1001)).files()


@pytest.mark.parametrize("name", sorted(LISTED))
def test_a_flipped_byte_is_refused(saved: Path, name: str) -> None:
    data = (saved / name).read_bytes()
    for place in {0, len(data) // 3, len(data) // 2, len(data) - 1}:
        (saved / name).write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(ValueError, match=rf"{re.escape(name)} is damaged.*copy the whole bundle again or train"):
            Bundle.load(saved)
    (saved / name).write_bytes(data)
    assert Bundle.load(saved).digest() == make().digest()


def test_a_flipped_byte_in_the_manifest_is_refused_or_harmless(saved: Path) -> None:
    data = (saved / MANIFEST).read_bytes()
    refused = 0
    for place in range(0, len(data), 3):
        (saved / MANIFEST).write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        try:
            assert Bundle.load(saved).digest() == make().digest()
        except ValueError:
            refused += 1
    assert refused > len(data) / 3 * 0.7  # the rest is blanks between values and the version shown to people


@pytest.mark.parametrize("name", sorted(NAMES))
def test_truncated_grown_missing_and_linked_files_are_refused(saved: Path, tmp_path: Path, name: str) -> None:
    path, data = saved / name, (saved / name).read_bytes()
    for wrong in (b"", data[:-2], data[: len(data) // 2], data + b"\0"):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match=re.escape(name)):
            Bundle.load(saved)
    path.unlink()
    if name != REPORT:
        with pytest.raises(ValueError, match=rf"{re.escape(name)} is missing|has no {re.escape(name)}"):
            Bundle.load(saved)
    (tmp_path / "elsewhere").write_bytes(data)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=rf"{re.escape(name)} is a link"):
        Bundle.load(saved)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match="not a plain file"):
        Bundle.load(saved)


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    def apply(data: bytes) -> bytes:
        manifest = json.loads(data)
        change(manifest)
        return json.dumps(manifest).encode()

    return apply


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit(lambda m: m.update(format=3)), r"model was written by a newer fenlei \(format 3, this one reads 2\): up"),
        (edit(lambda m: m.update(format=3, files="elsewhere")), "newer fenlei"),
        (edit(lambda m: m.update(format=0)), "states no format 1"),
        (edit(lambda m: m.update(format="1")), "states no format 1"),
        (edit(lambda m: m.pop("format")), "states no format 1"),
        (edit(lambda m: m.update(files=[])), "states no format 1"),
        (edit(lambda m: m["files"].pop("vocab.tsv")), r"does not list vocab\.tsv"),
        (edit(lambda m: m["files"].update({"../x": m["files"]["vocab.tsv"]})), r"unknown file '\.\./x'"),
        (edit(lambda m: m["files"].update({"extra.json": {}})), r"unknown file 'extra\.json'"),
        (edit(lambda m: m["files"].update({"vocab.tsv": 1})), r"no usable size and SHA-256 of vocab\.tsv"),
        (edit(lambda m: m["files"]["vocab.tsv"].update(bytes="9")), "no usable size"),
        (edit(lambda m: m["files"]["vocab.tsv"].update(bytes=2**40)), "no usable size"),
        (edit(lambda m: m["files"]["vocab.tsv"].update(sha256=None)), "no usable size"),
        (lambda data: b"[]", "should hold a dict"),
        (lambda data: b"\xff", "not the JSON"),
        (lambda data: b"\xff\xfe" + data.decode().encode("utf-16-le"), "not the JSON"),
        (lambda data: data + b" " * 2**16, "at most 65536"),
    ],
)
def test_a_wrong_manifest_is_refused(saved: Path, change: Callable[[bytes], bytes], message: str) -> None:
    (saved / MANIFEST).write_bytes(change((saved / MANIFEST).read_bytes()))
    with pytest.raises(ValueError, match=message):
        Bundle.load(saved)


def test_numbers_that_the_weights_lack_are_found_when_a_bundle_is_loaded(saved: Path) -> None:
    lacking = b"\x3a\x0a\x2a\x08\x08\x03\x10\x01\x42\x02no"  # an initializer `no` of three float32 without them
    remanifest(saved, "model.onnx", lacking)
    with pytest.raises(ValueError, match=r"cannot be loaded, as model\.onnx takes 'no' from the weights"):
        Bundle.load(saved)


def test_wrong_paths_get_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no bundle at .*nowhere$"):
        Bundle.load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"is not a bundle, as it has no manifest\.json"):
        Bundle.load(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError, match="is a file where a bundle's folder was expected"):
        Bundle.load(tmp_path / "file")


def test_hostile_files_with_a_true_manifest_load_or_raise_value_error(saved: Path) -> None:
    rng = random.Random(1)
    pristine = make().files()
    refused = strange = 0
    for turn in range(330):
        name = sorted(LISTED - {"README.md", "model.onnx"})[turn % 11]
        data = bytearray(pristine[name])
        for _ in range(rng.randint(1, 4)):
            place = rng.randrange(len(data))
            data[place : place + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
            data = data or bytearray(b"\0")
        remanifest(saved, name, bytes(data))
        try:
            Bundle.load(saved)
        except ValueError as error:
            refused += name in str(error)
            strange += name not in str(error)
        remanifest(saved, name, pristine[name])
    assert refused > 100
    assert strange == 0


@pytest.mark.parametrize(
    "header",
    [
        '{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}',
        '{"a":{"dtype":"U8","shape":[0,9223372036854775807,9],"data_offsets":[0,0]}}',
        '{"a":{"dtype":"U8","shape":[' + "1," * 99 + '1],"data_offsets":[0,1]}}',
        '{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}',
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[-1,0]}}',
        '{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,-1]}}',
        '{"a":{"dtype":"U8","shape":[true],"data_offsets":[0,1]}}',
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"more":[0,1]}}',
        '{"a":{"dtype":"U8","data_offsets":[0,1]}}',
        '[{"dtype":"U8","shape":[1],"data_offsets":[0,1]}]',
    ],
)
def test_hostile_safetensors_headers_are_value_errors(saved: Path, header: str) -> None:
    size_of_data = int(header.rsplit(",", 1)[1].rstrip("]}"))
    data = len(header).to_bytes(8, "little") + header.encode() + bytes(max(0, min(size_of_data, 2)))
    remanifest(saved, "model.safetensors", data)
    with pytest.raises(ValueError, match=r"cannot be loaded, as model\.safetensors is not readable"):
        Bundle.load(saved)


def test_only_a_bundle_or_an_empty_folder_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "m"
    target.mkdir()
    assert make().save(target) == target
    make(graph=b"new").save(str(target))
    assert Bundle.load(target).graph == b"new"
    with pytest.raises(FileExistsError, match="already holds a bundle"):
        make().save(target, overwrite=False)
    (target / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"\(it has 'notes\.txt'\): name another folder"):
        make().save(target)
    assert Bundle.load(target).graph == b"new"
    assert (target / "notes.txt").read_text() == "mine"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "README.md").write_text("mine")
    with pytest.raises(FileExistsError, match=r"\(it has no manifest\.json\)"):
        make().save(tmp_path / "other")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="is a file"):
        make().save(tmp_path / "file")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match=r"file is a file, so .*file/B cannot be a folder: name another"):
        check_target(tmp_path / "file" / "B")
    with pytest.raises(FileExistsError, match=r"lies within the bundle .*: name another folder"):
        check_target(make().save(tmp_path / "outer") / "B")
    assert check_target(tmp_path / "new" / "er") == (tmp_path / "new" / "er").resolve()
    assert sorted(os.listdir(tmp_path)) == ["file", "m", "other", "outer"]


def test_a_damaged_bundle_can_be_replaced_and_a_linked_one_stays_a_link(saved: Path, tmp_path: Path) -> None:
    (saved / MANIFEST).write_text("{")
    (saved / "labels.json").unlink()
    (tmp_path / "latest").symlink_to("model")
    make(graph=b"two").save(tmp_path / "latest")
    assert (tmp_path / "latest").is_symlink()
    assert Bundle.load(saved).graph == Bundle.load(tmp_path / "latest").graph == b"two"
    assert sorted(os.listdir(tmp_path)) == ["latest", "model"]


def test_parents_are_made_and_the_longest_name_works(tmp_path: Path) -> None:
    name = "模" * 85
    for _ in range(2):
        make().save(tmp_path / "a" / "b" / name)
    assert os.listdir(tmp_path / "a" / "b") == [name]
    assert Bundle.load(tmp_path / "a" / "b" / name).digest() == make().digest()


class Failing:
    """A function that raises at one of its calls, counted from 0."""

    def __init__(self, function: Callable[..., Any], fatal: int, fault: BaseException) -> None:
        self.function, self.fatal, self.fault, self.calls = function, fatal, fault, 0

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        if self.calls == self.fatal + 1:
            raise self.fault
        return self.function(*arguments)


@pytest.fixture(params=["exchange", "renames"])
def swap(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "renames":
        monkeypatch.setattr(folder_module, "_exchange", lambda one, two: False)
    return str(request.param)


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("existing", [True, False])
def test_a_failing_sync_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swap: str, fault: BaseException, existing: bool
) -> None:
    target = tmp_path / "m"
    if existing:
        make().save(target)
    fsync = os.fsync
    syncs = len(NAMES) + 2  # every file, the folder, its parent
    for fatal in range(syncs):
        failing = Failing(fsync, fatal, fault)
        monkeypatch.setattr(os, "fsync", failing)
        with pytest.raises(type(fault)):
            make(graph=b"new").save(target)
        assert failing.calls == fatal + 1
        assert os.listdir(tmp_path) == (["m"] if existing else [])
        assert not existing or Bundle.load(target).digest() == make().digest()
    counting = Failing(fsync, syncs, fault)
    monkeypatch.setattr(os, "fsync", counting)
    make(graph=b"new").save(target)
    assert counting.calls == syncs
    assert Bundle.load(target).graph == b"new"


def test_a_failing_rename_changes_nothing(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "_exchange", lambda one, two: False)
    rename = os.rename
    for fatal in (0, 1):
        monkeypatch.setattr(os, "rename", Failing(rename, fatal, PermissionError("denied")))
        with pytest.raises(PermissionError, match="denied"):
            make(graph=b"new").save(saved)
        assert Bundle.load(saved).digest() == make().digest()
        assert os.listdir(tmp_path) == ["model"]


def test_a_copy_left_aside_by_a_kill_is_pointed_to(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "_exchange", lambda one, two: False)
    rename = os.rename

    class Killed(BaseException):
        pass

    def killed(source: Path, target: Path) -> None:
        if source != saved:
            raise Killed
        rename(source, target)

    monkeypatch.setattr(os, "rename", killed)
    with pytest.raises(Killed):
        make(graph=b"new").save(saved)
    with pytest.raises(FileNotFoundError, match=r"an interrupted save left .*\.model\.old-\w+: rename it to .*model"):
        Bundle.load(saved)


def test_a_full_disk_leaves_the_old_bundle(saved: Path, tmp_path: Path) -> None:
    script = """
import resource, sys
from fenlei.bundle import Bundle
bundle = Bundle.load(sys.argv[1])
bundle.graph = bytes(100_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
bundle.save(sys.argv[1])
"""
    done = subprocess.run([sys.executable, "-c", script, saved], capture_output=True, text=True)
    assert done.returncode == 1
    assert "OSError: [Errno 27]" in done.stderr
    assert os.listdir(tmp_path) == ["model"]
    assert Bundle.load(saved).digest() == make().digest()


def test_twenty_kills_during_saves_leave_the_old_bundle_or_the_new(saved: Path) -> None:
    script = """
import sys
from fenlei.bundle import Bundle
bundle = Bundle.load(sys.argv[1])
print("ready", flush=True)
turn = 0
while True:
    turn += 1
    bundle.graph = bytes([turn % 256]) * 500_000
    bundle.save(sys.argv[1])
"""
    rng = random.Random(3)
    start = time.perf_counter()
    make(graph=bytes(500_000)).save(saved)
    one_save = time.perf_counter() - start
    replaced = 0
    for _ in range(20):
        before = Bundle.load(saved).digest()
        with subprocess.Popen([sys.executable, "-c", script, saved], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(rng.uniform(0, 3 * one_save))
            process.send_signal(signal.SIGKILL)
        after = Bundle.load(saved)
        assert len(set(after.graph)) == 1
        replaced += after.digest() != before
    assert replaced >= 1
    assert any(name.startswith(".model.new-") for name in os.listdir(saved.parent)), (
        "no kill came in the midst of a save"
    )


def test_a_load_during_saves_sees_a_whole_bundle(saved: Path) -> None:
    script = """
import sys
from fenlei.bundle import Bundle
bundle = Bundle.load(sys.argv[1])
for turn in range(40):
    bundle.graph = bytes([turn]) * 1000
    bundle.save(sys.argv[1])
"""
    loads = 0
    with subprocess.Popen([sys.executable, "-c", script, saved]) as process:
        while process.poll() is None:
            Bundle.load(saved)
            loads += 1
    assert process.returncode == 0
    assert loads > 5


def test_loading_opens_no_socket_and_runs_no_code(saved: Path) -> None:
    script = """
import sys
from fenlei.bundle import Bundle
events = set()
sys.addaudithook(lambda event, arguments: events.add(event))
Bundle.load(sys.argv[1])
bad = ("socket", "pickle", "exec", "compile", "import", "os.system", "os.exec", "os.fork", "subprocess", "ctypes")
print(sorted(event for event in events if event.startswith(bad)), "open" in events)
print(sorted({"torch", "onnx", "onnxruntime", "sklearn"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script, saved], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[] True", "[]"]


def test_the_card_leaves_out_what_has_no_value() -> None:
    dev = {"accuracy": 0.5, "f1": None, "accuracy_interval": [0.25, 0.75], "classes": {"a": 1}, "confusion": [[1]]}
    card = make(scores={"lead": None, "dev": dev | {"curve": list(range(50))}}).card()
    assert "| dev.accuracy | 0.5 |" in card
    assert "| dev.accuracy\\_interval | 0.25, 0.75 |" in card
    assert not re.search("classes|confusion|curve|entries", card.partition("## Scores")[2])
    assert "lead" not in card
    assert "f1" not in card


def test_the_card_says_what_the_bundle_is(saved: Path) -> None:
    card = (saved / "README.md").read_text(encoding="utf-8")
    assert card == make().card()
    for line in (
        "probability for each of 2 labels",
        "| 0 | 体育 |",
        "fenlei predict BUNDLE",
        "| accuracy | 0.975 |",
        "| per\\_class.体育 | 0.5 |",
        "| skipped | 3 |",
        "| network | bilstm |",
        "| weights | 13 |",
        "| lr | 0.001 |",
        "| numpy | 2.4.6 |",
    ):
        assert line in card, line
    many = make(labels=[f"c{n}" for n in range(150)]).card()
    assert "| 19 | c19 |\n\nand 130 more in `labels.json`." in many
    assert "c20" not in many
    assert "Nothing was recorded." in make(ledger={}).card()
    assert "| … | 40 more |" in make(ledger={f"k{n}": n for n in range(100)}).card()


@given(st.text(max_size=100) | st.sampled_from(AWKWARD))
def test_text_in_the_card_stays_text(text: str) -> None:
    shown = escape(text)
    assert shown.isprintable()
    assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", shown)
    assert not re.search(r"(?<!\\)(\\\\)*[`*_\[\]|~$#!]", re.sub(r"\\[`*_\[\]|~$#!\\]", "", shown))
    plain = re.sub(r"\\([\\`*_\[\]|~$#!])", r"\1", shown)
    plain = plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert plain == text or not text.isprintable() or len(text) > 80


def test_a_card_full_of_awkward_labels_keeps_its_tables() -> None:
    card = make(labels=AWKWARD[-20:], ledger=dict.fromkeys(AWKWARD, "a|b\n")).card()
    rows = [line for line in card.splitlines() if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 3 for row in rows)
    assert "<script" not in card
