"""Whatever carriers tell of a few messages, in whatever order, however often and in whatever company, it comes to one state."""

import itertools
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.recount import check
from tests.support.walk import MORNING, NO_FILES, SIGNER, House, minutes
from tests.walk.test_races import settle
from tidings.clock import HOUR
from tidings.database import Database, open_database
from tidings.domain import communications
from tidings.domain.communications import Settled
from tidings.inbound import events
from tidings.inbound.events import Told
from tidings.inbound.receive import Desk
from tidings.message.heard import Kind, Notice, Reason
from tidings.message.outgoing import Address

TENANTS = itertools.count(1)
ANN, BOB = "ann@example.com", "bob@example.com"
KINDS: list[Kind] = [
    "sent", "delivered", "deferred", "bounced", "failed", "complained", "opened", "clicked", "unsubscribed", "resubscribed",
]  # fmt: skip
REASONS: list[Reason | None] = [None, "invalid", "bounced", "timed_out", "blocked", "spam", "unsubscribed", "other"]
MESSAGES = 9
"""Of a campaign, on its way still; one whose worker died; six that were taken, the first to two people; one to Bob."""


class Word(msgspec.Struct, frozen=True):
    """What a carrier says of one of the messages: `address` names another person than the one it went to."""

    message: int
    kind: Kind
    at: int
    hard: bool
    reason: Reason | None
    code: str
    to_bob: bool


WORDS = st.builds(
    Word,
    message=st.integers(0, MESSAGES - 1),
    kind=st.sampled_from(KINDS),
    at=st.sampled_from([MORNING - HOUR, MORNING + 1, MORNING + minutes(5), MORNING + minutes(70), MORNING + 5 * HOUR, MORNING + 90 * HOUR]),
    hard=st.booleans(),
    reason=st.sampled_from(REASONS),
    code=st.sampled_from(["", "4.2.2", "5.1.1"]),
    to_bob=st.booleans(),
)


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[Word], list[list[int]]]:
    """What happened, and two ways of telling it: each at least once, in batches of any size."""
    words = draw(st.lists(WORDS, min_size=1, max_size=14, unique=True))
    soft = [Word(number, "bounced", MORNING + minutes(5), False, None, "4.2.2", False) for number in range(2, 8)]
    words += draw(st.sampled_from([[], soft]))
    words = list(dict.fromkeys(words))
    ways = [draw(st.permutations([*range(len(words)), *draw(st.lists(st.integers(0, len(words) - 1), max_size=8))])) for _ in range(2)]
    return words, ways


