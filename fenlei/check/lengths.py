"""How long the documents are in tokens, and what the model will not read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from fenlei.check.findings import FINE, LOOK, Finding, listed, share
from fenlei.check.rows import Rows
from fenlei.text import TOKENIZERS, normalize

QUANTILES = {"least": 0.0, "5%": 0.05, "median": 0.5, "95%": 0.95, "most": 1.0}
MANY = 0.05  # from this share of cut documents on, it is worth a look
FAR = 3.0  # interquartile ranges
SPREAD = 0.25  # the least range, in natural logarithms: texts of nearly one length have outliers at once otherwise
OUTLIERS = 0.001  # from this share of documents of unusual length on, they are worth a look

Ints = npt.NDArray[np.int64]


def tokens(texts: Sequence[str], tokenizer: str) -> Ints:
    """Tokens of each text ``(N,)``."""
    cut = TOKENIZERS[tokenizer]
    return np.fromiter((len(cut(normalize(text))) for text in texts), np.int64, len(texts))


def lengths(rows: Rows, counts: Ints, limit: int) -> Iterator[Finding]:
    """Quantiles and what is cut at ``limit`` tokens; documents far shorter or longer than the rest."""
    quantiles = {name: int(np.quantile(counts, at, method="nearest")) for name, at in QUANTILES.items()}
    told = ", ".join(f"{name} {count:,}" for name, count in quantiles.items())
    longer = np.flatnonzero(counts > limit)
    cut = f"{share(len(longer), len(counts))} are" if len(longer) else "none is"
    yield Finding(
        "length",
        LOOK if len(longer) >= MANY * len(counts) else FINE,
        f"Tokens a document: {told}; {cut} longer than the {limit:,} that are read.",
        f"Of those only the first {limit:,} tokens count: see that they say what the text is about."
        if len(longer)
        else "",
        len(longer),
        listed(rows.place(int(row)) for row in longer[np.argsort(-counts[longer], kind="stable")]),
        {"quantiles": quantiles, "limit": limit, "cut": len(longer)},
    )
    yield outliers(rows, counts)


def outliers(rows: Rows, counts: Ints) -> Finding:
    """Documents beyond the outer fences of Tukey (1977), on the logarithms of their lengths."""
    logs = np.log(np.maximum(counts, 1))
    low, high = np.quantile(logs, 0.25), np.quantile(logs, 0.75)
    margin = FAR * max(high - low, SPREAD)
    short, long = np.flatnonzero(logs < low - margin), np.flatnonzero(logs > high + margin)
    found = [*short.tolist(), *long.tolist()]
    if not found:
        return Finding("odd lengths", FINE, "No document is far shorter or far longer than the rest.")
    sentence = f"{len(short):,} documents are far shorter and {len(long):,} far longer than the rest."
    severity = LOOK if len(found) >= OUTLIERS * len(counts) else FINE
    advice = "Read a few: cells that were cut off, or files that hold many documents, look like that."
    places = listed(rows.place(row) for row in found)
    return Finding(
        "odd lengths", severity, sentence, advice, len(found), places, {"short": len(short), "long": len(long)}
    )
