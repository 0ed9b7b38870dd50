"""The walk of due messages: claim → compose → send → settle, in batches, several under way at once. What each step means lives in its room."""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

import msgspec
import structlog

from tidings import clock
from tidings.clock import Clock
from tidings.database import Database, Tx
from tidings.delivery import retry
from tidings.delivery.limits import Line
from tidings.domain import carriers, communications, enrollments, templates, tenants
from tidings.domain.carriers import Carrier
from tidings.domain.communications import Due, Queue, Settled
from tidings.domain.templates import Content
from tidings.errors import Invalid, NotFound, Unavailable
from tidings.message.outgoing import Outcome, Sealed, deferred, refused, unknown
from tidings.providers.base import Provider
from tidings.rendering.compose import Composer

BATCH = 500
LEASE = 60 * clock.SECOND
RENEWALS = 4
"""How often what is being sent is renewed within a lease: it outlives three missed renewals."""
POLL = 0.5
"""Seconds until the queues are looked at unasked: a scheduled message is no later than this."""
FLUSH = 0.25
"""Seconds after which outcomes are settled though the batch goes on."""
GRACE = 20.0
"""Seconds that a stopping worker gives its provider to finish."""

log = structlog.get_logger("dispatch")


class Registry(Protocol):
    """Where the provider of a carrier is had (see `providers.registry`)."""

    async def get(self, carrier: Carrier) -> Provider: ...


class Taken(msgspec.Struct, frozen=True):
    """A claimed batch of one tenant: what carries it, the messages, and the contents not seen before."""

    carrier: Carrier
    hold_unknown: bool
    dues: list[Due]
    contents: list[Content]


class Dispatcher:
    """Sends what is due. One for each process; any number of processes."""

    def __init__(self, db: Database, composer: Composer, registry: Registry, now: Clock, lease: int = LEASE) -> None:
        self._lease = lease
        self._db, self._composer, self._registry, self._now = db, composer, registry, now
        self._lines: dict[tuple[int, str, int], Line] = {}
        self._served: dict[tuple[int, str, int], int] = {}
        self._turn = 0
        self._contents: OrderedDict[int, Content] = OrderedDict()
        self._leases: dict[int, int] = {}
        self._flights: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()
        self._cut = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Dispatches until `stop`, then finishes what is under way; what a provider does not finish in time is settled as unknown."""
        bell = self._db.bell("due")
        renewing = asyncio.create_task(self._renew())
        try:
            while not stop.is_set():
                bell.clear()
                self._freed.clear()
                if not await self._round():
                    await clock.first(POLL, stop, bell, self._freed)
        finally:
            await self._land()
            renewing.cancel()
            self._db.drop_bell("due", bell)

    async def _round(self) -> int:
        """One turn over the queues: the instant lane first, then whoever was served longest ago. Answers how many were claimed."""
        now = self._now()
        due = [queue for queue in await self._db.read(communications.queues) if queue.due_at <= now]
        due.sort(key=lambda queue: (queue.lane, self._served.get(_key(queue), 0)))
        claimed = 0
        for queue in due:
            line = self._lines.setdefault(_key(queue), Line())
            room = line.room()
            if not room:
                continue
            lease = secrets.randbits(62)
            taken = await self._db.write(self._take, queue, lease=lease, now=now, limit=min(room, BATCH))
            if taken is None or not taken.dues:
                continue
            self._turn += 1
            self._served[_key(queue)] = self._turn
            claimed += len(taken.dues)
            self._start(queue, taken, lease, line)
        return claimed

    def _take(self, tx: Tx, queue: Queue, *, lease: int, now: int, limit: int) -> Taken | None:
        """Claims a batch with all it needs; None while the tenant's provider is paused."""
        carrier = carriers.chosen(tx, queue.tenant_id, queue.channel)
        if carrier is None or (carrier.paused_until or 0) > now:
            return None
        dues = communications.claim(tx, queue, lease=lease, until=now + self._lease, now=now, limit=limit)
        missing = sorted({due.content_id for due in dues} - self._contents.keys())
        contents = templates.contents(tx, queue.tenant_id, missing) if missing else []
        hold = bool(dues) and tenants.get(tx, queue.tenant_id).unknown_rule == "hold"
        return Taken(carrier, hold, dues, contents)

    def _start(self, queue: Queue, taken: Taken, lease: int, line: Line) -> None:
        for content in taken.contents:
            self._contents[content.id] = content
        loop = asyncio.get_running_loop()
        count = len(taken.dues)
        line.started(count, loop.time())
        self._leases[lease] = queue.tenant_id
        # the batch keeps its own hold on its contents: the shared store may let them go meanwhile
        contents = {due.content_id: self._contents[due.content_id] for due in taken.dues if due.content_id in self._contents}
        while len(self._contents) > 512:
            self._contents.popitem(last=False)
        flight = asyncio.create_task(_Flight(self, queue, taken, contents, lease).fly())
        self._flights.add(flight)

        def landed(task: asyncio.Task[None]) -> None:
            self._flights.discard(task)
            self._leases.pop(lease, None)
            line.finished(count, loop.time())
            self._freed.set()
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("batch lost", tenant=queue.tenant_id, error=repr(error))

        flight.add_done_callback(landed)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._lease / clock.SECOND / RENEWALS)
            held: dict[int, list[int]] = {}
            for lease, tenant_id in self._leases.items():
                held.setdefault(tenant_id, []).append(lease)
            for tenant_id, leases in held.items():
                try:
                    await self._db.write(communications.renew, tenant_id, leases, until=self._now() + self._lease)
                except Unavailable as error:
                    log.warning("leases not renewed", tenant=tenant_id, reason=error.message)

    async def _land(self) -> None:
        """Lets batches under way finish; after GRACE tells them to settle what they have."""
        if self._flights:
            await asyncio.wait(self._flights, timeout=GRACE)
        self._cut.set()
        if self._flights:
            await asyncio.wait(self._flights)


