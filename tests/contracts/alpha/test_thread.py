"""GET /{id}/thread and `conversationId`: what belongs together, both ways, and the headers by which mail programs know it."""

import asyncio
from email import message_from_bytes
from email.message import Message
from typing import Any

import pytest

from tests.support.api import NOON, PUBLIC_URL, Api
from tests.support.replies import receive
from tidings import ids
from tidings.api.alpha import thread
from tidings.delivery.mailing import LEASE, run_mailing
from tidings.domain import communications, jobs, lists
from tidings.domain.communications import Draft, mailing
from tidings.message.outgoing import Email, refused
from tidings.rendering.template import content_hash, prepare

MINUTE = 60_000
KEYS = """bodyHtml bodyText cc conversationId created createdBy events fromEmail fromName graphMessageId id inReplyTo internetMessageId
parentCommunicationId receivedAt recipients relatedEntityId relatedEntityType status subject tenantId updated updatedBy""".split()


def path(token: str) -> str:
    return f"/api/v1/communications/{token}/thread"


def number_of(api: Api, record: dict[str, Any]) -> int:
    _, number = api.signer.parse_communication(record["id"]) or (0, 0)
    return number


async def read(api: Api, token: str) -> dict[str, list[dict[str, Any]]]:
    answer = await api.client.get(path(token))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text
    return answer.json()


async def conversation(api: Api, key: str) -> int:
    rows = await api.rows("SELECT id FROM conversations WHERE tenant_id = :t AND key = :key", t=api.tenant.id, key=key)
    return rows[0][0]


async def answered(api: Api, key: str, **fields: Any) -> int:
    """Somebody answers in the conversation."""
    return await receive(api.db, api.tenant.id, await conversation(api, key), now=api.at, **fields)


async def out(api: Api) -> Message:
    """The one mail that goes out now."""
    (mail,) = await api.dispatch()
    assert isinstance(mail, Email)
    return message_from_bytes(mail.raw)


async def test_a_communication_alone_is_its_own_thread(api: Api):
    record = await api.send()
    assert record["conversationId"].startswith("thrd_")
    assert await read(api, record["id"]) == {"inbound": [], "outbound": [record]}
    assert await api.rows("SELECT COUNT(*) FROM conversations WHERE tenant_id = :t", t=api.tenant.id) == [(0,)]


async def test_what_goes_on_from_a_record_and_what_comes_back_are_one_thread(api: Api):
    first = await api.send(subject="Offer")
    await api.dispatch()
    api.at += MINUTE
    second = await api.send(subject="One more thing", conversationId=first["conversationId"])
    assert second["conversationId"] == first["conversationId"]
    api.at += MINUTE
    came = await answered(api, first["conversationId"], subject="Re: Offer")
    api.at += MINUTE
    third = await api.send(subject="Re: Re: Offer", conversationId=first["conversationId"])
    whole = await read(api, second["id"])
    assert [record["id"] for record in whole["outbound"]] == [first["id"], second["id"], third["id"]]
    assert whole["outbound"][0] == await api.find(first["id"])
    assert [email["id"] for email in whole["inbound"]] == [ids.spell("inbound", came)]
    assert await read(api, first["id"]) == await read(api, third["id"]) == whole


async def test_a_received_mail_has_exactly_these_keys(api: Api):
    record = await api.send(conversationId="deal", relatedEntityType="Deal", relatedEntityId="7")
    api.at += MINUTE
    came = await answered(
        api,
        "deal",
        received_at=api.at - 1,
        sender="Ann@example.test",
        sender_name="Ann Example",
        to=("hello@acme.test",),
        cc=("bea@example.test",),
        subject="Re: Hello",
        text="Yes, please",
        html="<p>Yes, please</p>",
        message_id="<1@example.test>",
        in_reply_to=record["internetMessageId"],
        graph_message_id="AAMk",
        communication_id=number_of(api, record),
        created_by="imap",
    )
    (email,) = (await read(api, record["id"]))["inbound"]
    assert sorted(email) == sorted(KEYS)
    (event,) = email.pop("events")
    assert event.pop("id")
    assert event == {"authorId": "imap", "date": "2025-06-18T12:01:00.000Z", "description": "Message received", "type": "CREATE"}
    assert email == {
        "bodyHtml": "<p>Yes, please</p>",
        "bodyText": "Yes, please",
        "cc": ["bea@example.test"],
        "conversationId": "deal",
        "created": "2025-06-18T12:01:00.000Z",
        "createdBy": "imap",
        "fromEmail": "Ann@example.test",
        "fromName": "Ann Example",
        "graphMessageId": "AAMk",
        "id": ids.spell("inbound", came),
        "inReplyTo": record["internetMessageId"],
        "internetMessageId": "<1@example.test>",
        "parentCommunicationId": record["id"],
        "receivedAt": "2025-06-18T12:00:59.999Z",
        "recipients": ["hello@acme.test"],
        "relatedEntityId": "7",
        "relatedEntityType": "Deal",
        "status": "NEW",
        "subject": "Re: Hello",
        "tenantId": ids.spell("tenant", api.tenant.id),
        "updated": "2025-06-18T12:01:00.000Z",
        "updatedBy": "imap",
    }


