"""What is not kept for ever: it goes in time, a step at a time, and everything that was counted of it stays right."""

import asyncio
import random
from typing import Any

import msgspec
import psycopg
import pytest

from tests.support import recount
from tests.support.postgres import waited_for
from tests.support.walk import House, minutes
from tidings.clock import DAY
from tidings.database import Tx, open_database
from tidings.database.postgres import PostgresTx, configure, ensure_partitions, old_partitions
from tidings.delivery.keeping import Keeper, Removed
from tidings.domain import communications, contacts, counters, keeping, tenants, threads
from tidings.domain.communications import Hit, Receipt
from tidings.domain.counters import Tally
from tidings.domain.tenants import Kept
from tidings.domain.threads import Arrival, Clue
from tidings.domain.threads.join import Beginning, begin
from tidings.domain.threads.receive import Incoming
from tidings.errors import Conflict, Invalid
from tidings.message.outgoing import Email

LINKED = '<p>Hello {{ name }}</p><a href="https://shop.test/a">a</a> <a href="https://shop.test/{{ who }}">b</a>'


async def keep(house: House, **change: Any) -> Removed:
    """Sets for how long what is kept, and has it done; what had to wait for its grace too."""
    await house.db.write(tenants.keep, house.tenant_id, Kept(**change), now=house.now)
    return await turn(house)


async def turn(house: House) -> Removed:
    keeper = Keeper(house.db, house.clock, idle=0)
    first = await keeper.turn()
    assert first is not None
    house.later(3 * keeping.GRACE)
    second = await keeper.turn() or Removed()
    return msgspec.structs.replace(first, contents=first.contents + second.contents)


async def rows(house: House, sql: Any, **params: Any) -> list[tuple[Any, ...]]:
    return await house.db.read(lambda tx: tx.rows(sql, t=house.tenant_id, **params))


async def counted(house: House) -> tuple[Any, ...]:
    def read(tx: Tx) -> tuple[Any, ...]:
        return tuple(part(tx, house.tenant_id) for part in (recount.counted, recount.happened, recount.clicks))

    return await house.db.read(read)


async def report(house: House, communication_id: int, kind: Any, at: int) -> None:
    def unit(tx: Tx) -> None:
        tally = Tally()
        communications.receive(tx, house.tenant_id, communication_id, Receipt(kind=kind, at=at), tally, now=house.now)
        counters.fold(tx, tally)

    await house.db.write(unit)


async def delete(house: House, ids: list[int]) -> None:
    def unit(tx: Tx) -> None:
        tally = Tally()
        communications.delete(tx, house.tenant_id, ids, tally, author="ann", now=house.now)
        counters.fold(tx, tally)

    await house.db.write(unit)


async def lived(house: House) -> list[int]:
    """Mail of a campaign and of its own: sent, delivered, bounced, complained of, opened and clicked by people and machines, sent again."""
    chance = random.Random(5)
    campaign_id = await house.campaign(("email", 0))
    content = house.content("Hello", LINKED)
    await house.enroll(campaign_id, *[await house.contact(f"p{number}@example.com") for number in range(4)])
    for number in range(4):
        await house.accept(f"q{number}@example.com", content=content, variables='{"name": "Ann", "who": "ann"}')
    await house.dispatch()
    ids = [row.id for row in await house.rows()]
    for _ in range(30):
        house.later(minutes(7))
        kind = chance.choice(("opened", "clicked"))
        link = chance.randrange(2) if kind == "clicked" else None
        hit = Hit(
            house.tenant_id, chance.choice(ids), kind, house.now, link_index=link, bot=chance.random() < 0.4, user_agent="M", ip="192.0.2.0"
        )
        await house.db.write(communications.track, [hit])
    for communication_id, kind in zip(ids, ("delivered", "delivered", "bounced", "complained", "delivered", "bounced"), strict=False):
        await report(house, communication_id, kind, house.now)

    def again(tx: Tx) -> None:
        tally = Tally()
        communications.resend(tx, house.tenant_id, ids[-1], tally, author="ann", now=house.now)
        counters.fold(tx, tally)

    await house.db.write(again)
    await house.dispatch()
    return ids


