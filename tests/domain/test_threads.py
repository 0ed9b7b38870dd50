"""Conversations: how a message finds its own, what it keeps up, what a mail answers, and in which order it is all read."""

import asyncio
import random
from email import message_from_bytes
from email.message import Message
from typing import Any

import msgspec
import pytest

from tests.support import walk
from tests.support.replies import incoming, receive
from tests.support.walk import MORNING
from tidings import ids
from tidings.database import Database
from tidings.domain import communications, counters, lists, threads
from tidings.domain.threads import Conversation, Said
from tidings.errors import Invalid, NotFound
from tidings.message.outgoing import Address, Email, refused

MINUTE = 60_000


@pytest.fixture
async def house(db: Database) -> walk.House:
    return await walk.House(db).settle_in()


async def join(house: walk.House, wire: str, channel: str = "email") -> int:
    return await house.db.write(threads.join, house.tenant_id, wire, channel=channel, now=house.now)


async def conversation(house: walk.House, conversation_id: int) -> Conversation:
    found = await house.db.read(threads.get, house.tenant_id, conversation_id)
    assert found is not None
    return found


async def rival(house: walk.House) -> walk.House:
    other = walk.House(house.db)
    return await other.settle_in("rival")


def headers(mail: Any) -> Message:
    assert isinstance(mail, Email)
    return message_from_bytes(mail.raw)


async def test_a_key_is_one_conversation_of_the_tenant(house: walk.House):
    first = await join(house, "deal 4711 / Ärger")
    assert await join(house, "deal 4711 / Ärger") == first
    assert await join(house, "deal 4712") != first
    other = await rival(house)
    theirs = await join(other, "deal 4711 / Ärger")
    assert theirs != first
    assert (await conversation(house, first)).key == "deal 4711 / Ärger"
    assert await house.db.read(threads.get, house.tenant_id, theirs) is None


async def test_a_new_key_used_many_times_at_once_makes_one_conversation(house: walk.House):
    made = await asyncio.gather(*(join(house, "deal") for _ in range(20)))
    assert len(set(made)) == 1
    rows = await house.db.read(lambda tx: tx.rows("SELECT id FROM conversations WHERE tenant_id = :t", t=house.tenant_id))
    assert rows == [(made[0],)]


@pytest.mark.parametrize("wire", ["", "  ", "x" * 201, "a\nb", "a\0b", "a\x7fb"])
async def test_what_can_be_no_key_is_refused(house: walk.House, wire: str):
    with pytest.raises(Invalid, match="conversationId"):
        await join(house, wire)


async def test_a_native_spelling_names_one_that_exists(house: walk.House):
    made = await join(house, "deal")
    assert await join(house, ids.spell("conversation", made)) == made
    theirs = await join(await rival(house), "deal")
    for wire in (ids.spell("conversation", made + 100), ids.spell("conversation", theirs), "conv_x", "conv_"):
        with pytest.raises(NotFound, match="Conversation not found"):
            await join(house, wire)


async def test_a_communication_alone_becomes_the_root_of_a_conversation(house: walk.House):
    row = await house.accept(content=house.content("Offer"), related_entity_type="Deal", related_entity_id="7")
    wire = ids.spell("thread", row.id)
    house.later(MINUTE)
    made = await join(house, wire)
    assert await join(house, wire) == made
    assert await conversation(house, made) == Conversation(
        id=made,
        tenant_id=house.tenant_id,
        key=wire,
        channel="email",
        contact_id=row.contact_id,
        subject="Offer",
        assignee=None,
        related_entity_type="Deal",
        related_entity_id="7",
        unread=0,
        closed_at=None,
        last_at=MORNING,
        created_at=MORNING + MINUTE,
        updated_at=MORNING + MINUTE,
    )
    assert [(row.conversation_id, row.conversation_key) for row in await house.rows()] == [(made, wire)]


async def test_many_who_answer_a_lone_communication_at_once_make_one_conversation(house: walk.House):
    wire = ids.spell("thread", (await house.accept()).id)
    assert len(set(await asyncio.gather(*(join(house, wire) for _ in range(20))))) == 1


async def test_a_communication_that_has_a_conversation_names_that(house: walk.House):
    made = await join(house, "deal")
    row = await house.accept(conversation_id=made)
    assert await join(house, ids.spell("thread", row.id)) == made


async def test_a_conversation_outlives_the_communication_that_it_is_named_after(house: walk.House):
    row = await house.accept()
    wire = ids.spell("thread", row.id)
    made = await join(house, wire)
    await house.db.write(lambda tx: tx.run("DELETE FROM communications WHERE tenant_id = :t", t=house.tenant_id))
    assert await join(house, wire) == made


