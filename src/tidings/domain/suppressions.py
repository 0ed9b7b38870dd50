"""Addresses that must not be written to, per channel, and why. Whoever accepts or sends a message asks here first."""

from collections.abc import Iterable
from typing import Final, Literal, LiteralString

import msgspec

from tidings.database import Tx
from tidings.domain.page import Page
from tidings.errors import NotFound

Reason = Literal["unsubscribed", "bounced", "complained", "manual"]


class Suppression(msgspec.Struct, frozen=True):
    """One address of one channel. `address` is lower-cased (email) or E.164 (sms); `communication_id` is what brought it about."""

    id: int
    channel: str
    address: str
    reason: str
    detail: str
    communication_id: int | None
    created_at: int


_SUPPRESSION: Final = (
    "SELECT id, channel, address, reason, detail, communication_id, created_at FROM suppressions WHERE tenant_id = :tenant_id"
)


def spelt(channel: str, address: str) -> str:
    """The spelling an address is suppressed and looked up by: email in lower case, a number as it is."""
    return address.lower() if channel == "email" else address


def add(
    tx: Tx,
    tenant_id: int,
    channel: str,
    address: str,
    reason: Reason,
    *,
    now: int,
    detail: str = "",
    communication_id: int | None = None,
) -> bool:
    """Suppresses an address; False when it was already (the first reason stays), or when it is "": that of somebody who was erased."""
    if not address:
        return False
    added = tx.run(
        "INSERT INTO suppressions (tenant_id, channel, address, reason, detail, communication_id, created_at)"
        " VALUES (:tenant_id, :channel, :address, :reason, :detail, :communication_id, :now)"
        " ON CONFLICT (tenant_id, channel, address) DO NOTHING",
        tenant_id=tenant_id,
        channel=channel,
        address=spelt(channel, address),
        reason=reason,
        detail=detail,
        communication_id=communication_id,
        now=now,
    )
    return bool(added)


def told(
    tx: Tx, tenant_id: int, channel: str, address: str, reason: Reason, *, at: int, detail: str = "", communication_id: int | None = None
) -> None:
    """Suppresses an address on a carrier's word, and comes to the same in whatever order such words are heard.

    Complained outweighs bounced, and that unsubscribed; what people entered outweighs all. Of two that weigh the same the first to happen
    counts, of two unsubscribings the last: a change of mind is between them.
    """
    tx.run(
        "INSERT INTO suppressions (tenant_id, channel, address, reason, detail, communication_id, created_at)"
        " VALUES (:tenant_id, :channel, :address, :reason, :detail, :communication_id, :at)"
        " ON CONFLICT (tenant_id, channel, address) DO UPDATE SET reason = excluded.reason, detail = excluded.detail,"
        " communication_id = excluded.communication_id, created_at = excluded.created_at"
        " WHERE CASE WHEN suppressions.reason <> excluded.reason THEN suppressions.reason = 'unsubscribed'"
        " OR (suppressions.reason = 'bounced' AND excluded.reason = 'complained')"
        " WHEN excluded.reason = 'unsubscribed' THEN (excluded.created_at, COALESCE(excluded.communication_id, 0), excluded.detail)"
        " > (suppressions.created_at, COALESCE(suppressions.communication_id, 0), suppressions.detail)"
        " ELSE (excluded.created_at, COALESCE(excluded.communication_id, 0), excluded.detail)"
        " < (suppressions.created_at, COALESCE(suppressions.communication_id, 0), suppressions.detail) END",
        tenant_id=tenant_id,
        channel=channel,
        address=spelt(channel, address),
        reason=reason,
        detail=detail[:500],
        communication_id=communication_id,
        at=at,
    )


def stop(tx: Tx, tenant_id: int, channel: str, address: str, *, detail: str, communication_id: int | None = None, now: int) -> bool:
    """Its owner wants nothing more: `unsubscribed`, whatever it was suppressed for before. False when it was unsubscribed already."""
    if add(tx, tenant_id, channel, address, "unsubscribed", detail=detail, communication_id=communication_id, now=now):
        return True
    before = tx.row(
        "SELECT id, reason, detail, communication_id, created_at FROM suppressions"
        " WHERE tenant_id = :tenant_id AND channel = :channel AND address = :address AND reason <> 'unsubscribed' FOR UPDATE",
        tenant_id=tenant_id,
        channel=channel,
        address=spelt(channel, address),
    )
    if before is None:
        return False
    tx.run(
        "UPDATE suppressions SET reason = 'unsubscribed', detail = :detail, communication_id = :communication_id, created_at = :now,"
        " underlying = :underlying WHERE tenant_id = :tenant_id AND id = :id",
        tenant_id=tenant_id,
        id=before[0],
        detail=detail,
        communication_id=communication_id,
        now=now,
        underlying=msgspec.json.encode(before[1:]).decode(),
    )
    return True


