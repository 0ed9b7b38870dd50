"""One contact walking through one campaign: enrolling, advancing set by set, stopping, ending. The messages themselves are communications."""

from typing import LiteralString

import msgspec

from tidings.database import Tx
from tidings.domain import communications, counters, events, suppressions
from tidings.domain.counters import Bucket, Counts, Tally
from tidings.domain.page import Page
from tidings.errors import Invalid, NotFound

RECENTLY = "Contact was already enrolled in this campaign recently"


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


def _open_campaign(tx: Tx, tenant_id: int, campaign_id: int) -> tuple[int, int]:
    """The campaign's re-enrollment window and the delay of its first message. Raises NotFound, or Invalid when it takes nobody."""
    row = tx.row(
        "SELECT c.state, c.reenroll_after, (SELECT m.delay FROM messages m WHERE m.tenant_id = c.tenant_id AND m.campaign_id = c.id AND m.deleted_at IS NULL"
        " ORDER BY m.position LIMIT 1) FROM campaigns c WHERE c.tenant_id = :tenant_id AND c.id = :id",
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
    window, delay = _open_campaign(tx, tenant_id, campaign_id)
    if tx.value("SELECT 1 FROM contacts WHERE tenant_id = :tenant_id AND id = :id", tenant_id=tenant_id, id=contact_id) is None:
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
    _count(tx, tenant_id, campaign_id, now, enrolled=1)
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
    window, delay = _open_campaign(tx, tenant_id, campaign_id)
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
        _count(tx, tenant_id, campaign_id, now, enrolled=enrolled)
        tx.notify("plan")
    return Chunk(seen, enrolled, last)


class DueCampaign(msgspec.Struct, frozen=True):
    """An active campaign with due enrollments, and the channels of its messages, comma-separated."""

    tenant_id: int
    campaign_id: int
    channels: str


def due_campaigns(tx: Tx, *, now: int) -> list[DueCampaign]:
    """Every active campaign, of any tenant, with an enrollment that is due."""
    return tx.all(
        DueCampaign,
        "SELECT c.tenant_id, c.id, CASE MIN(m.channel) WHEN MAX(m.channel) THEN MIN(m.channel) ELSE 'email,sms' END FROM campaigns c"
        " JOIN messages m ON m.tenant_id = c.tenant_id AND m.campaign_id = c.id AND m.deleted_at IS NULL WHERE c.state = 'active'"
        " AND EXISTS (SELECT 1 FROM enrollments e WHERE e.tenant_id = c.tenant_id AND e.campaign_id = c.id AND e.due_at IS NOT NULL AND e.due_at <= :now)"
        " GROUP BY c.tenant_id, c.id",
        now=now,
    )


class _Step(msgspec.Struct, frozen=True):
    id: int
    position: int
    channel: str
    delay: int
    content_id: int
    template_id: int | None
    last: bool = False


class _Walker(msgspec.Struct, frozen=True, gc=False):
    id: int
    contact_id: int
    position: int
    email: str | None
    phone: str | None
    email_denied_at: int | None
    sms_denied_at: int | None
    email_blocked: str | None
    sms_blocked: str | None


def advance(tx: Tx, tenant_id: int, campaign_id: int, *, limit: int, now: int) -> int:
    """Makes the next message of up to `limit` due enrollments, and says when the one after it is due. Answers how many it advanced.

    Everything happens in this one transaction, so nobody gets a step twice and a crash leaves nothing half done. What cannot go out
    (no address, suppressed) is made all the same and fails with its reason.
    """
    campaign = tx.row(
        "SELECT track_opens, track_links FROM campaigns WHERE tenant_id = :tenant_id AND id = :id AND state = 'active' FOR SHARE",
        tenant_id=tenant_id,
        id=campaign_id,
    )
    if campaign is None:
        return 0
    steps = _steps(tx, tenant_id, campaign_id)
    walkers = tx.all(
        _Walker,
        "WITH picked AS MATERIALIZED (SELECT id, contact_id, position FROM enrollments WHERE tenant_id = :tenant_id AND campaign_id = :campaign_id"
        " AND due_at IS NOT NULL AND due_at <= :now ORDER BY due_at, id LIMIT :limit FOR UPDATE SKIP LOCKED)"
        " SELECT e.id, e.contact_id, e.position, p.email, p.phone, p.email_denied_at, p.sms_denied_at, es.reason, ss.reason FROM picked e"
        " LEFT JOIN contacts p ON p.tenant_id = :tenant_id AND p.id = e.contact_id"
        " LEFT JOIN suppressions es ON es.tenant_id = :tenant_id AND es.channel = 'email' AND es.address = p.email_key"
        " LEFT JOIN suppressions ss ON ss.tenant_id = :tenant_id AND ss.channel = 'sms' AND ss.address = p.phone",
        tenant_id=tenant_id,
        campaign_id=campaign_id,
        limit=limit,
        now=now,
    )
    groups: dict[int, list[_Walker]] = {}
    for walker in walkers:
        groups.setdefault(walker.position, []).append(walker)
    for position, group in groups.items():
        following = [step for step in steps if step.position > position]
        if following:
            _make(tx, tenant_id, campaign_id, following, group, tracking=(campaign[0], campaign[1]), now=now)
        else:
            # its last messages were deleted from the campaign while it waited
            _set_next(tx, tenant_id, group, position=position, due_at=None, now=now)
            complete(tx, tenant_id, [walker.id for walker in group], now=now)
    return len(walkers)


def _steps(tx: Tx, tenant_id: int, campaign_id: int) -> list[_Step]:
    steps = tx.all(
        _Step,
        "SELECT id, position, channel, delay, content_id, template_id FROM messages WHERE tenant_id = :tenant_id AND campaign_id = :campaign_id"
        " AND deleted_at IS NULL ORDER BY position",
        tenant_id=tenant_id,
        campaign_id=campaign_id,
    )
    return [*steps[:-1], *(msgspec.structs.replace(step, last=True) for step in steps[-1:])]


def _address(walker: _Walker, channel: str) -> tuple[str, str | None, str]:
    """Where a step goes: (address, what stands against it, the state that makes)."""
    email = channel == "email"
    address = walker.email if email else walker.phone
    if not address:
        return "", f"The contact has no {'email address' if email else 'phone number'}.", "failed"
    blocked = walker.email_blocked if email else walker.sms_blocked
    if (walker.email_denied_at if email else walker.sms_denied_at) is not None:
        blocked = "no consent"
    if blocked:
        return address, f"{address} must not be written to: {blocked}", "suppressed"
    return address, None, "pending"


def _make(
    tx: Tx, tenant_id: int, campaign_id: int, following: list[_Step], group: list[_Walker], *, tracking: tuple[int, int], now: int
) -> None:
    """The communications of one step for everybody who stands before it."""
    step = following[0]
    rows = [(walker.id, walker.contact_id, *_address(walker, step.channel)) for walker in group]
    made = tx.rows(
        "INSERT INTO communications (tenant_id, channel, state, lane, due_at, contact_id, content_id, campaign_id, message_id, enrollment_id, closing,"
        " template_id, type, address, error, track_opens, track_links, created_at, updated_at)"
        " SELECT CAST(:tenant_id AS bigint), CAST(:channel AS text), r.state, 1, CASE WHEN r.state = 'pending' THEN CAST(:now AS bigint) END, r.contact_id,"
        " CAST(:content_id AS bigint), CAST(:campaign_id AS bigint), CAST(:message_id AS bigint), r.enrollment_id, CAST(:closing AS smallint),"
        " CAST(:template_id AS bigint), 'CAMPAIGN', r.address, r.error, CAST(:track_opens AS smallint), CAST(:track_links AS smallint),"
        " CAST(:now AS bigint), CAST(:now AS bigint)"
        " FROM :rows(enrollment_id bigint, contact_id bigint, address text, error text, state text) r WHERE true"
        " ON CONFLICT DO NOTHING RETURNING id, contact_id, state, error, enrollment_id",
        tenant_id=tenant_id,
        channel=step.channel,
        content_id=step.content_id,
        campaign_id=campaign_id,
        message_id=step.id,
        closing=int(step.last),
        template_id=step.template_id,
        track_opens=tracking[0],
        track_links=tracking[1],
        now=now,
        rows=rows,
    )
    _set_next(tx, tenant_id, group, position=step.position, due_at=None if step.last else now + following[1].delay, now=now)
    tally = Tally()
    failures: list[events.Event] = []
    bucket = Bucket(tenant_id, counters.hour_of(now), step.channel, "CAMPAIGN", step.template_id or 0, campaign_id, step.id)
    tally.at(bucket).accepted += len(made)
    for communication_id, contact_id, state, error, _ in made:
        if state != "pending":
            subject = events.Subject(
                tenant_id, communication_id, contact_id, campaign_id, step.id, step.template_id, step.channel, "CAMPAIGN", now
            )
            failures.append(events.Event(subject, "failed", now, detail=error))
    events.append(tx, failures, tally)
    if step.last:
        complete(tx, tenant_id, [row[4] for row in made if row[2] != "pending"], now=now)
    tx.notify("due")


def _set_next(tx: Tx, tenant_id: int, group: list[_Walker], *, position: int, due_at: int | None, now: int) -> None:
    tx.run(
        "UPDATE enrollments SET position = :position, due_at = :due_at, updated_at = :now WHERE tenant_id = :tenant_id"
        " AND id IN :ids[bigint]",
        tenant_id=tenant_id,
        position=position,
        due_at=due_at,
        now=now,
        ids=[walker.id for walker in group],
    )


def complete(tx: Tx, tenant_id: int, enrollment_ids: list[int], *, now: int) -> int:
    """Ends those of the enrollments of which nothing more will come: no message is due, waiting or being sent."""
    if not enrollment_ids:
        return 0
    rows = tx.rows(
        "UPDATE enrollments SET completed_at = :now, updated_at = :now WHERE tenant_id = :tenant_id AND completed_at IS NULL AND due_at IS NULL"
        " AND id IN :ids[bigint] AND NOT EXISTS (SELECT 1 FROM communications c WHERE c.tenant_id = :tenant_id"
        " AND c.enrollment_id = enrollments.id AND c.state IN ('pending', 'in_process', 'unknown')) RETURNING campaign_id, enrolled_at",
        tenant_id=tenant_id,
        now=now,
        ids=enrollment_ids,
    )
    tally = Tally()
    for campaign_id, enrolled_at in rows:
        tally.at(Bucket(tenant_id, counters.hour_of(enrolled_at), campaign_id=campaign_id)).completed += 1
    counters.fold(tx, tally)
    return len(rows)


def stop(tx: Tx, tenant_id: int, enrollment_id: int, by: LiteralString, *, now: int) -> bool:
    """Ends an enrollment because of a reply or an unsubscribe; what is pending for it is canceled. False when it had ended already."""
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
    communications.cancel_of_enrollments(tx, tenant_id, enrollment_id, now=now)
    _count(tx, tenant_id, row[0], row[1], completed=1)
    return True


def delete(tx: Tx, tenant_id: int, enrollment_id: int, *, now: int) -> int:
    """Removes an enrollment and cancels what is pending for it. Answers how many of its messages are being sent at this moment:
    whoever must be sure that nothing goes out afterwards waits until `communications.in_process` says 0. Raises NotFound.
    """
    row = tx.row(
        "DELETE FROM enrollments WHERE tenant_id = :tenant_id AND id = :id RETURNING campaign_id, enrolled_at, completed_at",
        tenant_id=tenant_id,
        id=enrollment_id,
    )
    if row is None:
        raise NotFound()
    _count(tx, tenant_id, row[0], row[1], enrolled=-1, completed=-1 if row[2] is not None else 0)
    return communications.cancel_of_enrollments(tx, tenant_id, enrollment_id, now=now)


def delete_of_contact(tx: Tx, tenant_id: int, contact_id: int, *, now: int) -> int:
    """Removes every enrollment of a contact and cancels whatever is pending for it; answers how many messages are being sent."""
    rows = tx.rows(
        "DELETE FROM enrollments WHERE tenant_id = :tenant_id AND contact_id = :contact_id RETURNING campaign_id, enrolled_at, completed_at",
        tenant_id=tenant_id,
        contact_id=contact_id,
    )
    for campaign_id, enrolled_at, completed_at in rows:
        _count(tx, tenant_id, campaign_id, enrolled_at, enrolled=-1, completed=-1 if completed_at is not None else 0)
    return communications.cancel_of_contact(tx, tenant_id, contact_id, now=now)


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
        tally.at(Bucket(tenant_id, counters.hour_of(enrolled_at), campaign_id=campaign_id)).completed += 1
    counters.fold(tx, tally)
    return len(rows)


def unsubscribe(tx: Tx, tenant_id: int, communication_id: int, *, now: int) -> bool:
    """Takes the address a communication went to off this channel for good, and ends the enrollment it came from.

    Answers False when there is no such communication; doing it twice changes nothing.
    """
    communication = communications.get(tx, tenant_id, communication_id)
    if communication is None:
        return False
    address = communication.address.lower()
    fresh = suppressions.add(
        tx, tenant_id, communication.channel, address, "unsubscribed", detail="", communication_id=communication_id, now=now
    )
    if fresh:
        subject = events.Subject(
            tenant_id,
            communication_id,
            communication.contact_id,
            communication.campaign_id,
            communication.message_id,
            communication.template_id,
            communication.channel,
            communication.type,
            communication.sent_at or communication.created_at,
        )
        events.append(tx, [events.Event(subject, "unsubscribed", now)])
    if communication.enrollment_id is not None:
        stop(tx, tenant_id, communication.enrollment_id, "unsubscribe", now=now)
    return True


def _count(tx: Tx, tenant_id: int, campaign_id: int, enrolled_at: int, *, enrolled: int = 0, completed: int = 0) -> None:
    tally = Tally()
    counts: Counts = tally.at(Bucket(tenant_id, counters.hour_of(enrolled_at), campaign_id=campaign_id))
    counts.enrolled += enrolled
    counts.completed += completed
    counters.fold(tx, tally)
