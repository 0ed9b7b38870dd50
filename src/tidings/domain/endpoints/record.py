"""What an endpoint is: where somebody wants to be told of what happens, and what of; making, changing and forgetting one.

Secrets are sealed before they come here; nothing here reads them.
"""

from typing import Any, Final, Literal, LiteralString, NamedTuple

import msgspec

from tidings.clock import DAY
from tidings.database import Tx
from tidings.domain.page import Page
from tidings.errors import Conflict, Invalid, NotFound

Style = Literal["standard", "everlytic"]
Verb = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

HAPPENED: Final = (
    "sent",
    "delivered",
    "opened",
    "clicked",
    "bounced",
    "failed",
    "complained",
    "unsubscribed",
    "resubscribed",
    "replied",
    "deferred",
    "canceled",
    "unknown",
)
"""What happens to a communication and is told; the other kinds of events are the tenant's own doing."""
KINDS: Final = (*HAPPENED, "received", "disabled")
"""Everything that can be asked for. `received` is a message that came in, `disabled` another endpoint of the tenant that was switched off."""
EVERLYTIC: Final[dict[str, tuple[str, ...]]] = {
    "sent": ("sent",),
    "delivered": ("delivered",),
    "failed": ("failed", "bounced"),
    "reply": ("received",),
    "unsubscribe": ("unsubscribed",),
}
"""The event types of the SMS webhooks at everlytic, as kinds: a text that its carrier could not deliver has failed there, too."""
TEXTED: Final = tuple(kind for kinds in EVERLYTIC.values() for kind in kinds)
"""All kinds that are told in that style: texts have no others there. A reply is `received`, so `replied` would tell of it twice."""
BELL: Final = "webhooks"
"""What is notified whenever there is something to post."""
OVERLAP: Final = DAY
"""Milliseconds for which a secret that was replaced signs beside the new one."""
BY_HAND: Final = "Switched off by its owner"
PORTION: Final = 10_000
"""Deliveries that are given up in one transaction: of an endpoint that was dead for days a million may wait."""
MOST: Final = 200
"""Endpoints a tenant may have: with every batch of events all of them are looked at."""


