"""Any text as it can be shown: its width, shortened, without what would steer a terminal, a page or a spreadsheet."""

from __future__ import annotations

import re
import unicodedata

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\0", "＝", "＋", "－", "＠")  # a spreadsheet would run such a cell
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def width(text: str) -> int:
    """Columns of a terminal: two for a Chinese character, none for a combining mark."""
    return sum(0 if unicodedata.combining(each) else 2 if _is_wide(each) else 1 for each in text)


def _is_wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) in "WF"


def shortened(text: str, room: int) -> str:
    """As much as fits into so many columns, with an ellipsis where something is missing."""
    if width(text) <= room:
        return text
    kept = ""
    for letter in text:
        if width(kept + letter) >= room:
            break
        kept += letter
    return kept + "…"


def legible(text: str) -> str:
    """What a terminal or XML could take for a command, and what shows as nothing, as Python would write it."""
    return "".join(
        each.encode("unicode_escape").decode() if unicodedata.category(each) in _UNSEEN else each for each in text
    )


def harmless(cell: str) -> str:
    """What begins like a formula becomes text by a quote before it."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell


_BEYOND_CELL = re.compile("[\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_CODE = re.compile(r"\\(?:\\|[nrt]|x[0-9a-f]{2}|u[0-9a-f]{4})")


def cell(text: str) -> str:
    """``text`` as one cell of one line that UTF-8 can hold and no spreadsheet runs; ``restored`` gives it back.

    Line ends, other control characters and halves of surrogate pairs are written as Python would, the backslash
    twice; before what then begins like a formula, or like quotes and a formula, stands a quote.
    """
    line = _BEYOND_CELL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return f"'{line}" if line.lstrip("'").startswith(FORMULA) else line


def restored(line: str) -> str:
    """The text that ``cell`` wrote, exactly; what it could not have written stays as it is."""
    if line.startswith("'") and line.lstrip("'").startswith(FORMULA):
        line = line[1:]
    return _CODE.sub(lambda found: found[0].encode().decode("unicode_escape"), line)


def plural(count: int, one: str, many: str = "") -> str:
    """``1 text``, ``2 texts``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
