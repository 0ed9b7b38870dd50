"""Settling what is counted by when it happened: of quarters of an hour that are over one row each is left, and a whole tenant's go to its days.

Whoever asks for a tenant's year then reads a row for each day, channel and kind instead of every campaign's quarters; a row has the day's
quarters in it, so that it serves the days and hours of any time zone.
"""

from collections import defaultdict
from operator import add
from typing import Final

import msgspec

from tidings.clock import DAY
from tidings.database import Tx
from tidings.domain.counters import QUARTER, SETTLED, Moment, Times, add_moments

QUARTERS: Final = DAY // QUARTER
"""How many there are in a day."""

_NUMBERS: Final = msgspec.json.Decoder(list[int])
_Key = tuple[int, int, str, str]


class Day(msgspec.Struct):
    """How often something happened in each quarter of a day, and how often no machine did it."""

    counts: list[int]
    humans: list[int]


def numbers(text: str) -> list[int]:
    """The quarters of a day as `activity_days` has them; "" is none of them."""
    return _NUMBERS.decode(text) if text else [0] * QUARTERS


def settle(tx: Tx, *, before: int, limit: int = 2000) -> bool:
    """Sums up what happened before this instant (milliseconds), of any tenants; answers whether there may be more of it.

    Counts that somebody is adding to at this moment are left for the next time.
    """
    rows = tx.rows(
        "SELECT tenant_id, quarter, channel, campaign_id, message_id, kind, slot, count, human FROM activity"
        " WHERE tenant_id > 0 AND slot > 0 AND quarter < :before ORDER BY tenant_id, quarter LIMIT :limit FOR UPDATE SKIP LOCKED",
        before=before,
        limit=limit,
    )
    if not rows:
        return False
    keys = len(Moment._fields)
    moments: defaultdict[Moment, Times] = defaultdict(Times)
    days: defaultdict[_Key, Day] = defaultdict(lambda: Day(numbers(""), numbers("")))
    for row in rows:
        moment, (count, human) = Moment(*row[:keys]), row[keys + 1 :]
        times = moments[moment]
        times.count += count
        times.human += human
        at = moment.quarter % DAY
        day = days[moment.tenant_id, moment.quarter - at, moment.channel, moment.kind]
        day.counts[at // QUARTER] += count
        day.humans[at // QUARTER] += human
    tx.run(
        "DELETE FROM activity WHERE (tenant_id, quarter, channel, campaign_id, message_id, kind, slot) IN"
        " (SELECT r.tenant_id, r.quarter, r.channel, r.campaign_id, r.message_id, r.kind, r.slot FROM :rows(tenant_id bigint, quarter bigint,"
        " channel text, campaign_id bigint, message_id bigint, kind text, slot smallint) r)",
        rows=[row[: keys + 1] for row in rows],
    )
    add_moments(tx, sorted(moments.items(), key=lambda item: item[0]), slot=SETTLED)
    _add_days(tx, days)
    return len(rows) == limit


def _add_days(tx: Tx, days: dict[_Key, Day]) -> None:
    """Adds to rows that are there and locked, in one order for all: what another has added meanwhile is read before."""
    keys = sorted(days)
    tx.run(
        "INSERT INTO activity_days (tenant_id, day, channel, kind) SELECT tenant_id, day, channel, kind FROM"
        " :rows(tenant_id bigint, day bigint, channel text, kind text) r WHERE true ON CONFLICT (tenant_id, day, channel, kind) DO NOTHING",
        rows=keys,
    )
    known = tx.rows(
        "SELECT d.tenant_id, d.day, d.channel, d.kind, d.counts, d.humans FROM activity_days d"
        " JOIN :rows(tenant_id bigint, day bigint, channel text, kind text) r ON d.tenant_id = r.tenant_id AND d.day = r.day"
        " WHERE d.channel = r.channel AND d.kind = r.kind ORDER BY d.tenant_id, d.day, d.channel, d.kind FOR UPDATE OF d",
        rows=keys,
    )
    sums: list[tuple[int | str, ...]] = []
    for *key, counts, humans in known:
        more = days[tuple(key)]
        both = [list(map(add, numbers(text), added)) for text, added in ((counts, more.counts), (humans, more.humans))]
        sums.append((*key, *map(sum, both), *(msgspec.json.encode(each).decode() for each in both)))
    tx.run(
        "UPDATE activity_days SET count = r.count, human = r.human, counts = r.counts, humans = r.humans FROM"
        " :rows(tenant_id bigint, day bigint, channel text, kind text, count bigint, human bigint, counts text, humans text) r"
        " WHERE activity_days.tenant_id = r.tenant_id AND activity_days.day = r.day AND activity_days.channel = r.channel"
        " AND activity_days.kind = r.kind",
        rows=sums,
    )
