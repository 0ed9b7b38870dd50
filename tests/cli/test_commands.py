"""The commands of a shell session: what they print, what they leave behind, and how they end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import arguments, audited, environment, tidings
from tests.shape.project import ROOT
from tidings.database.migrate import migrations

TOO_HEAVY = {"litestar", "granian", "psycopg", "structlog", "minijinja", "phonenumbers", "httpx2", "uvloop", "rich", "asyncio"}
"""Libraries that a command which needs none of them must not wait for."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the tenant `acme` in it."""
    folder = tmp_path_factory.mktemp("session") / "home"
    made = tidings(folder, "tenants", "create", "acme", "--sender", "hello@acme.example")
    assert made.returncode == 0, made.stderr
    return folder


def failure(ended: subprocess.CompletedProcess[str]) -> str:
    """The one sentence of a command that failed."""
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert ended.stderr.count("\n") == 1, ended.stderr
    return ended.stderr.strip()


def test_the_first_command_makes_a_data_folder_that_is_its_owners_alone(home: Path):
    assert home.stat().st_mode & 0o777 == 0o700
    assert (home / "secret.key").stat().st_mode & 0o777 == 0o600
    assert (home / "tidings.db").exists()


def test_a_key_is_made_as_json_listed_without_its_secret_and_revoked_once(home: Path):
    made = json.loads(tidings(home, "keys", "create", "--tenant", "acme", "--scope", "contacts:read", "--json").stdout)
    assert set(made) == {"key", "secret", "token"}
    assert made["token"] == f"{made['key']}.{made['secret']}"
    listed = tidings(home, "keys", "list", "--tenant", "acme", "--json").stdout
    assert made["key"] in listed
    assert made["secret"] not in listed
    assert tidings(home, "keys", "revoke", made["token"]).stdout == "Revoked.\n"
    assert failure(tidings(home, "keys", "revoke", made["key"])) == f"There is no key {made['key']}, or it was revoked before."
    assert audited(home)[-2:] == [("Make an API key", "key"), ("Revoke an API key", "key")]


def test_a_sender_is_allowed_listed_and_allowed_no_longer(home: Path):
    assert tidings(home, "senders", "add", "Example.COM", "--tenant", "acme").stdout == "acme may write as anybody at example.com.\n"
    made = json.loads(tidings(home, "senders", "add", "Ann@bücher.example", "--tenant", "acme", "--json").stdout)
    assert made["address"] == "ann@xn--bcher-kva.example"
    assert failure(tidings(home, "senders", "add", "example.com", "--tenant", "acme")).startswith("example.com is allowed already")
    assert failure(tidings(home, "senders", "add", "nowhere", "--tenant", "acme")).startswith("address is neither a domain nor an email")
    listed = json.loads(tidings(home, "senders", "list", "--tenant", "acme", "--json").stdout)
    assert [row["address"] for row in listed] == ["ann@xn--bcher-kva.example", "example.com"]
    assert "whole domain" in tidings(home, "senders", "list", "--tenant", "acme").stdout
    assert tidings(home, "senders", "remove", "example.com", "--tenant", "acme").stdout == "Removed.\n"
    assert failure(tidings(home, "senders", "remove", "example.com", "--tenant", "acme")) == "example.com was not allowed."
    # what was refused is not among them
    assert audited(home)[-3:] == [("Allow a sender", "sender"), ("Allow a sender", "sender"), ("Take back a sender", "sender")]


def test_failures_are_one_sentence_and_end_with_one(home: Path):
    assert failure(tidings(home, "tenants", "create", "acme")) == "A tenant named acme exists already"
    assert failure(tidings(home, "keys", "create", "--tenant", "nobody")).startswith("There is no tenant 'nobody'")
    assert failure(tidings(home, "keys", "create", "--tenant", "acme", "--scope", "nope")).startswith("Unknown scope: scopes: nope is not")
    assert failure(tidings(home, "tenants", "list", settings={"TIDINGS_HOEM": "x"})) == (
        "There is no setting TIDINGS_HOEM (did you mean TIDINGS_HOME?)."
    )
    nowhere = tidings(home, "tenants", "list", settings={"TIDINGS_DATABASE_URL": "postgresql://tidings:hush@127.0.0.1:1/none"})
    assert "127.0.0.1" in failure(nowhere)
    assert "hush" not in nowhere.stderr


