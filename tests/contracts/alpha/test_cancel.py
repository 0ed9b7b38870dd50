"""POST /{id}/cancel: taking back what waits."""

import pytest

from tests.support.api import NOON, Api
from tidings.clock import HOUR


def path(token: str) -> str:
    return f"/api/v1/communications/{token}/cancel"


async def scheduled(api: Api) -> str:
    given = {"body": "x", "recipients": ["ann@example.test"], "subject": "Hello", "scheduledAt": "2025-06-18T13:00:00Z"}
    return (await api.client.post("/api/v1/communications/schedule", json=given)).json()["id"]


async def test_what_is_scheduled_is_canceled_and_never_goes_out(api: Api):
    token = await scheduled(api)
    api.at += 1000
    answer = await api.client.post(path(token))
    assert answer.status_code == 200
    record = answer.json()
    assert (len(record), record["status"], record["updated"], record["updatedBy"]) == (37, "CANCELLED", "2025-06-18T12:00:01.000Z", "test")
    assert [(event["type"], event["description"], event["authorId"]) for event in record["events"]] == [
        ("CREATE", "Communication created", "test"),
        ("UPDATE", "Canceled", "test"),
    ]
    api.at = NOON + 2 * HOUR
    assert await api.dispatch() == []
    assert await api.find(token) == record


async def test_what_is_due_and_unclaimed_is_canceled_too(api: Api):
    record = await api.send()
    assert (await api.client.post(path(record["id"]))).json()["status"] == "CANCELLED"
    assert await api.dispatch() == []


@pytest.mark.parametrize(("state", "word"), [("sent", "has been sent"), ("failed", "has failed"), ("canceled", "is canceled")])
async def test_what_does_not_wait_any_more_is_a_409(api: Api, state: str, word: str):
    record = await api.send()
    await api.run("UPDATE communications SET state = :s, due_at = NULL, sent_at = 1 WHERE tenant_id = :t", s=state, t=api.tenant.id)
    answer = await api.client.post(path(record["id"]))
    assert (answer.status_code, answer.json()["title"]) == (409, "Conflict")
    assert word in answer.json()["detail"]


async def test_what_is_claimed_is_a_409(api: Api):
    record = await api.send()
    await api.run("UPDATE communications SET state = 'in_process', lease = 1, lease_until = 1 WHERE tenant_id = :t", t=api.tenant.id)
    answer = await api.client.post(path(record["id"]))
    assert (answer.status_code, "is being sent" in answer.json()["detail"]) == (409, True)


async def test_what_is_not_there_or_anothers_is_a_404(api: Api):
    record = await api.send()
    rival = await api.rival()
    for client, token in ((api.client, "string"), (api.client, "1"), (rival, record["id"])):
        answer = await client.post(path(token))
        assert (answer.status_code, set(answer.json())) == (404, {"detail", "time", "title"})
    await rival.aclose()
    assert (await api.find(record["id"]))["status"] == "PENDING"
    assert (await api.stranger.post(path(record["id"]))).status_code == 401
