"""What becomes of the files of mail: removed with it and swept, never while anybody wants them; a store that is away, a worker that is stopped."""

import asyncio
import hashlib
from typing import Any

import pytest

from tests.contracts.alpha.test_attachments import BYTES, MAIL, SEND, enclosure, files, listed, path, stored
from tests.support.api import NOON, Api
from tests.support.walk import House
from tidings.clock import DAY, HOUR
from tidings.delivery import blobs
from tidings.domain import attachments
from tidings.errors import Unavailable
from tidings.message.outgoing import paused


async def test_deleting_the_mail_removes_its_files_and_the_sweep_their_bytes(api: Api):
    kept, gone = await api.send(attachments=[enclosure()]), await api.send(attachments=[enclosure(), enclosure("b", b"alone")])
    await api.dispatch()
    assert (await api.client.delete(f"/api/v1/communications/{gone['id']}")).status_code == 204
    assert (await api.client.get(path(gone["id"]))).status_code == 404
    assert await api.rows("SELECT filename FROM attachments WHERE tenant_id = :t", t=api.tenant.id) == [("offer.pdf",)]
    assert await blobs.sweep(api.db, api.house.store, lambda: api.at) == 0
    api.at += DAY + 1
    assert await blobs.sweep(api.db, api.house.store, lambda: api.at) == 1
    assert [entry.read_bytes() for entry in stored(api)] == [BYTES]
    assert await api.rows("SELECT hash FROM blobs WHERE tenant_id = :t", t=api.tenant.id) == [(hashlib.sha256(BYTES).hexdigest(),)]
    (entry,) = await listed(api, kept["id"])
    assert (await api.client.get(path(kept["id"], entry["id"]))).content == BYTES


async def test_what_was_stored_and_never_accepted_is_swept(api: Api):
    given = {**MAIL, "recipientListId": "list_unknown", "attachments": [enclosure()]}
    assert (await api.client.post(SEND, json=given)).status_code == 404
    given = {**MAIL, "conversationId": "conv_unknown", "attachments": [enclosure()]}
    assert (await api.client.post(SEND, json=given)).status_code == 404
    api.at += DAY + 1
    await blobs.sweep(api.db, api.house.store, lambda: api.at)
    assert stored(api) == []


async def test_the_raw_mail_that_was_received_is_not_swept(api: Api):
    digest = await attachments.keep(api.db, api.house.store, api.tenant.id, b"Subject: x", now=lambda: api.at)
    await api.run(
        "INSERT INTO inbound_messages (tenant_id, channel, conversation_id, contact_id, source, source_id, sender, raw_hash, received_at, created_at,"
        " updated_at) VALUES (:t, 'email', 1, 1, 'x', '1', 'a@b.test', :hash, 1, 1, 1)",
        t=api.tenant.id,
        hash=digest,
    )
    api.at += DAY + 1
    assert await blobs.sweep(api.db, api.house.store, lambda: api.at) == 0
    assert len(stored(api)) == 1


class Slow:
    """The house's store, whose removals wait until they are let go."""

    def __init__(self, api: Api) -> None:
        self._store = api.house.store
        self.url = self._store.url
        self.begun, self.go = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def drop(self, tenant_id: int, digest: str) -> None:
        self.begun.set()
        await self.go.wait()
        await self._store.drop(tenant_id, digest)


async def test_who_sends_what_is_just_being_removed_waits_and_loses_nothing(api: Api):
    record = await api.send(attachments=[enclosure()])
    await api.client.delete(f"/api/v1/communications/{record['id']}")
    api.at += DAY + 1
    slow = Slow(api)
    sweeping = asyncio.create_task(blobs.sweep(api.db, slow, lambda: api.at))  # type: ignore[arg-type]
    await slow.begun.wait()
    sending = asyncio.create_task(api.send(attachments=[enclosure()]))
    await asyncio.wait({sending}, timeout=0.3)
    assert not sending.done()
    slow.go.set()
    again = await sending
    assert await sweeping == 1
    assert [files(sealed) for sealed in await api.dispatch()] == [[("offer.pdf", "application/pdf", BYTES)]]
    assert len(await listed(api, again["id"])) == 1


async def test_who_waits_too_long_for_a_removal_is_told_to_come_again(api: Api, monkeypatch: pytest.MonkeyPatch):
    await attachments.keep(api.db, api.house.store, api.tenant.id, BYTES, now=lambda: api.at)
    api.at += DAY + 1
    digest = hashlib.sha256(BYTES).hexdigest()
    assert await api.db.write(attachments.doom, api.tenant.id, [digest], before=api.at - 1, now=api.at) == [digest]
    monkeypatch.setattr(attachments, "PATIENCE", 0.05)
    answer = await api.client.post(SEND, json={**MAIL, "attachments": [enclosure()]})
    assert (answer.status_code, "just being removed" in answer.json()["detail"]) == (503, True)
    # whoever doomed it died: after a while the file is anybody's again
    api.at += attachments.ABANDONED
    await api.send(attachments=[enclosure()])
    assert [files(sealed) for sealed in await api.dispatch()] == [[("offer.pdf", "application/pdf", BYTES)]]


