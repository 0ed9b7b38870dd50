"""What a carrier says of a message after it took it: delivered, bounced, complained of; in any order, and each as often as it likes."""

import itertools
from collections.abc import Iterable
from typing import Literal, LiteralString

import msgspec

from tidings.database import Tx
from tidings.domain import events, suppressions
from tidings.domain.communications import counted
from tidings.domain.communications.counted import Counted
from tidings.domain.counters import Tally
from tidings.message.address import parse

STRIKES = 5
"""So many messages to an address in a row that bounced for the moment, and it is not written to any more."""
_OPEN = frozenset({"scheduled", "pending", "in_process", "unknown"})


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """One word of a carrier. `at` is when it says it happened, `code` the RFC 3463 status or the carrier's own.

    `address` is whom it speaks of, "" for the one the message went to. A bounce that is `hard` will not pass, another one may.
    """

    kind: Literal["delivered", "bounced", "complained"]
    at: int
    address: str = ""
    hard: bool = True
    reason: str = ""
    code: str = ""


def receive(tx: Tx, tenant_id: int, communication_id: int, receipt: Receipt, tally: Tally, *, now: int) -> list[int]:
    """Writes it down, suppresses who must not be written to any more, and counts in `tally`; what it said before changes nothing.

    Answers the enrollment that may have ended with it. A message that we had not settled yet is settled by it: who delivers or
    bounces it has had it. One of which nothing has left since it was made (or made due again) is not what it speaks of, and an unknown
    communication is passed over.
    """
    row = tx.row(
        "SELECT tenant_id, id, contact_id, campaign_id, message_id, template_id, channel, type, created_at, sent_at, delivered_at, state, enrollment_id,"
        " address, recipients, attempts FROM communications WHERE tenant_id = :tenant_id AND id = :id FOR UPDATE",
        tenant_id=tenant_id,
        id=communication_id,
    )
    if row is None:
        return []
    before, address = Counted(*row[:13]), str(row[13])
    # clocks of carriers are wrong by years at times, and hours are counted by
    receipt = msgspec.structs.replace(receipt, at=min(max(receipt.at, before.created_at), max(now, before.created_at)))
    spoken_of = _spoken_of(before.channel, address, row[14], receipt.address)
    if spoken_of is not None:
        _suppress(tx, before, spoken_of, receipt, now=now)
    if receipt.kind == "complained":
        _complained(tx, before, receipt, tally)
        return []
    if spoken_of != address:
        # one of several it went to: the others have it, so it is noted and no more
        _note(tx, before, f"{receipt.kind.capitalize()} for {receipt.address}: {receipt.reason}".rstrip(": "), receipt.at, tally)
        return []
    return _settle(tx, before, receipt, tally, now=now) if row[15] else []


def heed(tx: Tx, tenant_id: int, channel: str, address: str, receipt: Receipt, *, now: int) -> None:
    """Suppresses who must not be written to any more, where the message itself was deleted; what will pass does not count then."""
    if receipt.kind == "complained" or (receipt.kind == "bounced" and receipt.hard):
        _add(tx, tenant_id, channel, address, receipt, None, now=now)


def _spoken_of(channel: str, address: str, recipients: str | None, said: str) -> str | None:
    """Which address of the message a receipt speaks of; None for one that it did not go to, where it went to several.

    Whoever has the message may write such a report, so none is believed about addresses that are not in it. One that went to a single
    address was forwarded from there.
    """
    if recipients is None or not said or suppressions.spelt(channel, said) == suppressions.spelt(channel, address):
        return address
    lists = msgspec.json.decode(recipients, type=dict[str, list[str]])
    wrote = {parse(entry, name).email for name in ("to", "cc", "bcc") for entry in lists.get(name, [])}
    if len(wrote) == 1:
        return address
    return next((entry for entry in wrote if suppressions.spelt(channel, entry) == suppressions.spelt(channel, said)), None)


def _note(tx: Tx, before: Counted, note: str, at: int, tally: Tally) -> None:
    known = tx.value(
        "SELECT 1 FROM interactions WHERE tenant_id = :tenant_id AND communication_id = :id AND kind = 'updated' AND detail = :note LIMIT 1",
        tenant_id=before.tenant_id,
        id=before.id,
        note=note,
    )
    if not known:
        events.append(tx, [events.Event(before.subject(before.sent_at), "updated", at, detail=note)], tally)


