"""DELETE /{id}: gone for good."""

import asyncio
import threading

import httpx2
import msgspec
import pytest

from tests.support import walk
from tests.support.api import NOON, Api
from tests.support.recount import check, counted
from tests.support.ways import WAYS
from tidings.api.alpha import lifecycle
from tidings.clock import HOUR
from tidings.database import Tx
from tidings.domain import communications, counters, enrollments
from tidings.domain.counters import Tally
from tidings.rendering.compose import UNSUBSCRIBE_PATH


def path(token: str) -> str:
    return f"/api/v1/communications/{token}"


async def test_it_is_gone_from_every_read_and_from_the_counts(api: Api):
    record, other = await api.send(body='<a href="https://shop.test/">x</a>'), await api.send(recipients=["bob@example.test"])
    await api.dispatch()
    await api.stranger.get(f"/api/v1/communications/link/{record['id']}/0")
    await api.client.post(f"/api/v1/communications/{record['id']}/comment", content="x")
    api.at = NOON + HOUR
    answer = await api.client.delete(path(record["id"]))
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await api.client.get(f"/api/v1/communications/find/{record['id']}")).status_code == 404
    assert (await api.client.get("/api/v1/communications/find", params={"ids": record["id"]})).json() == []
    listed = (await api.client.get("/api/v1/communications")).json()
    assert (len(listed["communications"]), listed["pagination"]["total"]) == (1, 1)
    assert (await api.client.get("/api/v1/communications", params={"sent": "true"})).json()["pagination"]["total"] == 1
    assert (await api.stranger.get(f"/api/v1/communications/link/{record['id']}/0")).status_code == 404
    assert (await api.find(other["id"]))["status"] == "SENT"
    assert await api.rows("SELECT kind FROM interactions WHERE tenant_id = :t", t=api.tenant.id) == [("sent",)]
    counts = await api.db.read(counted, api.tenant.id)
    await api.db.read(check, api.tenant.id)
    assert [(value["accepted"], value["sent"], value["opened"]) for value in counts.values()] == [(1, 1, 0)]


async def test_what_waits_never_goes_out(api: Api):
    due = await api.send()
    given = {"body": "x", "recipients": ["ann@example.test"], "subject": "x", "scheduledAt": "2025-06-18T13:00:00Z"}
    later = (await api.client.post("/api/v1/communications/schedule", json=given)).json()
    for record in (due, later):
        assert (await api.client.delete(path(record["id"]))).status_code == 204
    api.at = NOON + 2 * HOUR
    assert await api.dispatch() == []
    assert await api.db.read(counted, api.tenant.id) == {}


async def test_what_is_being_sent_is_waited_for(api: Api):
    record = await api.send()
    api.carrying.gate = asyncio.Event()
    house = walk.House(api.db)
    house.now, house.tenant_id, house.carrying = api.at, api.tenant.id, api.carrying
    stop = asyncio.Event()
    sending = asyncio.create_task(house.dispatcher().run(stop))
    await asyncio.wait_for(api.carrying.reached.wait(), 5)
    deleting = asyncio.create_task(api.client.delete(path(record["id"])))
    await asyncio.wait({deleting}, timeout=0.3)
    assert not deleting.done()
    assert (await api.find(record["id"]))["status"] == "PENDING"
    api.carrying.gate.set()
    answer: httpx2.Response = await asyncio.wait_for(deleting, 5)
    assert answer.status_code == 204
    assert len(api.carrying.sent) == 1
    assert await api.rows("SELECT id FROM communications WHERE tenant_id = :t", t=api.tenant.id) == []
    stop.set()
    await sending


async def test_a_provider_that_takes_too_long_makes_it_a_503(api: Api, monkeypatch):
    monkeypatch.setattr(lifecycle, "PATIENCE", 0.1)
    record = await api.send()
    await api.run("UPDATE communications SET state = 'in_process', lease = 1, lease_until = 1 WHERE tenant_id = :t", t=api.tenant.id)
    answer = await api.client.delete(path(record["id"]))
    assert (answer.status_code, set(answer.json())) == (503, {"detail", "time", "title"})
    assert (await api.find(record["id"]))["id"] == record["id"]


async def test_twice_is_a_404_as_is_what_is_not_there_or_anothers(api: Api):
    record, gone = await api.send(), await api.send()
    assert (await api.client.delete(path(gone["id"]))).status_code == 204
    rival = await api.rival()
    for client, token in ((api.client, gone["id"]), (api.client, "string"), (api.client, "1"), (rival, record["id"])):
        answer = await client.delete(path(token))
        assert (answer.status_code, answer.json()["title"]) == (404, "Not Found")
    await rival.aclose()
    assert await api.find(record["id"]) == record
    assert (await api.stranger.delete(path(record["id"]))).status_code == 401
    reader = api.client_for(await api.new_key(api.tenant, "communications:read"))
    assert (await reader.delete(path(record["id"]))).status_code == 403
    await reader.aclose()


