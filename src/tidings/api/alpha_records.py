"""alpha's communication record (CR): its 37 keys, and how a row becomes one. What the operations do is `alpha`'s."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from tidings import ids
from tidings.api import drafts
from tidings.api.wire import House
from tidings.database import Tx
from tidings.domain import communications, templates
from tidings.domain.communications import Click, Communication, Due
from tidings.domain.templates import Content
from tidings.errors import Invalid
from tidings.rendering.plan import LINK_PATH

STATUS = {
    "scheduled": "SCHEDULED",
    "pending": "PENDING",
    "in_process": "PENDING",
    "unknown": "PENDING",
    "sent": "SENT",
    "delivered": "SENT",
    "failed": "FAILED",
    "bounced": "FAILED",
    "suppressed": "FAILED",
    "canceled": "CANCELLED",
}
_UNSETTLED = "It left us and no answer came; it may have gone out"


class ClickedLink(msgspec.Struct, frozen=True, rename="camel"):
    """A link of the mail that was followed."""

    click_count: int
    clicked_at: str | None
    original_url: str
    url: str


class Event(msgspec.Struct, frozen=True, rename="camel"):
    """Something that was done to the record."""

    author_id: str | None
    date: str
    description: str
    id: str
    type: str


class Record(msgspec.Struct, frozen=True, rename="camel"):
    """CR of the contract: exactly these 37 keys, always all of them."""

    bcc: list[str]
    body: str
    cc: list[str]
    clicked_links: list[ClickedLink]
    conversation_id: str | None
    created: str
    created_by: str | None
    error_message: str | None
    events: list[Event]
    id: str
    internet_message_id: str
    link_tracking_enabled: bool
    message_id: str | None
    open_count: int
    opened: bool
    opened_at: str | None
    original_body: str
    provider_type: str | None
    recipient_list_id: str | None
    recipients: list[str]
    related_entity_id: str | None
    related_entity_type: str | None
    reply_to: str | None
    scheduled_at: str | None
    sender_email: str
    sender_name: str
    sent_at: str | None
    status: str
    subject: str
    template_id: str | None
    template_name: str | None
    tenant_id: str
    tracking_enabled: bool
    type: str
    updated: str
    updated_by: str | None
    variables: dict[str, Any]


class Gathered(msgspec.Struct, frozen=True):
    """Everything a record is made of, read in one transaction."""

    row: Communication
    due: Due
    content: Content
    clicks: Sequence[Click]
    template_name: str | None


def gather(tx: Tx, tenant_id: int, communication_id: int) -> Gathered | None:
    """What `record` needs of one communication of the tenant, or None."""
    row = communications.get(tx, tenant_id, communication_id)
    due = communications.due(tx, tenant_id, communication_id)
    content = templates.content(tx, tenant_id, row.content_id) if row else None
    if row is None or due is None or content is None:
        return None
    clicks = communications.clicks(tx, tenant_id, communication_id) if row.click_count else []
    template = templates.find(tx, tenant_id, row.template_id, archived=True) if row.template_id else None
    return Gathered(row, due, content, clicks, template.name if template else None)


def record(house: House, found: Gathered) -> Record:
    """The record as alpha shows it; `body` is what goes out, `originalBody` what came in."""
    row = found.row
    to, cc, bcc = _addressees(row)
    return Record(
        bcc=bcc,
        body=_body(house, found),
        cc=cc,
        clicked_links=[_clicked(house, found, click) for click in found.clicks],
        conversation_id=row.conversation_id,
        created=moment(row.created_at),
        created_by=row.created_by or None,
        error_message=row.error or (_UNSETTLED if row.state == "unknown" else None),
        events=[Event(row.created_by or None, moment(row.created_at), "Communication created", ids.uuid("created", row.id), "CREATE")],
        id=house.signer.communication(row.tenant_id, row.id),
        internet_message_id=house.composer.message_id(row.tenant_id, row.id, row.serial),
        link_tracking_enabled=bool(row.track_links),
        message_id=row.provider_message_id or None,
        open_count=row.open_count,
        opened=row.opened_at is not None,
        opened_at=moment_or_none(row.opened_at),
        original_body=drafts.unliteral(found.content.source) if row.variables is None else found.content.source,
        provider_type=row.provider.upper() if row.provider else None,
        recipient_list_id=ids.spell("list", row.list_id) if row.list_id else None,
        recipients=to,
        related_entity_id=row.related_entity_id,
        related_entity_type=row.related_entity_type,
        reply_to=row.reply_to,
        scheduled_at=moment_or_none(row.scheduled_at),
        sender_email=row.sender_email,
        sender_name=row.sender_name,
        sent_at=moment_or_none(row.sent_at),
        status=STATUS[row.state],
        subject=_subject(house, found),
        template_id=ids.spell("template", row.template_id) if row.template_id else None,
        template_name=found.template_name,
        tenant_id=ids.spell("tenant", row.tenant_id),
        tracking_enabled=bool(row.track_opens),
        type=row.type,
        updated=moment(row.updated_at),
        updated_by=row.updated_by or None,
        variables=msgspec.json.decode(row.variables, type=dict[str, Any]) if row.variables else {},
    )


def moment(at: int) -> str:
    """An instant in milliseconds as ISO 8601 with `Z` and three digits of the second."""
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at % 1000:03d}Z"


def moment_or_none(at: int | None) -> str | None:
    """The same for an instant that may not have come."""
    return None if at is None else moment(at)


class _Addressees(msgspec.Struct, frozen=True):
    to: list[str] = []
    cc: list[str] = []
    bcc: list[str] = []


def _addressees(row: Communication) -> tuple[list[str], list[str], list[str]]:
    if not row.recipients:
        return [row.address], [], []
    lists = msgspec.json.decode(row.recipients, type=_Addressees)
    return lists.to, lists.cc, lists.bcc


def _body(house: House, found: Gathered) -> str:
    # what cannot be rendered did not go out either: its record says so, and the body stays as it came
    try:
        return house.composer.rendered_body(found.due, found.content, tracked=True)
    except Invalid:
        return drafts.unliteral(found.content.source)


def _subject(house: House, found: Gathered) -> str:
    try:
        return house.composer.rendered_subject(found.due, found.content)
    except Invalid:
        return found.row.subject or found.content.subject


def _clicked(house: House, found: Gathered, click: Click) -> ClickedLink:
    token = house.signer.communication(found.row.tenant_id, found.row.id)
    return ClickedLink(
        click_count=click.count,
        clicked_at=moment_or_none(click.first_at),
        original_url=house.composer.link_target(found.due, found.content, click.index) or click.url,
        url=f"{house.public_url}{LINK_PATH}{token}/{click.index}",
    )
