"""Removing what happened long ago. How often it happened stays: in every count, and of each communication in `remnants`, from which it can
be taken back when that is deleted or sent again.
"""

from collections.abc import Sequence

from tidings.database import Tx
from tidings.domain import marks


def old(tx: Tx, tenant_id: int, *, before: int, after: int, limit: int) -> list[int]:
    """The next communications behind the id `after` that something happened to before that instant, in the order of their ids."""
    rows = tx.rows(
        "SELECT DISTINCT communication_id FROM interactions WHERE tenant_id = :tenant_id AND communication_id > :after AND at < :before"
        " ORDER BY communication_id LIMIT :limit",
        tenant_id=tenant_id,
        after=after,
        before=before,
        limit=limit,
    )
    return [row[0] for row in rows]


def drop(tx: Tx, tenant_id: int, communication_ids: Sequence[int], *, before: int) -> int:
    """Removes what happened to these communications before that instant; answers how much. One that somebody else is at is passed over.

    A sending and a delivery of which the communication itself has the instant leave nothing behind: see `communications.counted`.
    """
    rows = tx.rows(
        "SELECT id FROM communications WHERE tenant_id = :tenant_id AND id IN :ids[bigint] ORDER BY id FOR UPDATE SKIP LOCKED",
        tenant_id=tenant_id,
        ids=list(communication_ids),
    )
    ids = [row[0] for row in rows]
    tx.run(
        "INSERT INTO remnants (tenant_id, communication_id, kind, quarter, link_index, count, human, first_at)"
        " SELECT i.tenant_id, i.communication_id, i.kind, i.at - i.at % 900000, COALESCE(i.link_index, -1), COUNT(*), SUM(1 - i.bot), MIN(i.at)"
        " FROM interactions i JOIN communications c ON c.tenant_id = i.tenant_id AND c.id = i.communication_id"
        " WHERE i.tenant_id = :tenant_id AND i.communication_id IN :ids[bigint] AND i.at < :before"
        " AND i.kind NOT IN ('unknown', 'deferred', 'updated', 'commented')"
        " AND NOT (i.kind = 'sent' AND c.sent_at IS NOT NULL AND i.at = c.sent_at)"
        " AND NOT (i.kind = 'delivered' AND c.delivered_at IS NOT NULL AND i.at = c.delivered_at)"
        " GROUP BY i.tenant_id, i.communication_id, i.kind, i.at - i.at % 900000, COALESCE(i.link_index, -1)"
        " ON CONFLICT (tenant_id, communication_id, kind, quarter, link_index) DO UPDATE SET count = remnants.count + excluded.count,"
        " human = remnants.human + excluded.human,"
        " first_at = CASE WHEN excluded.first_at < remnants.first_at THEN excluded.first_at ELSE remnants.first_at END",
        tenant_id=tenant_id,
        ids=ids,
        before=before,
    )
    gone = tx.rows(
        "DELETE FROM interactions WHERE tenant_id = :tenant_id AND communication_id IN :ids[bigint] AND at < :before"
        " RETURNING tenant_id, message_id, kind, at",
        tenant_id=tenant_id,
        ids=ids,
        before=before,
    )
    marks.removed(tx, [marks.Happening(*row) for row in gone])
    return len(gone)
