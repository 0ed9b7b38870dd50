"""Erasing who walks through campaigns and is being written to at this moment."""

import asyncio
from typing import Any

import psycopg
import pytest

from tests.support import recount
from tests.support.postgres import waited_for
from tests.support.walk import House
from tidings.api import erasing
from tidings.clock import DAY
from tidings.domain import contacts, enrollments, erasure
from tidings.errors import NotFound, Unavailable
from tidings.message.outgoing import Address, Email


async def test_an_erased_contact_walks_no_further_and_everything_is_counted(house: House) -> None:
    ann, ben = await house.contact("ann@example.com"), await house.contact("ben@example.com")
    campaign_id = await house.campaign(("email", 0), ("email", DAY))
    await house.enroll(campaign_id, ann, ben)
    await house.dispatch()
    house.later(DAY)
    await house.planner.turn()
    erased = await erasing.erase(house.db, house.tenant_id, ann, lift=False, author="dpo", now=house.clock)
    assert (erased.communications, erased.enrollments) == (2, 1)
    (sent,) = await house.dispatch()
    assert isinstance(sent, Email)
    assert sent.recipients == ("ben@example.com",)
    counts = await house.counts()
    assert (counts.enrolled, counts.completed, counts.canceled, counts.sent) == (2, 2, 1, 3)
    await house.db.read(recount.check, house.tenant_id)
    found = await house.db.read(enrollments.page, house.tenant_id, contact_id=ann, limit=5, page=1)
    assert [row.completed_at for row in found.rows] == [house.now]
    with pytest.raises(NotFound):
        await erasing.erase(house.db, house.tenant_id, ann, lift=False, author="dpo", now=house.clock)


async def test_what_is_being_sent_at_this_moment_is_waited_for_and_then_erased(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = await house.contact("ann@example.com")
    await house.accept()
    house.carrying.gate = asyncio.Event()
    sending = asyncio.create_task(house.dispatch())
    await house.carrying.reached.wait()
    monkeypatch.setattr(erasing, "PATIENCE", 0.1)
    with pytest.raises(Unavailable, match="being sent"):
        await erasing.erase(house.db, house.tenant_id, ann, lift=False, author="dpo", now=house.clock)
    monkeypatch.undo()
    erasure = asyncio.create_task(erasing.erase(house.db, house.tenant_id, ann, lift=False, author="dpo", now=house.clock))
    house.carrying.gate.set()
    assert (await erasure).communications == 1
    await sending
    assert [(row.state, row.address) for row in await house.rows()] == [("sent", "")]


async def test_the_same_words_said_again_to_somebody_else_who_is_erased_too(house: House) -> None:
    for name in ("ann", "ben"):
        contact_id = await house.contact(f"{name}@example.com")
        await house.accept(f"{name}@example.com")
        await house.dispatch()
        erased = await erasing.erase(house.db, house.tenant_id, contact_id, lift=False, author="dpo", now=house.clock)
        assert erased.communications == 1
    assert [(row.state, row.address) for row in await house.rows()] == [("sent", ""), ("sent", "")]


async def test_mail_to_an_address_that_the_contact_had_once_tells_of_nobody(house: House) -> None:
    ann = await house.contact("ann@example.com", first_name="Ann")
    both = (Address("ann@example.com", "Ann"), Address("ben@example.com", "Ben"))
    for to in (both[:1], both):
        await house.accept(to=to)
    await house.dispatch()
    await house.db.write(contacts.update, house.tenant_id, ann, contacts.Fields(email="anna@example.com"), now=house.now)
    erased = await erasing.erase(house.db, house.tenant_id, ann, lift=False, author="dpo", now=house.clock)
    assert (erased.communications, erased.shared) == (1, 1)
    left = await house.db.read(
        lambda tx: tx.rows("SELECT address, recipients FROM communications WHERE tenant_id = :t ORDER BY id", t=house.tenant_id)
    )
    assert left == [("", None), ("ben@example.com", '{"to":["\\"Ben\\" <ben@example.com>"],"cc":[],"bcc":[]}')]


async def test_what_is_accepted_while_it_is_being_erased_does_not_go_out(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = await house.contact("ann@example.com")
    await house.accept()
    await house.dispatch()
    late = iter((house.accept,))

    async def write(self: Any, unit: Any, *args: Any, **kwargs: Any) -> Any:
        if unit is erasure.sent:
            for accept in late:
                await accept("ann@example.com", content=house.content("Late"))
        return await wrote(self, unit, *args, **kwargs)

    wrote: Any = type(house.db).write
    monkeypatch.setattr(type(house.db), "write", write)
    erased = await erasing.erase(house.db, house.tenant_id, ann, lift=False, author="dpo", now=house.clock)
    monkeypatch.undo()
    assert erased.communications == 2
    entries = await house.db.read(lambda tx: tx.rows("SELECT author, action FROM audit WHERE tenant_id = :t", t=house.tenant_id))
    assert entries == [("dpo", "erase")]
    assert await house.dispatch() == []
    assert [(row.state, row.address, row.contact_id) for row in await house.rows()] == [("sent", "", ann), ("canceled", "", ann)]
    assert await house.db.read(contacts.get, house.tenant_id, ann) is None
    await house.db.read(recount.check, house.tenant_id)


async def test_a_message_that_somebody_is_at_is_waited_for(house: House, database_url: str) -> None:
    if house.db.kind == "sqlite":
        return  # there is one who writes at a time
    ann = await house.contact("ann@example.com")
    await house.accept(variables='{"first_name":"Quokka"}')
    await house.dispatch()
    with psycopg.connect(database_url) as opening:
        opening.execute("SELECT id FROM communications FOR UPDATE")
        task = asyncio.create_task(erasing.erase(house.db, house.tenant_id, ann, lift=False, author="dpo", now=house.clock))
        await waited_for(database_url)
        opening.rollback()
    await task
    left = await house.db.read(
        lambda tx: tx.rows("SELECT worded, address, variables FROM communications WHERE tenant_id = :t", t=house.tenant_id)
    )
    assert left == [(2, "", None)]
    doomed = await house.db.read(
        lambda tx: tx.rows("SELECT 1 FROM contents WHERE tenant_id = :t AND doomed_at IS NOT NULL", t=house.tenant_id)
    )
    assert len(doomed) == 1
