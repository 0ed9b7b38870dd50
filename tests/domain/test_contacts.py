"""Contacts one at a time: what is kept, who is the same person, what a change leaves alone."""

from typing import Any

import pytest

from tidings import ids
from tidings.database import Database, Tx
from tidings.domain import contacts, lists
from tidings.domain.contacts import Contact, Fields, Filters
from tidings.errors import Conflict, Invalid, NotFound

NOON = 1_750_248_000_000
ACME, RIVAL = 1, 2


async def made(db: Database, tenant_id: int = ACME, now: int = NOON, **fields: Any) -> Contact:
    return await db.write(contacts.create, tenant_id, contacts.checked(Fields(**fields)), now=now)


async def found(db: Database, filters: Filters, tenant_id: int = ACME, limit: int = 25, page: int = 1) -> list[str | None]:
    rows = (await db.read(contacts.page, tenant_id, filters, limit=limit, page=page)).rows
    return [row.email or row.phone for row in rows]


async def test_a_contact_is_kept_in_its_one_form(db: Database) -> None:
    contact = await made(
        db,
        email=" Ann@EXAMPLE.com",
        phone="+39 333 123 4567",
        first_name=" Ann ",
        locale="PT_br",
        timezone="europe/rome",
        attributes={"plan": "gold", "age": 41, "tags": ["a"]},
        email_consent="granted",
    )
    assert (contact.email, contact.email_key, contact.phone) == ("Ann@example.com", "ann@example.com", "+393331234567")
    assert (contact.first_name, contact.locale, contact.timezone) == ("Ann", "pt-BR", "Europe/Rome")
    assert (contact.email_granted_at, contact.email_consent(), contact.sms_consent()) == (NOON, "granted", None)
    assert await db.read(contacts.get, ACME, contact.id) == contact
    assert await db.read(contacts.get, RIVAL, contact.id) is None


async def test_the_same_address_in_another_case_is_the_same_contact(db: Database) -> None:
    contact = await made(db, email="ann@example.com")
    with pytest.raises(Conflict, match=ids.spell("contact", contact.id)):
        await made(db, email="ANN@Example.com")
    await made(db, tenant_id=RIVAL, email="ann@example.com")


