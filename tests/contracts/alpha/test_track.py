"""GET /track/{id}: the pixel of an open."""

import asyncio
from typing import Any

import pytest

from tests.support.api import Api
from tests.support.recount import check, counted
from tests.support.ways import BROWSER, WAYS, addresses
from tidings.clock import SECOND
from tidings.rendering.compose import UNSUBSCRIBE_PATH

PIXEL = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c000000000100010000020144003b")
APPLE = {"user-agent": "Mozilla/5.0"}


def path(token: str) -> str:
    return f"/api/v1/communications/track/{token}"


async def human(api: Api) -> list[tuple[Any, ...]]:
    """(opens, of these people's) of each communication."""
    return await api.rows("SELECT open_count, human_opens FROM communications WHERE tenant_id = :t ORDER BY id", t=api.tenant.id)


async def test_it_is_a_gif_of_one_pixel_that_nobody_keeps_and_needs_no_key(api: Api):
    record = await api.send()
    answer = await api.stranger.get(path(record["id"]))
    assert (answer.status_code, answer.headers["content-type"], answer.headers["cache-control"]) == (200, "image/gif", "no-store")
    assert answer.content == PIXEL


async def test_the_first_open_is_dated_and_every_one_counted(api: Api):
    record = await api.send()
    assert (record["opened"], record["openedAt"], record["openCount"]) == (False, None, 0)
    await api.dispatch()
    for number in (1, 2, 3):
        api.at += SECOND
        await api.stranger.get(path(record["id"]), headers=BROWSER)
        seen = await api.find(record["id"])
        assert (seen["opened"], seen["openedAt"], seen["openCount"]) == (True, "2025-06-18T12:00:01.000Z", number)
        assert seen["clickedLinks"] == []


async def test_opens_at_the_same_moment_are_all_counted(api: Api):
    record = await api.send()
    await asyncio.gather(*(api.stranger.get(path(record["id"]), headers=BROWSER) for _ in range(20)))
    assert (await api.find(record["id"]))["openCount"] == 20
    await api.db.read(check, api.tenant.id)


@pytest.mark.parametrize("way", WAYS)
async def test_it_is_in_the_mail_whichever_way_that_was_sent(api: Api, way: str):
    await WAYS[way](api)
    (sealed,) = await api.dispatch()
    (pixel,) = addresses(sealed)[1]
    api.at += SECOND
    answer = await api.stranger.get(pixel, headers=BROWSER)
    assert (answer.status_code, answer.content) == (200, PIXEL)
    assert await human(api) == [(1, 1)]


async def test_with_tracking_switched_off_there_is_none_while_links_are_counted_still(api: Api):
    await api.send(body='<a href="https://shop.test/">x</a>', trackingEnabled=False)
    (sealed,) = await api.dispatch()
    links, pixels = addresses(sealed)
    assert pixels == []
    assert "/link/" in links[0]


@pytest.mark.parametrize("token", ["string", "1", "0", "AAAA", "%00", "é"])
async def test_what_is_no_id_of_ours_is_a_404_in_alphas_words(api: Api, token: str):
    await api.send()
    answer = await api.stranger.get(path(token))
    assert (answer.status_code, set(answer.json()), answer.json()["title"]) == (404, {"detail", "time", "title"}, "Not Found")


async def test_a_forged_id_and_one_of_another_kind_are_unknown(api: Api):
    record = await api.send()
    token = record["id"]
    forged = [token[:-1], token + "A", token.swapcase(), api.signer.unsubscribe(api.tenant.id, 1)]
    for text in forged:
        assert (await api.stranger.get(path(text))).status_code == 404
    assert await human(api) == [(0, 0)]


async def test_a_deleted_mail_has_none_any_more_and_who_may_still_unsubscribe_by_it_can(api: Api):
    record = await api.send()
    (sealed,) = await api.dispatch()
    await api.client.delete(f"/api/v1/communications/{record['id']}")
    for method in ("GET", "HEAD"):
        assert (await api.stranger.request(method, addresses(sealed)[1][0], headers=BROWSER)).status_code == 404
    assert await api.rows("SELECT * FROM interactions WHERE tenant_id = :t", t=api.tenant.id) == []
    assert (await api.stranger.post(UNSUBSCRIBE_PATH + api.signer.unsubscribe(api.tenant.id, 1))).status_code == 200


async def test_a_head_counts_nothing_and_says_the_same(api: Api):
    record = await api.send()
    answer = await api.stranger.head(path(record["id"]))
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "image/gif", b"")
    assert await human(api) == [(0, 0)]


async def test_another_method_is_a_405(api: Api):
    record = await api.send()
    answer = await api.stranger.post(path(record["id"]))
    assert (answer.status_code, set(answer.json())) == (405, {"detail", "time", "title"})


async def test_machines_are_answered_and_counted_like_everybody_and_marked(api: Api):
    record = await api.send()
    await api.dispatch()
    api.at += SECOND
    for headers in (APPLE, {**BROWSER, "sec-purpose": "prefetch"}, {"user-agent": ""}, {"user-agent": "Barracuda Sentinel (EE)"}):
        answer = await api.stranger.get(path(record["id"]), headers=headers)
        assert (answer.status_code, answer.content) == (200, PIXEL)
    assert await human(api) == [(4, 0)]
    await api.stranger.get(path(record["id"]), headers=BROWSER)
    assert await human(api) == [(5, 1)]
    assert (await api.find(record["id"]))["openCount"] == 5
    rows = await api.rows("SELECT bot FROM interactions WHERE tenant_id = :t AND kind = 'opened' ORDER BY id", t=api.tenant.id)
    assert rows == [(1,), (1,), (1,), (1,), (0,)]
    (counts,) = (await api.db.read(counted, api.tenant.id)).values()
    assert [counts[name] for name in ("opened", "opens", "human_opened", "human_opens")] == [1, 5, 1, 1]


async def test_what_comes_within_a_second_of_the_sending_is_a_machines_whatever_it_says_of_itself(api: Api):
    record = await api.send()
    await api.dispatch()
    api.at += SECOND - 1
    await api.stranger.get(path(record["id"]), headers=BROWSER)
    assert await human(api) == [(1, 0)]
    api.at += 1
    await api.stranger.get(path(record["id"]), headers=BROWSER)
    assert await human(api) == [(2, 1)]
    await api.db.read(check, api.tenant.id)
