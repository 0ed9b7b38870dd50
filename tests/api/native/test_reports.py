"""Reports over HTTP: in each form, for each filter, and refused in a sentence where they make no sense."""

import csv
import io
from typing import Any
from xml.etree import ElementTree as ET

import httpx2
import pytest

from tests.support.api import NOON, Api
from tidings import ids
from tidings.clock import DAY, HOUR
from tidings.domain import communications
from tidings.domain.communications import Hit

REPORTS = "/api/v1/reports"
LINKS = '<p><a href="https://shop.test/">a</a> <a href="https://blog.test/?a=1">b</a> <a href="https://shop.test/">c</a></p>'
NAME = "=Spring, <b>&"


class Sent:
    """A campaign of one mail that went to three, one of whom opened it, clicked and is a person, one a machine."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def prepare(self, name: str = NAME, people: int = 3) -> "Sent":
        self.campaign = await self._post("/api/v1/campaigns", {"name": name, "reenroll_after": "0s"})
        below = f"/api/v1/campaigns/{self.campaign['id']}"
        self.message = await self._post(f"{below}/messages", {"channel": "email", "subject": "Hello", "name": "First", "body": LINKS})
        await self._post(f"{below}/activate", {})
        for number in range(people):
            contact = await self.api.contact(f"{name[1:3]}{number}@example.test")
            asked = {"campaign_id": self.campaign["id"], "contact_id": ids.spell("contact", contact)}
            await self._post("/api/v1/enrollments", asked)
        await self.api.dispatch()
        rows = await self.api.rows("SELECT id FROM communications WHERE campaign_id = :id ORDER BY id", id=self.campaign["number"])
        self.ids = [row[0] for row in rows]
        return self

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self.api.client.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    async def track(self) -> "Sent":
        tenant, at = self.api.tenant.id, self.api.at + HOUR
        hits = [
            Hit(tenant, self.ids[0], "clicked", at, 0),
            Hit(tenant, self.ids[0], "clicked", at, 2),
            Hit(tenant, self.ids[1], "opened", at, bot=True),
        ]
        await self.api.db.write(communications.track, hits)
        return self

    async def get(self, path: str, accept: str = "application/json", **query: str) -> httpx2.Response:
        return await self.api.client.get(f"{REPORTS}/{path}", params=query, headers={"accept": accept})

    async def table(self, path: str, **query: str) -> list[dict[str, str]]:
        answer = await self.get(path, "text/csv", **query)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.headers["content-disposition"].startswith('attachment; filename="')
        return list(csv.DictReader(io.StringIO(answer.text)))


@pytest.fixture
async def sent(api: Api) -> Sent:
    return await (await Sent(api).prepare()).track()


async def test_a_campaign_is_told_message_by_message_with_every_rate_and_what_it_is_of(sent: Sent):
    answer = await sent.get(f"campaigns/{sent.campaign['id']}")
    assert answer.status_code == 200
    assert answer.headers["vary"] == "Accept"
    report = answer.json()
    assert report["campaign"] == {"id": sent.campaign["id"], "name": NAME, "state": "active"}
    assert (report["enrolled"], report["completed"], report["first_sent_at"], report["last_sent_at"]) == (
        3,
        3,
        "2025-06-18T12:00:00Z",
        "2025-06-18T12:00:00Z",
    )
    (message,) = report["messages"]
    shown = {name: message[name] for name in ("id", "position", "name", "subject", "channel", "deleted")}
    assert shown == {"id": sent.message["id"], "position": 1, "name": "First", "subject": "Hello", "channel": "email", "deleted": False}
    figures = message["figures"]
    assert figures == report["totals"]
    assert {
        name: figures[name]
        for name in ("accepted", "sent", "waiting", "opened", "human_opened", "opens", "clicked", "clicks", "human_clicks")
    } == {
        "accepted": 3,
        "sent": 3,
        "waiting": 0,
        "opened": 2,
        "human_opened": 1,
        "opens": 3,
        "clicked": 1,
        "clicks": 2,
        "human_clicks": 2,
    }
    assert figures["rates"]["opened"] == {"rate": pytest.approx(2 / 3), "part": 2, "whole": 3, "of": "sent"}
    assert figures["rates"]["clicked_of_opened"] == {"rate": 0.5, "part": 1, "whole": 2, "of": "opened"}
    assert figures["rates"]["failed"] == {"rate": 0.0, "part": 0, "whole": 3, "of": "sent + failed"}

    rows = await sent.table(f"campaigns/{sent.campaign['id']}")
    assert [(row["message_id"], row["name"], row["sent"], row["enrolled"], row["human_opened_rate"]) for row in rows] == [
        (str(sent.message["id"]), "First", "3", "", "0.333333"),
        ("", "'" + NAME, "3", "3", "0.333333"),
    ]


async def test_pictures_are_well_formed_and_can_do_nothing(sent: Sent):
    for path in (f"campaigns/{sent.campaign['id']}", "series"):
        answer = await sent.get(path, "image/avif,image/svg+xml,image/*,*/*;q=0.8")
        assert answer.headers["content-type"] == "image/svg+xml; charset=utf-8"
        assert answer.headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'; sandbox"
        picture = ET.fromstring(answer.text)
        assert picture.tag == "{http://www.w3.org/2000/svg}svg"
        assert "sent" in (picture.findtext("{http://www.w3.org/2000/svg}desc") or "")
    assert NAME in "".join(ET.fromstring((await sent.get(f"campaigns/{sent.campaign['id']}", format="svg")).text).itertext())


async def test_links_are_one_row_a_target_and_one_person_once(sent: Sent):
    report = (await sent.get(f"campaigns/{sent.campaign['id']}/links")).json()
    shop, blog = report["links"]
    assert {name: shop[name] for name in ("url", "clicks", "clicked", "human_clicks", "human_clicked")} == {
        "url": "https://shop.test/",
        "clicks": 2,
        "clicked": 1,
        "human_clicks": 2,
        "human_clicked": 1,
    }
    assert [(place["message_id"], place["version"], place["link"], place["clicks"]) for place in shop["places"]] == [
        (sent.message["id"], 1, 1, 1),
        (sent.message["id"], 1, 3, 1),
    ]
    assert (blog["url"], blog["clicks"]) == ("https://blog.test/?a=1", 0)
    assert report["messages"] == [{"message_id": sent.message["id"], "links": report["links"]}]
    rows = await sent.table(f"campaigns/{sent.campaign['id']}/links")
    assert [(row["message_id"], row["url"], row["clicked"]) for row in rows] == [
        (str(sent.message["id"]), "https://shop.test/", "1"),
        (str(sent.message["id"]), "https://blog.test/?a=1", "0"),
        ("", "https://shop.test/", "1"),
        ("", "https://blog.test/?a=1", "0"),
    ]


async def test_a_series_has_every_hour_in_the_zone_and_says_when_things_happened(sent: Sent):
    asked = {"interval": "hour", "since": "2025-06-18T17:00", "until": "2025-06-18T19:00", "time_zone": "Asia/Kathmandu"}
    report = (await sent.get("series", **asked)).json()
    assert (report["since"], report["until"], report["time_zone"]) == (
        "2025-06-18T17:00:00+05:45",
        "2025-06-18T19:00:00+05:45",
        "Asia/Kathmandu",
    )
    assert [
        (row["start"], row["end"], row["date"], row["sent"], row["opens"], row["human_opens"], row["clicks"]) for row in report["rows"]
    ] == [
        ("2025-06-18T17:00:00+05:45", "2025-06-18T18:00:00+05:45", "2025-06-18", 3, 0, 0, 0),
        ("2025-06-18T18:00:00+05:45", "2025-06-18T19:00:00+05:45", "2025-06-18", 0, 3, 2, 2),
    ]
    assert report["totals"]["sent"] == 3
    rows = await sent.table("series", **asked)
    assert [(row["start"], row["sent"], row["clicks"]) for row in rows] == [
        ("2025-06-18T17:00:00+05:45", "3", "0"),
        ("2025-06-18T18:00:00+05:45", "0", "2"),
    ]


async def test_a_series_of_nothing_said_is_the_last_month_and_filters_narrow_it(sent: Sent):
    report = (await sent.get("series")).json()
    assert (len(report["rows"]), report["rows"][-1]["date"], report["totals"]["sent"]) == (31, "2025-06-18", 3)
    for narrowed, count in (
        ({"campaign": sent.campaign["id"]}, 3),
        ({"message": str(sent.message["id"])}, 3),
        ({"channel": "sms"}, 0),
        ({"channel": "email"}, 3),
    ):
        assert (await sent.get("series", **narrowed)).json()["totals"]["sent"] == count


async def test_templates_types_and_domains_are_told_for_a_range_of_sending_in_whole_hours(sent: Sent):
    asked = {"since": "2025-06-18", "until": "2025-06-18", "time_zone": "Asia/Kolkata"}
    templates = (await sent.get("templates", **asked)).json()
    assert (templates["since"], templates["until"]) == ("2025-06-17T18:00:00Z", "2025-06-18T19:00:00Z")
    assert [(row["template_id"], row["name"], row["figures"]["sent"]) for row in templates["templates"]] == [(None, "", 3)]
    assert "accepted" not in templates["templates"][0]["figures"]
    types = (await sent.get("types", campaign=sent.campaign["id"])).json()
    assert (types["since"], types["until"]) == (None, None)
    assert [(row["type"], row["channel"], row["figures"]["human_opened"]) for row in types["types"]] == [("CAMPAIGN", "email", 1)]
    domains = (await sent.get("domains", **asked)).json()
    assert [(row["domain"], row["sent"], row["opened"]) for row in domains["domains"]] == [("example.test", 3, 2)]
    assert domains["others"] is None
    for path, row in (
        ("templates", {"template_id": ""}),
        ("types", {"type": "CAMPAIGN"}),
        ("domains", {"domain": "example.test", "domains": "1"}),
    ):
        (found,) = await sent.table(path)
        assert found.items() >= {**row, "sent": "3"}.items()
    assert (await sent.get("types", since="2025-06-19")).json()["types"] == []


async def test_campaigns_stand_side_by_side_with_what_is_more_than_chance(api: Api, sent: Sent):
    other = await Sent(api).prepare("Autumn", people=2)
    report = (await sent.get("compare", campaigns=f"{sent.campaign['id']},{other.campaign['id']}")).json()
    first, second = report["campaigns"]
    assert (first["campaign"]["name"], first["differences"], second["totals"]["sent"], second["enrolled"]) == (NAME, {}, 2, 2)
    assert second["differences"]["opened"] == {
        "difference": pytest.approx(-2 / 3),
        "p_value": pytest.approx(0.4),
        "more_than_chance": False,
    }
    assert second["differences"]["clicked_of_opened"] == {"difference": None, "p_value": None, "more_than_chance": False}
    rows = await sent.table("compare", campaigns=f"{sent.campaign['id']},{other.campaign['id']}")
    assert [(row["name"], row["opened_rate"], row["opened_difference"]) for row in rows] == [
        ("'" + NAME, "0.666667", ""),
        ("Autumn", "0.000000", "-0.666667"),
    ]


REFUSED: list[tuple[str, dict[str, str], str]] = [
    ("series", {"since": "2025-06-19", "until": "2025-06-18"}, "until must come after since"),
    ("types", {"since": "2025-06-18T12:00Z", "until": "2025-06-18T12:00Z"}, "until must come after since"),
    (
        "series",
        {"since": "2001-01-01", "until": "2099-12-31"},
        "until is 36,159 days after since, and a report has at most 1,100: narrow the range",
    ),
    (
        "series",
        {"since": "2025-01-01", "until": "2025-12-31", "interval": "hour"},
        "until is 8,760 hours after since, and a report has at most 1,000: narrow the range, or ask for it by day",
    ),
    (
        "series",
        {"time_zone": "Moon/Crater"},
        "time_zone is not a name in the IANA time zone database, such as Europe/Zurich: 'Moon/Crater'",
    ),
    ("series", {"interval": "quarter"}, "interval must be hour or day"),
    ("series", {"channel": "fax"}, "channel must be email or sms"),
    ("series", {"format": "pdf"}, "format must be json, csv or svg"),
    ("domains", {"format": "svg"}, "format must be json or csv"),
    ("domains", {"limit": "0"}, "limit must be 1 to 1000"),
    ("domains", {"since": "soon"}, "since must be a date such as 2026-03-29, or an instant such as 2026-03-29T12:00:00Z"),
    ("compare", {}, "campaigns must name 2 to 10 campaigns, with commas between them"),
]


async def test_what_makes_no_sense_is_a_400_in_a_sentence(api: Api):
    for path, query, sentence in REFUSED:
        answer = await api.client.get(f"{REPORTS}/{path}", params=query)
        assert (answer.status_code, answer.json()["error"]) == (400, sentence)


async def test_what_is_not_there_or_anothers_is_a_404(api: Api, sent: Sent):
    rival = await api.rival()
    whose = sent.campaign["id"]
    for path in (
        f"campaigns/{whose}",
        f"campaigns/{whose}/links",
        f"series?campaign={whose}",
        f"series?message={sent.message['id']}",
        f"types?campaign={whose}",
        f"templates?campaign={whose}",
        f"domains?campaign={whose}",
        f"compare?campaigns={whose},{ids.spell('campaign', 77)}",
    ):
        assert (await rival.get(f"{REPORTS}/{path}")).status_code == 404, path
    other = await Sent(api).prepare("Autumn", people=1)
    assert (await sent.get("series", campaign=whose, message=str(other.message["id"]))).status_code == 404
    assert (await sent.get("campaigns/nothing")).status_code == 404
    assert (await rival.get(f"{REPORTS}/types")).json()["types"] == []


async def test_a_key_needs_the_scope(api: Api):
    client = api.client_for(await api.new_key(api.tenant, "campaigns:read"))
    assert (await client.get(f"{REPORTS}/types")).status_code == 403
    assert (await api.stranger.get(f"{REPORTS}/types")).status_code == 401


async def test_the_first_of_the_forms_that_are_liked_best_is_taken(api: Api):
    for accept, media in (
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/*", "text/csv"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("application/json;q=0.1, text/csv", "text/csv"),
        ("application/pdf", "application/json"),
        ("image/svg+xml;q=bad, text/csv;q=0.5", "text/csv"),
    ):
        answer = await api.client.get(f"{REPORTS}/series", headers={"accept": accept})
        assert answer.headers["content-type"].partition(";")[0] == media, accept


async def test_a_later_day_has_moved_on(api: Api, sent: Sent):
    api.at = NOON + 40 * DAY
    assert (await sent.get("series")).json()["totals"]["sent"] == 0
