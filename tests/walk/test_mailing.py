"""Mail to a list that takes more than one transaction: everybody on it gets one, whatever happens to whoever writes them."""

import asyncio
from typing import Any

import msgspec
import pytest

from tests.support.ledger import check_books
from tests.support.walk import House
from tidings.database import Tx
from tidings.delivery import mailing
from tidings.delivery.mailing import run_mailing
from tidings.domain import communications, contacts, jobs, lists
from tidings.domain.communications import Draft
from tidings.domain.communications import mailing as mailings
from tidings.domain.contacts import Consent
from tidings.domain.jobs import Job, Progress
from tidings.errors import Conflict
from tidings.message.outgoing import Address, Email
from tidings.rendering.template import content_hash

LEASE = mailing.LEASE


@pytest.fixture(autouse=True)
def _three_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailings, "CHUNK", 3)


async def listed(house: House, count: int) -> int:
    """A list of so many contacts."""
    members = [await house.contact(f"reader{number}@example.com", first_name=f"R{number}") for number in range(count)]
    return await house.db.write(_listed, house.tenant_id, members, house.now)


def _listed(tx: Tx, tenant_id: int, members: list[int], now: int) -> int:
    made = lists.create(tx, tenant_id, "Fair", now=now)
    if members:
        lists.add(tx, tenant_id, made.id, members, now=now)
    return made.id


def draft(house: House, list_id: int, **more: Any) -> Draft:
    content = house.content()
    return Draft(
        tenant_id=house.tenant_id,
        channel="email",
        content=content,
        content_hash=content_hash(content),
        type="OFFERTE",
        list_id=list_id,
        **more,
    )


async def begun(house: House, list_id: int, **more: Any) -> list[int]:
    return await house.db.write(communications.begin_mailing, draft(house, list_id, **more), now=house.now)


async def claimed(house: House) -> Job:
    job = await house.db.write(jobs.claim, now=house.now, lease_ms=LEASE)
    assert job is not None
    return job


async def job_of(house: House) -> Job:
    return (await house.db.read(jobs.page, house.tenant_id, limit=9, page=1)).rows[0]


async def step(house: House, job: Job, before: Progress | None = None) -> Progress | None:
    progress = before or Progress(job.cursor, job.done, job.rejected, job.total)
    return await house.db.write(communications.continue_mailing, job, progress, now=house.now, lease_ms=LEASE)


async def finished(house: House, job: Job) -> None:
    await run_mailing(house.db, house.clock, job, asyncio.Event())


async def written_to(house: House) -> list[str]:
    return sorted(row.address for row in await house.rows())


def everybody(count: int) -> list[str]:
    return sorted(f"reader{number}@example.com" for number in range(count))


async def test_the_first_are_written_to_at_once_and_the_rest_by_the_job(house: House):
    list_id = await listed(house, 8)
    assert len(await begun(house, list_id)) == 3
    assert await written_to(house) == everybody(8)[:3]
    job = await job_of(house)
    assert (job.kind, job.state, job.done, job.total) == ("mailing", "waiting", 0, 5)
    await finished(house, await claimed(house))
    assert await written_to(house) == everybody(8)
    done = await job_of(house)
    assert (done.state, done.done, done.rejected, done.total) == ("done", 5, 0, 5)
    sent = await house.dispatch()
    assert sorted(mail.recipients for mail in sent if isinstance(mail, Email)) == [(email,) for email in everybody(8)]
    await check_books(house)


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_a_list_that_fits_needs_no_job(house: House, count: int):
    assert len(await begun(house, await listed(house, count))) == count
    assert (await house.db.read(jobs.page, house.tenant_id, limit=9, page=1)).rows == []


@pytest.mark.parametrize("chunks", [0, 1, 2])
async def test_a_worker_that_dies_between_chunks_loses_and_doubles_nobody(house: House, chunks: int):
    list_id = await listed(house, 11)
    await begun(house, list_id)
    dead = await claimed(house)
    progress: Progress | None = None
    for _ in range(chunks):
        progress = await step(house, dead, progress)
    assert await house.db.write(jobs.claim, now=house.now, lease_ms=LEASE) is None
    house.later(LEASE)
    await finished(house, await claimed(house))
    assert await written_to(house) == everybody(11)
    assert (await job_of(house)).done == 8
    await check_books(house)


async def test_a_worker_that_comes_back_too_late_writes_to_nobody(house: House):
    await begun(house, await listed(house, 8))
    late = await claimed(house)
    house.later(LEASE)
    await finished(house, await claimed(house))
    with pytest.raises(Conflict):
        await step(house, late)
    assert await written_to(house) == everybody(8)


