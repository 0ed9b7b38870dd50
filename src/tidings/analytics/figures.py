"""What was sent, opened, clicked and failed within a range of time: exact, from the counters for whole hours and from the rows at its edges."""

from collections.abc import Sequence
from typing import LiteralString

import msgspec

from tidings import clock
from tidings.database import Tx

_EVER = 1 << 62
_WHOLE, _DAY, _SENT = 0, 1, 2

# One statement, so that all of it is seen at one instant: a mail that is opened meanwhile counts everywhere or nowhere, and so does an
# hour that is settled. Whole days are read as such, with what is not settled of them; at their edges whole hours; at the edges of those
# the rows themselves.
# The counters keep what was opened before it is known as sent, or while it is being sent again, in the hour of its acceptance;
# that has no sending to belong to, and is taken off.
_FIGURES: LiteralString = (
    "WITH counted AS MATERIALIZED ("
    "SELECT type, template_id, day AS at, sent, opened, clicked, failed, bounced"
    " FROM days WHERE tenant_id = :tenant_id AND day >= :morning AND day < :night"
    " UNION ALL SELECT type, template_id, hour, sent, opened, clicked, failed, bounced"
    " FROM counters WHERE tenant_id = :tenant_id AND slot > 0 AND hour >= :morning AND hour < :night"
    " UNION ALL SELECT type, template_id, hour, sent, opened, clicked, failed, bounced"
    " FROM counters WHERE tenant_id = :tenant_id AND hour >= :whole AND hour < :morning"
    " UNION ALL SELECT type, template_id, hour, sent, opened, clicked, failed, bounced"
    " FROM counters WHERE tenant_id = :tenant_id AND hour >= :night AND hour < :rest"
    ")"
    " SELECT 0, type, template_id, CAST(0 AS bigint), CAST(SUM(sent) AS bigint), CAST(SUM(opened) AS bigint), CAST(SUM(clicked) AS bigint),"
    " CAST(SUM(failed + bounced) AS bigint), CAST(SUM(failed) AS bigint) FROM counted GROUP BY type, template_id"
    " UNION ALL SELECT 1, '', 0, at / 86400000, CAST(SUM(sent) AS bigint), 0, 0, 0, 0 FROM counted GROUP BY at / 86400000"
    " UNION ALL SELECT 2, type, COALESCE(template_id, 0), sent_at / 86400000, COUNT(*), COUNT(opened_at), COUNT(clicked_at),"
    " CAST(SUM(CASE state WHEN 'bounced' THEN 1 ELSE 0 END) AS bigint), 0"
    " FROM communications WHERE tenant_id = :tenant_id AND sent_at >= :since AND sent_at < :head GROUP BY type, template_id, sent_at / 86400000"
    " UNION ALL SELECT 2, type, COALESCE(template_id, 0), sent_at / 86400000, COUNT(*), COUNT(opened_at), COUNT(clicked_at),"
    " CAST(SUM(CASE state WHEN 'bounced' THEN 1 ELSE 0 END) AS bigint), 0"
    " FROM communications WHERE tenant_id = :tenant_id AND sent_at >= :tail AND sent_at < :until GROUP BY type, template_id, sent_at / 86400000"
    " UNION ALL SELECT 3, type, COALESCE(template_id, 0), 0, 0, 0, 0, COUNT(*), COUNT(*)"
    " FROM communications WHERE tenant_id = :tenant_id AND sent_at IS NULL AND due_at IS NULL AND state IN ('failed', 'suppressed')"
    " AND created_at >= :since AND created_at < :head GROUP BY type, template_id"
    " UNION ALL SELECT 3, type, COALESCE(template_id, 0), 0, 0, 0, 0, COUNT(*), COUNT(*)"
    " FROM communications WHERE tenant_id = :tenant_id AND sent_at IS NULL AND due_at IS NULL AND state IN ('failed', 'suppressed')"
    " AND created_at >= :tail AND created_at < :until GROUP BY type, template_id"
    " UNION ALL SELECT 4, type, COALESCE(template_id, 0), 0, 0, -COUNT(*), -COUNT(clicked_at), 0, 0"
    " FROM communications WHERE tenant_id = :tenant_id AND sent_at IS NULL AND opened_at IS NOT NULL"
    " AND created_at >= :whole AND created_at < :rest GROUP BY type, template_id"
)


