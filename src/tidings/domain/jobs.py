"""Jobs: long work that is continued batch by batch (an import, an enrollment of everybody). What a job does lives with its kind.

A job is a row that is due. Whoever claims it holds a lease; every batch is settled together with what it did, and only
while the lease is still held, so a worker that comes back too late changes nothing.
"""

import secrets
from typing import Literal, LiteralString

import msgspec

from tidings.database import Tx
from tidings.domain.page import Page

State = Literal["waiting", "running", "done", "failed"]

CLAIMS = 12
"""How often a job is claimed without any batch settled before it is given up: it ends its worker every time, or none can do it."""


class Job(msgspec.Struct, frozen=True):
    """A row of `jobs`. `params` is what its kind was given, `cursor` where to go on ("" at the beginning), both JSON of the kind's own.

    `done`, `total` and `rejected` are counts of whatever the kind counts; `attempts` the claims since the last settled batch.
    A job without `due_at` is continued by the command that made it, not by workers.
    """

    id: int
    tenant_id: int
    kind: str
    state: State
    params: str
    cursor: str
    done: int
    total: int
    rejected: int
    error: str | None
    due_at: int | None
    lease_until: int | None
    lease: int | None
    attempts: int
    created_at: int
    updated_at: int
    finished_at: int | None


_COLUMNS: LiteralString = (
    "id, tenant_id, kind, state, params, cursor, done, total, rejected, error, due_at, lease_until, lease, attempts,"
    " created_at, updated_at, finished_at"
)


def create(tx: Tx, tenant_id: int, kind: str, params: str, *, total: int, now: int, by_hand: bool = False) -> Job:
    """A waiting job, due at once; `by_hand` keeps it from the workers. `total` is 0 where it is not known yet."""
    job = tx.one(
        Job,
        "INSERT INTO jobs (tenant_id, kind, state, params, total, due_at, created_at, updated_at)"
        " VALUES (:tenant_id, :kind, 'waiting', :params, :total, :due_at, :now, :now) RETURNING " + _COLUMNS,
        tenant_id=tenant_id,
        kind=kind,
        params=params,
        total=total,
        due_at=None if by_hand else now,
        now=now,
    )
    assert job is not None
    tx.notify("jobs")
    return job


def get(tx: Tx, tenant_id: int, job_id: int) -> Job | None:
    """The job, or None."""
    return tx.one(Job, "SELECT " + _COLUMNS + " FROM jobs WHERE tenant_id = :tenant_id AND id = :id", tenant_id=tenant_id, id=job_id)


def page(tx: Tx, tenant_id: int, *, limit: int, page: int, kind: str | None = None) -> Page[Job]:
    """One page (from 1), newest first."""
    where: LiteralString = " FROM jobs WHERE tenant_id = :tenant_id"
    params: dict[str, int | str] = {"tenant_id": tenant_id}
    if kind is not None:
        where += " AND kind = :kind"
        params["kind"] = kind
    total: int = tx.value("SELECT count(*)" + where, **params)
    rows = tx.all(
        Job, "SELECT " + _COLUMNS + where + " ORDER BY id DESC LIMIT :limit OFFSET :skip", limit=limit, skip=(page - 1) * limit, **params
    )
    return Page(rows, total)


def unfinished(tx: Tx, kind: str) -> list[str]:
    """The params of every job of a kind, any tenant's, that did not come to its end."""
    return [row[0] for row in tx.rows("SELECT params FROM jobs WHERE tenant_id > 0 AND kind = :kind AND finished_at IS NULL", kind=kind)]


def unfinished_by_hand(tx: Tx, tenant_id: int, kind: str) -> list[Job]:
    """Jobs of a command that did not come to their end, the newest first."""
    return tx.all(
        Job,
        "SELECT "
        + _COLUMNS
        + " FROM jobs WHERE tenant_id = :tenant_id AND kind = :kind AND finished_at IS NULL AND due_at IS NULL ORDER BY id DESC",
        tenant_id=tenant_id,
        kind=kind,
    )


