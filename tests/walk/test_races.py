"""Two things at the same moment, on PostgreSQL: whatever the order in which they meet, one of them wins and the books stay true."""

import asyncio
import contextlib
import itertools
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.support.ledger import check_books, still_open, walking
from tests.support.walk import House, minutes
from tidings.database import Database, Tx, open_database
from tidings.domain import campaigns, communications, contacts, counters, enrollments, suppressions
from tidings.domain.communications import Draft, Due, Settled
from tidings.domain.counters import Tally
from tidings.errors import Invalid, NotFound
from tidings.message.outgoing import Address
from tidings.rendering.template import content_hash

PATIENCE = 10.0


@pytest.fixture
async def house(postgres_url: str) -> AsyncIterator[House]:
    database = await open_database(postgres_url, size=12)
    yield await House(database).settle_in()
    await database.close()


async def waits_for_a_lock(db: Database) -> bool:
    sql = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(await db.read(lambda tx: tx.value(sql)))


async def meet(db: Database, first: Callable[[Tx], Any], second: Awaitable[Any]) -> tuple[Any, Any]:
    """Does the `first` unit, and commits it only when `second` is through or waits for it."""
    done, go = threading.Event(), threading.Event()

    def unit(tx: Tx) -> Any:
        try:
            answer = first(tx)
        finally:
            done.set()
        assert go.wait(PATIENCE)
        return answer

    one = asyncio.ensure_future(db.write(unit))
    assert await asyncio.to_thread(done.wait, PATIENCE)
    two = asyncio.ensure_future(second)
    async with asyncio.timeout(PATIENCE):
        while not await waits_for_a_lock(db):
            if two.done():
                break
            await asyncio.sleep(0.001)
    go.set()
    answers = await asyncio.gather(one, two, return_exceptions=True)
    return answers[0], answers[1]


async def claim(house: House, lease: int, channel: str = "email") -> list[Due]:
    queues = {queue.channel: queue for queue in await house.db.read(communications.queues)}
    if channel not in queues:
        return []
    return await house.db.write(communications.claim, queues[channel], lease=lease, until=house.now + minutes(1), now=house.now, limit=500)


def settle(tx: Tx, house: House, lease: int, outcomes: list[Settled]) -> int:
    tally = Tally()
    result = communications.settle(tx, house.tenant_id, lease, outcomes, tally, provider="told", now=house.now)
    enrollments.complete(tx, house.tenant_id, result.ended, result.ending, tally, now=house.now)
    counters.fold(tx, tally)
    return result.settled


def archive(tx: Tx, house: House, campaign: int) -> None:
    campaigns.archive(tx, house.tenant_id, campaign, now=house.now)
    enrollments.complete_of_campaign(tx, house.tenant_id, campaign, now=house.now)


def leave(tx: Tx, house: House, contact: int) -> None:
    enrollments.delete_of_contact(tx, house.tenant_id, contact, now=house.now)
    contacts.delete(tx, house.tenant_id, contact)


@pytest.mark.parametrize("ending", ["delete", "stop", "leave", "archive"])
async def test_what_is_deferred_while_its_enrollment_ends_is_not_tried_again(house: House, ending: str) -> None:
    campaign = await house.campaign(("email", 0), ("email", 0))
    ann = await house.contact("ann@example.com")
    (enrollment,) = await house.enroll(campaign, ann)
    await house.planner.turn()
    (due, *_) = await claim(house, 1)
    ways: dict[str, Callable[[], Awaitable[Any]]] = {
        "delete": lambda: house.db.write(enrollments.delete, house.tenant_id, enrollment, now=house.now),
        "stop": lambda: house.db.write(enrollments.stop, house.tenant_id, enrollment, "reply", now=house.now),
        "leave": lambda: house.db.write(leave, house, ann),
        "archive": lambda: house.db.write(archive, house, campaign),
    }
    later = [Settled(due.id, "pending", due_at=house.now + 1)]
    assert (await meet(house.db, lambda tx: settle(tx, house, 1, later), ways[ending]()))[0] == 1
    house.later(minutes(5))
    assert await claim(house, 2) == []
    assert (await house.states())[0] == "canceled"
    await check_books(house)


