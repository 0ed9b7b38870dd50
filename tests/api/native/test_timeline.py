"""Everything with one contact as one list: what is in it, in which order, page by page, however much there is."""

from typing import Any

import pytest

from tests.support.api import Api
from tidings import ids
from tidings.analytics import lifeline
from tidings.clock import DAY, HOUR
from tidings.database import Database, Tx, open_database
from tidings.domain import enrollments, suppressions
from tidings.inbound import receive

PEOPLE = "/api/v1/contacts"


async def ann(api: Api) -> str:
    answer = await api.client.post(PEOPLE, json={"email": "ann@example.test", "phone": "+31612345678", "consent": {"sms": "denied"}})
    return answer.json()["id"]


async def asked(api: Api, contact: str, limit: int = 100) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        answer = await api.client.get(f"{PEOPLE}/{contact}/timeline", params={"limit": limit, **after})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        rows += page["timeline"]
        if page["next"] is None:
            return rows
        assert len(page["timeline"]) == limit
        after = {"after": page["next"]}


async def lived(api: Api) -> str:
    """Ann: denied texts, enrolled, written to, has answered, unsubscribed; each an hour after the one before."""
    contact = await ann(api)
    api.at += HOUR
    campaign = (await api.client.post("/api/v1/campaigns", json={"name": "Spring"})).json()["id"]
    await api.client.post(
        f"/api/v1/campaigns/{campaign}/messages", json={"channel": "email", "subject": "Hi", "body": "<p>Hi</p>", "delay": "3d"}
    )
    await api.client.post(f"/api/v1/campaigns/{campaign}/activate")
    await api.client.post("/api/v1/enrollments", json={"campaign_id": campaign, "contact_id": contact})
    api.at += HOUR
    sent = await api.send(body='<a href="https://shop.test/">shop</a>')
    await api.dispatch()
    api.at += HOUR
    await api.stranger.get(f"/api/v1/communications/link/{sent['id']}/0")
    desk = receive.Desk(api.db, api.house.store, api.signer, lambda: api.at)
    await receive.mail(desk, api.tenant.id, b"From: ann@example.test\r\nSubject: Re: Hello\r\n\r\nYes\r\n")
    walk = (await api.rows("SELECT id FROM enrollments WHERE tenant_id = :t", t=api.tenant.id))[0][0]
    await api.db.write(enrollments.stop, api.tenant.id, walk, "reply", now=api.at)
    api.at += HOUR
    number = (await api.rows("SELECT id FROM communications WHERE tenant_id = :t", t=api.tenant.id))[0][0]
    await api.stranger.post(f"/unsubscribe/{api.signer.unsubscribe(api.tenant.id, number)}")
    return contact


async def test_everything_is_one_list_newest_first(api: Api):
    rows = await asked(api, await lived(api))
    assert [(row["kind"], row["word"]) for row in rows] == [
        ("suppressed", "unsubscribed"),
        ("received", "new"),
        ("ended", "reply"),
        ("communication", "sent"),
        ("enrolled", ""),
        ("consent", "denied"),
    ]
    mail = rows[3]
    assert (mail["subject"], mail["address"], mail["at"]) == ("Hello", "ann@example.test", "2025-06-18T14:00:00Z")
    assert {row["kind"] for row in mail["happened"]} >= {"sent", "clicked"}
    assert next(row for row in mail["happened"] if row["kind"] == "clicked")["link"] == {"index": 0, "url": "https://shop.test/"}
    assert (rows[5]["channel"], rows[1]["subject"], mail["more"]) == ("sms", "Re: Hello", False)
    assert rows[0]["suppression_id"].startswith("supp_")
    assert rows[1]["inbound_id"].startswith("inbd_")


@pytest.mark.parametrize("limit", [1, 2, 4])
async def test_pages_of_any_size_have_the_same_in_all(api: Api, limit: int):
    contact = await lived(api)
    assert await asked(api, contact, limit) == await asked(api, contact)


