"""Short messages that an SMSC delivered: kept while others of their text are missing, and while the SMSC may send them again."""

from collections.abc import Sequence

import msgspec

from tidings.clock import MINUTE
from tidings.database import Tx
from tidings.message import pieces
from tidings.message.pieces import Piece, Safe

AGAIN = 15 * MINUTE
"""Milliseconds within which the same is the same, sent again, where our answer may have got lost."""
WAIT = 10 * MINUTE
"""Milliseconds that a part waits for the others."""
MOST = 500
"""Rows that are tidied away at a time."""


class Kept(msgspec.Struct, frozen=True):
    """One of them as its row has it; see `Piece`. `stored_at` is when its text was stored, None while others are missing."""

    name: str
    sequence: int
    total: int
    sender: str
    recipient: str
    charset: str
    data: bytes
    connection: str
    at: int
    stored_at: int | None


class Whole(msgspec.Struct, frozen=True):
    """A text, whole or as far as it came; `at` is when it began to come in."""

    sender: str
    recipient: str
    text: str
    at: int


def keep(tx: Tx, tenant_id: int, provider_id: int, source: str, piece: Piece, *, now: int) -> list[Whole]:
    """Keeps a short message, once: the texts that are to be stored for it in this transaction. Mostly one or none; two where it is the
    first of a text under a reference that another text, which never became whole, had before. `source` names the carrier, as `smpp:12`.
    """
    if piece.total == 1:
        return [_joined([_kept(piece)])] if _is_new(tx, tenant_id, provider_id, source, piece, now=now) else []
    # the last two parts may come to two workers at once, and neither would see the other's
    tx.rows("SELECT id FROM providers WHERE tenant_id = :tenant_id AND id = :id FOR UPDATE", tenant_id=tenant_id, id=provider_id)
    before = _of_name(tx, tenant_id, provider_id, piece.name)
    same = next((kept for kept in before if kept.sequence == piece.sequence), None)
    stored_at = before[0].stored_at if before else None
    if same is not None and (same.charset, same.data) == (piece.charset, piece.data) and (stored_at is None or now - stored_at < AGAIN):
        return []
    texts: list[Whole] = []
    if same is not None or stored_at is not None:
        # another text, for senders count their references from 0 to 255 and begin anew
        if stored_at is None:
            texts.append(_joined(before))
        _drop(tx, tenant_id, provider_id, [piece.name])
        before = []
    _insert(tx, tenant_id, provider_id, source, piece, stored_at=None)
    if len(before) + 1 == piece.total:
        texts.append(_joined([*before, _kept(piece)]))
        tx.run(
            "UPDATE short_messages SET stored_at = :now WHERE tenant_id = :tenant_id AND provider_id = :provider_id AND name = :name",
            tenant_id=tenant_id,
            provider_id=provider_id,
            name=piece.name,
            now=now,
        )
    return texts


def forget(tx: Tx, tenant_id: int, provider_id: int, safe: Safe) -> None:
    """The SMSC knows that these texts are safe: the same words after this are another text."""
    tx.run(
        "DELETE FROM short_messages WHERE tenant_id = :tenant_id AND provider_id = :provider_id AND name IN :names[text] AND total = 1"
        " AND connection = :connection",
        tenant_id=tenant_id,
        provider_id=provider_id,
        names=list(safe.names),
        connection=safe.connection,
    )


def untidy(tx: Tx, *, now: int) -> list[tuple[int, int, str]]:
    """(tenant id, provider id, source) of whoever has something that lies here for too long. For whoever looks after all tenants."""
    return tx.rows("SELECT DISTINCT tenant_id, provider_id, source FROM short_messages WHERE at < :before ORDER BY 1, 2", before=now - WAIT)


