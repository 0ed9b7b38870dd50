"""`tidings campaigns`: who did not get it, counted and as a file, and sending it to them."""

import csv
import io
import json
from pathlib import Path

import pytest

from tests.cli.command import audited, tidings
from tests.support.unlucky import Unlucky
from tests.support.walk import House
from tidings.database import open_database
from tidings.database.migrate import migrate


@pytest.fixture
async def home(tmp_path: Path) -> Path:
    """A data folder with the tenant `acme`, whose campaign `Spring` many have not got."""
    folder = tmp_path / "home"
    folder.mkdir()
    url = f"sqlite:///{folder}/tidings.db"
    migrate(url)
    db = await open_database(url)
    await Unlucky(await House(db).settle_in()).happen()
    await db.close()
    return folder


async def test_it_tells_who_did_not_get_it_and_sends_it_to_them(home: Path):
    counted = tidings(home, "campaigns", "missed", "Spring", "--tenant", "acme", "--list", "Fair", "--message", "1", "--json")
    assert counted.returncode == 0, counted.stderr
    assert json.loads(counted.stdout)["counts"]["not_enrolled"] == 1
    file = home / "missed.csv"
    written = tidings(
        home, "campaigns", "missed", "Spring", "--tenant", "acme", "--message", "1", "--reason", "failed", "--output", str(file)
    )
    assert (written.returncode, written.stdout) == (0, ""), written.stderr
    rows = list(csv.DictReader(io.StringIO(file.read_bytes().decode(), newline=""), strict=True))
    assert sorted(row["email"] for row in rows) == ["refused@example.com", "returned@example.com"]

    told = tidings(home, "campaigns", "send-to-rest", "Spring", "--tenant", "acme", "--list", "Fair", "--dry-run", "--json")
    assert json.loads(told.stdout) == {"again": {"given_up": 1, "canceled": 1, "unknown": 1}, "left": {}, "enroll": 1, "complete": True}
    begun = tidings(home, "campaigns", "send-to-rest", "Spring", "--tenant", "acme", "--everybody", "--json")
    assert json.loads(begun.stdout)["job"].startswith("job_")
    assert audited(home) == [("Who did not get a campaign, as CSV", ""), ("Send a campaign to the rest", "campaign")]


async def test_what_is_not_there_is_named(home: Path):
    for words, sentence in (
        (("missed", "Autumn"), "There is no campaign 'Autumn'."),
        (("missed", "Spring", "--reason", "weather"), "'weather' is no reason; there are failed,"),
        (("send-to-rest", "Spring", "--reason", "stopped"), "'stopped' is no reason; there are given_up,"),
        (("send-to-rest", "Spring", "--list", "Nobody"), "There is no list 'Nobody'."),
        (("missed", "Spring", "--message", "99"), "Message not found"),
    ):
        ended = tidings(home, "campaigns", *words, "--tenant", "acme")
        assert (ended.returncode, ended.stderr.startswith(sentence)) == (1, True), ended.stderr
