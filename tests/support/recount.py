"""The counters of a tenant, and the same counted anew from its rows: they must never differ."""

from collections import defaultdict

import msgspec

from tidings.database import Tx
from tidings.domain.counters import Counts, hour_of

Buckets = dict[tuple[int | str, ...], dict[str, int]]
COUNTED = [name for name in Counts.__struct_fields__ if name not in {"enrolled", "completed"}]


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


def _something(found: Buckets) -> Buckets:
    return {key: counts for key, counts in found.items() if any(counts.values())}
