"""Sending a campaign to the rest: making due again what did not arrive, and enrolling who never was; asked for, foretold, and done step by step.

Whoever has a message is not sent it, nor who must not be written to or has left the campaign. So it may be asked for again, or twice at once.
"""

import bisect
from collections import Counter
from collections.abc import Sequence
from typing import Final, LiteralString

import msgspec

from tidings.database import Tx
from tidings.domain import campaigns, counters, jobs, lists
from tidings.domain.communications import rest
from tidings.domain.communications.rest import Again, Asked, Candidate, Phase
from tidings.domain.counters import Tally
from tidings.domain.enrollments.enroll import Chunk, open_campaign
from tidings.domain.enrollments.record import count
from tidings.domain.jobs import Job, Progress
from tidings.errors import Conflict, Invalid, NotFound

KIND: Final = "rest"
BATCH = 500
"""Messages that are looked at in one transaction."""
TURNS = 20
"""Times that so many are looked at in one transaction as long as there is nobody among them."""
ENROLL = 20_000
"""Contacts that are looked at in one transaction."""
FORESEEN = 100_000
"""Rows that a preview looks at, of messages and of contacts each; what there is beyond is not counted."""


class Rest(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to send to: of a campaign (or one of its messages) those who missed it for one of the `reasons`; and of a list, or of `everybody`,
    who was never enrolled. `asked_at` is when, in milliseconds: what ends later is not tried again. `author` is who asked.
    """

    campaign_id: int
    reasons: tuple[Again, ...]
    message_id: int | None = None
    list_id: int | None = None
    everybody: bool = False
    asked_at: int
    author: str = ""


class Preview(msgspec.Struct):
    """What would be done: messages sent `again` by why they were missed, messages `left` alone by what forbids it, contacts to `enroll`.

    `complete` is False when there are more of either than were looked at.
    """

    again: dict[str, int]
    left: dict[str, int]
    enroll: int
    complete: bool


class _Place(msgspec.Struct, frozen=True):
    """How far it has come: behind (`a`, `b`) of a stretch."""

    stretch: tuple[int, int] = (0, 0)
    a: int = 0
    b: int = 0


_PHASES: Final[tuple[Phase, ...]] = ("ended", "held", "bounced", "failed")
_ENROLLING: Final = (len(_PHASES), 0)


def begin_rest(tx: Tx, tenant_id: int, asked: Rest, *, now: int) -> Job:
    """A job of kind `rest`. Raises NotFound for an unknown campaign, message or list, Conflict unless the campaign is active."""
    _check(tx, tenant_id, asked)
    return jobs.create(tx, tenant_id, KIND, msgspec.json.encode(asked).decode(), total=0, now=now)


def preview_rest(tx: Tx, tenant_id: int, asked: Rest) -> Preview:
    """What a job would do if it began now. Raises as `begin_rest` does."""
    _check(tx, tenant_id, asked)
    again: Counter[str] = Counter()
    left: Counter[str] = Counter()
    known: dict[int, Candidate] = {}
    seen = 0
    for stretch in _stretches(tx, tenant_id, asked):
        place = _Place(stretch)
        while place is not None and place.stretch != _ENROLLING and seen < FORESEEN:
            found = _candidates(tx, tenant_id, asked, place, lock=False)
            seen += BATCH if found.next else len(found.rows)
            for row in _wanted(asked, found.rows):
                known[row.counted.id] = row
            place = _behind(place, found)
    for row in known.values():
        (left if row.against else again)[row.against or row.reason] += 1
    enroll, complete = _to_enroll(tx, tenant_id, asked)
    return Preview(dict(again), dict(left), enroll, complete and seen < FORESEEN)


def continue_rest(tx: Tx, job: Job, before: Progress, *, now: int, lease_ms: int) -> Progress | None:
    """Does the next batch in the transaction that moves the job on; None when there was nothing more and the job is done.

    `done` counts messages made due again and contacts enrolled, `rejected` messages asked for that must not be sent. Raises Conflict when the
    lease is lost, which undoes the batch, Invalid when the campaign is not active any more.
    """
    asked = msgspec.json.decode(job.params, type=Rest)
    # a pause or an archiving waits until this transaction ends, and finds what it has made due
    open_campaign(tx, job.tenant_id, asked.campaign_id)
    place: _Place | None = msgspec.json.decode(before.cursor, type=_Place) if before.cursor else _Place()
    stretches = _stretches(tx, job.tenant_id, asked)
    if place.stretch not in stretches:
        place = _next(stretches, place.stretch)
    done = passed = 0
    tally = Tally()
    for _ in range(TURNS):
        if place is None or done + passed:
            break
        if place.stretch == _ENROLLING:
            chunk = _enroll(tx, job.tenant_id, asked, after=place.a, now=now)
            # who is enrolled already is nobody that was to be
            done, place = chunk.enrolled, None if chunk.last is None else _Place(_ENROLLING, chunk.last)
            break
        found = _candidates(tx, job.tenant_id, asked, place, lock=True)
        wanted = _wanted(asked, found.rows)
        done = rest.send_again(tx, job.tenant_id, wanted, tally, author=asked.author, now=now)
        passed = len(wanted) - done
        place = _behind(place, found) or _next(stretches, place.stretch)
    counters.fold(tx, tally)
    totals = before.done + done, before.rejected + passed
    cursor = before.cursor if place is None else msgspec.json.encode(place).decode()
    progress = Progress(cursor, *totals, sum(totals))
    if not jobs.advance(tx, job, progress, now=now, lease_ms=lease_ms):
        raise Conflict("The lease of this job was lost.")
    if place is None:
        jobs.finish(tx, job, now=now)
        return None
    return progress


def _check(tx: Tx, tenant_id: int, asked: Rest) -> None:
    campaign = campaigns.get(tx, tenant_id, asked.campaign_id)
    if campaign.state != "active":
        raise Conflict(f"The campaign is {campaign.state}, not active")
    if asked.message_id is not None:
        known = tx.value(
            "SELECT 1 FROM messages WHERE tenant_id = :tenant_id AND campaign_id = :campaign_id AND id = :id",
            tenant_id=tenant_id,
            campaign_id=asked.campaign_id,
            id=asked.message_id,
        )
        if not known:
            raise NotFound("Message not found")
        if asked.list_id is not None or asked.everybody:
            raise Invalid.field("message", "cannot be given with contacts to enroll: they begin with the first message")
    if asked.list_id is not None and lists.get(tx, tenant_id, asked.list_id) is None:
        raise NotFound("List not found")


def _stretches(tx: Tx, tenant_id: int, asked: Rest) -> list[tuple[int, int]]:
    """What is gone through, in its order: (phase, message or queue), and at last the contacts."""
    rows = tx.rows(
        "SELECT id FROM messages WHERE tenant_id = :tenant_id AND campaign_id = :campaign_id ORDER BY id",
        tenant_id=tenant_id,
        campaign_id=asked.campaign_id,
    )
    messages: list[int] = [row[0] for row in rows if asked.message_id in (None, row[0])]
    found = [(0, message_id) for message_id in messages]
    if "unknown" in asked.reasons:
        found += [(1, queue) for queue in range(len(rest.QUEUES))]
    if "bounced" in asked.reasons:
        found += [(2, message_id) for message_id in messages]
    if "failed" in asked.reasons:
        found += [(3, message_id) for message_id in messages]
    if asked.list_id is not None or asked.everybody:
        found.append(_ENROLLING)
    return [stretch for stretch in found if stretch[0] != 0 or set(asked.reasons) - {"bounced"}]


def _next(stretches: list[tuple[int, int]], behind: tuple[int, int]) -> _Place | None:
    """The beginning of the stretch after this one, whether or not that is still there."""
    index = bisect.bisect_right(stretches, behind)
    return _Place(stretches[index]) if index < len(stretches) else None


def _candidates(tx: Tx, tenant_id: int, asked: Rest, place: _Place, *, lock: bool) -> rest.Found:
    phase, of = place.stretch
    which = Asked(asked.campaign_id, asked.asked_at)
    return rest.candidates(tx, tenant_id, _PHASES[phase], which, of=of, after=(place.a, place.b), limit=BATCH, lock=lock)


def _behind(place: _Place, found: rest.Found) -> _Place | None:
    return None if found.next is None else _Place(place.stretch, *found.next)


def _wanted(asked: Rest, found: Sequence[Candidate]) -> list[Candidate]:
    """Those of a reason, and the message, that was asked for."""
    return [row for row in found if row.reason in asked.reasons and asked.message_id in (None, row.counted.message_id)]


_MEMBERS: LiteralString = (
    "SELECT contact_id AS id FROM list_members WHERE tenant_id = :tenant_id AND list_id = :list_id AND contact_id > :after"
)
_EVERYBODY: LiteralString = "SELECT id FROM contacts WHERE tenant_id = :tenant_id AND id > :after"
# who has something of the campaign was enrolled, though that enrollment may have been deleted
_NEVER: LiteralString = (
    " AND NOT EXISTS (SELECT 1 FROM enrollments e WHERE e.tenant_id = :tenant_id AND e.contact_id = s.id AND e.campaign_id = :campaign_id)"
    " AND NOT EXISTS (SELECT 1 FROM communications c WHERE c.tenant_id = :tenant_id AND c.contact_id = s.id AND c.campaign_id = :campaign_id)"
)


def _crowd(asked: Rest) -> tuple[LiteralString, dict[str, int]]:
    return (_EVERYBODY, {}) if asked.list_id is None else (_MEMBERS, {"list_id": asked.list_id})


def _step(tx: Tx, tenant_id: int, asked: Rest, after: int) -> tuple[int, int | None]:
    """How many contacts the next chunk has, and its last."""
    source, params = _crowd(asked)
    sql: LiteralString = "SELECT COUNT(*), MAX(id) FROM (" + source + " ORDER BY 1 LIMIT :limit) s"
    row = tx.row(sql, tenant_id=tenant_id, after=after, limit=ENROLL, **params)
    assert row is not None
    return row[0], row[1]


def _enroll(tx: Tx, tenant_id: int, asked: Rest, *, after: int, now: int) -> Chunk:
    """Enrolls who of the next chunk never was. Raises as `enroll` does."""
    _, delay = open_campaign(tx, tenant_id, asked.campaign_id)
    seen, last = _step(tx, tenant_id, asked, after)
    if last is None:
        return Chunk(0, 0, None)
    source, params = _crowd(asked)
    sql: LiteralString = (
        "INSERT INTO enrollments (tenant_id, campaign_id, contact_id, due_at, enrolled_at, created_at, updated_at)"
        " SELECT CAST(:tenant_id AS bigint), CAST(:campaign_id AS bigint), s.id, CAST(:due_at AS bigint), CAST(:now AS bigint), CAST(:now AS bigint),"
        " CAST(:now AS bigint) FROM (" + source + ") s WHERE s.id <= :last" + _NEVER
    )
    enrolled = tx.run(
        sql + " ON CONFLICT DO NOTHING",
        tenant_id=tenant_id,
        campaign_id=asked.campaign_id,
        after=after,
        last=last,
        due_at=now + delay,
        now=now,
        **params,
    )
    if enrolled:
        count(tx, tenant_id, asked.campaign_id, now, enrolled=enrolled)
        tx.notify("plan")
    return Chunk(seen, enrolled, last)


def _to_enroll(tx: Tx, tenant_id: int, asked: Rest) -> tuple[int, bool]:
    """How many would be enrolled, and whether everybody was looked at."""
    if asked.list_id is None and not asked.everybody:
        return 0, True
    source, params = _crowd(asked)
    sql: LiteralString = "SELECT COUNT(*) FROM (" + source + ") s WHERE s.id <= :last" + _NEVER
    looked = enroll = after = 0
    while looked < FORESEEN:
        seen, last = _step(tx, tenant_id, asked, after)
        if last is None:
            return enroll, True
        enroll += tx.value(sql, tenant_id=tenant_id, campaign_id=asked.campaign_id, after=after, last=last, **params)
        looked, after = looked + seen, last
    return enroll, False
