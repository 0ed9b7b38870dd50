"""Due rows: finding the queues that have any, claiming a batch under a lease, and giving back what a dead worker held."""

import msgspec

from tidings.database import Tx
from tidings.domain import events, suppressions
from tidings.domain.communications.cancel import HELD, PARKED
from tidings.domain.communications.record import DUE, Due
from tidings.message import address

CLAIMS = 12
"""How often a message is claimed before it is held when its worker dies: more often than it is ever tried again for other reasons."""


class Queue(msgspec.Struct, frozen=True):
    """One tenant's messages of one channel in one lane (0 instant, 1 campaign); `due_at` is its earliest."""

    tenant_id: int
    channel: str
    lane: int
    due_at: int


def queues(tx: Tx) -> list[Queue]:
    """Every queue that holds a message, by hops over the index: one step for each queue, however long they are."""
    found: list[Queue] = []
    last = Queue(0, "", -1, 0)
    while True:
        following = tx.one(
            Queue,
            "SELECT tenant_id, channel, lane, due_at FROM communications WHERE due_at IS NOT NULL"
            " AND (tenant_id, channel, lane) > (:tenant_id, :channel, :lane) ORDER BY tenant_id, channel, lane, due_at LIMIT 1",
            tenant_id=last.tenant_id,
            channel=last.channel,
            lane=last.lane,
        )
        if following is None:
            return found
        found.append(following)
        last = following


def claim(tx: Tx, queue: Queue, *, lease: int, until: int, now: int, limit: int) -> list[Due]:
    """Leases up to `limit` due messages of a queue. `lease` is the token that only this claim knows; it ends at `until`.

    The claim changes no indexed column; what somebody else is claiming is passed over.
    """
    dues = tx.all(
        Due,
        DUE + " AND c.channel = :channel AND c.lane = :lane AND c.due_at IS NOT NULL AND c.due_at <= :now AND c.state <> 'in_process'"
        # one that was being sent while its campaign was paused and is to be tried again waits here for the campaign
        " AND (c.campaign_id IS NULL OR k.state = 'active')"
        " ORDER BY c.due_at, c.id LIMIT :limit FOR UPDATE OF c SKIP LOCKED",
        tenant_id=queue.tenant_id,
        channel=queue.channel,
        lane=queue.lane,
        claiming=1,
        now=now,
        limit=limit,
    )
    if dues:
        tx.run(
            "UPDATE communications SET state = 'in_process', lease = :lease, lease_until = :until, attempts = attempts + 1"
            " WHERE tenant_id = :tenant_id AND id IN :ids[bigint]",
            tenant_id=queue.tenant_id,
            lease=lease,
            until=until,
            ids=[due.id for due in dues],
        )
    return [_heeding(tx, due) if due.recipients else due for due in dues]


def _heeding(tx: Tx, due: Due) -> Due:
    """A mail to several, with those left out who have been suppressed by now; with nobody left, it is suppressed itself."""
    lists = msgspec.json.decode(due.recipients, type=dict[str, list[str]])
    everybody = {address.parse(entry, "recipients").email.lower() for name in ("to", "cc", "bcc") for entry in lists.get(name, [])}
    blocked = suppressions.matching(tx, due.tenant_id, due.channel, everybody)
    if everybody <= blocked.keys():
        return msgspec.structs.replace(due, suppressed=blocked[due.address.lower()])
    # consent is asked for of one, and must not take the mail from others
    suppressed = due.suppressed if len(everybody) == 1 else ""
    return msgspec.structs.replace(due, suppressed=suppressed, recipients=msgspec.json.encode({**lists, "skip": sorted(blocked)}).decode())


def waiting(tx: Tx, tenant_id: int, channel: str, *, now: int, most: int) -> int:
    """How many campaign messages of a channel wait for dispatch, counted up to `most`. A paused campaign's do not count, nor those that
    are to be tried again later: a few thousand full mailboxes must not hold up everybody else's mail for hours.
    """
    return tx.value(
        "SELECT COUNT(*) FROM (SELECT 1 FROM communications WHERE tenant_id = :tenant_id AND channel = :channel AND lane = 1"
        " AND due_at IS NOT NULL AND due_at <= :now LIMIT :most) s",
        tenant_id=tenant_id,
        channel=channel,
        now=now,
        most=most,
    )


def renew(tx: Tx, tenant_id: int, leases: list[int], *, until: int) -> int:
    """Holds on to what is still being sent."""
    return tx.run(
        "UPDATE communications SET lease_until = :until WHERE tenant_id = :tenant_id AND due_at IS NOT NULL AND state = 'in_process'"
        " AND lease IN :leases[bigint]",
        tenant_id=tenant_id,
        until=until,
        leases=leases,
    )


def sweep(tx: Tx, queue: Queue, *, now: int, dead: bool = False) -> int:
    """Marks what a worker left behind as unknown: its bytes may have gone out. The tenant's rule says whether it is due again.

    `dead` tells that no other worker can be alive (the embedded server has just started), so no lease is waited for.
    A row whose cancelation was asked for while it was being sent (`due_at` 0) is not sent again, and one that was claimed CLAIMS times is
    held whatever the rule: it may be what ends the workers, and would take the rest of its batch out again with every one of them.
    """
    rows = tx.rows(
        "UPDATE communications SET state = 'unknown', lease = NULL, lease_until = NULL, updated_at = :now,"
        " error = 'A worker stopped while sending this; it may have gone out.',"
        " due_at = CASE WHEN due_at = 0 THEN NULL WHEN attempts >= :claims THEN :held"
        " WHEN (SELECT unknown_rule FROM tenants WHERE id = :tenant_id) = 'resend' THEN :now ELSE :held END"
        " WHERE tenant_id = :tenant_id AND channel = :channel AND lane = :lane AND due_at IS NOT NULL AND due_at <= :now"
        " AND state = 'in_process' AND lease_until <= :before"
        " RETURNING tenant_id, id, contact_id, campaign_id, message_id, template_id, channel, type, created_at",
        tenant_id=queue.tenant_id,
        channel=queue.channel,
        lane=queue.lane,
        now=now,
        held=HELD,
        claims=CLAIMS,
        before=now if not dead else 1 << 62,
    )
    events.append(tx, [events.Event(events.Subject(*row), "unknown", now) for row in rows])
    if rows:
        tx.notify("due")
    return len(rows)


def release(tx: Tx, tenant_id: int, *, now: int) -> int:
    """Makes the messages that were held as unknown due again; answers how many. Each goes out with the Message-ID it had."""
    released = tx.run(
        "UPDATE communications SET due_at = :now, updated_at = :now WHERE tenant_id = :tenant_id AND channel IN ('email', 'sms') AND lane IN (0, 1)"
        " AND due_at IS NOT NULL AND due_at = :held AND state = 'unknown'",
        tenant_id=tenant_id,
        held=HELD,
        now=now,
    )
    if released:
        tx.notify("due")
    return released


def hasten(tx: Tx, tenant_id: int, channel: str, *, now: int) -> int:
    """Makes due at once what a paused provider handed back and nobody has tried yet: the provider has been mended."""
    changed = tx.run(
        "UPDATE communications SET due_at = :now WHERE tenant_id = :tenant_id AND channel = :channel AND lane IN (0, 1) AND due_at IS NOT NULL"
        " AND due_at > :now AND due_at < :parked AND state = 'pending' AND attempts = 0",
        tenant_id=tenant_id,
        channel=channel,
        parked=PARKED,
        now=now,
    )
    tx.notify("due")
    return changed
