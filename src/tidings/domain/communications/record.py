"""The communication's records and how they are read: whole for the API, as Due for dispatch."""

from collections.abc import Sequence
from typing import LiteralString

import msgspec

from tidings.database import Tx
from tidings.domain import counters, events
from tidings.domain.page import Page


class Communication(msgspec.Struct, frozen=True):
    """A row as its readers want it; sender and reply-to are the campaign's or the tenant's where it has none of its own."""

    id: int
    tenant_id: int
    channel: str
    state: str
    attempts: int
    serial: int
    contact_id: int
    content_id: int
    campaign_id: int | None
    message_id: int | None
    enrollment_id: int | None
    template_id: int | None
    list_id: int | None
    type: str
    address: str
    recipients: str | None
    sender_email: str
    sender_name: str
    reply_to: str | None
    subject: str | None
    variables: str | None
    related_entity_type: str | None
    related_entity_id: str | None
    conversation_id: int | None
    conversation_key: str | None
    attached: int
    provider: str | None
    provider_message_id: str | None
    track_opens: int
    track_links: int
    scheduled_at: int | None
    sent_at: int | None
    delivered_at: int | None
    opened_at: int | None
    open_count: int
    clicked_at: int | None
    click_count: int
    error: str | None
    created_by: str | None
    updated_by: str | None
    created_at: int
    updated_at: int


_COMMUNICATION: LiteralString = (
    "SELECT c.id, c.tenant_id, c.channel, c.state, c.attempts, c.serial, c.contact_id, c.content_id, c.campaign_id, c.message_id, c.enrollment_id,"
    " c.template_id, c.list_id, c.type, c.address, c.recipients, COALESCE(c.sender_email, k.sender_email, t.sender_email),"
    " COALESCE(c.sender_name, k.sender_name, t.sender_name), COALESCE(c.reply_to, k.reply_to), c.subject, c.variables, c.related_entity_type,"
    " c.related_entity_id, c.conversation_id, v.key, c.attached, c.provider, c.provider_message_id, c.track_opens, c.track_links, c.scheduled_at, c.sent_at,"
    " c.delivered_at, c.opened_at, c.open_count, c.clicked_at, c.click_count, c.error, c.created_by, c.updated_by, c.created_at, c.updated_at"
    " FROM communications c JOIN tenants t ON t.id = c.tenant_id LEFT JOIN campaigns k ON k.tenant_id = c.tenant_id AND k.id = c.campaign_id"
    " LEFT JOIN conversations v ON v.tenant_id = c.tenant_id AND v.id = c.conversation_id WHERE c.tenant_id = :tenant_id"
)


def get(tx: Tx, tenant_id: int, communication_id: int) -> Communication | None:
    """One communication of the tenant, or None."""
    return tx.one(Communication, _COMMUNICATION + " AND c.id = :id", tenant_id=tenant_id, id=communication_id)


def hold(tx: Tx, tenant_id: int, communication_id: int) -> Communication | None:
    """The same, held until the transaction ends: for who counts in its hour, while others may send it again, settle or delete it."""
    tx.rows("SELECT id FROM communications WHERE tenant_id = :tenant_id AND id = :id FOR UPDATE", tenant_id=tenant_id, id=communication_id)
    return get(tx, tenant_id, communication_id)


def subject(row: Communication) -> events.Subject:
    """The ledger's view of it, counted in the hour of its sending, else of its acceptance."""
    return events.Subject(
        row.tenant_id,
        row.id,
        row.contact_id,
        row.campaign_id,
        row.message_id,
        row.template_id,
        row.channel,
        row.type,
        row.created_at if row.sent_at is None else row.sent_at,
    )


def several(tx: Tx, tenant_id: int, ids: Sequence[int]) -> list[Communication]:
    """Those of the ids that are the tenant's, in no order."""
    return tx.all(Communication, _COMMUNICATION + " AND c.id IN :ids[bigint]", tenant_id=tenant_id, ids=list(ids))