async def test_somebody_who_opts_out_here_and_with_the_carrier_at_once_is_suppressed_once(house: House) -> None:
    """Each holds what the other waits for; PostgreSQL sends one of the two back to its beginning."""
    campaign = await house.campaign(("sms", 0), ("sms", minutes(1)))
    await house.enroll(campaign, await house.contact(phone="+41791234567"))
    await house.planner.turn()
    (due,) = await claim(house, 1, "sms")

    def opts_out(tx: Tx, hold: Callable[[], Any]) -> bool:
        suppressions.add(tx, house.tenant_id, "sms", due.address, "unsubscribed", now=house.now)
        hold()
        return enrollments.unsubscribe(tx, house.tenant_id, due.id, now=house.now)

    refusal = Settled(due.id, "failed", error="opted out", suppress=((due.address, "unsubscribed", "opted out"),))
    held, go = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        assert go.wait(PATIENCE)

    first = asyncio.ensure_future(house.db.write(opts_out, hold))
    assert await asyncio.to_thread(held.wait, PATIENCE)
    second = asyncio.ensure_future(house.db.write(settle, house, 1, [refusal]))
    async with asyncio.timeout(PATIENCE):
        waits = False
        while not waits:
            await asyncio.sleep(0.001)
            waits = await waits_for_a_lock(house.db)
    go.set()
    assert await asyncio.gather(first, second) == [True, 1]
    known = await house.db.read(suppressions.page, house.tenant_id)
    assert [(row.address, row.reason) for row in known.rows] == [("+41791234567", "unsubscribed")]
    assert await house.states() == ["failed"]
    assert await walking(house) == []
    await check_books(house)


async def test_what_is_claimed_while_its_enrollment_ends_is_not_tried_again(house: House) -> None:
    campaign = await house.campaign()
    (enrollment,) = await house.enroll(campaign, await house.contact("ann@example.com"))
    await house.planner.turn()
    (queue,) = await house.db.read(communications.queues)
    (due,), under_way = await meet(
        house.db,
        lambda tx: communications.claim(tx, queue, lease=1, until=house.now, now=house.now, limit=9),
        house.db.write(enrollments.delete, house.tenant_id, enrollment, now=house.now),
    )
    assert under_way == 1
    assert await house.db.write(settle, house, 1, [Settled(due.id, "pending", due_at=house.now)]) == 1
    assert await claim(house, 2) == []
    assert await house.states() == ["canceled"]


async def test_an_enrollment_ends_though_its_first_message_is_settled_while_its_last_is_made(house: House) -> None:
    campaign = await house.campaign(("email", 0), ("sms", minutes(1)))
    await house.enroll(campaign, await house.contact("ann@example.com"))
    await house.planner.turn()
    (due,) = await claim(house, 1)
    house.later(minutes(1))
    # the last message cannot go out, for there is no phone: it is at its end when it is made
    advanced, settled = await meet(
        house.db,
        lambda tx: enrollments.advance(tx, house.tenant_id, campaign, limit=9, now=house.now),
        house.db.write(settle, house, 1, [Settled(due.id, "sent")]),
    )
    assert (advanced, settled) == (1, 1)
    assert await house.states() == ["sent", "failed"]
    assert await walking(house) == []
    await check_books(house)


