"""What a carrier says of messages after it took them, and what follows: in any order, each as often as it likes, it comes to the same.

Every word that has a name of its own is an interaction; what a message is, and what is counted, follows from the set of them alone.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tidings.database import Tx
from tidings.domain import events, suppressions
from tidings.domain.communications import counted, strikes
from tidings.domain.communications.counted import Counted
from tidings.domain.counters import Counts, Tally
from tidings.message.address import parse
from tidings.message.heard import Kind, Reason

_OPEN = frozenset({"scheduled", "pending", "in_process", "unknown"})
_RANKS = {"sent": 0, "delivered": 1, "failed": 2, "bounced": 3}
"""A bounce outweighs a delivery, whichever is heard of first: the last server that had it knows best."""
_OUTCOMES: Final = frozenset({"sent", "delivered", "failed", "bounced"})
_NO_ANSWER = frozenset({"opened", "clicked", "sent"})
"""What is no interaction of a receipt's own: it tells that the message is out, and opens and clicks are `track`'s."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """One word of a carrier. `at` is when it says it happened, `code` the RFC 3463 status or the carrier's own, `detail` its words.

    `address` is whom it speaks of, "" for the one the message went to. A bounce that is `hard` will not pass, another one may.
    `id` is not empty for a word that is known to be heard for the first time; another one tells nothing where its like was told before.
    """

    kind: Kind
    at: int
    address: str = ""
    hard: bool = True
    reason: Reason | None = None
    code: str = ""
    detail: str = ""
    id: str = ""


def receive(tx: Tx, tenant_id: int, communication_id: int, receipt: Receipt, tally: Tally, *, now: int) -> list[int]:
    """`receive_all` for one."""
    return receive_all(tx, tenant_id, [(communication_id, receipt)], tally, now=now)


def receive_all(tx: Tx, tenant_id: int, told: Sequence[tuple[int, Receipt]], tally: Tally, *, now: int) -> list[int]:
    """Writes down what is told of communications (by id), suppresses who must not be written to any more, and counts in `tally`.

    Answers the enrollments that may have ended with it. A message that we had not settled yet is settled by it: who delivers or
    bounces it has had it. One of which nothing has left since it was made (or made due again) is not what it speaks of, and an unknown
    communication is passed over.
    """
    rows = tx.rows(
        "SELECT tenant_id, id, contact_id, campaign_id, message_id, template_id, channel, type, created_at, sent_at, delivered_at, state, enrollment_id,"
        " address, recipients, attempts, due_at, updated_at, error, error_code"
        " FROM communications WHERE tenant_id = :tenant_id AND id IN :ids[bigint] ORDER BY id FOR UPDATE",
        tenant_id=tenant_id,
        ids=sorted({communication_id for communication_id, _ in told}),
    )
    stories = {row[1]: _Story(row, now) for row in rows}
    for communication_id, receipt in told:
        story = stories.get(communication_id)
        if story is not None:
            story.hear(tx, receipt)
    changed = [story for story in stories.values() if story.is_changed]
    counted.move(
        tx,
        tenant_id,
        [(story.subject, story.before.created_at) for story in changed if story.before.sent_at is None and story.after.sent_at is not None],
        tally,
    )
    _write(tx, tenant_id, changed, now=now)
    for story in stories.values():
        story.count(tally)
    events.append(tx, [event for story in stories.values() for event in story.happened()], tally)
    for story in stories.values():
        for address, receipt in story.spoken_of:
            _heed(tx, story.before, address, receipt, now=now)
    return [story.before.enrollment_id for story in changed if story.before.enrollment_id is not None and story.before.state in _OPEN]


def heed(tx: Tx, tenant_id: int, channel: str, address: str, receipt: Receipt, *, now: int) -> None:
    """Suppresses who must not be written to any more, where the message itself is not known here (any more); what will pass does not count then."""
    ban = _ban(receipt)
    if ban is not None:
        suppressions.told(tx, tenant_id, channel, address, ban, at=min(max(receipt.at, 0), now), detail=receipt.detail)


class _Story:
    """What is told of one communication: what it was before, what it is after, and what has happened, in the order it was told."""

    def __init__(self, row: tuple[Any, ...], now: int) -> None:
        self.before = self.after = Counted(*row[:13])
        self.address: str = row[13]
        self._recipients: str | None = row[14]
        self._has_left = row[15] > 0
        # when it left, as far as we know without being told: it became due, or was last tried
        left = row[16] if self.before.state == "in_process" and row[16] else row[17]
        self._left_at = min(max(left, self.before.created_at), max(now, self.before.created_at))
        self.error: str | None = row[18]
        self.code: str | None = row[19]
        self._now = now
        self._told: list[tuple[events.Kind, Receipt, str | None]] = []
        self.spoken_of: list[tuple[str, Receipt]] = []

    @property
    def is_changed(self) -> bool:
        """Whether its row is to be written."""
        return self.after != self.before or any(kind in ("bounced", "failed") for kind, _, _ in self._told)

    @property
    def subject(self) -> events.Subject:
        """The ledger's view of it as it is after."""
        return self.after.subject(self.after.sent_at)

    def hear(self, tx: Tx, receipt: Receipt) -> None:
        """Takes one word in."""
        # clocks of carriers are wrong by years at times, and hours are counted by
        receipt = msgspec.structs.replace(receipt, at=min(max(receipt.at, self.before.created_at), max(self._now, self.before.created_at)))
        address = _spoken_of(self.before.channel, self.address, self._recipients, receipt.address)
        if address is not None:
            self.spoken_of.append((address, receipt))
        if receipt.kind in ("complained", "unsubscribed", "resubscribed"):
            self._leave()
            if receipt.id or not self._is_known(tx, receipt.kind, None):
                self._told.append((receipt.kind, receipt, receipt.detail or None))
        elif address != self.address:
            # one of several it went to: the others have it, so it is noted and no more; whoever it did not go to is nobody's business
            note = f"{receipt.kind.capitalize()} for {receipt.address}: {receipt.detail}".rstrip(": ")
            if address is not None and receipt.kind not in _NO_ANSWER and (receipt.id or not self._is_known(tx, "updated", note)):
                self._told.append(("updated", receipt, note))
        elif receipt.kind in ("delivered", "bounced", "failed"):
            self._end(receipt)
        else:
            self._leave()
            if receipt.kind == "deferred":
                self._told.append(("deferred", receipt, _said(receipt)))

    def count(self, tally: Tally) -> None:
        """Counts what became of it: by what it is, and not by how often that was told (which `events.append` counts)."""
        if not self._told and self.after == self.before:
            return
        counted.add(tally.at(self.before.subject(self.before.sent_at).bucket()), self.before.outcome(), -1)
        told = Counts(sent=int(self._has_just_left))
        for kind, _, _ in self._told:
            if kind in _OUTCOMES:
                setattr(told, kind, getattr(told, kind) + 1)
        hour = tally.at(self.subject.bucket())
        counted.add(hour, self.after.outcome())
        counted.add(hour, told, -1)

    def happened(self) -> list[events.Event]:
        """The interactions to be stored."""
        left = [events.Event(self.subject, "sent", self._left_at)] if self._has_just_left else []
        return left + [
            events.Event(self.subject, kind, receipt.at, detail=detail, reason=receipt.reason, code=receipt.code or None)
            for kind, receipt, detail in self._told
        ]

    @property
    def _has_just_left(self) -> bool:
        return self.before.sent_at is None and self.after.sent_at is not None

    def _leave(self, *, whatever: bool = False) -> None:
        """Who tells anything of it has had it. `whatever` we had made of it ourselves; else only where that is open still."""
        if self._has_left and self.after.sent_at is None and (whatever or self.after.state in _OPEN):
            self.after = msgspec.structs.replace(self.after, state="sent", sent_at=self._left_at)
            self.error = self.code = None

    def _end(self, receipt: Receipt) -> None:
        if not self._has_left:
            return
        self._leave(whatever=True)
        after, rank = self.after, _RANKS[receipt.kind]
        known = after.delivered_at is not None if receipt.kind == "delivered" else after.state == receipt.kind
        if known and not receipt.id:
            return
        if receipt.kind == "delivered":
            earliest = receipt.at if after.delivered_at is None else min(after.delivered_at, receipt.at)
            after = msgspec.structs.replace(after, delivered_at=earliest)
        elif rank > _RANKS[after.state] or (after.state == receipt.kind and self._outweighs(receipt)):
            self.error, self.code = receipt.detail or None, receipt.code or None
        if rank > _RANKS[after.state]:
            after = msgspec.structs.replace(after, state=receipt.kind)
        self.after = after
        self._told.append((receipt.kind, receipt, _said(receipt)))

    def _outweighs(self, receipt: Receipt) -> bool:
        """Which of two reasons stays is a matter of what they say (5.1.1 before 4.2.2), so it is none of which is heard first."""
        return (receipt.code, receipt.detail) > (self.code or "", self.error or "")

    def _is_known(self, tx: Tx, kind: str, detail: str | None) -> bool:
        if any(told == kind and (detail is None or said == detail) for told, _, said in self._told):
            return True
        found = tx.value(
            "SELECT 1 FROM interactions WHERE tenant_id = :tenant_id AND communication_id = :id AND kind = :kind"
            " AND (detail = :detail OR CAST(:detail AS text) IS NULL)"
            " UNION ALL SELECT 1 FROM remnants WHERE tenant_id = :tenant_id AND communication_id = :id AND kind = :kind"
            " AND CAST(:detail AS text) IS NULL LIMIT 1",
            tenant_id=self.before.tenant_id,
            id=self.before.id,
            kind=kind,
            detail=detail,
        )
        return found is not None


