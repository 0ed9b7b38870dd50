"""Sending through alpha: one mail to one or several or to a list, with a body of its own or from a template, now or later."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import msgspec

from tidings import ids
from tidings.api import drafts
from tidings.api.alpha.lookup import shown
from tidings.api.alpha.records import Record
from tidings.api.wire import Call, Reply, Route, ok
from tidings.clock import DAY
from tidings.database import Tx
from tidings.domain import communications, contacts, lists, templates
from tidings.domain.communications import Draft
from tidings.domain.contacts import Contact, Filters
from tidings.domain.templates import Content
from tidings.errors import Invalid, NotFound
from tidings.message.outgoing import Address

DEFAULT_TYPE: Final = "OFFERTE"
LONGEST_WAIT = 5 * 366 * DAY
"""How far ahead mail may be scheduled: a year typed with one digit too many is a mistake."""
MEMBERS_AT_ONCE = 500
"""Members of a list that are written to in one transaction."""
_TYPE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_UNKNOWN = {"template": "Template not found", "list": "Recipient list not found"}
_NOTHING_YET = Content(0, 0, "email", "html", "", "", "", "", "[]", "[]")


class Options(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What every sending operation takes besides its own fields; unknown fields are ignored, null is as good as absent."""

    cc: list[str] | None = None
    bcc: list[str] | None = None
    reply_to: str | None = None
    sender_email: str | None = None
    sender_name: str | None = None
    type: str | None = None
    related_entity_type: str | None = None
    related_entity_id: str | None = None
    recipient_list_id: str | None = None
    template_id: str | None = None
    variables: dict[str, Any] | None = None
    tracking_enabled: bool | None = None
    link_tracking_enabled: bool | None = None
    conversation_id: str | None = None


class Send(Options, frozen=True, kw_only=True, rename="camel"):
    """POST /send."""

    body: str
    recipients: list[str]
    subject: str


class Schedule(Send, frozen=True, kw_only=True, rename="camel"):
    """POST /schedule."""

    scheduled_at: str


class SendTemplate(Options, frozen=True, kw_only=True, rename="camel"):
    """POST /send-template/{templateId}."""

    recipients: list[str]
    subject: str | None = None
    scheduled_at: str | None = None


async def send(call: Call) -> Reply:
    """One mail with a body of its own: a template when `variables` come with it (be they none), else sent as it stands."""
    wanted = call.json(Send)
    return await _accept(call, await _worded(call, wanted), wanted)


async def schedule(call: Call) -> Reply:
    """The same at a later time. One that has passed, or is none, is a 400."""
    wanted = call.json(Schedule)
    at = _future(wanted.scheduled_at, call.now)
    if at is None:
        raise Invalid.field("scheduledAt", "must not be empty")
    return await _accept(call, msgspec.structs.replace(await _worded(call, wanted), scheduled_at=at), wanted)


async def _worded(call: Call, wanted: Send) -> Draft:
    """The draft of a mail that brings its own words. Raises Invalid and NotFound."""
    if not wanted.body.strip():
        raise Invalid.field("body", "must not be empty")
    subject = drafts.line(wanted.subject, "subject", longest=998)
    if subject is None:
        raise Invalid.field("subject", "must not be empty")
    draft = _draft(call, wanted, wanted.recipients)
    template_id = _reference(wanted.template_id, "template")
    await call.db.read(_check_known, call.tenant_id, template_id, draft.list_id)
    # without variables there is nothing to fill in: a CRM that has rendered its mail itself means every brace
    said = drafts.literal if wanted.variables is None else str
    message = await drafts.prepare(call.tenant_id, "email", "html", said(subject), said(wanted.body))
    return msgspec.structs.replace(draft, content=message.content, content_hash=message.hash, template_id=template_id)


async def send_template(call: Call) -> Reply:
    """One mail from a template's newest version. An unknown template is a 404, a required variable that is missing a 400."""
    wanted = call.json(SendTemplate)
    template_id = ids.parse("template", call.path["templateId"])
    template, message = await call.db.read(drafts.from_template, call.tenant_id, template_id)
    if template.channel != "email":
        raise Invalid("This template is for text messages, not for mail")
    draft = _draft(call, wanted, wanted.recipients)
    await call.db.read(_check_known, call.tenant_id, None, draft.list_id)
    draft = msgspec.structs.replace(
        draft,
        content=message.content,
        template_id=template.id,
        variables=drafts.check_variables(message.content, wanted.variables or {}),
        subject=drafts.line(wanted.subject, "subject", longest=998),
        scheduled_at=_future(wanted.scheduled_at, call.now),
    )
    return await _accept(call, draft, wanted)


