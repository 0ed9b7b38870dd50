"""Recipient lists on the wire."""

from typing import Any

from tests.api.conftest import Api
from tidings import ids


async def people(api: Api, count: int) -> list[str]:
    answers = [await api.client.post("/api/v1/contacts", json={"email": f"c{number}@example.com"}) for number in range(count)]
    return [answer.json()["id"] for answer in answers]


async def made(api: Api, name: str = "News") -> dict[str, Any]:
    answer = await api.client.post("/api/v1/lists", json={"name": name})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_a_list_is_made_shown_renamed_and_removed(api: Api) -> None:
    group = await made(api, " News ")
    path = f"/api/v1/lists/{group['id']}"
    assert group == {
        "id": ids.spell("list", group["number"]),
        "uuid": ids.uuid("list", group["number"]),
        "number": group["number"],
        "name": "News",
        "members": 0,
        "created_at": "2025-06-18T12:00:00Z",
        "updated_at": "2025-06-18T12:00:00Z",
    }
    assert (await api.client.get(path)).json() == group
    assert (await api.client.post("/api/v1/lists", json={"name": "News"})).status_code == 409
    assert (await api.client.patch(path, json={"name": "Novelties"})).json()["name"] == "Novelties"
    assert (await api.client.get("/api/v1/lists")).json()["pagination"]["total"] == 1
    assert (await api.client.delete(path)).status_code == 204
    assert (await api.client.get(path)).status_code == 404
    assert (await api.client.delete(path)).status_code == 404


async def test_contacts_are_put_in_and_taken_out(api: Api) -> None:
    group, some = await made(api), await people(api, 3)
    path = f"/api/v1/lists/{group['id']}/contacts"
    assert (await api.client.post(path, json={"contact_ids": some})).json() == {"added": 3, "members": 3}
    assert (await api.client.post(path, json={"contact_ids": some[:1]})).json() == {"added": 0, "members": 3}
    shown = (await api.client.get(f"{path}?limit=2")).json()
    assert [contact["id"] for contact in shown["contacts"]] == [some[2], some[1]]
    assert shown["pagination"] == {"page": 1, "limit": 2, "total": 3, "total_pages": 2}
    assert (await api.client.delete(f"{path}/{some[0]}")).status_code == 204
    assert (await api.client.delete(f"{path}/{some[0]}")).status_code == 404
    taken = await api.client.request("DELETE", path, json={"contact_ids": some})
    assert taken.json() == {"removed": 2, "members": 0}


async def test_unknown_contacts_are_named_and_nobody_is_added(api: Api) -> None:
    group, some = await made(api), await people(api, 1)
    path = f"/api/v1/lists/{group['id']}/contacts"
    unknown = ids.spell("contact", 999_999)
    for wrong in (unknown, "17", "cont_nonsense"):
        answer = await api.client.post(path, json={"contact_ids": [*some, wrong]})
        assert answer.status_code == 422
        assert wrong in answer.json()["error"]
    assert (await api.client.get(path)).json()["contacts"] == []
    assert (await api.client.post(path, json={"contact_ids": []})).status_code == 422


async def test_another_tenants_list_and_contacts_are_not_there(api: Api) -> None:
    group, some = await made(api), await people(api, 1)
    rival = await api.rival()
    own = (await rival.post("/api/v1/lists", json={"name": "News"})).json()
    assert (await rival.get(f"/api/v1/lists/{group['id']}")).status_code == 404
    assert (await rival.get(f"/api/v1/lists/{group['id']}/contacts")).status_code == 404
    assert (await rival.post(f"/api/v1/lists/{group['id']}/contacts", json={"contact_ids": some})).status_code == 404
    assert (await rival.post(f"/api/v1/lists/{own['id']}/contacts", json={"contact_ids": some})).status_code == 422
