"""The alpha contract: what is sent, what is refused, and the record's 37 keys."""

import re
import uuid
from typing import Any

import msgspec
import pytest

from tests.api.conftest import NOON, PUBLIC_URL, Api
from tidings import ids
from tidings.domain import lists, templates
from tidings.rendering.template import content_hash, prepare

MOMENT = "2025-06-18T12:00:00.000Z"
KEYS = """bcc body cc clickedLinks conversationId created createdBy errorMessage events id internetMessageId linkTrackingEnabled messageId openCount
    opened openedAt originalBody providerType recipientListId recipients relatedEntityId relatedEntityType replyTo scheduledAt senderEmail senderName
    sentAt status subject templateId templateName tenantId trackingEnabled type updated updatedBy variables""".split()
SEND = "/api/v1/communications/send"


async def new_template(api: Api, **fields: Any) -> str:
    given = {"channel": "email", "format": "html", "subject": "Hi {{ name }}", "body": "<p>Dear {{ name }}</p>", "variables": [], **fields}
    content = prepare(tenant_id=api.tenant.id, **given)
    revision = templates.Revision(content, content_hash(content), "test")
    made = await api.db.write(templates.create, api.tenant.id, f"Offer {given['channel']}", revision, now=api.at)
    return ids.spell("template", made.id)


async def test_the_record_of_a_plain_mail_is_exactly_this(api: Api):
    record = await api.send(body="<p>Hello</p>")
    assert sorted(record) == sorted(KEYS)
    assert len(record) == 37
    token = record["id"]
    event = record.pop("events")[0]
    assert uuid.UUID(event.pop("id"))
    assert event == {"authorId": "test", "date": MOMENT, "description": "Communication created", "type": "CREATE"}
    body = record.pop("body")
    assert body.startswith("<p>Hello</p>")
    assert f"{PUBLIC_URL}/api/v1/communications/track/{token}" in body
    assert record == {
        "bcc": [],
        "cc": [],
        "clickedLinks": [],
        "conversationId": None,
        "created": MOMENT,
        "createdBy": "test",
        "errorMessage": None,
        "id": token,
        "internetMessageId": f"<{token}.0@mail.example.test>",
        "linkTrackingEnabled": True,
        "messageId": None,
        "openCount": 0,
        "opened": False,
        "openedAt": None,
        "originalBody": "<p>Hello</p>",
        "providerType": None,
        "recipientListId": None,
        "recipients": ["ann@example.test"],
        "relatedEntityId": None,
        "relatedEntityType": None,
        "replyTo": None,
        "scheduledAt": None,
        "senderEmail": "hello@acme.test",
        "senderName": "Acme",
        "sentAt": None,
        "status": "PENDING",
        "subject": "Hello",
        "templateId": None,
        "templateName": None,
        "tenantId": ids.spell("tenant", api.tenant.id),
        "trackingEnabled": True,
        "type": "OFFERTE",
        "updated": MOMENT,
        "updatedBy": "test",
        "variables": {},
    }


async def test_every_optional_field_comes_back(api: Api):
    given = {
        "cc": ["Bea <bea@example.test>"],
        "bcc": ["cy@example.test"],
        "replyTo": "desk@example.test",
        "senderEmail": "sales@acme.test",
        "senderName": "Sales",
        "type": "FACTUUR_2",
        "relatedEntityType": "Deal",
        "relatedEntityId": "4711",
        "variables": {"name": "Ann", "n": 1, "deep": {"a": [None, True]}},
        "trackingEnabled": False,
        "linkTrackingEnabled": False,
        "conversationId": "thread-1",
        "colour": "ignored",
    }
    record = await api.send(body='<a href="https://shop.test/x">{{ name }}</a>', subject="For {{ name }}", **given)
    given.pop("colour")
    assert {name: record[name] for name in given} == given | {"cc": ['"Bea" <bea@example.test>']}
    assert record["subject"] == "For Ann"
    assert record["originalBody"] == '<a href="https://shop.test/x">{{ name }}</a>'
    assert record["body"] == '<a href="https://shop.test/x">Ann</a>\n'