async def test_a_root_that_is_unknown_or_anothers_is_not_found(house: walk.House):
    other = await rival(house)
    theirs = await other.accept()
    for wire in (ids.spell("thread", theirs.id), ids.spell("thread", theirs.id + 100), "thrd_x", "thrd_"):
        with pytest.raises(NotFound, match="Conversation not found"):
            await join(house, wire)


async def test_who_and_what_about_is_told_by_the_first_message_that_knows(house: walk.House):
    made = await join(house, "deal")
    await house.accept("ann@example.com", content=house.content("For {{ first_name }}"), conversation_id=made, related_entity_type="Deal")
    found = await conversation(house, made)
    assert (found.subject, found.related_entity_type, found.related_entity_id) == ("", None, None)
    house.later(MINUTE)
    await house.accept(
        "bea@example.com",
        content=house.content("Offer"),
        conversation_id=made,
        related_entity_type="Deal",
        related_entity_id="7",
        scheduled_at=house.now + MINUTE,
    )
    house.later(MINUTE)
    await house.accept(
        "cy@example.com",
        content=house.content("Invoice"),
        conversation_id=made,
        related_entity_type="Invoice",
        related_entity_id="8",
    )
    found = await conversation(house, made)
    assert found.contact_id == (await house.rows())[0].contact_id
    assert (found.subject, found.related_entity_type, found.related_entity_id) == ("Offer", "Deal", "7")
    assert (found.last_at, found.updated_at, found.created_at) == (house.now, house.now, MORNING)


async def test_what_is_received_is_stored_once_and_waits_to_be_read(house: walk.House):
    made = await join(house, "deal")
    house.later(MINUTE)
    came = incoming(source_id="7", received_at=house.now, subject="Re: Offer", to=("us@acme.example",), cc=("x@y.example",), contact_id=5)
    first, fresh = await house.db.write(threads.store_inbound, house.tenant_id, made, came, now=house.now)
    house.later(MINUTE)
    again = await house.db.write(threads.store_inbound, house.tenant_id, made, came, now=house.now)
    assert (fresh, again) == (True, (first, False))
    found = await conversation(house, made)
    assert (found.unread, found.last_at, found.updated_at, found.contact_id) == (1, MORNING + MINUTE, MORNING + MINUTE, 5)
    assert found.subject == "Re: Offer"
    row = (await house.db.read(threads.received, house.tenant_id, [first]))[0]
    assert (row.status, row.conversation_key, row.source_id, row.automatic, row.created_at) == ("new", "deal", "7", 0, MORNING + MINUTE)
    assert msgspec.json.decode(row.recipients) == {"to": ["us@acme.example"], "cc": ["x@y.example"]}
    assert await house.db.read(threads.received, house.tenant_id + 1, [first]) == []


async def test_the_same_received_many_times_at_once_is_stored_once(house: walk.House):
    made = await join(house, "deal")
    came = incoming()
    stored = await asyncio.gather(*(house.db.write(threads.store_inbound, house.tenant_id, made, came, now=house.now) for _ in range(20)))
    assert (len({identity for identity, _ in stored}), sum(fresh for _, fresh in stored)) == (1, 1)
    assert (await conversation(house, made)).unread == 1


async def test_two_sources_may_use_the_same_name(house: walk.House):
    made = await join(house, "deal")
    for source in ("imap:1", "imap:2"):
        await receive(house.db, house.tenant_id, made, now=house.now, source=source, source_id="7")
    assert (await conversation(house, made)).unread == 2


async def test_an_answer_opens_its_conversation_again_unless_a_machine_wrote_it(house: walk.House):
    made = await join(house, "deal")
    await house.db.write(lambda tx: tx.run("UPDATE conversations SET closed_at = 1 WHERE tenant_id = :t", t=house.tenant_id))
    house.later(MINUTE)
    await receive(house.db, house.tenant_id, made, now=house.now, automatic=True)
    found = await conversation(house, made)
    assert (found.closed_at, found.unread, found.last_at) == (1, 0, house.now)
    await receive(house.db, house.tenant_id, made, now=house.now)
    found = await conversation(house, made)
    assert (found.closed_at, found.unread) == (None, 1)


