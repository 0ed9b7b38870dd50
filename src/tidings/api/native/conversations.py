"""Conversations over HTTP: found, read, looked after, and answered."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from tidings import ids
from tidings.api import drafts
from tidings.api.enclosures import SEND_LIMIT
from tidings.api.idempotency import once_said
from tidings.api.native import talk
from tidings.api.native.answers import NewReply, reply
from tidings.api.native.contents import channel_of
from tidings.api.native.talk import MessageAnswer
from tidings.api.wire import PAGED, Call, Parameter, Reply, Route, instant, instant_or_none, listing, ok
from tidings.database import Tx
from tidings.domain import threads
from tidings.domain.page import Page
from tidings.domain.threads import Change, Conversation, Filters, Said
from tidings.errors import Invalid, NotFound

NEWEST = 25
"""Messages that a conversation is shown with."""
LONGEST_SEARCH = 200


class ConversationAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation. `key` is its name for alpha's `conversationId`, `unread` how many received messages nobody has looked at,
    `last_at` when its newest message came or went.
    """

    id: str
    key: str
    channel: str
    status: Literal["open", "closed"]
    subject: str
    contact_id: str | None
    assignee: str | None
    unread: int
    related_entity_type: str | None
    related_entity_id: str | None
    last_at: str
    closed_at: str | None
    created_at: str
    updated_at: str


class OpenedAnswer(ConversationAnswer, frozen=True, kw_only=True):
    """A conversation with its newest messages, oldest first, and how many there are in all."""

    messages: list[MessageAnswer]
    message_count: int


class ChangedConversation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out stays as it is. The two fields of an entity come together; null for both unlinks it. A null `assignee` is nobody."""

    status: Literal["open", "closed"] | UnsetType = UNSET
    assignee: str | UnsetType | None = UNSET
    related_entity_type: str | UnsetType | None = UNSET
    related_entity_id: str | UnsetType | None = UNSET


async def index(call: Call) -> Reply:
    """The one with the newest message first."""
    page, limit = call.page_limit()
    found = await call.db.read(threads.page, call.tenant_id, _filters(call), limit=limit, page=page)
    return listing("conversations", [_shown(row) for row in found.rows], page, limit, found.total)


async def show(call: Call) -> Reply:
    """One conversation with its newest messages of both directions."""

    def read(tx: Tx) -> tuple[Conversation, Page[Said]]:
        found = conversation_of(tx, call)
        return found, threads.said(tx, call.tenant_id, found.id, limit=NEWEST, page=1, newest=True)

    found, said = await call.db.read(read)
    messages = await talk.shown(call, said.rows[::-1])
    return ok(OpenedAnswer(**msgspec.structs.asdict(_shown(found)), messages=messages, message_count=said.total))


async def messages(call: Call) -> Reply:
    """Everything said in it, both ways, oldest first."""
    page, limit = call.page_limit()

    def read(tx: Tx) -> Page[Said]:
        return threads.said(tx, call.tenant_id, conversation_of(tx, call).id, limit=limit, page=page)

    found = await call.db.read(read)
    return listing("messages", await talk.shown(call, found.rows), page, limit, found.total)


async def change(call: Call) -> Reply:
    """Opens or closes it, hands it to somebody, links it to an entity of the caller's."""
    asked = call.json(ChangedConversation)
    assignee = asked.assignee if asked.assignee is UNSET else drafts.line(asked.assignee, "assignee")
    wanted = Change(closed=UNSET if asked.status is UNSET else asked.status == "closed", assignee=assignee, entity=_entity(asked))
    return ok(_shown(await call.db.write(threads.change, call.tenant_id, _identity(call), wanted, now=call.now)))


async def read_all(call: Call) -> Reply:
    """Everything received in it has been looked at."""
    identity = _identity(call)
    return await once_said(call, lambda tx: ok(_shown(threads.read_all(tx, call.tenant_id, identity, author=call.key_name, now=call.now))))


def conversation_of(tx: Tx, call: Call) -> Conversation:
    """The conversation that the path names. Raises NotFound."""
    found = threads.get(tx, call.tenant_id, _identity(call))
    if found is None:
        raise NotFound("Conversation not found")
    return found


