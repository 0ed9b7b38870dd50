"""An SMSC account set up over the API: a worker stays bound to it, texts go out, and receipts and answers come in by the one door."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.providers.smsc import Smsc, deliver_body, scripted_smsc
from tests.support.api import Api
from tidings import ids
from tidings.delivery import listening
from tidings.inbound.receive import Desk
from tidings.providers.registry import Registry
from tidings.worker import work

PERSON = "+4915187654321"


class Line:
    """A tenant whose texts go over a scripted SMSC, and a worker."""

    def __init__(self, api: Api, smsc: Smsc) -> None:
        self.api, self.smsc = api, smsc

    async def provider(self, name: str = "Texts", **settings: Any) -> dict[str, Any]:
        given = {"host": "127.0.0.1", "port": self.smsc.port, "system_id": "us", "password": "secret1", "sender": "+4915112345678"}
        body = {"name": name, "channel": "sms", "kind": "smpp", "chosen": name == "Texts", "settings": given | settings}
        answer = await self.api.client.post("/api/v1/providers", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def text(self) -> int:
        body = {"phone": PERSON, "send_sms": True, "body": "Your table is ready"}
        answer = await self.api.client.post("/api/v1/instant_messages", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()["communications"][0]

    async def states(self) -> list[Any]:
        sql = "SELECT state FROM communications WHERE tenant_id = :t ORDER BY id"
        return [row[0] for row in await self.api.rows(sql, t=self.api.tenant.id)]

    async def deliver(self, body: bytes) -> int:
        return await asyncio.wait_for((await self.smsc.session()).deliver(body), 10)


async def until(found: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(1000):
        if await found():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen within ten seconds")


@pytest.fixture
async def line(api: Api, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Line]:
    monkeypatch.setattr(listening, "LOOK", 0.05)
    house, stop = api.house, asyncio.Event()
    hear = listening.at(Desk(house.db, house.store, house.signer, house.clock))
    registry = Registry(house.db, house.vault, house.clock, {}, hear=hear)
    async with scripted_smsc() as smsc:
        working = asyncio.create_task(work(house, registry, stop=stop, embedded=False))
        yield Line(api, smsc)
        stop.set()
        await working
        await registry.close()


async def test_a_text_goes_out_and_its_receipt_settles_it(line: Line):
    await line.provider()
    await line.smsc.session()
    await line.text()

    async def is_sent() -> bool:
        return await line.states() == ["sent"]

    await until(is_sent)
    assert [taken.data for taken in line.smsc.taken] == [b"Your table is ready"]
    words = b"id:1 sub:001 dlvrd:001 submit date:2506181200 done date:2506181201 stat:DELIVRD err:000 text:"
    assert await line.deliver(deliver_body(words, esm_class=0x04)) == 0
    assert await line.states() == ["delivered"]
    assert len(line.smsc.sessions) == 1


async def test_an_answer_is_stored_and_a_stop_heeded(line: Line):
    provider = await line.provider()
    assert await line.deliver(deliver_body(b"Stop!")) == 0
    sql = "SELECT source, channel, sender, text, keyword FROM inbound_messages WHERE tenant_id = :t"
    source = f"smpp:{ids.parse('provider', provider['id'])}"
    assert await line.api.rows(sql, t=line.api.tenant.id) == [(source, "sms", PERSON, "Stop!", "stop")]
    suppressed = "SELECT channel, address, reason FROM suppressions WHERE tenant_id = :t"
    assert await line.api.rows(suppressed, t=line.api.tenant.id) == [("sms", PERSON, "unsubscribed")]


@pytest.mark.parametrize("sender", [(5, 0, "ACME"), (3, 0, "88022"), (1, 1, "999"), (0, 0, ""), (1, 1, "4915187654321" + "9" * 10)])
async def test_whoever_writes_it_is_stored(line: Line, sender: tuple[int, int, str]):
    await line.provider()
    assert await line.deliver(deliver_body(b"hi\0 there", source=sender)) == 0
    sql = "SELECT text FROM inbound_messages WHERE tenant_id = :t"
    assert await line.api.rows(sql, t=line.api.tenant.id) == [("hi@ there",)]


async def test_other_settings_are_bound_with_and_the_old_connection_is_left(line: Line):
    provider = await line.provider(system_id="first")
    first = await line.smsc.session()
    line.smsc.bound.clear()
    answer = await line.api.client.patch(f"/api/v1/providers/{provider['id']}", json={"settings": {"system_id": "second"}})
    assert answer.status_code == 200, answer.text
    second = await line.smsc.session()
    assert (first.credentials, second.credentials) == (("first", "secret1"), ("second", "secret1"))

    async def is_left() -> bool:
        return 0x06 in first.asked

    await until(is_left)
    assert 0x06 not in second.asked


async def test_a_provider_that_is_not_chosen_listens_too_until_it_is_deleted(line: Line):
    other = await line.provider("Other")
    await line.provider("Texts", system_id="chosen")

    async def are_bound() -> bool:
        return {session.credentials[0] for session in line.smsc.sessions if session.bound} == {"us", "chosen"}

    await until(are_bound)
    session = next(session for session in line.smsc.sessions if session.credentials[0] == "us")
    assert await session.deliver(deliver_body(b"hello")) == 0
    assert (await line.api.client.delete(f"/api/v1/providers/{other['id']}")).status_code == 204

    async def is_left() -> bool:
        return 0x06 in session.asked

    await until(is_left)


async def test_the_password_is_never_shown(line: Line):
    await line.provider()
    shown = (await line.api.client.get("/api/v1/providers", params={"channel": "sms"})).text
    assert "secret1" not in shown
    assert '"system_id":"us"' in shown.replace(" ", "")


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": 0},
        {"port": 0},
        {"sender": "a name that is too long"},
        {"alphabet": "ebcdic"},
        {"system_id": ""},
        {"rate": -1},
        {"colour": 1},
    ],
)
async def test_settings_that_cannot_be_are_refused(line: Line, wrong: dict[str, Any]):
    given = {"host": "127.0.0.1", "system_id": "us"} | wrong
    body = {"name": "Texts", "channel": "sms", "kind": "smpp", "settings": given}
    assert (await line.api.client.post("/api/v1/providers", json=body)).status_code == 422
