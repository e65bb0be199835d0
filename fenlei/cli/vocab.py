"""``fenlei vocab``: the classic file of words and their counts."""

from __future__ import annotations

import argparse
from typing import Any

from fenlei.cli.arguments import add_tokens, add_verb, tokenizer_of, whole
from fenlei.cli.data import read_data
from fenlei.cli.output import check_output, emit, output, say


def add(verbs: Any) -> None:
    """Its arguments."""
    verb = add_verb(verbs, "vocab", run, "write word<TAB>count, the commonest first")
    add_tokens(verb)
    verb.add_argument("--out", default="vocab.tsv", metavar="FILE", help="- is standard output (default vocab.tsv)")
    verb.add_argument("--min-count", type=whole, default=10, metavar="N", help="leave out rarer words (default 10)")
    verb.add_argument("--max-size", type=whole, metavar="N", help="words at most")


def run(arguments: argparse.Namespace) -> None:
    """Words of equal count in the order of their characters' numbers."""
    from fenlei.cutting import tokenize
    from fenlei.screen import plural
    from fenlei.vocab import Vocab

    check_output(arguments)
    tokenizer = tokenizer_of(arguments)
    documents, ledger = read_data(arguments.data, arguments.encoding)
    tokens = tokenize((document.text for document in documents), tokenizer, arguments.processes)
    counted = Vocab.build(tokens, arguments.min_count, arguments.max_size)
    with output(arguments.out) as stream:
        stream.writelines(f"{word}\t{count}\n" for word, count in counted.items())
    say(f"{arguments.out}: {plural(len(counted.tokens), 'word')} of {plural(len(documents), 'document')}")
    if arguments.json:
        emit({"words": len(counted.tokens), "out": arguments.out, "ledger": ledger.counts})
