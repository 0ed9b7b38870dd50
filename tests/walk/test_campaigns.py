"""Enrollments walking through campaigns: each step once, in its time, to those who may get it."""

import asyncio

import pytest

from tests.support.walk import House, minutes, text_of
from tidings.clock import DAY
from tidings.database import Tx
from tidings.delivery import planner
from tidings.domain import campaigns, communications, enrollments, jobs
from tidings.domain.counters import Tally
from tidings.errors import Invalid, NotFound
from tidings.message.outgoing import accepted, deferred

SECOND_STEP = ("sms", minutes(1))


async def test_three_steps_come_one_after_the_other_each_in_its_time(house: House) -> None:
    campaign = await house.campaign(("email", 0), SECOND_STEP, ("email", minutes(2)))
    (enrollment,) = await house.enroll(campaign, await house.contact("ann@example.com", "+41791234567"))
    assert [text_of(sent).strip() for sent in await house.dispatch()] == ["Step 1"]
    assert await house.dispatch() == []
    house.later(minutes(1))
    assert [text_of(sent).strip() for sent in await house.dispatch()] == ["Step 2"]
    assert (await house.db.read(enrollments.get, house.tenant_id, enrollment)).completed_at is None  # type: ignore[union-attr]
    house.later(minutes(2))
    assert [text_of(sent).strip() for sent in await house.dispatch()] == ["Step 3"]
    ended = await house.db.read(enrollments.get, house.tenant_id, enrollment)
    assert ended is not None
    assert (ended.completed_at, ended.position, ended.due_at) == (house.now, 3, None)
    counts = await house.counts()
    assert (counts.accepted, counts.sent, counts.enrolled, counts.completed) == (3, 3, 1, 1)


async def test_an_enrollment_ends_with_whichever_of_its_messages_is_settled_last(house: House) -> None:
    campaign = await house.campaign(("email", 0), ("sms", 0))
    (enrollment,) = await house.enroll(campaign, await house.contact("ann@example.com", "+41791234567"))
    while await house.planner.turn():
        pass
    queues = {queue.channel: queue for queue in await house.db.read(communications.queues)}
    claimed = {
        channel: await house.db.write(communications.claim, queue, lease=number, until=house.now + 1, now=house.now, limit=9)
        for number, (channel, queue) in enumerate(queues.items(), 1)
    }

    async def settle(channel: str, lease: int) -> int:
        def unit(tx: Tx) -> int:
            sent = [communications.Settled(due.id, "sent") for due in claimed[channel]]
            result = communications.settle(tx, house.tenant_id, lease, sent, Tally(), provider="told", now=house.now)
            return enrollments.complete(tx, house.tenant_id, result.ended, result.ending, Tally(), now=house.now)

        return await house.db.write(unit)

    # the last step's message is through first, and both may be settled at the same moment by two workers
    assert sum(await asyncio.gather(settle("sms", list(queues).index("sms") + 1), settle("email", list(queues).index("email") + 1))) == 1
    ended = await house.db.read(enrollments.get, house.tenant_id, enrollment)
    assert ended is not None
    assert ended.completed_at == house.now


async def test_who_has_no_phone_gets_the_mails_and_a_record_of_why_no_sms(house: House) -> None:
    campaign = await house.campaign(("email", 0), SECOND_STEP)
    (enrollment,) = await house.enroll(campaign, await house.contact("ann@example.com"))
    await house.dispatch()
    house.later(minutes(1))
    assert await house.dispatch() == []
    assert [(row.state, row.error) for row in await house.rows()] == [("sent", None), ("failed", "The contact has no phone number.")]
    ended = await house.db.read(enrollments.get, house.tenant_id, enrollment)
    assert ended is not None
    assert ended.completed_at == house.now


async def test_who_refused_mail_gets_none(house: House) -> None:
    campaign = await house.campaign()
    await house.enroll(campaign, await house.contact("ann@example.com", email_consent="denied"))
    assert await house.dispatch() == []
    assert await house.states() == ["suppressed"]


async def test_the_same_contact_is_taken_again_only_after_the_window(house: House) -> None:
    campaign = await house.campaign(reenroll_after=30 * DAY)
    ann = await house.contact("ann@example.com")
    await house.enroll(campaign, ann)
    await house.dispatch()
    house.later(30 * DAY - 1)
    with pytest.raises(Invalid, match="recently"):
        await house.enroll(campaign, ann)
    house.later(1)
    await house.enroll(campaign, ann)
    assert len(await house.dispatch()) == 1


