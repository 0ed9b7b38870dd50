"""Conversations and what was received, looked for by what they are; and one conversation's messages of both directions, page by page."""

from typing import LiteralString

import msgspec

from tidings.database import Tx
from tidings.database.functions import fold, literal
from tidings.database.gate import Param
from tidings.domain.page import Page
from tidings.domain.threads.read import Said
from tidings.domain.threads.record import CONVERSATION, GLANCE, INBOUND, Conversation, Inbound


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which conversations: all that is given must hold. `search` is found as it stands, in any case, in what was said and who said it."""

    closed: bool | None = None
    unread: bool | None = None
    assignee: str | None = None
    contact_id: int | None = None
    channel: str | None = None
    entity_type: str | None = None
    entity_id: str | None = None
    search: str | None = None


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the received messages: all that is given must hold. `sender` and `recipient` are whole addresses in any case, `since` and
    `before` instants in milliseconds.
    """

    status: str | None = None
    automatic: bool | None = None
    contact_id: int | None = None
    conversation_id: int | None = None
    sender: str | None = None
    recipient: str | None = None
    since: int | None = None
    before: int | None = None


def page(tx: Tx, tenant_id: int, filters: Filters, *, limit: int, page: int) -> Page[Conversation]:
    """One page (from 1), the one with the newest message first. A search reads through what was said."""
    where, params = _where(filters)
    params["tenant_id"] = tenant_id
    total: int = tx.value("SELECT COUNT(*) FROM conversations WHERE tenant_id = :tenant_id" + where, **params)
    sql = CONVERSATION + where + " ORDER BY last_at DESC, id DESC LIMIT :limit OFFSET :skip"
    return Page(tx.all(Conversation, sql, limit=limit, skip=(page - 1) * limit, **params), total)


def received_page(tx: Tx, tenant_id: int, wanted: Received, *, limit: int, page: int) -> Page[Inbound]:
    """One page (from 1), newest first; of what they say, `reply` alone is there, and only its beginning."""
    where, params = _which(wanted)
    params["tenant_id"] = tenant_id
    total: int = tx.value("SELECT COUNT(*) FROM inbound_messages i WHERE i.tenant_id = :tenant_id" + where, **params)
    sql = GLANCE + where + " ORDER BY i.received_at DESC, i.id DESC LIMIT :limit OFFSET :skip"
    return Page(tx.all(Inbound, sql, limit=limit, skip=(page - 1) * limit, **params), total)


def said(tx: Tx, tenant_id: int, conversation_id: int, *, limit: int, page: int, newest: bool = False) -> Page[Said]:
    """One page (from 1) of what was said both ways, oldest first; with `newest` from the end."""
    both: LiteralString = (
        "SELECT COALESCE(sent_at, scheduled_at, created_at) AS at, 0 AS inbound, id FROM communications"
        " WHERE tenant_id = :tenant_id AND conversation_id = :conversation_id"
        " UNION ALL SELECT received_at, 1, id FROM inbound_messages WHERE tenant_id = :tenant_id AND conversation_id = :conversation_id"
    )
    order: LiteralString = " ORDER BY at DESC, inbound DESC, id DESC" if newest else " ORDER BY at, inbound, id"
    rows = tx.rows(
        "SELECT at, inbound, id FROM (" + both + ") m" + order + " LIMIT :limit OFFSET :skip",
        tenant_id=tenant_id,
        conversation_id=conversation_id,
        limit=limit,
        skip=(page - 1) * limit,
    )
    total: int = tx.value("SELECT COUNT(*) FROM (" + both + ") m", tenant_id=tenant_id, conversation_id=conversation_id)
    return Page([Said(*row) for row in rows], total)


def last_heard(tx: Tx, tenant_id: int, conversation_id: int) -> Inbound | None:
    """The newest message in a conversation that a person wrote to us."""
    return tx.one(
        Inbound,
        INBOUND + " AND i.conversation_id = :conversation_id AND i.automatic = 0 ORDER BY i.received_at DESC, i.id DESC LIMIT 1",
        tenant_id=tenant_id,
        conversation_id=conversation_id,
    )


