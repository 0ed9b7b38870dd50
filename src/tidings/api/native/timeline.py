"""A contact's timeline over HTTP: everything there is with one person, as one list."""

import msgspec

from tidings import ids
from tidings.analytics import lifeline
from tidings.analytics.lifeline import Entry, Kind, Place
from tidings.api.native import interactions, places
from tidings.api.native.contacts import contact_id_of
from tidings.api.native.interactions import InteractionAnswer
from tidings.api.wire import Call, Parameter, Reply, Route, instant, ok
from tidings.database import Tx
from tidings.domain import contacts
from tidings.errors import NotFound


class TimelineAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One thing. Fields that are not of its kind are null.

    `word` is the state of a communication, the status of what was received, how a walk ended (completed, reply or unsubscribe), why an address
    is suppressed, or granted or denied. `happened` is what became of a communication, newest first; `more` tells that only the newest is here.
    """

    at: str
    kind: Kind
    word: str
    channel: str | None
    address: str | None
    subject: str | None
    error: str | None
    communication_id: int | None
    key: str | None
    inbound_id: str | None
    conversation_id: str | None
    campaign_id: str | None
    message_id: int | None
    enrollment_id: int | None
    suppression_id: str | None
    happened: list[InteractionAnswer]
    more: bool


class Timeline(msgspec.Struct, frozen=True):
    """A page, newest first. `next` is what `after` takes for the page behind it, null at the end."""

    timeline: list[TimelineAnswer]
    next: str | None


async def index(call: Call) -> Reply:
    """Newest first; a communication stands where it was sent, with what became of it."""
    contact_id = contact_id_of(call)
    after = places.asked(call, Place)
    _, limit = call.page_limit()

    def read(tx: Tx) -> Timeline:
        if contacts.get(tx, call.tenant_id, contact_id) is None:
            raise NotFound("Contact not found")
        found = lifeline.page(tx, call.tenant_id, contact_id, after, limit=limit + 1)
        rows = found[:limit]
        following = rows[-1].place() if len(found) > limit else None
        return Timeline([_shown(call, tx, row) for row in rows], places.spelt(following))

    return ok(await call.db.read(read))


def _shown(call: Call, tx: Tx, row: Entry) -> TimelineAnswer:
    communication_id = row.id if row.kind == "communication" else row.communication_id
    return TimelineAnswer(
        at=instant(row.at),
        kind=row.kind,
        word=row.word,
        channel=row.channel,
        address=row.address,
        subject=row.subject,
        error=row.error,
        communication_id=communication_id,
        key=None if communication_id is None else call.house.signer.communication(call.tenant_id, communication_id),
        inbound_id=ids.spell("inbound", row.id) if row.kind == "received" else None,
        conversation_id=_spelled("conversation", row.conversation_id),
        campaign_id=_spelled("campaign", row.campaign_id),
        message_id=row.message_id,
        enrollment_id=row.enrollment_id,
        suppression_id=ids.spell("suppression", row.id) if row.kind == "suppressed" else None,
        happened=interactions.shown(call, tx, row.happened),
        more=row.more,
    )


def _spelled(kind: str, identity: int | None) -> str | None:
    return None if identity is None else ids.spell(kind, identity)


ROUTES: list[Route] = [
    Route(
        "GET",
        "/api/v1/contacts/{id}/timeline",
        index,
        "communications:read",
        "Everything with a contact",
        gives=Timeline,
        query=(Parameter("limit", "integer", "rows a page", default=25, least=1, most=100), places.AFTER),
    ),
]
