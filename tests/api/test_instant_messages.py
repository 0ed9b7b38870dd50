"""Instant messages: one contact, found or made, written to now by email, SMS or both."""

from typing import Any

import httpx2
import pytest

from tests.api.conftest import Api
from tests.support.templates import new_template
from tidings import ids

PATH = "/api/v1/instant_messages"
ANN = {"email": "ann@example.test", "first_name": "Ann", "last_name": "Lee", "phone": "+31 6 1234 5678"}


async def post(api: Api, **fields: Any) -> httpx2.Response:
    return await api.client.post(PATH, json=fields)


async def communications(api: Api) -> list[tuple[Any, ...]]:
    return await api.rows(
        "SELECT channel, address, state, campaign_id, contact_id FROM communications WHERE tenant_id = :t ORDER BY id", t=api.tenant.id
    )


async def test_an_email_and_an_sms_go_to_a_contact_made_for_them(api: Api):
    answer = await post(api, **ANN, send_email=True, send_sms=True, subject="Hello", body="Hello Ann")
    assert answer.status_code == 201, answer.text
    assert answer.json() == {
        "contact": {"id": ids.spell("contact", 1), "name": "Ann Lee", "email": "ann@example.test", "phone": "+31612345678"},
        "sent": ["email", "sms"],
        "communications": [1, 2],
    }
    assert await communications(api) == [("email", "ann@example.test", "pending", None, 1), ("sms", "+31612345678", "pending", None, 1)]
    shown = (await api.client.get("/api/v1/communications/1")).json()
    assert (shown["manual"], shown["campaign_id"], shown["enrollment_id"]) == (True, None, None)


async def test_a_form_is_as_good_as_json(api: Api):
    answer = await api.client.post(
        PATH, data={"email": "ann@example.test", "send_email": "true", "send_sms": "0", "subject": "Hi", "body": "Hi", "phone": ""}
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["sent"] == ["email"]


async def test_a_contact_is_found_by_id_email_or_phone_and_told_apart_by_none_of_its_new_names(api: Api):
    contact = await api.contact("ann@example.test", "+31612345678")
    for who in ({"contact_id": ids.spell("contact", contact)}, {"email": "ANN@example.test"}, {"phone": "0031612345678"}):
        answer = await post(api, **who, send_email=True, subject="Hi", body="Hi")
        assert answer.json()["contact"]["id"] == ids.spell("contact", contact)
    await post(api, contact_id=ids.spell("contact", contact), first_name="Anna", send_sms=True, body="Hi")
    assert await api.rows("SELECT first_name FROM contacts WHERE tenant_id = :t", t=api.tenant.id) == [("Anna",)]


async def test_with_neither_flag_it_goes_where_the_contact_can_be_reached(api: Api):
    assert (await post(api, email="ann@example.test", subject="Hi", body="Hi")).json()["sent"] == ["email"]
    assert (await post(api, phone="+31612345678", body="Hi")).json()["sent"] == ["sms"]


async def test_a_template_says_what_to_say(api: Api):
    template = await new_template(api)
    answer = await post(api, email="ann@example.test", send_email=True, template_id=template, variables={"name": "Ann"})
    assert answer.status_code == 201, answer.text
    assert await api.rows("SELECT template_id, variables FROM communications WHERE tenant_id = :t", t=api.tenant.id) == [
        (ids.parse("template", template), '{"name":"Ann"}')
    ]
    wrong = await post(api, phone="+31612345678", send_sms=True, template_id=template, body="Hi")
    assert list(wrong.json()["errors"]) == ["template_id"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "contact_id"),
        ({"email": "  "}, "contact_id"),
        ({"email": "nobody"}, "email"),
        ({"email": "a@example.test\r\nBcc: b@example.test"}, "email"),
        ({"phone": "12"}, "phone"),
        ({"email": "a@example.test", "send_email": False, "send_sms": False}, "send_email"),
        ({"email": "a@example.test", "send_sms": True}, "phone"),
        ({"phone": "+31612345678", "send_email": True, "subject": "x"}, "email"),
        ({"email": "a@example.test", "body": None}, "body"),
        ({"email": "a@example.test", "subject": " "}, "subject"),
        ({"email": "a@example.test", "subject": "x\r\nBcc: b@example.test"}, "subject"),
        ({"email": "a@example.test", "subject": "x", "first_name": "A\r\nB"}, "first_name"),
        ({"email": "a@example.test", "subject": "x", "send_email": "maybe"}, "send_email"),
        ({"email": ["a@example.test"], "subject": "x"}, "email"),
        ({"email": "a@example.test", "subject": "x", "body": "{{ oops"}, "body"),
    ],
)
async def test_what_cannot_be_sent_is_a_422_naming_the_field_and_leaves_nothing(api: Api, fields: dict[str, Any], named: str):
    answer = await post(api, **{"body": "Hi", **fields})
    assert answer.status_code == 422, answer.text
    assert named in answer.json()["errors"]
    assert await communications(api) == []
    assert await api.rows("SELECT COUNT(*) FROM contacts") == [(0,)]


async def test_an_unknown_contact_or_template_is_a_404_that_says_which(api: Api):
    await api.contact()
    for contact in ("1", ids.spell("contact", 99), ids.uuid("contact", 1)):
        answer = await post(api, contact_id=contact, subject="x", body="x")
        assert (answer.status_code, answer.json()) == (404, {"error": "Contact not found"})
    answer = await post(api, email="ann@example.test", template_id="1")
    assert (answer.status_code, answer.json()) == (404, {"error": "Template not found"})
    rival = await api.rival()
    answer = await rival.post(PATH, json={"contact_id": ids.spell("contact", 1), "subject": "x", "body": "x"})
    assert (answer.status_code, answer.json()) == (404, {"error": "Contact not found"})
    await rival.aclose()


async def test_a_suppressed_address_is_not_said_to_be_sent_to(api: Api):
    await api.run(
        "INSERT INTO suppressions (tenant_id, channel, address, reason, created_at) VALUES (:t, 'email', 'ann@example.test', 'unsubscribed', :now)",
        t=api.tenant.id,
        now=api.at,
    )
    answer = await post(api, **ANN, send_email=True, send_sms=True, subject="x", body="x")
    assert (answer.status_code, answer.json()["sent"], answer.json()["communications"]) == (201, ["sms"], [1, 2])
