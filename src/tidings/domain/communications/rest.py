"""Those of a campaign's messages that did not arrive: why, as their rows tell, and making them due again where a second try makes sense.

A held or failed message is made due under its own id, so whatever is counted, tracked and answered stays with it. Who is told apart from
whom, and the enrolling of those who never were, is `enrollments.rest`.
"""

from collections.abc import Sequence
from typing import Final, Literal, LiteralString, get_args

import msgspec

from tidings.database import Tx
from tidings.database.gate import Param
from tidings.domain import events
from tidings.domain.communications import counted
from tidings.domain.communications.cancel import HELD
from tidings.domain.communications.counted import Counted
from tidings.domain.communications.wording import EMPTIED
from tidings.domain.counters import Tally

Reason = Literal[
    "failed",
    "given_up",
    "no_address",
    "suppressed",
    "denied",
    "bounced",
    "canceled",
    "stopped",
    "unknown",
    "waiting",
    "not_due",
    "not_enrolled",
]
"""Why somebody who should have got a message has not. The last two have no communication that could tell."""
Again = Literal["given_up", "canceled", "unknown", "failed", "bounced", "no_address", "suppressed", "denied"]
"""Why a message was missed of which a second try can be asked for."""
AGAIN: Final[tuple[Again, ...]] = get_args(Again)
PASSING: Final[tuple[Again, ...]] = ("given_up", "canceled", "unknown")
"""Those of which a second try makes sense as they are: what was in the way has passed, or somebody's mind has changed."""

MISSED: LiteralString = (
    "CASE c.state WHEN 'suppressed' THEN CASE WHEN c.error LIKE '%: no consent' THEN 'denied' ELSE 'suppressed' END"
    " WHEN 'failed' THEN CASE WHEN c.address = '' THEN 'no_address' WHEN c.error LIKE 'Given up after %' THEN 'given_up' ELSE 'failed' END"
    " WHEN 'canceled' THEN CASE WHEN e.id IS NULL OR e.stopped_by IS NOT NULL THEN 'stopped' ELSE 'canceled' END"
    " WHEN 'bounced' THEN 'bounced' WHEN 'unknown' THEN 'unknown' ELSE 'waiting' END"
)
"""Why a communication `c` of the enrollment `e` (null when that was deleted) has not arrived, as SQL."""
NOT_OTHERWISE: LiteralString = (
    " AND NOT EXISTS (SELECT 1 FROM communications o WHERE o.tenant_id = c.tenant_id AND o.contact_id = c.contact_id"
    " AND o.campaign_id = c.campaign_id AND o.message_id = c.message_id AND (o.id > c.id OR (o.sent_at IS NOT NULL AND o.state NOT IN ('bounced', 'failed'))))"
)
"""Leaves those out whose contact has the message from another walk, or had a later one of it, as SQL."""


class Candidate(msgspec.Struct, frozen=True):
    """A communication that did not arrive. `address` is the contact's of today, None without one; `a` its place among the others of its phase.

    `against` is what forbids a second try, whoever asks for it: stopped, emptied (retention has removed what it said), no_address, denied or
    suppressed; "" for nothing.
    """

    counted: Counted
    error: str | None
    reason: Reason
    address: str | None
    against: str
    a: int


