"""The log of deliveries: looked through, said again, and forgotten."""

from collections.abc import Sequence
from typing import Final, LiteralString

import msgspec

from tidings.clock import DAY
from tidings.database import Tx
from tidings.domain.endpoints import record
from tidings.domain.page import Page
from tidings.errors import Conflict, NotFound

KEPT: Final = 30 * DAY
"""Milliseconds for which the log remembers what has ended."""
STATES: Final = ("waiting", "delivered", "failed")


class Delivery(msgspec.Struct, frozen=True):
    """A row of `deliveries`: `state` is waiting (tried, or tried again, at `due_at`), delivered or failed (since `ended_at`).

    `log` is JSON of its attempts, `error` what went wrong last.
    """

    id: int
    tenant_id: int
    endpoint_id: int
    kind: str
    communication_id: int | None
    inbound_id: int | None
    at: int
    state: str
    due_at: int | None
    attempts: int
    ended_at: int | None
    error: str | None
    log: str


class Range(msgspec.Struct, frozen=True):
    """Which of an endpoint's deliveries; None for all. `since` and `until` (exclusive) are when it happened, in milliseconds."""

    state: str | None = None
    kind: str | None = None
    since: int | None = None
    until: int | None = None


_SELECT: LiteralString = (
    "SELECT id, tenant_id, endpoint_id, kind, communication_id, inbound_id, at, state, due_at, attempts, ended_at, error, log"
    " FROM deliveries WHERE tenant_id = :tenant_id"
)


def deliveries(tx: Tx, tenant_id: int, endpoint_id: int, which: Range, *, limit: int, page: int) -> Page[Delivery]:
    """One page (from 1) of an endpoint's log, newest first."""
    where, params = _where(which)
    sql: LiteralString = "SELECT COUNT(*) FROM deliveries WHERE tenant_id = :tenant_id AND endpoint_id = :endpoint_id" + where
    total: int = tx.value(sql, tenant_id=tenant_id, endpoint_id=endpoint_id, **params)
    rows = tx.all(
        Delivery,
        _SELECT + " AND endpoint_id = :endpoint_id" + where + " ORDER BY id DESC LIMIT :limit OFFSET :skip",
        tenant_id=tenant_id,
        endpoint_id=endpoint_id,
        limit=limit,
        skip=(page - 1) * limit,
        **params,
    )
    return Page(rows, total)


def delivery(tx: Tx, tenant_id: int, endpoint_id: int, delivery_id: int) -> Delivery:
    """One of an endpoint's. Raises NotFound."""
    found = tx.one(
        Delivery, _SELECT + " AND endpoint_id = :endpoint_id AND id = :id", tenant_id=tenant_id, endpoint_id=endpoint_id, id=delivery_id
    )
    if found is None:
        raise NotFound("Delivery not found")
    return found


def replay(tx: Tx, tenant_id: int, endpoint_id: int, delivery_id: int, *, now: int) -> Delivery:
    """Makes one due at once, whatever became of it, under the id it had. Raises NotFound, Conflict for an endpoint that is off, or a test."""
    known = delivery(tx, tenant_id, endpoint_id, delivery_id)
    if known.kind == "test":
        raise Conflict("A test is not replayed: ask for another")
    _refuse_disabled(tx, tenant_id, endpoint_id)
    _again(tx, tenant_id, endpoint_id, " AND id = :id", {"id": delivery_id}, now)
    if known.communication_id is not None:
        # what waits behind it need not wait any longer than it does
        tx.run(
            "UPDATE deliveries SET due_at = :now WHERE tenant_id = :tenant_id AND communication_id = :communication_id"
            " AND endpoint_id = :endpoint_id AND id > :id AND due_at IS NOT NULL AND due_at > :now AND attempts = 0",
            tenant_id=tenant_id,
            communication_id=known.communication_id,
            endpoint_id=endpoint_id,
            id=delivery_id,
            now=now,
        )
    return delivery(tx, tenant_id, endpoint_id, delivery_id)


def replay_failed(tx: Tx, tenant_id: int, endpoint_id: int, which: Range, *, now: int) -> int:
    """Makes due at once what has failed, of what happened in this range; answers how many. Raises NotFound, Conflict for one that is off."""
    _refuse_disabled(tx, tenant_id, endpoint_id)
    where, params = _where(msgspec.structs.replace(which, state="failed"))
    return _again(tx, tenant_id, endpoint_id, where + " AND kind <> 'test'", params, now)


def forget(tx: Tx, tenant_id: int, *, communication_ids: Sequence[int] = (), inbound_ids: Sequence[int] = ()) -> int:
    """Removes every delivery about these, told or not: what is known of people is erased here too. Answers how many there were."""
    gone = 0
    if communication_ids:
        gone += tx.run(
            "DELETE FROM deliveries WHERE tenant_id = :tenant_id AND communication_id IN :ids[bigint]",
            tenant_id=tenant_id,
            ids=list(communication_ids),
        )
    if inbound_ids:
        gone += tx.run(
            "DELETE FROM deliveries WHERE tenant_id = :tenant_id AND inbound_id IN :ids[bigint]", tenant_id=tenant_id, ids=list(inbound_ids)
        )
    return gone


def forget_old(tx: Tx, *, now: int, limit: int = 5000) -> int:
    """Removes what ended longer than KEPT ago, every tenant's, `limit` at most; answers how many."""
    return tx.run(
        "DELETE FROM deliveries WHERE (tenant_id, id) IN (SELECT tenant_id, id FROM deliveries"
        " WHERE tenant_id > 0 AND ended_at IS NOT NULL AND ended_at <= :since ORDER BY ended_at LIMIT :limit)",
        since=now - KEPT,
        limit=limit,
    )


def _refuse_disabled(tx: Tx, tenant_id: int, endpoint_id: int) -> None:
    if record.get(tx, tenant_id, endpoint_id).disabled_at is not None:
        raise Conflict("This webhook is switched off: switch it on first")


def _again(tx: Tx, tenant_id: int, endpoint_id: int, where: LiteralString, params: dict[str, int | str], now: int) -> int:
    sql: LiteralString = (
        "UPDATE deliveries SET state = 'waiting', due_at = :now, attempts = 0, ended_at = NULL"
        " WHERE tenant_id = :tenant_id AND endpoint_id = :endpoint_id" + where
    )
    changed = tx.run(sql, tenant_id=tenant_id, endpoint_id=endpoint_id, now=now, **params)
    # whoever asks for it wants to see it now, also from one that is left alone for a while
    tx.run(
        "UPDATE endpoints SET rest_until = NULL WHERE tenant_id = :tenant_id AND id = :endpoint_id",
        tenant_id=tenant_id,
        endpoint_id=endpoint_id,
    )
    tx.notify(record.BELL)
    return changed


def _where(which: Range) -> tuple[LiteralString, dict[str, int | str]]:
    where: LiteralString = ""
    params: dict[str, int | str] = {}
    if which.state is not None:
        where += " AND state = :state"
        params["state"] = which.state
    if which.kind is not None:
        where += " AND kind = :kind"
        params["kind"] = which.kind
    if which.since is not None:
        where += " AND at >= :since"
        params["since"] = which.since
    if which.until is not None:
        where += " AND at < :until"
        params["until"] = which.until
    return where, params
