"""What is counted, for Prometheus: requests, times, queue, batches, refusals, reloads; of all workers together."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

disable_created_metrics()  # type: ignore[no-untyped-call]  # a line more for each line, of no use here
FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # where workers leave their numbers for each other; unset with one worker
TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """One worker's counters."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        if FOLDER in os.environ:
            forget_the_dead(Path(os.environ[FOLDER]))
        else:
            ProcessCollector(registry=self.registry)
        self.requests = self._counter("requests", "Requests answered", "route", "method", "status")
        self.seconds = Histogram(
            "fenlei_request_seconds", "From header to answer", ["route"], buckets=SECONDS, registry=self.registry
        )
        self.texts = self._counter("texts", "Texts answered", "model")
        self.explained = self._counter("explained", "Texts explained", "model")
        self.rejected = self._counter("rejected", "Requests refused for load", "reason")
        self.vanished = self._counter("vanished", "Clients that did not wait for their answer")
        self.reloads = self._counter("reloads", "Bundles read again", "model", "result")
        self.batches = Histogram("fenlei_batch_texts", "Texts answered together", buckets=SIZES, registry=self.registry)
        self.queue = self._gauge("queue_texts", "Texts that wait or are being answered")
        self.open = self._gauge("open_requests", "Requests being answered")

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"fenlei_{name}", about, labels, registry=self.registry)

    def _gauge(self, name: str, about: str) -> Gauge:
        return Gauge(f"fenlei_{name}", about, multiprocess_mode="livesum", registry=self.registry)

    def page(self) -> bytes:
        """The text that Prometheus reads: the sums over all workers where there are several."""
        if FOLDER not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)


def forget_the_dead(folder: Path) -> None:
    """A killed worker cannot take back what it counted as waiting: a new one does that for it."""
    for path in folder.glob("gauge_live*_*.db"):
        process = int(path.stem.rpartition("_")[2])
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            mark_process_dead(process)  # type: ignore[no-untyped-call]
