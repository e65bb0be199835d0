"""Labelled text of any kind on disk -> documents, with a ledger of what was skipped, repaired and decided."""

from fenlei.corpus.corrections import Correction, Suspicion, correct, read_corrections, write_suspects
from fenlei.corpus.document import Document
from fenlei.corpus.documents import deduplicate, split_dev
from fenlei.corpus.ledger import (
    CONFLICT,
    CORRECTED,
    DROPPED,
    DUPLICATE,
    EMPTY,
    LEAK,
    LEFT_OUT,
    MISSING_CELLS,
    NO_LABEL,
    NOT_TEXT,
    RAGGED,
    REPAIRED,
    SEVERAL_LABELS,
    SKIPPED,
    TOO_LARGE,
    UNDECODABLE,
    UNMATCHED,
    UNPARSABLE,
    Entry,
    Ledger,
)
from fenlei.corpus.reading import files_of, read, read_lines
from fenlei.corpus.unlabelled import MOST as MOST_UNLABELLED
from fenlei.corpus.unlabelled import Unlabelled, draw, read_unlabelled

__all__ = [
    "CONFLICT",
    "CORRECTED",
    "DROPPED",
    "DUPLICATE",
    "EMPTY",
    "LEAK",
    "LEFT_OUT",
    "MISSING_CELLS",
    "MOST_UNLABELLED",
    "NOT_TEXT",
    "NO_LABEL",
    "RAGGED",
    "REPAIRED",
    "SEVERAL_LABELS",
    "SKIPPED",
    "TOO_LARGE",
    "UNDECODABLE",
    "UNMATCHED",
    "UNPARSABLE",
    "Correction",
    "Document",
    "Entry",
    "Ledger",
    "Suspicion",
    "Unlabelled",
    "correct",
    "deduplicate",
    "draw",
    "files_of",
    "read",
    "read_corrections",
    "read_lines",
    "read_unlabelled",
    "split_dev",
    "write_suspects",
]
