"""What became of a campaign, message by message: from the counters alone, whatever was sent. What each figure is of, and of what its rates are."""

from typing import Final, LiteralString, NamedTuple

import msgspec

from tidings.clock import HOUR
from tidings.database import Tx
from tidings.domain import campaigns
from tidings.domain.counters import Counts

SUMS: Final[LiteralString] = (
    "CAST(COALESCE(SUM(accepted), 0) AS bigint), CAST(COALESCE(SUM(sent), 0) AS bigint), CAST(COALESCE(SUM(delivered), 0) AS bigint),"
    " CAST(COALESCE(SUM(failed), 0) AS bigint), CAST(COALESCE(SUM(canceled), 0) AS bigint), CAST(COALESCE(SUM(opened), 0) AS bigint),"
    " CAST(COALESCE(SUM(clicked), 0) AS bigint), CAST(COALESCE(SUM(opens), 0) AS bigint), CAST(COALESCE(SUM(clicks), 0) AS bigint),"
    " CAST(COALESCE(SUM(bounced), 0) AS bigint), CAST(COALESCE(SUM(complained), 0) AS bigint), CAST(COALESCE(SUM(unsubscribed), 0) AS bigint),"
    " CAST(COALESCE(SUM(replied), 0) AS bigint), CAST(COALESCE(SUM(enrolled), 0) AS bigint), CAST(COALESCE(SUM(completed), 0) AS bigint),"
    " CAST(COALESCE(SUM(human_opened), 0) AS bigint), CAST(COALESCE(SUM(human_clicked), 0) AS bigint),"
    " CAST(COALESCE(SUM(human_opens), 0) AS bigint), CAST(COALESCE(SUM(human_clicks), 0) AS bigint)"
)
"""The fields of Counts, in their order, summed."""


class Ratio(NamedTuple):
    """A rate: `part` of the sum of `whole`, fields of Counts."""

    part: str
    whole: tuple[str, ...]


RATIOS: Final[dict[str, Ratio]] = {
    "delivered": Ratio("delivered", ("sent",)),
    "opened": Ratio("opened", ("sent",)),
    "human_opened": Ratio("human_opened", ("sent",)),
    "clicked": Ratio("clicked", ("sent",)),
    "human_clicked": Ratio("human_clicked", ("sent",)),
    "clicked_of_opened": Ratio("clicked", ("opened",)),
    "replied": Ratio("replied", ("sent",)),
    "bounced": Ratio("bounced", ("sent",)),
    "complained": Ratio("complained", ("sent",)),
    "unsubscribed": Ratio("unsubscribed", ("sent",)),
    "failed": Ratio("failed", ("sent", "failed")),
}


class Rate(msgspec.Struct, frozen=True):
    """A part, the whole it is of and what that is called. `rate` is between 0 and 1; of nothing there is none."""

    rate: float | None
    part: int
    whole: int
    of: str


class Step(msgspec.Struct, frozen=True):
    """A message of a campaign, a deleted one too, and what became of its communications."""

    id: int
    position: int
    name: str
    subject: str
    channel: str
    deleted: bool
    counts: Counts


class Campaign(msgspec.Struct, frozen=True):
    """The report. `totals` has enrolled and completed, which belong to no message. The first and last sending are in milliseconds."""

    id: int
    name: str
    state: str
    totals: Counts
    steps: list[Step]
    first_sent_at: int | None
    last_sent_at: int | None


def rates(counts: Counts) -> dict[str, Rate]:
    """Every rate of RATIOS."""
    return {name: _rate(counts, ratio) for name, ratio in RATIOS.items()}


def _rate(counts: Counts, ratio: Ratio) -> Rate:
    whole = sum(getattr(counts, name) for name in ratio.whole)
    # what is being sent again is not sent for a while, and what was done with it stays: no share of it is more than all
    part = min(getattr(counts, ratio.part), whole)
    return Rate(part / whole if whole else None, part, whole, " + ".join(ratio.whole))