async def test_a_body_without_variables_goes_out_as_it_stands_braces_and_all(api: Api):
    body = "<style>@media print{#x{color:red}}</style><p>{{ name }} {% if %} {# {{ '{{' }} {{{ 100%}</p>"
    record = await api.send(body=body, subject="Save {{ 10 }}%")
    assert record["originalBody"] == body
    assert "<p>{{ name }} {% if %} {# {{ '{{' }} {{{ 100%}</p>" in record["body"]
    assert "@mediaprint{#x{color:red}}" in re.sub(r"/\*-\*/|\s", "", record["body"])
    assert record["subject"] == "Save {{ 10 }}%"
    filled = await api.send(body="<p>{{ name }}</p>", variables={"name": "Ann"})
    assert filled["body"].startswith("<p>Ann</p>")


async def test_null_is_as_good_as_absent(api: Api):
    names = (
        "cc",
        "bcc",
        "replyTo",
        "senderEmail",
        "senderName",
        "type",
        "variables",
        "trackingEnabled",
        "conversationId",
        "recipientListId",
    )
    record = await api.send(**dict.fromkeys(names))
    assert (record["type"], record["trackingEnabled"], record["cc"]) == ("OFFERTE", True, [])


async def test_what_is_found_is_what_was_answered(api: Api):
    record = await api.send()
    found = await api.client.get(f"/api/v1/communications/find/{record['id']}")
    assert (found.status_code, found.json()) == (200, record)
    assert not record["id"].isdigit()


async def test_a_record_tells_what_became_of_the_mail(api: Api):
    record = await api.send(body='<a href="https://shop.test/x?a=1&amp;b=2">x</a>')

    async def after(change: Any, **params: Any) -> dict[str, Any]:
        await api.run("UPDATE communications SET due_at = NULL, " + change + " WHERE tenant_id = :t", t=api.tenant.id, **params)
        return (await api.client.get(f"/api/v1/communications/find/{record['id']}")).json()

    sent = await after("state = 'sent', sent_at = :at, provider = 'smtp', provider_message_id = 'q1'", at=NOON + 1_234)
    assert (sent["status"], sent["sentAt"], sent["providerType"], sent["messageId"]) == ("SENT", "2025-06-18T12:00:01.234Z", "SMTP", "q1")
    bounced = await after("state = 'bounced', error = 'no such user'")
    assert (bounced["status"], bounced["errorMessage"], bounced["sentAt"]) == ("FAILED", "no such user", "2025-06-18T12:00:01.234Z")
    assert (await after("state = 'canceled', error = NULL"))["status"] == "CANCELLED"
    unknown = await after("state = 'unknown'")
    assert unknown["status"] == "PENDING"
    assert unknown["errorMessage"]
    await api.stranger.get(f"/api/v1/communications/link/{record['id']}/0")
    clicked = (await api.client.get(f"/api/v1/communications/find/{record['id']}")).json()
    assert (clicked["opened"], clicked["openedAt"], clicked["openCount"]) == (True, MOMENT, 1)
    assert clicked["clickedLinks"] == [
        {
            "clickCount": 1,
            "clickedAt": MOMENT,
            "originalUrl": "https://shop.test/x?a=1&b=2",
            "url": f"{PUBLIC_URL}/api/v1/communications/link/{record['id']}/0",
        }
    ]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"recipients": ["ann@example.test", "not an address", "bob@example.test"]}, "recipients[1]"),
        ({"cc": ["bad@"]}, "cc[0]"),
        ({"bcc": ["ok@example.test", "@bad"]}, "bcc[1]"),
        ({"recipients": ["ann@example.test\r\nBcc: all@example.test"]}, "recipients[0]"),
        ({"recipients": ["Ann\r\nBcc: x <ann@example.test>"]}, "recipients[0]"),
        ({"recipients": []}, "recipients"),
        ({"recipients": None}, "recipients"),
        ({"recipients": "ann@example.test"}, "recipients"),
        ({"recipients": [1]}, "recipients"),
        ({"recipients": [f"r{n}@example.test" for n in range(1001)]}, "recipients"),
        ({"subject": "Hello\r\nBcc: all@example.test"}, "subject"),
        ({"subject": ""}, "subject"),
        ({"subject": 5}, "subject"),
        ({"body": " "}, "body"),
        ({"body": "{% for %}", "variables": {}}, "body"),
        ({"senderName": "A\nB"}, "senderName"),
        ({"senderEmail": "nobody"}, "senderEmail"),
        ({"senderEmail": "a@example.test\nb"}, "senderEmail"),
        ({"replyTo": "x"}, "replyTo"),
        ({"type": "lower"}, "type"),
        ({"type": "1A"}, "type"),
        ({"conversationId": "a\0b"}, "onversation"),
        ({"relatedEntityId": "x" * 201}, "relatedEntityId"),
        ({"variables": []}, "variables"),
        ({"trackingEnabled": "yes"}, "trackingEnabled"),
    ],
)
async def test_one_wrong_field_refuses_the_whole_request_naming_it(api: Api, change: dict[str, Any], named: str):
    body = {"body": "<p>Hello</p>", "subject": "Hello", "recipients": ["ann@example.test"], **change}
    answer = await api.client.post(SEND, json=body)
    assert answer.status_code == 400, answer.text
    assert set(answer.json()) == {"detail", "time", "title"}
    assert answer.json()["title"] == "Bad Request"
    assert named.lower() in answer.json()["detail"].lower()
    for table in ("communications", "contacts", "contents"):
        assert await api.rows("SELECT COUNT(*) FROM " + table) == [(0,)]


