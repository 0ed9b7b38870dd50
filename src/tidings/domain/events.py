"""The one way anything that happened to a communication is written: its interaction and its count, in the caller's transaction."""

from typing import Literal

import msgspec

from tidings.database import Tx
from tidings.domain import counters
from tidings.domain.counters import Bucket, Tally

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
    "canceled",
    "updated",
    "commented",
]
_UNCOUNTED = frozenset({"unknown", "updated", "commented", "resubscribed"})


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
    (the name of the API key).
    """

    subject: Subject
    kind: Kind
    at: int
    first: bool = True
    first_human: bool = True
    bot: bool = False
    link_index: int | None = None
    detail: str | None = None
    user_agent: str | None = None
    ip: str | None = None
    author: str | None = None


def append(tx: Tx, events: list[Event], tally: Tally | None = None) -> None:
    """Stores the interactions and counts them: in the `tally` brought along, which its owner then folds, or else at once."""
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
            )
        )
    if rows:
        tx.run(
            "INSERT INTO interactions (tenant_id, communication_id, contact_id, campaign_id, message_id, kind, at, link_index, detail, user_agent, ip, author,"
            " bot) SELECT tenant_id, communication_id, contact_id, campaign_id, message_id, kind, at, link_index, detail, user_agent, ip, author, bot FROM"
            " :rows(tenant_id bigint, communication_id bigint, contact_id bigint, campaign_id bigint, message_id bigint, kind text, at bigint,"
            " link_index integer, detail text, user_agent text, ip text, author text, bot smallint) r",
            rows=rows,
        )
    if tally is None:
        counters.fold(tx, counted)


def _count(tally: Tally, event: Event) -> None:
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
    else:
        setattr(counts, event.kind, getattr(counts, event.kind) + 1)
