"""Every page of a message's interactions equals the same rows sorted and cut in plain Python, whatever was written late, removed and marked between."""

import asyncio
import random
import threading
from typing import Any, NamedTuple

import pytest

from tidings import clock
from tidings.analytics import marking, ranked
from tidings.clock import DAY, HOUR, MINUTE
from tidings.database import Database, Tx, open_database
from tidings.domain import events, marks, tenants
from tidings.domain.marks import Happening, Series

SEEDS = range(4)
STEPS = 45
SPACING, GROUP = 3, 2
MORNING = 1_750_204_800_000
"""2025-06-18T00:00:00Z."""
EVER = 1 << 50


class Entry(NamedTuple):
    """An interaction in the order of its report."""

    second: int
    contact_id: int
    at: int
    id: int


class Ledger:
    """The interactions of a few series, in the store and here."""

    def __init__(self, db: Database, seed: int) -> None:
        self.db, self.dice = db, random.Random(seed)
        self.told: dict[Series, list[Entry]] = {Series(1, 5, "sent"): [], Series(1, 6, "sent"): [], Series(2, 5, "opened"): []}

    async def step(self) -> None:
        moves = {self.write: 8, self.write_now: 2, self.remove: 3, self.lay: 5, self.forget: 1}
        (move,) = self.dice.choices(list(moves), list(moves.values()))
        await move()

    async def write(self, count: int | None = None) -> None:
        """Some that happened long ago: in the same seconds again and again, and at times in the same millisecond."""
        await self._write([MORNING + self.dice.randrange(40) * 500 for _ in range(count or self.dice.randint(1, 12))])

    async def write_now(self) -> None:
        present = clock.now()
        await self._write([present - self.dice.randrange(20 * MINUTE) for _ in range(self.dice.randint(1, 5))])

    async def _write(self, instants: list[int]) -> None:
        rows: list[tuple[Any, ...]] = [(*self.dice.choice(list(self.told)), self.dice.randrange(1, 6), at) for at in instants]
        for row, identity in zip(rows, await self.db.write(_insert, rows), strict=True):
            self.told[Series(*row[:3])].append(Entry(row[4] // 1000, row[3], row[4], identity))

    async def remove(self) -> None:
        series = self.dice.choice(list(self.told))
        gone = self.dice.sample(self.told[series], min(len(self.told[series]), self.dice.randint(1, 6)))
        await self.db.write(_delete, [entry.id for entry in gone])
        self.told[series] = [entry for entry in self.told[series] if entry not in gone]

    async def lay(self) -> None:
        await self.db.write(marks.lay, self.dice.choice(list(self.told)), now=clock.now(), spacing=SPACING, group=GROUP)

    async def forget(self) -> None:
        before = MORNING + self.dice.randrange(20) * 1000
        await self.db.write(_drop, before)
        for series, entries in self.told.items():
            if series.tenant_id == 1:
                self.told[series] = [entry for entry in entries if entry.at >= before]

    async def check(self) -> None:
        for series, entries in self.told.items():
            bounds = sorted(self.dice.choice([0, MORNING, MORNING + self.dice.randrange(22) * 1000, EVER]) for _ in range(2))
            since, until = bounds
            rows = sorted(entry for entry in entries if since <= entry.at < until)
            size = self.dice.randint(1, 9)
            for descending in (False, True):
                wanted = rows[::-1] if descending else rows
                pages = [
                    await self.db.read(ranked.page, series, since, until, offset=offset, limit=size, descending=descending)
                    for offset in range(0, len(rows) + size, size)
                ]
                assert [(row.contact_id, row.at) for page in pages for row in page.rows] == [(row.contact_id, row.at) for row in wanted]
                assert {page.total for page in pages} == {len(rows)}
                assert all(len(page.rows) == size for page in pages[: len(rows) // size])

    async def recount(self) -> None:
        """That the marks of both levels hold what there is between them."""
        for series, entries in self.told.items():
            end = await self.db.read(_end, series)
            for level in (0, 1):
                laid = await self.db.read(_marks, series, level)
                ends = [*(at for at, _ in laid[1:]), end][: len(laid)]
                counted = [sum(at <= entry.at < until for entry in entries) for (at, _), until in zip(laid, ends, strict=True)]
                assert [held for _, held in laid] == counted
                assert sum(counted) == sum(entry.at < end for entry in entries)


def _insert(tx: Tx, rows: list[tuple[Any, ...]]) -> list[int]:
    found = [
        tx.value(
            "INSERT INTO interactions (tenant_id, communication_id, contact_id, campaign_id, message_id, kind, at)"
            " VALUES (:tenant_id, 1, :contact_id, 1, :message_id, :kind, :at) RETURNING id",
            tenant_id=tenant_id,
            message_id=message_id,
            kind=kind,
            contact_id=contact_id,
            at=at,
        )
        for tenant_id, message_id, kind, contact_id, at in rows
    ]
    line = marks.line()
    marks.written(tx, [Happening(tenant_id, message_id, kind, at) for tenant_id, message_id, kind, _, at in rows if at < line])
    return found


def _delete(tx: Tx, identities: list[int]) -> None:
    rows = tx.rows("DELETE FROM interactions WHERE id IN :ids[bigint] RETURNING tenant_id, message_id, kind, at", ids=identities)
    marks.removed(tx, [Happening(*row) for row in rows])


def _drop(tx: Tx, before: int) -> None:
    rows = tx.rows("DELETE FROM interactions WHERE tenant_id = 1 AND at < :before RETURNING tenant_id, message_id, kind, at", before=before)
    marks.removed(tx, [Happening(*row) for row in rows])


def _marks(tx: Tx, series: Series, level: int) -> list[tuple[int, int]]:
    return tx.rows(
        "SELECT at, held FROM marks WHERE tenant_id = :tenant_id AND message_id = :message_id AND kind = :kind AND level = :level ORDER BY at",
        **series._asdict(),
        level=level,
    )


def _end(tx: Tx, series: Series) -> int:
    return (
        tx.value("SELECT at FROM marked WHERE tenant_id = :tenant_id AND message_id = :message_id AND kind = :kind", **series._asdict())
        or 0
    )


@pytest.mark.parametrize("seed", SEEDS)
async def test_pages_are_the_rows_in_order_whatever_was_late_removed_and_marked(db: Database, seed: int):
    ledger = Ledger(db, seed)
    for number in range(STEPS):
        await ledger.step()
        if number % 3 == 0:
            await ledger.check()
    await ledger.check()
    await ledger.recount()


async def test_marks_are_exact_while_many_write_remove_and_mark_at_once(db: Database):
    ledger = Ledger(db, 7)
    await ledger.write(60)

    async def busy(move: Any) -> None:
        for _ in range(12):
            await move()

    async def removing() -> None:
        # what one removes no other has in hand: the rows of the ledger here are changed before its store is asked
        series = ledger.dice.choice(list(ledger.told))
        if ledger.told[series]:
            await ledger.db.write(_delete, [ledger.told[series].pop().id])

    await asyncio.gather(*(busy(move) for move in (ledger.write, ledger.write, removing, removing, ledger.lay, ledger.lay)))
    await ledger.check()
    await ledger.recount()
    while await db.read(_end, Series(1, 5, "sent")) == 0:
        await ledger.write(10)
        await db.write(marks.lay, Series(1, 5, "sent"), now=clock.now(), spacing=SPACING, group=GROUP)
    await ledger.recount()


async def test_marks_are_laid_for_what_is_settled_and_a_second_is_never_cut(db: Database):
    present, series = clock.now(), Series(1, 5, "sent")
    settled = marks.second(present - marks.SETTLED)
    instants = (
        [MORNING] * (marks.CHUNK * SPACING + 5) + [MORNING + DAY + number * 250 for number in range(9)] + [settled, settled + 1, present]
    )
    await db.write(_insert, [(1, 5, "sent", 1, at) for at in instants])
    while await db.write(marks.lay, series, now=present, spacing=SPACING, group=GROUP):
        pass
    laid = await db.read(_marks, series, 0)
    assert laid == [(0, marks.CHUNK * SPACING + 5), (MORNING + 1000, 4), (MORNING + DAY + 1000, 4)]
    assert await db.read(_end, series) == MORNING + DAY + 2000
    assert [held for _, held in await db.read(_marks, series, 1)] == [laid[0][1] + 4, 4]


async def test_what_is_of_this_moment_costs_no_look_at_marks(db: Database):
    present = clock.now()
    await db.write(_insert, [(1, 5, "sent", 1, present), (1, None, "sent", 1, MORNING), (1, 5, "updated", 1, MORNING)])
    assert await db.read(lambda tx: tx.rows("SELECT * FROM marked")) == []


async def test_a_clock_that_is_ahead_lays_no_marks_into_the_present(db: Database):
    present, series = clock.now(), Series(1, 5, "sent")
    await db.write(_insert, [(1, 5, "sent", 1, present - 10 * MINUTE)] * 9)
    await db.write(marks.lay, series, now=present + 5 * HOUR, spacing=SPACING, group=GROUP)
    assert await db.read(_marks, series, 0) == []


async def test_who_has_to_read_far_is_told_and_the_marks_it_asks_for_are_laid(db: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ranked, "FAR", 10)
    series = Series(1, 5, "sent")
    await db.write(_insert, [(1, 5, "sent", 1, MORNING + number * 1000) for number in range(30)])
    assert (await db.read(ranked.page, series, 0, EVER, offset=20, limit=5)).far
    await db.write(marks.want, series, now=1)
    await db.write(marks.want, series, now=2)
    assert await db.read(marks.wanted) == series
    while await db.read(marks.wanted):
        await db.write(marks.lay, series, now=clock.now(), spacing=SPACING, group=GROUP)
    found = await db.read(ranked.page, series, 0, EVER, offset=20, limit=5)
    assert (found.far, found.total, [row.at for row in found.rows]) == (False, 30, [MORNING + number * 1000 for number in range(20, 25)])


async def test_a_word_that_comes_late_is_counted_where_it_belongs(db: Database):
    series = Series(1, 5, "delivered")
    await db.write(_insert, [(1, 5, "delivered", 1, MORNING + number * 1000) for number in range(9)])
    await db.write(marks.lay, series, now=clock.now(), spacing=SPACING, group=GROUP)
    before = await db.read(_marks, series, 0)
    subject = events.Subject(1, 1, 1, 1, 5, None, "email", "CAMPAIGN", MORNING)
    await db.write(events.append, [events.Event(subject, "delivered", at) for at in (MORNING + 1, MORNING + 4000, clock.now())])
    assert [held for _, held in await db.read(_marks, series, 0)] == [before[0][1] + 1, before[1][1] + 1, *(held for _, held in before[2:])]
    assert (await db.read(ranked.page, series, 0, EVER, offset=0, limit=100)).total == 12


async def test_a_worker_lays_marks_for_what_was_sent_by_the_thousands_and_for_what_is_wanted(db: Database):
    tenant = await db.write(tenants.create, "acme", name="Acme", sender_email="news@acme.test", now=MORNING)
    large, small = Series(tenant.id, 5, "sent"), Series(tenant.id, 6, "sent")
    for series, count in ((large, marks.SPACING + 1), (small, marks.SPACING)):
        await db.write(_fill, series, count)
        await db.write(_count, series, count if series == large else 1)
    stop = asyncio.Event()
    working = asyncio.create_task(marking.run(db, clock.now, stop))
    async with asyncio.timeout(20):
        while not await db.read(_end, large):
            pass
        assert await db.read(_end, small) == 0
        await db.write(marks.want, small, now=clock.now())
        while not await db.read(_end, small):
            pass
    stop.set()
    await working
    assert await db.read(_marks, large, 0) == [(0, marks.SPACING + 1)]


@pytest.mark.parametrize("late", [True, False])
async def test_no_mark_is_laid_over_what_another_transaction_has_not_committed(postgres_url: str, late: bool):
    """A late row, and a removed one: whoever lays marks waits for both."""
    db = await open_database(postgres_url)
    series, inside, release = Series(1, 5, "sent"), threading.Event(), threading.Event()
    (first, *_) = await db.write(_insert, [(*series, 1, MORNING)] * 4)

    def unit(tx: Tx) -> None:
        if late:
            _insert(tx, [(*series, 1, MORNING)])
        else:
            _delete(tx, [first])
        inside.set()
        release.wait(20)

    other = asyncio.create_task(db.write(unit))
    await asyncio.to_thread(inside.wait, 20)
    laying = asyncio.create_task(db.write(marks.lay, series, now=clock.now(), spacing=SPACING, group=GROUP))
    while not laying.done() and not await db.read(_waiting):
        pass
    assert not laying.done()
    release.set()
    await asyncio.gather(other, laying)
    assert await db.read(_marks, series, 0) == [(0, 5 if late else 3)]
    await db.close()


def _waiting(tx: Tx) -> bool:
    return tx.value("SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") > 0


def _fill(tx: Tx, series: Series, count: int) -> None:
    tx.run(
        "INSERT INTO interactions (tenant_id, communication_id, contact_id, campaign_id, message_id, kind, at)"
        " SELECT tenant_id, 1, number, 1, message_id, kind, at FROM :rows(tenant_id bigint, message_id bigint, kind text, number bigint, at bigint) r",
        rows=[(*series, number, MORNING) for number in range(1, count + 1)],
    )


def _count(tx: Tx, series: Series, sent: int) -> None:
    tx.run(
        "INSERT INTO counters (tenant_id, hour, channel, type, template_id, campaign_id, message_id, slot, sent)"
        " VALUES (:tenant_id, 0, 'email', 'CAMPAIGN', 0, 1, :message_id, 0, :sent)",
        tenant_id=series.tenant_id,
        message_id=series.message_id,
        sent=sent,
    )