async def test_what_is_received_belongs_to_the_entity_of_its_conversation_or_to_its_own(house: walk.House):
    made = await join(house, "deal")
    await house.accept(conversation_id=made, related_entity_type="Deal", related_entity_id="7")
    given = [{}, {"related_entity_type": "Case", "related_entity_id": "1"}, {"related_entity_type": "Case"}]
    stored = [await receive(house.db, house.tenant_id, made, now=house.now, **fields) for fields in given]
    rows = {row.id: row for row in await house.db.read(threads.received, house.tenant_id, stored)}
    assert [(rows[number].related_entity_type, rows[number].related_entity_id) for number in stored] == [
        ("Deal", "7"),
        ("Case", "1"),
        ("Deal", "7"),
    ]


async def test_nothing_is_received_into_a_conversation_that_is_not_there_or_anothers(house: walk.House):
    theirs = await join(await rival(house), "deal")
    for conversation_id in (theirs, theirs + 100):
        with pytest.raises(NotFound):
            await receive(house.db, house.tenant_id, conversation_id, now=house.now)


async def test_a_mail_answers_the_last_that_was_said_and_refers_to_all(house: walk.House):
    made = await join(house, "deal")
    sent: list[str] = []
    for _ in range(2):
        await house.accept(conversation_id=made)
        (mail,) = await house.dispatch()
        sent.append(headers(mail)["Message-ID"])
        house.later(MINUTE)
    await receive(house.db, house.tenant_id, made, now=house.now, message_id="<her-answer@mail.example>")
    house.later(MINUTE)
    await house.accept(conversation_id=made)
    (mail,) = await house.dispatch()
    assert headers(mail)["In-Reply-To"] == "<her-answer@mail.example>"
    assert headers(mail)["References"].split() == [*sent, "<her-answer@mail.example>"]


async def test_a_mail_outside_of_a_conversation_or_first_in_it_answers_nothing(house: walk.House):
    await house.accept()
    await house.accept(conversation_id=await join(house, "deal"))
    for mail in await house.dispatch():
        assert (headers(mail)["In-Reply-To"], headers(mail)["References"]) == (None, None)


async def test_what_failed_or_waits_or_was_canceled_or_is_a_text_message_is_not_referred_to(house: walk.House):
    made = await join(house, "deal")
    house.carrying.answer = lambda sealed: refused("550 no such mailbox")
    await house.accept("gone@example.com", conversation_id=made)
    await house.dispatch()
    await house.accept("later@example.com", conversation_id=made, scheduled_at=house.now + 10 * MINUTE)
    house.carrying.answer = walk.Carrying().answer
    await house.accept(content=house.content(body="On my way", channel="sms"), phone="+31612345678", conversation_id=made)
    await house.dispatch()
    await receive(house.db, house.tenant_id, made, now=house.now, channel="sms", message_id="<x@y.example>")
    house.later(MINUTE)
    await house.accept("ann@example.com", conversation_id=made)
    (mail,) = await house.dispatch()
    assert (headers(mail)["In-Reply-To"], headers(mail)["References"]) == (None, None)


async def test_a_mail_sent_again_is_referred_to_by_its_newest_id_and_not_while_it_waits(house: walk.House):
    made = await join(house, "deal")
    row = await house.accept(conversation_id=made)
    await house.dispatch()
    await house.db.write(_resend, house.tenant_id, row.id, house.now)
    (mail,) = await house.dispatch()
    assert (headers(mail)["References"], headers(mail)["Message-ID"]) == (None, house.composer.message_id(house.tenant_id, row.id, 1))
    house.later(MINUTE)
    await house.accept(conversation_id=made)
    (mail,) = await house.dispatch()
    assert headers(mail)["References"] == house.composer.message_id(house.tenant_id, row.id, 1)


def _resend(tx: Any, tenant_id: int, communication_id: int, now: int) -> None:
    tally = counters.Tally()
    communications.resend(tx, tenant_id, communication_id, tally, author="ann", now=now)
    counters.fold(tx, tally)


async def test_a_long_conversation_is_referred_to_by_its_newest_twenty(house: walk.House):
    made = await join(house, "deal")
    for number in range(25):
        house.later(MINUTE)
        await receive(house.db, house.tenant_id, made, now=house.now, message_id=f"<{number}@mail.example>")
    await house.accept(conversation_id=made)
    (mail,) = await house.dispatch()
    assert headers(mail)["References"].split() == [f"<{number}@mail.example>" for number in range(5, 25)]
    assert max(len(line) for line in mail.raw.splitlines()) < 200


