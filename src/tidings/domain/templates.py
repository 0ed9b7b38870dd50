"""Templates, their versions, and Content: the immutable subject + body + links that communications are made from.

Rendering lives in `rendering/`; what is stored here was prepared there.
"""

import re
from collections.abc import Iterable
from typing import Final, LiteralString

import msgspec

from tidings.database import Tx
from tidings.database.functions import fold
from tidings.domain.page import Page
from tidings.errors import Conflict, NotFound

MARK: Final = re.compile(r"\{[{%#]")
"""What begins an expression, a statement or a comment of a template."""


class Content(msgspec.Struct, frozen=True):
    """What `rendering.template.prepare` made of a body, once; shared by every communication made from it; never changes.

    `source` is the body as the caller gave it. `html` is the prepared HTML template (MJML compiled, CSS inlined, link targets
    and the pixel's place cut out as slots; empty for SMS and text mail), `text` the template of the text part or of the SMS.
    `links` is a JSON array of link targets in slot order (a target may itself be a template), `variables` a JSON array of
    {name, required, default}. `id` is 0 until stored.
    """

    id: int
    tenant_id: int
    channel: str
    format: str
    subject: str
    source: str
    html: str
    text: str
    links: str
    variables: str


class Template(msgspec.Struct, frozen=True):
    """Reusable content for one channel, as its newest version stands; the fields of its content are as `Content` has them."""

    id: int
    name: str
    channel: str
    version: int
    content_id: int
    format: str
    subject: str
    source: str
    text: str
    links: str
    variables: str
    archived_at: int | None
    created_at: int
    updated_at: int


class Version(msgspec.Struct, frozen=True):
    """One version of a template, as it was and will be. `created_by` is the name of the key that made it."""

    template_id: int
    version: int
    content_id: int
    format: str
    subject: str
    source: str
    text: str
    links: str
    variables: str
    created_by: str
    created_at: int


class Revision(msgspec.Struct, frozen=True):
    """What makes a new version: prepared content, its hash, and who made it."""

    content: Content
    hash: str
    created_by: str = ""


_BRACE = re.compile(r"\{\{ '(\{[{%#])' \}\}")
_SLOT = re.compile(" ?\\(?\U0010f000[0-9a-z]+\U0010f001\\)?")
"""Where a link's target goes in the text of a mail: see rendering.marks."""
_TEMPLATE: Final = (
    "SELECT t.id, t.name, t.channel, t.version, t.content_id, c.format, c.subject, c.source, c.text, c.links, c.variables,"
    " t.archived_at, t.created_at, t.updated_at"
    " FROM templates t JOIN contents c ON c.tenant_id = t.tenant_id AND c.id = t.content_id WHERE t.tenant_id = :tenant_id"
)
_CONTENT: Final = (
    "SELECT id, tenant_id, channel, format, subject, source, html, text, links, variables FROM contents WHERE tenant_id = :tenant_id"
)


def literal(text: str) -> str:
    """A template that renders to `text` as it stands."""
    return MARK.sub(lambda found: f"{{{{ '{found.group()}' }}}}", text)


def store_content(tx: Tx, content: Content, hash: str, *, now: int) -> int:  # noqa: A002 - the column's name
    """The id of this content, stored now unless the tenant has the same already. Two transactions storing the same get one row."""
    same: LiteralString = "SELECT id FROM contents WHERE tenant_id = :tenant_id AND hash = :hash"
    found = tx.value(same, tenant_id=content.tenant_id, hash=hash)
    if found is None:
        found = tx.value(
            "INSERT INTO contents (tenant_id, hash, channel, format, subject, source, html, text, links, variables, said_subject, said_text, created_at)"
            " VALUES (:tenant_id, :hash, :channel, :format, :subject, :source, :html, :text, :links, :variables, :said_subject, :said_text, :now)"
            " ON CONFLICT (tenant_id, hash) DO NOTHING RETURNING id",
            tenant_id=content.tenant_id,
            hash=hash,
            channel=content.channel,
            format=content.format,
            subject=content.subject,
            source=content.source,
            html=content.html,
            text=content.text,
            links=content.links,
            variables=content.variables,
            said_subject=fold(_as_read(content.subject)),
            said_text=fold(_SLOT.sub("", _as_read(content.text))),
            now=now,
        )
    if found is None:
        # Somebody stored it between our two statements; the insert has waited for them, so it is there to be seen.
        found = tx.value(same, tenant_id=content.tenant_id, hash=hash)
    return int(found)


def content(tx: Tx, tenant_id: int, content_id: int) -> Content | None:
    """One content by id."""
    return tx.one(Content, _CONTENT + " AND id = :content_id", tenant_id=tenant_id, content_id=content_id)


def contents(tx: Tx, tenant_id: int, ids: Iterable[int]) -> list[Content]:
    """The contents of these ids that exist, in no order."""
    rows = [(identity,) for identity in set(ids)]
    sql = _CONTENT
    sql += " AND id IN (SELECT i.id FROM :ids(id bigint) i)"
    return tx.all(Content, sql, tenant_id=tenant_id, ids=rows)


def create(tx: Tx, tenant_id: int, name: str, revision: Revision, *, now: int) -> Template:
    """A new template at version 1. Raises Conflict when a live one has that name."""
    content_id = store_content(tx, revision.content, revision.hash, now=now)
    template_id = tx.value(
        "INSERT INTO templates (tenant_id, name, channel, version, content_id, created_at, updated_at)"
        " VALUES (:tenant_id, :name, :channel, 1, :content_id, :now, :now)"
        " ON CONFLICT (tenant_id, name) WHERE archived_at IS NULL DO NOTHING RETURNING id",
        tenant_id=tenant_id,
        name=name,
        channel=revision.content.channel,
        content_id=content_id,
        now=now,
    )
    if template_id is None:
        raise Conflict(f"There is a template named {name} already")
    _keep(tx, tenant_id, template_id, 1, content_id, revision.created_by, now)
    return get(tx, tenant_id, template_id)


