"""Conversations over HTTP: what was said both ways, who looks after it, and answers that leave the building as part of it."""

import base64
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest

from tests.api.conftest import Api, page_of
from tests.support.answering import mail
from tidings import ids
from tidings.domain import suppressions, tenants
from tidings.domain.threads import Taken
from tidings.inbound import receive
from tidings.inbound.receive import Desk, Envelope
from tidings.message.heard import Text
from tidings.message.outgoing import Email, Sms

PATH = "/api/v1/conversations"
MINUTE = 60_000


async def write(api: Api, raw: bytes, **envelope: Any) -> Taken:
    """A mail comes in."""
    return await receive.mail(Desk(api.db, api.house.store, api.signer, lambda: api.at), api.tenant.id, raw, Envelope(**envelope))


async def text(api: Api, said: str, sender: str = "+41791230001") -> Taken:
    heard = Text(f"{api.at} {said}", sender, "+41790000000", said, api.at)
    return await receive.text(Desk(api.db, api.house.store, api.signer, lambda: api.at), api.tenant.id, "twilio:1", heard)


async def asked(api: Api, **fields: Any) -> tuple[str, str]:
    """A mail goes out and Ann answers it: (the conversation's id, the Message-ID of the mail)."""
    made = await api.send(**fields)
    await api.dispatch()
    api.at += MINUTE
    raw = mail(
        "Ann Bell <ann@example.test>", "Yes, please\n\n> Hello", in_reply_to=made["internetMessageId"], message_id="<a1@example.test>"
    )
    taken = await write(api, raw)
    return ids.spell("conversation", taken.conversation_id or 0), made["internetMessageId"]


async def get(api: Api, path: str, **params: Any) -> Any:
    answer = await api.client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def headers(sealed: Any) -> EmailMessage:
    assert isinstance(sealed, Email)
    parsed = message_from_bytes(sealed.raw, policy=default)
    assert isinstance(parsed, EmailMessage)
    return parsed


async def test_a_conversation_is_shown_with_what_was_said_both_ways(api: Api):
    conversation, _ = await asked(api, relatedEntityType="Deal", relatedEntityId="7", cc=["cc@example.test"])
    shown = await get(api, f"{PATH}/{conversation}")
    messages = shown.pop("messages")
    assert shown == {
        "id": conversation,
        "key": shown["key"],
        "channel": "email",
        "status": "open",
        "subject": "Hello",
        "contact_id": shown["contact_id"],
        "assignee": None,
        "unread": 1,
        "related_entity_type": "Deal",
        "related_entity_id": "7",
        "last_at": "2025-06-18T12:01:00Z",
        "closed_at": None,
        "created_at": "2025-06-18T12:01:00Z",
        "updated_at": "2025-06-18T12:01:00Z",
        "message_count": 2,
    }
    out, came = messages
    assert (out["direction"], out["status"], out["from"], out["to"], out["cc"]) == (
        "outbound",
        "sent",
        "hello@acme.test",
        ["ann@example.test"],
        ["cc@example.test"],
    )
    assert (out["subject"], out["html"].strip(), out["text"].strip(), out["inbound_message_id"]) == ("Hello", "<p>Hello</p>", "Hello", None)
    assert (came["direction"], came["status"], came["from"], came["from_name"]) == ("inbound", "new", "ann@example.test", "Ann Bell")
    assert (came["communication_id"], came["reply"], came["automatic"]) == (out["communication_id"], "Yes, please", False)
    assert came["inbound_message_id"].startswith("inbd_")


async def test_messages_are_paged_oldest_first(api: Api):
    conversation, sent = await asked(api)
    for number in range(4):
        api.at += MINUTE
        await write(api, mail("ann@example.test", f"Number {number}", in_reply_to=sent))
    path = f"{PATH}/{conversation}/messages"
    answer = await api.client.get(path, params={"limit": 4})
    assert page_of(answer) == {"page": 1, "limit": 4, "total": 6, "total_pages": 2}
    said = [row["text"].strip() for row in answer.json()["messages"]]
    assert said[0] == "Hello"
    assert said[2:] == ["Number 0", "Number 1"]
    rest = await get(api, path, limit=4, page=2)
    assert [row["text"].strip() for row in rest["messages"]] == ["Number 2", "Number 3"]
    long = await write(api, mail("ann@example.test", "x" * 150_000, in_reply_to=sent))
    (row,) = (await get(api, path, limit=1, page=7))["messages"]
    assert (row["truncated"], len(row["text"])) == (True, 100_000)
    whole = await get(api, f"/api/v1/inbound_messages/{row['inbound_message_id']}")
    assert long.inbound_id == ids.parse("inbound", whole["id"])
    assert len(whole["text"].strip()) == 150_000


