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
    """Suppresses an address; False when it was already (the first reason stays)."""
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
