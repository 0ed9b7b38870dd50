"""GET /csv-export: the records that a search finds, as CSV."""

import csv
import io
from typing import Any

import httpx2
import msgspec
import pytest

from tests.support.api import Api

PATH = "/api/v1/communications/csv-export"
CSV = {"accept": "text/csv"}


def table(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def records(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


async def exported(api: Api, **query: Any) -> list[dict[str, str]]:
    answer = await api.client.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    return records(answer.json())


async def downloaded(api: Api, **query: Any) -> list[dict[str, str]]:
    answer = await api.client.get(PATH, params=query, headers=CSV)
    assert answer.status_code == 200, answer.text
    return records(answer.content.decode())


async def test_the_answer_is_one_json_string_with_the_37_keys_of_the_record_in_order(api: Api):
    record = await api.send()
    answer = await api.client.get(PATH)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    text = msgspec.json.decode(answer.content, type=str)
    heading, row = table(text)
    assert heading == list(record)
    assert (len(heading), len(row)) == (37, 37)
    assert text.startswith("bcc,body,cc,clickedLinks,")
    assert text.endswith("\r\n")


async def test_of_nothing_there_is_the_heading_alone(api: Api):
    record = await api.send()
    rival = await api.rival()
    heading = ",".join(record) + "\r\n"
    assert (await rival.get(PATH)).json() == heading
    assert (await rival.get(PATH, headers=CSV)).text == heading
    await rival.aclose()
    assert await exported(api, filters="subject:nothing") == []
    assert await exported(api, page=7) == []


async def test_every_cell_says_what_the_record_says(api: Api):
    given = {
        "body": '<p>Hé {{ who }}, <a href="https://shop.test/">“see”</a></p>\n',
        "recipients": ["Ann Ray <ann@example.test>", "bob@example.test"],
        "cc": ["cy@example.test"],
        "variables": {"who": "Ann", "n": 5},
        "relatedEntityType": "DEAL",
        "relatedEntityId": "17",
        "linkTrackingEnabled": False,
    }
    several = (await api.send(**given))["id"]
    clicked = (await api.send(body='<a href="https://shop.test/">x</a>'))["id"]
    await api.dispatch()
    await api.stranger.get(f"/api/v1/communications/link/{clicked}/0")
    await api.client.post(f"/api/v1/communications/{several}/comment", content="called back")
    rows = {row["id"]: row for row in await exported(api)}
    for token in (several, clicked):
        record = await api.find(token)
        for name, value in record.items():
            assert said(rows[token][name], value) == value, name
    row = rows[several]
    assert row["recipients"] == '"Ann Ray" <ann@example.test>; bob@example.test'
    assert (row["openCount"], row["opened"], row["linkTrackingEnabled"], row["bcc"], row["errorMessage"]) == ("0", "false", "false", "", "")
    assert msgspec.json.decode(rows[clicked]["clickedLinks"])[0]["clickCount"] == 1


def said(cell: str, value: Any) -> Any:
    """The cell as the kind of value it was made from."""
    if cell == "":
        return value if value in (None, "", [], {}) else cell
    if isinstance(value, bool | int):
        return msgspec.json.decode(cell)
    if isinstance(value, list) and isinstance(value[0], str):
        return cell.split("; ")
    return cell if isinstance(value, str) else msgspec.json.decode(cell)


@pytest.mark.parametrize("cell", ["=HYPERLINK(1)", "+1", "-2+3", "@SUM(A1)", "  =1", "\uff1d1"])
async def test_what_a_spreadsheet_would_run_begins_with_an_apostrophe(api: Api, cell: str):
    await api.send(subject=cell, body=cell, relatedEntityType="DEAL", relatedEntityId=cell, variables={"x": cell})
    (row,) = await exported(api)
    record = await api.find(row["id"])
    # a subject has no blanks around it
    assert [row[name] for name in ("subject", "originalBody", "relatedEntityId")] == [
        f"'{cell.strip()}",
        f"'{cell}",
        f"'{record['relatedEntityId']}",
    ]
    assert row["body"].startswith("'")
    assert msgspec.json.decode(row["variables"]) == {"x": cell}


async def test_tabs_and_returns_at_the_beginning_are_harmless_quotes_and_lines_come_back(api: Api):
    bodies = ["\tx", "\rx", 'He said "hi", then\r\nleft; so\tit goes', "a,b"]
    for body in bodies:
        await api.send(body=body)
    rows = await exported(api, sort="created:asc")
    assert sorted(row["originalBody"] for row in rows) == sorted(["'\tx", "'\rx", *bodies[2:]])


async def test_a_page_is_twenty_unless_asked_for_more_and_at_most_a_hundred(api: Api):
    for number in range(103):
        await api.send(subject=f"Mail {number}")
    assert len(await exported(api)) == 20
    assert [row["subject"] for row in await exported(api, sort="created:asc,subject", size=2, page=0)] == ["Mail 0", "Mail 1"]
    assert len(await exported(api, size=1000)) == 100
    assert len(await exported(api, size=0)) == len(await exported(api, size=-3)) == 20
    assert len(await exported(api, size=100, page=1)) == 3
    assert len(await exported(api, page=-1)) == 20
    assert len(await downloaded(api)) == 103
    assert len(await downloaded(api, page=3)) == 103
    assert len(await downloaded(api, size=50, page=2)) == 3


async def test_it_finds_what_dynamic_search_finds_in_the_same_order(api: Api):
    for subject, type_ in (
        ("Spring offer", "OFFERTE"),
        ("Your invoice", "INVOICE"),
        ("Autumn offer", "OFFERTE"),
        ("An offer of ours", "INVOICE"),
    ):
        await api.send(subject=subject, type=type_)
    for query in (
        {"search": "subject:offer", "sort": "subject:desc"},
        {"filters": "type:INVOICE", "sort": "subject"},
        {"search": "subject:offer", "filters": "type:in:INVOICE|OFFERTE", "size": 2, "page": 1, "sort": "subject"},
        {},
    ):
        found = (await api.client.get("/api/v1/communications/dynamic-search", params=query)).json()["content"]
        assert [row["id"] for row in await exported(api, **query)] == [record["id"] for record in found]
    assert [row["subject"] for row in await downloaded(api, search="subject:offer", sort="subject:desc")] == [
        "Spring offer",
        "Autumn offer",
        "An offer of ours",
    ]


async def test_a_file_comes_as_an_attachment_in_utf_8(api: Api):
    await api.send(subject="Grüße, 株式会社")
    answer = await api.client.get(PATH, headers=CSV)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    assert answer.headers["content-disposition"] == 'attachment; filename="communications.csv"'
    assert answer.headers["vary"] == "Accept"
    assert answer.content.startswith(b"bcc,")
    assert records(answer.content.decode("utf-8"))[0]["subject"] == "Grüße, 株式会社"
    head = await api.client.head(PATH, headers=CSV)
    assert (head.status_code, head.content, head.headers["content-type"]) == (200, b"", "text/csv; charset=utf-8")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("text/csv;q=0", "application/json"),
        ("application/json, text/csv;q=0.5", "application/json"),
        ("text/*", "application/json"),
        ("text/csv;q=x", "application/json"),
        ("TEXT/CSV", "text/csv; charset=utf-8"),
        ("text/csv; header=present, */*;q=0.1", "text/csv; charset=utf-8"),
        ("application/json;q=0.2, text/csv;q=0.8", "text/csv; charset=utf-8"),
    ],
)
async def test_the_accept_header_decides(api: Api, accept: str, kind: str):
    answer = await api.client.get(PATH, headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)


