"""kill -9 in the middle of a campaign, again and again: nothing is lost, and no more is doubled than was in flight."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from email.parser import BytesHeaderParser
from pathlib import Path

import pytest

from tests.support import missing
from tests.support.mail import MailServerMissingError, SmtpSink
from tests.support.postgres import Postgres, PostgresMissingError, running_postgres
from tests.support.walk import House
from tidings.database import Database, open_database
from tidings.database.migrate import migrate
from tidings.domain import communications, enrollments

MESSAGES = 5_000
KILLS = 10
LEASE = 2
"""Seconds; the least a server can be set to."""


class Server:
    """A real server process on a database, that sends through a sink; killed at will."""

    def __init__(self, url: str, home: Path, sink: SmtpSink) -> None:
        settings = {
            "TIDINGS_DATABASE_URL": url,
            "TIDINGS_HOME": str(home),
            "TIDINGS_SMTP_URL": f"{sink.url}&connections=4",
            "TIDINGS_LEASE": str(LEASE),
            "TIDINGS_LOG_LEVEL": "error",
        }
        # in a process group of its own, so that nothing of it outlives the test
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tidings", "serve", "--port", "0"],
            env={**os.environ, **settings},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def listening(self) -> None:
        """Waits for the line that says so."""
        assert self._process.stderr is not None
        told: list[bytes] = []
        for line in self._process.stderr:
            if b"listens on" in line:
                return
            told.append(line)
        pytest.fail(f"the server ended before it listened: {b''.join(told).decode()}")

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stderr is not None
        self._process.stderr.close()


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
            server = Server(durable_url, tmp_path, sink)
            await asyncio.to_thread(server.listening)
            await _reach(db, house.tenant_id, (kill * MESSAGES) // (KILLS + 1) + chance.randrange(1, MESSAGES // (KILLS + 1)))
            server.kill()
            in_flight += (await _progress(db, house.tenant_id))["in_process"]
        server = Server(durable_url, tmp_path, sink)
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
