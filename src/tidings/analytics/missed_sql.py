"""The questions that `missed` puts together: statements, their rows, and what is said of them."""

from typing import Final, LiteralString

import msgspec

from tidings.domain.communications import rest
from tidings.domain.communications.cancel import HELD, PARKED

__all__ = ["HELD", "PARKED"]


class Stuck(msgspec.Struct, frozen=True):
    """A communication that has not arrived, and its contact of today."""

    id: int
    contact_id: int
    message_id: int
    state: str
    due_at: int | None
    error: str | None
    error_code: str | None
    created_at: int
    updated_at: int
    stopped_by: str | None
    enrolled: int
    email: str | None
    phone: str | None
    reason: rest.Reason


class End(msgspec.Struct, frozen=True):
    """The last thing in a communication's history that kept it from arriving."""

    communication_id: int
    at: int
    author: str | None
    code: str | None


class Walker(msgspec.Struct, frozen=True):
    """An enrollment that is due for its next message at `due_at`."""

    id: int
    contact_id: int
    position: int
    due_at: int
    enrolled_at: int
    email: str | None
    phone: str | None


class Stopped(msgspec.Struct, frozen=True):
    """An enrollment that ended before a message was made for it."""

    id: int
    contact_id: int
    message_id: int
    completed_at: int
    stopped_by: str
    email: str | None
    phone: str | None


class Absent(msgspec.Struct, frozen=True):
    """A contact who was never enrolled; `since` is when it was made, or joined the list."""

    id: int
    since: int
    email: str | None
    phone: str | None


STOPPED_BY: Final = {"reply": "The contact replied.", "unsubscribe": "The contact unsubscribed."}

_STUCK: LiteralString = (
    "c.id, c.contact_id, c.message_id, c.state, c.due_at, c.error, c.error_code, c.created_at, c.updated_at, e.stopped_by,"
    " CASE WHEN e.id IS NULL THEN 0 ELSE 1 END AS enrolled, p.email, p.phone, " + rest.MISSED + " AS reason"
)
_AROUND: LiteralString = (
    " LEFT JOIN enrollments e ON e.tenant_id = :tenant_id AND e.id = c.enrollment_id"
    " LEFT JOIN contacts p ON p.tenant_id = :tenant_id AND p.id = c.contact_id"
)
ENDED: LiteralString = (
    "SELECT "
    + _STUCK
    + " FROM communications c"
    + _AROUND
    + " WHERE c.tenant_id = :tenant_id AND c.campaign_id = :campaign_id AND c.message_id = :message_id AND c.sent_at IS NULL AND c.due_at IS NULL"
    " AND c.campaign_id IS NOT NULL AND c.id > :a" + rest.NOT_OTHERWISE
)
# materialised: in the order of their ids, another plan would look through all communications there are for the few that wait
WAITING: LiteralString = (
    "WITH due AS MATERIALIZED (SELECT d.* FROM communications d WHERE d.tenant_id = :tenant_id AND d.channel IN ('email', 'sms') AND d.lane IN (0, 1)"
    " AND d.due_at IS NOT NULL AND d.campaign_id = :campaign_id) SELECT "
    + _STUCK
    + " FROM due c"
    + _AROUND
    + " WHERE c.id > :a"
    + rest.NOT_OTHERWISE
)
RETURNED: LiteralString = (
    "SELECT "
    + _STUCK
    # one that was sent again and came back again is told of once
    + ", (SELECT j.id FROM interactions j WHERE j.tenant_id = :tenant_id AND j.communication_id = c.id AND j.kind = :kind"
    " ORDER BY j.at DESC, j.id DESC LIMIT 1) FROM communications c"
    + _AROUND
    + " WHERE c.tenant_id = :tenant_id AND c.id IN :ids[bigint] AND c.campaign_id = :campaign_id AND c.sent_at IS NOT NULL AND c.state = :kind"
    + rest.NOT_OTHERWISE
)
WANTED: LiteralString = " AND " + rest.MISSED + " IN :reasons[text]"
BY_ID: LiteralString = " ORDER BY c.id LIMIT :limit"

