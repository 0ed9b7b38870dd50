"""Suppressions over HTTP."""

import pytest

from tests.api.conftest import Api, page_of
from tidings import ids

PATH = "/api/v1/suppressions"


async def test_an_address_is_suppressed_by_hand(api: Api):
    answer = await api.client.post(PATH, json={"channel": "email", "address": "Ann@Example.com", "detail": "asked by phone"})
    assert answer.status_code == 201
    body = answer.json()
    assert ids.parse("suppression", body["id"])
    assert {name: body[name] for name in body if name != "id"} == {
        "channel": "email", "address": "ann@example.com", "reason": "manual", "detail": "asked by phone",
        "communication_id": None, "created_at": "2025-06-18T12:00:00Z",
    }  # fmt: skip
    assert (await api.client.get(f"{PATH}/{body['id']}")).json() == body


async def test_a_number_is_written_in_one_way(api: Api):
    answer = await api.client.post(PATH, json={"channel": "sms", "address": "+31 6 1234 5678", "reason": "unsubscribed"})
    assert answer.json()["address"] == "+31612345678"


async def test_the_same_address_again_is_a_conflict_that_says_why(api: Api):
    for status in (201, 409):
        answer = await api.client.post(PATH, json={"channel": "email", "address": "ann@example.com"})
        assert answer.status_code == status
    assert answer.json()["error"] == "ann@example.com is suppressed already: manual"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"channel": "email", "address": "ann"}, "address"),
        ({"channel": "sms", "address": "ann@example.com"}, "address"),
        ({"channel": "fax", "address": "ann@example.com"}, "channel"),
        ({"channel": "email", "address": "ann@example.com", "reason": "dislike"}, "reason"),
        ({"channel": "email", "address": "ann@example.com", "detail": "x" * 501}, "detail"),
        ({"channel": "email"}, "address"),
    ],
)
async def test_a_wrong_field_is_named(api: Api, body: dict[str, str], field: str):
    answer = await api.client.post(PATH, json=body)
    assert (answer.status_code, list(answer.json()["errors"])) == (422, [field])


async def test_the_list_is_filtered(api: Api):
    for body in (
        {"channel": "email", "address": "a@example.com"},
        {"channel": "email", "address": "b@example.com", "reason": "bounced"},
        {"channel": "sms", "address": "+31612345678"},
    ):
        await api.client.post(PATH, json=body)

    async def listed(**params: str) -> list[str]:
        answer = await api.client.get(PATH, params=params)
        assert page_of(answer)["total"] == len(answer.json()["suppressions"])
        return [row["address"] for row in answer.json()["suppressions"]]

    assert await listed() == ["+31612345678", "b@example.com", "a@example.com"]
    assert await listed(channel="email", reason="manual") == ["a@example.com"]
    assert await listed(address="B@Example.com") == ["b@example.com"]
    for wrong in ({"channel": "fax"}, {"reason": "dislike"}):
        assert (await api.client.get(PATH, params=wrong)).status_code == 422


async def test_a_suppression_is_lifted(api: Api):
    made = (await api.client.post(PATH, json={"channel": "email", "address": "a@example.com"})).json()
    rival = await api.rival()
    assert (await rival.delete(f"{PATH}/{made['id']}")).status_code == 404
    assert (await api.client.delete(f"{PATH}/{made['id']}")).status_code == 204
    assert (await api.client.delete(f"{PATH}/{made['id']}")).status_code == 404
    assert (await api.client.delete(f"{PATH}/1")).status_code == 404
    assert (await api.client.get(PATH)).json()["suppressions"] == []