async def test_what_happened_is_removed_and_stays_counted_and_is_taken_back_exactly(house: House) -> None:
    ids = await lived(house)
    before = await counted(house)
    clicked = await house.db.read(communications.followed, house.tenant_id, ids)
    house.later(10 * DAY)
    removed = await keep(house, interactions=7)
    assert removed.interactions > 40
    assert await rows(house, "SELECT 1 FROM interactions WHERE tenant_id = :t") == []
    assert await counted(house) == before
    assert await house.db.read(communications.followed, house.tenant_id, ids) == clicked
    # what is clicked from now on is not the first click, and a complaint that comes twice is one
    linked = next(identity for identity, links in clicked.items() if links)
    await house.db.write(communications.track, [Hit(house.tenant_id, linked, "clicked", house.now, link_index=clicked[linked][0][0])])
    complained = next(
        row[0] for row in await rows(house, "SELECT communication_id FROM remnants WHERE tenant_id = :t AND kind = 'complained'")
    )
    await report(house, complained, "complained", house.now)
    assert (await house.counts()).complained == 1
    await delete(house, ids)
    assert await counted(house) == ({}, {}, {})
    assert await rows(house, "SELECT 1 FROM remnants WHERE tenant_id = :t") == []


async def test_a_part_of_what_happened_removed_again_and_again_comes_to_the_same(house: House) -> None:
    ids = await lived(house)
    before = await counted(house)
    for _ in range(4):
        await house.db.write(keeping.drop, house.tenant_id, ids, before=house.now - minutes(150))
        house.later(minutes(40))
    assert len(await rows(house, "SELECT 1 FROM interactions WHERE tenant_id = :t")) > 0
    assert await counted(house) == before
    await delete(house, ids[:3])
    await keep(house, interactions=1)
    house.later(2 * DAY)
    await turn_again(house)
    await delete(house, ids[3:])
    assert await counted(house) == ({}, {}, {})


async def turn_again(house: House) -> None:
    while await Keeper(house.db, house.clock, idle=0).turn() is not None:
        pass


async def test_sent_again_after_its_first_time_was_removed_it_is_counted_right(house: House) -> None:
    made = await house.accept()
    await house.dispatch()
    await house.db.write(communications.track, [Hit(house.tenant_id, made.id, "opened", house.now + minutes(3))])
    house.later(3 * DAY)
    await keep(house, interactions=1)

    def again(tx: Tx) -> None:
        tally = Tally()
        communications.resend(tx, house.tenant_id, made.id, tally, author="ann", now=house.now)
        counters.fold(tx, tally)

    await house.db.write(again)
    await house.dispatch()
    hours, moments, _ = await counted(house)
    assert sorted(counts["sent"] for counts in hours.values()) == [0, 1]
    assert sum(count for key, (count, _) in moments.items() if key[4] == "sent") == 2
    await delete(house, [made.id])
    assert await counted(house) == ({}, {}, {})


async def test_what_was_said_goes_and_where_its_links_lead_stays(house: House) -> None:
    content = house.content("Hello", LINKED)
    old = await house.accept(content=content, variables='{"name": "Ann", "who": "ann", "secret": 1}', subject="Dear Ann")
    await house.db.write(communications.keep_wording, house.tenant_id, old.id, "Dear Ann", "Hello Ann")
    await house.dispatch()
    house.later(10 * DAY)
    new = await house.accept(content=house.content("Shared", "<p>Shared</p>"))
    await house.dispatch()
    removed = await keep(house, bodies=7)
    assert (removed.bodies, removed.contents) == (1, 1)
    due = await house.db.read(communications.due, house.tenant_id, old.id)
    assert due is not None
    assert (due.subject, due.variables, due.emptied) == ("", '{"who":"ann"}', 1)
    said = await rows(
        house, "SELECT subject, source, html, text, said_text FROM contents WHERE tenant_id = :t AND id = :c", c=old.content_id
    )
    assert said == [("", "", "", "", "")]
    assert await house.db.read(communications.link_target, house.tenant_id, old.id, 0) == "https://shop.test/a"
    assert await rows(house, "SELECT 1 FROM renderings WHERE tenant_id = :t") == []
    assert (await rows(house, "SELECT said_text FROM contents WHERE tenant_id = :t AND id = :c", c=new.content_id)) == [("shared\n",)]

    def again(tx: Tx) -> None:
        communications.resend(tx, house.tenant_id, old.id, Tally(), author="ann", now=house.now)

    with pytest.raises(Conflict, match="not kept any more"):
        await house.db.write(again)
    # and it is done once
    assert (await keep(house, bodies=7)).bodies == 0


