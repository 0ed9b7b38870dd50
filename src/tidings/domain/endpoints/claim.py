"""Posting's side of the store: whose turn it is, what is due for an endpoint with all that is told of it, and settling what came back.

An endpoint is held under a lease by one process at a time, so what it gets at once is bounded however many workers there are; what came
back is settled only while the lease is held. A lease that runs out leaves everything as it was: what was posted is posted again.
"""

import secrets
from collections.abc import Collection
from typing import Any, LiteralString, NamedTuple

import msgspec

from tidings.database import Tx
from tidings.domain.endpoints import record
from tidings.domain.endpoints.lay import lay_disabled
from tidings.domain.endpoints.record import Endpoint, read


class About(NamedTuple):
    """The communication that a delivery tells of, as it is now. `links` is JSON of its content's links, for a click.

    `contact_id` is None when the contact was deleted or erased; where that was the only one the mail went to, erasing emptied `address`.
    """

    id: int
    channel: str
    address: str
    type: str
    contact_id: int | None
    campaign_id: int | None
    message_id: int | None
    enrollment_id: int | None
    template_id: int | None
    related_entity_type: str | None
    related_entity_id: str | None
    conversation_id: int | None
    links: str | None


class Heard(NamedTuple):
    """The message that came in that a delivery tells of. `recipients` is JSON, `reply` what of `text` is new."""

    id: int
    channel: str
    conversation_id: int
    contact_id: int
    sender: str
    sender_name: str
    recipients: str
    subject: str
    text: str
    reply: str
    automatic: int
    keyword: str | None
    received_at: int


class Due(NamedTuple):
    """A delivery that is due. `data` and `log` are JSON as they are stored; `about` and `heard` are None for what is not there any more."""

    id: int
    kind: str
    at: int
    data: str
    attempts: int
    log: str
    communication_id: int | None
    inbound_id: int | None
    about: About | None
    heard: Heard | None

    @property
    def gone(self) -> bool:
        """Whether what it tells of has been deleted since, or whom it is about erased: a link still leads somewhere after that."""
        if self.inbound_id is not None:
            return self.heard is None
        if self.about is None:
            return self.communication_id is not None
        return self.about.contact_id is None and not self.about.address


class Settled(msgspec.Struct, frozen=True):
    """What becomes of a delivery: waiting (to be tried again at `due_at`), delivered or failed. `log` is JSON of all attempts."""

    id: int
    communication_id: int | None
    state: str
    due_at: int | None
    attempts: int
    error: str | None
    log: str
    data: str


class Health(NamedTuple):
    """What a round came to for the endpoint as a whole. `why` switches it off."""

    failures: int
    failing_since: int | None
    rest_until: int | None
    error: str | None
    delivered_at: int | None
    why: str | None = None


HASTY = 4
"""Attempts up to which a delivery is tried again as soon as its endpoint takes something: one that alone is refused keeps its days."""
EVER = 1_000_000
"""More attempts than there are."""
TEXT = 10_000
"""Characters of an incoming message that are told; who wants the rest asks for it."""
_DUE: LiteralString = (
    " d.due_at IS NOT NULL AND d.due_at <= :now AND NOT EXISTS (SELECT 1 FROM deliveries b WHERE b.tenant_id = d.tenant_id"
    " AND b.communication_id = d.communication_id AND b.endpoint_id = d.endpoint_id AND b.id < d.id AND b.due_at IS NOT NULL)"
)


def is_any_due(tx: Tx, *, now: int) -> bool:
    """Whether an endpoint waits for its turn, any tenant's."""
    return (
        tx.row(
            "SELECT 1 FROM endpoints e WHERE e.disabled_at IS NULL AND (e.lease_until IS NULL OR e.lease_until <= :now)"
            " AND (e.rest_until IS NULL OR e.rest_until <= :now) AND EXISTS (SELECT 1 FROM deliveries d WHERE d.tenant_id = e.tenant_id"
            " AND d.endpoint_id = e.id AND d.due_at IS NOT NULL AND d.due_at <= :now) LIMIT 1",
            now=now,
        )
        is not None
    )


