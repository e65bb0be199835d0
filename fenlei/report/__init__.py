"""A bundle as one HTML page: what went in, how it learned, how good it is, where it errs; in English and Chinese.

``page`` puts the sections together, each of which has a file; ``markup`` escapes, ``words`` holds the sentences,
``plots`` draws the curves. Needs matplotlib, and no torch.
"""

from fenlei.report.page import parts, render

__all__ = ["parts", "render"]
