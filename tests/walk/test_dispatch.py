"""The walk of one message, end to end over a real database: what is accepted goes out, or its record says why not."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.support.walk import House, minutes, text_of
from tidings.domain import carriers, communications, enrollments, suppressions, tenants
from tidings.domain.counters import Tally
from tidings.message.outgoing import Address, Outcome, Sealed, accepted, deferred, paused, refused, unknown
from tidings.providers.base import Report


async def test_an_accepted_mail_goes_out_and_is_counted(house: House) -> None:
    made = await house.accept("ann@example.com", to=(Address("ann@example.com", "Ann Lee"),))
    (mail,) = await house.dispatch()
    assert mail.recipients == ("ann@example.com",)
    assert "Hello Ann" in text_of(mail)
    (row,) = await house.rows()
    assert (row.id, row.state, row.sent_at, row.attempts) == (made.id, "sent", house.now, 1)
    counts = await house.counts()
    assert (counts.accepted, counts.sent, counts.failed) == (1, 1, 0)
    assert await house.interactions() == [(made.id, "sent")]


async def test_a_deferred_mail_waits_longer_each_time_and_is_given_up_in_the_end(house: House) -> None:
    house.carrying.answer = lambda sealed: deferred("mailbox busy", "4.2.1")
    await house.accept()
    waits: list[int] = []
    while not (await house.dispatch() and (await house.rows())[0].state == "failed"):
        (row,) = await house.rows()
        assert row.state == "pending"
        due = await house.db.read(lambda tx: tx.value("SELECT due_at FROM communications WHERE tenant_id = :t", t=house.tenant_id))
        waits.append(due - house.now)
        house.now = due
    assert waits == sorted(waits)
    assert waits[0] == minutes(1)
    (row,) = await house.rows()
    assert row.error == "Given up after 10 attempts: mailbox busy (4.2.1)"
    assert (await house.counts()).failed == 1


async def test_a_refused_mail_fails_with_the_reason_and_is_not_tried_again(house: House) -> None:
    house.carrying.answer = lambda sealed: refused("no such user", "5.1.1")
    await house.accept()
    assert len(await house.dispatch()) == 1
    house.later(minutes(600))
    assert await house.dispatch() == []
    assert [(row.state, row.error) for row in await house.rows()] == [("failed", "no such user (5.1.1)")]


@pytest.mark.parametrize("answer", [refused("no\0 way \udcff", "5\0"), accepted("id\0", rejected=(("b@example.com", "no\0"),))])
async def test_a_batch_is_not_lost_for_a_character_that_a_database_cannot_keep(house: House, answer: Outcome) -> None:
    first = await house.accept()
    await house.accept()
    house.carrying.answer = lambda sealed: answer if sealed.communication_id == first.id else accepted("ok")
    await house.dispatch()
    odd, plain = await house.rows()
    assert (odd.state, plain.state) == ("failed" if answer.kind == "refused" else "sent", "sent")
    assert (odd.error, odd.provider_message_id) in {("no way ? (5)", None), ("Refused for some recipients: b@example.com: no", "id")}


async def test_the_reason_of_a_pause_may_hold_any_character(house: House) -> None:
    house.carrying.answer = lambda sealed: paused("wrong\0")
    await house.accept()
    stop = asyncio.Event()
    running = asyncio.create_task(house.dispatcher().run(stop))
    await house.carrying.reached.wait()
    stop.set()
    await running
    carrier = await house.db.read(carriers.chosen, house.tenant_id, "email")
    assert carrier is not None
    assert carrier.paused_reason == "wrong"


async def test_a_provider_that_cannot_work_is_paused_and_burns_no_attempt(house: House) -> None:
    house.carrying.answer = lambda sealed: paused("wrong password", retry_after=minutes(1))
    for number in range(3):
        await house.accept(f"p{number}@example.com")
    await house.dispatch()
    assert [(row.state, row.attempts) for row in await house.rows()] == [("pending", 0)] * 3
    reason = await house.db.read(
        lambda tx: tx.value("SELECT paused_reason FROM providers WHERE tenant_id = :t AND channel = 'email'", t=house.tenant_id)
    )
    assert reason == "wrong password"
    house.carrying.answer = lambda sealed: accepted("queued")
    house.later(minutes(1))
    await house.dispatch()
    assert await house.states() == ["sent"] * 3
    assert (
        await house.db.read(
            lambda tx: tx.value("SELECT paused_at FROM providers WHERE tenant_id = :t AND channel = 'email'", t=house.tenant_id)
        )
        is None
    )


async def test_an_unknown_outcome_is_sent_again_with_the_same_message_id(house: House) -> None:
    house.carrying.answer = lambda sealed: unknown("no answer")
    await house.accept()
    (first,) = await house.dispatch()
    assert await house.states() == ["unknown"]
    house.carrying.answer = lambda sealed: accepted("queued")
    house.later(minutes(2))
    (second,) = await house.dispatch()
    assert second.message_id == first.message_id
    assert await house.states() == ["sent"]


async def test_a_tenant_may_have_unknown_messages_held(house: House) -> None:
    tenant = await house.db.read(tenants.get, house.tenant_id)
    await house.db.write(tenants.update, tenant, unknown_rule="hold", now=house.now)
    house.carrying.answer = lambda sealed: unknown("no answer")
    await house.accept()
    await house.dispatch()
    house.later(minutes(10_000))
    assert await house.dispatch() == []
    assert await house.states() == ["unknown"]
    house.carrying.answer = lambda sealed: accepted("ok")
    assert await house.db.write(communications.release, house.tenant_id, now=house.now) == 1
    assert len(await house.dispatch()) == 1
    assert await house.states() == ["sent"]


async def test_what_a_dead_worker_held_is_unknown_and_due_again(house: House) -> None:
    made = await house.accept()
    (queue,) = await house.db.read(communications.queues)
    taken = await house.db.write(communications.claim, queue, lease=7, until=house.now + minutes(1), now=house.now, limit=10)
    assert [due.id for due in taken] == [made.id]
    assert await house.db.write(communications.sweep, queue, now=house.now) == 0
    house.later(minutes(1))
    assert await house.db.write(communications.sweep, queue, now=house.now) == 1
    assert await house.states() == ["unknown"]
    assert len(await house.dispatch()) == 1
    assert await house.states() == ["sent"]


async def test_what_ends_one_worker_after_the_other_is_held_in_the_end(house: House) -> None:
    await house.accept()
    (queue,) = await house.db.read(communications.queues)
    claims = 0
    while await house.db.write(communications.claim, queue, lease=claims, until=house.now, now=house.now, limit=9):
        claims += 1
        assert await house.db.write(communications.sweep, queue, now=house.now) == 1
    assert claims == 12
    assert await house.states() == ["unknown"]
    assert await house.db.write(communications.release, house.tenant_id, now=house.now) == 1
    await house.dispatch()
    assert await house.states() == ["sent"]


async def test_what_cannot_be_recorded_any_more_is_not_sent_any_more(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("a bug")

    sent: list[int] = []
    begun = asyncio.Event()

    async def send(batch: Sequence[Sealed], report: Report) -> None:
        for sealed in batch:
            sent.append(sealed.communication_id)
            begun.set()
            report(sealed.communication_id, accepted("ok"))
            await asyncio.sleep(0.25)

    monkeypatch.setattr(communications, "settle", broken)
    monkeypatch.setattr(house.carrying, "send", send)
    for _ in range(5):
        await house.accept()
    stop = asyncio.Event()
    running = asyncio.create_task(house.dispatcher().run(stop))
    await begun.wait()
    stop.set()
    await running
    await asyncio.sleep(0.5)
    assert len(sent) == 1


async def test_a_worker_that_comes_back_too_late_changes_nothing(house: House) -> None:
    made = await house.accept()
    (queue,) = await house.db.read(communications.queues)
    await house.db.write(communications.claim, queue, lease=7, until=house.now, now=house.now, limit=10)
    await house.db.write(communications.sweep, queue, now=house.now)
    await house.db.write(communications.claim, queue, lease=8, until=house.now, now=house.now, limit=10)
    late = communications.Settled(made.id, "failed", error="late")
    result = await house.db.write(communications.settle, house.tenant_id, 7, [late], Tally(), provider="x", now=house.now)
    assert result.settled == 0
    assert await house.states() == ["in_process"]
    assert (await house.counts()).failed == 0


async def test_no_message_is_claimed_twice_by_many_claiming_at_once(house: House) -> None:
    for number in range(40):
        await house.accept(f"p{number}@example.com")
    (queue,) = await house.db.read(communications.queues)
    batches = await asyncio.gather(
        *(house.db.write(communications.claim, queue, lease=n, until=house.now + 1, now=house.now, limit=10) for n in range(1, 9))
    )
    claimed = [due.id for batch in batches for due in batch]
    assert len(claimed) == len(set(claimed)) == 40


async def test_an_instant_message_overtakes_campaign_traffic(house: House) -> None:
    campaign = await house.campaign()
    people = [await house.contact(f"p{number}@example.com") for number in range(5)]
    await house.enroll(campaign, *people)
    while await house.planner.turn():
        pass
    await house.accept("urgent@example.com")
    sent = await house.dispatch()
    assert sent[0].recipients == ("urgent@example.com",)
    assert len(sent) == 6


async def test_tenants_are_served_in_turn(house: House) -> None:
    for number in range(250):
        await house.accept(f"p{number}@example.com")
    other = House(house.db)
    await other.settle_in("other")
    other.carrying = house.carrying
    await other.accept("only@example.com")
    sent = [mail.tenant_id for mail in await house.dispatch()]
    assert sent.index(other.tenant_id) <= 100


async def test_an_unsubscribe_between_planning_and_sending_is_heeded(house: House) -> None:
    campaign = await house.campaign()
    await house.enroll(campaign, await house.contact("ann@example.com"))
    await house.planner.turn()
    await house.db.write(
        suppressions.add, house.tenant_id, "email", "ann@example.com", "unsubscribed", detail="", communication_id=None, now=house.now
    )
    assert await house.dispatch() == []
    assert [(row.state, row.error) for row in await house.rows()] == [
        ("suppressed", "ann@example.com must not be written to: unsubscribed")
    ]


async def test_a_suppressed_copy_is_left_out_while_the_others_get_theirs(house: House) -> None:
    await house.db.write(
        suppressions.add, house.tenant_id, "email", "bob@example.com", "bounced", detail="", communication_id=None, now=house.now
    )
    await house.accept(to=(Address("ann@example.com"),), cc=(Address("Bob@example.com"),), bcc=(Address("eve@example.com"),))
    (mail,) = await house.dispatch()
    assert sorted(mail.recipients) == ["ann@example.com", "eve@example.com"]
    assert b"eve@example.com" not in mail.raw
    assert [(row.state, row.error) for row in await house.rows()] == [("sent", "bob@example.com must not be written to")]


@pytest.mark.parametrize(
    "body",
    ["{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}", "{{ 'x' * 99999999 }}{{ missing.deep.er }}"],
)
async def test_a_template_that_runs_wild_fails_alone(house: House, body: str) -> None:
    await house.accept("bad@example.com", content=house.content(body=f"<p>{body}</p>"))
    await house.accept("good@example.com")
    sent = await house.dispatch()
    assert [mail.recipients for mail in sent] == [("good@example.com",)]
    states = await house.rows()
    assert [row.state for row in states] == ["failed", "sent"]
    assert "template" in (states[0].error or "")


async def test_a_stopping_worker_finishes_what_is_in_flight(house: House) -> None:
    house.carrying.gate = asyncio.Event()
    await house.accept()
    stop = asyncio.Event()
    running = asyncio.create_task(house.dispatcher().run(stop))
    await house.carrying.reached.wait()
    stop.set()
    assert not running.done()
    house.carrying.gate.set()
    await running
    assert await house.states() == ["sent"]


async def test_deleting_an_enrollment_while_its_message_is_being_sent_keeps_it_from_being_tried_again(house: House) -> None:
    house.carrying.gate = asyncio.Event()
    house.carrying.answer = lambda sealed: deferred("later")
    campaign = await house.campaign()
    (enrollment,) = await house.enroll(campaign, await house.contact("ann@example.com"))
    await house.planner.turn()
    stop = asyncio.Event()
    running = asyncio.create_task(house.dispatcher().run(stop))
    await house.carrying.reached.wait()
    assert await house.db.write(enrollments.delete, house.tenant_id, enrollment, now=house.now) == 1
    house.carrying.gate.set()
    stop.set()
    await running
    assert await house.states() == ["canceled"]


async def test_unknown_tenants_rule_is_refused_by_the_schema(house: House) -> None:
    with pytest.raises(Exception, match=r"(?i)check"):
        await house.db.write(lambda tx: tx.run("UPDATE tenants SET unknown_rule = 'maybe' WHERE id = :t", t=house.tenant_id))
    assert (await house.db.read(tenants.get, house.tenant_id)).unknown_rule == "resend"
