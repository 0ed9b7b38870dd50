"""What the demonstration shows: how far every row of the file and every message has come, read from the same counters as everything else."""

import msgspec

from tidings.database import Tx
from tidings.domain import counters
from tidings.domain.counters import Counts

OURS = {"REPLY": "Our answer", "CONFIRMATION": "Confirmation"}
"""What is sent beside the campaign by the demonstration itself; everything else there is the doing of whoever tries things out."""


class Step(msgspec.Struct, frozen=True):
    """One message of the campaign, or one kind of message beside it: made for so many, of which so many went out, failed or were
    canceled; the rest is on its way.
    """

    name: str
    channel: str
    accepted: int
    sent: int
    failed: int
    canceled: int
    opened: int
    clicked: int
    replied: int

    @property
    def settled(self) -> int:
        """Messages whose record is final."""
        return self.sent + self.failed + self.canceled


class Ended(msgspec.Struct, frozen=True):
    """Enrollments that ended early: `by` what (reply or unsubscribe), how many, and how many messages were never made because of it."""

    by: str
    enrollments: int
    spared: int


class Talk(msgspec.Struct, frozen=True):
    """What came in: answers of people, automatic ones and the word STOP; in so many conversations."""

    conversations: int
    replies: int
    automatic: int
    stops: int

    @property
    def received(self) -> int:
        """Messages that came in."""
        return self.replies + self.automatic + self.stops


class Figures(msgspec.Struct, frozen=True):
    """Everything at one moment. `counts` are the campaign's, `beside` what else was sent. `reasons` are (why, how many) of what failed;
    `next_due` is the instant of the next message, if any.
    """

    imported: int
    rejected: int
    counts: Counts
    steps: tuple[Step, ...]
    beside: tuple[Step, ...]
    talk: Talk
    ended: tuple[Ended, ...]
    reasons: tuple[tuple[str, int], ...]
    next_due: int | None

    @property
    def everything(self) -> tuple[Step, ...]:
        """Whatever was sent, the campaign's messages first."""
        return self.steps + self.beside

    @property
    def planned(self) -> int:
        """The campaign's messages, had everybody been sent all of them."""
        return self.counts.enrolled * len(self.steps)

    @property
    def spared(self) -> int:
        """Those of them that were never made, because their enrollment had ended."""
        return sum(ended.spared for ended in self.ended)

    @property
    def settled(self) -> int:
        """Messages of the campaign whose record is final."""
        return sum(step.settled for step in self.steps)

    @property
    def finished(self) -> bool:
        """Whether everybody enrolled has been through all messages, or has ended before, and each is final; what was written back, too."""
        counts = self.counts
        under_way = any(step.settled < step.accepted for step in self.beside if step.name in OURS.values())
        return 0 < counts.enrolled == counts.completed and self.settled == counts.accepted and not under_way


def read(tx: Tx, tenant_id: int, campaign_id: int, imports: tuple[int, int]) -> Figures:
    """The figures of the campaign; `imports` are (imported, rejected), which the import's job tells."""
    return Figures(
        *imports,
        counters.totals(tx, tenant_id, campaign_id=campaign_id),
        _steps(tx, tenant_id, campaign_id),
        _beside(tx, tenant_id),
        _talk(tx, tenant_id),
        _ended(tx, tenant_id, campaign_id),
        _reasons(tx, tenant_id, campaign_id),
        _next_due(tx, tenant_id, campaign_id),
    )


def kept_twice(tx: Tx, tenant_id: int) -> int:
    """How many messages the sandbox keeps a second time: those whose outcome a killed server took with it."""
    return tx.value(
        "SELECT COUNT(*) - COUNT(DISTINCT communication_id) FROM sandbox_messages WHERE tenant_id = :tenant_id", tenant_id=tenant_id
    )