async def test_a_deleted_enrollment_does_not_count_for_the_window(house: House) -> None:
    campaign = await house.campaign()
    ann = await house.contact("ann@example.com")
    (first,) = await house.enroll(campaign, ann)
    await house.db.write(enrollments.delete, house.tenant_id, first, now=house.now)
    await house.enroll(campaign, ann)
    counts = await house.counts()
    assert (counts.enrolled, counts.completed) == (1, 0)


async def test_many_enrolling_one_contact_at_once_make_one_enrollment(house: House) -> None:
    campaign = await house.campaign()
    ann = await house.contact("ann@example.com")
    tries = await asyncio.gather(
        *(house.db.write(enrollments.enroll, house.tenant_id, campaign, ann, now=house.now) for _ in range(8)), return_exceptions=True
    )
    assert sum(isinstance(result, enrollments.Enrollment) for result in tries) == 1
    assert all(isinstance(result, enrollments.Enrollment | Invalid) for result in tries)


async def test_unknown_and_idle_campaigns_and_unknown_contacts_are_told_apart(house: House) -> None:
    ann = await house.contact("ann@example.com")
    draft = await house.campaign(activate=False)
    active = await house.campaign()
    with pytest.raises(NotFound, match="Campaign not found"):
        await house.enroll(999, ann)
    with pytest.raises(NotFound, match="Contact not found"):
        await house.enroll(active, 999)
    with pytest.raises(Invalid, match="not active"):
        await house.enroll(draft, ann)


async def test_another_tenants_contact_cannot_be_enrolled(house: House) -> None:
    other = await House(house.db).settle_in("other")
    stranger = await other.contact("eve@example.com")
    campaign = await house.campaign()
    with pytest.raises(NotFound, match="Contact not found"):
        await house.enroll(campaign, stranger)


async def test_pausing_holds_what_is_planned_and_resuming_sends_it(house: House) -> None:
    campaign = await house.campaign()
    await house.enroll(campaign, *[await house.contact(f"p{number}@example.com") for number in range(3)])
    await house.planner.turn()
    await house.db.write(campaigns.pause, house.tenant_id, campaign, now=house.now)
    assert await house.dispatch() == []
    house.later(minutes(60))
    assert await house.dispatch() == []
    await house.db.write(campaigns.activate, house.tenant_id, campaign, now=house.now)
    assert len(await house.dispatch()) == 3


async def test_what_was_being_sent_when_its_campaign_was_paused_is_not_tried_again_before_it_resumes(house: House) -> None:
    house.carrying.answer = lambda sealed: deferred("later")
    house.carrying.gate = asyncio.Event()
    campaign = await house.campaign()
    await house.enroll(campaign, await house.contact("ann@example.com"))
    await house.planner.turn()
    stop = asyncio.Event()
    running = asyncio.create_task(house.dispatcher().run(stop))
    await house.carrying.reached.wait()
    await house.db.write(campaigns.pause, house.tenant_id, campaign, now=house.now)
    house.carrying.gate.set()
    stop.set()
    await running
    house.later(minutes(60))
    (queue,) = await house.db.read(communications.queues)
    assert await house.db.write(communications.claim, queue, lease=1, until=house.now, now=house.now, limit=9) == []
    house.carrying.answer = lambda sealed: accepted("ok")
    await house.db.write(campaigns.activate, house.tenant_id, campaign, now=house.now)
    assert len(await house.dispatch()) == 1
    assert await house.states() == ["sent"]


async def test_who_refuses_mail_while_the_campaign_is_paused_gets_none_when_it_goes_on(house: House) -> None:
    campaign = await house.campaign()
    await house.enroll(campaign, await house.contact("ann@example.com"))
    await house.planner.turn()
    await house.db.write(campaigns.pause, house.tenant_id, campaign, now=house.now)
    await house.contact("ann@example.com", email_consent="denied")
    await house.db.write(campaigns.activate, house.tenant_id, campaign, now=house.now)
    assert await house.dispatch() == []
    assert [(row.state, row.error) for row in await house.rows()] == [("suppressed", "ann@example.com must not be written to: no consent")]
    # what is no campaign's is not a matter of consent: an offer that was asked for, a password
    await house.accept("ann@example.com")
    assert len(await house.dispatch()) == 1


async def test_messages_to_be_tried_again_later_keep_nobody_else_waiting(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "STOCK", 10)
    monkeypatch.setattr(planner, "CHUNK", 5)
    house.carrying.answer = lambda sealed: deferred("mailbox full")
    campaign = await house.campaign()
    people = [await house.contact(f"p{number}@example.com") for number in range(30)]
    await house.enroll(campaign, *people)
    for _ in range(4):
        await house.dispatch()
    assert len(house.carrying.sent) == 30


