"""The reports of interactions: which rows, in which words, in which order, and how they are cut into pages."""

import random
from typing import Any

import pytest

from tests.contracts.everlytic.log import FIRST, LATER, PATH, Log, spelt
from tests.support.api import NOON, Api
from tidings import clock
from tidings.clock import DAY, HOUR, SECOND
from tidings.domain import marks
from tidings.domain.marks import Series

WORDS = {
    "sends": "sent",
    "deliveries": "delivered",
    "opens": "opened",
    "clicks": "clicked",
    "bounces": "bounced",
    "failures": "failed",
    "complaints": "complained",
    "unsubscribes": "unsubscribed",
    "resubscribes": "resubscribed",
    "replies": "replied",
}
BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
MIDNIGHT = NOON - 12 * HOUR
EMPTY: dict[str, Any] = {"result": "success", "page_size": 100, "total_pages": 0, "total_rows": 0, "data": []}


@pytest.fixture
def log(api: Api) -> Log:
    return Log(api)


async def test_a_row_says_who_when_and_what_in_the_words_of_the_question(log: Log):
    ann = await log.api.contact("Ann@Example.test")
    copy = await log.communication(ann, NOON - DAY)
    for number, kind in enumerate(WORDS.values()):
        await log.happened(kind, NOON + number * SECOND + 999, contact_id=ann, communication_id=copy)
    for number, word in enumerate(WORDS):
        at = spelt(NOON + number * SECOND)
        assert await log.ask(interactionType=word) == {
            "result": "success",
            "page_size": 100,
            "total_pages": 1,
            "total_rows": 1,
            "data": [
                {
                    "contact_id": ann,
                    "contact_email": "Ann@Example.test",
                    "send_date": at if word == "sends" else spelt(NOON - DAY),
                    "interaction_type": word,
                    "interaction_date": at,
                    "message_id": 7,
                    "page_number": 1,
                }
            ],
        }


async def test_nobody_forwards(log: Log):
    for kind in (*WORDS.values(), "forwarded", "canceled", "unknown", "updated", "commented", ""):
        await log.happened(kind, NOON)
    assert await log.ask(interactionType="forwards") == EMPTY


async def test_a_campaign_that_goes_out_is_reported_as_it_happened(log: Log):
    api = log.api
    made = (await api.client.post("/api/v1/campaigns", json={"name": "Spring"})).json()
    below = f"/api/v1/campaigns/{made['id']}"
    step = (
        await api.client.post(f"{below}/messages", json={"channel": "email", "subject": "Hi", "body": '<a href="https://x.test/">x</a>'})
    ).json()
    people = [(await api.client.post("/api/v1/contacts", json={"email": f"{name}@example.test"})).json() for name in ("ann", "bob")]
    await api.client.post(f"{below}/activate")
    for person in people:
        await api.client.post("/api/v1/enrollments", json={"campaign_id": made["id"], "contact_id": person["id"]})
    mails = await api.dispatch()
    assert len(mails) == 2
    sends = await log.ask(step["id"])
    assert [(row["contact_id"], row["contact_email"]) for row in sends["data"]] == [
        (person["number"], person["email"]) for person in people
    ]
    assert {(row["send_date"], row["interaction_date"], row["message_id"]) for row in sends["data"]} == {(spelt(), spelt(), step["id"])}
    api.at += HOUR
    first = api.signer.communication(api.tenant.id, mails[0].communication_id)
    for agent in (FIREFOX, BOT):
        await api.stranger.get(f"/api/v1/communications/track/{first}", headers={"user-agent": agent})
    opens = await log.ask(step["id"], interactionType="opens")
    assert opens["total_rows"] == 2, "what a machine opens is an interaction like any other"
    assert {(row["send_date"], row["interaction_date"]) for row in opens["data"]} == {(spelt(), spelt(NOON + HOUR))}
    assert (await log.ask(step["id"], interactionType="clicks"))["total_rows"] == 0
    assert (await api.client.post(f"/api/v1/communications/{first}/resend")).status_code == 200
    await api.dispatch()
    again = await log.ask(step["id"])
    assert [row["interaction_date"] for row in again["data"]] == [spelt(), spelt(), spelt(NOON + HOUR)]
    assert (await api.client.delete(f"/api/v1/communications/{first}")).status_code == 204
    left = await log.ask(step["id"])
    assert [row["contact_email"] for row in left["data"]] == ["bob@example.test"]


async def test_a_contact_that_is_gone_leaves_an_empty_address_and_what_never_went_out_has_no_date(log: Log):
    ann = await log.api.contact("ann@example.test")
    phone = await log.api.contact(None, "+31612345678")
    copy = await log.communication(ann, None)
    await log.happened("failed", NOON, contact_id=ann, communication_id=copy)
    await log.happened("failed", NOON, contact_id=phone, communication_id=copy)
    await log.happened("failed", NOON, contact_id=999, communication_id=999)
    rows = (await log.ask(interactionType="failures"))["data"]
    assert [(row["contact_id"], row["contact_email"], row["send_date"]) for row in rows] == [
        (ann, "ann@example.test", None),
        (phone, "", None),
        (999, "", None),
    ]


async def test_days_are_whole_and_both_are_included(log: Log):
    days = {"2025-06-17": MIDNIGHT - 1, "2025-06-18": MIDNIGHT, "2025-06-19": MIDNIGHT + DAY}
    await log.happened("sent", *days.values(), MIDNIGHT + DAY - 1)
    ranges = [
        ("2025-06-18", "2025-06-18", 2),
        ("2025-06-17", "2025-06-18", 3),
        ("2025-06-18", "2025-06-19", 3),
        ("2025-06-19", "2025-06-19", 1),
        ("2025-06-17", "2025-06-17", 1),
        ("2025-06-20", "9999-12-31", 0),
        ("0001-01-01", "2025-06-16", 0),
        ("0001-01-01", "9999-12-31", 4),
    ]
    for begin, end, count in ranges:
        report = await log.ask(fromDate=begin, toDate=end)
        assert (report["total_rows"], len(report["data"])) == (count, count), (begin, end)


