"""What one communication has added to the counters, and in which hour: to take it back, or to move it when its hour changes.

Its acceptance is counted in the hour of that; everything else in the hour of its sending, while it has none in that of its acceptance.
What happened to it is in `interactions`, and once retention has removed it from there, in `remnants`: how often in which quarter of an hour.
A sending and a delivery that are missing from both happened when the communication itself says.
"""

from collections.abc import Iterable, Sequence

import msgspec

from tidings.database import Tx
from tidings.domain import events
from tidings.domain.counters import Counts, Link, Tally, quarter_of
from tidings.domain.events import Subject


class Counted(msgspec.Struct, frozen=True):
    """A communication as far as counts depend on it; the columns in this order. Its content matters only where clicks are taken back."""

    tenant_id: int
    id: int
    contact_id: int
    campaign_id: int | None
    message_id: int | None
    template_id: int | None
    channel: str
    type: str
    created_at: int
    sent_at: int | None
    delivered_at: int | None
    state: str
    enrollment_id: int | None
    content_id: int | None = None

    def subject(self, at: int | None = None) -> Subject:
        """The ledger's view of it, counted in the hour of `at`: that of its acceptance unless given."""
        return Subject(
            self.tenant_id,
            self.id,
            self.contact_id,
            self.campaign_id,
            self.message_id,
            self.template_id,
            self.channel,
            self.type,
            self.created_at if at is None else at,
        )

    def outcome(self) -> Counts:
        """What became of it, as it was counted."""
        return Counts(
            sent=int(self.sent_at is not None),
            delivered=int(self.delivered_at is not None),
            failed=int(self.state in {"failed", "suppressed"}),
            bounced=int(self.state == "bounced"),
            canceled=int(self.state == "canceled"),
        )


def add(counts: Counts, more: Counts, times: int = 1) -> None:
    """Adds `more` to `counts`, or with -1 takes it away."""
    for name in Counts.__struct_fields__:
        setattr(counts, name, getattr(counts, name) + times * getattr(more, name))


def responses(tx: Tx, tenant_id: int, ids: Sequence[int]) -> dict[int, Counts]:
    """What recipients did with each of the communications, as it was counted; those with nothing are left out."""
    rows: list[tuple[int, str, int, int]] = tx.rows(
        "SELECT communication_id, kind, CAST(SUM(count) AS bigint), CAST(SUM(human) AS bigint) FROM ("
        "SELECT communication_id, kind, 1 AS count, 1 - bot AS human FROM interactions"
        " WHERE tenant_id = :tenant_id AND communication_id IN :ids[bigint]"
        " AND kind IN ('opened', 'clicked', 'complained', 'unsubscribed', 'replied')"
        " UNION ALL SELECT communication_id, kind, count, human FROM remnants WHERE tenant_id = :tenant_id AND communication_id IN :ids[bigint]"
        " AND kind IN ('opened', 'clicked', 'complained', 'unsubscribed', 'replied')) t GROUP BY communication_id, kind",
        tenant_id=tenant_id,
        ids=list(ids),
    )
    found: dict[int, Counts] = {}
    for communication_id, kind, count, human in rows:
        counts = found.setdefault(communication_id, Counts())
        if kind == "opened":
            counts.opened, counts.opens, counts.human_opened, counts.human_opens = 1, count, int(human > 0), human
        elif kind == "clicked":
            counts.clicked, counts.clicks, counts.human_clicked, counts.human_clicks = 1, count, int(human > 0), human
        else:
            setattr(counts, kind, count)
    return found


def move(tx: Tx, tenant_id: int, moved: Iterable[tuple[Subject, int]], tally: Tally) -> None:
    """Counts what recipients did in the hour that each subject has now, and no more in that of the instant beside it."""
    between = {subject.communication_id: (subject.bucket(), _at(subject, before).bucket()) for subject, before in moved}
    shifting = {communication_id: pair for communication_id, pair in between.items() if pair[0] != pair[1]}
    if not shifting:
        return
    for communication_id, counts in responses(tx, tenant_id, list(shifting)).items():
        after, before = shifting[communication_id]
        add(tally.at(after), counts)
        add(tally.at(before), counts, -1)


