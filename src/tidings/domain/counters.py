"""Exact counts, written in the transaction of what they count and spread over slots so that workers do not wait for each other."""

from collections.abc import Iterable, Sequence
from operator import add
from typing import LiteralString, NamedTuple

import msgspec

from tidings import clock
from tidings.database import Tx
from tidings.database.gate import Param

SLOTS = 8
"""Among so many rows each bucket's counts are spread: those of the slots from 1 on, until they are settled."""
SETTLED = 0
"""The slot of counts that are summed up in `days` too, or in `activity_days`."""
EVER = -1
"""The day that stands for all days together."""
QUARTER = clock.HOUR // 4
"""Milliseconds that activity is counted by: on a quarter of an hour (UTC) begin the hours of every time zone there is."""


class Bucket(NamedTuple):
    """What is counted together: 0 and "" stand for none. `hour` is the hour of sending (of acceptance for what was not sent)."""

    tenant_id: int
    hour: int
    channel: str = ""
    type: str = ""
    template_id: int = 0
    campaign_id: int = 0
    message_id: int = 0


class Counts(msgspec.Struct):
    """How much to add to a bucket, or how much it holds. opened/clicked count communications, opens/clicks every time;
    the human_ ones leave out what machines did: of the communications, those with at least one open or click that no machine made.
    """

    accepted: int = 0
    sent: int = 0
    delivered: int = 0
    failed: int = 0
    canceled: int = 0
    opened: int = 0
    clicked: int = 0
    opens: int = 0
    clicks: int = 0
    bounced: int = 0
    complained: int = 0
    unsubscribed: int = 0
    replied: int = 0
    enrolled: int = 0
    completed: int = 0
    human_opened: int = 0
    human_clicked: int = 0
    human_opens: int = 0
    human_clicks: int = 0


COLUMNS: LiteralString = (
    "accepted, sent, delivered, failed, canceled, opened, clicked, opens, clicks, bounced, complained, unsubscribed, replied, enrolled, completed,"
    " human_opened, human_clicked, human_opens, human_clicks"
)
_SUMS: LiteralString = (
    "CAST(COALESCE(SUM(accepted), 0) AS bigint), CAST(COALESCE(SUM(sent), 0) AS bigint), CAST(COALESCE(SUM(delivered), 0) AS bigint),"
    " CAST(COALESCE(SUM(failed), 0) AS bigint), CAST(COALESCE(SUM(canceled), 0) AS bigint), CAST(COALESCE(SUM(opened), 0) AS bigint),"
    " CAST(COALESCE(SUM(clicked), 0) AS bigint), CAST(COALESCE(SUM(opens), 0) AS bigint), CAST(COALESCE(SUM(clicks), 0) AS bigint),"
    " CAST(COALESCE(SUM(bounced), 0) AS bigint), CAST(COALESCE(SUM(complained), 0) AS bigint), CAST(COALESCE(SUM(unsubscribed), 0) AS bigint),"
    " CAST(COALESCE(SUM(replied), 0) AS bigint), CAST(COALESCE(SUM(enrolled), 0) AS bigint), CAST(COALESCE(SUM(completed), 0) AS bigint),"
    " CAST(COALESCE(SUM(human_opened), 0) AS bigint), CAST(COALESCE(SUM(human_clicked), 0) AS bigint),"
    " CAST(COALESCE(SUM(human_opens), 0) AS bigint), CAST(COALESCE(SUM(human_clicks), 0) AS bigint)"
)
_WIDTH = len(Counts.__struct_fields__)


class Moment(NamedTuple):
    """A quarter of an hour in which things of one `kind` happened; 0 for no campaign and no message."""

    tenant_id: int
    quarter: int
    channel: str
    campaign_id: int
    message_id: int
    kind: str


class Link(NamedTuple):
    """A link of a campaign's message: the place in its content, from 0."""

    tenant_id: int
    message_id: int
    content_id: int
    link_index: int


class Times(msgspec.Struct):
    """How often something happened, and how often no machine did it."""

    count: int = 0
    human: int = 0


class Clicks(msgspec.Struct):
    """How often a link was followed, and out of how many communications; both again without what machines did."""

    clicks: int = 0
    clicked: int = 0
    human_clicks: int = 0
    human_clicked: int = 0