_COLUMNS: LiteralString = (
    " c.tenant_id, c.id, c.contact_id, c.campaign_id, c.message_id, c.template_id, c.channel, c.type, c.created_at, c.sent_at, c.delivered_at, c.state,"
    " c.enrollment_id, c.error, " + MISSED + ", CASE c.channel WHEN 'email' THEN p.email ELSE p.phone END,"
    " CASE WHEN e.id IS NULL OR e.stopped_by IS NOT NULL THEN 'stopped' WHEN c.worded = :emptied THEN 'emptied'"
    " WHEN CASE c.channel WHEN 'email' THEN p.email ELSE p.phone END IS NULL THEN 'no_address'"
    " WHEN CASE c.channel WHEN 'email' THEN p.email_denied_at ELSE p.sms_denied_at END IS NOT NULL THEN 'denied'"
    " WHEN s.id IS NOT NULL THEN 'suppressed' ELSE '' END"
)
_AROUND: LiteralString = (
    " LEFT JOIN enrollments e ON e.tenant_id = c.tenant_id AND e.id = c.enrollment_id"
    " LEFT JOIN contacts p ON p.tenant_id = c.tenant_id AND p.id = c.contact_id"
    " LEFT JOIN suppressions s ON s.tenant_id = c.tenant_id AND s.channel = c.channel"
    " AND s.address = CASE c.channel WHEN 'email' THEN p.email_key ELSE p.phone END"
    " WHERE c.tenant_id = :tenant_id AND c.campaign_id = :campaign_id AND c.updated_at <= :asked_at"
)
_ENDED: LiteralString = (
    "SELECT"
    + _COLUMNS
    + ", c.id FROM communications c"
    + _AROUND
    + " AND c.message_id = :message_id AND c.sent_at IS NULL AND c.due_at IS NULL AND c.campaign_id IS NOT NULL AND c.id > :a"
    + NOT_OTHERWISE
    + " ORDER BY c.id LIMIT :limit"
)
_HELD: LiteralString = (
    "SELECT"
    + _COLUMNS
    + ", c.id FROM communications c"
    + _AROUND
    + " AND c.channel = :channel AND c.lane = :lane AND c.due_at IS NOT NULL AND c.due_at = :held AND c.state = 'unknown' AND c.id > :a"
    + NOT_OTHERWISE
    + " ORDER BY c.due_at, c.id LIMIT :limit"
)
_RETURNED: LiteralString = (
    "SELECT"
    + _COLUMNS
    + ", c.id FROM communications c"
    + _AROUND
    + " AND c.id IN :ids[bigint] AND c.sent_at IS NOT NULL AND c.state = :kind"
    + NOT_OTHERWISE
    + " ORDER BY c.id"
)
_LOCK: LiteralString = " FOR UPDATE OF c"


class Asked(msgspec.Struct, frozen=True):
    """Which messages of a campaign, and until when they must have come to their end (milliseconds): later failures are not this try's."""

    campaign_id: int
    asked_at: int


Phase = Literal["ended", "held", "bounced", "failed"]
QUEUES: Final = (("email", 0), ("email", 1), ("sms", 0), ("sms", 1))
"""Channel and lane of what is held."""


class Found(msgspec.Struct, frozen=True):
    """Candidates, and where those behind them begin: None at the end of their phase."""

    rows: list[Candidate]
    next: tuple[int, int] | None


def candidates(tx: Tx, tenant_id: int, phase: Phase, asked: Asked, *, of: int, after: tuple[int, int], limit: int, lock: bool) -> Found:
    """The next of a phase: `of` one message what ended unsent, bounced, or failed after its carrier had taken it; or of one of the QUEUES what
    is held as unknown. At most `limit` rows are looked at.

    `lock` keeps everybody else from changing them until this transaction ends.
    """
    params: dict[str, Param] = {"campaign_id": asked.campaign_id, "asked_at": asked.asked_at, "emptied": EMPTIED}
    following: tuple[int, int] | None
    source: LiteralString
    if phase == "bounced" or phase == "failed":  # noqa: PLR1714 - the checker of types would not see what is left
        came = returned(tx, tenant_id, of, phase, after=after, limit=limit)
        source = _RETURNED
        params |= {"kind": phase, "ids": sorted({communication_id for _, _, communication_id in came})}
        following = (came[-1][0], came[-1][1]) if len(came) == limit else None
    else:
        source = _ENDED if phase == "ended" else _HELD
        params |= {"a": after[0], "limit": limit}
        params |= {"message_id": of} if phase == "ended" else {"held": HELD, "channel": QUEUES[of][0], "lane": QUEUES[of][1]}
        following = after
    if lock:
        source += _LOCK
    rows = [Candidate(Counted(*row[:13]), *row[13:]) for row in tx.rows(source, tenant_id=tenant_id, **params)]
    if following is after:
        following = (rows[-1].a, 0) if len(rows) == limit else None
    return Found(rows, following)


