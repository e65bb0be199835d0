"""What goes back to a client: JSON in UTF-8, and refusals of one sentence that say nothing of the inside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from fenlei.screen import legible

SHOWN = 80  # characters of a client's own words in a sentence


class Refusal(Exception):  # noqa: N818 - it is sent, not raised out of anything
    """A request that gets an error: the status, one sentence, further headers."""

    def __init__(self, status: int, sentence: str, **headers: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def reply(self) -> Response:
        """The same as a response."""
        return json_reply({"error": str(self)}, self.status, self.headers)


def json_reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """``value`` as JSON."""
    return Response(json_bytes(value), status, headers, media_type="application/json")


def json_bytes(value: Any) -> bytes:
    """UTF-8; where a text has half a surrogate pair, which UTF-8 lacks, ASCII with escapes."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False).encode()


def quoted(text: str) -> str:
    """A client's own words as a sentence can hold them: short, on one line."""
    return f"'{legible(text[:SHOWN])}{'…' if len(text) > SHOWN else ''}'"
