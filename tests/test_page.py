"""The page at `/`: what its three files may hold, and, in a browser, what a person can do with it."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

import fenlei
from fenlei.cli import main
from fenlei.cli.writers import Row, write_csv
from fenlei.explain.drawing import FAINTEST, SHADES
from fenlei.runtime import Predictor
from fenlei.screen import FORMULA

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

    from fenlei.bundle import Bundle
    from fenlei.learn import Labelled

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(fenlei.__file__).parent / "serve" / "page"
FILES = {"index.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
HTML, CSS, JS = ((FOLDER / name).read_text(encoding="utf-8") for name in FILES)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HAN = re.compile("[一-鿿]")
VOID = {"meta", "link", "input", "br", "img"}
CONTROLS = {"input", "select", "textarea"}


class Element:
    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag, self.attributes, self.text = tag, attributes, ""


class Elements(HTMLParser):
    """Every element in order with its attributes and the text right inside it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[Element] = []
        self.inside: list[Element] = []
        self.feed(html)
        assert self.inside == [], "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.found.append(element)
        if tag not in VOID:
            self.inside.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.inside.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self.inside:
            element.text += data


ELEMENTS = Elements(HTML).found
IDS = [element.attributes["id"] for element in ELEMENTS if "id" in element.attributes]
STRINGS: dict[str, dict[str, str]] = json.loads(re.findall(r"^const STRINGS = (\{.*?^\});$", JS, re.M | re.S)[0])


def said() -> Iterator[tuple[str, str]]:
    """Keys of strings with the text that stands in the page before the script has run."""
    for element in ELEMENTS:
        if "data-say" in element.attributes:
            yield element.attributes["data-say"], element.text
        for name, attribute in (("label", "aria-label"), ("title", "title"), ("placeholder", "placeholder")):
            if f"data-{name}" in element.attributes:
                yield element.attributes[f"data-{name}"], element.attributes[attribute]


# ---- the three files ---------------------------------------------------------------------------------------------


def test_the_package_ships_the_page_and_it_is_small() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(FILES)
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert "serve/page/*" in data["fenlei"]
    sizes = [(FOLDER / name).stat().st_size for name in FILES]
    assert max(sizes) < 50_000
    assert sum(sizes) < 80_000


@pytest.mark.parametrize("name", FILES)
def test_the_files_are_tidy_and_refer_to_nothing_outside(name: str) -> None:
    content = (FOLDER / name).read_text(encoding="utf-8")
    assert content.endswith("\n")
    assert not re.search(r"[ \t]$|\t|\r", content, re.M)
    assert re.findall(r"\w+://\S*|[\"'(]//\S*|@import|url\(|\bwss?:", content) == []


def test_nothing_stands_in_the_page_that_its_policy_forbids() -> None:
    assert [element.tag for element in ELEMENTS if element.tag in ("style", "base", "iframe", "object", "embed")] == []
    assert [element.attributes for element in ELEMENTS if element.tag == "script"] == [
        {"type": "module", "src": "page.js"}
    ]
    names = {name for element in ELEMENTS for name in element.attributes}
    assert {name for name in names if name.startswith("on") or name in ("style", "srcdoc", "action")} == set()
    links = {element.attributes[name] for element in ELEMENTS for name in ("href", "src") if name in element.attributes}
    assert {link for link in links if not link.startswith(("data:image/svg+xml,", "#"))} == {
        *("page.css", "page.js", "card", "report")
    }


def test_the_script_puts_text_in_only_as_text() -> None:
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc"
    runs = r"\beval\b|new Function|setTimeout\(\s*[\"'`]|javascript:|import\(|window\.open|postMessage|cssText"
    assert re.findall(f"{sinks}|{runs}", JS) == []
    assert set(re.findall(r"setAttribute\(\s*\"([\w-]+)\"", JS)) <= {"aria-label", "aria-busy", "aria-expanded", "role"}
    assert re.findall(r"setAttribute\(\s*[^\"]", JS) == []
    assert re.findall(r"\.on\w+\s*=", JS) == []


def test_ids_are_there_once_and_whoever_names_one_finds_it() -> None:
    assert len(IDS) == len(set(IDS))
    told = {
        word
        for element in ELEMENTS
        for name in ("for", "aria-labelledby", "aria-describedby", "aria-controls")
        for word in element.attributes.get(name, "").split()
    }
    hands = re.findall(r"^const HANDS = \{(.*?)^\};", JS, re.M | re.S)[0]
    used = {*re.findall(r"\$\(\"([\w-]+)\"\)", JS), *re.findall(r"^  (\w+): \{", hands, re.M)}
    lists = re.findall(r"const id of \[([^\]]+)\]", JS)
    used |= {name for each in lists for name in re.findall(r"\"([\w-]+)\"", each)}
    anchors = {element.attributes["href"][1:] for element in ELEMENTS if element.attributes.get("href", "")[:1] == "#"}
    assert (told | used | anchors) - set(IDS) == set()
    assert len(used) > 30


def test_both_languages_say_the_same_things() -> None:
    english, chinese = STRINGS["en"], STRINGS["zh"]
    assert list(english) == list(chinese)
    for key, text in english.items():
        assert text.strip() == text != ""
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", chinese[key])), key
    assert {key for key, text in chinese.items() if not HAN.search(text)} == {
        *("classify.keys", "about.fenlei", "results.filter.one")
    }
    assert {key for key, text in english.items() if HAN.search(text)} == {"title"}


