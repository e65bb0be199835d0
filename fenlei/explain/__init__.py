"""Which words carried a decision: each left out in turn, and the answer asked again. Needs no torch.

``occlusion`` finds the weights, ``drawing`` shows them in a terminal or in a page.
"""

from fenlei.explain.drawing import lines, page
from fenlei.explain.inside import Glance
from fenlei.explain.occlusion import Explanation, Piece, explain

__all__ = ["Explanation", "Glance", "Piece", "explain", "lines", "page"]
