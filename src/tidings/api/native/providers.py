"""Providers over HTTP: which carriers a tenant has, which one is chosen, and whether one is paused. Secrets go in and never come out."""

from typing import Any, NoReturn, cast

import msgspec
from msgspec import UNSET, UnsetType

from tidings import ids
from tidings.api import bodies, callbacks
from tidings.api.idempotency import once_said
from tidings.api.native.contents import Channel, channel_of, name_of
from tidings.api.wire import Call, House, Parameter, Reply, Route, created, instant, instant_or_none, listing, no_content, ok
from tidings.database import Tx
from tidings.domain import carriers, communications
from tidings.domain.carriers import Carrier
from tidings.errors import Invalid, NotFound
from tidings.providers.registry import KINDS, Kind, Listening
from tidings.signing import Vault

NAME_LIMIT = 100


class NewProvider(msgspec.Struct, forbid_unknown_fields=True):
    """`settings` are the kind's own: for smtp host, port, username, password, tls, connections; none for sandbox and system."""

    name: str
    channel: Channel
    kind: str
    settings: dict[str, Any] = {}
    chosen: bool = False


class ChangedProvider(msgspec.Struct, forbid_unknown_fields=True):
    """What is left out stays as it is, also within `settings`: a secret need not be said again; null sets a setting back."""

    name: str | UnsetType = UNSET
    settings: dict[str, Any] | UnsetType = UNSET


class Pause(msgspec.Struct):
    """Nothing is handed to the provider until `until`; then it is tried again."""

    at: str
    until: str
    reason: str


class ProviderAnswer(msgspec.Struct):
    """A configured provider, without its secrets. `callback_url` is where its carrier is to tell of texts that come in, null where none calls."""

    id: str
    name: str
    channel: str
    kind: str
    settings: dict[str, Any]
    callback_url: str | None
    chosen: bool
    chosen_at: str | None
    paused: Pause | None
    created_at: str
    updated_at: str


async def create(call: Call) -> Reply:
    """201. The first of a channel is chosen, later ones when `chosen` says so."""
    new = call.json(NewProvider)
    name = name_of(new.name, NAME_LIMIT)
    kind = _kind(new.kind, new.channel)
    sealed = _sealed(call.house.vault, kind, new.settings)

    def write(tx: Tx) -> Reply:
        made = carriers.create(tx, call.tenant_id, channel=new.channel, kind=new.kind, name=name, settings=sealed, now=call.now)
        chosen = carriers.choose(tx, call.tenant_id, made.id, now=call.now) if new.chosen else made
        return created(_shown(chosen, call.house))

    return await once_said(call, write)


async def index(call: Call) -> Reply:
    """All of them, oldest first, in one page."""
    found = await call.db.read(carriers.all, call.tenant_id, channel=channel_of(call))
    return listing("providers", [_shown(row, call.house) for row in found], 1, max(len(found), 1), len(found))


async def show(call: Call) -> Reply:
    """One provider."""
    return ok(_shown(await call.db.read(carriers.get, call.tenant_id, _id(call)), call.house))


async def change(call: Call) -> Reply:
    """Another name or other settings; new settings end a pause."""
    asked = call.json(ChangedProvider)
    carrier_id, vault = _id(call), call.house.vault

    def write(tx: Tx) -> Carrier:
        before = carriers.get(tx, call.tenant_id, carrier_id)
        name = before.name if asked.name is UNSET else name_of(asked.name, NAME_LIMIT)
        sealed = None
        if asked.settings is not UNSET:
            merged = {**_opened(before, vault), **asked.settings}
            said = {field: value for field, value in merged.items() if value is not None}
            sealed = _sealed(vault, _kind(before.kind, before.channel), said)
        after = carriers.update(tx, call.tenant_id, carrier_id, name=name, settings=sealed, now=call.now)
        if before.paused_at is not None and after.paused_at is None:
            communications.hasten(tx, call.tenant_id, after.channel, now=call.now)
        return after

    return ok(_shown(await call.db.write(write), call.house))


async def remove(call: Call) -> Reply:
    """204; 409 while it is the chosen one."""
    await call.db.write(carriers.delete, call.tenant_id, _id(call))
    return no_content()


async def choose(call: Call) -> Reply:
    """From now on it carries its channel."""
    carrier_id = _id(call)
    return await once_said(call, lambda tx: ok(_shown(carriers.choose(tx, call.tenant_id, carrier_id, now=call.now), call.house)))


