"""Taking back what has not been claimed: for an enrollment, a contact, a campaign; and setting a paused campaign's messages aside.

A message that is being sent cannot be taken back, but it is marked (`due_at` 0) so that it is not tried a second time.
"""

from typing import LiteralString

from tidings.database import Tx
from tidings.domain import events
from tidings.domain.counters import Tally

PARKED = 1 << 60
"""The `due_at` of a paused campaign's messages: never reached, and found again by the index of what is due."""

HELD = PARKED + 1
"""The same for a message that may have gone out, by the rule of a tenant who decides such cases."""

# One statement, so that a message stands on one side or the other: with two, what is settled for another try (or claimed) between
# them would be seen by neither.
_CANCEL: LiteralString = (
    "UPDATE communications SET state = CASE state WHEN 'in_process' THEN state ELSE 'canceled' END,"
    " due_at = CASE state WHEN 'in_process' THEN 0 END, updated_at = :now"
    " WHERE tenant_id = :tenant_id AND state IN ('scheduled', 'pending', 'unknown', 'in_process')"
)
_RETURNING: LiteralString = " RETURNING tenant_id, id, contact_id, campaign_id, message_id, template_id, channel, type, created_at, state"


def _cancel(tx: Tx, where: LiteralString, tally: Tally | None, *, now: int, **params: int) -> int:
    """Cancels what is waiting and marks what is being sent; answers how many are being sent. Counts as `events.append` does."""
    rows = tx.rows(_CANCEL + where + _RETURNING, now=now, **params)
    canceled = [events.Event(events.Subject(*row[:9]), "canceled", now) for row in rows if row[9] == "canceled"]
    events.append(tx, canceled, tally)
    return len(rows) - len(canceled)


def cancel_of_enrollments(tx: Tx, tenant_id: int, enrollment_id: int, tally: Tally | None = None, *, now: int) -> int:
    """Cancels what is pending for an enrollment; answers how many of its messages are being sent at this moment."""
    return _cancel(tx, " AND enrollment_id = :enrollment_id", tally, tenant_id=tenant_id, enrollment_id=enrollment_id, now=now)


def cancel_of_contact(tx: Tx, tenant_id: int, contact_id: int, tally: Tally | None = None, *, now: int) -> int:
    """Cancels whatever is pending for a contact; answers how many of its messages are being sent at this moment."""
    return _cancel(tx, " AND contact_id = :contact_id", tally, tenant_id=tenant_id, contact_id=contact_id, now=now)


def cancel_of_campaign(tx: Tx, tenant_id: int, campaign_id: int, *, now: int) -> int:
    """Cancels whatever is pending in a campaign; answers how many of its messages are being sent at this moment."""
    return _cancel(
        tx,
        " AND due_at IS NOT NULL AND lane IN (0, 1) AND campaign_id = :campaign_id",
        None,
        tenant_id=tenant_id,
        campaign_id=campaign_id,
        now=now,
    )


def lock(tx: Tx, tenant_id: int, *, enrollment_id: int | None = None, contact_id: int | None = None) -> None:
    """Nobody else settles or claims the messages of an enrollment, or of a contact, until this transaction ends.

    Whoever ends enrollments and cancels their messages does this first: settling takes messages before enrollments too, so that
    neither waits for the other in a circle.
    """
    locked: LiteralString = "SELECT id FROM communications WHERE tenant_id = :tenant_id"
    params: dict[str, int] = {"tenant_id": tenant_id}
    if enrollment_id is not None:
        locked += " AND enrollment_id = :enrollment_id"
        params["enrollment_id"] = enrollment_id
    if contact_id is not None:
        locked += " AND contact_id = :contact_id"
        params["contact_id"] = contact_id
    tx.rows(locked + " AND state IN ('scheduled', 'pending', 'unknown', 'in_process') ORDER BY id FOR UPDATE", **params)


def in_process(tx: Tx, tenant_id: int, enrollment_id: int) -> int:
    """How many messages of an enrollment are being sent at this moment."""
    return tx.value(
        "SELECT COUNT(*) FROM communications WHERE tenant_id = :tenant_id AND enrollment_id = :enrollment_id AND state = 'in_process'",
        tenant_id=tenant_id,
        enrollment_id=enrollment_id,
    )


def park(tx: Tx, tenant_id: int, campaign_id: int, *, now: int) -> int:
    """Sets a campaign's waiting messages aside. There are never many: the planner keeps a short stock (see `delivery.planner`)."""
    return tx.run(
        "UPDATE communications SET due_at = :parked, updated_at = :now WHERE tenant_id = :tenant_id AND due_at IS NOT NULL AND due_at < :parked"
        " AND lane = 1 AND campaign_id = :campaign_id AND state IN ('pending', 'unknown')",
        tenant_id=tenant_id,
        campaign_id=campaign_id,
        parked=PARKED,
        now=now,
    )


def unpark(tx: Tx, tenant_id: int, campaign_id: int, *, now: int) -> int:
    """Makes what `park` set aside due again."""
    changed = tx.run(
        "UPDATE communications SET due_at = :now, updated_at = :now WHERE tenant_id = :tenant_id AND due_at = :parked AND due_at IS NOT NULL"
        " AND channel IN ('email', 'sms') AND lane = 1 AND campaign_id = :campaign_id AND state IN ('pending', 'unknown')",
        tenant_id=tenant_id,
        campaign_id=campaign_id,
        parked=PARKED,
        now=now,
    )
    if changed:
        tx.notify("due")
    return changed
