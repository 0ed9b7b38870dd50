"""Who did not get a campaign's message: everybody once, for the right reason, counted as listed, and by indexes that hold nothing else."""

from collections import Counter
from typing import Any

import pytest

from tests.support.explaining import Explaining
from tests.support.unlucky import WHO, Unlucky
from tests.support.walk import House
from tidings.analytics import missed
from tidings.analytics.missed import REASONS, Asked, Missed, Place
from tidings.clock import DAY
from tidings.database import Database, Tx, open_database
from tidings.domain import campaigns, enrollments
from tidings.errors import NotFound

ROWS = 20_000


@pytest.fixture
async def unlucky(db: Database) -> Unlucky:
    return await Unlucky(await House(db).settle_in()).happen()


async def everyone(unlucky: Unlucky, *, limit: int = 100, **which: Any) -> list[Missed]:
    """All pages of so many; each but the last is full, save where contacts are looked through."""
    db, tenant_id = unlucky.house.db, unlucky.house.tenant_id
    given = await db.read(missed.plan, tenant_id, Asked(campaign_id=unlucky.campaign, **which))
    rows: list[Missed] = []
    after: Place | None = None
    while True:
        found = await db.read(missed.page, given, after, limit=limit)
        assert len(found.rows) <= limit
        rows += found.rows
        if found.next is None:
            counts = await db.read(missed.counts, given)
            assert counts.complete
            assert counts.by_reason == dict(Counter(row.reason for row in rows))
            return rows
        after = found.next


async def everyone_listed(unlucky: Unlucky) -> list[Missed]:
    given = await unlucky.house.db.read(missed.plan, unlucky.house.tenant_id, Asked(campaign_id=unlucky.campaign))
    return (await unlucky.house.db.read(missed.page, given, None, limit=100)).rows


async def messages(unlucky: Unlucky) -> list[int]:
    return [row.id for row in await unlucky.house.db.read(campaigns.messages, unlucky.house.tenant_id, unlucky.campaign)]


async def test_everybody_who_has_not_got_a_message_is_listed_with_the_reason(unlucky: Unlucky):
    first, _ = await messages(unlucky)
    rows = await everyone(unlucky, message_id=first, list_id=unlucky.list_id)
    assert {unlucky.name(row.contact_id): row.reason for row in rows} == WHO
    assert len(rows) == len(WHO)


async def test_pages_of_any_size_have_the_same_in_all(unlucky: Unlucky):
    whole = await everyone(unlucky, everybody=True)
    for limit in (1, 2, 3, 7):
        assert await everyone(unlucky, everybody=True, limit=limit) == whole


async def test_each_is_told_in_the_words_of_who_knows(unlucky: Unlucky):
    first, _ = await messages(unlucky)
    rows = {unlucky.name(row.contact_id): row for row in await everyone(unlucky, message_id=first, everybody=True)}
    assert (rows["refused"].detail, rows["refused"].code) == ("no such user (5.1.1)", "5.1.1")
    assert (rows["given"].detail or "").startswith("Given up after 10 attempts: mailbox full")
    assert rows["phone"].detail == "The contact has no email address."
    assert rows["blocked"].detail == "blocked@example.com must not be written to: manual"
    assert rows["denied"].detail == "denied@example.com must not be written to: no consent"
    assert (rows["bounced"].detail, rows["bounced"].code) == ("mailbox full", "5.2.2")
    assert (rows["canceled"].detail, rows["canceled"].author) == ("Canceled by ann.", "ann")
    assert rows["left"].detail == "The contact unsubscribed."
    assert rows["deleted"].detail == "Its enrollment was deleted."
    assert (rows["held"].detail, rows["held"].due_at) == ("Held: the line broke", None)
    assert rows["later"].due_at == unlucky.house.now + 60_000
    assert rows["absent"].detail == "Was never enrolled."
    assert rows["refused"].since < rows["given"].since < rows["bounced"].since


