"""What handlers are written against: the House they work in, the Call they get, the Reply they give, the Route that names them.

No contract's own words live here, and no framework: `web` turns requests into Calls and Replies into answers.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import parse_qsl

import msgspec

from tidings.api import bodies
from tidings.api.visitors import Visitors
from tidings.clock import Clock
from tidings.database import Database
from tidings.domain.audit import UNASKED
from tidings.errors import Invalid
from tidings.rendering.compose import Composer
from tidings.signing import Signer, Vault
from tidings.storage import Store

S = TypeVar("S", bound=msgspec.Struct)

BODY_LIMIT = 10 * 1024 * 1024
"""Bytes of an ordinary body; one more is a 413."""
UPLOAD_LIMIT = 1024 * 1024 * 1024
"""Bytes of a body that is read as a stream."""
DEFAULT_LIMIT, MAX_LIMIT, MAX_PAGE = 25, 100, 10**9
IDEMPOTENCY_KEY = "idempotency-key"
LONGEST_KEY = 255
"""Characters of an Idempotency-Key."""
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


class House(msgspec.Struct, frozen=True):
    """What the composition root hands down: everything a handler may need that is not in the request.

    `public_url` has no trailing slash. `allow_private` permits webhooks to private addresses. `default_sender` is the From
    address where neither the request, the campaign nor the tenant names one. `visitors` says what is kept of who made a request.
    """

    db: Database
    clock: Clock
    composer: Composer
    signer: Signer
    vault: Vault
    store: Store
    public_url: str
    data_folder: Path
    allow_private: bool
    default_sender: str
    visitors: Visitors = Visitors()


class Call:
    """One request. Whatever it says wrongly is raised as tidings.errors, in sentences for whoever sent it.

    `path` are the variable segments, `target` is the whole path and query as they were sent, `peer` is who holds the connection. `db` is
    the house's database; where the request is to be entered in the audit, its first write enters it (see `auditing`).
    A handler that writes its entry itself hands `asked` down to it.
    """

    __slots__ = (
        "_chunks",
        "_headers",
        "_pairs",
        "_query_string",
        "_raw_headers",
        "asked",
        "body",
        "db",
        "house",
        "key_name",
        "method",
        "now",
        "path",
        "peer",
        "scopes",
        "target",
        "tenant_id",
        "watched",
    )

    def __init__(
        self,
        house: House,
        *,
        method: str,
        path: Mapping[str, str],
        target: bytes,
        query_string: bytes,
        headers: Iterable[tuple[bytes, bytes]],
        peer: str,
    ) -> None:
        self.house = house
        self.db = house.db
        self.method = method
        self.now = house.clock()
        self.path = path
        self.target = target
        self.peer = peer
        self.tenant_id = 0
        self.key_name = ""
        self.watched = False
        self.asked = UNASKED
        self.scopes: frozenset[str] = frozenset()
        self.body = b""
        self._chunks: AsyncIterator[bytes] | None = None
        self._query_string = query_string
        self._raw_headers = headers
        self._headers: dict[str, str] | None = None
        self._pairs: list[tuple[str, str]] | None = None

    @property
    def client(self) -> str:
        """The address the request came from, through proxies that are trusted; "" where there is none. What is stored of it is `visitors.kept`."""
        return self.house.visitors.address(self.peer, self.headers)

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case; a header sent twice is joined by a comma (RFC 9110, section 5.3)."""
        if self._headers is None:
            joined: dict[str, str] = {}
            for raw_name, raw_value in self._raw_headers:
                name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
                joined[name] = f"{joined[name]}, {value}" if name in joined else value
            self._headers = joined
        return self._headers

    @property
    def idempotency_key(self) -> str | None:
        """The `Idempotency-Key` header, None when absent. Raises Invalid unless it is 1 to 255 printable ASCII characters."""
        key = self.headers.get(IDEMPOTENCY_KEY)
        if key is not None and not (1 <= len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
            raise Invalid.field("Idempotency-Key", f"must be 1 to {LONGEST_KEY} printable ASCII characters")
        return key

    def query(self, name: str) -> str | None:
        """The first value of a query parameter, or None. Raises Invalid when it holds a NUL, which no database takes."""
        values = self.queries(name)
        return values[0] if values else None

    def queries(self, name: str) -> list[str]:
        """Every value of a query parameter, in the order given."""
        if self._pairs is None:
            self._pairs = parse_qsl(self._query_string.decode("latin-1"), keep_blank_values=True) if self._query_string else []
        values = [value for key, value in self._pairs if key == name]
        if any("\0" in value for value in values):
            raise Invalid.field(name, "must not contain a NUL character")
        return values

    def json(self, kind: type[S]) -> S:
        """The body as `kind`. Raises Malformed when it is not JSON, Invalid with a complaint per field otherwise."""
        return bodies.convert(bodies.decode(self.body), kind)

    def fields(self) -> dict[str, Any]:
        """The body's values by name: a form's (all strings) or a JSON object's; told apart by Content-Type, else by their look."""
        return bodies.fields(self.body, self.headers.get("content-type", ""))

    def page_limit(self) -> tuple[int, int]:
        """(page, limit): `page` from 1, `limit` 1 to 100 and 25 unless given. Out of range is clamped, garbage is the default."""
        return _clamped(self.query("page"), 1, MAX_PAGE), _clamped(self.query("limit"), DEFAULT_LIMIT, MAX_LIMIT)

    def flag(self, name: str) -> bool | None:
        """A boolean parameter (true, false, 1, 0 in any case), None when absent. Raises Invalid for anything else."""
        text = self.query(name)
        if text is None:
            return None
        if text.lower() not in _FLAGS:
            raise Invalid.field(name, "must be true or false")
        return _FLAGS[text.lower()]

    def stream(self) -> AsyncIterator[bytes]:
        """The body's chunks as they arrive, for routes with `streams=True`; `body` is empty there. Raises TooLarge beyond UPLOAD_LIMIT."""
        return self._chunks if self._chunks is not None else _nothing()

    def attach(self, chunks: AsyncIterator[bytes]) -> None:
        """Called by the server before the handler: where `stream` reads from."""
        self._chunks = chunks


class Reply(msgspec.Struct, frozen=True):
    """An answer. A Struct, dict, list or str goes out as JSON; bytes, or chunks of bytes for a long answer, as they are.

    Header names are in lower case; bytes need a `content-type` there. None is an empty body.
    """

    status: int = 200
    body: msgspec.Struct | Mapping[str, Any] | Sequence[Any] | bytes | AsyncIterator[bytes] | None = None
    headers: Mapping[str, str] = {}


Handler = Callable[[Call], Awaitable[Reply]]


class Parameter(NamedTuple):
    """A parameter, for the description of the API: `kind` is a JSON type (string, integer, boolean), `form` a format (date-time).

    `least` and `most` are bounds of a number, `words` all the words there are. `repeated` may be given more than once.
    """

    name: str
    kind: str = "string"
    summary: str = ""
    form: str = ""
    default: str | int | None = None
    least: int | None = None
    most: int | None = None
    words: tuple[str, ...] = ()
    repeated: bool = False
    required: bool = False


JSON = ("application/json",)
FORMS = (*JSON, "application/x-www-form-urlencoded", "multipart/form-data")


class Route(msgspec.Struct, frozen=True):
    """One operation: `path` has `{name}` for its variable segments, `scope` is what a key needs ("contacts:write"; "" any key).

    `public` needs no key. `streams` reads its body through `call.stream()`. `idempotent` takes an Idempotency-Key: its handler works
    through `idempotency.once`. `limit` is how many bytes of a body it takes; `guard` is asked before any of them is read, and raises for
    a call that is not to be heard: a public route with a large body has one. The rest describes it in the OpenAPI document: `takes` and
    `gives` the body and the answer, `reads` and `media` the content types of these, `status` success's; `lists` names the rows of a
    `listing`, each of which is a `gives` then. A `query` entry is a name or a Parameter; `variables` are those segments that are no
    opaque text. `also` are further successes and what they give. `refuses` are the refusals that do not follow from the rest: 404 for
    what a body names, 409 for a state. `audits` tells that its handler writes the audit's entry itself, with what it does.
    """

    method: str
    path: str
    handler: Handler
    scope: str
    summary: str
    takes: Any = None
    gives: Any = None
    public: bool = False
    query: tuple[str | Parameter, ...] = ()
    status: int = 200
    lists: str = ""
    streams: bool = False
    reads: tuple[str, ...] = JSON
    media: tuple[str, ...] = JSON
    variables: tuple[Parameter, ...] = ()
    also: Mapping[int, Any] = {}
    refuses: tuple[int, ...] = ()
    idempotent: bool = False
    limit: int = BODY_LIMIT
    audits: bool = False
    guard: Callable[[Call], Awaitable[object]] | None = None


PAGED = (
    Parameter("limit", "integer", "rows a page", default=DEFAULT_LIMIT, least=1, most=MAX_LIMIT),
    Parameter("page", "integer", "counted from 1", default=1, least=1, most=MAX_PAGE),
)
"""The query parameters that `page_limit` reads."""


def ok(body: Any) -> Reply:
    """200."""
    return Reply(200, body)


def created(body: Any) -> Reply:
    """201."""
    return Reply(201, body)


def accepted(body: Any) -> Reply:
    """202: it is stored and will be done."""
    return Reply(202, body)


def no_content() -> Reply:
    """204, no body."""
    return Reply(204)


def listing(name: str, rows: Sequence[Any], page: int, limit: int, total: int) -> Reply:
    """200 `{"<name>": rows, "pagination": {page, limit, total, total_pages}}`; no rows at all are zero pages."""
    pagination = {"page": page, "limit": limit, "total": total, "total_pages": -(-total // limit)}
    return Reply(200, {name: rows, "pagination": pagination})


def instant(at: int) -> str:
    """An instant in milliseconds as `2025-02-17T02:00:34Z`: UTC, whole seconds (reviewrover and native)."""
    return _second(at // 1000)


def instant_or_none(at: int | None) -> str | None:
    """The same for an instant that may not have come."""
    return None if at is None else instant(at)


def moment(at: int) -> str:
    """An instant in milliseconds as ISO 8601 with `Z` and three digits of the second (alpha, rocketcoms)."""
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at % 1000:03d}Z"


@lru_cache(maxsize=4096)
def _second(at: int) -> str:
    # rows of one page were mostly made and changed within the same few seconds
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _clamped(text: str | None, default: int, most: int) -> int:
    digits = (text or "").strip()
    negative, digits = digits.startswith("-"), digits.removeprefix("-").removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        return default
    if negative:
        return 1
    # int() refuses more than 4,300 digits; past twenty the answer is the clamp anyway
    return max(1, min(most, int(digits))) if len(digits) <= 20 else most


async def _nothing() -> AsyncIterator[bytes]:
    for chunk in cast(tuple[bytes, ...], ()):
        yield chunk
