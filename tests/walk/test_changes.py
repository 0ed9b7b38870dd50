"""What is asked of a message on its way: scheduled, canceled, sent again, deleted, while others send; and the counts stay true."""

import asyncio
import contextlib
import random

import pytest

from tests.support.recount import check, counted
from tests.support.walk import House, minutes
from tidings.clock import SECOND
from tidings.domain import campaigns, communications, contacts, counters, enrollments, lists
from tidings.domain.communications import Communication, Hit
from tidings.domain.counters import Tally
from tidings.errors import Conflict, NotFound
from tidings.message.outgoing import Outcome, Sealed, accepted, deferred, refused, unknown


async def change(house: House, what: str, communication_id: int) -> list[int]:
    """Cancels, resends or deletes; answers what is left of a deletion."""

    def unit(tx) -> list[int]:
        tally, left, ending = Tally(), [], []
        if what == "cancel":
            ending = communications.cancel(tx, house.tenant_id, communication_id, tally, author="ann", now=house.now)
        elif what == "resend":
            communications.resend(tx, house.tenant_id, communication_id, tally, author="ann", now=house.now)
        else:
            deleted = communications.delete(tx, house.tenant_id, [communication_id], tally, author="ann", now=house.now)
            left, ending = deleted.left, deleted.ending
        enrollments.complete(tx, house.tenant_id, [], ending, tally, now=house.now)
        counters.fold(tx, tally)
        return left

    return await house.db.write(unit)


async def assert_counts_are_true(house: House) -> None:
    await house.db.read(check, house.tenant_id)


async def one(house: House, communication_id: int) -> Communication:
    found = await house.db.read(communications.get, house.tenant_id, communication_id)
    assert found is not None
    return found


async def running(house: House, until) -> None:
    """A dispatcher under the house's clock until something is true, two seconds of real time at most."""
    stop = asyncio.Event()
    task = asyncio.create_task(house.dispatcher().run(stop))
    try:
        async with asyncio.timeout(2):
            while True:
                if await until():
                    break
                await asyncio.sleep(0.01)
    finally:
        stop.set()
        await task


async def test_a_scheduled_mail_waits_for_its_time_and_goes_out_within_two_seconds_of_it(house: House) -> None:
    made = await house.accept(scheduled_at=house.now + minutes(10))
    assert await house.dispatch() == []
    waiting = asyncio.Event()

    async def sent() -> bool:
        if not waiting.is_set():
            # the dispatcher has looked once and sleeps; nobody rings for a time that comes
            await asyncio.sleep(0.1)
            assert house.carrying.sent == []
            house.later(minutes(10))
            waiting.set()
        return (await one(house, made.id)).state == "sent"

    await running(house, sent)
    assert len(house.carrying.sent) == 1
    assert (await one(house, made.id)).sent_at == house.now


async def test_a_restart_that_slept_through_the_time_sends_it_at_once_and_once(house: House) -> None:
    made = await house.accept(scheduled_at=house.now + minutes(10))
    await house.dispatch()
    house.later(minutes(600))

    async def sent() -> bool:
        return (await one(house, made.id)).state == "sent"

    await running(house, sent)
    assert await house.dispatch() == []
    assert len(house.carrying.sent) == 1
    await assert_counts_are_true(house)


async def test_what_was_canceled_before_its_time_never_goes_out(house: House) -> None:
    made = await house.accept(scheduled_at=house.now + minutes(10))
    await change(house, "cancel", made.id)
    house.later(minutes(11))
    assert await house.dispatch() == []
    assert await house.states() == ["canceled"]
    await assert_counts_are_true(house)


async def test_canceling_and_sending_race_to_exactly_one_winner(house: House) -> None:
    made = [await house.accept(f"r{number}@example.com") for number in range(60)]
    canceled: list[int] = []

    async def cancel(communication_id: int) -> None:
        await asyncio.sleep(random.random() * 0.05)
        with contextlib.suppress(Conflict):
            await change(house, "cancel", communication_id)
            canceled.append(communication_id)

    # one batch of the dispatcher would be too quick for a race: several small ones, as of as many workers
    async def claim(lease: int) -> list[int]:
        mine: list[int] = []
        for _ in range(10):
            (queue, *_) = await house.db.read(communications.queues) or [None]
            if queue is None:
                break
            taken = await house.db.write(communications.claim, queue, lease=lease, until=house.now + minutes(1), now=house.now, limit=5)
            mine += [due.id for due in taken]
        return mine

    claims, *_ = await asyncio.gather(
        asyncio.gather(*(claim(lease) for lease in range(1, 4))), *(cancel(row.id) for row in made), *(cancel(row.id) for row in made)
    )
    claimed = [identity for mine in claims for identity in mine]
    assert len(claimed) == len(set(claimed))
    assert len(canceled) == len(set(canceled))
    assert set(claimed) & set(canceled) == set()
    states = {row.id: row.state for row in await house.rows()}
    assert {identity for identity, state in states.items() if state == "canceled"} == set(canceled)
    assert {identity for identity, state in states.items() if state == "in_process"} == set(claimed)
    await assert_counts_are_true(house)


