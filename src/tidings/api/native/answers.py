"""Answering in a conversation: to whom, under which subject, and in which words. How it refers to what went before is dispatch's to see."""

import re
from typing import Any, NamedTuple

import msgspec

from tidings import ids
from tidings.api import drafts
from tidings.api.enclosures import kept, read
from tidings.api.idempotency import once
from tidings.api.native import talk
from tidings.api.native.contents import Said, prepared
from tidings.api.wire import IDEMPOTENCY_KEY, Call, Reply, created
from tidings.database import Tx
from tidings.domain import communications, contacts, senders, suppressions, threads
from tidings.domain.communications import Draft
from tidings.domain.templates import Content
from tidings.domain.threads import Conversation
from tidings.errors import Conflict, Invalid, NotFound
from tidings.message import address, phone
from tidings.message.outgoing import Address
from tidings.rendering import template as rendering

TYPE = "REPLY"
_ANSWERED = re.compile(r"\s*(?:re|aw|antw|sv|vs|r[eé]f|odp|rif|res)\s*(?:\[\d+\])?\s*:", re.IGNORECASE)
LONGEST_SUBJECT = 998


class NewFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file. `content` is base64; without a `content_type` its name tells the type."""

    filename: str
    content: str
    content_type: str | None = None


class NewReply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An answer: `text`, `html` or both, which go out as they are, or a `template_id` with its `variables`.

    Without a `subject` it is "Re: " and that of the conversation. A text message has neither HTML nor subject nor files.
    """

    text: str | None = None
    html: str | None = None
    subject: str | None = None
    template_id: str | None = None
    variables: dict[str, Any] | None = None
    attachments: list[NewFile] | None = None


class _Words(NamedTuple):
    content: Content
    hash: str
    template_id: int | None
    variables: str | None


async def reply(call: Call, conversation_id: int) -> Reply:
    """201 with the message that goes out. Raises NotFound, Invalid, and Conflict when nobody can be answered or must not be written to."""
    wanted = await read(call, NewReply)
    conversation = await call.db.read(_found, call.tenant_id, conversation_id)
    _check(wanted, conversation.channel)
    words = await _worded(call, wanted, conversation.channel)
    draft = Draft(
        tenant_id=call.tenant_id,
        channel=conversation.channel,
        content=words.content,
        content_hash=words.hash,
        type=TYPE,
        template_id=words.template_id,
        variables=words.variables,
        conversation_id=conversation.id,
        attachments=await kept(call, wanted.attachments),
        created_by=call.key_name,
    )
    subject = drafts.line(wanted.subject, "subject", longest=LONGEST_SUBJECT)
    return await once(
        call, lambda tx: _accepted(tx, call, draft, subject), lambda tx, communication_id: created(_told(tx, call, communication_id))
    )


def _found(tx: Tx, tenant_id: int, conversation_id: int) -> Conversation:
    found = threads.get(tx, tenant_id, conversation_id)
    if found is None:
        raise NotFound("Conversation not found")
    return found


def _check(wanted: NewReply, channel: str) -> None:
    wrong = drafts.Complaints()
    worded = wanted.text is not None or wanted.html is not None
    if wanted.template_id is not None and worded:
        wrong.add("template_id", "stands for the whole content; leave out text and html")
    if wanted.template_id is None and not (wanted.text or "").strip() and not (wanted.html or "").strip():
        wrong.add("text", "must not be empty, or there must be html or a template_id")
    if wanted.variables is not None and wanted.template_id is None:
        wrong.add("variables", "are for a template_id")
    if channel == "sms":
        for name in ("html", "subject", "attachments"):
            if getattr(wanted, name):
                wrong.add(name, "has no place in a text message")
    wrong.settle()


async def _worded(call: Call, wanted: NewReply, channel: str) -> _Words:
    if wanted.template_id is not None:
        template, message = await call.db.read(drafts.from_template, call.tenant_id, ids.parse("template", wanted.template_id))
        if template.channel != channel:
            raise Invalid.field("template_id", f"is a template for {template.channel}")
        variables = drafts.check_variables(message.content, wanted.variables or {})
        return _Words(message.content, message.hash, template.id, variables)
    html, text = drafts.literal(wanted.html or ""), drafts.literal(wanted.text or "")
    said = Said("", html, "html", text or None, []) if html.strip() else Said("", text, "text", None, [])
    content = await prepared(call.tenant_id, channel, said, strict=False)
    return _Words(content, rendering.content_hash(content), None, None)