def _write(tx: Tx, tenant_id: int, changed: Sequence[_Story], *, now: int) -> None:
    if not changed:
        return
    tx.run(
        "UPDATE communications SET state = r_state, sent_at = r_sent_at, delivered_at = r_delivered_at, due_at = NULL, lease = NULL, lease_until = NULL,"
        " error = r_error, error_code = r_code, updated_at = :now"
        " FROM :rows(r_id bigint, r_state text, r_sent_at bigint, r_delivered_at bigint, r_error text, r_code text) r"
        " WHERE tenant_id = :tenant_id AND id IN :ids[bigint] AND id = r_id",
        tenant_id=tenant_id,
        ids=[story.before.id for story in changed],
        rows=[
            (story.before.id, story.after.state, story.after.sent_at, story.after.delivered_at, story.error, story.code)
            for story in changed
        ],
        now=now,
    )


def _said(receipt: Receipt) -> str | None:
    return " ".join(part for part in (receipt.code, receipt.detail) if part) or None


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


def _ban(receipt: Receipt) -> suppressions.Reason | None:
    """Why the address is not to be written to again, None when that does not follow: policy, spam filters and silence are not its fault."""
    if receipt.kind in ("complained", "unsubscribed"):
        return receipt.kind
    if receipt.kind not in ("bounced", "failed"):
        return None
    if receipt.reason == "unsubscribed":
        return "unsubscribed"
    if not receipt.hard:
        return None
    if receipt.kind == "failed" and receipt.reason == "spam":
        return "complained"
    return "bounced" if receipt.reason not in strikes.EXCUSED else None


