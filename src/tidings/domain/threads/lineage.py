"""What a mail answers: the messages that went before it in its conversation, for In-Reply-To and References (RFC 5322, 3.6.4)."""

import re
from collections.abc import Callable, Sequence

import msgspec

from tidings.database import Tx
from tidings.domain.communications import Due

MOST = 20
"""Messages that one mail refers to: the newest; a longer line helps no reader."""
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}>")


class Ancestor(msgspec.Struct, frozen=True, gc=False):
    """One message that went before: ours by `communication_id` and the `serial` it was sent with, or one received, whose `message_id`
    is given as its header had it, angle brackets included ("" for ours, and the numbers are 0 for the other).
    """

    communication_id: int
    serial: int
    message_id: str


class Lineage(msgspec.Struct, frozen=True):
    """What went before, oldest first, and no more than MOST; the last one is answered."""

    items: tuple[Ancestor, ...]

    def message_ids(self, ours: Callable[[int, int], str]) -> list[str]:
        """Their Message-IDs, each once: References in that order, its last one In-Reply-To. `ours` makes the one of a communication and
        serial.
        """
        return list(dict.fromkeys(item.message_id or ours(item.communication_id, item.serial) for item in self.items))


def lineage(tx: Tx, tenant_id: int, dues: Sequence[Due]) -> dict[int, Lineage]:
    """What went before each of these mails, by communication; those that nothing went before are left out.

    Only what was really sent or received counts. A copy for a member of a list refers to what was said with that contact alone, and
    nothing refers to the copies that others got: an id of theirs tells that there are others.
    """
    mails = [due for due in dues if due.conversation_id and due.channel == "email"]
    alone = [due for due in mails if not due.list_id]
    found = _of_conversations(tx, tenant_id, sorted({due.conversation_id for due in alone})) if alone else {}
    lineages = {due.id: found[due.conversation_id] for due in alone if due.conversation_id in found}
    members = [due for due in mails if due.list_id]
    return lineages | _of_members(tx, tenant_id, members) if members else lineages


def _of_conversations(tx: Tx, tenant_id: int, conversations: Sequence[int]) -> dict[int, Lineage]:
    """By conversation. Some go on for years: of each direction no more than the newest are read, from the index on, for which the instant of
    the MOST-th newest is looked up first (SQLite knows no LATERAL).
    """
    rows = tx.rows(
        "SELECT conversation_id, id, serial, message_id FROM (SELECT conversation_id, id, serial, message_id, at, inbound,"
        " ROW_NUMBER() OVER (PARTITION BY conversation_id ORDER BY at DESC, inbound DESC, id DESC) AS place FROM ("
        "SELECT c.conversation_id, c.id, c.serial, '' AS message_id, c.sent_at AS at, 0 AS inbound FROM :ids(id bigint) v"
        " JOIN communications c ON c.tenant_id = :tenant_id AND c.conversation_id = v.id AND c.sent_at IS NOT NULL AND c.list_id IS NULL"
        " AND c.channel = 'email' AND c.sent_at >= COALESCE((SELECT n.sent_at FROM communications n WHERE n.tenant_id = :tenant_id"
        " AND n.conversation_id = v.id AND n.sent_at IS NOT NULL AND n.list_id IS NULL ORDER BY n.sent_at DESC LIMIT 1 OFFSET :last), 0)"
        " UNION ALL SELECT i.conversation_id, i.id, 0, i.message_id, i.received_at, 1 FROM :ids(id bigint) v"
        " JOIN inbound_messages i ON i.tenant_id = :tenant_id AND i.conversation_id = v.id AND i.message_id IS NOT NULL AND i.channel = 'email'"
        " AND i.received_at >= COALESCE((SELECT n.received_at FROM inbound_messages n WHERE n.tenant_id = :tenant_id"
        " AND n.conversation_id = v.id ORDER BY n.received_at DESC LIMIT 1 OFFSET :last), 0)) m) r"
        " WHERE place <= :limit ORDER BY conversation_id, at, inbound, id",
        tenant_id=tenant_id,
        ids=[(identity,) for identity in conversations],
        limit=MOST,
        last=MOST - 1,
    )
    return _gathered(rows)


def _of_members(tx: Tx, tenant_id: int, dues: Sequence[Due]) -> dict[int, Lineage]:
    """By communication: what was said with its contact alone. Such a conversation may be as long as the list and is no index to go by; what
    a contact was sent is short, and no index answers to COALESCE.
    """
    rows = tx.rows(
        "SELECT due, id, serial, message_id FROM (SELECT due, id, serial, message_id, at, inbound,"
        " ROW_NUMBER() OVER (PARTITION BY due ORDER BY at DESC, inbound DESC, id DESC) AS place FROM ("
        "SELECT d.due, c.id, c.serial, '' AS message_id, c.sent_at AS at, 0 AS inbound"
        " FROM :dues(due bigint, conversation_id bigint, contact_id bigint) d JOIN communications c ON c.tenant_id = :tenant_id"
        " AND c.contact_id = d.contact_id AND COALESCE(c.conversation_id, 0) = d.conversation_id AND c.sent_at IS NOT NULL AND c.channel = 'email'"
        " UNION ALL SELECT d.due, i.id, 0, i.message_id, i.received_at, 1"
        " FROM :dues(due bigint, conversation_id bigint, contact_id bigint) d JOIN inbound_messages i ON i.tenant_id = :tenant_id"
        " AND i.contact_id = d.contact_id AND COALESCE(i.conversation_id, 0) = d.conversation_id AND i.message_id IS NOT NULL AND i.channel = 'email') m) r"
        " WHERE place <= :limit ORDER BY due, at, inbound, id",
        tenant_id=tenant_id,
        dues=[(due.id, due.conversation_id, due.contact_id) for due in dues],
        limit=MOST,
    )
    return _gathered(rows)


def _gathered(rows: Sequence[tuple[int, int, int, str]]) -> dict[int, Lineage]:
    gathered: dict[int, list[Ancestor]] = {}
    for whose, identity, serial, message_id in rows:
        # whoever writes to us chooses its Message-ID: one that is none would break our header
        if not message_id or _MESSAGE_ID.fullmatch(message_id):
            ancestor = Ancestor(0, 0, message_id) if message_id else Ancestor(identity, serial, "")
            gathered.setdefault(whose, []).append(ancestor)
    return {whose: Lineage(tuple(items)) for whose, items in gathered.items()}
