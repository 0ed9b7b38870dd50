"""The description of the API, made from the route tables (OpenAPI 3.1), and a page to browse it that needs nothing from elsewhere."""

import re
from pathlib import Path
from typing import Any

import msgspec

from tidings import __version__
from tidings.api.wire import Call, Parameter, Reply, Route

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


class Document:
    """The document for a set of routes, and the routes that serve it."""

    def __init__(self, described: list[Route]) -> None:
        self._json = msgspec.json.encode(document(described))

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
    """An OpenAPI 3.1 document: every route with its parameters, body and answer."""
    kinds = list({id(kind): kind for route in routes for kind in (route.takes, route.gives) if kind is not None}.values())
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
        "responses": {str(route.status): _answer(route, shown)},
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in _VARIABLE.findall(route.path)
    ] + [_parameter(entry) for entry in route.query]
    if parameters:
        operation["parameters"] = parameters
    if route.takes is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": shown[id(route.takes)]}}}
    elif route.streams:
        operation["requestBody"] = {"required": True, "content": {"multipart/form-data": {"schema": {"type": "object"}}}}
    if route.public:
        operation["security"] = []
    elif route.scope:
        operation["description"] = f"Needs the scope `{route.scope}`."
    return operation


def _answer(route: Route, shown: dict[int, dict[str, Any]]) -> dict[str, Any]:
    if route.gives is None:
        return {"description": "No content" if route.status == 204 else route.summary}
    schema = shown[id(route.gives)]
    if route.lists:
        rows = {"type": "array", "items": schema}
        schema = {"type": "object", "required": [route.lists, "pagination"], "properties": {route.lists: rows, "pagination": _PAGINATION}}
    return {"description": route.summary, "content": {"application/json": {"schema": schema}}}


def _parameter(entry: str | Parameter) -> dict[str, Any]:
    parameter = Parameter(entry) if isinstance(entry, str) else entry
    described: dict[str, Any] = {"name": parameter.name, "in": "query", "required": False, "schema": {"type": parameter.kind}}
    if parameter.summary:
        described["description"] = parameter.summary
    return described


def _operation_id(route: Route) -> str:
    words = re.findall(r"\w+", route.path.replace("/api/v1", "").replace("{", "by_"))
    return "_".join([route.method.lower(), *(words or ["root"])]).replace("-", "_")


def _tag(path: str) -> str:
    words = [word for word in path.split("/") if word and word not in {"api", "v1"}]
    return words[0] if words and "{" not in words[0] else "house"