class Filters(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an endpoint wants to hear about; what is left empty takes everything.

    `campaigns` and `templates` are ids, `types` the callers' own words. `humans_only` leaves out the opens and clicks of machines.
    """

    channel: str | None = None
    campaigns: tuple[int, ...] = ()
    templates: tuple[int, ...] = ()
    types: tuple[str, ...] = ()
    humans_only: bool = False


class New(NamedTuple):
    """What an endpoint begins with. No `kinds` are all of them; `secret` and `auth` are sealed."""

    url: str
    kinds: tuple[str, ...] = ()
    style: Style = "standard"
    verb: Verb = "POST"
    name: str = ""
    filters: Filters = Filters()
    secret: str | None = None
    auth: str | None = None
    enabled: bool = True


class Change(msgspec.Struct, frozen=True):
    """What becomes another: UNSET stays."""

    url: str | msgspec.UnsetType = msgspec.UNSET
    name: str | msgspec.UnsetType = msgspec.UNSET
    kinds: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    filters: Filters | msgspec.UnsetType = msgspec.UNSET
    auth: str | msgspec.UnsetType | None = msgspec.UNSET
    verb: Verb | msgspec.UnsetType = msgspec.UNSET


class Endpoint(msgspec.Struct, frozen=True):
    """A row of `endpoints`. It is switched off since `disabled_at`, and `disabled_why` is a sentence.

    Nothing but failures came back since `failing_since`, in `failures` rounds, the last of them `error`; it is left alone until
    `rest_until`. Something was taken last at `delivered_at`.
    """

    id: int
    tenant_id: int
    name: str
    style: Style
    verb: Verb
    url: str
    kinds: tuple[str, ...]
    filters: Filters
    secret: str | None
    old_secret: str | None
    old_until: int | None
    auth: str | None
    disabled_at: int | None
    disabled_why: str | None
    failing_since: int | None
    failures: int
    rest_until: int | None
    error: str | None
    delivered_at: int | None
    lease: int | None
    created_at: int
    updated_at: int


COLUMNS: LiteralString = (
    "id, tenant_id, name, style, verb, url, kinds, filters, secret, old_secret, old_until, auth, disabled_at, disabled_why, failing_since,"
    " failures, rest_until, error, delivered_at, lease, created_at, updated_at"
)
_SELECT: LiteralString = "SELECT " + COLUMNS + " FROM endpoints WHERE tenant_id = :tenant_id"
_kinds = msgspec.json.Decoder(tuple[str, ...])
_filters = msgspec.json.Decoder(Filters)


def read(row: tuple[Any, ...]) -> Endpoint:
    """The record of a row of COLUMNS."""
    values: list[Any] = [*row[:6], _kinds.decode(row[6]), _filters.decode(row[7]), *row[8:]]
    return Endpoint(*values)


def text(value: object) -> str:
    """JSON for a column."""
    return msgspec.json.encode(value).decode()


def create(tx: Tx, tenant_id: int, new: New, *, now: int) -> Endpoint:
    """A new endpoint, told of everything that happens from now on. Raises Invalid for what its style does not tell, Conflict beyond MOST."""
    _check(new.kinds, new.filters, new.style, new.verb)
    kinds, filters = meant(new.kinds, new.filters, new.style)
    count: int = tx.value("SELECT COUNT(*) FROM endpoints WHERE tenant_id = :tenant_id", tenant_id=tenant_id)
    if count >= MOST:
        raise Conflict(f"There are {MOST} webhooks already, which is the most there may be")
    row = tx.row(
        "INSERT INTO endpoints (tenant_id, name, style, verb, url, kinds, filters, secret, auth, disabled_at, disabled_why, created_at, updated_at)"
        " VALUES (:tenant_id, :name, :style, :verb, :url, :kinds, :filters, :secret, :auth, :disabled_at, :why, :now, :now) RETURNING "
        + COLUMNS,
        tenant_id=tenant_id,
        name=new.name,
        style=new.style,
        verb=new.verb,
        url=new.url,
        kinds=text(kinds),
        filters=text(filters),
        secret=new.secret,
        auth=new.auth,
        disabled_at=None if new.enabled else now,
        why=None if new.enabled else BY_HAND,
        now=now,
    )
    assert row is not None
    return read(row)


def get(tx: Tx, tenant_id: int, endpoint_id: int) -> Endpoint:
    """One by id. Raises NotFound."""
    row = tx.row(_SELECT + " AND id = :id", tenant_id=tenant_id, id=endpoint_id)
    if row is None:
        raise NotFound("Webhook not found")
    return read(row)


def page(tx: Tx, tenant_id: int, *, limit: int, page: int) -> Page[Endpoint]:
    """One page (from 1), oldest first."""
    total: int = tx.value("SELECT COUNT(*) FROM endpoints WHERE tenant_id = :tenant_id", tenant_id=tenant_id)
    sql: LiteralString = _SELECT + " ORDER BY id LIMIT :limit OFFSET :skip"
    rows = tx.rows(sql, tenant_id=tenant_id, limit=limit, skip=(page - 1) * limit)
    return Page([read(row) for row in rows], total)


def update(tx: Tx, tenant_id: int, endpoint_id: int, change: Change, *, now: int) -> Endpoint:
    """Changes it. Whoever posts to it now settles nothing any more, and what is due is tried at once. Raises Invalid, NotFound."""
    before = get(tx, tenant_id, endpoint_id)
    given = {name: value for name in change.__struct_fields__ if (value := getattr(change, name)) is not msgspec.UNSET}
    after = msgspec.structs.replace(before, **given)
    _check(after.kinds, after.filters, after.style, after.verb)
    kinds, filters = meant(after.kinds, after.filters, after.style)
    tx.run(
        "UPDATE endpoints SET name = :name, verb = :verb, url = :url, kinds = :kinds, filters = :filters, auth = :auth, failures = 0,"
        " rest_until = NULL, lease = NULL, lease_until = NULL, updated_at = :now WHERE tenant_id = :tenant_id AND id = :id",
        tenant_id=tenant_id,
        id=endpoint_id,
        name=after.name,
        verb=after.verb,
        url=after.url,
        kinds=text(kinds),
        filters=text(filters),
        auth=after.auth,
        now=now,
    )
    tx.notify(BELL)
    return get(tx, tenant_id, endpoint_id)


def rotate(tx: Tx, tenant_id: int, endpoint_id: int, secret: str, *, now: int) -> Endpoint:
    """Signs with another (sealed) secret from now on, and for OVERLAP with the one before as well. Raises Conflict where none signs, NotFound."""
    changed = tx.run(
        "UPDATE endpoints SET old_secret = secret, old_until = :until, secret = :secret, updated_at = :now"
        " WHERE tenant_id = :tenant_id AND id = :id AND secret IS NOT NULL",
        tenant_id=tenant_id,
        id=endpoint_id,
        until=now + OVERLAP,
        secret=secret,
        now=now,
    )
    endpoint = get(tx, tenant_id, endpoint_id)
    if not changed:
        raise Conflict("This webhook is not signed: it has no secret to replace")
    return endpoint


def enable(tx: Tx, tenant_id: int, endpoint_id: int, *, now: int) -> Endpoint:
    """Switches it on; what happens from now on is told. Switched on already, it is only left alone no longer. Raises NotFound."""
    tx.run(
        "UPDATE endpoints SET disabled_at = NULL, disabled_why = NULL, failing_since = NULL, failures = 0, rest_until = NULL, error = NULL,"
        " updated_at = :now WHERE tenant_id = :tenant_id AND id = :id",
        tenant_id=tenant_id,
        id=endpoint_id,
        now=now,
    )
    tx.notify(BELL)
    return get(tx, tenant_id, endpoint_id)


def disable(tx: Tx, tenant_id: int, endpoint_id: int, why: str, *, now: int) -> bool:
    """Switches it off: nothing more is laid for it, and what was waiting has failed; `why` is a sentence without its stop.

    Beyond PORTION that is `give_up`'s, later; whoever is switched on before is told of what is left. False when it was off already or is
    not there.
    """
    changed = tx.run(
        "UPDATE endpoints SET disabled_at = :now, disabled_why = :why, rest_until = NULL, lease = NULL, lease_until = NULL, updated_at = :now"
        " WHERE tenant_id = :tenant_id AND id = :id AND disabled_at IS NULL",
        tenant_id=tenant_id,
        id=endpoint_id,
        why=why,
        now=now,
    )
    if changed:
        _give_up(tx, tenant_id, endpoint_id, why, now=now, limit=PORTION)
    return changed == 1


def is_any_left(tx: Tx) -> bool:
    """Whether something waits for an endpoint that is off, any tenant's."""
    return _left(tx) is not None


def give_up(tx: Tx, *, now: int, limit: int = PORTION) -> int:
    """Lets fail what is left waiting for an endpoint that is off, any tenant's, `limit` at most; answers how many.

    There is more than `disable` did at once, or laid by who did not see yet that it was off.
    """
    left = _left(tx)
    return 0 if left is None else _give_up(tx, *left, now=now, limit=limit)


def _left(tx: Tx) -> tuple[int, int, str] | None:
    row = tx.row(
        "SELECT e.tenant_id, e.id, e.disabled_why FROM endpoints e WHERE e.disabled_at IS NOT NULL AND EXISTS (SELECT 1 FROM deliveries d"
        " WHERE d.tenant_id = e.tenant_id AND d.endpoint_id = e.id AND d.due_at IS NOT NULL) LIMIT 1"
    )
    return None if row is None else (row[0], row[1], row[2])


def _give_up(tx: Tx, tenant_id: int, endpoint_id: int, why: str, *, now: int, limit: int) -> int:
    return tx.run(
        "UPDATE deliveries SET state = 'failed', due_at = NULL, ended_at = :now, error = :error WHERE tenant_id = :tenant_id AND id IN"
        " (SELECT id FROM deliveries WHERE tenant_id = :tenant_id AND endpoint_id = :id AND due_at IS NOT NULL ORDER BY due_at, id LIMIT :limit)",
        tenant_id=tenant_id,
        id=endpoint_id,
        error=f"The webhook was switched off before this was delivered ({why})",
        now=now,
        limit=limit,
    )


def delete(tx: Tx, tenant_id: int, endpoint_id: int) -> None:
    """Forgets it, its secrets and its log. Raises NotFound."""
    if not tx.run("DELETE FROM endpoints WHERE tenant_id = :tenant_id AND id = :id", tenant_id=tenant_id, id=endpoint_id):
        raise NotFound("Webhook not found")
    tx.run("DELETE FROM deliveries WHERE tenant_id = :tenant_id AND endpoint_id = :id", tenant_id=tenant_id, id=endpoint_id)


def everlytic_kinds(event_types: list[str]) -> tuple[str, ...]:
    """The kinds that everlytic's event types stand for. Raises KeyError for one there is not."""
    return tuple(dict.fromkeys(kind for name in event_types for kind in EVERLYTIC[name]))


def meant(kinds: tuple[str, ...], filters: Filters, style: str) -> tuple[tuple[str, ...], Filters]:
    """What is asked for, as far as the style can tell it: everlytic's is about texts alone, and none are all of its kinds."""
    if style == "standard":
        return kinds, filters
    return tuple(kind for kind in kinds or TEXTED if kind in TEXTED), msgspec.structs.replace(filters, channel="sms")


def _check(kinds: tuple[str, ...], filters: Filters, style: Style, verb: Verb) -> None:
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise Invalid.field("events", f"must be some of {', '.join(KINDS)}, not {unknown[0]}")
    if style == "standard" and verb != "POST":
        raise Invalid.field("verb", "must be POST: the Standard Webhooks are posted")
    if style == "everlytic":
        untold = [kind for kind in kinds if kind not in TEXTED]
        if untold:
            raise Invalid.field("events", f"must not have {untold[0]}: the style everlytic tells of {', '.join(TEXTED)} alone")
        if filters.channel not in {None, "sms"}:
            raise Invalid.field("filters.channel", "must be sms: the style everlytic tells of texts alone")
