"""Endpoints that are dead, or slow, or refuse some: left alone, switched off, and nobody else the worse for it."""

import asyncio
import json

import pytest

from tests.support.receiving import OK, Office, Receiver, receiving, status
from tidings import ids
from tidings.clock import DAY, HOUR, SECOND
from tidings.domain import endpoints
from tidings.domain.endpoints import Due, Endpoint, record
from tidings.errors import Conflict
from tidings.webhooks import post
from tidings.webhooks.rules import Answer, Result


async def hanging_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def test_gone_switches_it_off_at_once_and_what_waited_can_be_replayed(office: Office, receiver: Receiver):
    endpoint, _ = await office.subscribe(receiver.url)
    async with receiving() as other:
        await office.subscribe(other.url, "disabled")
        receiver.plan = [status(410)]
        one = await office.walk.accept()
        await office.happened(one, "sent", "delivered", "opened")
        await office.poster.turn()
        assert len(receiver.got) == 1
        (told,) = [json.loads(each.body) for each in other.got]
    off = await office.endpoint(endpoint)
    assert (off.disabled_at, off.disabled_why) == (office.now, "It answered 410: it is gone for good")
    assert told["type"] == "webhook.disabled"
    assert told["data"] == {"webhook_id": ids.spell("webhook", endpoint.id), "url": receiver.url, "reason": off.disabled_why}
    waited = await office.log(endpoint, state="failed")
    assert [row.error for row in waited] == [f"The webhook was switched off before this was delivered ({off.disabled_why})"] * 3
    await office.happened(one, "clicked")
    assert len(await office.log(endpoint)) == 3, "nothing is laid for one that is off"
    with pytest.raises(Conflict):
        await office.db.write(endpoints.replay, office.tenant_id, endpoint.id, waited[0].id, now=office.now)
    await office.db.write(endpoints.enable, office.tenant_id, endpoint.id, now=office.now)
    assert await office.db.write(endpoints.replay_failed, office.tenant_id, endpoint.id, endpoints.Range(), now=office.now) == 3
    await office.poster.turn()
    assert [json.loads(each.body)["type"].partition(".")[2] for each in receiver.got[1:]] == ["sent", "delivered", "opened"]