async def test_nobody_is_left_walking_through_a_campaign_that_is_archived_while_they_are_enrolled(house: House) -> None:
    campaign = await house.campaign()
    ann, bob = await house.contact("ann@example.com"), await house.contact("bob@example.com")
    enrolled, _ = await meet(
        house.db,
        lambda tx: enrollments.enroll(tx, house.tenant_id, campaign, ann, now=house.now),
        house.db.write(archive, house, campaign),
    )
    assert enrolled.contact_id == ann
    assert await walking(house) == []
    other = await house.campaign()
    _, refused = await meet(
        house.db,
        lambda tx: archive(tx, house, other),
        house.db.write(
            enrollments.enroll_some, house.tenant_id, other, list_id=None, contact_ids=[ann, bob], after=0, limit=9, now=house.now
        ),
    )
    assert isinstance(refused, Invalid)
    await check_books(house)


async def test_a_contact_that_is_deleted_while_it_is_enrolled_leaves_no_enrollment(house: House) -> None:
    campaign = await house.campaign()
    ann, bob = await house.contact("ann@example.com"), await house.contact("bob@example.com")
    await meet(
        house.db,
        lambda tx: enrollments.enroll(tx, house.tenant_id, campaign, ann, now=house.now),
        house.db.write(leave, house, ann),
    )
    _, missing = await meet(
        house.db, lambda tx: leave(tx, house, bob), house.db.write(enrollments.enroll, house.tenant_id, campaign, bob, now=house.now)
    )
    assert isinstance(missing, NotFound)
    assert (await house.db.read(enrollments.page, house.tenant_id, limit=9, page=1)).rows == []
    await check_books(house)


async def test_pausing_while_messages_are_planned_sets_these_aside_too(house: House) -> None:
    campaign = await house.campaign()
    await house.enroll(campaign, *[await house.contact(f"p{number}@example.com") for number in range(5)])
    advanced, _ = await meet(
        house.db,
        lambda tx: enrollments.advance(tx, house.tenant_id, campaign, limit=9, now=house.now),
        house.db.write(campaigns.pause, house.tenant_id, campaign, now=house.now),
    )
    assert advanced == 5
    house.later(minutes(60))
    assert await claim(house, 1) == []


async def test_of_two_who_settle_and_one_who_sweeps_one_is_believed(house: House) -> None:
    await house.accept()
    (due,) = await claim(house, 1)
    (queue,) = await house.db.read(communications.queues)
    house.later(minutes(2))
    sent = [Settled(due.id, "sent")]
    results = await asyncio.gather(
        house.db.write(settle, house, 1, sent),
        house.db.write(settle, house, 1, sent),
        house.db.write(communications.sweep, queue, now=house.now),
        house.db.write(communications.sweep, queue, now=house.now),
        house.db.write(communications.renew, house.tenant_id, [1], until=house.now + minutes(1)),
    )
    assert sum(results[:4]) <= 1
    await check_books(house)


async def test_a_new_contact_written_to_by_many_at_once_is_one_contact(house: House) -> None:
    content = house.content()
    draft = Draft(
        tenant_id=house.tenant_id,
        channel="email",
        content=content,
        content_hash=content_hash(content),
        type="OFFERTE",
        to=(Address("New@example.com"),),
    )
    rows = await asyncio.gather(*(house.db.write(communications.accept, draft, now=house.now) for _ in range(12)))
    assert len({row.contact_id for row in rows}) == 1
    assert len({row.content_id for row in rows}) == 1
    assert len({row.id for row in rows}) == 12
    await check_books(house)


