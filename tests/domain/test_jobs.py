"""Jobs: who holds one, what the holder settles, and what a holder that lost it cannot."""

from tidings.database import Database
from tidings.domain import jobs
from tidings.domain.jobs import CLAIMS, Job, Progress

NOON = 1_750_248_000_000
LEASE = 60_000
ACME, RIVAL = 1, 2


async def made(db: Database, tenant_id: int = ACME, now: int = NOON, **more: bool) -> Job:
    return await db.write(jobs.create, tenant_id, "import", '{"a":1}', total=10, now=now, **more)


async def claimed(db: Database, now: int = NOON) -> Job | None:
    return await db.write(jobs.claim, now=now, lease_ms=LEASE)


async def test_a_new_job_wakes_those_who_do_jobs_and_nobody_who_sends(db: Database) -> None:
    jobs_bell, dispatch_bell = db.bell("jobs"), db.bell("due")
    await made(db)
    assert jobs_bell.is_set()
    assert not dispatch_bell.is_set()


async def test_a_claimed_job_is_nobody_elses_until_its_lease_runs_out(db: Database) -> None:
    job = await made(db)
    first = await claimed(db)
    assert first is not None
    assert (first.id, first.state, first.attempts) == (job.id, "running", 1)
    assert await claimed(db, NOON + LEASE - 1) is None
    second = await claimed(db, NOON + LEASE)
    assert second is not None
    progress = Progress("5", 5, 0, 10)
    assert not await db.write(jobs.advance, first, progress, now=NOON, lease_ms=LEASE)
    assert not await db.write(jobs.finish, first, now=NOON)
    assert await db.write(jobs.advance, second, progress, now=NOON + LEASE, lease_ms=LEASE)
    assert await claimed(db, NOON + 2 * LEASE - 1) is None
    assert await db.write(jobs.finish, second, now=NOON + LEASE)
    done = await db.read(jobs.get, ACME, job.id)
    assert done is not None
    assert (done.state, done.cursor, done.done, done.total, done.finished_at, done.lease, done.attempts) == (
        "done",
        "5",
        5,
        10,
        NOON + LEASE,
        None,
        0,
    )


async def test_jobs_are_claimed_in_the_order_they_are_due_whoever_owns_them(db: Database) -> None:
    await made(db, now=NOON + 1)
    await made(db, RIVAL, now=NOON)
    claims = [await claimed(db, NOON + 5), await claimed(db, NOON + 5), await claimed(db, NOON + 5)]
    assert [claim and claim.tenant_id for claim in claims] == [RIVAL, ACME, None]


async def test_a_job_given_back_is_due_when_its_giver_says(db: Database) -> None:
    await made(db)
    job = await claimed(db)
    assert job is not None
    assert await db.write(jobs.release, job, now=NOON, due_at=NOON + 5000)
    assert await claimed(db, NOON + 4999) is None
    assert await claimed(db, NOON + 5000) is not None


async def test_a_job_that_never_gets_on_is_given_up(db: Database) -> None:
    job = await made(db)
    for turn in range(CLAIMS):
        assert await claimed(db, NOON + turn * LEASE) is not None
    assert await claimed(db, NOON + CLAIMS * LEASE) is None
    given_up = await db.read(jobs.get, ACME, job.id)
    assert given_up is not None
    assert (given_up.state, given_up.error) == ("failed", "Given up: it was begun again and again and never got on.")


async def test_a_failed_job_says_why(db: Database) -> None:
    await made(db)
    job = await claimed(db)
    assert job is not None
    assert await db.write(jobs.fail, job, "No such file.", now=NOON)
    found = await db.read(jobs.page, ACME, limit=9, page=1)
    assert [(row.state, row.error) for row in found.rows] == [("failed", "No such file.")]
    assert (await db.read(jobs.page, RIVAL, limit=9, page=1)).total == 0
    assert (await db.read(jobs.page, ACME, limit=9, page=1, kind="enroll")).total == 0


async def test_a_job_by_hand_is_left_to_its_command(db: Database) -> None:
    job = await made(db, by_hand=True)
    assert await claimed(db, NOON + LEASE) is None
    assert [row.id for row in await db.read(jobs.unfinished_by_hand, ACME, "import")] == [job.id]
    first = await db.write(jobs.take, ACME, job.id, now=NOON, lease_ms=LEASE)
    second = await db.write(jobs.take, ACME, job.id, now=NOON, lease_ms=LEASE)
    assert first is not None
    assert second is not None
    assert not await db.write(jobs.advance, first, Progress("1", 1, 0, 10), now=NOON, lease_ms=LEASE)
    assert await db.write(jobs.advance, second, Progress("1", 1, 0, 10), now=NOON, lease_ms=LEASE)
    assert await claimed(db, NOON + 9 * LEASE) is None
    assert await db.write(jobs.finish, second, now=NOON)
    assert await db.read(jobs.unfinished_by_hand, ACME, "import") == []
