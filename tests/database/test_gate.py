"""The gate: units commit whole or not at all, alone or in company, and a database that cannot is Unavailable, never half-written."""

import asyncio
import sqlite3
from typing import Any

import pytest

from tidings.database import Batcher, Database, Tx, open_database
from tidings.errors import Conflict, Invalid, Unavailable


def add(tx: Tx, slug: str) -> int:
    return tx.value(
        "INSERT INTO tenants (slug, name, sender_email, created_at, updated_at) VALUES (:slug, :slug, 'a@example.com', 1, 1) RETURNING id",
        slug=slug,
    )


def slugs(tx: Tx) -> list[str]:
    return [row[0] for row in tx.rows("SELECT slug FROM tenants ORDER BY slug")]


def fail_after_adding(tx: Tx, slug: str) -> None:
    add(tx, slug)
    raise Conflict("changed my mind")


async def test_units_waiting_together_stand_and_fall_alone(db: Database) -> None:
    results = await asyncio.gather(
        *(db.write(add, f"good{number}") for number in range(5)),
        db.write(fail_after_adding, "bad"),
        db.write(add, "last"),
        return_exceptions=True,
    )
    assert [type(result) for result in results].count(Conflict) == 1
    assert await db.read(slugs) == ["good0", "good1", "good2", "good3", "good4", "last"]


async def test_a_reader_of_sqlite_cannot_write(sqlite_url: str) -> None:
    db = await open_database(sqlite_url)
    try:
        with pytest.raises((Unavailable, sqlite3.OperationalError)):
            await db.read(add, "sneaky")
        assert await db.read(slugs) == []
    finally:
        await db.close()


async def test_a_batch_is_a_table_whatever_is_in_it(db: Database) -> None:
    given = [(1, "it's", None), (2**60, 'ünï ☃ \\ " {}', 3), (-5, "", 0)]
    seen = await db.read(
        lambda tx: tx.rows("SELECT r.a, r.b, r.c FROM :given(a bigint, b text, c integer) r ORDER BY r.b DESC, r.a", given=given)
    )
    assert sorted(seen, key=str) == sorted(given, key=str)
    assert await db.read(lambda tx: tx.rows("SELECT a FROM :given(a bigint) r", given=[])) == []


async def test_a_list_may_be_asked_for_twice_in_one_statement(db: Database) -> None:
    def both(tx: Tx) -> list[tuple[Any, ...]]:
        return tx.rows(
            "SELECT id FROM :rows(id bigint) a WHERE id IN :ids[bigint] UNION ALL SELECT -id FROM :rows(id bigint) b WHERE id IN :ids[bigint] ORDER BY id",
            rows=[(1,), (2,), (3,)],
            ids=[1, 3],
        )

    assert await db.read(both) == [(-3,), (-1,), (1,), (3,)]


async def test_bells_ring_after_the_commit_and_not_for_what_was_undone(db: Database) -> None:
    bell = db.bell("due")

    def ring(tx: Tx, fails: bool) -> None:
        tx.notify("due")
        if fails:
            raise Conflict("no")

    with pytest.raises(Conflict):
        await db.write(ring, True)
    assert not bell.is_set()
    await db.write(ring, False)
    await asyncio.wait_for(bell.wait(), 5)


async def test_a_bell_is_heard_in_another_process_of_the_same_postgresql(postgres_url: str) -> None:
    here, there = await open_database(postgres_url), await open_database(postgres_url)
    try:
        bell = there.bell("due")
        async with asyncio.timeout(10):
            while not bell.is_set():  # the listener may still be connecting
                await here.write(lambda tx: tx.notify("due"))
                await asyncio.sleep(0.01)
    finally:
        await here.close()
        await there.close()


async def test_a_full_disk_is_unavailable_and_leaves_nothing_behind(sqlite_url: str) -> None:
    db = await open_database(sqlite_url)
    try:
        await db.write(add, "before")
        pages = await db.write(lambda tx: tx.value("PRAGMA page_count"))
        await db.write(lambda tx: tx.value(f"PRAGMA max_page_count = {pages}"))  # type: ignore[arg-type]

        def much(tx: Tx) -> None:
            add(tx, "half")
            tx.run("UPDATE tenants SET name = :name", name="x" * 5_000_000)

        results = await asyncio.gather(db.write(add, "a"), db.write(much), db.write(add, "b"), return_exceptions=True)
        assert any(isinstance(result, Unavailable) for result in results)
        stored = await db.read(slugs)
        assert "half" not in stored
        # whoever was told it is stored finds it stored, and nobody else does
        assert stored == sorted(["before", *(slug for slug, result in zip("a-b", results, strict=True) if isinstance(result, int))])
        await db.write(lambda tx: tx.value("PRAGMA max_page_count = 1000000"))
        await db.write(add, "after")
        assert "after" in await db.read(slugs)
    finally:
        await db.close()


async def test_a_locked_database_is_unavailable_and_works_again_when_free(sqlite_url: str) -> None:
    db = await open_database(sqlite_url)
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    try:
        await db.write(lambda tx: tx.value("PRAGMA busy_timeout = 20"))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"):
            await db.write(add, "one")
        other.execute("ROLLBACK")
        await db.write(add, "one")
        assert await db.read(slugs) == ["one"]
    finally:
        other.close()
        await db.close()


async def test_what_is_batched_is_written_together_and_each_is_told(db: Database) -> None:
    sizes: list[int] = []

    def store(tx: Tx, items: list[str]) -> list[str]:
        sizes.append(len(items))
        for item in items:
            add(tx, item)
        return [item.upper() for item in items]

    batcher = Batcher(db, store)
    told = await asyncio.gather(*(batcher.add(f"s{number:03}") for number in range(100)))
    assert told == [f"S{number:03}" for number in range(100)]
    assert len(await db.read(slugs)) == sum(sizes) == 100
    assert len(sizes) < 10
    with pytest.raises(Conflict, match="There is one like this already"):
        await batcher.add("s001")
    await batcher.add("fresh")


async def test_an_address_of_another_kind_is_refused_with_a_sentence() -> None:
    with pytest.raises(Invalid, match="must begin with"):
        await open_database("mysql://x")
    with pytest.raises(Unavailable, match="Cannot reach PostgreSQL"):
        await open_database("postgresql://nobody@127.0.0.1:1/none?connect_timeout=2")
