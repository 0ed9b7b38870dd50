"""What comes back about a message: opens and clicks, recorded in batches; and where its links lead."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from tidings.database import Tx
from tidings.domain import events

_NEVER = 1 << 62


class Hit(msgspec.Struct, frozen=True):
    """A fetched pixel or followed link."""

    tenant_id: int
    communication_id: int
    kind: Literal["opened", "clicked"]
    at: int
    link_index: int | None = None
    user_agent: str | None = None
    ip: str | None = None


def track(tx: Tx, hits: list[Hit]) -> None:
    """Records opens and clicks of any tenants, in the order they came. A click counts as an open too (the pixel may be blocked)."""
    totals: dict[tuple[int, int], list[int]] = {}
    for hit in hits:
        entry = totals.setdefault((hit.tenant_id, hit.communication_id), [0, 0, hit.at, _NEVER])
        entry[0] += 1
        entry[2] = min(entry[2], hit.at)
        if hit.kind == "clicked":
            entry[1] += 1
            entry[3] = min(entry[3], hit.at)
    rows = tx.rows(
        "UPDATE communications SET open_count = open_count + r_opens, opened_at = COALESCE(opened_at, r_at), click_count = click_count + r_clicks,"
        " clicked_at = CASE WHEN r_clicks > 0 THEN COALESCE(clicked_at, r_clicked_at) ELSE clicked_at END, updated_at = r_at"
        " FROM :hits(r_tenant_id bigint, r_id bigint, r_opens bigint, r_clicks bigint, r_at bigint, r_clicked_at bigint) r"
        " WHERE tenant_id IN :tenants[bigint] AND id IN :ids[bigint] AND tenant_id = r_tenant_id AND id = r_id"
        " RETURNING tenant_id, id, contact_id, campaign_id, message_id, template_id, channel, type, COALESCE(sent_at, created_at), open_count, click_count",
        tenants=sorted({tenant_id for tenant_id, _ in totals}),
        ids=sorted(communication_id for _, communication_id in totals),
        hits=sorted((*key, *entry) for key, entry in totals.items()),
    )
    subjects = {(row[0], row[1]): events.Subject(*row[:9]) for row in rows}
    # how many came before this batch: the first of a batch is the first ever only where there were none
    opens = {(row[0], row[1]): row[9] - totals[row[0], row[1]][0] for row in rows}
    clicks = {(row[0], row[1]): row[10] - totals[row[0], row[1]][1] for row in rows}
    happened: list[events.Event] = []
    for hit in hits:
        key = (hit.tenant_id, hit.communication_id)
        subject = subjects.get(key)
        if subject is None:
            continue
        happened.append(_event(subject, hit, "opened", first=opens[key] == 0))
        opens[key] += 1
        if hit.kind == "clicked":
            happened.append(_event(subject, hit, "clicked", first=clicks[key] == 0))
            clicks[key] += 1
    events.append(tx, happened)


def _event(subject: events.Subject, hit: Hit, kind: Literal["opened", "clicked"], *, first: bool) -> events.Event:
    index = hit.link_index if kind == "clicked" else None
    return events.Event(subject, kind, hit.at, first=first, link_index=index, user_agent=hit.user_agent, ip=hit.ip)


def link_target(tx: Tx, tenant_id: int, communication_id: int, index: int) -> str | None:
    """What the content has as the target of link `index` (0-based), or None. It may be a template of its own (`{{`): the composer fills it in."""
    found = tx.value(
        "SELECT k.links FROM communications c JOIN contents k ON k.tenant_id = c.tenant_id AND k.id = c.content_id"
        " WHERE c.tenant_id = :tenant_id AND c.id = :id",
        tenant_id=tenant_id,
        id=communication_id,
    )
    targets: list[str] = [] if found is None else msgspec.json.decode(found, type=list[str])
    return targets[index] if 0 <= index < len(targets) else None


def followed(tx: Tx, tenant_id: int, ids: Sequence[int]) -> dict[int, list[tuple[int, int, int]]]:
    """The followed links of several communications: (index, how often, when first) of each, in document order."""
    rows: list[tuple[int, int, int, int]] = tx.rows(
        "SELECT communication_id, link_index, COUNT(*), MIN(at) FROM interactions WHERE tenant_id = :tenant_id AND communication_id IN :ids[bigint]"
        " AND kind = 'clicked' AND link_index IS NOT NULL GROUP BY communication_id, link_index ORDER BY communication_id, link_index",
        tenant_id=tenant_id,
        ids=list(ids),
    )
    found: dict[int, list[tuple[int, int, int]]] = {}
    for communication_id, *link in rows:
        found.setdefault(communication_id, []).append((link[0], link[1], link[2]))
    return found
