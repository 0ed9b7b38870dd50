"""Contents are stored once, templates have versions that never change, and names are free again when a template is archived."""

import asyncio
from typing import Any

import pytest

from tidings.database import Database
from tidings.domain import templates, tenants
from tidings.domain.templates import Content, Revision, Template
from tidings.errors import Conflict, NotFound

NOW = 1_750_000_000_000


@pytest.fixture
async def tenant_id(db: Database) -> int:
    return (await db.write(tenants.create, "acme", name="Acme", sender_email="hello@acme.test", now=NOW)).id


def content(tenant_id: int, body: str = "<p>Hi</p>", **other: Any) -> Content:
    fields: dict[str, Any] = {"channel": "email", "format": "html", "subject": "Hi", "text": "Hi", "links": "[]", "variables": "[]"}
    return Content(id=0, tenant_id=tenant_id, source=body, html=body, **{**fields, **other})


def revision(tenant_id: int, body: str = "<p>Hi</p>", **other: Any) -> Revision:
    return Revision(content(tenant_id, body, **other), hash=body, created_by="key one")


async def made(db: Database, tenant_id: int, name: str = "Welcome", **other: Any) -> Template:
    return await db.write(templates.create, tenant_id, name, revision(tenant_id, **other), now=NOW)


async def test_the_same_content_is_stored_once(db: Database, tenant_id: int):
    first = await db.write(templates.store_content, content(tenant_id), "h1", now=NOW)
    again = await db.write(templates.store_content, content(tenant_id), "h1", now=NOW + 1)
    other = await db.write(templates.store_content, content(tenant_id, "<p>Bye</p>"), "h2", now=NOW)
    assert first == again != other
    stored = await db.read(templates.content, tenant_id, first)
    assert stored == Content(first, tenant_id, "email", "html", "Hi", "<p>Hi</p>", "<p>Hi</p>", "Hi", "[]", "[]")
    assert {found.id for found in await db.read(templates.contents, tenant_id, [first, other, other, 999])} == {first, other}


async def test_many_storing_the_same_content_at_once_get_one_row(db: Database, tenant_id: int):
    ids = await asyncio.gather(*(db.write(templates.store_content, content(tenant_id), "same", now=NOW) for _ in range(20)))
    assert len(set(ids)) == 1


async def test_a_content_is_nobody_elses(db: Database, tenant_id: int):
    rival = await db.write(tenants.create, "rival", name="", sender_email="a@rival.test", now=NOW)
    mine = await db.write(templates.store_content, content(tenant_id), "h", now=NOW)
    theirs = await db.write(templates.store_content, content(rival.id), "h", now=NOW)
    assert mine != theirs
    assert await db.read(templates.content, rival.id, mine) is None
    assert await db.read(templates.contents, rival.id, [mine]) == []


async def test_a_new_template_is_at_version_one(db: Database, tenant_id: int):
    template = await made(db, tenant_id)
    assert (template.name, template.version, template.channel, template.source) == ("Welcome", 1, "email", "<p>Hi</p>")
    assert await db.read(templates.get, tenant_id, template.id) == template


async def test_a_change_is_a_new_version_and_the_old_one_stays_as_it_was(db: Database, tenant_id: int):
    first = await made(db, tenant_id)
    second = await db.write(templates.add_version, first, revision(tenant_id, "<p>Hello</p>"), now=NOW + 5)
    assert (second.version, second.source, second.updated_at) == (2, "<p>Hello</p>", NOW + 5)
    kept = await db.read(templates.versions, tenant_id, first.id)
    assert [(v.version, v.source, v.created_by) for v in kept.rows] == [(2, "<p>Hello</p>", "key one"), (1, "<p>Hi</p>", "key one")]
    assert kept.total == 2


async def test_the_same_content_again_makes_no_version(db: Database, tenant_id: int):
    first = await made(db, tenant_id)
    assert (await db.write(templates.add_version, first, revision(tenant_id), now=NOW + 5)).version == 1
    assert (await db.read(templates.versions, tenant_id, first.id)).total == 1


async def test_a_change_based_on_an_older_version_is_refused(db: Database, tenant_id: int):
    first = await made(db, tenant_id)
    await db.write(templates.add_version, first, revision(tenant_id, "<p>One</p>"), now=NOW)
    with pytest.raises(Conflict, match="at version 2 now"):
        await db.write(templates.add_version, first, revision(tenant_id, "<p>Two</p>"), now=NOW)
    assert (await db.read(templates.get, tenant_id, first.id)).source == "<p>One</p>"


async def test_of_two_changes_at_once_one_wins_and_the_other_is_told(db: Database, tenant_id: int):
    first = await made(db, tenant_id)
    tries = [db.write(templates.add_version, first, revision(tenant_id, f"<p>{n}</p>"), now=NOW) for n in range(5)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Conflict"] * 4 + ["Template"]
    assert (await db.read(templates.versions, tenant_id, first.id)).total == 2


async def test_two_live_templates_cannot_share_a_name(db: Database, tenant_id: int):
    first = await made(db, tenant_id)
    with pytest.raises(Conflict, match="named Welcome"):
        await made(db, tenant_id)
    other = await made(db, tenant_id, "Goodbye")
    with pytest.raises(Conflict):
        await db.write(templates.rename, tenant_id, other.id, "Welcome", now=NOW)
    assert (await db.write(templates.rename, tenant_id, first.id, "Hello", now=NOW)).name == "Hello"


async def test_an_archived_template_frees_its_name_and_is_found_only_when_asked_for(db: Database, tenant_id: int):
    first = await made(db, tenant_id)
    await db.write(templates.archive, tenant_id, first.id, now=NOW + 1)
    assert await db.read(templates.find, tenant_id, first.id) is None
    archived = await db.read(templates.find, tenant_id, first.id, archived=True)
    assert archived is not None
    assert archived.archived_at == NOW + 1
    with pytest.raises(NotFound):
        await db.write(templates.archive, tenant_id, first.id, now=NOW)
    with pytest.raises(NotFound):
        await db.write(templates.add_version, first, revision(tenant_id, "<p>x</p>"), now=NOW)
    assert (await made(db, tenant_id)).id != first.id


async def test_a_page_has_the_newest_first_and_can_be_of_one_channel(db: Database, tenant_id: int):
    for name in ("one", "two", "three"):
        await made(db, tenant_id, name)
    sms = await made(db, tenant_id, "text", channel="sms", format="text", body="Hi there")
    found = await db.read(templates.page, tenant_id, page=1, limit=3)
    assert ([row.name for row in found.rows], found.total) == (["text", "three", "two"], 4)
    assert [row.name for row in (await db.read(templates.page, tenant_id, page=2, limit=3)).rows] == ["one"]
    assert (await db.read(templates.page, tenant_id, channel="sms")).rows == [sms]


async def test_a_template_is_nobody_elses(db: Database, tenant_id: int):
    rival = (await db.write(tenants.create, "rival", name="", sender_email="a@rival.test", now=NOW)).id
    mine = await made(db, tenant_id)
    assert (await db.read(templates.page, rival)).total == 0
    for unit in (templates.get, templates.archive):
        with pytest.raises(NotFound):
            await (
                db.write(templates.archive, rival, mine.id, now=NOW)
                if unit is templates.archive
                else db.read(templates.get, rival, mine.id)
            )
