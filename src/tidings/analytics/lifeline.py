"""Everything there is with one contact, newest first, a page at a time: messages both ways with what became of them, walks through campaigns,
suppressions, and what the contact said about being written to.
"""

from collections.abc import Callable, Sequence
from typing import Final, Literal, LiteralString

import msgspec

from tidings.analytics.happened import Interaction
from tidings.database import Tx

Kind = Literal["communication", "received", "enrolled", "ended", "suppressed", "consent"]
NEWEST = 20
"""Of what happened to a communication, so many are told here."""
_RANKS: Final[tuple[Kind, ...]] = ("communication", "received", "enrolled", "ended", "suppressed", "consent")


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a page ended; of the same millisecond by the kind, then by the id."""

    at: int
    rank: int
    id: int


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing. `at` is when: of a communication when it was sent, else will be, else was accepted.

    `id` is that of the communication, the inbound message, the enrollment or the suppression; of a consent that of its channel (0 email,
    1 sms) and of what was said (0 granted, 2 denied). `word` is the state of a communication, the status of what was received, how a walk
    ended (completed, reply, unsubscribe), why an address is suppressed, or granted and denied. `happened` is the newest of what became of a
    communication, `more` that there is more of it.
    """

    at: int
    kind: Kind
    id: int
    word: str = ""
    channel: str | None = None
    address: str | None = None
    subject: str | None = None
    error: str | None = None
    campaign_id: int | None = None
    message_id: int | None = None
    enrollment_id: int | None = None
    conversation_id: int | None = None
    communication_id: int | None = None
    happened: Sequence[Interaction] = ()
    more: bool = False

    def place(self) -> Place:
        """Where a page that ends with it goes on."""
        return Place(self.at, _RANKS.index(self.kind), self.id)


_SENT: LiteralString = (
    "SELECT COALESCE(c.sent_at, c.scheduled_at, c.created_at) AS at, c.id, c.state, c.channel, c.address, COALESCE(c.subject, k.subject), c.error,"
    " c.campaign_id, c.message_id, c.enrollment_id, c.conversation_id FROM communications c LEFT JOIN contents k ON k.tenant_id = c.tenant_id"
    " AND k.id = c.content_id WHERE c.tenant_id = :tenant_id AND c.contact_id = :contact_id"
    " AND COALESCE(c.sent_at, c.scheduled_at, c.created_at) <= :at AND (COALESCE(c.sent_at, c.scheduled_at, c.created_at) < :at OR c.id < :id)"
    " ORDER BY COALESCE(c.sent_at, c.scheduled_at, c.created_at) DESC, c.id DESC LIMIT :limit"
)
_RECEIVED: LiteralString = (
    "SELECT i.received_at AS at, i.id, i.status, i.channel, i.sender, i.subject, i.conversation_id, i.communication_id FROM inbound_messages i"
    " WHERE i.tenant_id = :tenant_id AND i.contact_id = :contact_id AND i.received_at <= :at AND (i.received_at < :at OR i.id < :id)"
    " ORDER BY i.received_at DESC, i.id DESC LIMIT :limit"
)
_WALKS: LiteralString = (
    "SELECT id, campaign_id, enrolled_at, completed_at, COALESCE(stopped_by, 'completed') FROM enrollments"
    " WHERE tenant_id = :tenant_id AND contact_id = :contact_id"
)
_BLOCKED: LiteralString = (
    "SELECT s.id, s.channel, s.address, s.reason, s.communication_id, s.created_at FROM contacts p JOIN suppressions s ON s.tenant_id = p.tenant_id"
    " AND s.channel = :channel AND s.address = CASE CAST(:channel AS text) WHEN 'email' THEN p.email_key ELSE p.phone END"
    " WHERE p.tenant_id = :tenant_id AND p.id = :contact_id"
)
_SAID: LiteralString = "SELECT email_granted_at, sms_granted_at, email_denied_at, sms_denied_at FROM contacts WHERE tenant_id = :tenant_id AND id = :contact_id"
_HAPPENED: LiteralString = (
    "SELECT id, communication_id, contact_id, campaign_id, message_id, kind, at, link_index, detail, user_agent, ip, bot, reason, code, author"
    " FROM interactions WHERE tenant_id = :tenant_id AND communication_id = :id ORDER BY at DESC, id DESC LIMIT :limit"
)

Reader = Callable[[Tx, int, int, Place, int], list[Entry]]


