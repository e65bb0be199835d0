"""Who may ask: the Host and Origin of a request, its token; and the headers that bind a browser."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fenlei.serve.replies import Refusal
from fenlei.serve.settings import Settings

LOOPBACK = ("localhost", "127.0.0.1", "::1")
# What watches over a server has no token, and the page, which is the same everywhere, asks its user for it.
OPEN = ("/health", "/ready", "/openapi.json", "/", "/page.css", "/page.js")
SAFE = ("GET", "HEAD", "OPTIONS")
NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
HEADERS = {
    "server": "fenlei",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
    "content-security-policy": NOTHING,
}
ENCODED = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


class Guard:
    """ASGI middleware that answers for the application where a request may not pass."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.hosts = frozenset(name.lower().strip("[]") for name in (*LOOPBACK, settings.host, *settings.hosts))
        self.any_address = _is_wildcard(settings.host)
        self.token = settings.token.encode() if settings.token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Only HTTP is checked."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in ENCODED if pair[0] not in given)]
            await send(message)

        try:
            self.check(scope)
        except Refusal as refusal:
            await refusal.reply()(scope, receive, send_with_headers)
        else:
            await self.app(scope, receive, send_with_headers)

    def check(self, scope: Scope) -> None:
        """Raises ``Refusal``: 400 or 403 for the Host, 403 for the Origin, 401 for the token."""
        host = self._host(scope)
        if scope["method"] not in SAFE:
            _check_origin(scope, host)
        if self.token is not None and scope["path"] not in OPEN and not self._knows_token(scope):
            sentence = "this needs the server's token, in the header Authorization: Bearer TOKEN"
            raise Refusal(401, sentence, www_authenticate='Bearer realm="fenlei"', connection="close")

    def _host(self, scope: Scope) -> str:
        """The Host header, if it names this server: another name is one that an attacker made lead here."""
        hosts = list(values(scope, b"host"))
        if len(hosts) != 1 or not hosts[0]:
            raise Refusal(400, "a request needs one Host header", connection="close")
        name = host_name(hosts[0])
        if name in self.hosts or (self.any_address and is_address(name)):
            return hosts[0].lower()
        raise Refusal(403, "the Host header does not name this server; --allow-host adds a name", connection="close")

    def _knows_token(self, scope: Scope) -> bool:
        given = list(values(scope, b"authorization"))
        secret = _secret(given[0]) if len(given) == 1 else None
        return secret is not None and self.token is not None and hmac.compare_digest(secret, self.token)


def values(scope: Scope, name: bytes) -> Iterable[str]:
    """What stands in the headers of that name."""
    return (value.decode("latin-1") for found, value in scope["headers"] if found == name)


def host_name(host: str) -> str:
    """The name without port and brackets, in lower case; empty where there is no sense in it."""
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        return name.lower() if bracket and (not port or port[1:].isdigit()) else ""
    name, colon, port = host.partition(":")
    return name.lower().rstrip(".") if not colon or port.isdigit() else ""


def is_address(name: str) -> bool:
    """Whether the name is a number: no name service can make that lead elsewhere."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_wildcard(host: str) -> bool:
    return is_address(host) and ipaddress.ip_address(host).is_unspecified


def _check_origin(scope: Scope, host: str) -> None:
    """A page from elsewhere may not post; what is no browser sends neither header."""
    for origin in values(scope, b"origin"):
        if origin.lower().partition("://")[2] != host:
            raise Refusal(403, "a page of another origin may not ask this server", connection="close")
    if any(site not in ("same-origin", "none") for site in values(scope, b"sec-fetch-site")):
        raise Refusal(403, "a page of another site may not ask this server", connection="close")


def _secret(authorization: str) -> bytes | None:
    """The token of ``Bearer TOKEN``."""
    scheme, _, value = authorization.partition(" ")
    return value.strip().encode("latin-1") if scheme.lower() == "bearer" else None
