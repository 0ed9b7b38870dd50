"""Mailings: mail to a list that is longer than one transaction, continued chunk by chunk. What a chunk does is the domain's."""

import asyncio

from tidings import clock
from tidings.clock import Clock
from tidings.database import Database
from tidings.domain import communications, jobs
from tidings.domain.jobs import Job, Progress
from tidings.errors import Invalid, NotFound

LEASE = 60 * clock.SECOND


async def run_mailing(db: Database, now: Clock, job: Job, stop: asyncio.Event) -> None:
    """Works on a mailing until everybody was written to, `stop` is set or its lease is lost; each chunk and the job's progress are one transaction."""
    progress: Progress | None = Progress(job.cursor, job.done, job.rejected, job.total)
    try:
        while progress is not None and not stop.is_set():
            progress = await db.write(communications.continue_mailing, job, progress, now=now(), lease_ms=LEASE)
        if progress is not None:
            await db.write(jobs.release, job, now=now(), due_at=now())
    except (Invalid, NotFound) as error:
        await db.write(jobs.fail, job, error.message, now=now())
