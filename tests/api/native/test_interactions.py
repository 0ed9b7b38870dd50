"""What happened, as a client asks for it: of a communication, a contact, a message, a campaign; newest first, page by page."""

from typing import Any

import httpx2
import pytest

from tests.support.api import Api
from tests.support.explaining import Explaining
from tidings import ids
from tidings.analytics import happened
from tidings.analytics.happened import Asked
from tidings.clock import DAY, HOUR
from tidings.database import Tx, open_database

PATH = "/api/v1/interactions"
KINDS = ("sent", "opened", "clicked")


@pytest.fixture
async def told(api: Api) -> Api:
    """Two contacts with a mail of each of a campaign's two messages, and Ann with one of no campaign; each sent, opened, and clicked by a machine."""
    ann, bob = await api.contact("ann@example.test"), await api.contact("bob@example.test")
    campaign = await api.campaign()
    await api.run(
        "INSERT INTO messages (tenant_id, campaign_id, position, channel, delay, content_id, created_at, updated_at)"
        " VALUES (:t, :campaign, 2, 'email', 0, 1, 0, 0)",
        t=api.tenant.id,
        campaign=campaign,
    )
    messages = [row[0] for row in await api.rows("SELECT id FROM messages WHERE tenant_id = :t ORDER BY id", t=api.tenant.id)]
    await api.run(
        "INSERT INTO contents (tenant_id, hash, channel, format, subject, source, html, text, links, variables, created_at)"
        " VALUES (:t, 'h', 'email', 'html', 'Hi', '', '', '', '[\"https://shop.test/a\",\"https://shop.test/b\"]', '[]', 0)",
        t=api.tenant.id,
    )
    for contact, message in [(ann, messages[0]), (bob, messages[0]), (ann, messages[1]), (bob, messages[1]), (ann, None)]:
        await api.db.write(_happen, api, contact, campaign, message)
        api.at += HOUR
    return api


def _happen(tx: Tx, api: Api, contact: int, campaign: int, message: int | None) -> None:
    tx.run(
        "INSERT INTO communications (tenant_id, channel, state, lane, contact_id, content_id, campaign_id, message_id, enrollment_id, type, address,"
        " track_opens, track_links, sent_at, created_at, updated_at) SELECT :t, 'email', 'sent', 1, :contact, MAX(id), CAST(:campaign AS bigint),"
        " CAST(:message AS bigint), CAST(:walk AS bigint), 'X', 'x@example.test', 1, 1, CAST(:now AS bigint), CAST(:now AS bigint),"
        " CAST(:now AS bigint) FROM contents WHERE tenant_id = :t",
        t=api.tenant.id,
        contact=contact,
        campaign=None if message is None else campaign,
        message=message,
        walk=None if message is None else contact,
        now=api.at,
    )
    for offset, kind in enumerate(KINDS):
        tx.run(
            "INSERT INTO interactions (tenant_id, communication_id, contact_id, campaign_id, message_id, kind, at, link_index, bot, user_agent, ip, reason,"
            " code, detail, author) SELECT :t, MAX(id), :contact, CAST(:campaign AS bigint), CAST(:message AS bigint), :kind, CAST(:at AS bigint),"
            " CAST(:link AS integer), CAST(:bot AS smallint), 'Mozilla', '192.0.2.0', 'other', '2.0.0', 'said', 'crm'"
            " FROM communications WHERE tenant_id = :t",
            t=api.tenant.id,
            contact=contact,
            campaign=None if message is None else campaign,
            message=message,
            kind=kind,
            at=api.at + offset,
            link=1 if kind == "clicked" else None,
            bot=int(kind == "clicked"),
        )


async def asked(api: Api, **params: Any) -> list[dict[str, Any]]:
    """All pages of four."""
    rows: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        answer = await api.client.get(PATH, params={"limit": 4, **params, **after})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        rows += page["interactions"]
        if page["next"] is None:
            return rows
        assert len(page["interactions"]) == 4
        after = {"after": page["next"]}


async def numbers(api: Api) -> dict[str, Any]:
    sql: Any = "SELECT MIN(id), MAX(id) FROM communications WHERE tenant_id = :t"
    first, last = (await api.rows(sql, t=api.tenant.id))[0]
    messages = [row[0] for row in await api.rows("SELECT id FROM messages WHERE tenant_id = :t ORDER BY id", t=api.tenant.id)]
    contacts = [row[0] for row in await api.rows("SELECT id FROM contacts WHERE tenant_id = :t ORDER BY id", t=api.tenant.id)]
    campaign = (await api.rows("SELECT id FROM campaigns WHERE tenant_id = :t", t=api.tenant.id))[0][0]
    return {"first": first, "last": last, "messages": messages, "ann": contacts[0], "bob": contacts[1], "campaign": campaign}


async def test_each_way_of_asking_gives_all_of_it_newest_first(told: Api):
    known = await numbers(told)
    ann, campaign = ids.spell("contact", known["ann"]), ids.spell("campaign", known["campaign"])
    for params, count in (
        ({"communication_id": known["first"]}, 3),
        ({"communication_id": told.signer.communication(told.tenant.id, known["first"])}, 3),
        ({"contact_id": ann}, 9),
        ({"message_id": known["messages"][1]}, 6),
        ({"campaign_id": campaign}, 12),
        ({"campaign_id": campaign, "contact_id": ann}, 6),
        ({"message_id": known["messages"][0], "contact_id": ann}, 3),
        ({"campaign_id": campaign, "kind": "sent"}, 4),
        ({"campaign_id": campaign, "kind": ["sent", "clicked"]}, 8),
        ({"campaign_id": campaign, "bot": "true"}, 4),
        ({"contact_id": ann, "bot": "false", "kind": "opened"}, 3),
        ({"communication_id": known["first"], "contact_id": ids.spell("contact", known["bob"])}, 0),
        ({"communication_id": known["last"], "campaign_id": campaign}, 0),
    ):
        rows = await asked(told, **params)
        assert len(rows) == count, params
        assert [row["id"] for row in rows] == sorted({row["id"] for row in rows}, reverse=True), params


