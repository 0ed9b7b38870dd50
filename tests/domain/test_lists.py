"""Recipient lists: names, members, and what is refused."""

import pytest

from tidings import ids
from tidings.database import Database
from tidings.domain import contacts, lists
from tidings.errors import Conflict, Invalid, NotFound

NOON = 1_750_248_000_000
ACME, RIVAL = 1, 2


async def people(db: Database, count: int, tenant_id: int = ACME) -> list[int]:
    rows = [contacts.Row(f"c{number}@example.com", f"c{number}@example.com", None) for number in range(count)]
    return sorted((await db.write(contacts.load, tenant_id, rows, now=NOON)).contact_ids)


async def test_members_are_added_once_listed_and_removed(db: Database) -> None:
    some = await people(db, 3)
    group = await db.write(lists.create, ACME, "News", now=NOON)
    assert await db.write(lists.add, ACME, group.id, some[:2], now=NOON) == 2
    assert await db.write(lists.add, ACME, group.id, some, now=NOON) == 1
    found = await db.read(lists.members, ACME, group.id, limit=2, page=1)
    assert ([contact.id for contact in found.rows], found.total) == (some[:0:-1], 3)
    everybody = contacts.Filters(list_id=group.id)
    assert [contact.id for contact in await db.read(contacts.after, ACME, everybody, after_id=some[0], limit=9)] == some[1:]
    assert await db.write(lists.remove, ACME, group.id, some[:2]) == 2
    assert await db.write(lists.remove, ACME, group.id, some[:2]) == 0
    (shown,) = (await db.read(lists.page, ACME, limit=9, page=1)).rows
    assert (shown.name, shown.members) == ("News", 1)


async def test_unknown_contacts_are_named_and_nobody_is_added(db: Database) -> None:
    some, others = await people(db, 1), await people(db, 1, RIVAL)
    group = await db.write(lists.create, ACME, "News", now=NOON)
    with pytest.raises(Invalid, match=ids.spell("contact", others[0])):
        await db.write(lists.add, ACME, group.id, [*some, *others], now=NOON)
    assert (await db.read(lists.members, ACME, group.id, limit=9, page=1)).total == 0


async def test_a_name_is_given_once_a_tenant(db: Database) -> None:
    group = await db.write(lists.create, ACME, "News", now=NOON)
    other = await db.write(lists.create, ACME, "Other", now=NOON)
    await db.write(lists.create, RIVAL, "News", now=NOON)
    with pytest.raises(Conflict, match=ids.spell("list", group.id)):
        await db.write(lists.create, ACME, "News", now=NOON)
    with pytest.raises(Conflict):
        await db.write(lists.rename, ACME, other.id, "News", now=NOON)
    assert (await db.write(lists.rename, ACME, group.id, "Novelties", now=NOON + 1)).name == "Novelties"
    assert (await db.write(lists.ensure, ACME, "Other", now=NOON)).id == other.id


async def test_another_tenants_list_is_no_list(db: Database) -> None:
    group = await db.write(lists.create, ACME, "News", now=NOON)
    with pytest.raises(NotFound):
        await db.write(lists.rename, RIVAL, group.id, "Mine", now=NOON)
    with pytest.raises(NotFound):
        await db.write(lists.add, RIVAL, group.id, [], now=NOON)
    with pytest.raises(NotFound):
        await db.read(lists.members, RIVAL, group.id, limit=9, page=1)
    assert not await db.write(lists.delete, RIVAL, group.id)
    assert await db.write(lists.delete, ACME, group.id)
    assert await db.read(lists.get, ACME, group.id) is None
    assert await db.write(lists.join, ACME, group.id, [1], now=NOON) == 0
