"""The report: its numbers are the bundle's, what is missing is left out, nothing from outside becomes markup."""

from __future__ import annotations

import copy
import itertools
import json
import math
import os
import random
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fenlei.bundle import Bundle
from fenlei.bundle.folder import NAMES
from fenlei.cli import main
from fenlei.report import parts, render
from fenlei.report.markup import escaped, label, percent, points, size, span, tag, text
from fenlei.report.sureness import reaching
from fenlei.report.words import MEANINGS, WORDS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from fenlei.learn import Labelled


# --- bundles made by hand ---


def item(content: str, true: list[str], predicted: list[str], p: float = 0.9, q: float = 0.05) -> dict[str, Any]:
    return {
        "text": content[:300],
        "cut": len(content) > 300,
        "true": true,
        "predicted": predicted,
        "probability": p,
        "true_probability": q,
    }


def epochs(count: int) -> list[dict[str, Any]]:
    return [
        {
            "number": n,
            "epochs": count,
            "loss": 1.6 / n + 0.1,
            "accuracy": 1 - 0.5 / n,
            "dev_loss": 1.4 / n + 0.02 * n,
            "dev_accuracy": 0.9 - 0.3 / n,
            "seconds": 1.5,
            "documents_per_second": 3100.0,
            "best": n == max(1, count - 2),
        }
        for n in range(1, count + 1)
    ]


def class_row(number: int) -> dict[str, Any]:
    precision, recall = 0.95 - 0.003 * number, 0.9 - 0.004 * number
    f1 = 2 * precision * recall / (precision + recall)
    return {"precision": precision, "recall": recall, "f1": f1, "support": 40 - number % 7}


