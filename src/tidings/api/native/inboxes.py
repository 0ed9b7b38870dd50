"""Inboxes over HTTP: where mail comes in for a tenant. Passwords and signing keys go in and never come out."""

import secrets
from typing import Any, Literal, cast

import msgspec
from msgspec import UNSET, UnsetType

from tidings import ids
from tidings.api import bodies
from tidings.api.idempotency import once_said
from tidings.api.native.contents import name_of
from tidings.api.wire import PAGED, Call, Reply, Route, created, instant, instant_or_none, listing, no_content, ok
from tidings.database import Tx
from tidings.domain import inboxes
from tidings.domain.inboxes import Change, Inbox, Kind, New
from tidings.errors import Invalid, NotFound
from tidings.inbound import sources
from tidings.inbound.sources import KINDS, SECRETS, Mailbox
from tidings.signing import Vault

NAME_LIMIT = 100
TOKEN_BYTES = 32


class NewInbox(msgspec.Struct, forbid_unknown_fields=True):
    """`address` is for kind `address` alone: one address or a whole domain. `settings` are the kind's own."""

    name: str
    kind: Kind
    address: str | None = None
    settings: dict[str, Any] = {}


class ChangedInbox(msgspec.Struct, forbid_unknown_fields=True):
    """What is left out stays as it is, also within `settings`: a secret need not be said again; null sets a setting back."""

    name: str | UnsetType = UNSET
    address: str | UnsetType = UNSET
    settings: dict[str, Any] | UnsetType = UNSET


class InboxAnswer(msgspec.Struct):
    """An inbox, without its secrets. `url` is where the carrier's webhook is to point, `events` which of its events to switch on there.
    `error` says what is wrong since `failing_since`.

    `last_at` is when a mailbox was last read or a carrier's post taken, `due_at` when a mailbox is looked into next.
    """

    id: str
    name: str
    kind: str
    address: str | None
    url: str | None
    events: list[str]
    settings: dict[str, Any]
    state: Literal["ok", "failing"]
    error: str | None
    failing_since: str | None
    last_at: str | None
    due_at: str | None
    created_at: str
    updated_at: str


async def create(call: Call) -> Reply:
    """201. A mailbox is read at once; a webhook's `url` is for the carrier."""
    asked = call.json(NewInbox)
    house = call.house
    new = made(house.vault, asked)
    return await once_said(
        call, lambda tx: created(_shown(inboxes.create(tx, call.tenant_id, new, now=call.now), house.vault, house.public_url))
    )


async def index(call: Call) -> Reply:
    """Oldest first."""
    page, limit = call.page_limit()
    found = await call.db.read(inboxes.page, call.tenant_id, limit=limit, page=page)
    return listing("inboxes", [_shown(row, call.house.vault, call.house.public_url) for row in found.rows], page, limit, found.total)


async def show(call: Call) -> Reply:
    """One inbox."""
    return ok(_shown(await call.db.read(inboxes.get, call.tenant_id, _id(call)), call.house.vault, call.house.public_url))


async def change(call: Call) -> Reply:
    """Another name, address or settings. A mailbox is read at once; another folder or account from its own beginning."""
    asked, inbox_id, vault = call.json(ChangedInbox), _id(call), call.house.vault

    def write(tx: Tx) -> Inbox:
        before = inboxes.get(tx, call.tenant_id, inbox_id)
        address = before.address
        if asked.address is not UNSET:
            address = _address(before.kind, asked.address)
        sealed, restart = before.settings, False
        if asked.settings is not UNSET:
            merged = {**_opened(before, vault), **asked.settings}
            settings = _settings(before.kind, {field: value for field, value in merged.items() if value is not None})
            sealed, restart = _sealed(vault, settings), _is_elsewhere(before, settings, vault)
        name = before.name if asked.name is UNSET else name_of(asked.name, NAME_LIMIT)
        return inboxes.update(tx, call.tenant_id, inbox_id, Change(name, address, sealed, restart), now=call.now)

    return ok(_shown(await call.db.write(write), vault, call.house.public_url))


async def remove(call: Call) -> Reply:
    """204; what came in by it stays."""
    await call.db.write(inboxes.delete, call.tenant_id, _id(call))
    return no_content()


