"""Sending through alpha: one mail to one or several or to a list, with a body of its own or from a template, now or later."""

from typing import NamedTuple

import msgspec

from tidings import ids
from tidings.api import drafts
from tidings.api.alpha.lookup import told
from tidings.api.alpha.options import UNKNOWN, Options, Schedule, Send, SendTemplate, drafted, future, reference
from tidings.api.alpha.records import Record
from tidings.api.enclosures import SEND_LIMIT, kept, read
from tidings.api.idempotency import once
from tidings.api.wire import Call, Reply, Route, ok
from tidings.database import Tx
from tidings.domain import communications, lists, senders, templates, threads
from tidings.domain.communications import Draft
from tidings.errors import Invalid, NotFound
from tidings.rendering.compose import Composer


class First(NamedTuple):
    """The first of the communications that one request made."""

    id: int


async def send(call: Call) -> Reply:
    """One mail with a body of its own: a template when `variables` come with it (be they none), else sent as it stands."""
    wanted = await read(call, Send)
    return await _sent(call, await _worded(call, wanted), wanted)


async def schedule(call: Call) -> Reply:
    """The same at a later time. One that has passed, or is none, is a 400."""
    wanted = await read(call, Schedule)
    at = future(wanted.scheduled_at, call.now)
    if at is None:
        raise Invalid.field("scheduledAt", "must not be empty")
    return await _sent(call, msgspec.structs.replace(await _worded(call, wanted), scheduled_at=at), wanted)


async def send_template(call: Call) -> Reply:
    """One mail from a template's newest version. An unknown template is a 404, a required variable that is missing a 400."""
    wanted = await read(call, SendTemplate)
    template_id = ids.parse("template", call.path["templateId"])
    template, message = await call.db.read(drafts.from_template, call.tenant_id, template_id)
    if template.channel != "email":
        raise Invalid("This template is for text messages, not for mail")
    draft = msgspec.structs.replace(
        drafted(call, wanted, wanted.recipients),
        content=message.content,
        template_id=template.id,
        variables=drafts.check_variables(message.content, wanted.variables or {}),
        subject=drafts.line(wanted.subject, "subject", longest=998),
        scheduled_at=future(wanted.scheduled_at, call.now),
    )
    return await _sent(call, draft, wanted)


async def _worded(call: Call, wanted: Send) -> Draft:
    """The draft of a mail that brings its own words. Raises Invalid and NotFound."""
    if not wanted.body.strip():
        raise Invalid.field("body", "must not be empty")
    subject = drafts.line(wanted.subject, "subject", longest=998)
    if subject is None:
        raise Invalid.field("subject", "must not be empty")
    draft = drafted(call, wanted, wanted.recipients)
    template_id = reference(wanted.template_id, "template")
    # without variables there is nothing to fill in: a CRM that has rendered its mail itself means every brace
    said = drafts.literal if wanted.variables is None else str
    message = await drafts.prepare(call.tenant_id, "email", "html", said(subject), said(wanted.body))
    return msgspec.structs.replace(draft, content=message.content, content_hash=message.hash, template_id=template_id)


async def _sent(call: Call, draft: Draft, wanted: Options) -> Reply:
    """Sends it, once however often it is asked for, and answers the first record."""
    draft = msgspec.structs.replace(draft, attachments=await kept(call, wanted.attachments, kind_field="contentType"))
    return await once(
        call,
        lambda tx: _send(tx, call.house.composer, draft, wanted, now=call.now),
        lambda tx, first: ok(told(tx, call, first.id)),
    )


def _send(tx: Tx, composer: Composer, draft: Draft, wanted: Options, *, now: int) -> First:
    """The one transaction of every send: all that it makes is made here. Raises Invalid and NotFound."""
    _check_known(tx, draft)
    if draft.sender_email is not None:
        senders.check(tx, draft.tenant_id, draft.sender_email, "senderEmail")
    named = drafts.line(wanted.conversation_id, "conversationId")
    if named is not None:
        joined = threads.join(tx, draft.tenant_id, named, channel=draft.channel, now=now)
        draft = msgspec.structs.replace(draft, conversation_id=joined)
    made = [communications.accept(tx, draft, now=now).id] if draft.to else []
    for communication_id in made:
        drafts.keep_wording(tx, composer, draft, communication_id)
    if draft.list_id is not None:
        made += communications.begin_mailing(tx, draft, now=now)
    if not made:
        raise Invalid.field("recipientListId", "names a list without anybody to write to")
    return First(made[0])


def _check_known(tx: Tx, draft: Draft) -> None:
    if draft.template_id is not None and templates.find(tx, draft.tenant_id, draft.template_id) is None:
        raise NotFound(UNKNOWN["template"])
    if draft.list_id is not None and lists.get(tx, draft.tenant_id, draft.list_id) is None:
        raise NotFound(UNKNOWN["list"])


ROUTES: list[Route] = [
    Route(
        "POST",
        "/api/v1/communications/send",
        send,
        "communications:write",
        "Send one mail",
        takes=Send,
        gives=Record,
        refuses=(404,),
        idempotent=True,
        limit=SEND_LIMIT,
    ),
    Route(
        "POST",
        "/api/v1/communications/schedule",
        schedule,
        "communications:write",
        "Send one mail at a later time",
        takes=Schedule,
        gives=Record,
        refuses=(404,),
        idempotent=True,
        limit=SEND_LIMIT,
    ),
    Route(
        "POST",
        "/api/v1/communications/send-template/{templateId}",
        send_template,
        "communications:write",
        "Send one mail from a template",
        takes=SendTemplate,
        gives=Record,
        idempotent=True,
        limit=SEND_LIMIT,
    ),
]
