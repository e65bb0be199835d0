"""Which column of a table is the text and which the label: by the names in its header, else by what the cells hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

# In order of preference: a table with `title` and `content` is read for its content.
TEXT_NAMES = (
    *("text", "content", "文本", "内容", "正文", "sentence", "句子", "review", "评论", "comment", "document", "doc"),
    *("article", "文章", "body", "message", "utterance", "query", "question", "tweet", "post", "input", "description"),
    *("abstract", "摘要", "title", "标题", "headline"),
)
LABEL_NAMES = (
    *("label", "标签", "labels", "class", "category", "类别", "分类", "target", "intent", "sentiment", "情感", "topic"),
    *("tag", "类型", "polarity", "emotion", "rating", "stars", "cat", "y"),
)
FEW = 20  # rows from which on the statistics of a column say something
NUMBER = re.compile(r"[-+]?\d+(\.\d*)?")
FLAGS = frozenset(("0", "1", "0.0", "1.0", "true", "false"))
NAMED = 5  # columns in a sentence


class Columns(NamedTuple):
    """Where a table keeps text and label, how many columns it has, and whether its first row names them.

    `sentence` says so for people; `doubts` are what may be meant otherwise, each with what to do then.
    """

    text: int
    label: int
    width: int
    header: bool
    sentence: str
    doubts: tuple[tuple[str, str], ...] = ()


class Column(NamedTuple):
    """What the sample shows of one column: mean length in characters, share of distinct values, their number."""

    length: float
    ratio: float
    distinct: int
    numeric: bool
    link: bool
    flag: bool


def choose(sample: Sequence[Sequence[str]], name: str, form: str, header: bool = False) -> Columns:
    """The columns of the table `name` from its first rows; `header` says that the first is one for sure.

    `form` says for people how the table is written, such as `tab-separated`.

    Raises ValueError when no column can be the text, or none the label.
    """
    sample = [[cell.strip() for cell in row] for row in sample]
    first = sample[0]
    header = header or (_named(first, TEXT_NAMES) is not None and _named(first, LABEL_NAMES) is not None)
    width = len(first) if header else Counter(len(row) for row in sample).most_common(1)[0][0]
    rows = [row for row in sample if len(row) == width]
    header = header or (len(first) == width and _is_header(first, rows[1:]))
    names = first if header else []
    columns = [_describe(cells) for cells in zip(*rows[header:], strict=True)]
    text = _named(names, TEXT_NAMES)
    label = _named(names, LABEL_NAMES)
    if text is None:
        text = _text_by_content(columns, label)
    guessed = label is None
    if label is None and text is not None:
        label = _label_by_content(columns, text, len(rows) - header)
    shown = ", ".join(repr(n) for n in names) if names else f"{width} without names"
    if label is None or text is None:
        missing = "text" if text is None else "label"
        raise ValueError(
            f"{name} has no {missing} column (columns: {shown}); "
            "name the columns `label` and `text` in a first line, or give label<TAB>text lines"
        )
    doubts = [*_namesakes(names, (label, text)), *(_flags(columns, names, label) if guessed else ())]
    sentence = _sentence(f"{name}: {form}", names, text, label, width)
    return Columns(text, label, width, header, sentence, tuple((f"{name}: {doubt}", how) for doubt, how in doubts))


def choose_text(sample: Sequence[Sequence[str]], name: str, header: bool = False) -> Columns:
    """The same where labels do not matter: the column of the texts alone, ``label`` is -1.

    Raises ValueError when no column can be the text.
    """
    sample = [[cell.strip() for cell in row] for row in sample]
    first = sample[0]
    header = header or any(_named(first, names) is not None for names in (TEXT_NAMES, LABEL_NAMES))
    width = len(first) if header else Counter(len(row) for row in sample).most_common(1)[0][0]
    text = _named(first, TEXT_NAMES) if header else None
    if text is None:
        rows = [row for row in sample[header:] if len(row) == width]
        columns = [_describe(cells) for cells in zip(*rows, strict=True)]
        text = _text_by_content(columns, _named(first, LABEL_NAMES) if header else None)
    if text is None:
        shown = ", ".join(map(repr, first)) if header else f"{len(first)} without names"
        raise ValueError(f"{name} has no text column (columns: {shown}); name it `text` in a first line")
    which = repr(first[text]) if header else f"column {text + 1}"
    return Columns(text, -1, width, header, f"{name}: text from {which}.")


def _sentence(start: str, names: Sequence[str], text: int, label: int, width: int) -> str:
    unread = [_shown(names, i) for i in range(width) if i not in (text, label)]
    rest = f"; not read: {_some(unread)}" if unread else ""
    taken = f"label from {_shown(names, label)}, text from {_shown(names, text)}"
    return f"{start}{'' if names else ', no header'}; {taken}{rest}."


def _shown(names: Sequence[str], column: int) -> str:
    return repr(names[column]) if names and names[column] else f"column {column + 1}"


def _some(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - NAMED:,} more" if len(columns) > NAMED else ""
    return ", ".join(columns[:NAMED]) + more


def _namesakes(names: Sequence[str], read: Sequence[int]) -> Iterator[tuple[str, str]]:
    """What to say of columns that bear the name of one that is read."""
    lowered = [name.lower() for name in names]
    for column in read if names else ():
        if (times := lowered.count(lowered[column])) > 1:
            told = f"the header names {names[column]!r} {times:,} times and the first such column was read"
            yield told, "give each column a name of its own"


def _flags(columns: Sequence[Column], names: Sequence[str], label: int) -> Iterator[tuple[str, str]]:
    """What to say where the label was taken from one of several columns that each may stand for a label."""
    flags = [_shown(names, i) for i, column in enumerate(columns) if column.flag]
    if columns[label].flag and len(flags) > 1:
        yield (
            f"{len(flags):,} columns hold only 0 and 1 or true and false ({_some(flags)}), and one of them was read, "
            f"{_shown(names, label)}",
            "if each of them stands for a label, write the names of those that apply into one column `label`, with a "
            "comma between them, and train with --multi-label",
        )


def _named(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    lowered = [name.lower() for name in names]
    return next((lowered.index(name) for name in wanted if name in lowered), None)


def _is_header(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns rather than being the first document."""
    columns = list(zip(*rows, strict=True))
    if not columns:
        return False
    for i in (_named(first, TEXT_NAMES), _named(first, LABEL_NAMES)):
        if i is not None and first[i] not in columns[i]:
            return True
    return any(_heads(cell, column) for cell, column in zip(first, columns, strict=True))