async def test_a_content_somebody_says_again_meanwhile_keeps_its_words(house: House) -> None:
    made = await house.accept()
    await house.dispatch()
    house.later(10 * DAY)
    await house.db.write(keeping.empty, house.tenant_id, [made.id], now=house.now)
    # the same words once more: a content of their own, for the old one takes nobody new
    fresh = await house.accept()
    assert fresh.content_id != made.content_id

    def late(tx: Tx) -> None:
        # accepted by who had found it just before
        tx.run(
            "UPDATE communications SET content_id = :old WHERE tenant_id = :t AND id = :id",
            old=made.content_id,
            t=house.tenant_id,
            id=fresh.id,
        )

    await house.db.write(late)
    house.later(2 * keeping.GRACE)
    assert await house.db.write(keeping.blank, house.tenant_id, now=house.now, limit=10) == 0
    assert await rows(house, "SELECT said_text, doomed_at FROM contents WHERE tenant_id = :t AND id = :c", c=made.content_id) == [
        ("hello {{ first_name }}\n", None)
    ]


async def test_contents_of_campaigns_and_messages_that_wait_are_let_be(house: House) -> None:
    campaign_id = await house.campaign(("email", 0), ("email", 90 * DAY))
    await house.enroll(campaign_id, await house.contact("ann@example.com"))
    await house.dispatch()
    waiting = await house.accept(scheduled_at=house.now + 60 * DAY)
    house.later(30 * DAY)
    assert await keep(house, bodies=7) == Removed(bodies=1)
    assert [row[0] for row in await rows(house, "SELECT doomed_at FROM contents WHERE tenant_id = :t")] == [None] * 3
    house.later(40 * DAY)
    (sent,) = await house.dispatch()
    assert sent.communication_id == waiting.id
    assert isinstance(sent, Email)
    assert b"Hello" in sent.raw


async def received(house: House, name: str, conversation_id: int | None = None) -> int:
    def unit(tx: Tx) -> int:
        contact, _ = contacts.upsert(tx, house.tenant_id, contacts.Fields(email="ann@example.com"), now=house.now)
        at = conversation_id or begin(tx, house.tenant_id, None, Beginning("email", contact.id, "Hi", None, None, house.now), house.now)
        incoming = Incoming(
            source="test",
            source_id=name,
            channel="email",
            contact_id=contact.id,
            received_at=house.now,
            sender="ann@example.com",
            text="Hi",
        )
        threads.store_inbound(tx, house.tenant_id, at, incoming, now=house.now)
        return at

    return await house.db.write(unit)


async def test_what_was_received_goes_and_so_does_a_conversation_that_is_empty_then(house: House) -> None:
    first, second = await received(house, "1"), await received(house, "2")
    house.later(10 * DAY)
    await received(house, "3", second)
    assert (await keep(house, inbound=7)).inbound == 2
    assert await rows(house, "SELECT source_id FROM inbound_messages WHERE tenant_id = :t") == [("3",)]
    assert await rows(house, "SELECT id, unread FROM conversations WHERE tenant_id = :t") == [(second, 1)]
    assert first != second


