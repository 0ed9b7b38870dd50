"""The enrollment's record, how it is read, and how it is counted."""

from typing import LiteralString

import msgspec

from tidings.database import Tx
from tidings.domain import counters
from tidings.domain.counters import Bucket, Counts, Tally
from tidings.domain.page import Page


class Enrollment(msgspec.Struct, frozen=True):
    """`position` is that of the last message made for it; `due_at` is when the next one is, None when none will be."""

    id: int
    tenant_id: int
    campaign_id: int
    contact_id: int
    position: int
    due_at: int | None
    enrolled_at: int
    completed_at: int | None
    stopped_by: str | None
    created_at: int
    updated_at: int


_ENROLLMENT: LiteralString = (
    "SELECT id, tenant_id, campaign_id, contact_id, position, due_at, enrolled_at, completed_at, stopped_by, created_at, updated_at"
    " FROM enrollments WHERE tenant_id = :tenant_id"
)


def get(tx: Tx, tenant_id: int, enrollment_id: int) -> Enrollment | None:
    """One enrollment of the tenant, or None."""
    return tx.one(Enrollment, _ENROLLMENT + " AND id = :id", tenant_id=tenant_id, id=enrollment_id)


def page(
    tx: Tx,
    tenant_id: int,
    *,
    campaign_id: int | None = None,
    contact_id: int | None = None,
    completed: bool | None = None,
    limit: int,
    page: int,
) -> Page[Enrollment]:
    """The tenant's enrollments, most recently created first. The total comes from the counters where no contact is asked for."""
    where: LiteralString = ""
    params: dict[str, int] = {"tenant_id": tenant_id}
    if campaign_id is not None:
        where += " AND campaign_id = :campaign_id"
        params["campaign_id"] = campaign_id
    if contact_id is not None:
        where += " AND contact_id = :contact_id"
        params["contact_id"] = contact_id
    if completed is not None:
        where += " AND completed_at IS NOT NULL" if completed else " AND completed_at IS NULL"
    if contact_id is not None:
        total: int = tx.value("SELECT COUNT(*) FROM enrollments WHERE tenant_id = :tenant_id" + where, **params)
    else:
        counts = counters.totals(tx, tenant_id, campaign_id=campaign_id)
        total = counts.enrolled if completed is None else counts.completed if completed else counts.enrolled - counts.completed
    rows = tx.all(
        Enrollment, _ENROLLMENT + where + " ORDER BY id DESC LIMIT :limit OFFSET :offset", limit=limit, offset=(page - 1) * limit, **params
    )
    return Page(rows, total)


def count(tx: Tx, tenant_id: int, campaign_id: int, enrolled_at: int, *, enrolled: int = 0, completed: int = 0) -> None:
    """Adds to a campaign's enrollments, in the hour they began in."""
    tally = Tally()
    counts: Counts = tally.at(Bucket(tenant_id, counters.hour_of(enrolled_at), campaign_id=campaign_id))
    counts.enrolled += enrolled
    counts.completed += completed
    counters.fold(tx, tally)