class Share(msgspec.Struct):
    """Communications that have something in common: how many were sent, and how many of those were opened and clicked at least once."""

    sent: int = 0
    opened: int = 0
    clicked: int = 0

    def add(self, sent: int, opened: int, clicked: int) -> None:
        """Counts more of them."""
        self.sent += sent
        self.opened += opened
        self.clicked += clicked


class Figures(msgspec.Struct):
    """All of it, then by type, by template (id and name) and by day of sending (days since 1970 UTC); the largest share first, days in order.

    `failed` counts communications that failed or were suppressed, by their acceptance, and those that bounced, by their sending;
    `unsent` those of them that never went out.
    """

    total: Share
    failed: int
    unsent: int
    by_type: list[tuple[str, Share]]
    by_template: list[tuple[int, str, Share]]
    by_day: list[tuple[int, int]]


class Span(msgspec.Struct, frozen=True):
    """A range of time in seven steps: [since, head) and [tail, until) are parts of hours, [whole, rest) is made of whole ones, and of
    those [morning, night) of whole days.
    """

    since: int
    head: int
    whole: int
    morning: int
    night: int
    rest: int
    tail: int
    until: int


def figures(tx: Tx, tenant_id: int, *, since: int | None = None, until: int | None = None) -> Figures:
    """The tenant's figures for what was sent from `since` on and before `until` (milliseconds; None: without end).

    Rows are read for at most two parts of an hour, and counts by hour for two parts of a day, whatever the range; the rest are days.
    """
    rows = tx.rows(_FIGURES, tenant_id=tenant_id, **msgspec.structs.asdict(span(since, until)))
    total, failed, unsent = Share(), 0, 0
    types: dict[str, Share] = {}
    templates: dict[int, Share] = {}
    days: dict[int, int] = {}
    for kind, type_, template_id, day, sent, opened, clicked, failing, never in rows:
        if kind in {_DAY, _SENT}:
            days[day] = days.get(day, 0) + sent
        if kind == _DAY:
            continue
        failed, unsent = failed + failing, unsent + never
        for share in (total, types.setdefault(type_, Share()), templates.setdefault(template_id, Share())):
            share.add(sent, opened, clicked)
    templates.pop(0, None)
    names = _names(tx, tenant_id, [template_id for template_id, share in templates.items() if share.sent])
    return Figures(
        total,
        failed,
        unsent,
        sorted(((type_, share) for type_, share in types.items() if share.sent), key=lambda entry: (-entry[1].sent, entry[0])),
        sorted(
            ((template_id, names.get(template_id, ""), share) for template_id, share in templates.items() if share.sent),
            key=lambda entry: (-entry[2].sent, entry[1], entry[0]),
        ),
        sorted((day, count) for day, count in days.items() if count),
    )


def span(since: int | None, until: int | None) -> Span:
    """The range cut at its first and last full hour. Where there is none between them, all of it is `[since, head)`.

    Where there is no full day between those, `morning` and `night` are the same.
    """
    begin, end = 0 if since is None else max(since, 0), _EVER if until is None else min(until, _EVER)
    first = -(-begin // clock.HOUR) * clock.HOUR
    last = end if until is None else end - end % clock.HOUR
    if first >= last:
        return Span(begin, end, 0, 0, 0, 0, 0, 0)
    morning, night = -(-first // clock.DAY) * clock.DAY, last - last % clock.DAY
    if morning >= night:
        morning = night = last
    return Span(begin, first, first, morning, night, last, last, end)


def _names(tx: Tx, tenant_id: int, ids: Sequence[int]) -> dict[int, str]:
    """The names of templates, archived ones too."""
    return dict(
        tx.rows("SELECT id, name FROM templates WHERE tenant_id = :tenant_id AND id IN :ids[bigint]", tenant_id=tenant_id, ids=list(ids))
    )