async def test_what_came_in_the_same_millisecond_is_on_one_page_each(api: Api):
    contact = await ann(api)
    for _ in range(5):
        await api.send()
    await api.db.write(suppressions.add, api.tenant.id, "email", "ann@example.test", "manual", now=api.at)
    whole = await asked(api, contact)
    assert len(whole) == 7
    for limit in (1, 2, 3):
        assert await asked(api, contact, limit) == whole


async def test_who_is_not_there_has_none(api: Api):
    contact = await ann(api)
    rival = await api.rival()
    for client, name, status in (
        (rival, contact, 404),
        (api.client, "cont_x", 404),
        (api.client, ids.spell("contact", 999), 404),
        (api.client, contact, 200),
    ):
        assert (await client.get(f"{PEOPLE}/{name}/timeline")).status_code == status
    assert (await api.client.get(f"{PEOPLE}/{contact}/timeline", params={"after": "zzz"})).status_code == 422


class Counting(Tx):
    """A transaction that keeps what was asked, how it is found, and how many rows came."""

    def __init__(self, tx: Tx, kind: str) -> None:
        super().__init__()
        self.tx, self.explain = tx, "EXPLAIN QUERY PLAN " if kind == "sqlite" else "EXPLAIN "
        self.plans: list[str] = []
        self.read = 0

    def rows(self, sql: Any, /, **params: Any) -> list[tuple[Any, ...]]:
        self.plans.append("\n".join(str(row[-1]) for row in self.tx.rows(self.explain + sql, **params)))
        found = self.tx.rows(sql, **params)
        self.read += len(found)
        return found

    def run(self, sql: Any, /, **params: Any) -> int:
        return self.tx.run(sql, **params)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_page_reads_a_page_however_much_there_is(kind: str, request: pytest.FixtureRequest):
    db: Database = await open_database(request.getfixturevalue(f"{kind}_url"))
    await db.write(_fill, kind)
    counting = await db.read(_counted, kind)
    await db.close()
    assert counting.read <= 5 * 26 + 26
    for plan in counting.plans:
        for table in ("communications", "inbound_messages", "enrollments", "interactions_other"):
            assert f"Seq Scan on {table}" not in plan, plan
        assert not any(line.startswith(("SCAN c", "SCAN i", "SCAN e")) for line in plan.splitlines()), plan
    newest = counting.plans[0]
    assert "communications_contact" in newest
    # PostgreSQL's index has them in their order; SQLite sorts what the contact has
    assert kind == "sqlite" or "Sort" not in newest, newest


def _counted(tx: Tx, kind: str) -> Counting:
    counting = Counting(tx, kind)
    assert len(lifeline.page(counting, 1, 5, None, limit=26)) == 26
    return counting


def _fill(tx: Tx, kind: str) -> None:
    numbers: Any = {
        "sqlite": "WITH RECURSIVE numbers (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM numbers WHERE id < 20000)",
        "postgres": "WITH numbers AS (SELECT CAST(generate_series(1, 20000) AS bigint) AS id)",
    }[kind]
    for statement in (
        "INSERT INTO communications (tenant_id, channel, state, lane, contact_id, content_id, type, address, track_opens, track_links, sent_at,"
        " created_at, updated_at) SELECT 1, 'email', 'sent', 0, 4 + id % 2, 1, 'X', id, 1, 1, id, id, 0 FROM numbers",
        "INSERT INTO inbound_messages (tenant_id, channel, conversation_id, contact_id, communication_id, source, source_id, sender, received_at,"
        " created_at, updated_at) SELECT 1, 'email', id, 4 + id % 2, id, 'imap', id, id, id, id, 0 FROM numbers",
        "INSERT INTO enrollments (tenant_id, campaign_id, contact_id, position, completed_at, enrolled_at, created_at, updated_at)"
        " SELECT 1, id, id % 5000, 1, id, id, 0, 0 FROM numbers",
        f"INSERT INTO interactions (tenant_id, communication_id, contact_id, kind, at) SELECT 1, id, 4 + id % 2, 'sent', id + {DAY} FROM numbers",
    ):
        into, _, what = statement.partition(" SELECT ")
        whole: Any = f"{into} {numbers} SELECT {what}"
        tx.run(whole)
    tx.run("ANALYZE")
