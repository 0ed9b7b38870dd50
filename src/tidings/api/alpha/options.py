"""What alpha's sending operations take, and how it becomes a Draft. Nothing here asks the store: what a request names is looked up when it is sent."""

import re
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec

from tidings import ids
from tidings.api import drafts
from tidings.api.alpha.attachments import Enclosure
from tidings.api.wire import Call
from tidings.clock import DAY
from tidings.domain.communications import Draft
from tidings.domain.templates import Content
from tidings.errors import Invalid, NotFound
from tidings.message.outgoing import Address

DEFAULT_TYPE: Final = "OFFERTE"
LONGEST_WAIT = 5 * 366 * DAY
"""How far ahead mail may be scheduled: a year typed with one digit too many is a mistake."""
LONGEST_SUBJECT = 998
"""Characters: what a line of a mail may hold (RFC 5322, section 2.1.1)."""
UNKNOWN = {"template": "Template not found", "list": "Recipient list not found"}
_TYPE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
# told in the description only: what is beyond them is refused below, in words of our own
Word = Annotated[str, msgspec.Meta(extra_json_schema={"maxLength": drafts.LONGEST_WORD})]
Subject = Annotated[str, msgspec.Meta(extra_json_schema={"minLength": 1, "maxLength": LONGEST_SUBJECT})]
Instant = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
Mailbox = Annotated[str, msgspec.Meta(extra_json_schema={"minLength": 3})]
_NOTHING_YET = Content(0, 0, "email", "html", "", "", "", "", "[]", "[]")


class Options(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What every sending operation takes besides its own fields; unknown fields are ignored, null is as good as absent."""

    cc: list[Mailbox] | None = None
    bcc: list[Mailbox] | None = None
    reply_to: str | None = None
    sender_email: str | None = None
    sender_name: Word | None = None
    type: str | None = None
    related_entity_type: Word | None = None
    related_entity_id: Word | None = None
    recipient_list_id: str | None = None
    template_id: str | None = None
    variables: dict[str, Any] | None = None
    tracking_enabled: bool | None = None
    link_tracking_enabled: bool | None = None
    conversation_id: Word | None = None
    attachments: list[Enclosure] | None = None


class Send(Options, frozen=True, kw_only=True, rename="camel"):
    """POST /send."""

    body: str
    recipients: list[Mailbox]
    subject: Subject


class Schedule(Send, frozen=True, kw_only=True, rename="camel"):
    """POST /schedule."""

    scheduled_at: Instant


class SendTemplate(Options, frozen=True, kw_only=True, rename="camel"):
    """POST /send-template/{templateId}."""

    recipients: list[Mailbox]
    subject: Subject | None = None
    scheduled_at: Instant | None = None


def drafted(call: Call, wanted: Options, recipients: list[str]) -> Draft:
    """Everything but the content and the conversation, checked. Raises Invalid naming whatever is wrong, every bad address by its place."""
    wrong = drafts.Complaints()
    none: tuple[Address, ...] = ()
    to = wrong.check(lambda: drafts.mailboxes(recipients, "recipients"), none)
    cc = wrong.check(lambda: drafts.mailboxes(wanted.cc, "cc"), none)
    bcc = wrong.check(lambda: drafts.mailboxes(wanted.bcc, "bcc"), none)
    if not recipients and wanted.recipient_list_id is None:
        wrong.add("recipients", "must name at least one address")
    for name, others in (("cc", cc), ("bcc", bcc)):
        if others and not recipients and wanted.recipient_list_id is not None:
            wrong.add(name, "goes with recipients: each member of a recipient list gets a mail of its own, without any")
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
        list_id=reference(wanted.recipient_list_id, "list"),
        track_opens=wanted.tracking_enabled is not False,
        track_links=wanted.link_tracking_enabled is not False,
        created_by=call.key_name,
    )
    wrong.check(lambda: drafts.line(wanted.conversation_id, "conversationId"), None)
    wrong.settle()
    return draft


def reference(text: str | None, kind: str) -> int | None:
    """The id behind an optional reference. Raises NotFound for what is none."""
    if text is None or not text.strip():
        return None
    found = ids.parse(kind, text.strip())
    if found is None:
        raise NotFound(UNKNOWN[kind])
    return found


def future(text: str | None, now: int) -> int | None:
    """The instant that `scheduledAt` names, None where nothing is there. Raises Invalid when it has no zone, has passed, or is too far ahead."""
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
