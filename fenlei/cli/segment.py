"""``fenlei segment``: the classic file of cut texts."""

from __future__ import annotations

import argparse
from typing import Any

from fenlei.cli.arguments import add_tokens, add_verb, tokenizer_of
from fenlei.cli.data import read_data
from fenlei.cli.output import check_output, emit, escaped, output, say


def add(verbs: Any) -> None:
    """Its arguments."""
    verb = add_verb(verbs, "segment", run, "write label<TAB>word word ..., a document a line")
    add_tokens(verb)
    verb.add_argument(
        "--out", default="segmented.tsv", metavar="FILE", help="- is standard output (default segmented.tsv)"
    )


def run(arguments: argparse.Namespace) -> None:
    """In the order of the data."""
    from fenlei.cutting import tokenize
    from fenlei.screen import plural

    check_output(arguments)
    tokenizer = tokenizer_of(arguments)
    documents, ledger = read_data(arguments.data, arguments.encoding)
    tokens = tokenize((document.text for document in documents), tokenizer, arguments.processes)
    with output(arguments.out) as stream:
        for document, words in zip(documents, tokens, strict=True):
            stream.write(f"{','.join(map(escaped, document.labels))}\t{' '.join(words)}\n")
    say(f"{arguments.out}: {plural(len(documents), 'document')}")
    if arguments.json:
        emit({"documents": len(documents), "out": arguments.out, "ledger": ledger.counts})
