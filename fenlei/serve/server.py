"""The processes: one that watches, and workers that answer; from the first check to the last accepted request."""

from __future__ import annotations

import contextlib
import errno
import http.client
import math
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import TYPE_CHECKING, Any

from fenlei.serve.settings import Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp

READY_SECONDS = 120.0
FILES = 16_384  # open files that are enough for the connections of one worker


def run(settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM, SIGINT, or a worker that keeps failing (``RuntimeError``).

    ``ready`` is called once, with the address of the page, when the server answers. Bundles are proved and the port is
    tried first: errors of ``Bundle.load`` and ``verify``, ``OSError`` for the port.
    """
    address, port = free_address(settings.host, settings.port)
    check(settings.bundles)
    allow_many_files()
    server = granian(settings, address, port)
    server.on_startup(partial(pass_on_hangups, server))
    server.on_startup(partial(announce, settings.host, port, ready))
    with shared_numbers(settings.workers):
        try:
            server.serve(target_loader=partial(load, settings, os.getpid()), wrap_loader=False)
        except SystemExit:  # a worker that ended at the same Ctrl-C is no failure
            if not server.interrupt_signal:
                raise RuntimeError("the workers keep ending, the log says why") from None
        if not server.interrupt_signal:
            raise RuntimeError("the workers keep ending, the log says why")


def granian(settings: Settings, address: str, port: int) -> Any:
    """The server below: HTTP/1.1 alone, every wait bounded, workers replaced."""
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    from fenlei.serve.journal import config

    limits = settings.limits
    return Granian(
        "fenlei",
        address,
        port,
        interface=Interfaces.ASGI,
        workers=settings.workers,
        http=HTTPModes.http1,
        websockets=False,
        backlog=2048,
        backpressure=limits.connections,
        http1_settings=HTTP1Settings(int(limits.header_seconds * 1000), max_buffer_size=limits.header_bytes),
        log_level=LogLevels.warning,
        log_dictconfig=config(settings.quiet),
        respawn_failed_workers=True,
        respawn_interval=0,
        workers_kill_timeout=math.ceil(max(limits.drain_seconds, limits.answer_seconds)),
    )


def load(settings: Settings, parent: int) -> ASGIApp:
    """The application, inside a worker."""
    from fenlei.serve.app import application

    return application(settings, parent)


def check(folders: Mapping[str, str]) -> None:
    """Load and prove every bundle in a process of its own, so that this one stays small and free to fork."""
    with ProcessPoolExecutor(1) as pool:
        for name, folder in folders.items():
            try:
                pool.submit(prove, name, folder).result()
            except BrokenProcessPool:
                raise ValueError(f"{folder} cannot be served: loading it ended the process that tried") from None


def prove(name: str, folder: str) -> None:
    """Load and prove one bundle, without its result, which no other process needs."""
    from fenlei.serve.models import read

    read(name, folder)


def free_address(host: str, port: int) -> tuple[str, int]:
    """The number of the host, and the port, for 0 one that is free; ``OSError`` where they cannot be had.

    Workers share a port with SO_REUSEPORT, with which a second server would silently take half of the requests.
    """
    try:
        kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(kind, socket.SOCK_STREAM) as tried:
            if os.name == "posix":
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # old connections are no hindrance
            tried.bind(address)
            return str(address[0]), int(tried.getsockname()[1])
    except (OSError, OverflowError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        elsewhere = isinstance(error, socket.gaierror) or getattr(error, "errno", None) == errno.EADDRNOTAVAIL
        advice = "--host names an address of this machine" if elsewhere else "--port names another"
        raise OSError(f"cannot listen at {host} port {port}: {reason}; {advice}") from None


def url(host: str, port: int) -> str:
    """Where the page is, for a browser on this machine."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"


def announce(host: str, port: int, ready: Callable[[str], None]) -> None:
    """Call ``ready`` as soon as the server answers, from a thread: this one waits for signals."""

    def ask() -> None:
        address = url(host, port)
        until = time.monotonic() + READY_SECONDS
        while time.monotonic() < until:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if status(address) == 200:
                    ready(address)
                    return
            time.sleep(0.05)

    threading.Thread(target=ask, daemon=True).start()


def status(address: str) -> int:
    """What ``GET /ready`` answers."""
    connection = http.client.HTTPConnection(address.removeprefix("http://").rstrip("/"), timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", "/ready")
        return connection.getresponse().status


def pass_on_hangups(server: Any) -> None:
    """SIGHUP asks every worker to read its bundles again; the server below would replace the workers."""
    if not hasattr(signal, "SIGHUP"):
        return
    own = os.getpid()

    def tell(*_: object) -> None:
        if os.getpid() != own:
            return  # a worker that has not yet its own handler reads its bundles in any case
        for worker in list(server.wrks):
            with contextlib.suppress(OSError):
                os.kill(worker.inner.pid, signal.SIGHUP)

    signal.signal(signal.SIGHUP, tell)


@contextlib.contextmanager
def shared_numbers(workers: int) -> Iterator[None]:
    """A folder in which several workers count together, so that any of them can tell the sums."""
    name = "PROMETHEUS_MULTIPROC_DIR"
    if workers == 1:
        os.environ.pop(name, None)
        yield
        return
    os.environ[name] = tempfile.mkdtemp(prefix="fenlei-serve-")
    try:
        yield
    finally:
        shutil.rmtree(os.environ.pop(name), ignore_errors=True)


def allow_many_files() -> None:
    """As many open files as the connections may need, where the system lets a process ask for them."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
