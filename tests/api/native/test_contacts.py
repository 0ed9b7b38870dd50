"""Contacts on the wire: made, found, changed, removed, exported."""

import csv
import io
from typing import Any

import pytest

from tests.api.conftest import NOON, Api
from tidings import ids


async def made(api: Api, **fields: Any) -> dict[str, Any]:
    answer = await api.client.post("/api/v1/contacts", json=fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def listed(api: Api, query: str = "") -> list[str]:
    answer = await api.client.get(f"/api/v1/contacts{query}")
    assert answer.status_code == 200, answer.text
    return [contact["email"] or contact["phone"] for contact in answer.json()["contacts"]]


async def test_a_contact_is_shown_as_it_was_made(api: Api) -> None:
    made_one = await made(
        api,
        email="Ann@Example.com",
        phone="+39 333 123 4567",
        first_name="Ann",
        last_name="Bell",
        company="Fun",
        timezone="Europe/Rome",
        locale="it-IT",
        attributes={"plan": "gold", "nested": {"a": [1, None]}},
        consent={"email": "granted"},
    )
    number = made_one["number"]
    assert made_one == {
        "id": ids.spell("contact", number),
        "uuid": ids.uuid("contact", number),
        "number": number,
        "email": "Ann@example.com",
        "phone": "+393331234567",
        "first_name": "Ann",
        "last_name": "Bell",
        "company": "Fun",
        "locale": "it-IT",
        "timezone": "Europe/Rome",
        "attributes": {"plan": "gold", "nested": {"a": [1, None]}},
        "consent": {"email": "granted", "sms": None},
        "created_at": "2025-06-18T12:00:00Z",
        "updated_at": "2025-06-18T12:00:00Z",
    }
    assert (await api.client.get(f"/api/v1/contacts/{made_one['id']}")).json() == made_one


async def test_a_second_contact_with_the_address_is_a_conflict_that_names_the_first(api: Api) -> None:
    first = await made(api, email="ann@example.com")
    answer = await api.client.post("/api/v1/contacts", json={"email": "ANN@example.com"})
    assert answer.status_code == 409
    assert first["id"] in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "email"),
        ({"email": "nope"}, "email"),
        ({"email": 5}, "email"),
        ({"email": "a@example.com", "shoe_size": 5}, "shoe_size"),
        ({"email": "a@example.com", "first_name": "A\r\nBcc: b@example.com"}, "first_name"),
        ({"email": "a@example.com", "attributes": []}, "attributes"),
        ({"email": "a@example.com", "consent": {"email": "perhaps"}}, "consent"),
        ({"phone": "+39 1"}, "phone"),
    ],
)
async def test_a_wrong_field_is_named(api: Api, body: dict[str, Any], field: str) -> None:
    answer = await api.client.post("/api/v1/contacts", json=body)
    assert answer.status_code == 422, answer.text
    assert list(answer.json()["errors"]) == [field]


async def test_put_makes_once_and_changes_afterwards(api: Api) -> None:
    first = await api.client.put("/api/v1/contacts", json={"email": "ann@example.com", "first_name": "Ann"})
    second = await api.client.put("/api/v1/contacts", json={"email": "Ann@example.com", "attributes": {"plan": "gold"}})
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == first.json() | {"email": "Ann@example.com", "attributes": {"plan": "gold"}}


async def test_patch_changes_what_it_names(api: Api) -> None:
    contact = await made(api, email="ann@example.com", phone="+393331234567", first_name="Ann", attributes={"a": 1, "b": 2})
    api.at = NOON + 61_000
    answer = await api.client.patch(
        f"/api/v1/contacts/{contact['id']}", json={"phone": None, "attributes": {"a": None, "c": 3}, "consent": {"sms": "denied"}}
    )
    changed = {
        "phone": None,
        "attributes": {"b": 2, "c": 3},
        "consent": {"email": None, "sms": "denied"},
        "updated_at": "2025-06-18T12:01:01Z",
    }
    assert answer.json() == contact | changed
    emptied = await api.client.patch(f"/api/v1/contacts/{contact['id']}", json={"email": None})
    assert (emptied.status_code, list(emptied.json()["errors"])) == (422, ["email"])


async def test_another_tenants_contact_is_not_there(api: Api) -> None:
    contact = await made(api, email="ann@example.com")
    rival = await api.rival()
    for answer in (
        await rival.get(f"/api/v1/contacts/{contact['id']}"),
        await rival.patch(f"/api/v1/contacts/{contact['id']}", json={"first_name": "Eve"}),
        await rival.delete(f"/api/v1/contacts/{contact['id']}"),
        await api.client.get(f"/api/v1/contacts/{contact['number']}"),
        await api.client.get(f"/api/v1/contacts/{contact['uuid']}"),
    ):
        assert answer.status_code == 404
    assert (await rival.get("/api/v1/contacts")).json()["contacts"] == []


