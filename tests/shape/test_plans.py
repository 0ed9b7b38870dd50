"""The hot statements on a PostgreSQL table of some size: each goes by an index, none reads the table through."""

from typing import Any

import psycopg
import pytest

from tests.shape.test_statements import STATEMENTS, called
from tidings.database import statements

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
