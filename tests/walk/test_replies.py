"""What comes back after a message went out: replies that end a campaign, bounces, complaints and receipts, in whatever order they come."""

import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.answering import Post, bounce, complaint, mail
from tests.support.ledger import check_books, still_open, walking
from tests.support.recount import check
from tests.support.walk import SIGNER, House, minutes
from tests.walk.test_races import claim, meet, settle
from tidings.database import Database, Tx, open_database
from tidings.domain import communications, contacts, counters, enrollments, threads
from tidings.domain.communications import Communication, Receipt, Settled
from tidings.domain.counters import Tally
from tidings.domain.threads import Arrival, Clue, Incoming
from tidings.message.outgoing import Address

ANN = "ann@example.com"


@pytest.fixture
def post(house: House, tmp_path: Path) -> Post:
    return Post(house, tmp_path)


async def check_counts(house: House) -> None:
    """Counters equal a recount."""
    await house.db.read(check, house.tenant_id)


async def sent(house: House, email: str = ANN, **fields: Any) -> Communication:
    made = await house.accept(email, **fields)
    await house.dispatch()
    return await again(house, made)


async def again(house: House, row: Communication) -> Communication:
    found = await house.db.read(communications.get, house.tenant_id, row.id)
    assert found is not None
    return found


def told(tx: Tx, house: House, communication_id: int, receipt: Receipt) -> None:
    tally = Tally()
    ending = communications.receive(tx, house.tenant_id, communication_id, receipt, tally, now=house.now)
    enrollments.complete(tx, house.tenant_id, [], ending, tally, now=house.now)
    counters.fold(tx, tally)


async def tell(house: House, row: Communication, kind: Any, **fields: Any) -> None:
    receipt = msgspec.structs.replace(Receipt(kind=kind, at=house.now), **fields)
    await house.db.write(told, house, row.id, receipt)


async def walked(house: House, *, stop_on_reply: bool = True, channel: str = "email") -> Communication:
    """The first message of a campaign, which has another one an hour later."""
    campaign = await house.campaign((channel, 0), (channel, minutes(60)), stop_on_reply=stop_on_reply)
    await house.enroll(campaign, await house.contact(ANN, phone="+41791230001"))
    await house.dispatch()
    (row,) = await house.rows()
    return row


@pytest.mark.parametrize("channel", ["email", "sms"])
async def test_a_reply_ends_the_campaign_that_asked_for_it_once(house: House, post: Post, channel: str):
    row = await walked(house, channel=channel)
    house.later(minutes(1))
    answers = (
        [post.text("Yes, I will"), post.text("At noon")]
        if channel == "sms"
        else [post.mail(mail(in_reply_to=post.named(row), body=text)) for text in ("a", "b")]
    )
    taken = [await answer for answer in answers]
    assert [one.stopped for one in taken] == [True, False]
    house.later(minutes(60))
    assert await house.dispatch() == []
    counts = await house.counts()
    assert (counts.replied, counts.completed, counts.sent) == (2, 1, 1)
    assert await house.db.read(lambda tx: tx.rows("SELECT stopped_by FROM enrollments WHERE tenant_id = :t", t=house.tenant_id)) == [
        ("reply",)
    ]
    await check_books(house)
    await check_counts(house)


async def test_what_is_already_waiting_is_canceled_by_a_reply(house: House, post: Post):
    row = await walked(house)
    house.later(minutes(61))
    await house.planner.turn()
    assert (await post.mail(mail(in_reply_to=post.named(row)))).stopped
    assert await house.states() == ["sent", "canceled"]
    assert await house.dispatch() == []
    assert await still_open(house) == []
    await check_books(house)
    await check_counts(house)


@pytest.mark.parametrize(("word", "stopped"), [("Leave me alone, please", [True, True, False, False]), ("STOP", [True, True, True, False])])
async def test_a_text_answers_every_campaign_that_has_texted_its_number(house: House, post: Post, word: str, stopped: list[bool]):
    ann = await house.contact(ANN, phone="+41791230001")
    steps = (("sms", 0), ("sms", minutes(60)))
    asking = [await house.campaign(*steps, stop_on_reply=True) for _ in range(2)]
    others = [
        await house.campaign(*steps, stop_on_reply=False),
        await house.campaign(("email", 0), ("sms", minutes(60)), stop_on_reply=True),
    ]
    walks = [(await house.enroll(campaign, ann))[0] for campaign in (*asking, *others)]
    await house.dispatch()
    house.later(minutes(1))
    await house.accept(content=house.content(body="Your code is 123", channel="sms"), phone="+41791230001")
    await house.dispatch()
    house.later(minutes(1))
    taken = await post.text(word)
    assert taken.stopped
    assert taken.communication_id not in {row.id for row in await house.rows() if row.enrollment_id is not None}
    rows = await house.db.read(lambda tx: tx.rows("SELECT id, stopped_by FROM enrollments WHERE tenant_id = :t", t=house.tenant_id))
    assert [dict(rows)[walk] is not None for walk in walks] == stopped
    assert not (await post.text(word)).stopped
    await check_books(house)
    await check_counts(house)


