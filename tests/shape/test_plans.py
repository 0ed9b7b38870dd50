"""The hot statements on a PostgreSQL table of some size: each goes by an index, none reads the table through."""

import re
from typing import Any

import psycopg
import pytest

from tests.shape.test_statements import STATEMENTS, called
from tidings.database import Tx, open_database, statements

ROWS = 20_000
HOT = {
    "domain/communications/claim.py": 4,
    "domain/communications/settle.py": 1,
    "domain/communications/report.py": 3,
    "domain/communications/change.py": 9,
    "domain/communications/counted.py": 1,
    "domain/communications/record.py": 2,
    "domain/communications/cancel.py": 2,
    "domain/enrollments/advance.py": 2,
    "domain/enrollments/end.py": 3,
}
VALUES: dict[str, Any] = {
    "tenant_id": 1,
    "channel": "email",
    "lane": 1,
    "now": 2_000_000,
    "before": 2_000_000,
    "until": 3_000_000,
    "limit": 500,
    "most": 4000,
    "parked": 1 << 60,
    "lease": 7,
    "held": (1 << 60) + 1,
    "id": 5,
    "index": 0,
    "campaign_id": 1,
    "enrollment_id": 5,
    "contact_id": 5,
    "provider": "smtp",
    "position": 1,
    "due_at": 5,
    "since": 0,
    "by": "reply",
    "content_id": 1,
    "message_id": 1,
    "sole": 1,
    "template_id": None,
    "after": 5,
    "last": 50,
    "list_id": 1,
    "offset": 0,
    "track_opens": 1,
    "track_links": 1,
    "claiming": 1,
    "claims": 10,
    "author": "ann",
    "state": "sent",
    "serial": 0,
}
SAMPLES = {"bigint": 5, "text": "5", "integer": 5, "smallint": 1}


@pytest.fixture
def filled(postgres_url: str) -> psycopg.Connection[Any]:
    connection = psycopg.connect(postgres_url, autocommit=True)
    connection.execute("INSERT INTO tenants (slug, name, sender_email, created_at, updated_at) VALUES ('a', 'A', 'a@example.com', 0, 0)")
    connection.execute(
        "INSERT INTO contacts (tenant_id, email, email_key, created_at, updated_at)"
        " SELECT 1, i || '@e.com', i || '@e.com', 0, 0 FROM generate_series(1, %s) i",
        (ROWS,),
    )
    connection.execute(
        "INSERT INTO enrollments (tenant_id, campaign_id, contact_id, due_at, completed_at, enrolled_at, created_at, updated_at)"
        " SELECT 1, 1, i, CASE WHEN i <= 100 THEN 5 END, CASE WHEN i > 100 THEN 5 END, 0, 0, 0 FROM generate_series(1, %s) i",
        (ROWS,),
    )
    connection.execute(
        "INSERT INTO communications (tenant_id, channel, state, lane, due_at, contact_id, content_id, campaign_id, message_id, enrollment_id, type,"
        " address, track_opens, track_links, sent_at, created_at, updated_at)"
        " SELECT 1, 'email', CASE WHEN i <= 1000 THEN 'pending' ELSE 'sent' END, 1, CASE WHEN i <= 1000 THEN i END, i, 1, 1, 1, i, 'CAMPAIGN',"
        " i || '@e.com', 1, 1, CASE WHEN i > 1000 THEN 5 END, 0, 0 FROM generate_series(1, %s) i",
        (ROWS,),
    )
    connection.execute(
        "INSERT INTO interactions (tenant_id, communication_id, contact_id, kind, at) SELECT 1, i, i, 'sent', 5 FROM generate_series(1, %s) i",
        (ROWS,),
    )
    connection.execute("VACUUM ANALYZE")
    return connection


def test_no_hot_statement_reads_a_table_through(filled: psycopg.Connection[Any]) -> None:
    looked_at: dict[str, int] = {}
    wrong: list[str] = []
    whole = called()
    with filled as connection:
        for file, line, sql in STATEMENTS:
            if file not in HOT or (file, line) not in whole:
                continue
            looked_at[file] = looked_at.get(file, 0) + 1
            spelled = statements.for_postgres(sql)
            params = dict(VALUES)
            params |= {name: [5] for name in spelled.lists}
            for name in spelled.batches:
                declared = sql.split(f":{name}(", 1)[1].split(")", 1)[0].split(",")
                params |= {f"{name}_{index}": [SAMPLES[part.split()[1]]] for index, part in enumerate(declared)}
            plan = "\n".join(row[0] for row in connection.execute(("EXPLAIN " + spelled.text).encode(), params))
            wrong += [f"{file}:{line}\n{plan}" for table in ("communications", "enrollments", "contacts") if f"Seq Scan on {table}" in plan]
    filled.close()
    assert {file: count for file, count in looked_at.items() if count < HOT[file]} == {}
    assert wrong == []


