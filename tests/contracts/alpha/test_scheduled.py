"""GET /scheduled: what waits for its time."""

from tests.support.api import NOON, Api
from tidings.api.alpha import lookup
from tidings.clock import HOUR

PATH = "/api/v1/communications/scheduled"


async def schedule(api: Api, at: str, subject: str = "Hello") -> str:
    given = {"body": "x", "recipients": ["ann@example.test"], "subject": subject, "scheduledAt": at}
    answer = await api.client.post("/api/v1/communications/schedule", json=given)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


async def test_nothing_scheduled_is_an_empty_list(api: Api):
    await api.send()
    answer = await api.client.get(PATH)
    assert (answer.status_code, answer.json(), answer.headers["content-type"]) == (200, [], "application/json")


async def test_the_soonest_comes_first_and_only_what_still_waits(api: Api):
    late, soon, canceled, gone = [await schedule(api, f"2025-06-{day}T12:00:00Z") for day in ("25", "20", "21", "19")]
    await api.client.post(f"/api/v1/communications/{canceled}/cancel")
    api.at = NOON + 24 * HOUR
    await api.dispatch()
    answer = await api.client.get(PATH)
    assert [record["id"] for record in answer.json()] == [soon, late]
    assert answer.json()[0] == await api.find(soon)
    assert (await api.find(gone))["status"] == "SENT"


async def test_more_than_are_read_at_once_come_complete_and_in_order(api: Api, monkeypatch):
    monkeypatch.setattr(lookup, "AT_ONCE", 3)
    # two at the same time stand on both sides of a step
    days = ["20", "21", "22", "22", "23", "24", "25", "26"]
    made = [await schedule(api, f"2025-06-{day}T12:00:00Z", f"{number}") for number, day in enumerate(days)]
    assert [record["id"] for record in (await api.client.get(PATH)).json()] == made


async def test_another_tenants_are_not_shown(api: Api):
    await schedule(api, "2025-06-20T12:00:00Z")
    rival = await api.rival()
    assert (await rival.get(PATH)).json() == []
    await rival.aclose()
    assert (await api.stranger.get(PATH)).status_code == 401
