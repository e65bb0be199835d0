"""A question as it came: the body of ``POST /predict`` as JSON, every key and every value checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fenlei.decisions import Rule
from fenlei.serve.replies import Refusal, quoted
from fenlei.serve.settings import Limits

KEYS = ("text", "texts", "model", "top", "threshold", "coverage", "precision", "best_f1", "explain")


@dataclass(frozen=True)
class Query:
    """Texts, which model is to answer (None for the first), under which rule, and whether with explanations."""

    texts: list[str]
    model: str | None
    rule: Rule
    explain: bool

    @classmethod
    def parse(cls, body: bytes, limits: Limits) -> Query:
        """Raises ``Refusal``: 400 for what is no such JSON, 413 for too many texts."""
        found = _object(body)
        for name in found:
            if name not in KEYS:
                raise Refusal(400, f"there is no key {quoted(name)}; the keys are {', '.join(KEYS)}")
        texts, explain = _texts(found), _typed(found, "explain", bool, "true or false") or False
        _bounded(texts, explain, limits)
        return cls(texts, _typed(found, "model", str, "a name"), _rule(found), explain)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body.decode(), parse_constant=_no_constant, object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        raise Refusal(400, f"the body is not UTF-8, from byte {error.start} on") from None
    except RecursionError:
        raise Refusal(400, "the body is nested too deeply for JSON that is meant") from None
    except json.JSONDecodeError as error:
        raise Refusal(400, f"the body is not JSON: {error.msg}, at character {error.pos}") from None
    except ValueError:  # a number of thousands of digits
        raise Refusal(400, "the body holds a number that cannot be read") from None
    if not isinstance(found, dict):
        raise Refusal(400, 'the body must be a JSON object, such as {"text": "..."}')
    return found


def _no_constant(name: str) -> None:
    raise Refusal(400, f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Refusal(400, f"the key {quoted(twice)} stands twice in one object")
    return found


def _texts(found: dict[str, Any]) -> list[str]:
    if ("text" in found) == ("texts" in found):
        raise Refusal(400, 'give "text", a string, or "texts", a list of strings: one of the two')
    texts = [found["text"]] if "text" in found else found["texts"]
    if not isinstance(texts, list):
        raise Refusal(400, '"texts" must be a list of strings')
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise Refusal(400, '"text" must be a string' if "text" in found else f'"texts"[{number}] must be a string')
    return texts


def _typed(found: dict[str, Any], name: str, kind: type, meant: str) -> Any:
    value = found.get(name)
    if value is not None and type(value) is not kind:
        raise Refusal(400, f'"{name}" must be {meant}')
    return value


def _rule(found: dict[str, Any]) -> Rule:
    numbers = {name: _number(found, name) for name in ("threshold", "coverage", "precision")}
    try:
        best_f1 = _typed(found, "best_f1", bool, "true or false") or False
        return Rule(top=_typed(found, "top", int, "a whole number of at least 1"), best_f1=best_f1, **numbers)
    except ValueError as error:
        raise Refusal(400, str(error)) from None


def _number(found: dict[str, Any], name: str) -> float | None:
    value = found.get(name)
    if value is not None and type(value) not in (int, float):
        raise Refusal(400, f'"{name}" must be a number from 0 to 1')
    if value is not None and not 0 <= value <= 1:
        raise Refusal(400, f'"{name}" must be a number from 0 to 1')
    return value


def _bounded(texts: list[str], explain: bool, limits: Limits) -> None:
    most = limits.explained if explain else limits.texts
    if len(texts) > most:
        what = "texts can be explained" if explain else "texts can be sent"
        raise Refusal(413, f"at most {most:,} {what} in one request, got {len(texts):,}: divide them")
    if explain and max(map(len, texts), default=0) > limits.explained_characters:
        raise Refusal(413, f"a text of more than {limits.explained_characters:,} characters is not explained: cut it")