@pytest.mark.parametrize(
    "hostile", ["<a@b>\r\nBcc: everybody@example.com", "no brackets", "<a b@c>", "<" + "x" * 400 + "@y>", "<ä@b>", "<>"]
)
async def test_a_message_id_that_is_none_does_not_get_into_our_headers(house: walk.House, hostile: str):
    made = await join(house, "deal")
    await receive(house.db, house.tenant_id, made, now=house.now, message_id="<good@mail.example>")
    house.later(MINUTE)
    await receive(house.db, house.tenant_id, made, now=house.now, message_id=hostile)
    await house.accept(conversation_id=made)
    (mail,) = await house.dispatch()
    assert (headers(mail)["References"], headers(mail)["Bcc"]) == ("<good@mail.example>", None)


async def test_another_tenants_conversation_of_the_same_name_is_not_referred_to(house: walk.House):
    other = await rival(house)
    for whose in (other, house):
        await whose.accept(conversation_id=await join(whose, "deal"))
    (mail,) = [mail for mail in [*await other.dispatch(), *await house.dispatch()] if mail.tenant_id == house.tenant_id]
    assert headers(mail)["References"] is None


async def test_a_lists_member_is_told_of_no_other_member(house: walk.House):
    """Whose Message-ID stands in a mail was written to as well."""
    made = await join(house, "news")
    everybody = await house.db.write(lists.create, house.tenant_id, "Everybody", now=house.now)
    people = ["ann@example.com", "bea@example.com"]
    for _ in range(2):
        for person in people:
            await house.accept(person, conversation_id=made, list_id=everybody.id)
        mails = await house.dispatch()
        house.later(MINUTE)
    bea = (await house.rows())[1].contact_id
    first = {row.address: house.composer.message_id(house.tenant_id, row.id, 0) for row in (await house.rows())[:2]}
    assert {mail.recipients[0]: headers(mail)["References"] for mail in mails if isinstance(mail, Email)} == first
    await receive(house.db, house.tenant_id, made, now=house.now, message_id="<bea@mail.example>", contact_id=bea)
    for person in people:
        await house.accept(person, conversation_id=made, list_id=everybody.id)
    answered = {mail.recipients[0]: headers(mail)["In-Reply-To"] for mail in await house.dispatch() if isinstance(mail, Email)}
    assert answered["bea@example.com"] == "<bea@mail.example>"
    assert answered["ann@example.com"] not in {None, "<bea@mail.example>"}
    house.later(MINUTE)
    await house.accept("bea@example.com", to=(Address("bea@example.com"),), conversation_id=made)
    (mail,) = await house.dispatch()
    assert headers(mail)["References"] == "<bea@mail.example>"


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_the_order_of_events_it_is_read_in_the_order_of_time(house: walk.House, seed: int):
    """A model against both readers, in steps of every size: nothing twice, nothing left out, the same instant in one order."""
    chance = random.Random(seed)
    keys = ["one", "two"]
    made = {key: await join(house, key) for key in keys}
    linked = {"related_entity_type": "Deal", "related_entity_id": "7"}
    everything: list[tuple[str, Said]] = []
    for _ in range(40):
        house.now = MORNING + chance.randrange(12) * MINUTE
        key = chance.choice(keys)
        # only the first is linked; the second has messages that are
        fields = linked if key == "one" or chance.random() < 0.5 else {}
        if chance.random() < 0.5:
            row = await house.accept(
                conversation_id=made[key], scheduled_at=chance.choice([None, house.now + MINUTE]), **({} if key == "two" else fields)
            )
            said = Said(row.scheduled_at or row.created_at, 0, row.id)
            everything.append((key, said))
        else:
            number = await receive(house.db, house.tenant_id, made[key], now=house.now, **fields)
            everything.append((f"{key} linked" if fields else key, Said(house.now, 1, number)))
    for key in keys:
        for inbound, reader in ((0, threads.outbound), (1, threads.inbound)):
            expected = sorted(said for whose, said in everything if whose.split()[0] == key and said.inbound == inbound)
            found: list[Said] = []
            while step := await house.db.read(
                reader, house.tenant_id, made[key], after=found[-1] if found else threads.BEGINNING, limit=chance.randrange(1, 9)
            ):
                found += step
            assert found == expected
    anchored = any(said.inbound == 0 and whose == "one" for whose, said in everything)
    around = [said for whose, said in everything if whose in {"one linked", "two linked"} or (anchored and whose.startswith("one"))]
    found = []
    while step := await house.db.read(
        threads.of_entity, house.tenant_id, "Deal", "7", before=found[-1] if found else threads.END, limit=chance.randrange(1, 9)
    ):
        found += step
    assert found == sorted(around, reverse=True)
    assert await house.db.read(threads.of_entity, house.tenant_id + 1, "Deal", "7", limit=100) == []