class Story:
    """A tenant with the same messages each time, to whom the same is told."""

    def __init__(self, db: Database) -> None:
        self.house = House(db)
        self.desk = Desk(db, NO_FILES, SIGNER, self.house.clock)
        self.ids: list[int] = []

    async def begin(self) -> None:
        house = self.house
        await house.settle_in(f"acme{next(TENANTS)}")
        for others in ((Address(BOB),), (), (), (), (), ()):
            await house.accept(to=(Address(ANN), *others))
        await house.accept(BOB)
        await house.dispatch()
        house.later(minutes(1))
        await house.accept(ANN)
        await self._claim(1)
        house.later(minutes(2))
        [queue] = [queue for queue in await house.db.read(communications.queues) if queue.tenant_id == house.tenant_id]
        assert await house.db.write(communications.sweep, queue, now=house.now) == 1
        # its rule says it is to be tried again, and that is under way while the carrier speaks
        await self._claim(2)
        await house.db.write(settle, house, 2, [Settled(one, "unknown", due_at=1 << 50) for one in await self._held()])
        campaign = await house.campaign(("email", 0), ("email", minutes(60)))
        await house.enroll(campaign, await house.contact(ANN))
        while await house.planner.turn():
            pass
        await self._claim(3)
        rows = await house.rows()
        self.ids = [row.id for row in sorted(rows, key=lambda row: ({"in_process": 0, "unknown": 1}.get(row.state, 2), row.id))]
        assert len(self.ids) == MESSAGES
        house.later(6 * HOUR)

    async def _claim(self, lease: int) -> None:
        house = self.house
        for queue in await house.db.read(communications.queues):
            if queue.tenant_id == house.tenant_id:
                await house.db.write(communications.claim, queue, lease=lease, until=house.now + minutes(1), now=house.now, limit=50)

    async def _held(self) -> list[int]:
        return [row.id for row in await self.house.rows() if row.state == "in_process"]

    async def hear(self, words: list[Word]) -> Told:
        notices = [self._notice(word) for word in words]
        return await events.take(self.desk, self.house.tenant_id, "ses", notices)

    def _notice(self, word: Word) -> Notice:
        communication_id = self.ids[word.message]
        name = self.house.composer.message_id(self.house.tenant_id, communication_id, 0)
        return Notice(
            "",
            word.kind,
            word.at,
            hard=word.hard,
            reason=word.reason,
            code=word.code,
            detail=f"{word.reason} {word.at}",
            id=str(word),
            address=BOB if word.to_bob else ANN,
            names=(name,),
            url="https://shop.example/" if word.kind == "clicked" else "",
        )

    async def outcome(self) -> dict[str, list[Any]]:
        """Everything that can be seen of it, with places for ids."""
        house = self.house
        await house.db.read(check, house.tenant_id)
        place = {communication_id: number for number, communication_id in enumerate(self.ids)}

        async def ask(sql: Any) -> list[tuple[Any, ...]]:
            return await house.db.read(lambda tx: tx.rows(sql, t=house.tenant_id))

        found: dict[str, list[Any]] = {}
        found["communications"] = [
            (place[row[0]], *row[1:])
            for row in await ask(
                "SELECT id, state, sent_at, delivered_at, opened_at, clicked_at, open_count, click_count, human_opens, human_clicks, error, error_code,"
                " due_at, lease, updated_at FROM communications WHERE tenant_id = :t"
            )
            if row[0] in place
        ]
        found["interactions"] = [
            (place.get(row[0]), *row[1:])
            for row in await ask("SELECT communication_id, kind, at, detail, reason, code, bot FROM interactions WHERE tenant_id = :t")
        ]
        found["suppressions"] = [
            (*row[:-1], place.get(row[-1]))
            for row in await ask(
                "SELECT channel, address, reason, detail, created_at, communication_id FROM suppressions WHERE tenant_id = :t"
            )
        ]
        found["enrollments"] = await ask("SELECT completed_at, stopped_by, due_at FROM enrollments WHERE tenant_id = :t")
        found["counters"] = [msgspec.structs.astuple(await house.counts())]
        return {name: sorted(rows, key=repr) for name, rows in found.items()}


async def tell(db: Database, words: list[Word], way: list[int], size: int) -> dict[str, list[Any]]:
    story = Story(db)
    await story.begin()
    heard = 0
    for start in range(0, len(way), size):
        heard += (await story.hear([words[number] for number in way[start : start + size]])).taken
    assert heard == len(words)
    assert (await story.hear(words)).taken == 0
    return await story.outcome()


async def compare(db: Database, words: list[Word], ways: list[list[int]]) -> None:
    at_once = await tell(db, words, ways[0], size=100)
    one_by_one = await tell(db, words, ways[1], size=1)
    assert one_by_one == at_once


@pytest.fixture
async def sqlite_db(sqlite_url: str) -> AsyncIterator[Database]:
    database = await open_database(sqlite_url)
    yield database
    await database.close()


@pytest.fixture
async def postgres_db(postgres_url: str) -> AsyncIterator[Database]:
    database = await open_database(postgres_url)
    yield database
    await database.close()


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(story=stories())
async def test_any_order_and_repetition_comes_to_one_state_on_sqlite(sqlite_db: Database, story: tuple[list[Word], list[list[int]]]):
    await compare(sqlite_db, *story)


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(story=stories())
async def test_any_order_and_repetition_comes_to_one_state_on_postgresql(postgres_db: Database, story: tuple[list[Word], list[list[int]]]):
    await compare(postgres_db, *story)
