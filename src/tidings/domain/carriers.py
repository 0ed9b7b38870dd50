"""Which carriers a tenant sends through: the rows of table `providers` (the adapters themselves are the room `providers/`).

Settings are sealed before they come here and opened only where a provider is built; nothing here reads them.
"""

from typing import Final, LiteralString

import msgspec

from tidings.database import Tx
from tidings.errors import Conflict, NotFound


class Carrier(msgspec.Struct, frozen=True):
    """One configured provider. `settings` is sealed JSON or "". `chosen_at`: it carries its channel's messages since then.

    `updated_at` changes whenever `settings` do, and by nothing else, so that (id, updated_at) names one configuration.
    While paused nothing is handed to it: until `paused_until`, when it is tried again.
    """

    id: int
    tenant_id: int
    channel: str
    kind: str
    name: str
    settings: str
    chosen_at: int | None
    paused_at: int | None
    paused_until: int | None
    paused_reason: str | None
    created_at: int
    updated_at: int


_CARRIER: Final = (
    "SELECT id, tenant_id, channel, kind, name, settings, chosen_at, paused_at, paused_until, paused_reason, created_at, updated_at"
    " FROM providers WHERE tenant_id = :tenant_id"
)


def create(tx: Tx, tenant_id: int, *, channel: str, kind: str, name: str, settings: str, now: int) -> Carrier:
    """A new provider, chosen at once when its channel has none. Raises Conflict when the name is taken."""
    carrier_id = tx.value(
        "INSERT INTO providers (tenant_id, channel, kind, name, settings, created_at, updated_at)"
        " VALUES (:tenant_id, :channel, :kind, :name, :settings, :now, :now) ON CONFLICT (tenant_id, name) DO NOTHING RETURNING id",
        tenant_id=tenant_id,
        channel=channel,
        kind=kind,
        name=name,
        settings=settings,
        now=now,
    )
    if carrier_id is None:
        raise _taken(name)
    if chosen(tx, tenant_id, channel) is None:
        return choose(tx, tenant_id, carrier_id, now=now)
    return get(tx, tenant_id, carrier_id)


def get(tx: Tx, tenant_id: int, carrier_id: int) -> Carrier:
    """One by id. Raises NotFound."""
    sql = _CARRIER + " AND id = :carrier_id"
    found = tx.one(Carrier, sql, tenant_id=tenant_id, carrier_id=carrier_id)
    if found is None:
        raise NotFound("Provider not found")
    return found


def all(tx: Tx, tenant_id: int, *, channel: str | None = None) -> list[Carrier]:  # noqa: A001 - carriers.all reads as what it is
    """Every provider of the tenant, oldest first (there are few)."""
    sql: LiteralString = _CARRIER
    params: dict[str, int | str] = {"tenant_id": tenant_id}
    if channel is not None:
        sql += " AND channel = :channel"
        params["channel"] = channel
    sql += " ORDER BY id"
    return tx.all(Carrier, sql, **params)


def chosen(tx: Tx, tenant_id: int, channel: str) -> Carrier | None:
    """The provider that carries this channel, or None."""
    sql = _CARRIER + " AND channel = :channel AND chosen_at IS NOT NULL"
    return tx.one(Carrier, sql, tenant_id=tenant_id, channel=channel)


def of_kinds(tx: Tx, kinds: tuple[str, ...]) -> list[Carrier]:
    """Every tenant's providers of these kinds, chosen or not: for whoever keeps connections open, not for a tenant's eyes."""
    return tx.all(
        Carrier,
        "SELECT id, tenant_id, channel, kind, name, settings, chosen_at, paused_at, paused_until, paused_reason, created_at, updated_at"
        " FROM providers WHERE kind IN :kinds[text] ORDER BY id",
        kinds=list(kinds),
    )


