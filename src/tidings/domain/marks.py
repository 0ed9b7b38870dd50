"""How many interactions of a message and kind there are from one second to another, kept so that any page of them is found without reading those before.

The order of these pages is by second, so a mark stands at the beginning of one. What lies between two marks is a thousand rows
(`level` 0); dozens of those make a mark of `level` 1. Marks are laid for what is older than SETTLED, once, from the first second on:
ordinary interactions are written as they happen and lie behind the last mark. Who writes one that happened longer ago than LATE, or
removes any, corrects the two marks that count it, in the same transaction.

This is exact because of one row per message and kind, in `marked`: whoever corrects shares its lock until the commit, whoever lays
marks has it alone. So what is counted while marks are laid is all committed, and a correction sees every mark that was laid without it.
An ordinary interaction takes no lock: its transaction would have to stay open for SETTLED - LATE to be missed.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tidings import clock
from tidings.database import Tx

SPACING = 1024
"""Interactions between two marks of level 0, at least; as many more as share a second with the last of them."""
GROUP = 64
"""Marks of level 0 that one of level 1 stands for."""
CHUNK = 16
"""Marks laid in one transaction, about: so many times SPACING rows of an index are read."""
SETTLED = clock.HOUR
LATE = 30 * clock.MINUTE
KINDS = frozenset({"sent", "delivered", "opened", "clicked", "bounced", "failed", "complained", "unsubscribed", "resubscribed", "replied"})
"""What is marked; the other kinds are nobody's pages."""


class Series(NamedTuple):
    """The interactions of one kind with one message of a campaign."""

    tenant_id: int
    message_id: int
    kind: str


class Happening(NamedTuple):
    """An interaction as far as marks need it; `message_id` is None where it belongs to no campaign."""

    tenant_id: int
    message_id: int | None
    kind: str
    at: int


def line() -> int:
    """Before this instant it is LATE: by the real clock, whatever `now` a transaction goes by, for this is about what else is under way."""
    return clock.now() - LATE


def written(tx: Tx, late: Iterable[Happening]) -> None:
    """Counts what was written just now by its transaction and had happened before the `line`."""
    counted = [one for one in late if one.message_id is not None and one.kind in KINDS]
    if counted:
        _correct(tx, counted, 1)


def removed(tx: Tx, gone: Iterable[Happening]) -> None:
    """Takes back what was removed just now by its transaction: `DELETE FROM interactions … RETURNING tenant_id, message_id, kind, at`."""
    counted = [one for one in gone if one.message_id is not None and one.kind in KINDS]
    if counted:
        _correct(tx, counted, -1)


def want(tx: Tx, series: Series, *, now: int) -> None:
    """Asks for marks: whoever reads had to read too much."""
    tx.run(
        "INSERT INTO marked (tenant_id, message_id, kind, wanted_at) VALUES (:tenant_id, :message_id, :kind, :now)"
        " ON CONFLICT (tenant_id, message_id, kind) DO UPDATE SET wanted_at = excluded.wanted_at WHERE marked.wanted_at IS NULL",
        **series._asdict(),
        now=now,
    )
    tx.notify("marks")


def want_large(tx: Tx, tenant_id: int, *, since: int, now: int, spacing: int = SPACING) -> int:
    """Asks for marks of what was sent since, where it is much; answers how many messages that are. `since` is in milliseconds."""
    rows = tx.rows(
        "SELECT message_id FROM counters WHERE tenant_id = :tenant_id AND hour >= :since AND message_id > 0"
        " GROUP BY message_id HAVING SUM(sent + failed) >= :spacing ORDER BY message_id",
        tenant_id=tenant_id,
        since=since,
        spacing=spacing,
    )
    for (message_id,) in rows:
        for kind in sorted(KINDS):
            want(tx, Series(tenant_id, message_id, kind), now=now)
    return len(rows)


def wanted(tx: Tx) -> Series | None:
    """Whoever has waited longest for marks."""
    row = tx.row(
        "SELECT tenant_id, message_id, kind FROM marked WHERE wanted_at IS NOT NULL ORDER BY wanted_at, tenant_id, message_id, kind LIMIT 1"
    )
    return None if row is None else Series(*row)


def lay(tx: Tx, series: Series, *, now: int, spacing: int = SPACING, group: int = GROUP) -> bool:
    """Lays the next marks, as many as one transaction should; answers whether there are more to lay, and they are wanted no more when not."""
    _ensure(tx, [series])
    begin: int = tx.value(
        "SELECT at FROM marked WHERE tenant_id = :tenant_id AND message_id = :message_id AND kind = :kind FOR UPDATE", **series._asdict()
    )
    until = second(min(now, clock.now()) - SETTLED)
    seconds, more = _seconds(tx, series, begin, until, spacing)
    segments: list[tuple[int, int]] = []
    frontier, held = begin, 0
    for at, count in seconds:
        held += count
        if held >= spacing:
            segments.append((frontier, held))
            frontier, held = at + clock.SECOND, 0
    _add(tx, series, segments, group)
    tx.run(
        "UPDATE marked SET at = :at, wanted_at = CASE WHEN :more = 1 THEN wanted_at END"
        " WHERE tenant_id = :tenant_id AND message_id = :message_id AND kind = :kind",
        **series._asdict(),
        at=frontier,
        more=int(more),
    )
    return more


def second(at: int) -> int:
    """The beginning of the second an instant lies in."""
    return at - at % clock.SECOND


