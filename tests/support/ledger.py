"""Whether the books of a tenant are true: counters, interactions and rows must tell the same story at any moment."""

from typing import Any

from tests.support.walk import House
from tidings.database import Tx
from tidings.domain import counters

ROWS = (
    "SELECT COUNT(*), COUNT(sent_at), CAST(COALESCE(SUM(CASE WHEN state IN ('failed', 'suppressed') THEN 1 ELSE 0 END), 0) AS bigint),"
    " CAST(COALESCE(SUM(CASE WHEN state = 'canceled' THEN 1 ELSE 0 END), 0) AS bigint), COUNT(opened_at), COUNT(clicked_at),"
    " CAST(COALESCE(SUM(open_count), 0) AS bigint), CAST(COALESCE(SUM(click_count), 0) AS bigint),"
    " CAST(COALESCE(SUM(CASE WHEN human_opens > 0 THEN 1 ELSE 0 END), 0) AS bigint),"
    " CAST(COALESCE(SUM(CASE WHEN human_clicks > 0 THEN 1 ELSE 0 END), 0) AS bigint),"
    " CAST(COALESCE(SUM(human_opens), 0) AS bigint), CAST(COALESCE(SUM(human_clicks), 0) AS bigint)"
    " FROM communications WHERE tenant_id = :tenant_id AND (:every = 1 OR campaign_id = :campaign_id)"
)
WALKS = "SELECT COUNT(*), COUNT(completed_at) FROM enrollments WHERE tenant_id = :tenant_id AND (:every = 1 OR campaign_id = :campaign_id)"
KINDS = "SELECT kind, COUNT(*) FROM interactions WHERE tenant_id = :tenant_id AND (:every = 1 OR campaign_id = :campaign_id) GROUP BY kind"
HUMAN = (
    "SELECT kind, COUNT(*) FROM interactions WHERE tenant_id = :tenant_id AND (:every = 1 OR campaign_id = :campaign_id) AND bot = 0"
    " AND kind IN ('opened', 'clicked') GROUP BY kind"
)
TWICE = (
    "SELECT enrollment_id, message_id FROM communications WHERE tenant_id = :tenant_id AND enrollment_id IS NOT NULL"
    " GROUP BY enrollment_id, message_id HAVING COUNT(*) > 1"
)
OPEN = (
    "SELECT c.id, c.state, c.due_at, k.state FROM communications c LEFT JOIN campaigns k ON k.tenant_id = c.tenant_id AND k.id = c.campaign_id"
    " WHERE c.tenant_id = :tenant_id AND (c.due_at IS NOT NULL OR c.lease IS NOT NULL) ORDER BY c.id"
)
WALKING = (
    "SELECT e.id, k.state FROM enrollments e JOIN campaigns k ON k.tenant_id = e.tenant_id AND k.id = e.campaign_id"
    " WHERE e.tenant_id = :tenant_id AND e.completed_at IS NULL AND NOT EXISTS (SELECT 1 FROM communications c WHERE c.tenant_id = e.tenant_id"
    " AND c.enrollment_id = e.id AND c.due_at IS NOT NULL)"
)


async def check_books(house: House) -> None:
    """Counters equal a recount of rows and of interactions, for the tenant and for each campaign; nobody has a step twice."""
    await house.db.read(_check_books, house.tenant_id)


def _check_books(tx: Tx, tenant_id: int) -> None:
    campaigns = [row[0] for row in tx.rows("SELECT id FROM campaigns WHERE tenant_id = :tenant_id", tenant_id=tenant_id)]
    for campaign_id in [None, *campaigns]:
        which = {"tenant_id": tenant_id, "every": int(campaign_id is None), "campaign_id": campaign_id or 0}
        counts = counters.totals(tx, tenant_id, campaign_id=campaign_id)
        told = (counts.accepted, counts.sent, counts.failed, counts.canceled, counts.opened, counts.clicked, counts.opens, counts.clicks)
        told += (counts.human_opened, counts.human_clicked, counts.human_opens, counts.human_clicks)
        assert told == tx.row(ROWS, **which), campaign_id
        people: dict[str, int] = dict(tx.rows(HUMAN, **which))
        assert (counts.human_opens, counts.human_clicks) == (people.get("opened", 0), people.get("clicked", 0)), campaign_id
        assert (counts.enrolled, counts.completed) == tx.row(WALKS, **which), campaign_id
        kinds: dict[str, int] = dict(tx.rows(KINDS, **which))
        told = (counts.sent, counts.failed, counts.canceled, counts.opens, counts.clicks, counts.unsubscribed)
        assert told == tuple(kinds.get(kind, 0) for kind in ("sent", "failed", "canceled", "opened", "clicked", "unsubscribed")), (
            campaign_id
        )
    assert tx.rows(TWICE, tenant_id=tenant_id) == []


async def still_open(house: House) -> list[tuple[Any, ...]]:
    """(communication, state, due_at, state of its campaign) of every message that is not at its end."""
    return await house.db.read(lambda tx: tx.rows(OPEN, tenant_id=house.tenant_id))


async def walking(house: House) -> list[tuple[Any, ...]]:
    """(enrollment, state of its campaign) of every enrollment that is not at its end though none of its messages is open."""
    return await house.db.read(lambda tx: tx.rows(WALKING, tenant_id=house.tenant_id))
