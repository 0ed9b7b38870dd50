"""Suppressed addresses: added once, found in any case, per channel and per tenant."""

import pytest

from tidings.database import Database
from tidings.domain import suppressions, tenants
from tidings.errors import NotFound

NOW = 1_750_000_000_000


@pytest.fixture
async def tenant_id(db: Database) -> int:
    return (await db.write(tenants.create, "acme", name="Acme", sender_email="hello@acme.test", now=NOW)).id


async def test_an_address_is_suppressed_once_and_keeps_its_first_reason(db: Database, tenant_id: int):
    assert await db.write(suppressions.add, tenant_id, "email", "Ann@Example.com", "bounced", detail="550", communication_id=7, now=NOW)
    assert not await db.write(suppressions.add, tenant_id, "email", "ann@example.com", "manual", now=NOW + 1)
    found = await db.read(suppressions.find, tenant_id, "email", "ANN@example.com")
    assert found is not None
    assert (found.address, found.reason, found.detail, found.communication_id, found.created_at) == (
        "ann@example.com",
        "bounced",
        "550",
        7,
        NOW,
    )
    assert await db.read(suppressions.get, tenant_id, found.id) == found


async def test_a_channel_says_nothing_of_the_other(db: Database, tenant_id: int):
    await db.write(suppressions.add, tenant_id, "sms", "+31612345678", "unsubscribed", now=NOW)
    assert await db.read(suppressions.find, tenant_id, "email", "+31612345678") is None
    assert await db.read(suppressions.find, tenant_id, "sms", "+31612345678") is not None


async def test_matching_names_those_of_many_that_are_suppressed(db: Database, tenant_id: int):
    for address, reason in (("a@x.com", "manual"), ("b@x.com", "complained")):
        await db.write(suppressions.add, tenant_id, "email", address, reason, now=NOW)
    asked = ["A@x.com", "b@X.com", "c@x.com", "a@x.com"]
    assert await db.read(suppressions.matching, tenant_id, "email", asked) == {"a@x.com": "manual", "b@x.com": "complained"}
    assert await db.read(suppressions.matching, tenant_id, "email", []) == {}
    assert await db.read(suppressions.matching, tenant_id, "sms", asked) == {}


async def test_pages_are_newest_first_and_filtered(db: Database, tenant_id: int):
    for index, (channel, address, reason) in enumerate(
        [("email", "a@x.com", "manual"), ("email", "b@x.com", "bounced"), ("sms", "+31612345678", "manual")]
    ):
        await db.write(suppressions.add, tenant_id, channel, address, reason, now=NOW + index)
    found = await db.read(suppressions.page, tenant_id, page=1, limit=2)
    assert ([row.address for row in found.rows], found.total) == (["+31612345678", "b@x.com"], 3)
    assert [row.address for row in (await db.read(suppressions.page, tenant_id, channel="email", reason="manual")).rows] == ["a@x.com"]
    assert [row.address for row in (await db.read(suppressions.page, tenant_id, address="B@x.com")).rows] == ["b@x.com"]


async def test_a_removed_address_may_be_written_to_again(db: Database, tenant_id: int):
    await db.write(suppressions.add, tenant_id, "email", "a@x.com", "manual", now=NOW)
    found = await db.read(suppressions.find, tenant_id, "email", "a@x.com")
    assert found is not None
    await db.write(suppressions.remove, tenant_id, found.id)
    assert await db.read(suppressions.matching, tenant_id, "email", ["a@x.com"]) == {}
    with pytest.raises(NotFound):
        await db.write(suppressions.remove, tenant_id, found.id)


async def test_a_suppression_is_nobody_elses(db: Database, tenant_id: int):
    rival = (await db.write(tenants.create, "rival", name="", sender_email="a@rival.test", now=NOW)).id
    await db.write(suppressions.add, tenant_id, "email", "a@x.com", "manual", now=NOW)
    found = await db.read(suppressions.find, tenant_id, "email", "a@x.com")
    assert found is not None
    assert await db.read(suppressions.matching, rival, "email", ["a@x.com"]) == {}
    with pytest.raises(NotFound):
        await db.read(suppressions.get, rival, found.id)
    with pytest.raises(NotFound):
        await db.write(suppressions.remove, rival, found.id)
