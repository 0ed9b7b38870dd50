"""Files that travel with messages, and the book of the blobs they are stored as: each once for a tenant, for as long as anything refers to it.

Bytes live in a `storage.Store`. The order keeps nothing accepted without its file: a blob is touched (committed), then put, then referred to;
and it is doomed (committed), then dropped from the store, then forgotten. Whoever wants one that is doomed waits until it is forgotten.
"""

import asyncio
from collections.abc import Sequence
from typing import LiteralString

import msgspec

from tidings import clock
from tidings.clock import Clock
from tidings.database import Database, Tx
from tidings.errors import Unavailable
from tidings.storage import Store, sha256

LIMIT = 25 * 1024 * 1024
"""Bytes of all files of one message together, as they are stored."""
MOST = 100
"""Files of one message."""
KEPT = clock.DAY
"""How long a blob is kept that nothing refers to: whoever has touched it refers to it well before."""
ABANDONED = 10 * clock.MINUTE
"""After that whoever doomed a blob is dead: it stops dropping (see delivery.blobs) long before."""
PATIENCE = 10.0
"""Seconds a sender waits for a blob that is being removed."""


class File(msgspec.Struct, frozen=True):
    """A stored file on its way into a message: its bytes are in the store by `hash` (SHA-256), `size` is how many."""

    filename: str
    content_type: str
    size: int
    hash: str
    content_id: str | None = None


class Attachment(msgspec.Struct, frozen=True):
    """A file of a communication or of an inbound message (exactly one of the two). `content_id` has no angle brackets (RFC 2392)."""

    id: int
    communication_id: int | None
    inbound_id: int | None
    position: int
    filename: str
    content_type: str
    content_id: str | None
    size: int
    hash: str


_ATTACHMENT: LiteralString = (
    "SELECT id, communication_id, inbound_id, position, filename, content_type, content_id, size, hash FROM attachments"
    " WHERE tenant_id = :tenant_id"
)


async def keep(db: Database, store: Store, tenant_id: int, data: bytes, *, now: Clock) -> str:
    """Stores bytes and answers their hash; they are safe for KEPT, and then for as long as a row refers to them.

    The one coroutine of this room: it is what every sender and receiver of files has to do before its transaction, in this order.
    Raises Unavailable when the store cannot take them, or when the same bytes are being removed for longer than PATIENCE.
    """
    digest = await asyncio.to_thread(sha256, data)
    bell = db.bell("blobs")
    try:
        async with asyncio.timeout(PATIENCE):
            while not await db.write(touch, tenant_id, digest, len(data), now=now()):
                await clock.first(1.0, bell)
                bell.clear()
    except TimeoutError as error:
        raise Unavailable("A file with the same content is just being removed; send it again in a while") from error
    finally:
        db.drop_bell("blobs", bell)
    await store.put(tenant_id, digest, data)
    return digest


def touch(tx: Tx, tenant_id: int, digest: str, size: int, *, now: int) -> bool:
    """Notes that somebody is about to store these bytes and refer to them; False while they are being removed, so that it must wait."""
    return (
        tx.run(
            "INSERT INTO blobs (tenant_id, hash, size, touched_at) VALUES (:tenant_id, :hash, :size, :now)"
            " ON CONFLICT (tenant_id, hash) DO UPDATE SET touched_at = :now, doomed_at = NULL"
            " WHERE blobs.doomed_at IS NULL OR blobs.doomed_at <= :abandoned",
            tenant_id=tenant_id,
            hash=digest,
            size=size,
            abandoned=now - ABANDONED,
            now=now,
        )
        > 0
    )


def store(
    tx: Tx, tenant_id: int, files: Sequence[File], *, communication_id: int | None = None, inbound_id: int | None = None, now: int
) -> None:
    """Makes kept files the attachments of one message, in this order. Exactly one of the two ids names it."""
    tx.run(
        "INSERT INTO attachments (tenant_id, communication_id, inbound_id, position, filename, content_type, content_id, size, hash, created_at)"
        " SELECT CAST(:tenant_id AS bigint), CAST(:communication_id AS bigint), CAST(:inbound_id AS bigint), r.position, r.filename, r.content_type,"
        " r.content_id, r.size, r.hash, CAST(:now AS bigint)"
        " FROM :rows(position integer, filename text, content_type text, content_id text, size bigint, hash text) r",
        tenant_id=tenant_id,
        communication_id=communication_id,
        inbound_id=inbound_id,
        now=now,
        rows=[(position, file.filename, file.content_type, file.content_id, file.size, file.hash) for position, file in enumerate(files)],
    )