CONVERSING = {"domain/threads/join.py": 5, "domain/threads/lineage.py": 2, "domain/threads/read.py": 4, "domain/threads/receive.py": 3}
TABLES = ("communications", "conversations", "inbound_messages")
FILLED = (
    "INSERT INTO conversations (tenant_id, key, channel, related_entity_type, related_entity_id, last_at, created_at, updated_at)"
    " SELECT 1, id, 'email', 'Deal', id, 0, 0, 0 FROM numbers",
    "INSERT INTO communications (tenant_id, channel, state, lane, contact_id, content_id, type, address, track_opens, track_links, sent_at,"
    " conversation_id, related_entity_type, related_entity_id, created_at, updated_at)"
    " SELECT 1, 'email', 'sent', 0, id, 1, 'OFFERTE', id, 1, 1, 5, id, 'Deal', id, 0, 0 FROM numbers",
    "INSERT INTO inbound_messages (tenant_id, channel, conversation_id, contact_id, source, source_id, sender, related_entity_type, related_entity_id,"
    " message_id, received_at, created_at, updated_at) SELECT 1, 'email', id, id, 'imap', id, id, 'Deal', id, id, 0, 0, 0 FROM numbers",
)
SAID: dict[str, Any] = {
    "conversation_id": 5,
    "communication_id": 5,
    "key": "5",
    "at": 5,
    "inbound": 0,
    "entity_type": "Deal",
    "entity_id": "5",
    "source": "imap",
    "source_id": "5",
    "subject": "",
    "automatic": 0,
}


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_conversations_and_entities_are_found_by_their_indexes(kind: str, request: pytest.FixtureRequest) -> None:
    """On both databases, and by more than the tenant, whose rows all of these are."""
    db = await open_database(request.getfixturevalue(f"{kind}_url"))
    await db.write(_converse, kind)
    asked: dict[str, int] = {}
    wrong: list[str] = []
    whole = called()
    for file, line, sql in STATEMENTS:
        if file in CONVERSING and (file, line) in whole:
            asked[file] = asked.get(file, 0) + 1
            plan = await db.read(_plan, kind, sql)
            wrong += [f"{file}:{line}\n{plan}" for part in plan.splitlines() if _reads_through(part)]
            if "d.contact_id" in sql:
                # a mail to a list may be a conversation of a hundred thousand, and each copy would look through it
                assert "communications_contact" in plan
                assert "inbound_contact" in plan
    await db.close()
    assert {file: count for file, count in CONVERSING.items() if asked.get(file, 0) < count} == {}
    assert wrong == []


def _converse(tx: Tx, kind: str) -> None:
    numbers: Any = {
        "sqlite": "WITH RECURSIVE numbers (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM numbers WHERE id < 20000)",
        "postgres": "WITH numbers AS (SELECT generate_series(1, 20000) AS id)",
    }[kind]
    for statement in FILLED:
        into, _, what = statement.partition(" SELECT ")
        tx.run(f"{into} {numbers} SELECT {what}")
    tx.run("ANALYZE")


def _plan(tx: Tx, kind: str, sql: Any) -> str:
    spelled = statements.for_sqlite(sql)
    params: dict[str, Any] = {name: VALUES.get(name, "5") for name in re.findall(r":([a-z_]+)", spelled.text)} | SAID
    for name in spelled.batches:
        declared = sql.split(f":{name}(", 1)[1].split(")", 1)[0].split(",")
        params[name] = [tuple(SAMPLES[part.split()[1]] for part in declared)]
    params |= {name: [5] for name in spelled.lists}
    return "\n".join(str(row[-1]) for row in tx.rows(f"{'EXPLAIN QUERY PLAN' if kind == 'sqlite' else 'EXPLAIN'} {sql}", **params))


def _reads_through(step: str) -> bool:
    """Whether a step of a plan, in either database's words, looks at all of the tenant's rows or at everybody's."""
    return any(f"SCAN {table}" in step or f"Seq Scan on {table}" in step for table in TABLES) or bool(
        re.search(r"\(tenant_id=\?\)$|Index Cond: \(tenant_id = [^()]+\)$", step)
    )
