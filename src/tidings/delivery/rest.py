"""Sending to the rest, a batch at a time and no faster than dispatch takes it. What a batch does is the domain's."""

import asyncio

from tidings import clock
from tidings.clock import Clock
from tidings.database import Database, Tx
from tidings.delivery.planner import STOCK
from tidings.domain import communications, enrollments, jobs
from tidings.domain.jobs import Job, Progress
from tidings.errors import Conflict, Invalid, NotFound

LEASE = 60 * clock.SECOND
WAIT = 2 * clock.SECOND
"""How long the job is put off while dispatch has enough to do."""


async def run_rest(db: Database, now: Clock, job: Job, stop: asyncio.Event) -> None:
    """Works on it until everybody was seen to, dispatch has enough to do, `stop` is set or its lease is lost; each batch and the job's progress
    are one transaction.
    """
    progress: Progress | None = Progress(job.cursor, job.done, job.rejected, job.total)
    try:
        while progress is not None and not stop.is_set():
            if await db.read(_full, job.tenant_id, now=now()):
                await db.write(_put_off, job, progress, now=now())
                return
            progress = await db.write(enrollments.continue_rest, job, progress, now=now(), lease_ms=LEASE)
        if progress is not None:
            await db.write(jobs.release, job, now=now(), due_at=now())
    except (Invalid, NotFound) as error:
        await db.write(jobs.fail, job, error.message, now=now())


def _full(tx: Tx, tenant_id: int, *, now: int) -> bool:
    """Whether what waits is all that pausing, and an unsubscribe, should have to deal with (see `planner.STOCK`)."""
    return any(communications.waiting(tx, tenant_id, channel, now=now, most=STOCK) >= STOCK for channel in ("email", "sms"))


def _put_off(tx: Tx, job: Job, progress: Progress, *, now: int) -> None:
    # it was not begun in vain: whoever is put off a hundred times does not count as one that never gets on
    if not jobs.advance(tx, job, progress, now=now, lease_ms=LEASE):
        raise Conflict("The lease of this job was lost.")
    jobs.release(tx, job, now=now, due_at=now + WAIT)
