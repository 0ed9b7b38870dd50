"""Removing stored files that nothing refers to any more. The book of what is there, and the order that makes it safe, is `domain.attachments`'."""

import asyncio
import time

import structlog

from tidings import clock
from tidings.clock import Clock
from tidings.database import Database
from tidings.domain import attachments, tenants
from tidings.errors import Unavailable
from tidings.storage import Store

AT_ONCE = 500
"""Entries of the book that are looked at in one transaction."""
AT_HAND = 50
"""Blobs doomed together."""
DEADLINE = attachments.ABANDONED / clock.SECOND / 4
"""Seconds after dooming in which blobs may be dropped: past ABANDONED a sender may have stored them anew."""

log = structlog.get_logger("blobs")


async def sweep(db: Database, store: Store, now: Clock) -> int:
    """Goes once through every tenant's book and removes what nobody uses; answers how many. What cannot be removed now is left for the next time."""
    removed = 0
    for tenant in await db.read(tenants.all):
        after = ""
        while entries := await db.read(attachments.book, tenant.id, after=after, before=now() - attachments.KEPT, now=now(), limit=AT_ONCE):
            after = entries[-1].hash
            unused = [entry.hash for entry in entries if entry.unused]
            for start in range(0, len(unused), AT_HAND):
                removed += await _remove(db, store, tenant.id, unused[start : start + AT_HAND], now())
    if removed:
        log.info("stored files removed", count=removed)
    return removed


async def _remove(db: Database, store: Store, tenant_id: int, digests: list[str], at: int) -> int:
    until = time.monotonic() + DEADLINE
    removed = 0
    for digest in await db.write(attachments.doom, tenant_id, digests, before=at - attachments.KEPT, now=at):
        try:
            async with asyncio.timeout(until - time.monotonic()):
                await store.drop(tenant_id, digest)
        except (Unavailable, TimeoutError) as error:
            log.warning("stored file not removed", tenant=tenant_id, file=digest[:12], reason=str(error))
            continue
        await db.write(attachments.forget, tenant_id, digest, doomed_at=at)
        removed += 1
    return removed
