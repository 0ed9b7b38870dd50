"""POST /send: one mail now. What it refuses is in `test_refusals`, who may not ask in `test_strangers`; lists, files, threads: modules of their own."""

import re
import uuid
from email import message_from_bytes
from email.policy import default

import pytest

from tests.contracts.alpha.page import RECORD
from tests.support.api import PUBLIC_URL, Api
from tidings import ids
from tidings.message.outgoing import Email

MOMENT = "2025-06-18T12:00:00.000Z"


async def out(api: Api) -> Email:
    """The one mail that goes out now."""
    (mail,) = await api.dispatch()
    assert isinstance(mail, Email)
    return mail


def html_of(mail: Email) -> str:
    part = message_from_bytes(mail.raw, policy=default).get_body(("html",))
    assert part is not None
    return str(part.get_content())


async def test_the_record_of_a_plain_mail_is_exactly_this(api: Api):
    record = await api.send(body="<p>Hello</p>")
    assert sorted(record) == sorted(RECORD)
    assert len(record) == 37
    token = record["id"]
    _, number = api.signer.parse_communication(token) or (0, 0)
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
        "conversationId": ids.spell("thread", number),
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


async def test_several_recipients_get_one_mail_and_bcc_is_on_no_line_of_it(api: Api):
    await api.send(
        recipients=["Ann <ann@example.test>", "bob@example.test"],
        cc=["Cy <cy@example.test>"],
        bcc=["secret@example.test"],
        replyTo="desk@acme.test",
        senderEmail="sales@acme.test",
        senderName="Sales, Acme",
    )
    mail = await out(api)
    assert mail.recipients == ("ann@example.test", "bob@example.test", "cy@example.test", "secret@example.test")
    read = message_from_bytes(mail.raw, policy=default)
    assert [entry.addr_spec for entry in read["to"].addresses] == ["ann@example.test", "bob@example.test"]
    assert [entry.addr_spec for entry in read["cc"].addresses] == ["cy@example.test"]
    assert (read["bcc"], b"secret@" in mail.raw) == (None, False)
    assert [(entry.display_name, entry.addr_spec) for entry in read["from"].addresses] == [("Sales, Acme", "sales@acme.test")]
    assert str(read["reply-to"]) == "desk@acme.test"


async def test_who_is_named_twice_gets_it_once(api: Api):
    record = await api.send(recipients=["ann@example.test", "Ann <ANN@example.test>"])
    assert len(record["recipients"]) == 1
    assert len((await out(api)).recipients) == 1


async def test_variables_are_filled_in_and_cannot_break_out(api: Api):
    await api.send(body="<p>{{ name }}</p>", subject="For {{ name }}", variables={"name": "<b>Ann</b>\r\nBcc: eve@example.test"})
    mail = await out(api)
    assert mail.recipients == ("ann@example.test",)
    assert message_from_bytes(mail.raw, policy=default)["bcc"] is None
    assert "&lt;b&gt;Ann&lt;" in html_of(mail)


@pytest.mark.parametrize(("opens", "links"), [(True, True), (True, False), (False, True), (False, False)])
async def test_pixel_and_links_are_tracked_as_was_asked(api: Api, opens: bool, links: bool):
    body = '<p><a href="https://shop.test/">shop</a></p>'
    record = await api.send(body=body, trackingEnabled=opens, linkTrackingEnabled=links)
    said = html_of(await out(api))
    assert (f"/track/{record['id']}" in said, f"/link/{record['id']}/0" in said) == (opens, links)
    assert ("https://shop.test/" in said) is not links