async def test_what_is_touched_or_used_meanwhile_is_not_doomed(api: Api):
    digest = await attachments.keep(api.db, api.house.store, api.tenant.id, BYTES, now=lambda: NOON - 2 * DAY)
    (entry,) = await api.db.read(attachments.book, api.tenant.id, after="", before=NOON - DAY, now=NOON, limit=9)
    assert entry.unused
    assert await api.db.write(attachments.touch, api.tenant.id, digest, len(BYTES), now=NOON)
    assert await api.db.write(attachments.doom, api.tenant.id, [digest], before=NOON - DAY, now=NOON) == []


async def test_a_removal_that_fails_is_made_good_by_a_later_sweep(api: Api, monkeypatch: pytest.MonkeyPatch):
    await attachments.keep(api.db, api.house.store, api.tenant.id, BYTES, now=lambda: api.at)

    async def fails(tenant_id: int, digest: str) -> None:
        raise Unavailable("away")

    api.at += DAY + 1
    with monkeypatch.context() as patch:
        patch.setattr(api.house.store, "drop", fails)
        assert await blobs.sweep(api.db, api.house.store, lambda: api.at) == 0
    assert len(stored(api)) == 1
    api.at += DAY
    assert await blobs.sweep(api.db, api.house.store, lambda: api.at) == 1
    assert stored(api) == []


async def test_a_store_that_is_away_refuses_the_request_and_puts_off_what_was_accepted(api: Api):
    record = await api.send(attachments=[enclosure()])
    folder = api.house.data_folder / "blobs"
    folder.rename(folder.with_name("away"))
    assert await api.dispatch() == []
    found = await api.find(record["id"])
    assert (found["status"], "cannot be reached" in found["errorMessage"]) == ("PENDING", True)
    folder.write_text("not a folder")
    answer = await api.client.post(SEND, json={**MAIL, "attachments": [enclosure("b", b"other")]})
    assert (answer.status_code, "cannot be reached" in answer.json()["detail"]) == (503, True)
    folder.unlink()
    folder.with_name("away").rename(folder)
    api.at += HOUR
    assert [files(sealed) for sealed in await api.dispatch()] == [[("offer.pdf", "application/pdf", BYTES)]]


async def test_a_file_that_is_gone_fails_its_mail_and_no_other(api: Api):
    lost = await api.send(attachments=[enclosure()])
    await api.send(attachments=[enclosure("b", b"there")], recipients=["bob@example.test"])
    next(entry for entry in stored(api) if entry.read_bytes() == BYTES).unlink()
    assert [files(sealed)[0][0] for sealed in await api.dispatch()] == ["b"]
    found = await api.find(lost["id"])
    assert (found["status"], "is gone" in found["errorMessage"]) == ("FAILED", True)
    (entry,) = await listed(api, lost["id"])
    assert (await api.client.get(path(lost["id"], entry["id"]))).status_code == 404


async def test_a_provider_that_cannot_work_gets_the_rest_of_the_files_not_even_offered(api: Api):
    api.carrying.answer = lambda sealed: paused("no route")
    for number in range(60):
        await api.send(attachments=[enclosure(f"{number}.bin", b"%d" % number)])
    house = House(api.db, api.house.store)
    house.now, house.tenant_id, house.carrying = api.at, api.tenant.id, api.carrying
    await house.dispatch()
    assert len(api.carrying.sent) == 50
    rows = await api.rows("SELECT DISTINCT state, attempts FROM communications WHERE tenant_id = :t", t=api.tenant.id)
    assert rows == [("pending", 0)]


async def test_a_worker_that_is_stopped_hands_back_what_it_had_not_offered_yet(api: Api):
    for number in range(60):
        await api.send(attachments=[enclosure(f"{number}.bin", b"%d" % number)])
    api.carrying.gate = asyncio.Event()
    house = House(api.db, api.house.store)
    house.now, house.tenant_id, house.carrying = api.at, api.tenant.id, api.carrying
    stop = asyncio.Event()
    dispatcher = house.dispatcher()
    running = asyncio.create_task(dispatcher.run(stop))
    await api.carrying.reached.wait()
    dispatcher._cut.set()
    stop.set()
    await running
    counted = await api.rows(
        "SELECT state, attempts, COUNT(*) FROM communications WHERE tenant_id = :t GROUP BY state, attempts", t=api.tenant.id
    )
    assert sorted(counted) == [("pending", 0, 10), ("unknown", 1, 50)]
