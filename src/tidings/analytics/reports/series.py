"""When things happened: how many of each kind in every hour or day of a range, as a time zone has them."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final, LiteralString, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from tidings.analytics.reports import calendar
from tidings.analytics.reports.calendar import Interval, Range, Segment, Slice
from tidings.clock import DAY
from tidings.database import Tx
from tidings.domain import activity, campaigns
from tidings.errors import NotFound

QUARTER = 900_000
"""Milliseconds: what happened is counted by the quarter of an hour, on which the hours of every time zone begin."""

KINDS: Final[dict[str, str]] = {
    "sent": "sent",
    "delivered": "delivered",
    "opened": "opens",
    "clicked": "clicks",
    "replied": "replied",
    "bounced": "bounced",
    "complained": "complained",
    "unsubscribed": "unsubscribed",
    "resubscribed": "resubscribed",
    "failed": "failed",
    "canceled": "canceled",
}
"""Kind of interaction → its figure."""
_HUMAN: Final[dict[str, str]] = {"opened": "human_opens", "clicked": "human_clicks"}

_HAPPENED: LiteralString = (
    "SELECT s.r_part, (a.quarter + s.r_offset) / :length, a.kind, CAST(SUM(a.count) AS bigint), CAST(SUM(a.human) AS bigint), '', ''"
    + " FROM :parts(r_part bigint, r_since bigint, r_until bigint, r_offset bigint) s JOIN activity a"
    " ON a.tenant_id = :tenant_id AND a.quarter >= s.r_since AND a.quarter < s.r_until"
)
# of a whole tenant: what is settled by day, and what is not settled yet; one statement, for what is being settled moves from one to the other
# days that are not taken apart need no quarters
_WHOLE_DAYS: LiteralString = (
    "SELECT -1, d.day, d.kind, d.count, d.human, '', '' FROM activity_days d"
    " WHERE d.tenant_id = :tenant_id AND d.day >= :first AND d.day < :last"
)
_DAYS: LiteralString = (
    "SELECT -1, d.day, d.kind, d.count, d.human, d.counts, d.humans FROM activity_days d"
    " WHERE d.tenant_id = :tenant_id AND d.day >= :first AND d.day < :last"
)
_GROUPED: LiteralString = " GROUP BY s.r_part, (a.quarter + s.r_offset) / :length, a.kind"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which interactions: all that is given must hold."""

    campaign_id: int | None = None
    message_id: int | None = None
    channel: str | None = None


class Cut(NamedTuple):
    """The quarters of a day, from `begin` on and before `end`, that belong to the row at `place`."""

    place: int
    begin: int
    end: int


class Moment(msgspec.Struct):
    """What happened in one interval: every time it did, the human_ ones without what machines did."""

    sent: int = 0
    delivered: int = 0
    opens: int = 0
    clicks: int = 0
    replied: int = 0
    bounced: int = 0
    complained: int = 0
    unsubscribed: int = 0
    resubscribed: int = 0
    failed: int = 0
    canceled: int = 0
    human_opens: int = 0
    human_clicks: int = 0


def series(
    tx: Tx, tenant_id: int, asked: Asked, *, within: Range, zone: ZoneInfo, interval: Interval
) -> tuple[list[tuple[Slice, Moment]], Moment]:
    """Every interval that the range touches, whole and in order, those in which nothing happened too; and all of it together.

    Raises Malformed when they are too many, NotFound for an unknown campaign, or message (of it).
    """
    asked = _located(tx, tenant_id, asked)
    rows = calendar.slices(within, zone, interval)
    parts = calendar.segments(Range(rows[0].since, rows[-1].until), zone) if rows else []
    found = [(row, Moment()) for row in rows]
    total = Moment()
    for place, kind, count, human in _happened(tx, tenant_id, asked, rows, parts, interval):
        if kind not in KINDS:
            continue
        for moment in (found[place][1], total):
            _add(moment, KINDS[kind], count)
            if kind in _HUMAN:
                _add(moment, _HUMAN[kind], human)
    return found, total


