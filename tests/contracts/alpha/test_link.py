"""GET /link/{id}/{index}: on to where a link of the mail led."""

from typing import Any

import pytest

from tests.support.api import Api
from tests.support.recount import check, counted
from tests.support.ways import BODY, BROWSER, TARGETS, WAYS, addresses
from tidings.clock import SECOND


def path(token: str, index: int | str = 0) -> str:
    return f"/api/v1/communications/link/{token}/{index}"


async def figures(api: Api) -> list[tuple[Any, ...]]:
    """(opens, clicks, people's opens, people's clicks) of each communication."""
    return await api.rows(
        "SELECT open_count, click_count, human_opens, human_clicks FROM communications WHERE tenant_id = :t ORDER BY id", t=api.tenant.id
    )


async def test_it_leads_to_what_was_stored_and_counts_a_click_and_an_open(api: Api):
    record = await api.send(body=BODY)
    await api.dispatch()
    api.at += SECOND
    answer = await api.stranger.get(path(record["id"], 1), headers=BROWSER)
    assert (answer.status_code, answer.headers["location"], answer.headers["cache-control"]) == (302, TARGETS[1], "no-store")
    assert await figures(api) == [(1, 1, 1, 1)]
    seen = await api.find(record["id"])
    assert (seen["opened"], seen["openedAt"], seen["openCount"]) == (True, "2025-06-18T12:00:01.000Z", 1)
    (link,) = [entry for entry in seen["clickedLinks"] if entry["clickCount"]]
    assert (link["originalUrl"], link["clickCount"], link["clickedAt"]) == (TARGETS[1], 1, "2025-06-18T12:00:01.000Z")
    assert link["url"].endswith(path(record["id"], 1))


@pytest.mark.parametrize("way", WAYS)
async def test_the_links_of_a_mail_lead_on_whichever_way_it_was_sent(api: Api, way: str):
    await WAYS[way](api)
    (sealed,) = await api.dispatch()
    api.at += SECOND
    tracked = [address for address in addresses(sealed)[0] if "/link/" in address]
    assert len(tracked) == 2
    for address, target in zip(tracked, TARGETS, strict=True):
        answer = await api.stranger.get(address, headers=BROWSER)
        assert (answer.status_code, answer.headers["location"]) == (302, target)
    assert await figures(api) == [(2, 2, 2, 2)]


@pytest.mark.parametrize("given", ["?url=https://evil.test/", "?to=//evil.test", "?redirect=https://evil.test/&index=1", "#x"])
async def test_nothing_in_the_request_chooses_where_it_leads(api: Api, given: str):
    record = await api.send(body=BODY)
    headers = {**BROWSER, "host": "evil.test", "referer": "https://evil.test/", "x-forwarded-host": "evil.test"}
    answer = await api.stranger.get(path(record["id"]) + given, headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (302, TARGETS[0])


@pytest.mark.parametrize("index", ["2", "-1", "+1", "00", "01", "1.0", "1e0", "x", "0x0", "%20", "%D9%A1", "9" * 30])
async def test_an_index_that_the_mail_has_no_link_for_is_a_404(api: Api, index: str):
    record = await api.send(body=BODY)
    answer = await api.stranger.get(path(record["id"], index))
    assert (answer.status_code, set(answer.json()), answer.json()["title"]) == (404, {"detail", "time", "title"}, "Not Found")
    assert await figures(api) == [(0, 0, 0, 0)]


async def test_unknown_and_forged_ids_are_a_404(api: Api):
    record = await api.send(body=BODY)
    token = record["id"]
    unknown = api.signer.communication(api.tenant.id, 99)
    for text in ("string", "1", token[:-1], token + "A", token.swapcase(), unknown, api.signer.unsubscribe(api.tenant.id, 1)):
        answer = await api.stranger.get(path(text))
        assert (answer.status_code, answer.json()["title"]) == (404, "Not Found")
    assert await figures(api) == [(0, 0, 0, 0)]


async def test_a_link_of_a_deleted_mail_leads_nowhere(api: Api):
    record = await api.send(body=BODY)
    await api.client.delete(f"/api/v1/communications/{record['id']}")
    assert (await api.stranger.get(path(record["id"]))).status_code == 404


async def test_a_mail_without_links_has_none(api: Api):
    record = await api.send()
    assert (await api.stranger.get(path(record["id"]))).status_code == 404


async def test_with_link_tracking_switched_off_links_stay_as_they_were(api: Api):
    record = await api.send(body=BODY, linkTrackingEnabled=False)
    (sealed,) = await api.dispatch()
    links, pixels = addresses(sealed)
    assert links[:2] == TARGETS
    assert len(pixels) == 1
    assert record["linkTrackingEnabled"] is False


async def test_a_head_leads_on_and_counts_nothing(api: Api):
    record = await api.send(body=BODY)
    answer = await api.stranger.head(path(record["id"]))
    assert (answer.status_code, answer.headers["location"]) == (302, TARGETS[0])
    assert await figures(api) == [(0, 0, 0, 0)]


async def test_a_scanner_that_follows_every_link_is_led_on_and_marked(api: Api):
    record = await api.send(body=BODY)
    await api.dispatch()
    api.at += SECOND
    for index, target in enumerate(TARGETS):
        answer = await api.stranger.get(path(record["id"], index), headers={"user-agent": "python-requests/2.32"})
        assert (answer.status_code, answer.headers["location"]) == (302, target)
    assert await figures(api) == [(2, 2, 0, 0)]
    await api.stranger.get(path(record["id"]), headers=BROWSER)
    assert await figures(api) == [(3, 3, 1, 1)]
    (counts,) = (await api.db.read(counted, api.tenant.id)).values()
    assert [counts[name] for name in ("clicked", "clicks", "human_clicked", "human_clicks")] == [1, 3, 1, 1]
    assert [counts[name] for name in ("opened", "opens", "human_opened", "human_opens")] == [1, 3, 1, 1]


async def test_a_click_within_a_second_of_the_sending_is_a_machines(api: Api):
    record = await api.send(body=BODY)
    await api.dispatch()
    await api.stranger.get(path(record["id"]), headers=BROWSER)
    assert await figures(api) == [(1, 1, 0, 0)]
    await api.db.read(check, api.tenant.id)


async def test_before_we_know_it_sent_nobody_is_too_fast(api: Api):
    record = await api.send(body=BODY)
    await api.stranger.get(path(record["id"]), headers=BROWSER)
    assert await figures(api) == [(1, 1, 1, 1)]
