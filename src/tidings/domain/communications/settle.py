"""Settling a batch: what the provider said becomes state, events and counts, in one transaction and only while the lease is held."""

import msgspec

from tidings.database import Tx
from tidings.domain import counters, events, suppressions
from tidings.domain.communications import counted
from tidings.domain.counters import Tally


class Settled(msgspec.Struct, frozen=True, gc=False):
    """What becomes of one claimed message.

    `state` is sent, failed, suppressed, unknown, or pending (to be tried again at `due_at`). `refund` 1 takes the attempt back:
    the provider could not work, the message is not to blame. `suppress` is who must not be written to any more: (address, why, words).
    """

    id: int
    state: str
    due_at: int | None = None
    error: str | None = None
    error_code: str | None = None
    provider_message_id: str | None = None
    refund: int = 0
    suppress: tuple[tuple[str, suppressions.Reason, str], ...] = ()


class Settlement(msgspec.Struct, frozen=True):
    """What a settled batch came to: rows that were still ours, enrollments that ended with it, and those that may have."""

    settled: int
    ended: list[int]
    ending: list[int]


_EVENT: dict[str, events.Kind] = {"sent": "sent", "failed": "failed", "suppressed": "failed", "unknown": "unknown", "canceled": "canceled"}


_COLUMNS = Settled.__struct_fields__.index("suppress")


def settle(tx: Tx, tenant_id: int, lease: int, outcomes: list[Settled], tally: Tally, *, provider: str, now: int) -> Settlement:
    """Writes the outcomes of messages claimed under `lease` and counts them in `tally`. A row no longer held under it is left alone.

    A message whose cancelation was asked for meanwhile (`due_at` 0) is canceled instead of being tried again.
    """
    # In the order of ids, as everybody takes more than one message: two who share some of them then never wait for each other in a circle.
    ordered = [msgspec.structs.astuple(outcome)[:_COLUMNS] for outcome in sorted(outcomes, key=lambda outcome: outcome.id)]
    # The CASE keeps PostgreSQL from reckoning with a single row under this lease (its statistics know none), for which it would
    # compare every row of the batch with every other.
    rows = tx.rows(
        "UPDATE communications SET"
        " state = CASE WHEN due_at = 0 AND r_state = 'pending' THEN 'canceled' ELSE r_state END,"
        " due_at = CASE WHEN due_at = 0 THEN NULL ELSE r_due_at END,"
        " lease = NULL, lease_until = NULL, attempts = attempts - r_refund, error = COALESCE(r_error, CASE WHEN r_state = 'sent' THEN NULL ELSE error END),"
        " error_code = r_error_code, provider = :provider, provider_message_id = COALESCE(r_provider_message_id, provider_message_id),"
        " sent_at = CASE WHEN r_state = 'sent' THEN COALESCE(sent_at, :now) ELSE sent_at END, updated_at = :now"
        " FROM :outcomes(r_id bigint, r_state text, r_due_at bigint, r_error text, r_error_code text, r_provider_message_id text, r_refund bigint) r"
        " WHERE tenant_id = :tenant_id AND id IN :ids[bigint] AND id = r_id AND CASE WHEN lease = :lease THEN state = 'in_process' ELSE false END"
        " RETURNING tenant_id, id, contact_id, campaign_id, message_id, template_id, channel, type, COALESCE(sent_at, created_at),"
        " state, error, enrollment_id, sole, due_at, created_at, serial > 0 OR attempts > 1 OR open_count > 0",
        tenant_id=tenant_id,
        lease=lease,
        provider=provider,
        now=now,
        ids=[outcome[0] for outcome in ordered],
        outcomes=ordered,
    )
    happened: list[events.Event] = []
    ended: list[int] = []
    ending: list[int] = []
    answered: list[tuple[events.Subject, int]] = []
    for row in rows:
        state, error, enrollment_id, sole, due_at, created_at, before = row[9:]
        kind = _EVENT.get(state)
        if kind is not None:
            happened.append(events.Event(events.Subject(*row[:9]), kind, now, detail=None if kind == "sent" else error))
        if enrollment_id is not None and due_at is None:
            (ended if sole and state != "unknown" else ending).append(enrollment_id)
        if state == "sent" and before and counters.hour_of(created_at) != counters.hour_of(row[8]):
            # what was opened before we knew it sent is counted with its acceptance
            answered.append((events.Subject(*row[:9]), created_at))
    counted.move(tx, tenant_id, answered, tally)
    events.append(tx, happened, tally)
    _suppress(tx, tenant_id, {row[1]: row[6] for row in rows}, outcomes, now=now)
    if len(rows) < len(ordered):
        _name(tx, tenant_id, [outcome for outcome in outcomes if outcome.state == "sent"], provider=provider)
    return Settlement(len(rows), ended, ending)


def _suppress(tx: Tx, tenant_id: int, channels: dict[int, str], outcomes: list[Settled], *, now: int) -> None:
    """Takes off the list whom the carrier will not write to again. `channels` are those of the messages that were ours to settle, by id."""
    gone: list[tuple[str, str, suppressions.Reason, str, int]] = [
        (channels[outcome.id], address, why, words, outcome.id)
        for outcome in outcomes
        if outcome.id in channels
        for address, why, words in outcome.suppress
    ]
    # in one order for everybody, as above
    for channel, address, why, words, communication_id in sorted(gone):
        suppressions.add(tx, tenant_id, channel, address, why, detail=words[:500], communication_id=communication_id, now=now)


def _name(tx: Tx, tenant_id: int, sent: list[Settled], *, provider: str) -> None:
    """Notes who took a message whose receipt came before this: it has its state from there."""
    tx.run(
        "UPDATE communications SET provider = :provider, provider_message_id = r_provider_message_id"
        " FROM :outcomes(r_id bigint, r_provider_message_id text) r"
        " WHERE tenant_id = :tenant_id AND id IN :ids[bigint] AND id = r_id AND provider IS NULL AND state IN ('sent', 'delivered', 'failed', 'bounced')",
        tenant_id=tenant_id,
        provider=provider,
        ids=sorted(outcome.id for outcome in sent),
        outcomes=[(outcome.id, outcome.provider_message_id) for outcome in sent],
    )
