"""The counters of a tenant, and the same counted anew from its rows: they must never differ."""

from collections import defaultdict
from typing import Any, LiteralString

import msgspec

from tidings.database import Tx
from tidings.domain import activity, events
from tidings.domain.counters import QUARTER, Counts, hour_of, quarter_of

Buckets = dict[tuple[int | str, ...], dict[str, int]]
Happened = dict[tuple[int | str, ...], tuple[int, int]]
Links = dict[tuple[int, ...], tuple[int, ...]]
COUNTED = [name for name in Counts.__struct_fields__ if name not in {"enrolled", "completed"}]


_ALL: LiteralString = (
    "accepted, sent, delivered, failed, canceled, opened, clicked, opens, clicks, bounced, complained, unsubscribed, replied, enrolled, completed,"
    " human_opened, human_clicked, human_opens, human_clicks"
)


def counted(tx: Tx, tenant_id: int) -> Buckets:
    """What the counters say, without what has come to nothing."""
    rows = tx.rows(
        "SELECT hour, channel, type, template_id, campaign_id, message_id, accepted, sent, delivered, failed, canceled, opened, clicked, opens, clicks,"
        " bounced, complained, unsubscribed, replied, human_opened, human_clicked, human_opens, human_clicks"
        " FROM counters WHERE tenant_id = :tenant_id AND channel <> ''",
        tenant_id=tenant_id,
    )
    found: defaultdict[tuple[int | str, ...], dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTED, 0))
    for row in rows:
        for name, value in zip(COUNTED, row[6:], strict=True):
            found[row[:6]][name] += value
    return _something(found)


def recounted(tx: Tx, tenant_id: int) -> Buckets:
    """What the communications and what happened to them say."""
    kinds: defaultdict[tuple[int, str], int] = defaultdict(int)
    for communication_id, kind, bot in tx.rows("SELECT communication_id, kind, bot FROM interactions WHERE tenant_id = :t", t=tenant_id):
        kinds[communication_id, kind] += 1
        kinds[communication_id, f"human {kind}"] += not bot
    found: defaultdict[tuple[int | str, ...], dict[str, int]] = defaultdict(lambda: dict.fromkeys(COUNTED, 0))
    for row in tx.rows(
        "SELECT id, channel, type, COALESCE(template_id, 0), COALESCE(campaign_id, 0), COALESCE(message_id, 0), created_at, sent_at, delivered_at, state,"
        " open_count, click_count FROM communications WHERE tenant_id = :t",
        t=tenant_id,
    ):
        communication_id, key, (created_at, sent_at, delivered_at, state, opens, clicks) = row[0], row[1:6], row[6:]
        found[hour_of(created_at), *key]["accepted"] += 1
        more = Counts(
            sent=int(sent_at is not None),
            delivered=int(delivered_at is not None),
            failed=int(state in {"failed", "suppressed"}),
            canceled=int(state == "canceled"),
            bounced=int(state == "bounced"),
            opened=int(opens > 0),
            opens=opens,
            clicked=int(clicks > 0),
            clicks=clicks,
            complained=kinds[communication_id, "complained"],
            unsubscribed=kinds[communication_id, "unsubscribed"],
            replied=kinds[communication_id, "replied"],
            human_opened=int(kinds[communication_id, "human opened"] > 0),
            human_opens=kinds[communication_id, "human opened"],
            human_clicked=int(kinds[communication_id, "human clicked"] > 0),
            human_clicks=kinds[communication_id, "human clicked"],
        )
        hour = found[hour_of(sent_at or created_at), *key]
        for name in COUNTED[1:]:
            hour[name] += msgspec.structs.asdict(more)[name]
    return _something(found)


def happened(tx: Tx, tenant_id: int) -> Happened:
    """What is counted by when it happened: (how often, how often by people) of each kind in each quarter of an hour."""
    return {
        tuple(row[:5]): (row[5], row[6])
        for row in tx.rows(
            "SELECT quarter, channel, campaign_id, message_id, kind, CAST(SUM(count) AS bigint), CAST(SUM(human) AS bigint) FROM activity"
            " WHERE tenant_id = :t GROUP BY quarter, channel, campaign_id, message_id, kind HAVING SUM(count) <> 0 OR SUM(human) <> 0",
            t=tenant_id,
        )
    }


def happened_again(tx: Tx, tenant_id: int) -> Happened:
    """The same from the interactions themselves."""
    found: defaultdict[tuple[int | str, ...], list[int]] = defaultdict(lambda: [0, 0])
    for at, channel, campaign_id, message_id, kind, bot in tx.rows(
        "SELECT i.at, c.channel, COALESCE(i.campaign_id, 0), COALESCE(i.message_id, 0), i.kind, i.bot FROM interactions i"
        " JOIN communications c ON c.tenant_id = i.tenant_id AND c.id = i.communication_id WHERE i.tenant_id = :t",
        t=tenant_id,
    ):
        if kind not in events.UNNOTED:
            times = found[quarter_of(at), channel, campaign_id, message_id, kind]
            times[0] += 1
            times[1] += not bot
    return {key: (count, human) for key, (count, human) in found.items()}