async def poll(call: Call) -> Reply:
    """The mailbox is read now; 409 for an inbox that is none."""
    inbox_id, house = _id(call), call.house
    return await once_said(
        call, lambda tx: ok(_shown(inboxes.hasten(tx, call.tenant_id, inbox_id, now=call.now), house.vault, house.public_url))
    )


def made(vault: Vault, asked: NewInbox) -> New:
    """What is to be made of it, checked, the settings sealed. Raises Invalid naming the field."""
    settings = _settings(asked.kind, asked.settings)
    return New(
        kind=asked.kind,
        name=name_of(asked.name, NAME_LIMIT),
        address=_address(asked.kind, asked.address),
        token=secrets.token_urlsafe(TOKEN_BYTES) if KINDS[asked.kind].webhook else None,
        settings=_sealed(vault, settings),
    )


def url(public_url: str, inbox: Inbox) -> str | None:
    """Where a carrier's webhook is to point, None for an inbox that no carrier calls."""
    return f"{public_url}/api/v1/inbound/{inbox.kind}/{inbox.token}" if inbox.token else None


def _settings(kind: str, given: dict[str, Any]) -> sources.Settings:
    try:
        form = bodies.convert(given, cast(type[msgspec.Struct], KINDS[kind].form))
    except Invalid as error:
        fields = {f"settings.{name}": complaints for name, complaints in error.fields.items()}
        raise Invalid("; ".join(f"{name} {complaints[0]}" for name, complaints in fields.items()) or error.message, fields) from error
    return sources.check(cast(sources.Settings, form))


def _sealed(vault: Vault, settings: sources.Settings) -> str:
    return "" if isinstance(settings, sources.Nothing) else sources.seal(vault, settings)


def _address(kind: str, given: str | None) -> str | None:
    if kind != "address":
        if given is not None:
            raise Invalid.field("address", "is for an inbox of kind address alone")
        return None
    if given is None:
        raise Invalid.field("address", "is required: one address or a whole domain")
    return sources.address(given)


def _opened(row: Inbox, vault: Vault) -> dict[str, Any]:
    """The settings, secrets and all; nothing of them when they were sealed with another key of the server."""
    try:
        return cast(dict[str, Any], msgspec.to_builtins(sources.opened(vault, row.kind, row.settings)))
    except Invalid:
        return {}


def _is_elsewhere(before: Inbox, settings: sources.Settings, vault: Vault) -> bool:
    try:
        known = sources.opened(vault, before.kind, before.settings)
    except Invalid:
        return False
    return isinstance(known, Mailbox) and isinstance(settings, Mailbox) and not settings.is_same_place(known)


def _shown(row: Inbox, vault: Vault, public_url: str) -> InboxAnswer:
    return InboxAnswer(
        id=ids.spell("inbox", row.id),
        name=row.name,
        kind=row.kind,
        address=row.address,
        url=url(public_url, row),
        events=list(KINDS[row.kind].events),
        settings={name: value for name, value in _opened(row, vault).items() if name not in SECRETS},
        state="ok" if row.error is None else "failing",
        error=row.error,
        failing_since=instant_or_none(row.failing_since),
        last_at=instant_or_none(row.last_at),
        due_at=instant_or_none(row.due_at),
        created_at=instant(row.created_at),
        updated_at=instant(row.updated_at),
    )


def _id(call: Call) -> int:
    found = ids.parse("inbox", call.path["id"])
    if found is None:
        raise NotFound("Inbox not found")
    return found


_PATH = "/api/v1/inboxes"

ROUTES: list[Route] = [
    Route("GET", _PATH, index, "admin:read", "List inboxes", gives=InboxAnswer, lists="inboxes", query=PAGED),
    Route("POST", _PATH, create, "admin:write", "Set up an inbox", NewInbox, InboxAnswer, status=201, idempotent=True),
    Route("GET", _PATH + "/{id}", show, "admin:read", "One inbox", gives=InboxAnswer),
    Route("PATCH", _PATH + "/{id}", change, "admin:write", "Change it", ChangedInbox, InboxAnswer, refuses=(409,)),
    Route("DELETE", _PATH + "/{id}", remove, "admin:write", "Forget it and its secrets", status=204),
    Route("POST", _PATH + "/{id}/poll", poll, "admin:write", "Read it now", gives=InboxAnswer, refuses=(409,), idempotent=True),
]