def _draft(call: Call, wanted: Options, recipients: list[str]) -> Draft:
    """Everything but the content, checked. Raises Invalid naming whatever is wrong, every bad address by its place."""
    wrong = drafts.Complaints()
    none: tuple[Address, ...] = ()
    to = wrong.check(lambda: drafts.mailboxes(recipients, "recipients"), none)
    cc = wrong.check(lambda: drafts.mailboxes(wanted.cc, "cc"), none)
    bcc = wrong.check(lambda: drafts.mailboxes(wanted.bcc, "bcc"), none)
    if not recipients and wanted.recipient_list_id is None:
        wrong.add("recipients", "must name at least one address")
    if len(to) + len(cc) + len(bcc) > drafts.MOST_RECIPIENTS:
        wrong.add("recipients", f"are more than {drafts.MOST_RECIPIENTS}, cc and bcc included; use a recipient list")
    if wanted.type is not None and not _TYPE.fullmatch(wanted.type):
        wrong.add("type", "must be upper-case letters, digits and underscores, a letter first")
    draft = Draft(
        tenant_id=call.tenant_id,
        channel="email",
        content=_NOTHING_YET,
        content_hash="",
        type=wanted.type or DEFAULT_TYPE,
        to=to,
        cc=cc,
        bcc=bcc,
        sender_email=wrong.check(lambda: drafts.mailbox(wanted.sender_email, "senderEmail"), None),
        sender_name=wrong.check(lambda: drafts.line(wanted.sender_name, "senderName"), None),
        reply_to=wrong.check(lambda: drafts.mailbox(wanted.reply_to, "replyTo"), None),
        variables=msgspec.json.encode(wanted.variables).decode() if wanted.variables is not None else None,
        related_entity_type=wrong.check(lambda: drafts.line(wanted.related_entity_type, "relatedEntityType"), None),
        related_entity_id=wrong.check(lambda: drafts.line(wanted.related_entity_id, "relatedEntityId"), None),
        conversation_id=wrong.check(lambda: drafts.line(wanted.conversation_id, "conversationId"), None),
        list_id=_reference(wanted.recipient_list_id, "list"),
        track_opens=wanted.tracking_enabled is not False,
        track_links=wanted.link_tracking_enabled is not False,
        created_by=call.key_name,
    )
    wrong.settle()
    return draft


async def _accept(call: Call, draft: Draft, wanted: Options) -> Reply:
    first = await call.db.write(communications.accept, draft, now=call.now) if draft.to else None
    if draft.list_id is None:
        assert first is not None
        return ok(await shown(call, first.id))
    # each member gets a mail of its own that names nobody else, who is addressed by name already not a second one
    addressed = {entry.email.lower() for entry in draft.to}
    private = msgspec.structs.replace(draft, to=(), cc=(), bcc=())
    after, first_id = 0, first.id if first else None
    while (step := await call.db.write(_to_members, private, addressed, after, call.now)) is not None:
        after, made = step
        first_id = first_id if first_id is not None else made
    if first_id is None:
        raise Invalid.field("recipientListId", "names a list without anybody to write to")
    return ok(await shown(call, first_id))


def _to_members(tx: Tx, draft: Draft, addressed: set[str], after: int, now: int) -> tuple[int, int | None] | None:
    """Writes to the next members of the draft's list: (last contact id, first communication made); None at the list's end."""
    assert draft.list_id is not None
    members = contacts.after(tx, draft.tenant_id, Filters(list_id=draft.list_id), after_id=after, limit=MEMBERS_AT_ONCE)
    if not members:
        return None
    made = [communications.accept(tx, copy, now=now).id for copy in _copies(draft, members, addressed)]
    return members[-1].id, made[0] if made else None


def _copies(draft: Draft, members: list[Contact], addressed: set[str]) -> Iterator[Draft]:
    for member in members:
        if member.email is None or member.email_key in addressed or member.email_denied_at is not None:
            continue
        name = f"{member.first_name} {member.last_name}".strip()
        yield msgspec.structs.replace(draft, to=(Address(member.email, name),), contact_id=member.id)


def _reference(text: str | None, kind: str) -> int | None:
    if text is None or not text.strip():
        return None
    found = ids.parse(kind, text.strip())
    if found is None:
        raise NotFound(_UNKNOWN[kind])
    return found


def _check_known(tx: Tx, tenant_id: int, template_id: int | None, list_id: int | None) -> None:
    if template_id is not None and templates.find(tx, tenant_id, template_id) is None:
        raise NotFound(_UNKNOWN["template"])
    if list_id is not None and lists.get(tx, tenant_id, list_id) is None:
        raise NotFound(_UNKNOWN["list"])


def _future(text: str | None, now: int) -> int | None:
    if text is None or not text.strip():
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise Invalid.field("scheduledAt", "must be a date and time such as 2030-01-31T09:00:00Z") from error
    if moment.tzinfo is None:
        raise Invalid.field("scheduledAt", "needs a zone: end it with Z for UTC")
    at = int(moment.timestamp() * 1000)
    if not now < at < now + LONGEST_WAIT:
        raise Invalid.field("scheduledAt", "must be in the future, and no more than five years ahead")
    return at


ROUTES: list[Route] = [
    Route("POST", "/api/v1/communications/send", send, "communications:write", "Send one mail", takes=Send, gives=Record),
    Route(
        "POST",
        "/api/v1/communications/schedule",
        schedule,
        "communications:write",
        "Send one mail at a later time",
        takes=Schedule,
        gives=Record,
    ),
    Route(
        "POST",
        "/api/v1/communications/send-template/{templateId}",
        send_template,
        "communications:write",
        "Send one mail from a template",
        takes=SendTemplate,
        gives=Record,
    ),
]