def waiting(counts: Counts) -> int:
    """Communications that are made and neither sent nor failed nor canceled: scheduled, being sent, set aside by a pause, unknown."""
    return counts.accepted - counts.sent - counts.failed - counts.canceled


def campaign(tx: Tx, tenant_id: int, campaign_id: int) -> Campaign:
    """The report of one campaign, in whatever state it is. Raises NotFound.

    A deleted message is in it if it was ever made into communications.
    """
    found = campaigns.get(tx, tenant_id, campaign_id)
    counted = _counted(tx, tenant_id, campaign_id)
    totals = Counts()
    for counts in counted.values():
        add(totals, counts)
    steps = [Step(*row[:5], row[5] is not None, counted.get(row[0], Counts())) for row in _messages(tx, tenant_id, campaign_id)]
    first, last = _sendings(tx, tenant_id, campaign_id)
    shown = [step for step in steps if not step.deleted or any(msgspec.structs.astuple(step.counts))]
    return Campaign(campaign_id, found.name, found.state, totals, shown, first, last)


def add(counts: Counts, more: Counts) -> None:
    """Adds `more` to `counts`."""
    for name in Counts.__struct_fields__:
        setattr(counts, name, getattr(counts, name) + getattr(more, name))


def _counted(tx: Tx, tenant_id: int, campaign_id: int) -> dict[int, Counts]:
    """By message; what belongs to none (enrolled, completed) under 0."""
    sql = (
        "SELECT message_id, " + SUMS + " FROM counters WHERE tenant_id = :tenant_id AND campaign_id = :campaign_id"
        # what the index speaks of
        " AND campaign_id > 0 GROUP BY message_id"
    )
    return {row[0]: Counts(**named(row[1:])) for row in tx.rows(sql, tenant_id=tenant_id, campaign_id=campaign_id)}


def named(values: tuple[int, ...]) -> dict[str, int]:
    """The columns of SUMS by their names."""
    return dict(zip(Counts.__struct_fields__, values, strict=True))


def _messages(tx: Tx, tenant_id: int, campaign_id: int) -> list[tuple[int, int, str, str, str, int | None]]:
    return tx.rows(
        "SELECT m.id, m.position, m.name, k.subject, m.channel, m.deleted_at FROM messages m"
        " LEFT JOIN contents k ON k.tenant_id = m.tenant_id AND k.id = m.content_id"
        " WHERE m.tenant_id = :tenant_id AND m.campaign_id = :campaign_id ORDER BY m.deleted_at IS NOT NULL, m.position, m.id",
        tenant_id=tenant_id,
        campaign_id=campaign_id,
    )


def _sendings(tx: Tx, tenant_id: int, campaign_id: int) -> tuple[int | None, int | None]:
    """The first and the last: the counters know their hours, the rows of these alone the instants."""
    row = tx.row(
        "SELECT MIN(hour), MAX(hour) FROM (SELECT hour FROM counters WHERE tenant_id = :tenant_id AND campaign_id = :campaign_id AND campaign_id > 0"
        " GROUP BY hour HAVING SUM(sent) > 0) h",
        tenant_id=tenant_id,
        campaign_id=campaign_id,
    )
    if row is None or row[0] is None:
        return None, None
    first = tx.value(
        "SELECT sent_at FROM communications WHERE tenant_id = :tenant_id AND sent_at >= :since AND sent_at < :until AND campaign_id = :campaign_id"
        " ORDER BY sent_at LIMIT 1",
        tenant_id=tenant_id,
        campaign_id=campaign_id,
        since=row[0],
        until=row[0] + HOUR,
    )
    last = tx.value(
        "SELECT sent_at FROM communications WHERE tenant_id = :tenant_id AND sent_at >= :since AND sent_at < :until AND campaign_id = :campaign_id"
        " ORDER BY sent_at DESC LIMIT 1",
        tenant_id=tenant_id,
        campaign_id=campaign_id,
        since=row[1],
        until=row[1] + HOUR,
    )
    return first, last
