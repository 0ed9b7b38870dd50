"""`tidings contacts import` killed in the middle, and begun again."""

import json
import sqlite3
import subprocess
import time
from pathlib import Path

from tests.cli.command import arguments, environment, tidings

ROWS = 60_000
PATIENCE = 30.0


def stored(home: Path) -> int:
    """How many contacts there are so far."""
    with sqlite3.connect(home / "tidings.db", timeout=5) as connection:
        (count,) = connection.execute("SELECT count(*) FROM contacts").fetchone()
    connection.close()
    return count


def test_a_killed_import_is_taken_up_by_the_same_command(tmp_path: Path) -> None:
    home, path = tmp_path / "home", tmp_path / "many.csv"
    rows = (f"c{n}@example.com,{n}" if n % 100 else f"bad {n},{n}" for n in range(1, ROWS + 1))
    path.write_text("email,number\n" + "\n".join(rows) + "\n")
    assert tidings(home, "tenants", "create", "acme").returncode == 0
    command = ("contacts", "import", str(path), "--tenant", "acme", "--list", "Many", "--json")
    running = subprocess.Popen(arguments(*command), env=environment(home), cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while stored(home) == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        running.kill()
        running.wait()
    before = stored(home)
    assert 0 < before < ROWS
    again = tidings(home, *command)
    assert again.returncode == 0, again.stderr
    outcome = json.loads(again.stdout)
    assert outcome["resumed"]
    assert (outcome["total"], outcome["created"], outcome["updated"], outcome["rejected"]) == (ROWS, ROWS - ROWS // 100, 0, ROWS // 100)
    assert stored(home) == ROWS - ROWS // 100
    assert len(Path(outcome["rejects_file"]).read_text().splitlines()) == ROWS // 100 + 1
    exported = tidings(home, "contacts", "export", "--tenant", "acme", "--list", "Many")
    assert len(exported.stdout.splitlines()) == ROWS - ROWS // 100 + 1


def test_wrong_usage_is_two_and_a_file_that_is_none_is_one(tmp_path: Path) -> None:
    home, path = tmp_path / "home", tmp_path / "sheet.csv"
    path.write_bytes(b"PK\x03\x04rest")
    tidings(home, "tenants", "create", "acme")
    missing = tidings(home, "contacts", "import", str(tmp_path / "none.csv"), "--tenant", "acme")
    strange = tidings(home, "contacts", "import", str(path), "--tenant", "acme", "--delimiter", "x")
    foreign = tidings(home, "contacts", "import", str(path), "--tenant", "acme")
    assert (missing.returncode, strange.returncode, foreign.returncode) == (2, 2, 1)
    assert foreign.stderr == 'This is a spreadsheet or another ZIP file, not CSV: save it as "CSV UTF-8" and import that.\n'
