"""Due enrollments become communications, a short stock ahead of dispatch; and mass enrollments, a chunk at a time. The rules are the domain's."""

import asyncio

import msgspec

from tidings import clock
from tidings.clock import Clock
from tidings.database import Database, Tx
from tidings.domain import communications, enrollments, jobs
from tidings.domain.jobs import Job, Progress
from tidings.errors import Conflict, Invalid, NotFound

STOCK = 4000
"""How many messages of a tenant's channel may wait for dispatch: enough never to starve it, few enough that pausing is one small
statement and that an unsubscribe or a changed contact is seen by what is made later."""
CHUNK = 1000
LEASE = 60 * clock.SECOND
ENROLL = 20_000
"""Contacts enrolled in one transaction."""
POLL = 0.5
BUSY = 0.02


class Planner:
    """Keeps the stock filled. Any number of processes may run one: what one is advancing the others pass over."""

    def __init__(self, db: Database, now: Clock) -> None:
        self._db, self._now = db, now

    async def run(self, stop: asyncio.Event) -> None:
        """Plans until `stop`."""
        bell = self._db.bell("plan")
        try:
            while not stop.is_set():
                bell.clear()
                waiting = await self.turn()
                if waiting is None:
                    await clock.first(POLL, bell, stop)
                elif not waiting:
                    await clock.first(BUSY, stop)
        finally:
            self._db.drop_bell("plan", bell)

    async def turn(self) -> int | None:
        """Advances each campaign that has due enrollments by a chunk. Answers how many advanced, None when none was due."""
        due = await self._db.read(enrollments.due_campaigns, now=self._now())
        if not due:
            return None
        advanced = 0
        for campaign in due:
            advanced += await self._db.write(_plan, campaign, now=self._now())
        return advanced


def _plan(tx: Tx, campaign: enrollments.DueCampaign, *, now: int) -> int:
    waiting = min(communications.waiting(tx, campaign.tenant_id, channel, now=now, most=STOCK) for channel in campaign.channels.split(","))
    if waiting > STOCK - CHUNK:
        return 0  # a whole chunk at a time: what a turn costs is the same for ten as for a thousand
    return enrollments.advance(tx, campaign.tenant_id, campaign.campaign_id, limit=CHUNK, now=now)


class EnrollParams(msgspec.Struct, frozen=True):
    """Whom an enroll job is for: a list, given contacts, or (neither) everybody."""

    campaign_id: int
    list_id: int | None = None
    contact_ids: list[int] | None = None


async def run_enroll(db: Database, now: Clock, job: Job, stop: asyncio.Event) -> None:
    """Works on an enroll job until it is done, `stop` is set or its lease is lost; each chunk and the job's progress are one transaction.

    `done` counts the enrolled, `rejected` those passed over (on their way already, or within the re-enrollment window).
    """
    params = msgspec.json.decode(job.params, type=EnrollParams)
    progress: Progress | None = Progress(job.cursor, job.done, job.rejected, job.total)
    try:
        while progress is not None and not stop.is_set():
            progress = await db.write(_enroll_chunk, job, params, progress, now=now())
        if progress is not None:
            await db.write(jobs.release, job, now=now(), due_at=now())
    except (Invalid, NotFound) as error:
        await db.write(jobs.fail, job, error.message, now=now())


def _enroll_chunk(tx: Tx, job: Job, params: EnrollParams, before: Progress, *, now: int) -> Progress | None:
    chunk = enrollments.enroll_some(
        tx,
        job.tenant_id,
        params.campaign_id,
        list_id=params.list_id,
        contact_ids=params.contact_ids,
        after=int(before.cursor or 0),
        limit=ENROLL,
        now=now,
    )
    if chunk.last is None:
        jobs.finish(tx, job, now=now)
        return None
    done, rejected = before.done + chunk.enrolled, before.rejected + chunk.seen - chunk.enrolled
    progress = Progress(str(chunk.last), done, rejected, max(job.total, done + rejected))
    if not jobs.advance(tx, job, progress, now=now, lease_ms=LEASE):
        # somebody else has the job: what this chunk did is undone, they do it
        raise Conflict("The lease of this job was lost.")
    return progress
