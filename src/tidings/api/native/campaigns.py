"""Campaigns over HTTP: their settings, their state, and enrolling many contacts at once as a job. Their messages are in `messages`."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from tidings import ids
from tidings.api.idempotency import once_said
from tidings.api.native import jobs
from tidings.api.native.jobs import JobAnswer
from tidings.api.wire import PAGED, Call, Parameter, Reply, Route, accepted, created, instant, instant_or_none, listing, ok
from tidings.database import Tx
from tidings.domain import campaigns, durations, enrollments, lists
from tidings.domain.campaigns import Campaign, Figures, Settings
from tidings.errors import Invalid, NotFound
from tidings.message import address

MOST_CONTACTS = 10_000
"""How many contacts one request may name; more of them are a list."""


class Sender(msgspec.Struct, forbid_unknown_fields=True):
    """Who a campaign's mail comes from."""

    email: str
    name: str | None = None


class NewCampaign(msgspec.Struct, forbid_unknown_fields=True):
    """`reenroll_after` is a duration ("180d"); `sender` an address, `Name <address>` or {email, name}."""

    name: str
    stop_on_reply: bool = True
    reenroll_after: str = "180d"
    sender: str | Sender | None = None
    reply_to: str | None = None
    track_opens: bool = True
    track_links: bool = True


class ChangedCampaign(msgspec.Struct, forbid_unknown_fields=True):
    """What is left out stays as it is."""

    name: str | UnsetType = UNSET
    stop_on_reply: bool | UnsetType = UNSET
    reenroll_after: str | UnsetType = UNSET
    sender: str | Sender | UnsetType | None = UNSET
    reply_to: str | UnsetType | None = UNSET
    track_opens: bool | UnsetType = UNSET
    track_links: bool | UnsetType = UNSET


class CampaignAnswer(msgspec.Struct):
    """A campaign and how far it has come. `number` is the integer spelling of its id."""

    id: str
    uuid: str
    number: int
    name: str
    state: str
    stop_on_reply: bool
    reenroll_after: str
    sender: Sender | None
    reply_to: str | None
    track_opens: bool
    track_links: bool
    messages: int
    enrolled: int
    completed: int
    activated_at: str | None
    created_at: str
    updated_at: str


class Crowd(msgspec.Struct, forbid_unknown_fields=True):
    """Whom to enroll, exactly one of: a list by its name or id, contacts by their ids, or everybody."""

    named_list: str | None = msgspec.field(name="list", default=None)
    contact_ids: list[str] | None = None
    all: bool = False


async def create(call: Call) -> Reply:
    """201, a draft."""
    new = call.json(NewCampaign)
    email, name = _sender(new.sender)
    settings = Settings(
        name=new.name,
        stop_on_reply=new.stop_on_reply,
        reenroll_after=durations.parse(new.reenroll_after, "reenroll_after"),
        sender_email=email,
        sender_name=name,
        reply_to=new.reply_to,
        track_opens=new.track_opens,
        track_links=new.track_links,
    )
    return await once_said(call, lambda tx: created(_shown(campaigns.create(tx, call.tenant_id, settings, now=call.now), Figures())))


async def index(call: Call) -> Reply:
    """Newest first."""
    state = call.query("state")
    if state not in (None, "draft", "active", "paused", "archived"):
        raise Invalid.field("state", "must be draft, active, paused or archived")
    page, limit = call.page_limit()

    def read(tx: Tx) -> Reply:
        found = campaigns.page(tx, call.tenant_id, state=state, name=call.query("name"), page=page, limit=limit)
        figures = campaigns.figures(tx, call.tenant_id, [row.id for row in found.rows])
        return listing("campaigns", [_shown(row, figures[row.id]) for row in found.rows], page, limit, found.total)

    return await call.db.read(read)


async def show(call: Call) -> Reply:
    """One campaign."""
    campaign_id = campaign_id_of(call)
    return await call.db.read(lambda tx: _answer(tx, campaigns.get(tx, call.tenant_id, campaign_id)))


async def change(call: Call) -> Reply:
    """Settings, for what is made and sent from now on."""
    asked = call.json(ChangedCampaign)
    campaign_id = campaign_id_of(call)
    changes: dict[str, Any] = {
        name: value
        for name in ("name", "stop_on_reply", "reply_to", "track_opens", "track_links")
        if (value := getattr(asked, name)) is not UNSET
    }
    if asked.reenroll_after is not UNSET:
        changes["reenroll_after"] = durations.parse(asked.reenroll_after, "reenroll_after")
    if asked.sender is not UNSET:
        changes["sender_email"], changes["sender_name"] = _sender(asked.sender)

    def write(tx: Tx) -> Reply:
        changed = campaigns.update(tx, call.tenant_id, campaign_id, lambda now: msgspec.structs.replace(now, **changes), now=call.now)
        return _answer(tx, changed)

    return await call.db.write(write)


async def activate(call: Call) -> Reply:
    """From draft or pause."""
    campaign_id = campaign_id_of(call)
    return await once_said(call, lambda tx: _answer(tx, campaigns.activate(tx, call.tenant_id, campaign_id, now=call.now)))


async def pause(call: Call) -> Reply:
    """At once; what is being sent at this moment is finished."""
    campaign_id = campaign_id_of(call)
    return await once_said(call, lambda tx: _answer(tx, campaigns.pause(tx, call.tenant_id, campaign_id, now=call.now)))


