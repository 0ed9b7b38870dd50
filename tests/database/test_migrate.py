"""Migrations: applied once, in order, by one of many; and the partitions they keep ready."""

import ast
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

import tidings
from tests.support.postgres import Postgres
from tidings.database import Tx, open_database
from tidings.database.migrate import migrate, migrations, pending
from tidings.database.postgres import MONTHS_AHEAD, ensure_partitions
from tidings.errors import Unavailable


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
    tables = [
        row[0]
        for row in lite.execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '%_trigrams%'"
        )
    ]
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


def test_without_trigrams_migrating_says_what_to_do(postgres: Postgres) -> None:
    url = postgres.create("untrusted")
    try:
        postgres.run("CREATE ROLE nobody_special LOGIN")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("GRANT CREATE ON SCHEMA public TO nobody_special")
        with pytest.raises(Unavailable, match="CREATE EXTENSION pg_trgm"):
            migrate(url.replace("postgres@", "nobody_special@"))
    finally:
        postgres.drop("untrusted")
        postgres.run("DROP ROLE nobody_special")


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


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_what_callers_named_their_conversations_becomes_conversations(
    kind: str, tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before 0003 a communication kept the caller's word; of one word, and one tenant, it is one conversation from then on."""
    url = f"sqlite:///{tmp_path}/old.db" if kind == "sqlite" else postgres.create("conversing")
    whole = migrations(kind)
    monkeypatch.setattr("tidings.database.migrate.migrations", lambda kind: whole[:2])
    assert migrate(url) == ["initial", "audit"]
    old = await open_database(url)
    # (tenant, channel, contact, key, opened, created)
    rows = [
        (1, "email", 7, "deal", 2, 10),
        (1, "email", 5, "deal", 0, 30),
        (1, "email", 6, None, 0, 40),
        (2, "sms", 8, "deal", 0, 20),
        (1, "sms", 9, "thrd_x; --'", 0, 50),
    ]
    await old.write(_communicate, rows)
    await old.write(_about_a_deal, 2)
    await old.close()
    monkeypatch.undo()
    assert migrate(url) == [name for _, name, _ in whole[2:]]
    db = await open_database(url)
    linked = await db.read(
        lambda tx: tx.rows("SELECT key, related_entity_type, related_entity_id FROM conversations WHERE tenant_id = 1 ORDER BY key")
    )
    assert linked == [("deal", "DEAL", "7"), ("thrd_x; --'", None, None)]
    conversations = await db.read(
        lambda tx: tx.rows(
            "SELECT tenant_id, key, channel, contact_id, unread, last_at, created_at, updated_at FROM conversations ORDER BY tenant_id, key"
        )
    )
    assert conversations == [
        (1, "deal", "email", 5, 0, 30, 10, 30),
        (1, "thrd_x; --'", "sms", 9, 0, 50, 50, 50),
        (2, "deal", "sms", 8, 0, 20, 20, 20),
    ]
    kept = await db.read(
        lambda tx: tx.rows(
            "SELECT c.tenant_id, c.channel, c.contact_id, v.key, c.human_opens, c.created_at, c.attached FROM communications c"
            " LEFT JOIN conversations v ON v.tenant_id = c.tenant_id AND v.id = c.conversation_id ORDER BY c.id"
        )
    )
    assert kept == [(*row, 0) for row in rows]
    await db.close()
    if kind == "postgres":
        postgres.drop("conversing")


def _about_a_deal(tx: Tx, communication_id: int) -> None:
    tx.run("UPDATE communications SET related_entity_type = 'DEAL', related_entity_id = '7' WHERE id = :id", id=communication_id)


def _communicate(tx: Tx, rows: list[tuple[int, str, int, str | None, int, int]]) -> None:
    tx.run(
        "INSERT INTO communications (tenant_id, channel, state, lane, contact_id, content_id, type, address, conversation_id, track_opens, track_links,"
        " open_count, created_at, updated_at) SELECT tenant_id, channel, 'failed', 0, contact_id, 1, 'OFFERTE', 'a@b.example', key, 1, 1, opens, at, at"
        " FROM :rows(tenant_id bigint, channel text, contact_id bigint, key text, opens integer, at bigint) r",
        rows=rows,
    )


def test_no_statement_has_a_number_that_only_postgresql_16_can_read() -> None:
    folder = Path(tidings.__file__).parent
    found = [
        node.value
        for file in folder.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.match(r"(SELECT|INSERT|UPDATE|DELETE|WITH|CREATE) ", node.value)
    ]
    found += [sql for _, _, sql in migrations("postgres")]
    assert [sql for sql in found if re.search(r"\b\d+_\d", sql)] == []
    assert len(found) > 100
