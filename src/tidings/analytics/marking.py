"""Laying the marks that long reports are paged by: for what readers asked for, and every hour for what was sent by the thousands."""

import asyncio
import time

from tidings import clock
from tidings.clock import Clock
from tidings.database import Database, Tx
from tidings.domain import marks, tenants

ROUND = 3600.0
"""Seconds between two looks for what is large; a reader's wish is heard at once."""
RECENT = 8 * clock.DAY
"""What was sent within so long is looked at every round; at the start of a worker all there is."""


async def run(db: Database, now: Clock, stop: asyncio.Event) -> None:
    """Lays marks until `stop` is set. It takes a quarter of the time at most: whoever sends does not wait for whoever may read."""
    bell, since = db.bell("marks"), 0
    try:
        while not stop.is_set():
            await db.write(_look, since, now=now())
            since = max(now() - RECENT, 0)
            await _until(db, now, stop, bell, time.monotonic() + ROUND)
    finally:
        db.drop_bell("marks", bell)


async def _until(db: Database, now: Clock, stop: asyncio.Event, bell: asyncio.Event, end: float) -> None:
    """Lays what is wanted until then, and whatever will be."""
    while not stop.is_set() and (left := end - time.monotonic()) > 0:
        bell.clear()
        series = await db.read(marks.wanted)
        if series is None:
            await clock.first(left, stop, bell)
            continue
        begun = time.monotonic()
        await db.write(marks.lay, series, now=now())
        await clock.first(3 * (time.monotonic() - begun), stop)


def _look(tx: Tx, since: int, *, now: int) -> None:
    for tenant in tenants.all(tx):
        marks.want_large(tx, tenant.id, since=since, now=now)
