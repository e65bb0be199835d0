"""The bundles that answer, by name: loaded and proved before they serve, exchanged without a request being dropped."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from logging import WARNING
from pathlib import Path
from typing import Any

from fenlei import __version__
from fenlei import bundle as bundles
from fenlei.bundle.folder import NAMES
from fenlei.runtime import Predictor
from fenlei.serve.journal import note
from fenlei.serve.metrics import Metrics
from fenlei.serve.replies import Refusal, json_bytes, quoted

Signature = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, eq=False)
class Model:
    """One bundle in memory, and the pages about it as they are sent."""

    name: str
    predictor: Predictor
    digest: str
    facts: Mapping[str, Any]
    card: bytes
    report: bytes


class Models:
    """All bundles of a server; the first one answers where none is named."""

    def __init__(self, folders: Mapping[str, str], metrics: Metrics) -> None:
        self.folders = dict(folders)
        self.metrics = metrics
        self.ready = False
        self._models: dict[str, Model] = {}
        self._seen: dict[str, Signature] = {}
        self._changing: dict[str, Signature] = {}
        self._asked = asyncio.Event()

    def get(self, name: str | None) -> Model:
        """The model of that name; ``Refusal`` 404 for another name, 503 before all are loaded."""
        if not self.ready:
            raise Refusal(503, "the server is starting or stopping: try again in a second", retry_after="1")
        if name is not None and name not in self._models:
            raise Refusal(404, f"there is no model {quoted(name)}; the models are {', '.join(self._models)}")
        return self._models[name] if name is not None else next(iter(self._models.values()))

    async def load(self) -> None:
        """All of them; errors as of ``read``."""
        for name, folder in self.folders.items():
            self._seen[name] = signature(folder)
            self._models[name] = await asyncio.to_thread(read, name, folder)
            note("loaded", model=name, digest=self._models[name].digest)
        self.ready = True

    def poke(self) -> None:
        """Read every bundle again now, changed or not."""
        self._asked.set()

    async def watch(self, seconds: float) -> None:
        """Look for ever, every so many seconds, whether a bundle has changed, and exchange those that have."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), seconds)
            now = self._asked.is_set()
            self._asked.clear()
            for name, folder in self.folders.items():
                found = await asyncio.to_thread(signature, folder)
                if now or self._has_changed(name, found):
                    self._seen[name] = found
                    await self._exchange(name, folder)

    def _has_changed(self, name: str, found: Signature) -> bool:
        """Whether another bundle lies there, the same at two looks: what is still being copied is not read."""
        settled = self._changing.get(name) == found
        self._changing[name] = found
        return settled and found != self._seen.get(name)

    async def _exchange(self, name: str, folder: str) -> None:
        """The old one goes on until the new one is proved; requests in work keep the one they began with."""
        try:
            model = await asyncio.to_thread(read, name, folder)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the old one stays
            self.metrics.reloads.labels(name, "refused").inc()
            note("a changed bundle was refused, the old one stays", WARNING, model=name, reason=str(error))
            return
        self._models[name] = model
        self.metrics.reloads.labels(name, "done").inc()
        note("loaded again", model=name, digest=model.digest)


def signature(folder: str) -> Signature:
    """What changes when a file of the bundle does: cheap, as no file is read."""
    found = []
    for name in sorted(NAMES):
        with contextlib.suppress(OSError):
            info = os.lstat(Path(folder) / name)
            found.append((name, info.st_ino, info.st_size, info.st_mtime_ns))
    return tuple(found)


def read(name: str, folder: str) -> Model:
    """A bundle that has answered its golden inputs as it should; errors of ``Bundle.load`` and ``verify``."""
    predictor = Predictor(folder)
    predictor.verify()
    bundle = predictor.bundle
    facts = facts_of(predictor, bundles.size(folder))
    report = bundle.report.encode("utf-8", "backslashreplace")
    model = Model(name, predictor, bundle.digest(), facts, bundle.card().encode("utf-8", "backslashreplace"), report)
    # The session and the pipeline have what they need: the bundle's own copy would double the memory.
    predictor.bundle = replace(bundle, graph=b"", weights={}, tables={}, evidence={}, report="")
    return model


def facts_of(predictor: Predictor, size: int) -> dict[str, Any]:
    """The keys of ``GET /info`` that belong to one bundle."""
    bundle = predictor.bundle
    dev = bundle.scores.get("dev") or {}
    return {
        "labels": bundle.labels,
        "several": predictor.several,
        "examples": [text for text, _ in bundle.golden],
        "coverage": [list(point) for point in predictor.decisions.coverage],
        "scores": {name: dev[name] for name in ("accuracy", "macro_f1", "micro_f1", "n") if name in dev},
        "parameters": sum(int(array.size) for array in bundle.weights.values()),
        "bytes": size,
        "digest": bundle.digest(),
        "fenlei": __version__,
        "report": bool(bundle.report),
    }


def info_bytes(models: Models, model: Model) -> bytes:
    """The body of ``GET /info``."""
    return json_bytes({"models": list(models.folders), "model": model.name, **model.facts})