def claim(tx: Tx, *, now: int, lease_ms: int) -> Job | None:
    """The job that has been due longest, any tenant's, leased for `lease_ms`; None when none is due. One that keeps failing to move is given up."""
    tx.run(
        "UPDATE jobs SET state = 'failed', error = 'Given up: it was begun again and again and never got on.', finished_at = :now, updated_at = :now,"
        " due_at = NULL, lease = NULL, lease_until = NULL WHERE due_at <= :now AND attempts >= :claims",
        now=now,
        claims=CLAIMS,
    )
    return tx.one(
        Job,
        # materialised: a plan that asks the inner question for every row would be given another job each time
        "WITH picked AS MATERIALIZED (SELECT tenant_id, id FROM jobs WHERE due_at <= :now ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)"
        " UPDATE jobs SET state = 'running', lease = :lease, lease_until = :until, due_at = :until, attempts = attempts + 1, updated_at = :now"
        " WHERE (tenant_id, id) IN (SELECT tenant_id, id FROM picked) RETURNING " + _COLUMNS,
        lease=secrets.randbits(62),
        until=now + lease_ms,
        now=now,
    )


def take(tx: Tx, tenant_id: int, job_id: int, *, now: int, lease_ms: int) -> Job | None:
    """Leases this one job to the caller, whoever held it before: they can settle nothing any more. None when it is finished or gone."""
    return tx.one(
        Job,
        "UPDATE jobs SET state = 'running', lease = :lease, lease_until = :until, due_at = CASE WHEN due_at IS NOT NULL THEN :until END,"
        " attempts = attempts + 1, updated_at = :now WHERE tenant_id = :tenant_id AND id = :id AND finished_at IS NULL RETURNING "
        + _COLUMNS,
        tenant_id=tenant_id,
        id=job_id,
        lease=secrets.randbits(62),
        until=now + lease_ms,
        now=now,
    )


class Progress(msgspec.Struct, frozen=True):
    """How far a job has come: totals since its beginning, and where to go on."""

    cursor: str
    done: int
    rejected: int
    total: int


def advance(tx: Tx, job: Job, progress: Progress, *, now: int, lease_ms: int) -> bool:
    """Settles a batch and lengthens the lease. False when the lease is lost: the caller must then undo its transaction."""
    changed = tx.run(
        "UPDATE jobs SET cursor = :cursor, done = :done, rejected = :rejected, total = :total, attempts = 0, lease_until = :until,"
        " due_at = CASE WHEN due_at IS NOT NULL THEN :until END, updated_at = :now WHERE tenant_id = :tenant_id AND id = :id AND lease = :lease",
        tenant_id=job.tenant_id,
        id=job.id,
        lease=job.lease,
        cursor=progress.cursor,
        done=progress.done,
        rejected=progress.rejected,
        total=progress.total,
        until=now + lease_ms,
        now=now,
    )
    return changed == 1


def finish(tx: Tx, job: Job, *, now: int) -> bool:
    """The job is done. False when the lease is lost."""
    return _end(tx, job, "done", None, now)


def fail(tx: Tx, job: Job, error: str, *, now: int) -> bool:
    """The job cannot be done, and `error` is the sentence that says why. False when the lease is lost."""
    return _end(tx, job, "failed", error, now)


def release(tx: Tx, job: Job, *, now: int, due_at: int) -> bool:
    """Gives the job back, to be claimed again from `due_at` on (a worker stops, a disk is full). False when the lease is lost."""
    changed = tx.run(
        "UPDATE jobs SET state = 'waiting', lease = NULL, lease_until = NULL, due_at = CASE WHEN due_at IS NOT NULL THEN :due_at END, updated_at = :now"
        " WHERE tenant_id = :tenant_id AND id = :id AND lease = :lease",
        tenant_id=job.tenant_id,
        id=job.id,
        lease=job.lease,
        due_at=due_at,
        now=now,
    )
    return changed == 1


def _end(tx: Tx, job: Job, state: State, error: str | None, now: int) -> bool:
    changed = tx.run(
        "UPDATE jobs SET state = :state, error = :error, finished_at = :now, updated_at = :now, due_at = NULL, lease = NULL, lease_until = NULL"
        " WHERE tenant_id = :tenant_id AND id = :id AND lease = :lease",
        tenant_id=job.tenant_id,
        id=job.id,
        lease=job.lease,
        state=state,
        error=error,
        now=now,
    )
    return changed == 1
