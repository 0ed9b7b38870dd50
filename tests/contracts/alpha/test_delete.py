"""DELETE /{id}: gone for good."""

import asyncio

import httpx2

from tests.support import walk
from tests.support.api import NOON, Api
from tests.support.recount import counted, recounted
from tidings.api.alpha import lifecycle
from tidings.clock import HOUR


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
    assert counts == await api.db.read(recounted, api.tenant.id)
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
