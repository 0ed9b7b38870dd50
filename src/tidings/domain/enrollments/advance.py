"""The next step of everybody who is due for one: set by set, in one transaction, nobody twice."""

import msgspec

from tidings.database import Tx
from tidings.domain import counters, events
from tidings.domain.counters import Bucket, Tally
from tidings.domain.enrollments.end import complete


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
    tally = Tally()
    for position, group in groups.items():
        following = [step for step in steps if step.position > position]
        if following:
            _make(tx, tenant_id, campaign_id, following, group, tally, tracking=(campaign[0], campaign[1]), now=now)
        else:
            # its last messages were deleted from the campaign while it waited
            _set_next(tx, tenant_id, group, position=position, due_at=None, now=now)
            complete(tx, tenant_id, [], [walker.id for walker in group], tally, now=now)
    counters.fold(tx, tally)
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
    tx: Tx,
    tenant_id: int,
    campaign_id: int,
    following: list[_Step],
    group: list[_Walker],
    tally: Tally,
    *,
    tracking: tuple[int, int],
    now: int,
) -> None:
    """The communications of one step for everybody who stands before it."""
    step = following[0]
    rows = [(walker.id, walker.contact_id, *_address(walker, step.channel)) for walker in group]
    made = tx.rows(
        "INSERT INTO communications (tenant_id, channel, state, lane, due_at, contact_id, content_id, campaign_id, message_id, enrollment_id, sole,"
        " template_id, type, address, error, track_opens, track_links, created_at, updated_at)"
        " SELECT CAST(:tenant_id AS bigint), CAST(:channel AS text), r.state, 1, CASE WHEN r.state = 'pending' THEN CAST(:now AS bigint) END, r.contact_id,"
        " CAST(:content_id AS bigint), CAST(:campaign_id AS bigint), CAST(:message_id AS bigint), r.enrollment_id, CAST(:sole AS smallint),"
        " CAST(:template_id AS bigint), 'CAMPAIGN', r.address, r.error, CAST(:track_opens AS smallint), CAST(:track_links AS smallint),"
        " CAST(:now AS bigint), CAST(:now AS bigint)"
        " FROM :rows(enrollment_id bigint, contact_id bigint, address text, error text, state text) r WHERE true"
        " ON CONFLICT DO NOTHING RETURNING id, contact_id, state, error, enrollment_id",
        tenant_id=tenant_id,
        channel=step.channel,
        content_id=step.content_id,
        campaign_id=campaign_id,
        message_id=step.id,
        sole=int(step.last and group[0].position == 0),
        template_id=step.template_id,
        track_opens=tracking[0],
        track_links=tracking[1],
        now=now,
        rows=rows,
    )
    _set_next(tx, tenant_id, group, position=step.position, due_at=None if step.last else now + following[1].delay, now=now)
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
        complete(tx, tenant_id, [], [row[4] for row in made if row[2] != "pending"], tally, now=now)
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