async def test_conversations_are_listed_newest_first_and_filtered(api: Api):
    one, _ = await asked(api, relatedEntityType="Deal", relatedEntityId="7")
    api.at += MINUTE
    two = ids.spell(
        "conversation", (await write(api, mail("Bob <bob@example.test>", "Ärger mit 50% Rabatt_x", subject="Frage"))).conversation_id or 0
    )
    api.at += MINUTE
    three = ids.spell("conversation", (await text(api, "Hello there")).conversation_id or 0)

    async def listed(**params: Any) -> list[str]:
        return [row["id"] for row in (await get(api, PATH, **params))["conversations"]]

    assert await listed() == [three, two, one]
    answer = await api.client.get(PATH, params={"limit": 2, "page": 2})
    assert page_of(answer) == {"page": 2, "limit": 2, "total": 3, "total_pages": 2}
    await api.client.patch(f"{PATH}/{two}", json={"status": "closed", "assignee": "eve"})
    await api.client.post(f"{PATH}/{one}/read")
    assert await listed(status="closed") == [two]
    assert await listed(status="open") == [three, one]
    assert await listed(unread="true") == [three, two]
    assert await listed(unread="false") == [one]
    assert await listed(assignee="eve") == [two]
    assert await listed(channel="sms") == [three]
    assert await listed(related_entity_type="Deal", related_entity_id="7") == [one]
    contact = (await get(api, f"{PATH}/{two}"))["contact_id"]
    assert await listed(contact_id=contact) == [two]
    for search, found in (
        ("frage", [two]),
        ("ÄRGER", [two]),
        ("50% r", [two]),
        ("50_", []),
        ("bob@", [two]),
        ("yes, PLEASE", [one]),
        ("hello", [three, one]),
        ("ann bell", [one]),
        ("nowhere", []),
    ):
        assert await listed(search=search) == found, search
    for wrong in ({"status": "odd"}, {"channel": "fax"}, {"unread": "x"}, {"contact_id": "cont_x"}, {"search": "x" * 201}):
        assert (await api.client.get(PATH, params=wrong)).status_code == 422


async def test_a_conversation_is_closed_handed_over_linked_and_opened_again_by_what_comes_in(api: Api):
    conversation, sent = await asked(api)
    path = f"{PATH}/{conversation}"
    api.at += MINUTE
    changed = await api.client.patch(
        path, json={"status": "closed", "assignee": "eve", "related_entity_type": "Order", "related_entity_id": "12"}
    )
    assert changed.status_code == 200
    body = changed.json()
    assert (body["status"], body["closed_at"], body["assignee"]) == ("closed", "2025-06-18T12:02:00Z", "eve")
    assert [item["direction"] for item in await get(api, "/api/v1/communications/by-entity", entityType="Order", entityId="12")] == [
        "INBOUND",
        "OUTBOUND",
    ]
    moved = await api.client.patch(path, json={"related_entity_type": "Order", "related_entity_id": "13"})
    assert (moved.json()["status"], moved.json()["related_entity_id"]) == ("closed", "13")
    assert await get(api, "/api/v1/communications/by-entity", entityType="Order", entityId="12") == []
    assert len(await get(api, "/api/v1/communications/by-entity", entityType="Order", entityId="13")) == 2
    await write(api, mail("ann@example.test", "One more thing", in_reply_to=sent))
    body = (await api.client.patch(path, json={"assignee": None, "related_entity_type": None, "related_entity_id": None})).json()
    assert (body["status"], body["closed_at"], body["assignee"], body["related_entity_id"], body["unread"]) == ("open", None, None, None, 2)
    for wrong in (
        {"status": "odd"},
        {"related_entity_type": "Order"},
        {"related_entity_type": "Order", "related_entity_id": " "},
        {"x": 1},
    ):
        assert (await api.client.patch(path, json=wrong)).status_code == 422


