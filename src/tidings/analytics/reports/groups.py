"""What was sent within a range of time, by what it has in common: its template, or its type. By domain is in `domains`.

Ranges are of whole hours (UTC), by which the counters count: one that is not is widened to them.
"""

from typing import Any, Final, LiteralString

import msgspec

from tidings.analytics import figures
from tidings.analytics.reports.calendar import Range
from tidings.analytics.reports.funnel import SUMS, named
from tidings.clock import HOUR
from tidings.database import Tx
from tidings.domain import campaigns
from tidings.domain.counters import COLUMNS, Counts

EVER: Final = Range(0, 1 << 60)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which communications: by the hour of sending, of acceptance for what was not sent; of one campaign, or of all and none."""

    within: Range = EVER
    campaign_id: int | None = None


class Template(msgspec.Struct, frozen=True):
    """A template, an archived one too; id 0 stands for all that was made from none."""

    id: int
    name: str
    counts: Counts


class Type(msgspec.Struct, frozen=True):
    """What is of one type and channel."""

    type: str
    channel: str
    counts: Counts


def widened(within: Range) -> Range:
    """The whole hours that a range touches."""
    return Range(within.since // HOUR * HOUR, -(-within.until // HOUR) * HOUR)


def by_template(tx: Tx, tenant_id: int, asked: Asked) -> list[Template]:
    """Most sent first. Raises NotFound for an unknown campaign."""
    rows = _counted(tx, tenant_id, asked, "SELECT template_id, ", " GROUP BY template_id")
    names: dict[int, str] = dict(
        tx.rows(
            "SELECT id, name FROM templates WHERE tenant_id = :tenant_id AND id IN :ids[bigint]",
            tenant_id=tenant_id,
            ids=[row[0] for row in rows],
        )
    )
    found = [Template(row[0], names.get(row[0], ""), Counts(**named(row[1:]))) for row in rows]
    return sorted((each for each in found if any(msgspec.structs.astuple(each.counts))), key=lambda each: (-each.counts.sent, each.id))


def by_type(tx: Tx, tenant_id: int, asked: Asked) -> list[Type]:
    """Most sent first. Raises NotFound for an unknown campaign."""
    rows = _counted(tx, tenant_id, asked, "SELECT type, channel, ", " GROUP BY type, channel")
    found = [Type(row[0], row[1], Counts(**named(row[2:]))) for row in rows]
    return sorted(
        (each for each in found if any(msgspec.structs.astuple(each.counts))), key=lambda each: (-each.counts.sent, each.type, each.channel)
    )


def _counted(tx: Tx, tenant_id: int, asked: Asked, head: LiteralString, tail: LiteralString) -> list[tuple[Any, ...]]:
    """A campaign's from its hours; all there are from days, as far as the range has whole ones."""
    # enrollments are counted without a channel: they are no communications
    kept: LiteralString = " WHERE tenant_id = :tenant_id AND channel <> ''"
    if asked.campaign_id is not None:
        campaigns.get(tx, tenant_id, asked.campaign_id)
        return tx.rows(
            head + SUMS + " FROM counters" + kept + " AND hour >= :since AND hour < :until"
            # the second half is what the index speaks of
            " AND campaign_id = :campaign_id AND campaign_id > 0" + tail,
            tenant_id=tenant_id,
            since=asked.within.since,
            until=asked.within.until,
            campaign_id=asked.campaign_id,
        )
    columns: LiteralString = "SELECT type, channel, template_id, " + COLUMNS
    hours: LiteralString = columns + " FROM counters" + kept
    ever = asked.within.since <= EVER.since and asked.within.until >= EVER.until
    days: LiteralString = " AND day = -1" if ever else " AND day >= :morning AND day < :night"
    # one statement: what is being settled moves from the hours to the days
    sql = (
        columns
        + " FROM days"
        + kept
        + days
        + " UNION ALL "
        + hours
        + " AND slot > 0 AND hour >= :morning AND hour < :night"
        + " UNION ALL "
        + hours
        + " AND hour >= :since AND hour < :morning"
        + " UNION ALL "
        + hours
        + " AND hour >= :night AND hour < :until"
    )
    within = figures.span(asked.within.since, asked.within.until)
    return tx.rows(
        head + SUMS + " FROM (" + sql + ") c" + tail,
        tenant_id=tenant_id,
        since=within.whole,
        morning=within.morning,
        night=within.night,
        until=within.rest,
    )
