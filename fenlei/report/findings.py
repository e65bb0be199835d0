"""The opening: the numbers that matter as tiles, and in a few sentences what they come to."""

from __future__ import annotations

from collections.abc import Iterator

from fenlei.report.confusion import matrix_of, pairs
from fenlei.report.making import bytes_of, parameters
from fenlei.report.markup import Html, label, percent, size, span, tag
from fenlei.report.material import Material, part
from fenlei.report.scores import verdict
from fenlei.report.sureness import WANTED, calibration, reaching, threshold_said
from fenlei.report.words import both

FEWEST = 5  # held-out texts of a class before it is called the weakest


def findings(found: Material) -> Html:
    """Tiles, then sentences."""
    said = [tag("li", sentence) for sentence in sentences(found)]
    return tag("div", *tiles(found), class_="tiles") + (tag("ul", *said, class_="findings") if said else Html())


def tiles(found: Material) -> Iterator[Html]:
    """The leading score, macro-F1, classes, size."""
    for name in dict.fromkeys((found.score, "macro_f1")):
        if name in found.dev:
            yield _tile(percent(found.dev[name]), both(name), span(found.dev.get(f"{name}_interval")))
    yield _tile(f"{len(found.bundle.labels):,}", both("tile_labels" if found.several else "tile_classes"))
    train = found.count("train")
    if train is not None:
        yield _tile(f"{train:,}", both("tile_train"))
    yield _tile(
        size(sum(bytes_of(found).values())),
        both("tile_size"),
        both("tile_parameters", count=compact(parameters(found))),
    )


def _tile(value: str, what: Html, below: object = "") -> Html:
    return tag("div", tag("b", value), tag("span", what), tag("small", below) if below else "", class_="tile")


def compact(count: int) -> str:
    """A count in three digits: 1.67M."""
    for unit, worth in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= worth:
            return f"{count / worth:.3g}{unit}"
    return str(count)


def sentences(found: Material) -> Iterator[Html]:
    """What a reader should know, most important first; each only where the bundle can tell."""
    if found.score in found.dev:
        key = "short_several" if found.several else "short_accuracy"
        yield both(key, share=percent(found.dev[found.score]), n=found.dev.get("n", 0))
    if found.dev and (compared := verdict(found)):
        yield compared
    yield from _weakest(found)
    yield from _confused(found)
    if ece := calibration(found):
        yield both("short_ece", ece=ece)
    if rows := found.decisions.get("coverage"):
        yield threshold_said(reaching(rows, WANTED))
    if suspicious := found.items("suspects"):
        yield both("short_suspects", n=len(suspicious), link=tag("a", both("title_suspects"), href="#suspects"))


def _weakest(found: Material) -> Iterator[Html]:
    rows = [(row["f1"], name) for name, row in part(found.dev, "classes").items() if row["support"] >= FEWEST]
    if len(rows) > 2:
        (low, worst), (high, best) = min(rows), max(rows)
        yield both("short_weakest", worst=label(worst), low=percent(low), best=label(best), high=percent(high))


def _confused(found: Material) -> Iterator[Html]:
    names, rows = matrix_of(found)
    if found.several or len(names) < 3:
        return
    for count, i, j in pairs(rows)[:1]:
        yield both("short_confused", n=count, true=label(names[i]), predicted=label(names[j]))