async def test_the_audit_keeps_who_deleted_it_and_nothing_of_what_it_said(api: Api):
    record = await api.send(subject="Private words", recipients=["private@example.test"])
    api.at = NOON + HOUR
    await api.client.delete(path(record["id"]))
    (row,) = await api.rows(
        "SELECT at, author, action, subject, subject_id, detail FROM audit WHERE tenant_id = :t AND action = 'delete'", t=api.tenant.id
    )
    assert row[:5] == (NOON + HOUR, "test", "delete", "communication", 1)
    assert msgspec.json.decode(row[5]) == {"channel": "email"}
    answer = (await api.client.get("/api/v1/audit", params={"subject_id": record["id"], "action": "delete"})).json()
    (entry,) = answer["audit"]
    assert (entry["at"], entry["author"], entry["action"], entry["key"]) == ("2025-06-18T13:00:00Z", "test", "delete", record["id"])
    assert (entry["operation"], entry["status"], entry["ip"]) == ("Delete a communication", 204, "127.0.0.0")


async def test_what_is_not_deleted_leaves_no_trace_in_the_audit(api: Api):
    await api.send()
    for token in ("string", "1", api.signer.communication(api.tenant.id, 99)):
        assert (await api.client.delete(path(token))).status_code == 404
    await api.run("UPDATE communications SET state = 'in_process', lease = 1, lease_until = 1 WHERE tenant_id = :t", t=api.tenant.id)
    deleting = asyncio.create_task(api.client.delete(path(api.signer.communication(api.tenant.id, 1))))
    await asyncio.wait({deleting}, timeout=0.2)
    assert await api.rows("SELECT * FROM audit WHERE action = 'delete'") == []
    await api.run(
        "UPDATE communications SET state = 'canceled', lease = NULL, lease_until = NULL, due_at = NULL WHERE tenant_id = :t",
        t=api.tenant.id,
    )
    assert (await deleting).status_code == 204
    assert len(await api.rows("SELECT * FROM audit WHERE action = 'delete'")) == 1


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_its_way_out_of_further_mail_works_still(api: Api, method: str):
    record = await api.send(recipients=["Ann@example.test"])
    await api.dispatch()
    await api.client.delete(path(record["id"]))
    way_out = UNSUBSCRIBE_PATH + api.signer.unsubscribe(api.tenant.id, 1)
    for _ in range(2):
        answer = await api.stranger.request(method, way_out)
        assert answer.status_code == 200
        assert "ann@example.test" in answer.text.lower()
        assert "Acme" in answer.text
    rows = await api.rows("SELECT channel, address, reason FROM suppressions WHERE tenant_id = :t", t=api.tenant.id)
    assert rows == ([("email", "ann@example.test", "unsubscribed")] if method == "POST" else [])
    assert await api.rows("SELECT * FROM interactions WHERE tenant_id = :t", t=api.tenant.id) == []
    assert await api.db.read(counted, api.tenant.id) == {}
    if method == "POST":
        assert (await api.send(recipients=["ann@example.test"]))["status"] == "FAILED"


async def test_unsubscribing_by_a_deleted_mail_of_a_campaign_ends_the_walk_through_it(api: Api):
    await WAYS["campaign"](api)
    await api.dispatch()
    await api.run("UPDATE enrollments SET completed_at = NULL, due_at = :later WHERE tenant_id = :t", later=NOON + HOUR, t=api.tenant.id)
    await api.client.delete(path(api.signer.communication(api.tenant.id, 1)))
    await api.stranger.post(UNSUBSCRIBE_PATH + api.signer.unsubscribe(api.tenant.id, 1))
    assert await api.rows("SELECT due_at, stopped_by FROM enrollments WHERE tenant_id = :t", t=api.tenant.id) == [(None, "unsubscribe")]


async def test_with_mail_and_contact_deleted_nobody_is_left_to_unsubscribe(api: Api):
    contact = (await api.client.post("/api/v1/contacts", json={"email": "ann@example.test"})).json()
    record = await api.send()
    await api.client.delete(path(record["id"]))
    assert (await api.client.delete(f"/api/v1/contacts/{contact['id']}")).status_code == 204
    way_out = UNSUBSCRIBE_PATH + api.signer.unsubscribe(api.tenant.id, 1)
    for method in ("GET", "POST"):
        assert (await api.stranger.request(method, way_out)).status_code == 404


async def test_who_unsubscribes_while_it_is_being_deleted_is_not_counted_for_a_mail_that_is_gone(api: Api):
    tenant_id, communication_id = api.signer.parse_communication((await api.send())["id"]) or (0, 0)
    await api.dispatch()
    taken_back, unsubscribed = threading.Event(), threading.Event()

    def delete(tx: Tx) -> None:
        tally = Tally()
        communications.delete(tx, tenant_id, [communication_id], tally, author="test", now=api.at)
        counters.fold(tx, tally)
        taken_back.set()
        # whoever does not wait for this transaction is through by then
        unsubscribed.wait(0.5)

    deleting = asyncio.create_task(api.db.write(delete))
    await asyncio.to_thread(taken_back.wait)
    assert await api.db.write(enrollments.unsubscribe, tenant_id, communication_id, now=api.at)
    unsubscribed.set()
    await deleting
    await api.db.read(check, tenant_id)
    assert await api.db.read(counted, tenant_id) == {}
    assert await api.rows("SELECT kind FROM interactions WHERE tenant_id = :t", t=tenant_id) == []
    assert await api.rows("SELECT address FROM suppressions WHERE tenant_id = :t", t=tenant_id) == [("ann@example.test",)]