def _accepted(tx: Tx, call: Call, draft: Draft, subject: str | None) -> int:
    """Addresses the draft and accepts it: who answers, and with which subject, is known only now. Answers the communication."""
    conversation = _found(tx, call.tenant_id, draft.conversation_id or 0)
    where = _whom(tx, conversation)
    blocked = suppressions.find(tx, call.tenant_id, draft.channel, where)
    if blocked is not None:
        raise Conflict(f"{where} must not be written to: {blocked.reason}")
    draft = msgspec.structs.replace(draft, contact_id=_contact(tx, conversation, where))
    if draft.channel == "sms":
        draft = msgspec.structs.replace(draft, phone=where)
    else:
        own = subject is None and draft.template_id is None
        named = _subject(tx, call, conversation) if own else subject
        draft = msgspec.structs.replace(
            draft,
            to=(Address(where),),
            subject=None if named is None else drafts.literal(named),
            **_sender(tx, conversation),
        )
    made = communications.accept(tx, draft, now=call.now)
    drafts.keep_wording(tx, call.house.composer, draft, made.id)
    return made.id


def _contact(tx: Tx, conversation: Conversation, where: str) -> int | None:
    """The conversation's own contact when it is theirs; several may share a number."""
    contact = contacts.get(tx, conversation.tenant_id, conversation.contact_id) if conversation.contact_id is not None else None
    if contact is None or address.key(where) not in (address.key(contact.email or ""), contact.phone):
        return None
    return contact.id


def _whom(tx: Tx, conversation: Conversation) -> str:
    """Who wrote last (where they ask to be answered, RFC 5322, 3.6.2), else whom it is with."""
    heard = threads.last_heard(tx, conversation.tenant_id, conversation.id)
    where = heard.reply_to or heard.sender if heard is not None and heard.channel == conversation.channel else None
    if where is None and conversation.contact_id is not None:
        contact = contacts.get(tx, conversation.tenant_id, conversation.contact_id)
        where = None if contact is None else contact.email if conversation.channel == "email" else contact.phone
    if not where or where == threads.NOBODY:
        raise Conflict("There is nobody to answer in this conversation")
    if conversation.channel == "sms":
        if not phone.is_e164(where):
            raise Conflict(f"{where[:40]!a} is no number that can be answered")
        return where
    try:
        return address.normalise(where)
    except Invalid as error:
        raise Conflict(f"{where[:80]!a} is no address that can be answered") from error


def _subject(tx: Tx, call: Call, conversation: Conversation) -> str:
    """That of the conversation with "Re: " before it, unless it has that, in whatever language."""
    heard = threads.last_heard(tx, conversation.tenant_id, conversation.id)
    said = heard.subject if heard is not None else ""
    if not said:
        said = conversation.subject or _last_subject(tx, call, conversation)
    said = address.strip_control(said)
    return said if _ANSWERED.match(said) else f"Re: {said}".strip()[:LONGEST_SUBJECT]


def _last_subject(tx: Tx, call: Call, conversation: Conversation) -> str:
    last = threads.last_sent(tx, conversation.tenant_id, conversation.id)
    sent = talk.gather(tx, conversation.tenant_id, [last]).get(last) if last is not None else None
    return "" if sent is None else talk.went(call.house, sent).subject


def _sender(tx: Tx, conversation: Conversation) -> dict[str, str | None]:
    """Whoever wrote for us last goes on, while the tenant may write as that."""
    last = threads.last_sent(tx, conversation.tenant_id, conversation.id)
    row = communications.get(tx, conversation.tenant_id, last) if last is not None else None
    if row is None:
        return {}
    try:
        senders.check(tx, conversation.tenant_id, row.sender_email, "from")
    except Invalid:
        return {}
    return {"sender_email": row.sender_email, "sender_name": row.sender_name}


def _told(tx: Tx, call: Call, communication_id: int) -> talk.MessageAnswer:
    sent = talk.gather(tx, call.tenant_id, [communication_id])[communication_id]
    if IDEMPOTENCY_KEY in call.headers:
        # not committed yet: were this undone, its content's id might go to another, and a composer keeps what it made of an id
        sent = msgspec.structs.replace(sent, content=msgspec.structs.replace(sent.content, id=0))
    return talk.went(call.house, sent)
