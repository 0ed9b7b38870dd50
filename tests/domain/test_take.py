"""What comes in through the one door: into which conversation it goes, that it is there once, and what a word in a text brings about."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from tests.support import walk
from tests.support.answering import Post, bounce, mail
from tests.support.ledger import check_books
from tests.support.recount import check
from tidings import ids
from tidings.database import Database
from tidings.domain import communications, contacts, suppressions, tenants, threads
from tidings.domain.communications import Communication
from tidings.domain.threads import Arrival, Incoming
from tidings.inbound import receive
from tidings.inbound.receive import Envelope
from tidings.message.incoming import Incoming as Read
from tidings.message.outgoing import Address, Sms

ANN = "+41791230001"


@pytest.fixture
async def house(db: Database) -> walk.House:
    return await walk.House(db).settle_in()


@pytest.fixture
def post(house: walk.House, tmp_path: Path) -> Post:
    return Post(house, tmp_path)


async def sent(house: walk.House, email: str = "ann@example.com") -> Communication:
    """A mail that has gone out."""
    made = await house.accept(email)
    await house.dispatch()
    return await again(house, made.id)


async def again(house: walk.House, communication_id: int) -> Communication:
    row = await house.db.read(communications.get, house.tenant_id, communication_id)
    assert row is not None
    return row


async def texted(house: walk.House, phone: str = ANN, text: str = "Hello") -> Communication:
    made = await house.accept(content=house.content(body=text, channel="sms"), phone=phone)
    await house.dispatch()
    return await again(house, made.id)


async def check_counts(house: walk.House) -> None:
    await check_books(house)
    await house.db.read(check, house.tenant_id)


def reply_to(row: Communication) -> str:
    return f"reply+{walk.SIGNER.reply(row.tenant_id, row.id)}@in.example.com"


async def test_the_signed_address_is_believed_before_everything_else(house: walk.House, post: Post):
    wanted, other = await sent(house), await sent(house, "bob@example.com")
    taken = await post.mail(mail(to=reply_to(wanted).upper(), in_reply_to=post.named(other)))
    assert taken.fresh
    assert taken.communication_id == wanted.id
    (row,) = await post.inbound()
    assert (row.conversation_id, row.communication_id) == ((await again(house, wanted.id)).conversation_id, wanted.id)
    assert (row.text.strip(), row.sender, row.sender_name, row.automatic) == ("Yes, please", "ann@example.com", "Ann Bell", 0)
    assert (await house.counts()).replied == 1
    await check_counts(house)


async def test_the_envelope_names_what_is_answered_where_the_headers_do_not(house: walk.House, post: Post):
    wanted = await sent(house)
    taken = await post.mail(mail(), Envelope([reply_to(wanted)]))
    assert taken.communication_id == wanted.id


async def test_in_reply_to_is_believed_before_references_and_the_last_reference_before_the_first(house: walk.House, post: Post):
    first, second, third = [await sent(house, f"{name}@example.com") for name in ("a", "b", "c")]
    taken = await post.mail(mail(in_reply_to=post.named(first), references=f"{post.named(second)} {post.named(third)}"))
    assert taken.communication_id == first.id
    taken = await post.mail(mail(in_reply_to="<gone@elsewhere.example>", references=f"{post.named(second)}\r\n {post.named(third)}"))
    assert taken.communication_id == third.id


async def test_an_answer_to_an_answer_is_in_the_same_conversation_and_still_knows_what_we_asked(house: walk.House, post: Post):
    asked = await sent(house)
    await post.mail(mail(in_reply_to=post.named(asked), message_id="<one@example.com>"))
    more = await post.mail(mail("Bob <bob@example.com>", in_reply_to="<one@example.com>"))
    assert more.communication_id is None
    last = await post.mail(mail(in_reply_to="<one@example.com>", references=f"{post.named(asked)} <one@example.com>"))
    assert last.communication_id == asked.id
    assert {row.conversation_id for row in await post.inbound()} == {(await again(house, asked.id)).conversation_id}


async def test_a_thread_of_microsofts_mail_is_one_conversation_by_its_name(house: walk.House, post: Post):
    graph = Envelope(graph_conversation_id="AAQkAGI2=")
    one, two = await post.mail(mail(), graph), await post.mail(mail(body="And another thing"), graph)
    assert one.conversation_id == two.conversation_id
    made = await house.db.write(threads.join, house.tenant_id, "AAQkOwn", channel="email", now=house.now)
    assert (await post.mail(mail(body="x"), Envelope(graph_conversation_id="AAQkOwn"))).conversation_id == made
    # a name of ours is not theirs to give
    forged = Envelope(graph_conversation_id=ids.spell("conversation", made))
    assert (await post.mail(mail(body="y"), forged)).conversation_id != made


async def test_what_answers_nothing_begins_a_conversation_with_its_writer(house: walk.House, post: Post):
    known = await house.contact("ann@example.com")
    one = await post.mail(mail("ANN@example.com", subject="A question"))
    two = await post.mail(mail("New Person <new@example.com>", subject="{{ x }}"))
    assert one.contact_id == known
    assert one.communication_id is two.communication_id is None
    first, second = await post.conversations()
    assert (first.key, first.subject, first.contact_id, first.unread) == (ids.spell("conversation", first.id), "A question", known, 1)
    made = await house.db.read(contacts.get, house.tenant_id, second.contact_id or 0)
    assert made is not None
    assert (made.email, made.first_name, made.last_name) == ("new@example.com", "New", "Person")
    assert second.subject == "{{ x }}"


async def test_what_another_tenant_signed_or_sent_leads_nowhere(house: walk.House, post: Post):
    theirs = await sent(await walk.House(house.db).settle_in("rival"))
    await post.mail(mail(message_id="<theirs@example.com>"), tenant_id=theirs.tenant_id)
    token = walk.SIGNER.reply(house.tenant_id, 1)
    forged = f"reply+{'a' if token[0] != 'a' else 'b'}{token[1:]}@in.example.com"
    taken = await post.mail(
        mail(
            to=f"{reply_to(theirs)}, {forged}",
            in_reply_to=post.named(theirs),
            references="<theirs@example.com> <cAAAAAAAAAAAAAAAA.0@t.example.com>",
        )
    )
    assert taken.communication_id is None
    (own,) = await post.conversations()
    assert own.id == taken.conversation_id


async def test_the_same_mail_by_two_ways_is_stored_once(house: walk.House, post: Post):
    asked = await sent(house)
    raw = mail(in_reply_to=post.named(asked))
    one = await post.mail(raw)
    other = b"Received: by other.example\r\nDelivered-To: x@acme.example\r\n" + raw
    two = await post.mail(other)
    assert (one.fresh, two.fresh, one.inbound_id) == (True, False, two.inbound_id)
    assert two.communication_id == asked.id
    assert (await house.counts()).replied == 1


async def test_the_same_mail_many_times_at_once_is_stored_once_and_leaves_no_empty_conversation(house: walk.House, post: Post):
    raw = mail("New <new@example.com>")
    taken = await asyncio.gather(*(post.mail(raw) for _ in range(8)))
    assert sum(one.fresh for one in taken) == 1
    assert len({one.inbound_id for one in taken}) == 1
    (row,), (conversation,) = await post.inbound(), await post.conversations()
    assert row.conversation_id == conversation.id
    assert conversation.unread == 1


async def test_mails_that_a_carrier_has_read_itself_are_not_one_another(house: walk.House, post: Post):
    for text in ("One", "Two"):
        taken = await receive.mail(post.desk, house.tenant_id, b"", read=Read(Address("ann@example.com"), text=text))
        assert taken.fresh
    assert [row.text for row in await post.inbound()] == ["One", "Two"]


async def test_an_automatic_answer_is_stored_and_neither_counts_nor_stops_anything(house: walk.House, post: Post):
    campaign = await house.campaign(("email", 0), ("email", walk.minutes(60)))
    await house.enroll(campaign, await house.contact("ann@example.com"))
    await house.dispatch()
    (asked,) = await house.rows()
    taken = await post.mail(mail(in_reply_to=post.named(asked), auto_submitted="auto-replied", subject="Out of office"))
    assert taken.fresh
    assert not taken.stopped
    (row,), (conversation,) = await post.inbound(), await post.conversations()
    assert (row.automatic, row.conversation_id, row.communication_id, conversation.unread) == (1, conversation.id, asked.id, 0)
    assert (await house.counts()).replied == 0
    house.later(walk.minutes(61))
    assert len(await house.dispatch()) == 1
    await check_counts(house)


async def test_what_no_database_takes_does_not_reach_it(house: walk.House, post: Post):
    incoming = Incoming(
        source="test",
        source_id="x\0" * 3000,
        channel="email",
        contact_id=0,
        received_at=house.now,
        sender="ann\0@example.com",
        sender_name="A\ud800nn " * 500,
        to=("a\0@b.example",),
        subject="S\0" * 5000,
        text="t\0\udfff",
        html="\0",
        reply="\ud83d\ude00",
        message_id="<" + "m" * 5000 + "@x>",
        references=("<" + "r" * 5000 + "@x>", "<ok\0@x>"),
    )
    one = await house.db.write(threads.take, house.tenant_id, Arrival(incoming=incoming), now=house.now)
    two = await house.db.write(threads.take, house.tenant_id, Arrival(incoming=incoming), now=house.now)
    assert (one.fresh, two.fresh) == (True, False)
    (row,) = await post.inbound()
    assert (row.sender, row.text, row.reply, row.message_id) == ("ann@example.com", "t\ufffd", "\U0001f600", None)
    assert msgspec.json.decode(row.reference_ids) == ["<ok@x>"]
    assert len(row.subject) == 998


async def test_a_raw_mail_of_nonsense_is_stored(house: walk.House, post: Post):
    for raw in (b"", b"\0\0\0", b"From: \xff\xfe\r\nMessage-ID: <" + b"x" * 3000 + b"@y>\r\n\r\n\0", b"Subject: " + b"s" * 100_000):
        assert (await post.mail(raw)).fresh
    assert {row.sender for row in await post.inbound()} == {"unknown@sender.invalid"}


async def test_files_and_the_raw_mail_are_kept(house: walk.House, post: Post):
    raw = (
        b"From: ann@example.com\r\nSubject: Files\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\nContent-Type: text/plain\r\n\r\nSee\r\n--b\r\nContent-Type: application/pdf; name=a.pdf\r\n"
        b"Content-Disposition: attachment; filename=a.pdf\r\n\r\n%PDF\r\n--b--\r\n"
    )
    taken = await post.mail(raw)
    (row,) = await post.inbound()
    assert row.raw_hash is not None
    assert await post.desk.store.get(house.tenant_id, row.raw_hash) == raw
    found = await house.db.read(
        lambda tx: tx.rows(
            "SELECT filename, content_type, hash FROM attachments WHERE tenant_id = :t AND inbound_id = :i ORDER BY id",
            t=house.tenant_id,
            i=taken.inbound_id,
        )
    )
    assert [(name, kind) for name, kind, _ in found] == [("a.pdf", "application/pdf")]
    assert await post.desk.store.get(house.tenant_id, found[0][2]) == b"%PDF"


async def test_a_report_about_nothing_of_ours_is_kept_as_a_message(house: walk.House, post: Post):
    taken = await post.mail(bounce("x@example.com", message_id="<not@ours.example>"))
    assert taken.inbound_id is not None
    (row,) = await post.inbound()
    assert row.automatic == 1
    assert await post.suppressed() == []


@pytest.mark.parametrize(
    ("raw", "denied"),
    [
        (bounce("x@example.com", message_id="<not@ours.example>"), True),
        (b"Subject: from nobody\r\n\r\nHello\r\n", True),
        (mail("Eve <eve@example.com>", "Hello"), False),
    ],
)
async def test_a_machine_or_nobody_who_wrote_is_not_enrolled_with_everybody(house: walk.House, post: Post, raw: bytes, denied: bool):
    taken = await post.mail(raw)
    contact = await house.db.read(contacts.get, house.tenant_id, taken.contact_id or 0)
    assert contact is not None
    assert (contact.email_denied_at is not None) is denied


async def test_a_text_answers_the_last_one_to_its_number(house: walk.House, post: Post):
    await texted(house)
    house.later(1000)
    last = await texted(house, text="Are you coming?")
    house.later(1000)
    await texted(house, "+41791230002")
    taken = await post.text("Maybe")
    assert taken.communication_id == last.id
    assert (await again(house, last.id)).conversation_id == taken.conversation_id
    more = await post.text("Or not")
    assert more.conversation_id == taken.conversation_id
    assert (await house.counts()).replied == 2
    await check_counts(house)


async def test_of_two_who_share_a_number_it_is_answered_by_the_one_who_was_written_to(house: walk.House, post: Post):
    await house.contact("ann@example.com", phone=ANN)
    bob = await house.contact("bob@example.com", phone=ANN)
    campaign = await house.campaign(("sms", 0))
    await house.enroll(campaign, bob)
    await house.dispatch()
    assert (await post.text("Hi")).contact_id == bob


async def test_a_text_from_nobody_known_begins_a_conversation(house: walk.House, post: Post):
    one = await post.text("Hello?", id="A")
    two = await post.text("Anybody?", id="B")
    again_one = await post.text("Hello?", id="A")
    assert one.conversation_id == two.conversation_id
    assert (again_one.fresh, again_one.inbound_id) == (False, one.inbound_id)
    assert (await post.text("Your parcel", sender="PARCEL")).conversation_id != one.conversation_id
    assert (await post.text("Bad number", sender="+1\0")).fresh
    nameless = [await post.text(text, id="", sender="+41791230009") for text in ("One", "Two")]
    assert [one.fresh for one in nameless] == [True, True]


async def test_stop_takes_the_number_off_texts_and_is_confirmed_once(house: walk.House, post: Post):
    campaign = await house.campaign(("sms", 0), ("sms", walk.minutes(60)))
    await house.enroll(campaign, await house.contact(phone=ANN))
    await house.dispatch()
    taken = await post.text(" Stop! ")
    assert taken.stopped
    assert await post.suppressed() == [("sms", ANN, "unsubscribed")]
    (confirmation,) = await house.dispatch()
    assert isinstance(confirmation, Sms)
    assert (confirmation.to, "unsubscribed" in confirmation.text) == (ANN, True)
    await post.text("STOP")
    await post.text("stopall")
    house.later(walk.minutes(61))
    assert await house.dispatch() == []
    counts = await house.counts()
    assert (counts.unsubscribed, counts.replied, counts.completed) == (1, 0, 1)
    rows = await house.db.read(lambda tx: tx.rows("SELECT keyword FROM inbound_messages WHERE tenant_id = :t", t=house.tenant_id))
    assert rows == [("stop",)] * 3
    await check_counts(house)


@pytest.mark.parametrize("name", ["Acme {{ phone }}", "Acme {{", "{% if", "{# Acme #}", "{{{% x"])
async def test_a_confirmation_says_who_writes_as_the_name_stands_braces_and_all(house: walk.House, post: Post, name: str):
    await house.db.write(lambda tx: tenants.update(tx, tenants.get(tx, house.tenant_id), name=name, now=house.now))
    await texted(house)
    await post.text("STOP")
    (confirmation,) = await house.dispatch()
    assert isinstance(confirmation, Sms)
    assert confirmation.text.startswith(f"{name}: You are unsubscribed")


async def test_many_stops_at_once_are_confirmed_once(house: walk.House, post: Post):
    await texted(house)
    taken = await asyncio.gather(*(post.text("STOP") for _ in range(6)))
    assert sum(one.answer for one in taken) == 1
    assert len(await house.dispatch()) == 1
    assert (await house.counts()).unsubscribed == 1
    await check_counts(house)


async def test_start_undoes_stop_and_nothing_else(house: walk.House, post: Post):
    asked = await texted(house)
    await post.text("STOP")
    await house.dispatch()
    assert (await post.text("Unstop")).answer
    assert await post.suppressed() == []
    (confirmation,) = await house.dispatch()
    assert isinstance(confirmation, Sms)
    assert "again" in confirmation.text
    assert (asked.id, "resubscribed") in await house.interactions()
    await house.db.write(suppressions.add, house.tenant_id, "sms", ANN, "complained", now=house.now)
    assert not (await post.text("START")).answer
    assert await post.suppressed() == [("sms", ANN, "complained")]
    await check_counts(house)


@pytest.mark.parametrize("before", ["manual", "bounced", "complained"])
async def test_stop_outweighs_what_stood_there_and_start_takes_back_stop_alone(house: walk.House, post: Post, before: suppressions.Reason):
    asked = await texted(house)
    await house.db.write(suppressions.add, house.tenant_id, "sms", ANN, before, detail="why", communication_id=asked.id, now=house.now)
    known = await house.db.read(suppressions.find, house.tenant_id, "sms", ANN)
    house.later(1000)
    assert (await post.text("STOP")).answer
    assert not (await post.text("STOP")).answer
    assert await post.suppressed() == [("sms", ANN, "unsubscribed")]
    assert not (await post.text("START")).answer, "it would not be true"
    assert await house.db.read(suppressions.find, house.tenant_id, "sms", ANN) == known
    assert (asked.id, "resubscribed") not in await house.interactions()
    assert (await post.text("STOP")).answer
    await check_counts(house)


async def test_yes_from_somebody_who_gets_our_texts_is_an_answer(house: walk.House, post: Post):
    campaign = await house.campaign(("sms", 0), ("sms", walk.minutes(60)), stop_on_reply=True)
    await house.enroll(campaign, await house.contact(phone=ANN))
    await house.dispatch()
    taken = await post.text("Yes")
    assert (taken.stopped, taken.answer) == (True, False)
    assert (await house.counts()).replied == 1


async def test_help_is_answered_though_the_number_is_suppressed_but_two_machines_do_not_talk_for_ever(house: walk.House, post: Post):
    await texted(house)
    await post.text("STOP")
    await house.dispatch()
    house.later(walk.minutes(2))
    assert (await post.text("help")).answer
    assert not (await post.text("info")).answer
    (answer,) = await house.dispatch()
    assert isinstance(answer, Sms)
    house.later(walk.minutes(2))
    assert (await post.text("HELP")).answer
    await check_counts(house)


async def test_help_is_answered_right_after_another_word(house: walk.House, post: Post):
    await texted(house)
    for word in ("STOP", "HELP"):
        assert (await post.text(word)).answer


async def test_what_was_written_back_to_a_word_is_not_what_the_next_text_answers(house: walk.House, post: Post):
    asked = await texted(house)
    await post.text("HELP")
    house.later(1000)
    await house.dispatch()
    assert (await post.text("I am interested")).communication_id == asked.id


async def test_a_sentence_with_a_word_in_it_is_an_answer(house: walk.House, post: Post):
    await texted(house)
    taken = await post.text("please don't stop")
    assert not taken.answer
    assert await post.suppressed() == []
    assert (await house.counts()).replied == 1
