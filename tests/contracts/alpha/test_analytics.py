"""GET /analytics: what was sent, opened, clicked and failed."""

from typing import Any

import httpx2
import pytest

from tests.support.api import NOON, Api
from tidings.clock import DAY, HOUR
from tidings.message.outgoing import refused

PATH = "/api/v1/communications/analytics"
EMPTY: dict[str, Any] = {
    "byTemplate": [],
    "byType": [],
    "clickRate": 0.0,
    "failureRate": 0.0,
    "openRate": 0.0,
    "sendVolumeByDay": [],
    "totalClicked": 0,
    "totalOpened": 0,
    "totalSent": 0,
}


async def ask(api: Api, **range_: str) -> dict[str, Any]:
    answer = await api.client.get(PATH, params=range_)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def follow(api: Api, record: dict[str, Any], *paths: str) -> None:
    for path in paths:
        await api.stranger.get(f"/api/v1/communications/{path.format(record['id'])}")


async def test_who_has_sent_nothing_has_zeros(api: Api):
    answer = await api.client.get(PATH)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == EMPTY
    assert list(answer.json()) == list(EMPTY)
    assert all(isinstance(answer.json()[name], float) for name in ("clickRate", "failureRate", "openRate"))


async def test_what_waits_counts_for_nothing_until_it_is_sent(api: Api):
    await api.send()
    assert await ask(api) == EMPTY
    await api.dispatch()
    assert (await ask(api))["totalSent"] == 1


async def test_the_whole_answer(api: Api):
    made = {"name": "Offer", "channel": "email", "subject": "An offer", "body": '<a href="https://shop.test/">See</a>', "format": "html"}
    template = (await api.client.post("/api/v1/templates", json=made)).json()["id"]
    path = f"/api/v1/communications/send-template/{template}"
    first = (await api.client.post(path, json={"recipients": ["ann@example.test"]})).json()
    await api.client.post(path, json={"recipients": ["bob@example.test"], "type": "INVOICE"})
    await api.send()
    await api.dispatch()
    api.at = NOON + DAY
    last = await api.send(type="INVOICE", recipients=["cy@example.test"])
    await api.dispatch()
    await follow(api, first, "track/{}", "track/{}", "link/{}/0", "link/{}/0")
    await follow(api, last, "track/{}")
    assert await ask(api) == {
        "byTemplate": [
            {
                "clickRate": 0.5,
                "openRate": 0.5,
                "templateId": template,
                "templateName": "Offer",
                "totalClicked": 1,
                "totalOpened": 1,
                "totalSent": 2,
            }
        ],
        "byType": [
            {"clickRate": 0.0, "openRate": 0.5, "totalClicked": 0, "totalOpened": 1, "totalSent": 2, "type": "INVOICE"},
            {"clickRate": 0.5, "openRate": 0.5, "totalClicked": 1, "totalOpened": 1, "totalSent": 2, "type": "OFFERTE"},
        ],
        "clickRate": 0.25,
        "failureRate": 0.0,
        "openRate": 0.5,
        "sendVolumeByDay": [{"count": 3, "date": "2025-06-18"}, {"count": 1, "date": "2025-06-19"}],
        "totalClicked": 1,
        "totalOpened": 2,
        "totalSent": 4,
    }
    assert (await api.client.delete(f"/api/v1/templates/{template}")).status_code == 204
    assert [entry["templateName"] for entry in (await ask(api))["byTemplate"]] == ["Offer"]


async def test_an_open_of_a_later_day_counts_with_the_day_of_sending(api: Api):
    record = await api.send()
    await api.dispatch()
    api.at = NOON + 3 * DAY
    await follow(api, record, "track/{}")
    assert (await ask(api, startDate="2025-06-18", endDate="2025-06-18"))["totalOpened"] == 1
    assert await ask(api, startDate="2025-06-19") == EMPTY


async def test_failures_bounces_and_suppressions_each_count_once(api: Api):
    await api.client.post("/api/v1/suppressions", json={"channel": "email", "address": "gone@example.test"})
    await api.send(recipients=["gone@example.test"])
    await api.send(recipients=["bounces@example.test"])
    await api.send()
    await api.dispatch()
    await api.run("UPDATE communications SET state = 'bounced' WHERE tenant_id = :t AND address = 'bounces@example.test'", t=api.tenant.id)
    await api.run(
        "UPDATE counters SET bounced = bounced + 1 WHERE tenant_id = :t AND slot = (SELECT MIN(slot) FROM counters WHERE tenant_id = :t AND sent > 0)",
        t=api.tenant.id,
    )
    api.carrying.answer = lambda sealed: refused("no such user", "5.1.1")
    await api.send()
    await api.dispatch()
    # two were sent, of which one came back; two more never went out
    for range_ in ({}, {"startDate": "2025-06-18T12:00:00Z", "endDate": "2025-06-18T12:00:00Z"}):
        found = await ask(api, **range_)
        assert (found["totalSent"], found["failureRate"]) == (2, 0.75)
    assert (await ask(api, startDate="2025-06-18T12:00:00.001Z"))["failureRate"] == 0.0


