"""Playing the person who answers what the sandbox kept: a real mail, or a text, that comes in through the door all others come through."""

import asyncio
import uuid
from email.message import EmailMessage
from email.policy import SMTP

import msgspec

from tidings import ids
from tidings.api import drafts
from tidings.api.wire import Call, Reply, Route, created
from tidings.database import Tx
from tidings.domain.threads import Taken
from tidings.errors import Invalid, NotFound
from tidings.inbound import receive
from tidings.inbound.receive import Desk, Envelope
from tidings.message import build, incoming
from tidings.message.heard import Text
from tidings.message.outgoing import Address
from tidings.providers import sandbox
from tidings.providers.sandbox import Filters, Stored

SOURCE = "sandbox"
LONGEST = 1_000_000
"""Characters of what is said."""


class Played(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is answered: `message`, the number of a kept message, or `communication_id`, of which the newest kept message is meant.
    What is said: `text`, `html` or both. `from` is who says it, its recipient unless given; `automatic` makes it a machine's.
    """

    message: int | None = None
    communication_id: int | None = None
    text: str | None = None
    html: str | None = None
    automatic: bool = False
    sender: str | None = msgspec.field(name="from", default=None)


class PlayedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the answer: where it is kept, what it was taken to answer, whether it ended an enrollment; of a text, which keyword it
    was, and whether something is written back to that.
    """

    inbound_message_id: str | None
    conversation_id: str | None
    contact_id: str | None
    communication_id: int | None
    stopped: bool
    keyword: str | None
    answered: bool


async def reply(call: Call) -> Reply:
    """201 with what became of it."""
    asked = call.json(Played)
    if not (asked.text or "").strip() and not (asked.html or "").strip():
        raise Invalid.field("text", "must not be empty, or there must be html")
    if len(asked.text or "") + len(asked.html or "") > LONGEST:
        raise Invalid.field("text", f"and html are longer than {LONGEST:,} characters")
    kept = await call.db.read(_kept, call.tenant_id, asked)
    desk = Desk(call.house.db, call.house.store, call.house.signer, call.house.clock)
    taken = await (_mail(desk, call, kept, asked) if kept.channel == "email" else _text(desk, call, kept, asked))
    return created(_shown(taken))


def _kept(tx: Tx, tenant_id: int, asked: Played) -> Stored:
    if (asked.message is None) == (asked.communication_id is None):
        raise Invalid.field("message", "is required, or a communication_id, and not both")
    if asked.message is not None:
        return sandbox.get(tx, tenant_id, asked.message)
    found = sandbox.page(tx, tenant_id, Filters(communication_id=asked.communication_id), limit=1)
    if not found.rows:
        raise NotFound("The sandbox has kept no message of this communication")
    return found.rows[0]


async def _mail(desk: Desk, call: Call, kept: Stored, asked: Played) -> Taken:
    said = await asyncio.to_thread(incoming.read, kept.raw)
    sender = drafts.mailbox(asked.sender, "from") or msgspec.json.decode(kept.recipients, type=list[str])[0]
    to = (said.reply_to or (said.sender,))[0]
    raw = await asyncio.to_thread(_written, said, asked, sender, to, call.now)
    return await receive.mail(desk, call.tenant_id, raw, Envelope((to.email,), SOURCE, uuid.uuid4().hex))


def _written(said: incoming.Incoming, asked: Played, sender: str, to: Address, now: int) -> bytes:
    """The mail that a person's program would make of it (RFC 5322), or a machine's (RFC 3834)."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = sender
    mail["To"] = to.email
    mail["Subject"] = f"Automatic reply: {said.subject}" if asked.automatic else f"Re: {said.subject.removeprefix('Re: ')}"
    mail["Date"] = build.date(now // 1000)
    mail["Message-ID"] = f"<{uuid.uuid4()}@sandbox.test>"
    if said.message_id is not None:
        mail["In-Reply-To"] = said.message_id
        mail["References"] = " ".join([*said.references, said.message_id])
    if asked.automatic:
        mail["Auto-Submitted"] = "auto-replied"
    who = said.sender.name or said.sender.email
    if asked.text is not None:
        quoted = "".join(f"> {line}\n" for line in said.text.splitlines())
        mail.set_content(f"{asked.text}\n\nOn {build.date(now // 1000)}, {who} wrote:\n{quoted}")
    if asked.html is not None:
        quote = f'<div class="gmail_quote"><blockquote>{said.html}</blockquote></div>'
        if asked.text is None:
            mail.set_content(f"{asked.html}{quote}", subtype="html")
        else:
            mail.add_alternative(f"{asked.html}{quote}", subtype="html")
    return mail.as_bytes()


async def _text(desk: Desk, call: Call, kept: Stored, asked: Played) -> Taken:
    if asked.html is not None:
        raise Invalid.field("html", "has no place in a text message")
    sender = drafts.line(asked.sender, "from") or msgspec.json.decode(kept.recipients, type=list[str])[0]
    heard = Text(uuid.uuid4().hex, sender, kept.sender, asked.text or "", call.now)
    return await receive.text(desk, call.tenant_id, SOURCE, heard)


def _shown(taken: Taken) -> PlayedAnswer:
    return PlayedAnswer(
        inbound_message_id=None if taken.inbound_id is None else ids.spell("inbound", taken.inbound_id),
        conversation_id=None if taken.conversation_id is None else ids.spell("conversation", taken.conversation_id),
        contact_id=None if taken.contact_id is None else ids.spell("contact", taken.contact_id),
        communication_id=taken.communication_id,
        stopped=taken.stopped,
        keyword=taken.keyword,
        answered=taken.answer,
    )


ROUTES: list[Route] = [
    Route(
        *("POST", "/api/v1/sandbox/reply", reply, "communications:write", "Answer what the sandbox kept", Played, PlayedAnswer),
        status=201,
        refuses=(404,),
    ),
]