async def test_a_reply_to_a_conversation_that_is_being_removed_begins_another(postgres_url: str) -> None:
    db = await open_database(postgres_url)
    house = await House(db).settle_in()
    await received(house, "1")
    await house.db.write(
        lambda tx: tx.run("UPDATE inbound_messages SET message_id = 'first@example.com' WHERE tenant_id = :t", t=house.tenant_id)
    )
    house.later(10 * DAY)
    reply = Incoming(
        source="test", source_id="2", channel="email", contact_id=0, received_at=house.now, sender="ann@example.com", text="Yes"
    )
    arrival = Arrival(incoming=reply, clues=(Clue(message_id="first@example.com"),))
    with psycopg.connect(postgres_url) as connection:
        configure(connection)
        (known,) = await rows(house, "SELECT id FROM inbound_messages WHERE tenant_id = :t")
        assert keeping.remove_inbound(PostgresTx(connection), house.tenant_id, known, before=house.now) == 1
        taking = asyncio.create_task(house.db.write(threads.take, house.tenant_id, arrival, now=house.now))
        await waited_for(postgres_url)
        connection.commit()
    assert (await taking).fresh
    left = await rows(
        house,
        "SELECT i.source_id, v.unread FROM inbound_messages i LEFT JOIN conversations v ON v.tenant_id = i.tenant_id AND v.id = i.conversation_id"
        " WHERE i.tenant_id = :t",
    )
    assert left == [("2", 1)]
    await db.close()


async def test_how_long_is_checked_and_another_tenants_rows_are_its_own(house: House) -> None:
    other = await House(house.db).settle_in("other")
    for owner in (house, other):
        await owner.accept()
        await owner.dispatch()
    house.later(10 * DAY)
    for wrong in (0, -1, 40_000):
        with pytest.raises(Invalid, match="bodies"):
            await house.db.write(tenants.keep, house.tenant_id, Kept(bodies=wrong), now=house.now)
    await keep(house, bodies=1, interactions=1)
    assert await rows(house, "SELECT worded FROM communications WHERE tenant_id = :t") == [(2,)]
    assert await rows(other, "SELECT worded FROM communications WHERE tenant_id = :t") == [(0,)]
    assert len(await rows(other, "SELECT 1 FROM interactions WHERE tenant_id = :t")) == 1
    assert (await house.db.read(tenants.get, house.tenant_id)).kept().bodies == 1


async def test_an_empty_month_is_dropped_without_waiting_for_who_reads(postgres_url: str) -> None:
    db = await open_database(postgres_url)
    house = await House(db).settle_in()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        ensure_partitions(connection, house.now)
        await house.accept()
        await house.dispatch()
        house.later(100 * DAY)
        (month,) = old_partitions(connection, house.now)[:1]
        assert month == "interactions_2025_02"
        await house.db.write(tenants.keep, house.tenant_id, Kept(interactions=200), now=house.now)
        keeper = Keeper(db, house.clock, idle=0)
        kept = await keeper.turn()
        assert kept is not None
        assert kept.months == ()
        with psycopg.connect(postgres_url) as reader:
            # who reads holds a lock until the transaction ends; the month waits for another day
            reader.execute("SELECT COUNT(*) FROM interactions").fetchall()
            busy = await keep(house, interactions=7)
            assert (busy.interactions, busy.months) == (1, ())
        gone = await keep(house, interactions=7)
        assert month in gone.months
        assert month not in old_partitions(connection, house.now)
    await db.close()


async def test_what_waited_for_longer_than_it_is_kept_is_emptied_once_it_is_canceled(house: House) -> None:
    waiting = await house.accept(scheduled_at=house.now + 90 * DAY)
    await keep(house, bodies=10)
    house.later(40 * DAY)
    await turn(house)

    def cancel(tx: Tx) -> None:
        tally = Tally()
        communications.cancel(tx, house.tenant_id, waiting.id, tally, author="ann", now=house.now)
        counters.fold(tx, tally)

    await house.db.write(cancel)
    house.later(DAY)
    assert (await turn(house)).bodies == 1
    assert await rows(house, "SELECT state, worded FROM communications WHERE tenant_id = :t") == [("canceled", 2)]
    house.later(DAY)
    assert (await turn(house)).bodies == 0
