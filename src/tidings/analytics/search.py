"""Finding communications: a page of them with their total, and all of them batch by batch in flat memory. What is asked is a `Query`."""

from typing import LiteralString

from tidings.analytics.query import Query
from tidings.analytics.query_sql import Pieces, id_descends, order_by, sorts
from tidings.database import Tx
from tidings.domain import counters
from tidings.domain.counters import Counts
from tidings.domain.page import Page

FEW = 20_000
"""Communications found by filters alone that are put in order together; more are counted, and read in their order up to the page."""

Cursor = tuple[int | str, ...]
"""Where a reading of any length goes on: the values that the last row was sorted by, its id the last of them."""


def page(tx: Tx, tenant_id: int, query: Query, *, offset: int, limit: int) -> Page[int]:
    """The ids of the communications found from `offset` on, and how many there are in all. Email and SMS alike.

    The total is counted, but for that of everything, of a type or of a template, which the counters know. Without a search the rows are
    read in their order as far as the page goes, where there is an index in that order: by id, and by sentAt.
    """
    known = _counted(tx, tenant_id, query)
    if known is not None and not query.filters and [order.field for order in sorts(query)] == ["sentAt"]:
        rows = _by_sending(tx, tenant_id, query, known, offset=offset, limit=limit)
        if rows is not None:
            return Page(rows, known.accepted)
    if known is not None:
        found = _walked(tx, tenant_id, query, offset=offset, limit=limit)
        return Page(found, known.accepted if len(found) == limit or (offset and not found) else offset + len(found))
    pieces = Pieces(tenant_id)
    most: LiteralString = "" if query.search else " LIMIT :most"
    matched: LiteralString = "WITH matched AS MATERIALIZED (" + _source(pieces, query) + most + ")"
    if most:
        pieces.params["most"] = FEW + 1
    limits: LiteralString = order_by(query) + " LIMIT :limit OFFSET :offset"
    rows = tx.rows(
        matched + " SELECT m.id, (SELECT COUNT(*) FROM matched) FROM matched m" + limits, **pieces.params, limit=limit, offset=offset
    )
    total: int = rows[0][1] if rows else tx.value(matched + " SELECT COUNT(*) FROM matched", **pieces.params) if offset else 0
    if query.search or total <= FEW:
        return Page([row[0] for row in rows], total)
    counting = Pieces(tenant_id)
    total = tx.value("SELECT COUNT(*) FROM (" + _source(counting, Query(filters=query.filters)) + ") m", **counting.params)
    return Page(_walked(tx, tenant_id, query, offset=offset, limit=limit), total)


def _walked(tx: Tx, tenant_id: int, query: Query, *, offset: int, limit: int) -> list[int]:
    """The ids of a page, read in its order from the first row on: of much it is the quickest, of little the slowest way to find some."""
    pieces = Pieces(tenant_id)
    limits: LiteralString = order_by(query) + " LIMIT :limit OFFSET :offset"
    rows = tx.rows("SELECT m.id FROM (" + _source(pieces, query) + ") m" + limits, **pieces.params, limit=limit, offset=offset)
    return [row[0] for row in rows]


def _counted(tx: Tx, tenant_id: int, query: Query) -> Counts | None:
    """The counts of what is found, where counters are kept by all that is asked for."""
    if query.search:
        return None
    types: list[str] | None = None
    template_ids: list[int] | None = None
    for condition in query.filters:
        if condition.operator not in {"eq", "in"}:
            return None
        if condition.field == "type" and types is None:
            types = [str(value) for value in condition.values]
        elif condition.field == "templateId" and template_ids is None:
            # an id that is none is nobody's, while 0 counts what has no template
            template_ids = [int(value) for value in condition.values if value]
        else:
            return None
    return counters.totals(tx, tenant_id, types=types, template_ids=template_ids)


def _by_sending(tx: Tx, tenant_id: int, query: Query, counts: Counts, *, offset: int, limit: int) -> list[int] | None:
    """A page in the order of sending, where all of it has been sent; None where that is not so. What was not sent comes before all that was."""
    descending = sorts(query)[0].descending
    before = 0 if descending else counts.accepted - counts.sent
    if id_descends(query) != descending or offset < before or offset - before + limit > counts.sent:
        return None
    direction: LiteralString = " DESC" if descending else ""
    rows = tx.rows(
        "SELECT id FROM communications WHERE tenant_id = :tenant_id AND sent_at IS NOT NULL"
        " ORDER BY sent_at" + direction + ", id" + direction + " LIMIT :limit OFFSET :offset",
        tenant_id=tenant_id,
        limit=limit,
        offset=offset - before,
    )
    return [row[0] for row in rows]


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
