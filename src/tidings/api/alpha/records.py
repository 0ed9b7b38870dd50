"""alpha's communication record (CR): its 37 keys, and how a row becomes one. What the operations do is in the modules beside this."""

from collections.abc import Sequence
from typing import Any

import msgspec

from tidings import ids
from tidings.api import drafts
from tidings.api.wire import House, moment
from tidings.database import Tx
from tidings.domain import communications, templates
from tidings.domain.communications import Communication, Due, Noted
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
    """Everything a record is made of. `clicks` has (index, how often, when first) of each link that was followed, in document order."""

    row: Communication
    due: Due
    content: Content
    clicks: Sequence[tuple[int, int, int]]
    noted: Sequence[Noted]
    template_name: str | None


def gather(tx: Tx, tenant_id: int, ids: Sequence[int]) -> list[Gathered]:
    """What `record` needs of the communications, in the order of the ids; those that are not the tenant's are left out.

    A handful of statements for any number of ids.
    """
    rows = {row.id: row for row in communications.several(tx, tenant_id, ids)}
    dues = {due.id: due for due in communications.dues(tx, tenant_id, list(rows))}
    contents = {content.id: content for content in templates.contents(tx, tenant_id, [row.content_id for row in rows.values()])}
    clicked = communications.followed(tx, tenant_id, [row.id for row in rows.values() if row.click_count])
    noted: dict[int, list[Noted]] = {}
    for entry in communications.history(tx, tenant_id, list(rows)):
        noted.setdefault(entry.communication_id, []).append(entry)
    names = {template_id: _template_name(tx, tenant_id, template_id) for template_id in {row.template_id for row in rows.values()}}
    return [
        Gathered(row, due, content, clicked.get(row.id, []), noted.get(row.id, []), names[row.template_id])
        for row, due in ((rows.get(identity), dues.get(identity)) for identity in ids)
        # on its way out of the store, one may be gone between two statements
        if row is not None and due is not None and (content := contents.get(row.content_id)) is not None
    ]


def _template_name(tx: Tx, tenant_id: int, template_id: int | None) -> str | None:
    template = templates.find(tx, tenant_id, template_id, archived=True) if template_id is not None else None
    return template.name if template is not None else None


def record(house: House, found: Gathered) -> Record:
    """The record as alpha shows it; `body` is what goes out, `originalBody` what came in."""
    row = found.row
    to, cc, bcc = addressees(row)
    return Record(
        bcc=bcc,
        body=_body(house, found),
        cc=cc,
        clicked_links=_clicked(house, found),
        conversation_id=conversation(row),
        created=moment(row.created_at),
        created_by=row.created_by or None,
        error_message=row.error or (_UNSETTLED if row.state == "unknown" else None),
        events=_events(found),
        id=house.signer.communication(row.tenant_id, row.id),
        internet_message_id=house.composer.message_id(row.tenant_id, row.id, row.serial),
        link_tracking_enabled=bool(row.track_links),
        message_id=row.provider_message_id or None,
        open_count=row.open_count,
        opened=row.opened_at is not None,
        opened_at=moment_or_none(row.opened_at),
        original_body=_original(found),
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


def conversation(row: Communication) -> str:
    """What names its conversation: the conversation's key, or a word of its own that makes one of it when somebody goes on from there."""
    return row.conversation_key or ids.spell("thread", row.id)


def moment_or_none(at: int | None) -> str | None:
    """An instant as `moment` spells it, where it may not have come."""
    return None if at is None else moment(at)


class _Addressees(msgspec.Struct, frozen=True):
    to: list[str] = []
    cc: list[str] = []
    bcc: list[str] = []


def addressees(row: Communication) -> tuple[list[str], list[str], list[str]]:
    """Whom it is written to: recipients, cc and bcc."""
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


def _original(found: Gathered) -> str:
    if found.due.emptied:
        return ""
    return drafts.unliteral(found.content.source) if found.row.variables is None else found.content.source


def _subject(house: House, found: Gathered) -> str:
    try:
        return house.composer.rendered_subject(found.due, found.content)
    except Invalid:
        return found.row.subject or found.content.subject


def _events(found: Gathered) -> list[Event]:
    """Oldest first. The creation is told by the row itself."""
    row = found.row
    created = Event(row.created_by or None, moment(row.created_at), "Communication created", ids.uuid("created", row.id), "CREATE")
    return [created, *map(_event, found.noted)]


def _event(noted: Noted) -> Event:
    said = noted.detail or ("Canceled" if noted.kind == "canceled" else "Updated")
    kind = "COMMENT" if noted.kind == "commented" else "UPDATE"
    return Event(noted.author or None, moment(noted.at), said, ids.uuid("event", noted.id), kind)


def _clicked(house: House, found: Gathered) -> list[ClickedLink]:
    targets: list[str] = msgspec.json.decode(found.content.links, type=list[str]) if found.clicks else []
    token = house.signer.communication(found.row.tenant_id, found.row.id)
    return [
        ClickedLink(
            click_count=count,
            clicked_at=moment(first_at),
            original_url=house.composer.link_target(found.due, found.content, index) or targets[index],
            url=f"{house.public_url}{LINK_PATH}{token}/{index}",
        )
        for index, count, first_at in found.clicks
        if 0 <= index < len(targets)
    ]
