"""Storing what was received, once, in the conversation it belongs to. How it is found which one that is, and what follows, is not here."""

import hashlib
from typing import Any

import msgspec

from tidings.database import Tx
from tidings.errors import NotFound
from tidings.message import incoming_charsets

LONGEST_ID = 500
"""Characters of what a message is called: an index holds them."""
LONGEST_LINE = 998
"""Characters of a subject, an address or a name; longer ones are cut."""


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it was read. `source` and `source_id` say where it came from and what it is called there (a mailbox and its UID, say):
    the same one coming twice is stored once. The other fields are those of `Inbound`.
    """

    source: str
    source_id: str
    channel: str
    contact_id: int
    received_at: int
    sender: str
    sender_name: str = ""
    communication_id: int | None = None
    automatic: bool = False
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    subject: str = ""
    text: str = ""
    html: str = ""
    reply: str = ""
    message_id: str | None = None
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()
    graph_message_id: str | None = None
    # where an answer is wanted, when that is not where it came from
    reply_to: str | None = None
    related_entity_type: str | None = None
    related_entity_id: str | None = None
    raw_hash: str | None = None
    created_by: str | None = None


def storable(incoming: Incoming) -> Incoming:
    """The same without what no database takes (NUL, lone surrogates) and with names that an index holds.

    A Message-ID that is longer is none: nobody could answer it. What is named at greater length by its carrier is known by a digest of that.
    """
    plain: dict[str, Any] = {}
    for name in incoming.__struct_fields__:
        value = getattr(incoming, name)
        if isinstance(value, str):
            plain[name] = incoming_charsets.storable(value)
    for name in ("to", "cc", "references"):
        plain[name] = tuple(map(incoming_charsets.storable, getattr(incoming, name)))
    for name in ("message_id", "in_reply_to", "graph_message_id"):
        if len(plain.get(name, "")) > LONGEST_ID:
            plain[name] = None
    for name in ("sender", "sender_name", "subject"):
        plain[name] = plain[name][:LONGEST_LINE]
    for name in ("source", "source_id"):
        if len(plain[name]) > LONGEST_ID:
            plain[name] = hashlib.sha256(plain[name].encode()).hexdigest()
    plain["references"] = tuple(entry for entry in plain["references"] if len(entry) <= LONGEST_LINE)
    return msgspec.structs.replace(incoming, **plain)


def store_inbound(tx: Tx, tenant_id: int, conversation_id: int, incoming: Incoming, *, now: int) -> tuple[int, bool]:
    """Puts it into the conversation: its id, and whether it is new; one that is stored already changes nothing. Raises NotFound.

    It is linked to what the conversation is linked to, unless it brings an entity of its own. The conversation opens again and has one
    more to read, except for what a machine has answered.
    """
    row = tx.row(
        "INSERT INTO inbound_messages (tenant_id, channel, conversation_id, contact_id, communication_id, source, source_id, automatic, sender, sender_name,"
        " recipients, subject, text, html, reply, message_id, in_reply_to, reference_ids, graph_message_id, reply_to, related_entity_type, related_entity_id,"
        " raw_hash, received_at, created_by, updated_by, created_at, updated_at)"
        " SELECT :tenant_id, :channel, v.id, :contact_id, :communication_id, :source, :source_id, :automatic, :sender, :sender_name, :recipients,"
        " :subject, :text, :html, :reply, :message_id, :in_reply_to, :reference_ids, :graph_message_id, :reply_to,"
        " COALESCE(:entity_type, v.related_entity_type), COALESCE(:entity_id, v.related_entity_id),"
        " :raw_hash, :received_at, :created_by, :created_by, :now, :now"
        " FROM conversations v WHERE v.tenant_id = :tenant_id AND v.id = :id"
        " ON CONFLICT (tenant_id, source, source_id) DO NOTHING RETURNING id",
        tenant_id=tenant_id,
        id=conversation_id,
        now=now,
        **_columns(incoming),
    )
    if row is None:
        return _stored(tx, tenant_id, incoming), False
    tx.run(
        "UPDATE conversations SET unread = unread + 1 - :automatic, closed_at = CASE WHEN :automatic = 1 THEN closed_at END,"
        " last_at = CASE WHEN last_at < :at THEN :at ELSE last_at END, contact_id = COALESCE(contact_id, :contact_id),"
        " subject = CASE WHEN subject = '' THEN :subject ELSE subject END, updated_at = :now WHERE tenant_id = :tenant_id AND id = :id",
        tenant_id=tenant_id,
        id=conversation_id,
        automatic=int(incoming.automatic),
        at=incoming.received_at,
        contact_id=incoming.contact_id,
        subject=incoming.subject,
        now=now,
    )
    return row[0], True


def _stored(tx: Tx, tenant_id: int, incoming: Incoming) -> int:
    found = tx.value(
        "SELECT id FROM inbound_messages WHERE tenant_id = :tenant_id AND source = :source AND source_id = :source_id",
        tenant_id=tenant_id,
        source=incoming.source,
        source_id=incoming.source_id,
    )
    if found is None:
        raise NotFound("Conversation not found")
    return found


def _columns(incoming: Incoming) -> dict[str, int | str | None]:
    """What the row keeps of it, by the statement's names."""
    linked = incoming.related_entity_type is not None and incoming.related_entity_id is not None
    fields: dict[str, int | str | None] = {
        name: getattr(incoming, name)
        for name in incoming.__struct_fields__
        if name not in {"automatic", "to", "cc", "references", "related_entity_type", "related_entity_id"}
    }
    return fields | {
        "automatic": int(incoming.automatic),
        "recipients": msgspec.json.encode({"to": incoming.to, "cc": incoming.cc}).decode(),
        "reference_ids": msgspec.json.encode(incoming.references).decode(),
        "entity_type": incoming.related_entity_type if linked else None,
        "entity_id": incoming.related_entity_id if linked else None,
    }