def tidy(tx: Tx, tenant_id: int, provider_id: int, *, now: int) -> list[Whole]:
    """Forgets what will not be sent again: the texts of which parts never came, to be stored as far as they did in this transaction."""
    tx.rows("SELECT id FROM providers WHERE tenant_id = :tenant_id AND id = :id FOR UPDATE", tenant_id=tenant_id, id=provider_id)
    names = [
        row[0]
        for row in tx.rows(
            "SELECT name FROM short_messages WHERE tenant_id = :tenant_id AND provider_id = :provider_id"
            " GROUP BY name HAVING MAX(CASE WHEN stored_at IS NULL THEN at + :wait ELSE stored_at + :again END) < :now LIMIT :limit",
            tenant_id=tenant_id,
            provider_id=provider_id,
            wait=WAIT,
            again=AGAIN,
            now=now,
            limit=MOST,
        )
    ]
    overdue = [kept for name in names if (kept := _of_name(tx, tenant_id, provider_id, name)) and kept[0].stored_at is None]
    _drop(tx, tenant_id, provider_id, names)
    return [_joined(kept) for kept in overdue]


def _is_new(tx: Tx, tenant_id: int, provider_id: int, source: str, piece: Piece, *, now: int) -> bool:
    """Keeps a text of one piece; False for one that was stored under another connection, whose answer may have got lost there."""
    if _insert(tx, tenant_id, provider_id, source, piece, stored_at=now):
        return True
    row = tx.row(
        "SELECT connection, stored_at FROM short_messages WHERE tenant_id = :tenant_id AND provider_id = :provider_id AND name = :name FOR UPDATE",
        tenant_id=tenant_id,
        provider_id=provider_id,
        name=piece.name,
    )
    is_new = row is None or row[0] == piece.connection or row[1] <= now - AGAIN
    tx.run(
        "UPDATE short_messages SET connection = :connection, stored_at = CASE WHEN :is_new = 1 THEN :now ELSE stored_at END"
        " WHERE tenant_id = :tenant_id AND provider_id = :provider_id AND name = :name",
        tenant_id=tenant_id,
        provider_id=provider_id,
        name=piece.name,
        connection=piece.connection,
        is_new=int(is_new),
        now=now,
    )
    return is_new


def _insert(tx: Tx, tenant_id: int, provider_id: int, source: str, piece: Piece, *, stored_at: int | None) -> int:
    return tx.run(
        "INSERT INTO short_messages (tenant_id, provider_id, source, name, sequence, total, sender, recipient, charset, data, connection, at, stored_at)"
        " VALUES (:tenant_id, :provider_id, :source, :name, :sequence, :total, :sender, :recipient, :charset, :data, :connection, :at, :stored_at)"
        " ON CONFLICT (tenant_id, provider_id, name, sequence) DO NOTHING",
        tenant_id=tenant_id,
        provider_id=provider_id,
        source=source,
        name=piece.name,
        sequence=piece.sequence,
        total=piece.total,
        sender=piece.sender,
        recipient=piece.recipient,
        charset=piece.charset,
        # a whole text is known by its name
        data=piece.data if piece.total > 1 else b"",
        connection=piece.connection,
        at=piece.at,
        stored_at=stored_at,
    )


def _of_name(tx: Tx, tenant_id: int, provider_id: int, name: str) -> list[Kept]:
    return tx.all(
        Kept,
        "SELECT name, sequence, total, sender, recipient, charset, data, connection, at, stored_at FROM short_messages"
        " WHERE tenant_id = :tenant_id AND provider_id = :provider_id AND name = :name ORDER BY sequence",
        tenant_id=tenant_id,
        provider_id=provider_id,
        name=name,
    )


def _drop(tx: Tx, tenant_id: int, provider_id: int, names: Sequence[str]) -> None:
    tx.run(
        "DELETE FROM short_messages WHERE tenant_id = :tenant_id AND provider_id = :provider_id AND name IN :names[text]",
        tenant_id=tenant_id,
        provider_id=provider_id,
        names=list(names),
    )


def _kept(piece: Piece) -> Kept:
    fields = (piece.name, piece.sequence, piece.total, piece.sender, piece.recipient, piece.charset, piece.data, piece.connection, piece.at)
    return Kept(*fields, None)


def _joined(kept: Sequence[Kept]) -> Whole:
    first = kept[0]
    text = pieces.joined({one.sequence: (one.charset, one.data) for one in kept}, first.total)
    return Whole(first.sender, first.recipient, text, min(one.at for one in kept))