async def test_reading_a_conversation_reads_what_is_in_it(api: Api):
    conversation, _ = await asked(api)
    body = (await api.client.post(f"{PATH}/{conversation}/read")).json()
    assert body["unread"] == 0
    shown = await get(api, f"{PATH}/{conversation}")
    assert shown["messages"][1]["status"] == "read"
    token = api.signer.communication(api.tenant.id, shown["messages"][0]["communication_id"])
    assert (await get(api, f"/api/v1/communications/{token}/thread"))["inbound"][0]["status"] == "READ"


async def test_an_answer_goes_to_who_wrote_last_and_refers_to_what_went_before(api: Api):
    conversation, sent = await asked(api, senderEmail="sales@acme.test", senderName="Sales")
    await write(
        api, mail("Bob <bob@example.test>", "Me too", in_reply_to="<a1@example.test>", message_id="<b1@example.test>", subject="AW: Hello")
    )
    api.at += MINUTE
    answer = await api.client.post(f"{PATH}/{conversation}/reply", json={"text": "Fine, {{ first_name }}: {% 5"})
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert (body["direction"], body["to"], body["subject"], body["status"]) == ("outbound", ["bob@example.test"], "AW: Hello", "pending")
    (left,) = await api.dispatch()
    head = headers(left)
    assert (head["to"], head["from"], head["subject"]) == ("bob@example.test", "Sales <sales@acme.test>", "AW: Hello")
    assert head["in-reply-to"] == "<b1@example.test>"
    assert head["references"].split() == [sent, "<a1@example.test>", "<b1@example.test>"]
    part = head.get_body(("plain",))
    assert part is not None
    assert part.get_content().strip() == "Fine, {{ first_name }}: {% 5"
    back = await write(api, mail("bob@example.test", "Thanks", in_reply_to=str(head["message-id"])))
    assert ids.spell("conversation", back.conversation_id or 0) == conversation
    assert back.communication_id == body["communication_id"]


async def test_who_asks_to_be_answered_elsewhere_is_answered_there(api: Api):
    raw = mail("Shop <noreply@shop.example>", "I have a question", reply_to="Carla <carla@example.test>", message_id="<f1@shop.example>")
    taken = await write(api, raw)
    conversation = ids.spell("conversation", taken.conversation_id or 0)
    answer = await api.client.post(f"{PATH}/{conversation}/reply", json={"text": "Ask away"})
    assert answer.status_code == 201, answer.text
    (left,) = await api.dispatch()
    assert isinstance(left, Email)
    assert left.recipients == ("carla@example.test",)


async def test_an_answer_has_text_and_html_a_subject_of_its_own_and_files(api: Api):
    conversation, _ = await asked(api)
    wanted = {
        "text": "Plain",
        "html": "<p>Rich</p>",
        "subject": "About {{ it }}",
        "attachments": [{"filename": "a.txt", "content": base64.b64encode(b"A file").decode()}],
    }
    answer = await api.client.post(f"{PATH}/{conversation}/reply", json=wanted)
    assert answer.status_code == 201, answer.text
    assert answer.json()["attachments"] == [{"number": 1, "filename": "a.txt", "content_type": "text/plain", "size": 6, "content_id": None}]
    (left,) = await api.dispatch()
    head = headers(left)
    assert head["subject"] == "About {{ it }}"
    plain, rich = head.get_body(("plain",)), head.get_body(("html",))
    assert plain is not None
    assert rich is not None
    assert plain.get_content().strip() == "Plain"
    assert "Rich" in rich.get_content()
    (enclosed,) = head.iter_attachments()
    assert (enclosed.get_filename(), enclosed.get_content().strip()) == ("a.txt", "A file")
    assert len((await get(api, PATH, search="plain"))["conversations"]) == 1
    (found,) = (await get(api, PATH, search="about {{"))["conversations"]
    assert found["id"] == conversation


