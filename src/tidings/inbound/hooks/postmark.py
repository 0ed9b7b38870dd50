"""Mail that Postmark took in: JSON, with the whole mail in it where the server's "Include raw email content" is on.

https://postmarkapp.com/developer/webhooks/inbound-webhook
https://postmarkapp.com/developer/user-guide/inbound/parse-an-email
"""

import msgspec

from tidings.errors import Malformed
from tidings.inbound.hooks import postmark_events
from tidings.inbound.hooks.posted import Arrived, Pieces, Posted, base64, check_basic, head, mailbox, pieced, record, whole
from tidings.inbound.hooks.said import Events, Said, decoded
from tidings.inbound.sources import Postmark
from tidings.message import incoming_parts
from tidings.message.incoming_parts import File


class Person(msgspec.Struct, frozen=True, rename="pascal"):
    """An address."""

    email: str = ""
    name: str | None = ""


class Line(msgspec.Struct, frozen=True, rename="pascal"):
    """A header."""

    name: str
    value: str | None = ""


class Enclosed(msgspec.Struct, frozen=True):
    """A file; `Content` is base64. Postmark's own test button calls that `Data`."""

    name: str | None = msgspec.field(default="", name="Name")
    kind: str | None = msgspec.field(default="", name="ContentType")
    content: str | None = msgspec.field(default=None, name="Content")
    data: str | None = msgspec.field(default=None, name="Data")
    content_id: str | None = msgspec.field(default="", name="ContentID")


class Inbound(msgspec.Struct, frozen=True, rename="pascal"):
    """What is posted, as far as it is read. `Headers` lacks those that have a field of their own."""

    from_full: Person
    to_full: list[Person]
    cc_full: list[Person] = []
    original_recipient: str | None = ""
    reply_to: str | None = ""
    subject: str | None = ""
    date: str | None = ""
    text_body: str | None = ""
    html_body: str | None = ""
    raw_email: str | None = None
    headers: list[Line] = []
    attachments: list[Enclosed] = []


def read(posted: Posted, settings: Postmark) -> Arrived | Events:
    """The mail, or what became of one that went out. Raises Unauthorized, Malformed, TooLarge."""
    check_basic(posted.headers, settings.username, settings.password)
    value = decoded(posted.body)
    said = Said(value)
    if said.text("RecordType") not in ("", "Inbound"):
        return postmark_events.read(said, posted.at)
    inbound = record(value, Inbound)
    reached = (inbound.original_recipient,) if inbound.original_recipient else ()
    if inbound.raw_email:
        return whole(inbound.raw_email.encode("utf-8", "replace"), reached=reached, sender=None)
    lines = [
        ("From", _listed([inbound.from_full])),
        ("To", _listed(inbound.to_full)),
        ("Cc", _listed(inbound.cc_full)),
        ("Reply-To", inbound.reply_to or ""),
        ("Subject", inbound.subject or ""),
        ("Date", inbound.date or ""),
        *((line.name, line.value or "") for line in inbound.headers),
    ]
    files = [_file(entry) for entry in inbound.attachments]
    return pieced(Pieces(head(lines), inbound.text_body or "", inbound.html_body or "", files), reached=reached)


def _listed(people: list[Person]) -> str:
    return ", ".join(mailbox(person.email, person.name or "") for person in people)


def _file(entry: Enclosed) -> File:
    content = entry.content if entry.content is not None else entry.data
    if content is None:
        raise Malformed("A file in it has no content")
    return incoming_parts.file(entry.name or "", entry.kind or "", base64(content), entry.content_id or "")
