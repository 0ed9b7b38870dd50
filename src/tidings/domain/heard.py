"""Which events of a carrier have been taken already, so that one told twice counts once. What they say is not kept here."""

import hashlib
from collections.abc import Iterable
from typing import Final

from tidings.clock import DAY
from tidings.database import Tx
from tidings.errors import Unauthorized

KEPT: Final = 30 * DAY
"""Milliseconds for which an event is remembered: no carrier repeats one for longer than a few days."""


def fresh(tx: Tx, tenant_id: int, source: str, ids: Iterable[str], *, now: int) -> set[str]:
    """Takes note of these events of a carrier (`source` is its kind); those of them that had not been heard before."""
    digests = {_digest(name): name for name in ids}
    if not digests:
        return set()
    rows = tx.rows(
        "INSERT INTO heard (tenant_id, source, id, at) SELECT CAST(:tenant_id AS bigint), CAST(:source AS text), r_id, CAST(:now AS bigint)"
        " FROM :rows(r_id text) r WHERE true"
        " ON CONFLICT (tenant_id, source, id) DO NOTHING RETURNING id",
        tenant_id=tenant_id,
        source=source,
        now=now,
        # in one order for everybody: two posts with the same events never wait for each other in a circle
        rows=[(digest,) for digest in sorted(digests)],
    )
    return {digests[row[0]] for row in rows}


def once(tx: Tx, tenant_id: int, source: str, token: str, said: str, *, now: int) -> None:
    """Takes note that `said` came under a word that is signed for one use. Raises Unauthorized when something else came under it before."""
    digest = _digest(f"token {token}")
    tx.run(
        "INSERT INTO heard (tenant_id, source, id, said, at) VALUES (:tenant_id, :source, :digest, :said, :now)"
        " ON CONFLICT (tenant_id, source, id) DO NOTHING",
        tenant_id=tenant_id,
        source=source,
        digest=digest,
        said=said,
        now=now,
    )
    known: str | None = tx.value(
        "SELECT said FROM heard WHERE tenant_id = :tenant_id AND source = :source AND id = :digest",
        tenant_id=tenant_id,
        source=source,
        digest=digest,
    )
    if known != said:
        raise Unauthorized("The signature was used before, for something else")


def forget(tx: Tx, *, now: int, limit: int = 5000) -> int:
    """Removes what is older than KEPT, of every tenant, `limit` at most; answers how many."""
    return tx.run(
        "DELETE FROM heard WHERE (tenant_id, source, id) IN (SELECT tenant_id, source, id FROM heard"
        " WHERE tenant_id > 0 AND at <= :since ORDER BY at LIMIT :limit)",
        since=now - KEPT,
        limit=limit,
    )


def _digest(name: str) -> str:
    """Names of any length, in 32 characters."""
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:32]