class Tally:
    """Collects what a unit counts, to be written at once at its end."""

    def __init__(self) -> None:
        self._buckets: dict[Bucket, Counts] = {}
        self._moments: dict[Moment, Times] = {}
        self._links: dict[Link, Clicks] = {}

    def at(self, bucket: Bucket) -> Counts:
        """The counts to add to for this bucket."""
        found = self._buckets.get(bucket)
        if found is None:
            found = self._buckets[bucket] = Counts()
        return found

    def when(self, moment: Moment) -> Times:
        """The times to add to for what happened in this quarter of an hour."""
        return self._moments.setdefault(moment, Times())

    def link(self, link: Link) -> Clicks:
        """The clicks to add to for this link."""
        return self._links.setdefault(link, Clicks())

    def items(self) -> Iterable[tuple[Bucket, Counts]]:
        """Everything counted by hour of sending, in one order for all workers, so that none waits for another in a circle."""
        return sorted(self._buckets.items(), key=lambda item: item[0])

    def moments(self) -> Iterable[tuple[Moment, Times]]:
        """Everything counted by when it happened, likewise in order."""
        return sorted(self._moments.items(), key=lambda item: item[0])

    def links(self) -> Iterable[tuple[Link, Clicks]]:
        """Every link, likewise in order."""
        return sorted(self._links.items(), key=lambda item: item[0])


def quarter_of(instant: int) -> int:
    """The beginning of the quarter of an hour an instant lies in."""
    return instant - instant % QUARTER


def hour_of(instant: int) -> int:
    """The beginning of the hour an instant lies in."""
    return instant - instant % clock.HOUR


def fold(tx: Tx, tally: Tally) -> None:
    """Adds the tally to the counters: always in this order, for the sake of those who fold at the same time."""
    _fold_buckets(tx, tally)
    _fold_moments(tx, tally)
    _fold_links(tx, tally)


def _fold_moments(tx: Tx, tally: Tally) -> None:
    add_moments(tx, tally.moments(), slot=1 + tx.slot % SLOTS)


def add_moments(tx: Tx, items: Iterable[tuple[Moment, Times]], *, slot: int) -> None:
    """Adds to what is counted by when it happened, in the order given. SETTLED is for who adds the same to `activity_days`."""
    rows = [(*moment, slot, times.count, times.human) for moment, times in items]
    if rows:
        tx.run(
            "INSERT INTO activity (tenant_id, quarter, channel, campaign_id, message_id, kind, slot, count, human)"
            " SELECT tenant_id, quarter, channel, campaign_id, message_id, kind, slot, count, human FROM"
            " :rows(tenant_id bigint, quarter bigint, channel text, campaign_id bigint, message_id bigint, kind text, slot smallint,"
            " count bigint, human bigint) r WHERE true"
            " ON CONFLICT (tenant_id, quarter, channel, campaign_id, message_id, kind, slot) DO UPDATE SET"
            " count = activity.count + excluded.count, human = activity.human + excluded.human",
            rows=rows,
        )


def _fold_links(tx: Tx, tally: Tally) -> None:
    rows = [(*link, tx.slot % SLOTS, *msgspec.structs.astuple(clicks)) for link, clicks in tally.links()]
    if rows:
        tx.run(
            "INSERT INTO link_counters (tenant_id, message_id, content_id, link_index, slot, clicks, clicked, human_clicks, human_clicked)"
            " SELECT tenant_id, message_id, content_id, link_index, slot, clicks, clicked, human_clicks, human_clicked FROM"
            " :rows(tenant_id bigint, message_id bigint, content_id bigint, link_index integer, slot smallint,"
            " clicks bigint, clicked bigint, human_clicks bigint, human_clicked bigint) r WHERE true"
            " ON CONFLICT (tenant_id, message_id, content_id, link_index, slot) DO UPDATE SET"
            " clicks = link_counters.clicks + excluded.clicks, clicked = link_counters.clicked + excluded.clicked,"
            " human_clicks = link_counters.human_clicks + excluded.human_clicks, human_clicked = link_counters.human_clicked + excluded.human_clicked",
            rows=rows,
        )


def _fold_buckets(tx: Tx, tally: Tally) -> None:
    _add(tx, tally.items(), slot=1 + tx.slot % SLOTS)