def test_every_string_is_used_and_every_string_that_is_used_exists() -> None:
    script = JS.partition("const SOON")[2]
    used = {key for key, _ in said()} | set(re.findall(r"[\"]((?:[a-z_]+\.)+[a-z0-9_.]+)[\"]", script))
    used |= set(re.findall(r"(?:say|put|tell)\((?:[^,()]+(?:\([^)]*\))?, )?\"([a-z]+)\"", script))
    used |= {f"why.weight.{side}" for side in ("for", "against")}
    facts = re.findall(r"const facts = \{(.*?)\};", script, re.S)[0]
    used |= {f"about.{name}" for name in re.findall(r"^    (\w+):", facts, re.M)}
    used = {key for key in used if not key.startswith("fenlei.")}  # names under which the browser keeps things
    assert used - set(STRINGS["en"]) == set()
    assert {key for key in STRINGS["en"] if key.removesuffix(".one") not in used} == set()


def test_the_page_stands_in_english_until_the_script_has_run() -> None:
    assert [(key, text) for key, text in said() if STRINGS["en"][key] != text] == []
    assert STRINGS["en"]["title"].startswith(next(each.text for each in ELEMENTS if each.tag == "title"))


def test_every_control_has_a_name_and_the_page_its_landmarks() -> None:
    labelled = {element.attributes.get("for") for element in ELEMENTS if element.tag == "label"}
    for element in ELEMENTS:
        if element.tag in CONTROLS and "hidden" not in element.attributes:
            assert element.attributes["id"] in labelled
        if element.tag == "button":
            assert element.attributes["type"] in ("button", "submit")
            assert element.text or element.attributes["id"] in ("more", "further")  # these say a number
        if element.tag == "section":
            assert element.attributes["aria-labelledby"] in IDS
    assert [each.tag for each in ELEMENTS].count("h1") == 1
    assert {"header", "nav", "main", "footer"} <= {each.tag for each in ELEMENTS}
    columns = [element for element in ELEMENTS if element.tag == "th"]
    assert [element.attributes["scope"] for element in columns] == ["col"] * 5


def test_the_csv_of_the_page_knows_the_formulas_that_the_command_line_knows() -> None:
    assert tuple(json.loads(re.findall(r"^const FORMULA = (\[.*?\]);", JS, re.M)[0])) == FORMULA


def test_words_are_shaded_as_the_command_line_shades_them() -> None:
    assert f"const SHADES = {SHADES};" in JS
    assert f"const FAINTEST = {FAINTEST};" in JS
    for side, depth in itertools.product(("for", "against"), range(1, SHADES + 1)):
        assert f".{side}-{depth} {{ background: var(--{side}-{depth});" in CSS


def colours(scheme: str) -> dict[str, str]:
    """Variables with their colours as the scheme has them."""
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.S)
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in blocks[:2])
    assert set(light) == set(dark)
    return light if scheme == "light" else dark


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_told_apart(scheme: str) -> None:
    found = colours(scheme)
    shades = [f"{side}-{depth}" for side in ("for", "against") for depth in range(1, SHADES + 1)]
    grounds = {
        "ink": ["paper", "surface", "track", "wash", "wash-strong", "chosen", "hover", *shades],
        "muted": ["paper", "surface", "track", "wash-strong"],
        "accent": ["paper", "surface", "hover", "chosen"],
        "on-accent": ["accent"],
        "alarm": ["alarm-paper", "hover"],
    }
    for ink, papers in grounds.items():
        for paper in papers:
            least = 3.0 if (ink, paper) == ("accent", "chosen") else 4.5  # a sign, not text
            assert contrast(found[ink], found[paper]) >= least, (ink, paper)
    for edge, paper in itertools.product(("edge", "accent"), ("paper", "surface")):
        assert contrast(found[edge], found[paper]) >= 3, (edge, paper)
    for side in ("for", "against"):
        assert contrast(found[f"{side}-line"], found["surface"]) >= 3


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


# ---- in a browser ------------------------------------------------------------------------------------------------

WORDS = {
    "体育": ["球队", "决赛", "冠军"],
    "财经": ["股票", "银行", "利率"],
    "科技": ["手机", "芯片", "软件"],
    **{f"其他{number}": [f"词{number}"] for number in range(9)},
}
TEXT, EXAMPLE, DULL = "球队赢了决赛，银行没有", "股票上涨，银行的利率不变", "下午在河边"
CURVE = [[0.0, 1.0, 0.91], [0.6, 0.9, 0.95], [0.8, 0.8, 0.98], [0.8, 0.8, 0.98]]