def _located(tx: Tx, tenant_id: int, asked: Asked) -> Asked:
    """The same with the campaign of the message, by which its rows are found."""
    if asked.campaign_id is not None:
        campaigns.get(tx, tenant_id, asked.campaign_id)
    if asked.message_id is None:
        return asked
    found = tx.value("SELECT campaign_id FROM messages WHERE tenant_id = :tenant_id AND id = :id", tenant_id=tenant_id, id=asked.message_id)
    if found is None or asked.campaign_id not in (None, found):
        raise NotFound("Message not found")
    return msgspec.structs.replace(asked, campaign_id=found)


def _add(moment: Moment, name: str, count: int) -> None:
    setattr(moment, name, getattr(moment, name) + count)


def _places(rows: list[Slice], parts: list[Segment], interval: Interval) -> dict[tuple[int, int], int]:
    """Which row the hours, or days, of each part of the range belong to."""
    if interval == "day":
        return {(part, row.number): place for place, row in enumerate(rows) for part in range(len(parts))}
    # neighbouring parts differ in their offsets, but one further on may have the same
    return {
        (part, row.number): place
        for place, row in enumerate(rows)
        for part, segment in enumerate(parts)
        if segment.offset == row.offset and segment.since <= row.since < segment.until
    }


def _happened(
    tx: Tx, tenant_id: int, asked: Asked, rows: list[Slice], parts: list[Segment], interval: Interval
) -> Iterator[tuple[int, str, int, int]]:
    """(place among the rows, kind, how often, how often by people), any number of times for each."""
    sql: LiteralString = _HAPPENED
    params: dict[str, int | str] = {}
    cuts: dict[int, list[Cut]] = {}
    if asked.campaign_id is not None:
        # the second half is what the index speaks of
        sql += " AND a.campaign_id = :campaign_id AND a.campaign_id > 0"
        params["campaign_id"] = asked.campaign_id
    if asked.message_id is not None:
        sql += " AND a.message_id = :message_id"
        params["message_id"] = asked.message_id
    if asked.channel is not None:
        sql += " AND a.channel = :channel"
        params["channel"] = asked.channel
    if asked.campaign_id is None:
        cuts = _cuts(rows)
        days: LiteralString = _WHOLE_DAYS if all(map(_whole, cuts.values())) else _DAYS
        if asked.channel is not None:
            days += " AND d.channel = :channel"
        sql = days + " UNION ALL " + sql + " AND a.slot > 0"
        params |= {"first": min(cuts, default=0), "last": max(cuts, default=0) + DAY}
    places = _places(rows, parts, interval)
    # clocks that are changed in the middle of a quarter (St. John's did so, a minute past midnight) are changed for us at its end
    cut = [(place, _ceiling(part.since), _ceiling(part.until), part.offset) for place, part in enumerate(parts)]
    for part, number, kind, count, human, *quarters in tx.rows(
        sql + _GROUPED, tenant_id=tenant_id, length=calendar.LENGTHS[interval], parts=cut, **params
    ):
        if part < 0:
            yield from _taken_apart(cuts.get(number, []), kind, (count, human), quarters)
        elif (part, number) in places:
            yield places[part, number], kind, count, human


def _taken_apart(cuts: list[Cut], kind: str, whole: tuple[int, int], quarters: list[str]) -> Iterator[tuple[int, str, int, int]]:
    """What happened on one day, for each of the rows that has a part of it."""
    if _whole(cuts):
        yield cuts[0].place, kind, *whole
        return
    counts = activity.numbers(quarters[0])
    humans = activity.numbers(quarters[1]) if kind in _HUMAN else counts
    for place, begin, end in cuts:
        yield place, kind, sum(counts[begin:end]), sum(humans[begin:end]) if kind in _HUMAN else 0


def _whole(cuts: list[Cut]) -> bool:
    return len(cuts) == 1 and cuts[0][1:] == (0, activity.QUARTERS)


def _cuts(rows: list[Slice]) -> dict[int, list[Cut]]:
    """Of each day (UTC) which quarters of it belong to which row."""
    found: defaultdict[int, list[Cut]] = defaultdict(list)
    for place, row in enumerate(rows):
        since, until = _ceiling(row.since), _ceiling(row.until)
        for day in range(since - since % DAY, until, DAY):
            found[day].append(Cut(place, max(since - day, 0) // QUARTER, min(until - day, DAY) // QUARTER))
    return found


def _ceiling(at: int) -> int:
    return -(-at // QUARTER) * QUARTER
