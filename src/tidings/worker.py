"""Every loop that makes things happen later, in one task group: dispatch, plan, jobs, sweep. What each does lives in its room."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import structlog

from tidings import clock
from tidings.analytics import indexing, marking
from tidings.api.wire import House
from tidings.delivery import blobs, dispatch, imports, listening, mailing, planner, rest
from tidings.delivery.dispatch import Dispatcher
from tidings.delivery.keeping import Keeper
from tidings.delivery.planner import Planner
from tidings.domain import activity, communications, counters, endpoints, heard, idempotency, inboxes, jobs
from tidings.domain.jobs import Job
from tidings.errors import Conflict, Unavailable
from tidings.inbound import listener
from tidings.inbound.listener import Listener
from tidings.inbound.poll import Poller
from tidings.inbound.receive import Desk
from tidings.providers.registry import Registry
from tidings.webhooks.post import Courier, Poster
from tidings.webhooks.wire import Caller

JOBS = 1.0
REFRESH = 2.0
INDEX = 2.0
FORGET = 3600.0
SETTLE = 60.0
JOB_LEASE = 60 * clock.SECOND
RESTART = 1.0
"""Seconds before a loop that fell over is begun again."""

log = structlog.get_logger("worker")

Loop = Callable[[asyncio.Event], Awaitable[None]]


class Door(NamedTuple):
    """Where mail comes in: a URL to listen on ("" for none), the `name` we go by there, and whether its being taken is an error."""

    url: str = ""
    name: str = "localhost"
    insists: bool = True


NO_DOOR = Door()


async def work(
    house: House, registry: Registry, *, stop: asyncio.Event, embedded: bool, lease: int = dispatch.LEASE, door: Door = NO_DOOR
) -> None:
    """Works for a house until `stop` is set. `embedded`: this is the only process on its store. `lease` in milliseconds.

    Raises Unavailable when the door insists on a place that is taken.
    """
    await Worker(house, registry, alone=embedded, lease=lease, door=door).run(stop)


class Worker:
    """One process' share of the work. `alone` tells that no other worker can be alive on this store."""

    def __init__(self, house: House, registry: Registry, *, alone: bool, lease: int, door: Door = NO_DOOR) -> None:
        self._db, self._now, self._store, self._data_folder = house.db, house.clock, house.store, house.data_folder
        self._alone, self._lease = alone, lease
        self._dispatcher = Dispatcher(house.db, house.composer, registry, house.store, house.clock, lease)
        self._planner = Planner(house.db, house.clock)
        self._keeper = Keeper(house.db, house.clock)
        desk = Desk(house.db, house.store, house.signer, house.clock)
        self._carriers = partial(listening.listen, desk, registry)
        self._poller = Poller(desk, house.vault)
        self._courier = Courier(house.vault, house.signer, house.clock, Caller(allow_private=house.allow_private))
        self._poster = Poster(house.db, self._courier, house.clock)
        self._listener = Listener(desk, listener.place(door.url), name=door.name, insists=door.insists) if door.url else None

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set, then finishes or gives back what is in flight."""
        if self._alone:
            await self._sweep_all(dead=True)
            await self._db.write(inboxes.give_up_leases, now=self._now())
            await self._db.write(endpoints.give_up_leases)
        loops: dict[str, Loop] = {
            "dispatch": self._dispatcher.run,
            "plan": self._planner.run,
            "jobs": self._jobs,
            "sweep": self._sweep,
            "refresh": self._refresh,
            "maintain": self._maintain,
            "settle": self._settle,
            "index": self._index,
            "mark": partial(marking.run, self._db, self._now),
            "forget": self._forget,
            "keep": self._keeper.run,
            "poll": self._poller.run,
            "post": self._poster.run,
            "carriers": self._carriers,
        }
        if self._listener is not None:
            await self._listener.open()
            loops["listen"] = self._listener.run
        try:
            async with asyncio.TaskGroup() as group:
                for name, loop in loops.items():
                    group.create_task(_keep(name, loop, stop), name=name)
        finally:
            await self._courier.close()

    async def _jobs(self, stop: asyncio.Event) -> None:
        bell = self._db.bell("jobs")
        try:
            while not stop.is_set():
                bell.clear()
                job = await self._db.write(jobs.claim, now=self._now(), lease_ms=JOB_LEASE)
                if job is None:
                    await clock.first(JOBS, stop, bell)
                    continue
                log.info("job begun", job=job.id, kind=job.kind, tenant=job.tenant_id)
                try:
                    await self._do(job, stop)
                except Conflict as error:
                    log.warning("job taken over", job=job.id, reason=error.message)
        finally:
            self._db.drop_bell("jobs", bell)

    async def _do(self, job: Job, stop: asyncio.Event) -> None:
        match job.kind:
            case "enroll":
                await planner.run_enroll(self._db, self._now, job, stop)
            case "import":
                await imports.run_import(self._db, self._now, self._data_folder, job, stop)
            case "mailing":
                await mailing.run_mailing(self._db, self._now, job, stop)
            case "rest":
                await rest.run_rest(self._db, self._now, job, stop)
            case other:
                await self._db.write(jobs.fail, job, f"No worker knows jobs of kind {other}.", now=self._now())

    async def _sweep(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._sweep_all(dead=False)
            await clock.first(self._lease / clock.SECOND / 10, stop)

    async def _sweep_all(self, *, dead: bool) -> None:
        """Makes due again, as unknown, what a dead worker held."""
        for queue in await self._db.read(communications.queues):
            left = await self._db.write(communications.sweep, queue, now=self._now(), dead=dead)
            if left:
                log.warning("messages of a dead worker marked unknown", tenant=queue.tenant_id, channel=queue.channel, count=left)

    async def _refresh(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._db.refresh()
            await clock.first(REFRESH, stop)

    async def _index(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            begun = time.monotonic()
            while not stop.is_set() and await self._db.read(indexing.behind):
                await self._db.write(indexing.catch_up)
                # it takes a quarter of the writer's time at most: whoever sends does not wait for whoever may search
                await clock.first(3 * (time.monotonic() - begun), stop)
                begun = time.monotonic()
            await clock.first(INDEX, stop)

    async def _maintain(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._db.maintain(self._now())
            await blobs.sweep(self._db, self._store, self._now)
            await clock.first(24 * 3600.0, stop)

    async def _settle(self, stop: asyncio.Event) -> None:
        """Sums up the counts of the hours that are over."""
        while not stop.is_set():
            for settle in (counters.settle, activity.settle):
                while await self._db.write(settle, before=counters.hour_of(self._now())) and not stop.is_set():
                    pass
            await clock.first(SETTLE, stop)

    async def _forget(self, stop: asyncio.Event) -> None:
        """Removes what was kept for what might be repeated (requests, events of carriers, deliveries), once it is old enough."""
        while not stop.is_set():
            while await self._db.write(idempotency.forget, now=self._now()):
                pass
            while await self._db.write(heard.forget, now=self._now()):
                pass
            while await self._db.write(endpoints.forget_old, now=self._now()):
                pass
            await clock.first(FORGET, stop)


async def _keep(name: str, loop: Loop, stop: asyncio.Event) -> None:
    """Runs a loop until `stop`; one that falls over is begun again, for the others go on in the same house."""
    while not stop.is_set():
        try:
            await loop(stop)
        except Unavailable as error:
            log.warning("database away", loop=name, reason=error.message)
            await clock.first(RESTART, stop)
        except Exception:
            log.exception("loop fell over", loop=name)
            await clock.first(RESTART, stop)