async def test_whoever_is_under_way_is_not_due_for_the_next_message_yet(unlucky: Unlucky):
    first, second = await messages(unlucky)
    rows = await everyone(unlucky, message_id=second)
    not_due = {unlucky.name(row.contact_id): row for row in rows if row.reason == "not_due"}
    assert set(not_due) == {"lucky", *WHO} - {"left", "deleted", "absent"}
    assert not_due["later"].due_at == unlucky.house.now + 60 * DAY
    assert {unlucky.name(row.contact_id) for row in rows if row.reason == "stopped"} == {"left"}
    # of the campaign, the message that was waiting is the one that was stopped
    stopped = [row for row in await everyone(unlucky) if unlucky.name(row.contact_id) == "left"]
    assert [(row.reason, row.message_id) for row in stopped] == [("stopped", first)]


async def test_a_reply_between_two_messages_stops_the_second(unlucky: Unlucky):
    house = unlucky.house
    _, second = await messages(unlucky)
    walk = (await house.db.read(enrollments.page, house.tenant_id, contact_id=unlucky.people["lucky"], limit=1, page=1)).rows[0]
    await house.db.write(enrollments.stop, house.tenant_id, walk.id, "reply", now=house.now)
    for which in ({}, {"message_id": second}):
        row = next(row for row in await everyone(unlucky, **which) if row.contact_id == unlucky.people["lucky"])
        assert (row.reason, row.message_id, row.detail, row.since) == ("stopped", second, "The contact replied.", house.now)


async def test_a_pause_says_so(unlucky: Unlucky):
    await unlucky.house.db.write(campaigns.pause, unlucky.house.tenant_id, unlucky.campaign, now=unlucky.house.now)
    first, _ = await messages(unlucky)
    rows = {unlucky.name(row.contact_id): row for row in await everyone(unlucky, message_id=first)}
    assert (rows["later"].reason, rows["later"].detail, rows["later"].due_at) == ("waiting", "The campaign is paused.", None)
    assert (rows["held"].reason, rows["held"].detail) == ("unknown", "Held: the line broke")


async def test_a_reason_is_all_that_is_asked_for(unlucky: Unlucky):
    first, second = await messages(unlucky)
    for reason in REASONS:
        rows = await everyone(unlucky, reasons=frozenset({reason}), message_id=second if reason == "not_due" else first, everybody=True)
        expected = {name for name, why in WHO.items() if why == reason} or {"lucky", *WHO} - {"left", "deleted", "absent"}
        assert {unlucky.name(row.contact_id) for row in rows} == expected


async def test_whoever_has_it_from_another_walk_has_it(unlucky: Unlucky):
    house = unlucky.house
    first, _ = await messages(unlucky)
    await house.db.write(_walk_again, unlucky, first)
    rows = {unlucky.name(row.contact_id): row.reason for row in await everyone(unlucky, message_id=first, list_id=unlucky.list_id)}
    assert rows == {name: why for name, why in WHO.items() if name != "refused"}


def _walk_again(tx: Tx, unlucky: Unlucky, message_id: int) -> None:
    tx.run(
        "INSERT INTO communications (tenant_id, channel, state, lane, contact_id, content_id, campaign_id, message_id, enrollment_id, type, address,"
        " track_opens, track_links, sent_at, created_at, updated_at) VALUES (:tenant_id, 'email', 'sent', 1, :contact_id, 1, :campaign_id, :message_id,"
        " 999, 'CAMPAIGN', 'refused@example.com', 1, 1, :now, :now, :now)",
        tenant_id=unlucky.house.tenant_id,
        contact_id=unlucky.people["refused"],
        campaign_id=unlucky.campaign,
        message_id=message_id,
        now=unlucky.house.now,
    )


async def test_another_tenants_campaign_is_none(unlucky: Unlucky):
    with pytest.raises(NotFound):
        await unlucky.house.db.read(missed.plan, unlucky.house.tenant_id + 1, Asked(campaign_id=unlucky.campaign))


