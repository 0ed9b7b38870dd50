"""everlytic's reports: everything of one kind that happened to a message of a campaign, a hundred rows a page. A body is JSON whatever its Content-Type."""

import codecs
import re
from datetime import UTC, date, datetime
from typing import Any, Literal, NamedTuple, cast

import msgspec
from msgspec import UNSET, UnsetType

from tidings.analytics import ranked
from tidings.analytics.ranked import Found, Row
from tidings.api.wire import Call, Parameter, Reply, Route, ok
from tidings.clock import DAY
from tidings.domain import marks
from tidings.domain.marks import Series
from tidings.errors import Invalid, Malformed

PAGE_SIZE = 100
KINDS: dict[str, str] = {
    "sends": "sent",
    "deliveries": "delivered",
    "opens": "opened",
    "clicks": "clicked",
    "bounces": "bounced",
    "failures": "failed",
    "complaints": "complained",
    "unsubscribes": "unsubscribed",
    "resubscribes": "resubscribed",
    "forwards": "",
    "replies": "replied",
}
"""Kinds of interaction by everlytic's word; nobody can forward anything, so there are none of those."""
Word = Literal[
    "sends", "deliveries", "opens", "clicks", "bounces", "failures", "complaints", "unsubscribes", "resubscribes", "forwards", "replies"
]
_REQUIRED = ("interactionType", "fromDate", "toDate", "order")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMERIC = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_DIGITS = re.compile(r"[0-9]+")
_LARGEST = 2**63 - 1
_LAST_PAGE = 10**12
"""Behind it there is nothing, whatever the number."""
_EPOCH = date(1970, 1, 1).toordinal()
_UNREADABLE = "Request body is not formatted properly"


class Question(msgspec.Struct, frozen=True, rename="camel"):
    """What a report is asked for by. Days are in UTC, and whole."""

    interaction_type: Word
    from_date: str
    to_date: str
    order: Literal["asc", "desc"]
    page_number: int | str | None = 1


class Line(msgspec.Struct, frozen=True):
    """One interaction. `send_date` is null for what never went out."""

    contact_id: int
    contact_email: str
    send_date: str | None
    interaction_type: Word
    interaction_date: str
    message_id: int
    page_number: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A page. The first one tells how much there is."""

    result: Literal["success"] = "success"
    page_size: int | UnsetType = UNSET
    total_pages: int | UnsetType = UNSET
    total_rows: int | UnsetType = UNSET
    data: list[Line]


class _Asked(NamedTuple):
    """`kind` is "" for what cannot happen. [since, until) in milliseconds."""

    word: Word
    kind: str
    message_id: int
    since: int
    until: int
    page: int
    descending: bool


async def interactions(call: Call) -> Reply:
    """A page of what happened to a message; of a message that is not there nothing has."""
    asked = _asked(call)
    found = Found(0, [], False)
    if asked.kind and 0 < asked.message_id <= _LARGEST and asked.page <= _LAST_PAGE:
        series = Series(call.tenant_id, asked.message_id, asked.kind)
        offset = (asked.page - 1) * PAGE_SIZE
        found = await call.db.read(
            ranked.page, series, asked.since, asked.until, offset=offset, limit=PAGE_SIZE, descending=asked.descending
        )
        if found.far:
            await call.db.write(marks.want, series, now=call.now)
    lines = [_line(asked, row) for row in found.rows]
    if asked.page > 1:
        return ok(Report(data=lines))
    return ok(Report(page_size=PAGE_SIZE, total_pages=-(-found.total // PAGE_SIZE), total_rows=found.total, data=lines))


def _asked(call: Call) -> _Asked:
    """Raises Invalid with the contract's sentence: of all that is wrong the first in its order."""
    body = read(call.body)
    missing = [name for name in _REQUIRED if body.get(name) is None]
    if len(missing) > 1:
        raise Malformed(f"{_UNREADABLE}. Missing: {', '.join(missing)}")
    if missing:
        raise Invalid(f"{missing[0]} is required")
    word = body["interactionType"]
    if not isinstance(word, str) or word not in KINDS:
        raise Invalid("interactionType is not valid")
    since, until = _day(body, "fromDate"), _day(body, "toDate")
    if since > until:
        raise Invalid("fromDate is after toDate")
    page = _page_number(body.get("pageNumber"))
    order = body["order"]
    if order not in ("asc", "desc"):
        raise Invalid("order must be asc or desc")
    message_id = call.path["messageId"]
    if not _DIGITS.fullmatch(message_id):
        raise Invalid("messageId is not numeric")
    return _Asked(cast(Word, word), KINDS[word], _whole(message_id), since, until + DAY, page, order == "desc")


def read(body: bytes) -> dict[str, Any]:
    """A body of everlytic's. Raises Malformed unless it is a JSON object."""
    try:
        value: Any = msgspec.json.decode(body.removeprefix(codecs.BOM_UTF8))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(_UNREADABLE) from error
    if not isinstance(value, dict):
        raise Malformed(_UNREADABLE)
    return cast(dict[str, Any], value)


def _day(body: dict[str, Any], name: str) -> int:
    """The beginning of a day in UTC, in milliseconds."""
    text = body[name]
    try:
        # fromisoformat alone takes other spellings, and digits of other scripts
        found = date.fromisoformat(text) if isinstance(text, str) and _DATE.fullmatch(text) else None
    except ValueError:
        found = None
    if found is None:
        raise Invalid(f"{name} is not in the format yyyy-mm-dd")
    return (found.toordinal() - _EPOCH) * DAY


def _page_number(given: Any) -> int:
    """1 unless given; a number, or the text of one."""
    if given is None:
        return 1
    text = given.strip() if isinstance(given, str) else "" if isinstance(given, bool) else repr(given)
    if not (isinstance(given, float) or _NUMERIC.fullmatch(text)):
        raise Invalid("pageNumber is not numeric")
    digits, _, rest = text.partition(".")
    if not _DIGITS.fullmatch(digits) or rest.strip("0") or not digits.strip("0"):
        raise Invalid("pageNumber is not valid")
    return _whole(digits)


def _whole(digits: str) -> int:
    """int() refuses thousands of digits; what is beyond 64 bits is as good as the next number."""
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) < 20 else _LARGEST + 1


def _line(asked: _Asked, row: Row) -> Line:
    return Line(
        contact_id=row.contact_id,
        contact_email=row.email,
        send_date=None if row.sent_at is None else _moment(row.sent_at),
        interaction_type=asked.word,
        interaction_date=_moment(row.at),
        message_id=asked.message_id,
        page_number=asked.page,
    )


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


ROUTES: list[Route] = [
    Route(
        "POST",
        "/api/3.0/messages/interaction-data/{messageId}",
        interactions,
        "reports:read",
        "What happened to a message of a campaign, of one kind, a hundred rows a page",
        takes=Question,
        gives=Report,
        variables=(Parameter("messageId", "integer", "the number of a message of a campaign"),),
    )
]
