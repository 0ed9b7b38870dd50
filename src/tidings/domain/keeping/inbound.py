"""Removing what was received long ago, and conversations in which nothing is left. That somebody replied stays counted."""

from collections import Counter
from collections.abc import Sequence

from tidings.database import Tx


def received(tx: Tx, tenant_id: int, *, before: int, limit: int) -> list[int]:
    """The oldest messages that were received before that instant."""
    rows = tx.rows(
        "SELECT id FROM inbound_messages WHERE tenant_id = :tenant_id AND received_at < :before ORDER BY received_at, id LIMIT :limit",
        tenant_id=tenant_id,
        before=before,
        limit=limit,
    )
    return [row[0] for row in rows]


def remove_inbound(tx: Tx, tenant_id: int, ids: Sequence[int], *, before: int) -> int:
    """Removes received messages with their files, and those of their conversations that are empty then and were quiet since `before`.

    The stored bytes go with the next sweep of what nothing refers to. Answers how many messages it were.
    """
    conversations = tx.rows(
        "SELECT id FROM conversations WHERE tenant_id = :tenant_id AND id IN (SELECT i.conversation_id FROM inbound_messages i"
        " WHERE i.tenant_id = :tenant_id AND i.id IN :ids[bigint]) ORDER BY id FOR UPDATE",
        tenant_id=tenant_id,
        ids=list(ids),
    )
    tx.run("DELETE FROM attachments WHERE tenant_id = :tenant_id AND inbound_id IN :ids[bigint]", tenant_id=tenant_id, ids=list(ids))
    gone: list[tuple[int, str, int]] = tx.rows(
        "DELETE FROM inbound_messages WHERE tenant_id = :tenant_id AND id IN :ids[bigint] RETURNING conversation_id, status, automatic",
        tenant_id=tenant_id,
        ids=list(ids),
    )
    unread = Counter(conversation_id for conversation_id, status, automatic in gone if status == "new" and not automatic)
    if unread:
        tx.run(
            "UPDATE conversations SET unread = CASE WHEN unread > r_unread THEN unread - r_unread ELSE 0 END"
            " FROM :rows(r_id bigint, r_unread integer) r WHERE tenant_id = :tenant_id AND id = r_id",
            tenant_id=tenant_id,
            rows=sorted(unread.items()),
        )
    tx.run(
        "DELETE FROM conversations WHERE tenant_id = :tenant_id AND id IN :ids[bigint] AND last_at < :before"
        " AND NOT EXISTS (SELECT 1 FROM inbound_messages i WHERE i.tenant_id = conversations.tenant_id AND i.conversation_id = conversations.id)"
        " AND NOT EXISTS (SELECT 1 FROM communications c WHERE c.tenant_id = conversations.tenant_id AND c.conversation_id IS NOT NULL"
        " AND c.conversation_id = conversations.id)",
        tenant_id=tenant_id,
        ids=[row[0] for row in conversations],
        before=before,
    )
    return len(gone)