def _seconds(tx: Tx, series: Series, begin: int, until: int, spacing: int) -> tuple[list[tuple[int, int]], bool]:
    """(second, how many) of the next CHUNK * spacing rows, each second whole; and whether there are more behind."""
    limit = CHUNK * spacing
    rows: list[tuple[int, int]] = tx.rows(
        "SELECT s.second, COUNT(*) FROM (SELECT at - at % 1000 AS second FROM interactions WHERE tenant_id = :tenant_id AND message_id = :message_id"
        " AND kind = :kind AND at >= :since AND at < :until ORDER BY at LIMIT :limit) s GROUP BY s.second ORDER BY s.second",
        **series._asdict(),
        since=begin,
        until=until,
        limit=limit,
    )
    if sum(count for _, count in rows) < limit:
        return rows, False
    at, _ = rows.pop()  # it may be cut off
    if sum(count for _, count in rows) < spacing:
        whole = tx.value(
            "SELECT COUNT(*) FROM interactions WHERE tenant_id = :tenant_id AND message_id = :message_id AND kind = :kind AND at >= :since AND at < :until",
            **series._asdict(),
            since=at,
            until=at + clock.SECOND,
        )
        rows.append((at, whole))
    return rows, True


def _add(tx: Tx, series: Series, segments: Sequence[tuple[int, int]], group: int) -> None:
    """Lays marks behind the last ones, and counts them in those of level 1, of which the last may have room."""
    if not segments:
        return
    last = tx.row(
        "SELECT g.at, (SELECT COUNT(*) FROM marks m WHERE m.tenant_id = g.tenant_id AND m.message_id = g.message_id AND m.kind = g.kind AND m.level = 0"
        " AND m.at >= g.at) FROM marks g WHERE g.tenant_id = :tenant_id AND g.message_id = :message_id AND g.kind = :kind AND g.level = 1"
        " ORDER BY g.at DESC LIMIT 1",
        **series._asdict(),
    )
    begins, members = (segments[0][0], 0) if last is None else last
    groups: Counter[int] = Counter()
    for at, held in segments:
        if members >= group:
            begins, members = at, 0
        groups[begins] += held
        members += 1
    rows = [(*series, 0, *segment) for segment in segments] + [(*series, 1, at, held) for at, held in groups.items()]
    tx.run(
        "INSERT INTO marks (tenant_id, message_id, kind, level, at, held) SELECT tenant_id, message_id, kind, level, at, held FROM"
        " :rows(tenant_id bigint, message_id bigint, kind text, level smallint, at bigint, held bigint) r WHERE true"
        " ON CONFLICT (tenant_id, message_id, kind, level, at) DO UPDATE SET held = marks.held + excluded.held",
        rows=rows,
    )


def _ensure(tx: Tx, series: Iterable[Series]) -> None:
    """That there is a row to lock; in one order for all, so that none waits for another in a circle."""
    tx.run(
        "INSERT INTO marked (tenant_id, message_id, kind) SELECT tenant_id, message_id, kind FROM"
        " :rows(tenant_id bigint, message_id bigint, kind text) r WHERE true ON CONFLICT (tenant_id, message_id, kind) DO NOTHING",
        rows=list(series),
    )


def _correct(tx: Tx, happened: Sequence[Happening], by: int) -> None:
    """Adds `by` for each to the marks that count it; what lies behind the last mark is counted by whoever lays the next."""
    keys = sorted({Series(one.tenant_id, one.message_id or 0, one.kind) for one in happened})
    _ensure(tx, keys)
    heads = tx.rows(
        "SELECT d.tenant_id, d.message_id, d.kind, d.at FROM marked d JOIN :rows(tenant_id bigint, message_id bigint, kind text) r"
        " ON d.tenant_id = r.tenant_id AND d.message_id = r.message_id AND d.kind = r.kind ORDER BY d.tenant_id, d.message_id, d.kind FOR SHARE OF d",
        rows=keys,
    )
    frontiers = {Series(*row[:3]): row[3] for row in heads}
    changes: Counter[tuple[Series, int]] = Counter()
    for one in happened:
        series = Series(one.tenant_id, one.message_id or 0, one.kind)
        if one.at < frontiers[series]:
            changes[series, second(one.at)] += by
    if not changes:
        return
    found = tx.rows(
        "SELECT r.tenant_id, r.message_id, r.kind, r.level, (SELECT MAX(m.at) FROM marks m WHERE m.tenant_id = r.tenant_id AND m.message_id = r.message_id"
        " AND m.kind = r.kind AND m.level = r.level AND m.at <= r.at), r.held"
        " FROM :rows(tenant_id bigint, message_id bigint, kind text, level smallint, at bigint, held bigint) r",
        rows=[(*series, level, at, count) for (series, at), count in changes.items() for level in (0, 1)],
    )
    totals: Counter[tuple[int | str, ...]] = Counter()
    for *mark, count in found:
        totals[tuple(mark)] += count
    tx.run(
        "UPDATE marks SET held = marks.held + r.held FROM"
        " :rows(tenant_id bigint, message_id bigint, kind text, level smallint, at bigint, held bigint) r"
        " WHERE marks.tenant_id = r.tenant_id AND marks.message_id = r.message_id AND marks.kind = r.kind AND marks.level = r.level AND marks.at = r.at",
        rows=sorted((*mark, count) for mark, count in totals.items()),
    )
