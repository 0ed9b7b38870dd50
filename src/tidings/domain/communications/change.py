"""What somebody does to one communication: cancel it, send it again, comment on it, delete it. Each leaves its mark in the history.

The changed row count is the lock: of a cancelation and a claim exactly one finds the row as it needs it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from tidings.database import Tx
from tidings.domain import attachments, audit, events, marks
from tidings.domain.communications import counted
from tidings.domain.communications.counted import Counted
from tidings.domain.communications.wording import EMPTIED, forget_wording
from tidings.domain.counters import Tally
from tidings.errors import Conflict, NotFound, TidingsError

_AGAIN = frozenset({"sent", "delivered", "failed", "bounced", "suppressed"})
_WAITING = frozenset({"scheduled", "pending", "unknown"})
_WORDS = {"in_process": "is being sent", "canceled": "is canceled", "sent": "has been sent", "delivered": "has been sent"}


class Deleted(msgspec.Struct, frozen=True):
    """What came of a deletion: how many are gone, which are `left` because they are being sent, and enrollments that may have ended."""

    gone: int
    left: list[int]
    ending: list[int]


def cancel(tx: Tx, tenant_id: int, communication_id: int, tally: Tally, *, author: str, now: int) -> list[int]:
    """Takes back what waits and nobody has claimed; answers its enrollment, which may have ended with it. Raises NotFound, Conflict."""
    row = tx.row(
        "UPDATE communications SET state = 'canceled', due_at = NULL, updated_at = :now, updated_by = :author WHERE tenant_id = :tenant_id AND id = :id"
        " AND state IN ('scheduled', 'pending', 'unknown')"
        " RETURNING tenant_id, id, contact_id, campaign_id, message_id, template_id, channel, type, created_at, enrollment_id",
        tenant_id=tenant_id,
        id=communication_id,
        author=author,
        now=now,
    )
    if row is None:
        state = tx.value(
            "SELECT state FROM communications WHERE tenant_id = :tenant_id AND id = :id", tenant_id=tenant_id, id=communication_id
        )
        raise _refusal(state, "only what waits can be canceled")
    events.append(tx, [events.Event(events.Subject(*row[:9]), "canceled", now, author=author)], tally)
    return [] if row[9] is None else [row[9]]


def resend(tx: Tx, tenant_id: int, communication_id: int, tally: Tally, *, author: str, now: int) -> None:
    """Makes what was sent or failed due once more, as a new mail of the same record. Raises NotFound, Conflict.

    What became of it the first time is taken back from the counts and stays in the history; it is counted again with the new sending.
    """
    row = tx.row(
        "SELECT tenant_id, id, contact_id, campaign_id, message_id, template_id, channel, type, created_at, sent_at, delivered_at, state, enrollment_id,"
        " serial, error, worded FROM communications WHERE tenant_id = :tenant_id AND id = :id FOR UPDATE",
        tenant_id=tenant_id,
        id=communication_id,
    )
    if row is None:
        raise NotFound
    before = Counted(*row[:13])
    if before.state not in _AGAIN:
        raise _refusal(before.state, "only what was sent or failed can be sent again")
    if row[15] == EMPTIED:
        raise Conflict("What it said is not kept any more; send a new message instead")
    _check_wanted(tx, before)
    changed = tx.run(
        "UPDATE communications SET state = 'pending', due_at = :now, lane = 0, serial = serial + 1, attempts = 0, error = NULL, error_code = NULL,"
        " provider = NULL, provider_message_id = NULL, sent_at = NULL, delivered_at = NULL, updated_at = :now, updated_by = :author"
        " WHERE tenant_id = :tenant_id AND id = :id AND state = :state AND serial = :serial",
        tenant_id=tenant_id,
        id=communication_id,
        state=before.state,
        serial=row[13],
        author=author,
        now=now,
    )
    if not changed:
        raise Conflict("It has changed meanwhile; look at it again")
    counted.outlast(tx, before)
    counted.add(tally.at(before.subject(before.sent_at).bucket()), before.outcome(), -1)
    subject = before.subject()
    counted.move(tx, tenant_id, [(subject, before.sent_at or before.created_at)], tally)
    events.append(tx, [events.Event(subject, "updated", now, detail=_again(before, row[14]), author=author)], tally)
    tx.notify("due")


def comment(tx: Tx, tenant_id: int, communication_id: int, text: str, *, author: str, now: int) -> None:
    """Keeps a remark with the communication. Raises NotFound."""
    row = tx.row(
        "UPDATE communications SET updated_at = :now, updated_by = :author WHERE tenant_id = :tenant_id AND id = :id"
        " RETURNING tenant_id, id, contact_id, campaign_id, message_id, template_id, channel, type, created_at",
        tenant_id=tenant_id,
        id=communication_id,
        author=author,
        now=now,
    )
    if row is None:
        raise NotFound
    events.append(tx, [events.Event(events.Subject(*row), "commented", now, detail=text, author=author)])


def delete(
    tx: Tx, tenant_id: int, ids: Sequence[int], tally: Tally, *, author: str, now: int, asked: audit.Asked = audit.UNASKED
) -> Deleted:
    """Removes communications with all that happened to them, and takes back what they counted; ids that are not there are passed over.

    The audit keeps who did it, when, as what, and what an unsubscribe link in the mail still needs.

    What is being sent cannot be removed yet, but is not tried a second time: call again with what is `left` until nothing is.
    """
    # in one order for all who delete, so that none waits for another in a circle
    tx.rows(
        "SELECT id FROM communications WHERE tenant_id = :tenant_id AND id IN :ids[bigint] ORDER BY id FOR UPDATE",
        tenant_id=tenant_id,
        ids=list(ids),
    )
    rows = tx.all(
        Counted,
        "DELETE FROM communications WHERE tenant_id = :tenant_id AND id IN :ids[bigint] AND state <> 'in_process'"
        " RETURNING tenant_id, id, contact_id, campaign_id, message_id, template_id, channel, type, created_at, sent_at, delivered_at, state, enrollment_id,"
        " content_id",
        tenant_id=tenant_id,
        ids=list(ids),
    )
    counted.take_back(tx, tenant_id, rows, tally)
    audit.record(tx, tenant_id, "delete", "communication", [_tombstone(row) for row in rows], author=author, now=now, asked=asked)
    happened = tx.rows(
        "DELETE FROM interactions WHERE tenant_id = :tenant_id AND communication_id IN :gone[bigint] RETURNING tenant_id, message_id, kind, at",
        tenant_id=tenant_id,
        gone=[row.id for row in rows],
    )
    marks.removed(tx, [marks.Happening(*row) for row in happened])
    tx.run(
        "DELETE FROM remnants WHERE tenant_id = :tenant_id AND communication_id IN :gone[bigint]",
        tenant_id=tenant_id,
        gone=[row.id for row in rows],
    )
    attachments.remove(tx, tenant_id, [row.id for row in rows])
    forget_wording(tx, tenant_id, [row.id for row in rows])
    left = tx.rows(
        "UPDATE communications SET due_at = 0 WHERE tenant_id = :tenant_id AND id IN :ids[bigint] AND state = 'in_process' RETURNING id",
        tenant_id=tenant_id,
        ids=list(ids),
    )
    ending = [row.enrollment_id for row in rows if row.enrollment_id is not None and row.state in _WAITING]
    return Deleted(len(rows), [row[0] for row in left], ending)


def _tombstone(row: Counted) -> audit.Gone:
    detail = audit.Detail(channel=row.channel, campaign_id=row.campaign_id, enrollment_id=row.enrollment_id)
    return audit.Gone(row.id, row.contact_id, detail)


def _again(before: Counted, error: str | None) -> str:
    """The line of the history that keeps what the record itself forgets."""
    if before.state in {"sent", "delivered"} and before.sent_at is not None:
        at = datetime.fromtimestamp(before.sent_at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return f"Sent again; it was sent before at {at}"
    return f"Sent again; it failed before: {error}" if error else "Sent again; it failed before"


def _check_wanted(tx: Tx, before: Counted) -> None:
    """What was sent to many goes neither to who has denied it since, nor out of a campaign that does not run."""
    row = tx.row(
        "SELECT k.state, CASE WHEN c.channel = 'email' THEN p.email_denied_at ELSE p.sms_denied_at END FROM communications c"
        " LEFT JOIN campaigns k ON k.tenant_id = c.tenant_id AND k.id = c.campaign_id"
        " LEFT JOIN contacts p ON p.tenant_id = c.tenant_id AND p.id = c.contact_id"
        " WHERE c.tenant_id = :tenant_id AND c.id = :id AND (c.campaign_id IS NOT NULL OR c.list_id IS NOT NULL)",
        tenant_id=before.tenant_id,
        id=before.id,
    )
    if row is None:
        return
    if row[0] not in {None, "active"}:
        raise Conflict(f"Its campaign is {row[0]}")
    if row[1] is not None:
        raise Conflict("The contact has denied consent for such messages")


def _refusal(state: str | None, rule: str) -> TidingsError:
    if state is None:
        return NotFound()
    return Conflict(f"It {_WORDS.get(state, 'has failed' if state in _AGAIN else 'has not gone out yet')}; {rule}")
