"""What the demonstration shows: how far every row of the file and every message has come, read from the same counters as everything else."""

import msgspec

from tidings.database import Tx
from tidings.domain import counters
from tidings.domain.counters import Counts


class Step(msgspec.Struct, frozen=True):
    """One message of the campaign: made for so many, of which so many went out or failed; the rest is on its way."""

    name: str
    channel: str
    accepted: int
    sent: int
    failed: int
    opened: int
    clicked: int


class Figures(msgspec.Struct, frozen=True):
    """Everything at one moment. `reasons` are (why, how many) of what failed; `next_due` is the instant of the next message, if any."""

    imported: int
    rejected: int
    counts: Counts
    steps: tuple[Step, ...]
    reasons: tuple[tuple[str, int], ...]
    next_due: int | None

    @property
    def settled(self) -> int:
        """Messages whose record is final."""
        return self.counts.sent + self.counts.failed + self.counts.canceled

    @property
    def finished(self) -> bool:
        """Whether everybody enrolled has been through all messages and each is final."""
        counts = self.counts
        return 0 < counts.enrolled == counts.completed and self.settled == counts.accepted


def read(tx: Tx, tenant_id: int, campaign_id: int, imports: tuple[int, int]) -> Figures:
    """The figures of the campaign; `imports` are (imported, rejected), which the import's job tells."""
    return Figures(
        *imports,
        counters.totals(tx, tenant_id, campaign_id=campaign_id),
        _steps(tx, tenant_id, campaign_id),
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
            " CAST(COALESCE(SUM(c.failed), 0) AS bigint), CAST(COALESCE(SUM(c.opened), 0) AS bigint), CAST(COALESCE(SUM(c.clicked), 0) AS bigint)"
            " FROM messages m LEFT JOIN counters c ON c.tenant_id = m.tenant_id AND c.message_id = m.id AND c.campaign_id = m.campaign_id"
            " WHERE m.tenant_id = :tenant_id AND m.campaign_id = :campaign_id AND m.deleted_at IS NULL"
            " GROUP BY m.id, m.name, m.channel, m.position ORDER BY m.position",
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
