"""Everything said with one person, both ways, as one list: a page of it in one of several orders, or all of it step by step.

What the messages say is not looked at: whoever wants to go by that reads the steps.
"""

from collections.abc import Mapping
from typing import Literal, LiteralString

import msgspec

from tidings.database import Tx
from tidings.database.gate import Param
from tidings.domain.page import Page

Key = Literal["at", "inbound", "state", "campaign_name", "sent_at", "created_at"]
"""What a page may be put in order by: fields of `Entry`."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which messages of a contact: all that is given must hold.

    `since` and `until` (milliseconds, the latter excluded) are on when a message was sent or received; what was not sent is in no range.
    `states` are those of communications, and what was received counts as delivered. `campaigns` are ids.
    """

    contact_id: int
    since: int | None = None
    until: int | None = None
    states: tuple[str, ...] | None = None
    campaigns: tuple[int, ...] | None = None


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """By `key`, of equals by `at`, then what was sent before what was received, then by id: all of it turned round when it descends.

    What has no value for the key comes last either way. States go by what they are to a reader: canceled, delivered, failed, in process,
    pending, sent.
    """

    key: Key = "at"
    descending: bool = True


class Entry(msgspec.Struct, frozen=True):
    """One message of either direction. `at` is when it was sent (else will be, else was accepted) or received, `sent_at` the same where it
    has happened. `inbound` is 1 when it was received; `id` is that of the communication, or of the inbound message.

    A received one is of the campaign of the communication it answers, where that is known and still there.
    """

    at: int
    inbound: int
    id: int
    campaign_id: int | None
    campaign_name: str | None
    state: str
    sent_at: int | None
    created_at: int


_SENT: LiteralString = (
    "SELECT COALESCE(c.sent_at, c.scheduled_at, c.created_at) AS at, 0 AS inbound, c.id AS id, c.campaign_id AS campaign_id, c.state AS state,"
    " c.sent_at AS sent_at, c.created_at AS created_at FROM communications c WHERE c.tenant_id = :tenant_id AND c.contact_id = :contact_id"
)
_RECEIVED: LiteralString = (
    "SELECT i.received_at AS at, 1 AS inbound, i.id AS id, a.campaign_id AS campaign_id, 'delivered' AS state, i.received_at AS sent_at,"
    " i.created_at AS created_at FROM inbound_messages i LEFT JOIN communications a ON a.tenant_id = i.tenant_id AND a.id = i.communication_id"
    " WHERE i.tenant_id = :tenant_id AND i.contact_id = :contact_id"
)
_SENT_COUNT: LiteralString = "SELECT COUNT(*) FROM communications c WHERE c.tenant_id = :tenant_id AND c.contact_id = :contact_id"
_RECEIVED_COUNT: LiteralString = "SELECT COUNT(*) FROM inbound_messages i WHERE i.tenant_id = :tenant_id AND i.contact_id = :contact_id"
_RANK: LiteralString = (
    "CASE m.state WHEN 'canceled' THEN 0 WHEN 'delivered' THEN 1 WHEN 'failed' THEN 2 WHEN 'bounced' THEN 2 WHEN 'suppressed' THEN 2"
    " WHEN 'in_process' THEN 3 WHEN 'unknown' THEN 3 WHEN 'sent' THEN 5 ELSE 4 END"
)
_KEYS: dict[Key, LiteralString] = {
    "at": "m.at",
    # INCOMING before OUTGOING
    "inbound": "1 - m.inbound",
    "state": _RANK,
    "campaign_name": 'k.name COLLATE "binary"',
    "sent_at": "m.sent_at",
    "created_at": "m.created_at",
}


def page(tx: Tx, tenant_id: int, asked: Asked, order: Order, *, offset: int, limit: int) -> Page[Entry]:
    """The entries from `offset` on, and how many there are in all.

    In the order of `at` no more rows are read than there are up to the end of the page; any other order looks at all of the contact's.
    """
    which = _which(asked)
    direction: LiteralString = " DESC" if order.descending else ""
    if order.key == "at":
        # an index in this order is read no further than the direction's own LIMIT
        first: LiteralString = " ORDER BY at" + direction + ", id" + direction + " LIMIT :most"
        source: LiteralString = "SELECT * FROM (" + _SENT + which.sent + first + ") o"
        if which.any_received:
            source += " UNION ALL SELECT * FROM (" + _RECEIVED + which.received + first + ") n"
        which.params["most"] = offset + limit
    else:
        source = _SENT + which.sent
        if which.any_received:
            source += " UNION ALL " + _RECEIVED + which.received
    statement = _named(source)
    key: LiteralString = _KEYS[order.key] + direction + " NULLS LAST, m.at" + direction + ", m.inbound" + direction + ", m.id" + direction
    statement += " ORDER BY " + key + " LIMIT :limit OFFSET :offset"
    rows = tx.all(Entry, statement, tenant_id=tenant_id, limit=limit, offset=offset, **which.params)
    if len(rows) < limit and (rows or not offset):
        return Page(rows, offset + len(rows))
    return Page(rows, _count(tx, tenant_id, asked))


