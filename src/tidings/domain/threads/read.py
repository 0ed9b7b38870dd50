"""Reading what was said, in the order it was said: in one conversation, or around one entity of the caller's (an order, a lead)."""

from collections.abc import Sequence
from typing import NamedTuple

from tidings.database import Tx
from tidings.domain.threads.record import CONVERSATION, INBOUND, Conversation, Inbound
from tidings.errors import NotFound

NEVER = 1 << 62
"""Later than anything, in milliseconds."""


class Said(NamedTuple):
    """One message of either direction, by which they are put in order: `at` is when it was sent (or will be, or was accepted) or received,
    `inbound` 1 when it was received; `id` is that of the communication, or of the inbound message.
    """

    at: int
    inbound: int
    id: int


BEGINNING = Said(-1, 0, 0)
END = Said(NEVER, 0, 0)


def get(tx: Tx, tenant_id: int, conversation_id: int) -> Conversation | None:
    """One conversation of the tenant, or None."""
    return tx.one(Conversation, CONVERSATION + " AND id = :id", tenant_id=tenant_id, id=conversation_id)


def thread(tx: Tx, tenant_id: int, communication_id: int) -> int | None:
    """The conversation that a communication belongs to; None when it stands alone. Raises NotFound when there is no such communication."""
    row = tx.row(
        "SELECT conversation_id FROM communications WHERE tenant_id = :tenant_id AND id = :id", tenant_id=tenant_id, id=communication_id
    )
    if row is None:
        raise NotFound
    return row[0]


def outbound(tx: Tx, tenant_id: int, conversation_id: int, *, after: Said = BEGINNING, limit: int) -> list[Said]:
    """What was sent in a conversation, oldest first, behind `after`."""
    rows = tx.rows(
        "SELECT COALESCE(sent_at, scheduled_at, created_at) AS at, 0, id FROM communications"
        " WHERE tenant_id = :tenant_id AND conversation_id = :conversation_id AND (COALESCE(sent_at, scheduled_at, created_at), id) > (:at, :id)"
        " ORDER BY at, id LIMIT :limit",
        tenant_id=tenant_id,
        conversation_id=conversation_id,
        at=after.at,
        id=after.id,
        limit=limit,
    )
    return [Said(*row) for row in rows]


def inbound(tx: Tx, tenant_id: int, conversation_id: int, *, after: Said = BEGINNING, limit: int) -> list[Said]:
    """What was received in a conversation, oldest first, behind `after`."""
    rows = tx.rows(
        "SELECT received_at, 1, id FROM inbound_messages WHERE tenant_id = :tenant_id AND conversation_id = :conversation_id"
        " AND (received_at, id) > (:at, :id) ORDER BY received_at, id LIMIT :limit",
        tenant_id=tenant_id,
        conversation_id=conversation_id,
        at=after.at,
        id=after.id,
        limit=limit,
    )
    return [Said(*row) for row in rows]


def of_entity(tx: Tx, tenant_id: int, kind: str, identity: str, *, before: Said = END, limit: int) -> list[Said]:
    """What was said around an entity, newest first, in front of `before`: every message that is linked to it, and every one of a
    conversation that is.

    All of it is looked through for each call, so ask for many at once: they are small.
    """
    rows = tx.rows(
        "SELECT at, inbound, id FROM ("
        "SELECT COALESCE(sent_at, scheduled_at, created_at) AS at, 0 AS inbound, id FROM communications"
        " WHERE tenant_id = :tenant_id AND related_entity_type = :entity_type AND related_entity_id = :entity_id"
        " UNION SELECT COALESCE(c.sent_at, c.scheduled_at, c.created_at), 0, c.id FROM conversations v"
        " JOIN communications c ON c.tenant_id = :tenant_id AND c.conversation_id = v.id"
        " WHERE v.tenant_id = :tenant_id AND v.related_entity_type = :entity_type AND v.related_entity_id = :entity_id"
        " UNION SELECT received_at, 1, id FROM inbound_messages"
        " WHERE tenant_id = :tenant_id AND related_entity_type = :entity_type AND related_entity_id = :entity_id"
        " UNION SELECT i.received_at, 1, i.id FROM conversations v"
        " JOIN inbound_messages i ON i.tenant_id = :tenant_id AND i.conversation_id = v.id"
        " WHERE v.tenant_id = :tenant_id AND v.related_entity_type = :entity_type AND v.related_entity_id = :entity_id"
        ") said WHERE (at, inbound, id) < (:at, :inbound, :id) ORDER BY at DESC, inbound DESC, id DESC LIMIT :limit",
        tenant_id=tenant_id,
        entity_type=kind,
        entity_id=identity,
        at=before.at,
        inbound=before.inbound,
        id=before.id,
        limit=limit,
    )
    return [Said(*row) for row in rows]


def received(tx: Tx, tenant_id: int, ids: Sequence[int]) -> list[Inbound]:
    """Those of the inbound messages that are the tenant's, in no order."""
    return tx.all(Inbound, INBOUND + " AND i.id IN :ids[bigint]", tenant_id=tenant_id, ids=list(ids))
