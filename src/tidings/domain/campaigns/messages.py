"""The Messages of a campaign: what each says, and their order."""

from typing import Final

import msgspec

from tidings.database import Tx
from tidings.domain import templates
from tidings.domain.campaigns.record import Campaign, checked_name, lock
from tidings.domain.templates import Content
from tidings.errors import Conflict, Invalid, NotFound

_ASIDE = 1_000_000
"""Added to positions while they change places: no two messages of a campaign may share one even for a moment."""


class Message(msgspec.Struct, frozen=True):
    """One step: `delay` in milliseconds after the previous one (the first: after enrollment).

    `template_version` is the version its content was taken from: a newer one is taken up by naming the template again.
    """

    id: int
    campaign_id: int
    position: int
    name: str
    channel: str
    delay: int
    content_id: int
    template_id: int | None
    template_version: int | None
    format: str
    subject: str
    source: str
    text: str
    links: str
    variables: str
    created_at: int
    updated_at: int


class Words(msgspec.Struct, frozen=True):
    """What a message says: prepared content and its hash, or the template whose newest version it takes."""

    content: Content | None = None
    hash: str = ""
    template_id: int | None = None


_MESSAGE: Final = (
    "SELECT m.id, m.campaign_id, m.position, m.name, m.channel, m.delay, m.content_id, m.template_id,"
    " (SELECT MAX(v.version) FROM template_versions v WHERE v.tenant_id = m.tenant_id AND v.template_id = m.template_id"
    " AND v.content_id = m.content_id),"
    " c.format, c.subject, c.source, c.text, c.links, c.variables, m.created_at, m.updated_at"
    " FROM messages m JOIN contents c ON c.tenant_id = m.tenant_id AND c.id = m.content_id"
    " WHERE m.tenant_id = :tenant_id AND m.campaign_id = :campaign_id AND m.deleted_at IS NULL"
)


def messages(tx: Tx, tenant_id: int, campaign_id: int) -> list[Message]:
    """The messages of a campaign in their order."""
    sql = _MESSAGE + " ORDER BY m.position"
    return tx.all(Message, sql, tenant_id=tenant_id, campaign_id=campaign_id)


def message(tx: Tx, tenant_id: int, campaign_id: int, message_id: int) -> Message:
    """One message of this campaign. Raises NotFound."""
    sql = _MESSAGE + " AND m.id = :message_id"
    found = tx.one(Message, sql, tenant_id=tenant_id, campaign_id=campaign_id, message_id=message_id)
    if found is None:
        raise NotFound("Message not found")
    return found


def add_message(
    tx: Tx, tenant_id: int, campaign_id: int, words: Words, *, now: int, channel: str | None = None, name: str = "", delay: int = 0
) -> Message:
    """Adds a message at the end, also to an active campaign: whoever has the last one before them still gets it too.

    `channel` may be left out, for the words have one. Raises Invalid for an unknown template or another channel's, Conflict when archived.
    """
    lock(tx, tenant_id, campaign_id, "draft", "active", "paused", verb="changed")
    content_id, channel = _said(tx, tenant_id, words, channel, now)
    message_id = tx.value(
        "INSERT INTO messages (tenant_id, campaign_id, position, name, channel, delay, content_id, template_id, created_at, updated_at)"
        " SELECT :tenant_id, :campaign_id, COALESCE(MAX(position), 0) + 1, :name, :channel, :delay, :content_id, :template_id, :now, :now"
        " FROM messages WHERE tenant_id = :tenant_id AND campaign_id = :campaign_id AND deleted_at IS NULL RETURNING id",
        tenant_id=tenant_id,
        campaign_id=campaign_id,
        name=checked_name(name),
        channel=channel,
        delay=delay,
        content_id=content_id,
        template_id=words.template_id,
        now=now,
    )
    return message(tx, tenant_id, campaign_id, message_id)


def update_message(  # noqa: PLR0913 - what is None stays
    tx: Tx,
    tenant_id: int,
    campaign_id: int,
    message_id: int,
    *,
    now: int,
    words: Words | None = None,
    name: str | None = None,
    delay: int | None = None,
    position: int | None = None,
) -> Message:
    """Changes what a message says, is called, or when it follows; moves it to `position` while nobody is under way.

    Messages of it that a pause has set aside say the new words too; a new delay holds for who reaches it from now on.
    Raises Invalid, NotFound, Conflict.
    """
    campaign = lock(tx, tenant_id, campaign_id, "draft", "active", "paused", verb="changed")
    before = message(tx, tenant_id, campaign_id, message_id)
    content_id, template_id = before.content_id, before.template_id
    if words is not None:
        content_id, _ = _said(tx, tenant_id, words, before.channel, now)
        template_id = words.template_id
    tx.run(
        "UPDATE messages SET name = :name, delay = :delay, content_id = :content_id, template_id = :template_id, updated_at = :now"
        " WHERE tenant_id = :tenant_id AND id = :message_id",
        tenant_id=tenant_id,
        message_id=message_id,
        name=before.name if name is None else checked_name(name),
        delay=before.delay if delay is None else delay,
        content_id=content_id,
        template_id=template_id,
        now=now,
    )
    if content_id != before.content_id and campaign.state == "paused":
        _reword(tx, tenant_id, campaign_id, message_id, content_id, template_id, now)
    if position is not None and position != before.position:
        _move(tx, campaign, before, position)
    return message(tx, tenant_id, campaign_id, message_id)