def step(tx: Tx, tenant_id: int, asked: Asked, *, after: Entry | None, limit: int) -> list[Entry]:
    """The next entries behind `after` (None: from the beginning), in an order that nothing that happens to them changes.

    All of the contact's are looked through for each call, so ask for many at once: they are small.
    """
    which = _which(asked)
    found: list[Entry] = []
    if after is None or not after.inbound:
        found = _next(tx, tenant_id, _SENT + which.sent, which.params, after, limit)
    if which.any_received and len(found) < limit:
        begun = after if after is not None and after.inbound else None
        found += _next(tx, tenant_id, _RECEIVED + which.received, which.params, begun, limit - len(found))
    return found


def _next(tx: Tx, tenant_id: int, source: LiteralString, params: Mapping[str, Param], after: Entry | None, limit: int) -> list[Entry]:
    """Of one direction, behind one of its entries."""
    behind: LiteralString = " WHERE (s.created_at, s.id) > (:created_at, :id)"
    statement = _named("SELECT * FROM (" + source + ") s" + behind + " ORDER BY created_at, id LIMIT :limit")
    beginning = (-1, 0) if after is None else (after.created_at, after.id)
    statement += " ORDER BY m.created_at, m.id"
    return tx.all(Entry, statement, tenant_id=tenant_id, limit=limit, created_at=beginning[0], id=beginning[1], **params)


def _named(source: LiteralString) -> LiteralString:
    """The rows of a source as entries, with the names of their campaigns."""
    campaigns: LiteralString = " LEFT JOIN campaigns k ON k.tenant_id = :tenant_id AND k.id = m.campaign_id"
    return "SELECT m.at, m.inbound, m.id, m.campaign_id, k.name, m.state, m.sent_at, m.created_at FROM (" + source + ") m" + campaigns


def received(tx: Tx, tenant_id: int, ids: list[int]) -> dict[int, str]:
    """The texts of these inbound messages, as they came, by id."""
    return dict(
        tx.rows("SELECT id, text FROM inbound_messages WHERE tenant_id = :tenant_id AND id IN :ids[bigint]", tenant_id=tenant_id, ids=ids)
    )


def known_campaigns(tx: Tx, tenant_id: int, ids: list[int]) -> set[int]:
    """Those of the ids that are campaigns of the tenant."""
    rows = tx.rows("SELECT id FROM campaigns WHERE tenant_id = :tenant_id AND id IN :ids[bigint]", tenant_id=tenant_id, ids=ids)
    return {row[0] for row in rows}


def _count(tx: Tx, tenant_id: int, asked: Asked) -> int:
    which = _which(asked)
    total: int = tx.value(_SENT_COUNT + which.sent, tenant_id=tenant_id, **which.params)
    if which.any_received:
        total += tx.value(_RECEIVED_COUNT + which.received, tenant_id=tenant_id, **which.params)
    return total


class _Which(msgspec.Struct):
    """What is added to the conditions of either direction, and the parameters of both."""

    params: dict[str, Param]
    sent: LiteralString = ""
    received: LiteralString = ""
    any_received: bool = True


def _which(asked: Asked) -> _Which:
    which = _Which({"contact_id": asked.contact_id})
    if asked.since is not None or asked.until is not None:
        which.sent += " AND c.sent_at IS NOT NULL"
    if asked.since is not None:
        # for what was sent this is the instant of sending, in the words of the index
        which.sent += " AND COALESCE(c.sent_at, c.scheduled_at, c.created_at) >= :since"
        which.received += " AND i.received_at >= :since"
        which.params["since"] = asked.since
    if asked.until is not None:
        which.sent += " AND COALESCE(c.sent_at, c.scheduled_at, c.created_at) < :until"
        which.received += " AND i.received_at < :until"
        which.params["until"] = asked.until
    if asked.campaigns is not None:
        which.sent += " AND c.campaign_id IN :campaigns[bigint]"
        which.received += (
            " AND EXISTS (SELECT 1 FROM communications b WHERE b.tenant_id = i.tenant_id AND b.id = i.communication_id"
            " AND b.campaign_id IN :campaigns[bigint])"
        )
        which.params["campaigns"] = list(asked.campaigns)
    if asked.states is not None:
        which.sent += " AND c.state IN :states[text]"
        which.any_received = "delivered" in asked.states
        which.params["states"] = list(asked.states)
    return which
