"""What readers touch: the pixel, the links, and unsubscribing. What is answered is durable; what is forged is not even looked up."""

import asyncio
from typing import Any

import pytest

from tests.api.conftest import Api
from tidings.rendering.compose import UNSUBSCRIBE_PATH

TRACK, LINK = "/api/v1/communications/track/", "/api/v1/communications/link/"
BODY = '<a href="https://shop.test/ä?q=1&amp;r=%20">one</a> <a href="https://shop.test/{{ name }}">two</a>'


async def counts(api: Api) -> tuple[Any, ...]:
    return (
        await api.rows("SELECT open_count, click_count, opened_at, clicked_at FROM communications WHERE tenant_id = :t", t=api.tenant.id)
    )[0]


@pytest.fixture
def nothing_is_asked(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the database was asked")

    monkeypatch.setattr(api.db, "read", refuse)
    monkeypatch.setattr(api.db, "write", refuse)


async def test_the_pixel_is_a_gif_that_is_never_kept_and_counts_every_time(api: Api):
    record = await api.send()
    for seen in (1, 2, 3):
        answer = await api.stranger.get(TRACK + record["id"], headers={"user-agent": "Mail/1"})
        assert (answer.status_code, answer.headers["content-type"], answer.headers["cache-control"]) == (200, "image/gif", "no-store")
        assert answer.content[:6] == b"GIF89a"
        assert answer.content[6:10] == b"\1\0\1\0"
        assert (await counts(api))[0] == seen
        api.at += 1000
    assert (await counts(api))[2] == api.at - 3000
    rows = await api.rows("SELECT kind, user_agent, ip FROM interactions WHERE tenant_id = :t", t=api.tenant.id)
    assert rows == [("opened", "Mail/1", "127.0.0.0")] * 3


async def test_a_link_leads_to_what_was_stored_and_counts_a_click_and_an_open(api: Api):
    record = await api.send(body=BODY, variables={"name": "Ann"})
    answer = await api.stranger.get(f"{LINK}{record['id']}/0", params={"url": "https://evil.test/"})
    assert (answer.status_code, answer.headers["location"]) == (302, "https://shop.test/%C3%A4?q=1&r=%20")
    assert (await counts(api))[:2] == (1, 1)
    answer = await api.stranger.get(f"{LINK}{record['id']}/1")
    assert (answer.status_code, answer.headers["location"]) == (302, "https://shop.test/Ann")
    assert (await counts(api))[:2] == (2, 2)


async def test_a_head_on_pixel_and_link_counts_nothing(api: Api):
    record = await api.send(body=BODY)
    pixel, link = await api.stranger.head(TRACK + record["id"]), await api.stranger.head(f"{LINK}{record['id']}/0")
    assert (pixel.status_code, pixel.headers["content-type"], pixel.content) == (200, "image/gif", b"")
    assert (link.status_code, link.headers["location"]) == (302, "https://shop.test/%C3%A4?q=1&r=%20")
    assert await counts(api) == (0, 0, None, None)


async def test_an_index_out_of_range_is_a_404_in_alphas_words(api: Api):
    record = await api.send(body=BODY)
    for index in ("2", "99999999999999999999", "-1", "00", "x", "1.0", "%D9%A1"):
        answer = await api.stranger.get(f"{LINK}{record['id']}/{index}")
        assert (answer.status_code, set(answer.json())) == (404, {"detail", "time", "title"})
    assert await counts(api) == (0, 0, None, None)


async def test_a_forged_token_is_a_404_that_costs_no_query(api: Api, nothing_is_asked: None):
    token = api.signer.communication(api.tenant.id, 1)
    unsubscribe = api.signer.unsubscribe(api.tenant.id, 1)
    for text in (token[:-1], token + "A", "1", "x", token.swapcase(), unsubscribe):
        for path in (TRACK + text, f"{LINK}{text}/0"):
            answer = await api.stranger.get(path)
            assert (answer.status_code, answer.json()["title"]) == (404, "Not Found")
    for text in (unsubscribe[:-1], token, "1"):
        for method in ("GET", "HEAD", "POST"):
            assert (await api.stranger.request(method, UNSUBSCRIBE_PATH + text)).status_code == 404


async def test_a_good_token_of_a_row_that_is_gone_is_no_crash(api: Api):
    token = api.signer.communication(api.tenant.id, 99)
    for path in (TRACK + token, f"{LINK}{token}/0"):
        assert (await api.stranger.get(path)).status_code == 404
    for method in ("GET", "POST"):
        assert (await api.stranger.request(method, UNSUBSCRIBE_PATH + api.signer.unsubscribe(api.tenant.id, 99))).status_code == 404


async def test_hits_that_arrive_together_are_all_counted_once_and_few_writes_do_it(api: Api, monkeypatch: pytest.MonkeyPatch):
    record = await api.send(body=BODY)
    write, writes = api.db.write, 0

    async def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal writes
        writes += 1
        return await write(*args, **kwargs)

    monkeypatch.setattr(api.db, "write", counted)
    await asyncio.gather(*(api.stranger.get(TRACK + record["id"]) for _ in range(50)))
    assert (await counts(api))[0] == 50
    assert writes < 25


async def test_the_page_asks_and_its_get_changes_nothing(api: Api):
    await api.send(recipients=["o'neil+x@example.test"], senderName="<b>Shop</b>")
    path = UNSUBSCRIBE_PATH + api.signer.unsubscribe(api.tenant.id, 1)
    page = await api.stranger.get(path)
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "&lt;b&gt;Shop&lt;/b&gt;" in page.text
    assert "<b>" not in page.text
    assert '<form method="post">' in page.text
    assert '<html lang="en">' in page.text
    assert "src=" not in page.text
    assert (await api.stranger.head(path)).status_code == 200
    assert await api.rows("SELECT COUNT(*) FROM suppressions") == [(0,)]


@pytest.mark.parametrize("sent", [{"data": {"List-Unsubscribe": "One-Click"}}, {"files": {"List-Unsubscribe": (None, "One-Click")}}, {}])
async def test_one_click_unsubscribes_at_once_and_twice_is_once(api: Api, sent: dict[str, Any]):
    await api.send(recipients=["Ann@example.test"])
    path = UNSUBSCRIBE_PATH + api.signer.unsubscribe(api.tenant.id, 1)
    for _ in range(2):
        answer = await api.stranger.post(path, **sent)
        assert answer.status_code == 200
        assert "unsubscribed" in answer.text
    rows = await api.rows("SELECT channel, address, reason, communication_id FROM suppressions WHERE tenant_id = :t", t=api.tenant.id)
    assert rows == [("email", "ann@example.test", "unsubscribed", 1)]
    events = await api.rows("SELECT COUNT(*) FROM interactions WHERE tenant_id = :t AND kind = 'unsubscribed'", t=api.tenant.id)
    assert events == [(1,)]
    assert (await api.send())["status"] == "FAILED"
