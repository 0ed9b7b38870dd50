"""A tenant's providers: one chosen per channel, paused and resumed, and a configuration that never has another's name."""

import asyncio

import pytest

from tidings.database import Database
from tidings.domain import carriers, tenants
from tidings.domain.carriers import Carrier
from tidings.errors import Conflict, NotFound

NOW = 1_750_000_000_000


@pytest.fixture
async def tenant_id(db: Database) -> int:
    return (await db.write(tenants.create, "acme", name="Acme", sender_email="hello@acme.test", now=NOW)).id


async def made(db: Database, tenant_id: int, name: str = "Relay", channel: str = "email") -> Carrier:
    return await db.write(carriers.create, tenant_id, channel=channel, kind="smtp", name=name, settings="v1.sealed", now=NOW)


async def test_a_tenant_is_born_with_the_servers_own_provider_for_each_channel(db: Database, tenant_id: int):
    found = await db.read(carriers.all, tenant_id)
    assert [(row.channel, row.kind, row.chosen_at is not None) for row in found] == [("email", "system", True), ("sms", "system", True)]


async def test_choosing_one_unchooses_the_other_of_its_channel_alone(db: Database, tenant_id: int):
    relay = await made(db, tenant_id)
    assert relay.chosen_at is None
    await db.write(carriers.choose, tenant_id, relay.id, now=NOW + 1)
    again = await db.write(carriers.choose, tenant_id, relay.id, now=NOW + 9)
    assert again.chosen_at == NOW + 1
    email, sms = [await db.read(carriers.chosen, tenant_id, channel) for channel in ("email", "sms")]
    assert email == again
    assert sms is not None
    assert sms.kind == "system"


async def test_of_many_chosen_at_once_one_is_left(db: Database, tenant_id: int):
    relays = [await made(db, tenant_id, f"Relay {number}") for number in range(6)]
    await asyncio.gather(*(db.write(carriers.choose, tenant_id, relay.id, now=NOW) for relay in relays))
    assert len([row for row in await db.read(carriers.all, tenant_id, channel="email") if row.chosen_at is not None]) == 1


async def test_the_first_of_a_channel_is_chosen_at_once(db: Database, tenant_id: int):
    system = await db.read(carriers.chosen, tenant_id, "email")
    assert system is not None
    relay = await made(db, tenant_id)
    await db.write(carriers.choose, tenant_id, relay.id, now=NOW)
    await db.write(carriers.delete, tenant_id, system.id)
    assert [row.name for row in await db.read(carriers.all, tenant_id, channel="email")] == ["Relay"]


async def test_the_chosen_one_cannot_be_deleted(db: Database, tenant_id: int):
    relay = await made(db, tenant_id)
    await db.write(carriers.choose, tenant_id, relay.id, now=NOW)
    with pytest.raises(Conflict, match="choose another"):
        await db.write(carriers.delete, tenant_id, relay.id)
    other = await made(db, tenant_id, "Other")
    await db.write(carriers.delete, tenant_id, other.id)
    with pytest.raises(NotFound):
        await db.read(carriers.get, tenant_id, other.id)


async def test_names_are_unique(db: Database, tenant_id: int):
    await made(db, tenant_id)
    other = await made(db, tenant_id, "Other")
    with pytest.raises(Conflict):
        await made(db, tenant_id)
    with pytest.raises(Conflict):
        await db.write(carriers.update, tenant_id, other.id, name="Relay", settings=None, now=NOW)


async def test_a_pause_keeps_its_beginning_and_takes_the_newer_reason(db: Database, tenant_id: int):
    relay = await made(db, tenant_id)
    await db.write(carriers.pause, tenant_id, relay.id, "535 wrong password", until=NOW + 100, now=NOW)
    await db.write(carriers.pause, tenant_id, relay.id, "535 still wrong", until=NOW + 300, now=NOW + 200)
    paused = await db.read(carriers.get, tenant_id, relay.id)
    assert (paused.paused_at, paused.paused_until, paused.paused_reason) == (NOW, NOW + 300, "535 still wrong")
    assert paused.updated_at == relay.updated_at
    assert await db.write(carriers.resume, tenant_id, relay.id)
    assert not await db.write(carriers.resume, tenant_id, relay.id)
    assert (await db.read(carriers.get, tenant_id, relay.id)).paused_at is None


async def test_resuming_wakes_those_who_send(db: Database, tenant_id: int):
    relay = await made(db, tenant_id)
    await db.write(carriers.pause, tenant_id, relay.id, "down", until=NOW + 100, now=NOW)
    bell = db.bell("due")
    await db.write(carriers.resume, tenant_id, relay.id)
    assert bell.is_set()


async def test_new_settings_end_a_pause_and_are_another_configuration_even_within_a_millisecond(db: Database, tenant_id: int):
    relay = await made(db, tenant_id)
    await db.write(carriers.pause, tenant_id, relay.id, "down", until=NOW + 100, now=NOW)
    changed = await db.write(carriers.update, tenant_id, relay.id, name="Relay", settings="v1.other", now=NOW)
    assert (changed.settings, changed.paused_at) == ("v1.other", None)
    assert changed.updated_at > relay.updated_at
    renamed = await db.write(carriers.update, tenant_id, relay.id, name="Renamed", settings=None, now=NOW + 50)
    assert (renamed.name, renamed.settings, renamed.updated_at) == ("Renamed", "v1.other", changed.updated_at)


async def test_a_provider_is_nobody_elses(db: Database, tenant_id: int):
    rival = (await db.write(tenants.create, "rival", name="", sender_email="a@rival.test", now=NOW)).id
    relay = await made(db, tenant_id)
    with pytest.raises(NotFound):
        await db.read(carriers.get, rival, relay.id)
    with pytest.raises(NotFound):
        await db.write(carriers.choose, rival, relay.id, now=NOW)
    with pytest.raises(NotFound):
        await db.write(carriers.update, rival, relay.id, name="Mine", settings=None, now=NOW)
    await db.write(carriers.pause, rival, relay.id, "sabotage", until=NOW + 1, now=NOW)
    assert (await db.read(carriers.get, tenant_id, relay.id)).paused_at is None
