"""`tidings inboxes`: secrets are asked for and never shown, and what is wrong is said in a sentence."""

import json
import re
from pathlib import Path

import pytest

from tests.cli.command import tidings


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "var"
    assert tidings(folder, "tenants", "create", "acme", "--sender", "hello@acme.example").returncode == 0
    return folder


def test_inboxes_are_added_listed_and_removed(home: Path):
    def added(*words: str, stdin: str = "") -> str:
        ended = tidings(home, "inboxes", "add", *words, "--tenant", "acme", stdin=stdin)
        return ended.stdout if ended.returncode == 0 else ended.stderr.strip()

    settings = ("--set", "host=imap.acme.example", "--set", "username=help", "--set", "interval=30", "--set", "from_beginning=true")
    assert added("Help", "--kind", "imap", *settings, stdin="hush hush\n") == "Mail in Help comes in for acme.\n"
    assert added("Desk", "--kind", "address", "--address", "Acme.Example") == "Mail to acme.example comes in for acme.\n"
    assert re.fullmatch(
        r"Let mailgun call http://\S+/api/v1/inbound/mailgun/\S{43}\nEvents to switch on there: delivered, .*\n",
        added("MG", "--kind", "mailgun", stdin="key\n"),
    )
    assert added("Help", "--kind", "sendgrid") == "There is an inbox named Help already"
    assert added("X", "--kind", "pop3").startswith("There is no kind 'pop3': it is one of imap, address, ")
    assert added("X", "--kind", "imap", "--set", "hots=a").startswith("An inbox of kind imap has no setting 'hots'; it has host, ")
    assert added("X", "--kind", "imap", "--set", "port=many").startswith("The setting port cannot be 'many'")
    assert added("X", "--kind", "imap", "--set", "host").startswith("--set takes NAME=VALUE")
    assert added("X", "--kind", "imap", "--set", "host=a").startswith("settings.username is required")
    shown = tidings(home, "inboxes", "list", "--tenant", "acme", "--json").stdout
    assert [(row["name"], row["kind"], row["address"]) for row in json.loads(shown)] == [
        ("Help", "imap", None),
        ("Desk", "address", "acme.example"),
        ("MG", "mailgun", None),
    ]
    assert "hush" not in shown
    [box, _, hook] = json.loads(shown)
    assert re.fullmatch(r"inbx_\w+", box["id"])
    assert (box["url"], box["events"], box["last_at"]) == (None, [], None)
    assert re.fullmatch(r"http://\S+/api/v1/inbound/mailgun/\S{43}", hook["url"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", hook["created_at"])
    ses = tidings(home, "inboxes", "add", "SES", "--kind", "ses", "--tenant", "acme", "--json").stdout
    assert json.loads(ses)["url"].rpartition("/")[0].endswith("/api/v1/inbound/ses")
    assert "acme.example" in tidings(home, "inboxes", "list", "--tenant", "acme").stdout
    assert tidings(home, "inboxes", "remove", "MG", "--tenant", "acme").stdout == "Removed.\n"
    assert tidings(home, "inboxes", "remove", "MG", "--tenant", "acme").stderr.strip() == "There is no inbox named MG."
