"""POST /{id}/resend: the same record once more."""

import pytest

from tests.support.api import NOON, Api
from tidings.clock import HOUR
from tidings.message.outgoing import accepted, refused


def path(token: str) -> str:
    return f"/api/v1/communications/{token}/resend"


async def test_what_was_sent_goes_out_again_under_new_message_ids(api: Api):
    record = await api.send()
    api.carrying.answer = lambda sealed: accepted("first")
    (first,) = await api.dispatch()
    sent = await api.find(record["id"])
    assert sent["messageId"] == "first"
    api.at = NOON + HOUR
    answer = await api.client.post(path(record["id"]))
    assert answer.status_code == 200
    again = answer.json()
    assert len(again) == 37
    assert again["id"] == record["id"]
    assert (again["status"], again["sentAt"], again["messageId"], again["errorMessage"]) == ("PENDING", None, None, None)
    assert again["internetMessageId"] != sent["internetMessageId"]
    assert again["updatedBy"] == "test"
    assert again["events"][1:] == [
        {
            "authorId": "test",
            "date": "2025-06-18T13:00:00.000Z",
            "description": "Sent again; it was sent before at 2025-06-18T12:00:00Z",
            "id": again["events"][1]["id"],
            "type": "UPDATE",
        }
    ]
    api.carrying.answer = lambda sealed: accepted("second")
    (second,) = await api.dispatch()
    assert (first.message_id, second.message_id) == (sent["internetMessageId"], again["internetMessageId"])
    last = await api.find(record["id"])
    assert (last["status"], last["sentAt"], last["messageId"]) == ("SENT", "2025-06-18T13:00:00.000Z", "second")
    assert last["events"] == again["events"]


async def test_what_failed_is_sent_again_with_its_error_cleared(api: Api):
    record = await api.send()
    api.carrying.answer = lambda sealed: refused("no such user", "5.1.1")
    await api.dispatch()
    assert (await api.find(record["id"]))["errorMessage"] == "no such user (5.1.1)"
    again = (await api.client.post(path(record["id"]))).json()
    assert again["errorMessage"] is None
    assert again["events"][-1]["description"] == "Sent again; it failed before: no such user (5.1.1)"
    api.carrying.answer = lambda sealed: accepted("ok")
    await api.dispatch()
    assert (await api.find(record["id"]))["status"] == "SENT"


async def test_opens_of_the_first_sending_stay(api: Api):
    record = await api.send()
    await api.dispatch()
    await api.stranger.get(f"/api/v1/communications/track/{record['id']}")
    again = (await api.client.post(path(record["id"]))).json()
    assert (again["opened"], again["openCount"]) == (True, 1)


async def test_a_suppressed_address_is_heeded_the_second_time_as_well(api: Api):
    record = await api.send()
    await api.dispatch()
    await api.run(
        "INSERT INTO suppressions (tenant_id, channel, address, reason, created_at) VALUES (:t, 'email', 'ann@example.test', 'unsubscribed', 1)",
        t=api.tenant.id,
    )
    await api.client.post(path(record["id"]))
    assert await api.dispatch() == []
    assert (await api.find(record["id"]))["status"] == "FAILED"


@pytest.mark.parametrize("state", ["scheduled", "pending", "in_process", "unknown", "canceled"])
async def test_what_was_neither_sent_nor_failed_is_a_409(api: Api, state: str):
    record = await api.send()
    lease = 1 if state == "in_process" else None
    await api.run(
        "UPDATE communications SET state = :s, due_at = NULL, lease = :l, lease_until = :l WHERE tenant_id = :t",
        s=state,
        l=lease,
        t=api.tenant.id,
    )
    answer = await api.client.post(path(record["id"]))
    assert (answer.status_code, answer.json()["title"]) == (409, "Conflict")
    assert await api.rows("SELECT state, serial FROM communications WHERE tenant_id = :t", t=api.tenant.id) == [(state, 0)]


async def test_what_is_not_there_or_anothers_is_a_404(api: Api):
    record = await api.send()
    await api.dispatch()
    rival = await api.rival()
    for client, token in ((api.client, "string"), (api.client, "1"), (rival, record["id"])):
        assert (await client.post(path(token))).status_code == 404
    await rival.aclose()
    assert await api.dispatch() == []
    assert (await api.stranger.post(path(record["id"]))).status_code == 401
