"""Sending a campaign to the rest: who gets it then, who never, whatever happens to whoever does it; and the counts stay true."""

import asyncio
from typing import Any

import pytest

from tests.support.recount import check
from tests.support.unlucky import Unlucky
from tests.support.walk import House
from tidings.clock import SECOND
from tidings.delivery import planner
from tidings.delivery import rest as resting
from tidings.delivery.rest import LEASE, run_rest
from tidings.domain import campaigns, enrollments, jobs
from tidings.domain.communications.rest import PASSING
from tidings.domain.enrollments import Rest
from tidings.domain.enrollments import rest as rests
from tidings.domain.jobs import Job, Progress
from tidings.errors import Conflict, Invalid, NotFound
from tidings.message.outgoing import accepted

EVERY = ("given_up", "canceled", "unknown", "failed", "bounced", "no_address", "suppressed", "denied")


@pytest.fixture
async def unlucky(house: House, monkeypatch: pytest.MonkeyPatch) -> Unlucky:
    monkeypatch.setattr(rests, "BATCH", 2)
    unlucky = await Unlucky(house).happen()
    house.carrying.answer = lambda _: accepted("ok")
    return unlucky


def asking(unlucky: Unlucky, reasons: Any = PASSING, **more: Any) -> Rest:
    return Rest(campaign_id=unlucky.campaign, reasons=reasons, asked_at=unlucky.house.now, author="ann", **more)


async def begun(unlucky: Unlucky, reasons: Any = PASSING, **more: Any) -> Job:
    asked = asking(unlucky, reasons, **more)
    return await unlucky.house.db.write(enrollments.begin_rest, unlucky.house.tenant_id, asked, now=unlucky.house.now)


async def claimed(house: House) -> Job:
    job = await house.db.write(jobs.claim, now=house.now, lease_ms=LEASE)
    assert job is not None
    return job


async def finished(house: House, job: Job) -> Job:
    await run_rest(house.db, house.clock, job, asyncio.Event())
    done = await house.db.read(jobs.get, house.tenant_id, job.id)
    assert done is not None
    return done


async def reached(unlucky: Unlucky) -> list[str]:
    """Who is written to from now on, up to the hour."""
    sent = await unlucky.house.dispatch()
    await unlucky.house.db.read(check, unlucky.house.tenant_id)
    return sorted(mail.recipients[0].partition("@")[0] for mail in sent)


async def test_those_for_whom_a_second_try_makes_sense_get_it_and_nobody_else(unlucky: Unlucky):
    await begun(unlucky, list_id=unlucky.list_id)
    done = await finished(unlucky.house, await claimed(unlucky.house))
    # the members of the list who are enrolled already were none of its business
    assert (done.state, done.done, done.rejected, done.total) == ("done", 4, 0, 4)
    assert await reached(unlucky) == ["absent", "canceled", "given", "held"]


async def test_asked_for_again_it_reaches_nobody(unlucky: Unlucky):
    for expected in (["absent", "canceled", "given", "held"], []):
        await begun(unlucky, everybody=True)
        await finished(unlucky.house, await claimed(unlucky.house))
        assert await reached(unlucky) == expected
        unlucky.house.later(SECOND)


async def test_whatever_is_asked_for_nobody_who_must_not_be_written_to_or_has_left_is(unlucky: Unlucky):
    await begun(unlucky, EVERY)
    done = await finished(unlucky.house, await claimed(unlucky.house))
    assert await reached(unlucky) == ["bounced", "canceled", "given", "held", "refused", "returned"]
    # the blocked, the denied and who has no address
    assert (done.done, done.rejected) == (6, 3)


async def test_what_stood_against_it_counts_as_it_is_now(unlucky: Unlucky):
    await unlucky.lift()
    await begun(unlucky, ("suppressed", "denied"))
    await finished(unlucky.house, await claimed(unlucky.house))
    assert await reached(unlucky) == ["blocked", "denied"]


async def test_it_goes_to_the_address_of_today(unlucky: Unlucky):
    house = unlucky.house
    await house.db.write(
        lambda tx: tx.run(
            "UPDATE contacts SET email = 'New@example.com', email_key = 'new@example.com' WHERE tenant_id = :tenant_id AND id = :id",
            tenant_id=house.tenant_id,
            id=unlucky.people["phone"],
        )
    )
    await begun(unlucky, ("no_address",))
    await finished(house, await claimed(house))
    assert await reached(unlucky) == ["New"]


async def test_what_may_have_gone_out_keeps_its_message_id_and_the_rest_gets_another(unlucky: Unlucky):
    house = unlucky.house
    before = {row.address: row.serial for row in await house.rows()}
    await begun(unlucky)
    await finished(house, await claimed(house))
    await reached(unlucky)
    more = {row.address: row.serial - before[row.address] for row in await house.rows() if row.message_id is not None}
    assert {name: more[f"{name}@example.com"] for name in ("held", "given", "canceled", "lucky")} == {
        "held": 0,
        "given": 1,
        "canceled": 1,
        "lucky": 0,
    }