def _add(tx: Tx, items: Iterable[tuple[Bucket, Counts]], *, slot: int) -> None:
    rows = [(*bucket, slot, *msgspec.structs.astuple(counts)) for bucket, counts in items]
    if not rows:
        return
    tx.run(
        "INSERT INTO counters (tenant_id, hour, channel, type, template_id, campaign_id, message_id, slot, accepted, sent, delivered, failed, canceled,"
        " opened, clicked, opens, clicks, bounced, complained, unsubscribed, replied, enrolled, completed,"
        " human_opened, human_clicked, human_opens, human_clicks)"
        " SELECT tenant_id, hour, channel, type, template_id, campaign_id, message_id, slot, accepted, sent, delivered, failed, canceled,"
        " opened, clicked, opens, clicks, bounced, complained, unsubscribed, replied, enrolled, completed,"
        " human_opened, human_clicked, human_opens, human_clicks FROM"
        " :rows(tenant_id bigint, hour bigint, channel text, type text, template_id bigint, campaign_id bigint, message_id bigint, slot smallint,"
        " accepted bigint, sent bigint, delivered bigint, failed bigint, canceled bigint, opened bigint, clicked bigint, opens bigint, clicks bigint,"
        " bounced bigint, complained bigint, unsubscribed bigint, replied bigint, enrolled bigint, completed bigint,"
        " human_opened bigint, human_clicked bigint, human_opens bigint, human_clicks bigint) r WHERE true"
        " ON CONFLICT (tenant_id, hour, channel, type, template_id, campaign_id, message_id, slot) DO UPDATE SET"
        " accepted = counters.accepted + excluded.accepted, sent = counters.sent + excluded.sent, delivered = counters.delivered + excluded.delivered,"
        " failed = counters.failed + excluded.failed, canceled = counters.canceled + excluded.canceled, opened = counters.opened + excluded.opened,"
        " clicked = counters.clicked + excluded.clicked, opens = counters.opens + excluded.opens, clicks = counters.clicks + excluded.clicks,"
        " bounced = counters.bounced + excluded.bounced, complained = counters.complained + excluded.complained,"
        " unsubscribed = counters.unsubscribed + excluded.unsubscribed, replied = counters.replied + excluded.replied,"
        " enrolled = counters.enrolled + excluded.enrolled, completed = counters.completed + excluded.completed,"
        " human_opened = counters.human_opened + excluded.human_opened, human_clicked = counters.human_clicked + excluded.human_clicked,"
        " human_opens = counters.human_opens + excluded.human_opens, human_clicks = counters.human_clicks + excluded.human_clicks",
        rows=rows,
    )


def settle(tx: Tx, *, before: int, limit: int = 2000) -> bool:
    """Sums up what was counted in hours before this instant (milliseconds), of any tenants; answers whether there may be more of it.

    Of each bucket the slots become one, and every count goes to its day: whoever asks for a year then reads days. Counts that somebody
    is adding to at this moment are left for the next time.
    """
    rows = tx.rows(
        "SELECT tenant_id, hour, channel, type, template_id, campaign_id, message_id, slot, " + COLUMNS + " FROM counters"
        " WHERE tenant_id > 0 AND slot > 0 AND hour < :before ORDER BY tenant_id, hour LIMIT :limit FOR UPDATE SKIP LOCKED",
        before=before,
        limit=limit,
    )
    keys = len(Bucket._fields)
    hours: dict[Bucket, list[int]] = {}
    days: dict[tuple[int | str, ...], list[int]] = {}
    for row in rows:
        bucket = Bucket(*row[:keys])
        day = (bucket.tenant_id, bucket.hour - bucket.hour % clock.DAY, *bucket[2:5], int(not bucket.campaign_id))
        ever = (day[0], EVER, *day[2:])
        for sums in (hours.setdefault(bucket, [0] * _WIDTH), days.setdefault(day, [0] * _WIDTH), days.setdefault(ever, [0] * _WIDTH)):
            sums[:] = map(add, sums, row[keys + 1 :])
    tx.run(
        "DELETE FROM counters WHERE (tenant_id, hour, channel, type, template_id, campaign_id, message_id, slot) IN"
        " (SELECT r.tenant_id, r.hour, r.channel, r.type, r.template_id, r.campaign_id, r.message_id, r.slot FROM :rows(tenant_id bigint, hour bigint,"
        " channel text, type text, template_id bigint, campaign_id bigint, message_id bigint, slot smallint) r)",
        rows=[row[: keys + 1] for row in rows],
    )
    _add(tx, ((bucket, Counts(*sums)) for bucket, sums in sorted(hours.items())), slot=SETTLED)
    _add_days(tx, [(*day, *sums) for day, sums in sorted(days.items())])
    return len(rows) == limit