async def test_pages_and_filters(api: Api) -> None:
    for number in range(3):
        await made(api, email=f"c{number}@example.com", first_name="Cleo", attributes={"number": number, "plan": "gold"})
    await made(api, phone="+393331234567")
    first = (await api.client.get("/api/v1/contacts?limit=3")).json()
    assert [contact["email"] for contact in first["contacts"]] == [None, "c2@example.com", "c1@example.com"]
    assert first["pagination"] == {"page": 1, "limit": 3, "total": 4, "total_pages": 2}
    assert await listed(api, "?limit=3&page=2") == ["c0@example.com"]
    assert await listed(api, "?email=C1@example.com") == ["c1@example.com"]
    assert await listed(api, "?phone=%2B393331234567") == ["+393331234567"]
    assert await listed(api, "?search=CLEO&attribute=plan:gold&attribute=number:2") == ["c2@example.com"]
    assert await listed(api, "?created_since=2025-06-18T14:00:00%2B02:00&limit=1") == ["+393331234567"]
    assert await listed(api, "?created_since=2025-06-19") == []
    assert (await api.client.get("/api/v1/contacts?created_since=soon")).status_code == 422
    assert (await api.client.get("/api/v1/contacts?list=None")).status_code == 422
    assert (await api.client.get("/api/v1/contacts?attribute=plan")).status_code == 422


async def test_a_removed_contact_is_gone_with_its_enrollments_and_what_was_pending(api: Api) -> None:
    await api.send(recipients=["ann@example.test"])
    (contact,) = (await api.client.get("/api/v1/contacts")).json()["contacts"]
    enrolling = {"campaign_id": ids.spell("campaign", await api.campaign()), "contact_id": contact["id"]}
    assert (await api.client.post("/api/v1/enrollments", json=enrolling)).status_code == 201
    answer = await api.client.delete(f"/api/v1/contacts/{contact['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await api.client.get("/api/v1/enrollments")).json()["enrollments"] == []
    assert await api.rows("SELECT state FROM communications") == [("canceled",)]
    assert (await api.client.get(f"/api/v1/contacts/{contact['id']}")).status_code == 404
    assert (await api.client.delete(f"/api/v1/contacts/{contact['id']}")).status_code == 404


async def test_the_export_is_streamed_csv_that_no_spreadsheet_runs(api: Api) -> None:
    await made(api, email="ann@example.com", phone="+393331234567", first_name="=cmd()", last_name='O"Hara, Ann', attributes={"a": 1})
    await made(api, email="bob@example.com", first_name="Zoë")
    for answer in (
        await api.client.get("/api/v1/contacts.csv?search=ann"),
        await api.client.get("/api/v1/contacts?search=ann", headers={"accept": "text/csv"}),
    ):
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        (row,) = csv.DictReader(io.StringIO(answer.text, newline=""))
        assert (row["email"], row["phone"], row["first_name"], row["last_name"]) == (
            "ann@example.com",
            "+393331234567",
            "'=cmd()",
            'O"Hara, Ann',
        )
        assert row["attributes"].replace(" ", "") == '{"a":1}'
    assert len((await api.client.get("/api/v1/contacts.csv")).text.splitlines()) == 3


async def test_a_key_needs_the_scope(api: Api) -> None:
    reader = api.client_for(await api.new_key(api.tenant, "contacts:read"))
    assert (await reader.get("/api/v1/contacts")).status_code == 200
    assert (await reader.post("/api/v1/contacts", json={"email": "a@example.com"})).status_code == 403
    assert (await reader.post("/api/v1/contacts/import", content=b"email\n")).status_code == 403
    assert (await api.stranger.get("/api/v1/contacts")).status_code == 401


async def test_an_attribute_that_cannot_be_asked_for_is_refused_alike_on_both_databases(api: Api) -> None:
    await made(api, email="ann@example.com", attributes={"a.b": "x", "2nd": "x", "shoe size": "41", "_größe-1": "x"})
    for name in ("a.b", "2nd", "9999-12", 'a"b', "$", "[0]", " x"):
        for path in ("/api/v1/contacts", "/api/v1/contacts.csv"):
            answer = await api.client.get(path, params={"attribute": f"{name}:x"})
            assert (answer.status_code, list(answer.json()["errors"])) == (422, ["attribute"]), (path, name)
    assert await listed(api, "?attribute=shoe size:41&attribute=_größe-1:x") == ["ann@example.com"]
    assert await listed(api, "?attribute=shoe size:42") == []
