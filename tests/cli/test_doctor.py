"""What `tidings doctor` finds, and what it says to do."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink

from tests.cli.command import free_port, tidings


def findings(home: Path, settings: Mapping[str, str]) -> tuple[int, dict[str, dict[str, Any]]]:
    """(exit code, finding by check)."""
    ended = tidings(home, "doctor", "--json", settings={"TIDINGS_PUBLIC_URL": f"http://127.0.0.1:{free_port()}", **settings})
    return ended.returncode, {finding["check"]: finding for finding in json.loads(ended.stdout)}


def test_a_fresh_start_has_nothing_wrong_and_is_left_untouched(tmp_path: Path):
    code, found = findings(tmp_path / "home", {})
    assert code == 0
    assert {name: finding["state"] for name, finding in found.items() if finding["state"] != "ok"} == {"Public URL": "warning"}
    assert not (tmp_path / "home").exists()


def test_a_mail_server_that_lets_us_in_is_found_well_and_gets_no_mail(tmp_path: Path):
    port = free_port()
    server = Controller(Sink(), hostname="127.0.0.1", port=port)
    server.start()
    try:
        code, found = findings(tmp_path / "home", {"TIDINGS_SMTP_URL": f"smtp://127.0.0.1:{port}", "TIDINGS_SENDER": "me@acme.example"})
    finally:
        server.stop()
    assert found["Mail"]["state"] == "ok"
    assert found["Mail"]["found"].startswith(f"127.0.0.1:{port} lets us in")
    assert code == 0


@pytest.mark.parametrize(
    ("settings", "check", "told"),
    [
        ({"TIDINGS_SMTP_URL": "smtp://127.0.0.1:1"}, "Mail", "cannot connect to 127.0.0.1:1"),
        ({"TIDINGS_SMTP_URL": "smtp://127.0.0.1:1?tls=perhaps"}, "Mail", "must be one of"),
        ({"TIDINGS_STORAGE_URL": "s3://key:hush@files?endpoint=http://127.0.0.1:1&region=x"}, "Storage", "cannot be reached"),
        ({"TIDINGS_STORAGE_URL": "s3://key:hush@files?regoin=x"}, "Storage", "unknown option 'regoin'"),
        ({"TIDINGS_STORAGE_URL": "file:///proc/blobs"}, "Storage", "cannot be reached"),
        ({"TIDINGS_DATABASE_URL": "postgresql://tidings:hush@127.0.0.1:1/none"}, "Database", "Cannot reach PostgreSQL"),
    ],
)
def test_what_does_not_work_fails_and_says_what_to_do(settings: dict[str, str], check: str, told: str, tmp_path: Path):
    code, found = findings(tmp_path / "home", settings)
    assert code == 1
    assert found[check]["state"] == "failure"
    assert told in found[check]["found"]
    assert found[check]["advice"]
    assert "hush" not in json.dumps(found)


def test_postgresql_is_asked_for_its_version_and_its_clock(postgres_url: str, tmp_path: Path):
    code, found = findings(tmp_path / "home", {"TIDINGS_DATABASE_URL": postgres_url})
    assert code == 0
    assert found["Database"]["found"].startswith("PostgreSQL ")
    assert found["Database clock"]["state"] == found["Schema"]["state"] == "ok"
    assert found["Secret key"]["state"] == "warning"


def test_storage_is_written_and_left_as_it_was(tmp_path: Path):
    code, found = findings(tmp_path / "home", {"TIDINGS_STORAGE_URL": f"file://{tmp_path}/blobs"})
    assert (code, found["Storage"]["found"]) == (0, f"file://{tmp_path}/blobs can be written")
    assert [entry for entry in (tmp_path / "blobs").rglob("*") if entry.is_file()] == []


def test_files_in_the_data_folder_of_one_of_several_machines_are_warned_of(postgres_url: str, tmp_path: Path):
    (tmp_path / "home").mkdir()
    found = findings(tmp_path / "home", {"TIDINGS_DATABASE_URL": postgres_url})[1]["Storage"]
    assert (found["state"], "this machine alone" in found["found"]) == ("warning", True)


def test_a_secret_that_others_can_read_is_warned_of(tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "secret.key").write_text("0" * 64)
    (home / "secret.key").chmod(0o644)
    assert findings(home, {})[1]["Secret key"]["advice"] == f"chmod 600 {home / 'secret.key'}"


def test_people_get_a_table(tmp_path: Path):
    shown = tidings(tmp_path / "home", "doctor").stdout
    assert all(name in shown for name in ("Python", "Data folder", "Database", "Mail", "Public URL", "Clock", "what to do"))