def _settle(tx: Tx, before: Counted, receipt: Receipt, tally: Tally, *, now: int) -> list[int]:
    after = _after(before, receipt)
    if (after.state, after.delivered_at) == (before.state, before.delivered_at):
        return []
    tx.run(
        "UPDATE communications SET state = :state, sent_at = :sent_at, delivered_at = :delivered_at, due_at = NULL, lease = NULL, lease_until = NULL,"
        " error = COALESCE(:error, error), error_code = COALESCE(:code, error_code), updated_at = :now WHERE tenant_id = :tenant_id AND id = :id",
        tenant_id=before.tenant_id,
        id=before.id,
        state=after.state,
        sent_at=after.sent_at,
        delivered_at=after.delivered_at,
        error=receipt.reason or None if receipt.kind == "bounced" else None,
        code=receipt.code or None if receipt.kind == "bounced" else None,
        now=now,
    )
    subject = after.subject(after.sent_at)
    happened: list[events.Event] = []
    if before.sent_at is None:
        # it was counted, if at all, in the hour of its acceptance
        failed = before.state in {"failed", "suppressed"}
        tally.at(before.subject().bucket()).failed -= failed
        tally.at(before.subject().bucket()).canceled -= before.state == "canceled"
        counted.move(tx, before.tenant_id, [(subject, before.created_at)], tally)
        happened.append(events.Event(subject, "sent", receipt.at))
    detail = " ".join(part for part in (receipt.code, receipt.reason) if part) or None
    happened.append(events.Event(subject, "delivered" if receipt.kind == "delivered" else "bounced", receipt.at, detail=detail))
    events.append(tx, happened, tally)
    return [before.enrollment_id] if before.enrollment_id is not None and before.state in _OPEN else []


def _after(before: Counted, receipt: Receipt) -> Counted:
    """A bounce outweighs a delivery, whichever is heard of first: the last server that had it knows best."""
    sent_at = before.sent_at if before.sent_at is not None else receipt.at
    if receipt.kind == "bounced":
        return msgspec.structs.replace(before, state="bounced", sent_at=sent_at)
    delivered_at = before.delivered_at if before.delivered_at is not None else receipt.at
    state = "bounced" if before.state == "bounced" else "delivered"
    return msgspec.structs.replace(before, state=state, sent_at=sent_at, delivered_at=delivered_at)


def _complained(tx: Tx, before: Counted, receipt: Receipt, tally: Tally) -> None:
    known = tx.value(
        "SELECT 1 FROM interactions WHERE tenant_id = :tenant_id AND communication_id = :id AND kind = 'complained' LIMIT 1",
        tenant_id=before.tenant_id,
        id=before.id,
    )
    if not known:
        events.append(tx, [events.Event(before.subject(before.sent_at), "complained", receipt.at, detail=receipt.reason or None)], tally)


def _suppress(tx: Tx, before: Counted, address: str, receipt: Receipt, *, now: int) -> None:
    if receipt.kind == "delivered":
        return
    if receipt.kind == "bounced" and not receipt.hard and not _struck(tx, before, address):
        return
    _add(tx, before.tenant_id, before.channel, address, receipt, before.id, now=now)


def _add(tx: Tx, tenant_id: int, channel: str, address: str, receipt: Receipt, communication_id: int | None, *, now: int) -> None:
    reason = "complained" if receipt.kind == "complained" else "bounced"
    suppressions.add(tx, tenant_id, channel, address, reason, detail=receipt.reason[:500], communication_id=communication_id, now=now)


def _struck(tx: Tx, before: Counted, address: str) -> bool:
    """Whether STRIKES messages to the address in a row, this one among them, have bounced: in whatever order that is heard of."""
    newer = _states(tx, before, address, " AND id > :id AND sent_at IS NOT NULL ORDER BY id LIMIT :limit")
    older = _states(tx, before, address, " AND id < :id AND sent_at IS NOT NULL ORDER BY id DESC LIMIT :limit")
    return 1 + _run(newer) + _run(older) >= STRIKES


def _states(tx: Tx, before: Counted, address: str, which: LiteralString) -> list[str]:
    rows = tx.rows(
        "SELECT state FROM communications WHERE tenant_id = :tenant_id AND contact_id = :contact_id AND channel = :channel"
        " AND lower(address) = :address" + which,
        tenant_id=before.tenant_id,
        contact_id=before.contact_id,
        channel=before.channel,
        address=address.lower(),
        id=before.id,
        limit=STRIKES - 1,
    )
    return [row[0] for row in rows]


def _run(states: Iterable[str]) -> int:
    """How many of them have bounced before the first that has not."""
    return sum(1 for _ in itertools.takewhile(lambda state: state == "bounced", states))


def by_provider_message(tx: Tx, tenant_id: int, provider_id: int, provider_message_id: str) -> int | None:
    """The text message that a carrier took under this name, the newest where a name came twice; None when there is none (yet).

    Carriers name what they took: `provider_id` tells two of them apart where it is known which one took it.
    """
    return tx.value(
        "SELECT id FROM communications WHERE tenant_id = :tenant_id AND channel = 'sms' AND provider_message_id IS NOT NULL"
        " AND provider_message_id = :name AND (provider_id IS NULL OR provider_id = :provider_id) ORDER BY id DESC LIMIT 1",
        tenant_id=tenant_id,
        name=provider_message_id,
        provider_id=provider_id,
    )
