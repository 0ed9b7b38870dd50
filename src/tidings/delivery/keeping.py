"""Removing what a tenant no longer wants to keep, a little at a time and out of everybody's way. What goes, and what stays, says the domain."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from tidings import clock
from tidings.clock import Clock
from tidings.database import Database
from tidings.domain import audit, keeping
from tidings.domain.keeping import Turn

STEP = 500
"""Communications that are looked at in one transaction: a few dozen milliseconds, in which nothing else is written on SQLite."""
POLL = 60.0
"""Seconds after which it is asked again whose turn it is, when nobody rings."""
IDLE = 3
"""How much longer than each step the pause after it is: it takes a quarter of the writer's time at most."""

log = structlog.get_logger("keeping")

Step = Callable[[], Awaitable[int]]


class Removed(msgspec.Struct, frozen=True):
    """What a tenant's turn came to: communications that say nothing any more, contents without words, interactions, received messages, entries
    of the audit; and the months whose room was given back.
    """

    bodies: int = 0
    contents: int = 0
    interactions: int = 0
    inbound: int = 0
    audit: int = 0
    months: tuple[str, ...] = ()


class Keeper:
    """Takes tenants in turn. Any number of processes may run one: a turn is one worker's."""

    def __init__(self, db: Database, now: Clock, *, idle: float = IDLE) -> None:
        self._db, self._now, self._idle = db, now, idle
        self._stop = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop`."""
        self._stop = stop
        bell = self._db.bell("keeping")
        try:
            while not stop.is_set():
                bell.clear()
                if await self.turn() is None:
                    await clock.first(POLL, bell, stop)
        finally:
            self._db.drop_bell("keeping", bell)

    async def turn(self) -> Removed | None:
        """Does all there is to do for one tenant; None when it is nobody's turn."""
        begun = self._now()
        turn = await self._db.write(keeping.claim, now=begun)
        if turn is None:
            return None
        removed = Removed(
            bodies=await self._bodies(turn, begun),
            contents=await self._until_done(lambda: self._db.write(keeping.blank, turn.tenant_id, now=self._now(), limit=STEP)),
            interactions=await self._interactions(turn, begun),
            inbound=await self._inbound(turn, begun),
            audit=await self._audit(turn, begun),
            months=await self._months(turn, begun),
        )
        if not self._stop.is_set():
            await self._db.write(keeping.finish, turn.tenant_id, begun=begun, now=self._now())
        if removed != Removed():
            log.info("old rows removed", tenant=turn.tenant_id, **msgspec.structs.asdict(removed))
        return removed

    async def _bodies(self, turn: Turn, begun: int) -> int:
        before = turn.before(turn.bodies, begun)
        if before is None:
            return 0
        removed = 0
        for which in (keeping.spent, keeping.unsent):
            place = (turn.bodies_to - keeping.SLACK, 0)
            while found := await self._db.read(which, turn.tenant_id, before=before, after=place, limit=STEP):
                place, ids = found[-1], [identity for _, identity in found]
                removed += await self._at_leisure(lambda ids=ids: self._db.write(keeping.empty, turn.tenant_id, ids, now=begun))
                if self._stop.is_set():
                    return removed
        if before > turn.bodies_to:
            await self._db.write(keeping.settled_bodies, turn.tenant_id, to=before)
        if removed:
            # the words of contents go when nobody under way can have found them
            await self._db.write(keeping.soon, turn.tenant_id, at=begun + 2 * keeping.GRACE)
        return removed

    async def _interactions(self, turn: Turn, begun: int) -> int:
        before = turn.before(turn.interactions, begun)
        if before is None:
            return 0
        removed = after = 0
        while ids := await self._db.read(keeping.old, turn.tenant_id, before=before, after=after, limit=STEP):
            after = ids[-1]
            removed += await self._at_leisure(lambda ids=ids: self._db.write(keeping.drop, turn.tenant_id, ids, before=before))
            if self._stop.is_set():
                break
        return removed

    async def _inbound(self, turn: Turn, begun: int) -> int:
        before = turn.before(turn.inbound, begun)
        if before is None:
            return 0
        removed = 0
        while ids := await self._db.read(keeping.received, turn.tenant_id, before=before, limit=STEP):
            removed += await self._at_leisure(lambda ids=ids: self._db.write(keeping.remove_inbound, turn.tenant_id, ids, before=before))
            if self._stop.is_set():
                break
        return removed

    async def _audit(self, turn: Turn, begun: int) -> int:
        before = turn.before(turn.audit, begun)
        if before is None:
            return 0
        return await self._until_done(lambda: self._db.write(audit.forget, turn.tenant_id, before=before, limit=STEP))

    async def _months(self, turn: Turn, begun: int) -> tuple[str, ...]:
        before = turn.before(turn.interactions, begun)
        return () if before is None else tuple(await self._db.drop_months(before))

    async def _until_done(self, step: Step) -> int:
        done = 0
        while not self._stop.is_set() and (more := await self._at_leisure(step)):
            done += more
        return done

    async def _at_leisure(self, step: Step) -> int:
        begun = time.monotonic()
        done = await step()
        await clock.first(self._idle * (time.monotonic() - begun), self._stop)
        return done
