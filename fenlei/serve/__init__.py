"""The HTTP server: bundles answer over JSON, many requests in one batch, with a page to try them. Needs no torch.

``settings`` is what a server is told, ``server`` runs the worker processes, ``app`` has the routes. A request passes
``journal`` (one line in the log), ``guard`` (who may ask) and ``limits`` (how much may be sent), is read by ``query``
and answered by ``batching`` from one of the ``models``. ``metrics``, ``openapi``, ``page`` and ``replies`` are what
they say.

The process that watches the workers loads no model: what it imports here must stay light.
"""

from fenlei.serve.settings import Limits, Settings, named

__all__ = ["Limits", "Settings", "named"]