def page(tx: Tx, tenant_id: int, contact_id: int, after: Place | None, *, limit: int) -> list[Entry]:
    """Up to `limit` entries behind a place. Costs a page of each kind: of messages no more is read than that, and of the rest there is little."""
    begin = Place(1 << 62, 0, 0) if after is None else after
    entries = [entry for rank, read in enumerate(_READERS) for entry in read(tx, tenant_id, contact_id, _within(begin, rank), limit)]
    behind = [entry for entry in entries if after is None or _order(entry.place()) > _order(after)]
    newest = sorted(behind, key=lambda entry: _order(entry.place()))[:limit]
    return [_with_history(tx, tenant_id, entry) if entry.kind == "communication" else entry for entry in newest]


def _order(place: Place) -> tuple[int, int, int]:
    return -place.at, place.rank, -place.id


def _within(begin: Place, rank: int) -> Place:
    """Where one kind goes on: of the same millisecond all of the kinds behind, and none of those before."""
    if rank == begin.rank:
        return begin
    return Place(begin.at, rank, 1 << 62 if rank > begin.rank else 0)


def _with_history(tx: Tx, tenant_id: int, entry: Entry) -> Entry:
    rows = tx.all(Interaction, _HAPPENED, tenant_id=tenant_id, id=entry.id, limit=NEWEST + 1)
    return msgspec.structs.replace(entry, happened=rows[:NEWEST], more=len(rows) > NEWEST)


def _communications(tx: Tx, tenant_id: int, contact_id: int, begin: Place, limit: int) -> list[Entry]:
    rows = tx.rows(_SENT, tenant_id=tenant_id, contact_id=contact_id, at=begin.at, id=begin.id, limit=limit)
    names = ("at", "id", "word", "channel", "address", "subject", "error", "campaign_id", "message_id", "enrollment_id", "conversation_id")
    return [Entry(kind="communication", **dict(zip(names, row, strict=True))) for row in rows]


def _received(tx: Tx, tenant_id: int, contact_id: int, begin: Place, limit: int) -> list[Entry]:
    rows = tx.rows(_RECEIVED, tenant_id=tenant_id, contact_id=contact_id, at=begin.at, id=begin.id, limit=limit)
    names = ("at", "id", "word", "channel", "address", "subject", "conversation_id", "communication_id")
    return [Entry(kind="received", **dict(zip(names, row, strict=True))) for row in rows]


def _begun(tx: Tx, tenant_id: int, contact_id: int, begin: Place, limit: int) -> list[Entry]:
    rows = tx.rows(
        _WALKS + " AND enrolled_at <= :at AND (enrolled_at < :at OR id < :id) ORDER BY enrolled_at DESC, id DESC LIMIT :limit",
        tenant_id=tenant_id,
        contact_id=contact_id,
        at=begin.at,
        id=begin.id,
        limit=limit,
    )
    return [Entry(at=row[2], kind="enrolled", id=row[0], campaign_id=row[1], enrollment_id=row[0]) for row in rows]


def _ended(tx: Tx, tenant_id: int, contact_id: int, begin: Place, limit: int) -> list[Entry]:
    rows = tx.rows(
        _WALKS + " AND completed_at <= :at AND (completed_at < :at OR id < :id) ORDER BY completed_at DESC, id DESC LIMIT :limit",
        tenant_id=tenant_id,
        contact_id=contact_id,
        at=begin.at,
        id=begin.id,
        limit=limit,
    )
    return [Entry(at=row[3], kind="ended", id=row[0], word=row[4], campaign_id=row[1], enrollment_id=row[0]) for row in rows]


def _suppressed(tx: Tx, tenant_id: int, contact_id: int, _begin: Place, _limit: int) -> list[Entry]:
    """Of the addresses that the contact has now."""
    rows = [row for channel in ("email", "sms") for row in tx.rows(_BLOCKED, tenant_id=tenant_id, contact_id=contact_id, channel=channel)]
    return [
        Entry(at=at, kind="suppressed", id=identity, word=reason, channel=channel, address=address, communication_id=communication_id)
        for identity, channel, address, reason, communication_id, at in rows
    ]


def _consents(tx: Tx, tenant_id: int, contact_id: int, _begin: Place, _limit: int) -> list[Entry]:
    """What was said last about each channel; what was said before that is not kept."""
    row = tx.row(_SAID, tenant_id=tenant_id, contact_id=contact_id) or ()
    return [
        Entry(at=at, kind="consent", id=place, word="granted" if place < 2 else "denied", channel="sms" if place % 2 else "email")
        for place, at in enumerate(row)
        if at is not None
    ]


_READERS: Final[tuple[Reader, ...]] = (_communications, _received, _begun, _ended, _suppressed, _consents)