async def test_two_workers_with_one_job_write_to_everybody_once(house: House):
    await begun(house, await listed(house, 20))
    first = await claimed(house)
    house.later(LEASE)
    second = await claimed(house)
    results = await asyncio.gather(finished(house, first), finished(house, second), return_exceptions=True)
    assert [type(result) for result in results] == [Conflict, type(None)]
    assert await written_to(house) == everybody(20)


async def test_a_worker_that_is_stopped_gives_the_job_back(house: House):
    await begun(house, await listed(house, 8))
    stop = asyncio.Event()
    stop.set()
    await run_mailing(house.db, house.clock, await claimed(house), stop)
    assert (await job_of(house)).state == "waiting"
    await finished(house, await claimed(house))
    assert await written_to(house) == everybody(8)


async def test_members_that_must_not_or_cannot_be_written_to_are_passed_over(house: House):
    list_id = await listed(house, 7)
    denied: Consent = "denied"
    others = [
        await house.contact(phone="+31612345678"),
        await house.contact("denied@example.com", email_consent=denied),
        await house.contact("Named@example.com"),
    ]
    await house.db.write(lists.add, house.tenant_id, list_id, others, now=house.now)
    to = (Address("named@Example.com"), Address("reader5@example.com"))
    assert len(await begun(house, list_id, to=to, cc=(Address("boss@example.com"),), bcc=(Address("file@example.com"),))) == 3
    await finished(house, await claimed(house))
    assert await written_to(house) == sorted(set(everybody(7)) - {"reader5@example.com"})
    assert [row.recipients for row in await house.rows() if "boss" in (row.recipients or "")] == []
    done = await job_of(house)
    assert (done.done, done.rejected, done.total) == (3, 4, 7)


async def test_who_leaves_before_their_turn_is_not_written_to_and_who_joins_is(house: House):
    list_id = await listed(house, 8)
    await begun(house, list_id)
    leaving = [row.id for row in (await house.db.read(lists.members, house.tenant_id, list_id, limit=2, page=1)).rows]
    await house.db.write(lists.remove, house.tenant_id, list_id, leaving[:1])
    await house.db.write(contacts.delete, house.tenant_id, leaving[1])
    joining = await house.contact("late@example.com")
    await house.db.write(lists.add, house.tenant_id, list_id, [joining], now=house.now)
    await finished(house, await claimed(house))
    assert await written_to(house) == sorted([*everybody(6), "late@example.com"])
    assert (await job_of(house)).state == "done"


async def test_a_list_that_is_removed_ends_its_mailing(house: House):
    list_id = await listed(house, 8)
    await begun(house, list_id)
    await house.db.write(lists.delete, house.tenant_id, list_id)
    await finished(house, await claimed(house))
    assert (await job_of(house)).state == "done"
    assert len(await house.rows()) == 3


async def test_the_job_holds_neither_the_mail_nor_its_readers(house: House):
    list_id = await listed(house, 50)
    words = house.content(body="<p>" + "word " * 20_000 + "</p>")
    await house.db.write(
        communications.begin_mailing,
        msgspec.structs.replace(draft(house, list_id), content=words, content_hash=content_hash(words)),
        now=house.now,
    )
    assert len((await job_of(house)).params) < 2000
    await finished(house, await claimed(house))
    rows = await house.rows()
    assert (len(rows), len({row.content_id for row in rows})) == (50, 1)


async def test_what_is_said_of_a_mailing_holds_for_everybody_on_the_list(house: House):
    await begun(
        house,
        await listed(house, 7),
        scheduled_at=house.now + 60_000,
        subject="Other {{ first_name }}",
        sender_name="Sales",
        reply_to="sales@acme.example",
        variables='{"a":1}',
        related_entity_type="DEAL",
        related_entity_id="7",
        track_opens=False,
        created_by="crm",
    )
    await finished(house, await claimed(house))
    rows = await house.rows()
    assert {(row.state, row.scheduled_at, row.sender_name, row.reply_to, row.variables) for row in rows} == {
        ("scheduled", house.now + 60_000, "Sales", "sales@acme.example", '{"a":1}')
    }
    assert {(row.related_entity_type, row.related_entity_id, row.track_opens, row.created_by) for row in rows} == {("DEAL", "7", 0, "crm")}
    assert await house.dispatch() == []
    house.later(60_000)
    assert sorted(mail.subject for mail in await house.dispatch() if isinstance(mail, Email)) == [f"Other R{number}" for number in range(7)]