@pytest.mark.parametrize(
    "query", ["filters=nothing:1", "filters=status:sideways:1", "search=nothing:x", "sort=nothing", "page=x", "size=many"]
)
async def test_what_cannot_be_asked_is_a_400(api: Api, query: str):
    for headers in ({}, CSV):
        answer = await api.client.get(f"{PATH}?{query}", headers=headers)
        assert (answer.status_code, set(answer.json())) == (400, {"detail", "time", "title"})
        assert answer.headers["content-type"] == "application/json"


async def test_a_key_is_needed_that_may_read(api: Api):
    await api.send()
    writer = api.client_for(await api.new_key(api.tenant, "communications:write", "reports:read"))
    answers: list[httpx2.Response] = [await api.stranger.get(PATH), await writer.get(PATH)]
    await writer.aclose()
    assert [(answer.status_code, set(answer.json())) for answer in answers] == [(code, {"detail", "time", "title"}) for code in (401, 403)]


async def test_a_batch_after_the_other_every_record_comes_once(api: Api, monkeypatch: pytest.MonkeyPatch):
    from tidings.api.alpha import export

    monkeypatch.setattr(export, "IDS_AT_ONCE", 4)
    monkeypatch.setattr(export, "RECORDS_AT_ONCE", 3)
    tokens = [(await api.send(subject=f"{number % 3}"))["id"] for number in range(9)]
    for query in ({}, {"sort": "subject"}, {"filters": "subject:in:0|1|2"}):
        assert sorted(row["id"] for row in await downloaded(api, **query)) == sorted(tokens)
