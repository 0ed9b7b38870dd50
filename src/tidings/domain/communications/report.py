"""What comes back about a message: opens and clicks, recorded in batches; and where its links lead."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from tidings import clock
from tidings.database import Tx
from tidings.domain import events

FASTEST_READER = clock.SECOND
"""Milliseconds after a mail was handed over in which nobody can have got, opened and read it: what comes sooner is a machine's."""
_NEVER = 1 << 62


class Hit(msgspec.Struct, frozen=True):
    """A fetched pixel or followed link; `bot` when it was a machine by all that the request says. `told`: it is a carrier who says so,
    by its own clock.
    """

    tenant_id: int
    communication_id: int
    kind: Literal["opened", "clicked"]
    at: int
    link_index: int | None = None
    user_agent: str | None = None
    ip: str | None = None
    bot: bool = False
    told: bool = False


class _Read:
    """A communication that was hit: how often it had been opened and clicked before, by whomever and by people."""

    def __init__(self, row: tuple[Any, ...], added: Sequence[int]) -> None:
        self.subject = events.Subject(*row[:9])
        self.too_soon = 0 if row[9] is None else row[9] + FASTEST_READER
        self._content_id: int = row[14]
        # of a message to somebody who was erased it is counted that it was read, and no more
        self._is_somebodys = bool(row[15])
        self._opens, self._clicks, self._human_opens, self._human_clicks = (now - more for now, more in zip(row[10:14], added, strict=True))
        # of each link that was followed: by somebody, and by a person
        self._followed: dict[int | None, bool] = {}

    @property
    def was_clicked(self) -> bool:
        """Whether it was, before this."""
        return self._clicks > 0

    def follow(self, link_index: int, *, human: bool) -> None:
        """Takes note of a link that was followed."""
        self._followed[link_index] = human or self._followed.get(link_index, False)

    def happened(self, hit: Hit, *, bot: bool) -> Iterator[events.Event]:
        """The events of one hit, in the order they came in."""
        yield self._event(hit, "opened", bot, first=self._opens == 0, first_human=self._human_opens == 0)
        self._opens += 1
        self._human_opens += not bot
        if hit.kind == "clicked":
            yield self._event(hit, "clicked", bot, first=self._clicks == 0, first_human=self._human_clicks == 0)
            self._clicks += 1
            self._human_clicks += not bot
            if hit.link_index is not None:
                self.follow(hit.link_index, human=not bot)

    def _event(self, hit: Hit, kind: Literal["opened", "clicked"], bot: bool, *, first: bool, first_human: bool) -> events.Event:
        return events.Event(
            self.subject,
            kind,
            hit.at,
            first=first,
            first_human=first_human,
            bot=bot,
            link_index=hit.link_index if kind == "clicked" else None,
            content_id=self._content_id,
            new_link=hit.link_index not in self._followed,
            new_human_link=not self._followed.get(hit.link_index, False),
            user_agent=hit.user_agent if self._is_somebodys else None,
            ip=hit.ip if self._is_somebodys else None,
        )


def track(tx: Tx, hits: list[Hit]) -> list[bool]:
    """Records opens and clicks of any tenants, in the order they came; answers of each whether there is such a communication.

    A click counts as an open too (the pixel may be blocked). What comes within FASTEST_READER of the sending is marked as a machine's.
    """
    totals = _totals(hits)
    rows = tx.rows(
        "UPDATE communications SET open_count = open_count + r_opens, opened_at = CASE WHEN opened_at <= r_at THEN opened_at ELSE r_at END,"
        " click_count = click_count + r_clicks,"
        " clicked_at = CASE WHEN r_clicks = 0 OR clicked_at <= r_clicked_at THEN clicked_at ELSE r_clicked_at END,"
        " human_opens = human_opens + r_human_opens, human_clicks = human_clicks + r_human_clicks,"
        " updated_at = CASE WHEN updated_at > r_last THEN updated_at ELSE r_last END"
        " FROM :hits(r_tenant_id bigint, r_id bigint, r_opens bigint, r_clicks bigint, r_human_opens bigint, r_human_clicks bigint, r_at bigint,"
        " r_clicked_at bigint, r_last bigint) r"
        " WHERE tenant_id IN :tenants[bigint] AND id IN :ids[bigint] AND tenant_id = r_tenant_id AND id = r_id"
        " RETURNING tenant_id, id, contact_id, campaign_id, message_id, template_id, channel, type, COALESCE(sent_at, created_at), sent_at,"
        " open_count, click_count, human_opens, human_clicks, content_id, address",
        tenants=sorted({tenant_id for tenant_id, _ in totals}),
        ids=sorted(communication_id for _, communication_id in totals),
        hits=sorted((*key, *entry) for key, entry in totals.items()),
    )
    read = {(row[0], row[1]): _Read(row, totals[row[0], row[1]][:4]) for row in rows}
    _remember(tx, {key: found for key, found in read.items() if found.was_clicked and totals[key][1]})
    happened: list[events.Event] = []
    hasty: list[Hit] = []
    for hit in hits:
        found = read.get((hit.tenant_id, hit.communication_id))
        if found is None:
            continue
        too_soon = hit.at < found.too_soon and not hit.told
        if too_soon and not hit.bot:
            hasty.append(hit)
        happened.extend(found.happened(hit, bot=hit.bot or too_soon))
    if hasty:
        _disown(tx, hasty)
    events.append(tx, happened)
    return [(hit.tenant_id, hit.communication_id) in read for hit in hits]


