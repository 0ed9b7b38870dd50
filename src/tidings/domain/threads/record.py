"""What a conversation is, and a message that was received in one."""

from typing import Literal, LiteralString

import msgspec

Status = Literal["new", "read", "processed", "archived"]


class Conversation(msgspec.Struct, frozen=True):
    """The thread that messages of both directions belong to. `key` is its name on alpha's wire, `last_at` when its newest message came,
    `unread` how many received messages nobody has looked at; it is open for as long as `closed_at` is None.
    """

    id: int
    tenant_id: int
    key: str
    channel: str
    contact_id: int | None
    subject: str
    assignee: str | None
    related_entity_type: str | None
    related_entity_id: str | None
    unread: int
    closed_at: int | None
    last_at: int
    created_at: int
    updated_at: int


class Inbound(msgspec.Struct, frozen=True):
    """What somebody wrote to us. `recipients` is JSON {"to": [..], "cc": [..]}, `reference_ids` a JSON array; `communication_id` is what
    it answers, where that is known. `reply` is the new part of `text`. `automatic` is 1 when no person wrote it (RFC 3834),
    `keyword` is stop, start or help when a text was one of those words.
    """

    id: int
    tenant_id: int
    channel: str
    conversation_id: int
    conversation_key: str
    contact_id: int
    communication_id: int | None
    source: str
    source_id: str
    status: Status
    automatic: int
    sender: str
    sender_name: str
    recipients: str
    subject: str
    text: str
    html: str
    reply: str
    message_id: str | None
    in_reply_to: str | None
    reference_ids: str
    graph_message_id: str | None
    reply_to: str | None
    related_entity_type: str | None
    related_entity_id: str | None
    raw_hash: str | None
    received_at: int
    created_by: str | None
    updated_by: str | None
    created_at: int
    updated_at: int
    keyword: str | None


CONVERSATION: LiteralString = (
    "SELECT id, tenant_id, key, channel, contact_id, subject, assignee, related_entity_type, related_entity_id, unread, closed_at, last_at,"
    " created_at, updated_at FROM conversations WHERE tenant_id = :tenant_id"
)

_BEFORE: LiteralString = (
    "i.id, i.tenant_id, i.channel, i.conversation_id, v.key, i.contact_id, i.communication_id, i.source, i.source_id, i.status, i.automatic,"
    " i.sender, i.sender_name, i.recipients, i.subject, "
)
_AFTER: LiteralString = (
    ", i.message_id, i.in_reply_to, i.reference_ids, i.graph_message_id, i.reply_to,"
    " i.related_entity_type, i.related_entity_id, i.raw_hash, i.received_at, i.created_by, i.updated_by, i.created_at, i.updated_at, i.keyword"
    " FROM inbound_messages i JOIN conversations v ON v.tenant_id = i.tenant_id AND v.id = i.conversation_id WHERE i.tenant_id = :tenant_id"
)
INBOUND: LiteralString = "SELECT " + _BEFORE + "i.text, i.html, i.reply" + _AFTER
GLANCE: LiteralString = "SELECT " + _BEFORE + "'', '', substr(CASE i.reply WHEN '' THEN i.text ELSE i.reply END, 1, 200)" + _AFTER
"""The same for a list: `reply` is the beginning of what it says, and text and HTML, which may be long, are left out."""