async def test_of_a_dispatcher_at_work_and_a_cancelation_one_wins_and_what_is_canceled_stays(house: House) -> None:
    made = [await house.accept(f"r{number}@example.com") for number in range(40)]
    canceled: set[int] = set()

    async def cancel(communication_id: int) -> None:
        with contextlib.suppress(Conflict):
            await change(house, "cancel", communication_id)
            canceled.add(communication_id)

    sent, *_ = await asyncio.gather(house.dispatch(), *(cancel(row.id) for row in reversed(made)))
    assert {mail.communication_id for mail in sent} == {row.id for row in made} - canceled
    assert len(sent) + len(canceled) == len(made)
    assert set(await house.states()) <= {"sent", "canceled"}
    await assert_counts_are_true(house)


async def test_many_resends_at_once_are_one(house: House) -> None:
    made = await house.accept()
    await house.dispatch()
    answers = await asyncio.gather(*(change(house, "resend", made.id) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(answer, Conflict) for answer in answers) == 7
    assert len(await house.dispatch()) == 1
    assert (await one(house, made.id)).serial == 1
    await assert_counts_are_true(house)


async def test_a_second_sending_has_a_message_id_of_its_own_and_is_counted_once(house: House) -> None:
    made = await house.accept()
    (first,) = await house.dispatch()
    await house.db.write(communications.track, [Hit(house.tenant_id, made.id, "clicked", house.now, 0)])
    await assert_counts_are_true(house)
    house.later(minutes(90))
    await change(house, "resend", made.id)
    row = await one(house, made.id)
    assert (row.state, row.serial, row.attempts, row.error, row.sent_at, row.provider_message_id) == ("pending", 1, 0, None, None, None)
    await assert_counts_are_true(house)
    house.later(minutes(90))
    (second,) = await house.dispatch()
    assert first.message_id != second.message_id
    assert (await one(house, made.id)).sent_at == house.now
    counts = await house.counts()
    assert (counts.accepted, counts.sent, counts.opened, counts.clicked) == (1, 1, 1, 1)
    await assert_counts_are_true(house)
    assert [kind for _, kind in await house.interactions()] == ["sent", "opened", "clicked", "updated", "sent"]


async def test_what_failed_may_succeed_the_second_time(house: House) -> None:
    house.carrying.answer = lambda sealed: refused("no such user", "5.1.1")
    made = await house.accept()
    await house.dispatch()
    house.carrying.answer = lambda sealed: accepted("ok")
    await change(house, "resend", made.id)
    await house.dispatch()
    row = await one(house, made.id)
    assert (row.state, row.error) == ("sent", None)
    counts = await house.counts()
    assert (counts.sent, counts.failed) == (1, 0)
    await assert_counts_are_true(house)


async def test_sending_a_campaign_message_again_leaves_its_enrollment_as_it_is(house: House) -> None:
    contact = await house.contact("ann@example.com")
    campaign_id = await house.campaign(("email", 0), ("email", minutes(60)))
    (enrollment_id,) = await house.enroll(campaign_id, contact)
    await house.dispatch()
    (first,) = await house.rows()
    await change(house, "resend", first.id)
    assert len(await house.dispatch()) == 1
    walking = await house.db.read(enrollments.get, house.tenant_id, enrollment_id)
    assert walking is not None
    assert walking.completed_at is None
    house.later(minutes(60))
    await house.dispatch()
    ended = await house.db.read(enrollments.get, house.tenant_id, enrollment_id)
    assert ended is not None
    assert ended.completed_at == house.now
    house.later(minutes(1))
    await change(house, "resend", first.id)
    await house.dispatch()
    assert await house.db.read(enrollments.get, house.tenant_id, enrollment_id) == ended
    assert (await house.counts()).completed == 1
    assert await house.states() == ["sent", "sent"]
    await assert_counts_are_true(house)


@pytest.mark.parametrize("what", ["cancel", "delete"])
async def test_an_enrollment_whose_last_message_is_taken_back_is_complete(house: House, what: str) -> None:
    contact = await house.contact("ann@example.com")
    (enrollment_id,) = await house.enroll(await house.campaign(), contact)
    await house.planner.turn()
    (row,) = await house.rows()
    await change(house, what, row.id)
    ended = await house.db.read(enrollments.get, house.tenant_id, enrollment_id)
    assert ended is not None
    assert ended.completed_at == house.now
    assert await house.dispatch() == []
    await assert_counts_are_true(house)


async def test_nothing_is_sent_again_out_of_a_campaign_that_does_not_run_nor_to_who_denied_it(house: House) -> None:
    contact = await house.contact("ann@example.com")
    campaign_id = await house.campaign()
    await house.enroll(campaign_id, contact)
    await house.dispatch()
    (row,) = await house.rows()
    await house.db.write(campaigns.pause, house.tenant_id, campaign_id, now=house.now)
    with pytest.raises(Conflict, match="paused"):
        await change(house, "resend", row.id)
    await house.db.write(campaigns.activate, house.tenant_id, campaign_id, now=house.now)
    await house.db.write(
        lambda tx: tx.run("UPDATE contacts SET email_denied_at = 1, email_granted_at = NULL WHERE tenant_id = :t", t=house.tenant_id)
    )
    with pytest.raises(Conflict, match="consent"):
        await change(house, "resend", row.id)
    await house.db.write(lambda tx: tx.run("UPDATE contacts SET email_denied_at = NULL WHERE tenant_id = :t", t=house.tenant_id))
    await change(house, "resend", row.id)
    await house.db.write(campaigns.archive, house.tenant_id, campaign_id, now=house.now)
    assert await house.states() == ["canceled"]
    assert await house.dispatch() == []
    await assert_counts_are_true(house)


async def test_a_list_member_who_denied_it_since_is_not_written_to_again(house: House) -> None:
    made_list = await house.db.write(lists.create, house.tenant_id, "All", now=house.now)
    contact = await house.contact("ann@example.com")
    made = await house.accept(list_id=made_list.id, contact_id=contact)
    await house.dispatch()
    await house.db.write(lambda tx: tx.run("UPDATE contacts SET email_denied_at = 1 WHERE tenant_id = :t", t=house.tenant_id))
    assert await house.db.read(contacts.get, house.tenant_id, contact) is not None
    with pytest.raises(Conflict, match="consent"):
        await change(house, "resend", made.id)


async def test_what_is_deleted_while_it_waits_never_goes_out(house: House) -> None:
    made = await house.accept(scheduled_at=house.now + minutes(10))
    await house.accept("bob@example.com")
    assert await change(house, "delete", made.id) == []
    house.later(minutes(10))
    assert [mail.recipients for mail in await house.dispatch()] == [("bob@example.com",)]
    await assert_counts_are_true(house)
    with pytest.raises(NotFound):
        await change(house, "cancel", made.id)


async def test_what_is_being_sent_when_it_is_deleted_is_not_tried_a_second_time(house: House) -> None:
    house.carrying.gate = asyncio.Event()
    house.carrying.answer = lambda sealed: deferred("busy")
    made = await house.accept()
    stop = asyncio.Event()
    task = asyncio.create_task(house.dispatcher().run(stop))
    await asyncio.wait_for(house.carrying.reached.wait(), 5)
    with pytest.raises(Conflict, match="being sent"):
        await change(house, "cancel", made.id)
    assert await change(house, "delete", made.id) == [made.id]
    house.carrying.gate.set()
    left = [made.id]
    while left:
        await asyncio.sleep(0.01)
        left = await change(house, "delete", made.id)
    stop.set()
    await task
    house.later(minutes(600))
    assert await house.dispatch() == []
    assert len(house.carrying.sent) == 1
    assert await house.rows() == []
    assert await house.interactions() == []
    assert await house.db.read(counted, house.tenant_id) == {}


async def test_an_open_that_comes_before_we_know_it_sent_is_counted_with_the_sending(house: House) -> None:
    house.carrying.answer = lambda sealed: unknown("no answer")
    made = await house.accept()
    await house.dispatch()
    await house.db.write(communications.track, [Hit(house.tenant_id, made.id, "opened", house.now)])
    house.later(minutes(120))
    house.carrying.answer = lambda sealed: accepted("ok")
    await house.dispatch()
    await assert_counts_are_true(house)


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_done_in_whatever_order_the_counters_equal_a_recount(house: House, seed: int) -> None:
    chance = random.Random(seed)
    answers = [lambda sealed: accepted("ok"), lambda sealed: refused("no"), lambda sealed: unknown("lost"), lambda sealed: deferred("busy")]

    def answer(sealed: Sealed) -> Outcome:
        return chance.choice(answers)(sealed)

    house.carrying.answer = answer
    people = [await house.contact(f"p{number}@example.com") for number in range(4)]
    await house.enroll(await house.campaign(("email", 0), ("email", minutes(30))), *people)
    for number in range(6):
        await house.accept(f"x{number}@example.com", type=chance.choice(["OFFERTE", "FACTUUR"]))
    for _ in range(40):
        house.later(chance.randrange(minutes(50)))
        rows = await house.rows()
        action = chance.choice(["dispatch", "open", "click", "cancel", "resend", "resend", "delete", "unsubscribe"])
        row = chance.choice(rows) if rows else None
        if action == "dispatch" or row is None:
            await house.dispatch()
        elif action in {"open", "click"}:
            kind, link = ("opened", None) if action == "open" else ("clicked", chance.randrange(2))
            await house.db.write(
                communications.track,
                [Hit(house.tenant_id, row.id, kind, house.now + chance.choice([0, SECOND]), link, bot=chance.random() < 0.4)] * 2,
            )
        elif action == "unsubscribe":
            await house.db.write(enrollments.unsubscribe, house.tenant_id, row.id, now=house.now)
        elif action != "delete" or chance.random() < 0.4:
            with contextlib.suppress(Conflict):
                await change(house, action, row.id)
        await assert_counts_are_true(house)
