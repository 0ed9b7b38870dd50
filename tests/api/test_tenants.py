"""Tenants and what they are born with."""

import pytest

from tidings.database import Database
from tidings.domain import keys, tenants
from tidings.errors import Conflict, Invalid, NotFound

NOW = 1_750_248_000_000


async def test_a_tenant_is_born_with_a_way_out_for_each_channel(db: Database):
    made = await db.write(tenants.create, "acme", name="Acme", sender_email="Hello@Acme.TEST", now=NOW)
    assert (made.slug, made.name, made.sender_email, made.sender_name, made.unknown_rule) == (
        "acme",
        "Acme",
        "Hello@acme.test",
        "Acme",
        "resend",
    )
    rows = await db.read(
        lambda tx: tx.rows(
            "SELECT channel, kind, name, chosen_at FROM providers WHERE tenant_id = :tenant_id ORDER BY channel", tenant_id=made.id
        )
    )
    assert rows == [("email", "system", "default-email", NOW), ("sms", "system", "default-sms", NOW)]


async def test_a_tenant_is_found_by_its_slug_and_a_taken_slug_is_a_conflict(db: Database):
    made = await db.write(tenants.create, "acme", name="Acme", sender_email="a@acme.test", now=NOW)
    other = await db.write(tenants.create, "a", name="", sender_email="a@a.test", now=NOW)
    assert other.name == "a"
    assert await db.read(tenants.find, "acme") == made
    assert await db.read(tenants.find, "ACME") is None
    assert [tenant.slug for tenant in await db.read(tenants.all)] == ["a", "acme"]
    with pytest.raises(Conflict):
        await db.write(tenants.create, "acme", name="Acme", sender_email="b@acme.test", now=NOW)
    with pytest.raises(NotFound):
        await db.read(tenants.get, 99)


@pytest.mark.parametrize("slug", ["", "-a", "a-", "A", "a_b", "a b", "é", "a" * 64, "a\n"])
async def test_a_slug_is_a_dns_label(db: Database, slug: str):
    with pytest.raises(Invalid) as wrong:
        await db.write(tenants.create, slug, name="x", sender_email="a@acme.test", now=NOW)
    assert list(wrong.value.fields) == ["slug"]


@pytest.mark.parametrize(
    ("name", "email", "field"), [("a\r\nb", "a@acme.test", "name"), ("a", "nobody", "sender_email"), ("a" * 201, "a@b.test", "name")]
)
async def test_what_would_spoil_a_header_is_refused(db: Database, name: str, email: str, field: str):
    with pytest.raises(Invalid) as wrong:
        await db.write(tenants.create, "acme", name=name, sender_email=email, now=NOW)
    assert list(wrong.value.fields) == [field]


async def test_a_key_opens_with_its_secret_until_it_is_revoked_by_its_own_tenant(db: Database):
    acme = await db.write(tenants.create, "acme", name="Acme", sender_email="a@acme.test", now=NOW)
    rival = await db.write(tenants.create, "rival", name="Rival", sender_email="a@rival.test", now=NOW)
    made = await db.write(keys.create, acme.id, name="one", scopes=[], now=NOW)
    assert keys.split(made.token) == (made.key, made.secret)
    known = await db.read(keys.authenticate, made.key, made.secret)
    assert known is not None
    assert (known.tenant_id, known.scopes) == (acme.id, frozenset({"*"}))
    assert await db.read(keys.authenticate, made.key, made.secret + "x") is None
    assert await db.write(keys.revoke, rival.id, made.id, now=NOW) is False
    assert await db.write(keys.revoke, acme.id, made.id, now=NOW) is True
    assert await db.write(keys.revoke, acme.id, made.id, now=NOW) is False
    assert await db.read(keys.authenticate, made.key, made.secret) is None
    assert (await db.read(keys.page, acme.id, limit=10, page=1)).rows[0].revoked_at == NOW
