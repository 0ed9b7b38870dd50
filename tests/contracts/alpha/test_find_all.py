"""GET /find-all: every record there is, newest first, as a stream."""

import pytest

from tests.support.api import Api
from tidings.api.alpha import search

PATH = "/api/v1/communications/find-all"


async def test_none_is_an_empty_array(api: Api):
    answer = await api.client.get(PATH)
    assert (answer.status_code, answer.headers["content-type"], answer.json()) == (200, "application/json", [])


async def test_it_answers_every_record_newest_first_across_batches(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(search, "IDS_AT_ONCE", 4)
    monkeypatch.setattr(search, "AT_ONCE", 3)
    made = [await api.send(subject=f"{number}") for number in range(9)]
    assert (await api.client.get(PATH)).json() == made[::-1]


async def test_another_tenants_are_not_among_them(api: Api):
    await api.send()
    rival = await api.rival()
    assert (await rival.get(PATH)).json() == []
    await rival.aclose()
    assert (await api.stranger.get(PATH)).status_code == 401
