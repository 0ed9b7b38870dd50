"""POST /schedule: a mail for later."""

from typing import Any

import pytest

from tests.support.api import NOON, Api
from tidings import ids
from tidings.clock import HOUR, SECOND
from tidings.domain import lists

SCHEDULE = "/api/v1/communications/schedule"
LATER = "2025-06-18T14:00:00Z"
GIVEN = {"body": "<p>Hello</p>", "recipients": ["ann@example.test"], "subject": "Hello", "scheduledAt": LATER}


async def test_the_record_is_scheduled_and_the_mail_goes_out_at_its_time(api: Api):
    answer = await api.client.post(SCHEDULE, json=GIVEN)
    assert answer.status_code == 200
    record = answer.json()
    assert len(record) == 37
    assert (record["status"], record["scheduledAt"], record["sentAt"]) == ("SCHEDULED", "2025-06-18T14:00:00.000Z", None)
    assert await api.dispatch() == []
    api.at = NOON + 2 * HOUR
    assert len(await api.dispatch()) == 1
    found = await api.find(record["id"])
    assert (found["status"], found["sentAt"]) == ("SENT", "2025-06-18T14:00:00.000Z")


async def test_the_time_may_be_in_any_zone(api: Api):
    answer = await api.client.post(SCHEDULE, json=GIVEN | {"scheduledAt": "2025-06-18T16:30:00.250+02:00"})
    assert answer.json()["scheduledAt"] == "2025-06-18T14:30:00.250Z"


async def test_it_takes_everything_that_send_takes(api: Api):
    given = {
        "cc": ["bea@example.test"],
        "replyTo": "desk@acme.test",
        "variables": {"name": "Ann"},
        "type": "FACTUUR",
        "conversationId": "t-1",
    }
    record = (await api.client.post(SCHEDULE, json=GIVEN | given | {"body": "<p>{{ name }}</p>"})).json()
    assert {name: record[name] for name in given} == given
    assert record["body"].startswith("<p>Ann</p>")


async def test_each_member_of_a_list_waits_alone(api: Api):
    members = [await api.contact(f"m{number}@example.test") for number in range(3)]
    made = await api.db.write(lists.create, api.tenant.id, "Everybody", now=api.at)
    await api.db.write(lists.add, api.tenant.id, made.id, members, now=api.at)
    answer = await api.client.post(SCHEDULE, json=GIVEN | {"recipients": [], "recipientListId": ids.spell("list", made.id)})
    assert answer.json()["status"] == "SCHEDULED"
    assert await api.rows("SELECT state, COUNT(*) FROM communications WHERE tenant_id = :t GROUP BY state", t=api.tenant.id) == [
        ("scheduled", 3)
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"scheduledAt": "2019-08-24T14:15:22Z"},
        {"scheduledAt": "2025-06-18T12:00:00Z"},
        {"scheduledAt": "2025-06-18T14:00:00"},
        {"scheduledAt": "tomorrow"},
        {"scheduledAt": " "},
        {"scheduledAt": None},
        {"scheduledAt": 5},
        {"scheduledAt": "2099-01-01T00:00:00Z"},
        {"body": ""},
        {"subject": ""},
        {"recipients": []},
        {"recipients": ["nobody"]},
    ],
)
async def test_what_is_wrong_is_a_400_and_nothing_is_kept(api: Api, change: dict[str, Any]):
    answer = await api.client.post(SCHEDULE, json=GIVEN | change)
    assert (answer.status_code, answer.json()["title"]) == (400, "Bad Request")
    assert next(iter(change)).lower() in answer.json()["detail"].lower()
    assert await api.rows("SELECT COUNT(*) FROM communications WHERE tenant_id = :t", t=api.tenant.id) == [(0,)]


async def test_each_missing_field_is_named(api: Api):
    answer = await api.client.post(SCHEDULE, json={})
    assert answer.status_code == 400
    assert all(name in answer.json()["detail"] for name in ("body", "recipients", "scheduledAt", "subject"))


async def test_an_unknown_template_or_list_is_a_404(api: Api):
    for name in ("templateId", "recipientListId"):
        assert (await api.client.post(SCHEDULE, json=GIVEN | {name: "x"})).status_code == 404


async def test_it_needs_a_key_that_may_write(api: Api):
    assert (await api.stranger.post(SCHEDULE, json=GIVEN)).status_code == 401
    reader = api.client_for(await api.new_key(api.tenant, "communications:read"))
    assert (await reader.post(SCHEDULE, json=GIVEN)).status_code == 403
    await reader.aclose()


async def test_a_moment_ahead_is_the_future(api: Api):
    answer = await api.client.post(SCHEDULE, json=GIVEN | {"scheduledAt": "2025-06-18T12:00:00.001Z"})
    assert answer.json()["status"] == "SCHEDULED"
    api.at += SECOND
    assert len(await api.dispatch()) == 1
