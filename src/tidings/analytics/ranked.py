"""The interactions of one message and kind in the order of their reports: how many there are in a range, and any page of them.

Order is by the second it happened, then by contact; within those by the very instant, and by id. What lies before a page is counted by
the marks of `domain/marks` up to one nearby, and from there by reading a thousand or two rows of an index. Each statement sees what is
committed on PostgreSQL: a page is as exact as one that is found by counting, beside writers that go on.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from tidings import clock
from tidings.database import Tx
from tidings.domain import marks
from tidings.domain.marks import Series

FAR = 16 * marks.SPACING
"""Rows read one by one from which marks are asked for."""


class Row(msgspec.Struct, frozen=True):
    """One interaction. `email` is the contact's, "" where there is none (any more); `sent_at` when the message went out last, None if never."""

    contact_id: int
    email: str
    at: int
    sent_at: int | None


class Found(NamedTuple):
    """How many there are in the range, those of the page, and whether more had to be read for it than marks would have spared."""

    total: int
    rows: list[Row]
    far: bool


def page(tx: Tx, series: Series, since: int, until: int, *, offset: int, limit: int, descending: bool = False) -> Found:
    """What happened in [since, until), whole seconds in milliseconds, from the one at `offset` (0-based) on."""
    ranks = _Ranks(tx, series)
    low, high = ranks.of(since), ranks.of(max(since, until))
    first, last = low + offset, low + offset + limit
    if descending:
        first, last = high - offset - limit, high - offset
    first, last = max(first, low), min(last, high)
    rows = ranks.between(first, last, until) if first < last else []
    if descending:
        rows.reverse()
    return Found(high - low, rows, ranks.walked > FAR)


class _Ranks:
    """The marks of one series, those of level 0 as far as they are asked for. `walked` is the most rows that were counted at once."""

    def __init__(self, tx: Tx, series: Series) -> None:
        self._tx, self._series = tx, series
        rows: list[tuple[int, int, int]] = tx.rows(
            # of one moment: marks that are laid between two looks would be missing from both
            "SELECT 1, at, held FROM marks WHERE tenant_id = :tenant_id AND message_id = :message_id AND kind = :kind AND level = 1"
            " UNION ALL SELECT 2, at, 0 FROM marked WHERE tenant_id = :tenant_id AND message_id = :message_id AND kind = :kind ORDER BY 1, 2",
            **series._asdict(),
        )
        self._end = rows.pop()[1] if rows and rows[-1][0] == 2 else 0
        self._groups = _prefixed([row[1:] for row in rows], self._end)
        self._leaves: dict[int, list[tuple[int, int]]] = {}
        self.walked = 0

    def of(self, at: int) -> int:
        """How many happened before this second."""
        base, rank = self._end, self._groups[-1][1]
        if at < self._end:
            number = bisect_right(self._groups, at, key=_at) - 1
            if number < 0:
                return 0
            leaves = self._within(number)
            base, rank = leaves[max(bisect_right(leaves, at, key=_at) - 1, 0)]
        return rank + self._count(base, at)

    def between(self, first: int, last: int, until: int) -> list[Row]:
        """The rows from rank `first` on and before rank `last`, which happened before `until`."""
        base, rank = self._end, self._groups[-1][1]
        if first < rank:
            # the last one whose rank is at most `first`
            number = bisect_right(self._groups, first, key=_rank) - 1
            leaves = self._within(number)
            base, rank = leaves[max(bisect_right(leaves, first, key=_rank) - 1, 0)]
            until = min(until, self._behind(last, number, until))
        self.walked = max(self.walked, first - rank)
        instants = self._tx.rows(
            "SELECT at FROM interactions WHERE tenant_id = :tenant_id AND message_id = :message_id AND kind = :kind AND at >= :since AND at < :until"
            " ORDER BY at LIMIT :limit OFFSET :offset",
            **self._series._asdict(),
            since=base,
            until=until,
            limit=last - first,
            offset=first - rank,
        )
        if not instants:
            return []
        begin, end = marks.second(instants[0][0]), marks.second(instants[-1][0]) + clock.SECOND
        return self._tx.all(
            Row,
            "SELECT i.contact_id, COALESCE(k.email, ''), i.at, CASE WHEN :kind = 'sent' THEN i.at ELSE c.sent_at END FROM ("
            "SELECT communication_id, contact_id, at, id FROM interactions WHERE tenant_id = :tenant_id AND message_id = :message_id AND kind = :kind"
            " AND at >= :since AND at < :until ORDER BY at / 1000, contact_id, at, id LIMIT :limit OFFSET :offset) i"
            " LEFT JOIN communications c ON c.tenant_id = :tenant_id AND c.id = i.communication_id"
            " LEFT JOIN contacts k ON k.tenant_id = :tenant_id AND k.id = i.contact_id ORDER BY i.at / 1000, i.contact_id, i.at, i.id",
            **self._series._asdict(),
            since=begin,
            until=end,
            limit=last - first,
            offset=first - rank - self._count(base, begin),
        )

    def _behind(self, last: int, number: int, until: int) -> int:
        """A mark that all before rank `last` lie before, near by if it is one of that group's: what lies behind need not be planned for."""
        near = [*self._within(number), *self._groups[number + 1 :]]
        place = bisect_left(near, last, key=_rank)
        return near[place][0] if place < len(near) else until

    def _within(self, number: int) -> list[tuple[int, int]]:
        """The marks of level 0 that a mark of level 1 stands for, each with the rank it stands at."""
        if number not in self._leaves:
            at, rank = self._groups[number]
            following = self._groups[number + 1][0]
            rows = self._tx.rows(
                "SELECT at, held FROM marks WHERE tenant_id = :tenant_id AND message_id = :message_id AND kind = :kind AND level = 0"
                " AND at >= :since AND at < :until ORDER BY at",
                **self._series._asdict(),
                since=at,
                until=following,
            )
            self._leaves[number] = [(begin, rank + before) for begin, before in _prefixed(rows, following)[:-1]] or [(at, rank)]
        return self._leaves[number]

    def _count(self, since: int, until: int) -> int:
        """By reading them: some in order first, so that PostgreSQL, which cannot know how few they mostly are, does not prepare for millions."""
        if since >= until:
            return 0
        count: int = self._tx.value(
            "SELECT COUNT(*) FROM (SELECT at FROM interactions WHERE tenant_id = :tenant_id AND message_id = :message_id AND kind = :kind"
            " AND at >= :since AND at < :until ORDER BY at LIMIT :limit) s",
            **self._series._asdict(),
            since=since,
            until=until,
            limit=FAR,
        )
        if count == FAR:
            count = self._tx.value(
                "SELECT COUNT(*) FROM interactions WHERE tenant_id = :tenant_id AND message_id = :message_id AND kind = :kind"
                " AND at >= :since AND at < :until",
                **self._series._asdict(),
                since=since,
                until=until,
            )
        self.walked = max(self.walked, count)
        return count


def _prefixed(marked: Sequence[tuple[int, int]], end: int) -> list[tuple[int, int]]:
    """Of each mark where it stands and how many lie before it; then the same of the end."""
    found: list[tuple[int, int]] = []
    before = 0
    for at, held in marked:
        found.append((at, before))
        before += held
    return [*found, (end, before)]


def _at(mark: tuple[int, int]) -> int:
    return mark[0]


def _rank(mark: tuple[int, int]) -> int:
    return mark[1]
