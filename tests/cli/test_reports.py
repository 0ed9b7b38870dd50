"""`tidings reports`: tables, JSON, CSV and pictures of the same figures."""

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.cli.command import tidings
from tests.support.walk import MORNING, House
from tidings.database import Tx, open_database


@pytest.fixture
async def home(tmp_path: Path) -> Path:
    """Two campaigns of one mail: Spring went to two, Autumn to nobody; and another Autumn."""
    folder = tmp_path / "var"
    assert tidings(folder, "tenants", "create", "empty", "--sender", "hello@empty.example").returncode == 0
    db = await open_database(f"sqlite:///{folder / 'tidings.db'}")
    house = await House(db).settle_in()
    spring = await house.campaign(("email", 0))
    await house.enroll(spring, await house.contact("ann@example.com"), await house.contact("bob@example.com"))
    await house.dispatch()
    for name in ("Autumn", "Twin", "Twin"):
        other = await house.campaign(("email", 0))
        await db.write(_rename, other, name)
    await db.close()
    return folder


def _rename(tx: Tx, campaign_id: int, name: str) -> None:
    tx.run("UPDATE campaigns SET name = :name WHERE id = :id", name=name, id=campaign_id)


async def test_reports_are_shown_as_tables_json_csv_and_pictures(home: Path, tmp_path: Path):
    def asked(*words: str) -> str:
        ended = tidings(home, "reports", *words, "--tenant", "acme")
        return ended.stdout if ended.returncode == 0 else ended.stderr.strip()

    shown = asked("campaign", "Spring")
    assert shown.startswith("Spring (active): 2 enrolled, 2 through\n")
    assert [line.split()[:4] for line in shown.splitlines()[2:]] == [["1.", "Step", "1", "2"], ["all", "2", "0", "(0.0%)"]]
    report = json.loads(asked("campaign", "Spring", "--json"))
    assert (report["totals"]["sent"], report["messages"][0]["figures"]["sent"]) == (2, 2)
    assert json.loads(asked("campaign", report["campaign"]["id"], "--json")) == report
    picture = tmp_path / "spring.svg"
    rows = list(csv.DictReader(io.StringIO(asked("campaign", "Spring", "--csv", "--svg", str(picture)))))
    assert [row["sent"] for row in rows] == ["2", "2"]
    assert ET.parse(picture).getroot().tag == "{http://www.w3.org/2000/svg}svg"

    of_that_day = ("series", "--since", "2025-02-16", "--until", "2025-02-18", "--time-zone", "Asia/Kolkata")
    assert MORNING == 1_739_761_200_000
    lines = asked(*of_that_day).splitlines()
    assert lines[0].split()[:4] == ["day", "(Asia/Kolkata)", "sent", "arrived"]
    assert [line.split()[:2] for line in lines[1:]] == [["2025-02-16", "0"], ["2025-02-17", "2"], ["2025-02-18", "0"], ["all", "2"]]
    assert json.loads(asked(*of_that_day, "--json", "--campaign", "Autumn"))["totals"]["sent"] == 0
    hours = list(csv.DictReader(io.StringIO(asked(*of_that_day, "--interval", "hour", "--csv"))))
    assert [row["start"] for row in hours if row["sent"] != "0"] == ["2025-02-17T08:00:00+05:30"]

    assert asked("compare", "Spring", "Autumn").splitlines()[0].split() == ["Spring", "Autumn"]
    compared = json.loads(asked("compare", "Spring", "Autumn", "--json"))
    assert [each["totals"]["sent"] for each in compared["campaigns"]] == [2, 0]
    assert [row["name"] for row in csv.DictReader(io.StringIO(asked("compare", "Spring", "Autumn", "--csv")))] == ["Spring", "Autumn"]

    assert asked("campaign", "Winter") == "There is no campaign 'Winter'."
    assert asked("campaign", "Twin") == "Several campaigns are named 'Twin'; give the id of one."
    assert asked("compare", "Spring") == "A comparison takes 2 to 10 campaigns."
    assert asked("series", "--interval", "week") == "--interval is hour or day, not 'week'."
    assert asked("series", "--time-zone", "Mars").startswith("time_zone is not a name in the IANA time zone database")
    assert tidings(home, "reports", "campaign", report["campaign"]["id"], "--tenant", "empty").stderr.strip() == "Campaign not found"