def claim(tx: Tx, *, now: int, until: int, sound: int, failing: int, full: Collection[int] = ()) -> list[Endpoint]:
    """Endpoints with something due, any tenants', leased: those that have waited longest for their turn.

    `sound` and `failing` are how many at most of those that took what they got last, and of those that did not;
    `full` are tenants that have their share already.
    """
    taken = _claim(tx, "= 0", full, now=now, until=until, limit=sound) if sound > 0 else []
    return taken + (_claim(tx, "> 0", full, now=now, until=until, limit=failing) if failing > 0 else [])


def _claim(tx: Tx, failures: LiteralString, full: Collection[int], *, now: int, until: int, limit: int) -> list[Endpoint]:
    # materialised: a plan that asks the inner question for every row would be given other endpoints each time
    sql: LiteralString = (
        "WITH picked AS MATERIALIZED (SELECT e.tenant_id, e.id FROM endpoints e WHERE e.disabled_at IS NULL"
        " AND (e.lease_until IS NULL OR e.lease_until <= :now) AND (e.rest_until IS NULL OR e.rest_until <= :now) AND e.failures "
        + failures
        + " AND NOT e.tenant_id IN :full[bigint]"
        " AND EXISTS (SELECT 1 FROM deliveries d WHERE d.tenant_id = e.tenant_id AND d.endpoint_id = e.id AND d.due_at IS NOT NULL"
        " AND d.due_at <= :now) ORDER BY e.served_at, e.id LIMIT :limit FOR UPDATE OF e SKIP LOCKED)"
        " UPDATE endpoints SET lease = :lease, lease_until = :until, served_at = :now"
        " WHERE (tenant_id, id) IN (SELECT tenant_id, id FROM picked) RETURNING " + record.COLUMNS
    )
    return [read(row) for row in tx.rows(sql, now=now, until=until, limit=limit, full=sorted(full), lease=secrets.randbits(62))]


def take(tx: Tx, endpoint: Endpoint, *, now: int, limit: int) -> list[Due]:
    """What is due for an endpoint, the longest due first. Of each communication it is one, the oldest that is not settled."""
    sql: LiteralString = (
        "SELECT d.id, d.kind, d.at, d.data, d.attempts, d.log, d.communication_id, d.inbound_id FROM deliveries d"
        " WHERE d.tenant_id = :tenant_id AND d.endpoint_id = :endpoint_id AND" + _DUE + " ORDER BY d.due_at, d.id LIMIT :limit"
    )
    rows = tx.rows(sql, tenant_id=endpoint.tenant_id, endpoint_id=endpoint.id, now=now, limit=limit)
    return _told(tx, endpoint.tenant_id, rows)


def one(tx: Tx, tenant_id: int, delivery_id: int) -> Due | None:
    """One delivery with all that is told of it, due or not; None when it is not there."""
    rows = tx.rows(
        "SELECT id, kind, at, data, attempts, log, communication_id, inbound_id FROM deliveries WHERE tenant_id = :tenant_id AND id = :id",
        tenant_id=tenant_id,
        id=delivery_id,
    )
    return _told(tx, tenant_id, rows)[0] if rows else None


def _told(tx: Tx, tenant_id: int, rows: list[tuple[Any, ...]]) -> list[Due]:
    about = _about(tx, tenant_id, [row[6] for row in rows if row[6] is not None], clicked=any(row[1] == "clicked" for row in rows))
    heard = _heard(tx, tenant_id, [row[7] for row in rows if row[7] is not None])
    told: list[tuple[Any, ...]] = [(*row, about.get(row[6]), heard.get(row[7])) for row in rows]
    return [Due(*values) for values in told]


