"""What the sandbox kept, over HTTP: each message raw, and read the way a mail program would."""

import asyncio

import msgspec

from tidings import ids
from tidings.api.native.contents import channel_of
from tidings.api.wire import PAGED, Call, Parameter, Reply, Route, instant, listing, no_content, ok
from tidings.errors import Invalid, NotFound
from tidings.message import parse
from tidings.providers import sandbox
from tidings.providers.sandbox import Filters, Stored


class SandboxMessage(msgspec.Struct):
    """A kept message. `to` is everyone it reached, comma-separated. An SMS has neither subject nor HTML, and its text is all there is of it."""

    id: int
    channel: str
    sender: str
    to: str
    subject: str | None
    text: str
    html: str | None
    raw: str
    communication_id: int
    created_at: str


async def index(call: Call) -> Reply:
    """Newest first."""
    asked = call.query("communication_id")
    communication_id = None if asked is None else ids.parse_int(asked)
    if asked is not None and communication_id is None:
        raise Invalid.field("communication_id", "must be a whole number")
    filters = Filters(to=call.query("to"), channel=channel_of(call), communication_id=communication_id)
    page, limit = call.page_limit()
    found = await call.db.read(sandbox.page, call.tenant_id, filters, page=page, limit=limit)
    # a hundred mails take long enough to parse that other requests would feel it
    messages = await asyncio.to_thread(lambda: [_shown(row) for row in found.rows])
    return listing("messages", messages, page, limit, found.total)


async def show(call: Call) -> Reply:
    """One kept message."""
    stored_id = ids.parse_int(call.path["id"])
    if stored_id is None:
        raise NotFound("Sandbox message not found")
    return ok(_shown(await call.db.read(sandbox.get, call.tenant_id, stored_id)))


async def clear(call: Call) -> Reply:
    """204; the sandbox is empty."""
    await call.db.write(sandbox.clear, call.tenant_id)
    return no_content()


def _shown(row: Stored) -> SandboxMessage:
    raw = row.raw.decode("utf-8", "replace")
    subject: str | None = None
    html: str | None = None
    text = raw
    if row.channel == "email":
        parsed = parse.parse(row.raw)
        subject, text, html = parsed.subject, parsed.text, parsed.html or None
    return SandboxMessage(
        id=row.id,
        channel=row.channel,
        sender=row.sender,
        to=", ".join(msgspec.json.decode(row.recipients, type=list[str])),
        subject=subject,
        text=text,
        html=html,
        raw=raw,
        communication_id=row.communication_id,
        created_at=instant(row.created_at),
    )


_PATH = "/api/v1/sandbox/messages"
_FILTERS = (
    Parameter("to", "string", "a whole address or number"),
    Parameter("channel", "string", "email or sms"),
    Parameter("communication_id", "integer", "the message's communication", least=1),
)
_NUMBER = (Parameter("id", "integer", least=1),)

ROUTES: list[Route] = [
    Route(
        "GET",
        _PATH,
        index,
        "communications:read",
        "List what the sandbox kept",
        gives=SandboxMessage,
        lists="messages",
        query=(*_FILTERS, *PAGED),
    ),
    Route("DELETE", _PATH, clear, "communications:write", "Empty the sandbox", status=204),
    Route("GET", _PATH + "/{id}", show, "communications:read", "One kept message", gives=SandboxMessage, variables=_NUMBER),
]