async def test_deleting_an_enrollment_cancels_what_is_pending(house: House) -> None:
    campaign = await house.campaign(("email", 0), ("email", 0))
    (enrollment,) = await house.enroll(campaign, await house.contact("ann@example.com"))
    await house.planner.turn()
    assert await house.db.write(enrollments.delete, house.tenant_id, enrollment, now=house.now) == 0
    assert await house.dispatch() == []
    assert set(await house.states()) == {"canceled"}
    with pytest.raises(NotFound):
        await house.db.write(enrollments.delete, house.tenant_id, enrollment, now=house.now)


async def test_deleting_and_dispatching_at_once_has_one_winner(house: House) -> None:
    campaign = await house.campaign()
    people = [await house.contact(f"p{number}@example.com") for number in range(30)]
    ids = await house.enroll(campaign, *people)
    await house.planner.turn()
    stop = asyncio.Event()
    dispatching = asyncio.create_task(house.dispatcher().run(stop))
    at_204: dict[int, set[int]] = {}
    for enrollment in ids:
        left = await house.db.write(enrollments.delete, house.tenant_id, enrollment, now=house.now)
        while left:
            left = await house.db.read(communications.in_process, house.tenant_id, enrollment)
        at_204[enrollment] = {sent.communication_id for sent in house.carrying.sent}
    stop.set()
    await dispatching
    went_out = {sent.communication_id for sent in house.carrying.sent}
    rows = await house.rows()
    assert {row.id for row in rows if row.state == "sent"} == went_out
    assert all(row.state in {"sent", "canceled"} for row in rows)
    for row in rows:
        assert row.enrollment_id is not None
        # nothing of a deleted enrollment went out after the deletion was answered
        assert (row.id in went_out) == (row.id in at_204[row.enrollment_id])


async def test_an_unsubscribe_ends_the_enrollment_and_blocks_the_address(house: House) -> None:
    campaign = await house.campaign(("email", 0), ("email", minutes(1)))
    (enrollment,) = await house.enroll(campaign, await house.contact("Ann@example.com"))
    (first,) = await house.dispatch()
    for _ in range(2):
        assert await house.db.write(enrollments.unsubscribe, house.tenant_id, first.communication_id, now=house.now)
    house.later(minutes(5))
    assert await house.dispatch() == []
    ended = await house.db.read(enrollments.get, house.tenant_id, enrollment)
    assert ended is not None
    assert (ended.stopped_by, ended.completed_at is not None) == ("unsubscribe", True)
    assert (await house.counts()).unsubscribed == 1
    assert (await house.accept("ann@example.com")).state == "suppressed"


async def test_a_whole_list_is_enrolled_by_a_job_that_goes_on_where_it_was(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "ENROLL", 10)
    campaign = await house.campaign()
    people = [await house.contact(f"p{number}@example.com") for number in range(45)]
    await house.enroll(campaign, *people[:5])
    made = await house.db.write(jobs.create, house.tenant_id, "enroll", f'{{"campaign_id": {campaign}}}', total=45, now=house.now)
    job = await house.db.write(jobs.claim, now=house.now, lease_ms=1000)
    assert job is not None
    stop = asyncio.Event()
    stop.set()
    await planner.run_enroll(house.db, house.clock, job, stop)
    again = await house.db.write(jobs.claim, now=house.now, lease_ms=1000)
    assert again is not None
    await planner.run_enroll(house.db, house.clock, again, asyncio.Event())
    done = await house.db.read(jobs.get, house.tenant_id, made.id)
    assert done is not None
    assert (done.state, done.done, done.rejected) == ("done", 40, 5)
    assert len(await house.dispatch()) == 45


async def test_a_job_on_a_campaign_that_takes_nobody_fails_with_the_sentence(house: House) -> None:
    campaign = await house.campaign(activate=False)
    await house.db.write(jobs.create, house.tenant_id, "enroll", f'{{"campaign_id": {campaign}}}', total=0, now=house.now)
    job = await house.db.write(jobs.claim, now=house.now, lease_ms=1000)
    assert job is not None
    await planner.run_enroll(house.db, house.clock, job, asyncio.Event())
    failed = await house.db.read(jobs.get, house.tenant_id, job.id)
    assert failed is not None
    assert (failed.state, failed.error) == ("failed", "Campaign is not active")