def start(tx: Tx, tenant_id: int, channel: str, address: str) -> bool:
    """Takes `stop` back, and any unsubscribing else. False when the address must not be written to all the same, or might be anyway."""
    row = tx.row(
        "SELECT id, underlying FROM suppressions"
        " WHERE tenant_id = :tenant_id AND channel = :channel AND address = :address AND reason = 'unsubscribed' FOR UPDATE",
        tenant_id=tenant_id,
        channel=channel,
        address=spelt(channel, address),
    )
    if row is None:
        return False
    if row[1] is None:
        return lift(tx, tenant_id, row[0])
    reason, detail, communication_id, created_at = msgspec.json.decode(row[1], type=tuple[str, str, int | None, int])
    tx.run(
        "UPDATE suppressions SET reason = :reason, detail = :detail, communication_id = :communication_id, created_at = :created_at,"
        " underlying = NULL WHERE tenant_id = :tenant_id AND id = :id",
        tenant_id=tenant_id,
        id=row[0],
        reason=reason,
        detail=detail,
        communication_id=communication_id,
        created_at=created_at,
    )
    return False


def forget_words(tx: Tx, tenant_id: int, suppression_id: int) -> None:
    """Leaves who must not be written to and why, and none of the words that came with it: for who erases a person."""
    row = tx.row(
        "SELECT underlying FROM suppressions WHERE tenant_id = :tenant_id AND id = :id FOR UPDATE", tenant_id=tenant_id, id=suppression_id
    )
    underlying: str | None = None if row is None else row[0]
    if underlying is not None:
        reason, _, *rest = msgspec.json.decode(underlying, type=tuple[str, str, int | None, int])
        underlying = msgspec.json.encode((reason, "", *rest)).decode()
    tx.run(
        "UPDATE suppressions SET detail = '', underlying = :underlying WHERE tenant_id = :tenant_id AND id = :id",
        tenant_id=tenant_id,
        id=suppression_id,
        underlying=underlying,
    )


def get(tx: Tx, tenant_id: int, suppression_id: int) -> Suppression:
    """One by id. Raises NotFound."""
    sql = _SUPPRESSION + " AND id = :suppression_id"
    found = tx.one(Suppression, sql, tenant_id=tenant_id, suppression_id=suppression_id)
    if found is None:
        raise NotFound("Suppression not found")
    return found


def find(tx: Tx, tenant_id: int, channel: str, address: str) -> Suppression | None:
    """The suppression of an address, in whatever case it is given, or None."""
    sql = _SUPPRESSION + " AND channel = :channel AND address = :address"
    return tx.one(Suppression, sql, tenant_id=tenant_id, channel=channel, address=spelt(channel, address))


def matching(tx: Tx, tenant_id: int, channel: str, addresses: Iterable[str]) -> dict[str, str]:
    """Which of these addresses are suppressed: address as suppressed (see `spelt`) → reason."""
    rows = [(address,) for address in sorted({spelt(channel, address) for address in addresses})]
    if not rows:
        return {}
    found = tx.rows(
        "SELECT s.address, s.reason FROM :addresses(address text) a JOIN suppressions s"
        " ON s.tenant_id = :tenant_id AND s.channel = :channel AND s.address = a.address",
        tenant_id=tenant_id,
        channel=channel,
        addresses=rows,
    )
    return dict(found)


def page(
    tx: Tx,
    tenant_id: int,
    *,
    channel: str | None = None,
    reason: str | None = None,
    address: str | None = None,
    page: int = 1,
    limit: int = 25,
) -> Page[Suppression]:
    """Suppressions, newest first; `address` matches whole addresses in any case."""
    rows: LiteralString = _SUPPRESSION
    count: LiteralString = "SELECT COUNT(*) FROM suppressions WHERE tenant_id = :tenant_id"
    wanted: LiteralString = ""
    params: dict[str, int | str] = {"tenant_id": tenant_id}
    if channel is not None:
        wanted += " AND channel = :channel"
        params["channel"] = channel
    if reason is not None:
        wanted += " AND reason = :reason"
        params["reason"] = reason
    if address is not None:
        wanted += " AND address = :address"
        params["address"] = address.lower()
    rows += wanted + " ORDER BY created_at DESC, id DESC LIMIT :limit OFFSET :offset"
    count += wanted
    return Page(tx.all(Suppression, rows, **params, limit=limit, offset=(page - 1) * limit), tx.value(count, **params))


def remove(tx: Tx, tenant_id: int, suppression_id: int) -> None:
    """Lets the address be written to again. Raises NotFound."""
    if not lift(tx, tenant_id, suppression_id):
        raise NotFound("Suppression not found")


def lift(tx: Tx, tenant_id: int, suppression_id: int) -> bool:
    """The same; False when somebody else has done so."""
    removed = tx.run(
        "DELETE FROM suppressions WHERE tenant_id = :tenant_id AND id = :suppression_id",
        tenant_id=tenant_id,
        suppression_id=suppression_id,
    )
    return bool(removed)
