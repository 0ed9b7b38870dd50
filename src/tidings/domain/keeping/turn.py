"""Whose old rows are to be removed now: a tenant's turn comes once a day, and at once when it has changed what it keeps."""

import msgspec

from tidings import clock
from tidings.database import Tx

EVERY = clock.DAY
LEASE = clock.HOUR
"""Milliseconds after which a turn that its worker did not finish is anybody's again."""
SLACK = 7 * clock.DAY
"""How far behind what has been looked at is looked again: for messages that are known only late to have been sent."""


class Turn(msgspec.Struct, frozen=True):
    """A tenant with the days for which it keeps each part (None: for ever), and up to when bodies have been looked at."""

    tenant_id: int
    bodies_to: int
    bodies: int | None
    interactions: int | None
    inbound: int | None
    audit: int | None

    def before(self, days: int | None, now: int) -> int | None:
        """The instant before which nothing is kept of what is kept for so many days."""
        return None if days is None else now - days * clock.DAY


def soon(tx: Tx, tenant_id: int, *, at: int) -> None:
    """Makes it the tenant's turn at this instant, if not before. In the transaction of what makes that necessary."""
    tx.run(
        "INSERT INTO keeping (tenant_id, due_at) VALUES (:tenant_id, :at)"
        " ON CONFLICT (tenant_id) DO UPDATE SET due_at = CASE WHEN keeping.due_at < :at THEN keeping.due_at ELSE :at END",
        tenant_id=tenant_id,
        at=at,
    )
    tx.notify("keeping")


def claim(tx: Tx, *, now: int) -> Turn | None:
    """The tenant whose turn it has been for longest, for LEASE; None when it is nobody's."""
    row = tx.row(
        "UPDATE keeping SET due_at = :until WHERE tenant_id = (SELECT k.tenant_id FROM keeping k WHERE k.due_at <= :now"
        " ORDER BY k.due_at LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING tenant_id, bodies_to",
        now=now,
        until=now + LEASE,
    )
    if row is None:
        return None
    return tx.one(
        Turn,
        "SELECT t.id, k.bodies_to, t.keep_bodies, t.keep_interactions, t.keep_inbound, t.keep_audit"
        " FROM keeping k JOIN tenants t ON t.id = k.tenant_id WHERE k.tenant_id = :tenant_id",
        tenant_id=row[0],
    )


def settled_bodies(tx: Tx, tenant_id: int, *, to: int) -> None:
    """What was sent before `to` has been looked at."""
    tx.run("UPDATE keeping SET bodies_to = :until WHERE tenant_id = :tenant_id", tenant_id=tenant_id, until=to)


def finish(tx: Tx, tenant_id: int, *, begun: int, now: int) -> None:
    """The turn that began at `begun` is over; the next comes in a day, unless something has asked for an earlier one meanwhile."""
    tx.run(
        "UPDATE keeping SET due_at = CASE WHEN due_at = :until THEN :next ELSE due_at END, kept_at = :now WHERE tenant_id = :tenant_id",
        tenant_id=tenant_id,
        until=begun + LEASE,
        next=now + EVERY,
        now=now,
    )