def update(tx: Tx, tenant_id: int, carrier_id: int, *, name: str, settings: str | None, now: int) -> Carrier:
    """Another name, and other (sealed) settings unless None. New settings end a pause. Raises Conflict when the name is taken, NotFound."""
    if tx.value(
        "SELECT id FROM providers WHERE tenant_id = :tenant_id AND name = :name AND id <> :carrier_id",
        tenant_id=tenant_id,
        name=name,
        carrier_id=carrier_id,
    ):
        raise _taken(name)
    params: dict[str, int | str] = {"tenant_id": tenant_id, "carrier_id": carrier_id, "name": name}
    sql: LiteralString = "UPDATE providers SET name = :name"
    if settings is not None:
        params |= {"settings": settings, "now": now}
        # Twice within a millisecond is two configurations still.
        sql += ", settings = :settings, updated_at = CASE WHEN updated_at < :now THEN :now ELSE updated_at + 1 END"
        sql += ", paused_at = NULL, paused_until = NULL, paused_reason = NULL"
        tx.notify("due")
    sql += " WHERE tenant_id = :tenant_id AND id = :carrier_id"
    tx.run(sql, **params)
    return get(tx, tenant_id, carrier_id)


def choose(tx: Tx, tenant_id: int, carrier_id: int, *, now: int) -> Carrier:
    """From now on this one carries its channel. Choosing the chosen one changes nothing. Raises NotFound."""
    # of two who choose at once the second waits here, and sees what the first has chosen
    tx.rows("SELECT id FROM providers WHERE tenant_id = :tenant_id ORDER BY id FOR UPDATE", tenant_id=tenant_id)
    carrier = get(tx, tenant_id, carrier_id)
    if carrier.chosen_at is not None:
        return carrier
    tx.run(
        "UPDATE providers SET chosen_at = NULL WHERE tenant_id = :tenant_id AND channel = :channel AND chosen_at IS NOT NULL",
        tenant_id=tenant_id,
        channel=carrier.channel,
    )
    tx.run(
        "UPDATE providers SET chosen_at = :now WHERE tenant_id = :tenant_id AND id = :carrier_id",
        tenant_id=tenant_id,
        carrier_id=carrier_id,
        now=now,
    )
    tx.notify("due")
    return get(tx, tenant_id, carrier_id)


def delete(tx: Tx, tenant_id: int, carrier_id: int) -> None:
    """Forgets a provider and its secrets. Raises Conflict while it is the chosen one, NotFound."""
    carrier = get(tx, tenant_id, carrier_id)
    removed = tx.run(
        "DELETE FROM providers WHERE tenant_id = :tenant_id AND id = :carrier_id AND chosen_at IS NULL",
        tenant_id=tenant_id,
        carrier_id=carrier_id,
    )
    if not removed:
        raise Conflict(f"{carrier.name} carries your {carrier.channel}; choose another provider first")


def pause(tx: Tx, tenant_id: int, carrier_id: int, reason: str, *, until: int, now: int) -> None:
    """Hands nothing to it until `until`. A pause that is on already keeps its beginning and takes the newer reason and end."""
    tx.run(
        "UPDATE providers SET paused_at = COALESCE(paused_at, :now), paused_until = :until, paused_reason = :reason"
        " WHERE tenant_id = :tenant_id AND id = :carrier_id",
        tenant_id=tenant_id,
        carrier_id=carrier_id,
        reason=reason,
        until=until,
        now=now,
    )


def resume(tx: Tx, tenant_id: int, carrier_id: int) -> bool:
    """Ends a pause, at once; False when there was none."""
    resumed = tx.run(
        "UPDATE providers SET paused_at = NULL, paused_until = NULL, paused_reason = NULL"
        " WHERE tenant_id = :tenant_id AND id = :carrier_id AND paused_at IS NOT NULL",
        tenant_id=tenant_id,
        carrier_id=carrier_id,
    )
    if resumed:
        tx.notify("due")
    return bool(resumed)


def _taken(name: str) -> Conflict:
    return Conflict(f"There is a provider named {name} already")