ENDS: LiteralString = (
    "SELECT communication_id, at, author, code FROM interactions WHERE tenant_id = :tenant_id AND communication_id IN :ids[bigint]"
    " AND kind IN ('failed', 'canceled', 'unknown', 'bounced') ORDER BY communication_id, at, id"
)

NOT_DUE: LiteralString = (
    "SELECT e.id, e.contact_id, e.position, e.due_at, e.enrolled_at, p.email, p.phone FROM enrollments e"
    " LEFT JOIN contacts p ON p.tenant_id = :tenant_id AND p.id = e.contact_id WHERE e.tenant_id = :tenant_id AND e.campaign_id = :campaign_id"
    " AND e.due_at IS NOT NULL AND e.position < :position AND e.due_at >= :a AND (e.due_at > :a OR e.id > :b)"
)
BY_DUE: LiteralString = " ORDER BY e.due_at, e.id LIMIT :limit"

# positions of the messages that are there have no gaps
STOPPED: LiteralString = (
    "SELECT e.id, e.contact_id, n.id AS message_id, e.completed_at, e.stopped_by, p.email, p.phone FROM enrollments e"
    " JOIN messages n ON n.tenant_id = :tenant_id AND n.campaign_id = :campaign_id AND n.deleted_at IS NULL AND n.position > e.position"
    " LEFT JOIN contacts p ON p.tenant_id = :tenant_id AND p.id = e.contact_id WHERE e.tenant_id = :tenant_id AND e.campaign_id = :campaign_id"
    " AND e.stopped_by IS NOT NULL AND e.id > :a"
    " AND NOT EXISTS (SELECT 1 FROM enrollments w WHERE w.tenant_id = :tenant_id AND w.contact_id = e.contact_id AND w.campaign_id = :campaign_id"
    " AND w.id > e.id)"
    " AND NOT EXISTS (SELECT 1 FROM communications o WHERE o.tenant_id = :tenant_id AND o.contact_id = e.contact_id AND o.message_id = n.id"
    " AND o.sent_at IS NOT NULL AND o.state NOT IN ('bounced', 'failed'))"
)
# where a message was waiting, it is that one which was stopped: it was canceled, and is told of among those
NEXT: LiteralString = (
    " AND n.position = e.position + 1 AND NOT EXISTS (SELECT 1 FROM communications b WHERE b.tenant_id = :tenant_id AND b.enrollment_id = e.id"
    " AND b.state = 'canceled')"
)
CERTAIN: LiteralString = " AND n.id = :message_id"
BY_WALK: LiteralString = " ORDER BY e.id LIMIT :limit"

MEMBERS: LiteralString = (
    "SELECT contact_id AS id, added_at AS since FROM list_members"
    " WHERE tenant_id = :tenant_id AND list_id = :list_id AND contact_id > :after"
)
EVERYBODY: LiteralString = "SELECT id, created_at AS since FROM contacts WHERE tenant_id = :tenant_id AND id > :after"
# who has something of the campaign was enrolled, though that enrollment may have been deleted
NEVER: LiteralString = (
    ") s JOIN contacts p ON p.tenant_id = :tenant_id AND p.id = s.id WHERE s.id <= :last AND NOT EXISTS (SELECT 1 FROM enrollments e"
    " WHERE e.tenant_id = :tenant_id AND e.contact_id = s.id AND e.campaign_id = :campaign_id) AND NOT EXISTS (SELECT 1 FROM communications c"
    " WHERE c.tenant_id = :tenant_id AND c.contact_id = s.id AND c.campaign_id = :campaign_id)"
)


def words(stuck: Stuck, campaign_state: str, *, author: str | None) -> str | None:
    """What is said of one that waits, or was taken back."""
    if stuck.reason == "canceled":
        return f"Canceled by {author}." if author else "Canceled with its campaign."
    if stuck.reason == "stopped":
        return "Its enrollment was deleted." if not stuck.enrolled else STOPPED_BY.get(stuck.stopped_by or "")
    if stuck.state == "in_process":
        return "It is being sent."
    if stuck.due_at == HELD:
        return f"Held: {stuck.error}" if stuck.error else "Held."
    if stuck.due_at == PARKED or campaign_state == "paused":
        return "The campaign is paused."
    return stuck.error
