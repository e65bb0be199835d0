"""A network watched at work: what it computes over one text, step by step, as numbers, a table or a picture.

``watch`` runs the bundle's network by its equations and keeps every step, ``sections`` lays out what was seen,
``table`` writes it for a terminal, ``picture`` draws it as SVG or HTML.
"""

from fenlei.trace.picture import page, svg
from fenlei.trace.sections import Column, Section, compared, sections
from fenlei.trace.table import lines
from fenlei.trace.watch import Layer, Network, Trace, Weights, Window, trace

__all__ = [
    "Column",
    "Layer",
    "Network",
    "Section",
    "Trace",
    "Weights",
    "Window",
    "compared",
    "lines",
    "page",
    "sections",
    "svg",
    "trace",
]