def scheduled(tx: Tx, tenant_id: int, *, after: tuple[int, int] = (-1, 0), limit: int) -> list[tuple[int, int]]:
    """The next mails that wait for their time, soonest first, behind the (due_at, id) given: their (due_at, id)."""
    return tx.rows(
        "SELECT due_at, id FROM communications WHERE tenant_id = :tenant_id AND channel = 'email' AND lane = 0 AND due_at IS NOT NULL"
        " AND (due_at, id) > (:due_at, :id) AND state = 'scheduled' ORDER BY due_at, id LIMIT :limit",
        tenant_id=tenant_id,
        due_at=after[0],
        id=after[1],
        limit=limit,
    )


class Noted(msgspec.Struct, frozen=True):
    """Something that was done to a communication by whoever keeps it: updated, commented or canceled."""

    communication_id: int
    id: int
    kind: str
    at: int
    detail: str | None
    author: str | None


def history(tx: Tx, tenant_id: int, ids: Sequence[int]) -> list[Noted]:
    """What was done to each of the communications, oldest first."""
    return tx.all(
        Noted,
        "SELECT communication_id, id, kind, at, detail, author FROM interactions WHERE tenant_id = :tenant_id AND communication_id IN :ids[bigint]"
        " AND kind IN ('updated', 'commented', 'canceled') ORDER BY communication_id, at, id",
        tenant_id=tenant_id,
        ids=list(ids),
    )


def page(
    tx: Tx, tenant_id: int, *, channel: str | None = None, sent: bool | None = None, manual: bool | None = None, limit: int, page: int
) -> Page[Communication]:
    """The tenant's communications, newest first; the total comes from the counters and costs the same at any size."""
    where: LiteralString = ""
    params: dict[str, int | str] = {"tenant_id": tenant_id, "limit": limit, "offset": (page - 1) * limit}
    if channel is not None:
        # spelled out: each channel has its own index
        where += " AND channel = 'sms'" if channel == "sms" else " AND channel = 'email'"
    if manual is not None:
        where += " AND campaign_id IS NULL" if manual else " AND campaign_id IS NOT NULL"
    if sent is False:
        # what waits and what has come to its end are each found by an index of their own; both are few
        which: LiteralString = "SELECT id FROM communications WHERE tenant_id = :tenant_id AND sent_at IS NULL" + where
        first: LiteralString = " ORDER BY id DESC LIMIT :most"
        waiting, ended = which + " AND due_at IS NOT NULL" + first, which + " AND due_at IS NULL" + first
        ids: LiteralString = (
            "SELECT u.id FROM (SELECT id FROM (" + waiting + ") w UNION ALL SELECT id FROM (" + ended + ") e) u ORDER BY u.id DESC"
        )
        params["most"] = page * limit
    else:
        where += " AND sent_at IS NOT NULL" if sent else ""
        ids = "SELECT id FROM communications WHERE tenant_id = :tenant_id" + where + " ORDER BY id DESC"
    counts = counters.totals(tx, tenant_id, channel=channel, manual=manual)
    total = counts.accepted if sent is None else counts.sent if sent else counts.accepted - counts.sent
    # the page is found before anything is joined to it
    rows = tx.all(
        Communication,
        _COMMUNICATION + " AND c.id IN (SELECT p.id FROM (" + ids + " LIMIT :limit OFFSET :offset) p) ORDER BY c.id DESC",
        **params,
    )
    return Page(rows, total)


