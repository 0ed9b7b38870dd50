"""The audit over HTTP: who deleted what, when."""

import asyncio
import re
from typing import Any

import pytest
from psycopg.errors import SerializationFailure

from tests.api.conftest import Api
from tests.contracts.furnished import Furnished
from tidings import ids
from tidings.api import auditing, erasing, routes
from tidings.api.health import Metrics
from tidings.clock import DAY
from tidings.database import Tx
from tidings.delivery.keeping import Keeper
from tidings.domain import audit
from tidings.errors import Unavailable
from tidings.providers.sandbox import Sandbox

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
    answer = await api.client.get(PATH, params={"action": "delete", **query})
    assert answer.status_code == 200, answer.text
    return [str(entry["subject_id"]) for entry in answer.json()["audit"]]


async def test_it_tells_what_was_deleted_by_whom_and_when_the_newest_first(api: Api):
    first, second = await deleted(api)
    answer = (await api.client.get(PATH, params={"action": "delete"})).json()
    assert answer["pagination"] == {"page": 1, "limit": 25, "total": 3, "total_pages": 1}
    nothing = {"key": None, "channel": None, "campaign_id": None, "enrollment_id": None}
    nothing |= {"operation": "Remove a contact", "status": 204, "ip": "127.0.0.0", "subject_ids": []}
    bob, ann = ids.spell("contact", 1), ids.spell("contact", 2)
    mail = {**nothing, "author": "test", "action": "delete", "subject": "communication", "contact_id": ann, "channel": "email"}
    mail["operation"] = "Delete a communication"
    assert answer["audit"] == [
        {
            **nothing,
            "id": answer["audit"][0]["id"],
            "at": "2025-06-20T12:00:00Z",
            "author": "test",
            "action": "delete",
            "subject": "contact",
            "subject_id": bob,
            "contact_id": bob,
        },
        {**mail, "id": answer["audit"][1]["id"], "at": "2025-06-19T12:00:00Z", "subject_id": 2, "key": second},
        {**mail, "id": answer["audit"][2]["id"], "at": "2025-06-18T12:00:00Z", "subject_id": 1, "key": first},
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
        {"subject": "moon"},
        {"contact_id": "x"},
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


async def test_a_contact_that_is_not_there_leaves_no_entry_of_a_deletion(api: Api):
    assert (await api.client.delete(f"/api/v1/contacts/{ids.spell('contact', 9)}")).status_code == 404
    assert await found(api) == []


async def changes(api: Api, **query: Any) -> list[tuple[Any, ...]]:
    """(operation, subject, subject_id, contact_id, status, ip) of the requests that are entered, the oldest first."""
    answer = await api.client.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    names = ("operation", "subject", "subject_id", "contact_id", "status", "ip")
    return [tuple(entry[name] for name in names) for entry in answer.json()["audit"][::-1] if entry["operation"] is not None]


async def test_every_change_is_entered_with_who_what_and_how_it_ended(api: Api):
    ann = (await api.client.post("/api/v1/contacts", json={"email": "ann@example.test"})).json()["id"]
    await api.client.patch(f"/api/v1/contacts/{ann}", json={"first_name": "Secret"})
    made = (await api.client.post("/api/v1/lists", json={"name": "Spring"})).json()["id"]
    await api.client.post(f"/api/v1/lists/{made}/contacts", json={"contact_ids": [ann]})
    await api.client.delete(f"/api/v1/lists/{made}/contacts/{ann}")
    sent = await api.send()
    await api.client.post(f"/api/v1/communications/{sent['id']}/comment", json="Private words")
    assert await changes(api) == [
        ("Make a contact", "contact", ann, ann, 201, "127.0.0.0"),
        ("Change a contact", "contact", ann, ann, 200, "127.0.0.0"),
        ("Make a list", "list", made, None, 201, "127.0.0.0"),
        ("Add contacts to a list", "list", made, None, 200, "127.0.0.0"),
        ("Take one contact out of a list", "list", made, ann, 204, "127.0.0.0"),
        ("Send one mail", "communication", 1, None, 200, "127.0.0.0"),
        ("Comment on a communication", "communication", 1, None, 200, "127.0.0.0"),
    ]
    assert len(await changes(api, contact_id=ann)) == 3
    assert {row[1] for row in await changes(api, subject="list")} == {"list"}
    rows = await api.rows("SELECT operation, detail, author FROM audit WHERE tenant_id = :t", t=api.tenant.id)
    assert "Private" not in str(rows)
    assert "Secret" not in str(rows)
    assert {row[2] for row in rows} == {"test"}


async def test_what_is_exported_or_erased_has_one_entry_that_tells_from_where(api: Api):
    ann = (await api.client.post("/api/v1/contacts", json={"email": "ann@example.test"})).json()["id"]
    assert (await api.client.get(f"/api/v1/contacts/{ann}/export")).status_code == 200
    assert (await api.client.post(f"/api/v1/contacts/{ann}/erase")).status_code == 200
    assert (await api.client.post(f"/api/v1/contacts/{ann}/erase")).status_code == 404
    assert (await changes(api, contact_id=ann))[1:] == [
        ("Everything known of a contact, as a ZIP", "contact", ann, ann, 200, "127.0.0.0"),
        ("Erase a contact", "contact", ann, ann, 200, "127.0.0.0"),
    ]
    rows = await api.rows("SELECT author, action FROM audit WHERE tenant_id = :t ORDER BY id", t=api.tenant.id)
    assert rows == [("test", "change"), ("test", "export"), ("test", "erase")]


async def test_an_erasure_that_does_not_come_to_its_end_is_entered_without_a_status(api: Api, monkeypatch: pytest.MonkeyPatch):
    await api.send()
    ann = ids.spell("contact", 1)
    await api.run("UPDATE communications SET state = 'in_process', lease = 1, lease_until = 1 WHERE tenant_id = :t", t=api.tenant.id)
    monkeypatch.setattr(erasing, "PATIENCE", 0.1)
    assert (await api.client.post(f"/api/v1/contacts/{ann}/erase")).status_code == 503
    entry = ("Erase a contact", "contact", ann, ann, None, "127.0.0.0")
    assert await changes(api, action="erase") == [entry]
    await api.run(
        "UPDATE communications SET state = 'canceled', lease = NULL, lease_until = NULL, due_at = NULL WHERE tenant_id = :t",
        t=api.tenant.id,
    )
    assert (await api.client.post(f"/api/v1/contacts/{ann}/erase")).status_code == 200
    assert await changes(api, action="erase") == [entry, (*entry[:4], 200, entry[5])]


async def test_reads_of_people_are_entered_when_the_tenant_wants_that(api: Api):
    ann = (await api.client.post("/api/v1/contacts", json={"email": "ann@example.test"})).json()["id"]
    await api.client.get(f"/api/v1/contacts/{ann}")
    answer = await api.client.patch("/api/v1/retention", json={"audit_reads": True})
    assert answer.json() == {"bodies": None, "interactions": None, "inbound": None, "audit": None, "audit_reads": True}
    watched = api.client_for(await api.new_key(api.tenant))
    await watched.get(f"/api/v1/contacts/{ann}")
    await watched.get("/api/v1/contacts", params={"search": "ann@example"})
    await watched.get("/api/v1/templates")
    await watched.aclose()
    assert await changes(api, action="read") == [
        ("One contact", "contact", ann, ann, 200, "127.0.0.0"),
        ("List contacts", None, None, None, 200, "127.0.0.0"),
    ]


async def test_what_is_refused_leaves_no_entry(api: Api):
    ann = (await api.client.post("/api/v1/contacts", json={"email": "ann@example.test"})).json()["id"]
    await api.client.patch("/api/v1/retention", json={"audit_reads": True})
    before = await changes(api)
    client = api.client_for(await api.new_key(api.tenant))
    nobody, nowhere = ids.spell("contact", 9), ids.spell("list", 9)
    file = {"filename": "offer.txt", "content": "SGk="}
    mail = {"body": "Hi", "subject": "Hi", "recipients": ["ann@example.test"], "attachments": [file], "senderEmail": "x@elsewhere.test"}
    refused = [
        await client.patch(f"/api/v1/contacts/{ann}", json={"email": "nobody"}),
        await client.post("/api/v1/contacts", json={"email": "ann@example.test"}),
        await client.delete(f"/api/v1/contacts/{nobody}"),
        await client.get(f"/api/v1/contacts/{nobody}"),
        await client.delete(f"/api/v1/lists/{nowhere}"),
        await client.request("DELETE", f"/api/v1/lists/{nowhere}/contacts", json={"contact_ids": [ann]}),
        await client.delete(f"/api/v1/lists/{nowhere}/contacts/{ann}"),
        await client.post("/api/v1/communications/send", json=mail),
    ]
    await client.aclose()
    assert [answer.status_code for answer in refused] == [422, 409, 404, 404, 404, 404, 404, 400]
    assert await changes(api) == before


async def test_a_change_whose_transaction_breaks_leaves_neither_itself_nor_an_entry(api: Api, monkeypatch: pytest.MonkeyPatch):
    enter = audit.enter

    def broken(tx: Tx, act: audit.Act) -> None:
        enter(tx, act)
        raise Unavailable("The disk is full")

    monkeypatch.setattr(audit, "enter", broken)
    for headers in ({}, {"idempotency-key": "one"}):
        assert (await api.client.post("/api/v1/contacts", json={"email": "ann@example.test"}, headers=headers)).status_code == 503
    assert (await api.client.get("/api/v1/contacts")).json()["contacts"] == []
    assert await changes(api) == []
    monkeypatch.undo()
    answer = await api.client.post("/api/v1/contacts", json={"email": "ann@example.test"}, headers={"idempotency-key": "one"})
    assert answer.status_code == 201
    assert [row[:2] for row in await changes(api)] == [("Make a contact", "contact")]


async def test_a_transaction_that_the_database_wants_anew_has_one_entry(api: Api, monkeypatch: pytest.MonkeyPatch):
    enter, tries = audit.enter, 0

    def jostled(tx: Tx, act: audit.Act) -> None:
        nonlocal tries
        tries += 1
        enter(tx, act)
        if tries < 3 and api.db.kind == "postgres":
            raise SerializationFailure

    monkeypatch.setattr(audit, "enter", jostled)
    assert (await api.client.post("/api/v1/contacts", json={"email": "ann@example.test"})).status_code == 201
    assert tries == (3 if api.db.kind == "postgres" else 1)
    assert len(await changes(api)) == 1


async def test_a_request_that_is_repeated_with_its_key_has_one_entry(api: Api):
    mail = {"body": "Hi", "subject": "Hi", "recipients": ["ann@example.test"]}
    person = {"email": "bob@example.test"}
    for path, body in (("/api/v1/communications/send", mail), ("/api/v1/contacts", person)):
        again = [api.client.post(path, json=body, headers={"idempotency-key": path}) for _ in range(3)]
        answers = [*await asyncio.gather(*again), await api.client.post(path, json=body, headers={"idempotency-key": path})]
        assert len({answer.content for answer in answers}) == 1
        assert [answer.is_success for answer in answers] == [True] * 4
    bob = answers[0].json()["id"]
    assert await changes(api) == [
        ("Send one mail", "communication", 1, None, 200, "127.0.0.0"),
        ("Make a contact", "contact", bob, bob, 201, "127.0.0.0"),
    ]


async def test_a_change_in_several_steps_has_one_entry(api: Api):
    """The mail with its file first of all, then what plays its recipient, which stores more than once."""
    sent = await api.send(attachments=[{"filename": "offer.txt", "content": "SGk="}])
    await Sandbox(api.db, lambda: api.at, "email").send(await api.dispatch(), lambda *_: None)
    assert sent["id"]
    number = (await api.rows("SELECT MAX(id) FROM communications WHERE tenant_id = :t", t=api.tenant.id))[0][0]
    answer = await api.client.post("/api/v1/sandbox/reply", json={"communication_id": number, "text": "Yes"})
    assert answer.status_code == 201
    assert [row[0] for row in await changes(api)] == ["Send one mail", "Answer what the sandbox kept"]


async def entered(api: Api) -> int:
    """How many requests have entries."""
    return (await api.rows("SELECT COUNT(*) FROM audit WHERE tenant_id = :t AND operation IS NOT NULL", t=api.tenant.id))[0][0]


async def test_whatever_changes_something_is_entered_once_and_whatever_is_refused_is_not(api: Api):
    house = Furnished(api)
    await house.furnish()
    table = [route for route in routes.collect(api.house, Metrics(api.db)) if auditing.is_change(route, route.method)]
    seen: set[int] = set()
    # what removes comes last, for others need what it takes away; a test of a webhook goes to the network
    for route in sorted(table, key=lambda route: route.method == "DELETE" or route.path.endswith(("/archive", "/erase", "/pause"))):
        if route.public or route.streams or route.path.endswith("/test"):
            continue
        path = re.sub(r"{(\w+)}", lambda found, route=route: house.segment(route.method, route.path, found[1]), route.path)
        body, before = house.body(f"{route.method} {route.path}"), await entered(api)
        answer = await api.client.request(route.method, path, json={} if body is None and route.takes is not None else body)
        seen.add(answer.status_code)
        expected = 1 if answer.is_success else 0
        assert await entered(api) - before == expected, f"{route.method} {path}: {answer.status_code}"
    assert {200, 201, 202, 204} <= seen


async def test_how_long_what_is_kept_is_asked_and_said(api: Api):
    answer = await api.client.patch("/api/v1/retention", json={"bodies": 30, "audit": 365})
    assert answer.json() == {"bodies": 30, "interactions": None, "inbound": None, "audit": 365, "audit_reads": False}
    assert (await api.client.patch("/api/v1/retention", json={"bodies": None})).json()["bodies"] is None
    assert (await api.client.get("/api/v1/retention")).json()["audit"] == 365
    for wrong in ({"bodies": 0}, {"inbound": -1}, {"interactions": 10**9}):
        answer = await api.client.patch("/api/v1/retention", json=wrong)
        assert (answer.status_code, list(answer.json()["errors"])) == (422, list(wrong))


async def test_old_entries_go_but_for_what_links_in_deleted_mail_need(api: Api):
    await deleted(api)
    await api.client.patch("/api/v1/retention", json={"audit": 1})
    api.at += 30 * DAY
    assert await Keeper(api.db, api.house.clock, idle=0).turn() is not None
    assert await api.rows("SELECT action, subject FROM audit WHERE tenant_id = :t", t=api.tenant.id) == [("delete", "communication")] * 2
