"""What an operation may answer when it does not do what was asked, for the description of the API: which statuses, in whose words.

The answers themselves are made in `faults`; a run over the description in the tests holds the two together.
"""

from http import HTTPStatus
from typing import Any

from tidings.api import faults
from tidings.api.wire import Route

_TEXT: dict[str, Any] = {"type": "string"}
_INSTANT: dict[str, Any] = {"type": "string", "format": "date-time"}
_COMPLAINTS: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "array", "items": _TEXT}}
_HEADERS: dict[int, tuple[str, str]] = {
    401: ("WWW-Authenticate", "the schemes there are"),
    500: ("X-Trace-Id", "under which the log has the story"),
    503: ("Retry-After", "seconds"),
}
_SAID = {
    400: "The request cannot be read",
    401: "No key, or one that is not known (any more)",
    403: "The key lacks the scope",
    404: "Nobody of this name is yours",
    409: "It is there already, or is not in a state for this",
    413: "The body is too large",
    422: "A field is wrong; `errors` names each",
    500: "A fault of ours",
    503: "It cannot be done now; nothing was stored",
}
_ALPHA_400 = "The request cannot be read, or a field is wrong"


def statuses(route: Route) -> list[int]:
    """Every status it may refuse with, in ascending order: what follows from its key, path, parameters and body, and what it names itself."""
    reads = route.takes is not None or route.streams
    found = {500, *route.refuses}
    if not route.public:
        found |= {401, 503} | ({403} if route.scope else set())
    if "{" in route.path:
        found |= {404, 503}
    if reads:
        found |= {400, 413}
    if route.idempotent:
        found.add(409)
    if reads or route.query or route.idempotent:
        found.add(422 if _owner(route) is faults.plain else 400)
    return sorted(found)


def reference(route: Route, status: int) -> dict[str, str]:
    """Where the document describes this refusal."""
    return {"$ref": f"#/components/responses/{_name(route, status)}"}


def described(routes: list[Route]) -> dict[str, Any]:
    """The refusals of all these routes, each once, by name."""
    return {_name(route, status): _response(route, status) for route in routes for status in statuses(route)}


def _response(route: Route, status: int) -> dict[str, Any]:
    said = _ALPHA_400 if status == 400 and _owner(route) is not faults.plain else _SAID[status]
    response: dict[str, Any] = {"description": said, "content": {"application/json": {"schema": _schema(route, status)}}}
    if status in _HEADERS:
        header, about = _HEADERS[status]
        response["headers"] = {header: {"description": about, "schema": _TEXT}}
    return response


def _schema(route: Route, status: int) -> dict[str, Any]:
    owner = _owner(route)
    if owner is faults.alpha:
        return _object(detail=_TEXT, time=_INSTANT, title={"const": HTTPStatus(status).phrase})
    if owner is faults.rocketcoms:
        trace = {"type": "string", "format": "uuid"}
        return _object(status={"const": faults.rocketcoms_code(status)}, traceId=trace, message=_TEXT, timestamp=_INSTANT)
    if owner is faults.everlytic and route.path.startswith("/api/2.0/"):
        return {"const": "Invalid credentials."} if status == 401 else _object(status={"const": "error"}, message=_TEXT)
    if owner is faults.everlytic:
        return _object(result={"const": "error"}, status=_TEXT, code={"const": status})
    schema = _object(error=_TEXT)
    if status in {400, 422}:
        schema["properties"]["errors"] = _COMPLAINTS
    return schema


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties, "additionalProperties": False}


def _name(route: Route, status: int) -> str:
    version = route.path.split("/")[2].partition(".")[0] if _owner(route) is faults.everlytic else ""
    return f"{_owner(route).__name__}{version}_{status}"


def _owner(route: Route) -> faults.Owner:
    return faults.owner(route.method, route.path)
