"""The pictures of the report in docs/pictures: a browser opens the page of a bundle and takes it as it looks.

Usage: fenlei demo --out reviews; python benchmarks/report_pictures.py reviews [--out docs/pictures]

English and Chinese, the head of the page beside the coloured mistakes. Needs playwright and a chromium on the path. The
pictures have few colours, so that they stay small.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from fenlei.bundle import Bundle
from fenlei.report import render

WIDE, HIGH = 1180, 900
COLOURS = 128


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.getuid() == 0 else []
        found = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        yield found
        found.close()


def take(found: Browser, folder: str, locale: str, anchor: str) -> Image.Image:
    """The page from ``anchor`` on, as a reader of that language sees it."""
    page = found.new_context(viewport={"width": WIDE, "height": HIGH}, locale=locale).new_page()
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "report.html"
        path.write_text(render(Bundle.load(folder), Path(folder).resolve().name), encoding="utf-8")
        page.goto(path.as_uri())
        page.evaluate("name => document.getElementById(name)?.scrollIntoView({behavior: 'instant'})", anchor)
        page.wait_for_timeout(300)
        return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


def beside(pictures: list[Image.Image]) -> Image.Image:
    """Pictures from left to right with a thin line between them."""
    whole = Image.new("RGB", (len(pictures) * (WIDE + 2) - 2, HIGH), "#999999")
    for place, picture in enumerate(pictures):
        whole.paste(picture, (place * (WIDE + 2), 0))
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with browser() as found:
        for name, locale in (("report-en", "en-US"), ("report-zh", "zh-CN")):
            whole = beside([take(found, arguments.bundle, locale, anchor) for anchor in ("", "mistakes")])
            path = arguments.out / f"{name}.png"
            whole.quantize(COLOURS).save(path, optimize=True)
            print(f"{path}: {path.stat().st_size / 1e3:,.0f} kB")


if __name__ == "__main__":
    main()
