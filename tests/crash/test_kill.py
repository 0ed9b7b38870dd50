"""kill -9 in the middle of a campaign, again and again: nothing is lost, and no more is doubled than was in flight."""

import asyncio
import random
from collections import Counter
from email.parser import BytesHeaderParser
from pathlib import Path

import pytest

from tests.support import missing
from tests.support.mail import MailServerMissingError, SmtpSink
from tests.support.postgres import Postgres, PostgresMissingError, running_postgres
from tests.support.server import Server
from tests.support.walk import House
from tidings.database import Database, open_database
from tidings.database.migrate import migrate
from tidings.domain import communications, enrollments

MESSAGES = 5_000
KILLS = 10
LEASE = 2
"""Seconds; the least a server can be set to."""


@pytest.fixture
def sink() -> SmtpSink:
    try:
        started = SmtpSink.start(dump=True)
    except MailServerMissingError as error:
        missing(str(error))
    return started


@pytest.fixture(params=["sqlite", "postgres"])
def durable_url(request: pytest.FixtureRequest, tmp_path: Path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/tidings.db"
        return
    try:
        with running_postgres(settings={}) as server:
            yield _fresh(server)
    except PostgresMissingError as error:
        missing(str(error))


def _fresh(server: Postgres) -> str:
    return server.create("crash")


def _started(url: str, home: Path, sink: SmtpSink) -> Server:
    return Server(url, home, smtp_url=f"{sink.url}&connections=4", lease=str(LEASE))


async def _enrolled(db: Database) -> House:
    house = House(db)
    house.now = 1  # long ago: everything is due
    await house.settle_in()
    campaign = await house.campaign()

    def people(tx: object) -> None:
        tx.run(  # type: ignore[attr-defined]
            "INSERT INTO contacts (tenant_id, email, email_key, created_at, updated_at)"
            " SELECT :t, r.email, r.email, 1, 1 FROM :rows(email text) r",
            t=house.tenant_id,
            rows=[(f"person{number}@example.net",) for number in range(MESSAGES)],
        )

    await db.write(people)
    await db.write(
        enrollments.enroll_some, house.tenant_id, campaign, list_id=None, contact_ids=None, after=0, limit=MESSAGES, now=house.now
    )
    return house


async def _progress(db: Database, tenant_id: int) -> Counter[str]:
    rows = await db.read(lambda tx: tx.rows("SELECT state, COUNT(*) FROM communications WHERE tenant_id = :t GROUP BY state", t=tenant_id))
    return Counter(dict(rows))


async def _reach(db: Database, tenant_id: int, sent: int) -> None:
    async with asyncio.timeout(90):
        # another process does the work: its record is asked
        while (await _progress(db, tenant_id))["sent"] < sent:  # noqa: ASYNC110
            await asyncio.sleep(0.002)


async def test_ten_kills_lose_nothing_and_double_no_more_than_was_in_flight(durable_url: str, tmp_path: Path, sink: SmtpSink) -> None:
    migrate(durable_url)
    db = await open_database(durable_url)
    chance = random.Random(11)
    in_flight = 0
    try:
        house = await _enrolled(db)
        for kill in range(KILLS):
            server = _started(durable_url, tmp_path, sink)
            await asyncio.to_thread(server.listening)
            await _reach(db, house.tenant_id, (kill * MESSAGES) // (KILLS + 1) + chance.randrange(1, MESSAGES // (KILLS + 1)))
            server.kill()
            in_flight += (await _progress(db, house.tenant_id))["in_process"]
        server = _started(durable_url, tmp_path, sink)
        await _reach(db, house.tenant_id, MESSAGES)
        server.kill()
        states = await _progress(db, house.tenant_id)
        delivered = Counter(mail.recipients[0] for mail in sink.messages())
        ids = Counter(BytesHeaderParser().parsebytes(mail.raw)["Message-ID"] for mail in sink.messages())
        completed = (await house.counts()).completed
        counts = await house.counts()
        still = await db.read(communications.queues)
    finally:
        await db.close()
        sink.stop()
    assert states == {"sent": MESSAGES}
    assert still == []
    assert set(delivered) == {f"person{number}@example.net" for number in range(MESSAGES)}
    doubled = sum(delivered.values()) - MESSAGES
    assert doubled <= in_flight
    # whoever got it twice can tell: it is the same mail
    assert len(ids) == MESSAGES
    assert (counts.accepted, counts.sent, counts.failed, completed) == (MESSAGES, MESSAGES, 0, MESSAGES)
    print(f"{KILLS} kills: {in_flight} in flight, {doubled} doubled, 0 lost")


async def test_of_many_workers_one_is_killed_and_the_others_finish_its_work(postgres_url: str, tmp_path: Path, sink: SmtpSink) -> None:
    db = await open_database(postgres_url)
    try:
        house = await _enrolled(db)
        workers = [
            Server(postgres_url, tmp_path, command=("worker",), smtp_url=f"{sink.url}&connections=4", lease=str(LEASE)) for _ in range(3)
        ]
        await _reach(db, house.tenant_id, MESSAGES // 5)
        workers[0].kill()
        await _reach(db, house.tenant_id, MESSAGES)
        statuses = [worker.stop() for worker in workers[1:]]
        delivered = Counter(mail.recipients[0] for mail in sink.messages())
        counts = await house.counts()
        left_behind = sum(kind == "unknown" for _, kind in await house.interactions())
    finally:
        await db.close()
        sink.stop()
    assert statuses == [0, 0]
    assert len(delivered) == MESSAGES
    # nobody sends what another holds: only what the killed one left behind, and was marked unknown, may have gone out twice
    assert left_behind < MESSAGES // 2
    assert sum(delivered.values()) - MESSAGES <= left_behind
    assert (counts.sent, counts.completed) == (MESSAGES, MESSAGES)