def _remember(tx: Tx, clicked_again: dict[tuple[int, int], _Read]) -> None:
    """Tells those that are clicked not for the first time which of their links were followed before."""
    if not clicked_again:
        return
    rows: list[tuple[int, int, int, int]] = tx.rows(
        "SELECT tenant_id, communication_id, link_index, MIN(bot) FROM interactions WHERE tenant_id IN :tenants[bigint]"
        " AND communication_id IN :ids[bigint] AND kind = 'clicked' AND link_index IS NOT NULL GROUP BY tenant_id, communication_id, link_index"
        " UNION ALL SELECT tenant_id, communication_id, link_index, CASE WHEN human > 0 THEN 0 ELSE 1 END FROM remnants"
        " WHERE tenant_id IN :tenants[bigint] AND communication_id IN :ids[bigint] AND kind = 'clicked' AND link_index >= 0",
        tenants=sorted({tenant_id for tenant_id, _ in clicked_again}),
        ids=sorted(communication_id for _, communication_id in clicked_again),
    )
    for tenant_id, communication_id, link_index, bot in rows:
        found = clicked_again.get((tenant_id, communication_id))
        if found is not None:
            found.follow(link_index, human=not bot)


def _totals(hits: list[Hit]) -> dict[tuple[int, int], list[int]]:
    """Of each communication: opens, clicks, both again of people alone, the first hit, the first click, the last hit."""
    totals: dict[tuple[int, int], list[int]] = {}
    for hit in hits:
        entry = totals.setdefault((hit.tenant_id, hit.communication_id), [0, 0, 0, 0, hit.at, _NEVER, hit.at])
        entry[0] += 1
        entry[2] += not hit.bot
        entry[4], entry[6] = min(entry[4], hit.at), max(entry[6], hit.at)
        if hit.kind == "clicked":
            entry[1] += 1
            entry[3] += not hit.bot
            entry[5] = min(entry[5], hit.at)
    return totals


def _disown(tx: Tx, hasty: list[Hit]) -> None:
    """Takes hits that turn out to be too fast for people out of what people did. Seldom needed, so not worth a question before each batch."""
    tx.run(
        "UPDATE communications SET human_opens = human_opens - r_opens, human_clicks = human_clicks - r_clicks"
        " FROM :hits(r_tenant_id bigint, r_id bigint, r_opens bigint, r_clicks bigint) r"
        " WHERE tenant_id IN :tenants[bigint] AND id IN :ids[bigint] AND tenant_id = r_tenant_id AND id = r_id",
        tenants=sorted({hit.tenant_id for hit in hasty}),
        ids=sorted({hit.communication_id for hit in hasty}),
        hits=sorted((*key, entry[2], entry[3]) for key, entry in _totals(hasty).items()),
    )


def link_target(tx: Tx, tenant_id: int, communication_id: int, index: int) -> str | None:
    """What the content has as the target of link `index` (0-based), or None. It may be a template of its own (`{{`): the composer fills it in."""
    found = tx.value(
        "SELECT k.links FROM communications c JOIN contents k ON k.tenant_id = c.tenant_id AND k.id = c.content_id"
        " WHERE c.tenant_id = :tenant_id AND c.id = :id",
        tenant_id=tenant_id,
        id=communication_id,
    )
    targets: list[str] = [] if found is None else msgspec.json.decode(found, type=list[str])
    return targets[index] if 0 <= index < len(targets) else None


def followed(tx: Tx, tenant_id: int, ids: Sequence[int]) -> dict[int, list[tuple[int, int, int]]]:
    """The followed links of several communications: (index, how often, when first) of each, in document order."""
    rows: list[tuple[int, int, int, int]] = tx.rows(
        "SELECT communication_id, link_index, CAST(SUM(count) AS bigint), MIN(at) FROM ("
        "SELECT communication_id, link_index, 1 AS count, at FROM interactions WHERE tenant_id = :tenant_id AND communication_id IN :ids[bigint]"
        " AND kind = 'clicked' AND link_index IS NOT NULL"
        " UNION ALL SELECT communication_id, link_index, count, first_at FROM remnants WHERE tenant_id = :tenant_id"
        " AND communication_id IN :ids[bigint] AND kind = 'clicked' AND link_index >= 0) t"
        " GROUP BY communication_id, link_index ORDER BY communication_id, link_index",
        tenant_id=tenant_id,
        ids=list(ids),
    )
    found: dict[int, list[tuple[int, int, int]]] = {}
    for communication_id, *link in rows:
        found.setdefault(communication_id, []).append((link[0], link[1], link[2]))
    return found
