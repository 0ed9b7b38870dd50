"""Random walks through all that can be done to messages and enrollments, in any order: the books stay true, and all comes to its end."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.ledger import check_books, still_open, walking
from tests.support.walk import House, minutes
from tidings import clock
from tidings.database import Database, Tx
from tidings.delivery import retry
from tidings.domain import campaigns, communications, contacts, counters, enrollments, suppressions
from tidings.domain.communications import HELD, Due, Settled
from tidings.domain.communications.cancel import PARKED
from tidings.domain.counters import Tally
from tidings.errors import Conflict, Invalid, NotFound
from tidings.message.outgoing import Address, Outcome, accepted, deferred, paused, refused, unknown, untried

SEEDS = range(6)
STEPS = 300
LEASE = 10 * clock.MINUTE
OUTCOMES: list[Callable[[random.Random], Outcome]] = [
    lambda dice: accepted(f"id-{dice.random()}"),
    lambda dice: accepted("", rejected=(("x@example.com", "no"),)),
    lambda dice: refused("no such user", "5.1.1"),
    lambda dice: deferred("busy"),
    lambda dice: deferred("busy", retry_after=dice.randrange(1, minutes(3))),
    lambda dice: unknown("the line broke"),
    lambda dice: paused("wrong password"),
    lambda dice: untried(),
    lambda dice: refused("no such user", "5.1.1", ((f"p{dice.randrange(12)}@example.com", "bounced"),)),
    lambda dice: refused("opted out", "21610", ((f"+4179123{dice.randrange(12):04}", "unsubscribed"),)),
]


class Walk:
    """One tenant, and what must be true of it: who holds which message, and what must never be claimed again."""

    def __init__(self, house: House, seed: int) -> None:
        self.house, self.dice = house, random.Random(seed)
        self.tenant_id = house.tenant_id
        self.people: list[int] = []
        self.campaigns: dict[int, str] = {}
        self.claims: list[tuple[int, int, list[Due]]] = []
        self.held: dict[int, tuple[int, int]] = {}
        self.banned: set[int] = set()
        self.leases = 0
        self.comers = 100

    async def write(self, unit: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await self.house.db.write(unit, *args, now=self.house.now, **kwargs)

    async def ask(self, sql: Any, **params: Any) -> list[Any]:
        return [row[0] for row in await self.house.db.read(lambda tx: tx.rows(sql, tenant_id=self.tenant_id, **params))]

    async def settle_in(self) -> None:
        for number in range(12):
            phone = f"+4179123{number:04}" if number % 3 else None
            self.people.append(await self.house.contact(f"p{number}@example.com", phone))
        for steps in ((("email", 0),), (("email", 0), ("sms", minutes(5)), ("email", 0)), (("sms", 0), ("email", minutes(90)))):
            self.campaigns[await self.house.campaign(*steps, reenroll_after=minutes(30))] = "active"

    async def step(self) -> None:
        moves = [(self.turn_clock, 6), (self.accept, 5), (self.enroll, 6), (self.enroll_some, 2), (self.advance, 10), (self.claim, 14)]
        moves += [(self.settle, 14), (self.sweep, 4), (self.switch, 6), (self.delete_enrollment, 3), (self.stop, 2), (self.track, 4)]
        moves += [
            (self.unsubscribe, 2),
            (self.suppress, 1),
            (self.release, 2),
            (self.change_rule, 1),
            (self.come_and_go, 2),
            (self.renew, 2),
        ]
        (move,) = self.dice.choices([move for move, _ in moves], [weight for _, weight in moves])
        await move()

    async def turn_clock(self) -> None:
        self.house.later(self.dice.choice([1, minutes(1), minutes(7), minutes(40), 5 * clock.HOUR]))

    async def accept(self) -> None:
        to = tuple(Address(f"p{self.dice.randrange(14)}@example.com") for _ in range(self.dice.choice([1, 1, 3])))
        at = self.dice.choice([None, None, self.house.now + minutes(20)])
        if self.dice.random() < 0.3:
            content = self.house.content(body="Hi", channel="sms")
            await self.house.accept(content=content, phone=f"+4179123{self.dice.randrange(14):04}", scheduled_at=at)
        else:
            await self.house.accept(to=to, scheduled_at=at)

    async def enroll(self) -> None:
        campaign = self.dice.choice(list(self.campaigns))
        try:
            await self.house.enroll(campaign, self.dice.choice(self.people))
        except Invalid as error:
            expected = {enrollments.RECENTLY} if self.campaigns[campaign] == "active" else {"Campaign is not active"}
            if error.message not in expected:
                raise

    async def enroll_some(self) -> None:
        campaign = self.dice.choice(list(self.campaigns))
        ids = self.dice.choice([None, self.dice.sample(self.people, 4)])
        if self.campaigns[campaign] == "active":
            await self.write(enrollments.enroll_some, self.tenant_id, campaign, list_id=None, contact_ids=ids, after=0, limit=7)

    async def advance(self) -> None:
        for due in await self.house.db.read(enrollments.due_campaigns, now=self.house.now):
            if due.tenant_id == self.tenant_id:
                assert self.campaigns[due.campaign_id] == "active"
        campaign = self.dice.choice(list(self.campaigns))
        advanced = await self.write(enrollments.advance, self.tenant_id, campaign, limit=self.dice.choice([1, 3, 100]))
        assert not advanced or self.campaigns[campaign] == "active"

    async def claim(self) -> None:
        queues = [queue for queue in await self.house.db.read(communications.queues) if queue.tenant_id == self.tenant_id]
        if not queues:
            return
        queue = self.dice.choice(queues)
        self.leases += 1
        until = self.house.now + self.dice.choice([LEASE, 2 * LEASE])
        dues = await self.write(communications.claim, queue, lease=self.leases, until=until, limit=self.dice.choice([1, 2, 50]))
        self.claims.append((self.leases, until, dues))
        for due in dues:
            assert due.id not in self.held, "claimed while somebody holds it"
            assert due.id not in self.banned, "claimed though it was taken back"
            assert not due.campaign_id or self.campaigns[due.campaign_id] == "active"
            self.held[due.id] = (self.leases, until)

    async def settle(self) -> None:
        """A worker comes back with some of its batch: the one that still holds it, or one whose time is long over."""
        if not self.claims:
            return
        lease, _, dues = self.dice.choice(self.claims[-6:])
        some = self.dice.sample(dues, self.dice.randint(0, len(dues)))
        settled = await self.write(self._settle, lease, [self._outcome(due) for due in some])
        ours = [due.id for due in some if self.held.get(due.id, (0, 0))[0] == lease]
        assert settled == len(ours)
        for identity in ours:
            del self.held[identity]

    def _outcome(self, due: Due) -> Settled:
        if due.suppressed:
            return Settled(due.id, "suppressed", error=due.suppressed)
        (make,) = self.dice.choices(OUTCOMES, [7, 1, 1, 3, 4, 2, 3, 2, 1, 1])
        return retry.settled(due, make(self.dice), hold_unknown=self.dice.random() < 0.3, now=self.house.now)

    def _settle(self, tx: Tx, lease: int, outcomes: list[Settled], *, now: int) -> int:
        tally = Tally()
        result = communications.settle(tx, self.tenant_id, lease, outcomes, tally, provider="told", now=now)
        enrollments.complete(tx, self.tenant_id, result.ended, result.ending, tally, now=now)
        counters.fold(tx, tally)
        return result.settled

    async def sweep(self) -> None:
        for queue in await self.house.db.read(communications.queues):
            if queue.tenant_id == self.tenant_id:
                await self.write(communications.sweep, queue)
        self.held = {identity: held for identity, held in self.held.items() if held[1] > self.house.now}
        assert set(await self.ask("SELECT id FROM communications WHERE tenant_id = :tenant_id AND state = 'in_process'")) == set(self.held)

    async def renew(self) -> None:
        leases = sorted({lease for lease, _ in self.held.values()})
        until = self.house.now + LEASE
        assert await self.house.db.write(communications.renew, self.tenant_id, leases, until=until) == len(self.held)
        self.held = {identity: (lease, until) for identity, (lease, _) in self.held.items()}

    async def switch(self) -> None:
        campaign = self.dice.choice(list(self.campaigns))
        verb = self.dice.choice(["pause", "activate", "activate", "archive"] if self.dice.random() < 0.3 else ["pause", "activate"])
        before = self.campaigns[campaign]
        try:
            if verb == "pause":
                await self.write(campaigns.pause, self.tenant_id, campaign)
                self.campaigns[campaign] = "paused"
            elif verb == "activate":
                await self.write(campaigns.activate, self.tenant_id, campaign)
                self.campaigns[campaign] = "active"
            else:
                await self._ban("campaign_id", campaign)
                await self.write(self._archive, campaign)
                self.campaigns[campaign] = "archived"
                self.campaigns[await self.house.campaign(("email", 0), ("email", minutes(1)))] = "active"
        except Conflict:
            assert before == "archived" or (verb, before) in {("pause", "paused"), ("activate", "active")}

    def _archive(self, tx: Tx, campaign: int, *, now: int) -> None:
        campaigns.archive(tx, self.tenant_id, campaign, now=now)
        enrollments.complete_of_campaign(tx, self.tenant_id, campaign, now=now)

    async def _ban(self, column: str, value: int) -> None:
        sql = f"SELECT id FROM communications WHERE tenant_id = :tenant_id AND {column} = :value"
        self.banned |= set(await self.ask(sql, value=value))

    async def _an_enrollment(self) -> int:
        ids = await self.ask("SELECT id FROM enrollments WHERE tenant_id = :tenant_id ORDER BY id DESC LIMIT 8")
        return self.dice.choice(ids) if ids else 0

    async def delete_enrollment(self) -> None:
        enrollment = await self._an_enrollment()
        if enrollment:
            await self._ban("enrollment_id", enrollment)
            under_way = await self.write(enrollments.delete, self.tenant_id, enrollment)
            assert under_way == await self.house.db.read(communications.in_process, self.tenant_id, enrollment)
        with pytest.raises(NotFound):
            await self.write(enrollments.delete, self.tenant_id, enrollment)

    async def stop(self) -> None:
        enrollment = await self._an_enrollment()
        walk = await self.house.db.read(enrollments.get, self.tenant_id, enrollment)
        if walk is not None and walk.completed_at is None:
            await self._ban("enrollment_id", enrollment)
        stopped = await self.write(enrollments.stop, self.tenant_id, enrollment, "reply")
        assert stopped == (walk is not None and walk.completed_at is None)

    async def _a_message(self) -> int:
        ids = await self.ask("SELECT id FROM communications WHERE tenant_id = :tenant_id ORDER BY id DESC LIMIT 10")
        return self.dice.choice(ids) if ids else 0

    async def track(self) -> None:
        """Four hits of one batch: by people and machines, some of them too soon after the sending for anybody."""
        at = self.house.now + self.dice.choice([0, clock.SECOND])
        hits = [
            communications.Hit(
                self.tenant_id,
                await self._a_message(),
                self.dice.choice(["opened", "clicked"]),
                self.dice.choice([self.house.now, at]),
                0,
                bot=self.dice.random() < 0.4,
            )
            for _ in range(4)
        ]
        await self.house.db.write(communications.track, hits)

    async def unsubscribe(self) -> None:
        message = await self._a_message()
        row = await self.house.db.read(communications.get, self.tenant_id, message)
        if row is not None and row.enrollment_id is not None:
            walk = await self.house.db.read(enrollments.get, self.tenant_id, row.enrollment_id)
            if walk is not None and walk.completed_at is None:
                await self._ban("enrollment_id", row.enrollment_id)
        assert await self.write(enrollments.unsubscribe, self.tenant_id, message) == bool(message)

    async def suppress(self) -> None:
        await self.write(suppressions.add, self.tenant_id, "email", f"p{self.dice.randrange(12)}@example.com", "manual")

    async def release(self) -> None:
        if self.dice.random() < 0.5:
            await self.write(communications.release, self.tenant_id)
        else:
            await self.write(communications.hasten, self.tenant_id, self.dice.choice(["email", "sms"]))

    async def change_rule(self) -> None:
        await self.set_rule(self.dice.choice(["resend", "hold"]))

    async def set_rule(self, rule: str) -> None:
        await self.house.db.write(
            lambda tx: tx.run("UPDATE tenants SET unknown_rule = :rule WHERE id = :tenant_id", rule=rule, tenant_id=self.tenant_id)
        )

    async def come_and_go(self) -> None:
        """A contact is deleted with all that waits for it, and another comes."""
        contact = self.people.pop(self.dice.randrange(len(self.people)))
        await self._ban("contact_id", contact)

        def leave(tx: Tx, *, now: int) -> None:
            enrollments.delete_of_contact(tx, self.tenant_id, contact, now=now)
            contacts.delete(tx, self.tenant_id, contact)

        await self.write(leave)
        self.comers += 1
        number = self.comers
        self.people.append(await self.house.contact(f"p{number}@example.com", f"+4179999{number:04}"))

    async def run_out(self) -> None:
        """Workers go on and all goes well until nothing is left that they may do."""
        for lease, _, dues in self.claims:
            await self.write(self._settle, lease, [Settled(due.id, "sent") for due in dues])
        for _ in range(40):
            self.held.clear()
            self.house.later(clock.DAY)
            await self.sweep()
            for campaign in self.campaigns:
                while await self.write(enrollments.advance, self.tenant_id, campaign, limit=100):
                    pass
            for queue in await self.house.db.read(communications.queues):
                if queue.tenant_id == self.tenant_id:
                    self.leases += 1
                    dues = await self.write(communications.claim, queue, lease=self.leases, until=self.house.now, limit=500)
                    assert not {due.id for due in dues} & self.banned
                    await self.write(self._settle, self.leases, [Settled(due.id, "sent") for due in dues])


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_books_are_true_at_every_moment_and_everything_comes_to_its_end(db: Database, seed: int) -> None:
    walk = Walk(await House(db).settle_in(), seed)
    await walk.settle_in()
    for number in range(STEPS):
        await walk.step()
        if number % 10 == 0:
            await check_books(walk.house)
    await walk.run_out()
    await check_books(walk.house)
    # what is left has a reason that its row tells: held by the tenant's rule, or its campaign is paused
    assert [row for row in await still_open(walk.house) if row[2] not in (HELD, PARKED) and row[3] != "paused"] == []
    assert [row for row in await walking(walk.house) if row[1] != "paused"] == []
    for campaign, state in walk.campaigns.items():
        if state == "paused":
            await walk.write(campaigns.activate, walk.tenant_id, campaign)
            walk.campaigns[campaign] = "active"
    await walk.set_rule("resend")
    await walk.write(communications.release, walk.tenant_id)
    await walk.run_out()
    await check_books(walk.house)
    assert await still_open(walk.house) == []
    assert await walk.ask("SELECT id FROM enrollments WHERE tenant_id = :tenant_id AND completed_at IS NULL") == []
