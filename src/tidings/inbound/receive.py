"""The one door: whatever carries it, a message that comes in is read, matched and stored here before its carrier hears that it was taken."""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from tidings.clock import Clock
from tidings.database import Database, Tx
from tidings.domain import attachments, communications, counters, enrollments, templates, tenants, threads
from tidings.domain.attachments import File
from tidings.domain.communications import Draft, Receipt
from tidings.domain.counters import Tally
from tidings.domain.templates import Content
from tidings.domain.tenants import Tenant
from tidings.domain.threads import Arrival, Incoming, Taken
from tidings.errors import Invalid
from tidings.inbound import kind, match
from tidings.inbound.bounces import Bounce
from tidings.inbound.clean import clean
from tidings.inbound.kind import Complaint, Kind
from tidings.inbound.quotes import new_part
from tidings.message import incoming, keywords, phone
from tidings.message.heard import Notice, Text, reason_of
from tidings.message.incoming_charsets import storable
from tidings.signing import Signer
from tidings.storage import Store

MOST_FILES = 200
"""Of one mail; what is beyond is in the raw message alone."""
CONFIRMATION = "CONFIRMATION"
"""The type of what is written back to a word such as STOP."""
_FAILED = frozenset({"failed", ""})


class Desk(NamedTuple):
    """What taking messages in needs of the house."""

    db: Database
    store: Store
    signer: Signer
    clock: Clock


class Envelope(NamedTuple):
    """How a mail came: `reached` are the addresses it was delivered to, `source` and `source_id` where from and its name there.

    Without a `source_id` it is known by its own words, so that the same mail coming by two ways, or twice by one, is stored once.
    `graph_conversation_id` is the thread where the mail comes from Microsoft Graph.
    """

    reached: Sequence[str] = ()
    source: str = "mail"
    source_id: str = ""
    graph_conversation_id: str | None = None


PLAIN = Envelope()


async def mail(desk: Desk, tenant_id: int, raw: bytes, envelope: Envelope = PLAIN, *, read: incoming.Incoming | None = None) -> Taken:
    """Takes a mail in; it is safe once this answers. `read` is what the carrier has read of it already, where there is no raw message.

    Raises TooLarge (see `message.incoming`), Unavailable when it cannot be stored now.
    """
    found, what, reply, html = await asyncio.to_thread(_read, raw, read)
    if envelope.graph_conversation_id is not None:
        found = msgspec.structs.replace(found, graph_conversation_id=envelope.graph_conversation_id)
    files = [
        File(
            storable(file.filename),
            storable(file.content_type),
            len(file.content),
            await _kept(desk, tenant_id, file.content),
            file.content_id,
        )
        for file in found.files[:MOST_FILES]
    ]
    raw_hash = await _kept(desk, tenant_id, raw) if raw else None
    source_id = envelope.source_id or await asyncio.to_thread(fingerprint, raw or msgspec.json.encode(found))
    speaks_of = what.message_id if isinstance(what, Bounce | Complaint) else None
    arrival = Arrival(
        incoming=Incoming(
            source=envelope.source,
            source_id=source_id,
            channel="email",
            contact_id=0,
            received_at=desk.clock(),
            sender=found.sender.email or threads.NOBODY,
            sender_name=found.sender.name[:200],
            automatic=not isinstance(what, kind.Reply),
            to=tuple(person.email for person in found.to),
            cc=tuple(person.email for person in found.cc),
            subject=found.subject,
            text=found.text,
            html=html,
            reply=reply,
            message_id=found.message_id,
            in_reply_to=found.in_reply_to,
            references=found.references,
            raw_hash=raw_hash,
            reply_to=next((person.email for person in found.reply_to if person.email != found.sender.email), None),
        ),
        clues=match.clues(desk.signer, tenant_id, found, envelope.reached, speaks_of=speaks_of),
        receipts=_receipts(what, desk.clock()),
        files=tuple(files),
    )
    return await desk.db.write(threads.take, tenant_id, arrival, now=desk.clock())


async def text(desk: Desk, tenant_id: int, source: str, heard: Text) -> Taken:
    """Takes a text message in, and answers the words that stop, start and help. `source` names the carrier's row, as `twilio:12`."""
    tenant = await desk.db.read(tenants.get, tenant_id)
    return await desk.db.write(take_text, tenant, source, heard, now=desk.clock())


async def notice(desk: Desk, tenant_id: int, provider_id: int, heard: Notice) -> bool:
    """Takes what a carrier says of a text it had accepted; False when no communication is known by that name (yet)."""
    return await desk.db.write(_noticed, tenant_id, provider_id, heard, now=desk.clock())


