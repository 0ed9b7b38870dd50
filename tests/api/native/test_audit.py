"""The audit over HTTP: who deleted what, when."""

from typing import Any

import pytest

from tests.api.conftest import Api
from tidings import ids
from tidings.clock import DAY

PATH = "/api/v1/audit"


async def deleted(api: Api) -> list[str]:
    """Two mails and a contact, each deleted a day after the one before; answers alpha's ids of the mails."""
    contact = (await api.client.post("/api/v1/contacts", json={"email": "bob@example.test"})).json()
    records = [await api.send(), await api.send()]
    for address in (*(f"/api/v1/communications/{record['id']}" for record in records), f"/api/v1/contacts/{contact['id']}"):
        assert (await api.client.delete(address)).status_code == 204
        api.at += DAY
    return [record["id"] for record in records]


async def found(api: Api, **query: Any) -> list[str]:
    """The ids of what is gone, as the list has them."""
    answer = await api.client.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    return [str(entry["subject_id"]) for entry in answer.json()["audit"]]


async def test_it_tells_what_was_deleted_by_whom_and_when_the_newest_first(api: Api):
    first, second = await deleted(api)
    answer = (await api.client.get(PATH)).json()
    assert answer["pagination"] == {"page": 1, "limit": 25, "total": 3, "total_pages": 1}
    nothing = {"key": None, "channel": None, "campaign_id": None, "enrollment_id": None}
    bob, ann = ids.spell("contact", 1), ids.spell("contact", 2)
    mail = {**nothing, "author": "test", "action": "delete", "subject": "communication", "contact_id": ann, "channel": "email"}
    assert answer["audit"] == [
        {
            **nothing,
            "id": ids.spell("audit", 3),
            "at": "2025-06-20T12:00:00Z",
            "author": "test",
            "action": "delete",
            "subject": "contact",
            "subject_id": bob,
            "contact_id": bob,
        },
        {**mail, "id": ids.spell("audit", 2), "at": "2025-06-19T12:00:00Z", "subject_id": 2, "key": second},
        {**mail, "id": ids.spell("audit", 1), "at": "2025-06-18T12:00:00Z", "subject_id": 1, "key": first},
    ]


async def test_it_is_filtered_by_what_who_and_when(api: Api):
    first, _ = await deleted(api)
    bob = ids.spell("contact", 1)
    assert await found(api, subject="communication") == ["2", "1"]
    assert await found(api, subject="contact", action="delete", author="test") == [bob]
    assert await found(api, author="somebody") == []
    assert await found(api, subject_id=first) == await found(api, subject_id="1") == ["1"]
    assert await found(api, subject_id=bob) == [bob]
    assert await found(api, subject_id="1", subject="contact") == []
    assert await found(api, to="2025-06-18") == ["1"]
    assert await found(api, to="2025-06-18T12:00:00Z") == ["1"]
    assert await found(api, to="2025-06-18T11:59:59Z") == []
    assert await found(api, **{"from": "2025-06-19", "to": "2025-06-19"}) == ["2"]
    assert await found(api, **{"from": "2025-06-19T14:00:01+02:00"}) == [bob]
    assert await found(api, limit=1, page=2) == ["2"]


@pytest.mark.parametrize(
    "query",
    [
        {"subject": "campaign"},
        {"action": "look"},
        {"from": "soon"},
        {"to": "2025-13-01"},
        {"subject_id": "x"},
    ],
)
async def test_what_cannot_be_meant_is_a_422_naming_it(api: Api, query: dict[str, str]):
    answer = await api.client.get(PATH, params=query)
    assert (answer.status_code, list(answer.json()["errors"])) == (422, list(query))


async def test_it_is_the_administrators_and_shows_a_tenant_nothing_of_others(api: Api):
    first, _ = await deleted(api)
    rival = await api.rival()
    assert (await rival.get(PATH)).json()["audit"] == []
    assert (await rival.get(PATH, params={"subject_id": first})).status_code == 422
    await rival.aclose()
    assert (await api.stranger.get(PATH)).status_code == 401
    reader = api.client_for(await api.new_key(api.tenant, "communications:read"))
    assert (await reader.get(PATH)).status_code == 403
    await reader.aclose()


async def test_a_contact_that_is_not_there_leaves_no_entry(api: Api):
    assert (await api.client.delete(f"/api/v1/contacts/{ids.spell('contact', 9)}")).status_code == 404
    assert await found(api) == []
