"""GET /find-list?ids=: the same as /find."""

from tests.support.api import Api

PATH = "/api/v1/communications/find-list"


async def test_it_answers_as_find_does(api: Api):
    made = [await api.send(subject=f"{number}") for number in range(3)]
    tokens = [record["id"] for record in made]
    for given in ([*tokens, "string"], ",".join(tokens)):
        answer = await api.client.get(PATH, params={"ids": given})
        assert (answer.status_code, answer.json()) == (200, made)


async def test_none_asked_for_is_none_found(api: Api):
    assert (await api.client.get(PATH)).json() == []


async def test_another_tenants_are_not_found(api: Api):
    record = await api.send()
    rival = await api.rival()
    assert (await rival.get(PATH, params={"ids": record["id"]})).json() == []
    await rival.aclose()
    assert (await api.stranger.get(PATH)).status_code == 401
