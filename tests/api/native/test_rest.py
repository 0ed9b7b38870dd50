"""Who did not get a campaign, and sending it to them, as a client sees it."""

import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support import walk
from tests.support.api import Api
from tests.support.unlucky import WHO, Unlucky
from tidings import ids


@pytest.fixture
async def unlucky(api: Api, tmp_path: Path) -> Unlucky:
    """The API's own tenant's."""
    house = walk.House(api.db, api.house.store)
    house.now, house.tenant_id, house.composer = api.at, api.tenant.id, api.house.composer
    found = await Unlucky(house).happen()
    api.at = house.now
    return found


def path(unlucky: Unlucky, end: str = "") -> str:
    return f"/api/v1/reports/campaigns/{ids.spell('campaign', unlucky.campaign)}/missed{end}"


def sending(unlucky: Unlucky) -> str:
    return f"/api/v1/campaigns/{ids.spell('campaign', unlucky.campaign)}/send_to_rest"


async def first_message(api: Api) -> int:
    return (await api.rows("SELECT MIN(id) FROM messages WHERE tenant_id = :t", t=api.tenant.id))[0][0]


async def test_counts_come_first_and_then_who_page_by_page(api: Api, unlucky: Unlucky):
    asked = {"list": "Fair", "message": await first_message(api), "limit": 5}
    page: dict[str, Any] = (await api.client.get(path(unlucky), params=asked)).json()
    assert page["counts"] == dict(Counter(WHO.values()))
    assert (page["total"], page["complete"]) == (len(WHO), True)
    rows = page["contacts"]
    assert len(rows) == 5
    while page["next"] is not None:
        page = (await api.client.get(path(unlucky), params=asked | {"after": page["next"]})).json()
        assert (page["counts"], page["total"], page["complete"]) == (None, None, None)
        rows += page["contacts"]
    assert {unlucky.name(ids.parse("contact", row["contact_id"]) or 0): row["reason"] for row in rows} == WHO
    refused = next(row for row in rows if row["email"] == "refused@example.com")
    assert (refused["detail"], refused["code"], refused["message_id"]) == ("no such user (5.1.1)", "5.1.1", asked["message"])
    assert refused["since"].endswith("Z")


async def test_a_file_has_every_row_and_nothing_that_a_spreadsheet_would_run(api: Api, unlucky: Unlucky):
    await api.run("UPDATE communications SET error = '=1+1' WHERE tenant_id = :t AND address = 'refused@example.com'", t=api.tenant.id)
    whole = (await api.client.get(path(unlucky), params={"contacts": "all", "limit": 100})).json()
    by_accept = await api.client.get(path(unlucky), params={"contacts": "all"}, headers={"accept": "text/csv"})
    by_path = await api.client.get(path(unlucky, ".csv"), params={"contacts": "all"})
    assert by_accept.headers["content-type"] == "text/csv; charset=utf-8"
    by_format = await api.client.get(path(unlucky), params={"contacts": "all", "format": "csv"})
    assert by_accept.content == by_path.content == by_format.content
    assert by_format.headers["content-type"] == "text/csv; charset=utf-8"
    as_json = await api.client.get(
        path(unlucky), params={"contacts": "all", "limit": 100, "format": "json"}, headers={"accept": "text/csv"}
    )
    assert as_json.json() == whole
    rows = list(csv.DictReader(io.StringIO(by_path.text, newline=""), strict=True))
    assert [(row["contact_id"], row["reason"]) for row in rows] == [(row["contact_id"], row["reason"]) for row in whole["contacts"]]
    assert "'=1+1" in {row["detail"] for row in rows}
    assert {row["phone"] for row in rows} == {"", "+31612345678"}


async def test_a_preview_then_a_job_then_nothing_left_to_send(api: Api, unlucky: Unlucky):
    preview = await api.client.post(sending(unlucky), json={"list": "Fair", "dry_run": True})
    assert (preview.status_code, preview.json()) == (
        200,
        {"again": {"given_up": 1, "canceled": 1, "unknown": 1}, "left": {}, "enroll": 1, "complete": True},
    )
    job = await api.client.post(sending(unlucky), json={"list": "Fair"})
    assert job.status_code == 202
    assert (job.json()["kind"], job.json()["state"], job.json()["total"]) == ("rest", "waiting", 0)
    listed = (await api.client.get("/api/v1/jobs", params={"kind": "rest"})).json()["jobs"]
    assert [row["id"] for row in listed] == [job.json()["id"]]


async def test_what_cannot_be_sent_is_refused(api: Api, unlucky: Unlucky):
    bodies: tuple[tuple[dict[str, Any], int], ...] = (
        ({"reasons": ["weather"]}, 422),
        ({"reasons": ["stopped"]}, 422),
        ({"list": "Nobody"}, 422),
        ({"list": "Fair", "contacts": "all"}, 422),
        ({"contacts": "some"}, 422),
        ({"list": "Fair", "message": await first_message(api)}, 422),
        ({"message": 999}, 404),
        ({"message": 1 << 70}, 422),
        ({"message": 0}, 422),
        ({"everybody": True}, 422),
    )
    for body, status in bodies:
        for dry_run in (False, True):
            answer = await api.client.post(sending(unlucky), json=body | {"dry_run": dry_run})
            assert answer.status_code == status, answer.text


async def test_what_cannot_be_asked_is_refused(api: Api, unlucky: Unlucky):
    for params, status in (
        ({"reason": "weather"}, 422),
        ({"contacts": "some"}, 422),
        ({"list": "Nobody"}, 422),
        ({"format": "svg"}, 422),
        ({"format": ""}, 422),
        ({"message": "first"}, 422),
        ({"message": "999"}, 404),
        ({"after": "nonsense"}, 422),
        ({"after": "WzEsMiwz"}, 422),
        ({"after": "x" * 500}, 422),
        ({"after": "WzAsMCw5OTk5OTk5OTk5OTk5OTk5OTk5OTk5LDBd"}, 422),
    ):
        answer = await api.client.get(path(unlucky), params=params)
        assert answer.status_code == status, (params, answer.text)
    assert (await api.client.get("/api/v1/reports/campaigns/camp_x/missed")).status_code == 404


async def test_a_campaign_that_does_not_run_cannot_be_sent(api: Api, unlucky: Unlucky):
    await api.client.post(f"/api/v1/campaigns/{ids.spell('campaign', unlucky.campaign)}/pause")
    for dry_run in (False, True):
        answer = await api.client.post(sending(unlucky), json={"dry_run": dry_run})
        assert (answer.status_code, answer.json()["error"]) == (409, "The campaign is paused, not active")


async def test_another_tenant_sees_and_sends_nothing(api: Api, unlucky: Unlucky):
    rival = await api.rival()
    assert (await rival.get(path(unlucky))).status_code == 404
    assert (await rival.get(path(unlucky, ".csv"))).status_code == 404
    assert (await rival.post(sending(unlucky), json={})).status_code == 404