def _number(sender: str) -> str:
    """In E.164 where it is a number; whatever else somebody writes under is taken as it is."""
    try:
        return phone.normalise(sender, field="sender") if sender.startswith("+") else storable(sender).strip() or threads.NOBODY
    except Invalid:
        return storable(sender)


def fingerprint(raw: bytes) -> str:
    """What makes a mail the same mail, however it was handed on: its words and the headers of its writer, not those of servers."""
    head, _, body = raw.replace(b"\r\n", b"\n").partition(b"\n\n")
    unfolded = head.replace(b"\n ", b" ").replace(b"\n\t", b" ")
    wanted = (b"message-id:", b"date:", b"from:", b"subject:", b"to:")
    lines = sorted(line.strip() for line in unfolded.split(b"\n") if line.lower().startswith(wanted))
    # without a name and a date it may well be another one that says the same
    known = any(line.lower().startswith((b"message-id:", b"date:")) for line in lines)
    return hashlib.sha256(b"\n".join([*lines, b"", body.rstrip()]) if known else raw).hexdigest()


def _read(raw: bytes, read: incoming.Incoming | None) -> tuple[incoming.Incoming, Kind, str, str]:
    """(the mail, what it is, its new part, its HTML made fit for showing). Takes a while for a large one."""
    found = read if read is not None else incoming.read(raw)
    return found, kind.kind_of(found), new_part(found), clean(found.html) if found.html else ""


async def _kept(desk: Desk, tenant_id: int, data: bytes) -> str:
    return await attachments.keep(desk.db, desk.store, tenant_id, data, now=desk.clock)


def _receipts(what: Kind, at: int) -> tuple[Receipt, ...]:
    if isinstance(what, Bounce):
        # a report that something is late is none of failure
        failed = [entry for entry in what.recipients if entry.action in _FAILED]
        return tuple(
            Receipt(
                kind="bounced",
                at=at,
                address=entry.address,
                hard=entry.hard,
                reason=reason_of(entry.status, entry.reason, hard=entry.hard),
                code=entry.status,
                detail=entry.reason,
            )
            for entry in failed
        )
    if isinstance(what, Complaint):
        return tuple(
            Receipt(kind="complained", at=at, address=address, reason="spam", detail=what.feedback) for address in what.recipients or ("",)
        )
    return ()


def take_text(tx: Tx, tenant: Tenant, source: str, heard: Text, *, now: int) -> Taken:
    """The same in a transaction of the caller's."""
    words = keywords.parse(tenant.keywords)
    said = words.find(heard.text)
    incoming = Incoming(
        source=source,
        source_id=heard.id or hashlib.sha256(msgspec.json.encode(heard)).hexdigest(),
        channel="sms",
        contact_id=0,
        received_at=min(heard.at, now),
        sender=_number(heard.sender),
        to=(storable(heard.recipient),),
        text=storable(heard.text),
        reply=storable(heard.text),
    )
    answer = words.answer(said, tenant.sender_name or tenant.name) if said else ""
    taken = threads.take(tx, tenant.id, Arrival(incoming=incoming, keyword=said, answer=answer), now=now)
    if taken.answer and phone.is_e164(incoming.sender):
        communications.accept(tx, _confirmation(tenant.id, incoming.sender, answer, taken), now=now)
    return taken


def _confirmation(tenant_id: int, number: str, words: str, taken: Taken) -> Draft:
    answer = templates.literal(words)
    return Draft(
        tenant_id=tenant_id,
        channel="sms",
        content=Content(0, tenant_id, "sms", "text", "", answer, "", answer, "[]", "[]"),
        content_hash="answer:" + hashlib.sha256(answer.encode()).hexdigest(),
        type=CONFIRMATION,
        phone=number,
        contact_id=taken.contact_id,
        conversation_id=taken.conversation_id,
        track_opens=False,
        track_links=False,
        exempt=True,
    )


def _noticed(tx: Tx, tenant_id: int, provider_id: int, heard: Notice, *, now: int) -> bool:
    communication_id = heard.communication_id or communications.by_provider_message(tx, tenant_id, provider_id, heard.provider_id)
    if not communication_id:
        return False
    receipt = Receipt(kind=heard.kind, at=heard.at, hard=heard.hard, reason=heard.reason, code=heard.code, detail=heard.detail)
    tally = Tally()
    ending = communications.receive(tx, tenant_id, communication_id, receipt, tally, now=now)
    enrollments.complete(tx, tenant_id, [], ending, tally, now=now)
    counters.fold(tx, tally)
    return True