async def test_a_missing_field_is_named(api: Api):
    answer = await api.client.post(SEND, json={})
    assert answer.status_code == 400
    assert answer.json()["detail"] == "body is required; recipients is required; subject is required."


async def test_a_suppressed_address_gets_a_record_that_has_failed(api: Api):
    await api.run(
        "INSERT INTO suppressions (tenant_id, channel, address, reason, created_at) VALUES (:t, 'email', 'ann@example.test', 'bounced', :now)",
        t=api.tenant.id,
        now=api.at,
    )
    record = await api.send(recipients=["Ann@Example.test"])
    assert record["status"] == "FAILED"
    assert "bounced" in record["errorMessage"]


async def test_a_recipient_becomes_a_contact_and_is_found_again(api: Api):
    await api.send(recipients=["Ann Lee <ann@example.test>"])
    await api.send(recipients=["ANN@example.test"])
    rows = await api.rows("SELECT email, first_name, last_name FROM contacts WHERE tenant_id = :t", t=api.tenant.id)
    assert rows == [("ann@example.test", "Ann", "Lee")]


async def test_an_id_in_another_spelling_or_of_another_tenant_is_not_there(api: Api):
    record = await api.send()
    forged = record["id"][:-1] + ("A" if record["id"][-1] != "A" else "B")
    for text in ("1", ids.uuid("communication", 1), forged, record["id"] + "A", record["id"].upper(), "x", "%00"):
        answer = await api.client.get(f"/api/v1/communications/find/{text}")
        assert (answer.status_code, answer.json()["title"]) == (404, "Not Found")
    rival = await api.rival()
    answer = await rival.get(f"/api/v1/communications/find/{record['id']}")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not found.", "time": MOMENT, "title": "Not Found"})
    await rival.aclose()


async def test_a_template_is_sent_with_its_variables(api: Api):
    template = await new_template(api)
    path = f"/api/v1/communications/send-template/{template}"
    record = (await api.client.post(path, json={"recipients": ["ann@example.test"], "variables": {"name": "Ann & Co"}})).json()
    assert sorted(record) == sorted(KEYS)
    assert (record["subject"], record["templateId"], record["templateName"]) == ("Hi Ann & Co", template, "Offer email")
    assert record["body"].startswith("<p>Dear Ann &amp; Co</p>")
    assert record["originalBody"] == "<p>Dear {{ name }}</p>"
    assert record["variables"] == {"name": "Ann & Co"}
    other = (
        await api.client.post(path, json={"recipients": ["ann@example.test"], "subject": "Instead, {{ name }}", "variables": {"name": "A"}})
    ).json()
    assert other["subject"] == "Instead, A"
    assert await api.rows("SELECT COUNT(*) FROM contents") == [(1,)]


