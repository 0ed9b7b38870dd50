"""Finding communications: a page of them with their total, and all of them batch by batch in flat memory. What is asked is a `Query`."""

from typing import LiteralString

from tidings.analytics.query import Query
from tidings.analytics.query_sql import Pieces, order_by, sorts
from tidings.database import Tx
from tidings.domain import counters
from tidings.domain.page import Page

Cursor = tuple[int | str, ...]
"""Where a reading of any length goes on: the values that the last row was sorted by, its id the last of them."""


def page(tx: Tx, tenant_id: int, query: Query, *, offset: int, limit: int) -> Page[int]:
    """The ids of the communications found from `offset` on, and how many there are in all. Email and SMS alike.

    The total is counted, but for that of everything, which the counters know.
    """
    pieces = Pieces(tenant_id)
    source = _source(pieces, query)
    limits: LiteralString = order_by(query) + " LIMIT :limit OFFSET :offset"
    if not query.search and not query.filters:
        rows = tx.rows("SELECT m.id FROM (" + source + ") m" + limits, **pieces.params, limit=limit, offset=offset)
        return Page([row[0] for row in rows], counters.totals(tx, tenant_id).accepted)
    matched: LiteralString = "WITH matched AS MATERIALIZED (" + source + ")"
    rows = tx.rows(
        matched + " SELECT m.id, (SELECT COUNT(*) FROM matched) FROM matched m" + limits, **pieces.params, limit=limit, offset=offset
    )
    if rows or not offset:
        return Page([row[0] for row in rows], rows[0][1] if rows else 0)
    return Page([], tx.value(matched + " SELECT COUNT(*) FROM matched", **pieces.params))


def after(tx: Tx, tenant_id: int, query: Query, *, after: Cursor | None = None, limit: int) -> tuple[list[int], Cursor | None]:
    """The next ids in the query's order behind `after` (None: from the beginning), and where to go on; None at the end.

    Without a search and in the order of the ids every call costs what it answers. Otherwise each finds everything anew, so that many
    thousand ids at once are best; what changes meanwhile may be passed over or come twice.
    """
    pieces = Pieces(tenant_id)
    source = _source(pieces, query)
    behind: LiteralString = " WHERE " + pieces.behind(query, after) if after is not None else ""
    statement = "SELECT m.* FROM (" + source + ") m" + behind + order_by(query) + " LIMIT :limit"
    rows: list[tuple[int | str, ...]] = tx.rows(statement, **pieces.params, limit=limit)
    found = [int(row[0]) for row in rows]
    return found, (*rows[-1][1:], rows[-1][0]) if len(rows) == limit else None


def _source(pieces: Pieces, query: Query) -> LiteralString:
    """A SELECT of the id and the sort keys of everything that is found."""
    keys = pieces.keys(query)
    if not query.search:
        return "SELECT c.id" + keys + " FROM communications c WHERE c.tenant_id = :tenant_id" + pieces.filters(query)
    found = pieces.found(query)
    if not query.filters and not sorts(query):
        return found
    joined: LiteralString = " f JOIN communications c ON c.tenant_id = :tenant_id AND c.id = f.id WHERE c.tenant_id = :tenant_id"
    return "SELECT c.id" + keys + " FROM (" + found + ")" + joined + pieces.filters(query)
