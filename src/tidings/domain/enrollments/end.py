"""How an enrollment ends: all messages done, stopped, deleted, or its campaign put away."""

from typing import LiteralString

from tidings.database import Tx
from tidings.domain import communications, counters
from tidings.domain.counters import Bucket, Tally
from tidings.errors import NotFound


def complete(tx: Tx, tenant_id: int, ended: list[int], ending: list[int], tally: Tally, *, now: int) -> int:
    """Ends enrollments: those `ended`, and those of the `ending` of which nothing more will come; counted in `tally`. Answers how many.

    Two workers may settle the last two messages of one enrollment at the same time, each seeing the other's still on its way:
    so the enrollment is locked before its messages are looked at, and whoever comes second sees what the first has settled.
    Nothing but its id may be asked for while locking: a planner that makes its last message at this moment holds it as due still,
    and a row that does not fit is not waited for.
    """
    if ending:
        locked: list[tuple[int, int | None, int | None]] = tx.rows(
            "SELECT id, due_at, completed_at FROM enrollments WHERE tenant_id = :tenant_id AND id IN :ids[bigint] ORDER BY id FOR UPDATE",
            tenant_id=tenant_id,
            ids=ending,
        )
        held = [enrollment_id for enrollment_id, due_at, completed_at in locked if due_at is None and completed_at is None]
        ended = [*ended, *(set(held) - _under_way(tx, tenant_id, held))]
    if not ended:
        return 0
    rows = tx.rows(
        "UPDATE enrollments SET completed_at = :now, updated_at = :now WHERE tenant_id = :tenant_id AND id IN :ids[bigint]"
        " AND completed_at IS NULL AND due_at IS NULL RETURNING campaign_id, enrolled_at",
        tenant_id=tenant_id,
        now=now,
        ids=ended,
    )
    for campaign_id, enrolled_at in rows:
        tally.at(_bucket(tenant_id, campaign_id, enrolled_at)).completed += 1
    return len(rows)


def _under_way(tx: Tx, tenant_id: int, enrollment_ids: list[int]) -> set[int]:
    """Those of the enrollments that have a message waiting or being sent."""
    if not enrollment_ids:
        return set()
    rows = tx.rows(
        "SELECT enrollment_id FROM communications WHERE tenant_id = :tenant_id AND enrollment_id IN :ids[bigint]"
        " AND state IN ('pending', 'in_process', 'unknown')",
        tenant_id=tenant_id,
        ids=enrollment_ids,
    )
    return {row[0] for row in rows}


def stop(tx: Tx, tenant_id: int, enrollment_id: int, by: LiteralString, *, now: int, tally: Tally | None = None) -> bool:
    """Ends an enrollment because of a reply or an unsubscribe; what is pending for it is canceled. False when it had ended already.

    Counts in the `tally` brought along, which its owner then folds, or else at once.
    """
    counted = Tally() if tally is None else tally
    communications.lock(tx, tenant_id, enrollment_id=enrollment_id)
    row = tx.row(
        "UPDATE enrollments SET completed_at = :now, due_at = NULL, stopped_by = :by, updated_at = :now"
        " WHERE tenant_id = :tenant_id AND id = :id AND completed_at IS NULL RETURNING campaign_id, enrolled_at",
        tenant_id=tenant_id,
        id=enrollment_id,
        by=by,
        now=now,
    )
    if row is None:
        return False
    communications.cancel_of_enrollments(tx, tenant_id, enrollment_id, counted, now=now)
    counted.at(_bucket(tenant_id, row[0], row[1])).completed += 1
    if tally is None:
        counters.fold(tx, counted)
    return True


def delete(tx: Tx, tenant_id: int, enrollment_id: int, *, now: int) -> int:
    """Removes an enrollment and cancels what is pending for it. Answers how many of its messages are being sent at this moment:
    whoever must be sure that nothing goes out afterwards waits until `communications.in_process` says 0. Raises NotFound.
    """
    communications.lock(tx, tenant_id, enrollment_id=enrollment_id)
    row = tx.row(
        "DELETE FROM enrollments WHERE tenant_id = :tenant_id AND id = :id RETURNING campaign_id, enrolled_at, completed_at",
        tenant_id=tenant_id,
        id=enrollment_id,
    )
    if row is None:
        raise NotFound()
    tally = Tally()
    _forget(tally, tenant_id, *row)
    under_way = communications.cancel_of_enrollments(tx, tenant_id, enrollment_id, tally, now=now)
    counters.fold(tx, tally)
    return under_way


def delete_of_contact(tx: Tx, tenant_id: int, contact_id: int, *, now: int) -> int:
    """Removes every enrollment of a contact and cancels whatever is pending for it; answers how many messages are being sent."""
    # who enrolls the contact at this moment is waited for, and who comes later finds it gone
    tx.rows("SELECT id FROM contacts WHERE tenant_id = :tenant_id AND id = :id FOR UPDATE", tenant_id=tenant_id, id=contact_id)
    communications.lock(tx, tenant_id, contact_id=contact_id)
    rows = tx.rows(
        "DELETE FROM enrollments WHERE tenant_id = :tenant_id AND contact_id = :contact_id RETURNING campaign_id, enrolled_at, completed_at",
        tenant_id=tenant_id,
        contact_id=contact_id,
    )
    tally = Tally()
    for row in rows:
        _forget(tally, tenant_id, *row)
    under_way = communications.cancel_of_contact(tx, tenant_id, contact_id, tally, now=now)
    counters.fold(tx, tally)
    return under_way


def end_of_contact(tx: Tx, tenant_id: int, contact_id: int, tally: Tally, *, now: int) -> int:
    """Ends every enrollment that a contact is walking through, counted in `tally`; what is pending for them is the caller's. Answers how many."""
    rows = tx.rows(
        "UPDATE enrollments SET completed_at = :now, due_at = NULL, updated_at = :now WHERE tenant_id = :tenant_id AND contact_id = :contact_id"
        " AND completed_at IS NULL RETURNING campaign_id, enrolled_at",
        tenant_id=tenant_id,
        contact_id=contact_id,
        now=now,
    )
    for campaign_id, enrolled_at in rows:
        tally.at(_bucket(tenant_id, campaign_id, enrolled_at)).completed += 1
    return len(rows)


def _bucket(tenant_id: int, campaign_id: int, enrolled_at: int) -> Bucket:
    return Bucket(tenant_id, counters.hour_of(enrolled_at), campaign_id=campaign_id)


def _forget(tally: Tally, tenant_id: int, campaign_id: int, enrolled_at: int, completed_at: int | None) -> None:
    counts = tally.at(_bucket(tenant_id, campaign_id, enrolled_at))
    counts.enrolled -= 1
    counts.completed -= completed_at is not None


def complete_of_campaign(tx: Tx, tenant_id: int, campaign_id: int, *, now: int) -> int:
    """Ends every enrollment of a campaign that is put away."""
    rows = tx.rows(
        "UPDATE enrollments SET completed_at = :now, due_at = NULL, updated_at = :now WHERE tenant_id = :tenant_id AND campaign_id = :campaign_id"
        " AND completed_at IS NULL RETURNING enrolled_at",
        tenant_id=tenant_id,
        campaign_id=campaign_id,
        now=now,
    )
    tally = Tally()
    for (enrolled_at,) in rows:
        tally.at(_bucket(tenant_id, campaign_id, enrolled_at)).completed += 1
    counters.fold(tx, tally)
    return len(rows)