async def test_what_nobody_told_is_null_and_every_status_has_its_word(api: Api):
    record = await api.send(conversationId="deal")
    for status in ("new", "read", "processed", "archived"):
        came = await answered(api, "deal", text="")
        await api.run("UPDATE inbound_messages SET status = :s WHERE tenant_id = :t AND id = :id", s=status, t=api.tenant.id, id=came)
    emails = (await read(api, record["id"]))["inbound"]
    assert [email["status"] for email in emails] == ["NEW", "READ", "PROCESSED", "ARCHIVED"]
    nothing = (
        "createdBy",
        "graphMessageId",
        "inReplyTo",
        "internetMessageId",
        "parentCommunicationId",
        "relatedEntityId",
        "relatedEntityType",
    )
    assert {emails[0][name] for name in nothing} == {None}
    assert [emails[0][name] for name in ("bodyHtml", "bodyText", "fromName", "subject", "recipients", "cc")] == ["", "", "", "", [], []]


async def test_each_direction_is_oldest_first_by_when_it_was_sent_will_be_or_was_received(api: Api):
    later = {"body": "x", "recipients": ["ann@example.test"], "subject": "Later", "scheduledAt": "2025-06-18T13:00:00Z"}
    scheduled = (await api.client.post("/api/v1/communications/schedule", json=later | {"conversationId": "deal"})).json()["id"]
    api.at += MINUTE
    now = (await api.send(conversationId="deal"))["id"]
    await answered(api, "deal", text="second", received_at=NOON + 2)
    await answered(api, "deal", text="first", received_at=NOON + 1)
    whole = await read(api, now)
    assert [record["id"] for record in whole["outbound"]] == [now, scheduled]
    assert [email["bodyText"] for email in whole["inbound"]] == ["first", "second"]


