"""GET /find/{id}: one record, and what became of its mail."""

from typing import Any

from tests.support.api import NOON, PUBLIC_URL, Api
from tidings import ids

MOMENT = "2025-06-18T12:00:00.000Z"


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


async def test_an_id_in_another_spelling_is_not_there(api: Api):
    record = await api.send()
    forged = record["id"][:-1] + ("A" if record["id"][-1] != "A" else "B")
    for text in ("1", ids.uuid("communication", 1), forged, record["id"] + "A", record["id"].upper(), "x", "%00"):
        answer = await api.client.get(f"/api/v1/communications/find/{text}")
        assert (answer.status_code, answer.json()["title"]) == (404, "Not Found")
