"""The whole examination: every topic once, the worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fenlei.check.classes import classes
from fenlei.check.copies import contradictions, copies, firsts
from fenlei.check.findings import FINE, Finding, Report, ranked
from fenlei.check.leaks import leaks
from fenlei.check.lengths import lengths, tokens
from fenlei.check.likenesses import likenesses
from fenlei.check.near import SHINGLE, Ints, fold, groups
from fenlei.check.oddities import oddities
from fenlei.check.rows import Rows
from fenlei.check.sources import sources
from fenlei.corpus import Document, Ledger
from fenlei.recipe import Recipe
from fenlei.text import choose


def examine(documents: Sequence[Document], ledger: Ledger, limit: int | None = None) -> tuple[Report, Ints]:
    """What is found about ``documents``, at least one, and the group of near texts that each belongs to, ``(N,)``.

    ``ledger`` is what reading them entered; ``limit`` the tokens of a text that a model reads, by default the recipe's.
    Needs neither torch nor scikit-learn.
    """
    rows = Rows.of(documents)
    tokenizer, reason = choose(rows.texts)
    size = SHINGLE[tokenizer]
    first = firsts(rows)
    folded = [fold(text) for text in rows.texts]
    alike = groups(folded, size)
    findings = [
        *leaks(rows, folded, alike, size),
        contradictions(rows, first),
        copies(rows),
        likenesses(rows, alike),
        *classes(rows),
        *oddities(rows),
        *lengths(rows, tokens(rows.texts, tokenizer), limit or Recipe().max_length),
        *sources(ledger, len(documents)),
        Finding("tokenizer", FINE, f"Train would cut into {tokenizer}: {reason}", numbers={"tokenizer": tokenizer}),
    ]
    counts = dict(rows.counts(range(len(rows))).most_common())
    return Report(len(documents), dict(Counter(rows.splits)), counts, ranked(findings)), alike