class Crowd:
    """What many workers and users do to one campaign, each as often as told."""

    def __init__(self, house: House, campaign: int, people: list[int]) -> None:
        self.house, self.campaign, self.people = house, campaign, people
        self.tenant_id = house.tenant_id
        self.gone: set[int] = set()
        self.claimed: list[int] = []
        self.leases = itertools.count(1)

    async def repeat(self, work: Callable[[random.Random], Awaitable[None]], seed: int, times: int) -> None:
        dice = random.Random(seed)
        for _ in range(times):
            await work(dice)

    async def plan(self, _: random.Random) -> None:
        await self.house.db.write(enrollments.advance, self.tenant_id, self.campaign, limit=25, now=self.house.now)

    async def enroll(self, dice: random.Random) -> None:
        some = sorted(dice.sample(self.people, 20))
        with contextlib.suppress(Invalid):  # while it is paused
            await self.house.db.write(
                enrollments.enroll_some,
                self.tenant_id,
                self.campaign,
                list_id=None,
                contact_ids=some,
                after=0,
                limit=100,
                now=self.house.now,
            )

    async def carry(self, dice: random.Random) -> None:
        lease, gone = next(self.leases), set(self.gone)
        dues = await claim(self.house, lease, dice.choice(["email", "sms"]))
        self.claimed += [due.id for due in dues]
        assert not {due.id for due in dues} & gone
        outcomes = [Settled(due.id, "sent") if dice.random() < 0.7 else Settled(due.id, "pending", due_at=self.house.now) for due in dues]
        dice.shuffle(outcomes)
        for part in (outcomes[::2], outcomes[1::2]):
            await self.house.db.write(settle, self.house, lease, part)

    async def end(self, dice: random.Random) -> None:
        rows = await self._rows("SELECT id FROM enrollments WHERE tenant_id = :tenant_id AND completed_at IS NULL ORDER BY id DESC LIMIT 9")
        if not rows:
            return
        enrollment = dice.choice(rows)
        if dice.random() < 0.5:
            await self.house.db.write(enrollments.stop, self.tenant_id, enrollment, "reply", now=self.house.now)
        else:
            with contextlib.suppress(NotFound):  # somebody else was faster
                await self.house.db.write(enrollments.delete, self.tenant_id, enrollment, now=self.house.now)
        own = "SELECT id FROM communications WHERE tenant_id = :tenant_id AND enrollment_id = :enrollment"
        self.gone.update(await self._rows(own, enrollment=enrollment))

    async def read(self, dice: random.Random) -> None:
        if self.claimed:
            some = dice.choices(self.claimed, k=5)
            hits = [communications.Hit(self.tenant_id, identity, "clicked", self.house.now, 0) for identity in some]
            await self.house.db.write(communications.track, hits)
            if dice.random() < 0.1:
                await self.house.db.write(enrollments.unsubscribe, self.tenant_id, some[0], now=self.house.now)

    async def switch(self, _: random.Random) -> None:
        await self.house.db.write(campaigns.pause, self.tenant_id, self.campaign, now=self.house.now)
        await self.house.db.write(campaigns.activate, self.tenant_id, self.campaign, now=self.house.now)

    async def finish(self) -> None:
        while await self.house.db.write(enrollments.advance, self.tenant_id, self.campaign, limit=500, now=self.house.now):
            pass
        for channel in ("email", "sms"):
            lease = next(self.leases)
            dues = await claim(self.house, lease, channel)
            await self.house.db.write(settle, self.house, lease, [Settled(due.id, "sent") for due in dues])

    async def _rows(self, sql: Any, **params: int) -> list[int]:
        return [row[0] for row in await self.house.db.read(lambda tx: tx.rows(sql, tenant_id=self.tenant_id, **params))]


async def test_many_doing_everything_at_once_keep_the_books_true(house: House) -> None:
    campaign = await house.campaign(("email", 0), ("sms", 0), ("email", 0), reenroll_after=0)
    people = [await house.contact(f"p{number}@example.com", f"+4179123{number:04}" if number % 3 else None) for number in range(60)]
    crowd = Crowd(house, campaign, people)
    works = [(crowd.plan, 40), (crowd.plan, 40), (crowd.enroll, 25), (crowd.carry, 40), (crowd.carry, 40), (crowd.carry, 40)]
    works += [(crowd.end, 60), (crowd.end, 60), (crowd.read, 30), (crowd.switch, 15)]
    await asyncio.gather(*(crowd.repeat(work, seed, times) for seed, (work, times) in enumerate(works)))
    await check_books(house)
    await crowd.finish()
    await check_books(house)
    assert await still_open(house) == []
    assert await walking(house) == []