async def test_a_page_looks_at_so_many_contacts_and_goes_on_behind_them(unlucky: Unlucky, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(missed, "LOOK", 2)
    monkeypatch.setattr(missed, "LOOKS", 1)
    rows = await everyone(unlucky, reasons=frozenset({"not_enrolled"}), everybody=True, limit=5)
    assert [unlucky.name(row.contact_id) for row in rows] == ["absent"]


async def test_what_is_too_much_to_count_is_counted_so_far(unlucky: Unlucky, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(missed, "MOST", 3)
    given = await unlucky.house.db.read(missed.plan, unlucky.house.tenant_id, Asked(campaign_id=unlucky.campaign))
    counts = await unlucky.house.db.read(missed.counts, given)
    assert not counts.complete
    assert sum(counts.by_reason.values()) >= 3
    assert sum(counts.by_reason.values()) < len(await everyone_listed(unlucky))


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_what_arrived_is_not_read(kind: str, request: pytest.FixtureRequest) -> None:
    db = await open_database(request.getfixturevalue(f"{kind}_url"))
    await db.write(_fill, kind)
    plans = await db.read(_explained, kind)
    await db.close()
    for index in ("communications_missed", "communications_due", "enrollments_due", "enrollments_stopped", "interactions_"):
        assert [plan for plan in plans if index in plan], index
    for plan in plans:
        for line in plan.splitlines():
            assert not any(f"Seq Scan on {table}" in line for table in ("communications", "interactions_other", "enrollments")), plan
            through = ("d", "e", "i", "o") if "MATERIALIZE due" in plan else ("c", "d", "e", "i", "o")
            assert not any(line.startswith(f"SCAN {name}") and "USING" not in line for name in through), plan
            # by more than the tenant, whose rows all of these are
            assert not line.rstrip().endswith("(tenant_id=?)") or "list_members" in line, plan


def _explained(tx: Tx, kind: str) -> list[str]:
    explaining = Explaining(tx, kind)
    for which in ({}, {"message_id": 1}):
        given = missed.plan(tx, 1, Asked(campaign_id=1, list_id=1, **which))
        counts = missed.counts(explaining, given)
        assert counts.by_reason["failed"] == 20
        assert counts.by_reason["bounced"] == 20
        missed.page(explaining, given, None, limit=1000)
    return explaining.plans


def _fill(tx: Tx, kind: str) -> None:
    numbers: Any = {
        "sqlite": "WITH RECURSIVE numbers (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM numbers WHERE id < 20000)",
        "postgres": "WITH numbers AS (SELECT CAST(generate_series(1, 20000) AS bigint) AS id)",
    }[kind]
    tx.run(
        "INSERT INTO campaigns (tenant_id, name, state, reenroll_after, stop_on_reply, track_opens, track_links, created_at, updated_at)"
        " VALUES (1, 'Spring', 'active', 0, 1, 1, 1, 0, 0)"
    )
    for position in (1, 2):
        tx.run(
            "INSERT INTO messages (tenant_id, campaign_id, position, channel, delay, content_id, created_at, updated_at)"
            " VALUES (1, 1, :position, 'email', 5, 1, 0, 0)",
            position=position,
        )
    for into, what in (
        ("contacts (tenant_id, email, email_key, created_at, updated_at)", "SELECT 1, id, id, 0, 0 FROM numbers"),
        (
            "enrollments (tenant_id, campaign_id, contact_id, position, due_at, completed_at, stopped_by, enrolled_at, created_at, updated_at)",
            "SELECT 1, 1, id, 1, CASE WHEN id % 100 = 3 THEN id END, CASE WHEN id % 100 <> 3 THEN 5 END, CASE WHEN id % 1000 = 4 THEN 'reply' END,"
            " 0, 0, 0 FROM numbers",
        ),
        (
            "communications (tenant_id, channel, state, lane, due_at, contact_id, content_id, campaign_id, message_id, enrollment_id, type, address,"
            " track_opens, track_links, sent_at, created_at, updated_at)",
            "SELECT 1, 'email', CASE id % 1000 WHEN 1 THEN 'failed' WHEN 2 THEN 'pending' WHEN 3 THEN 'bounced' ELSE 'sent' END, 1,"
            " CASE id % 1000 WHEN 2 THEN id END, id, 1, 1, 1, id, 'CAMPAIGN', id, 1, 1, CASE WHEN id % 1000 IN (1, 2) THEN NULL ELSE id END, id, id"
            " FROM numbers",
        ),
        (
            "interactions (tenant_id, communication_id, contact_id, campaign_id, message_id, kind, at)",
            "SELECT 1, id, id, 1, 1, CASE id % 1000 WHEN 3 THEN 'bounced' ELSE 'sent' END, id FROM numbers",
        ),
    ):
        statement: Any = f"INSERT INTO {into} {numbers} {what}"
        tx.run(statement)
    tx.run("ANALYZE")
