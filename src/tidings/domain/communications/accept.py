"""Accepting a message: from here on it is ours. One transaction makes contact, content, communication and count."""

import re

import msgspec

from tidings.database import Tx
from tidings.domain import attachments, contacts, counters, events, suppressions, templates
from tidings.domain.attachments import File
from tidings.domain.communications.record import Communication, get
from tidings.domain.counters import Bucket, Tally
from tidings.domain.templates import Content
from tidings.errors import NotFound
from tidings.message.outgoing import Address

_TEMPLATED = re.compile(r"\{[{%#]")


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A checked request: what to say, to whom, and with which switches. Addresses are normalised, the content is prepared.

    `content` is stored by `content_hash` unless it has an id. For mail `to` has at least one address; for SMS `phone` is E.164.
    `contact_id` names the contact; without one it is found by address, or made. `scheduled_at` in the future makes it wait.
    `exempt` sends it although its address is suppressed: the confirmation of a STOP.
    `conversation_id` is one of the tenant's (see `threads.join`), `attachments` have been kept (see `attachments.keep`).
    """

    tenant_id: int
    channel: str
    content: Content
    content_hash: str
    type: str
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    bcc: tuple[Address, ...] = ()
    phone: str = ""
    contact_id: int | None = None
    sender_email: str | None = None
    sender_name: str | None = None
    reply_to: str | None = None
    subject: str | None = None
    variables: str | None = None
    template_id: int | None = None
    list_id: int | None = None
    related_entity_type: str | None = None
    related_entity_id: str | None = None
    conversation_id: int | None = None
    scheduled_at: int | None = None
    track_opens: bool = True
    track_links: bool = True
    attachments: tuple[File, ...] = ()
    created_by: str = ""
    exempt: bool = False


def accept(tx: Tx, draft: Draft, *, now: int) -> Communication:
    """Takes the message: sent or accounted for from here on. Raises NotFound when the named contact is not the tenant's."""
    contact_id = _contact(tx, draft, now)
    content_id = draft.content.id or templates.store_content(tx, draft.content, draft.content_hash, now=now)
    blocked = _blocked(tx, draft)
    address = draft.to[0].email if draft.channel == "email" else draft.phone
    writable = [entry for entry in (*draft.to, *draft.cc, *draft.bcc) if entry.email.lower() not in blocked]
    suppressed = not writable if draft.channel == "email" else draft.phone in blocked
    due_at = max(draft.scheduled_at or now, now)
    state = "suppressed" if suppressed else "scheduled" if due_at > now else "pending"
    row = tx.row(
        "INSERT INTO communications (tenant_id, channel, state, lane, due_at, contact_id, content_id, template_id, list_id, type, address, recipients,"
        " sender_email, sender_name, reply_to, subject, variables, related_entity_type, related_entity_id, conversation_id, attached,"
        " exempt, track_opens, track_links, scheduled_at, error, created_by, updated_by, created_at, updated_at)"
        " VALUES (:tenant_id, :channel, :state, 0, :due_at, :contact_id, :content_id, :template_id, :list_id, :type, :address, :recipients,"
        " :sender_email, :sender_name, :reply_to, :subject, :variables, :related_entity_type, :related_entity_id, :conversation_id, :attached,"
        " :exempt, :track_opens, :track_links, :scheduled_at, :error, :created_by, :created_by, :now, :now) RETURNING id",
        tenant_id=draft.tenant_id,
        channel=draft.channel,
        state=state,
        due_at=None if suppressed else due_at,
        contact_id=contact_id,
        content_id=content_id,
        template_id=draft.template_id,
        list_id=draft.list_id,
        type=draft.type,
        address=address,
        recipients=_recipients(draft, blocked),
        sender_email=draft.sender_email,
        sender_name=draft.sender_name,
        reply_to=draft.reply_to,
        subject=draft.subject,
        variables=draft.variables,
        related_entity_type=draft.related_entity_type,
        related_entity_id=draft.related_entity_id,
        conversation_id=draft.conversation_id,
        attached=int(bool(draft.attachments)),
        exempt=int(draft.exempt),
        track_opens=int(draft.track_opens),
        track_links=int(draft.track_links),
        scheduled_at=draft.scheduled_at,
        error="; ".join(f"{address} must not be written to: {reason}" for address, reason in sorted(blocked.items())) or None,
        created_by=draft.created_by,
        now=now,
    )
    assert row is not None
    if draft.attachments:
        attachments.store(tx, draft.tenant_id, draft.attachments, communication_id=row[0], now=now)
    communication = get(tx, draft.tenant_id, row[0])
    assert communication is not None
    if draft.conversation_id is not None:
        _continue(tx, draft, draft.conversation_id, contact_id, now)
    _count(tx, communication, suppressed=suppressed, now=now)
    if not suppressed:
        tx.notify("due")
    return communication