def find(tx: Tx, tenant_id: int, template_id: int, *, archived: bool = False) -> Template | None:
    """One template, or None; archived ones only when asked for (what was sent from them still names them)."""
    sql = _TEMPLATE + " AND t.id = :template_id"
    if not archived:
        sql += " AND t.archived_at IS NULL"
    return tx.one(Template, sql, tenant_id=tenant_id, template_id=template_id)


def get(tx: Tx, tenant_id: int, template_id: int) -> Template:
    """One live template. Raises NotFound."""
    found = find(tx, tenant_id, template_id)
    if found is None:
        raise NotFound("Template not found")
    return found


def page(tx: Tx, tenant_id: int, *, channel: str | None = None, page: int = 1, limit: int = 25) -> Page[Template]:
    """Live templates, newest first."""
    rows: LiteralString = _TEMPLATE
    count: LiteralString = "SELECT COUNT(*) FROM templates t WHERE t.tenant_id = :tenant_id"
    live: LiteralString = " AND t.archived_at IS NULL"
    params: dict[str, int | str] = {"tenant_id": tenant_id}
    if channel is not None:
        live += " AND t.channel = :channel"
        params["channel"] = channel
    rows += live + " ORDER BY t.created_at DESC, t.id DESC LIMIT :limit OFFSET :offset"
    count += live
    return Page(tx.all(Template, rows, **params, limit=limit, offset=(page - 1) * limit), tx.value(count, **params))


def add_version(tx: Tx, template: Template, revision: Revision, *, now: int) -> Template:
    """Makes `revision` the newest version; the same content again makes none. Raises Conflict when somebody changed the template
    since `template` was read, NotFound when it was archived.
    """
    tenant_id = revision.content.tenant_id
    content_id = store_content(tx, revision.content, revision.hash, now=now)
    if content_id == template.content_id:
        return get(tx, tenant_id, template.id)
    changed = tx.run(
        "UPDATE templates SET version = version + 1, content_id = :content_id, updated_at = :now"
        " WHERE tenant_id = :tenant_id AND id = :template_id AND version = :version AND archived_at IS NULL",
        tenant_id=tenant_id,
        template_id=template.id,
        version=template.version,
        content_id=content_id,
        now=now,
    )
    current = get(tx, tenant_id, template.id)
    if not changed:
        raise Conflict(f"The template was changed meanwhile: it is at version {current.version} now")
    _keep(tx, tenant_id, template.id, current.version, content_id, revision.created_by, now)
    return current


def rename(tx: Tx, tenant_id: int, template_id: int, name: str, *, now: int) -> Template:
    """Another name, the same version. Raises Conflict when a live one has that name, NotFound."""
    taken = tx.value(
        "SELECT id FROM templates WHERE tenant_id = :tenant_id AND name = :name AND archived_at IS NULL AND id <> :template_id",
        tenant_id=tenant_id,
        name=name,
        template_id=template_id,
    )
    if taken is not None:
        raise Conflict(f"There is a template named {name} already")
    tx.run(
        "UPDATE templates SET name = :name, updated_at = :now WHERE tenant_id = :tenant_id AND id = :template_id AND archived_at IS NULL",
        tenant_id=tenant_id,
        template_id=template_id,
        name=name,
        now=now,
    )
    return get(tx, tenant_id, template_id)


def versions(tx: Tx, tenant_id: int, template_id: int, *, page: int = 1, limit: int = 25) -> Page[Version]:
    """Every version of a template, newest first."""
    total = tx.value(
        "SELECT COUNT(*) FROM template_versions WHERE tenant_id = :tenant_id AND template_id = :template_id",
        tenant_id=tenant_id,
        template_id=template_id,
    )
    rows = tx.all(
        Version,
        "SELECT v.template_id, v.version, v.content_id, c.format, c.subject, c.source, c.text, c.links, c.variables, v.created_by, v.created_at"
        " FROM template_versions v JOIN contents c ON c.tenant_id = v.tenant_id AND c.id = v.content_id"
        " WHERE v.tenant_id = :tenant_id AND v.template_id = :template_id ORDER BY v.version DESC LIMIT :limit OFFSET :offset",
        tenant_id=tenant_id,
        template_id=template_id,
        limit=limit,
        offset=(page - 1) * limit,
    )
    return Page(rows, total)


def archive(tx: Tx, tenant_id: int, template_id: int, *, now: int) -> None:
    """Puts a template out of use: its name is free again, what was made from it stays. Raises NotFound."""
    changed = tx.run(
        "UPDATE templates SET archived_at = :now, updated_at = :now"
        " WHERE tenant_id = :tenant_id AND id = :template_id AND archived_at IS NULL",
        tenant_id=tenant_id,
        template_id=template_id,
        now=now,
    )
    if not changed:
        raise NotFound("Template not found")


def _as_read(source: str) -> str:
    """A template as search is to find it: a brace that was written as an expression, because it is meant as it stands, is a brace."""
    return _BRACE.sub(lambda found: found.group(1), source)


def _keep(tx: Tx, tenant_id: int, template_id: int, version: int, content_id: int, created_by: str, now: int) -> None:
    tx.run(
        "INSERT INTO template_versions (tenant_id, template_id, version, content_id, created_by, created_at)"
        " VALUES (:tenant_id, :template_id, :version, :content_id, :created_by, :now)",
        tenant_id=tenant_id,
        template_id=template_id,
        version=version,
        content_id=content_id,
        created_by=created_by,
        now=now,
    )
