"""Migrations: applied once, in order, by one of many; and the partitions they keep ready."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg

from tests.support.postgres import Postgres
from tidings.database import open_database
from tidings.database.migrate import migrate, migrations, pending
from tidings.database.postgres import MONTHS_AHEAD, ensure_partitions


def test_a_fresh_file_is_brought_up_to_date_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/deep/er/tidings.db"
    names = [name for _, name, _ in migrations("sqlite")]
    assert pending(url) == names
    assert migrate(url) == names
    assert migrate(url) == []
    assert pending(url) == []


def test_many_migrating_at_once_apply_each_once(postgres: Postgres) -> None:
    url = postgres.create("migrating")
    try:
        with ThreadPoolExecutor(4) as threads:
            applied = [name for names in threads.map(migrate, [url] * 4) for name in names]
        assert sorted(applied) == sorted(name for _, name, _ in migrations("postgres"))
    finally:
        postgres.drop("migrating")


def test_both_databases_have_the_same_tables_and_columns(tmp_path: Path, postgres_url: str) -> None:
    import sqlite3

    path = tmp_path / "x.db"
    migrate(f"sqlite:///{path}")
    lite = sqlite3.connect(path)
    tables = [row[0] for row in lite.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")]
    here = {table: {row[1] for row in lite.execute(f"PRAGMA table_info({table})")} for table in tables}
    lite.close()
    with psycopg.connect(postgres_url) as connection:
        rows = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
            " AND table_name NOT LIKE 'interactions_%' AND table_name NOT LIKE '%_readable'"
        ).fetchall()
    there: dict[str, set[str]] = {}
    for table, column in rows:
        there.setdefault(table, set()).add(column)
    assert here == there


async def test_interactions_find_their_month_and_there_is_room_ahead(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        ensure_partitions(connection, 1_800_000_000_000)
        ensure_partitions(connection, 1_800_000_000_000)
        rows = connection.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'interactions'::regclass").fetchall()
        ahead = [f"interactions_2027_{month:02}" for month in range(1, MONTHS_AHEAD + 2)]
        assert {name for (name,) in rows} >= {"interactions_other", *ahead}
        connection.execute(
            "INSERT INTO interactions (tenant_id, communication_id, contact_id, kind, at) VALUES (1, 1, 1, 'sent', 1800000000000)"
        )
        where = connection.execute("SELECT tableoid::regclass::text FROM interactions").fetchone()
        assert where == ("interactions_2027_01",)
    db = await open_database(postgres_url)
    await db.maintain(1_830_000_000_000)
    await db.close()