async def test_a_campaign_that_does_not_ask_for_it_goes_on_after_a_reply(house: House, post: Post):
    row = await walked(house, stop_on_reply=False)
    assert not (await post.mail(mail(in_reply_to=post.named(row)))).stopped
    house.later(minutes(61))
    assert len(await house.dispatch()) == 1
    assert (await house.counts()).replied == 1
    await check_counts(house)


async def test_a_hard_bounce_suppresses_at_once(house: House, post: Post):
    row = await sent(house)
    taken = await post.mail(bounce(ANN, message_id=post.named(row)))
    assert (taken.inbound_id, taken.communication_id) == (None, row.id)
    now = await again(house, row)
    assert (now.state, now.error, now.conversation_id) == ("bounced", "550 5.1.1 no such user", None)
    assert await post.suppressed() == [("email", ANN, "bounced")]
    assert await post.inbound() == []
    await post.mail(bounce(ANN, message_id=post.named(row)))
    assert (await house.counts()).bounced == 1
    assert (await house.accept(ANN)).state == "suppressed"
    await check_counts(house)


async def test_a_bounce_finds_its_message_by_the_address_it_came_to(house: House, post: Post):
    row = await sent(house)
    await post.mail(bounce(ANN, to=f"bounce+{SIGNER.reply(row.tenant_id, row.id)}@in.example.com", message_id="<rewritten@relay.example>"))
    assert (await again(house, row)).state == "bounced"


async def test_five_soft_bounces_in_a_row_suppress_and_four_do_not(house: House, post: Post):
    rows = [await sent(house) for _ in range(5)]
    for row in rows[:4]:
        await post.mail(bounce(ANN, "4.2.2", message_id=post.named(row)))
    assert await post.suppressed() == []
    await post.mail(bounce(ANN, "4.2.2", message_id=post.named(rows[4])))
    assert await post.suppressed() == [("email", ANN, "bounced")]


async def test_a_message_that_arrived_in_between_breaks_the_row(house: House, post: Post):
    rows = [await sent(house) for _ in range(7)]
    await tell(house, rows[3], "delivered")
    for row in [*rows[:3], *rows[4:]]:
        await tell(house, row, "bounced", hard=False)
    assert await post.suppressed() == []


async def test_a_row_of_bounces_is_one_in_whatever_order_it_is_heard_of_and_whatever_was_sent_since(house: House, post: Post):
    rows = [await sent(house) for _ in range(7)]
    for index in (4, 0, 2, 1):
        await tell(house, rows[index], "bounced", hard=False)
    assert await post.suppressed() == []
    await tell(house, rows[3], "bounced", hard=False)
    assert await post.suppressed() == [("email", ANN, "bounced")]


async def test_a_bounce_of_one_of_several_suppresses_that_one_and_is_noted_once(house: House, post: Post):
    to = (Address(ANN), Address("Bob@example.com", "Bob"))
    row = await sent(house, to=to)
    for _ in range(2):
        await post.mail(bounce("bob@example.com", message_id=post.named(row)))
    assert await post.suppressed() == [("email", "bob@example.com", "bounced")]
    assert (await again(house, row)).state == "sent"
    assert (await house.interactions()).count((row.id, "updated")) == 1
    await check_counts(house)


async def test_nobody_can_be_suppressed_by_a_report_on_mail_that_did_not_go_there(house: House, post: Post):
    row = await sent(house, to=(Address(ANN), Address("bob@example.com")))
    await post.mail(bounce("victim@example.com", message_id=post.named(row)))
    await post.mail(complaint(post.named(row), "victim@example.com"))
    assert await post.suppressed() == []
    alone = await sent(house)
    # forwarded from where it went
    await post.mail(bounce("elsewhere@example.net", message_id=post.named(alone)))
    assert await post.suppressed() == [("email", ANN, "bounced")]


async def test_a_late_report_is_no_bounce(house: House, post: Post):
    row = await sent(house)
    await post.mail(bounce(ANN, "4.4.7", message_id=post.named(row), action="delayed"))
    assert (await again(house, row)).state == "sent"
    assert await post.suppressed() == []