async def test_what_waits_for_an_endpoint_that_is_off_is_given_up_in_portions(
    office: Office, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(record, "PORTION", 2)
    endpoint, _ = await office.subscribe(receiver.url)
    sound, _ = await office.subscribe(receiver.url)
    await office.happened(await office.walk.accept(), "sent", "delivered", "opened")
    await office.db.write(endpoints.disable, office.tenant_id, endpoint.id, "Enough", now=office.now)
    assert [row.kind for row in await office.log(endpoint, state="waiting")] == ["opened"]
    await office.poster.give_up()
    await office.poster.give_up()
    assert {row.error for row in await office.log(endpoint)} == {"The webhook was switched off before this was delivered (Enough)"}
    assert await office.states(endpoint) == ["failed"] * 3
    await office.poster.turn()
    assert await office.states(sound) == ["delivered"] * 3
    assert len(receiver.got) == 3


async def test_a_dead_endpoint_takes_nothing_from_others_and_is_asked_little(office: Office, receiver: Receiver):
    async with receiving() as dead:
        dead.otherwise = hanging_up
        lost, _ = await office.subscribe(dead.url)
        well, _ = await office.subscribe(receiver.url)
        all_of_them = [await office.walk.accept(f"p{number}@example.com") for number in range(60)]
        for each in all_of_them:
            await office.happened(each, "sent", "delivered")
        await office.poster.turn()
        assert await office.states(well) == ["delivered"] * 120
        assert len(dead.got) <= post.AT_ONCE + post.STREAK
        asked = len(dead.got)
        assert (await office.endpoint(lost)).failures == 1
        for rest in (5, 10, 20):
            office.now += rest * SECOND
            await office.poster.turn()
        assert len(dead.got) == asked + 3, "one request a time, each time after twice as long"
        dead.otherwise = OK
        office.now += 40 * SECOND
        await office.poster.turn()
        assert await office.states(lost) == ["delivered"] * 120, "what waited for a retry waits no longer"
        assert 1 < receiver.most <= post.AT_ONCE
    healed = await office.endpoint(lost)
    assert (healed.failures, healed.failing_since, healed.error) == (0, None, None)


async def test_what_alone_is_refused_keeps_its_days_though_others_are_taken(office: Office, monkeypatch: pytest.MonkeyPatch):
    endpoint, _ = await office.subscribe("http://127.0.0.1:1/")
    refused = await office.walk.accept("refused@example.com")
    taken = await office.walk.accept("taken@example.com")

    async def carry(_: Endpoint, due: Due) -> Result:
        return Result(due, office.now, Answer(500 if due.communication_id == refused.id else 200, None, 1))

    monkeypatch.setattr(office.courier, "carry", carry)
    await office.happened(refused, "sent")
    for _ in range(12):
        await office.poster.turn()
        office.now += 5 * SECOND
        await office.poster.turn()
        office.now += 20 * SECOND
        await office.happened(taken, "opened")
    await office.poster.turn()
    first = (await office.log(endpoint))[0]
    assert (first.state, first.attempts) == ("waiting", 5)
    assert first.due_at is not None
    assert first.due_at - office.now > HOUR
    assert await office.states(endpoint) == ["waiting"] + ["delivered"] * 12


async def test_while_one_endpoint_takes_its_time_the_others_get_theirs(office: Office, receiver: Receiver):
    async with receiving() as slow:
        answered = asyncio.Event()

        async def waiting(writer: asyncio.StreamWriter) -> None:
            await answered.wait()
            writer.write(OK)

        slow.otherwise = waiting
        late, _ = await office.subscribe(slow.url)
        await office.subscribe(receiver.url)
        for number in range(20):
            await office.happened(await office.walk.accept(f"p{number}@example.com"), "sent")
        turn = asyncio.create_task(office.poster.turn())
        async with asyncio.timeout(20):
            while len(receiver.got) < 20:
                receiver.arrived.clear()
                await receiver.arrived.wait()
        assert len(slow.got) <= post.AT_ONCE, "no more at a time, however much is due"
        answered.set()
        await turn
        assert await office.states(late) == ["delivered"] * 20


async def test_a_tenant_whose_endpoints_are_all_slow_leaves_room_for_others(
    office: Office, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(post, "SOUND", 5)
    monkeypatch.setattr(post, "SHARE", 2)
    answered, stop = asyncio.Event(), asyncio.Event()

    async def waiting(writer: asyncio.StreamWriter) -> None:
        await answered.wait()
        writer.write(OK)

    other = await Office(office.db).settle_in("other")
    async with receiving() as slow:
        slow.otherwise = waiting
        for _ in range(6):
            await office.subscribe(slow.url)
        await other.subscribe(receiver.url)
        for each in (office, other):
            await each.happened(await each.walk.accept(), "sent")
        running = asyncio.create_task(office.poster.run(stop))
        try:
            async with asyncio.timeout(10):
                await receiver.arrived.wait()
        finally:
            answered.set()
            stop.set()
            await running
            await other.close()


async def test_five_days_of_nothing_but_failures_switch_it_off(office: Office, receiver: Receiver):
    endpoint, _ = await office.subscribe(receiver.url)
    receiver.otherwise = status(404)
    one = await office.walk.accept()
    await office.happened(one, "sent")
    await office.poster.turn()
    office.now += 5 * DAY - 1
    await office.happened(one, "opened")
    await office.poster.turn()
    assert (await office.endpoint(endpoint)).disabled_at is None
    office.now += 11 * HOUR
    await office.poster.turn()
    off = await office.endpoint(endpoint)
    assert off.disabled_why == "Nothing but failures for 5 days; the last: The answer was 404"
    assert await office.states(endpoint) == ["failed", "failed"]
