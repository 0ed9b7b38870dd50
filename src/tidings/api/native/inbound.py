"""What was received, over HTTP: found, read as it came, and moved on from new to done."""

import msgspec

from tidings import ids
from tidings.api.enclosures import handed_out, stored
from tidings.api.native import moments, talk
from tidings.api.native.talk import FileAnswer
from tidings.api.wire import PAGED, Call, Parameter, Reply, Route, instant, listing, ok
from tidings.database import Tx
from tidings.domain import attachments, threads
from tidings.domain.attachments import Attachment
from tidings.domain.threads import STATUSES, Inbound, Received, Status
from tidings.errors import Invalid, NotFound

_UNKNOWN = "Inbound message not found"


class InboundGlance(msgspec.Struct, frozen=True, kw_only=True):
    """A received message in a list: `preview` is the beginning of what is new in it. `communication_id` is what it answers, where that
    is known; `automatic` tells that no person wrote it, `keyword` (stop, start, help) that a text was such a word.
    """

    id: str
    channel: str
    conversation_id: str
    contact_id: str
    communication_id: int | None
    status: Status
    automatic: bool
    keyword: str | None
    sender: str = msgspec.field(name="from")
    sender_name: str = msgspec.field(name="from_name")
    to: list[str]
    cc: list[str]
    subject: str
    preview: str
    related_entity_type: str | None
    related_entity_id: str | None
    received_at: str
    updated_at: str
    updated_by: str | None


class InboundAnswer(InboundGlance, frozen=True, kw_only=True):
    """A received message: `reply` is what is new in its `text`; `html` is safe to show. `raw` tells that it can be had as it came."""

    text: str
    html: str
    reply: str
    message_id: str | None
    in_reply_to: str | None
    references: list[str]
    raw: bool
    attachments: list[FileAnswer]