async def test_a_preview_tells_what_is_then_done_and_does_nothing(unlucky: Unlucky):
    house = unlucky.house
    asked = asking(unlucky, EVERY, list_id=unlucky.list_id)
    told = await house.db.read(enrollments.preview_rest, house.tenant_id, asked)
    assert told.again == {"failed": 2, "given_up": 1, "bounced": 1, "canceled": 1, "unknown": 1}
    assert told.left == {"suppressed": 1, "denied": 1, "no_address": 1}
    assert (told.enroll, told.complete) == (1, True)
    assert await reached(unlucky) == []
    await begun(unlucky, EVERY, list_id=unlucky.list_id)
    done = await finished(house, await claimed(house))
    assert done.done == sum(told.again.values()) + told.enroll


@pytest.mark.parametrize("batches", [1, 2, 3])
async def test_a_worker_that_dies_in_the_middle_loses_and_doubles_nobody(unlucky: Unlucky, batches: int):
    house = unlucky.house
    await begun(unlucky, EVERY, list_id=unlucky.list_id)
    dead = await claimed(house)
    progress: Progress | None = Progress(dead.cursor, dead.done, dead.rejected, dead.total)
    for _ in range(batches):
        assert progress is not None
        progress = await house.db.write(enrollments.continue_rest, dead, progress, now=house.now, lease_ms=LEASE)
    first = await reached(unlucky)
    house.later(LEASE)
    late, again = progress, await claimed(house)
    assert (again.id, again.attempts) == (dead.id, 1)
    done = await finished(house, again)
    assert late is not None
    with pytest.raises(Conflict):
        await house.db.write(enrollments.continue_rest, dead, late, now=house.now, lease_ms=LEASE)
    assert sorted([*first, *await reached(unlucky)]) == [
        "absent",
        "bounced",
        "canceled",
        "given",
        "held",
        "later",  # its own turn has come meanwhile
        "refused",
        "returned",
    ]
    assert (done.done, done.state) == (7, "done")


async def test_two_at_once_reach_everybody_once(unlucky: Unlucky):
    house = unlucky.house
    for _ in range(2):
        await begun(unlucky, EVERY, list_id=unlucky.list_id)
    both = [await claimed(house), await claimed(house)]
    done = await asyncio.gather(*(finished(house, job) for job in both))
    assert [job.state for job in done] == ["done", "done"]
    assert sum(job.done for job in done) == 7
    assert await reached(unlucky) == ["absent", "bounced", "canceled", "given", "held", "refused", "returned"]


async def test_what_fails_again_is_not_tried_a_third_time_by_the_same_job(unlucky: Unlucky):
    house = unlucky.house
    await begun(unlucky)
    await begun(unlucky)
    house.later(SECOND)
    first = await finished(house, await claimed(house))
    house.carrying.answer = lambda _: accepted("ok")
    assert len(await reached(unlucky)) == 3
    assert first.done == 3
    assert (await finished(house, await claimed(house))).done == 0


async def test_it_waits_while_dispatch_has_enough_to_do(unlucky: Unlucky, monkeypatch: pytest.MonkeyPatch):
    house = unlucky.house
    monkeypatch.setattr(resting, "STOCK", 1)
    await begun(unlucky)
    for _ in range(3):
        await finished(house, await claimed(house))
        assert await reached(unlucky)
        house.later(resting.WAIT)
    job = await house.db.write(jobs.claim, now=house.now, lease_ms=LEASE)
    assert job is None or (await finished(house, job)).state == "done"
    assert planner.STOCK == 4000


async def test_one_message_alone_can_be_sent_to_the_rest(unlucky: Unlucky):
    house = unlucky.house
    first, second = [row.id for row in await house.db.read(campaigns.messages, house.tenant_id, unlucky.campaign)]
    await begun(unlucky, EVERY, message_id=second)
    assert (await finished(house, await claimed(house))).done == 0
    await begun(unlucky, EVERY, message_id=first)
    assert (await finished(house, await claimed(house))).done == 6


async def test_a_campaign_that_does_not_run_is_sent_to_nobody(unlucky: Unlucky):
    house = unlucky.house
    await begun(unlucky)
    job = await claimed(house)
    await house.db.write(campaigns.pause, house.tenant_id, unlucky.campaign, now=house.now)
    done = await finished(house, job)
    assert (done.state, done.error) == ("failed", "Campaign is not active")
    with pytest.raises(Conflict):
        await begun(unlucky)
    await house.db.write(campaigns.activate, house.tenant_id, unlucky.campaign, now=house.now)
    assert await reached(unlucky) == ["later"]


async def test_who_is_not_there_is_named(unlucky: Unlucky):
    with pytest.raises(NotFound, match="Message"):
        await begun(unlucky, message_id=999)
    with pytest.raises(NotFound, match="List"):
        await begun(unlucky, list_id=999)
    with pytest.raises(Invalid, match="message"):
        await begun(unlucky, list_id=unlucky.list_id, message_id=1)