def _add_days(tx: Tx, rows: list[tuple[int | str, ...]]) -> None:
    if rows:
        tx.run(
            "INSERT INTO days (tenant_id, day, channel, type, template_id, manual, " + COLUMNS + ")"
            " SELECT tenant_id, day, channel, type, template_id, manual, " + COLUMNS + " FROM"
            " :rows(tenant_id bigint, day bigint, channel text, type text, template_id bigint, manual smallint,"
            " accepted bigint, sent bigint, delivered bigint, failed bigint, canceled bigint, opened bigint, clicked bigint, opens bigint, clicks bigint,"
            " bounced bigint, complained bigint, unsubscribed bigint, replied bigint, enrolled bigint, completed bigint,"
            " human_opened bigint, human_clicked bigint, human_opens bigint, human_clicks bigint) r WHERE true"
            " ON CONFLICT (tenant_id, day, channel, type, template_id, manual) DO UPDATE SET"
            " accepted = days.accepted + excluded.accepted, sent = days.sent + excluded.sent, delivered = days.delivered + excluded.delivered,"
            " failed = days.failed + excluded.failed, canceled = days.canceled + excluded.canceled, opened = days.opened + excluded.opened,"
            " clicked = days.clicked + excluded.clicked, opens = days.opens + excluded.opens, clicks = days.clicks + excluded.clicks,"
            " bounced = days.bounced + excluded.bounced, complained = days.complained + excluded.complained,"
            " unsubscribed = days.unsubscribed + excluded.unsubscribed, replied = days.replied + excluded.replied,"
            " enrolled = days.enrolled + excluded.enrolled, completed = days.completed + excluded.completed,"
            " human_opened = days.human_opened + excluded.human_opened, human_clicked = days.human_clicked + excluded.human_clicked,"
            " human_opens = days.human_opens + excluded.human_opens, human_clicks = days.human_clicks + excluded.human_clicks",
            rows=rows,
        )


def totals(
    tx: Tx,
    tenant_id: int,
    *,
    channel: str | None = None,
    manual: bool | None = None,
    campaign_id: int | None = None,
    types: Sequence[str] | None = None,
    template_ids: Sequence[int] | None = None,
) -> Counts:
    """The tenant's counts over all time; `manual` tells instant messages from campaign traffic, 0 of `template_ids` is none.

    They are read from the sum of all days, and from the hours that are not settled yet; a campaign's from its own hours.
    """
    params: dict[str, Param] = {"tenant_id": tenant_id}
    where: LiteralString = " WHERE tenant_id = :tenant_id"
    if types is not None:
        where += " AND type IN :types[text]"
        params["types"] = list(types)
    if template_ids is not None:
        where += " AND template_id IN :template_ids[bigint]"
        params["template_ids"] = list(template_ids)
    if channel is not None:
        where += " AND channel = :channel"
        params["channel"] = channel
    if campaign_id is not None:
        params["campaign_id"] = campaign_id
        # said for the sake of the index, which has nobody else's
        sql = "SELECT " + _SUMS + " FROM counters" + where + " AND campaign_id = :campaign_id AND campaign_id > 0"
        if manual is not None:
            sql += " AND campaign_id = 0" if manual else " AND campaign_id > 0"
    else:
        of_days, of_hours = where, where
        if manual is not None:
            of_days += " AND manual = 1" if manual else " AND manual = 0"
            of_hours += " AND campaign_id = 0" if manual else " AND campaign_id > 0"
        days: LiteralString = "SELECT " + COLUMNS + " FROM days" + of_days + " AND day = -1"
        sql = "SELECT " + _SUMS + " FROM (" + days + " UNION ALL SELECT " + COLUMNS + " FROM counters" + of_hours + " AND slot > 0) c"
    row = tx.row(sql, **params)
    assert row is not None
    return Counts(**dict(zip(Counts.__struct_fields__, row, strict=True)))