class Due(msgspec.Struct, frozen=True, gc=False):
    """A claimed communication with everything needed to compose and send it; nobody asks the database again.

    `recipients` is "" when the mail goes to `address` alone, else JSON {"to": [..], "cc": [..], "bcc": [..], "skip": [..]} where each
    entry is `a@b.c` or `Name <a@b.c>`, and the addresses to `skip` (suppressed) stand in the headers but get no copy. `variables` and
    `attributes` are JSON objects. `serial` counts resends (a new Message-ID each). The contact's fields are empty when unknown.
    `suppressed` says why the address must not be written to, "" when it may (of several, only when that holds for all of them).
    `conversation_id` is 0 outside of one, `attached` 1 when files travel with it, `list_id` 0 for what was not sent to a list.
    Answers to it go to the tenant's `reply_address`, bounces to `bounce_address`, "" where there is none. `emptied` is 1 when what it said
    is not kept any more: for who shows it, nobody sends such a one.
    """

    id: int
    tenant_id: int
    channel: str
    content_id: int
    provider_id: int
    contact_id: int
    campaign_id: int
    message_id: int
    enrollment_id: int
    attempts: int
    serial: int
    address: str
    recipients: str
    sender_email: str
    sender_name: str
    reply_to: str
    subject: str
    variables: str
    track_opens: int
    track_links: int
    created_at: int
    first_name: str
    last_name: str
    company: str
    email: str
    phone: str
    locale: str
    timezone: str
    attributes: str
    suppressed: str = ""
    conversation_id: int = 0
    attached: int = 0
    list_id: int = 0
    reply_address: str = ""
    bounce_address: str = ""
    emptied: int = 0


DUE: LiteralString = (
    "SELECT c.id, c.tenant_id, c.channel, c.content_id, COALESCE(c.provider_id, 0), c.contact_id, COALESCE(c.campaign_id, 0), COALESCE(c.message_id, 0),"
    " COALESCE(c.enrollment_id, 0), c.attempts + :claiming, c.serial, c.address, COALESCE(c.recipients, ''),"
    " COALESCE(c.sender_email, k.sender_email, t.sender_email),"
    " COALESCE(c.sender_name, k.sender_name, t.sender_name), COALESCE(c.reply_to, k.reply_to, ''), COALESCE(c.subject, ''), COALESCE(c.variables, '{}'),"
    " c.track_opens, c.track_links, c.created_at, COALESCE(p.first_name, ''), COALESCE(p.last_name, ''), COALESCE(p.company, ''), COALESCE(p.email, ''),"
    " COALESCE(p.phone, ''), COALESCE(p.locale, ''), COALESCE(p.timezone, ''), COALESCE(p.attributes, '{}'),"
    # consent may be withdrawn while a message waits: for its campaign, or for the day that its list is written to; whoever had denied it
    # before and is written to along with a list was named
    " CASE WHEN c.exempt = 1 THEN '' ELSE COALESCE(s.reason,"
    " CASE WHEN CASE c.channel WHEN 'email' THEN p.email_denied_at ELSE p.sms_denied_at END"
    " >= CASE WHEN c.campaign_id IS NOT NULL THEN 0 WHEN c.list_id IS NOT NULL THEN c.created_at END"
    " THEN 'no consent' END, '') END, COALESCE(c.conversation_id, 0), c.attached, COALESCE(c.list_id, 0),"
    " COALESCE(t.reply_address, ''), COALESCE(t.bounce_address, ''), CASE WHEN c.worded = 2 THEN 1 ELSE 0 END"
    " FROM communications c JOIN tenants t ON t.id = c.tenant_id"
    " LEFT JOIN campaigns k ON k.tenant_id = c.tenant_id AND k.id = c.campaign_id"
    " LEFT JOIN contacts p ON p.tenant_id = c.tenant_id AND p.id = c.contact_id"
    " LEFT JOIN suppressions s ON s.tenant_id = c.tenant_id AND s.channel = c.channel AND s.address = lower(c.address)"
    " AND c.recipients IS NULL"
    " WHERE c.tenant_id = :tenant_id"
)


def due(tx: Tx, tenant_id: int, communication_id: int) -> Due | None:
    """What dispatch would be given for this communication: for showing what went out."""
    return tx.one(Due, DUE + " AND c.id = :id", tenant_id=tenant_id, id=communication_id, claiming=0)


def dues(tx: Tx, tenant_id: int, ids: Sequence[int]) -> list[Due]:
    """The same for several, in no order."""
    return tx.all(Due, DUE + " AND c.id IN :ids[bigint]", tenant_id=tenant_id, ids=list(ids), claiming=0)