class _Flight:
    """One batch on its way."""

    def __init__(self, house: Dispatcher, queue: Queue, taken: Taken, contents: dict[int, Content], lease: int) -> None:
        self._db, self._now, self._composer, self._registry = house._db, house._now, house._composer, house._registry
        self._cut = house._cut
        self._queue, self._taken, self._contents, self._lease = queue, taken, contents, lease
        self._open = {due.id: due for due in taken.dues}
        self._done: list[Settled] = []
        self._paused: Outcome | None = None

    async def fly(self) -> None:
        """Compose, send, settle: every message of the batch ends with an outcome or, at a crash, with its lease."""
        sealed = await self._compose()
        sending = asyncio.create_task(self._send(sealed))
        cut = asyncio.create_task(self._cut.wait())
        try:
            while not sending.done():
                await asyncio.wait({sending, cut}, timeout=FLUSH, return_when=asyncio.FIRST_COMPLETED)
                if self._cut.is_set():
                    sending.cancel()
                    await asyncio.wait({sending})
                await self._settle()
        finally:
            cut.cancel()
        self._close(sending)
        await self._settle()

    async def _compose(self) -> list[Sealed]:
        sealed: list[Sealed] = []
        for index, due in enumerate(self._taken.dues):
            if index % 25 == 24:
                await asyncio.sleep(0)  # requests of the same process get their turn
            if due.suppressed:
                self._settle_as(Settled(due.id, "suppressed", error=f"{due.address} must not be written to: {due.suppressed}"))
                continue
            content = self._contents.get(due.content_id)
            try:
                if content is None:
                    raise NotFound("Its content is gone.")
                sealed.append(self._composer.compose(due, content, now=self._now()))
            except (Invalid, NotFound) as error:
                self.report(due.id, refused(error.message))
            except Exception as error:  # one message must not stop a batch
                log.exception("compose failed", tenant=due.tenant_id, communication=due.id)
                self.report(due.id, refused(f"Could not be composed: {error}"))
        return sealed

    async def _send(self, sealed: list[Sealed]) -> None:
        if not sealed:
            return
        carrier = self._taken.carrier
        provider = await self._registry.get(carrier)
        await provider.send(sealed, self.report)

    def report(self, communication_id: int, outcome: Outcome) -> None:
        """Takes a message's outcome; the first word counts."""
        due = self._open.get(communication_id)
        if due is None:
            return
        if outcome.kind == "paused":
            self._paused = outcome
        self._settle_as(retry.settled(due, outcome, hold_unknown=self._taken.hold_unknown, now=self._now()))

    def _settle_as(self, settled: Settled) -> None:
        del self._open[settled.id]
        self._done.append(settled)

    def _close(self, sending: asyncio.Task[None]) -> None:
        """Gives an outcome to whatever the provider left without one."""
        if sending.cancelled():
            left: Callable[[], Outcome] = lambda: unknown("The worker was stopped while this was being sent; it may have gone out.")  # noqa: E731
        elif (error := sending.exception()) is not None:
            log.error("provider failed", provider=self._taken.carrier.kind, error=repr(error), exc_info=error)
            left = lambda: unknown(f"The provider failed: {error}")  # noqa: E731
        else:
            left = lambda: deferred("The provider gave no answer.")  # noqa: E731
        for communication_id in list(self._open):
            self.report(communication_id, left())

    async def _settle(self) -> None:
        """Writes what is known so far. A database that cannot take it now is asked again: the lease is renewed meanwhile."""
        outcomes, self._done = self._done, []
        if not outcomes:
            return
        wait = 0.1
        while True:
            try:
                await self._db.write(self._write, outcomes, now=self._now())
                return
            except Unavailable as error:
                if self._cut.is_set() and wait > 1.0:
                    log.error("outcomes not written; their leases decide", count=len(outcomes), reason=error.message)
                    return
                await asyncio.sleep(wait)
                wait = min(wait * 2, 5.0)

    def _write(self, tx: Tx, outcomes: list[Settled], *, now: int) -> None:
        tenant_id, carrier = self._queue.tenant_id, self._taken.carrier
        result = communications.settle(tx, tenant_id, self._lease, outcomes, provider=carrier.kind, now=now)
        enrollments.complete(tx, tenant_id, result.ending, now=now)
        if self._paused is not None:
            until = now + (self._paused.retry_after or retry.PAUSE)
            carriers.pause(tx, tenant_id, carrier.id, self._paused.reason, until=until, now=now)
        elif carrier.paused_at is not None and any(outcome.state == "sent" for outcome in outcomes):
            carriers.resume(tx, tenant_id, carrier.id)


def _key(queue: Queue) -> tuple[int, str, int]:
    return (queue.tenant_id, queue.channel, queue.lane)
