"""The demonstration from an empty folder to the last message: its figures, its second start, and what a kill in the middle leaves."""

import contextlib
import json
import re
import shlex
import signal
import sqlite3
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.cli.command import free_port, running, tidings

QUICK = ["--delays", "0s,1s,1s"]
BATCH = 500
"""Messages that may be in flight at a kill."""


class Played(NamedTuple):
    """A demonstration that was played to its end."""

    home: Path
    said: str


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    home = tmp_path_factory.mktemp("demo") / "home"
    ended = tidings(home, "demo", "--port", str(free_port()), *QUICK, "--exit-when-done")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return Played(home, ended.stdout)


def rows(home: Path, statement: str) -> list[tuple[Any, ...]]:
    """What a statement finds in the demonstration's database."""
    with contextlib.closing(sqlite3.connect(home / "tidings.db")) as connection:
        return connection.execute(statement).fetchall()


def test_every_row_of_the_file_is_accounted_for(played: Played):
    told = re.search(r"^(\d+) imported \+ (\d+) rejected = 500 rows; (\d+) contacts enrolled\.$", played.said, re.MULTILINE)
    assert told is not None, played.said
    imported, rejected, enrolled = (int(number) for number in told.groups())
    assert imported + rejected == 500
    assert rejected > 0
    assert played.said.count("\nrejected line ") == rejected
    assert rows(played.home, "SELECT COUNT(*) FROM enrollments") == [(enrolled,)]


def test_three_messages_each_are_sent_or_say_why_not(played: Played):
    [(enrolled,)] = rows(played.home, "SELECT COUNT(*) FROM enrollments WHERE completed_at IS NOT NULL")
    steps = rows(played.home, "SELECT message_id, COUNT(*), COUNT(DISTINCT contact_id) FROM communications GROUP BY message_id")
    assert [counted for _, *counted in steps] == [[enrolled, enrolled]] * 3
    assert rows(played.home, "SELECT COUNT(*) FROM communications WHERE state NOT IN ('sent', 'failed') OR due_at IS NOT NULL") == [(0,)]
    without_phone = rows(
        played.home,
        "SELECT COUNT(*) FROM enrollments e JOIN contacts c ON c.id = e.contact_id WHERE c.phone IS NULL",
    )
    assert rows(played.home, "SELECT COUNT(*) FROM communications WHERE error = 'The contact has no phone number.'") == without_phone


def test_the_figures_agree_wherever_they_are_asked_for(played: Played):
    assert len(re.findall(r"\d+ +(\d+) +(?=agree)", played.said)) == 5
    assert "DISAGREE" not in played.said
    kept = rows(played.home, "SELECT COUNT(*), COUNT(DISTINCT communication_id) FROM sandbox_messages")
    assert kept == [rows(played.home, "SELECT COUNT(*) FROM communications WHERE state = 'sent'")[0] * 2]


def test_readers_open_and_click(played: Played):
    [(opened, clicked)] = rows(played.home, "SELECT COUNT(opened_at), COUNT(clicked_at) FROM communications WHERE channel = 'email'")
    assert opened > clicked > 0
    assert "simulated readers" in played.said


def test_a_second_start_sends_nothing_twice_and_says_so(played: Played):
    before = rows(played.home, "SELECT id, sent_at, open_count FROM communications ORDER BY id")
    again = tidings(played.home, "demo", "--port", str(free_port()), *QUICK, "--exit-when-done")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "sends nothing twice" in again.stdout
    assert rows(played.home, "SELECT id, sent_at, open_count FROM communications ORDER BY id") == before
    assert rows(played.home, "SELECT COUNT(*) FROM tenants") == rows(played.home, "SELECT COUNT(*) FROM api_keys") == [(1,)]
    assert key_of(again.stdout) == key_of(played.said)


def test_the_key_is_kept_for_its_owner_alone(played: Played):
    kept = played.home / "demo-token"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.read_text().strip() == key_of(played.said)


def test_what_it_proposes_to_try_works_when_pasted_and_killed_midway_it_goes_on(tmp_path: Path):
    home, port = tmp_path / "home", str(free_port())
    with running(home, "demo", "--port", port, *QUICK) as first:
        first.until(r"sent [1-9]\d*")
        first.end(signal.SIGKILL)
    with running(home, "demo", "--port", port, *QUICK) as second:
        second.until("sends nothing twice")
        second.until(r"^\d+ imported \+ \d+ rejected = 500 rows")
        second.until("^Try:")
        commands = [second.until("^curl .*").group() for _ in range(3)]
        second.until("Stop: Ctrl-C")
        listed, kept, made = (pasted(command) for command in commands)
        assert second.end(signal.SIGINT) == 0
    assert len(listed["communications"]) == 3
    assert len(kept["messages"]) == 1
    assert made["sent"] == ["email"]
    walked = "FROM communications WHERE campaign_id IS NOT NULL"
    assert rows(home, f"SELECT COUNT(*) {walked} AND state NOT IN ('sent', 'failed')") == [(0,)]
    [(sent,)] = rows(home, f"SELECT COUNT(*) {walked} AND state = 'sent'")
    [(mails, different)] = rows(
        home, f"SELECT COUNT(*), COUNT(DISTINCT communication_id) FROM sandbox_messages WHERE communication_id IN (SELECT id {walked})"
    )
    assert different == sent
    assert mails - different <= BATCH


def test_delays_that_make_no_sense_are_wrong_usage(tmp_path: Path):
    refused = tidings(tmp_path / "home", "demo", "--delays", "0s,1m")
    assert refused.returncode == 2
    assert "there are 3 messages" in refused.stderr


def key_of(said: str) -> str:
    """The key it printed."""
    found = re.search(r"^The key of tenant demo: (\S+)$", said, re.MULTILINE)
    assert found is not None, said
    return found.group(1)


def pasted(command: str) -> Any:
    """What a line of the screen answers, run by a shell."""
    assert shlex.split(command)[0] == "curl"
    ran = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=30, check=True)
    return json.loads(ran.stdout)
