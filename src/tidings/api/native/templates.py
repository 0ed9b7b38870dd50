"""Templates over HTTP: made, revised, listed, previewed. What a body's fields come to is decided by `rendering`; versions are the domain's."""

import asyncio
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from tidings import ids
from tidings.api.idempotency import once_said
from tidings.api.native.contents import (
    Channel,
    Format,
    Said,
    Variable,
    channel_of,
    default_format,
    name_of,
    plain,
    prepared,
    revised,
    text_of,
)
from tidings.api.wire import PAGED, Call, Parameter, Reply, Route, created, instant, listing, no_content, ok
from tidings.database import Tx
from tidings.domain import contacts, templates
from tidings.domain.contacts import Contact
from tidings.domain.templates import Content, Revision, Template, Version
from tidings.errors import Invalid, NotFound
from tidings.message import phone
from tidings.message.phone import Segments
from tidings.rendering import template
from tidings.rendering.compose import ComposeError, Composer
from tidings.rendering.context import FIELDS

NAME_LIMIT = 200


class NewTemplate(msgspec.Struct, forbid_unknown_fields=True):
    """`format` is html for email and text for SMS unless given; `text` is the text part, made from the HTML unless given."""

    name: str
    channel: Channel
    body: str
    subject: str = ""
    format: Format | None = None
    text: str | None = None
    variables: list[Variable] = []
    strict: bool = False


class Revised(msgspec.Struct, forbid_unknown_fields=True):
    """What is left out stays as it is; `text: null` has the text part made from the body again."""

    name: str | UnsetType = UNSET
    subject: str | UnsetType = UNSET
    body: str | UnsetType = UNSET
    format: Format | UnsetType = UNSET
    text: str | UnsetType | None = UNSET
    variables: list[Variable] | UnsetType = UNSET
    strict: bool = False


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """Whom to preview a template for. `strict` refuses variables that nothing defines."""

    contact_id: str | None = None
    variables: dict[str, Any] = {}
    strict: bool = False


class SegmentsAnswer(msgspec.Struct):
    """What a text message costs: `units` are septets (GSM-7) or 16-bit units (UCS-2), `remaining` those still free in the last segment."""

    encoding: str
    units: int
    count: int
    remaining: int


class PreviewAnswer(msgspec.Struct):
    """A rendered template, without tracking. `segments` for SMS alone, `smart_segments` what it takes where the provider's `smart_encoding` is on."""

    subject: str
    html: str
    text: str
    segments: SegmentsAnswer | None
    smart_segments: SegmentsAnswer | None


class TemplateAnswer(msgspec.Struct):
    """A template at its newest version."""

    id: str
    version: int
    name: str
    channel: str
    format: str
    subject: str
    body: str
    text: str
    variables: list[Variable]
    created_at: str
    updated_at: str


class VersionAnswer(msgspec.Struct):
    """One version of a template."""

    version: int
    format: str
    subject: str
    body: str
    text: str
    variables: list[Variable]
    created_by: str
    created_at: str


async def create(call: Call) -> Reply:
    """201, the template at version 1."""
    new = call.json(NewTemplate)
    name = name_of(new.name, NAME_LIMIT)
    said = Said(new.subject, new.body, new.format or default_format(new.channel), new.text, plain(new.variables))
    content = await prepared(call.tenant_id, new.channel, said, strict=new.strict)
    revision = Revision(content, template.content_hash(content), call.key_name)
    return await once_said(call, lambda tx: created(shown(templates.create(tx, call.tenant_id, name, revision, now=call.now))))


async def index(call: Call) -> Reply:
    """The live templates, newest first."""
    page, limit = call.page_limit()
    found = await call.db.read(templates.page, call.tenant_id, channel=channel_of(call), page=page, limit=limit)
    return listing("templates", [shown(row) for row in found.rows], page, limit, found.total)


async def show(call: Call) -> Reply:
    """One template."""
    return ok(shown(await call.db.read(templates.get, call.tenant_id, _id(call))))


async def revise(call: Call) -> Reply:
    """A new version, unless nothing but the name is changed."""
    change = call.json(Revised)
    name = UNSET if change.name is UNSET else name_of(change.name, NAME_LIMIT)
    before = await call.db.read(templates.get, call.tenant_id, _id(call))
    said = await revised(call.tenant_id, before, change)
    content = await prepared(call.tenant_id, before.channel, said, strict=change.strict)
    revision = Revision(content, template.content_hash(content), call.key_name)

    def store(tx: Tx) -> Template:
        if name is not UNSET and name != before.name:
            templates.rename(tx, call.tenant_id, before.id, name, now=call.now)
        return templates.add_version(tx, before, revision, now=call.now)

    return ok(shown(await call.db.write(store)))


