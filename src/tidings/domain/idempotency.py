"""Requests that may be repeated: which key stood for which request, and the answer it got. What a request and an answer are is the API's matter."""

from typing import Final

import msgspec

from tidings.clock import DAY
from tidings.database import Tx

KEPT: Final = DAY
"""Milliseconds after which a key is free again."""


class Kept(msgspec.Struct, frozen=True):
    """The answer to a request: `request` is the digest of what was asked, `answer` the sealed body ("" while it is being made)."""

    request: str
    status: int
    answer: str


def find(tx: Tx, tenant_id: int, key: str, *, now: int) -> Kept | None:
    """What the key stands for, or None when it is free."""
    return tx.one(
        Kept,
        "SELECT request, status, answer FROM idempotency_keys WHERE tenant_id = :tenant_id AND key = :key AND created_at > :since",
        tenant_id=tenant_id,
        key=key,
        since=now - KEPT,
    )


def claim(tx: Tx, tenant_id: int, key: str, request: str, *, now: int) -> Kept | None:
    """Takes the key for this request, until this transaction ends; None when it is the caller's now, else what it stands for already.

    Waits for another transaction that has the key at this moment: when that one is undone, the key is free again.
    """
    taken = tx.run(
        "INSERT INTO idempotency_keys (tenant_id, key, request, status, answer, created_at) VALUES (:tenant_id, :key, :request, 0, '', :now)"
        " ON CONFLICT (tenant_id, key) DO UPDATE SET request = :request, status = 0, answer = '', created_at = :now"
        " WHERE idempotency_keys.created_at <= :since",
        tenant_id=tenant_id,
        key=key,
        request=request,
        now=now,
        since=now - KEPT,
    )
    return None if taken else find(tx, tenant_id, key, now=now)


def keep(tx: Tx, tenant_id: int, key: str, status: int, answer: str) -> None:
    """The answer of the request that has claimed the key."""
    tx.run(
        "UPDATE idempotency_keys SET status = :status, answer = :answer WHERE tenant_id = :tenant_id AND key = :key",
        tenant_id=tenant_id,
        key=key,
        status=status,
        answer=answer,
    )


def forget(tx: Tx, *, now: int, limit: int = 5000) -> int:
    """Removes keys of every tenant that are free again, `limit` at most; answers how many."""
    return tx.run(
        "DELETE FROM idempotency_keys WHERE (tenant_id, key) IN (SELECT tenant_id, key FROM idempotency_keys"
        " WHERE tenant_id > 0 AND created_at <= :since ORDER BY created_at LIMIT :limit)",
        since=now - KEPT,
        limit=limit,
    )
