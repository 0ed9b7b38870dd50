"""Errors on the wire: whose body an error has, by path alone, and what each owner's looks like. The one place where errors meet HTTP."""

import re
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple

from tidings.api.auth import CHALLENGE
from tidings.api.wire import Reply, moment
from tidings.errors import (
    Conflict,
    Forbidden,
    Invalid,
    Malformed,
    NotAllowed,
    NotFound,
    TidingsError,
    TooLarge,
    Unauthorized,
    Unavailable,
)

_COMMUNICATIONS = "/api/v1/communications"
_ALPHA_READS = frozenset({"analytics", "by-entity", "csv-export", "dynamic-search", "find", "find-list", "find-all", "page", "scheduled"})
"""alpha's GET operations one segment below; every other single segment is reviewrover's `{id}`."""
_STATUS = {
    Malformed: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    NotAllowed: 405,
    Conflict: 409,
    TooLarge: 413,
    Unavailable: 503,
}
_RETRY_AFTER = "2"
_SLASHES = re.compile(r"/{2,}")


class Fault(NamedTuple):
    """One error on its way out: `at` in milliseconds, `trace_id` a UUID that the log knows too."""

    status: int
    error: TidingsError
    at: int
    trace_id: str
    path: str


Owner = Callable[[Fault], Any]


def owner(method: str, path: str) -> Owner:
    """Whose body an error on this path has; HEAD is GET's."""
    path = _SLASHES.sub("/", path).rstrip("/")
    if path.startswith(f"{_COMMUNICATIONS}/"):
        segment = path.removeprefix(f"{_COMMUNICATIONS}/")
        single_read = method in {"GET", "HEAD"} and "/" not in segment and segment not in _ALPHA_READS
        return plain if single_read else alpha
    if _below(path, "/api/3.0") or _below(path, "/api/2.0/production"):
        return everlytic
    if _below(path, "/v1"):
        return rocketcoms
    return plain


def reply(method: str, path: str, error: TidingsError, at: int) -> Reply:
    """The answer to a request that failed."""
    fault = Fault(status(error, owner(method, path)), error, at, str(uuid.uuid4()), path)
    return Reply(fault.status, owner(method, path)(fault), _headers(error))


def crash(method: str, path: str, at: int, trace_id: str) -> Reply:
    """The 500 for a bug of ours; what went wrong is in the log under `trace_id`, not in the answer."""
    error = TidingsError("Internal server error")
    return Reply(500, owner(method, path)(Fault(500, error, at, trace_id, path)), {"x-trace-id": trace_id})


def status(error: TidingsError, body: Owner) -> int:
    """The HTTP status of an error; wrong input is 422 where the body has a place for fields, else 400."""
    if isinstance(error, Invalid) and not isinstance(error, Malformed):
        return 422 if body is plain else 400
    return next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)


def plain(fault: Fault) -> dict[str, Any]:
    """reviewrover's and the native body: `{"error": …}`, and `errors` by field where fields are at fault."""
    body: dict[str, Any] = {"error": fault.error.message}
    if isinstance(fault.error, Invalid) and fault.error.fields:
        body["errors"] = fault.error.fields
    return body


def alpha(fault: Fault) -> dict[str, Any]:
    """alpha's body: a sentence, the time, and the status' reason phrase."""
    message = fault.error.message
    sentence = message if message.endswith((".", "!", "?")) else f"{message}."
    # a field's name at the beginning of a sentence stays as it is on the wire
    if not (isinstance(fault.error, Invalid) and fault.error.fields):
        sentence = sentence[:1].upper() + sentence[1:]
    return {"detail": sentence, "time": moment(fault.at), "title": HTTPStatus(fault.status).phrase}


def everlytic(fault: Fault) -> dict[str, Any] | str:
    """everlytic's three bodies: 3.0 reports, and 2.0's, whose 401 is a bare JSON string."""
    if _below(fault.path, "/api/2.0"):
        return "Invalid credentials." if fault.status == 401 else {"status": "error", "message": fault.error.message}
    message = "Invalid credentials" if fault.status == 401 else fault.error.message
    return {"result": "error", "status": message, "code": fault.status}


def rocketcoms_code(status: int) -> str:
    """What rocketcoms' body calls an HTTP status: it has words for 400, 401, 403, 404 and 500, and every other is called by its class."""
    return f"{status if status in {401, 403, 404} else 500 if status >= 500 else 400:04d}"


def rocketcoms(fault: Fault) -> dict[str, Any]:
    """rocketcoms' body."""
    return {
        "status": rocketcoms_code(fault.status),
        "traceId": fault.trace_id,
        "message": fault.error.message,
        "timestamp": moment(fault.at),
    }


def _headers(error: TidingsError) -> dict[str, str]:
    match error:
        case Unauthorized():
            return {"www-authenticate": CHALLENGE}
        case NotAllowed():
            return {"allow": ", ".join(error.allow)}
        case Unavailable():
            return {"retry-after": _RETRY_AFTER}
        case _:
            return {}


def _below(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root}/")