def _heads(cell: str, column: Sequence[str]) -> bool:
    """Whether `cell` is of another kind than its column: a word above numbers, or once above values that recur."""
    if not cell or NUMBER.fullmatch(cell) or len(cell) > 30:
        return False
    if all(NUMBER.fullmatch(other) for other in column):
        return True
    counts = Counter(column)
    return len(column) >= FEW and cell.isidentifier() and cell not in counts and min(counts.values()) > 2


def _describe(cells: Sequence[str]) -> Column:
    distinct = set(cells)
    return Column(
        length=sum(map(len, cells)) / max(len(cells), 1),
        ratio=len(distinct) / max(len(cells), 1),
        distinct=len(distinct),
        numeric=all(NUMBER.fullmatch(value) for value in distinct),
        link=all(value.startswith(("http://", "https://")) for value in distinct),
        flag=bool(distinct) and {value.lower() for value in distinct} <= FLAGS,
    )


def _text_by_content(columns: Sequence[Column], label: int | None) -> int | None:
    """The long column whose values hardly recur; numbers and links are no texts."""
    able = [i for i, column in enumerate(columns) if i != label and not column.numeric and not column.link]
    return max(able, key=lambda i: columns[i].length * columns[i].ratio, default=None)


def _label_by_content(columns: Sequence[Column], text: int, rows: int) -> int | None:
    """The column with few distinct short values; one value for all rows is the last choice, one for each is none."""
    able = [i for i in range(len(columns)) if i != text and columns[i].length <= max(columns[text].length, 30)]
    if rows >= FEW:
        able = [i for i in able if columns[i].ratio < 1]

    def rank(i: int) -> tuple[bool, bool, int, float]:
        column = columns[i]
        return column.distinct == 1, column.distinct > rows / 2 and rows >= FEW, column.distinct, column.length

    return min(able, key=rank, default=None)
