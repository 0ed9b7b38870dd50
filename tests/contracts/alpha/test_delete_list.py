"""DELETE /delete-list: several gone at once."""

import pytest

from tests.support.api import Api
from tests.support.recount import counted

PATH = "/api/v1/communications/delete-list"


@pytest.mark.parametrize("together", [True, False])
async def test_all_that_are_known_are_deleted_and_unknown_ones_skipped(api: Api, together: bool):
    first, second, kept = [(await api.send())["id"] for _ in range(3)]
    await api.dispatch()
    wanted = [first, "string", "1", second, first]
    answer = await api.client.delete(PATH, params={"ids": ",".join(wanted) if together else wanted})
    assert (answer.status_code, answer.content) == (204, b"")
    rows = (await api.client.get("/api/v1/communications/find", params={"ids": [first, second, kept]})).json()
    assert [row["id"] for row in rows] == [kept]
    assert [(value["accepted"], value["sent"]) for value in (await api.db.read(counted, api.tenant.id)).values()] == [(1, 1)]


async def test_what_waits_never_goes_out(api: Api):
    made = [(await api.send())["id"] for _ in range(2)]
    await api.client.delete(PATH, params={"ids": made})
    assert await api.dispatch() == []


async def test_only_unknown_ones_are_a_204_too(api: Api):
    assert (await api.client.delete(PATH, params={"ids": "string"})).status_code == 204


@pytest.mark.parametrize("query", ["", "?ids=", "?ids=%20", "?ids=&ids="])
async def test_none_at_all_is_a_400_naming_the_parameter(api: Api, query: str):
    answer = await api.client.delete(PATH + query)
    assert (answer.status_code, answer.json()["detail"]) == (400, "ids is required.")


async def test_another_tenants_are_skipped(api: Api):
    record = await api.send()
    rival = await api.rival()
    assert (await rival.delete(PATH, params={"ids": record["id"]})).status_code == 204
    await rival.aclose()
    assert await api.find(record["id"]) == record
    assert (await api.stranger.delete(PATH, params={"ids": record["id"]})).status_code == 401


async def test_each_leaves_an_entry_in_the_audit(api: Api):
    made = [(await api.send())["id"] for _ in range(3)]
    await api.client.delete(PATH, params={"ids": [*made[:2], "string", made[0]]})
    listed = (await api.client.get("/api/v1/audit", params={"action": "delete"})).json()
    assert listed["pagination"]["total"] == 2
    assert {(entry["key"], entry["author"], entry["action"], entry["subject"]) for entry in listed["audit"]} == {
        (token, "test", "delete", "communication") for token in made[:2]
    }
