"""The fields of a body as templates and campaign messages share them: read, completed after a change, prepared, and shown again; and names."""

import asyncio
from typing import Any, Literal, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from tidings.api.wire import Call
from tidings.domain.templates import Content
from tidings.errors import Invalid
from tidings.rendering import marks, template

Channel = Literal["email", "sms"]
Format = Literal["html", "mjml", "text"]


class Variable(msgspec.Struct, forbid_unknown_fields=True):
    """A variable a template expects."""

    name: str
    required: bool = False
    default: Any = None


class Said(msgspec.Struct, frozen=True):
    """The fields of a body, complete. `text` None: made from the body."""

    subject: str
    body: str
    format: str
    text: str | None
    variables: list[dict[str, Any]]


class Worded(Protocol):
    """What templates and campaign messages have in common."""

    @property
    def channel(self) -> str: ...
    @property
    def format(self) -> str: ...
    @property
    def subject(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def links(self) -> str: ...
    @property
    def variables(self) -> str: ...


class Change(Protocol):
    """The fields of a body, each perhaps left out."""

    subject: str | UnsetType
    body: str | UnsetType
    format: Format | UnsetType
    text: str | UnsetType | None
    variables: list[Variable] | UnsetType


def default_format(channel: str) -> Format:
    """What a body is taken for when nobody says."""
    return "html" if channel == "email" else "text"


async def prepared(tenant_id: int, channel: str, said: Said, *, strict: bool) -> Content:
    """The content these fields come to; `strict` refuses variables nobody declared. Raises Invalid with field and line."""

    def prepare() -> Content:
        content = template.prepare(
            tenant_id=tenant_id,
            channel=channel,
            format=said.format,
            subject=said.subject,
            body=said.body,
            text=said.text,
            variables=said.variables,
        )
        if strict:
            template.check_strict(content)
        return content

    # compiling MJML and inlining CSS take tens of milliseconds, which other requests should not wait for
    return await asyncio.to_thread(prepare)


async def revised(tenant_id: int, before: Worded, change: Change) -> Said:
    """The fields after a change. A text part that had been made from the body is made anew, one that was given stays."""
    text: str | None = None
    if change.text is not UNSET:
        text = change.text
    elif before.format != "text":
        kept = Said(before.subject, before.source, before.format, None, decoded(before.variables))
        made = await prepared(tenant_id, before.channel, kept, strict=False)
        text = None if (made.text, made.links) == (before.text, before.links) else text_of(before.text, before.links)
    return Said(
        before.subject if change.subject is UNSET else change.subject,
        before.source if change.body is UNSET else change.body,
        before.format if change.format is UNSET else change.format,
        text,
        decoded(before.variables) if change.variables is UNSET else plain(change.variables),
    )


def text_of(text: str, links: str) -> str:
    """A content's text part as somebody would write it: link targets in their places."""
    targets = msgspec.json.decode(links, type=list[str])
    return marks.SLOT.sub(lambda slot: targets[int(slot[1])], text)


def plain(variables: list[Variable]) -> list[dict[str, Any]]:
    """Declared variables as `rendering` takes them."""
    return [{"name": variable.name, "required": variable.required, "default": variable.default} for variable in variables]


def decoded(variables: str) -> list[dict[str, Any]]:
    """Declared variables out of their column."""
    return plain(msgspec.json.decode(variables, type=list[Variable]))


def channel_of(call: Call) -> str | None:
    """The query parameter `channel`. Raises Invalid for another word."""
    channel = call.query("channel")
    if channel not in (None, "email", "sms"):
        raise Invalid.field("channel", "must be email or sms")
    return channel


def name_of(name: str, longest: int) -> str:
    """What a resource is called, without space around it: one line. Raises Invalid."""
    name = name.strip()
    if not name or len(name) > longest or not name.isprintable():
        raise Invalid.field("name", f"must be one line of 1 to {longest} characters")
    return name
