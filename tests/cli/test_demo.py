"""The demonstration from an empty folder to the last message: its figures, who writes back, its second start, and what a kill leaves."""

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

QUICK = ["--delays", "0s,3s,3s"]
"""Time enough to write back between two messages."""
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


def test_three_messages_each_are_sent_or_say_why_not_unless_the_campaign_ended_early(played: Played):
    enrolled = rows(played.home, "SELECT id FROM enrollments WHERE completed_at IS NOT NULL AND stopped_by IS NULL")
    assert rows(played.home, "SELECT COUNT(*) FROM enrollments WHERE completed_at IS NULL") == [(0,)]
    walked = rows(
        played.home,
        "SELECT enrollment_id, COUNT(*), COUNT(DISTINCT message_id) FROM communications"
        " WHERE enrollment_id IN (SELECT id FROM enrollments WHERE stopped_by IS NULL) GROUP BY enrollment_id ORDER BY enrollment_id",
    )
    assert walked == [(enrollment_id, 3, 3) for (enrollment_id,) in enrolled]
    assert unsettled(played.home) == 0
    without_phone = rows(
        played.home,
        "SELECT COUNT(*) FROM enrollments e JOIN contacts c ON c.id = e.contact_id WHERE c.phone IS NULL",
    )
    assert rows(played.home, "SELECT COUNT(*) FROM communications WHERE error = 'The contact has no phone number.'") == without_phone


def test_its_readers_are_taken_for_people(played: Played):
    ((opens, by_people),) = rows(played.home, "SELECT SUM(open_count), SUM(human_opens) FROM communications")
    assert opens == by_people > 0


def test_what_was_never_made_is_accounted_for(played: Played):
    told = re.search(
        r"^(\d+) contacts x 3 messages = (\d+) = (\d+) accepted \+ (\d+) never made,\n"
        r".* (\d+) who answered and (\d+) who said STOP; (\d+) accepted beside it\.\n"
        r"(\d+) accepted = (\d+) sent \+ (\d+) failed \+ (\d+) canceled\.$",
        played.said,
        re.MULTILINE,
    )
    assert told is not None, played.said
    contacts, planned, walked, never, answered, stopped, beside, accepted, sent, failed, canceled = (
        int(number) for number in told.groups()
    )
    assert contacts * 3 == planned == walked + never
    assert (answered, stopped, beside) == (3, 1, 2)
    assert accepted == walked + beside == sent + failed + canceled
    counted = "SELECT COUNT(*), COUNT(campaign_id), SUM(state = 'sent'), SUM(state = 'failed'), SUM(state = 'canceled') FROM communications"
    assert rows(played.home, counted) == [(accepted, walked, sent, failed, canceled)]


def test_who_answers_or_says_stop_gets_nothing_more_and_who_is_away_does(played: Played):
    ended = rows(
        played.home,
        "SELECT p.first_name, e.stopped_by FROM enrollments e JOIN contacts p ON p.id = e.contact_id WHERE e.stopped_by IS NOT NULL ORDER BY 1",
    )
    assert ended == [("Amelia", "reply"), ("Chiara", "reply"), ("Luís", "unsubscribe"), ("Zoey", "reply")]
    later = rows(
        played.home,
        "SELECT COUNT(*) FROM communications c JOIN enrollments e ON e.id = c.enrollment_id WHERE c.sent_at > e.completed_at"
        " AND e.stopped_by IS NOT NULL",
    )
    assert later == [(0,)]
    away = rows(
        played.home,
        "SELECT COUNT(*) FROM communications WHERE state = 'sent' AND contact_id = (SELECT contact_id FROM inbound_messages WHERE automatic = 1)",
    )
    assert away == [(3,)]
    assert rows(played.home, "SELECT channel, address, reason FROM suppressions") == [("sms", "+46701740610", "unsubscribed")]
    confirmed = "SELECT COUNT(*) FROM sandbox_messages WHERE recipients = '[\"+46701740610\"]' AND CAST(raw AS text) LIKE '%unsubscribed%'"
    assert rows(played.home, confirmed) == [(1,)]


def test_one_conversation_is_told_as_text(played: Played):
    told = re.search(r"^One of the conversations:\n((?:  .*\n)+)", played.said, re.MULTILINE)
    assert told is not None, played.said
    first, second, third = told.group(1).splitlines()
    assert first.startswith("  Fern & Furrow: Zoey, your first week in the garden.")
    assert second == "  Zoey Underhill: Do broad beans mind a late frost?"
    assert third.startswith("  Fern & Furrow: Not in the least, Zoey.")


def test_the_figures_agree_wherever_they_are_asked_for(played: Played):
    assert len(re.findall(r"\d+ +(\d+) +(?=agree)", played.said)) == 7
    assert "DISAGREE" not in played.said
    kept = rows(played.home, "SELECT COUNT(*), COUNT(DISTINCT communication_id) FROM sandbox_messages")
    assert kept == [rows(played.home, "SELECT COUNT(*) FROM communications WHERE state = 'sent'")[0] * 2]


def test_readers_open_and_click(played: Played):
    [(opened, clicked)] = rows(played.home, "SELECT COUNT(opened_at), COUNT(clicked_at) FROM communications WHERE channel = 'email'")
    assert opened > clicked > 0
    assert "simulated readers" in played.said


def test_a_second_start_sends_nothing_twice_and_says_so(played: Played):
    before = rows(played.home, "SELECT id, sent_at, open_count FROM communications ORDER BY id")
    heard = rows(played.home, "SELECT id, text FROM inbound_messages ORDER BY id")
    again = tidings(played.home, "demo", "--port", str(free_port()), *QUICK, "--exit-when-done")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "sends nothing twice" in again.stdout
    assert rows(played.home, "SELECT id, sent_at, open_count FROM communications ORDER BY id") == before
    assert rows(played.home, "SELECT id, text FROM inbound_messages ORDER BY id") == heard
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
        commands = [second.until("^curl .*").group() for _ in range(4)]
        second.until("Stop: Ctrl-C")
        listed, kept, made, conversation = (pasted(command) for command in commands)
        assert second.end(signal.SIGINT) == 0
    assert len(listed["communications"]) == 3
    assert len(kept["messages"]) == 1
    assert made["sent"] == ["email"]
    assert [message["direction"] for message in conversation["messages"]].count("inbound") == 1
    assert rows(home, "SELECT COUNT(*), COUNT(DISTINCT sender) FROM inbound_messages") == [(5, 5)]
    assert rows(home, "SELECT COUNT(*) FROM communications WHERE type = 'CONFIRMATION'") == [(1,)]
    walked = "FROM communications WHERE campaign_id IS NOT NULL"
    assert unsettled(home, "campaign_id IS NOT NULL") == 0
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


def unsettled(home: Path, which: str = "1") -> int:
    """Communications whose record is not final."""
    [(count,)] = rows(
        home, f"SELECT COUNT(*) FROM communications WHERE {which} AND (state NOT IN ('sent', 'failed', 'canceled') OR due_at IS NOT NULL)"
    )
    return count


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
