"""Keeping conversations: who looks after one, what it is about, whether it is over; and how far a received message has come."""

import msgspec
from msgspec import UNSET, UnsetType

from tidings.database import Tx
from tidings.domain.threads.record import CONVERSATION, INBOUND, Conversation, Inbound, Status
from tidings.errors import Conflict, NotFound

STATUSES: tuple[Status, ...] = ("new", "read", "processed", "archived")
"""In the order in which a received message goes through them; each may be passed over."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is UNSET stays as it is. `entity` is a type and an id of the caller's, None for neither."""

    closed: bool | UnsetType = UNSET
    assignee: str | UnsetType | None = UNSET
    entity: tuple[str, str] | UnsetType | None = UNSET


def change(tx: Tx, tenant_id: int, conversation_id: int, wanted: Change, *, now: int) -> Conversation:
    """The conversation with that changed. Raises NotFound.

    Another entity takes along what was received in it, but for messages that had been linked to something else by themselves.
    """
    before = _locked(tx, tenant_id, conversation_id)
    old = (before.related_entity_type, before.related_entity_id)
    new = old if wanted.entity is UNSET else wanted.entity or (None, None)
    closed_at = before.closed_at
    if wanted.closed is not UNSET:
        closed_at = (before.closed_at or now) if wanted.closed else None
    tx.run(
        "UPDATE conversations SET closed_at = :closed_at, assignee = :assignee, related_entity_type = :entity_type, related_entity_id = :entity_id,"
        " updated_at = :now WHERE tenant_id = :tenant_id AND id = :id",
        tenant_id=tenant_id,
        id=conversation_id,
        closed_at=closed_at,
        assignee=before.assignee if wanted.assignee is UNSET else wanted.assignee,
        entity_type=new[0],
        entity_id=new[1],
        now=now,
    )
    if new != old:
        tx.run(
            "UPDATE inbound_messages SET related_entity_type = :entity_type, related_entity_id = :entity_id, updated_at = :now"
            " WHERE tenant_id = :tenant_id AND conversation_id = :id AND (related_entity_id IS NULL"
            " OR (related_entity_type = CAST(:old_type AS text) AND related_entity_id = CAST(:old_id AS text)))",
            tenant_id=tenant_id,
            id=conversation_id,
            entity_type=new[0],
            entity_id=new[1],
            old_type=old[0],
            old_id=old[1],
            now=now,
        )
    return _locked(tx, tenant_id, conversation_id)


def read_all(tx: Tx, tenant_id: int, conversation_id: int, *, author: str, now: int) -> Conversation:
    """Everything received in a conversation has been looked at. Raises NotFound."""
    _locked(tx, tenant_id, conversation_id)
    tx.run(
        "UPDATE inbound_messages SET status = 'read', updated_by = :author, updated_at = :now"
        " WHERE tenant_id = :tenant_id AND conversation_id = :id AND status = 'new'",
        tenant_id=tenant_id,
        id=conversation_id,
        author=author,
        now=now,
    )
    tx.run(
        "UPDATE conversations SET unread = 0, updated_at = :now WHERE tenant_id = :tenant_id AND id = :id AND unread > 0",
        tenant_id=tenant_id,
        id=conversation_id,
        now=now,
    )
    return _locked(tx, tenant_id, conversation_id)


def mark(tx: Tx, tenant_id: int, inbound_id: int, status: Status, *, author: str, now: int) -> Inbound:
    """Moves a received message on to another status; the one it has changes nothing. Raises NotFound, Conflict when that would be back."""
    before = _received(tx, tenant_id, inbound_id)
    # whoever reads the whole conversation at this moment takes that first as well
    _locked(tx, tenant_id, before.conversation_id)
    before = _received(tx, tenant_id, inbound_id)
    if STATUSES.index(status) < STATUSES.index(before.status):
        raise Conflict(f"It is {before.status} already, and does not become {status} again")
    if status == before.status:
        return before
    tx.run(
        "UPDATE inbound_messages SET status = :status, updated_by = :author, updated_at = :now WHERE tenant_id = :tenant_id AND id = :id",
        tenant_id=tenant_id,
        id=inbound_id,
        status=status,
        author=author,
        now=now,
    )
    if before.status == "new" and not before.automatic:
        tx.run(
            "UPDATE conversations SET unread = unread - 1, updated_at = :now WHERE tenant_id = :tenant_id AND id = :id AND unread > 0",
            tenant_id=tenant_id,
            id=before.conversation_id,
            now=now,
        )
    return _received(tx, tenant_id, inbound_id)


def _received(tx: Tx, tenant_id: int, inbound_id: int) -> Inbound:
    found = tx.one(Inbound, INBOUND + " AND i.id = :id", tenant_id=tenant_id, id=inbound_id)
    if found is None:
        raise NotFound("Inbound message not found")
    return found


def _locked(tx: Tx, tenant_id: int, conversation_id: int) -> Conversation:
    found = tx.one(Conversation, CONVERSATION + " AND id = :id FOR UPDATE", tenant_id=tenant_id, id=conversation_id)
    if found is None:
        raise NotFound("Conversation not found")
    return found
