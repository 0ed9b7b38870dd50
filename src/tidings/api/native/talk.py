"""One message of a conversation, whichever way it went, as the native operations show it; and the files that came or went with it."""

import asyncio
from collections.abc import Sequence
from typing import Literal

import msgspec

from tidings import ids
from tidings.api import drafts
from tidings.api.wire import Call, House, instant
from tidings.database import Tx
from tidings.domain import attachments, communications, templates, threads
from tidings.domain.attachments import Attachment
from tidings.domain.communications import Communication, Due
from tidings.domain.templates import Content
from tidings.domain.threads import Inbound, Said
from tidings.errors import Invalid
from tidings.rendering.compose import Preview

LONGEST = 100_000
"""Characters of a text or an HTML that a list of messages shows; the message alone has all of it."""
AT_ONCE = 20
"""Messages that are read together: nobody but their senders decides how long they are."""


class FileAnswer(msgspec.Struct, frozen=True):
    """A file of a message. `number` counts from 1, `size` is in bytes, `content_id` is what the HTML shows it by (RFC 2392)."""

    number: int
    filename: str
    content_type: str
    size: int
    content_id: str | None


class MessageAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A message of a conversation. One that went out has its `communication_id`; one that came in has an `inbound_message_id`, and as
    `communication_id` what it answers, where that is known; its `reply` is what is new in its text. `status` is the state of what went out
    (pending, sent, delivered, …), or how far what came in has come (new, read, processed, archived). `at` is when it was sent (will be, was
    accepted) or received. `truncated` tells that `text` or `html` is only a beginning.
    """

    direction: Literal["inbound", "outbound"]
    inbound_message_id: str | None
    communication_id: int | None
    at: str
    channel: str
    sender: str = msgspec.field(name="from")
    sender_name: str = msgspec.field(name="from_name")
    to: list[str]
    cc: list[str]
    subject: str
    text: str
    html: str
    reply: str
    truncated: bool
    status: str
    automatic: bool
    keyword: str | None
    error: str | None
    attachments: list[FileAnswer]


class Sent(msgspec.Struct, frozen=True):
    """What a message that went out is shown from."""

    row: Communication
    due: Due
    content: Content
    files: Sequence[Attachment]


class Addressees(msgspec.Struct, frozen=True):
    """Whom a message went to, as its row keeps it."""

    to: list[str] = []
    cc: list[str] = []


async def shown(call: Call, places: Sequence[Said]) -> list[MessageAnswer]:
    """The messages in the order of their places; what was deleted meanwhile is left out. In a thread: rendering takes a while."""
    answers: list[MessageAnswer] = []
    for start in range(0, len(places), AT_ONCE):
        step = places[start : start + AT_ONCE]
        sent, received, files = await call.db.read(_gathered, call.tenant_id, step)
        answers += await asyncio.to_thread(_answers, call.house, step, sent, received, files)
    return answers


def gather(tx: Tx, tenant_id: int, communication_ids: Sequence[int]) -> dict[int, Sent]:
    """Everything that those of the communications are shown from that are the tenant's, by id."""
    rows = communications.several(tx, tenant_id, communication_ids)
    dues = {due.id: due for due in communications.dues(tx, tenant_id, [row.id for row in rows])}
    contents = {content.id: content for content in templates.contents(tx, tenant_id, [row.content_id for row in rows])}
    files = attachments.several(tx, tenant_id, [row.id for row in rows if row.attached])
    return {
        row.id: Sent(row, dues[row.id], contents[row.content_id], files.get(row.id, ()))
        for row in rows
        if row.id in dues and row.content_id in contents
    }


def went(house: House, sent: Sent) -> MessageAnswer:
    """One that went out, as its recipient reads it: nothing in it is tracked."""
    row, seen = sent.row, _seen(house, sent)
    to, cc = _addressees(row)
    return MessageAnswer(
        direction="outbound",
        inbound_message_id=None,
        communication_id=row.id,
        at=instant(row.sent_at or row.scheduled_at or row.created_at),
        channel=row.channel,
        sender=row.sender_email if row.channel == "email" else "",
        sender_name=row.sender_name,
        to=to,
        cc=cc,
        subject=seen.subject,
        text=seen.text[:LONGEST],
        html=seen.html[:LONGEST],
        reply="",
        truncated=max(len(seen.text), len(seen.html)) > LONGEST,
        status=row.state,
        automatic=False,
        keyword=None,
        error=row.error,
        attachments=listed(sent.files),
    )


def came(row: Inbound, files: Sequence[Attachment]) -> MessageAnswer:
    """One that came in."""
    listing = msgspec.json.decode(row.recipients, type=Addressees)
    return MessageAnswer(
        direction="inbound",
        inbound_message_id=ids.spell("inbound", row.id),
        communication_id=row.communication_id,
        at=instant(row.received_at),
        channel=row.channel,
        sender=row.sender,
        sender_name=row.sender_name,
        to=listing.to,
        cc=listing.cc,
        subject=row.subject,
        text=row.text[:LONGEST],
        html=row.html[:LONGEST],
        reply=row.reply[:LONGEST],
        truncated=max(len(row.text), len(row.html), len(row.reply)) > LONGEST,
        status=row.status,
        automatic=bool(row.automatic),
        keyword=row.keyword,
        error=None,
        attachments=listed(files),
    )


def listed(files: Sequence[Attachment]) -> list[FileAnswer]:
    """The files in their order."""
    return [FileAnswer(number, file.filename, file.content_type, file.size, file.content_id) for number, file in enumerate(files, 1)]


def _gathered(tx: Tx, tenant_id: int, places: Sequence[Said]) -> tuple[dict[int, Sent], dict[int, Inbound], dict[int, list[Attachment]]]:
    heard = [place.id for place in places if place.inbound]
    received = {row.id: row for row in threads.received(tx, tenant_id, heard)} if heard else {}
    sent = [place.id for place in places if not place.inbound]
    return gather(tx, tenant_id, sent) if sent else {}, received, attachments.of_inbound(tx, tenant_id, heard) if heard else {}


def _answers(
    house: House, places: Sequence[Said], sent: dict[int, Sent], received: dict[int, Inbound], files: dict[int, list[Attachment]]
) -> list[MessageAnswer]:
    answers: list[MessageAnswer] = []
    for place in places:
        if place.inbound and place.id in received:
            answers.append(came(received[place.id], files.get(place.id, ())))
        elif not place.inbound and place.id in sent:
            answers.append(went(house, sent[place.id]))
    return answers


def _seen(house: House, sent: Sent) -> Preview:
    """What its recipient reads. What cannot be rendered is shown as it was written: nobody reads it."""
    try:
        return house.composer.shown(sent.due, sent.content)
    except Invalid:
        source = drafts.unliteral(sent.content.source)
        subject = sent.row.subject or sent.content.subject
        return Preview(subject, "", source) if sent.content.format == "text" else Preview(subject, source, "")


def _addressees(row: Communication) -> tuple[list[str], list[str]]:
    if not row.recipients:
        return [row.address], []
    listing = msgspec.json.decode(row.recipients, type=Addressees)
    return listing.to, listing.cc
