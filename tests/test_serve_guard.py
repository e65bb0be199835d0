"""Who may ask the server: names, origins, tokens, and what each wrong one is told."""

from __future__ import annotations

import re
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from fenlei.serve.guard import Guard, host_name, is_loopback
from fenlei.serve.settings import Settings

TOKEN = "a-token-of-more-than-16"


def client(**settings: Any) -> TestClient:
    """An application that answers everything, behind the guard."""
    guard = Guard(PlainTextResponse("passed"), Settings({}, **settings))
    return TestClient(guard, base_url="http://127.0.0.1:8000")


def status(asked: TestClient, method: str = "GET", path: str = "/info", **headers: str) -> int:
    found = asked.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    assert (found.text == "passed") == (found.status_code == 200)
    return found.status_code


@pytest.mark.parametrize(
    ("host", "passes"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:8000", True),
        ("localhost:1", True),
        ("LOCALHOST.", True),
        ("[::1]:8000", True),
        ("news.example", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:8000", False),
        ("evil.example:127.0.0.1", False),
        ("192.168.1.5", False),
        ("127.0.0.1:x", False),
        ("[::1", False),
        ("user@localhost", False),
    ],
)
def test_only_own_names_pass(host: str, passes: bool) -> None:
    assert status(client(hosts=("news.example",)), host=host) == (200 if passes else 403)


def test_a_server_for_all_addresses_is_asked_by_number_or_by_a_name_that_was_given() -> None:
    for wildcard in ("0.0.0.0", "::"):
        asked = client(host=wildcard, hosts=("news",))
        assert status(asked, host="192.168.1.5:8000") == 200
        assert status(asked, host="[fe80::1]:8000") == 200
        assert status(asked, host="news:8000") == 200
        assert status(asked, host="evil.example") == 403


def test_a_request_has_one_host() -> None:
    assert status(client(), host="") == 400
    assert client().get("/", headers=[("host", "127.0.0.1"), ("host", "evil.example")]).status_code == 400
    guard = Guard(PlainTextResponse("passed"), Settings({}))
    with pytest.raises(Exception, match="needs one Host header"):
        guard.check({"type": "http", "method": "GET", "path": "/", "headers": []})


@pytest.mark.parametrize(
    ("origin", "passes"),
    [
        ("http://127.0.0.1:8000", True),
        ("https://127.0.0.1:8000", True),
        ("http://127.0.0.1:3000", False),
        ("http://localhost:8000", False),
        ("http://evil.example", False),
        ("null", False),
        ("", False),
    ],
)
def test_only_the_own_page_may_post(origin: str, passes: bool) -> None:
    assert status(client(), "POST", "/predict", origin=origin) == (200 if passes else 403)
    assert status(client(), "GET", "/info", origin=origin) == 200


def test_a_browser_says_where_a_request_comes_from() -> None:
    found = {
        site: status(client(), "POST", sec_fetch_site=site)
        for site in ("same-origin", "none", "same-site", "cross-site")
    }
    assert found == {"same-origin": 200, "none": 200, "same-site": 403, "cross-site": 403}


@pytest.mark.parametrize(
    ("authorization", "passes"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer  {TOKEN} ", True),
        (TOKEN, False),
        (f"Bearer {TOKEN}x", False),
        (f"Bearer {TOKEN[:-1]}", False),
        ("Bearer ", False),
        (f"Basic {TOKEN}", False),
        ("Bearer é", False),
    ],
)
def test_a_token_is_asked_for(authorization: str, passes: bool) -> None:
    found = client(token=TOKEN).get("/info", headers={"authorization": authorization.encode("latin-1")})
    assert found.status_code == (200 if passes else 401)
    if not passes:
        assert found.headers["www-authenticate"] == 'Bearer realm="fenlei"'
        assert TOKEN not in found.text


def test_what_needs_no_token() -> None:
    asked = client(token=TOKEN)
    assert [status(asked, path=path) for path in ("/health", "/ready", "/", "/page.js")] == [200] * 4
    assert [status(asked, path=path) for path in ("/info", "/metrics", "/card", "/health/", "/x")] == [401] * 5
    twice = [("authorization", f"Bearer {TOKEN}"), ("authorization", "Bearer x")]
    assert asked.get("/info", headers=twice).status_code == 401


def test_a_token_is_not_shown() -> None:
    assert TOKEN not in repr(Settings({}, token=TOKEN))


def test_refusals_say_nothing_of_the_request() -> None:
    found = client().get("/", headers={"host": "<script>.example"})
    assert "script" not in found.text
    assert re.search(r"--allow-host", found.text)


def test_names() -> None:
    assert host_name("[::1]:80") == "::1"
    assert host_name("A.b:80") == "a.b"
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.1", "example.org")] == [False] * 4
