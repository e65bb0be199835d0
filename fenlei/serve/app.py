"""The routes: what each path answers, and the application around them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from importlib.resources import files
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from fenlei.decisions import Rule
from fenlei.runtime import Floats, Predictor
from fenlei.serve.batching import Batcher
from fenlei.serve.guard import Guard
from fenlei.serve.journal import BROKEN, VANISHED, Journal
from fenlei.serve.limits import Intake, Vanished
from fenlei.serve.metrics import TYPE, Metrics
from fenlei.serve.models import Model, Models, info_bytes
from fenlei.serve.openapi import document
from fenlei.serve.query import Query
from fenlei.serve.replies import Refusal, json_bytes, json_reply
from fenlei.serve.settings import Limits, Settings

FOLDER = files("fenlei.serve") / "page"
PAGE = {"/": "index.html", "/page.css": "page.css", "/page.js": "page.js"}
TYPES = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A report comes with its bundle, from whoever made that. Its script may sort its tables, but in a sandbox, whose origin
# is not this server's, and without a way to ask anyone anything.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts"
)
# How long the loop may keep the interpreter from the thread that answers, which asks for it after every matrix product.
# With Python's 5 ms the slowest hundredth at half load took 207 ms where it takes 13, and under five times as much load
# as can be answered half of the rate was lost where it is a quarter.
SWITCH_SECONDS = 0.0005
AT_ONCE = 20_000  # probabilities that are looked through inside the loop; of more the others would notice
DECIMALS = 6  # of a probability, as `fenlei predict` writes it
T = TypeVar("T")


class Service:
    """The endpoints and what they share."""

    def __init__(self, settings: Settings, parent: int | None = None) -> None:
        self.parent = parent
        self.limits = settings.limits
        self.metrics = Metrics()
        self.models = Models(settings.bundles, self.metrics)
        self.intake = Intake(settings.limits)
        self.batcher = Batcher(settings.limits, self.metrics)
        self.schema = json_bytes(document(settings.limits))

    @contextlib.asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Bundles are loaded before the first request and looked after until the last."""
        await self.models.load()
        self.batcher.start()
        sys.setswitchinterval(SWITCH_SECONDS)
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError, AttributeError):
            loop.add_signal_handler(signal.SIGHUP, self.models.poke)  # only where a process has it, in its main thread
        watching = [loop.create_task(self.models.watch(self.limits.poll_seconds))]
        if self.parent is not None:
            watching.append(loop.create_task(end_with(self.parent, self.limits.poll_seconds)))
        try:
            yield
        finally:
            self.models.ready = False
            for task in watching:
                task.cancel()
            await asyncio.wait(watching)
            await self.batcher.stop()

    async def predict(self, request: Request) -> Response:
        """``POST /predict``."""
        self.batcher.check_room()
        async with self.intake.body(request) as body:
            query = Query.parse(body, self.limits)
        model = self.models.get(query.model)
        request.scope["facts"].update(model=model.name, texts=len(query.texts))
        return json_reply(await self._while_waited_for(request, self._predictions(model, query)))

    async def _predictions(self, model: Model, query: Query) -> dict[str, Any]:
        predictor = model.predictor
        check_rule(predictor, query, self.limits)
        rows = await self.batcher.probabilities(predictor, query.texts)
        self.metrics.texts.labels(model.name).inc(len(query.texts))
        if rows.size > AT_ONCE:
            found = await asyncio.to_thread(predictions, predictor, rows, query.rule)
        else:
            found = predictions(predictor, rows, query.rule)
        if query.explain:
            explanations = await self.batcher.explanations(predictor, query.texts)
            self.metrics.explained.labels(model.name).inc(len(query.texts))
            for each, explanation in zip(found, explanations, strict=True):
                each["explanation"] = explanation.to_json()
        return {"model": model.name, "predictions": found}

    async def _while_waited_for(self, request: Request, work: Coroutine[Any, Any, T]) -> T:
        """The result; 503 when it takes too long, ``Vanished`` when the client has gone: then the work ends, too."""
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(request.receive())
        try:
            await asyncio.wait({task, gone}, timeout=self.limits.answer_seconds, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if gone.done():
                raise Vanished
            self.metrics.rejected.labels("deadline").inc()
            sentence = f"the answer took longer than {self.limits.answer_seconds:g} s: send less, or try again"
            raise Refusal(503, sentence, retry_after="1")
        finally:
            gone.cancel()
            task.cancel()

    async def health(self, _: Request) -> Response:
        """``GET /health``: the process answers."""
        return json_reply({"status": "alive"})

    async def ready(self, _: Request) -> Response:
        """``GET /ready``: every bundle is loaded."""
        self.models.get(None)
        return json_reply({"status": "ready"})

    async def info(self, request: Request) -> Response:
        """``GET /info``."""
        return Response(info_bytes(self.models, self._asked_for(request)), media_type="application/json")

    async def card(self, request: Request) -> Response:
        """``GET /card``: Markdown, as plain text, so that no browser makes more of it."""
        return Response(self._asked_for(request).card, media_type="text/plain; charset=utf-8")

    async def report(self, request: Request) -> Response:
        """``GET /report``."""
        model = self._asked_for(request)
        if not model.report:
            raise Refusal(404, f"the model {model.name} has no report")
        headers = {"content-security-policy": REPORT_POLICY}
        return Response(model.report, headers=headers, media_type="text/html; charset=utf-8")

    async def numbers(self, _: Request) -> Response:
        """``GET /metrics``."""
        return Response(await asyncio.to_thread(self.metrics.page), media_type=TYPE)

    async def openapi(self, _: Request) -> Response:
        """``GET /openapi.json``."""
        return Response(self.schema, media_type="application/json")

    def _asked_for(self, request: Request) -> Model:
        return self.models.get(request.query_params.get("model"))

    def routes(self) -> list[Route]:
        """Every path; what is not here is 404, whatever its spelling."""
        reads = {
            "/health": self.health,
            "/ready": self.ready,
            "/info": self.info,
            "/card": self.card,
            "/report": self.report,
            "/metrics": self.numbers,
            "/openapi.json": self.openapi,
        }
        found = [Route("/predict", self.predict, methods=["POST"])]
        found += [Route(path, endpoint, methods=["GET"]) for path, endpoint in reads.items()]
        return found + [Route(path, page_of(name), methods=["GET"]) for path, name in PAGE.items()]


def application(settings: Settings, parent: int | None = None) -> ASGIApp:
    """The whole server as one ASGI application; bundles are loaded when it starts up.

    A worker is given the process that started it, and ends when that has ended.
    """
    service = Service(settings, parent)
    routes = service.routes()
    app = Starlette(
        routes=routes,
        lifespan=service.lifespan,
        exception_handlers={
            Refusal: refuse,
            HTTPException: refuse_http,
            Vanished: refuse_nobody,
            Exception: refuse_broken,
        },
    )
    app.router.redirect_slashes = False
    return Journal(Guard(app, settings), service.metrics, frozenset(route.path for route in routes))


def check_rule(predictor: Predictor, query: Query, limits: Limits) -> None:
    """``Refusal`` where the model has nothing that the rule asks for, or where the answer would be too long."""
    try:
        predictor.decisions.cutoffs(predictor.labels, query.rule)
    except ValueError as error:
        raise Refusal(400, str(error)) from None
    classes = len(predictor.labels)
    each = min(query.rule.top or (classes if predictor.several else 1), classes)
    if each * len(query.texts) > limits.named:
        sentence = f"{len(query.texts):,} texts with up to {each:,} labels each are more than {limits.named:,} labels"
        raise Refusal(413, f"{sentence} in one answer: send fewer texts or a smaller top")


def predictions(predictor: Predictor, rows: Floats, rule: Rule) -> list[dict[str, Any]]:
    """Every text's answer as JSON can hold it."""
    return [
        {
            "labels": list(answer.labels),
            "probabilities": [round(probability, DECIMALS) for probability in answer.probabilities],
            "unknown": answer.unknown,
        }
        for answer in predictor.decide(rows, rule)
    ]


def page_of(name: str) -> Any:
    """An endpoint with one file of the page, read now: a request can name no file."""
    path = FOLDER / name
    content = path.read_bytes() if path.is_file() else None
    headers = {"content-security-policy": PAGE_POLICY}

    async def page(_: Request) -> Response:
        if content is None:
            raise Refusal(404, "this installation has no page")
        return Response(content, headers=headers, media_type=TYPES[name.partition(".")[2]])

    return page


async def refuse(_: Request, error: Exception) -> Response:
    """A refusal as the client sees it."""
    assert isinstance(error, Refusal)
    return error.reply()


async def refuse_http(request: Request, error: Exception) -> Response:
    """The router's own refusals, in the same form; OPTIONS learns what it asked for."""
    assert isinstance(error, HTTPException)
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if error.status_code == 405:
        headers["allow"] = f"{headers.get('allow', '')}, OPTIONS"
        if request.method == "OPTIONS":
            return Response(None, 204, headers)
        return json_reply({"error": f"this path answers {headers['allow']} only"}, 405, headers)
    if error.status_code == 404:
        return json_reply({"error": "there is nothing at this path; /openapi.json lists the paths"}, 404)
    return json_reply({"error": str(error.detail)}, error.status_code, headers)


async def refuse_nobody(_: Request, __: Exception) -> Response:
    """For the journal: the client has gone."""
    return Response(None, VANISHED)


async def refuse_broken(_: Request, __: Exception) -> Response:
    """What the client is told of a fault; the exception goes on to the journal."""
    return BROKEN.reply()


async def end_with(parent: int, seconds: float) -> None:
    """End this worker when the process that would replace it has ended: it must not hold the port alone."""
    while os.getppid() == parent:
        await asyncio.sleep(seconds)
    os.kill(os.getpid(), signal.SIGTERM)