async def archive(call: Call) -> Reply:
    """204; what was made from it stays."""
    await call.db.write(templates.archive, call.tenant_id, _id(call), now=call.now)
    return no_content()


async def versions(call: Call) -> Reply:
    """Every version, newest first."""
    page, limit = call.page_limit()
    template_id = _id(call)

    def read(tx: Tx) -> Reply:
        templates.get(tx, call.tenant_id, template_id)
        found = templates.versions(tx, call.tenant_id, template_id, page=page, limit=limit)
        return listing("versions", [_shown_version(row) for row in found.rows], page, limit, found.total)

    return await call.db.read(read)


async def preview(call: Call) -> Reply:
    """The newest version as a contact would see it; nobody in particular unless one is named."""
    asked = call.json(Asked)
    template_id = _id(call)
    contact_id = None if asked.contact_id is None else ids.parse("contact", asked.contact_id) or 0

    def read(tx: Tx) -> tuple[Content | None, Contact | None]:
        found = templates.get(tx, call.tenant_id, template_id)
        contact = None if contact_id is None else contacts.get(tx, call.tenant_id, contact_id)
        return templates.content(tx, call.tenant_id, found.content_id), contact

    content, contact = await call.db.read(read)
    if contact is None and contact_id is not None:
        raise NotFound("Contact not found")
    assert content is not None
    person = {} if contact is None else _person(contact)
    return ok(await asyncio.to_thread(_rendered, call.house.composer, content, person, asked))


def _person(contact: Contact) -> dict[str, Any]:
    values = {name: getattr(contact, name) for name in FIELDS}
    return {**values, "id": contact.id, "attributes": msgspec.json.decode(contact.attributes)}


def _rendered(composer: Composer, content: Content, person: dict[str, Any], asked: Asked) -> PreviewAnswer:
    if asked.strict:
        template.check_strict(content, {*asked.variables, *person.get("attributes", {})})
    try:
        made = composer.preview(content, person, asked.variables)
    except ComposeError as error:
        raise Invalid(error.message, {"body": [error.message]}) from error
    smart = None if made.segments is None else phone.segments(phone.smart(made.text))
    return PreviewAnswer(made.subject, made.html, made.text, _counted(made.segments), _counted(smart))


def _counted(segments: Segments | None) -> SegmentsAnswer | None:
    return None if segments is None else SegmentsAnswer(**msgspec.structs.asdict(segments))


def shown(row: Template) -> TemplateAnswer:
    """The template on the wire."""
    return TemplateAnswer(
        id=ids.spell("template", row.id),
        version=row.version,
        name=row.name,
        channel=row.channel,
        format=row.format,
        subject=row.subject,
        body=row.source,
        text=text_of(row.text, row.links),
        variables=msgspec.json.decode(row.variables, type=list[Variable]),
        created_at=instant(row.created_at),
        updated_at=instant(row.updated_at),
    )


def _shown_version(row: Version) -> VersionAnswer:
    return VersionAnswer(
        version=row.version,
        format=row.format,
        subject=row.subject,
        body=row.source,
        text=text_of(row.text, row.links),
        variables=msgspec.json.decode(row.variables, type=list[Variable]),
        created_by=row.created_by,
        created_at=instant(row.created_at),
    )


def _id(call: Call) -> int:
    found = ids.parse("template", call.path["id"])
    if found is None:
        raise NotFound("Template not found")
    return found


_CHANNEL = Parameter("channel", words=("email", "sms"))

ROUTES: list[Route] = [
    Route(
        "GET",
        "/api/v1/templates",
        index,
        "templates:read",
        "List templates",
        gives=TemplateAnswer,
        lists="templates",
        query=(_CHANNEL, *PAGED),
    ),
    Route(
        "POST", "/api/v1/templates", create, "templates:write", "Make a template", NewTemplate, TemplateAnswer, status=201, idempotent=True
    ),
    Route("GET", "/api/v1/templates/{id}", show, "templates:read", "One template", gives=TemplateAnswer),
    Route("PATCH", "/api/v1/templates/{id}", revise, "templates:write", "Make a new version", Revised, TemplateAnswer, refuses=(409,)),
    Route("DELETE", "/api/v1/templates/{id}", archive, "templates:write", "Archive a template", status=204),
    Route(
        "GET",
        "/api/v1/templates/{id}/versions",
        versions,
        "templates:read",
        "Every version",
        gives=VersionAnswer,
        lists="versions",
        query=PAGED,
    ),
    Route("POST", "/api/v1/templates/{id}/preview", preview, "templates:read", "Render it for somebody", Asked, PreviewAnswer),
]
