"""What was said both ways, through alpha: the conversation of a communication, and the timeline of an entity of the caller's."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

import msgspec

from tidings import ids
from tidings.api import drafts
from tidings.api.alpha import records
from tidings.api.alpha.lookup import AT_ONCE, array, identity, shown_all
from tidings.api.alpha.portions import portions
from tidings.api.alpha.records import Event, Gathered, Record
from tidings.api.wire import Call, House, Parameter, Reply, Route, moment
from tidings.database import Tx
from tidings.domain import threads
from tidings.domain.threads import Inbound, Said
from tidings.errors import Invalid
from tidings.rendering.compose import Preview

PLACES = 50_000
"""Messages that are put in order at a time; each is a few numbers, and a conversation or entity with more is looked through again."""
MAILS = 50
"""Received messages that are read together: nobody but their senders decides how long they are."""
Status = Literal["NEW", "READ", "PROCESSED", "ARCHIVED"]
_STATUS: dict[str, Status] = {"new": "NEW", "read": "READ", "processed": "PROCESSED", "archived": "ARCHIVED"}


class InboundEmail(msgspec.Struct, frozen=True, rename="camel"):
    """InboundEmail of the contract: exactly these keys. An SMS has its sender's number in `fromEmail` and no `bodyHtml` ("")."""

    body_html: str
    body_text: str
    cc: list[str]
    conversation_id: str
    created: str
    created_by: str | None
    events: list[Event]
    from_email: str
    from_name: str
    graph_message_id: str | None
    id: str
    in_reply_to: str | None
    internet_message_id: str | None
    parent_communication_id: str | None
    received_at: str
    recipients: list[str]
    related_entity_id: str | None
    related_entity_type: str | None
    status: Status
    subject: str
    tenant_id: str
    updated: str
    updated_by: str | None


class Thread(msgspec.Struct, frozen=True):
    """Both directions of a conversation, each oldest first."""

    inbound: list[InboundEmail]
    outbound: list[Record]


class TimelineItem(msgspec.Struct, frozen=True, rename="camel"):
    """TimelineItem of the contract: exactly these keys. `date` is when it was sent (will be, was accepted) or received."""

    body_html: str
    body_text: str
    cc: list[str]
    conversation_id: str
    date: str
    direction: Literal["INBOUND", "OUTBOUND"]
    from_email: str
    from_name: str
    id: str
    opened: bool
    recipients: list[str]
    status: str
    subject: str


class _Addressees(msgspec.Struct, frozen=True):
    to: list[str] = []
    cc: list[str] = []


async def thread(call: Call) -> Reply:
    """Everything of the conversation that a communication belongs to, streamed; of one that stands alone, itself."""
    communication_id = identity(call)
    conversation_id = await call.db.read(threads.thread, call.tenant_id, communication_id)
    return Reply(200, _thread(call, communication_id, conversation_id), {"content-type": "application/json"})


async def by_entity(call: Call) -> Reply:
    """Everything that was said around an entity, both ways, newest first, streamed. One that nobody knows has nothing said around it."""
    kind, entity = _required(call, "entityType"), _required(call, "entityId")
    # read before anything goes out: what the database refuses gets an error's answer
    first = await call.db.read(threads.of_entity, call.tenant_id, kind, entity, limit=PLACES)
    return Reply(200, array(_timeline(call, kind, entity, first)), {"content-type": "application/json"})


def _required(call: Call, name: str) -> str:
    given = drafts.line(call.query(name), name)
    if given is None:
        raise Invalid.field(name, "is required")
    return given


async def _thread(call: Call, communication_id: int, conversation_id: int | None) -> AsyncIterator[bytes]:
    yield b'{"inbound":'
    async for chunk in array(_received(call, conversation_id)):
        yield chunk
    yield b',"outbound":'
    async for chunk in array(_sent(call, communication_id, conversation_id)):
        yield chunk
    yield b"}"


async def _received(call: Call, conversation_id: int | None) -> AsyncIterator[list[InboundEmail]]:
    if conversation_id is None:
        return
    after = threads.BEGINNING
    while step := await call.db.read(threads.inbound, call.tenant_id, conversation_id, after=after, limit=MAILS):
        after = step[-1]
        found = await call.db.read(_inbound, call.tenant_id, step)
        yield [_email(call.house, row) for row in found]


async def _sent(call: Call, communication_id: int, conversation_id: int | None) -> AsyncIterator[list[Record]]:
    if conversation_id is None:
        yield await shown_all(call, [communication_id])
        return
    after = threads.BEGINNING
    while step := await call.db.read(threads.outbound, call.tenant_id, conversation_id, after=after, limit=PLACES):
        after = step[-1]
        for start in range(0, len(step), AT_ONCE):
            for portion in await portions(call.db, call.tenant_id, [said.id for said in step[start : start + AT_ONCE]]):
                yield await shown_all(call, portion)