async def answer(call: Call) -> Reply:
    """201 with the message, which goes out on the conversation's channel."""
    return await reply(call, _identity(call))


def _identity(call: Call) -> int:
    found = ids.parse("conversation", call.path["id"])
    if found is None:
        raise NotFound("Conversation not found")
    return found


def _entity(asked: ChangedConversation) -> tuple[str, str] | UnsetType | None:
    kind, identity = asked.related_entity_type, asked.related_entity_id
    if kind is UNSET and identity is UNSET:
        return UNSET
    if kind is None and identity is None:
        return None
    if not isinstance(kind, str) or not isinstance(identity, str):
        raise Invalid.field("related_entity_id", "comes together with related_entity_type")
    named = drafts.line(kind, "related_entity_type"), drafts.line(identity, "related_entity_id")
    if named[0] is None or named[1] is None:
        raise Invalid.field("related_entity_id" if named[0] else "related_entity_type", "must not be empty")
    return named[0], named[1]


def _filters(call: Call) -> Filters:
    status, contact = call.query("status"), call.query("contact_id")
    if status not in (None, "open", "closed"):
        raise Invalid.field("status", "must be open or closed")
    contact_id = None if contact is None else ids.parse("contact", contact)
    if contact is not None and contact_id is None:
        raise Invalid.field("contact_id", "names no contact")
    return Filters(
        closed=None if status is None else status == "closed",
        unread=call.flag("unread"),
        assignee=call.query("assignee"),
        contact_id=contact_id,
        channel=channel_of(call),
        entity_type=call.query("related_entity_type"),
        entity_id=call.query("related_entity_id"),
        search=drafts.line(call.query("search"), "search", longest=LONGEST_SEARCH),
    )


def _shown(row: Conversation) -> ConversationAnswer:
    return ConversationAnswer(
        id=ids.spell("conversation", row.id),
        key=row.key,
        channel=row.channel,
        status="open" if row.closed_at is None else "closed",
        subject=row.subject,
        contact_id=None if row.contact_id is None else ids.spell("contact", row.contact_id),
        assignee=row.assignee,
        unread=row.unread,
        related_entity_type=row.related_entity_type,
        related_entity_id=row.related_entity_id,
        last_at=instant(row.last_at),
        closed_at=instant_or_none(row.closed_at),
        created_at=instant(row.created_at),
        updated_at=instant(row.updated_at),
    )


_PATH = "/api/v1/conversations"
_READ, _WRITE = "communications:read", "communications:write"
_FILTERS = (
    Parameter("status", "string", "open or closed", words=("open", "closed")),
    Parameter("unread", "boolean", "with anything nobody has looked at, or without"),
    Parameter("assignee", "string", "exactly this one"),
    Parameter("contact_id", "string", "with this contact"),
    Parameter("channel", "string", "email or sms"),
    Parameter("related_entity_type", "string", "about an entity of this type"),
    Parameter("related_entity_id", "string", "about the entity of this id"),
    Parameter("search", "string", "in subjects, texts, and names and addresses of who wrote"),
)

ROUTES: list[Route] = [
    Route("GET", _PATH, index, _READ, "List conversations", gives=ConversationAnswer, lists="conversations", query=(*_FILTERS, *PAGED)),
    Route("GET", _PATH + "/{id}", show, _READ, "One, with its newest messages", gives=OpenedAnswer),
    Route("PATCH", _PATH + "/{id}", change, _WRITE, "Close, assign or link it", ChangedConversation, ConversationAnswer),
    Route("GET", _PATH + "/{id}/messages", messages, _READ, "What was said in it", gives=MessageAnswer, lists="messages", query=PAGED),
    Route("POST", _PATH + "/{id}/read", read_all, _WRITE, "All of it has been looked at", gives=ConversationAnswer, idempotent=True),
    Route(
        *("POST", _PATH + "/{id}/reply", answer, _WRITE, "Answer in it", NewReply, MessageAnswer),
        status=201,
        refuses=(404, 409, 413),
        idempotent=True,
        limit=SEND_LIMIT,
    ),
]