async def test_a_phone_names_a_person_only_without_an_address(db: Database) -> None:
    await made(db, email="ann@example.com", phone="+393331234567")
    await made(db, email="bob@example.com", phone="+393331234567")
    alone = await made(db, phone="+393331234567")
    with pytest.raises(Conflict):
        await made(db, phone="00393331234567")
    by_phone = await db.read(contacts.find_by_phone, ACME, "+393331234567")
    assert by_phone == alone


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"email": "ann@"}, "email"),
        ({"email": "ann@example.com\r\nBcc: all@example.com"}, "email"),
        ({"email": "a@example.com", "phone": "12"}, "phone"),
        ({"email": "a@example.com", "first_name": "Ann\r\nBcc: x"}, "first_name"),
        ({"email": "a@example.com", "last_name": "x" * 201}, "last_name"),
        ({"email": "a@example.com", "timezone": "Mars/Olympus"}, "timezone"),
        ({"email": "a@example.com", "locale": "english please"}, "locale"),
        ({"email": "a@example.com", "attributes": {"x": "y" * 70_000}}, "attributes"),
        ({"email": "a@example.com", "attributes": {"x" * 101: 1}}, "attributes"),
        ({"email": "a@example.com", "attributes": {"x": "a\0b"}}, "attributes"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        contacts.checked(Fields(**fields))
    assert list(refused.value.fields) == [field]


async def test_every_wrong_field_is_named_at_once(db: Database) -> None:
    with pytest.raises(Invalid) as refused:
        contacts.checked(Fields(email="x", phone="y", timezone="z"))
    assert set(refused.value.fields) == {"email", "phone", "timezone"}
    with pytest.raises(Invalid, match="needs an email or a phone"):
        await made(db, first_name="Nobody")


async def test_a_change_leaves_alone_what_it_does_not_name(db: Database) -> None:
    contact = await made(db, email="ann@example.com", first_name="Ann", attributes={"plan": "gold", "age": 41}, sms_consent="denied")
    changed = await db.write(
        contacts.update,
        ACME,
        contact.id,
        contacts.checked(Fields(last_name="Bell", attributes={"plan": None, "city": "Oslo"}, email_consent="granted")),
        now=NOON + 5,
    )
    assert (changed.first_name, changed.last_name, changed.email) == ("Ann", "Bell", "ann@example.com")
    assert changed.attributes.replace(" ", "") in ('{"age":41,"city":"Oslo"}', '{"city":"Oslo","age":41}')
    assert (changed.email_granted_at, changed.sms_denied_at, changed.created_at, changed.updated_at) == (NOON + 5, NOON, NOON, NOON + 5)
    again = await db.write(contacts.update, ACME, contact.id, Fields(email_consent="granted", first_name=None), now=NOON + 9)
    assert (again.email_granted_at, again.first_name) == (NOON + 5, "")


async def test_a_change_cannot_take_the_last_address_or_anothers(db: Database) -> None:
    ann = await made(db, email="ann@example.com")
    await made(db, email="bob@example.com")
    with pytest.raises(Conflict):
        await db.write(contacts.update, ACME, ann.id, Fields(email="BOB@example.com"), now=NOON)
    with pytest.raises(Invalid):
        await db.write(contacts.update, ACME, ann.id, Fields(email=None), now=NOON)
    with pytest.raises(NotFound):
        await db.write(contacts.update, RIVAL, ann.id, Fields(first_name="Eve"), now=NOON)
    assert await db.read(contacts.get, ACME, ann.id) == ann


async def test_upsert_makes_once_and_changes_afterwards(db: Database) -> None:
    first, made_first = await db.write(contacts.upsert, ACME, Fields(email="ann@example.com", first_name="Ann"), now=NOON)
    second, made_second = await db.write(contacts.upsert, ACME, Fields(email="ANN@example.com", company="Bell"), now=NOON)
    assert (made_first, made_second, first.id) == (True, False, second.id)
    assert (second.first_name, second.company) == ("Ann", "Bell")
    alone, _ = await db.write(contacts.upsert, ACME, Fields(phone="+393331234567"), now=NOON)
    same, made_third = await db.write(contacts.upsert, ACME, Fields(phone="+393331234567", first_name="Carl"), now=NOON)
    assert (made_third, same.id, same.first_name) == (False, alone.id, "Carl")


async def test_a_deleted_contact_is_gone_from_its_lists(db: Database) -> None:
    ann = await made(db, email="ann@example.com")
    group = await db.write(lists.create, ACME, "All", now=NOON)
    await db.write(lists.add, ACME, group.id, [ann.id], now=NOON)
    assert not await db.write(contacts.delete, RIVAL, ann.id)
    assert await db.write(contacts.delete, ACME, ann.id)
    assert (await db.read(lists.members, ACME, group.id, limit=9, page=1)).total == 0
    assert await db.read(contacts.get, ACME, ann.id) is None


async def test_pages_are_newest_first_and_filters_are_literal(db: Database) -> None:
    await made(db, email="ann_1@example.com", first_name="Ann", last_name="O'Hara", attributes={"plan": "gold", "age": 41, "vip": True})
    await made(db, email="annx1@example.com", company="100% Fun", attributes={"plan": "tin", "age": 4}, now=NOON + 1000)
    await made(db, phone="+393331234567", first_name="Carl", now=NOON + 2000)
    await made(db, tenant_id=RIVAL, email="ann_1@example.com")
    assert await found(db, Filters()) == ["+393331234567", "annx1@example.com", "ann_1@example.com"]
    assert await found(db, Filters(), limit=2, page=2) == ["ann_1@example.com"]
    assert await found(db, Filters(), limit=2, page=9) == []
    assert await found(db, Filters(search="ANN_1")) == ["ann_1@example.com"]
    assert await found(db, Filters(search="0% f")) == ["annx1@example.com"]
    assert await found(db, Filters(search="ann o'h")) == ["ann_1@example.com"]
    assert await found(db, Filters(search="' OR 1=1 --")) == []
    assert await found(db, Filters(email="ANN_1@example.com")) == ["ann_1@example.com"]
    assert await found(db, Filters(phone="+393331234567")) == ["+393331234567"]
    assert await found(db, Filters(created_since=NOON + 1000)) == ["+393331234567", "annx1@example.com"]
    assert await found(db, Filters(attributes=(("plan", "gold"),))) == ["ann_1@example.com"]
    assert await found(db, Filters(attributes=(("age", "41"), ("vip", "true")))) == ["ann_1@example.com"]
    assert await found(db, Filters(attributes=(("age", "41"), ("plan", "tin")))) == []
    assert await found(db, Filters(attributes=(("nothing", ""),))) == []
    with pytest.raises(Invalid):
        await found(db, Filters(attributes=(('$."x', "1"),)))
    assert (await db.read(contacts.page, ACME, Filters(), limit=1, page=1)).total == 3


async def test_a_batch_makes_and_updates_in_one_go(db: Database) -> None:
    Row = contacts.Row  # noqa: N806
    await made(db, email="ann@example.com", first_name="Ann", attributes={"plan": "gold"}, email_consent="denied")
    loaded = await db.write(
        contacts.load,
        ACME,
        [
            Row("Ann@example.com", "ann@example.com", "+393331234567", last_name="Bell", attributes='{"city":"Oslo"}'),
            Row("bob@example.com", "bob@example.com", None, first_name="Bob", email_consent="granted"),
            Row("bob@example.com", "bob@example.com", None, company="Fun"),
            Row(None, None, "+393331234568", first_name="Carl"),
        ],
        now=NOON + 7,
    )
    assert (loaded.created, len(set(loaded.contact_ids)), len(loaded.contact_ids)) == (2, 3, 3)
    ann = await db.read(contacts.find_by_email, ACME, "ann@example.com")
    bob = await db.read(contacts.find_by_email, ACME, "bob@example.com")
    assert ann is not None
    assert bob is not None
    assert (ann.email, ann.first_name, ann.last_name, ann.phone, ann.email_consent()) == (
        "ann@example.com",
        "Ann",
        "Bell",
        "+393331234567",
        "denied",
    )
    assert sorted(ann.attributes.replace(" ", "").strip("{}").split(",")) == ['"city":"Oslo"', '"plan":"gold"']
    assert (bob.first_name, bob.company, bob.email_granted_at) == ("Bob", "Fun", NOON + 7)


async def test_an_export_is_read_in_steps_by_id(db: Database) -> None:
    for number in range(5):
        await made(db, email=f"c{number}@example.com")

    def all_in_steps(tx: Tx) -> list[list[str | None]]:
        steps: list[list[str | None]] = []
        after_id = 0
        while step := contacts.after(tx, ACME, Filters(), after_id=after_id, limit=2):
            steps.append([contact.email for contact in step])
            after_id = step[-1].id
        return steps

    assert await db.read(all_in_steps) == [["c0@example.com", "c1@example.com"], ["c2@example.com", "c3@example.com"], ["c4@example.com"]]


def test_cells_a_spreadsheet_would_run_are_made_harmless_and_phones_stay() -> None:
    assert [contacts.neutral(cell) for cell in ("=1+1", "+cmd()", "-x", "@sum", "\tx", "Ann", "+39 333 1", "-5", "+49 (0)30/1")] == [
        *("'=1+1", "'+cmd()", "'-x", "'@sum", "'\tx", "Ann", "+39 333 1", "-5", "+49 (0)30/1"),
    ]