async def test_a_template_may_be_sent_later(api: Api):
    path = f"/api/v1/communications/send-template/{await new_template(api)}"
    given = {"recipients": ["ann@example.test"], "scheduledAt": "2025-06-18T16:00:00+02:00"}
    record = (await api.client.post(path, json=given)).json()
    assert (record["status"], record["scheduledAt"]) == ("SCHEDULED", "2025-06-18T14:00:00.000Z")
    for wrong in ("2025-06-18T12:00:00Z", "2001-01-01T00:00:00Z", "tomorrow", "2025-06-19T12:00:00", "9999-12-31T23:59:59Z"):
        answer = await api.client.post(path, json=given | {"scheduledAt": wrong})
        assert answer.status_code == 400
        assert "scheduledAt" in answer.json()["detail"] or "ScheduledAt" in answer.json()["detail"]


async def test_an_unknown_template_is_a_404_and_a_missing_variable_a_400(api: Api):
    given = {"recipients": ["ann@example.test"]}
    needs = await new_template(api, variables=[{"name": "name", "required": True}, {"name": "place", "required": True, "default": "here"}])
    answer = await api.client.post(f"/api/v1/communications/send-template/{needs}", json=given)
    assert (answer.status_code, "name" in answer.json()["detail"], "place" in answer.json()["detail"]) == (400, True, False)
    for text in ("1", ids.spell("template", 99), ids.spell("contact", 1), "x"):
        answer = await api.client.post(f"/api/v1/communications/send-template/{text}", json=given)
        assert (answer.status_code, answer.json()["detail"]) == (404, "Template not found.")
    rival = await api.rival()
    assert (await rival.post(f"/api/v1/communications/send-template/{needs}", json=given)).status_code == 404
    await rival.aclose()


async def test_a_template_for_text_messages_is_no_mail(api: Api):
    sms = await new_template(api, channel="sms", format="text", subject="", body="Hi")
    answer = await api.client.post(f"/api/v1/communications/send-template/{sms}", json={"recipients": ["ann@example.test"]})
    assert answer.status_code == 400


async def test_a_list_gets_a_mail_each_that_names_nobody_else(api: Api):
    members = [await api.contact(f"m{n}@example.test") for n in range(3)] + [await api.contact(None, "+31612345678")]
    made = await api.db.write(lists.create, api.tenant.id, "Everybody", now=api.at)
    await api.db.write(lists.add, api.tenant.id, made.id, members, now=api.at)
    name = ids.spell("list", made.id)
    record = await api.send(recipients=["m1@example.test", "boss@example.test"], cc=["cc@example.test"], recipientListId=name)
    assert (record["recipients"], record["cc"]) == (["m1@example.test", "boss@example.test"], ["cc@example.test"])
    rows = await api.rows("SELECT address, recipients, list_id FROM communications WHERE tenant_id = :t ORDER BY id", t=api.tenant.id)
    assert [row[0] for row in rows] == ["m1@example.test", "m0@example.test", "m2@example.test"]
    for _, recipients, list_id in rows[1:]:
        lists_of = msgspec.json.decode(recipients) if recipients else {"to": [""], "cc": [], "bcc": []}
        assert (len(lists_of["to"]), lists_of["cc"], lists_of["bcc"], list_id) == (1, [], [], made.id)
    alone = await api.send(recipients=[], recipientListId=name)
    assert (alone["recipients"], alone["recipientListId"]) == (['"Ann" <m0@example.test>'], name)
    for unknown in ("everybody", ids.spell("list", 99)):
        answer = await api.client.post(SEND, json={"body": "x", "subject": "x", "recipients": [], "recipientListId": unknown})
        assert (answer.status_code, answer.json()["detail"]) == (404, "Recipient list not found.")
    empty = await api.db.write(lists.create, api.tenant.id, "Nobody", now=api.at)
    answer = await api.client.post(
        SEND, json={"body": "x", "subject": "x", "recipients": [], "recipientListId": ids.spell("list", empty.id)}
    )
    assert answer.status_code == 400
