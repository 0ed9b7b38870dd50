"""Hours and days as people of a time zone have them: where each begins and ends, also when the clocks are changed. Pure.

A day of the change has 23 or 25 hours (in Lord Howe half an hour more or less). An hour that comes twice is two intervals, told apart by
their offsets; one that is left out is none.
"""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from tidings.clock import DAY, HOUR, SECOND
from tidings.errors import Malformed

Interval = Literal["hour", "day"]

LENGTHS: dict[Interval, int] = {"hour": HOUR, "day": DAY}
MOST: dict[Interval, int] = {"hour": 1000, "day": 1100}
"""How many intervals one report may have: six weeks of hours, three years of days."""
FIRST_YEAR, LAST_YEAR = 2000, 2100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
# RFC 3339, section 5.6; the offset may be missing, and the + of one that was not escaped in a URL arrives as a space
_DATE_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)(?:([Zz])|([+ -])(\d{2}:?\d{2}))?", re.ASCII)


class Range(msgspec.Struct, frozen=True):
    """Milliseconds from `since` on and before `until`."""

    since: int
    until: int


class Segment(msgspec.Struct, frozen=True):
    """A time in which a zone keeps one offset: all in milliseconds, the offset to be added to UTC."""

    since: int
    until: int
    offset: int


class Slice(msgspec.Struct, frozen=True):
    """One interval: `number` counts local hours, or days, since 1970; `offset` and `offset_until` hold at its ends."""

    number: int
    since: int
    until: int
    offset: int
    offset_until: int


def zone_of(name: str | None) -> ZoneInfo:
    """The zone of this name in the IANA time zone database; UTC for none. Raises Malformed."""
    if not name:
        return ZoneInfo("UTC")
    if name not in _names():
        raise wrong("time_zone", f"is not a name in the IANA time zone database, such as Europe/Zurich: {name[:60]!a}")
    return ZoneInfo(name)


@cache
def _names() -> frozenset[str]:
    return frozenset(available_timezones())


def wrong(name: str, complaint: str) -> Malformed:
    """What is wrong with a parameter, as the error to raise."""
    return Malformed(f"{name} {complaint}", {name: [complaint]})


def begin(text: str, zone: ZoneInfo, name: str) -> int:
    """The instant that a text means: a date's beginning in the zone, or a date-time (in the zone, unless it has an offset). Raises Malformed."""
    return _instant(text, zone, name, whole_day=False)


def end(text: str, zone: ZoneInfo, name: str) -> int:
    """The same for the end of a range, which is left out of it: of a date it is the end of that day. Raises Malformed."""
    return _instant(text, zone, name, whole_day=True)


def _instant(text: str, zone: ZoneInfo, name: str, *, whole_day: bool) -> int:
    text = text.strip()
    try:
        if _DATE.fullmatch(text):
            day = date.fromisoformat(text)
            _check_year(day.year, name)
            return midnight(day.toordinal() - _EPOCH.toordinal() + whole_day, zone)
        match = _DATE_TIME.fullmatch(text)
        if match is None:
            raise wrong(name, "must be a date such as 2026-03-29, or an instant such as 2026-03-29T12:00:00Z")
        on, at, utc, sign, offset = match.groups()
        behind = "+00:00" if utc else f"{'-' if sign == '-' else '+'}{offset}" if offset else ""
        moment = datetime.fromisoformat(f"{on}T{at}{behind}")
    except ValueError as error:
        raise wrong(name, "is not in the calendar") from error
    _check_year(moment.year, name)
    return _milliseconds(moment if moment.tzinfo else moment.replace(tzinfo=zone))


def _check_year(year: int, name: str) -> None:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise wrong(name, f"must be in the years {FIRST_YEAR} to {LAST_YEAR}")


def midnight(day: int, zone: ZoneInfo) -> int:
    """When a day (counted since 1970) begins in the zone; where midnight itself is left out, when the clocks are put forward over it."""
    # of what is left out, Python reckons with the offset before the change: that is the instant of the change
    return _milliseconds((_EPOCH + timedelta(days=day)).replace(tzinfo=zone))


def _milliseconds(at: datetime) -> int:
    return (at.astimezone(UTC) - _EPOCH) // _MILLISECOND


def ordered(since: int, until: int) -> Range:
    """The two as a range. Raises Malformed where there is nothing between them."""
    if since >= until:
        raise wrong("until", "must come after since")
    return Range(since, until)


def slices(asked: Range, zone: ZoneInfo, interval: Interval) -> list[Slice]:
    """Every interval that a range touches, whole, in order. Raises Malformed when they are too many."""
    length, most = LENGTHS[interval], MOST[interval]
    count = -(-(asked.until - asked.since) // length)
    found: list[Slice] = []
    if count <= most + 1:
        around = Range(asked.since - 2 * DAY, asked.until + 2 * DAY)
        found = [slice_ for slice_ in _cut(segments(around, zone), interval) if slice_.since < asked.until and slice_.until > asked.since]
    if count > most + 1 or len(found) > most:
        advice = "narrow the range" if interval == "day" else "narrow the range, or ask for it by day"
        raise wrong("until", f"is {max(count, len(found)):,} {interval}s after since, and a report has at most {most:,}: {advice}")
    return found


def segments(within: Range, zone: ZoneInfo) -> list[Segment]:
    """The range cut where the zone's offset changes."""
    found: list[Segment] = []
    since, offset = within.since, offset_at(within.since, zone)
    at = since
    while at < within.until:
        further = min(at + DAY, within.until)
        if offset_at(further, zone) != offset:
            at = _change(at, further, offset, zone)
            found.append(Segment(since, at, offset))
            since, offset = at, offset_at(at, zone)
        else:
            at = further
    if since < within.until:
        found.append(Segment(since, within.until, offset))
    return found


def _change(before: int, after: int, offset: int, zone: ZoneInfo) -> int:
    """The first whole second between two instants at which the offset is another one."""
    low, high = before // SECOND, -(-after // SECOND)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset_at(middle * SECOND, zone) == offset else (low, middle)
    return high * SECOND


def offset_at(at: int, zone: ZoneInfo) -> int:
    """How far ahead of UTC the clocks of a zone are at an instant, in milliseconds."""
    ahead = (_EPOCH + timedelta(milliseconds=at)).astimezone(zone).utcoffset()
    return 0 if ahead is None else ahead // _MILLISECOND


def _cut(parts: list[Segment], interval: Interval) -> list[Slice]:
    length = LENGTHS[interval]
    found: dict[tuple[int, int], Slice] = {}
    for part in parts:
        for number in range((part.since + part.offset) // length, (part.until - 1 + part.offset) // length + 1):
            since = max(part.since, number * length - part.offset)
            until = min(part.until, (number + 1) * length - part.offset)
            # a day goes on after the clocks were changed; an hour does not
            key = (number, 0 if interval == "day" else part.offset)
            known = found.get(key)
            if known is None:
                found[key] = Slice(number, since, until, part.offset, part.offset)
            else:
                found[key] = msgspec.structs.replace(known, until=until, offset_until=part.offset)
    return sorted(found.values(), key=lambda slice_: slice_.since)


def spelled(at: int, offset: int) -> str:
    """An instant as the clocks of a zone show it, in whole seconds: `2026-03-29T03:00:00+02:00`."""
    return datetime.fromtimestamp(at // SECOND, timezone(timedelta(milliseconds=offset))).isoformat()


def day_of(number: int) -> str:
    """A day counted since 1970 as `2026-03-29`."""
    return (_EPOCH + timedelta(days=number)).strftime("%Y-%m-%d")