def several(tx: Tx, tenant_id: int, communication_ids: Sequence[int]) -> dict[int, list[Attachment]]:
    """The files of each of these communications, in their order; those without any are left out."""
    found = tx.all(
        Attachment,
        _ATTACHMENT + " AND communication_id IN :ids[bigint] ORDER BY communication_id, position",
        tenant_id=tenant_id,
        ids=list(communication_ids),
    )
    return _grouped([(attachment.communication_id, attachment) for attachment in found])


def of_inbound(tx: Tx, tenant_id: int, inbound_ids: Sequence[int]) -> dict[int, list[Attachment]]:
    """The files of each of these inbound messages, in their order; those without any are left out."""
    found = tx.all(
        Attachment,
        _ATTACHMENT + " AND inbound_id IN :ids[bigint] ORDER BY inbound_id, position",
        tenant_id=tenant_id,
        ids=list(inbound_ids),
    )
    return _grouped([(attachment.inbound_id, attachment) for attachment in found])


def remove(tx: Tx, tenant_id: int, communication_ids: Sequence[int]) -> None:
    """Takes the files off communications that are being deleted; the sweep finds what nothing refers to any more."""
    tx.run(
        "DELETE FROM attachments WHERE tenant_id = :tenant_id AND communication_id IN :ids[bigint]",
        tenant_id=tenant_id,
        ids=list(communication_ids),
    )


class Blob(msgspec.Struct, frozen=True):
    """One entry of the book. `unused` is 1 when nothing refers to it and it may be doomed."""

    hash: str
    unused: int


def book(tx: Tx, tenant_id: int, *, after: str, before: int, now: int, limit: int) -> list[Blob]:
    """The next entries behind the hash `after`, in order of their hashes, used or not. `before` is how long ago the last touch must be."""
    return tx.all(
        Blob,
        "SELECT b.hash, CASE WHEN b.touched_at < :before AND (b.doomed_at IS NULL OR b.doomed_at <= :abandoned)"
        " AND NOT EXISTS (SELECT 1 FROM attachments a WHERE a.tenant_id = b.tenant_id AND a.hash = b.hash)"
        " AND NOT EXISTS (SELECT 1 FROM inbound_messages i WHERE i.tenant_id = b.tenant_id AND i.raw_hash = b.hash) THEN 1 ELSE 0 END"
        " FROM blobs b WHERE b.tenant_id = :tenant_id AND b.hash > :after ORDER BY b.hash LIMIT :limit",
        tenant_id=tenant_id,
        after=after,
        before=before,
        abandoned=now - ABANDONED,
        limit=limit,
    )


def doom(tx: Tx, tenant_id: int, digests: Sequence[str], *, before: int, now: int) -> list[str]:
    """Dooms those of the blobs that still nobody uses and nobody has touched since `before`; whoever touches one now has to wait."""
    rows = tx.rows(
        "UPDATE blobs SET doomed_at = :now WHERE tenant_id = :tenant_id AND hash IN :hashes[text] AND touched_at < :before"
        " AND (doomed_at IS NULL OR doomed_at <= :abandoned)"
        " AND NOT EXISTS (SELECT 1 FROM attachments a WHERE a.tenant_id = blobs.tenant_id AND a.hash = blobs.hash)"
        " AND NOT EXISTS (SELECT 1 FROM inbound_messages i WHERE i.tenant_id = blobs.tenant_id AND i.raw_hash = blobs.hash)"
        " RETURNING hash",
        tenant_id=tenant_id,
        hashes=list(digests),
        before=before,
        abandoned=now - ABANDONED,
        now=now,
    )
    return [row[0] for row in rows]


def forget(tx: Tx, tenant_id: int, digest: str, *, doomed_at: int) -> None:
    """Strikes a blob off the book that has been dropped from the store, if it is still the same doom."""
    tx.run(
        "DELETE FROM blobs WHERE tenant_id = :tenant_id AND hash = :hash AND doomed_at = :doomed_at",
        tenant_id=tenant_id,
        hash=digest,
        doomed_at=doomed_at,
    )
    tx.notify("blobs")


def _grouped(found: Sequence[tuple[int | None, Attachment]]) -> dict[int, list[Attachment]]:
    grouped: dict[int, list[Attachment]] = {}
    for owner, attachment in found:
        assert owner is not None
        grouped.setdefault(owner, []).append(attachment)
    return grouped
