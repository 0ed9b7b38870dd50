"""Which conversation a message goes into: the one that its sender names, found or made, and never two of one name."""

import uuid

import msgspec

from tidings import ids
from tidings.database import Tx
from tidings.domain import communications
from tidings.errors import Invalid, NotFound
from tidings.message import address

LONGEST_KEY = 200
"""Characters."""
_UNKNOWN = "Conversation not found"


class Beginning(msgspec.Struct, frozen=True):
    """The message that a conversation begins with, as far as it is known."""

    channel: str
    contact_id: int | None
    subject: str
    related_entity_type: str | None
    related_entity_id: str | None
    at: int


def join(tx: Tx, tenant_id: int, wire: str, *, channel: str, now: int) -> int:
    """The conversation that a sender names, in the transaction of what it says there. Raises NotFound, and Invalid for a key that is none.

    `conv_…` is one that exists, `thrd_…` a communication whose conversation is meant (it gets one when it has none), and anything else the
    sender's own key: the conversation of that name, made when it is used first. Of two who use it first at once, one makes it. It keeps
    the `channel` of its first message.
    """
    if not wire.strip() or len(wire) > LONGEST_KEY:
        raise Invalid.field("conversationId", f"must be 1 to {LONGEST_KEY} characters")
    address.refuse_control(wire, "conversationId")
    found = tx.value("SELECT id FROM conversations WHERE tenant_id = :tenant_id AND key = :key", tenant_id=tenant_id, key=wire)
    if found is not None:
        return found
    if wire.startswith(ids.PREFIXES["conversation"]):
        return _existing(tx, tenant_id, ids.parse("conversation", wire))
    if wire.startswith(ids.PREFIXES["thread"]):
        found = rooted(tx, tenant_id, ids.parse("thread", wire) or 0, now=now)
        if found is None:
            raise NotFound(_UNKNOWN)
        return found
    return _made(tx, tenant_id, wire, Beginning(channel, None, "", None, None, now), now)


def is_name(text: str) -> bool:
    """Whether it can be the name that somebody else has for a conversation: fit for a key, and none of ours."""
    ours = (ids.PREFIXES["conversation"], ids.PREFIXES["thread"])
    return text.strip() != "" and len(text) <= LONGEST_KEY and text.isprintable() and not text.startswith(ours)


def _existing(tx: Tx, tenant_id: int, conversation_id: int | None) -> int:
    found = None
    if conversation_id is not None:
        found = tx.value("SELECT id FROM conversations WHERE tenant_id = :tenant_id AND id = :id", tenant_id=tenant_id, id=conversation_id)
    if found is None:
        raise NotFound(_UNKNOWN)
    return found


def rooted(tx: Tx, tenant_id: int, communication_id: int, *, now: int) -> int | None:
    """The conversation of a communication, made when it has none; None when there is no such communication.

    One that is made here keeps the name that the communication had while there was none.
    """
    # locked: of two answers to the same mail, the second finds the conversation that the first has made
    row = tx.row(
        "SELECT c.conversation_id, c.channel, c.contact_id, COALESCE(c.subject, b.subject), c.related_entity_type, c.related_entity_id, c.created_at"
        " FROM communications c JOIN contents b ON b.tenant_id = c.tenant_id AND b.id = c.content_id"
        " WHERE c.tenant_id = :tenant_id AND c.id = :id FOR UPDATE OF c",
        tenant_id=tenant_id,
        id=communication_id,
    )
    if row is None:
        return None
    if row[0] is not None:
        return row[0]
    made = _made(tx, tenant_id, ids.spell("thread", communication_id), Beginning(*row[1:]), now)
    tx.run(
        "UPDATE communications SET conversation_id = :conversation_id WHERE tenant_id = :tenant_id AND id = :id",
        tenant_id=tenant_id,
        id=communication_id,
        conversation_id=made,
    )
    return made


def begin(tx: Tx, tenant_id: int, key: str | None, beginning: Beginning, now: int) -> int:
    """A conversation that somebody else begins: that of this name, found or made; without one a new one, named after its own id."""
    if key is not None:
        return _made(tx, tenant_id, key, beginning, now)
    # it has to have a name of its own from the first moment, and its id is known a moment later
    made = _made(tx, tenant_id, f"new {uuid.uuid4().hex}", beginning, now)
    tx.run(
        "UPDATE conversations SET key = :key WHERE tenant_id = :tenant_id AND id = :id",
        tenant_id=tenant_id,
        id=made,
        key=ids.spell("conversation", made),
    )
    return made


def still_there(tx: Tx, tenant_id: int, conversation_id: int | None) -> int | None:
    """The same conversation, unless it was removed; nor will it be before this transaction ends: whoever removes an empty one locks it."""
    return tx.value(
        "SELECT id FROM conversations WHERE tenant_id = :tenant_id AND id = :id FOR UPDATE", tenant_id=tenant_id, id=conversation_id
    )


def discard(tx: Tx, tenant_id: int, conversation_id: int) -> None:
    """Takes back a conversation that was begun for a message somebody else stored at the same moment; one with a given name stays."""
    tx.run(
        "DELETE FROM conversations WHERE tenant_id = :tenant_id AND id = :id AND key = :key",
        tenant_id=tenant_id,
        id=conversation_id,
        key=ids.spell("conversation", conversation_id),
    )


def _made(tx: Tx, tenant_id: int, key: str, beginning: Beginning, now: int) -> int:
    entity = communications.entity(beginning.related_entity_type, beginning.related_entity_id)
    row = tx.row(
        "INSERT INTO conversations (tenant_id, key, channel, contact_id, subject, related_entity_type, related_entity_id, last_at, created_at, updated_at)"
        " VALUES (:tenant_id, :key, :channel, :contact_id, :subject, :entity_type, :entity_id, :at, :now, :now)"
        " ON CONFLICT (tenant_id, key) DO NOTHING RETURNING id",
        tenant_id=tenant_id,
        key=key,
        channel=beginning.channel,
        contact_id=beginning.contact_id,
        subject=communications.plain(beginning.subject),
        entity_type=entity[0],
        entity_id=entity[1],
        at=beginning.at,
        now=now,
    )
    if row is not None:
        return row[0]
    # whoever was faster has committed by now: the conflict waited for that
    return tx.value("SELECT id FROM conversations WHERE tenant_id = :tenant_id AND key = :key", tenant_id=tenant_id, key=key)
