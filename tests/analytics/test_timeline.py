"""A recipient's messages are found by the indexes of the contact, however many messages everybody else has."""

from typing import Any

import pytest

from tests.support.explaining import Explaining
from tidings.analytics import timeline
from tidings.analytics.timeline import Asked, Key, Order
from tidings.database import Database, Tx, open_database

ROWS = 20_000
FILLED = (
    "INSERT INTO communications (tenant_id, channel, state, lane, contact_id, content_id, type, address, track_opens, track_links, sent_at,"
    " created_at, updated_at) SELECT 1, 'email', 'sent', 0, id, 1, 'OFFERTE', id, 1, 1, id, id, 0 FROM numbers",
    "INSERT INTO inbound_messages (tenant_id, channel, conversation_id, contact_id, communication_id, source, source_id, sender, received_at,"
    " created_at, updated_at) SELECT 1, 'email', id, id, id, 'imap', id, id, id, id, 0 FROM numbers",
)
ASKED = (
    Asked(contact_id=5),
    Asked(contact_id=5, since=1, until=9),
    Asked(contact_id=5, campaigns=(1, 2)),
    Asked(contact_id=5, states=("sent",)),
    Asked(contact_id=5, since=1, until=9, campaigns=(1, 2), states=("delivered",)),
)
KEYS: tuple[Key, ...] = ("at", "inbound", "state", "campaign_name", "sent_at", "created_at")


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_every_question_goes_by_the_indexes_of_the_contact(kind: str, request: pytest.FixtureRequest) -> None:
    db = await open_database(request.getfixturevalue(f"{kind}_url"))
    await db.write(_fill, kind)
    plans = await db.read(_asked, kind)
    await db.close()
    assert len(plans) >= len(ASKED) * (len(KEYS) + 1)
    for plan in plans:
        assert "communications_contact" in plan or "inbound_contact" in plan, plan
        for table in ("communications", "inbound_messages"):
            assert f"Seq Scan on {table}" not in plan, plan
        assert not any(f"SCAN {name} " in f"{line} " for line in plan.splitlines() for name in ("c", "i", "a", "b")), plan


async def test_a_page_and_its_steps_agree(db: Database) -> None:
    kind = "sqlite" if db.kind == "sqlite" else "postgres"
    await db.write(_fill, kind)
    await db.write(_one_person)

    def look(tx: Tx) -> None:
        for asked in (Asked(contact_id=1), Asked(contact_id=1, since=20, until=80), Asked(contact_id=1, states=("delivered",))):
            whole = timeline.page(tx, 1, asked, Order(), offset=0, limit=1000)
            assert whole.total == len(whole.rows)
            for offset in (0, 1, len(whole.rows) - 3, len(whole.rows), len(whole.rows) + 5):
                part = timeline.page(tx, 1, asked, Order(), offset=offset, limit=3)
                assert (part.rows, part.total) == (whole.rows[offset : offset + 3], whole.total)
            stepped: list[timeline.Entry] = []
            while found := timeline.step(tx, 1, asked, after=stepped[-1] if stepped else None, limit=7):
                assert len(found) <= 7
                stepped += found
            assert stepped == sorted(whole.rows, key=lambda entry: (entry.inbound, entry.created_at, entry.id))

    await db.read(look)


def _fill(tx: Tx, kind: str) -> None:
    numbers: Any = {
        "sqlite": "WITH RECURSIVE numbers (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM numbers WHERE id < 20000)",
        "postgres": "WITH numbers AS (SELECT generate_series(1, 20000) AS id)",
    }[kind]
    for statement in FILLED:
        into, _, what = statement.partition(" SELECT ")
        sql: Any = f"{into} {numbers} SELECT {what}"
        tx.run(sql)
    tx.run("ANALYZE")


def _one_person(tx: Tx) -> None:
    """The first hundred messages of each direction are one contact's, three at an instant."""
    tx.run("UPDATE communications SET contact_id = 1, sent_at = id / 3 WHERE tenant_id = 1 AND id <= 100")
    tx.run("UPDATE inbound_messages SET contact_id = 1, received_at = id / 3 WHERE tenant_id = 1 AND id <= 100")


def _asked(tx: Tx, kind: str) -> list[str]:
    explaining = Explaining(tx, kind)
    for asked in ASKED:
        for key in KEYS:
            timeline.page(explaining, 1, asked, Order(key=key), offset=100, limit=20)
        timeline.step(explaining, 1, asked, after=None, limit=20)
    return explaining.plans
