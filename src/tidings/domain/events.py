"""The one way anything that happened to a communication is written: its interaction and its count, in the caller's transaction."""

from typing import Literal

import msgspec

from tidings.database import Tx
from tidings.domain import counters, endpoints, marks
from tidings.domain.counters import Bucket, Link, Moment, Tally

Kind = Literal[
    "sent",
    "delivered",
    "opened",
    "clicked",
    "bounced",
    "failed",
    "complained",
    "unsubscribed",
    "resubscribed",
    "replied",
    "unknown",
    "deferred",
    "canceled",
    "updated",
    "commented",
]
Reason = Literal["invalid", "bounced", "timed_out", "blocked", "spam", "unsubscribed", "other"]
"""Why a message was refused or came back, whichever carrier says so."""

UNNOTED = frozenset({"unknown", "deferred", "updated", "commented"})
"""Kinds that no count is kept of."""
_UNCOUNTED = UNNOTED | {"resubscribed"}


class Subject(msgspec.Struct, frozen=True, gc=False):
    """The communication something happened to, as far as the ledger needs it. `hour_of` is its sending, else its acceptance."""

    tenant_id: int
    communication_id: int
    contact_id: int
    campaign_id: int | None
    message_id: int | None
    template_id: int | None
    channel: str
    type: str
    counted_at: int

    def bucket(self) -> Bucket:
        """Where it is counted."""
        return Bucket(
            self.tenant_id,
            counters.hour_of(self.counted_at),
            self.channel,
            self.type,
            self.template_id or 0,
            self.campaign_id or 0,
            self.message_id or 0,
        )


class Event(msgspec.Struct, frozen=True, gc=False):
    """One thing that happened. `first` tells that it happened to this communication for the first time (opens and clicks),
    `first_human` that no person had done it before, `bot` that it was a machine. `author` is who did it, where somebody asked for it
    (the name of the API key). `reason` is why, `code` the carrier's own word for it (or the status of RFC 3463).

    A click names its link: the place in the content `content_id`, and whether it is the first one there (`new_link`, `new_human_link`).
    """

    subject: Subject
    kind: Kind
    at: int
    first: bool = True
    first_human: bool = True
    bot: bool = False
    link_index: int | None = None
    content_id: int | None = None
    new_link: bool = True
    new_human_link: bool = True
    detail: str | None = None
    reason: Reason | None = None
    code: str | None = None
    user_agent: str | None = None
    ip: str | None = None
    author: str | None = None


def append(tx: Tx, events: list[Event], tally: Tally | None = None) -> None:
    """Stores the interactions, lays what is to be told of them, and counts them: in the `tally` brought along, which its owner then folds,
    or else at once.
    """
    counted = Tally() if tally is None else tally
    rows: list[tuple[int | str | None, ...]] = []
    for event in events:
        subject = event.subject
        _count(counted, event)
        rows.append(
            (
                subject.tenant_id,
                subject.communication_id,
                subject.contact_id,
                subject.campaign_id,
                subject.message_id,
                event.kind,
                event.at,
                event.link_index,
                event.detail,
                event.user_agent,
                event.ip,
                event.author,
                int(event.bot),
                event.reason,
                event.code,
            )
        )
    if rows:
        tx.run(
            "INSERT INTO interactions (tenant_id, communication_id, contact_id, campaign_id, message_id, kind, at, link_index, detail, user_agent, ip, author,"
            " bot, reason, code) SELECT tenant_id, communication_id, contact_id, campaign_id, message_id, kind, at, link_index, detail, user_agent, ip, author,"
            " bot, reason, code FROM :rows(tenant_id bigint, communication_id bigint, contact_id bigint, campaign_id bigint, message_id bigint, kind text,"
            " at bigint, link_index integer, detail text, user_agent text, ip text, author text, bot smallint, reason text, code text) r",
            rows=rows,
        )
        marks.written(tx, _old(events))
        endpoints.lay(tx, events)
    if tally is None:
        counters.fold(tx, counted)


def _old(events: list[Event]) -> list[marks.Happening]:
    line = marks.line()
    return [marks.Happening(event.subject.tenant_id, event.subject.message_id, event.kind, event.at) for event in events if event.at < line]


def _count(tally: Tally, event: Event) -> None:
    if event.kind not in UNNOTED:
        times = tally.when(moment(event.subject, event.kind, event.at))
        times.count += 1
        times.human += not event.bot
    if event.kind in _UNCOUNTED:
        return
    counts = tally.at(event.subject.bucket())
    if event.kind == "opened":
        counts.opens += 1
        counts.opened += event.first
        counts.human_opens += not event.bot
        counts.human_opened += event.first_human and not event.bot
    elif event.kind == "clicked":
        counts.clicks += 1
        counts.clicked += event.first
        counts.human_clicks += not event.bot
        counts.human_clicked += event.first_human and not event.bot
        _count_link(tally, event)
    else:
        setattr(counts, event.kind, getattr(counts, event.kind) + 1)


def _count_link(tally: Tally, event: Event) -> None:
    """Only of a campaign's messages: what is said once has few readers, and its links are with its record."""
    message_id = event.subject.message_id
    if message_id is None or event.content_id is None or event.link_index is None:
        return
    clicks = tally.link(Link(event.subject.tenant_id, message_id, event.content_id, event.link_index))
    clicks.clicks += 1
    clicks.clicked += event.new_link
    clicks.human_clicks += not event.bot
    clicks.human_clicked += event.new_human_link and not event.bot


def moment(subject: Subject, kind: str, at: int) -> Moment:
    """Where something that happened to it is counted by when it happened."""
    return Moment(subject.tenant_id, counters.quarter_of(at), subject.channel, subject.campaign_id or 0, subject.message_id or 0, kind)