def clicks(tx: Tx, tenant_id: int) -> Links:
    """What is counted of each link of campaign messages: clicks, communications, both of people alone."""
    return {
        tuple(row[:3]): tuple(row[3:])
        for row in tx.rows(
            "SELECT message_id, content_id, link_index, CAST(SUM(clicks) AS bigint), CAST(SUM(clicked) AS bigint), CAST(SUM(human_clicks) AS bigint),"
            " CAST(SUM(human_clicked) AS bigint) FROM link_counters WHERE tenant_id = :t GROUP BY message_id, content_id, link_index"
            " HAVING SUM(clicks) <> 0 OR SUM(clicked) <> 0",
            t=tenant_id,
        )
    }


def clicked_again(tx: Tx, tenant_id: int) -> Links:
    """The same from the interactions themselves."""
    found: defaultdict[tuple[int, ...], list[tuple[int, int]]] = defaultdict(list)
    for communication_id, message_id, content_id, link_index, bot in tx.rows(
        "SELECT i.communication_id, i.message_id, c.content_id, i.link_index, i.bot FROM interactions i"
        " JOIN communications c ON c.tenant_id = i.tenant_id AND c.id = i.communication_id"
        " WHERE i.tenant_id = :t AND i.kind = 'clicked' AND i.link_index IS NOT NULL AND i.message_id IS NOT NULL",
        t=tenant_id,
    ):
        found[message_id, content_id, link_index].append((communication_id, bot))
    return {
        key: (len(hits), len({who for who, _ in hits}), sum(not bot for _, bot in hits), len({who for who, bot in hits if not bot}))
        for key, hits in found.items()
    }


def settled(tx: Tx, tenant_id: int) -> Buckets:
    """What the days say."""
    return _days(tx.rows("SELECT day, channel, type, template_id, manual, " + _ALL + " FROM days WHERE tenant_id = :t", t=tenant_id))


def settled_again(tx: Tx, tenant_id: int) -> Buckets:
    """The same from the hours that are settled."""
    return _days(
        tx.rows(
            "SELECT hour - hour % 86400000, channel, type, template_id, CASE campaign_id WHEN 0 THEN 1 ELSE 0 END, "
            + _ALL
            + " FROM counters"
            " WHERE tenant_id = :t AND slot = 0"
            " UNION ALL SELECT -1, channel, type, template_id, CASE campaign_id WHEN 0 THEN 1 ELSE 0 END, " + _ALL + " FROM counters"
            " WHERE tenant_id = :t AND slot = 0",
            t=tenant_id,
        )
    )


def happened_by_day(tx: Tx, tenant_id: int) -> Happened:
    """What the days of what happened say: of each quarter in them, all campaigns and messages together."""
    found: Happened = {}
    for day, channel, kind, count, human, *texts in tx.rows(
        "SELECT day, channel, kind, count, human, counts, humans FROM activity_days WHERE tenant_id = :t", t=tenant_id
    ):
        counts, humans = (activity.numbers(text) for text in texts)
        assert len(counts) == len(humans) == activity.QUARTERS
        assert (sum(counts), sum(humans)) == (count, human)
        for place, times in enumerate(zip(counts, humans, strict=True)):
            if any(times):
                found[day + place * QUARTER, channel, kind] = times
    return found


def happened_settled(tx: Tx, tenant_id: int) -> Happened:
    """The same from the quarters that are settled."""
    return {
        tuple(row[:3]): (row[3], row[4])
        for row in tx.rows(
            "SELECT quarter, channel, kind, CAST(SUM(count) AS bigint), CAST(SUM(human) AS bigint) FROM activity"
            " WHERE tenant_id = :t AND slot = 0 GROUP BY quarter, channel, kind HAVING SUM(count) <> 0 OR SUM(human) <> 0",
            t=tenant_id,
        )
    }


def _days(rows: list[tuple[Any, ...]]) -> Buckets:
    found: defaultdict[tuple[int | str, ...], dict[str, int]] = defaultdict(lambda: dict.fromkeys(Counts.__struct_fields__, 0))
    for row in rows:
        for name, value in zip(Counts.__struct_fields__, row[5:], strict=True):
            found[row[:5]][name] += value
    return _something(found)


def check(tx: Tx, tenant_id: int) -> None:
    """Fails where anything that is counted differs from what there is."""
    assert settled(tx, tenant_id) == settled_again(tx, tenant_id)
    assert counted(tx, tenant_id) == recounted(tx, tenant_id)
    assert happened(tx, tenant_id) == happened_again(tx, tenant_id)
    assert happened_by_day(tx, tenant_id) == happened_settled(tx, tenant_id)
    assert clicks(tx, tenant_id) == clicked_again(tx, tenant_id)


def _something(found: Buckets) -> Buckets:
    return {key: counts for key, counts in found.items() if any(counts.values())}