class Site(ThreadingHTTPServer):
    """The files with their policy, and answers by known words; what was asked is kept, what is planned comes first."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.planned: list[tuple[int, dict[str, Any], dict[str, str]]] = []
        self.token: str | None = None
        self.several = False
        self.words = WORDS
        self.info: dict[str, Any] = {
            "models": ["新闻", "second"],
            "examples": [EXAMPLE, TEXT],
            "coverage": CURVE,
            "scores": {"accuracy": 0.91, "macro_f1": 0.9, "n": 1200},
            "parameters": 123456,
            "bytes": 27_100_000,
            "digest": "3f9a" * 16,
            "fenlei": "0.1",
            "report": True,
        }

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that stops asking is no error."""

    def about(self, model: str | None) -> dict[str, Any]:
        return {
            "model": model or self.info["models"][0],
            "labels": list(self.words),
            "several": self.several,
            **self.info,
        }

    def answer(self, text: str, query: dict[str, Any]) -> dict[str, Any]:
        scores = {label: 1 + 40 * sum(word in text for word in own) for label, own in self.words.items()}
        ranking = sorted(scores, key=lambda label: -scores[label])
        shares = [scores[label] / sum(scores.values()) for label in ranking]
        passing = sum(share > 0.2 for share in shares) if self.several else 1
        top = query.get("top", passing)
        limit = max((point[0] for point in CURVE if point[1] >= query.get("coverage", 1)), default=0)
        found = {"labels": ranking[:top], "probabilities": shares[:top], "unknown": shares[0] < limit}
        if query.get("explain"):
            pieces = [[piece, self.weight(piece, ranking[0])] for piece in re.split("(\\s+|[，。]|[一-鿿]{2})", text)]
            found["explanation"] = {"label": ranking[0], "probability": shares[0], "pieces": pieces}
        return found

    def weight(self, piece: str, label: str) -> float:
        return next(((1.5 if own == label else -1.0) for own, words in self.words.items() if piece in words), 0.0)


class Handler(BaseHTTPRequestHandler):
    server: Site

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""

    def reply(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        headers |= {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(body))}
        for name, value in {"Content-Security-Policy": POLICY, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        name = url.path[1:] or "index.html"
        if name in FILES:
            self.reply(200, (FOLDER / name).read_bytes(), FILES[name])
        elif self.server.token and self.headers["Authorization"] != f"Bearer {self.server.token}":
            self.reply(401, b'{"error": "this needs the token of the server"}')
        elif name == "info":
            self.reply(200, json.dumps(self.server.about(parse_qs(url.query).get("model", [None])[0])).encode())
        elif name in ("card", "report"):
            self.reply(200, f"the {name}".encode(), "text/plain")
        else:
            self.reply(404, b'{"error": "there is nothing at this path"}')

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, query))
        if self.server.planned:
            status, body, headers = self.server.planned.pop(0)
            return self.reply(status, json.dumps(body).encode(), **headers)
        found = [self.server.answer(text, query) for text in query.get("texts", [query.get("text")])]
        return self.reply(200, json.dumps({"model": query.get("model"), "predictions": found}).encode())


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium")
    with sync.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


