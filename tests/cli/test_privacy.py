"""`tidings privacy` as its users run it: what the audit has of it."""

import contextlib
import sqlite3
from pathlib import Path

from tests.cli.command import tidings


def test_an_export_and_an_erasure_are_entered_as_the_command_lines(tmp_path: Path):
    home = tmp_path / "home"
    for words in (
        ("tenants", "create", "acme", "--sender", "hello@acme.example"),
        ("send", "--tenant", "acme", "--to", "ann@example.org", "--subject", "Hello"),
        ("privacy", "export", "ann@example.org", "--tenant", "acme", "--output", str(tmp_path / "ann.zip")),
        ("privacy", "erase", "ann@example.org", "--tenant", "acme", "--yes"),
    ):
        ended = tidings(home, *words, stdin="Hello Ann\n")
        assert ended.returncode == 0, ended.stderr
    with contextlib.closing(sqlite3.connect(home / "tidings.db")) as connection:
        entries = connection.execute(
            "SELECT author, action, operation, status, ip, subject, subject_id, contact_id FROM audit WHERE action IN ('export', 'erase') ORDER BY id"
        ).fetchall()
    assert entries == [
        ("command line", "export", "Export a contact", 200, None, "contact", 1, 1),
        ("command line", "erase", "Erase a contact", 200, None, "contact", 1, 1),
    ]
