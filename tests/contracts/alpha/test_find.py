"""GET /find?ids=: several records at once."""

from tests.support.api import Api
from tidings.api.alpha import lookup

PATH = "/api/v1/communications/find"


async def test_the_records_come_in_the_order_asked_for_each_once(api: Api):
    made = [await api.send(subject=f"{number}") for number in range(3)]
    wanted = [made[2], made[0], made[1]]
    tokens = [record["id"] for record in wanted]
    for given in (tokens, ",".join(tokens), [*tokens, tokens[0]], ", ".join(tokens)):
        answer = await api.client.get(PATH, params={"ids": given})
        assert (answer.status_code, answer.json()) == (200, wanted)


async def test_unknown_ones_are_skipped(api: Api):
    record = await api.send()
    answer = await api.client.get(PATH, params={"ids": ["string", "1", record["id"], record["id"][:-1], ""]})
    assert answer.json() == [record]


async def test_none_asked_for_is_none_found(api: Api):
    await api.send()
    for query in ("", "?ids=", "?ids=,", "?other=1"):
        answer = await api.client.get(PATH + query)
        assert (answer.status_code, answer.json()) == (200, [])


async def test_more_than_are_read_at_once_come_complete(api: Api, monkeypatch):
    monkeypatch.setattr(lookup, "AT_ONCE", 2)
    tokens = [(await api.send())["id"] for _ in range(5)]
    assert [record["id"] for record in (await api.client.get(PATH, params={"ids": tokens})).json()] == tokens


async def test_each_has_its_own_clicks_and_comments(api: Api):
    body = '<a href="https://shop.test/a">a</a><a href="https://shop.test/b">b</a>'
    first, second = await api.send(body=body), await api.send(body=body)
    for token, index in ((first["id"], 1), (first["id"], 1), (second["id"], 0)):
        await api.stranger.get(f"/api/v1/communications/link/{token}/{index}")
    await api.client.post(f"/api/v1/communications/{second['id']}/comment", content="mine")
    found = (await api.client.get(PATH, params={"ids": [first["id"], second["id"]]})).json()
    assert [[(link["originalUrl"], link["clickCount"]) for link in record["clickedLinks"]] for record in found] == [
        [("https://shop.test/b", 2)],
        [("https://shop.test/a", 1)],
    ]
    assert [[event["type"] for event in record["events"]] for record in found] == [["CREATE"], ["CREATE", "COMMENT"]]


async def test_another_tenants_are_not_found(api: Api):
    record = await api.send()
    rival = await api.rival()
    assert (await rival.get(PATH, params={"ids": record["id"]})).json() == []
    await rival.aclose()
    assert (await api.stranger.get(PATH)).status_code == 401