async def test_text_messages_count_too(api: Api):
    given = {"phone": "+390612345678", "send_sms": True, "send_email": False, "body": "Hi"}
    assert (await api.client.post("/api/v1/instant_messages", json=given)).status_code == 201
    await api.dispatch()
    assert (await ask(api))["totalSent"] == 1


async def test_what_is_deleted_or_sent_again_is_subtracted(api: Api):
    gone, again = await api.send(), await api.send()
    await api.dispatch()
    await follow(api, gone, "track/{}")
    await follow(api, again, "track/{}")
    api.at = NOON + 2 * HOUR
    assert (await api.client.delete(f"/api/v1/communications/{gone['id']}")).status_code == 204
    assert (await api.client.post(f"/api/v1/communications/{again['id']}/resend")).status_code == 200
    assert await ask(api) == EMPTY
    await api.dispatch()
    assert await ask(api, endDate="2025-06-18T13:59:59.999Z") == EMPTY
    found = await ask(api, startDate="2025-06-18T14:00:00Z")
    assert (found["totalSent"], found["totalOpened"], found["openRate"]) == (1, 1, 1.0)


@pytest.mark.parametrize(
    ("since", "until", "within"),
    [
        ("2025-06-18T12:10:00.123Z", "2025-06-18T12:10:00.123Z", True),
        ("2025-06-18T12:10:00.124Z", "", False),
        ("", "2025-06-18T12:10:00.122Z", False),
        ("2025-06-18T12:10:00.1229Z", "2025-06-18T12:10:00.1239Z", True),
        ("2025-06-18T12:10:00.1231Z", "", False),
        ("2025-06-18T14:10:00.123+02:00", "2025-06-18T07:10:00.123-05:00", True),
        ("2025-06-18T14:10:00.124 02:00", "", False),
        ("2025-06-18T12:10", "2025-06-18t12:11z", True),
        ("2025-06-18", "2025-06-18", True),
        ("2025-06-17", "2025-06-17", False),
        ("2025-06-19", "", False),
        ("1900-01-01", "9999-12-31", True),
        ("1900-01-01", "1969-12-31", False),
        ("0001-01-01T00:00:00+14:00", "", True),
    ],
)
async def test_both_ends_are_included_to_the_millisecond(api: Api, since: str, until: str, within: bool):
    api.at = NOON + 10 * 60_000 + 123
    await api.send()
    await api.dispatch()
    api.at = NOON
    found = await ask(api, startDate=since, endDate=until)
    assert (found["totalSent"], len(found["sendVolumeByDay"])) == (int(within), int(within))


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("startDate=yesterday", "startDate"),
        ("endDate=1750248000000", "endDate"),
        ("startDate=2025-02-30", "startDate"),
        ("endDate=2025-06-18T25:00:00Z", "endDate"),
        ("startDate=2025-06-18T12:00:00%2B99:00", "startDate"),
        ("startDate=20250618", "startDate"),
        ("startDate=2025-W25-3", "startDate"),
        ("endDate=2025-06-18T12:00:00ZZ", "endDate"),
        ("endDate=%EF%BC%92025-06-18", "endDate"),
        ("startDate=%00", "startDate"),
        ("startDate=2025-06-19&endDate=2025-06-18", "endDate"),
        ("startDate=2025-06-18T12:00:00.001Z&endDate=2025-06-18T12:00:00Z", "endDate"),
    ],
)
async def test_what_is_no_range_is_a_400(api: Api, query: str, named: str):
    answer = await api.client.get(f"{PATH}?{query}")
    body = answer.json()
    assert (answer.status_code, set(body), body["title"]) == (400, {"detail", "time", "title"}, "Bad Request")
    assert body["detail"].startswith(named)


async def test_nobody_sees_anothers_figures(api: Api):
    await api.send()
    await api.dispatch()
    rival = await api.rival()
    assert (await rival.get(PATH)).json() == EMPTY
    await rival.aclose()
    refusals: list[httpx2.Response] = [await api.stranger.get(PATH)]
    sender = api.client_for(await api.new_key(api.tenant, "communications:write"))
    refusals.append(await sender.get(PATH))
    await sender.aclose()
    assert [(answer.status_code, set(answer.json())) for answer in refusals] == [
        (401, {"detail", "time", "title"}),
        (403, {"detail", "time", "title"}),
    ]
