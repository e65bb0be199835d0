"""Rows of parquet files as dicts, batch by batch; needs pyarrow, from the extra `table`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyarrow import Schema

ROWS = 1000  # in memory at a time


def records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row number from 1, its cells by column name); class numbers that the file names get their names.

    Raises ImportError without pyarrow, and ValueError for a file that is no parquet or is damaged.
    """
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ImportError(
            f"reading {path.name} needs pyarrow: pip install -c constraints.txt 'fenlei[table]'"
        ) from error
    number = 0
    try:
        with path.open("rb") as stream:
            file = ParquetFile(stream)
            names = class_names(file.schema_arrow)
            for batch in file.iter_batches(ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {key: _named(value, names.get(key)) for key, value in row.items()}
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        what = f"cannot be read after row {number:,}" if number else "is no readable parquet file"
        raise ValueError(f"{path} {what} ({str(error).partition('. ')[0]}); write it again, or give a csv") from error


def class_names(schema: Schema) -> dict[str, list[str]]:
    """The names of classes that a column gives by number, where the `datasets` library wrote them into the schema."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        kinds = {name: kind for name, kind in features.items() if kind.get("_type") == "ClassLabel"}
        return {name: [str(each) for each in kind["names"]] for name, kind in kinds.items()}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}


def _named(value: Any, names: list[str] | None) -> Any:
    """A class number as its name; -1 is no label, as test sets have it."""
    if names is None or type(value) is not int:
        return value
    return names[value] if 0 <= value < len(names) else None
