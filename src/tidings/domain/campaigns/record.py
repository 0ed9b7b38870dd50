"""A campaign's record and settings: making, finding, counting and changing it."""

from collections.abc import Callable, Iterable
from typing import Final, Literal, LiteralString

import msgspec

from tidings.clock import DAY
from tidings.database import Tx
from tidings.domain import senders
from tidings.domain.page import Page
from tidings.errors import Conflict, Invalid, NotFound
from tidings.message import address

State = Literal["draft", "active", "paused", "archived"]

_NAME_LIMIT = 200


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a tenant decides about a campaign. `reenroll_after` in milliseconds from enrollment. None: the tenant's sender, no Reply-To."""

    name: str
    reenroll_after: int = 180 * DAY
    sender_email: str | None = None
    sender_name: str | None = None
    reply_to: str | None = None
    stop_on_reply: bool = True
    track_opens: bool = True
    track_links: bool = True


class Campaign(msgspec.Struct, frozen=True):
    """A campaign as stored. `activated_at` is when it was first activated. `reenroll_after` in milliseconds."""

    id: int
    tenant_id: int
    name: str
    state: str
    reenroll_after: int
    sender_email: str | None
    sender_name: str | None
    reply_to: str | None
    stop_on_reply: int
    track_opens: int
    track_links: int
    activated_at: int | None
    created_at: int
    updated_at: int

    def settings(self) -> Settings:
        """What a tenant may change of it."""
        return Settings(
            name=self.name,
            reenroll_after=self.reenroll_after,
            sender_email=self.sender_email,
            sender_name=self.sender_name,
            reply_to=self.reply_to,
            stop_on_reply=bool(self.stop_on_reply),
            track_opens=bool(self.track_opens),
            track_links=bool(self.track_links),
        )


class Figures(msgspec.Struct, frozen=True):
    """How many messages a campaign has, how many enrollments it has seen and how many of them are completed."""

    messages: int = 0
    enrolled: int = 0
    completed: int = 0


_CAMPAIGN: Final = (
    "SELECT id, tenant_id, name, state, reenroll_after, sender_email, sender_name, reply_to, stop_on_reply, track_opens, track_links,"
    " activated_at, created_at, updated_at FROM campaigns WHERE tenant_id = :tenant_id"
)


def create(tx: Tx, tenant_id: int, settings: Settings, *, now: int) -> Campaign:
    """A new draft. Raises Invalid."""
    settings = _checked(settings)
    _check_sender(tx, tenant_id, settings, None)
    campaign_id = tx.value(
        "INSERT INTO campaigns (tenant_id, name, state, reenroll_after, sender_email, sender_name, reply_to, stop_on_reply, track_opens,"
        " track_links, created_at, updated_at) VALUES (:tenant_id, :name, 'draft', :reenroll_after, :sender_email, :sender_name, :reply_to,"
        " :stop_on_reply, :track_opens, :track_links, :now, :now) RETURNING id",
        tenant_id=tenant_id,
        now=now,
        **_columns(settings),
    )
    return get(tx, tenant_id, campaign_id)


def find(tx: Tx, tenant_id: int, campaign_id: int) -> Campaign | None:
    """One campaign in whatever state, or None."""
    sql = _CAMPAIGN + " AND id = :campaign_id"
    return tx.one(Campaign, sql, tenant_id=tenant_id, campaign_id=campaign_id)


def get(tx: Tx, tenant_id: int, campaign_id: int) -> Campaign:
    """One campaign in whatever state. Raises NotFound."""
    found = find(tx, tenant_id, campaign_id)
    if found is None:
        raise NotFound("Campaign not found")
    return found


def page(tx: Tx, tenant_id: int, *, state: str | None = None, name: str | None = None, page: int = 1, limit: int = 25) -> Page[Campaign]:
    """Campaigns, newest first."""
    rows: LiteralString = _CAMPAIGN
    count: LiteralString = "SELECT COUNT(*) FROM campaigns WHERE tenant_id = :tenant_id"
    wanted: LiteralString = ""
    params: dict[str, int | str] = {"tenant_id": tenant_id}
    if state is not None:
        wanted += " AND state = :state"
        params["state"] = state
    if name is not None:
        wanted += " AND name = :name"
        params["name"] = name
    rows += wanted + " ORDER BY created_at DESC, id DESC LIMIT :limit OFFSET :offset"
    count += wanted
    return Page(tx.all(Campaign, rows, **params, limit=limit, offset=(page - 1) * limit), tx.value(count, **params))


