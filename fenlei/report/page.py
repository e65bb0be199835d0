"""The page: head, contents, sections, all in one file that asks for nothing outside and runs one script of its own."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from fenlei.bundle import Bundle
from fenlei.report.confusion import confusion
from fenlei.report.data import data
from fenlei.report.findings import findings
from fenlei.report.learning import learning
from fenlei.report.making import making, origin, recipe
from fenlei.report.markup import Html, joined, label, tag
from fenlei.report.material import Clock, Material
from fenlei.report.scores import classes, scores
from fenlei.report.sureness import sureness, thresholds
from fenlei.report.texts import mistakes, suspects
from fenlei.report.words import both

# In the order of the page; the words under title_NAME are the headline.
SECTIONS: dict[str, Callable[[Material], Html]] = {
    "findings": findings,
    "data": data,
    "learning": learning,
    "scores": scores,
    "classes": classes,
    "confusion": confusion,
    "thresholds": thresholds,
    "sureness": sureness,
    "mistakes": mistakes,
    "suspects": suspects,
    "making": making,
    "recipe": recipe,
    "origin": origin,
}


def render(bundle: Bundle, name: str = "", clock: Clock = time.perf_counter) -> str:
    """A complete HTML page about ``bundle``, in English and Chinese; ``name`` is what it is called there.

    The same bundle gives the same page, except for the texts a second, which are measured by ``clock`` (in seconds).
    What the bundle lacks is left out or said. Raises ImportError where matplotlib is missing.
    """
    found = Material(bundle, name, clock)
    sections = {key: content for key, section in SECTIONS.items() if (content := section(found))}
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy()),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name_="color-scheme", content="light dark"),
        tag("title", f"{name or 'classifier'} · fenlei report"),
        tag("style", Html(_file("page.css"))),
    ]
    body = tag(
        "body", _masthead(found), _contents(list(sections)), _main(sections), tag("script", Html(_file("page.js")))
    )
    return f'<!doctype html>\n<html lang="en">\n{tag("head", *head)}\n{body}\n</html>\n'


def parts(page: str) -> list[str]:
    """The names of the sections that a page has."""
    return [name for name in SECTIONS if f'<section id="{name}"' in page]


def policy() -> str:
    """What the page may do: its own styles, its one script, nothing else."""
    digest = base64.b64encode(hashlib.sha256(_file("page.js").encode()).digest()).decode()
    scripts = f"script-src 'sha256-{digest}'"
    return f"default-src 'none'; style-src 'unsafe-inline'; {scripts}; base-uri 'none'; form-action 'none'"


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8").strip()


def _masthead(found: Material) -> Html:
    """What the page is about, and the switch of languages, which needs no script."""
    choices = [
        tag("input", type="radio", name_="language", id="en", checked=True, autocomplete="off"),
        tag("label", "English", for_="en", lang="en"),
        tag("input", type="radio", name_="language", id="zh", autocomplete="off"),
        tag("label", "中文", for_="zh", lang="zh-Hans"),
    ]
    switch = tag("fieldset", tag("legend", "Language · 语言"), *choices, class_="switch")
    title = label(found.name, 60) if found.name else both("unnamed")
    top = tag("div", tag("p", both("kicker"), class_="kicker"), switch, class_="top")
    return tag("header", top, tag("h1", title), tag("p", _built(found), class_="built"))


def _built(found: Material) -> Html:
    network = found.bundle.network
    if found.alone or not network:
        return both("built_linear")
    wide = "built_both" if "wide.weight" in found.bundle.weights or found.bundle.recipe.get("wide") else "built_network"
    return both(wide, network=network)


def _contents(names: list[str]) -> Html:
    listed = [tag("li", tag("a", both(f"title_{name}"), href=f"#{name}")) for name in names]
    return tag("nav", tag("ol", *listed), aria_label="Contents · 目录")


def _main(sections: dict[str, Html]) -> Html:
    """Each section under its headline, and what made the page."""
    drawn = [tag("section", tag("h2", both(f"title_{name}")), content, id=name) for name, content in sections.items()]
    return tag("main", joined(drawn), tag("footer", both("footer")))