def test_wrong_usage_ends_with_two(home: Path):
    for words, complaint in (
        (["serv"], "serve"),
        (["keys", "create"], "--tenant"),
        (["send", "--tenant", "acme", "--to", "a@b.example", "--body", "x"], "a mail needs a subject"),
        (["serve", "--port", "70000"], "--port"),
        (["keys", "revoke", "--now"], "--now"),
        (["contacts", "import", "nowhere.csv", "--tenant", "acme"], "'nowhere.csv' does not exist. `tidings contacts import --help`"),
    ):
        ended = tidings(home, *words)
        assert ended.returncode == 2, words
        assert complaint in ended.stderr
        assert ended.stderr.count("\n") == 1, ended.stderr
        assert ended.stdout == ""


def test_a_command_that_wants_another_word_shows_its_help(home: Path):
    ended = tidings(home, "keys")
    assert (ended.returncode, "revoke" in ended.stdout + ended.stderr) == (2, True)


def test_a_message_from_the_shell_is_accepted_and_waits_for_a_server(home: Path):
    sent = tidings(home, "send", "--tenant", "acme", "--to", "Ann <ann@example.org>", "--subject", "Hello", stdin="Hello Ann\n")
    assert sent.returncode == 0, sent.stderr
    assert "to ann@example.org is pending" in sent.stdout
    assert "it goes out once `tidings serve` runs" in sent.stdout


def test_text_messages_to_several_numbers_are_several_messages(home: Path):
    words = ["send", "--tenant", "acme", "--sms", "--to", "+15005550106", "--to", "+1 500 555 0107", "--body", "Hello", "--json"]
    made = json.loads(tidings(home, *words).stdout)
    assert [(message["channel"], message["to"]) for message in made] == [("sms", "+15005550106"), ("sms", "+15005550107")]


def test_one_wrong_address_refuses_the_whole_message(home: Path):
    ended = tidings(home, "send", "--tenant", "acme", "--to", "ann@example.org", "--to", "nobody", "--subject", "x", "--body", "x")
    assert "nobody" in failure(ended)


def test_the_schema_is_checked_before_and_after_it_is_made(tmp_path: Path):
    home = tmp_path / "fresh"
    names = [name for _, name, _ in migrations("sqlite")]
    before = tidings(home, "migrate", "--check")
    assert (before.returncode, before.stdout) == (1, "".join(f"missing: {name}\n" for name in names))
    assert tidings(home, "migrate").stdout == "".join(f"applied: {name}\n" for name in names)
    assert tidings(home, "migrate", "--check").returncode == 0


def test_the_halves_of_the_server_need_postgresql(home: Path):
    assert failure(tidings(home, "worker")).startswith("`tidings worker` needs PostgreSQL")
    assert failure(tidings(home, "api")).startswith("`tidings api` needs PostgreSQL")


def test_a_fault_of_our_own_shows_its_traceback_only_when_debugging(tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "tidings.db").write_bytes(b"this is no database at all, only text" * 100)
    quiet, loud = (tidings(home, "tenants", "list", settings={"TIDINGS_LOG_LEVEL": level}) for level in ("info", "debug"))
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr
    assert quiet.returncode == loud.returncode == 1


def test_help_comes_at_once_and_loads_nothing_heavy(tmp_path: Path):
    code = "import sys, tidings.cli.main; print(*{name.split('.')[0] for name in sys.modules})"
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=True, cwd=ROOT
    )
    assert not TOO_HEAVY & set(ended.stdout.split())
    shown = subprocess.run(arguments("--help"), env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=True)
    assert all(
        command in shown.stdout
        for command in ("demo", "serve", "api", "worker", "migrate", "tenants", "keys", "contacts", "communications", "send", "doctor")
    )


def test_every_command_of_the_table_is_there():
    code = "from tidings.cli.main import COMMANDS, load; print(*(name for name in COMMANDS if load(name).name == name))"
    ended = subprocess.run([sys.executable, "-c", code], env=environment(ROOT), capture_output=True, text=True, timeout=60, check=False)
    known = "demo serve api worker migrate tenants keys senders inboxes webhooks contacts privacy campaigns communications reports send doctor version"
    assert known in ended.stdout, ended.stderr


def test_a_tenant_is_changed_by_what_is_named_and_by_nothing_else(home: Path):
    assert failure(tidings(home, "tenants", "update", "nobody", "--name", "X")).startswith("There is no tenant 'nobody'")
    assert tidings(home, "tenants", "update", "acme", "--unknown", "perhaps").returncode == 2
    changed = tidings(home, "tenants", "update", "acme", "--unknown", "hold", "--json")
    told = json.loads(changed.stdout)
    assert (told["unknown_rule"], told["sender_email"], told["released"]) == ("hold", "hello@acme.example", 0)
    back = tidings(home, "tenants", "update", "acme", "--unknown", "resend", "--sender", "hello@acme.example")
    assert back.returncode == 0, back.stderr
    assert failure(tidings(home, "tenants", "update", "acme", "--sender", "nowhere")).startswith("sender_email is not an email address")