class Moved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Only onward: new, read, processed, archived."""

    status: Status


async def index(call: Call) -> Reply:
    """Newest first."""
    page, limit = call.page_limit()
    found = await call.db.read(threads.received_page, call.tenant_id, _wanted(call), limit=limit, page=page)
    return listing("inbound_messages", [_glance(row) for row in found.rows], page, limit, found.total)


async def show(call: Call) -> Reply:
    """One of them, whole."""
    return ok(await call.db.read(_shown, call))


async def move(call: Call) -> Reply:
    """Another status; 409 for one that it has left behind."""
    wanted = call.json(Moved)

    def work(tx: Tx) -> InboundAnswer:
        threads.mark(tx, call.tenant_id, _identity(call), wanted.status, author=call.key_name, now=call.now)
        return _shown(tx, call)

    return ok(await call.db.write(work))


async def raw(call: Call) -> Reply:
    """The mail as it came; 404 for a text, which has no other form."""
    row = await call.db.read(_found, call)
    if row.raw_hash is None:
        raise NotFound("This message is not kept in another form")
    name = f"{ids.spell('inbound', row.id)}.eml"
    return handed_out(stored(call, row.raw_hash), filename=name, content_type="message/rfc822")


async def file(call: Call) -> Reply:
    """The content of one of its files."""

    def read(tx: Tx) -> list[Attachment]:
        return _files(tx, call.tenant_id, _found(tx, call).id)

    files, number = await call.db.read(read), ids.parse_int(call.path["n"])
    if number is None or number > len(files):
        raise NotFound("Attachment not found")
    wanted = files[number - 1]
    return handed_out(stored(call, wanted.hash), filename=wanted.filename, content_type=wanted.content_type, size=wanted.size)


def _found(tx: Tx, call: Call) -> Inbound:
    found = threads.received(tx, call.tenant_id, [_identity(call)])
    if not found:
        raise NotFound(_UNKNOWN)
    return found[0]


def _identity(call: Call) -> int:
    found = ids.parse("inbound", call.path["id"])
    if found is None:
        raise NotFound(_UNKNOWN)
    return found


def _files(tx: Tx, tenant_id: int, inbound_id: int) -> list[Attachment]:
    return attachments.of_inbound(tx, tenant_id, [inbound_id]).get(inbound_id, [])


def _wanted(call: Call) -> Received:
    status = call.query("status")
    if status is not None and status not in STATUSES:
        raise Invalid.field("status", f"must be one of {', '.join(STATUSES)}")
    return Received(
        status=status,
        automatic=call.flag("automatic"),
        contact_id=_named(call, "contact_id", "contact"),
        conversation_id=_named(call, "conversation_id", "conversation"),
        sender=call.query("from"),
        recipient=call.query("to"),
        since=moments.asked(call, "since"),
        before=moments.asked(call, "before"),
    )


def _named(call: Call, name: str, kind: str) -> int | None:
    text = call.query(name)
    found = None if text is None else ids.parse(kind, text)
    if text is not None and found is None:
        raise Invalid.field(name, f"names no {kind}")
    return found


def _shown(tx: Tx, call: Call) -> InboundAnswer:
    row = _found(tx, call)
    return InboundAnswer(
        **{name: getattr(_glance(row), name) for name in InboundGlance.__struct_fields__},
        text=row.text,
        html=row.html,
        reply=row.reply,
        message_id=row.message_id,
        in_reply_to=row.in_reply_to,
        references=msgspec.json.decode(row.reference_ids, type=list[str]),
        raw=row.raw_hash is not None,
        attachments=talk.listed(_files(tx, call.tenant_id, row.id)),
    )


def _glance(row: Inbound) -> InboundGlance:
    listed = msgspec.json.decode(row.recipients, type=talk.Addressees)
    return InboundGlance(
        id=ids.spell("inbound", row.id),
        channel=row.channel,
        conversation_id=ids.spell("conversation", row.conversation_id),
        contact_id=ids.spell("contact", row.contact_id),
        communication_id=row.communication_id,
        status=row.status,
        automatic=bool(row.automatic),
        keyword=row.keyword,
        sender=row.sender,
        sender_name=row.sender_name,
        to=listed.to,
        cc=listed.cc,
        subject=row.subject,
        preview=(row.reply or row.text)[:200],
        related_entity_type=row.related_entity_type,
        related_entity_id=row.related_entity_id,
        received_at=instant(row.received_at),
        updated_at=instant(row.updated_at),
        updated_by=row.updated_by,
    )


_PATH = "/api/v1/inbound_messages"
_READ, _WRITE = "communications:read", "communications:write"
_FILTERS = (
    Parameter("status", "string", "how far it has come", words=STATUSES),
    Parameter("automatic", "boolean", "written by a machine, or not"),
    Parameter("contact_id", "string", "from this contact"),
    Parameter("conversation_id", "string", "in this conversation"),
    Parameter("from", "string", "a whole address or number"),
    Parameter("to", "string", "a whole address or number among its recipients"),
    Parameter("since", "string", "received at this instant, or date, or later"),
    Parameter("before", "string", "received before it"),
)

ROUTES: list[Route] = [
    Route("GET", _PATH, index, _READ, "List what was received", gives=InboundGlance, lists="inbound_messages", query=(*_FILTERS, *PAGED)),
    Route("GET", _PATH + "/{id}", show, _READ, "One received message", gives=InboundAnswer),
    Route("PATCH", _PATH + "/{id}", move, _WRITE, "Move it on", Moved, InboundAnswer, refuses=(409,)),
    Route("GET", _PATH + "/{id}/raw", raw, _READ, "The mail as it came", gives=bytes, media=("message/rfc822",)),
    Route(
        *("GET", _PATH + "/{id}/attachments/{n}", file, _READ, "One of its files"),
        gives=bytes,
        media=("*/*",),
        variables=(Parameter("n", "integer", least=1),),
    ),
]
