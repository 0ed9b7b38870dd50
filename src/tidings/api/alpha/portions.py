"""How many records are in memory together in an answer of any length: as many as their texts allow. What the records are is in `records`."""

from collections.abc import Sequence

from tidings.database import Database, Tx

BYTES_AT_ONCE = 4 << 20
"""Bytes of texts that are read together for an answer; a single record may have more."""


async def portions(db: Database, tenant_id: int, ids: Sequence[int]) -> list[list[int]]:
    """The ids in their order, parted so that the texts of each portion are BYTES_AT_ONCE at most, or those of one record."""
    sizes = await db.read(_sizes, tenant_id, ids) if len(ids) > 1 else {}
    found: list[list[int]] = [[]]
    held = 0
    for identity in ids:
        size = sizes.get(identity, 0)
        if found[-1] and held + size > BYTES_AT_ONCE:
            found.append([])
            held = 0
        found[-1].append(identity)
        held += size
    return found


def _sizes(tx: Tx, tenant_id: int, ids: Sequence[int]) -> dict[int, int]:
    # PostgreSQL knows how long a text is without reading it
    return dict(
        tx.rows(
            "SELECT c.id, octet_length(t.source) + octet_length(t.html) + octet_length(t.text) FROM communications c"
            " JOIN contents t ON t.tenant_id = c.tenant_id AND t.id = c.content_id WHERE c.tenant_id = :tenant_id AND c.id IN :ids[bigint]",
            tenant_id=tenant_id,
            ids=list(ids),
        )
    )
