"""The log: one line of JSON a request and an event, without texts; and the middleware that writes and counts them."""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fenlei.serve.replies import Refusal

if TYPE_CHECKING:
    from fenlei.serve.metrics import Metrics

LOG = logging.getLogger("fenlei.serve")
VANISHED = 499  # what nginx writes for it; nobody receives it
BROKEN = Refusal(500, "the server failed to answer; its log says why")
PATH = 200  # characters of a path that are written down


class Lines(logging.Formatter):
    """A record as one line of JSON; a traceback is one string in it."""

    def format(self, record: logging.LogRecord) -> str:
        """Time in UTC, level, message, then what the record was given as ``facts``."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "process": record.process,
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def config(quiet: bool) -> dict[str, Any]:
    """For ``logging.config``: fenlei's own lines and those of the server below it, all on standard error."""
    handlers = ["lines"]
    own = {"handlers": handlers, "level": "WARNING" if quiet else "INFO", "propagate": False}
    below = {"handlers": handlers, "level": "WARNING", "propagate": False}
    return {
        "formatters": {"lines": {"()": f"{__name__}.Lines"}},
        "handlers": {"lines": {"class": "logging.StreamHandler", "formatter": "lines", "stream": "ext://sys.stderr"}},
        "loggers": {LOG.name: own, "_granian": below, "granian.access": below},
    }


def note(message: str, level: int = logging.INFO, **facts: Any) -> None:
    """An event."""
    LOG.log(level, message, extra={"facts": facts})


class Journal:
    """ASGI middleware, the outermost: what went through is counted and written down, and no exception leaves it.

    An application puts more for the line into ``scope["facts"]``.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: frozenset[str]) -> None:
        self.app = app
        self.metrics = metrics
        self.routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Only HTTP is written down."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status, scope["facts"] = time.perf_counter(), 0, {}

        async def send_and_look(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self.metrics.open.inc()
        try:
            await self.app(scope, receive, send_and_look)
        except Exception:  # the last line of defence: what broke is told to the log, not to the client
            LOG.exception("a request failed", extra={"facts": {"path": scope["path"][:PATH]}})
            if not status:
                await BROKEN.reply()(scope, receive, send_and_look)
        finally:
            self.metrics.open.dec()
            self._write(scope, status, time.perf_counter() - began)

    def _write(self, scope: Scope, status: int, seconds: float) -> None:
        if status == VANISHED:
            self.metrics.vanished.inc()
        route = scope["path"] if scope["path"] in self.routes else "other"
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "OPTIONS") else "other"
        self.metrics.requests.labels(route, method, str(status)).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        if not LOG.isEnabledFor(logging.INFO):
            return
        client = (scope.get("client") or ("",))[0]
        facts = {"client": client, "method": scope["method"][:20], "path": scope["path"][:PATH], "status": status}
        note("request", **facts, milliseconds=round(seconds * 1000, 3), **scope["facts"])
