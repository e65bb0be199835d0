"""The description of the interface, for people and for tools that make clients: OpenAPI 3.1."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from fenlei import __version__
from fenlei.serve.settings import Limits

Schema = dict[str, Any]
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
STRINGS: Schema = {"type": "array", "items": {"type": "string"}}


def document(limits: Limits) -> Schema:
    """Everything that ``app`` routes; the numbers are this server's."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "fenlei serve", "version": __version__, "description": "Labels for texts."},
        "paths": {
            "/predict": {"post": _predict(limits)},
            "/info": {"get": _read("What a model is", {"$ref": "#/components/schemas/Info"}, model=True)},
            "/card": {"get": _read("The model card, Markdown", None, model=True, media="text/plain")},
            "/report": {"get": _read("The report on the training", None, model=True, media="text/html")},
            "/health": {"get": _read("The process answers", _status("alive"))},
            "/ready": {"get": _read("Every model is loaded", _status("ready"))},
            "/metrics": {"get": _read("Counters for Prometheus", None, media="text/plain")},
            "/openapi.json": {"get": _read("This document", {"type": "object"})},
            "/": {"get": _read("The page", None, media="text/html")},
            "/page.css": {"get": _read("Its style", None, media="text/css")},
            "/page.js": {"get": _read("Its script", None, media="text/javascript")},
        },
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _predict(limits: Limits) -> Schema:
    refusals = {
        "400": "The body is not what was expected, or the rule does not fit the model",
        "404": "There is no such model",
        "408": f"The body took longer than {limits.body_seconds:g} s",
        "413": f"More than {limits.body_bytes:,} bytes, {limits.texts:,} texts or {limits.explained} to explain",
        "415": "The body is not JSON",
        "503": "Too much waits to be answered, or the answer took too long; Retry-After says when to ask again",
    }
    body = {"required": True, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Query"}}}}
    found = {"$ref": "#/components/schemas/Answers"}
    responses = {"200": _json("The answers", found)} | {status: _refusal(about) for status, about in refusals.items()}
    return {
        "summary": "Label one text or many",
        "operationId": "predict",
        "requestBody": body,
        "responses": responses | _common(),
        "security": [{}, {"token": []}],
    }


def _read(summary: str, schema: Schema | None, model: bool = False, media: str = "application/json") -> Schema:
    content = {media: {"schema": schema or {"type": "string"}}}
    responses = {"200": {"description": summary, "content": content}} | _common()
    responses |= {"404": _refusal("There is no such thing"), "503": _refusal("The server is starting or stopping")}
    operation: Schema = {"summary": summary, "responses": responses, "security": [{}, {"token": []}]}
    if model:
        about = "the name of a model; the first where none is named"
        operation["parameters"] = [
            {"name": "model", "in": "query", "required": False, "description": about, "schema": {"type": "string"}}
        ]
    return operation


def _common() -> Schema:
    """What stops a request before it is read."""
    return {
        "401": _refusal("The server has a token, and the request has not"),
        "403": _refusal("Host or Origin are not this server's"),
    }


def _json(about: str, schema: Schema) -> Schema:
    return {"description": about, "content": {"application/json": {"schema": schema}}}


def _refusal(about: str) -> Schema:
    return _json(about, {"$ref": "#/components/schemas/Error"})


def _status(word: str) -> Schema:
    return _object({"status": {"const": word}}, ["status"])


def _object(properties: Schema, required: list[str]) -> Schema:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _schemas() -> Schema:
    piece = {"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}], "minItems": 2, "maxItems": 2}
    explanation = {
        "label": {"type": "string"},
        "probability": SHARE,
        "pieces": {"type": "array", "items": piece},
        "inside": {"type": "array", "items": {"$ref": "#/components/schemas/Glance"}},
    }
    words = {"type": "string"}
    glance = {
        "network": {"type": "integer", "minimum": 1},
        "kind": words,
        "over": {"enum": ["tokens", "sentences"]},
        "steps": {"type": "array", "items": piece},
    }
    shares = {"type": "array", "items": SHARE}
    answer = {"labels": STRINGS, "probabilities": shares, "unknown": {"type": "boolean"}}
    answers = {"type": "array", "items": {"$ref": "#/components/schemas/Prediction"}}
    return {
        "Query": _query(),
        "Answers": _object({"model": {"type": "string"}, "predictions": answers}, ["model", "predictions"]),
        "Prediction": _object(answer | {"explanation": {"$ref": "#/components/schemas/Explanation"}}, [*answer]),
        "Explanation": _object(explanation, [*explanation]),
        "Glance": _object(glance, [*glance]),
        "Info": _info(),
        "Error": _object({"error": {"type": "string"}}, ["error"]),
    }


def _query() -> Schema:
    common = {
        "model": {"type": "string", "description": "the first where none is named"},
        "top": {"type": "integer", "minimum": 1, "description": "so many labels a text"},
        "explain": {"type": "boolean", "description": "say which words carried the decision"},
    }
    rules = {
        "threshold": SHARE | {"description": "no label that is less probable"},
        "coverage": SHARE | {"description": "answer only so large a share of texts, the surest"},
        "precision": SHARE | {"description": "name labels only where they were right this often on dev"},
        "best_f1": {"const": True, "description": "name labels from where their F1 was best on dev"},
    }
    texts = {"text": {"type": "string"}, "texts": STRINGS}
    schema = _object(texts | common | rules, [])
    one_of_two = [{"required": ["text"]}, {"required": ["texts"]}]
    one_rule = {"not": {"anyOf": [{"required": list(pair)} for pair in combinations(rules, 2)]}}
    return schema | {"oneOf": one_of_two} | one_rule


def _info() -> Schema:
    number = {"type": "number"}
    point = {"type": "array", "items": number, "minItems": 3, "maxItems": 3}
    properties: Schema = {
        "models": STRINGS,
        "model": {"type": "string"},
        "labels": STRINGS,
        "several": {"type": "boolean", "description": "whether a text can have several labels"},
        "examples": STRINGS,
        "coverage": {"type": "array", "items": point, "description": "threshold, share of dev answered, accuracy"},
        "scores": {"type": "object", "additionalProperties": number},
        "parameters": {"type": "integer"},
        "bytes": {"type": "integer"},
        "digest": {"type": "string"},
        "fenlei": {"type": "string"},
        "report": {"type": "boolean", "description": "whether GET /report has one"},
    }
    return _object(properties, [*properties])