def matrix(count: int) -> list[list[int]]:
    rows = [[(5 * i + 3 * j) % 7 // 5 for j in range(count)] for i in range(count)]
    for i in range(count):
        rows[i][i] = 30 + i % 7
    return rows


def curve(number: int) -> list[list[float]]:
    return [[t, 0.5 + 0.45 * t**2 - 0.001 * number, 1 - t**3] for t in (n / 20 for n in range(20))]


def scores_one(labels: list[str], networks: int = 1, count: int = 6) -> dict[str, Any]:
    bins = [{"n": 5 * n * n, "confidence": n / 10 + 0.05, "accuracy": n / 10 + 0.02} for n in range(10)]
    return {
        "dev": {
            "accuracy": 0.8899082568807339,
            "macro_f1": 0.8810,
            "n": 545,
            "classes": {name: class_row(place) for place, name in enumerate(labels)},
            "confusion": {"labels": labels, "rows": matrix(len(labels))},
            "accuracy_interval": [0.8612, 0.9140],
            "macro_f1_interval": [0.8432, 0.9078],
            "calibration": {"ece": 0.0173, "bins": bins},
        },
        "uncalibrated_ece": 0.0612,
        "linear": {
            "accuracy": 0.8771,
            "macro_f1": 0.8601,
            "accuracy_interval": [0.8460, 0.9023],
            "macro_f1_interval": [0.8201, 0.8911],
            "cost": 0.1,
            "emphasis": 1.0,
        },
        "lead": {"gain": 0.0128, "interval": [-0.0018, 0.0294]},
        "epochs": [epochs(count) for _ in range(networks)],
        "seconds": 12.3,
    }


def evidence_of(labels: list[str], texts: list[str], several: bool = False) -> dict[str, Any]:
    source = random.Random(5)
    rows = matrix(len(labels))
    wrong = [(i, j) for i, row in enumerate(rows) for j, n in enumerate(row) if i != j for _ in range(n)][:400]
    edges = sorted({round(1.25**n) for n in range(20)})
    shares = [math.exp(-((math.log(a) - 2.5) ** 2)) for a in edges[:-1]]
    return {
        "classes": {
            "train": {name: 900 // (place + 1) for place, name in enumerate(labels)},
            "dev": {name: 100 // (place + 1) for place, name in enumerate(labels)},
        },
        "lengths": {
            "edges": edges,
            "train": [round(800 * share) for share in shares],
            "dev": [round(88 * share) for share in shares],
            "limit": 1024,
        },
        "mistakes": [
            item(source.choice(texts), [labels[i]], [] if several and not n % 3 else [labels[j]], 0.99 - n / 500, 0.01)
            for n, (i, j) in enumerate(wrong)
        ],
        "examples": [item(source.choice(texts), [name], [name], 0.98, 0.98) for name in labels for _ in range(3)],
        "suspects": [item(source.choice(texts), [labels[0]], [labels[1]], 0.97, 0.01) for _ in range(24)],
    }


def one(bundle: Bundle, labels: list[str] | None = None, networks: int = 1, count: int = 6) -> Bundle:
    """One label a text, everything recorded."""
    made = copy.copy(bundle)
    labels = labels or bundle.labels
    texts = [content for content, _ in bundle.golden]
    made.labels = labels if len(labels) == len(bundle.labels) else bundle.labels
    made.scores = scores_one(labels, networks, count)
    steps = [n / 20 for n in range(20)]
    made.decisions = {
        "kind": "one",
        "coverage": [[t, 1 - t**3, 0.88 + 0.12 * t] for t in steps],
        "classes": {name: curve(place) for place, name in enumerate(labels)},
        "thresholds": {},
    }
    made.evidence = evidence_of(labels, texts)
    made.ledger = {
        "counts": {"duplicate": 71, "undecodable": 2, "a new kind": 1},
        "notes": ["545 documents were held out as dev"],
        "entries": [["duplicate", f"train.tsv:{n}", "as line 3"] for n in range(71)]
        + [["undecodable", "b.txt", ""], ["undecodable", "c.txt", ""], ["a new kind", "d.txt", "?"]],
    }
    return made


def several(bundle: Bundle) -> Bundle:
    """Several labels a text, everything recorded."""
    made = one(bundle)
    made.scores = copy.deepcopy(made.scores)
    dev = made.scores["dev"]
    del dev["confusion"], dev["accuracy_interval"]
    dev |= {"micro_f1": 0.8123, "micro_f1_interval": [0.79, 0.83], "accuracy": 0.6543}
    for row in dev["classes"].values():
        row["threshold"] = 0.35
    made.scores["linear"] = {"micro_f1": 0.79, "macro_f1": 0.7, "cost": 0.1, "emphasis": 1.0}
    made.decisions |= {"kind": "several", "coverage": [], "thresholds": dict.fromkeys(made.labels, 0.35)}
    for epoch in made.scores["epochs"][0]:
        epoch["measure"] = "micro-F1"
    made.evidence = evidence_of(made.labels, [content for content, _ in bundle.golden], several=True)
    return made


class Ticks:
    """A clock that goes a second a look: measured speed is then the same in every run."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def drawn(bundle: Bundle, name: str = "news") -> str:
    return render(bundle, name, Ticks())


VARIANTS: dict[str, Callable[[Bundle], Bundle]] = {
    "one": one,
    "several": several,
    "two classes": lambda bundle: one(bundle, bundle.labels[:2]),
    "thirty classes": lambda bundle: one(bundle, [f"class {n}" for n in range(30)]),
    "150 classes": lambda bundle: one(bundle, [f"class {n}" for n in range(150)]),
    "one epoch": lambda bundle: one(bundle, count=1),
    "many epochs": lambda bundle: one(bundle, count=200),
    "six networks": lambda bundle: one(bundle, networks=6, count=2),
}


@pytest.fixture(scope="module", params=VARIANTS)
def page(request: pytest.FixtureRequest, bundle: Bundle) -> str:
    return drawn(VARIANTS[request.param](bundle))


@pytest.fixture(scope="module")
def plain(bundle: Bundle) -> Bundle:
    """What a bundle is that recorded nothing but what answers."""
    made = copy.copy(bundle)
    made.scores, made.ledger, made.recipe = {}, {}, {}
    made.evidence, made.decisions = {}, {}
    return made


# --- reading a page ---


class Reader(HTMLParser):
    """Tags, attributes, text by section, ids, links; fails where elements are not nested."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.scripts = 0
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.scripts += tag == "script"
        if tag not in ("meta", "input"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("style", "script"):
            self.texts.append(data)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]

    @property
    def text(self) -> str:
        return "".join(self.texts)


def section(page: str, name: str) -> str:
    found = re.search(rf'<section id="{name}">.*?(?=<section id="[a-z]+">|<footer>)', page, re.DOTALL)
    assert found, name
    return found[0]


def rows(table: str) -> list[list[str]]:
    """The cells' text of every row of a section's tables."""
    cells = (re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in re.findall(r"<tr>(.*?)</tr>", table))
    return [[re.sub(r"<[^>]*>", "", cell) for cell in row] for row in cells]


def test_a_page_is_well_formed_and_asks_for_nothing(page: str) -> None:
    reader = Reader(page)
    ids = reader.all("id")
    assert len(set(ids)) == len(ids)
    assert [link for link in reader.all("href") if link.removeprefix("#") not in ids] == []
    assert [name for name in reader.all("aria-labelledby") if name not in ids] == []
    assert reader.scripts == 1
    assert not {"img", "link", "iframe", "object", "base", "form"} & reader.tags
    assert re.findall(r"@import|\bsrc=|https?://|url\((?!#)", page) == []
    assert page.startswith('<!doctype html>\n<html lang="en">')


def test_every_drawing_is_xml_with_text_and_the_pages_own_colours(page: str) -> None:
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert drawings
    for svg in drawings:
        root = ET.fromstring(svg)
        assert (root.get("role"), bool(root.get("aria-labelledby"))) == ("img", True)
        assert list(root.iter("text"))
        assert "#0000" not in svg
        assert "DejaVu" not in svg
        assert set(re.findall(r"var\((--\w+)\)", svg)) <= set(re.findall(r"(--\w+):", page))
        assert all(name in svg for name in re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
        assert len(svg) < 60_000


def test_the_policy_lets_the_pages_own_script_run_and_no_other(page: str) -> None:
    import base64
    import hashlib

    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    assert policy[1].replace("&#x27;", "'").split("; ") == [
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        f"script-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def test_the_same_bundle_gives_the_same_page(bundle: Bundle) -> None:
    assert drawn(one(bundle)) == drawn(one(bundle))
    assert "texts a second" in render(one(bundle))


# --- what stands in it ---

ALWAYS = ["findings", "data", "learning", "scores", "classes"]
AFTER = ["sureness", "mistakes", "suspects", "making", "recipe", "origin"]


def test_sections_in_their_order(bundle: Bundle, plain: Bundle) -> None:
    assert parts(drawn(one(bundle))) == [*ALWAYS, "confusion", *AFTER]
    assert parts(drawn(several(bundle))) == [*ALWAYS, "thresholds", *AFTER]
    assert parts(drawn(plain)) == ["findings", "data", "learning", "scores", "making", "recipe", "origin"]
    assert parts("nothing") == []


def test_scores_are_the_bundles(bundle: Bundle) -> None:
    found = section(drawn(one(bundle)), "scores")
    assert "545 held-out texts" in found
    assert [row[1:3] for row in rows(found)[1:]] == [
        ["89.0%", "86.1–91.4%"],
        ["87.7%", "84.6–90.2%"],
        ["88.1%", "84.3–90.8%"],
        ["86.0%", "82.0–89.1%"],
    ]


@pytest.mark.parametrize(
    ("low", "high", "said", "in_chinese"),
    [
        (0.004, 0.03, "better</b> than the linear model alone: by +1.3 points (95%: +0.4 to +3.0)", "更好"),
        (-0.002, 0.03, "no clear difference</b>: +1.3 points (95%: −0.2 to +3.0)", "没有明显差别"),
        (-0.04, -0.01, "worse</b> than the linear model alone: by +1.3 points (95%: −4.0 to −1.0)", "更差"),
    ],
)
def test_the_verdict_goes_by_the_paired_interval(
    bundle: Bundle, low: float, high: float, said: str, in_chinese: str
) -> None:
    made = one(bundle)
    made.scores["lead"] = {"gain": 0.0128, "interval": [low, high]}
    found = section(drawn(made), "scores")
    assert said in found
    assert in_chinese in found


def test_a_verdict_without_an_interval_says_so_and_none_is_given_alone(bundle: Bundle) -> None:
    made = one(bundle)
    made.scores["lead"] = None
    assert "+1.3 points; how much of that is chance was not recorded" in section(drawn(made), "scores")
    made.model = {**made.model, "branches": 0}
    found = section(drawn(made), "scores")
    assert "The linear model answers by itself here" in found
    assert "87.7%" not in found


def test_of_a_linear_model_nothing_is_said_about_networks(bundle: Bundle) -> None:
    whole = drawn(one(bundle))
    assert "The network reads at most" in whole
    assert "chose the best epoch" in whole
    made = one(bundle)
    made.model = {**made.model, "branches": 0}
    made.scores["epochs"] = []
    told = drawn(made)
    assert "The network reads at most" not in told
    assert "chose the best epoch" not in told
    assert "chose the linear model's settings" in section(told, "scores").replace("&#x27;", "'")


def test_texts_without_labels_are_told(bundle: Bundle) -> None:
    assert "texts without labels" not in render(bundle, "name")
    more = copy.copy(bundle)
    more.ledger = {**bundle.ledger, "unlabelled": {"used": 1234}}
    told = render(more, "name")
    assert "1,234 texts without labels were learned from too." in told
    assert "另有 1,234 条没有标签的文本参与了学习。" in told


def test_classes_have_their_rows_and_of_many_the_weakest_come_first(bundle: Bundle) -> None:
    made = one(bundle)
    found = rows(section(drawn(made), "classes"))[1:]
    for row, (name, numbers) in zip(found, made.scores["dev"]["classes"].items(), strict=True):
        assert row[0] == name
        assert row[1:] == [str(numbers["support"]), *(f"{numbers[k]:.1%}" for k in ("precision", "recall", "f1"))]
    many = rows(section(drawn(VARIANTS["150 classes"](bundle)), "classes"))[1:]
    assert len(many) == 150
    assert [row[0] for row in many[:2]] == ["class 149", "class 148"]


def test_the_matrix_is_the_bundles_and_its_cells_lead_to_their_texts(bundle: Bundle) -> None:
    made = one(bundle)
    made.evidence["mistakes"] = [item("the only <one>", [made.labels[0]], [made.labels[1]])]
    made.scores["dev"]["confusion"]["rows"][0][1] = 4
    page = drawn(made)
    found = section(page, "confusion")
    table = found[: found.index("</table>")]
    counts = [[int(cell or 0) for cell in row[1:]] for row in rows(table)[1:]]
    assert counts == made.scores["dev"]["confusion"]["rows"]
    assert 'href="#cell-0-1"' in table
    cell = found[found.index('id="cell-0-1"') :]
    assert "the only &lt;one&gt;" in cell[: cell.index("</section>")]
    assert "(1 of them kept here)" in cell[: cell.index("</section>")]


def test_beyond_forty_classes_the_worst_pairs_stand_in_place_of_the_matrix(bundle: Bundle) -> None:
    labels = [f"class {n}" for n in range(41)]
    made = one(bundle, labels)
    made.scores["dev"]["confusion"]["rows"][7][3] = 9
    found = section(drawn(made), "confusion")
    assert "matrix" not in re.findall(r'class="(\w+)', found)
    first = re.sub(r"<[^>]*>", "", found[found.index('<ol class="pairs">') : found.index("</li>")])
    assert first.startswith("class 7 taken for class 3")
    share = 9 / sum(made.scores["dev"]["confusion"]["rows"][7])
    assert f"9 times, {share:.1%} of its class" in first
    assert found.count('class="often"') == 40


def test_curves_mark_the_best_epoch_and_the_table_has_every_one(bundle: Bundle) -> None:
    found = section(drawn(one(bundle)), "learning")
    assert "6 epochs in 9 s. The best was epoch 4: 82.5%" in found
    assert found.count("<svg") == 2
    table = rows(found)
    assert [row[0].partition(" ")[0] for row in table[1:]] == ["1", "2", "3", "4", "5", "6"]
    assert table[4][0].startswith("4 ← best")
    assert table[1][1:] == ["1.7000", "1.4200", "50.0%", "60.0%", "1.5"]
    assert section(drawn(VARIANTS["six networks"](bundle)), "learning").count("<svg") == 8


def test_sureness_says_the_threshold_for_95_percent(bundle: Bundle) -> None:
    made = one(bundle)
    found = section(drawn(made), "sureness")
    assert "at least <b>0.600</b>: that covers <b>78.4%</b> of the texts (95.2% of them right)" in found
    assert "(ECE) is 1.7 points." in found
    assert "Before calibration it was 6.1." in found
    made.decisions["coverage"] = [[0.0, 1.0, 0.8], [0.5, 0.4, 0.9]]
    assert "At no threshold are 95% of the answers right." in section(drawn(made), "sureness")


def test_reaching_takes_the_widest_coverage_that_is_good_enough() -> None:
    rows = [[0.0, 1.0, 0.8], [0.4, 0.9, 0.96], [0.5, 0.7, 0.94], [0.9, 0.2, 1.0], [1.0, 0.0, 1.0]]
    assert reaching(rows, 0.95) == [0.4, 0.9, 0.96]
    assert reaching(rows, 0.99) == [0.9, 0.2, 1.0]
    assert reaching(rows[:1], 0.95) is None


def test_several_labels_have_thresholds_and_curves_in_place_of_confusion(bundle: Bundle) -> None:
    page = drawn(several(bundle))
    assert [row[-1] for row in rows(section(page, "classes"))[1:]] == ["0.350"] * len(bundle.labels)
    assert section(page, "thresholds").count("<svg") == len(bundle.labels)
    assert "micro-F1" in section(page, "findings")
    assert "given <b class=bad>no label</b>" in section(page, "mistakes")
    assert '<span class="en">all labels of a text right</span>' in section(page, "scores")
    assert "Counted are texts whose labels are all right." in section(page, "scores")


def test_several_labels_are_measured_by_micro_f1_and_read_off_where_they_apply(bundle: Bundle) -> None:
    made = several(bundle)
    page = drawn(made)
    found = section(page, "learning")
    assert "The best was epoch 4: micro-F1 82.5% on the held-out texts" in found
    assert rows(found)[4][1:] == ["0.5000", "0.4300", "82.5%", "1.5"]
    for name, numbers in made.scores["dev"]["classes"].items():
        figure = section(page, "thresholds").partition(f"<bdi>{name}</bdi>")[2].partition("</figure>")[0]
        assert f"from 0.350: precision {numbers['precision']:.1%}, recall {numbers['recall']:.1%}" in figure


def test_of_several_labels_a_wrong_one_is_explained_and_none_where_none_is_wrong(bundle: Bundle) -> None:
    made = several(bundle)
    right, wrong, missed = made.labels
    made.evidence["mistakes"] = [
        item("球队买了手机股票", [right, missed], [right]),
        item("球队买了手机股票", [right], [right, wrong]),
    ]
    items = section(drawn(made), "mistakes").partition('<ol class="items">')[2].split("<li>")[1:]
    assert ["<span class=" in each.partition("said")[0] for each in items] == [False, True]


def test_the_ledger_is_summed_up(bundle: Bundle) -> None:
    found = rows(section(drawn(one(bundle)), "data"))
    counted = {row[0]: row[1:] for row in found}
    assert counted["copies of an earlier text与前面的文本重复"] == [
        "71",
        "train.tsv:0: as line 3train.tsv:1: as line 3train.tsv:2: as line 3…",
    ]
    assert counted["a new kind"] == ["1", "d.txt: ?"]


def test_lengths_stand_in_a_table_too(bundle: Bundle) -> None:
    made = one(bundle)
    lengths = made.evidence["lengths"]
    found = section(drawn(made), "data")
    table = rows(found[found.index("<details>") :])[1:]
    assert [int(row[1]) for row in table[: len(lengths["train"])]] == lengths["train"]
    assert "reads at most 1,024 tokens" in found


def test_mistakes_are_coloured_by_what_the_words_carried(bundle: Bundle) -> None:
    from fenlei.explain import explain
    from fenlei.runtime import Predictor

    made = one(bundle)
    content = "球队买了手机股票"
    explained = explain(Predictor(made), content)
    heaviest = explained.strongest(1)[0]
    made.evidence["mistakes"] = [item(content, [PAYLOADS[0]], [explained.label])]
    found = section(drawn(made), "mistakes")
    kind = "f5" if heaviest.weight > 0 else "a5"
    assert f'<span class="{kind}" title="{heaviest.weight:+.2f}">{heaviest.text}</span>' in found
    assert re.sub(r"<[^>]*>", "", found[found.index("<li>") :]).startswith(content)


def test_only_some_texts_are_explained(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    from fenlei.report import texts

    asked: list[str] = []

    def explain(predictor: object, content: str, name: str) -> Any:
        asked.append(content)
        return texts.Explanation(name, 0.5, ())

    monkeypatch.setattr(texts, "explain", explain)
    made = one(bundle)
    name, other = made.labels[:2]
    made.evidence["mistakes"] = [item(f"{n} " + "x" * 20, [name], [other]) for n in range(400)]
    drawn(made)
    assert len(asked) == texts.MOST_EXPLAINED
    asked.clear()
    made.evidence["mistakes"] = [item(f"{n} " + "北京大学，" * 99, [name], [other]) for n in range(400)]
    drawn(made)
    assert sum(len(content) * (1 + len("".join(content.split()))) // 5 for content in asked) <= texts.EFFORT
    assert 5 <= len(asked) < texts.MOST_EXPLAINED


def test_changed_settings_come_first(bundle: Bundle) -> None:
    found = section(drawn(one(bundle)), "recipe")
    first = [row[0] for row in rows(found[: found.index("<details>")])]
    assert {"embedding_size", "epochs", "options"} <= set(first)
    assert "label_smoothing" not in first
    assert len(rows(found[found.index("<details>") :])) == len(bundle.recipe)


def test_size_speed_versions_and_digest(bundle: Bundle) -> None:
    made = one(bundle)
    page = drawn(made)
    found = section(page, "making")
    sizes = {name: len(content) for name, content in made.files().items()}
    listed = {row[0]: row[1] for row in rows(found)[1:]}
    assert listed["model.onnx"] == size(sizes["model.onnx"])
    assert "manifest.json" not in listed
    assert f"{sum(int(array.size) for array in made.weights.values()):,} parameters" in found
    assert "texts a second" in found
    assert made.digest() in section(page, "origin")
    assert made.versions["torch"] in section(page, "origin")


# --- what is missing ---


def without(bundle: Bundle, path: tuple[str, ...], value: object = None) -> Bundle:
    """A copy in which a part is gone, or is something else."""
    made = one(bundle)
    for part in ("scores", "decisions", "evidence", "ledger"):
        setattr(made, part, copy.deepcopy(getattr(made, part)))
    holder: Any = getattr(made, path[0])
    for key in path[1:-1]:
        holder = holder[key]
    if value is None:
        holder.pop(path[-1])
    else:
        holder[path[-1]] = value
    return made


PATHS: list[tuple[str, ...]] = [
    *((part, key) for part, keys in (
        ("scores", ("dev", "linear", "lead", "epochs", "seconds", "uncalibrated_ece")),

        ("evidence", ("classes", "lengths", "mistakes", "examples", "suspects")),
        ("ledger", ("counts", "notes", "entries")),
    ) for key in keys),
    *(("scores", "dev", key) for key in ("classes", "confusion", "accuracy_interval", "calibration", "macro_f1", "n")),
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS, ids=".".join)
def test_a_part_that_is_missing_is_left_out(bundle: Bundle, path: tuple[str, ...]) -> None:
    Reader(drawn(without(bundle, path)))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("scores", "epochs"), [], "No network was trained"),
        (("scores", "dev"), {}, "This bundle has no scores."),
        (("evidence", "mistakes"), [], "There was no mistake"),
        (("evidence", "suspects"), [], "No held-out text is labelled so differently"),
        (("evidence", "lengths"), {"edges": [1, 2], "train": [0], "dev": [0], "limit": 5}, "label"),
        (("evidence", "lengths"), {"edges": [1, 2], "train": [3], "dev": [0], "limit": 1}, "reads at most 1 tokens"),
        (("decisions", "coverage"), [[0.5, 1.0, 1.0]], "are right (100%) even where every text is answered"),
        (("decisions", "coverage"), [[0.5, 0.9, 1.0]], "at least <b>0.500</b>"),
        (("ledger", "counts"), {}, "Nothing was skipped or repaired"),
        (("scores", "dev", "calibration"), {"ece": 0.0, "bins": []}, "off by 0.0 percentage points"),
        (("scores", "dev", "accuracy"), 1.0, "<b>100%</b>"),
    ],
)
def test_what_is_empty_is_said(bundle: Bundle, path: tuple[str, ...], value: object, said: str) -> None:
    page = drawn(without(bundle, path, value))
    Reader(page)
    assert said in page


def test_without_decisions_there_is_calibration_alone(bundle: Bundle) -> None:
    made = one(bundle)
    made.decisions = {}
    found = section(drawn(made), "sureness")
    assert found.count("<svg") == 1
    assert "Thresholds" not in found


def test_a_bundle_of_before_and_one_without_anything_recorded_have_a_page(bundle: Bundle, plain: Bundle) -> None:
    Reader(drawn(bundle))
    page = drawn(plain, "")
    Reader(page)
    assert "A text classifier" in page
    assert "This bundle has no scores." in page


def test_a_page_without_mistakes_says_so(bundle: Bundle) -> None:
    made = one(bundle)
    count = len(made.labels)
    made.scores["dev"]["confusion"]["rows"] = [[5 * (i == j) for j in range(count)] for i in range(count)]
    assert "No held-out text was taken for another class." in section(drawn(made), "confusion")


# --- what comes from outside ---

PAYLOADS = [
    form.format(code)
    for code, form in itertools.product(
        ("alert(1)", "document.title='taken'"),
        (
            "<script>{}</script>",
            "</script><script>{}</script>",
            "</style><script>{}</script>",
            "</title><script>{}</script>",
            '"><img src=x onerror="{}">',
            "'><svg onload='{}'>",
            "<svg><script>{}</script></svg>",
            "<iframe srcdoc='<script>{}</script>'>",
            '<a href="javascript:{}">x</a>',
            "</bdi></p></li><script>{}</script>",
            "<details open ontoggle={}>",
            "<input autofocus onfocus={}>",
            '" autofocus onfocus="{}" x="',
            "' onmouseover='{}' x='",
            "<math><mi//xlink:href='javascript:{}'>",
            "<body onload={}>",
            "<!--><script>{}</script>-->",
            "<![CDATA[<script>{}</script>]]>",
            "&lt;script&gt;{}&lt;/script&gt;",
            "<scr\x00ipt>{}</scr\x00ipt>",
            "\u202e<script>{}</script>",
            "<style>*{{background:url('javascript:{}')}}</style>",
            "<meta http-equiv=refresh content='0;javascript:{}'>",
            "<base href='javascript:{}//'>",
            "${{{}}} {{{{constructor.constructor()()}}}} <%= 1 %>",
        ),
    )
]


def hostile_bundle(bundle: Bundle) -> Bundle:
    """Every payload as text, label, source, note, detail, recipe value and version."""
    made = one(bundle, PAYLOADS[:30])
    name = made.labels[0]
    made.evidence["mistakes"] = [item(each, [each], [name]) for each in PAYLOADS]
    made.evidence["mistakes"] += [item(each, [PAYLOADS[0]], [PAYLOADS[1]]) for each in PAYLOADS]
    made.evidence["suspects"] = [item(each, [each], [each]) for each in PAYLOADS]
    made.ledger = {
        "counts": dict.fromkeys(PAYLOADS, 1),
        "notes": PAYLOADS,
        "entries": [[each, each, each] for each in PAYLOADS],
    }
    made.recipe = {**bundle.recipe, **{each: each for each in PAYLOADS}, "options": PAYLOADS}
    made.versions = {**bundle.versions, **{each: each for each in PAYLOADS}}
    made.model = {**bundle.model, "name": PAYLOADS[0]}
    return made


def test_nothing_from_outside_becomes_markup(bundle: Bundle) -> None:
    assert len(PAYLOADS) == 50
    harmless, page = Reader(drawn(one(bundle))), drawn(hostile_bundle(bundle), PAYLOADS[4])
    reader = Reader(page)
    assert reader.scripts == 1
    assert reader.tags <= harmless.tags
    assert {name for name, _ in reader.attributes} <= {name for name, _ in harmless.attributes} | {
        "start",
        "tabindex",
        "title",
    }
    assert page.count("<script>") == 1
    assert "\x00" not in page
    assert "\u202e" not in page
    for each in PAYLOADS:
        assert each.replace("\x00", "\\x00").replace("\u202e", "\\u202e") in reader.text


def test_a_page_survives_hostile_texts(bundle: Bundle, hostile: list[str]) -> None:
    made = one(bundle)
    name = made.labels[0]
    made.evidence["mistakes"] = [item(each, [name], [name, "nowhere"]) for each in hostile]
    made.evidence["suspects"] = [item(each, [], []) for each in hostile]
    page = drawn(made, hostile[4])
    Reader(page)
    page.encode()


# --- the small things ---


def test_markup_escapes_what_is_not_markup() -> None:
    assert (
        tag("p", "<b>", tag("i", 1234), class_="x", hidden=True, title=None)
        == '<p class="x" hidden>&lt;b&gt;<i>1,234</i></p>'
    )
    assert tag("p", title='"\n<') == '<p title="&quot;\n&lt;"></p>'
    assert escaped("a\x1bb\nc") == "a\\x1bb\nc"
    assert tag("i", "a") + "<" == "<i>a</i>&lt;"


def test_labels_are_shortened_with_the_whole_in_the_title() -> None:
    assert label("短") == "<bdi>短</bdi>"
    assert label("x" * 40) == f'<bdi title="{"x" * 40}">{"x" * 27}…</bdi>'
    assert label("") == "<bdi>&quot;&quot;</bdi>"


def test_texts_are_cut() -> None:
    assert "x" * 300 + "…" in text("x" * 301)
    assert "…" in text("x", cut=True)
    assert "…" not in text("x" * 300)


@pytest.mark.parametrize(
    ("share", "shown"), [(0.8771, "87.7%"), (1.0, "100%"), (0.9999, ">99.9%"), (0.0, "0.0%"), (0.0001, "<0.1%")]
)
def test_percent(share: float, shown: str) -> None:
    assert percent(share) == shown


def test_other_numbers() -> None:
    assert [points(each) for each in (0.0123, -0.0123, 0.0001, -0.0001)] == ["+1.2", "−1.2", "0.0", "0.0"]
    assert [span(each) for each in ([0.849, 0.906], None, [0.1])] == ["84.9–90.6%", "", ""]
    assert [size(each) for each in (12, 1234, 9_100_000, 139_000_000)] == ["12 bytes", "1.23 kB", "9.1 MB", "139 MB"]


# --- the words ---


def fields(words: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", words))


def test_both_languages_say_the_same() -> None:
    for key, (english, chinese) in WORDS.items():
        assert bool(english) == bool(chinese), key
        assert not re.search("[\u4e00-\u9fff]", english.replace("fenlei 分类", "")), key
        plural = WORDS.get(key.removesuffix("_one"), (english, chinese))[0]
        assert fields(chinese) == fields(english) or key.endswith("_one"), key
        assert fields(english) <= fields(plural) | {"n"}, key
        assert len(re.findall(r"<(?:b|code)\b", english)) == len(re.findall(r"<(?:b|code)\b", chinese)), key


def test_every_word_is_used_and_every_kind_of_the_ledger_has_words() -> None:
    folder = Path(__file__).resolve().parent.parent / "fenlei" / "report"
    source = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py") if path.name != "words.py")
    made = {"title_", "verdict_", "curve_", "axis_"}
    unused = [
        key
        for key in WORDS
        if f'"{key}"' not in source
        and not key.startswith(tuple(made))
        and key not in MEANINGS.values()
        and not key.endswith("_one")
    ]
    assert unused == []
    assert set(MEANINGS.values()) <= set(WORDS)


# --- the verb ---


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Path:
    return bundle.save(tmp_path_factory.mktemp("report") / "my model")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    try:
        status = main([str(each) for each in arguments])
    except SystemExit as end:
        status = int(str(end.code))
    return status, *capsys.readouterr()


def test_the_verb_writes_a_page(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "r.html"
    status, printed, err = run(capsys, "report", saved, "--out", out, "--json")
    assert status == 0
    page = out.read_text(encoding="utf-8")
    assert "<title>my model · fenlei report</title>" in page
    assert json.loads(printed) == {"report": str(out), "bytes": len(page.encode()), "sections": parts(page)}
    assert f"{out}: written, " in err


def test_without_out_it_stands_in_the_current_folder(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "report", saved)[:2] == (0, "")
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "has"),
    [
        (("--out", "x.pdf"), "--out writes a page, FILE.html, got 'x.pdf'"),
        (("--out", "nowhere/x.html"), "there is no folder nowhere to write x.html into"),
        (("--out", "-", "--json"), "both want standard output"),
    ],
)
def test_a_wrong_call_gets_one_sentence(
    saved: Path, arguments: tuple[str, ...], has: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, "report", saved, *arguments)
    assert (status, out) == (2, "")
    assert has in err
    assert err.count("\n") == 1


def test_a_bundle_that_is_none_gets_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "report", tmp_path / "none", "--out", tmp_path / "x.html")
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_it_says_what_to_install(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fenlei.cli.arguments.find_spec", lambda name: None if name == "matplotlib" else name)
    status, _, err = run(capsys, "report", saved, "--out", tmp_path / "x.html")
    assert status == 1
    assert err == "fenlei: this needs matplotlib: pip install -c constraints.txt 'fenlei[report]'\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, chinese: tuple[Labelled, Labelled]) -> Path:
    path = tmp_path_factory.mktemp("data") / "train.tsv"
    pairs = zip(chinese[0].labels, chinese[0].texts, strict=True)
    path.write_text("".join(f"{name}\t{content}\n" for name, content in pairs), encoding="utf-8")
    return path


LINEAR = ("--set", "model=null", "--set", "threads=1")


@pytest.mark.parametrize(
    ("error", "said"),
    [(RuntimeError("no ink"), "no ink"), (ValueError(), "ValueError"), (KeyboardInterrupt(), "stopped by hand")],
)
def test_a_report_that_fails_costs_nobody_the_bundle(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    said: str,
) -> None:
    def fail(*_: object) -> str:
        raise error

    monkeypatch.setattr("fenlei.report.render", fail)
    status, _, err = run(capsys, "train", data, "--out", tmp_path / "B", *LINEAR)
    assert status == 0
    assert f"there is no report, the bundle is saved without one: {said}\n" in err
    assert (tmp_path / "B" / "manifest.json").exists()
    assert not (tmp_path / "B" / "report.html").exists()


def test_training_puts_the_page_into_the_bundle(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "train", data, "--out", tmp_path / "news", *LINEAR)
    assert status == 0
    assert f"report: {tmp_path / 'news' / 'report.html'} (open it in a browser)\n" in err
    page = (tmp_path / "news" / "report.html").read_text(encoding="utf-8")
    assert "<title>news · fenlei report</title>" in page
    loaded = Bundle.load(tmp_path / "news")
    assert loaded.report == page
    assert loaded.digest() in section(page, "origin")
    assert parts(page) == parts(drawn(loaded))
    assert section(drawn(loaded), "making").count("<td><code>") == len(NAMES) - 2


def test_no_report_draws_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fenlei.report.render", None)
    status, _, err = run(capsys, "train", data, "--no-report", "--out", tmp_path / "B", *LINEAR)
    assert status == 0
    assert "there is no report" not in err
    assert not (tmp_path / "B" / "report.html").exists()


# --- in a browser ---


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("there is no chromium")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"] if os.getuid() == 0 else [])
        yield found
        found.close()


class Visit:
    """A page in a browser, with everything it asked for and every complaint."""

    def __init__(self, browser: Browser, path: Path, **context: Any) -> None:
        self.page = browser.new_context(**context).new_page()
        self.page.set_default_timeout(20_000)
        self.asked: list[str] = []
        self.said: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        self.page.goto(path.as_uri())

    def shown(self, selector: str) -> str:
        return str(self.page.locator(selector).inner_text())


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    made = {name: variant(bundle) for name, variant in VARIANTS.items()} | {"hostile": hostile_bundle(bundle)}
    for name, each in made.items():
        (folder / f"{name}.html").write_text(drawn(each), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in made}


@pytest.mark.slow
def test_the_language_is_the_readers_and_switches(browser: Browser, pages: dict[str, Path]) -> None:
    visit = Visit(browser, pages["one"], locale="zh-CN")
    assert visit.shown("#data h2") == "训练数据"
    assert visit.page.evaluate("document.documentElement.lang") == "zh-Hans"
    assert visit.page.locator("#loss-1-caption + svg tspan.zh").is_visible()
    assert not visit.page.locator("#loss-1-caption + svg tspan.en").is_visible()
    visit.page.get_by_text("English", exact=True).click()
    assert visit.shown("#data h2") == "What went in"
    assert visit.page.evaluate("document.documentElement.lang") == "en"
    english = Visit(browser, pages["one"], locale="de-DE")
    assert english.shown("#data h2") == "What went in"
    assert not re.search("[\u4e00-\u9fff]", english.shown("#learning"))
    english.page.get_by_text("中文", exact=True).click()
    assert english.shown("#data h2") == "训练数据"


@pytest.mark.slow
def test_without_script_it_is_english_and_still_switches(browser: Browser, pages: dict[str, Path]) -> None:
    visit = Visit(browser, pages["one"], locale="zh-CN", java_script_enabled=False)
    assert visit.shown("#data h2") == "What went in"
    visit.page.get_by_text("中文", exact=True).click()
    assert visit.shown("#data h2") == "训练数据"
    visit.page.locator("a.cell").nth(0).click()
    assert visit.page.locator(".texts:visible").count() == 1


@pytest.mark.slow
def test_a_cell_opens_its_texts_by_mouse_and_by_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    visit = Visit(browser, pages["one"])
    assert visit.page.locator(".texts:visible").count() == 1
    visit.page.locator('a.cell[href="#cell-0-0"]').click()
    assert visit.page.locator(".texts:visible").get_attribute("id") == "cell-0-0"
    visit.page.keyboard.press("ArrowRight")
    reached = visit.page.evaluate("document.activeElement.hash")
    assert re.fullmatch("#cell-0-[12]", reached)
    visit.page.keyboard.press("Enter")
    assert visit.page.locator(".texts:visible").get_attribute("id") == reached[1:]
    assert visit.page.locator('a.cell[aria-current="true"]').count() == 1
    visit.page.keyboard.press("ArrowLeft")
    visit.page.keyboard.press("Space")
    assert visit.page.locator(".texts:visible").get_attribute("id") == "cell-0-0"
    assert visit.page.evaluate("location.hash") == ""


@pytest.mark.slow
def test_a_head_sorts(browser: Browser, pages: dict[str, Path]) -> None:
    visit = Visit(browser, pages["150 classes"])

    def firsts() -> list[str]:
        return [str(text) for text in visit.page.locator("#classes tbody tr td:nth-child(2)").all_inner_texts()]

    visit.page.locator("#classes thead th").nth(1).get_by_role("button").click()
    assert firsts() == sorted(firsts(), key=int, reverse=True)
    visit.page.locator("#classes thead th").nth(1).get_by_role("button").click()
    assert firsts() == sorted(firsts(), key=int)
    assert visit.page.locator("#classes th[aria-sort]").get_attribute("aria-sort") == "ascending"


@pytest.mark.slow
def test_dark_and_light_differ_in_page_and_drawing(browser: Browser, pages: dict[str, Path]) -> None:
    colours = []
    for scheme in ("light", "dark"):
        page = Visit(browser, pages["one"], color_scheme=scheme).page
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        line = page.evaluate("getComputedStyle(document.querySelector('#loss-1-caption + svg text')).fill")
        colours.append((paper, line))
    assert colours[0][0] == "rgb(250, 249, 246)"
    assert colours[1][0] == "rgb(21, 23, 26)"
    assert colours[0][1] != colours[1][1]


@pytest.mark.slow
def test_on_paper_everything_is_open_and_light(browser: Browser, pages: dict[str, Path]) -> None:
    visit = Visit(browser, pages["one"], color_scheme="dark")
    visit.page.emulate_media(media="print")
    assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert visit.page.locator(".texts:visible").count() == visit.page.locator(".texts:not(.right)").count()
    visit.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert visit.page.locator("details:not([open])").count() == 0
    assert visit.page.locator("#recipe details table").is_visible()
    visit.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert visit.page.locator("details[open]").count() == 0
    assert visit.page.pdf(prefer_css_page_size=True).startswith(b"%PDF")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*VARIANTS, "hostile"])
def test_a_page_asks_for_nothing_and_fits_a_phone(browser: Browser, pages: dict[str, Path], name: str) -> None:
    visit = Visit(browser, pages[name], viewport={"width": 390, "height": 844}, locale="zh-CN")
    visit.page.wait_for_timeout(200)
    assert visit.page.evaluate("document.documentElement.scrollWidth") == 390
    assert visit.page.title() == "news · fenlei report"
    assert visit.asked == [pages[name].as_uri()]
    assert visit.said == []
