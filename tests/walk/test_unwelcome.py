"""Whom a carrier will never write to again is not written to again by us: suppressed with the refusal, in the transaction that records it."""

import asyncio

import psycopg

from tests.support.ledger import check_books
from tests.support.postgres import waited_for
from tests.support.recount import check
from tests.support.walk import House
from tests.walk.test_pace import settled, working
from tidings.api import erasing
from tidings.database import Database, Tx, open_database
from tidings.database.postgres import PostgresTx, configure
from tidings.domain import communications, counters, suppressions, tenants
from tidings.domain.communications import Receipt, Settled
from tidings.domain.counters import Tally
from tidings.domain.suppressions import Suppression
from tidings.message.outgoing import Address, accepted, refused
from tidings.providers.sandbox import Filters, Sandbox, page

NUMBER = "+41791234567"


async def found(house: House, channel: str, address: str) -> Suppression | None:
    return await house.db.read(suppressions.find, house.tenant_id, channel, address)


async def assert_counts_are_true(house: House) -> None:
    await house.db.read(check, house.tenant_id)
    await check_books(house)


async def test_a_number_that_opted_out_with_the_carrier_is_unsubscribed_here(house: House) -> None:
    house.carrying.answer = lambda sealed: refused("the recipient has opted out", "21610", ((NUMBER, "unsubscribed"),))
    campaign = await house.campaign(("sms", 0), ("sms", 1000))
    await house.enroll(campaign, await house.contact(phone=NUMBER))
    assert len(await house.dispatch()) == 1
    (row,) = await house.rows()
    known = await found(house, "sms", NUMBER)
    assert known is not None
    assert (known.reason, known.detail, known.communication_id) == ("unsubscribed", "the recipient has opted out", row.id)
    house.later(1000)
    assert await house.dispatch() == []
    assert await house.states() == ["failed", "suppressed"]
    assert (await house.counts()).failed == 2
    assert [kind for _, kind in await house.interactions()] == ["failed", "failed"]
    await assert_counts_are_true(house)


async def test_an_address_where_nobody_is_gets_one_mail_and_no_other(house: House) -> None:
    sandbox = Sandbox(house.db, house.clock, "email")
    for address in ("bounce@sandbox.test", "Bounce+2@sandbox.test", "ann@sandbox.test"):
        await house.accept(address)
    async with working(house, sandbox):
        await settled(house, "pending", "in_process")
        for address in ("BOUNCE@sandbox.test", "ann@sandbox.test"):
            await house.accept(address)
        await settled(house, "pending", "in_process")
    assert await house.states() == ["failed", "failed", "sent", "suppressed", "sent"]
    for address in ("bounce@sandbox.test", "bounce+2@sandbox.test"):
        known = await found(house, "email", address)
        assert known is not None
        assert (known.reason, known.detail) == ("bounced", "550 5.1.1 the sandbox plays an address that does not exist")
    assert await found(house, "email", "ann@sandbox.test") is None
    kept = await house.db.read(page, house.tenant_id, Filters())
    assert [row.recipients for row in kept.rows] == ['["ann@sandbox.test"]'] * 2
    await assert_counts_are_true(house)


async def test_of_several_recipients_those_who_are_gone_are_left_out_the_next_time(house: House) -> None:
    everybody = (Address("ann@example.com"), Address("Bob@example.com"))
    house.carrying.answer = lambda sealed: accepted("1", (("Bob@example.com", "550 5.1.1 gone\0"),), (("Bob@example.com", "bounced"),))
    await house.accept(to=everybody)
    await house.dispatch()
    known = await found(house, "email", "bob@example.com")
    assert known is not None
    assert (known.reason, known.detail) == ("bounced", "550 5.1.1 gone")
    house.carrying.answer = lambda sealed: accepted("2")
    await house.accept(to=everybody)
    (mail,) = await house.dispatch()
    assert mail.recipients == ("ann@example.com",)
    assert await house.states() == ["sent", "sent"]
    await assert_counts_are_true(house)