async def test_a_complaint_counts_once_and_suppresses(house: House, post: Post):
    row = await sent(house)
    for _ in range(2):
        await post.mail(complaint(post.named(row)))
    assert await post.suppressed() == [("email", ANN, "complained")]
    assert (await again(house, row)).state == "sent"
    assert (await house.counts()).complained == 1
    await check_counts(house)


async def test_a_bounce_is_heeded_though_its_contact_or_the_message_itself_was_deleted(house: House, post: Post):
    row = await sent(house)
    await house.db.write(contacts.delete, house.tenant_id, row.contact_id)
    await post.mail(bounce(ANN, message_id=post.named(row)))
    assert (await again(house, row)).state == "bounced"
    gone = await sent(house, "bob@example.com")
    await house.db.write(communications.delete, house.tenant_id, [gone.id], Tally(), author="x", now=house.now)
    await post.mail(complaint(post.named(gone)))
    assert await post.suppressed() == [("email", ANN, "bounced"), ("email", "bob@example.com", "complained")]
    answered = await post.mail(mail(in_reply_to=post.named(gone)))
    assert (answered.fresh, answered.communication_id) == (True, None)


async def test_the_last_bounce_of_an_enrollment_ends_it(house: House, post: Post):
    campaign = await house.campaign()
    await house.enroll(campaign, await house.contact(ANN))
    await house.planner.turn()
    (due,) = await claim(house, 1)
    (row,) = await house.rows()
    await post.mail(bounce(ANN, message_id=post.named(row)))
    assert await house.db.write(settle, house, 1, [Settled(due.id, "sent", provider_message_id="q1")]) == 0
    row = await again(house, row)
    assert (row.state, row.provider, row.provider_message_id) == ("bounced", "told", "q1")
    assert await walking(house) == []
    await check_books(house)
    await check_counts(house)


STEPS = ("settled", "delivered", "bounced", "complained")


@pytest.mark.parametrize("order", list(itertools.permutations(STEPS)), ids="-".join)
async def test_receipts_in_any_order_come_to_the_same(house: House, order: tuple[str, ...]):
    campaign = await house.campaign()
    await house.enroll(campaign, await house.contact(ANN))
    await house.planner.turn()
    (due,) = await claim(house, 1)
    (row,) = await house.rows()
    for step in (*order, *order):
        house.later(1)
        if step == "settled":
            await house.db.write(settle, house, 1, [Settled(due.id, "sent", provider_message_id="q1")])
        else:
            await tell(house, row, step, detail="a reason")
        await check_counts(house)
    row = await again(house, row)
    assert (row.state, row.provider, row.provider_message_id, row.error, row.attempts) == ("bounced", "told", "q1", "a reason", 1)
    assert row.sent_at is not None
    assert row.delivered_at is not None
    counts = await house.counts()
    assert (counts.sent, counts.delivered, counts.bounced, counts.complained, counts.completed) == (1, 1, 1, 1, 1)
    kinds = sorted(kind for _, kind in await house.interactions())
    assert kinds == ["bounced", "complained", "delivered", "sent"]
    assert await walking(house) == []
    assert await still_open(house) == []
    await check_books(house)


async def test_a_carriers_clock_does_not_move_what_was_sent_into_another_year(house: House):
    await house.accept()
    await claim(house, 1)
    (row,) = await house.rows()
    await tell(house, row, "delivered", at=1)
    row = await again(house, row)
    assert row.created_at <= (row.sent_at or 0) <= house.now
    other = await sent(house)
    await tell(house, other, "delivered", at=1 << 50)
    assert (await again(house, other)).delivered_at == house.now
    await check_counts(house)


async def test_word_of_the_first_sending_does_not_take_back_the_second(house: House):
    row = await sent(house)
    await house.db.write(communications.resend, house.tenant_id, row.id, Tally(), author="x", now=house.now)
    await tell(house, row, "delivered")
    assert (await again(house, row)).state == "pending"
    assert len(await house.dispatch()) == 1


async def test_a_text_is_found_by_its_carriers_name_once_that_is_known(house: House, post: Post):
    await house.accept(content=house.content(body="Hello", channel="sms"), phone="+41791230001")
    (due,) = await claim(house, 1, "sms")
    assert not await post.notice(provider_id="SM1")
    await house.db.write(settle, house, 1, [Settled(due.id, "sent", provider_message_id="SM1")])
    assert await post.notice(provider_id="SM1")
    assert await house.states() == ["delivered"]
    assert await post.notice(provider_id="SM1", kind="bounced", hard=False, detail="Absent", code="6")
    assert await house.states() == ["bounced"]
    assert await post.suppressed() == []
    await check_counts(house)


