"""Labelled text of any kind on disk -> documents, with a ledger of what was skipped, repaired and decided."""

from fenlei.corpus.documents import Document, deduplicate, split_dev
from fenlei.corpus.ledger import (
    CONFLICT,
    DROPPED,
    DUPLICATE,
    EMPTY,
    LEAK,
    MISSING_CELLS,
    NO_LABEL,
    NOT_TEXT,
    RAGGED,
    REPAIRED,
    SEVERAL_LABELS,
    SKIPPED,
    TOO_LARGE,
    UNDECODABLE,
    UNPARSABLE,
    Entry,
    Ledger,
)
from fenlei.corpus.reading import read, read_lines

__all__ = [
    "CONFLICT",
    "DROPPED",
    "DUPLICATE",
    "EMPTY",
    "LEAK",
    "MISSING_CELLS",
    "NOT_TEXT",
    "NO_LABEL",
    "RAGGED",
    "REPAIRED",
    "SEVERAL_LABELS",
    "SKIPPED",
    "TOO_LARGE",
    "UNDECODABLE",
    "UNPARSABLE",
    "Document",
    "Entry",
    "Ledger",
    "deduplicate",
    "read",
    "read_lines",
    "split_dev",
]
