"""The sections on the bundle itself: bytes, parameters and speed; the recipe; the versions that made it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from fenlei.recipe import Recipe
from fenlei.report.markup import Html, escaped, joined, size, tag
from fenlei.report.material import Material
from fenlei.report.tables import bar, facts, folded, table
from fenlei.report.words import both

TIMED = 200  # texts answered to measure the speed
UNLISTED = ("report.html", "manifest.json")  # they come after the report or speak of it


def bytes_of(found: Material) -> dict[str, int]:
    """File name -> bytes, the largest first, of what answers and describes."""
    sizes = {name: len(content) for name, content in found.files.items() if name not in UNLISTED}
    return dict(sorted(sizes.items(), key=lambda pair: (-pair[1], pair[0])))


def parameters(found: Material) -> int:
    """Numbers that training found."""
    return sum(int(array.size) for array in found.bundle.weights.values())


def speed(found: Material) -> tuple[float, int] | None:
    """(texts a second, texts) by the clock, one batch after the other, once warm; None where there are no texts."""
    texts = found.texts(TIMED)
    if not texts:
        return None
    found.predictor.predict_proba(texts[:8])
    began = found.clock()
    found.predictor.predict_proba(texts)
    seconds = found.clock() - began
    return (len(texts) / seconds, len(texts)) if seconds > 0 else None


def making(found: Material) -> Html:
    """Bytes a file, parameters, texts a second."""
    sizes = bytes_of(found)
    whole = sum(sizes.values())
    rows = [
        (tag("td", tag("code", name)), bar(size(count), count / (max(sizes.values()) or 1)))
        for name, count in sizes.items()
    ]
    lead = both("size_lead", size=size(whole), parameters=parameters(found), tokens=len(found.bundle.vocab))
    return joined((tag("p", lead), _speeds(found), folded(both("size_files"), table(("file", "size"), "tb", rows))))


def _speeds(found: Material) -> Html:
    said = []
    if measured := speed(found):
        said.append(tag("p", both("speed_answers", speed=rounded(measured[0]), n=measured[1])))
    rates = [
        epoch["documents_per_second"] for each in found.epochs for epoch in each if "documents_per_second" in epoch
    ]
    if rates:
        said.append(tag("p", both("speed_training", speed=rounded(sum(rates) / len(rates)))))
    if seconds := found.scores.get("seconds"):
        said.append(tag("p", both("speed_whole", seconds=f"{seconds:,.0f}")))
    return joined(said)


def rounded(speed: float) -> int:
    """Two digits: more would change from one run to the next."""
    return int(float(f"{speed:.2g}"))


def recipe(found: Material) -> Html:
    """The settings that are not the defaults first, all of them folded below."""
    settings, defaults = found.bundle.recipe, asdict(Recipe())
    if not settings:
        return tag("p", both("recipe_none"))
    changed = {name: value for name, value in settings.items() if not _same(value, defaults.get(name))}
    parts = [tag("p", both("recipe_lead") if changed else both("recipe_default"))]
    parts += [_settings(changed)] if changed else []
    return joined((*parts, folded(both("recipe_all", n=len(settings)), _settings(settings))))


def _same(value: Any, default: Any) -> bool:
    """Whether they are one in JSON, whose tuples are lists."""
    return json.dumps(value, sort_keys=True) == json.dumps(default, sort_keys=True)


def _settings(settings: dict[str, Any]) -> Html:
    return facts((tag("code", name), tag("code", _value(value))) for name, value in settings.items())


def _value(value: Any) -> Html:
    return escaped(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def origin(found: Material) -> Html:
    """Versions and the digest."""
    rows = [(name, tag("code", version)) for name, version in found.bundle.versions.items()]
    digest = tag("p", both("digest_lead"), " ", tag("code", found.bundle.digest(), class_="digest"))
    return (facts(rows) if rows else Html()) + digest
