"""The routes of the server, without a network: every path, every refusal, and answers equal to the command line's."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import settings as fuzzing
from hypothesis import strategies as st
from starlette.testclient import TestClient

from fenlei import __version__
from fenlei.bundle import Bundle
from fenlei.cli import main
from fenlei.explain import explain
from fenlei.runtime import Predictor
from fenlei.serve.app import PAGE, Service, application
from fenlei.serve.settings import Limits, Settings

if TYPE_CHECKING:
    from fenlei.learn import Labelled

ADDRESS = "http://127.0.0.1:8000"
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Path:
    return bundle.save(tmp_path_factory.mktemp("serve") / "新闻")


@pytest.fixture(scope="module")
def client(saved: Path) -> Iterator[TestClient]:
    """Two names for one bundle."""
    settings = Settings({"news": str(saved), "other": str(saved)}, quiet=True)
    with TestClient(application(settings), base_url=ADDRESS, raise_server_exceptions=True) as client:
        yield client


def ask(client: TestClient, **body: Any) -> Any:
    found = client.post("/predict", json=body)
    assert found.status_code == 200, found.text
    return found.json()


def refusal(client: TestClient, status: int, content: bytes | str, headers: dict[str, str] | None = None) -> str:
    """The one sentence with that status."""
    found = client.post("/predict", content=content, headers=JSON if headers is None else headers)
    assert found.status_code == status, found.text
    assert list(found.json()) == ["error"]
    sentence: str = found.json()["error"]
    assert not re.search(r"Traceback|\.py|/fenlei|\n", sentence)
    return sentence


# --- answers ---


def test_one_text_and_many(client: TestClient, chinese: tuple[Labelled, Labelled], bundle: Bundle) -> None:
    texts = list(chinese[1].texts)
    many = ask(client, texts=texts)
    assert many["model"] == "news"
    assert [each["labels"] for each in many["predictions"]] == [[label] for label in Predictor(bundle).predict(texts)]
    assert ask(client, text=texts[0])["predictions"] == many["predictions"][:1]
    assert ask(client, texts=[])["predictions"] == []


@pytest.mark.parametrize(
    ("rule", "arguments"),
    [
        ({}, []),
        ({"top": 2}, ["--top", "2"]),
        ({"top": 99}, ["--top", "99"]),
        ({"threshold": 0.9}, ["--threshold", "0.9"]),
        ({"top": 3, "threshold": 0.01}, ["--top", "3", "--threshold", "0.01"]),
        ({"coverage": 0.5}, ["--coverage", "0.5"]),
        ({"top": 2, "coverage": 0.5}, ["--top", "2", "--coverage", "0.5"]),
        ({"precision": 0.9}, ["--precision", "0.9"]),
        ({"best_f1": True}, ["--best-f1"]),
        ({"top": 2, "best_f1": True}, ["--top", "2", "--best-f1"]),
    ],
)
def test_answers_are_those_of_the_command_line(
    client: TestClient,
    saved: Path,
    chinese: tuple[Labelled, Labelled],
    rule: dict[str, Any],
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = [*chinese[1].texts, "", "今天", "x y z"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("".join(f"{text}\n" for text in texts).encode())))
    assert main(["predict", str(saved), "--json", *arguments]) == 0
    expected = json.loads(capsys.readouterr().out)["predictions"]
    found = ask(client, texts=texts, **rule)["predictions"]
    for one, other in zip(found, expected, strict=True):
        assert one == {name: value for name, value in other.items() if name != "text"}


def test_explanations_are_those_of_explain(client: TestClient, bundle: Bundle) -> None:
    texts = ["球队在主场赢了决赛", "股票"]
    found = ask(client, texts=texts, explain=True)["predictions"]
    predictor = Predictor(bundle)
    assert [each["explanation"] for each in found] == [explain(predictor, text).to_json() for text in texts]
    assert "explanation" not in ask(client, texts=texts, explain=False)["predictions"][0]


def test_any_string_is_answered(client: TestClient, hostile: list[str], bundle: Bundle) -> None:
    body = json.dumps({"texts": hostile, "top": 3})  # in ASCII: half a surrogate pair as \\ud800
    found = client.post("/predict", content=body, headers=JSON).json()["predictions"]
    expected = Predictor(bundle).predict_proba(hostile)
    for each, row in zip(found, expected, strict=True):
        assert each["probabilities"] == [round(p, 6) for p in sorted(map(float, row), reverse=True)]
    halves = client.post("/predict", content=b'{"text": "a \\ud800 b", "explain": true}', headers=JSON)
    assert "".join(text for text, _ in halves.json()["predictions"][0]["explanation"]["pieces"]) == "a \ud800 b"


def test_a_model_is_chosen_by_name(client: TestClient) -> None:
    assert ask(client, text="北京", model="other")["model"] == "other"
    assert "there is no model 'x/../y'; the models are news, other" in refusal(
        client, 404, '{"text": "北京", "model": "x/../y"}'
    )


# --- refusals ---


@pytest.mark.parametrize(
    ("body", "has"),
    [
        ("", "the body is not JSON"),
        ("{", "the body is not JSON: Expecting property name"),
        ("[]", "must be a JSON object"),
        ("null", "must be a JSON object"),
        (b"\xff\xfe{}", "not UTF-8, from byte 0"),
        ("\ufeff{}", "not JSON"),
        ('{"texts": NaN}', "NaN is not JSON"),
        ('{"text": "a", "threshold": Infinity}', "Infinity is not JSON"),
        ('{"text": "a", "threshold": -Infinity}', "-Infinity is not JSON"),
        ('{"text": "a", "threshold": 1e999}', '"threshold" must be a number from 0 to 1'),
        ('{"text": "a", "top": ' + "9" * 5000 + "}", "a number that cannot be read"),
        ('{"text": "a", "text": "b"}', "the key 'text' stands twice"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deeply"),
        ("{}", 'give "text", a string, or "texts"'),
        ('{"text": "a", "texts": []}', "one of the two"),
        ('{"text": null}', '"text" must be a string'),
        ('{"text": ["a"]}', '"text" must be a string'),
        ('{"texts": "a"}', '"texts" must be a list'),
        ('{"texts": ["a", 1]}', '"texts"[1] must be a string'),
        ('{"text": "a", "top": 0}', "top must be a whole number of at least 1, got 0"),
        ('{"text": "a", "top": true}', '"top" must be a whole number'),
        ('{"text": "a", "top": 1.5}', '"top" must be a whole number'),
        ('{"text": "a", "threshold": 2}', '"threshold" must be a number from 0 to 1'),
        ('{"text": "a", "threshold": "1"}', '"threshold" must be a number from 0 to 1'),
        ('{"text": "a", "coverage": true}', '"coverage" must be a number from 0 to 1'),
        ('{"text": "a", "threshold": 0, "coverage": 1}', "exclude one another"),
        ('{"text": "a", "explain": 1}', '"explain" must be true or false'),
        ('{"text": "a", "model": 1}', '"model" must be a name'),
        ('{"text": "a", "<b>\\n\\u202e": 1}', "there is no key '<b>\\n\\u202e'; the keys are text, texts,"),
    ],
)
def test_what_is_not_a_query_gets_one_sentence(client: TestClient, body: bytes | str, has: str) -> None:
    assert has in refusal(client, 400, body)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=" + "a" * 10_000},
        {"content-type": "application/json; charset=gbk"},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
def test_only_plain_json_is_read(client: TestClient, headers: dict[str, str]) -> None:
    refusal(client, 415, b'{"text": "a"}', headers)


def test_json_may_name_its_encoding(client: TestClient) -> None:
    headers = {"content-type": 'Application/JSON; charset="UTF-8"'}
    assert client.post("/predict", content=b'{"text": "a"}', headers=headers).status_code == 200


def test_too_much_is_refused(client: TestClient) -> None:
    assert "at most 1,000 texts" in refusal(client, 413, json.dumps({"texts": ["a"] * 1001}))
    assert "at most 16 texts can be explained" in refusal(
        client, 413, json.dumps({"texts": ["a"] * 17, "explain": True})
    )
    assert "is not explained: cut it" in refusal(client, 413, json.dumps({"text": "a" * 20_001, "explain": True}))
    assert "at most 4,000,000 bytes" in refusal(client, 413, b" " * 4_000_001)


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["text", "texts", "top", "model", "threshold", "explain", "x"]), inner, max_size=4
            )
        ),
        max_leaves=9,
    ).map(lambda value: json.dumps(value).encode())
)
@fuzzing(max_examples=150)
def test_no_body_is_too_much(client: TestClient, body: bytes) -> None:
    found = client.post("/predict", content=body, headers=JSON)
    assert found.status_code in (200, 400, 404)
    assert found.status_code == 200 or list(found.json()) == ["error"]


# --- the other paths ---


def test_info(client: TestClient, bundle: Bundle, saved: Path) -> None:
    found = client.get("/info").json()
    assert found["models"] == ["news", "other"]
    assert found["model"] == "news"
    assert found["labels"] == bundle.labels
    assert found["several"] is False
    assert found["examples"] == [text for text, _ in bundle.golden]
    assert found["coverage"] == [list(point) for point in bundle.decisions["coverage"]]
    assert found["scores"] == {name: bundle.scores["dev"][name] for name in ("accuracy", "macro_f1", "n")}
    assert found["parameters"] == sum(array.size for array in bundle.weights.values())
    assert found["bytes"] == sum(path.stat().st_size for path in saved.iterdir())
    assert (found["digest"], found["fenlei"], found["report"]) == (bundle.digest(), __version__, False)
    assert client.get("/info?model=other").json() == found | {"model": "other"}
    assert client.get("/info?model=x").status_code == 404


def test_card_and_report(client: TestClient, saved: Path) -> None:
    card = client.get("/card?model=other")
    assert card.headers["content-type"] == "text/plain; charset=utf-8"
    assert card.text == Bundle.load(saved).card()
    assert client.get("/report").json() == {"error": "the model news has no report"}


def test_a_report_is_shown_in_a_sandbox(bundle: Bundle, tmp_path: Path) -> None:
    from dataclasses import replace

    page = "<!doctype html><title>报告</title><script>1</script>"
    replace(bundle, report=page).save(tmp_path / "B")
    with TestClient(application(Settings({"B": str(tmp_path / "B")}, quiet=True)), base_url=ADDRESS) as client:
        found = client.get("/report")
        assert client.get("/info").json()["report"] is True
    assert found.text == page
    policy = found.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert re.search(r"sandbox allow-scripts$", policy)


def test_health_and_ready(saved: Path) -> None:
    settings = Settings({"B": str(saved)}, quiet=True)
    unstarted = TestClient(application(settings), base_url=ADDRESS)
    assert unstarted.get("/health").json() == {"status": "alive"}
    assert unstarted.get("/ready").status_code == 503
    assert unstarted.get("/ready").headers["retry-after"] == "1"
    assert unstarted.post("/predict", json={"text": "a"}).status_code == 503
    with TestClient(application(settings), base_url=ADDRESS) as client:
        assert client.get("/ready").json() == {"status": "ready"}
    assert client.get("/ready").status_code == 503  # it has stopped


def test_metrics_count(client: TestClient) -> None:
    def number(line: str) -> float:
        found = re.search(rf"^{re.escape(line)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    texts, asked = (
        'fenlei_texts_total{model="other"}',
        'fenlei_requests_total{method="POST",route="/predict",status="200"}',
    )
    before = number(texts), number(asked), number("fenlei_batch_texts_sum")
    ask(client, texts=["a", "b"], model="other")
    assert (number(texts), number(asked), number("fenlei_batch_texts_sum")) == (
        before[0] + 2,
        before[1] + 1,
        before[2] + 2,
    )
    client.get("/no/such/path/" + "x" * 50)
    assert "no/such" not in client.get("/metrics").text
    assert number('fenlei_requests_total{method="GET",route="other",status="404"}') >= 1
    assert number("fenlei_queue_texts") == 0
    assert number("fenlei_open_requests") == 1  # the one that asks


@pytest.mark.parametrize("path", ["/x", "/predict/", "/../etc/passwd", "/page/index.html", "/%00", "/INFO"])
def test_other_paths_are_not_there(client: TestClient, path: str) -> None:
    found = client.get(path)
    assert found.status_code == 404
    assert found.json() == {"error": "there is nothing at this path; /openapi.json lists the paths"}


def test_methods(client: TestClient) -> None:
    for method, path, allowed in (("GET", "/predict", "POST"), ("DELETE", "/info", "GET"), ("POST", "/", "GET")):
        found = client.request(method, path)
        assert found.status_code == 405
        assert allowed in found.headers["allow"]
        assert "OPTIONS" in found.headers["allow"]
        assert list(found.json()) == ["error"]
    options = client.options("/predict", headers={"origin": "http://evil.example"})
    assert (options.status_code, options.content) == (204, b"")
    assert [name for name in options.headers if name.startswith("access-control")] == []
    assert client.head("/info").status_code == 200
    assert client.options("/x").status_code == 404


def test_the_page_has_its_policy(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fenlei.serve.app.FOLDER", tmp_path)
    settings = Settings({"B": str(saved)}, quiet=True)
    assert TestClient(application(settings), base_url=ADDRESS).get("/").status_code == 404
    for name in PAGE.values():
        (tmp_path / name).write_bytes(b"page")
    client = TestClient(application(settings), base_url=ADDRESS)
    for path in PAGE:
        found = client.get(path, headers={"range": "bytes=" + ",".join(f"{n}-{n}" for n in range(10_000))})
        assert (found.status_code, found.content) == (200, b"page")
        assert (
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'"
            in (found.headers["content-security-policy"])
        )
        assert "unsafe" not in found.headers["content-security-policy"]


def test_every_answer_binds_the_browser(client: TestClient) -> None:
    for found in (client.get("/info"), client.get("/x"), client.post("/predict", content="x"), client.get("/metrics")):
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["x-frame-options"] == "DENY"
        assert found.headers["cache-control"] == "no-store"
        assert found.headers["content-security-policy"].startswith("default-src 'none'")
        assert found.headers["server"] == "fenlei"
        assert "access-control-allow-origin" not in found.headers


def test_a_fault_of_the_server_stays_inside(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret of /etc/passwd")

    monkeypatch.setattr(Service, "_predictions", fail)
    app = application(Settings({"B": str(saved)}, quiet=True))
    with TestClient(app, base_url=ADDRESS) as client:
        found = client.post("/predict", json={"text": "a"})
        assert found.status_code == 500
        assert found.json() == {"error": "the server failed to answer; its log says why"}
        assert client.get("/health").status_code == 200


def test_a_long_answer_is_refused(saved: Path) -> None:
    settings = Settings({"B": str(saved)}, quiet=True, limits=Limits(named=9))
    with TestClient(application(settings), base_url=ADDRESS) as client:
        assert len(ask(client, texts=["北京"] * 9)["predictions"]) == 9
        assert len(ask(client, texts=["北京"] * 3, top=99)["predictions"]) == 3
        has = "4 texts with up to 3 labels each are more than 9 labels in one answer"
        assert has in refusal(client, 413, json.dumps({"texts": ["北京"] * 4, "top": 3}))


def test_many_answers_are_the_same_as_few(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    few = ask(client, texts=["北京", "球队"] * 9)
    monkeypatch.setattr("fenlei.serve.app.AT_ONCE", 3)
    assert ask(client, texts=["北京", "球队"] * 9) == few


def test_a_slow_answer_is_given_up(saved: Path) -> None:
    app = application(Settings({"B": str(saved)}, quiet=True, limits=Limits(answer_seconds=0.0)))
    with TestClient(app, base_url=ADDRESS) as client:
        found = client.post("/predict", json={"texts": ["北京"] * 900})
        assert found.status_code == 503
        assert "the answer took longer than 0 s" in found.json()["error"]
        assert found.headers["retry-after"] == "1"


def test_the_description_knows_every_path(client: TestClient) -> None:
    found = client.get("/openapi.json").json()
    service = Service(Settings({}))
    assert set(found["paths"]) == {route.path for route in service.routes()}
    assert found["openapi"] == "3.1.0"
