"""The walk of due messages, its first half: whose turn it is, how much to claim, and when to stop. A claimed batch is a `flight`."""

import asyncio
import secrets
from collections import OrderedDict

import structlog

from tidings import clock
from tidings.clock import Clock
from tidings.database import Database, Tx
from tidings.delivery.flight import Flight, Registry, Taken, Tools
from tidings.delivery.limits import Line
from tidings.domain import attachments, carriers, communications, templates, tenants, threads
from tidings.domain.carriers import Carrier
from tidings.domain.communications import Queue
from tidings.domain.templates import Content
from tidings.errors import Unavailable
from tidings.providers.base import Paced
from tidings.rendering.compose import Composer
from tidings.storage import Store

BATCH = 500
LEASE = 60 * clock.SECOND
RENEWALS = 4
"""How often what is being sent is renewed within a lease: it outlives three missed renewals."""
POLL = 0.5
"""Seconds until the queues are looked at unasked: a scheduled message is no later than this."""
AWAY = 1.0
"""Seconds between questions to a database that does not answer."""
LOADS = 4
"""How many loads of messages with files (see `delivery.cargo`) a process has in memory at once."""
GRACE = 20.0
"""Seconds that a stopping worker gives its provider to finish."""

log = structlog.get_logger("dispatch")


class Dispatcher:
    """Sends what is due. One for each process; any number of processes."""

    def __init__(self, db: Database, composer: Composer, registry: Registry, store: Store, now: Clock, lease: int = LEASE) -> None:
        self._db, self._now, self._lease = db, now, lease
        self._cut = asyncio.Event()
        self._tools = Tools(db, composer, registry, store, now, self._cut, asyncio.Semaphore(LOADS))
        self._lines: dict[tuple[int, str, int], Line] = {}
        self._served: dict[tuple[int, str, int], int] = {}
        self._turn = 0
        self._contents: OrderedDict[int, Content] = OrderedDict()
        self._leases: dict[int, int] = {}
        self._flights: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Dispatches until `stop`, then finishes what is under way; what a provider does not finish in time is settled as unknown.

        A database that is away is asked again; batches under way go on and settle when it is back.
        """
        bell = self._db.bell("due")
        renewing = asyncio.create_task(self._renew())
        try:
            while not stop.is_set():
                bell.clear()
                self._freed.clear()
                try:
                    claimed = await self._round()
                except Unavailable as error:
                    log.warning("nothing claimed", reason=error.message)
                    await clock.first(AWAY, stop)
                    continue
                if not claimed:
                    await clock.first(POLL, stop, bell, self._freed)
            await self._land()
        finally:
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
            lease = secrets.randbits(62)
            taken = await self._claim(queue, line, lease=lease, now=now)
            if taken is None or not taken.dues:
                continue
            self._turn += 1
            self._served[_key(queue)] = self._turn
            claimed += len(taken.dues)
            self._start(queue, taken, lease, line)
        return claimed

    async def _claim(self, queue: Queue, line: Line, *, lease: int, now: int) -> Taken | None:
        """As much as its provider has use for; None while there is no room, or no provider that works."""
        while room := line.room():
            found = await self._db.write(self._take, queue, line.served_by, lease=lease, now=now, limit=min(room, BATCH))
            if not isinstance(found, Carrier):
                return found
            line.serve(_name(found), await self._window(found))
        return None

    async def _window(self, carrier: Carrier) -> int | None:
        """How much a provider not met before has use for, asked before it is given anything."""
        # one that cannot be had must not stop the others: its first batch runs into the same, and tells
        (provider,) = await asyncio.gather(self._tools.registry.get(carrier), return_exceptions=True)
        return provider.window if isinstance(provider, Paced) else None

    def _take(self, tx: Tx, queue: Queue, served_by: tuple[int, int] | None, *, lease: int, now: int, limit: int) -> Taken | Carrier | None:
        """Claims a batch with all it needs; None while the tenant's provider is paused; only the provider when it is not the one named."""
        carrier = carriers.chosen(tx, queue.tenant_id, queue.channel)
        if carrier is None or (carrier.paused_until or 0) > now:
            return None
        if _name(carrier) != served_by:
            return carrier
        dues = communications.claim(tx, queue, lease=lease, until=now + self._lease, now=now, limit=limit)
        missing = sorted({due.content_id for due in dues} - self._contents.keys())
        contents = templates.contents(tx, queue.tenant_id, missing) if missing else []
        hold = bool(dues) and tenants.get(tx, queue.tenant_id).unknown_rule == "hold"
        files = (
            attachments.several(tx, queue.tenant_id, [due.id for due in dues if due.attached]) if any(due.attached for due in dues) else {}
        )
        lineages = threads.lineage(tx, queue.tenant_id, dues) if any(due.conversation_id for due in dues) else {}
        return Taken(carrier, hold, dues, contents, files, lineages)

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
        flight = asyncio.create_task(Flight(self._tools, queue.tenant_id, taken, contents, lease).fly())
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


def _name(carrier: Carrier) -> tuple[int, int]:
    """Names one configuration of a provider."""
    return (carrier.id, carrier.updated_at)


def _key(queue: Queue) -> tuple[int, str, int]:
    return (queue.tenant_id, queue.channel, queue.lane)
