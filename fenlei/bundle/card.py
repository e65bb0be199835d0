"""The model card: a Markdown page that says what a bundle is, how to use it and where it came from."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

LABELS_SHOWN = 20
VALUES_SHOWN = 6  # of a list
ROWS_SHOWN = 60

HEAD = """\
# A text classifier

Trained from scratch with fenlei: give it a text, and it answers with a probability for each of {classes} labels.
Every file here is plain data, checked against `manifest.json` on loading.

## Use

With this folder's path for `BUNDLE`, one text a line:

```
fenlei predict BUNDLE texts.txt
```

```python
from fenlei.runtime import Predictor

Predictor("BUNDLE").predict_proba(["a text"])
```

## Labels

"""


def render(labels: Sequence[str], tables: Mapping[str, Mapping[str, Any]]) -> str:
    """The card; `tables` are its sections by title. No label or value can mark up or break the page."""
    shown = {str(number): label for number, label in enumerate(labels[:LABELS_SHOWN])}
    rest = len(labels) - len(shown)
    parts = [HEAD.format(classes=len(labels)), _table(shown), f"\nand {rest} more in `labels.json`.\n" if rest else ""]
    for title, entries in tables.items():
        parts.append(f"\n## {title}\n\n{_table(entries)}")
    return "".join(parts)


def escape(text: str, limit: int = 80) -> str:
    """Text that shows as itself in a table cell: no markup, no line break, no invisible or reversing character."""
    text = text if len(text) <= limit else text[:limit] + "…"
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    text = re.sub(r"[\\`*_\[\]|~$#!]", r"\\\g<0>", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _table(entries: Mapping[str, Any]) -> str:
    rows = [f"| {escape(name)} | {_cell(value)} |" for name, value in _flat(entries)]
    rows[ROWS_SHOWN:] = [f"| … | {len(rows) - ROWS_SHOWN} more |"] if len(rows) > ROWS_SHOWN else []
    return "\n".join(["| name | value |", "|---|---|", *rows]) + "\n" if rows else "Nothing was recorded.\n"


def _flat(entries: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values, those of a table within a table with both names; what no cell can tell is left out."""
    for name, value in entries.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", below) for inner, below in value.items() if _is_told(below))
        elif _is_told(value):
            yield str(name), value


def _is_told(value: Any) -> bool:
    """Whether a cell can say it: a value, or a few of them, none of which holds others."""
    if isinstance(value, list | tuple):
        return 0 < len(value) <= VALUES_SHOWN and not any(isinstance(each, dict | list | tuple) for each in value)
    return value is not None and not isinstance(value, dict)


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    return f"{value:.6g}" if isinstance(value, float) else escape(str(value))
