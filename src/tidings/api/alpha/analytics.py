"""alpha's analytics: what was sent within a range of time, and what recipients did with it."""

import re
from datetime import UTC, datetime, timedelta

import msgspec

from tidings import ids
from tidings.analytics import figures
from tidings.analytics.figures import Figures, Share
from tidings.api.wire import Call, Parameter, Reply, Route, ok
from tidings.clock import DAY
from tidings.errors import Invalid

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# RFC 3339, section 5.6; an offset may be missing, and the + of one that was not escaped arrives as a space
_DATE_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?)(?:([Zz])|([+ -])([0-9]{2}:?[0-9]{2}))?"
)


class ByTemplate(msgspec.Struct, frozen=True, rename="camel"):
    """What was made from one template."""

    click_rate: float
    open_rate: float
    template_id: str
    template_name: str
    total_clicked: int
    total_opened: int
    total_sent: int


class ByType(msgspec.Struct, frozen=True, rename="camel"):
    """What is of one type."""

    click_rate: float
    open_rate: float
    total_clicked: int
    total_opened: int
    total_sent: int
    type: str


class DayVolume(msgspec.Struct, frozen=True):
    """How many were sent on one day (UTC), as YYYY-MM-DD."""

    count: int
    date: str


class Analytics(msgspec.Struct, frozen=True, rename="camel"):
    """The answer. Rates are fractions from 0 to 1, and 0.0 of nothing."""

    by_template: list[ByTemplate]
    by_type: list[ByType]
    click_rate: float
    failure_rate: float
    open_rate: float
    send_volume_by_day: list[DayVolume]
    total_clicked: int
    total_opened: int
    total_sent: int


async def analytics(call: Call) -> Reply:
    """The figures of `startDate` to `endDate`, both included. A range that ends before it begins is a 400."""
    since, until = moment(call, "startDate", last=False), moment(call, "endDate", last=True)
    if since is not None and until is not None and since > until:
        raise Invalid.field("endDate", "must not be before startDate")
    found = await call.db.read(figures.figures, call.tenant_id, since=since, until=None if until is None else until + 1)
    return ok(shown(found))


def moment(call: Call, name: str, *, last: bool) -> int | None:
    """The first, or with `last` the last, millisecond that a query parameter speaks of; None when it is not given.

    A date alone is that whole day, a time without an offset is UTC. Raises Invalid naming the parameter.
    """
    text = (call.query(name) or "").strip()
    if not text:
        return None
    try:
        if _DATE.fullmatch(text):
            return _milliseconds(datetime.fromisoformat(text).replace(tzinfo=UTC), last=False) + (DAY - 1 if last else 0)
        match = _DATE_TIME.fullmatch(text)
        if match is not None:
            date, time, _, sign, offset = match.groups()
            zone = f"{'-' if sign == '-' else '+'}{offset}" if offset else "+00:00"
            return _milliseconds(datetime.fromisoformat(f"{date}T{time}{zone}"), last=last)
    except ValueError as error:
        raise Invalid.field(name, _WANTED) from error
    raise Invalid.field(name, _WANTED)


_WANTED = "must be a date-time such as 2025-06-18T12:00:00Z, or a date such as 2025-06-18"


def _milliseconds(at: datetime, *, last: bool) -> int:
    # what is finer than a millisecond narrows the range: nothing is sent between two of them
    since = at - _EPOCH
    return since // _MILLISECOND if last else -(-since // _MILLISECOND)


def shown(found: Figures) -> Analytics:
    """The figures in the contract's words."""
    total = found.total
    return Analytics(
        by_template=[
            ByTemplate(
                click_rate=rate(share.clicked, share.sent),
                open_rate=rate(share.opened, share.sent),
                template_id=ids.spell("template", template_id),
                template_name=name,
                total_clicked=share.clicked,
                total_opened=share.opened,
                total_sent=share.sent,
            )
            for template_id, name, share in found.by_template
        ],
        by_type=[_by_type(type_, share) for type_, share in found.by_type],
        click_rate=rate(total.clicked, total.sent),
        failure_rate=rate(found.failed, total.sent + found.unsent),
        open_rate=rate(total.opened, total.sent),
        send_volume_by_day=[DayVolume(count, (_EPOCH + timedelta(days=day)).strftime("%Y-%m-%d")) for day, count in found.by_day],
        total_clicked=total.clicked,
        total_opened=total.opened,
        total_sent=total.sent,
    )


def rate(part: int, whole: int) -> float:
    """A fraction; nothing of nothing is 0.0."""
    return part / whole if whole else 0.0


def _by_type(type_: str, share: Share) -> ByType:
    return ByType(
        click_rate=rate(share.clicked, share.sent),
        open_rate=rate(share.opened, share.sent),
        total_clicked=share.clicked,
        total_opened=share.opened,
        total_sent=share.sent,
        type=type_,
    )


ROUTES: list[Route] = [
    Route(
        "GET",
        "/api/v1/communications/analytics",
        analytics,
        "reports:read",
        "What was sent, opened, clicked and failed",
        gives=Analytics,
        query=(
            Parameter("startDate", "string", "sent at this instant or later; a date alone is its beginning (UTC)", form="date-time"),
            Parameter("endDate", "string", "sent at this instant or before; a date alone is its end (UTC)", form="date-time"),
        ),
    )
]
