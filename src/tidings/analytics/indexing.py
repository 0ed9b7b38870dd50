"""Bringing the index of words up to date where the database does not do so by itself: on SQLite, a little at a time, behind what is accepted.

What is not indexed yet is found all the same, by reading it through.
"""

from typing import LiteralString

from tidings.database import Tx

ROWS = 50
"""Texts that are indexed in one transaction: a few dozen milliseconds, in which nothing else is written."""

_NEXT: dict[str, LiteralString] = {
    "contents": "SELECT MAX(id) FROM (SELECT id FROM contents WHERE id > :after ORDER BY id LIMIT :limit) t",
    "renderings": "SELECT MAX(communication_id) FROM (SELECT communication_id FROM renderings WHERE communication_id > :after"
    " ORDER BY communication_id LIMIT :limit) t",
    "addressed": "SELECT MAX(id) FROM (SELECT id FROM communications WHERE campaign_id IS NULL AND id > :after ORDER BY id LIMIT :limit) t",
}


def behind(tx: Tx) -> bool:
    """Whether there is anything to index; never on PostgreSQL."""
    return bool(_ahead(tx, 1))


def catch_up(tx: Tx) -> bool:
    """Indexes the oldest texts that are not indexed yet, of all tenants; answers whether there were any."""
    ahead = _ahead(tx, ROWS)
    for name, upto in ahead:
        tx.run("UPDATE search_marks SET upto = :upto WHERE name = :name", name=name, upto=upto)
    return bool(ahead)


def _ahead(tx: Tx, limit: int) -> list[tuple[str, int]]:
    """The tables that have something to index, and up to which id the next `limit` of it go."""
    found: list[tuple[str, int]] = []
    for name, upto in tx.rows("SELECT name, upto FROM search_marks WHERE upto >= 0"):
        reach = tx.value(_NEXT[name], after=upto, limit=limit)
        if reach is not None:
            found.append((name, reach))
    return found
