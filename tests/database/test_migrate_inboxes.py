"""0009 makes the table of inboxes anew on SQLite: everything in it stays, no id is given twice, and a further kind is taken."""

from pathlib import Path

import pytest

from tests.support.postgres import Postgres
from tidings.database import Tx, open_database
from tidings.database.migrate import migrate, migrations
from tidings.domain import inboxes
from tidings.domain.inboxes import New
from tidings.errors import Conflict

BEFORE = 8
COLUMNS = "id, tenant_id, kind, name, address, token, settings, cursor, due_at, error, failing_since, last_at, created_at, updated_at"


def _furnish(tx: Tx) -> None:
    tx.run("INSERT INTO tenants (id, slug, name, sender_email, created_at, updated_at) VALUES (7, 'acme', 'Acme', 'hello@acme.test', 1, 1)")
    for kind, address, token in (
        ("imap", None, None),
        ("address", "help@acme.test", None),
        ("mailgun", None, "t" * 43),
        ("resend", None, "u"),
    ):
        tx.run(
            "INSERT INTO inboxes (tenant_id, kind, name, address, token, settings, cursor, error, failing_since, created_at, updated_at)"
            " VALUES (7, :kind, :kind, :address, :token, 'v1.x', '{}', 'wrong', 5, 2, 3)",
            kind=kind,
            address=address,
            token=token,
        )
    tx.run("DELETE FROM inboxes WHERE kind = 'resend'")


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_inboxes_outlast_the_upgrade(kind: str, tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch):
    url = f"sqlite:///{tmp_path}/old.db" if kind == "sqlite" else postgres.create("boxes")
    whole = migrations(kind)
    monkeypatch.setattr("tidings.database.migrate.migrations", lambda kind: whole[:BEFORE])
    migrate(url)
    old = await open_database(url)
    await old.write(_furnish)
    known = await old.read(lambda tx: tx.rows(f"SELECT {COLUMNS} FROM inboxes ORDER BY id"))
    await old.close()
    assert len(known) == 3
    monkeypatch.undo()
    assert migrate(url)[0] == "heard"
    db = await open_database(url)
    assert await db.read(lambda tx: tx.rows(f"SELECT {COLUMNS} FROM inboxes ORDER BY id")) == known
    made = await db.write(inboxes.create, 7, New("ses", "SES", token="v" * 43), now=9)
    assert made.id == known[-1][0] + 2
    with pytest.raises(Conflict):
        await db.write(inboxes.create, 7, New("ses", "imap", token="w" * 43), now=9)
    await db.close()
    if kind == "postgres":
        postgres.drop("boxes")
