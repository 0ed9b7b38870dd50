"""The figures equal a plain recount of the rows, whatever was done to them, for any range to the millisecond."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.support.walk import House, minutes
from tidings.analytics import figures as module
from tidings.analytics.figures import Figures, figures, span
from tidings.clock import DAY, HOUR
from tidings.database import Database, Tx
from tidings.domain import activity, communications, counters, events
from tidings.domain.communications import Due, Settled
from tidings.domain.counters import Tally
from tidings.errors import Conflict, NotFound

SEEDS = range(5)
STEPS = 220
RANGES = 60
TYPES = ["OFFERTE", "INVOICE", "REMINDER"]


class Doings:
    """One tenant to whose messages everything happens, at instants that like to lie on the edges of hours."""

    def __init__(self, house: House, seed: int) -> None:
        self.house, self.dice = house, random.Random(seed)
        self.claims: list[tuple[int, list[Due]]] = []
        self.templates: list[int | None] = [None]
        self.leases = self.comers = 0

    async def write(self, unit: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return await self.house.db.write(unit, *args, **kwargs)

    async def counted(self, unit: Callable[..., Any], *args: Any) -> None:
        """A unit that counts into a tally; what cannot be done in this state is not done."""

        def run(tx: Tx) -> None:
            tally = Tally()
            unit(tx, self.house.tenant_id, *args, tally, author="ann", now=self.house.now)
            counters.fold(tx, tally)

        try:
            await self.write(run)
        except (Conflict, NotFound):
            return

    async def settle_in(self) -> None:
        for name, archived in (("Offer", None), ("Old", 1), ("Bill", None)):
            self.templates.append(await self.write(_template, self.house.tenant_id, name, archived))
        self.campaign = await self.house.campaign(("email", 0), ("sms", minutes(20)))

    async def step(self) -> None:
        moves = {self.turn_clock: 8, self.accept: 9, self.enroll: 2, self.claim: 8, self.settle: 9}
        moves |= {self.track: 9, self.bounce: 3, self.settle_counts: 3, self.resend: 5, self.cancel: 2, self.delete: 2}
        (move,) = self.dice.choices(list(moves), list(moves.values()))
        await move()

    async def turn_clock(self) -> None:
        to_the_hour = HOUR - self.house.now % HOUR
        self.house.later(self.dice.choice([1, 2, minutes(9), to_the_hour, to_the_hour - 1, to_the_hour + 1, 3 * HOUR, DAY]))

    async def accept(self) -> None:
        for _ in range(self.dice.randint(1, 4)):
            what: dict[str, Any] = {"type": self.dice.choice(TYPES), "template_id": self.dice.choice(self.templates)}
            if self.dice.random() < 0.3:
                await self.house.accept(content=self.house.content(body="Hi", channel="sms"), phone="+41791230001", **what)
            else:
                await self.house.accept(f"p{self.dice.randrange(9)}@example.com", **what)

    async def enroll(self) -> None:
        self.comers += 1
        comer = await self.house.contact(f"c{self.comers}@example.com", f"+4179{self.comers:07}")
        await self.house.enroll(self.campaign, comer)
        while await self.house.planner.turn():
            pass

    async def claim(self) -> None:
        for queue in await self.house.db.read(communications.queues):
            if queue.tenant_id == self.house.tenant_id:
                self.leases += 1
                until, now = self.house.now + DAY, self.house.now
                self.claims.append(
                    (self.leases, await self.write(communications.claim, queue, lease=self.leases, until=until, now=now, limit=6))
                )

    async def settle(self) -> None:
        if not self.claims:
            return
        lease, dues = self.claims.pop(self.dice.randrange(len(self.claims)))
        states = self.dice.choices(["sent", "failed", "suppressed", "unknown", "pending"], [10, 3, 1, 2, 1], k=len(dues))
        again = self.house.now + minutes(5)
        outcomes = [
            Settled(due.id, state, due_at=again if state in {"unknown", "pending"} else None)
            for due, state in zip(dues, states, strict=True)
        ]

        def run(tx: Tx) -> None:
            tally = Tally()
            communications.settle(tx, self.house.tenant_id, lease, outcomes, tally, provider="told", now=self.house.now)
            counters.fold(tx, tally)

        await self.write(run)

    async def _one(self) -> int:
        ids = await self.house.db.read(
            lambda tx: tx.rows("SELECT id FROM communications WHERE tenant_id = :t ORDER BY id", t=self.house.tenant_id)
        )
        return self.dice.choice(ids)[0] if ids else 0

    async def track(self) -> None:
        kinds = [self.dice.choice(["opened", "clicked"]) for _ in range(3)]
        hits = [communications.Hit(self.house.tenant_id, await self._one(), kind, self.house.now, 0) for kind in kinds]
        await self.write(communications.track, hits)

    async def settle_counts(self) -> None:
        """A worker sums up what is over; to the figures it makes no difference."""
        limit = self.dice.choice([1, 5, 1000])
        for settle in (counters.settle, activity.settle):
            await self.write(settle, before=counters.hour_of(self.house.now), limit=limit)

    async def bounce(self) -> None:
        await self.write(_bounce, self.house.tenant_id, await self._one(), self.house.now)

    async def resend(self) -> None:
        await self.counted(communications.resend, await self._one())

    async def cancel(self) -> None:
        await self.counted(communications.cancel, await self._one())

    async def delete(self) -> None:
        await self.counted(communications.delete, [await self._one()])

    def instants(self, rows: list[tuple[Any, ...]]) -> list[int | None]:
        """Instants worth asking for: those of the rows, full hours, and a millisecond beside each of both."""
        marks = [row[4] for row in rows if row[4] is not None] + [row[5] for row in rows] or [self.house.now]
        near = [self.dice.choice(marks) for _ in range(20)]
        hours = [mark - mark % HOUR + self.dice.choice([0, HOUR]) for mark in near]
        return [None, None, *(mark + self.dice.choice([-1, 0, 1]) for mark in near + hours)]


def _template(tx: Tx, tenant_id: int, name: str, archived: int | None) -> int:
    row = tx.row(
        "INSERT INTO templates (tenant_id, name, channel, version, content_id, archived_at, created_at, updated_at)"
        " VALUES (:tenant_id, :name, 'email', 1, 1, :archived, 1, 1) RETURNING id",
        tenant_id=tenant_id,
        name=name,
        archived=archived,
    )
    assert row is not None
    return row[0]


def _bounce(tx: Tx, tenant_id: int, communication_id: int, now: int) -> None:
    """What a report of a mail that came back will do."""
    row = tx.row(
        "UPDATE communications SET state = 'bounced', error = 'came back', updated_at = :now WHERE tenant_id = :tenant_id AND id = :id"
        " AND state IN ('sent', 'delivered') RETURNING tenant_id, id, contact_id, campaign_id, message_id, template_id, channel, type, sent_at",
        tenant_id=tenant_id,
        id=communication_id,
        now=now,
    )
    if row is not None:
        events.append(tx, [events.Event(events.Subject(*row), "bounced", now)])


Row = tuple[str, int | None, str, str, int | None, int, int, int]


def rows_of(tx: Tx, tenant_id: int) -> list[Row]:
    return tx.rows(
        "SELECT c.type, c.template_id, c.state, COALESCE(t.name, ''), c.sent_at, c.created_at,"
        " (SELECT COUNT(*) FROM interactions i WHERE i.tenant_id = c.tenant_id AND i.communication_id = c.id AND i.kind = 'opened'),"
        " (SELECT COUNT(*) FROM interactions i WHERE i.tenant_id = c.tenant_id AND i.communication_id = c.id AND i.kind = 'clicked')"
        " FROM communications c LEFT JOIN templates t ON t.tenant_id = c.tenant_id AND t.id = c.template_id WHERE c.tenant_id = :t ORDER BY c.id",
        t=tenant_id,
    )


def recount(rows: list[Row], since: int | None, until: int | None) -> dict[str, Any]:
    """The same as plainly as it can be said."""
    within = [(-1 << 62 if since is None else since), (1 << 62 if until is None else until)]
    sent = [row for row in rows if row[4] is not None and within[0] <= row[4] < within[1]]
    never = [row for row in rows if row[4] is None and row[2] in {"failed", "suppressed"} and within[0] <= row[5] < within[1]]

    def share(some: list[Row]) -> tuple[int, int, int]:
        return len(some), sum(row[6] > 0 for row in some), sum(row[7] > 0 for row in some)

    return {
        "total": share(sent),
        "failed": len(never) + sum(row[2] == "bounced" for row in sent),
        "unsent": len(never),
        "by_type": {type_: share([row for row in sent if row[0] == type_]) for type_ in {row[0] for row in sent}},
        "by_template": {
            (template, name): share([row for row in sent if row[1] == template])
            for template, name in {(row[1], row[3]) for row in sent if row[1] is not None}
        },
        "by_day": sorted(Counter(row[4] // DAY for row in sent if row[4] is not None).items()),
    }


def told(found: Figures) -> dict[str, Any]:
    def share(some: Any) -> tuple[int, int, int]:
        return some.sent, some.opened, some.clicked

    return {
        "total": share(found.total),
        "failed": found.failed,
        "unsent": found.unsent,
        "by_type": {type_: share(some) for type_, some in found.by_type},
        "by_template": {(template, name): share(some) for template, name, some in found.by_template},
        "by_day": found.by_day,
    }


@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_was_done_the_figures_of_any_range_are_a_recount_of_its_rows(db: Database, seed: int):
    house = await House(db).settle_in()
    neighbour = await House(db).settle_in("rival")
    await neighbour.accept()
    await neighbour.dispatch()
    doings = Doings(house, seed)
    await doings.settle_in()
    for _ in range(STEPS):
        await doings.step()
    rows = await db.read(rows_of, house.tenant_id)
    marks = doings.instants(rows)
    asked = [(doings.dice.choice(marks), doings.dice.choice(marks)) for _ in range(RANGES)]
    for since, until in [(None, None), *asked]:
        if since is not None and until is not None and since > until:
            since, until = until, since
        found = await db.read(figures, house.tenant_id, since=since, until=until)
        assert told(found) == recount(rows, since, until), (since, until)
    everything = told(await db.read(figures, house.tenant_id))
    # the walk has been everywhere
    assert min(everything["total"]) > 0
    assert everything["failed"] > everything["unsent"] > 0
    assert everything["by_template"]


@pytest.mark.parametrize(
    ("since", "until"),
    [
        (None, None),
        (0, 1),
        (HOUR, 2 * HOUR),
        (HOUR - 1, HOUR + 1),
        (HOUR - 1, 2 * HOUR),
        (HOUR, 2 * HOUR + 1),
        (5, 90 * DAY + 7),
        (None, 3),
        (3, None),
        (7, 7),
    ],
)
def test_a_range_is_read_from_rows_for_less_than_two_hours_in_all(since: int | None, until: int | None):
    cut = span(since, until)
    raw = (cut.head - cut.since) + (cut.until - cut.tail)
    assert raw < 2 * HOUR
    assert (cut.whole % HOUR, cut.rest % HOUR if until is not None else 0) == (0, 0)
    if cut.rest:
        assert (cut.head, cut.tail) == (cut.whole, cut.rest)
        assert cut.whole <= cut.morning <= cut.night <= cut.rest
        assert (cut.morning - cut.whole) + (cut.rest - cut.night) < 2 * DAY
        assert cut.morning == cut.night or (cut.morning % DAY, cut.night % DAY if until is not None else 0) == (0, 0)


async def test_nobodys_figures_are_nothing(db: Database):
    house = await House(db).settle_in()
    assert told(await db.read(figures, house.tenant_id)) == recount([], None, None)


async def test_rows_are_read_by_their_indexes_alone(db: Database):
    house = await House(db).settle_in()
    await house.accept()
    await db.write(_many, house.tenant_id)
    await db.refresh()
    statement: Any = ("EXPLAIN QUERY PLAN " if db.kind == "sqlite" else "EXPLAIN ") + module._FIGURES
    steps = msgspec.structs.asdict(span(HOUR - 5, 90 * HOUR + 5))
    plan = "\n".join(str(row) for row in await db.read(lambda tx: tx.rows(statement, tenant_id=house.tenant_id, **steps)))
    assert (steps["morning"], steps["night"]) == (DAY, 3 * DAY)
    # of so few any index that has the unsent alone is as good
    for index in ("communications_sent", ("communications_failed", "communications_unsent "), "communications_unsent_opened"):
        assert any(name in plan for name in ((index,) if isinstance(index, str) else index)), plan
    assert "Seq Scan on communications" not in plan
    assert "SCAN communications" not in plan


def _many(tx: Tx, tenant_id: int) -> None:
    """A few thousand messages a minute apart, nearly all of them sent."""
    tx.run(
        "INSERT INTO communications (tenant_id, channel, state, lane, contact_id, content_id, type, address, track_opens, track_links, sent_at, created_at,"
        " updated_at) SELECT :tenant_id, 'email', CASE WHEN i % 50 = 0 THEN 'failed' ELSE 'sent' END, 0, 1, 1, 'OFFERTE', 'a@example.com', 1, 1,"
        " CASE WHEN i % 50 = 0 THEN NULL ELSE i * 60000 END, i * 60000, 1 FROM :rows(i bigint) r",
        tenant_id=tenant_id,
        rows=[(i,) for i in range(8000)],
    )