async def _timeline(call: Call, kind: str, entity: str, step: Sequence[Said]) -> AsyncIterator[list[TimelineItem]]:
    while step:
        for start in range(0, len(step), MAILS):
            places = step[start : start + MAILS]
            sent, received = await call.db.read(_both, call.tenant_id, places)
            yield _items(call.house, places, sent, received)
        if len(step) < PLACES:
            return
        step = await call.db.read(threads.of_entity, call.tenant_id, kind, entity, before=step[-1], limit=PLACES)


def _both(tx: Tx, tenant_id: int, places: Sequence[Said]) -> tuple[list[Gathered], list[Inbound]]:
    sent = [said.id for said in places if not said.inbound]
    return records.gather(tx, tenant_id, sent) if sent else [], _inbound(tx, tenant_id, places)


def _inbound(tx: Tx, tenant_id: int, places: Sequence[Said]) -> list[Inbound]:
    """The received ones, in that order."""
    wanted = [said.id for said in places if said.inbound]
    found = {row.id: row for row in threads.received(tx, tenant_id, wanted)} if wanted else {}
    return [found[identity] for identity in wanted if identity in found]


def _items(house: House, places: Sequence[Said], sent: Sequence[Gathered], received: Sequence[Inbound]) -> list[TimelineItem]:
    """The items in the order of their places; what was deleted meanwhile has none."""
    outgoing, incoming = {found.row.id: found for found in sent}, {row.id: row for row in received}
    items: list[TimelineItem] = []
    for said in places:
        if said.inbound and said.id in incoming:
            items.append(_came(incoming[said.id], moment(said.at)))
        elif not said.inbound and said.id in outgoing:
            items.append(_went(house, outgoing[said.id], moment(said.at)))
    return items


def _went(house: House, found: Gathered, date: str) -> TimelineItem:
    row = found.row
    to, cc, _ = records.addressees(row)
    # untracked: whoever looks at the timeline is not the recipient, and must not count as one
    seen = _seen(house, found)
    return TimelineItem(
        body_html=seen.html,
        body_text=seen.text,
        cc=cc,
        conversation_id=records.conversation(row),
        date=date,
        direction="OUTBOUND",
        from_email=row.sender_email,
        from_name=row.sender_name,
        id=house.signer.communication(row.tenant_id, row.id),
        opened=row.opened_at is not None,
        recipients=to,
        status=records.STATUS[row.state],
        subject=seen.subject,
    )


def _seen(house: House, found: Gathered) -> Preview:
    """What its recipient reads. What cannot be rendered is shown as it came: nobody reads it."""
    try:
        return house.composer.shown(found.due, found.content)
    except Invalid:
        source = drafts.unliteral(found.content.source)
        subject = found.row.subject or found.content.subject
        return Preview(subject, "", source) if found.content.format == "text" else Preview(subject, source, "")


def _came(row: Inbound, date: str) -> TimelineItem:
    listed = msgspec.json.decode(row.recipients, type=_Addressees)
    return TimelineItem(
        body_html=row.html,
        body_text=row.text,
        cc=listed.cc,
        conversation_id=row.conversation_key,
        date=date,
        direction="INBOUND",
        from_email=row.sender,
        from_name=row.sender_name,
        id=ids.spell("inbound", row.id),
        opened=False,
        recipients=listed.to,
        status=_STATUS[row.status],
        subject=row.subject,
    )


def _email(house: House, row: Inbound) -> InboundEmail:
    listed = msgspec.json.decode(row.recipients, type=_Addressees)
    answered = row.communication_id
    return InboundEmail(
        body_html=row.html,
        body_text=row.text,
        cc=listed.cc,
        conversation_id=row.conversation_key,
        created=moment(row.created_at),
        created_by=row.created_by,
        events=[Event(row.created_by, moment(row.created_at), "Message received", ids.uuid("received", row.id), "CREATE")],
        from_email=row.sender,
        from_name=row.sender_name,
        graph_message_id=row.graph_message_id,
        id=ids.spell("inbound", row.id),
        in_reply_to=row.in_reply_to,
        internet_message_id=row.message_id,
        parent_communication_id=house.signer.communication(row.tenant_id, answered) if answered is not None else None,
        received_at=moment(row.received_at),
        recipients=listed.to,
        related_entity_id=row.related_entity_id,
        related_entity_type=row.related_entity_type,
        status=_STATUS[row.status],
        subject=row.subject,
        tenant_id=ids.spell("tenant", row.tenant_id),
        updated=moment(row.updated_at),
        updated_by=row.updated_by,
    )


_ENTITY = (
    Parameter("entityType", "string", "what it was sent with as `relatedEntityType`", required=True),
    Parameter("entityId", "string", "what it was sent with as `relatedEntityId`", required=True),
)
_ITEMS: Any = list[TimelineItem]

ROUTES: list[Route] = [
    Route("GET", "/api/v1/communications/{id}/thread", thread, "communications:read", "The conversation of a communication", gives=Thread),
    Route(
        "GET",
        "/api/v1/communications/by-entity",
        by_entity,
        "communications:read",
        "Everything said around an entity",
        gives=_ITEMS,
        query=_ENTITY,
    ),
]
