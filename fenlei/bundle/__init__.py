"""The saved classifier: everything it needs to answer, as one folder of plain data that checks itself.

A bundle is JSON, tab-separated text, safetensors and one ONNX graph. Reading it runs no code from it, and no file is
parsed before its size and SHA-256 agree with `manifest.json`. Equal contents give equal bytes.

`codec` turns values into bytes and back, `initializers` keeps the graph's numbers from being stored twice, `folder`
writes and checks the folder, `card` words the model card.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from fenlei.bundle import codec, initializers
from fenlei.bundle.card import render
from fenlei.bundle.codec import Array, Data
from fenlei.bundle.folder import (
    CARD,
    FORMAT,
    MANIFEST,
    MAX_FILE_BYTES,
    REPORT,
    check_outside,
    check_target,
    digest,
    read,
    size,
    write,
)

__all__ = ["ALONE", "FORMAT", "ONE_BY_ONE", "Bundle", "check_outside", "check_target", "size", "without_network"]

# Noted in a graph to whose answers, to the last bit, it is all the same
ONE_BY_ONE = "steps one by one"  # how many steps of padding a row has
ALONE = "rows alone"  # whether a row stands alone


@dataclass(eq=False)
class Bundle:
    """Everything a trained classifier needs to answer, and to say where it came from.

    Dictionaries are JSON: their keys come back as strings and their tuples as lists. Arrays come back little-endian
    and in C order. Two bundles are the same when their `digest()` is. A bundle can be pickled as it is.
    """

    labels: list[str]
    """One name a class, in the order of the probabilities; any string."""
    vocab: list[tuple[str, int]] = field(repr=False)
    """(token, count) in the order of the ids; a token holds no whitespace."""
    pipeline: dict[str, Any]
    """Settings of the road from text to numbers."""
    tables: dict[str, Array] = field(repr=False)
    """Arrays of that road, such as n-gram hashes (uint64) and idf (float32)."""
    model: dict[str, Any]
    """Name and options of the network."""
    weights: dict[str, Array] = field(repr=False)
    """The network's arrays by parameter name."""
    graph: bytes = field(repr=False)
    """The ONNX graph that answers, whole; on disk without the numbers that ``weights`` hold under the same name."""
    recipe: dict[str, Any]
    scores: dict[str, Any]
    ledger: dict[str, Any]
    versions: dict[str, str]
    golden: list[tuple[str, list[float]]] = field(repr=False)
    """A few texts with the probabilities they got: float32 values, restored bit for bit."""
    decisions: dict[str, Any] = field(default_factory=dict)
    """Thresholds, and the curves on held-out texts behind them."""
    evidence: dict[str, Any] = field(default_factory=dict, repr=False)
    """What the report draws: classes, lengths, mistakes."""
    report: str = field(default="", repr=False)
    """The report as HTML; empty where none was made."""

    def __getattr__(self, name: str) -> Any:
        """The graph of a bundle from disk, made whole when it is asked for: ``detached`` does without."""
        if name != "graph" or "_drained" not in vars(self):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self.graph = initializers.fill(*vars(self)["_drained"])
        return self.graph

    def detached(self) -> tuple[bytes, dict[str, Array], dict[str, Array]]:
        """The graph with its large tables as inputs, these tables, and all the weights that it takes; none is copied.

        A weight that the graph has in another form of its own is not among them.
        """
        lean = self._lean()
        return *initializers.detach(lean, self.weights), initializers.taken(lean, self.weights)

    def _lean(self) -> bytes:
        """The graph without the numbers that the weights hold."""
        if "graph" not in vars(self) and vars(self)["_drained"][1] is self.weights:
            return bytes(vars(self)["_drained"][0])
        return initializers.drain(bytes(self.graph), self.weights)

    @property
    def kinds(self) -> list[tuple[Any, dict[str, Any]]]:
        """The name and the options of each network that answers: nothing where the linear model does so alone."""
        count = self.model.get("branches", 1)
        alike = [(self.model.get("name"), self.model.get("options", {}))] * count
        return [(name, options) for name, options in self.model.get("kinds", alike)[:count]]

    @property
    def network(self) -> str | None:
        """The name of the network that answers, of several kinds their names; None for the linear model alone."""
        return " + ".join(dict.fromkeys(name for name, _ in self.kinds)) or None

    @property
    def several(self) -> bool:
        """Whether a text can have several labels."""
        return self.decisions.get("kind") == "several"

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = True) -> Path:
        """Write the bundle to `folder` all at once: after a failure or a kill it holds the old bundle or the new one.

        The files are written and synced in a hidden folder beside the target, which then changes places with it. On
        Linux that exchange is one step of the file system; elsewhere it is two renames, and a kill in the microseconds
        between them leaves the old bundle as `.NAME.old-*`, where `load` points to it. A kill (not an exception) can
        also leave a hidden `.NAME.new-*`, which may be deleted.

        Raises FileExistsError as `check_target` does, ValueError as `files` does, OSError when the disk refuses.
        """
        target = check_target(folder, overwrite=overwrite)
        write(target, self.files())
        return Path(folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> "Bundle":
        """Read a bundle whose every file has been checked against the manifest.

        Raises FileNotFoundError or NotADirectoryError for a wrong path, and ValueError for a folder that is no bundle,
        is damaged, or was written by a newer fenlei.
        """
        files = read(folder)
        try:
            return cls._parse(files)
        except ValueError as error:
            raise ValueError(f"{folder} cannot be loaded, as {error}: copy it again or train it again") from error

    def files(self) -> dict[str, bytes]:
        """All files of the bundle, name to bytes, the manifest last; they are known to parse again.

        Raises ValueError naming the file and the value that cannot be stored: NaN or inf in an array, whitespace in
        a token, what JSON cannot hold, more than 2 GB in one file.
        """
        files = self._content()
        self._parse(files)
        files[CARD] = self._card(files)
        if self.report:
            files[REPORT] = self.report.encode("utf-8", "backslashreplace")
        files[MANIFEST] = self._manifest(files)
        return files

    def digest(self) -> str:
        """The bundle's identity: SHA-256, 64 hex digits, over the manifest's entries for all that answers.

        Model card and report are left out, so that a fenlei that words them differently still knows the same bundle.
        """
        return digest(self._manifest(self._content()))

    def card(self) -> str:
        """The model card in Markdown; labels and other text in it can neither mark up nor break the page."""
        return self._card(self._content()).decode()

    def _content(self) -> dict[str, bytes]:
        golden = [[text, [float(p) for p in probabilities]] for text, probabilities in self.golden]
        dump = partial(codec.dump_json, dense="packed" in self.model)  # a bundle made small saves the spaces, too
        files = {
            "labels.json": dump("labels.json", self.labels),
            "vocab.tsv": codec.dump_vocab("vocab.tsv", self.vocab),
            "pipeline.json": dump("pipeline.json", self.pipeline),
            "pipeline.safetensors": codec.dump_arrays("pipeline.safetensors", self.tables),
            "model.json": dump("model.json", self.model),
            "model.safetensors": codec.dump_arrays("model.safetensors", self.weights),
            "model.onnx": self._lean(),
            "recipe.json": dump("recipe.json", self.recipe),
            "scores.json": dump("scores.json", self.scores),
            "ledger.json": dump("ledger.json", self.ledger),
            "versions.json": dump("versions.json", self.versions),
            "golden.json": dump("golden.json", golden),
            "decisions.json": dump("decisions.json", self.decisions),
            "evidence.json": dump("evidence.json", self.evidence),
        }
        for name, data in files.items():
            if len(data) > MAX_FILE_BYTES:
                raise ValueError(
                    f"{name} would have {len(data)} bytes, more than {MAX_FILE_BYTES}: train a smaller model"
                )
        return files

    @classmethod
    def _parse(cls, files: Mapping[str, Data]) -> "Bundle":
        weights = codec.parse_arrays(files, "model.safetensors")
        drained = bytes(files["model.onnx"])
        initializers.lacking(drained, weights)
        bundle = cls(
            labels=codec.parse_strings(files, "labels.json"),
            vocab=codec.parse_vocab(files, "vocab.tsv"),
            pipeline=codec.parse_object(files, "pipeline.json"),
            tables=codec.parse_arrays(files, "pipeline.safetensors"),
            model=codec.parse_object(files, "model.json"),
            weights=weights,
            graph=b"",
            recipe=codec.parse_object(files, "recipe.json"),
            scores=codec.parse_object(files, "scores.json"),
            ledger=codec.parse_object(files, "ledger.json"),
            versions=codec.parse_versions(files, "versions.json"),
            golden=codec.parse_golden(files, "golden.json"),
            decisions=codec.parse_object(files, "decisions.json"),
            evidence=codec.parse_object(files, "evidence.json"),
            report=codec.parse_text(files, REPORT) if REPORT in files else "",
        )
        del bundle.graph
        vars(bundle)["_drained"] = drained, weights
        return bundle

    def _manifest(self, files: Mapping[str, bytes]) -> bytes:
        entries = {name: {"sha256": digest(data), "bytes": len(data)} for name, data in files.items()}
        version = self.versions.get("fenlei", "unknown")
        alone = initializers.is_whole(files["model.onnx"])  # then an older fenlei can answer from it
        return codec.dump_json(MANIFEST, {"format": 1 if alone else FORMAT, "fenlei": version, "files": entries})

    def _card(self, files: Mapping[str, bytes]) -> bytes:
        facts = {
            "network": self.network or without_network(self.model),
            "weights": sum(array.size for array in self.weights.values()),
            "tokens in the vocabulary": len(self.vocab),
            "size in MB": sum(map(len, files.values())) / 1e6,
        }
        tables = {
            "Facts": facts,
            "Scores": self.scores,
            "Data": self.ledger,
            "Model": self.model,
            "Recipe": self.recipe,
            "Versions": self.versions,
        }
        return render(self.labels, tables).encode("utf-8", "backslashreplace")


def without_network(model: Mapping[str, Any]) -> str:
    """What to say where no network answers; one that was trained and left out is named."""
    names = [name for name, _ in model.get("kinds", ())] or [model.get("name")]
    left_out = " + ".join(dict.fromkeys(name for name in names if name))
    return "none, the linear model alone" + (f" ({left_out} was trained and left out)" if left_out else "")