def take_back(tx: Tx, tenant_id: int, rows: Sequence[Counted], tally: Tally) -> None:
    """Subtracts everything that the communications, which are deleted, have added. Their interactions and remnants must still be there."""
    if not rows:
        return
    ids = [row.id for row in rows]
    answered = responses(tx, tenant_id, ids)
    _take_back_moments(tx, tenant_id, {row.id: row for row in rows}, tally)
    _take_back_links(tx, tenant_id, {row.id: row for row in rows if row.content_id is not None and row.message_id is not None}, tally)
    for row in rows:
        tally.at(row.subject().bucket()).accepted -= 1
        hour = tally.at(row.subject(row.sent_at).bucket())
        add(hour, row.outcome(), -1)
        add(hour, answered.get(row.id, Counts()), -1)


def outlast(tx: Tx, before: Counted) -> None:
    """Notes in `remnants` a sending and a delivery that retention left to the communication itself, which is about to forget when they were."""
    times = [("sent", before.sent_at), ("delivered", before.delivered_at)]
    known = {(kind, at) for _, kind, at, _, _, exact in _moments(tx, before.tenant_id, [before.id]) if exact}
    tx.run(
        "INSERT INTO remnants (tenant_id, communication_id, kind, quarter, link_index, count, human, first_at)"
        " SELECT CAST(:tenant_id AS bigint), CAST(:id AS bigint), kind, quarter, -1, 1, 1, at FROM :rows(kind text, quarter bigint, at bigint) r"
        " WHERE true ON CONFLICT (tenant_id, communication_id, kind, quarter, link_index)"
        " DO UPDATE SET count = remnants.count + 1, human = remnants.human + 1",
        tenant_id=before.tenant_id,
        id=before.id,
        rows=[(kind, quarter_of(at), at) for kind, at in times if at is not None and (kind, at) not in known],
    )


def _take_back_moments(tx: Tx, tenant_id: int, rows: dict[int, Counted], tally: Tally) -> None:
    known: set[tuple[int, str, int]] = set()
    for communication_id, kind, at, count, human, exact in _moments(tx, tenant_id, list(rows)):
        if exact:
            known.add((communication_id, kind, at))
        if kind not in events.UNNOTED:
            times = tally.when(events.moment(rows[communication_id].subject(), kind, at))
            times.count -= count
            times.human -= human
    for row in rows.values():
        left: list[tuple[events.Kind, int | None]] = [("sent", row.sent_at), ("delivered", row.delivered_at)]
        for kind, at in left:
            if at is not None and (row.id, kind, at) not in known:
                times = tally.when(events.moment(row.subject(), kind, at))
                times.count -= 1
                times.human -= 1


def _moments(tx: Tx, tenant_id: int, ids: Sequence[int]) -> list[tuple[int, events.Kind, int, int, int, int]]:
    """What happened to the communications: (id, kind, when, how often, how often by people, 1); of remnants the quarter of an hour, and 0."""
    return tx.rows(
        "SELECT communication_id, kind, at, 1, 1 - bot, 1 FROM interactions WHERE tenant_id = :tenant_id AND communication_id IN :ids[bigint]"
        " UNION ALL SELECT communication_id, kind, quarter, count, human, 0 FROM remnants"
        " WHERE tenant_id = :tenant_id AND communication_id IN :ids[bigint]",
        tenant_id=tenant_id,
        ids=list(ids),
    )


def _take_back_links(tx: Tx, tenant_id: int, rows: dict[int, Counted], tally: Tally) -> None:
    for communication_id, link_index, count, human in tx.rows(
        "SELECT communication_id, link_index, CAST(SUM(count) AS bigint), CAST(SUM(human) AS bigint) FROM ("
        "SELECT communication_id, link_index, 1 AS count, 1 - bot AS human FROM interactions WHERE tenant_id = :tenant_id"
        " AND communication_id IN :ids[bigint] AND kind = 'clicked' AND link_index IS NOT NULL"
        " UNION ALL SELECT communication_id, link_index, count, human FROM remnants WHERE tenant_id = :tenant_id"
        " AND communication_id IN :ids[bigint] AND kind = 'clicked' AND link_index >= 0) t GROUP BY communication_id, link_index",
        tenant_id=tenant_id,
        ids=list(rows),
    ):
        row = rows[communication_id]
        if row.message_id is None or row.content_id is None:
            continue
        clicks = tally.link(Link(tenant_id, row.message_id, row.content_id, link_index))
        clicks.clicks -= count
        clicks.clicked -= 1
        clicks.human_clicks -= human
        clicks.human_clicked -= human > 0


def _at(subject: Subject, at: int) -> Subject:
    return msgspec.structs.replace(subject, counted_at=at)