def figures(tx: Tx, tenant_id: int, campaign_ids: Iterable[int]) -> dict[int, Figures]:
    """The figures of each of these campaigns, at a cost that does not grow with its enrollments."""
    ids = [(campaign_id,) for campaign_id in campaign_ids]
    messages = tx.rows(
        "SELECT m.campaign_id, COUNT(*) FROM messages m JOIN :ids(id bigint) i ON i.id = m.campaign_id"
        " WHERE m.tenant_id = :tenant_id AND m.deleted_at IS NULL GROUP BY m.campaign_id",
        tenant_id=tenant_id,
        ids=ids,
    )
    walks = tx.rows(
        "SELECT n.campaign_id, CAST(SUM(n.enrolled) AS bigint), CAST(SUM(n.completed) AS bigint) FROM counters n"
        # said for the sake of the index, which has nothing else
        " WHERE n.tenant_id = :tenant_id AND n.campaign_id IN :wanted[bigint] AND n.campaign_id > 0 GROUP BY n.campaign_id",
        tenant_id=tenant_id,
        wanted=[campaign_id for (campaign_id,) in ids],
    )
    count, walked = dict(messages), {campaign_id: (enrolled, completed) for campaign_id, enrolled, completed in walks}
    return {campaign_id: Figures(count.get(campaign_id, 0), *walked.get(campaign_id, (0, 0))) for (campaign_id,) in ids}


def update(tx: Tx, tenant_id: int, campaign_id: int, alter: Callable[[Settings], Settings], *, now: int) -> Campaign:
    """Changes settings; they hold for what is made and sent from now on. Raises Conflict when archived, Invalid, NotFound."""
    campaign = lock(tx, tenant_id, campaign_id, "draft", "active", "paused", verb="changed")
    settings = _checked(alter(campaign.settings()))
    _check_sender(tx, tenant_id, settings, campaign.sender_email)
    tx.run(
        "UPDATE campaigns SET name = :name, reenroll_after = :reenroll_after, sender_email = :sender_email, sender_name = :sender_name,"
        " reply_to = :reply_to, stop_on_reply = :stop_on_reply, track_opens = :track_opens, track_links = :track_links, updated_at = :now"
        " WHERE tenant_id = :tenant_id AND id = :campaign_id",
        tenant_id=tenant_id,
        campaign_id=campaign_id,
        now=now,
        **_columns(settings),
    )
    return get(tx, tenant_id, campaign_id)


def lock(tx: Tx, tenant_id: int, campaign_id: int, *states: State, verb: str) -> Campaign:
    """The campaign, nobody else's to change until this transaction ends. Raises NotFound, and Conflict unless it is in one of `states`."""
    sql = _CAMPAIGN + " AND id = :campaign_id FOR UPDATE"
    campaign = tx.one(Campaign, sql, tenant_id=tenant_id, campaign_id=campaign_id)
    if campaign is None:
        raise NotFound("Campaign not found")
    if campaign.state not in states:
        article = "An" if campaign.state[0] == "a" else "A"
        raise Conflict(f"{article} {campaign.state} campaign cannot be {verb}")
    return campaign


def _checked(settings: Settings) -> Settings:
    name = checked_name(settings.name)
    if not name:
        raise Invalid.field("name", "must not be blank")
    if settings.sender_name and not settings.sender_email:
        raise Invalid.field("sender", "needs an email address")
    return msgspec.structs.replace(
        settings,
        name=name,
        sender_email=address.normalise(settings.sender_email, "sender") if settings.sender_email else None,
        sender_name=address.refuse_control(settings.sender_name, "sender").strip() or None if settings.sender_name else None,
        reply_to=address.normalise(settings.reply_to, "reply_to") if settings.reply_to else None,
    )


def _check_sender(tx: Tx, tenant_id: int, settings: Settings, before: str | None) -> None:
    """A sender that a campaign has already may stay, whatever was allowed or forbidden since."""
    if settings.sender_email is not None and settings.sender_email != before:
        senders.check(tx, tenant_id, settings.sender_email, "sender")


def checked_name(name: str) -> str:
    """The name without blanks around it. Raises Invalid when it is too long or holds control characters."""
    if len(name) > _NAME_LIMIT:
        raise Invalid.field("name", f"must be at most {_NAME_LIMIT} characters long")
    return address.refuse_control(name, "name").strip()


def _columns(settings: Settings) -> dict[str, int | str | None]:
    """The settings as columns: flags are 0 and 1."""
    values = msgspec.structs.asdict(settings)
    return {name: int(value) if isinstance(value, bool) else value for name, value in values.items()}