async def resume(call: Call) -> Reply:
    """Ends a pause at once; without one nothing changes."""
    carrier_id = _id(call)

    def write(tx: Tx) -> Reply:
        carrier = carriers.get(tx, call.tenant_id, carrier_id)
        if carriers.resume(tx, call.tenant_id, carrier_id):
            communications.hasten(tx, call.tenant_id, carrier.channel, now=call.now)
        return ok(_shown(carriers.get(tx, call.tenant_id, carrier_id), call.house))

    return await once_said(call, write)


def _kind(name: str, channel: str) -> Kind | None:
    """The kind, None for `system`. Raises Invalid for one there is not, or not for this channel."""
    if name == "system":
        return None
    kind = KINDS.get(name)
    if kind is None:
        raise Invalid.field("kind", f"must be one of {', '.join([*KINDS, 'system'])}")
    if channel not in kind.channels:
        raise Invalid.field("kind", f"{name} does not carry {channel}")
    return kind


def _sealed(vault: Vault, kind: Kind | None, settings: dict[str, Any]) -> str:
    """The settings as stored: checked by the kind's form. Raises Invalid naming `settings.<field>`."""
    if kind is None:
        if settings:
            raise Invalid.field("settings", "must be empty: the server's own provider is set up where the server is started")
        return ""
    try:
        form = bodies.convert(settings, cast(type[msgspec.Struct], kind.form))
    except Invalid as error:
        _refuse(error)
    return vault.seal(msgspec.json.encode(form))


def _refuse(error: Invalid) -> NoReturn:
    fields = {f"settings.{name}": complaints for name, complaints in error.fields.items()}
    raise Invalid("; ".join(f"{name} {complaints[0]}" for name, complaints in fields.items()) or error.message, fields) from error


def _opened(row: Carrier, vault: Vault) -> dict[str, Any]:
    """The settings, secrets and all; nothing of them when they were sealed with another key of the server."""
    if not row.settings:
        return {}
    try:
        return msgspec.json.decode(vault.open(row.settings), type=dict[str, Any])
    except Invalid:
        return {}


def _shown(row: Carrier, house: House) -> ProviderAnswer:
    kind = KINDS.get(row.kind)
    secrets = kind.secrets if kind is not None else ()
    calls = kind is not None and issubclass(kind.form, Listening)
    paused = None
    if row.paused_at is not None and row.paused_until is not None:
        paused = Pause(instant(row.paused_at), instant(row.paused_until), row.paused_reason or "")
    return ProviderAnswer(
        id=ids.spell("provider", row.id),
        name=row.name,
        channel=row.channel,
        kind=row.kind,
        settings={name: value for name, value in _opened(row, house.vault).items() if name not in secrets},
        callback_url=house.public_url + callbacks.path(house.signer, row.tenant_id, row.id) if calls else None,
        chosen=row.chosen_at is not None,
        chosen_at=instant_or_none(row.chosen_at),
        paused=paused,
        created_at=instant(row.created_at),
        updated_at=instant(row.updated_at),
    )


def _id(call: Call) -> int:
    found = ids.parse("provider", call.path["id"])
    if found is None:
        raise NotFound("Provider not found")
    return found


_PATH = "/api/v1/providers"
_CHANNEL = Parameter("channel", words=("email", "sms"))

ROUTES: list[Route] = [
    Route("GET", _PATH, index, "admin:read", "List providers", gives=ProviderAnswer, lists="providers", query=(_CHANNEL,)),
    Route("POST", _PATH, create, "admin:write", "Set up a provider", NewProvider, ProviderAnswer, status=201, idempotent=True),
    Route("GET", _PATH + "/{id}", show, "admin:read", "One provider", gives=ProviderAnswer),
    Route("PATCH", _PATH + "/{id}", change, "admin:write", "Change it", ChangedProvider, ProviderAnswer, refuses=(409,)),
    Route("DELETE", _PATH + "/{id}", remove, "admin:write", "Forget it and its secrets", status=204, refuses=(409,)),
    Route("POST", _PATH + "/{id}/choose", choose, "admin:write", "Let it carry its channel", gives=ProviderAnswer, idempotent=True),
    Route("POST", _PATH + "/{id}/resume", resume, "admin:write", "End its pause", gives=ProviderAnswer, idempotent=True),
]