class Visit:
    """A page that a test has opened, and all that went wrong in it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.requests: list[Request] = []
        self.wrong: list[str] = []
        self.expected: list[str] = []
        page.on("request", lambda request: self.requests.append(request))
        page.on("console", lambda message: self.wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("dialog", lambda dialog: (self.wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.add_init_script("addEventListener('securitypolicyviolation', e => console.error('policy', e.blockedURI))")

    def check(self) -> None:
        """Nothing ran that should not, nothing was asked of others."""
        shown = [each for each in self.wrong if not any(word in each for word in self.expected)]
        assert shown == []
        assert [each.url for each in self.requests if not each.url.startswith((self.url, "data:", "blob:"))] == []
        assert self.page.evaluate("window.hit") is None

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    def answer(self, text: str, word: str = "") -> None:
        """Type a text, ask for its answer and wait for it and its words."""
        with self.page.expect_response(lambda response: "explain" in (response.request.post_data or "")):
            self.page.fill("#text", text)
            self.page.press("#text", "Control+Enter")
        if word:
            self.page.locator("#words", has_text=word).wait_for()


Open = Callable[..., Visit]


@pytest.fixture
def opened(browser: Browser, site: Site) -> Iterator[Open]:
    """Opens the page of the site, and in the end holds every page that was opened to what ``Visit.check`` says."""
    visits: list[Visit] = []

    def call(locale: str = "en-GB", query: str = "", ready: str = "#about dt >> nth=0", **options: Any) -> Visit:
        url = options.pop("url", site.url)
        context = browser.new_context(locale=locale, **{"reduced_motion": "reduce", **options})
        context.set_default_timeout(10_000)
        visits.append(Visit(context.new_page(), url))
        visits[-1].page.goto(url + query)
        visits[-1].page.locator(ready).wait_for()
        return visits[-1]

    yield call
    for visit in visits:
        visit.check()
        visit.page.context.close()


@pytest.mark.slow
def test_a_text_gets_its_classes_and_its_words(opened: Open, site: Site) -> None:
    visit = opened()
    assert visit.text("#known").split("\n")[:3] == ["体育", "财经", "科技"]
    visit.answer(TEXT)
    assert visit.text("#headline").split() == ["体育", "61.4%"]
    bars = visit.page.locator("#bars li")
    assert bars.count() == 10
    assert [bars.nth(n).inner_text().split() for n in range(2)] == [["体育", "61.4%"], ["财经", "31.1%"]]
    widths = [bars.nth(n).locator(".fill").bounding_box()["width"] for n in range(2)]  # type: ignore[index]
    assert widths[1] / widths[0] == pytest.approx(41 / 81, abs=0.01)
    visit.page.click("#more")
    assert bars.count() == 12
    assert visit.page.get_attribute("#more", "aria-expanded") == "true"
    assert visit.text("#spoken") == "体育 61.4%"
    assert site.asked[-1][1] == {"text": TEXT, "top": 1, "explain": True, "model": "新闻"}


@pytest.mark.slow
def test_words_are_marked_by_more_than_colour(opened: Open) -> None:
    visit = opened()
    visit.answer(TEXT, "球队")
    marks = visit.page.locator("#words mark")
    assert visit.text("#words") == TEXT
    assert marks.all_inner_texts() == ["球队", "决赛", "银行"]
    assert [mark.get_attribute("title") for mark in marks.all()] == [
        *["+1.50: speaks for 体育"] * 2,
        "−1.00: speaks against 体育",
    ]
    lines = [mark.evaluate("each => getComputedStyle(each).textDecorationStyle") for mark in marks.all()]
    assert lines == ["solid", "solid", "dotted"]
    assert visit.page.locator("#heaviest li").all_inner_texts() == ["球队 +1.50", "决赛 +1.50", "银行 −1.00"]
    assert visit.page.locator("#legend mark").all_inner_texts() == ["speaks for it", "speaks against it"]


@pytest.mark.slow
def test_typing_is_answered_when_the_hand_rests(opened: Open, site: Site) -> None:
    visit = opened()
    visit.page.locator("#text").press_sequentially("abcdefghij", delay=20)
    visit.page.locator("#words", has_text="abcdefghij").wait_for()
    assert [query["text"] for _, query in site.asked] == ["abcdefghij"] * 2
    visit.page.fill("#text", "a" * 2001)
    visit.page.locator("#later", has_text="press “Classify”").wait_for()
    assert "explain" not in site.asked[-1][1]
    visit.page.click("#clear")
    assert visit.page.locator("#full").is_hidden()
    assert visit.page.locator("#text").evaluate("each => each === document.activeElement")


@pytest.mark.slow
def test_only_the_surest_are_answered(opened: Open, site: Site) -> None:
    visit = opened()
    assert visit.page.locator("#coverage option").all_inner_texts() == [
        "every text (91.0% right)",
        "only the surest 90% (95.0% right)",
        "only the surest 80% (98.0% right)",
    ]
    visit.answer(DULL)
    assert visit.text("#headline").split()[0] == "体育"
    visit.page.select_option("#coverage", "0.8")
    visit.page.locator("#headline", has_text="Unknown").wait_for()
    assert "coverage" not in site.asked[0][1]
    assert {query.get("coverage") for _, query in site.asked[2:]} == {0.8, None}  # None: words are weighed all the same
    assert visit.text("#remark") == "The likeliest class, 体育, has only 8.3%."
    assert visit.page.locator("#bars .chosen").count() == 0


@pytest.mark.slow
def test_several_labels_a_text(opened: Open, site: Site) -> None:
    site.several, site.info = True, {**site.info, "coverage": []}
    visit = opened()
    assert visit.page.locator("#surest").is_hidden()
    visit.answer(TEXT)
    assert visit.text("#headline").split() == ["体育", "61.4%", "财经", "31.1%"]
    assert visit.page.locator("#bars .chosen").count() == 2
    assert visit.page.get_by_role("img", name="reaches its threshold").count() == 2
    visit.answer(DULL)
    visit.page.locator("#headline", has_text="No class").wait_for()


@pytest.mark.slow
def test_examples_models_card_and_report(opened: Open, site: Site) -> None:
    visit = opened()
    visit.page.get_by_role("button", name=EXAMPLE).click()
    visit.page.locator("#headline", has_text="财经").wait_for()
    assert visit.page.input_value("#text") == EXAMPLE
    visit.page.select_option("#model", "second")
    visit.page.locator("#about", has_text="second").wait_for()
    assert visit.page.get_attribute("#card", "href") == "card?model=second"
    with visit.page.expect_popup() as popup:
        visit.page.click("#report")
    assert popup.value.inner_text("body") == "the report"
    site.info["report"] = False
    other = opened(query="?model=second")
    assert other.page.input_value("#model") == "second"
    assert other.page.locator("#report").is_hidden()


@pytest.mark.slow
def test_two_languages(opened: Open) -> None:
    visit = opened("zh-CN")
    page = visit.page
    assert (page.get_attribute("html", "lang"), page.title()) == ("zh-Hans", STRINGS["zh"]["title"])
    visit.answer(TEXT, "球队")
    assert visit.text("#why-title") == "为什么是 体育"
    page.click("#language")
    assert page.get_attribute("html", "lang") == "en"
    assert visit.text("#why-title") == "What spoke for 体育"
    assert page.locator("#words mark >> nth=0").get_attribute("title") == "+1.50: speaks for 体育"
    page.reload()
    page.locator("#classify", has_text="Classify").wait_for()
    page.click("#language")
    english = [text for text in STRINGS["en"].values() if "{" not in text and text not in STRINGS["zh"].values()]
    shown = page.locator("body").inner_text() + page.locator("body").aria_snapshot()
    assert [
        text for text in english if re.search(rf"(?<!\w){re.escape(text)}(?!\w)", shown) and text != "English"
    ] == []


@pytest.mark.slow
def test_a_file_of_lines(opened: Open, site: Site, tmp_path: Path) -> None:
    lines = [TEXT, "", EXAMPLE, "=1+1", 'say "so", please', "\u202e反\x07", *[f"{DULL}{n}" for n in range(300)]]
    visit = opened()
    page = visit.page
    page.select_option("#coverage", "0.9")
    page.set_input_files("#file", {"name": "a.txt", "mimeType": "text/plain", "buffer": "\n".join(lines).encode()})
    page.locator("#download").wait_for()
    assert visit.text("#summary") == "305 of 305 texts answered. Unknown: 303. Empty lines left out: 1."
    assert page.locator("#rows tr").count() == 200
    assert page.locator("#rows tr >> nth=1").inner_text().split()[:4] == ["3", EXAMPLE, "财经", "91.7%"]
    assert "\\u202e反\\u0007" in visit.text("#rows")
    page.click("#further")
    assert page.locator("#rows tr").count() == 305
    page.select_option("#filter", "=体育")
    assert page.locator("#rows tr").count() == 1
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "fenlei.csv"
    saved = download.value.path().read_text(encoding="utf-8-sig")
    rule = {"top": 3, "coverage": 0.9}
    answers = [(line, site.answer(line, rule)) for line in lines if line]
    rows = [Row(text, *([], []) if a["unknown"] else (a["labels"], a["probabilities"])) for text, a in answers]
    stream = io.StringIO()
    write_csv(rows, stream, 3)
    assert list(csv.reader(io.StringIO(saved))) == list(csv.reader(io.StringIO(stream.getvalue())))
    page.locator("#rows button").click()
    page.locator("#words", has_text="球队").wait_for()
    assert page.locator("#answer").evaluate("each => each === document.activeElement")
    page.click("#close")
    assert page.locator("#results").is_hidden()


@pytest.mark.slow
def test_a_file_is_dropped(opened: Open) -> None:
    visit = opened()
    drop = """text => {
        const data = new DataTransfer();
        data.items.add(new File([text], 'dropped.txt', {type: 'text/plain'}));
        for (const name of ['dragover', 'drop'])
            document.querySelector('#text').dispatchEvent(
                new DragEvent(name, {dataTransfer: data, bubbles: true, cancelable: true}));
    }"""
    visit.page.evaluate(drop, f"{TEXT}\r\n{EXAMPLE}\r\n")
    visit.page.locator("#download").wait_for()
    assert visit.text("#results-title") == "Texts of dropped.txt"
    assert visit.page.locator("#rows tr").count() == 2
    assert visit.page.locator(".dropping").count() == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "holds no text"),
        (b"\n \n", "holds no text"),
        (b"a\n" * 5001, "has 5,001 lines; this page takes up to 5,000"),
        (b"x" * 4_000_001, "takes up to 4 MB"),
        (b"ab\x00c", "is not a text file"),
        (b"caf\xe9 \xff\xff", "is neither UTF-8 nor GB18030"),
    ],
)
def test_what_no_file_of_lines_is_gets_one_sentence(opened: Open, site: Site, content: bytes, told: str) -> None:
    visit = opened()
    visit.page.set_input_files("#file", {"name": "b.txt", "mimeType": "text/plain", "buffer": content})
    visit.page.locator("#notices p", has_text=told).wait_for()
    assert visit.text("#notices p").startswith("b.txt ")
    assert site.asked == []


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030"])
def test_files_of_windows_are_read(opened: Open, encoding: str) -> None:
    visit = opened()
    content = f"{TEXT}\n{EXAMPLE}".encode(encoding)
    visit.page.set_input_files("#file", {"name": "c.txt", "mimeType": "text/plain", "buffer": content})
    visit.page.locator("#download").wait_for()
    assert visit.page.locator("#rows td.text").all_inner_texts() == [TEXT, EXAMPLE]
    assert ("GB18030" in visit.text("#summary")) is (encoding == "gb18030")


@pytest.mark.slow
def test_what_is_too_much_at_once_is_halved(opened: Open, site: Site) -> None:
    visit = opened()
    visit.expected = ["413"]
    site.planned = [(413, {"error": "divide them"}, {})] * 3
    content = "\n".join([TEXT, EXAMPLE, DULL, DULL]).encode()
    visit.page.set_input_files("#file", {"name": "d.txt", "mimeType": "text/plain", "buffer": content})
    visit.page.locator("#download").wait_for()
    assert [len(query["texts"]) for _, query in site.asked] == [4, 2, 1, 1, 2]
    assert visit.text("#summary") == "3 of 4 texts answered. Not answered: 1."
    assert "not answered" in visit.text("#rows tr >> nth=0")


REFUSED = [
    (400, "the key is unknown", "The server did not accept the request: the key is unknown"),
    (404, "there is no model 'x'", "The server does not have this: there is no model 'x'"),
    (408, "it came too late", "The server took too long; try a shorter text."),
    (413, "divide them", "The text is too long for this server; shorten it."),
    (500, "<b>inside</b>", "The server failed (500): <b>inside</b>"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("status", "detail", "told"), REFUSED)
def test_refusals_are_told_in_one_sentence(opened: Open, site: Site, status: int, detail: str, told: str) -> None:
    visit = opened()
    visit.expected = [str(status)]
    site.planned = [(status, {"error": detail}, {})]
    visit.page.fill("#text", TEXT)
    visit.page.click("#classify")
    visit.page.get_by_role("alert").get_by_text(told, exact=True).wait_for()
    visit.page.click("#language")
    assert HAN.search(visit.text("#notices p"))
    visit.answer(TEXT, "球队")
    assert visit.page.locator("#notices p").count() == 0


@pytest.mark.slow
def test_a_busy_server_is_asked_again_when_it_says(opened: Open, site: Site) -> None:
    visit = opened()
    visit.expected = ["503"]
    site.planned = [(503, {"error": "too many"}, {"Retry_After": "1"})] * 2
    visit.page.fill("#text", TEXT)
    visit.page.click("#classify")
    visit.page.get_by_role("alert").get_by_text("asking again in 1 s").wait_for()
    visit.page.locator("#headline", has_text="体育").wait_for()
    assert visit.page.locator("#notices p").count() == 0
    assert len(site.asked) == 4


@pytest.mark.slow
def test_answers_that_are_none_and_servers_that_are_gone(opened: Open, site: Site) -> None:
    visit = opened()
    visit.expected = ["ERR_"]
    for body in ({}, {"predictions": [{}]}, {"predictions": "x"}):
        site.planned = [(200, body, {})]
        visit.page.fill("#text", TEXT)
        visit.page.click("#classify")
        visit.page.get_by_role("alert").get_by_text("could not be read").wait_for()
        visit.page.get_by_role("button", name="Close this message").click()
    visit.page.context.set_offline(True)
    visit.page.click("#classify")
    visit.page.get_by_role("alert").get_by_text("cannot be reached").wait_for()
    visit.page.context.set_offline(False)
    visit.answer(TEXT, "球队")


@pytest.mark.slow
def test_a_long_text_is_answered_though_its_words_are_not_weighed(opened: Open, site: Site) -> None:
    visit = opened()
    visit.expected = ["413"]
    text = "球队" + "很长的文本。" * 16_000
    visit.page.fill("#text", text)
    visit.page.locator("#headline", has_text="体育").wait_for()
    site.planned = [
        (200, {"predictions": [site.answer(text, {"top": 12})]}, {}),
        (413, {"error": "a text of more than 20,000 characters is not explained"}, {}),
    ]
    visit.page.click("#classify")
    visit.page.locator("#later", has_text="not weighed by this server").wait_for()
    visit.answer(text)
    visit.page.locator("#words mark").wait_for()
    assert len(visit.page.locator("#words").text_content() or "") == len(text)
    assert visit.page.locator("#words").bounding_box()["height"] <= 400  # type: ignore[index]


@pytest.mark.slow
def test_a_server_with_a_token(opened: Open, site: Site) -> None:
    site.token = "open-sesame"
    visit = opened(ready="#door")
    visit.expected = ["401"]
    page = visit.page
    assert visit.text("#notices p") == "This server wants a token; enter it below."
    page.keyboard.type("wrong")  # the field has the focus
    page.keyboard.press("Enter")
    page.get_by_role("alert").get_by_text("did not accept this token").wait_for()
    page.get_by_label("Token of this server").fill("open-sesame")
    page.get_by_role("button", name="Continue").click()
    page.locator("#about dt >> nth=0").wait_for()
    assert page.locator("#door").is_hidden()
    with page.expect_download() as download:
        page.click("#card")
    assert download.value.path().read_text() == "the card"
    page.reload()
    page.locator("#about dt >> nth=0").wait_for()  # kept in this tab
    assert page.evaluate("Object.keys(localStorage).length") == 0


@pytest.mark.slow
def test_everything_is_within_reach_of_the_keyboard(opened: Open) -> None:
    visit = opened()
    page = visit.page
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the skip link
    page.keyboard.type(TEXT)
    page.keyboard.press("Control+Enter")
    page.locator("#words", has_text="球队").wait_for()
    page.evaluate("document.activeElement.blur(); getSelection().removeAllRanges()")
    reached = []
    here = """() => {
        const each = document.activeElement, style = getComputedStyle(each);
        return [each.id || each.textContent, style.outlineStyle, parseFloat(style.outlineWidth)];
    }"""
    wanted = """() => [...document.querySelectorAll('a, button, select, textarea, input, [tabindex="0"]')]
        .filter(each => each.checkVisibility() && !each.disabled).map(each => each.id || each.textContent)"""
    page.locator("h1").click()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(here))
    names = [name for name, _, _ in reached]
    expected = page.evaluate(wanted)
    start = names.index("model")
    assert names[start : start + len(expected) - 1] == expected[1:]
    assert [each for each in reached if each[0] in expected and (each[1] == "none" or each[2] < 2)] == []


@pytest.mark.slow
def test_roles_and_names(opened: Open) -> None:
    visit = opened()
    visit.answer(TEXT, "球队")
    visit.page.set_input_files("#file", {"name": "a.txt", "mimeType": "text/plain", "buffer": TEXT.encode()})
    visit.page.locator("#download").wait_for()
    tree = visit.page.locator("body").aria_snapshot()
    for wanted in (
        *("- banner:", '- heading "fenlei 分类" [level=1]', '- navigation "Model and language":', "- main:"),
        *('- combobox "Model":', '- textbox "Text":', '- combobox "Answer":', '- list "Examples":'),
        *('- region "Classes":', '- list "Classes":', '- region "What spoke for 体育":', "- mark", "- status:"),
        *('- group "Texts of a.txt":', '- table "Texts of a.txt":', '- columnheader "Probability"', "- contentinfo"),
        *('button "Why: the words of line 1"', '- link "Model card":', '- button "Classify"'),
    ):
        assert wanted in tree, tree


CONTRASTS = """() => {
    const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
    const ground = each => {
        for (let at = each; at; at = at.parentElement) {
            const fill = at.querySelector(':scope > .fill');
            const [r, g, b, a = 1] = parse(getComputedStyle(fill || at).backgroundColor);
            if (a === 1) return [r, g, b];
        }
        return [255, 255, 255];
    };
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
    while (walk.nextNode()) {
        const each = walk.currentNode.parentElement;
        if (!walk.currentNode.data.trim() || !each.checkVisibility()) continue;
        if (each.closest('.unseen, .skip, :disabled, select')) continue;
        found.push([walk.currentNode.data.trim(), parse(getComputedStyle(each).color).slice(0, 3), ground(each)]);
    }
    return found;
}"""


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(opened: Open, scheme: str) -> None:
    visit = opened(color_scheme=scheme)
    visit.answer(TEXT, "球队")
    content = f"{TEXT}\n{DULL}".encode()
    visit.page.set_input_files("#file", {"name": "a.txt", "mimeType": "text/plain", "buffer": content})
    visit.page.locator("#download").wait_for()
    found = visit.page.evaluate(CONTRASTS)
    assert len(found) > 60
    as_hex = [(text, *("#" + "".join(f"{part:02x}" for part in each) for each in pair)) for text, *pair in found]
    assert [each for each in as_hex if contrast(each[1], each[2]) < 4.5] == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_sticks_out_on_any_screen(opened: Open, site: Site, width: int) -> None:
    long = "x" * 300
    site.words = {long: ["球队"], **WORDS}
    site.info["examples"] = [long, EXAMPLE]
    visit = opened(viewport={"width": width, "height": 800})
    visit.answer(f"球队{long}", "球队")
    visit.page.set_input_files("#file", {"name": f"{long}.txt", "mimeType": "text/plain", "buffer": long.encode()})
    visit.page.locator("#download").wait_for()
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    small = """() => [...document.querySelectorAll('button, select, nav a')].filter(each => each.checkVisibility())
        .filter(each => each.getBoundingClientRect().height < 24).map(each => each.textContent)"""
    assert visit.page.evaluate(small) == []  # WCAG 2.2: 24 pixels at least


PAYLOADS = [
    "<script>window.hit=1</script>",
    "<img src=x onerror=window.hit=1>",
    "<svg onload=window.hit=1>",
    "<svg><script>window.hit=1</script></svg>",
    "<iframe srcdoc='<script>parent.hit=1</script>'></iframe>",
    "<iframe src=javascript:parent.hit=1></iframe>",
    "<body onload=window.hit=1>",
    "<details open ontoggle=window.hit=1>",
    "<input autofocus onfocus=window.hit=1>",
    "<video><source onerror=window.hit=1></video>",
    "<math><mtext><img src=x onerror=window.hit=1></mtext></math>",
    "<object data=javascript:window.hit=1>",
    "<embed src=javascript:window.hit=1>",
    "<base href=https://example.invalid/>",
    "<link rel=stylesheet href=https://example.invalid/a.css>",
    "<style>@import 'https://example.invalid/b.css'</style>",
    "<meta http-equiv=refresh content='0;url=https://example.invalid/'>",
    "<form action=https://example.invalid/><button>go</button></form>",
    "<a href=javascript:window.hit=1>x</a>",
    "<img src=https://example.invalid/c.png>",
    '"><script>window.hit=1</script>',
    "'><img src=x onerror=window.hit=1>",
    '" onmouseover="window.hit=1',
    "' autofocus onfocus='window.hit=1",
    "--><script>window.hit=1</script>",
    "]]><script>window.hit=1</script>",
    "</title><script>window.hit=1</script>",
    "</textarea><script>window.hit=1</script>",
    "</template><script>window.hit=1</script>",
    "<noscript><p title='</noscript><img src=x onerror=window.hit=1>'>",
    "javascript:window.hit=1",
    "data:text/html,<script>window.hit=1</script>",
    "{{constructor.constructor('window.hit=1')()}}",
    "${window.hit=1}",
    "`${window.hit=1}`",
    "{n} {label} {share} {detail}",
    "$& $1 $` $'",
    "__proto__",
    "constructor",
    "toString",
    '=HYPERLINK("https://example.invalid/","x")',
    "+1-1@SUM(1)|cmd",
    "\u202egnp.exe\u202c",
    "\u2066isolate without end",
    "\x00\x01\x07\x1b[31m\x7f\x9b",
    "\ud800 half \udc00",
    "\u2028window.hit=1\u2029",
    "\ufeff\u200b\u200e\u061c",
    "שלום עולם <b>مرحبا</b>",
    "e" + "\u0301" * 200 + "👩‍👩‍👧‍👦" * 20,
]
SAFE_NAME = re.compile(r"[/\\\x00\ud800-\udfff]")  # what no file can be called


@pytest.mark.slow
def test_hostile_texts_labels_and_models_are_only_shown(opened: Open, site: Site) -> None:
    assert len(set(PAYLOADS)) == 50
    site.words = {payload: [payload] for payload in PAYLOADS}
    site.info["models"] = PAYLOADS[:5]
    site.info |= {"digest": PAYLOADS[1], "fenlei": PAYLOADS[0]}
    visit = opened()
    page = visit.page
    for payload in PAYLOADS:
        visit.answer(f"{payload} 球队", "球队")
        assert page.locator("#headline bdi >> nth=0").text_content() != ""
    page.click("#more")
    page.click("#language")
    assert page.locator("#bars li").count() == 50
    assert page.locator("main script, main img, main iframe, main svg, main style, main a").count() == 0
    assert "<script>window.hit=1</script>" in visit.text("#bars")


@pytest.mark.slow
def test_hostile_examples_and_sentences_are_only_shown(opened: Open, site: Site) -> None:
    for start in range(0, 50, 5):
        site.info["examples"] = PAYLOADS[start : start + 5]
        visit = opened()
        visit.expected = ["400"]
        for button in visit.page.locator("#examples button").all():
            site.planned = [(400, {"error": PAYLOADS[start]}, {})]
            with visit.page.expect_response("**/predict"):  # the sentence of the button before may still stand there
                button.click()
            visit.page.locator("#notices p", has_text="did not accept").wait_for()
        assert visit.page.locator("#examples :not(li, button, bdi), #notices :not(div, p, bdi, button)").count() == 0
        visit.check()


@pytest.mark.slow
def test_hostile_file_names_and_lines_are_only_shown(opened: Open, tmp_path: Path) -> None:
    visit = opened()
    content = "\n".join(PAYLOADS).replace("\0", "").encode(errors="replace")
    for number, payload in enumerate(PAYLOADS):
        name = SAFE_NAME.sub("_", payload)[:60]
        visit.page.set_input_files(
            "#file", {"name": f"{number}{name}.txt", "mimeType": "text/plain", "buffer": content}
        )
        visit.page.locator("#results-title", has_text=f"Texts of {number}").wait_for()
        visit.page.locator("#download").wait_for()
    assert visit.page.locator("#rows tr").count() >= 48
    assert visit.page.locator("#rows :not(tr, td, div, bdi, button)").count() == 0
    with visit.page.expect_download() as download:
        visit.page.click("#download")
    rows = list(csv.reader(io.StringIO(download.value.path().read_text(encoding="utf-8-sig"))))
    assert [row for row in rows if row[0].startswith(FORMULA)] == []


# ---- with the server itself --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Path:
    return bundle.save(tmp_path_factory.mktemp("saved") / "topics")


@contextlib.contextmanager
def serving(folder: Path, *arguments: str, **environment: str) -> Iterator[str]:
    """The address at which `fenlei serve` answers."""
    pytest.importorskip("fenlei.serve.app", reason="there is no server")
    command = [sys.executable, "-m", "fenlei", "serve", str(folder), "--port", "0", "--quiet", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | environment) as server:
        assert server.stderr is not None
        found = (re.search(r"http://127\.0\.0\.1:\d+/", line) for line in server.stderr)
        yield next(each[0] for each in found if each)
        server.terminate()


@pytest.mark.slow
def test_the_server_and_the_page_understand_each_other(opened: Open, folder: Path, tmp_path: Path) -> None:
    predictor = Predictor(folder)
    with serving(folder) as url:
        visit = opened(url=url)
        page = visit.page
        assert visit.text("#known").split("\n") == list(predictor.labels)
        examples = [text for text, _ in predictor.bundle.golden][:5]
        assert [each.strip() for each in page.locator("#examples button").all_inner_texts()] == examples
        page.locator("#examples button >> nth=0").click()
        page.locator("#words:visible").wait_for()
        assert page.locator("#words").text_content() == examples[0]
        answer = next(predictor.answer(examples[:1]))
        assert visit.text("#headline bdi") == answer.labels[0]
        assert abs(float(visit.text("#headline .share")[:-1]) - 100 * answer.probabilities[0]) <= 0.051
        with page.expect_popup() as popup:
            page.click("#card")
        assert popup.value.inner_text("body").strip() == predictor.bundle.card().strip()
        page.fill("#text", "长" * 100_000)
        page.click("#classify")
        visit.expected = ["413"]
        page.locator("#later", has_text="not weighed by this server").wait_for()


@pytest.mark.slow
def test_the_csv_of_the_page_is_that_of_the_command_line(
    opened: Open, folder: Path, tmp_path: Path, chinese: tuple[Labelled, Labelled], capsysbinary: Any
) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("\n".join([*chinese[1].texts, *chinese[0].texts, "=1+1", 'a,b "c"', "שלום"]) + "\n", "utf-8")
    with serving(folder) as url:
        visit = opened(url=url)
        visit.page.set_input_files("#file", path)
        with visit.page.expect_download() as download:
            visit.page.click("#download")
        saved = download.value.path().read_bytes()
    assert main(["predict", str(folder), str(path), "--format", "csv", "--top", "3"]) == 0
    written = capsysbinary.readouterr().out
    rows = [list(csv.reader(io.StringIO(each.decode("utf-8-sig")))) for each in (saved, written)]
    assert len(rows[0]) == 154
    assert [row[:2] for row in rows[0]] == [row[:2] for row in rows[1]]
    numbers = [[[float(cell) for cell in row[2::2]] for row in table[1:]] for table in rows]
    assert np.abs(np.array(numbers[0]) - np.array(numbers[1])).max() <= 1e-6


@pytest.mark.slow
def test_the_token_of_the_server_opens_the_page(opened: Open, folder: Path) -> None:
    with serving(folder, FENLEI_TOKEN="open-sesame-and-more-of-it") as url:
        visit = opened(url=url, ready="#door")
        visit.expected = ["401"]
        for token in ("开门", "open-sesame-and-less-of-it"):
            visit.page.fill("#token", token)
            visit.page.press("#token", "Enter")
            visit.page.get_by_role("alert").get_by_text("did not accept this token").wait_for()
            visit.page.get_by_role("button", name="Close this message").click()
        visit.page.fill("#token", "open-sesame-and-more-of-it")
        visit.page.press("#token", "Enter")
        visit.page.locator("#door").wait_for(state="hidden")
        visit.answer(TEXT)
        visit.page.locator("#headline bdi").wait_for()