async def test_what_is_known_of_an_address_already_stays(house: House) -> None:
    await house.accept()
    await house.db.write(suppressions.add, house.tenant_id, "email", "x@example.com", "manual", now=house.now)
    house.carrying.answer = lambda sealed: refused("no", "5.1.1", (("x@example.com", "bounced"),))
    await house.dispatch()
    known = await found(house, "email", "x@example.com")
    assert known is not None
    assert known.reason == "manual"
    assert await house.states() == ["failed"]


async def test_a_worker_that_comes_back_too_late_suppresses_nobody(house: House) -> None:
    made = await house.accept()
    late = Settled(made.id, "failed", suppress=(("ann@example.com", "bounced", "late"),))
    result = await house.db.write(communications.settle, house.tenant_id, 7, [late], Tally(), provider="x", now=house.now)
    assert result.settled == 0
    assert await found(house, "email", "ann@example.com") is None


async def test_one_tenants_refusal_says_nothing_to_another(db: Database) -> None:
    first = await House(db).settle_in()
    second = await House(db).settle_in("other")
    assert len(await db.read(tenants.all)) == 2
    first.carrying.answer = lambda sealed: refused("no", "5.1.1", (("ann@example.com", "bounced"),))
    await first.accept()
    await first.dispatch()
    await second.accept()
    assert len(await second.dispatch()) == 1
    assert await second.states() == ["sent"]


async def test_five_in_a_row_that_come_back_to_two_workers_at_once_are_five(postgres_url: str) -> None:
    db = await open_database(postgres_url)
    house = await House(db).settle_in()
    for _ in range(5):
        await house.accept()
    await house.dispatch()

    def back(tx: Tx, communication_id: int) -> None:
        tally = Tally()
        receipt = Receipt(kind="bounced", at=house.now, hard=False)
        communications.receive(tx, house.tenant_id, communication_id, receipt, tally, now=house.now)
        counters.fold(tx, tally)

    first, *others, last = [row.id for row in await house.rows()]
    for communication_id in others:
        await db.write(back, communication_id)
    with psycopg.connect(postgres_url) as connection:
        configure(connection)
        back(PostgresTx(connection), first)
        beside = asyncio.create_task(db.write(back, last))
        await waited_for(postgres_url)
        connection.commit()
    await beside
    known = await found(house, "email", "ann@example.com")
    assert known is not None
    assert (known.reason, known.communication_id) == ("bounced", first)
    await assert_counts_are_true(house)
    await db.close()


async def test_a_carrier_that_hears_of_a_change_of_mind_takes_back_no_more_than_stop_had_done(house: House) -> None:
    await house.accept(phone=NUMBER, content=house.content(body="Hi", channel="sms"))
    await house.dispatch()
    (row,) = await house.rows()
    await house.db.write(suppressions.add, house.tenant_id, "sms", NUMBER, "manual", detail="rings at night", now=house.now)
    assert await house.db.write(suppressions.stop, house.tenant_id, "sms", NUMBER, detail="STOP", now=house.now)

    def back(tx: Tx) -> None:
        tally = Tally()
        communications.receive(tx, house.tenant_id, row.id, Receipt(kind="resubscribed", at=house.now), tally, now=house.now)
        counters.fold(tx, tally)

    await house.db.write(back)
    known = await found(house, "sms", NUMBER)
    assert known is not None
    assert (known.reason, known.detail) == ("manual", "rings at night")


async def test_an_erased_number_stays_off_and_none_of_the_words_about_it(house: House) -> None:
    ann = await house.contact(phone=NUMBER)
    await house.db.write(suppressions.add, house.tenant_id, "sms", NUMBER, "manual", detail="rings Ann at night", now=house.now)
    await house.db.write(suppressions.stop, house.tenant_id, "sms", NUMBER, detail="STOP", now=house.now)
    await erasing.erase(house.db, house.tenant_id, ann, lift=False, author="dpo", now=house.clock)
    kept = "SELECT reason, detail, underlying FROM suppressions WHERE tenant_id = :t"
    (left,) = await house.db.read(lambda tx: tx.rows(kept, t=house.tenant_id))
    assert left == ("unsubscribed", "", f'["manual","",null,{house.now}]')
    assert not await house.db.write(suppressions.start, house.tenant_id, "sms", NUMBER)
    known = await found(house, "sms", NUMBER)
    assert known is not None
    assert known.reason == "manual"