@pytest.fixture
async def crowded(postgres_url: str) -> Any:
    database: Database = await open_database(postgres_url, size=12)
    yield await House(database).settle_in()
    await database.close()


def reply(house: House, row: Communication, name: str = "1") -> Arrival:
    incoming = Incoming(source="test", source_id=name, channel="email", contact_id=0, received_at=house.now, sender=ANN, text="Yes")
    return Arrival(incoming=incoming, clues=(Clue(communication_id=row.id),))


async def test_a_reply_while_the_next_message_is_claimed_stops_what_comes_after_it(crowded: House):
    house = crowded
    row = await walked(house)
    house.later(minutes(61))
    await house.planner.turn()
    (queue,) = await house.db.read(communications.queues)
    dues, taken = await meet(
        house.db,
        lambda tx: communications.claim(tx, queue, lease=1, until=house.now + minutes(1), now=house.now, limit=9),
        house.db.write(threads.take, house.tenant_id, reply(house, row), now=house.now),
    )
    assert taken.stopped
    # it was on its way; were it put off, it would not be tried again
    await house.db.write(settle, house, 1, [Settled(dues[0].id, "pending", due_at=house.now)])
    assert await house.states() == ["sent", "canceled"]
    assert await still_open(house) == []
    await check_books(house)
    await check_counts(house)


async def test_a_reply_that_comes_first_leaves_nothing_to_claim(crowded: House):
    house = crowded
    row = await walked(house)
    house.later(minutes(61))
    await house.planner.turn()
    taken, dues = await meet(house.db, lambda tx: threads.take(tx, house.tenant_id, reply(house, row), now=house.now), claim(house, 1))
    assert taken.stopped
    assert dues == []
    assert await house.states() == ["sent", "canceled"]
    await check_books(house)


async def test_a_reply_while_the_next_message_is_planned_cancels_it(crowded: House):
    house = crowded
    row = await walked(house)
    house.later(minutes(61))
    advanced, taken = await meet(
        house.db,
        lambda tx: enrollments.advance(tx, house.tenant_id, row.campaign_id or 0, limit=9, now=house.now),
        house.db.write(threads.take, house.tenant_id, reply(house, row), now=house.now),
    )
    assert (advanced, taken.stopped) == (1, True)
    assert await house.states() == ["sent", "canceled"]
    await check_books(house)


async def test_two_replies_at_once_end_one_enrollment_once(crowded: House):
    house = crowded
    row = await walked(house)
    one, two = await meet(
        house.db,
        lambda tx: threads.take(tx, house.tenant_id, reply(house, row, "1"), now=house.now),
        house.db.write(threads.take, house.tenant_id, reply(house, row, "2"), now=house.now),
    )
    assert (one.stopped, two.stopped) == (True, False)
    assert one.conversation_id == two.conversation_id
    assert (await house.counts()).replied == 2
    await check_books(house)
    await check_counts(house)


async def test_the_same_new_mail_at_once_on_two_connections_is_stored_once(crowded: House):
    house = crowded
    arrival = msgspec.structs.replace(reply(house, await sent(house)), clues=())
    one, two = await meet(
        house.db,
        lambda tx: threads.take(tx, house.tenant_id, arrival, now=house.now),
        house.db.write(threads.take, house.tenant_id, arrival, now=house.now),
    )
    assert (one.fresh, two.fresh, one.inbound_id) == (True, False, two.inbound_id)
    assert await house.db.read(lambda tx: tx.rows("SELECT id, unread FROM conversations WHERE tenant_id = :t", t=house.tenant_id)) == [
        (one.conversation_id, 1)
    ]


@pytest.mark.parametrize("kind", ["delivered", "bounced"])
async def test_a_receipt_while_its_message_is_settled_counts_once(crowded: House, kind: Any):
    house = crowded
    campaign = await house.campaign()
    await house.enroll(campaign, await house.contact(ANN))
    await house.planner.turn()
    (due,) = await claim(house, 1)
    receipt = Receipt(kind=kind, at=house.now)
    await meet(
        house.db,
        lambda tx: told(tx, house, due.id, receipt),
        house.db.write(settle, house, 1, [Settled(due.id, "sent", provider_message_id="q1")]),
    )
    (row,) = await house.rows()
    assert (row.state, row.provider) == (kind, "told")
    assert (await house.counts()).sent == 1
    assert await walking(house) == []
    await check_books(house)
    await check_counts(house)
