"""The description of the API, made from the route tables (OpenAPI 3.1), and a page to browse it that needs nothing from elsewhere."""

import functools
import re
from pathlib import Path
from typing import Any

import msgspec

from tidings import __version__
from tidings.api import refusals
from tidings.api.wire import LONGEST_KEY, Call, Parameter, Reply, Route

_VARIABLE = re.compile(r"\{(\w+)\}")
_DOCS = (Path(__file__).parent / "docs.html").read_bytes()
_DOCS_HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'",
}
_PAGINATION = {
    "type": "object",
    "required": ["page", "limit", "total", "total_pages"],
    "properties": {name: {"type": "integer"} for name in ("page", "limit", "total", "total_pages")},
}
_FILE = {"type": "string", "contentMediaType": "application/octet-stream"}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[ -~]+$"},
    "description": "Repeated within a day with the same request: done once, answered alike.",
}
_LOCATION = {"Location": {"description": "where it leads", "schema": {"type": "string"}}}


class Document:
    """The document for a set of routes, and the routes that serve it."""

    def __init__(self, described: list[Route]) -> None:
        self._described = described

    @functools.cached_property
    def _json(self) -> bytes:
        """Made when somebody wants it first: the server need not wait for it, and most processes are never asked."""
        return msgspec.json.encode(document(self._described))

    def routes(self) -> list[Route]:
        """What is served."""
        return [
            Route("GET", "/openapi.json", self.show, "", "This document", public=True),
            Route("GET", "/docs", browse, "", "A page to browse it", public=True),
            Route("GET", "/", home, "", "Leads to the page", public=True, status=302),
        ]

    async def show(self, _call: Call) -> Reply:
        """The document as JSON."""
        return Reply(200, self._json, {"content-type": "application/json"})


async def browse(_call: Call) -> Reply:
    """The page."""
    return Reply(200, _DOCS, _DOCS_HEADERS)


async def home(_call: Call) -> Reply:
    """There is nothing to see at the root itself."""
    return Reply(302, None, {"location": "/docs"})


def document(routes: list[Route]) -> dict[str, Any]:
    """An OpenAPI 3.1 document: every route with its parameters, its body, and everything it may answer."""
    kinds = list(
        {id(kind): kind for route in routes for kind in (route.takes, route.gives, *route.also.values()) if kind is not None}.values()
    )
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    shown = {id(kind): schema for kind, schema in zip(kinds, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, shown)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tidings",
            "version": __version__,
            "description": "Email and SMS to customers: accepted, sent, tracked and accounted for.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": refusals.described(routes),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "The key's token"},
                "basic": {"type": "http", "scheme": "basic", "description": "The key's id and secret"},
            },
        },
        "security": [{"bearer": []}, {"basic": []}],
    }


def _operation(route: Route, shown: dict[int, dict[str, Any]]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": _operation_id(route),
        "tags": [_tag(route.path)],
        "responses": _responses(route, shown),
    }
    if parameters := _parameters(route):
        operation["parameters"] = parameters
    if route.takes is not None or route.streams:
        operation["requestBody"] = {"required": True, "content": {media: {"schema": _taken(route, media, shown)} for media in route.reads}}
    if route.public:
        operation["security"] = []
    elif route.scope:
        operation["description"] = f"Needs the scope `{route.scope}`."
    return operation


def _responses(route: Route, shown: dict[int, dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {str(route.status): _answer(route, route.gives, shown)}
    found |= {str(status): _answer(route, kind, shown) for status, kind in route.also.items()}
    refused = {str(status): refusals.reference(route, status) for status in refusals.statuses(route)}
    return dict(sorted((refused | found).items()))


def _answer(route: Route, kind: Any, shown: dict[int, dict[str, Any]]) -> dict[str, Any]:
    if route.status == 204:
        return {"description": "No content"}
    if route.status == 302:
        return {"description": route.summary, "headers": _LOCATION}
    schema = shown[id(kind)] if kind is not None else {"type": "string"}
    if route.lists:
        rows = {"type": "array", "items": schema}
        schema = {"type": "object", "required": [route.lists, "pagination"], "properties": {route.lists: rows, "pagination": _PAGINATION}}
    return {"description": route.summary, "content": {media: {"schema": _as(media, schema)} for media in route.media}}


def _taken(route: Route, media: str, shown: dict[int, dict[str, Any]]) -> dict[str, Any]:
    if route.takes is not None:
        return shown[id(route.takes)]
    if media == "multipart/form-data":
        return {"type": "object", "required": ["file"], "properties": {"file": _FILE}}
    return {"type": "string"}


def _as(media: str, schema: dict[str, Any]) -> dict[str, Any]:
    """What of this kind there is to say in a type: only JSON has a shape."""
    if media == "application/json":
        return schema
    return {"type": "string"} if media.startswith("text/") else {"type": "string", "contentMediaType": media}


def _parameters(route: Route) -> list[dict[str, Any]]:
    known = {parameter.name: parameter for parameter in route.variables}
    inside = [_parameter(known.get(name, Parameter(name)), "path") for name in _VARIABLE.findall(route.path)]
    asked = [_parameter(Parameter(entry) if isinstance(entry, str) else entry, "query") for entry in route.query]
    return inside + asked + ([_IDEMPOTENCY_KEY] if route.idempotent else [])


def _parameter(parameter: Parameter, place: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": parameter.kind}
    said = {
        "format": parameter.form or None,
        "enum": list(parameter.words) or None,
        "minimum": parameter.least,
        "maximum": parameter.most,
        "minLength": 1 if place == "path" and parameter.kind == "string" else None,
        "default": parameter.default,
    }
    schema |= {name: value for name, value in said.items() if value is not None}
    if parameter.repeated:
        schema = {"type": "array", "items": schema}
    described: dict[str, Any] = {"name": parameter.name, "in": place, "required": place == "path" or parameter.required, "schema": schema}
    if parameter.summary:
        described["description"] = parameter.summary
    return described


def _operation_id(route: Route) -> str:
    words = re.findall(r"\w+", route.path.replace("/api/v1", "").replace("{", "by_"))
    return "_".join([route.method.lower(), *(words or ["root"])]).replace("-", "_")


def _tag(path: str) -> str:
    words = [word for word in path.split("/") if word and word not in {"api", "v1"}]
    return words[0] if words and "{" not in words[0] else "house"
