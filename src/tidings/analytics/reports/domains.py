"""What was sent within a range of time by the domain it went to: read from the communications, for no counter knows their addresses."""

from typing import Final, LiteralString

import msgspec

from tidings.analytics.reports.calendar import Range, wrong
from tidings.analytics.reports.groups import Asked
from tidings.clock import HOUR
from tidings.database import Tx
from tidings.domain import campaigns

MOST_READ = 1_000_000
"""How many communications one report reads at most: docs/reports.md says how long that takes."""
MOST_DOMAINS = 50_000
"""How many domains one report tells apart at most."""


class Domain(msgspec.Struct, frozen=True):
    """Mail to the addresses of one domain; "" stands for those that are not told apart, `domains` is how many they are."""

    domain: str
    domains: int
    sent: int
    delivered: int
    opened: int
    human_opened: int
    clicked: int
    human_clicked: int
    bounced: int
    failed: int
    complained: int
    unsubscribed: int
    replied: int


# what follows the last @, in words that both databases have: of the address what is left of it there is cut off
_DOMAIN: Final[LiteralString] = "lower(substr(c.address, length(rtrim(c.address, replace(c.address, '@', ''))) + 1))"
_HOURS: Final[LiteralString] = " :hours(r_since bigint, r_until bigint) r"
_SENT: LiteralString = (
    "SELECT " + _DOMAIN + " AS domain, COUNT(*) AS sent, COUNT(c.delivered_at) AS delivered, COUNT(c.opened_at) AS opened,"
    " CAST(SUM(CASE WHEN c.human_opens > 0 THEN 1 ELSE 0 END) AS bigint) AS human_opened, COUNT(c.clicked_at) AS clicked,"
    " CAST(SUM(CASE WHEN c.human_clicks > 0 THEN 1 ELSE 0 END) AS bigint) AS human_clicked,"
    " CAST(SUM(CASE c.state WHEN 'bounced' THEN 1 ELSE 0 END) AS bigint) AS bounced, 0 AS failed, 0 AS complained, 0 AS unsubscribed, 0 AS replied"
    " FROM"
    + _HOURS
    + " JOIN communications c ON c.tenant_id = :tenant_id AND c.sent_at >= r.r_since AND c.sent_at < r.r_until WHERE c.channel = 'email'"
)
_FAILED: LiteralString = (
    " UNION ALL SELECT " + _DOMAIN + ", 0, 0, 0, 0, 0, 0, 0, COUNT(*), 0, 0, 0"
    " FROM" + _HOURS + " JOIN communications c ON c.tenant_id = :tenant_id AND c.created_at >= r.r_since AND c.created_at < r.r_until"
    " WHERE c.sent_at IS NULL AND c.due_at IS NULL AND c.state IN ('failed', 'suppressed') AND c.channel = 'email'"
)
_ANSWERED: LiteralString = (
    " UNION ALL SELECT " + _DOMAIN + ", 0, 0, 0, 0, 0, 0, 0, 0, CAST(SUM(CASE i.kind WHEN 'complained' THEN 1 ELSE 0 END) AS bigint),"
    " CAST(SUM(CASE i.kind WHEN 'unsubscribed' THEN 1 ELSE 0 END) AS bigint), CAST(SUM(CASE i.kind WHEN 'replied' THEN 1 ELSE 0 END) AS bigint)"
    " FROM" + _HOURS + " JOIN communications c ON c.tenant_id = :tenant_id AND c.sent_at >= r.r_since AND c.sent_at < r.r_until"
    " JOIN interactions i ON i.tenant_id = c.tenant_id AND i.communication_id = c.id AND i.kind IN ('complained', 'unsubscribed', 'replied')"
    " WHERE c.channel = 'email'"
)
_OF_CAMPAIGN: LiteralString = " AND c.campaign_id = :campaign_id"
_GROUPED: LiteralString = " GROUP BY 1"
_SUMS: LiteralString = (
    " CAST(SUM(sent) AS bigint) AS sent, CAST(SUM(delivered) AS bigint) AS delivered, CAST(SUM(opened) AS bigint) AS opened,"
    " CAST(SUM(human_opened) AS bigint) AS human_opened, CAST(SUM(clicked) AS bigint) AS clicked, CAST(SUM(human_clicked) AS bigint) AS human_clicked,"
    " CAST(SUM(bounced) AS bigint) AS bounced, CAST(SUM(failed) AS bigint) AS failed, CAST(SUM(complained) AS bigint) AS complained,"
    " CAST(SUM(unsubscribed) AS bigint) AS unsubscribed, CAST(SUM(replied) AS bigint) AS replied"
)