async def test_a_long_thread_comes_complete_and_in_order(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(thread, "PLACES", 5)
    monkeypatch.setattr(thread, "AT_ONCE", 2)
    monkeypatch.setattr(thread, "MAILS", 3)
    sent, came = [], []
    for number in range(12):
        # some at the same instant, on both sides of a step
        api.at += MINUTE * (number % 3 == 0)
        sent.append((await api.send(conversationId="deal"))["id"])
        came.append(ids.spell("inbound", await answered(api, "deal")))
    whole = await read(api, sent[3])
    assert [record["id"] for record in whole["outbound"]] == sent
    assert [email["id"] for email in whole["inbound"]] == came


async def test_what_was_deleted_is_gone_from_it(api: Api):
    first = await api.send(conversationId="deal")
    second = await api.send(conversationId="deal")
    assert (await api.client.delete(f"/api/v1/communications/{first['id']}")).status_code == 204
    assert [record["id"] for record in (await read(api, second["id"]))["outbound"]] == [second["id"]]
    assert (await api.client.get(path(first["id"]))).status_code == 404


async def test_a_text_message_has_its_number_and_its_text(api: Api):
    content = prepare(tenant_id=api.tenant.id, channel="sms", format="text", subject="", body="On my way")
    sms = Draft(
        tenant_id=api.tenant.id,
        channel="sms",
        content=content,
        content_hash=content_hash(content),
        type="SMS",
        phone="+31612345678",
    )
    made = await api.db.write(communications.accept, sms, now=api.at)
    token = api.signer.communication(api.tenant.id, made.id)
    wire = (await read(api, token))["outbound"][0]["conversationId"]
    await api.send(conversationId=wire)
    await answered(api, wire, channel="sms", sender="+31612345678", to=("+31687654321",), text="Fine")
    whole = await read(api, token)
    text = whole["outbound"][0]
    assert (text["recipients"], text["body"]) == (["+31612345678"], "On my way")
    (email,) = whole["inbound"]
    assert (email["fromEmail"], email["recipients"], email["bodyText"], email["bodyHtml"]) == ("+31612345678", ["+31687654321"], "Fine", "")


async def test_what_is_not_there_or_anothers_or_spelt_otherwise_is_a_404(api: Api):
    record = await api.send(conversationId="deal")
    number = str(number_of(api, record))
    rival = await api.rival()
    spellings = ("string", number, record["conversationId"], ids.spell("conversation", 1), ids.spell("thread", 1))
    for client, token in ((rival, record["id"]), *((api.client, token) for token in spellings)):
        answer = await client.get(path(token))
        assert (answer.status_code, set(answer.json())) == (404, {"detail", "time", "title"})
    await rival.aclose()
    assert (await api.stranger.get(path(record["id"]))).status_code == 401
    assert (await api.client_for(await api.new_key(api.tenant, "contacts:read")).get(path(record["id"]))).status_code == 403


async def test_the_same_key_of_two_tenants_is_two_conversations(api: Api):
    record = await api.send(conversationId="deal")
    await api.dispatch()
    rival = await api.rival()
    given = {"body": "x", "subject": "Theirs", "recipients": ["bea@example.test"], "conversationId": "deal"}
    theirs = (await rival.post("/api/v1/communications/send", json=given)).json()
    assert theirs["conversationId"] == "deal"
    assert [email["id"] for email in (await rival.get(path(theirs["id"]))).json()["outbound"]] == [theirs["id"]]
    assert [email["id"] for email in (await read(api, record["id"]))["outbound"]] == [record["id"]]
    await rival.aclose()


@pytest.mark.parametrize("whose", ["nobody's", "rival's", "broken"])
async def test_a_conversation_that_is_not_there_is_a_404_and_nothing_is_sent(api: Api, whose: str):
    rival = await api.rival()
    given = {"body": "x", "subject": "Theirs", "recipients": ["bea@example.test"]}
    theirs = (await rival.post("/api/v1/communications/send", json=given)).json()["conversationId"]
    await rival.aclose()
    wires = {"nobody's": [ids.spell("conversation", 9), ids.spell("thread", 9)], "rival's": [theirs], "broken": ["conv_x", "thrd_x"]}
    for wire in wires[whose]:
        for operation, extra in (("send", {}), ("schedule", {"scheduledAt": "2025-06-19T12:00:00Z"})):
            body = {"body": "x", "subject": "x", "recipients": ["ann@example.test"], "conversationId": wire} | extra
            answer = await api.client.post(f"/api/v1/communications/{operation}", json=body)
            assert (answer.status_code, answer.json()["detail"].rstrip(".")) == (404, "Conversation not found")
    assert await api.rows("SELECT COUNT(*) FROM communications WHERE tenant_id = :t", t=api.tenant.id) == [(0,)]


async def test_a_key_that_is_too_long_or_has_control_characters_is_a_400(api: Api):
    for wire in ("x" * 201, "a\nb", "a\0b"):
        body = {"body": "x", "subject": "x", "recipients": ["ann@example.test"], "conversationId": wire}
        answer = await api.client.post("/api/v1/communications/send", json=body)
        assert (answer.status_code, "conversationId" in answer.json()["detail"]) == (400, True)
    assert (await api.send(conversationId="x" * 200))["conversationId"] == "x" * 200
    assert (await api.send(conversationId="  "))["conversationId"].startswith("thrd_")


async def test_the_native_spelling_of_a_conversation_names_it_too(api: Api):
    first = await api.send(conversationId="deal")
    second = await api.send(conversationId=ids.spell("conversation", await conversation(api, "deal")))
    assert second["conversationId"] == "deal"
    assert len((await read(api, first["id"]))["outbound"]) == 2


async def test_two_who_begin_the_same_conversation_at_once_are_in_one(api: Api):
    lone = await api.send()
    for wire in ("deal", lone["conversationId"]):
        records = await asyncio.gather(*(api.send(conversationId=wire, subject=f"{number}") for number in range(6)))
        whole = await read(api, records[0]["id"])
        expected = {record["id"] for record in records} | ({lone["id"]} if wire == lone["conversationId"] else set())
        assert {record["id"] for record in whole["outbound"]} == expected


async def test_a_mail_to_a_list_is_in_the_conversation_that_is_named_whoever_sends_the_copies(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mailing, "CHUNK", 2)
    members = [await api.contact(f"m{number}@example.test") for number in range(5)]
    made = await api.db.write(lists.create, api.tenant.id, "Everybody", now=api.at)
    await api.db.write(lists.add, api.tenant.id, made.id, members, now=api.at)
    first = await api.send(recipients=["m0@example.test"], conversationId="news")
    await api.dispatch()
    api.at += MINUTE
    record = await api.send(recipients=[], recipientListId=ids.spell("list", made.id), conversationId="news")
    job = await api.db.write(jobs.claim, now=api.at, lease_ms=LEASE)
    assert job is not None
    await run_mailing(api.db, lambda: api.at, job, asyncio.Event())
    whole = await read(api, record["id"])
    assert [record["conversationId"] for record in whole["outbound"]] == ["news"] * 6
    answers = {mail["To"]: mail["References"] for mail in [message_from_bytes(mail.raw) for mail in await api.dispatch()]}
    others = {f"Ann <m{number}@example.test>": None for number in range(1, 5)}
    assert answers == others | {"Ann <m0@example.test>": first["internetMessageId"]}


async def test_a_mail_of_a_conversation_answers_the_one_before_and_refers_to_all(api: Api):
    first = await api.send(conversationId="deal")
    mail = await out(api)
    assert (mail["In-Reply-To"], mail["References"]) == (None, None)
    assert mail["Message-ID"] == first["internetMessageId"]
    api.at += MINUTE
    second = await api.send(conversationId="deal")
    mail = await out(api)
    assert (mail["In-Reply-To"], mail["References"]) == (first["internetMessageId"], first["internetMessageId"])
    api.at += MINUTE
    third = await api.send(conversationId="deal")
    mail = await out(api)
    assert mail["In-Reply-To"] == second["internetMessageId"]
    assert mail["References"].split() == [first["internetMessageId"], second["internetMessageId"]]
    api.at += MINUTE
    await answered(api, "deal", message_id="<yes@mail.example>")
    api.at += MINUTE
    await api.send(conversationId=ids.spell("conversation", await conversation(api, "deal")))
    mail = await out(api)
    assert mail["In-Reply-To"] == "<yes@mail.example>"
    sent = [record["internetMessageId"] for record in (first, second, third)]
    assert mail["References"].split() == [*sent, "<yes@mail.example>"]


async def test_a_mail_answers_a_record_that_had_no_conversation_yet(api: Api):
    first = await api.send()
    await api.dispatch()
    await api.send(conversationId=first["conversationId"])
    assert (await out(api))["In-Reply-To"] == first["internetMessageId"]


async def test_a_mail_that_failed_or_is_scheduled_is_not_answered(api: Api):
    good, api.carrying.answer = api.carrying.answer, lambda sealed: refused("550 no such mailbox")
    await api.send(conversationId="deal", recipients=["gone@example.test"])
    await api.dispatch()
    api.carrying.answer = good
    later = {"body": "x", "recipients": ["ann@example.test"], "subject": "x", "scheduledAt": "2025-06-19T12:00:00Z"}
    await api.client.post("/api/v1/communications/schedule", json=later | {"conversationId": "deal"})
    await api.send(conversationId="deal")
    mail = await out(api)
    assert (mail["In-Reply-To"], mail["References"]) == (None, None)


async def test_a_scheduled_mail_answers_what_was_last_said_when_it_goes_out(api: Api):
    first = await api.send(conversationId="deal")
    await api.dispatch()
    later = {"body": "x", "recipients": ["ann@example.test"], "subject": "x", "scheduledAt": "2025-06-18T13:00:00Z"}
    await api.client.post("/api/v1/communications/schedule", json=later | {"conversationId": "deal"})
    api.at += MINUTE
    await answered(api, "deal", message_id="<yes@mail.example>")
    api.at = NOON + 60 * MINUTE
    assert (await out(api))["References"].split() == [first["internetMessageId"], "<yes@mail.example>"]


async def test_looking_at_a_thread_opens_nothing(api: Api):
    record = await api.send(conversationId="deal")
    await api.dispatch()
    found = (await read(api, record["id"]))["outbound"][0]
    assert f"{PUBLIC_URL}/api/v1/communications/track/{record['id']}" in found["body"]
    assert (found["opened"], found["status"]) == (False, "SENT")