async def test_a_range_of_time_includes_its_beginning_and_not_its_end(told: Api):
    known = await numbers(told)
    rows = await asked(
        told, campaign_id=ids.spell("campaign", known["campaign"]), since="2025-06-18T13:00:00Z", before="2025-06-18T14:00:00Z"
    )
    assert {row["contact_id"] for row in rows} == {ids.spell("contact", known["bob"])}
    assert len(rows) == 3


async def test_one_is_told_with_all_that_is_known(told: Api):
    known = await numbers(told)
    clicked = (await asked(told, communication_id=known["first"]))[0]
    assert clicked | {"id": 0} == {
        "id": 0,
        "kind": "clicked",
        "at": "2025-06-18T12:00:00Z",
        "communication_id": known["first"],
        "key": told.signer.communication(told.tenant.id, known["first"]),
        "contact_id": ids.spell("contact", known["ann"]),
        "campaign_id": ids.spell("campaign", known["campaign"]),
        "message_id": known["messages"][0],
        "bot": True,
        "link": {"index": 1, "url": "https://shop.test/b"},
        "user_agent": "Mozilla",
        "ip": "192.0.2.0",
        "reason": "other",
        "code": "2.0.0",
        "detail": "said",
        "author": "crm",
    }


async def test_what_happened_in_the_same_millisecond_is_on_one_page_each(told: Api):
    known = await numbers(told)
    await told.run("UPDATE interactions SET at = :at WHERE tenant_id = :t", at=told.at, t=told.tenant.id)
    for params, count in (
        ({"campaign_id": ids.spell("campaign", known["campaign"])}, 12),
        ({"message_id": known["messages"][0]}, 6),
        ({"contact_id": ids.spell("contact", known["ann"])}, 9),
    ):
        assert len({row["id"] for row in await asked(told, **params)}) == count


async def test_what_cannot_be_asked_is_refused_with_a_sentence(api: Api):
    for params, status in (
        ({}, 422),
        ({"kind": "sent"}, 422),
        ({"since": "2025-06-18", "before": "2025-06-19"}, 422),
        ({"communication_id": "x"}, 422),
        ({"contact_id": "x"}, 422),
        ({"contact_id": ids.spell("campaign", 1)}, 422),
        ({"message_id": "0"}, 422),
        ({"message_id": "1", "kind": "sneezed"}, 422),
        ({"message_id": "1", "bot": "perhaps"}, 422),
        ({"message_id": "1", "since": "soon"}, 422),
        ({"message_id": "1", "since": "2025-06-19", "before": "2025-06-18"}, 422),
        ({"message_id": "1", "after": "-"}, 422),
        ({"campaign_id": ids.spell("campaign", 9)}, 404),
    ):
        answer: httpx2.Response = await api.client.get(PATH, params=params)
        assert (answer.status_code, bool(answer.json()["error"])) == (status, True), params
    assert (await api.client.get(PATH)).json()["error"] == "Say whose: communication_id, contact_id, message_id or campaign_id"


async def test_another_tenant_sees_nothing(told: Api):
    known, rival = await numbers(told), await told.rival()
    for params in (
        {"communication_id": known["first"]},
        {"communication_id": told.signer.communication(told.tenant.id, known["first"])},
        {"contact_id": ids.spell("contact", known["ann"])},
        {"message_id": known["messages"][0]},
    ):
        assert (await rival.get(PATH, params=params)).json() == {"interactions": [], "next": None}
    assert (await rival.get(PATH, params={"campaign_id": ids.spell("campaign", known["campaign"])})).status_code == 404


FILLED = (
    "INSERT INTO communications (tenant_id, channel, state, lane, contact_id, content_id, campaign_id, message_id, enrollment_id, type, address,"
    " track_opens, track_links, sent_at, created_at, updated_at) SELECT 1, 'email', 'sent', 1, id % 2000, 1, 1, 1 + id % 2, id, 'CAMPAIGN', id, 1, 1,"
    " id, id, 0 FROM numbers",
    "INSERT INTO interactions (tenant_id, communication_id, contact_id, campaign_id, message_id, kind, at)"
    " SELECT 1, id, id % 2000, 1, 1 + id % 2, CASE id % 3 WHEN 0 THEN 'sent' ELSE 'opened' END, id FROM numbers",
)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_every_way_goes_by_an_index(kind: str, request: pytest.FixtureRequest):
    db = await open_database(request.getfixturevalue(f"{kind}_url"))
    await db.write(_fill, kind)
    plans = await db.read(_explained, kind)
    await db.close()
    for plan in plans:
        assert "Seq Scan on interactions_other" not in plan, plan
        assert "Seq Scan on communications" not in plan, plan
        assert not any(line.startswith(("SCAN i", "SCAN c")) for line in plan.splitlines()), plan
        assert "communication_id" in plan or "message_id" in plan, plan


def _explained(tx: Tx, kind: str) -> list[str]:
    explaining = Explaining(tx, kind, "interactions")
    for which in (
        {"communication_id": 5},
        {"contact_id": 5},
        {"message_id": 1},
        {"campaign_id": 1},
        {"message_id": 1, "since": 3, "before": DAY},
    ):
        assert happened.page(explaining, 1, Asked(**which), None, limit=26)
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
    for statement in FILLED:
        into, _, what = statement.partition(" SELECT ")
        whole: Any = f"{into} {numbers} SELECT {what}"
        tx.run(whole)
    tx.run("ANALYZE")