async def test_an_answer_is_made_once_however_often_it_is_asked_for(api: Api):
    conversation, _ = await asked(api)
    key = {"Idempotency-Key": "k1"}
    answers = [await api.client.post(f"{PATH}/{conversation}/reply", json={"text": "Once"}, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert len(await api.dispatch()) == 1


async def test_a_template_answers_too(api: Api):
    conversation, _ = await asked(api)
    made = await api.client.post(
        "/api/v1/templates",
        json={
            "name": "T",
            "channel": "email",
            "subject": "On {{ day }}",
            "body": "<p>{{ day }} it is</p>",
            "variables": [{"name": "day", "required": True}],
        },
    )
    assert made.status_code == 201, made.text
    template = made.json()["id"]
    path = f"{PATH}/{conversation}/reply"
    assert (await api.client.post(path, json={"template_id": template})).status_code == 422
    answer = await api.client.post(path, json={"template_id": template, "variables": {"day": "Monday"}})
    assert answer.status_code == 201, answer.text
    assert (answer.json()["subject"], answer.json()["html"].strip()) == ("On Monday", "<p>Monday it is</p>")
    assert (await api.client.post(path, json={"template_id": "tmpl_x"})).status_code == 404


async def test_a_text_is_answered_by_text(api: Api):
    taken = await text(api, "Are you open?")
    conversation = ids.spell("conversation", taken.conversation_id or 0)
    answer = await api.client.post(f"{PATH}/{conversation}/reply", json={"text": "Until six"})
    assert answer.status_code == 201, answer.text
    (left,) = await api.dispatch()
    assert isinstance(left, Sms)
    assert (left.to, left.text) == ("+41791230001", "Until six")
    assert (await text(api, "Thanks")).communication_id == answer.json()["communication_id"]
    for wrong in ({"html": "<p>x</p>"}, {"text": "x", "subject": "x"}, {"text": "x", "attachments": [{"filename": "a", "content": ""}]}):
        assert (await api.client.post(f"{PATH}/{conversation}/reply", json=wrong)).status_code == 422
    await text(api, "STOP")
    refused = await api.client.post(f"{PATH}/{conversation}/reply", json={"text": "Please"})
    assert refused.status_code == 409
    assert "+41791230001 must not be written to: unsubscribed" in refused.text
    nobody = ids.spell("conversation", (await text(api, "Parcel", sender="PARCEL")).conversation_id or 0)
    assert (await api.client.post(f"{PATH}/{nobody}/reply", json={"text": "x"})).status_code == 409


async def test_who_must_not_be_written_to_is_not_answered(api: Api):
    conversation, _ = await asked(api)
    await api.db.write(suppressions.add, api.tenant.id, "email", "ann@example.test", "complained", now=api.at)
    answer = await api.client.post(f"{PATH}/{conversation}/reply", json={"text": "x"})
    assert answer.status_code == 409
    assert "complained" in answer.text
    assert await api.dispatch() == []
    nameless = ids.spell("conversation", (await write(api, b"Subject: Who?\r\n\r\nGuess\r\n")).conversation_id or 0)
    answer = await api.client.post(f"{PATH}/{nameless}/reply", json={"text": "x"})
    assert answer.status_code == 409


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"text": " "},
        {"text": "x", "template_id": "tmpl_x"},
        {"text": "x", "variables": {}},
        {"txt": "x"},
        {"text": "x", "subject": "a\nb"},
    ],
)
async def test_an_answer_that_is_none_is_refused(api: Api, wrong: dict[str, Any]):
    conversation, _ = await asked(api)
    assert (await api.client.post(f"{PATH}/{conversation}/reply", json=wrong)).status_code == 422


async def test_another_tenant_sees_nothing(api: Api):
    conversation, _ = await asked(api)
    rival = await api.rival()
    assert (await rival.get(PATH)).json()["conversations"] == []
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/messages", None),
        ("PATCH", "", {"status": "closed"}),
        ("POST", "/read", None),
        ("POST", "/reply", {"text": "x"}),
    ):
        for wire in (conversation, "conv_x", ids.spell("conversation", 999)):
            assert (await rival.request(method, f"{PATH}/{wire}{path}", json=body)).status_code == 404
    reader = api.client_for(await api.new_key(api.tenant, "communications:read"))
    assert (await reader.get(f"{PATH}/{conversation}")).status_code == 200
    assert (await reader.post(f"{PATH}/{conversation}/reply", json={"text": "x"})).status_code == 403
    await rival.aclose()


async def test_an_answer_written_to_the_reply_address_alone_is_in_the_conversation(api: Api):
    await api.db.write(tenants.update, api.tenant, reply_address="reply@in.acme.test", now=api.at)
    conversation, _ = await asked(api)
    await api.client.post(f"{PATH}/{conversation}/reply", json={"text": "Good"})
    (left,) = await api.dispatch()
    back = await write(api, mail("ann@example.test", to=str(headers(left)["reply-to"].addresses[0].addr_spec), subject="Something else"))
    assert ids.spell("conversation", back.conversation_id or 0) == conversation