def last_sent(tx: Tx, tenant_id: int, conversation_id: int) -> int | None:
    """The newest communication that went out in a conversation, but for what was written back to a word such as STOP."""
    return tx.value(
        "SELECT id FROM communications WHERE tenant_id = :tenant_id AND conversation_id = :conversation_id AND sent_at IS NOT NULL AND exempt = 0"
        " ORDER BY sent_at DESC, id DESC LIMIT 1",
        tenant_id=tenant_id,
        conversation_id=conversation_id,
    )


def _where(filters: Filters) -> tuple[LiteralString, dict[str, Param]]:
    where: LiteralString = ""
    params: dict[str, Param] = {}
    if filters.closed is not None:
        where += " AND closed_at IS NOT NULL" if filters.closed else " AND closed_at IS NULL"
    if filters.unread is not None:
        where += " AND unread > 0" if filters.unread else " AND unread = 0"
    if filters.assignee is not None:
        where += " AND assignee = :assignee"
        params["assignee"] = filters.assignee
    if filters.contact_id is not None:
        where += " AND contact_id = :contact_id"
        params["contact_id"] = filters.contact_id
    if filters.channel is not None:
        where += " AND channel = :channel"
        params["channel"] = filters.channel
    if filters.entity_type is not None:
        where += " AND related_entity_type = :entity_type"
        params["entity_type"] = filters.entity_type
    if filters.entity_id is not None:
        where += " AND related_entity_id = :entity_id"
        params["entity_id"] = filters.entity_id
    if filters.search is not None:
        where += (
            " AND (fold(subject) LIKE :search ESCAPE '!'"
            " OR EXISTS (SELECT 1 FROM inbound_messages i WHERE i.tenant_id = :tenant_id AND i.conversation_id = conversations.id"
            " AND fold(i.sender || '\n' || i.sender_name || '\n' || i.subject || '\n' || i.text) LIKE :search ESCAPE '!')"
            " OR EXISTS (SELECT 1 FROM communications c JOIN contents k ON k.tenant_id = c.tenant_id AND k.id = c.content_id"
            " LEFT JOIN renderings r ON r.tenant_id = c.tenant_id AND r.communication_id = c.id"
            " WHERE c.tenant_id = :tenant_id AND c.conversation_id = conversations.id"
            " AND (COALESCE(r.subject, k.said_subject) LIKE :search ESCAPE '!' OR COALESCE(r.body, k.said_text) LIKE :search ESCAPE '!')))"
        )
        params["search"] = f"%{literal(fold(filters.search))}%"
    return where, params


def _which(wanted: Received) -> tuple[LiteralString, dict[str, Param]]:
    where: LiteralString = ""
    params: dict[str, Param] = {}
    if wanted.status is not None:
        where += " AND i.status = :status"
        params["status"] = wanted.status
    if wanted.automatic is not None:
        where += " AND i.automatic = :automatic"
        params["automatic"] = int(wanted.automatic)
    if wanted.contact_id is not None:
        where += " AND i.contact_id = :contact_id"
        params["contact_id"] = wanted.contact_id
    if wanted.conversation_id is not None:
        where += " AND i.conversation_id = :conversation_id"
        params["conversation_id"] = wanted.conversation_id
    if wanted.sender is not None:
        where += " AND lower(i.sender) = :sender"
        params["sender"] = wanted.sender.lower()
    if wanted.recipient is not None:
        where += " AND lower(i.recipients) LIKE :recipient ESCAPE '!'"
        params["recipient"] = f"%{literal(msgspec.json.encode(wanted.recipient.lower()).decode())}%"
    if wanted.since is not None:
        where += " AND i.received_at >= :since"
        params["since"] = wanted.since
    if wanted.before is not None:
        where += " AND i.received_at < :before"
        params["before"] = wanted.before
    return where, params
