"""The pictures of the page in docs/: two models are trained, served as users serve them, and looked at with chromium.

Usage: python benchmarks/screenshots.py --data ../shared/data [--out docs/pictures]

Needs chromium on the path and playwright (`pip install playwright`, no browser of its own). Takes a few minutes.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sets
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from fenlei.learn import Labelled, learn
from fenlei.recipe import Recipe

COLOURS = 128  # of the palette: what keeps a picture small
WIDTH, HEIGHT = 1280, 800
# Name of the picture -> the set the model learns from, its name on the page, the text, how the browser is set.
SHOTS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "page-en": (
        "clinc150",
        "intents",
        "i lost my wallet on the flight, please freeze my credit card account",
        {"locale": "en-GB", "color_scheme": "light"},
    ),
    "page-zh": (
        "zh_topics",
        "topics",
        "他在学校的图书馆读完了这本小说，晚上又和室友去球场看比赛，主队在最后一分钟进球，赢下了决赛。",
        {"locale": "zh-CN", "color_scheme": "dark"},
    ),
}


def train(data: Path, name: str, folder: Path) -> None:
    """One model as `fenlei train` makes it."""
    sides = [Labelled([d.text for d in side], [d.label for d in side]) for side in sets.split(data, name, None)]
    learn(*sides, Recipe(), lambda _: None).save(folder)


@contextmanager
def served(bundles: list[str]) -> Iterator[str]:
    """The address at which `fenlei serve` answers."""
    command = [sys.executable, "-m", "fenlei", "serve", *bundles, "--port", "0", "--quiet"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        found = (re.search(r"http://127\.0\.0\.1:\d+/", line) for line in server.stderr)
        yield next(each[0] for each in found if each)
        server.terminate()


def shoot(browser: Browser, url: str, text: str, options: dict[str, Any]) -> bytes:
    """The page with a text answered, as a small PNG."""
    context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, reduced_motion="reduce", **options)
    page = context.new_page()
    page.goto(url)
    page.locator("#about dt >> nth=0").wait_for()
    page.fill("#text", text)
    page.click("#classify")
    page.locator("#words mark >> nth=0").wait_for()
    page.mouse.move(0, 0)
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    small = io.BytesIO()
    picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    context.close()
    return small.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        for name, model, _, _ in SHOTS.values():
            train(arguments.data, name, Path(folder) / model)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for picture, (_, model, text, options) in SHOTS.items():
            with served([str(Path(folder) / model)]) as url:
                drawn = shoot(browser, url, text, options)
            (arguments.out / f"{picture}.png").write_bytes(drawn)
            print(f"{picture}.png: {len(drawn):,} bytes")
        browser.close()


if __name__ == "__main__":
    main()