def delete_message(tx: Tx, tenant_id: int, campaign_id: int, message_id: int, *, now: int) -> None:
    """Takes a message out; those after it move up. Raises Conflict while anybody is under way, NotFound."""
    campaign = lock(tx, tenant_id, campaign_id, "draft", "paused", verb="shortened")
    gone = message(tx, tenant_id, campaign_id, message_id)
    _require_nobody_under_way(tx, campaign)
    tx.run(
        "UPDATE messages SET deleted_at = :now, updated_at = :now WHERE tenant_id = :tenant_id AND id = :message_id",
        tenant_id=tenant_id,
        message_id=gone.id,
        now=now,
    )
    _number(tx, campaign, [other.id for other in messages(tx, tenant_id, campaign_id)])


def _said(tx: Tx, tenant_id: int, words: Words, channel: str | None, now: int) -> tuple[int, str]:
    """The content these words come to, and its channel, which must be `channel` if that is given."""
    if words.template_id is not None:
        template = templates.find(tx, tenant_id, words.template_id)
        if template is None:
            raise Invalid.field("template_id", "names no template")
        if channel not in (None, template.channel):
            raise Invalid.field("template_id", f"names a template for {template.channel}, the message is for {channel}")
        return template.content_id, template.channel
    if words.content is None:
        raise Invalid.field("body", "is required, or a template_id")
    return templates.store_content(tx, words.content, words.hash, now=now), words.content.channel


def _reword(tx: Tx, tenant_id: int, campaign_id: int, message_id: int, content_id: int, template_id: int | None, now: int) -> None:
    tx.run(
        "UPDATE communications SET content_id = :content_id, template_id = :template_id, updated_at = :now WHERE tenant_id = :tenant_id"
        " AND due_at IS NOT NULL AND lane = 1 AND campaign_id = :campaign_id AND message_id = :message_id AND state = 'pending'",
        tenant_id=tenant_id,
        campaign_id=campaign_id,
        message_id=message_id,
        content_id=content_id,
        template_id=template_id,
        now=now,
    )


def _require_nobody_under_way(tx: Tx, campaign: Campaign) -> None:
    """An enrollment knows how far it has come by position alone, so nothing changes places under its feet."""
    walking = tx.value(
        "SELECT 1 FROM enrollments WHERE tenant_id = :tenant_id AND campaign_id = :campaign_id AND completed_at IS NULL LIMIT 1",
        tenant_id=campaign.tenant_id,
        campaign_id=campaign.id,
    )
    if walking:
        raise Conflict("Contacts are under way in this campaign: its messages can be reworded and added to, not moved or taken out")


def _move(tx: Tx, campaign: Campaign, moved: Message, position: int) -> None:
    """To this position, or to the end when there are not so many."""
    if position < 1:
        raise Invalid.field("position", "must be at least 1")
    if campaign.state == "active":
        raise Conflict("An active campaign's messages cannot be moved; pause it first")
    _require_nobody_under_way(tx, campaign)
    order = [other.id for other in messages(tx, campaign.tenant_id, campaign.id) if other.id != moved.id]
    order.insert(position - 1, moved.id)
    _number(tx, campaign, order)


def _number(tx: Tx, campaign: Campaign, order: list[int]) -> None:
    tx.run(
        "UPDATE messages SET position = position + :aside"
        " WHERE tenant_id = :tenant_id AND campaign_id = :campaign_id AND deleted_at IS NULL",
        tenant_id=campaign.tenant_id,
        campaign_id=campaign.id,
        aside=_ASIDE,
    )
    tx.run(
        "UPDATE messages SET position = r.place FROM :rows(id bigint, place bigint) r"
        " WHERE messages.tenant_id = :tenant_id AND messages.campaign_id = :campaign_id AND messages.id = r.id",
        tenant_id=campaign.tenant_id,
        campaign_id=campaign.id,
        rows=[(message_id, index) for index, message_id in enumerate(order, 1)],
    )
