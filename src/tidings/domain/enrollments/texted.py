"""Whom a text that comes in answers: it names nothing, so it answers every walk that has texted its number."""

from typing import LiteralString

from tidings.database import Tx
from tidings.domain.counters import Tally
from tidings.domain.enrollments.end import stop


def stop_texting(tx: Tx, tenant_id: int, number: str, by: LiteralString, *, asked: bool, now: int, tally: Tally) -> bool:
    """Ends every walk of which a text has gone out to this number, `asked`: of campaigns that stop on reply alone; whether there was one.

    What was said since to the same number beside a campaign, or by another one, does not hide it: who has answered is not to be asked
    again. Counts in `tally`.
    """
    enrollment_ids = [
        row[0]
        for row in tx.rows(
            "SELECT e.id FROM enrollments e JOIN campaigns g ON g.tenant_id = e.tenant_id AND g.id = e.campaign_id WHERE e.tenant_id = :tenant_id"
            " AND e.contact_id IN (SELECT p.id FROM contacts p WHERE p.tenant_id = :tenant_id AND p.phone = :phone)"
            " AND e.completed_at IS NULL AND (g.stop_on_reply = 1 OR :asked = 0) AND EXISTS (SELECT 1 FROM communications c"
            " WHERE c.tenant_id = :tenant_id AND c.enrollment_id = e.id AND c.contact_id = e.contact_id AND c.channel = 'sms'"
            " AND c.address = :phone AND c.sent_at IS NOT NULL) ORDER BY e.id",
            tenant_id=tenant_id,
            phone=number,
            asked=int(asked),
        )
    ]
    if not enrollment_ids:
        return False
    # all of their messages at once, in the order in which whoever settles takes them
    tx.rows(
        "SELECT id FROM communications WHERE tenant_id = :tenant_id AND enrollment_id IN :ids[bigint]"
        " AND state IN ('scheduled', 'pending', 'unknown', 'in_process') ORDER BY id FOR UPDATE",
        tenant_id=tenant_id,
        ids=enrollment_ids,
    )
    return sum(stop(tx, tenant_id, enrollment_id, by, now=now, tally=tally) for enrollment_id in enrollment_ids) > 0
