"""A bundle made small: fewer rows, fewer bits a number, and what each way costs, measured on held-out texts.

``heldout`` reads the texts once, ``branches`` and ``ngrams`` make the two kinds of branches smaller, ``search`` tries
them together under a limit and builds the best bundle. ``rounded`` lets LSTM layers compute in 8 bits.
"""

from fenlei.shrink.rounded import Rounded, in_int8
from fenlei.shrink.search import Candidate, Shrunk, shrink

__all__ = ["Candidate", "Rounded", "Shrunk", "in_int8", "shrink"]
