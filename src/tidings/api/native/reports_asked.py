"""What a request for a report asks for: its form (JSON, CSV or SVG), its range in a time zone, whose it is."""

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import islice
from typing import Final, Literal

from tidings import ids
from tidings.analytics.reports import calendar, groups
from tidings.analytics.reports.calendar import Interval, Range, wrong
from tidings.api.wire import Call, Parameter, Reply
from tidings.clock import DAY, HOUR
from tidings.errors import NotFound
from tidings.message import sheet

Form = Literal["json", "csv", "svg"]

MEDIA: Final[dict[Form, str]] = {"json": "application/json", "csv": "text/csv", "svg": "image/svg+xml"}
LINES_AT_ONCE = 1000
_WEIGHT = re.compile(r"[01](\.[0-9]{0,3})?")
_USUAL: Final[dict[Interval, int]] = {"hour": 48 * HOUR, "day": 30 * DAY}
_SVG_HEADERS = {
    "content-type": "image/svg+xml; charset=utf-8",
    "vary": "Accept",
    # names of campaigns are in it: opened as a page it can do nothing at all
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
}

TIME_ZONE = Parameter("time_zone", summary="a name in the IANA time zone database, such as Europe/Zurich", default="UTC")
SINCE = Parameter("since", summary="a date in the time zone, or an instant")
UNTIL = Parameter("until", summary="a date in the time zone, which is included, or an instant, which is not")
CAMPAIGN = Parameter("campaign", summary="of this campaign alone")


def formats(*offered: Form) -> Parameter:
    """The parameter that chooses among the forms there are."""
    return Parameter("format", words=offered, summary="instead of an Accept header")


def form_of(call: Call, *offered: Form) -> Form:
    """What is wanted: `format`, else what `Accept` likes best, else the first of those offered. Raises Malformed for an unknown `format`."""
    named = call.query("format")
    if named is not None:
        for form in offered:
            if form == named:
                return form
        raise wrong("format", f"must be {', '.join(offered[:-1])} or {offered[-1]}")
    liked = _liked(call.headers.get("accept", ""))
    return max(offered, key=lambda form: _weight(liked, MEDIA[form]))


def _liked(accept: str) -> dict[str, float]:
    """The media ranges of an `Accept` header and their weights (RFC 9110, section 12.5.1)."""
    found: dict[str, float] = {}
    for entry in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in entry.split(";"))
        weights = [value.strip() for name, _, value in (part.partition("=") for part in parameters) if name.strip() == "q"]
        found[kind] = 1.0 if not weights else float(weights[0]) if _WEIGHT.fullmatch(weights[0]) else 0.0
    return found


def _weight(liked: dict[str, float], media: str) -> float:
    return next((liked[name] for name in (media, f"{media.partition('/')[0]}/*", "*/*") if name in liked), 0.0)


def csv(name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Reply:
    """A file to be saved under this name: a heading, then a line for each row; streamed."""
    headers = {"content-type": "text/csv; charset=utf-8", "content-disposition": f'attachment; filename="{name}.csv"', "vary": "Accept"}
    return Reply(200, _lines(columns, rows), headers)


async def _lines(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> AsyncIterator[bytes]:
    yield sheet.line(columns).encode()
    rest = iter(rows)
    while some := list(islice(rest, LINES_AT_ONCE)):
        yield "".join([sheet.line([cell(value) for value in row]) for row in some]).encode()


def cell(value: object) -> str:
    """A value as a cell: nothing is an empty one, text cannot be run as a formula."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.6f}"
        case str():
            return sheet.neutral(value)
        case _:
            return str(value)


def svg(text: str) -> Reply:
    """A picture."""
    return Reply(200, text.encode(), _SVG_HEADERS)


def interval_of(call: Call) -> Interval:
    """`hour` or `day`. Raises Malformed."""
    match call.query("interval"):
        case "hour":
            return "hour"
        case "day" | None:
            return "day"
        case _:
            raise wrong("interval", "must be hour or day")


def usual_range(since: str | None, until: str | None, zone_name: str | None, interval: Interval, now: int) -> Range:
    """The range of a series: until now unless said, and from a month (or, by the hour, two days) before. Raises Malformed."""
    zone = calendar.zone_of(zone_name)
    last = calendar.end(until, zone, "until") if until else now
    return calendar.ordered(calendar.begin(since, zone, "since") if since else last - _USUAL[interval], last)


def range_of(since: str | None, until: str | None, zone_name: str | None) -> Range:
    """The range of a report by the hour of sending, in whole hours; without end where nothing is said. Raises Malformed."""
    zone = calendar.zone_of(zone_name)
    first = calendar.begin(since, zone, "since") if since else groups.EVER.since
    last = calendar.end(until, zone, "until") if until else groups.EVER.until
    return groups.widened(calendar.ordered(first, last))


def campaign_named(text: str | None) -> int | None:
    """The campaign of this id; None for no text. Raises NotFound."""
    if text is None:
        return None
    found = ids.parse("campaign", text)
    if found is None:
        raise NotFound("Campaign not found")
    return found


def message_named(text: str | None) -> int | None:
    """The message of this number; None for no text. Raises NotFound."""
    if text is None:
        return None
    found = ids.parse_int(text)
    if found is None:
        raise NotFound("Message not found")
    return found


def compared(text: str, least: int, most: int) -> list[int]:
    """Several campaigns' ids with commas between them. Raises Malformed, and NotFound for what is none."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not least <= len(names) <= most:
        raise wrong("campaigns", f"must name {least} to {most} campaigns, with commas between them")
    found = [campaign_id for name in names if (campaign_id := campaign_named(name)) is not None]
    if len(set(found)) < len(found):
        raise wrong("campaigns", "must not name a campaign twice")
    return found