def _about(tx: Tx, tenant_id: int, wanted: list[int], *, clicked: bool) -> dict[int, About]:
    if not wanted:
        return {}
    rows = tx.rows(
        "SELECT c.id, c.channel, c.address, c.type, p.id, c.campaign_id, c.message_id, c.enrollment_id, c.template_id, c.related_entity_type,"
        " c.related_entity_id, c.conversation_id, CASE WHEN :clicked = 1 THEN k.links END FROM communications c"
        " LEFT JOIN contacts p ON p.tenant_id = c.tenant_id AND p.id = c.contact_id"
        " LEFT JOIN contents k ON k.tenant_id = c.tenant_id AND k.id = c.content_id WHERE c.tenant_id = :tenant_id AND c.id IN :ids[bigint]",
        tenant_id=tenant_id,
        ids=sorted(set(wanted)),
        clicked=int(clicked),
    )
    return {row[0]: About(*row) for row in rows}


def _heard(tx: Tx, tenant_id: int, wanted: list[int]) -> dict[int, Heard]:
    if not wanted:
        return {}
    rows = tx.rows(
        "SELECT id, channel, conversation_id, contact_id, sender, sender_name, recipients, subject, substr(text, 1, CAST(:most AS integer)),"
        " substr(reply, 1, CAST(:most AS integer)),"
        " automatic, keyword, received_at FROM inbound_messages WHERE tenant_id = :tenant_id AND id IN :ids[bigint]",
        tenant_id=tenant_id,
        ids=sorted(set(wanted)),
        most=TEXT,
    )
    return {row[0]: Heard(*row) for row in rows}


def settle(tx: Tx, endpoint: Endpoint, outcomes: list[Settled], health: Health, *, now: int, until: int) -> Endpoint | None:
    """Writes what came back, and holds on to the endpoint `until` then; None, with nothing written, when it is not held any more.

    None as well when it is switched off by this, which the tenant's other endpoints are told of.
    """
    row = tx.row(
        "UPDATE endpoints SET failures = :failures, failing_since = :failing_since, rest_until = :rest_until, error = :error,"
        " delivered_at = COALESCE(:delivered_at, delivered_at), lease_until = :until"
        " WHERE tenant_id = :tenant_id AND id = :id AND lease = :lease RETURNING " + record.COLUMNS,
        tenant_id=endpoint.tenant_id,
        id=endpoint.id,
        lease=endpoint.lease,
        failures=health.failures,
        failing_since=health.failing_since,
        rest_until=health.rest_until,
        error=health.error,
        delivered_at=health.delivered_at,
        until=until,
    )
    if row is None:
        return None
    _write(tx, endpoint, outcomes, now=now)
    if endpoint.failures and not health.failures:
        _hasten(tx, endpoint, HASTY, now=now)
    if health.why is not None:
        record.disable(tx, endpoint.tenant_id, endpoint.id, health.why, now=now)
        lay_disabled(tx, endpoint, health.why, now=now)
        return None
    return read(row)


def settle_test(tx: Tx, endpoint: Endpoint, outcome: Settled, *, now: int) -> None:
    """Writes what came back of a test. One that was taken ends the endpoint's rest: what waits is delivered at once."""
    tx.run(
        "UPDATE deliveries SET state = :state, attempts = :attempts, error = :error, log = :log, ended_at = :now"
        " WHERE tenant_id = :tenant_id AND id = :id",
        tenant_id=endpoint.tenant_id,
        id=outcome.id,
        state=outcome.state,
        attempts=outcome.attempts,
        error=outcome.error,
        log=outcome.log,
        now=now,
    )
    if outcome.state == "delivered":
        tx.run(
            "UPDATE endpoints SET failures = 0, failing_since = NULL, rest_until = NULL, error = NULL, delivered_at = :now"
            " WHERE tenant_id = :tenant_id AND id = :id",
            tenant_id=endpoint.tenant_id,
            id=endpoint.id,
            now=now,
        )
        _hasten(tx, endpoint, EVER, now=now)
        tx.notify(record.BELL)


