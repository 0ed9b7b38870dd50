"""What carriers tell of mail they took, taken in: matched to the communication within the tenant, once by its own id, in any order."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from tidings.database import Tx
from tidings.domain import communications, counters, enrollments, heard
from tidings.domain.communications import Hit, Receipt
from tidings.domain.counters import Tally
from tidings.inbound.receive import Desk
from tidings.message.heard import Notice
from tidings.signing import Signer

BATCH = 250
"""Events of one transaction: ten thousand in one post hold up nobody else."""


class Told(NamedTuple):
    """How many events were taken, had been before, and speak of mail that is not known here."""

    taken: int = 0
    known: int = 0
    unknown: int = 0


class Once(NamedTuple):
    """A word of a carrier's that is good for one use, and what it said under it."""

    token: str
    said: str


class _Known(NamedTuple):
    """A communication that an event speaks of: when it was made, and the targets of its links."""

    id: int
    created_at: int
    enrollment_id: int | None
    links: str | None


async def take(desk: Desk, tenant_id: int, source: str, notices: Sequence[Notice], once: Once | None = None) -> Told:
    """Takes them in; `source` is the carrier's kind. They are safe once this answers. Raises Unauthorized as `heard.once` does."""
    named = [(notice, _ours(desk.signer, tenant_id, notice)) for notice in notices]
    total = Told()
    for start in range(0, len(named), BATCH) or (range(1) if once else ()):
        batch = named[start : start + BATCH]
        told = await desk.db.write(_taken, desk.signer, tenant_id, source, batch, once, now=desk.clock())
        total = Told(*(sum(pair) for pair in zip(total, told, strict=True)))
    return total


def _ours(signer: Signer, tenant_id: int, notice: Notice) -> int:
    """The communication that it names by what we have signed: our id for it, or our Message-ID. 0 when it names none of this tenant's."""
    for name in notice.names:
        token = name.strip(" <>").partition("@")[0]
        found = signer.parse_communication(token) or signer.parse_communication(token.rpartition(".")[0])
        if found is not None and found[0] == tenant_id:
            return found[1]
    return notice.communication_id


def _taken(
    tx: Tx, signer: Signer, tenant_id: int, source: str, named: Sequence[tuple[Notice, int]], once: Once | None, *, now: int
) -> Told:
    if once is not None:
        heard.once(tx, tenant_id, source, once.token, once.said, now=now)
    named = [(notice, communication_id or _by_name(tx, tenant_id, notice)) for notice, communication_id in named]
    known = _known(tx, tenant_id, {communication_id for _, communication_id in named if communication_id})
    strangers = [(notice, communication_id) for notice, communication_id in named if communication_id not in known]
    for notice, communication_id in strangers:
        _heed(tx, tenant_id, notice, communication_id, now=now)
    ours = {_name(notice): (notice, known[communication_id]) for notice, communication_id in named if communication_id in known}
    fresh = heard.fresh(tx, tenant_id, source, ours, now=now)
    _apply(tx, signer, tenant_id, [entry for name, entry in ours.items() if name in fresh], now=now)
    return Told(len(fresh), len(named) - len(strangers) - len(fresh), len(strangers))


def _apply(tx: Tx, signer: Signer, tenant_id: int, told: Sequence[tuple[Notice, _Known]], *, now: int) -> None:
    tally = Tally()
    receipts = [(row.id, _receipt(notice)) for notice, row in told]
    ending = communications.receive_all(tx, tenant_id, receipts, tally, now=now) if receipts else []
    # whoever takes more than one enrollment takes them in one order
    for enrollment_id in sorted({row.enrollment_id for notice, row in told if notice.kind == "unsubscribed" and row.enrollment_id}):
        enrollments.stop(tx, tenant_id, enrollment_id, "unsubscribe", now=now, tally=tally)
    enrollments.complete(tx, tenant_id, [], sorted(ending), tally, now=now)
    counters.fold(tx, tally)
    hits = [_hit(signer, tenant_id, notice, row, now=now) for notice, row in told if notice.kind in ("opened", "clicked")]
    if hits:
        communications.track(tx, hits)


def _by_name(tx: Tx, tenant_id: int, notice: Notice) -> int:
    """By the name the carrier took it under, which its answer to us told."""
    if not notice.provider_id or not notice.address:
        return 0
    return communications.by_address_and_name(tx, tenant_id, notice.address, [notice.provider_id]) or 0


def _known(tx: Tx, tenant_id: int, ids: Iterable[int]) -> dict[int, _Known]:
    rows = tx.rows(
        "SELECT c.id, c.created_at, c.enrollment_id, k.links FROM communications c"
        " LEFT JOIN contents k ON k.tenant_id = c.tenant_id AND k.id = c.content_id WHERE c.tenant_id = :tenant_id AND c.id IN :ids[bigint]",
        tenant_id=tenant_id,
        ids=sorted(ids),
    )
    return {row[0]: _Known(*row) for row in rows}


def _heed(tx: Tx, tenant_id: int, notice: Notice, communication_id: int, *, now: int) -> None:
    """An address that bounces for good or complains is not written to again, though nothing is known of what it speaks of."""
    reader = enrollments.reader(tx, tenant_id, communication_id) if communication_id else None
    channel, address = (reader.channel, reader.address) if reader is not None else ("email", notice.address)
    if notice.address or address:
        communications.heed(tx, tenant_id, channel, notice.address or address, _receipt(notice), now=now)


def _receipt(notice: Notice) -> Receipt:
    return Receipt(
        kind=notice.kind,
        at=notice.at,
        address=notice.address,
        hard=notice.hard,
        reason=notice.reason,
        code=notice.code[:100],
        detail=notice.detail,
        id=_name(notice),
    )


def _name(notice: Notice) -> str:
    """What makes it the same event when it is told again."""
    return notice.id or msgspec.json.encode(notice).decode()


def _hit(signer: Signer, tenant_id: int, notice: Notice, row: _Known, *, now: int) -> Hit:
    return Hit(
        tenant_id,
        row.id,
        "opened" if notice.kind == "opened" else "clicked",
        min(max(notice.at, row.created_at), max(now, row.created_at)),
        link_index=_link_index(signer, tenant_id, notice.url, row),
        user_agent=notice.user_agent or None,
        ip=notice.ip or None,
        bot=notice.bot,
        told=True,
    )


def _link_index(signer: Signer, tenant_id: int, url: str, row: _Known) -> int | None:
    """Which of the mail's links it is: the target as it was written, or our own address for it; None for another one."""
    if not url:
        return None
    targets = msgspec.json.decode(row.links or "[]", type=list[str])
    if url in targets:
        return targets.index(url)
    token, _, index = urlsplit(url).path.rpartition("/")
    named = signer.parse_communication(token.rpartition("/")[2])
    if named == (tenant_id, row.id) and index.isascii() and index.isdigit() and len(index) < 7 and int(index) < len(targets):
        return int(index)
    return None
