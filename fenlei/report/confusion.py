"""The section on confusion: true against predicted, a cell's texts at a click; of very many classes the worst pairs."""

from __future__ import annotations

from typing import Any

from fenlei.report.markup import Html, joined, label, percent, tag
from fenlei.report.material import Material, part
from fenlei.report.tables import folded
from fenlei.report.texts import item
from fenlei.report.words import both
from fenlei.screen import width

MOST_CLASSES = 40  # drawn as a matrix
MOST_PAIRS = 40
HEAD_COLUMNS = 16
FLAT = 5  # columns: labels this short need not stand upright

Texts = dict[tuple[str, str], list[dict[str, Any]]]
Pair = tuple[int, int, int]


def confusion(found: Material) -> Html:
    """The matrix with its texts, or the pairs; nothing for classifiers of several labels."""
    names, rows = matrix_of(found)
    if not names or found.several:
        return Html()
    worst = pairs(rows)
    parts = [tag("p", both("confusion_none"))] if not worst else []
    if len(names) <= MOST_CLASSES:
        texts = texts_of(found)
        parts += [tag("p", both("confusion_lead")), _matrix(names, rows, texts), _texts(names, rows, texts)]
    elif worst:
        parts += [tag("p", both("pairs_lead", n=len(names), shown=min(MOST_PAIRS, len(worst))))]
        parts.append(_pairs(names, rows, worst[:MOST_PAIRS], texts_of(found)))
    return joined(parts)


def matrix_of(found: Material) -> tuple[list[str], list[list[int]]]:
    """Labels and counts, true by row; empty where there are none."""
    matrix = part(found.dev, "confusion")
    return list(matrix.get("labels") or []), list(matrix.get("rows") or [])


def pairs(rows: list[list[int]]) -> list[Pair]:
    """(count, true, predicted) of the errors, the most frequent first."""
    counted = [(n, i, j) for i, row in enumerate(rows) for j, n in enumerate(row) if i != j and n]
    return sorted(counted, key=lambda pair: (-pair[0], pair[1], pair[2]))


def texts_of(found: Material) -> Texts:
    """The texts kept for each pair of a true and a predicted label."""
    kept: Texts = {}
    for each in (*found.items("mistakes"), *found.items("examples")):
        for true in each["true"][:1]:
            for predicted in each["predicted"][:1]:
                kept.setdefault((true, predicted), []).append(each)
    return kept


def _matrix(names: list[str], rows: list[list[int]], texts: Texts) -> Html:
    """A table whose cells are links to their texts; colours by the share of the true class."""
    corner = tag("td", tag("span", both("true"), " ↓ ", both("predicted"), " →"), class_="corner")
    heads = [tag("th", tag("span", label(name, HEAD_COLUMNS)), scope="col") for name in names]
    body = [
        tag("tr", tag("th", label(name, HEAD_COLUMNS), scope="row"), *_cells(i, names, rows[i], texts))
        for i, name in enumerate(names)
    ]
    flat = all(width(name) <= FLAT for name in names)
    dense = " tiny" if len(names) > 24 else " small" if len(names) > 12 else ""
    kind = f"matrix{dense}{' flat' if flat else ''}"
    return tag(
        "div", tag("table", tag("thead", tag("tr", corner, *heads)), tag("tbody", *body), class_=kind), class_="box"
    )


def _cells(i: int, names: list[str], row: list[int], texts: Texts) -> list[Html]:
    whole = sum(row) or 1
    cells = []
    for j, count in enumerate(row):
        shown: Html | str = f"{count:,}" if count else ""
        if count and (names[i], names[j]) in texts:
            shown = tag("a", shown, href=f"#cell-{i}-{j}", class_="cell", data_row=i, data_column=j)
        kind = ("hit" if i == j else "miss") if count else None
        cells.append(tag("td", shown, class_=kind, style=f"--v:{count / whole:.3f}" if count else None))
    return cells


def _texts(names: list[str], rows: list[list[int]], texts: Texts) -> Html:
    """What a click opens: the texts of every cell that has some."""
    if not texts:
        return Html()
    order = [(i, j) for _, i, j in pairs(rows)] + [(i, i) for i in range(len(names))]
    shown = [_cell(names, rows, i, j, texts[names[i], names[j]]) for i, j in order if (names[i], names[j]) in texts]
    return tag(
        "div", tag("p", both("confusion_choose"), class_="note choose"), *shown, class_="cells", aria_live="polite"
    )


def _cell(names: list[str], rows: list[list[int]], i: int, j: int, items: list[dict[str, Any]]) -> Html:
    key = "cell_hit" if i == j else "cell_miss"
    count = rows[i][j]
    title = both(key, n=count, true=label(names[i]), predicted=label(names[j]))
    kept = both("cell_kept", kept=len(items)) if len(items) < count else ""
    listed = tag("ol", *(item(each, bare=True) for each in items), class_="items")
    return tag(
        "section", tag("h4", title, " ", kept), listed, id=f"cell-{i}-{j}", class_="texts right" if i == j else "texts"
    )


def _pairs(names: list[str], rows: list[list[int]], worst: list[Pair], texts: Texts) -> Html:
    """A line a pair, which opens to its texts."""
    lines = []
    for count, i, j in worst:
        what = both("pair", true=label(names[i]), predicted=label(names[j]))
        often = both("pair_count", n=count, share=percent(count / (sum(rows[i]) or 1)))
        line = (tag("span", what), " ", tag("span", often, class_="often"))
        items = [item(each, bare=True) for each in texts.get((names[i], names[j]), [])]
        lines.append(tag("li", folded(joined(line), tag("ol", *items, class_="items")) if items else joined(line)))
    return tag("ol", *lines, class_="pairs")