def by_domain(tx: Tx, tenant_id: int, asked: Asked, *, limit: int) -> list[Domain]:
    """The `limit` domains that most was sent to, and all others as one. Raises Malformed, before any is read, where that would be too many
    communications; NotFound for an unknown campaign.
    """
    hours, count = _hours(tx, tenant_id, asked)
    if count > MOST_READ:
        advice = "narrow the range" if asked.campaign_id is not None else "narrow the range, or name a campaign"
        raise wrong(
            "since",
            f"is too far back: the range has {count:,} communications, and a report by domain reads at most {MOST_READ:,}: {advice}",
        )
    if not hours:
        return []
    which: LiteralString = ""
    params: dict[str, int] = {"tenant_id": tenant_id, "limit": limit}
    if asked.campaign_id is not None:
        which = _OF_CAMPAIGN
        params["campaign_id"] = asked.campaign_id
    parts = _SENT + which + _GROUPED + _FAILED + which + _GROUPED + _ANSWERED + which + _GROUPED
    found = tx.all(
        Domain,
        "WITH parts AS (" + parts + "), whole AS (SELECT domain," + _SUMS + " FROM parts GROUP BY domain),"
        " placed AS (SELECT whole.*, ROW_NUMBER() OVER (ORDER BY sent DESC, domain) AS place FROM whole)"
        " SELECT CASE WHEN place <= :limit THEN domain ELSE '' END, COUNT(*)," + _SUMS + " FROM placed"
        " GROUP BY CASE WHEN place <= :limit THEN domain ELSE '' END",
        hours=[(each.since, each.until) for each in hours],
        **params,
    )
    return sorted(found, key=lambda each: (not each.domain, -each.sent, each.domain))


def _hours(tx: Tx, tenant_id: int, asked: Asked) -> tuple[list[Range], int]:
    """The ranges of hours that have to be read, and how many communications (of whatever campaign and channel) have ended in them."""
    if asked.campaign_id is None:
        count = tx.value(
            "SELECT CAST(COALESCE(SUM(sent + failed + canceled), 0) AS bigint) FROM counters"
            " WHERE tenant_id = :tenant_id AND hour >= :since AND hour < :until",
            tenant_id=tenant_id,
            since=asked.within.since,
            until=asked.within.until,
        )
        return [asked.within] if count else [], count
    campaigns.get(tx, tenant_id, asked.campaign_id)
    rows = tx.rows(
        "SELECT h.hour, CAST(SUM(n.sent + n.failed + n.canceled) AS bigint) FROM (SELECT hour FROM counters WHERE tenant_id = :tenant_id"
        " AND campaign_id = :campaign_id AND campaign_id > 0 AND hour >= :since AND hour < :until GROUP BY hour HAVING SUM(sent) > 0 OR SUM(failed) > 0) h"
        " JOIN counters n ON n.tenant_id = :tenant_id AND n.hour = h.hour GROUP BY h.hour ORDER BY h.hour",
        tenant_id=tenant_id,
        campaign_id=asked.campaign_id,
        since=asked.within.since,
        until=asked.within.until,
    )
    found: list[Range] = []
    for hour, _ in rows:
        begin = found.pop().since if found and found[-1].until == hour else hour
        found.append(Range(begin, hour + HOUR))
    return found, sum(count for _, count in rows)