async def test_rows_are_in_order_of_the_date_shown_then_of_the_contact_and_desc_is_the_reverse(log: Log):
    rows = [(NOON + 900, 1), (NOON + 100, 3), (NOON, 2), (NOON + SECOND, 1), (NOON - 1, 9), (NOON + 500, 2)]
    await log.many("sent", rows)
    told = await log.told()
    assert told == sorted(told, key=lambda row: (row[1], row[0]))
    assert [contact for contact, _ in told] == [9, 1, 2, 2, 3, 1]
    assert await log.told(order="desc") == told[::-1]


async def test_pages_are_of_a_hundred_and_only_the_first_counts(log: Log):
    await log.many("sent", [(NOON + number * SECOND, number + 1) for number in range(250)])
    first = await log.ask()
    assert (list(first), first["page_size"], first["total_pages"], first["total_rows"]) == (FIRST, 100, 3, 250)
    contacts = [row["contact_id"] for row in first["data"]]
    for number, count in ((2, 100), (3, 50), (4, 0), (5, 0), (10**9, 0), (10**30, 0)):
        page = await log.ask(pageNumber=number)
        assert (list(page), len(page["data"])) == (LATER, count)
        assert {row["page_number"] for row in page["data"]} <= {number}
        contacts += [row["contact_id"] for row in page["data"]]
    assert contacts == list(range(1, 251))
    assert [row["contact_id"] for row in (await log.ask(pageNumber=3, order="desc"))["data"]] == list(range(50, 0, -1))
    assert (await log.ask(pageNumber=2, fromDate="2025-06-19"))["data"] == []


async def test_an_exact_number_of_pages_has_no_empty_last_one(log: Log):
    await log.many("sent", [(NOON, number + 1) for number in range(200)])
    assert (await log.ask())["total_pages"] == 2
    assert [row["contact_id"] for row in (await log.ask(pageNumber=2))["data"]] == list(range(101, 201))


async def test_a_page_number_may_be_text_and_is_one_unless_given(log: Log):
    await log.many("sent", [(NOON, number + 1) for number in range(101)])
    for given in (2, "2", "02", 2.0, "2.0", " 2 "):
        page = await log.ask(pageNumber=given)
        assert (list(page), [(row["contact_id"], row["page_number"]) for row in page["data"]]) == (LATER, [(101, 2)])
    for given in (..., None, 1, "1", 1.0):
        page = await log.ask(pageNumber=given)
        assert (list(page), {row["page_number"] for row in page["data"]}) == (FIRST, {1})


async def test_of_a_message_that_is_not_there_nothing_happened(log: Log):
    await log.happened("sent", NOON)
    for message_id in ("8", "0", "007000", "9223372036854775807", "9223372036854775808", "9" * 400):
        assert await log.ask(message_id) == EMPTY
        assert await log.ask(message_id, pageNumber=2) == {"result": "success", "data": []}


async def test_of_another_tenants_message_nothing_happened(log: Log):
    await log.happened("sent", NOON)
    async with await log.api.rival() as rival:
        assert await log.ask(client=rival) == EMPTY
    assert (await log.ask())["total_rows"] == 1


async def test_the_body_is_json_whatever_its_type_is_called(log: Log):
    body = b'\xef\xbb\xbf{"interactionType": "sends", "fromDate": "2025-01-01", "toDate": "2025-12-31", "order": "asc", "other": [1]}'
    for kind in ("application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "", "nonsense"):
        answer = await log.api.client.post(f"{PATH}/7", content=body, headers={"content-type": kind} if kind else {})
        assert (answer.status_code, answer.json()) == (200, EMPTY)
        assert answer.headers["content-type"] == "application/json"


async def test_pages_put_together_are_the_whole_report_with_marks_and_without(log: Log):
    """Rows that were late, removed and marked between: tiny marks, so that there are many."""
    dice, told = random.Random(5), list[tuple[str, int]]()
    series = Series(log.api.tenant.id, 7, "sent")
    for _ in range(4):
        rows = [(MIDNIGHT + dice.randrange(3 * 86_400) * 250, dice.randrange(1, 50)) for _ in range(90)]
        await log.many("sent", rows)
        told += [(spelt(at), contact) for at, contact in rows]
        for begin, end in (("1972-01-01", "2099-12-31"), ("2025-06-18", "2025-06-18")):
            wanted = sorted(row for row in told if begin <= row[0][:10] <= end)
            for order in ("asc", "desc"):
                found: list[dict[str, Any]] = []
                for number in range(1, len(wanted) // 100 + 2):
                    found += (await log.ask(pageNumber=number, order=order, fromDate=begin, toDate=end))["data"]
                assert [(row["interaction_date"], row["contact_id"]) for row in found] == (wanted if order == "asc" else wanted[::-1])
        await log.api.db.write(marks.lay, series, now=clock.now(), spacing=7, group=3)


async def test_who_reads_far_leaves_a_wish_for_marks(log: Log, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tidings.analytics.ranked.FAR", 100)
    await log.many("sent", [(NOON + number * SECOND, 1) for number in range(250)])
    assert (await log.ask())["total_rows"] == 250
    assert await log.api.db.read(marks.wanted) == Series(log.api.tenant.id, 7, "sent")
