"""What is wrong with labelled data, before any training: findings with counts, places and what to do.

``examine`` needs neither torch nor scikit-learn; ``suspects``, imported by itself, needs both.
"""

from fenlei.check.examination import examine
from fenlei.check.findings import FAULT, FINE, LOOK, Finding, Place, Report, ranked
from fenlei.check.lines import lines

__all__ = ["FAULT", "FINE", "LOOK", "Finding", "Place", "Report", "examine", "lines", "ranked"]