def _heed(tx: Tx, before: Counted, address: str, receipt: Receipt, *, now: int) -> None:
    ban = _ban(receipt)
    if receipt.kind == "resubscribed":
        _lift(tx, before, address, receipt)
    elif ban is not None and not (receipt.kind == "unsubscribed" and _changed_mind(tx, before, receipt.at)):
        suppressions.told(
            tx, before.tenant_id, before.channel, address, ban, at=receipt.at, detail=receipt.detail, communication_id=before.id
        )
    elif receipt.kind == "bounced" and (first := strikes.out(tx, before, address)) is not None:
        suppressions.told(
            tx,
            before.tenant_id,
            before.channel,
            address,
            "bounced",
            at=now,
            detail=f"{strikes.MOST} messages in a row came back",
            communication_id=first,
        )


def _lift(tx: Tx, before: Counted, address: str, receipt: Receipt) -> None:
    known = suppressions.find(tx, before.tenant_id, before.channel, address)
    if known is not None and known.reason == "unsubscribed" and known.created_at <= receipt.at:
        # what stood there before a STOP stands there again
        suppressions.start(tx, before.tenant_id, before.channel, address)


def _changed_mind(tx: Tx, before: Counted, at: int) -> bool:
    """Whether the contact has asked since for further mail on this channel."""
    found = tx.value(
        "SELECT 1 FROM interactions WHERE tenant_id = :tenant_id AND communication_id IN"
        " (SELECT c.id FROM communications c WHERE c.tenant_id = :tenant_id AND c.contact_id = :contact_id AND c.channel = :channel)"
        " AND kind = 'resubscribed' AND at >= :at LIMIT 1",
        tenant_id=before.tenant_id,
        contact_id=before.contact_id,
        channel=before.channel,
        at=at,
    )
    return found is not None