def entity(kind: str | None, identity: str | None) -> tuple[str | None, str | None]:
    """What a conversation is linked to by one of its messages: a type and an id, or neither where one of them is missing."""
    return (kind, identity) if kind is not None and identity is not None else (None, None)


def plain(subject: str) -> str:
    """The subject as far as it reads the same for everybody; "" when it is a template."""
    return "" if _TEMPLATED.search(subject) else subject


def _continue(tx: Tx, draft: Draft, conversation_id: int, contact_id: int, now: int) -> None:
    """Brings the conversation up to this message. Who it is with, and what about, is told by the first message that knows it."""
    entity_type, entity_id = entity(draft.related_entity_type, draft.related_entity_id)
    tx.run(
        "UPDATE conversations SET last_at = CASE WHEN last_at < :now THEN :now ELSE last_at END, updated_at = :now,"
        " contact_id = COALESCE(contact_id, :contact_id), subject = CASE WHEN subject = '' THEN :subject ELSE subject END,"
        " related_entity_type = COALESCE(related_entity_type, :entity_type), related_entity_id = COALESCE(related_entity_id, :entity_id)"
        # a list's thousand copies change it once
        " WHERE tenant_id = :tenant_id AND id = :id AND (last_at < :now OR contact_id IS NULL OR subject = '' AND :subject <> ''"
        " OR related_entity_id IS NULL AND CAST(:entity_id AS text) IS NOT NULL)",
        tenant_id=draft.tenant_id,
        id=conversation_id,
        contact_id=contact_id,
        subject=plain(draft.subject or draft.content.subject),
        entity_type=entity_type,
        entity_id=entity_id,
        now=now,
    )


def _contact(tx: Tx, draft: Draft, now: int) -> int:
    if draft.contact_id is not None:
        if not _stays(tx, draft.tenant_id, draft.contact_id):
            raise NotFound("No such contact.")
        return draft.contact_id
    if draft.channel == "sms":
        found = contacts.find_by_phone(tx, draft.tenant_id, draft.phone)
        fields = contacts.Fields(phone=draft.phone)
    else:
        found = contacts.find_by_email(tx, draft.tenant_id, draft.to[0].email)
        first, _, last = draft.to[0].name.partition(" ")
        fields = contacts.Fields(email=draft.to[0].email, first_name=first, last_name=last)
    if found is not None and _stays(tx, draft.tenant_id, found.id):
        return found.id
    return contacts.upsert(tx, draft.tenant_id, fields, now=now)[0].id


def _stays(tx: Tx, tenant_id: int, contact_id: int) -> bool:
    """Whether the contact is there, and will be until this transaction ends: who erases it waits, and finds what is accepted here."""
    found = tx.value("SELECT 1 FROM contacts WHERE tenant_id = :tenant_id AND id = :id FOR SHARE", tenant_id=tenant_id, id=contact_id)
    return found is not None


def _blocked(tx: Tx, draft: Draft) -> dict[str, str]:
    """Which of the addresses must not be written to, and why."""
    if draft.exempt:
        return {}
    if draft.channel == "sms":
        return suppressions.matching(tx, draft.tenant_id, "sms", [draft.phone])
    addresses = [entry.email.lower() for entry in (*draft.to, *draft.cc, *draft.bcc)]
    return suppressions.matching(tx, draft.tenant_id, "email", addresses)


def _recipients(draft: Draft, blocked: dict[str, str]) -> str | None:
    """None for the plain case of one bare address, which is most mail there is."""
    if draft.channel == "sms" or (len(draft.to) == 1 and not draft.to[0].name and not draft.cc and not draft.bcc):
        return None
    fields = {"to": draft.to, "cc": draft.cc, "bcc": draft.bcc}
    lists: dict[str, list[str]] = {name: [_written(entry) for entry in entries] for name, entries in fields.items()}
    if blocked:
        lists["skip"] = sorted(blocked)  # looked at again when it is sent: see claim
    return msgspec.json.encode(lists).decode()


def _written(entry: Address) -> str:
    """`a@b.c`, or `"Name" <a@b.c>` with the name quoted (RFC 5322 quoted-string)."""
    if not entry.name:
        return entry.email
    quoted = entry.name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <{entry.email}>'


def _count(tx: Tx, communication: Communication, *, suppressed: bool, now: int) -> None:
    tally = Tally()
    subject = events.Subject(
        communication.tenant_id,
        communication.id,
        communication.contact_id,
        None,
        None,
        communication.template_id,
        communication.channel,
        communication.type,
        now,
    )
    bucket: Bucket = subject.bucket()
    tally.at(bucket).accepted += 1
    if suppressed:
        events.append(tx, [events.Event(subject, "failed", now, detail=communication.error)], tally)
    counters.fold(tx, tally)