def returned(
    tx: Tx, tenant_id: int, message_id: int, kind: Literal["bounced", "failed"], *, after: tuple[int, int], limit: int
) -> list[tuple[int, int, int]]:
    """The next times that a carrier said so of a message, oldest first: (when, id, communication), one more for each time it said it."""
    return tx.rows(
        "SELECT at, id, communication_id FROM interactions WHERE tenant_id = :tenant_id AND message_id = :message_id AND kind = :kind"
        " AND at >= :a AND (at > :a OR id > :b) ORDER BY at, id LIMIT :limit",
        tenant_id=tenant_id,
        message_id=message_id,
        kind=kind,
        a=after[0],
        b=after[1],
        limit=limit,
    )


def send_again(tx: Tx, tenant_id: int, chosen: Sequence[Candidate], tally: Tally, *, author: str, now: int) -> int:
    """Makes due again what is locked and nothing is against, at the contact's address of today; answers how many.

    What became of them is taken back from the counts, as `change.resend` does. What may have gone out keeps its Message-ID, so that a mailbox
    that has it already shows it once; anything else gets a new one.
    """
    alive = _alive(tx, tenant_id, chosen)
    again = {row.counted.id: row for row in chosen if not row.against and row.counted.enrollment_id in alive}
    if not again:
        return 0
    changed = tx.rows(
        "UPDATE communications SET state = 'pending', due_at = :now, lane = 1, serial = serial + r_fresh, attempts = attempts * (1 - r_fresh),"
        " error = NULL, error_code = NULL, provider = NULL, provider_message_id = NULL, sent_at = NULL, delivered_at = NULL, address = r_address,"
        " updated_at = :now, updated_by = :author FROM :rows(r_id bigint, r_address text, r_fresh bigint) r"
        " WHERE tenant_id = :tenant_id AND id IN :ids[bigint] AND id = r_id"
        " AND state IN ('failed', 'suppressed', 'canceled', 'bounced', 'unknown') RETURNING id",
        tenant_id=tenant_id,
        author=author,
        now=now,
        ids=sorted(again),
        rows=[(row.counted.id, row.address, int(row.reason != "unknown")) for _, row in sorted(again.items())],
    )
    happened: list[events.Event] = []
    moved: list[tuple[events.Subject, int]] = []
    for (communication_id,) in changed:
        before, error = again[communication_id].counted, again[communication_id].error
        if before.sent_at is not None:
            counted.outlast(tx, before)
        counted.add(tally.at(before.subject(before.sent_at).bucket()), before.outcome(), -1)
        moved.append((before.subject(), before.sent_at or before.created_at))
        detail = f"Sent to the rest; it was {_WORDS[before.state]} before{f': {error}' if error else ''}"
        happened.append(events.Event(before.subject(), "updated", now, detail=detail, author=author))
    counted.move(tx, tenant_id, moved, tally)
    events.append(tx, happened, tally)
    tx.notify("due")
    return len(changed)


_WORDS = {"failed": "not taken", "suppressed": "suppressed", "canceled": "canceled", "bounced": "bounced", "unknown": "not known as sent"}


def _alive(tx: Tx, tenant_id: int, chosen: Sequence[Candidate]) -> set[int]:
    """Those of the enrollments that nobody has stopped or deleted, nor will before this transaction ends: whoever stops one at this moment
    is waited for, and whoever does so later finds the message made due, and cancels it.
    """
    rows = tx.rows(
        "SELECT id FROM enrollments WHERE tenant_id = :tenant_id AND id IN :ids[bigint] AND stopped_by IS NULL ORDER BY id FOR SHARE",
        tenant_id=tenant_id,
        ids=sorted({row.counted.enrollment_id for row in chosen if row.counted.enrollment_id is not None}),
    )
    return {row[0] for row in rows}
