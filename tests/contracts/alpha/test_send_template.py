"""POST /send-template/{templateId}: one mail from a template's newest version, now or later."""

from tests.contracts.alpha.page import RECORD
from tests.support.api import NOON, Api
from tests.support.templates import new_template
from tidings.clock import HOUR


async def test_a_template_is_sent_with_its_variables(api: Api):
    template = await new_template(api)
    path = f"/api/v1/communications/send-template/{template}"
    record = (await api.client.post(path, json={"recipients": ["ann@example.test"], "variables": {"name": "Ann & Co"}})).json()
    assert sorted(record) == sorted(RECORD)
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
    assert await api.dispatch() == []
    api.at = NOON + 2 * HOUR
    assert len(await api.dispatch()) == 1
    assert (await api.find(record["id"]))["status"] == "SENT"


async def test_the_newest_version_is_sent_and_what_was_sent_stays_as_it_was(api: Api):
    made = {"name": "Offer", "channel": "email", "subject": "One", "body": "<p>One</p>"}
    template = (await api.client.post("/api/v1/templates", json=made)).json()["id"]
    path, given = f"/api/v1/communications/send-template/{template}", {"recipients": ["ann@example.test"]}
    first = (await api.client.post(path, json=given)).json()
    assert (await api.client.patch(f"/api/v1/templates/{template}", json={"subject": "Two", "body": "<p>Two</p>"})).status_code == 200
    second = (await api.client.post(path, json=given)).json()
    assert (second["subject"], second["templateId"]) == ("Two", template)
    assert (await api.find(first["id"]))["subject"] == "One"
