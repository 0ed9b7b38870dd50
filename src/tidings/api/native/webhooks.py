"""Webhooks over HTTP: who else is told of what happens. A secret is shown when it is made and never again, a password never."""

from typing import Any, Literal, cast

import msgspec
from msgspec import UNSET, UnsetType

from tidings import ids
from tidings.api.idempotency import once_said
from tidings.api.native import webhook_deliveries
from tidings.api.native.contents import name_of
from tidings.api.native.webhook_deliveries import DeliveryAnswer, webhook_id
from tidings.api.wire import PAGED, Call, House, Reply, Route, created, instant, instant_or_none, listing, no_content, ok
from tidings.database import Tx
from tidings.domain import endpoints
from tidings.domain.endpoints import Change, Endpoint, Filters, New, Style, Verb
from tidings.errors import Invalid
from tidings.webhooks import address, secrets
from tidings.webhooks.payload import KINDS, TYPES
from tidings.webhooks.post import Courier
from tidings.webhooks.wire import Caller

NAME_LIMIT = 100
_SEVERAL = 100
"""Values of one filter."""
_LONGEST = 200
"""Characters of one of them: with every batch of events all of a tenant's filters are read."""
Channel = Literal["email", "sms"]


class WebhookFilters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out takes everything. `humans_only` leaves out the opens and clicks of machines."""

    channel: Channel | None = None
    campaigns: list[str] = []
    templates: list[str] = []
    types: list[str] = []
    humans_only: bool = False


class WebhookAuth(msgspec.Struct, forbid_unknown_fields=True):
    """A user name and password to authenticate with (HTTP Basic)."""

    username: str
    password: str


class NewWebhook(msgspec.Struct, forbid_unknown_fields=True):
    """`events` are types such as `communication.delivered`; none are all there are. `verb` other than POST is for style everlytic alone.

    That style tells of texts alone, of what its own words say.
    """

    url: str
    events: list[str] = []
    name: str = ""
    filters: WebhookFilters = WebhookFilters()
    style: Style = "standard"
    verb: Verb = "POST"
    auth: WebhookAuth | None = None
    enabled: bool = True


class ChangedWebhook(msgspec.Struct, forbid_unknown_fields=True):
    """What is left out stays as it is; `filters` are changed as a whole, and null for `auth` takes it away."""

    url: str | UnsetType = UNSET
    events: list[str] | UnsetType = UNSET
    name: str | UnsetType = UNSET
    filters: WebhookFilters | UnsetType = UNSET
    verb: Verb | UnsetType = UNSET
    auth: WebhookAuth | UnsetType | None = UNSET


class ShownAuth(msgspec.Struct):
    """Who we say we are, without the password."""

    username: str


class WebhookAnswer(msgspec.Struct):
    """A webhook, without its secrets. `state` is `ok`, `failing` (nothing but failures since `failing_since`, the last of them `error`;
    tried again from `next_try_at` on) or `disabled` (since `disabled_at`, for `disabled_reason`). `rotating_until` is until when the secret
    before signs as well.
    """

    id: str
    name: str
    url: str
    style: str
    verb: str
    events: list[str]
    filters: WebhookFilters
    auth: ShownAuth | None
    state: Literal["ok", "failing", "disabled"]
    error: str | None
    failing_since: str | None
    next_try_at: str | None
    disabled_at: str | None
    disabled_reason: str | None
    delivered_at: str | None
    rotating_until: str | None
    created_at: str
    updated_at: str


class WebhookMade(WebhookAnswer):
    """A webhook with the secret that its requests are signed with: null where none are."""

    secret: str | None


async def create(call: Call) -> Reply:
    """201, and the secret this once."""
    asked, house = call.json(NewWebhook), call.house
    secret = secrets.new_secret() if asked.style == "standard" else None
    new = made(house, asked, secret)
    return await once_said(
        call, lambda tx: created(_with_secret(endpoints.create(tx, call.tenant_id, new, now=call.now), house, secret, call.now))
    )


async def index(call: Call) -> Reply:
    """Oldest first."""
    page, limit = call.page_limit()
    found = await call.db.read(endpoints.page, call.tenant_id, limit=limit, page=page)
    return listing("webhooks", [shown(row, call.house, call.now) for row in found.rows], page, limit, found.total)


async def show(call: Call) -> Reply:
    """One webhook."""
    return ok(shown(await call.db.read(endpoints.get, call.tenant_id, webhook_id(call)), call.house, call.now))


async def change(call: Call) -> Reply:
    """What is waiting goes to where it is by then, at once."""
    asked, house = call.json(ChangedWebhook), call.house
    auth: str | UnsetType | None = UNSET
    if asked.auth is not UNSET:
        auth = None if asked.auth is None else _auth(house, asked.auth)
    changed = Change(
        url=asked.url if asked.url is UNSET else address.check(asked.url, allow_private=house.allow_private),
        name=asked.name if asked.name is UNSET else _name(asked.name),
        kinds=asked.events if asked.events is UNSET else kinds_of(asked.events),
        filters=asked.filters if asked.filters is UNSET else _filters(asked.filters),
        verb=asked.verb,
        auth=auth,
    )
    return ok(shown(await call.db.write(endpoints.update, call.tenant_id, webhook_id(call), changed, now=call.now), house, call.now))


async def remove(call: Call) -> Reply:
    """204: it is told nothing more, and its log is gone."""
    await call.db.write(endpoints.delete, call.tenant_id, webhook_id(call))
    return no_content()


async def rotate(call: Call) -> Reply:
    """Another secret, shown this once; the one before signs beside it for a day. 409 where requests are not signed."""
    secret, identity, house = secrets.new_secret(), webhook_id(call), call.house
    sealed = secrets.seal(house.vault, secret)
    return await once_said(
        call,
        lambda tx: ok(_with_secret(endpoints.rotate(tx, call.tenant_id, identity, sealed, now=call.now), house, secret, call.now)),
    )


async def test(call: Call) -> Reply:
    """Posts a test now and answers what came back, whether the webhook is on or off."""
    endpoint = await call.db.read(endpoints.get, call.tenant_id, webhook_id(call))
    house = call.house
    courier = Courier(house.vault, house.signer, house.clock, Caller(allow_private=house.allow_private))
    try:
        return ok(webhook_deliveries.shown(await courier.test(call.db, endpoint)))
    finally:
        await courier.close()


async def enable(call: Call) -> Reply:
    """It is told of what happens from now on; what has failed can be replayed."""
    identity = webhook_id(call)
    return await once_said(call, lambda tx: ok(shown(endpoints.enable(tx, call.tenant_id, identity, now=call.now), call.house, call.now)))


async def disable(call: Call) -> Reply:
    """It is told nothing more; what was waiting has failed."""
    identity = webhook_id(call)

    def write(tx: Tx) -> Reply:
        endpoints.disable(tx, call.tenant_id, identity, endpoints.BY_HAND, now=call.now)
        return ok(shown(endpoints.get(tx, call.tenant_id, identity), call.house, call.now))

    return await once_said(call, write)


def made(house: House, asked: NewWebhook, secret: str | None) -> New:
    """What is to be made of it, checked and sealed. Raises Invalid naming the field."""
    return New(
        url=address.check(asked.url, allow_private=house.allow_private),
        kinds=kinds_of(asked.events),
        style=asked.style,
        verb=asked.verb,
        name=_name(asked.name),
        filters=_filters(asked.filters),
        secret=None if secret is None else secrets.seal(house.vault, secret),
        auth=None if asked.auth is None else _auth(house, asked.auth),
        enabled=asked.enabled,
    )


def kinds_of(events: list[str]) -> tuple[str, ...]:
    """The kinds that these types are told of. Raises Invalid for one there is not."""
    unknown = [name for name in events if name not in KINDS]
    if unknown:
        raise Invalid.field("events", f"has no {unknown[0]}; there are {', '.join(KINDS)}")
    return tuple(dict.fromkeys(KINDS[name] for name in events))


def shown(row: Endpoint, house: House, now: int) -> WebhookAnswer:
    """A webhook as it is shown."""
    return WebhookAnswer(**_fields(row, house, now))


def _with_secret(row: Endpoint, house: House, secret: str | None, now: int) -> WebhookMade:
    return WebhookMade(**_fields(row, house, now), secret=secret)


def _fields(row: Endpoint, house: House, now: int) -> dict[str, Any]:
    state = "disabled" if row.disabled_at is not None else "failing" if row.failing_since is not None else "ok"
    rotating = row.old_until if row.old_until is not None and row.old_until > now else None
    return {
        "id": ids.spell("webhook", row.id),
        "name": row.name,
        "url": row.url,
        "style": row.style,
        "verb": row.verb,
        "events": [TYPES[kind] for kind in row.kinds],
        "filters": WebhookFilters(
            channel=cast(Channel | None, row.filters.channel),
            campaigns=[ids.spell("campaign", each) for each in row.filters.campaigns],
            templates=[ids.spell("template", each) for each in row.filters.templates],
            types=list(row.filters.types),
            humans_only=row.filters.humans_only,
        ),
        "auth": _shown_auth(row, house),
        "state": state,
        "error": row.error,
        "failing_since": instant_or_none(row.failing_since),
        "next_try_at": instant_or_none(row.rest_until),
        "disabled_at": instant_or_none(row.disabled_at),
        "disabled_reason": row.disabled_why,
        "delivered_at": instant_or_none(row.delivered_at),
        "rotating_until": instant_or_none(rotating),
        "created_at": instant(row.created_at),
        "updated_at": instant(row.updated_at),
    }


def _shown_auth(row: Endpoint, house: House) -> ShownAuth | None:
    try:
        known = secrets.open_basic(house.vault, row.auth)
    except Invalid:
        # sealed with another key of the server: there is something, and nobody can say what
        return ShownAuth("")
    return None if known is None else ShownAuth(known[0])


def _auth(house: House, auth: WebhookAuth) -> str:
    return secrets.seal_basic(house.vault, auth.username, auth.password)


def _name(name: str) -> str:
    return name_of(name, NAME_LIMIT) if name else ""


def _filters(asked: WebhookFilters) -> Filters:
    if max(len(asked.campaigns), len(asked.templates), len(asked.types)) > _SEVERAL:
        raise Invalid.field("filters", f"must not have more than {_SEVERAL} of a kind")
    if max(map(len, asked.types), default=0) > _LONGEST:
        raise Invalid.field("filters.types", f"must have at most {_LONGEST} characters each")
    return Filters(
        channel=asked.channel,
        campaigns=_meant("campaign", asked.campaigns),
        templates=_meant("template", asked.templates),
        types=tuple(dict.fromkeys(asked.types)),
        humans_only=asked.humans_only,
    )


def _meant(kind: str, spelled: list[str]) -> tuple[int, ...]:
    found = [ids.parse(kind, text) for text in spelled]
    if None in found:
        raise Invalid.field(f"filters.{kind}s", f"must be ids of {kind}s")
    return tuple(dict.fromkeys(identity for identity in found if identity is not None))


_PATH = "/api/v1/webhooks"

ROUTES: list[Route] = [
    Route("GET", _PATH, index, "admin:read", "List webhooks", gives=WebhookAnswer, lists="webhooks", query=PAGED),
    Route("POST", _PATH, create, "admin:write", "Set up a webhook", NewWebhook, WebhookMade, status=201, refuses=(409,), idempotent=True),
    Route("GET", _PATH + "/{id}", show, "admin:read", "One webhook", gives=WebhookAnswer),
    Route("PATCH", _PATH + "/{id}", change, "admin:write", "Change it", ChangedWebhook, WebhookAnswer),
    Route("DELETE", _PATH + "/{id}", remove, "admin:write", "Forget it, its secrets and its log", status=204),
    Route(
        "POST",
        _PATH + "/{id}/rotate",
        rotate,
        "admin:write",
        "Sign with another secret",
        gives=WebhookMade,
        refuses=(409,),
        idempotent=True,
    ),
    Route("POST", _PATH + "/{id}/test", test, "admin:write", "Post a test now", gives=DeliveryAnswer),
    Route("POST", _PATH + "/{id}/enable", enable, "admin:write", "Switch it on", gives=WebhookAnswer, idempotent=True),
    Route("POST", _PATH + "/{id}/disable", disable, "admin:write", "Switch it off", gives=WebhookAnswer, idempotent=True),
    *webhook_deliveries.ROUTES,
]
