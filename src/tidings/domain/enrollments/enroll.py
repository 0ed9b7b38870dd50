"""Starting contacts on a campaign: one, or the next of many."""

from typing import LiteralString

import msgspec

from tidings.database import Tx
from tidings.domain.enrollments.record import Enrollment, count, get
from tidings.errors import Invalid, NotFound

RECENTLY = "Contact was already enrolled in this campaign recently"


def open_campaign(tx: Tx, tenant_id: int, campaign_id: int) -> tuple[int, int]:
    """The campaign's re-enrollment window and the delay of its first message; it stays as it is until this transaction ends, so that
    nobody is left walking through one that is archived at this moment. Raises NotFound, or Invalid when it takes nobody.
    """
    row = tx.row(
        "SELECT c.state, c.reenroll_after, (SELECT m.delay FROM messages m WHERE m.tenant_id = c.tenant_id AND m.campaign_id = c.id AND m.deleted_at IS NULL"
        " ORDER BY m.position LIMIT 1) FROM campaigns c WHERE c.tenant_id = :tenant_id AND c.id = :id FOR SHARE OF c",
        tenant_id=tenant_id,
        id=campaign_id,
    )
    if row is None:
        raise NotFound("Campaign not found")
    state, window, delay = row
    if state != "active":
        raise Invalid("Campaign is not active", {"campaign_id": [f"is {state}, not active"]})
    if delay is None:
        raise Invalid("Campaign has no messages", {"campaign_id": ["has no messages"]})
    return window, delay


def enroll(tx: Tx, tenant_id: int, campaign_id: int, contact_id: int, *, now: int) -> Enrollment:
    """Starts a contact on a campaign. Raises NotFound naming which is unknown, Invalid when the campaign takes nobody or the
    contact is on its way through it or has been within the re-enrollment window.
    """
    window, delay = open_campaign(tx, tenant_id, campaign_id)
    if tx.value("SELECT 1 FROM contacts WHERE tenant_id = :tenant_id AND id = :id FOR SHARE", tenant_id=tenant_id, id=contact_id) is None:
        raise NotFound("Contact not found")
    row = tx.row(
        "INSERT INTO enrollments (tenant_id, campaign_id, contact_id, due_at, enrolled_at, created_at, updated_at)"
        " SELECT :tenant_id, :campaign_id, :contact_id, :due_at, :now, :now, :now WHERE NOT EXISTS (SELECT 1 FROM enrollments e"
        " WHERE e.tenant_id = :tenant_id AND e.contact_id = :contact_id AND e.campaign_id = :campaign_id"
        " AND (e.completed_at IS NULL OR e.enrolled_at > :since)) ON CONFLICT DO NOTHING RETURNING id",
        tenant_id=tenant_id,
        campaign_id=campaign_id,
        contact_id=contact_id,
        due_at=now + delay,
        since=now - window,
        now=now,
    )
    if row is None:
        raise Invalid(RECENTLY)
    count(tx, tenant_id, campaign_id, now, enrolled=1)
    tx.notify("plan")
    enrollment = get(tx, tenant_id, row[0])
    assert enrollment is not None
    return enrollment


class Chunk(msgspec.Struct, frozen=True):
    """A piece of a mass enrollment: how many contacts were looked at, how many enrolled, and the last contact's id (None at the end)."""

    seen: int
    enrolled: int
    last: int | None


def enroll_some(
    tx: Tx, tenant_id: int, campaign_id: int, *, list_id: int | None, contact_ids: list[int] | None, after: int, limit: int, now: int
) -> Chunk:
    """Enrolls the next `limit` contacts with an id above `after`: of a list, of the ids given, or of everybody.

    One set-based statement a chunk; who is on the way or was within the window is passed over. Raises as `enroll` does.
    """
    window, delay = open_campaign(tx, tenant_id, campaign_id)
    source: LiteralString
    params: dict[str, int | list[int]] = {"tenant_id": tenant_id, "after": after, "limit": limit}
    if contact_ids is not None:
        source = "SELECT id FROM contacts WHERE tenant_id = :tenant_id AND id IN :ids[bigint] AND id > :after"
        params["ids"] = contact_ids
    elif list_id is not None:
        source = "SELECT contact_id AS id FROM list_members WHERE tenant_id = :tenant_id AND list_id = :list_id AND contact_id > :after"
        params["list_id"] = list_id
    else:
        source = "SELECT id FROM contacts WHERE tenant_id = :tenant_id AND id > :after"
    bounds = tx.row("SELECT COUNT(*), MAX(id) FROM (" + source + " ORDER BY 1 LIMIT :limit) s", **params)
    assert bounds is not None
    seen, last = bounds
    if not seen:
        return Chunk(0, 0, None)
    enrolled = tx.run(
        "INSERT INTO enrollments (tenant_id, campaign_id, contact_id, due_at, enrolled_at, created_at, updated_at)"
        # EXCEPT is worked out before the first row is written, whatever the planner believes of a table that was empty a moment ago
        " SELECT CAST(:tenant_id AS bigint), CAST(:campaign_id AS bigint), s.id, CAST(:due_at AS bigint), CAST(:now AS bigint), CAST(:now AS bigint),"
        " CAST(:now AS bigint) FROM (SELECT id FROM (" + source + ") a WHERE id <= :last EXCEPT SELECT e.contact_id FROM enrollments e"
        " WHERE e.tenant_id = :tenant_id AND e.contact_id > :after AND e.contact_id <= :last AND e.campaign_id = :campaign_id"
        " AND (e.completed_at IS NULL OR e.enrolled_at > :since)) s WHERE true ON CONFLICT DO NOTHING",
        campaign_id=campaign_id,
        last=last,
        due_at=now + delay,
        since=now - window,
        now=now,
        **{name: value for name, value in params.items() if name != "limit"},
    )
    if enrolled:
        count(tx, tenant_id, campaign_id, now, enrolled=enrolled)
        tx.notify("plan")
    return Chunk(seen, enrolled, last)
