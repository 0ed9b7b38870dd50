"""The messages of a campaign over HTTP: what each says, and their order."""

import msgspec
from msgspec import UNSET, UnsetType

from tidings import ids
from tidings.api.idempotency import once_said
from tidings.api.native.campaigns import campaign_id_of
from tidings.api.native.contents import Channel, Format, Said, Variable, default_format, plain, prepared, revised, text_of
from tidings.api.wire import Call, Parameter, Reply, Route, created, instant, no_content, ok
from tidings.database import Tx
from tidings.domain import campaigns, durations
from tidings.domain.campaigns import Message, Words
from tidings.errors import Invalid, NotFound
from tidings.rendering import template


class NewMessage(msgspec.Struct, forbid_unknown_fields=True):
    """A step: `delay` after the one before. Either a `template_id`, or a `body` with its fields as a template has them."""

    channel: Channel | None = None
    delay: str = "0s"
    name: str = ""
    template_id: str | None = None
    subject: str = ""
    body: str | None = None
    format: Format | None = None
    text: str | None = None
    variables: list[Variable] = []


class ChangedMessage(msgspec.Struct, forbid_unknown_fields=True):
    """What is left out stays as it is. Changing a field of the body parts the message from its template."""

    delay: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    position: int | UnsetType = UNSET
    template_id: str | UnsetType = UNSET
    subject: str | UnsetType = UNSET
    body: str | UnsetType = UNSET
    format: Format | UnsetType = UNSET
    text: str | UnsetType | None = UNSET
    variables: list[Variable] | UnsetType = UNSET


class MessageAnswer(msgspec.Struct):
    """A step of a campaign. `template_version` is the version of the template it says."""

    id: int
    position: int
    name: str
    channel: str
    delay: str
    format: str
    subject: str
    body: str
    text: str
    variables: list[Variable]
    template_id: str | None
    template_version: int | None
    created_at: str
    updated_at: str


class MessagesAnswer(msgspec.Struct):
    """All messages of a campaign, in order."""

    messages: list[MessageAnswer]


async def add_message(call: Call) -> Reply:
    """201, at the end."""
    new = call.json(NewMessage)
    campaign_id = campaign_id_of(call)
    words = await _words(call.tenant_id, new)
    delay = durations.parse(new.delay, "delay")

    def work(tx: Tx) -> Reply:
        added = campaigns.add_message(tx, call.tenant_id, campaign_id, words, channel=new.channel, name=new.name, delay=delay, now=call.now)
        return created(_shown_message(added))

    return await once_said(call, work)


async def list_messages(call: Call) -> Reply:
    """All of them, in order."""
    campaign_id = campaign_id_of(call)

    def read(tx: Tx) -> list[Message]:
        campaigns.get(tx, call.tenant_id, campaign_id)
        return campaigns.messages(tx, call.tenant_id, campaign_id)

    return ok(MessagesAnswer([_shown_message(row) for row in await call.db.read(read)]))


async def show_message(call: Call) -> Reply:
    """One of them."""
    return ok(_shown_message(await call.db.read(campaigns.message, call.tenant_id, campaign_id_of(call), _number(call))))


async def change_message(call: Call) -> Reply:
    """Other words, another name, delay or place."""
    asked = call.json(ChangedMessage)
    campaign_id, message_id = campaign_id_of(call), _number(call)
    before = await call.db.read(campaigns.message, call.tenant_id, campaign_id, message_id)
    message = await call.db.write(
        campaigns.update_message,
        call.tenant_id,
        campaign_id,
        message_id,
        words=await _reworded(call.tenant_id, before, asked),
        name=None if asked.name is UNSET else asked.name,
        delay=None if asked.delay is UNSET else durations.parse(asked.delay, "delay"),
        position=None if asked.position is UNSET else asked.position,
        now=call.now,
    )
    return ok(_shown_message(message))


async def delete_message(call: Call) -> Reply:
    """204; those after it move up."""
    await call.db.write(campaigns.delete_message, call.tenant_id, campaign_id_of(call), _number(call), now=call.now)
    return no_content()


async def _words(tenant_id: int, new: NewMessage) -> Words:
    if new.template_id is not None:
        if new.body is not None or new.subject or new.text is not None or new.format is not None or new.variables:
            raise Invalid.field("template_id", "stands for the whole content; leave out subject, body, format, text and variables")
        return Words(template_id=_template(new.template_id))
    if new.body is None:
        raise Invalid.field("body", "is required, or a template_id")
    if new.channel is None:
        raise Invalid.field("channel", "is required")
    said = Said(new.subject, new.body, new.format or default_format(new.channel), new.text, plain(new.variables))
    content = await prepared(tenant_id, new.channel, said, strict=False)
    return Words(content, template.content_hash(content))


async def _reworded(tenant_id: int, before: Message, asked: ChangedMessage) -> Words | None:
    inline = any(value is not UNSET for value in (asked.subject, asked.body, asked.format, asked.text, asked.variables))
    if asked.template_id is not UNSET:
        if inline:
            raise Invalid.field("template_id", "stands for the whole content; leave out subject, body, format, text and variables")
        return Words(template_id=_template(asked.template_id))
    if not inline:
        return None
    content = await prepared(tenant_id, before.channel, await revised(tenant_id, before, asked), strict=False)
    return Words(content, template.content_hash(content))


def _template(text: str) -> int:
    found = ids.parse("template", text)
    if found is None:
        raise Invalid.field("template_id", "names no template")
    return found


def _shown_message(row: Message) -> MessageAnswer:
    return MessageAnswer(
        id=row.id,
        position=row.position,
        name=row.name,
        channel=row.channel,
        delay=durations.spell(row.delay),
        format=row.format,
        subject=row.subject,
        body=row.source,
        text=text_of(row.text, row.links),
        variables=msgspec.json.decode(row.variables, type=list[Variable]),
        template_id=None if row.template_id is None else ids.spell("template", row.template_id),
        template_version=row.template_version,
        created_at=instant(row.created_at),
        updated_at=instant(row.updated_at),
    )


def _number(call: Call) -> int:
    found = ids.parse_int(call.path["message_id"])
    if found is None:
        raise NotFound("Message not found")
    return found


_PATH = "/api/v1/campaigns/{id}/messages"
_NUMBER = (Parameter("message_id", "integer", least=1),)

ROUTES: list[Route] = [
    Route("GET", _PATH, list_messages, "campaigns:read", "Its messages in order", gives=MessagesAnswer),
    Route("POST", _PATH, add_message, "campaigns:write", "Add a message", NewMessage, MessageAnswer, status=201, idempotent=True),
    Route("GET", _PATH + "/{message_id}", show_message, "campaigns:read", "One message", gives=MessageAnswer, variables=_NUMBER),
    Route(
        *("PATCH", _PATH + "/{message_id}", change_message, "campaigns:write", "Change it", ChangedMessage, MessageAnswer),
        variables=_NUMBER,
        refuses=(409,),
    ),
    Route(
        *("DELETE", _PATH + "/{message_id}", delete_message, "campaigns:write", "Take it out"),
        status=204,
        variables=_NUMBER,
        refuses=(409,),
    ),
]
