"""Posting what is due: endpoints are held one by one, each served by a task of its own, so that none waits for another."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator

import structlog

from tidings import clock
from tidings.clock import MINUTE, SECOND, Clock
from tidings.database import Database
from tidings.domain import endpoints
from tidings.domain.endpoints import Delivery, Due, Endpoint
from tidings.errors import Invalid, Unavailable
from tidings.signing import Signer, Vault
from tidings.webhooks import rules
from tidings.webhooks.payload import compose
from tidings.webhooks.rules import Answer, Result
from tidings.webhooks.wire import Caller

POLL = 1.0
"""Seconds until what is due is looked for unasked: a retry is no later than this."""
SOUND = 150
"""Endpoints a process serves at a time."""
FAILING = 50
"""And how many of those that took nothing the last time: however many are dead, there is room for those that live."""
SHARE = 50
"""Endpoints of one tenant that are taken on at a time, and of how many on none of its further ones is: however slow, it leaves room."""
AT_ONCE = 8
"""Requests that an endpoint gets at a time."""
BATCH = 100
STREAK = 3
"""Failures in a row after which a round asks no more of an endpoint."""
ROUND = 15.0
"""Seconds after which a round makes no further requests; those under way have their own deadline."""
TURN = 10.0
"""Seconds after which an endpoint that always has more due gets in line again."""
LEASE = 60 * SECOND
"""Outlives a round with the slowest of answers (37 s), and its settling; so long nobody else takes on what a killed worker held."""
FELL = 10 * MINUTE
"""How long an endpoint is left alone when we fell over it ourselves."""
GRACE = 25.0
"""Seconds a stopping worker gives what is under way."""

log = structlog.get_logger("webhooks")


class Courier:
    """Puts a delivery into words and posts it."""

    def __init__(self, vault: Vault, signer: Signer, now: Clock, caller: Caller) -> None:
        self._vault, self._signer, self._now, self._caller = vault, signer, now, caller

    async def carry(self, endpoint: Endpoint, due: Due) -> Result:
        """One attempt, and whatever came of it."""
        at = self._now()
        try:
            posting = compose(endpoint, due, self._signer, self._vault, now=at)
        except Invalid as error:
            return Result(due, at, Answer(None, error.message, 0))
        return Result(due, at, await self._caller.call(posting))

    async def test(self, db: Database, endpoint: Endpoint) -> Delivery:
        """Posts a test at once, whether the endpoint is on or off, and tells what came back; it is not tried again."""
        delivery_id = await db.write(endpoints.lay_test, endpoint, now=self._now())
        due = await db.read(endpoints.one, endpoint.tenant_id, delivery_id)
        if due is not None:
            result = await self.carry(endpoint, due)
            await db.write(endpoints.settle_test, endpoint, rules.tested(result), now=self._now())
        return await db.read(endpoints.delivery, endpoint.tenant_id, endpoint.id, delivery_id)

    async def close(self) -> None:
        """Ends what is under way."""
        await self._caller.close()


class Poster:
    """The endpoints of every tenant, as far as this process gets hold of them. `chance` makes random numbers from 0 to 1."""

    def __init__(self, db: Database, courier: Courier, now: Clock, *, chance: Callable[[], float] = random.random) -> None:
        self._db, self._courier, self._now, self._chance = db, courier, now, chance
        self._held: dict[asyncio.Task[None], Endpoint] = {}
        self._ended = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Posts until `stop` is set, then lets what is under way end and gives every endpoint back."""
        bell = self._db.bell(endpoints.BELL)
        try:
            while not stop.is_set():
                bell.clear()
                await self._settle()
                await self.give_up()
                while not stop.is_set() and await self._claim(stop):
                    pass
                await clock.first(POLL, stop, bell, self._ended)
            if self._held:
                await asyncio.wait(self._held, timeout=GRACE)
        finally:
            self._db.drop_bell(endpoints.BELL, bell)
            for task in self._held:
                task.cancel()
        await asyncio.gather(*self._held, return_exceptions=True)
        await self._settle()

    async def give_up(self) -> None:
        """Lets fail a portion of what is left waiting for endpoints that are off: no more, for others wait for the store as well."""
        if await self._db.read(endpoints.is_any_left):
            await self._db.write(endpoints.give_up, now=self._now())

    async def turn(self) -> None:
        """Serves whatever is due now, until nothing is: the loop's work without the loop."""
        stop = asyncio.Event()
        while await self._claim(stop):
            await asyncio.wait(self._held)
            await self._settle()

    async def _claim(self, stop: asyncio.Event) -> int:
        """Takes on endpoints with something due; answers how many."""
        dead = sum(endpoint.failures > 0 for endpoint in self._held.values())
        sound, failing = SOUND - (len(self._held) - dead), FAILING - dead
        now = self._now()
        if (sound <= 0 and failing <= 0) or not await self._db.read(endpoints.is_any_due, now=now):
            return 0
        held = Counter(endpoint.tenant_id for endpoint in self._held.values())
        full = [tenant_id for tenant_id, many in held.items() if many >= SHARE]
        sound = min(sound, SHARE)
        claimed = await self._db.write(endpoints.claim, now=now, until=now + LEASE, sound=sound, failing=failing, full=full)
        for endpoint in claimed:
            task = asyncio.create_task(self._serve(endpoint, stop), name=f"webhook {endpoint.id}")
            task.add_done_callback(lambda _: self._ended.set())
            self._held[task] = endpoint
        return len(claimed)

    async def _settle(self) -> None:
        """Lets go of what has ended. One we fell over is left alone for a while, and the log says why."""
        self._ended.clear()
        for task in [task for task in self._held if task.done()]:
            endpoint = self._held[task]
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            rest = None
            if isinstance(error, Unavailable):
                log.warning("webhook let go of", endpoint=endpoint.id, tenant=endpoint.tenant_id, reason=error.message)
            elif error is not None and not task.cancelled():
                log.error("fell over a webhook", endpoint=endpoint.id, tenant=endpoint.tenant_id, exc_info=error)
                rest = self._now() + FELL
            await self._db.write(endpoints.release, endpoint, rest_until=rest)
            del self._held[task]

    async def _serve(self, endpoint: Endpoint, stop: asyncio.Event) -> None:
        """Posts what is due for an endpoint, round by round, while it takes what it gets."""
        until = time.monotonic() + TURN
        held: Endpoint | None = endpoint
        while held is not None:
            # one that failed is asked with a single request whether it is back
            limit = 1 if held.failures else BATCH
            dues = await self._db.read(endpoints.take, held, now=self._now(), limit=limit)
            if not dues:
                await self._db.write(endpoints.put_off, held, now=self._now())
                return
            held = await self._round(held, dues, stop)
            if stop.is_set() or time.monotonic() > until or (held is not None and (held.rest_until or 0) > self._now()):
                return

    async def _round(self, endpoint: Endpoint, dues: list[Due], stop: asyncio.Event) -> Endpoint | None:
        """Posts some and settles them; the endpoint as it is then, None when it is not ours any more."""
        passed = [rules.passed_by(due) for due in dues if due.gone]
        going = _Round(endpoint, [due for due in dues if not due.gone], stop)
        await going.go(self._courier)
        now = self._now()
        outcomes = passed + [rules.settled(result, now=now, jitter=self._chance()) for result in going.results]
        health = rules.health(endpoint, [result.answer for result in going.results], now=now)
        held = await self._db.write(endpoints.settle, endpoint, outcomes, health, now=now, until=now + LEASE)
        if health.why is not None:
            log.warning("webhook switched off", endpoint=endpoint.id, tenant=endpoint.tenant_id, reason=health.why)
        elif health.failures:
            log.info("webhook takes nothing", endpoint=endpoint.id, tenant=endpoint.tenant_id, rounds=health.failures, reason=health.error)
        return held


class _Round:
    """Some requests to one endpoint, a few at a time. Of each communication there is one among them, so their order is free."""

    def __init__(self, endpoint: Endpoint, dues: list[Due], stop: asyncio.Event) -> None:
        self._endpoint, self._stop = endpoint, stop
        self._waiting: Iterator[Due] = iter(dues)
        self._lanes = min(len(dues), AT_ONCE)
        self._until = time.monotonic() + ROUND
        self._streak = 0
        self.results: list[Result] = []

    async def go(self, courier: Courier) -> None:
        """Makes them all, or as many as make sense."""
        async with asyncio.TaskGroup() as lanes:
            for _ in range(self._lanes):
                lanes.create_task(self._lane(courier))

    async def _lane(self, courier: Courier) -> None:
        for due in self._waiting:
            result = await courier.carry(self._endpoint, due)
            self.results.append(result)
            self._streak = 0 if result.answer.taken else self._streak + 1
            if self._stop.is_set() or time.monotonic() > self._until or self._streak >= STREAK:
                return