async def archive(call: Call) -> Reply:
    """For good: what waits is canceled, every enrollment is completed."""
    campaign_id = campaign_id_of(call)

    def write(tx: Tx) -> Reply:
        archived = campaigns.archive(tx, call.tenant_id, campaign_id, now=call.now)
        enrollments.complete_of_campaign(tx, call.tenant_id, campaign_id, now=call.now)
        return _answer(tx, archived)

    return await once_said(call, write)


async def enroll(call: Call) -> Reply:
    """202, a job: who is on the way or was within the window is passed over, so doing it twice does no harm."""
    crowd = call.json(Crowd)
    campaign_id = campaign_id_of(call)

    list_id, contact_ids = _named(crowd)

    def write(tx: Tx) -> Reply:
        chosen = list_id
        if crowd.named_list is not None and chosen is None:
            named = lists.find_by_name(tx, call.tenant_id, crowd.named_list)
            chosen = 0 if named is None else named.id
        job = campaigns.enroll_later(tx, call.tenant_id, campaign_id, list_id=chosen, contact_ids=contact_ids, now=call.now)
        return accepted(jobs.shown(job))

    return await once_said(call, write)


def _named(crowd: Crowd) -> tuple[int | None, list[int] | None]:
    """(list id when the list is named by it, contact ids). Raises Invalid unless exactly one kind of crowd is asked for."""
    if (crowd.named_list is not None) + (crowd.contact_ids is not None) + crowd.all != 1:
        raise Invalid("Say whom to enroll: either list, or contact_ids, or all: true")
    if crowd.contact_ids is None:
        return (None if crowd.named_list is None else ids.parse("list", crowd.named_list)), None
    if not 1 <= len(crowd.contact_ids) <= MOST_CONTACTS:
        raise Invalid.field("contact_ids", f"must name 1 to {MOST_CONTACTS} contacts; put more into a list")
    known = {text: ids.parse("contact", text) for text in crowd.contact_ids}
    unknown = [text for text, contact_id in known.items() if contact_id is None]
    if unknown:
        raise Invalid(f"Unknown contacts: {', '.join(unknown[:10])}", {"contact_ids": [f"{text} is not a contact" for text in unknown]})
    return None, [contact_id for contact_id in known.values() if contact_id is not None]


def _sender(given: str | Sender | None) -> tuple[str | None, str | None]:
    """(email, name); the domain checks them."""
    if given is None:
        return None, None
    if isinstance(given, Sender):
        return given.email, given.name
    mailbox = address.parse(given, "sender")
    return mailbox.email, mailbox.name or None


def _answer(tx: Tx, campaign: Campaign) -> Reply:
    return ok(_shown(campaign, campaigns.figures(tx, campaign.tenant_id, [campaign.id])[campaign.id]))


def _shown(row: Campaign, figures: Figures) -> CampaignAnswer:
    return CampaignAnswer(
        id=ids.spell("campaign", row.id),
        uuid=ids.uuid("campaign", row.id),
        number=row.id,
        name=row.name,
        state=row.state,
        stop_on_reply=bool(row.stop_on_reply),
        reenroll_after=durations.spell(row.reenroll_after),
        sender=None if row.sender_email is None else Sender(row.sender_email, row.sender_name),
        reply_to=row.reply_to,
        track_opens=bool(row.track_opens),
        track_links=bool(row.track_links),
        messages=figures.messages,
        enrolled=figures.enrolled,
        completed=figures.completed,
        activated_at=instant_or_none(row.activated_at),
        created_at=instant(row.created_at),
        updated_at=instant(row.updated_at),
    )


def campaign_id_of(call: Call) -> int:
    """The campaign in the path. Raises NotFound for any other spelling."""
    found = ids.parse("campaign", call.path["id"])
    if found is None:
        raise NotFound("Campaign not found")
    return found


_PATH = "/api/v1/campaigns"
_STATE = Parameter("state", words=("draft", "active", "paused", "archived"))

ROUTES: list[Route] = [
    Route("GET", _PATH, index, "campaigns:read", "List campaigns", gives=CampaignAnswer, lists="campaigns", query=(_STATE, "name", *PAGED)),
    Route("POST", _PATH, create, "campaigns:write", "Make a campaign", NewCampaign, CampaignAnswer, status=201, idempotent=True),
    Route("GET", _PATH + "/{id}", show, "campaigns:read", "One campaign", gives=CampaignAnswer),
    Route("PATCH", _PATH + "/{id}", change, "campaigns:write", "Change its settings", ChangedCampaign, CampaignAnswer, refuses=(409,)),
    Route(
        "POST",
        _PATH + "/{id}/activate",
        activate,
        "campaigns:write",
        "Start it, or go on after a pause",
        gives=CampaignAnswer,
        idempotent=True,
    ),
    Route("POST", _PATH + "/{id}/pause", pause, "campaigns:write", "Stop sending at once", gives=CampaignAnswer, idempotent=True),
    Route("POST", _PATH + "/{id}/archive", archive, "campaigns:write", "End it for good", gives=CampaignAnswer, idempotent=True),
    Route("POST", _PATH + "/{id}/enroll", enroll, "campaigns:write", "Enroll many contacts", Crowd, JobAnswer, status=202, idempotent=True),
]