def _write(tx: Tx, endpoint: Endpoint, outcomes: list[Settled], *, now: int) -> None:
    tx.run(
        "UPDATE deliveries SET state = r_state, due_at = r_due_at, attempts = r_attempts, error = r_error, log = r_log, data = r_data,"
        " ended_at = CASE WHEN r_state = 'waiting' THEN NULL ELSE :now END"
        " FROM :rows(r_id bigint, r_state text, r_due_at bigint, r_attempts integer, r_error text, r_log text, r_data text) r"
        " WHERE tenant_id = :tenant_id AND id IN :ids[bigint] AND id = r_id AND due_at IS NOT NULL",
        tenant_id=endpoint.tenant_id,
        ids=[outcome.id for outcome in outcomes],
        rows=[
            (outcome.id, outcome.state, outcome.due_at, outcome.attempts, outcome.error, outcome.log, outcome.data) for outcome in outcomes
        ],
        now=now,
    )
    put_off = [
        (outcome.id, outcome.communication_id, outcome.due_at) for outcome in outcomes if outcome.due_at and outcome.communication_id
    ]
    if put_off:
        # what comes after one that waits cannot go before it, and need not be looked at until then
        tx.run(
            "UPDATE deliveries SET due_at = r_due_at FROM :rows(r_id bigint, r_communication_id bigint, r_due_at bigint) r"
            " WHERE tenant_id = :tenant_id AND communication_id IN :ids[bigint] AND communication_id = r_communication_id"
            " AND endpoint_id = :endpoint_id AND id > r_id AND due_at IS NOT NULL AND due_at < r_due_at",
            tenant_id=endpoint.tenant_id,
            endpoint_id=endpoint.id,
            ids=sorted({communication_id for _, communication_id, _ in put_off}),
            rows=put_off,
        )


def _hasten(tx: Tx, endpoint: Endpoint, tried: int, *, now: int) -> None:
    """It takes again what it gets: what was tried `tried` times at most, and waits for being tried again, waits no longer."""
    tx.run(
        "UPDATE deliveries SET due_at = :now WHERE tenant_id = :tenant_id AND endpoint_id = :endpoint_id AND due_at IS NOT NULL AND due_at > :now"
        " AND attempts <= :tried",
        tenant_id=endpoint.tenant_id,
        endpoint_id=endpoint.id,
        tried=tried,
        now=now,
    )


def put_off(tx: Tx, endpoint: Endpoint, *, now: int) -> int:
    """Puts off what is due and comes after one that waits, until that is due: otherwise it would be looked at again and again."""
    return tx.run(
        "UPDATE deliveries SET due_at = (SELECT MAX(b.due_at) FROM deliveries b WHERE b.tenant_id = :tenant_id"
        " AND b.communication_id = deliveries.communication_id AND b.endpoint_id = :endpoint_id AND b.id < deliveries.id AND b.due_at IS NOT NULL)"
        " WHERE tenant_id = :tenant_id AND endpoint_id = :endpoint_id AND due_at IS NOT NULL AND due_at <= :now"
        " AND EXISTS (SELECT 1 FROM deliveries b WHERE b.tenant_id = :tenant_id AND b.communication_id = deliveries.communication_id"
        " AND b.endpoint_id = :endpoint_id AND b.id < deliveries.id AND b.due_at IS NOT NULL AND b.due_at > :now)",
        tenant_id=endpoint.tenant_id,
        endpoint_id=endpoint.id,
        now=now,
    )


def release(tx: Tx, endpoint: Endpoint, *, rest_until: int | None = None) -> bool:
    """Gives it back, to be left alone until `rest_until` where that is given. False when it is not held any more."""
    changed = tx.run(
        "UPDATE endpoints SET lease = NULL, lease_until = NULL, rest_until = COALESCE(:rest_until, rest_until)"
        " WHERE tenant_id = :tenant_id AND id = :id AND lease = :lease",
        tenant_id=endpoint.tenant_id,
        id=endpoint.id,
        lease=endpoint.lease,
        rest_until=rest_until,
    )
    return changed == 1


def give_up_leases(tx: Tx) -> None:
    """Makes free what a worker that is dead held, any tenant's: for the only process on its store, when it starts."""
    tx.run("UPDATE endpoints SET lease = NULL, lease_until = NULL WHERE lease IS NOT NULL")