def _steps(tx: Tx, tenant_id: int, campaign_id: int) -> tuple[Step, ...]:
    return tuple(
        tx.all(
            Step,
            "SELECT m.name, m.channel, CAST(COALESCE(SUM(c.accepted), 0) AS bigint), CAST(COALESCE(SUM(c.sent), 0) AS bigint),"
            " CAST(COALESCE(SUM(c.failed), 0) AS bigint), CAST(COALESCE(SUM(c.canceled), 0) AS bigint),"
            " CAST(COALESCE(SUM(c.opened), 0) AS bigint), CAST(COALESCE(SUM(c.clicked), 0) AS bigint),"
            " CAST(COALESCE(SUM(c.replied), 0) AS bigint)"
            " FROM messages m LEFT JOIN counters c ON c.tenant_id = m.tenant_id AND c.message_id = m.id AND c.campaign_id = m.campaign_id"
            " WHERE m.tenant_id = :tenant_id AND m.campaign_id = :campaign_id AND m.deleted_at IS NULL"
            " GROUP BY m.id, m.name, m.channel, m.position ORDER BY m.position",
            tenant_id=tenant_id,
            campaign_id=campaign_id,
        )
    )


def _beside(tx: Tx, tenant_id: int) -> tuple[Step, ...]:
    rows = tx.rows(
        "SELECT type, channel, CAST(SUM(accepted) AS bigint), CAST(SUM(sent) AS bigint), CAST(SUM(failed) AS bigint), CAST(SUM(canceled) AS bigint),"
        " CAST(SUM(opened) AS bigint), CAST(SUM(clicked) AS bigint), CAST(SUM(replied) AS bigint) FROM counters"
        " WHERE tenant_id = :tenant_id AND campaign_id = 0 GROUP BY type, channel HAVING SUM(accepted) > 0 ORDER BY type DESC, channel",
        tenant_id=tenant_id,
    )
    return tuple(Step(_named(kind), *counts) for kind, *counts in rows)


def _named(kind: str) -> str:
    return OURS.get(kind, kind.replace("_", " ").capitalize())


def _talk(tx: Tx, tenant_id: int) -> Talk:
    row = tx.row(
        "SELECT COUNT(DISTINCT conversation_id), COUNT(CASE WHEN automatic = 0 AND COALESCE(keyword, '') <> 'stop' THEN 1 END),"
        " COUNT(CASE WHEN automatic = 1 THEN 1 END), COUNT(CASE WHEN keyword = 'stop' THEN 1 END)"
        " FROM inbound_messages WHERE tenant_id = :tenant_id",
        tenant_id=tenant_id,
    )
    return Talk(*(row or (0, 0, 0, 0)))


def _ended(tx: Tx, tenant_id: int, campaign_id: int) -> tuple[Ended, ...]:
    return tuple(
        tx.all(
            Ended,
            "SELECT e.stopped_by, COUNT(DISTINCT e.id), COUNT(m.id) FROM enrollments e LEFT JOIN messages m ON m.tenant_id = e.tenant_id"
            " AND m.campaign_id = e.campaign_id AND m.position > e.position AND m.deleted_at IS NULL"
            " WHERE e.tenant_id = :tenant_id AND e.campaign_id = :campaign_id AND e.stopped_by IS NOT NULL"
            " GROUP BY e.stopped_by ORDER BY e.stopped_by",
            tenant_id=tenant_id,
            campaign_id=campaign_id,
        )
    )


def _reasons(tx: Tx, tenant_id: int, campaign_id: int) -> tuple[tuple[str, int], ...]:
    rows = tx.rows(
        "SELECT COALESCE(error, state), COUNT(*) FROM communications WHERE tenant_id = :tenant_id AND campaign_id = :campaign_id"
        " AND state IN ('failed', 'suppressed', 'bounced') GROUP BY COALESCE(error, state) ORDER BY COUNT(*) DESC, COALESCE(error, state)",
        tenant_id=tenant_id,
        campaign_id=campaign_id,
    )
    return tuple((reason, count) for reason, count in rows)


def _next_due(tx: Tx, tenant_id: int, campaign_id: int) -> int | None:
    return tx.value(
        "SELECT MIN(due_at) FROM enrollments WHERE tenant_id = :tenant_id AND campaign_id = :campaign_id AND due_at IS NOT NULL",
        tenant_id=tenant_id,
        campaign_id=campaign_id,
    )
