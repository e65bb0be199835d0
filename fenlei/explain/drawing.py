"""An explanation for a terminal and for a page: the text with its words coloured by what they carried."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence

from fenlei.explain.inside import Glance
from fenlei.explain.occlusion import Explanation
from fenlei.screen import legible

SHADES = 5  # of each colour
FAINTEST = 0.05  # of the strongest weight: less is not coloured
NAMED = 6  # words listed under the text
PLAIN = "\x1b[0m"
FOR, AGAINST = (223, 216, 215, 209, 202), (153, 117, 75, 69, 27)  # of the terminal's 256 colours, from faint to strong

STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.7 system-ui,sans-serif;max-width:46em;margin:2em auto;padding:0 1em;background:#fff;color:#1a1a1a}
h1{font-size:1.1em;margin:2em 0 .3em}p{margin:.3em 0;white-space:pre-wrap;overflow-wrap:anywhere}
.w{font-size:.85em;opacity:.8}span{border-radius:3px}
"""
LEGEND = "orange speaks for the label, blue against it; a number is what the log odds lose without the word"


def shade(weight: float, strongest: float) -> int:
    """From -5 to 5: how strong a colour is; 0 is none."""
    share = abs(weight) / strongest if strongest else 0.0
    if share < FAINTEST:
        return 0
    depth = min(SHADES, 1 + int(share * SHADES))
    return depth if weight > 0 else -depth


def shades(explanation: Explanation) -> Iterator[tuple[str, float, int]]:
    """Every piece with its weight and its shade."""
    strongest = max((abs(piece.weight) for piece in explanation.pieces), default=0.0)
    for piece in explanation.pieces:
        yield piece.text, piece.weight, shade(piece.weight, strongest)


def lines(explanation: Explanation, colour: bool = False) -> Iterator[str]:
    """The answer, the text, the heaviest words with their weights; ``colour`` is for a terminal."""
    yield f"{legible(explanation.label)} {explanation.probability:.4f}"
    if colour:
        yield "".join(_painted(legible(text), depth) for text, _, depth in shades(explanation))
    else:
        yield legible(explanation.text)
    for piece in explanation.strongest(NAMED):
        yield f"{piece.weight:+8.3f}  {legible(' '.join(piece.text.split()))}"
    yield from _glances(explanation.inside)


def _glances(inside: Sequence[Glance]) -> Iterator[str]:
    """The steps that each network looked at most, with their shares."""
    networks = max((glance.network for glance in inside), default=1)
    for glance in inside:
        whose = f"network {glance.network} of {networks}, " if networks > 1 else ""
        steps = (f"{legible(' '.join(step.split()))} {share:.0%}" for step, share in glance.strongest(NAMED))
        yield f"{whose}{glance.kind} over {glance.over}: {', '.join(steps)}"


def _painted(text: str, depth: int) -> str:
    if not depth:
        return text
    number = FOR[depth - 1] if depth > 0 else AGAINST[-depth - 1]
    return f"\x1b[30;48;5;{number}m{text}{PLAIN}"


def page(explanations: Iterable[Explanation]) -> str:
    """An HTML page that forbids itself scripts and requests."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    body = "\n".join(_section(each) for each in explanations)
    return (
        '<!doctype html>\n<html><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width"><title>fenlei explain</title>'
        f"<style>{STYLE}{_colours()}</style></head>\n<body>\n<p class=w>{LEGEND}</p>\n{body}\n</body></html>\n"
    )


def _section(explanation: Explanation) -> str:
    words = "".join(_span(text, weight, depth) for text, weight, depth in shades(explanation))
    listed = ", ".join(f"{_shown(piece.text.strip())} {piece.weight:+.2f}" for piece in explanation.strongest(NAMED))
    title = f"{_shown(explanation.label)} {explanation.probability:.3f}"
    inside = "".join(f"\n<p class=w>{html.escape(line)}</p>" for line in _glances(explanation.inside))
    return f"<h1>{title}</h1>\n<p>{words}</p>\n<p class=w>{listed}</p>{inside}"


def _span(text: str, weight: float, depth: int) -> str:
    if not depth:
        return _shown(text)
    name = f"f{depth}" if depth > 0 else f"a{-depth}"
    return f'<span class="{name}" title="{weight:+.3f}">{_shown(text)}</span>'


def _shown(text: str) -> str:
    """Line ends stay; every other sign that a page could take for a command is written out."""
    return html.escape("\n".join(legible(line) for line in text.split("\n")))


def _colours() -> str:
    """A class a shade, for light and dark pages alike: the colour lies thinly over the background."""
    return "".join(
        f".{name}{depth}{{background:rgba({rgb},{depth * 0.16:.2f})}}"
        for name, rgb in (("f", "234,88,12"), ("a", "37,99,235"))
        for depth in range(1, SHADES + 1)
    )
