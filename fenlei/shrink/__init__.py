"""A bundle made small: fewer rows, fewer bits a number, and what each way costs, measured on held-out texts.

``heldout`` reads the texts once, ``branches`` and ``ngrams`` make the two kinds of branches smaller, ``search`` tries
them together under a limit and builds the best bundle.
"""

from fenlei.shrink.search import Candidate, Shrunk, shrink

__all__ = ["Candidate", "Shrunk", "shrink"]
