"""What keeps PostgreSQL from writing every index anew: a claim changes nothing that an index of communications looks at."""

import re

import psycopg

CLAIMED = {"state", "lease", "lease_until", "attempts"}
"""The columns that a claim changes (see domain/communications/claim.py)."""


def test_no_index_of_communications_depends_on_what_a_claim_changes(postgres_url: str):
    # columns of a predicate count as indexed: with one of these among them no claim would be a heap-only update any more
    with psycopg.connect(postgres_url) as connection:
        found = connection.execute("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'communications'").fetchall()
    assert len(found) > 4
    assert {name: CLAIMED & set(re.findall(r"\w+", definition)) for name, definition in found} == {name: set() for name, _ in found}
